"""The answer store: a folder of Parquet files, one row an answer, to which files are only ever added.

An answer is keyed by (media SHA-256, question key, judge, revision, template). Files from other machines can be copied into the folder
as they are: all Parquet files in it count. Where a key occurs more than once, an answer replaces a failure, and of two answers the
one in the later file (by name) counts. Every page carries a checksum, so damage is found when a file is read.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from anyscene.errors import RecordError
from anyscene.judges.protocol import STATUSES, Answer
from anyscene.runs import write_atomic

__all__ = [
    "AnswerRow",
    "answer_files",
    "answer_schema",
    "answer_table",
    "media_of_answers",
    "part_name",
    "read_answer_file",
    "read_answers",
    "read_some_answers",
    "write_answers",
]


@cache
def answer_schema() -> pa.Schema:
    """The Arrow schema of the store."""
    text, real = pa.string(), pa.float64()
    return pa.schema(
        [
            pa.field("media_sha256", text, nullable=False),
            pa.field("question_key", text, nullable=False),
            pa.field("judge", text, nullable=False),
            pa.field("revision", text, nullable=False),
            pa.field("template", text, nullable=False),
            pa.field("p_yes", real),
            pa.field("label_mass", real),
            pa.field("text", text),
            pa.field("status", text, nullable=False),
            pa.field("probabilities", pa.list_(pa.field("element", real))),
        ]
    )


@dataclass(frozen=True, slots=True)
class AnswerRow:
    """One answer with what it is an answer to."""

    media_sha256: str
    question_key: str
    answer: Answer


def answer_table(rows: Iterable[AnswerRow], judge: str, revision: str, template: str) -> pa.Table:
    """Rows as a table of ``answer_schema``."""
    columns: dict[str, list[Any]] = {field.name: [] for field in answer_schema()}
    for row in rows:
        answer = row.answer
        values = (row.media_sha256, row.question_key, judge, revision, template)
        values += (answer.p_yes, answer.label_mass, answer.text, answer.status, list(answer.probabilities))  # type: ignore[assignment]
        for column, value in zip(columns.values(), values, strict=True):
            column.append(value)
    return pa.table(columns, answer_schema())


def part_name(block: int, attempt: int) -> str:
    """The file of a block of media: ``part-00012.parquet``, then ``part-00012-001.parquet`` for what is asked again."""
    return f"part-{block:05d}.parquet" if attempt == 0 else f"part-{block:05d}-{attempt:03d}.parquet"


def write_answers(path: Path, table: pa.Table) -> None:
    """Writes one file of the store, in one step, with checksums.

    Raises:
        RunError: it cannot be written.
    """
    buffer = io.BytesIO()
    pq.write_table(table.cast(answer_schema()), buffer, compression="zstd", write_page_checksum=True)
    write_atomic(path, buffer.getvalue())


def read_answer_file(path: Path) -> pa.Table:
    """One file of the store.

    Raises:
        RecordError: it is damaged or holds something else.
    """
    table = _read(path)
    _check(table, path)
    return table


def _read(path: Path, columns: Sequence[str] | None = None, media: pa.Array | None = None) -> pa.Table:
    """The rows of a file, whatever their values; only some columns, or only those about some media, where these are given."""
    hint = "Remove the file and judge the run again: only what is missing is asked."
    names = answer_schema().names if columns is None else list(columns)
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:  # a store has a thousand small files: no dataset, no threads
            there = set(file.schema_arrow.names)
            missing = [name for name in answer_schema().names if name not in there]
            if missing:
                raise RecordError(f"{path}: no file of answers: it lacks the columns {', '.join(missing)}")
            if media is None:
                table = file.read(columns, use_threads=False)
            else:
                batches = (_checked(batch, path) for batch in file.iter_batches(columns=names, use_threads=False))
                kept = [
                    one.filter(pc.is_in(one["media_sha256"], value_set=media.cast(one.schema.field("media_sha256").type)))
                    for one in batches
                ]
                table = pa.concat_tables(kept) if kept else file.read(use_threads=False)
    except (pa.ArrowException, OSError) as error:
        raise RecordError(f"{path}: not a readable file of answers ({str(error).splitlines()[0]}). {hint}") from None
    schema = pa.schema([answer_schema().field(name) for name in names])
    try:
        return table if table.schema.equals(schema) else table.select(names).cast(schema)
    except (pa.ArrowException, ValueError) as error:
        raise RecordError(f"{path}: no file of answers: {error}") from None


def _checked(batch: pa.RecordBatch, path: Path) -> pa.Table:
    table = pa.Table.from_batches([batch])
    _check(table, path)
    return table


def answer_files(path: Path) -> list[Path]:
    """The files of a store, in the order in which they count.

    Raises:
        RecordError: there are none.
    """
    files = sorted(path.glob("*.parquet"), key=lambda file: file.stem) if path.is_dir() else []
    if not files:
        raise RecordError(f"{path}: there are no answers here; a store is a folder of Parquet files, as anyscene judge writes it")
    return files


def media_of_answers(path: Path) -> tuple[int, tuple[str, ...], set[tuple[str, ...]]]:
    """(rows, digests of the media that they are about, judges) of one file of a store; its values are not looked at.

    Judges are (name, revision, template), each that occurs with each: one where there is one.

    Raises:
        RecordError: it cannot be read.
    """
    table = _read(path, ("media_sha256", "judge", "revision", "template"))
    judges = product(*(table[name].unique().to_pylist() for name in ("judge", "revision", "template")))
    return table.num_rows, tuple(table["media_sha256"].unique().to_pylist()), set(judges)


def read_some_answers(files: Iterable[tuple[Path, bool]], media: pa.Array) -> pa.Table:
    """The answers of some files of a store, each key once.

    Args:
        files: in their order, each with whether all its rows are taken, or only those about ``media``.
        media: digests.

    Raises:
        RecordError: a file is damaged.
    """
    tables = [answer_schema().empty_table()]
    for path, whole in files:
        tables.append(read_answer_file(path) if whole else _read(path, media=media))
    return _latest(pa.concat_tables(tables))


def read_answers(path: str | Path) -> pa.Table:
    """All answers of a store (a folder, or one file), each key once.

    Raises:
        RecordError: the folder holds no answers, or a file is damaged.
    """
    path = Path(path)
    if path.is_file():
        return _latest(read_answer_file(path))
    files = answer_files(path)
    tables = [_read(file) for file in files]
    whole = pa.concat_tables(tables)
    try:
        _check(whole, path)
    except RecordError:
        for file, own in zip(files, tables, strict=True):
            _check(own, file)  # of one file: it is the one to name
        raise
    return _latest(whole)


def _check(table: pa.Table, path: Path) -> None:
    """Refuses values that no judge can have given."""
    known = pc.is_in(table["status"], value_set=pa.array(STATUSES))
    if not pc.all(known, min_count=0).as_py():
        raise RecordError(
            f"{path}: unknown status {table['status'].filter(pc.invert(known))[0].as_py()!r}; it must be one of {', '.join(STATUSES)}"
        )
    for name in ("p_yes", "label_mass"):
        values = np.asarray(table[name].drop_null())
        if len(values) and not ((values >= 0) & (values <= 1 + 1e-6)).all():
            raise RecordError(f"{path}: {name} holds values that are no probabilities")


def _latest(table: pa.Table) -> pa.Table:
    """Each key once: answers before failures, later rows before earlier ones; in the order of the rows that stay."""
    codes, largest = np.zeros(table.num_rows, dtype=np.int64), 1
    for name in (
        "media_sha256",
        "question_key",
        "judge",
        "revision",
        "template",
    ):  # one number a key, without a hash join over five columns
        own = np.asarray(table[name].combine_chunks().dictionary_encode().indices)
        different = int(own.max(initial=0)) + 1
        if largest * different >= 2**63:
            codes, largest = np.unique(codes, return_inverse=True)[1].ravel(), table.num_rows
        codes, largest = codes * different + own, largest * different
    if (np.diff(np.sort(codes)) > 0).all():
        return table
    failed = np.asarray(pc.equal(table["status"], "failed"))
    order = np.lexsort(
        (np.arange(table.num_rows), ~failed, codes)
    )  # within a key: failures first, then answers in order; the last one counts
    last = np.append(codes[order][1:] != codes[order][:-1], True)
    return table.take(pa.array(np.sort(order[last])))


def keys_by_media(table: pa.Table, *, judge: str, revision: str, template: str) -> Mapping[str, set[str]]:
    """Question keys that a judge has answered (failures left out), by media."""
    mask = pc.and_(
        pc.and_(pc.equal(table["judge"], judge), pc.equal(table["revision"], revision)),
        pc.and_(pc.equal(table["template"], template), pc.not_equal(table["status"], "failed")),
    )
    kept = table.filter(mask)
    found: dict[str, set[str]] = {}
    for sha256, key in zip(kept["media_sha256"].to_pylist(), kept["question_key"].to_pylist(), strict=True):
        found.setdefault(sha256, set()).add(key)
    return found


def judges_of(table: pa.Table) -> Sequence[tuple[str, str, str]]:
    """(judge, revision, template) of all rows, each once, sorted."""
    triples = table.select(["judge", "revision", "template"]).group_by(["judge", "revision", "template"]).aggregate([])
    return sorted(zip(*(triples[name].to_pylist() for name in ("judge", "revision", "template")), strict=True))
