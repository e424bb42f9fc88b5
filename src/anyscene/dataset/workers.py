"""Making shards, wherever the engine works.

A worker that reaches the folder writes its shards itself; one that does not sends them here piece by piece, as they are made.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from anyscene.dataset.encoders import FORMATS
from anyscene.dataset.plan import ROWS_PER_CHUNK, Plan, ShardFile
from anyscene.dataset.source import RecordSource, records_between
from anyscene.dataset.storage import RemoteFile, Storage
from anyscene.engines import Engine
from anyscene.errors import RunError
from anyscene.runs import AtomicFile, normalized

__all__ = ["make_shards"]

_PIECE_BYTES = 1 << 22  # of a shard that is sent: enough that sending costs nothing beside making it

Part = tuple[int, bytes | memoryview]


def make_shards(
    source: RecordSource, plan: Plan, shards: Iterable[int], storage: Storage, *, engine: Engine, advance: Callable[[int], None]
) -> Generator[ShardFile, None, None]:
    """Makes the shards with as many workers as are of use, gives each when it is in the folder, and puts it on record. Closing it ends the
    workers.

    Raises:
        RunError: A worker died, or a file could not be written.
    """
    if storage.reaches_all or engine.shares_disk:
        made = _made_there(source, plan, shards, storage, engine, advance)
    else:
        made = _written_here(source, plan, shards, storage, engine, advance)
    with contextlib.closing(made):
        for file in made:
            if not storage.reaches_all:
                storage.enter(file)
            yield file


def write_shard(common: tuple[RecordSource, Plan, Storage], shard: int) -> Iterator[int | ShardFile]:
    """Makes one shard file in the folder: numbers of rows as they are made, and at the end what became of it."""
    source, plan, storage = common
    with storage.file(plan.name(shard)) as file:
        for rows, part in _parts(source, plan, shard):
            if part:
                file.write(part)
            if rows:
                yield rows
    made = _shard_file(plan, shard, file)
    if storage.reaches_all:
        storage.enter(made)
    yield made


@dataclass(frozen=True, slots=True)
class Piece:
    """Some bytes of a shard, in their order; `rows` were made since the last piece."""

    data: Any
    rows: int
    last: bool


def send_shard(common: tuple[RecordSource, Plan], shard: int) -> Iterator[Piece]:
    """Makes one shard as pieces of a few MB."""
    source, plan = common
    parts: list[bytes | memoryview] = []
    size = rows_made = 0
    for rows, part in _parts(source, plan, shard):
        parts.append(part)
        size += len(part)
        rows_made += rows
        if size >= _PIECE_BYTES:
            yield Piece(np.frombuffer(b"".join(parts), np.uint8), rows_made, last=False)  # arrays go without being copied once more
            parts, size, rows_made = [], 0, 0
    yield Piece(np.frombuffer(b"".join(parts), np.uint8), rows_made, last=True)


def _parts(source: RecordSource, plan: Plan, shard: int) -> Iterator[Part]:
    """The bytes of a shard in their order, chunk by chunk, each part with the number of rows that it completes."""
    if normalized(source.manifest()) != plan.source:
        raise RunError("A worker has other words or another version of Anyscene than this process. Install the same on every node.")
    rows = plan.rows(shard)
    encoder = FORMATS[plan.format].encoder()
    for first in range(rows.start, rows.stop, ROWS_PER_CHUNK):
        last = min(first + ROWS_PER_CHUNK, rows.stop)
        for part in encoder.encode(records_between(source, first, last, plan.questions)):
            yield 0, part
        yield last - first, b""
    for part in encoder.finish():
        yield 0, part


def _shard_file(plan: Plan, shard: int, file: AtomicFile | RemoteFile) -> ShardFile:
    rows = plan.rows(shard)
    return ShardFile(plan.name(shard), rows.start, len(rows), file.size, file.sha256)


def _made_there(
    source: RecordSource, plan: Plan, shards: Iterable[int], storage: Storage, engine: Engine, advance: Callable[[int], None]
) -> Generator[ShardFile, None, None]:
    """The workers write."""
    with contextlib.closing(engine.stream(write_shard, (source, plan, storage), shards)) as parts:
        for _, part in parts:
            if isinstance(part, ShardFile):
                if storage.reaches_all and not storage.is_intact(part):
                    raise RunError(
                        f"A worker has written {part.name} into {storage}, and it is not to be seen from here. Give a place that this "
                        "machine and all workers share, or a plain path: this machine writes there what the workers send."
                    )
                yield part
            else:
                advance(part)


def _written_here(
    source: RecordSource, plan: Plan, shards: Iterable[int], storage: Storage, engine: Engine, advance: Callable[[int], None]
) -> Generator[ShardFile, None, None]:
    """The workers send, this process writes."""
    with contextlib.ExitStack() as stack, contextlib.closing(engine.stream(send_shard, (source, plan), shards)) as pieces:
        begun: dict[int, tuple[AtomicFile | RemoteFile, contextlib.ExitStack]] = {}
        for shard, piece in pieces:
            if shard not in begun:
                own = stack.enter_context(contextlib.ExitStack())  # closed with the last piece, or with an error
                begun[shard] = storage.file(plan.name(shard)), own
                own.enter_context(begun[shard][0])
            file, own = begun[shard]
            file.write(piece.data)
            advance(piece.rows)
            if piece.last:
                own.close()
                del begun[shard]
                yield _shard_file(plan, shard, file)
