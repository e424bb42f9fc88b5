"""Reading a dataset back: a run folder, or one file of any of the formats, here or at a URI.

Rows come in the order they were written. A float is given as its shortest decimal, so a row reads the same from every format.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as pj
import pyarrow.parquet as pq

from anyscene.dataset.json_text import json_lines
from anyscene.dataset.places import RemotePath, path_or_uri
from anyscene.dataset.plan import ShardFile
from anyscene.dataset.schema import record_schema
from anyscene.dataset.storage import storage_at
from anyscene.errors import RecordError, RunError
from anyscene.runs import JOURNAL_NAME, MANIFEST_NAME

__all__ = ["count_rows", "read_record", "read_records", "read_table"]

_ROWS_AT_ONCE = 1_024
_TAR_END = bytes(1_024)
_BUFFER_BYTES = 1 << 22  # each read of an object store is a request
Place = Path | RemotePath


def read_records(path: str | os.PathLike[str] | RemotePath) -> Iterator[dict[str, Any]]:
    """The records of a run folder or a file, as dictionaries, one after the other.

    Raises:
        RecordError: A file is missing, damaged or holds something else.
    """
    for file in _files(path_or_uri(path)):
        rows = 0
        for record in _reader(file.path).records(file.path):
            rows += 1
            yield record
        file.check(rows)


def read_record(path: str | os.PathLike[str] | RemotePath, index: int) -> dict[str, Any]:
    """The record whose `index` is given. Only the part of the file that holds it is read.

    Raises:
        RecordError: There is no such record, or a file is missing or damaged.
    """
    for file in _files(path_or_uri(path)):
        if file.listed is None or file.listed.start <= index < file.listed.start + file.listed.rows:
            record = _reader(file.path).find(file.path, index)
            if record is not None:
                return record
    raise RecordError(f"{path} has no record of index {index:,}.{_range_hint(path_or_uri(path))}")


def read_table(path: str | os.PathLike[str] | RemotePath) -> pa.Table:
    """All records as one Arrow table with the columns of `record_schema`.

    Raises:
        RecordError: A file is missing, damaged or holds something else.
    """
    tables = []
    for file in _files(path_or_uri(path)):
        tables.append(_reader(file.path).table(file.path))
        file.check(tables[-1].num_rows)
    return pa.concat_tables(tables)


def count_rows(path: str | os.PathLike[str] | RemotePath) -> int:
    """How many records a run folder or a file holds, without reading them where the format says it.

    Raises:
        RecordError: A file is missing or damaged.
    """
    return sum(file.listed.rows if file.listed else _reader(file.path).count(file.path) for file in _files(path_or_uri(path)))


@dataclass(frozen=True, slots=True)
class _File:
    """A file to read, and what the manifest says of it if there is one."""

    path: Place
    listed: ShardFile | None = None

    def check(self, rows: int) -> None:
        if self.listed and rows != self.listed.rows:
            raise RecordError(f"{self.path} holds {rows:,} records; its run has {self.listed.rows:,} there. Generate the run again.")


def _files(path: Place) -> list[_File]:
    if not path.is_dir():
        if not path.exists():
            raise RecordError(f"There is no file or folder {path}.")
        if not path.is_file():
            raise RecordError(f"{path} is neither a folder nor a regular file.")
        return [_File(path)]
    try:
        manifest = storage_at(path).read_manifest()
    except RunError as error:
        raise RecordError(str(error)) from error
    if manifest is None:
        unfinished = (path / JOURNAL_NAME).exists()
        raise RecordError(
            f"{path} is an unfinished run: run the same command again to complete it, or read one of its files."
            if unfinished
            else f"{path} is not a dataset: it has no {MANIFEST_NAME}. Give a run folder, or one file of records."
        )
    listed = manifest.get("files")
    if manifest.get("kind") != "dataset" or not isinstance(listed, list):
        raise RecordError(f"{path} holds a run of the kind {manifest.get('kind')!r}, not a dataset.")
    try:
        files = [_File(path / entry.name, entry) for entry in map(ShardFile.from_json, listed)]
    except RunError as error:
        raise RecordError(f"{path / MANIFEST_NAME}: {error}") from error
    for file in files:
        if not file.path.is_file():
            raise RecordError(f"{file.path} is missing. Run the same command again: it makes the missing file anew.")
    return files


def _opened(path: Place) -> BinaryIO:
    if isinstance(path, Path):
        return open(path, "rb")
    remote: Any = path.open()
    return io.BufferedReader(remote, _BUFFER_BYTES)


def _range_hint(path: Place) -> str:
    listed = [file.listed for file in _files(path) if file.listed]
    return f" It has {listed[0].start:,} to {listed[-1].start + listed[-1].rows - 1:,}." if listed else ""


@dataclass(frozen=True, slots=True)
class _Reader:
    """How one format is read."""

    records: Callable[[Place], Iterator[dict[str, Any]]]
    find: Callable[[Place, int], dict[str, Any] | None]
    table: Callable[[Place], pa.Table]
    count: Callable[[Place], int]


def _reader(path: Place) -> _Reader:
    try:
        return _READERS[path.suffix]
    except KeyError:
        raise RecordError(f"{path} is not a file of records: its name must end in {', '.join(_READERS)}.") from None


# Parquet


@contextlib.contextmanager
def _parquet(path: Place) -> Iterator[pq.ParquetFile]:
    try:
        with pq.ParquetFile(path if isinstance(path, Path) else path.open()) as file:
            yield file
    except (pa.ArrowException, OSError) as error:
        raise RecordError(f"Cannot read {path}: {error}. The file is damaged, or is no Parquet file.") from error


def _conformed(table: pa.Table, path: Place) -> pa.Table:
    schema = record_schema(questions="questions" in table.column_names)
    if missing := [name for name in schema.names if name not in table.column_names]:
        raise RecordError(f"{path} does not hold records: the columns {', '.join(missing)} are missing.")
    try:
        return table.select(schema.names).cast(schema)
    except (pa.ArrowException, ValueError) as error:
        raise RecordError(f"{path} does not hold records: {error}") from error


def _parquet_records(path: Place) -> Iterator[dict[str, Any]]:
    with _parquet(path) as file:
        _conformed(file.schema_arrow.empty_table(), path)
        for batch in file.iter_batches(_ROWS_AT_ONCE):
            lines = json_lines(_conformed(pa.Table.from_batches([batch]), path))
            yield from map(json.loads, lines.to_pylist())


def _parquet_find(path: Place, index: int) -> dict[str, Any] | None:
    with _parquet(path) as file:
        _conformed(file.schema_arrow.empty_table(), path)
        names = file.schema_arrow.names
        at = names.index("index") if "index" in names else None
        for group in range(file.num_row_groups):
            column = None if at is None else file.metadata.row_group(group).column(at)
            bounds = column.statistics if column is not None and column.path_in_schema == "index" else None
            if bounds is not None and bounds.has_min_max and not bounds.min <= index <= bounds.max:
                continue
            position = pc.index(file.read_row_group(group, columns=["index"])["index"], index).as_py() if at is not None else 0
            if position >= 0:
                row = _conformed(file.read_row_group(group).slice(position, 1), path)
                record: dict[str, Any] = json.loads(json_lines(row)[0].as_py())
                return record
    return None


def _parquet_table(path: Place) -> pa.Table:
    with _parquet(path) as file:
        return _conformed(file.read(), path)


def _parquet_count(path: Place) -> int:
    with _parquet(path) as file:
        return int(file.metadata.num_rows)


# JSON lines and WebDataset: both hold the record as JSON text


def _jsonl_texts(path: Place) -> Iterator[tuple[str, bytes]]:
    """Where each record is, for error messages, and its text."""
    try:
        with _opened(path) as file:
            for number, line in enumerate(file, 1):
                yield f"{path}, line {number}", line
    except OSError as error:
        raise RecordError(f"Cannot read {path}: {error.strerror or error}.") from error


def _tar_texts(path: Place) -> Iterator[tuple[str, bytes]]:
    try:
        with _opened(path) as file, tarfile.open(fileobj=file, mode="r:") as archive:
            for member in archive:
                if member.name.endswith(".json"):
                    content = archive.extractfile(member)
                    yield f"{path}, member {member.name}", content.read() if content else b""
        with _opened(path) as file:
            file.seek(-len(_TAR_END), os.SEEK_END)
            whole = file.read() == _TAR_END
    except (tarfile.TarError, OSError) as error:
        raise RecordError(f"Cannot read {path}: {error}. The file is damaged, or is no tar file.") from error
    if not whole:
        raise RecordError(f"Cannot read {path}: it breaks off. Run the command that made it again: it makes the file anew.")


def _parsed(where: str, text: bytes) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RecordError(f"{where}: not valid JSON ({error}).") from error
    if not isinstance(value, dict):
        raise RecordError(f"{where}: a record is a JSON object, this is a {type(value).__name__}.")
    names = record_schema(questions="questions" in value).names
    if missing := [name for name in names if name not in value]:
        raise RecordError(f"{where}: not a record, it lacks {', '.join(missing)}.")
    if not isinstance(value["index"], int):
        raise RecordError(f"{where}: the index of a record is a whole number, this is {value['index']!r:.40}.")
    return {name: value[name] for name in names}


_Texts = Callable[[Place], Iterator[tuple[str, bytes]]]


def _json_reader(texts: _Texts) -> _Reader:
    def records(path: Place) -> Iterator[dict[str, Any]]:
        return (_parsed(where, text) for where, text in texts(path))

    def find(path: Place, index: int) -> dict[str, Any] | None:
        first = next(texts(path), None)
        if first is None:
            return None
        ahead = index - _parsed(*first)["index"]  # where it is in a file of consecutive rows, as ours are
        guess = next(islice(texts(path), ahead, None), None) if ahead >= 0 else None
        if guess is not None and (record := _parsed(*guess))["index"] == index:
            return record
        return next((record for record in records(path) if record["index"] == index), None)

    def table(path: Place) -> pa.Table:
        batch: list[bytes] = []
        tables = []
        for _, text in texts(path):
            batch.append(text.rstrip(b"\n"))
            if len(batch) == _ROWS_AT_ONCE:
                tables.append(_json_table(batch, path, records))
                batch = []
        if batch or not tables:
            tables.append(_json_table(batch, path, records))
        return pa.concat_tables(tables)

    def count(path: Place) -> int:
        return sum(1 for _ in texts(path))

    return _Reader(records, find, table, count)


def _json_table(texts: list[bytes], path: Place, records: Callable[[Place], Iterator[dict[str, Any]]]) -> pa.Table:
    if not texts:
        return record_schema().empty_table()
    data = b"\n".join(texts)
    schema = record_schema(questions=b'"questions"' in texts[0])
    parse = pj.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore")
    try:
        table = pj.read_json(pa.BufferReader(data), pj.ReadOptions(use_threads=False, block_size=len(data) + 1), parse)
    except pa.ArrowException as error:
        for _ in records(path):  # names the line where it can
            pass
        raise RecordError(f"{path} does not hold records: {error}") from error
    if table.num_rows != len(texts) or any(table[name].null_count for name in schema.names if name != "plausibility"):
        for _ in records(path):
            pass
        raise RecordError(f"{path} does not hold records: a value is null or missing.")
    return table


_READERS = {
    ".parquet": _Reader(_parquet_records, _parquet_find, _parquet_table, _parquet_count),
    ".jsonl": _json_reader(_jsonl_texts),
    ".tar": _json_reader(_tar_texts),
}
