"""Evidence as JSON and back: a judge's answers, boxes, scores; letter for letter, so that a result can be scored again from its file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from importlib import import_module
from typing import Any

from anyscene.benchmarks.benchmark import MAX_SAMPLES, Note, Replies, Reply
from anyscene.benchmarks.reading import field
from anyscene.errors import RecordError
from anyscene.judges.protocol import STATUSES

__all__ = ["evidence_from_json", "evidence_to_json"]

_KINDS = {
    "detections": "anyscene.benchmarks.boxes:Detections",
    "metric scores": "anyscene.benchmarks.t2i_compbench:MetricScores",
    "video scores": "anyscene.benchmarks.vbench:VideoScores",
}
_PAIRS = "pairs"
"""Under this key stands a mapping whose keys are no texts, as a list of pairs."""


def evidence_to_json(evidence: Any) -> dict[str, Any]:
    """Evidence of any kind as JSON values."""
    if isinstance(evidence, Replies):
        return {"kind": "answers", **_replies_to_json(evidence)}
    cls = type(evidence)
    kind = next(name for name, target in _KINDS.items() if target == f"{cls.__module__}:{cls.__qualname__}")
    return {"kind": kind, "value": _to_pairs(asdict(evidence))}


def evidence_from_json(given: Mapping[str, Any], where: str) -> Any:
    """Evidence from what `evidence_to_json` gave.

    Raises:
        RecordError: it is none; ``where`` is what the message names.
    """
    kind = field(given, "kind", str, where)
    if kind == "answers":
        return _replies_from_json(given, where)
    if kind not in _KINDS:
        raise RecordError(f"{where}: evidence of the kind {kind[:40]!r}; there are answers, {', '.join(_KINDS)}")
    from pydantic import TypeAdapter, ValidationError

    module, _, name = _KINDS[kind].partition(":")
    try:
        return TypeAdapter(getattr(import_module(module), name)).validate_python(_from_pairs(field(given, "value", dict, where)))
    except ValidationError as invalid:
        first = invalid.errors(include_url=False)[0]
        raise RecordError(f"{where}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    except (TypeError, ValueError) as error:
        raise RecordError(f"{where}: the evidence cannot be read ({error})") from None


def _to_pairs(value: Any) -> Any:
    if isinstance(value, Mapping):
        if all(isinstance(key, str) for key in value) and set(value) != {_PAIRS}:
            return {key: _to_pairs(one) for key, one in value.items()}
        return {_PAIRS: [[_to_pairs(key), _to_pairs(one)] for key, one in value.items()]}
    return [_to_pairs(one) for one in value] if isinstance(value, list | tuple) else value


def _from_pairs(value: Any) -> Any:
    if isinstance(value, Mapping):
        if set(value) == {_PAIRS}:
            return {tuple(key) if isinstance(key, list) else key: _from_pairs(one) for key, one in value[_PAIRS]}
        return {key: _from_pairs(one) for key, one in value.items()}
    return [_from_pairs(one) for one in value] if isinstance(value, list) else value


def _replies_to_json(replies: Replies) -> dict[str, Any]:
    answers = []
    for (record, sample), own in sorted(replies.by_media.items()):
        for id, reply in own.items():
            row: dict[str, Any] = {"id": record, "sample": sample, "question": id, **asdict(reply)}
            answers.append({key: value for key, value in row.items() if value is not None and value != ()})
    return {
        "model": replies.model,
        "judge": replies.judge,
        "samples": replies.samples,
        "notes": [asdict(one) for one in replies.notes],
        "pictures": [[record, sample] for record, sample in sorted(replies.by_media)],
        "answers": answers,
    }


def _replies_from_json(given: Mapping[str, Any], where: str) -> Replies:
    by_media: dict[tuple[str, int], dict[str, Reply]] = {}
    samples = field(given, "samples", int, where)
    for pair in field(given, "pictures", list, where):
        if not isinstance(pair, list) or len(pair) != 2 or not isinstance(pair[0], str) or type(pair[1]) is not int:
            raise RecordError(f"{where}: a picture must be [id, sample], not {str(pair)[:60]}")
        by_media[pair[0], pair[1]] = {}
    for number, row in enumerate(field(given, "answers", list, where), 1):
        place = f"{where}, answer {number}"
        key = (field(row, "id", str, place), field(row, "sample", int, place))
        status, question = field(row, "status", str, place), field(row, "question", str, place)
        if status not in STATUSES:
            raise RecordError(f"{place}: status {status[:40]!r}; it must be one of {', '.join(STATUSES)}")
        own = by_media.setdefault(key, {})
        if question in own:
            raise RecordError(f"{place}: question {question} of {key[0]}, sample {key[1]} is answered twice")
        text, mapped = (field(row, name, str, place) if name in row else None for name in ("text", "mapped"))
        shares = field(row, "probabilities", list, place) if "probabilities" in row else []
        p_yes = [row["p_yes"]] if "p_yes" in row else []
        for value in (*p_yes, *shares):
            if type(value) not in (int, float) or not 0 <= value <= 1 + 1e-6:
                raise RecordError(f"{place}: {str(value)[:40]} is no probability")
        own[question] = Reply(text, p_yes[0] if p_yes else None, status, tuple(shares), mapped)
    notes = tuple(Note.read(one, where) for one in field(given, "notes", list, where))
    if not 1 <= samples <= MAX_SAMPLES or any(not 0 <= sample < samples for _, sample in by_media):
        raise RecordError(f"{where}: {samples:,} samples of each item, and pictures of others; there are 1 to {MAX_SAMPLES:,}")
    return Replies(by_media, field(given, "model", str, where), field(given, "judge", str, where), samples, notes)
