"""Records out of the columns that trainers hand over, and what becomes of scores that are missing where a trainer knows no such thing."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from anyscene.errors import JudgeError, RecordError, SpecError
from anyscene.rewards.protocol import Score, flat_figures, questions_in

__all__ = ["filled", "mean_figures", "questions_text", "record_of", "records_from_columns"]

_JSON_COLUMNS = ("graph", "questions")


def record_of(fields: Mapping[str, Any]) -> dict[str, Any]:
    """A record from one row of another trainer's data set.

    A field ``record`` holds the whole record; else the fields are its columns. Either may be JSON text, as may ``graph`` and ``questions``.

    Raises:
        RecordError: text that should be JSON is none.
    """
    whole = _decoded(fields["record"], "record") if fields.get("record") is not None else fields
    if not isinstance(whole, Mapping):
        raise RecordError(f"a record must be an object; it is a {type(whole).__name__}")
    return {name: _plain(_decoded(value, name) if name in _JSON_COLUMNS else value) for name, value in whole.items()}


def records_from_columns(columns: Mapping[str, Any], count: int) -> list[dict[str, Any]]:
    """Records from lists of every column; what is no list of so many values is left out."""
    lists = {name: values for name, values in columns.items() if isinstance(values, Sequence) and not isinstance(values, str)}
    fitting = {name: values for name, values in lists.items() if len(values) == count}
    return [record_of({name: values[place] for name, values in fitting.items()}) for place in range(count)]


def filled(scores: Sequence[Score | None], ids: Sequence[str], missing: str | float) -> list[float]:
    """The values of scores as plain numbers, for trainers that take nothing else.

    Args:
        scores: with None where unknown.
        ids: of their records; those of one group are the same.
        missing: what to put for None. ``group``: the mean of what is known of the group, else of the batch, so that the rollout pushes
            the policy nowhere; ``nan``; ``raise``; or a number.

    Raises:
        JudgeError: one is missing and ``raise`` was asked for, or nothing at all is known of a batch.
        SpecError: there is no such way.
    """
    if isinstance(missing, str) and missing not in ("group", "nan", "raise"):
        raise SpecError(f"missing {missing!r}: it must be group, nan, raise or a number")
    known = [score.value for score in scores if score is not None]
    if len(known) < len(scores) and (missing == "raise" or (missing == "group" and not known)):
        lost = next(own for own, score in zip(ids, scores, strict=True) if score is None)
        raise JudgeError(
            f"no reward for {len(scores) - len(known)} of {len(scores)} pictures (the first of record {lost!r}): the judge failed"
        )
    result = []
    for own, score in zip(ids, scores, strict=True):
        if score is not None:
            result.append(score.value)
        elif missing == "group":
            group = [other.value for one, other in zip(ids, scores, strict=True) if other is not None and one == own] or known
            result.append(math.fsum(group) / len(group))
        else:
            result.append(math.nan if isinstance(missing, str) else float(missing))
    return result


def mean_figures(scores: Sequence[Score | None]) -> dict[str, float]:
    """Mean of every named number over the scores that have it, and ``known``, the share of scores that there are."""
    sums: dict[str, list[float]] = {}
    for score in scores:
        for name, value in flat_figures(score).items() if score is not None else ():
            sums.setdefault(name, []).append(value)
    found = {name: math.fsum(values) / len(values) for name, values in sums.items()}
    if scores:
        found["known"] = sum(score is not None for score in scores) / len(scores)
    return found


def questions_text(score: Score | None) -> str:
    """The probability of the right answer to every question, as JSON: ``{"q0": 0.98, "q1": null}``; empty where there is no score."""
    if score is None:
        return ""
    return json.dumps({one.id: None if one.value is None else round(one.value, 6) for one in questions_in(score)})


def _decoded(value: Any, name: str) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError as error:
        raise RecordError(f"the column {name!r} holds text that is no JSON ({error}): {value[:60]!r}") from None


def _plain(value: Any) -> Any:
    """Lists and plain values in place of numpy's, which Parquet readers give."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, Mapping):
        return {name: _plain(one) for name, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, (list, tuple)) else value
