"""Records to bytes, one encoder per file format.

An encoder never touches a file: it is handed tables and gives bytes. The same tables in the same order give the same bytes.

The Parquet settings were measured on one core with records of fifteen questions (rows/s to encode, bytes per row):

    as chosen                     185,000   307        statistics for every column   141,000   307
    zstd level 2                  189,000   305        dictionaries for texts too    184,000   311
    zstd level 3                  173,000   297        dictionaries for nothing      118,000   441
    lz4                           219,000   434        delta encodings for texts     179,000   294
    data page version 2           198,000   345        pyarrow's defaults, zstd      133,000   311

Pages of 256 kB or 4 MB and larger write batches change the speed by less than 3 %. `tests/dataset/encode_throughput.py` measures again.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from anyscene.dataset.json_text import json_lines, text_buffer
from anyscene.errors import RecordError

__all__ = ["FORMATS", "Encoder", "Format"]

_ROWS_PER_PIECE = 8_192  # what is turned into JSON at once: small enough for the processor's caches
_BLOCK = 512  # what tar files are made of


class Encoder(Protocol):
    """Turns the tables of one file into its bytes."""

    def encode(self, table: pa.Table) -> Iterator[bytes | memoryview]:
        """The bytes that the next rows add to the file."""
        ...

    def finish(self) -> Iterator[bytes | memoryview]:
        """The bytes that end the file."""
        ...


@dataclass(frozen=True, slots=True)
class Format:
    """A file format of datasets."""

    suffix: str
    rows_per_shard: int
    encoder: Callable[[], Encoder]


class ParquetEncoder:
    """One row group per table; plain strings in the file, whatever the encoding in memory."""

    def __init__(self) -> None:
        self._sink = _Sink()
        self._writer: pq.ParquetWriter | None = None

    def encode(self, table: pa.Table) -> Iterator[bytes]:
        if self._writer is None:
            self._writer = pq.ParquetWriter(
                self._sink,
                table.schema,
                compression="zstd",
                compression_level=1,
                use_dictionary=[path for path in _leaves(table.schema) if path not in _MOSTLY_DISTINCT],
                write_statistics=["index"],  # enough to find a row; for lists of strings they cost time and say nothing
                store_schema=False,  # or the file would remember which strings were dictionary-encoded in memory
            )
        if table.schema != self._writer.schema:
            table = table.cast(self._writer.schema)
        self._writer.write_table(table, row_group_size=max(table.num_rows, 1))
        yield from self._sink.drain()

    def finish(self) -> Iterator[bytes]:
        if self._writer is not None:
            self._writer.close()
        yield from self._sink.drain()


class JsonlEncoder:
    """One JSON object per line."""

    def encode(self, table: pa.Table) -> Iterator[memoryview]:
        for piece in _pieces(table):
            yield text_buffer(json_lines(piece, end="\n"))

    def finish(self) -> Iterator[bytes]:
        return iter(())


class WebDatasetEncoder:
    """A tar file with the members `{id}.txt` (the caption) and `{id}.json` (the record) per row, and nothing that depends on the clock."""

    def encode(self, table: pa.Table) -> Iterator[memoryview]:
        for piece in _pieces(table):
            ids = piece["id"].chunk(0).cast(pa.string())
            caption = piece["caption"].chunk(0).cast(pa.string()).cast(pa.binary())
            record = json_lines(piece).cast(pa.binary())
            members = [part for suffix, data in ((".txt", caption), (".json", record)) for part in _member(ids, suffix, data)]
            yield text_buffer(pc.binary_join_element_wise(*members, b""))

    def finish(self) -> Iterator[bytes]:
        yield bytes(2 * _BLOCK)


FORMATS: dict[str, Format] = {
    "parquet": Format(".parquet", 250_000, ParquetEncoder),
    "jsonl": Format(".jsonl", 100_000, JsonlEncoder),
    "webdataset": Format(".tar", 100_000, WebDatasetEncoder),
}

# a dictionary of these would be as long as the column
_MOSTLY_DISTINCT = {"id", "index", "caption", "plausibility", "questions.list.element.text"}


class _Sink:
    """The file that Parquet's writer writes to: it only collects, so that no error of a disk passes through the writer."""

    closed = False

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def write(self, data: bytes) -> int:
        self._parts.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        """There is nothing to flush."""

    def close(self) -> None:
        """There is nothing to close."""

    def drain(self) -> Iterator[bytes]:
        parts, self._parts = self._parts, []
        return iter(parts)


def _leaves(schema: pa.Schema) -> list[str]:
    """The paths of a schema's leaves as Parquet spells them (`questions.list.element.text`)."""

    def below(path: str, kind: pa.DataType) -> list[str]:
        if pa.types.is_struct(kind):
            return [leaf for field in kind.fields for leaf in below(f"{path}.{field.name}", field.type)]
        return below(f"{path}.list.element", kind.value_type) if pa.types.is_list(kind) else [path]

    return [leaf for field in schema for leaf in below(field.name, field.type)]


def _pieces(table: pa.Table) -> Iterator[pa.Table]:
    return (table.slice(first, _ROWS_PER_PIECE) for first in range(0, table.num_rows, _ROWS_PER_PIECE))


def _member(ids: pa.Array, suffix: str, data: pa.Array) -> tuple[pa.Array, pa.Array, pa.Array]:
    """Header, content and padding of one tar member per row."""
    names = pc.binary_join_element_wise(ids, suffix, "")
    lengths = pc.binary_length(data).to_numpy()
    padding = pa.DictionaryArray.from_arrays(pa.array((-lengths % _BLOCK).astype(np.int32)), _paddings()).dictionary_decode()
    return _headers(names, lengths), data, padding


@functools.cache  # not when the module is imported: making an array loads pandas where it is installed
def _paddings() -> pa.Array:
    return pa.array([bytes(length) for length in range(_BLOCK)], pa.binary())


def _headers(names: pa.Array, lengths: np.ndarray) -> pa.Array:
    """POSIX (ustar) headers of plain files: mode 644, owner 0, time 0."""
    if not pc.all(pc.match_substring_regex(names, r"^[0-9A-Za-z_-]{1,90}\.[a-z]+$")).as_py():
        bad = names.filter(pc.invert(pc.match_substring_regex(names, r"^[0-9A-Za-z_-]{1,90}\.[a-z]+$")))[0].as_py()
        raise RecordError(f"{bad!r} cannot name a WebDataset member: an id is made of 1 to 90 letters, digits, '_' and '-'.")
    headers = np.tile(_HEADER, (len(names), 1))
    padded = pc.binary_join_element_wise(names, "\0" * 100, "")
    headers[:, :100] = np.frombuffer(text_buffer(pc.binary_slice(padded.cast(pa.binary()), 0, 100)), np.uint8).reshape(-1, 100)
    headers[:, 124:135] = _octal(lengths, 11)
    headers[:, 148:154] = _octal(headers.sum(axis=1, dtype=np.int64), 6)
    headers[:, 154] = 0
    offsets = np.arange(len(names) + 1, dtype=np.int32) * _BLOCK
    return pa.Array.from_buffers(pa.binary(), len(names), [None, pa.py_buffer(offsets), pa.py_buffer(headers)])


def _octal(numbers: np.ndarray, digits: int) -> np.ndarray:
    return ((numbers[:, None] >> (3 * np.arange(digits - 1, -1, -1))) & 7) + ord("0")


_FIELDS = [(100, b"0000644\0" + b"0000000\0" * 2), (124, b"0" * 11 + b"\0" + b"0" * 11 + b"\0" + b" " * 8 + b"0"), (257, b"ustar\00000")]
_HEADER = np.zeros(_BLOCK, np.uint8)
for _at, _text in _FIELDS:
    _HEADER[_at : _at + len(_text)] = np.frombuffer(_text, np.uint8)
