"""What a run makes: which rows, in which files. A plan is settled before anything is written."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from anyscene.dataset.encoders import FORMATS
from anyscene.dataset.places import RemotePath
from anyscene.dataset.source import RecordSource
from anyscene.errors import CapacityError, RunError, SpecError
from anyscene.runs import normalized

__all__ = ["ROWS_PER_CHUNK", "DatasetInfo", "Plan", "ShardFile", "is_shard_name", "make_plan", "writer_versions"]

ROWS_PER_CHUNK = 32_768  # rows made at once, and a Parquet row group; part of what fixes the bytes of a file
_SHARD_NAME = re.compile(r"records-\d{5,}-of-\d{5,}\.(parquet|jsonl|tar)")


@dataclass(frozen=True, slots=True)
class ShardFile:
    """One file of a dataset, as the manifest lists it."""

    name: str
    start: int
    rows: int
    bytes: int
    sha256: str

    def to_json(self) -> dict[str, object]:
        """The entry as JSON values."""
        return {"name": self.name, "start": self.start, "rows": self.rows, "bytes": self.bytes, "sha256": self.sha256}

    @classmethod
    def from_json(cls, value: Any) -> ShardFile:
        """The entry that `to_json` gave.

        Raises:
            RunError: It is none.
        """
        wanted = {"name": str, "start": int, "rows": int, "bytes": int, "sha256": str}
        if not isinstance(value, dict) or {key: type(entry) for key, entry in value.items()} != wanted or not is_shard_name(value["name"]):
            raise RunError(f"The run is damaged: {value!r} describes no file of records.")
        return cls(**value)


@dataclass(frozen=True, slots=True)
class DatasetInfo:
    """A finished dataset folder.

    `rows_made` is how many rows this call made; the others were there before.
    """

    folder: Path | RemotePath
    n: int
    start: int
    format: str
    questions: bool
    files: tuple[ShardFile, ...]
    rows_made: int

    @property
    def paths(self) -> tuple[Path | RemotePath, ...]:
        """The files in row order."""
        return tuple(self.folder / file.name for file in self.files)


@dataclass(frozen=True, slots=True)
class Plan:
    """The rows and files of one run."""

    source: dict[str, object]
    n: int
    start: int
    format: str
    shards: int
    questions: bool

    def identity(self) -> dict[str, object]:
        """What two runs must share to be the same run."""
        names = ("source", "n", "start", "format", "shards", "questions")
        return {"kind": "dataset", **{name: getattr(self, name) for name in names}}

    def name(self, shard: int) -> str:
        """The file name of a shard."""
        return f"records-{shard:05d}-of-{self.shards:05d}{FORMATS[self.format].suffix}"

    def rows(self, shard: int) -> range:
        """The rows of a shard: contiguous, and no shard has more than one row more than another."""
        first, last = (self.start + self.n * i // self.shards for i in (shard, shard + 1))
        return range(first, last)


def make_plan(
    source: RecordSource, n: int, *, start: int, format: str, shards: int | None, workers: int, questions: bool, adopt: object = None
) -> Plan:
    """Checks the options and settles what they leave open.

    Args:
        adopt: The identity of the run that a folder holds. Where `shards` is left open and all else agrees, its number is taken.

    Raises:
        SpecError: An option is out of range.
        CapacityError: The source has fewer rows.
    """
    if format not in FORMATS:
        raise SpecError(f"There is no format {format!r}. The formats are {', '.join(map(repr, FORMATS))}.")
    for name, value, least in (("n", n, 1), ("start", start, 0), ("workers", workers, 1)):
        if value < least:
            raise SpecError(f"{name} is {value}; it must be at least {least}.")
    if start + n > source.capacity:
        left = max(source.capacity - start, 0)
        raise CapacityError(f"{n:,} rows from row {start:,} on were asked for; the source has {source.capacity:,}, so at most {left:,}.")
    if shards is not None and not 1 <= shards <= n:
        raise SpecError(f"{shards:,} shards were asked for; {n:,} rows fill 1 to {n:,}.")
    identity = normalized(source.manifest())
    default = min(n, max(workers, -(-n // FORMATS[format].rows_per_shard)))
    plan = Plan(identity, n, start, format, default if shards is None else shards, questions)
    if shards is None and isinstance(adopt, dict) and isinstance(adopt.get("shards"), int):
        adopted = Plan(identity, n, start, format, adopt["shards"], questions)
        plan = adopted if adopted.identity() == adopt else plan
    return plan


def writer_versions() -> dict[str, object]:
    """What else the bytes of a file depend on. Files of other writers hold the same rows, but cannot be mixed in one run."""
    return {"pyarrow": pa.__version__, "rows_per_chunk": ROWS_PER_CHUNK}


def is_shard_name(name: str) -> bool:
    """Whether a file is named like a shard of some plan."""
    return _SHARD_NAME.fullmatch(name) is not None
