"""Stored answers of others as CSV: an item, a question, an answer a row."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from anyscene.benchmarks.benchmark import Items, Note, Replies, Reply
from anyscene.benchmarks.dsg import whole_number
from anyscene.benchmarks.reading import csv_rows
from anyscene.errors import RecordError, SpecError

__all__ = ["MAX_SAMPLES", "chosen_model", "read_answer_rows"]

MAX_SAMPLES = 1_000
_MODELS = ("t2i_model", "model")
_COLUMNS = ("item_id", "question_id", "answer")


def read_answer_rows(path: Path, items: Items, model: str | None, *, id_of: Callable[[int], str]) -> Replies:
    """A CSV file with the columns ``item_id``, ``question_id`` and ``answer``; perhaps ``sample`` (from 0), ``model`` or ``t2i_model``,
    and ``judge``.

    Args:
        path: the file.
        items: what it is about.
        model: whose pictures, where the file has several.
        id_of: a question's id in a record from its number in the file.

    Raises:
        RecordError: it cannot be read, or answers one question twice in different words; the message names the line.
        SpecError: the model is not in it, or none is named and there are several.
    """
    rows = csv_rows(path, _COLUMNS)
    column = next((name for name in _MODELS if name in rows[0][1]), None)
    name = chosen_model(path, [row.get(column, "") if column else "" for _, row in rows], model)
    records = items.by_item_id()
    asked = {id: {one["id"] for one in record["questions"]} for id, record in records.items()}
    by_media: dict[tuple[str, int], dict[str, Reply]] = {}
    judges: dict[str, None] = {}
    unknown = repeated = 0
    samples = 1
    for line, row in rows:
        if column and row[column] != name:
            continue
        where = f"{path}, line {line}"
        number, sample = whole_number(row["question_id"]), whole_number(row.get("sample") or "0")
        if number is None:
            raise RecordError(f"{where}: question_id {row['question_id'][:40]!r} is no whole number")
        if sample is None or not 0 <= sample < MAX_SAMPLES:
            raise RecordError(f"{where}: sample {row['sample'][:40]!r} is no whole number from 0 to {MAX_SAMPLES - 1:,}")
        item, id = row["item_id"], id_of(number)
        samples = max(samples, sample + 1)
        judges.setdefault(row.get("judge", ""))
        if item not in records or id not in asked[item]:
            unknown += 1
            continue
        own = by_media.setdefault((records[item]["id"], sample), {})
        if id in own:
            if own[id].text != row["answer"]:
                raise RecordError(f"{where}: {item}, question {number} has another answer in an earlier line; keep one of them")
            repeated += 1
        own[id] = Reply(row["answer"])
    notes = [("answers are to no question of the benchmark", unknown), ("rows repeat another one", repeated)]
    judge = ", ".join(one for one in judges if one) or path.stem
    return Replies(by_media, name, judge, samples, tuple(Note(what, count) for what, count in notes if count))


def chosen_model(path: Path, found: list[str], model: str | None) -> str:
    """Whose pictures are meant, of the models that the rows of a file name.

    Raises:
        SpecError: the model is not in it, or none is named and there are several.
    """
    names = sorted(set(found))
    if names == [""]:
        return model or ""
    if model is None and len(names) == 1:
        return names[0]
    if model is None or model not in names:
        asked = "which model is to be scored? " if model is None else f"no answers about {model!r}; "
        raise SpecError(f"{path}: {asked}the file has {', '.join(names)}")
    return model
