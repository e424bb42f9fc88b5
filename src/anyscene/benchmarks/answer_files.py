"""Stored answers of others as CSV: an answer a row, about an item, a question and perhaps a sample, a model and a judge."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from anyscene.benchmarks.benchmark import MAX_SAMPLES, Items, Note, Replies, Reply
from anyscene.benchmarks.reading import csv_rows, whole_number
from anyscene.errors import RecordError, SpecError

__all__ = ["by_number", "chosen_model", "read_answer_rows", "reader_notes"]

_MODELS = ("t2i_model", "model")
_SHOWN = 10
Row = Mapping[str, str]


def by_number(record: Mapping[str, Any], row: Row, where: str) -> Sequence[str]:
    """The question that a row's ``question_id`` numbers, from 1.

    Raises:
        RecordError: it is no whole number.
    """
    number = whole_number(row["question_id"])
    if number is None:
        raise RecordError(f"{where}: question_id {row['question_id'][:40]!r} is no whole number")
    return [one["id"] for one in record["questions"] if one["id"] == f"q{number}"]


def read_answer_rows(
    path: Path,
    items: Items,
    model: str | None,
    *,
    columns: Sequence[str] = ("item_id", "question_id", "answer"),
    questions: Callable[[Mapping[str, Any], Row, str], Sequence[str]] = by_number,
    reply: Callable[[Row, str], Reply] = lambda row, _: Reply(row["answer"]),
    item_of: Callable[[str, str], str] = lambda item, _: item,
) -> Replies:
    """A CSV file of answers. Beside its own columns it may have ``sample`` (from 0), ``model`` or ``t2i_model``, and ``judge``.

    Args:
        path: the file.
        items: what it is about.
        model: whose pictures, where the file has several.
        columns: that it must have; the first names the item.
        questions: ids of the questions of a record that a row answers, from the record, the row and the place for messages.
        reply: the answer of a row, likewise.
        item_of: the benchmark's own id of an item from how a row names it, likewise.

    Raises:
        RecordError: it cannot be read, or answers one question twice in different words; the message names the line.
        SpecError: the model is not in it, or none is named and there are several.
    """
    rows = csv_rows(path, columns)
    column = next((name for name in _MODELS if name in rows[0][1]), None)
    name = chosen_model(path, {row[column] if column else "" for _, row in rows}, model)
    records = items.by_item_id()
    by_media: dict[tuple[str, int], dict[str, Reply]] = {}
    judges: dict[str, None] = {}
    unknown = repeated = 0
    for line, row in rows:
        if column and row[column] != name:
            continue
        where = f"{path}, line {line}"
        sample = whole_number(row.get("sample") or "0")
        if sample is None or not 0 <= sample < MAX_SAMPLES:
            raise RecordError(f"{where}: sample {row['sample'][:40]!r} is no whole number from 0 to {MAX_SAMPLES - 1:,}")
        said, record = reply(row, where), records.get(item_of(row[columns[0]], where))
        judges.setdefault(row.get("judge", ""))
        ids = questions(record, row, where) if record is not None else ()
        if record is None or not ids:
            unknown += 1
            continue
        own = by_media.setdefault((record["id"], sample), {})
        before = {own[id] for id in ids if id in own}
        if before - {said}:
            raise RecordError(f"{where}: {row[columns[0]][:60]} has another answer to this question in an earlier line; keep one of them")
        repeated += bool(before)
        own.update(dict.fromkeys(ids, said))
    judge = ", ".join(one for one in judges if one) or path.stem
    samples = max((sample for _, sample in by_media), default=0) + 1
    return Replies(by_media, name, judge, samples, reader_notes(unknown, repeated))


def reader_notes(unknown: int, repeated: int) -> tuple[Note, ...]:
    """What every reader of answers counts."""
    counted = (("answers are to no question of the benchmark", unknown), ("rows repeat another one", repeated))
    return tuple(Note(what, count) for what, count in counted if count)


def chosen_model(path: Path, found: Collection[str], model: str | None) -> str:
    """Whose pictures are meant, of the models that the rows of a file name; the empty name stands for none.

    Raises:
        SpecError: the model is not in it, or none is named and there are several.
    """
    names = sorted(set(found))
    if names == [""]:
        return model or ""
    if model is None and len(names) == 1:
        return names[0]
    if model is None or model not in names:
        asked = "which model is to be scored? " if model is None else f"nothing about {model[:60]!r}; "
        shown = ", ".join(name[:60] if name.isprintable() and name else repr(name[:60]) for name in names[:_SHOWN])
        raise SpecError(f"{path}: {asked}the file has {shown}{', ...' if len(names) > _SHOWN else ''}")
    return model
