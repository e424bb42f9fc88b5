"""`generate`: a source of rows to a folder of files, whatever happens on the way.

The folder is claimed by a journal before the first row is made, and by `run.json` after the last. Each shard is entered in the journal once
it is written, so that a run that was cut off goes on where it stopped and ends with the bytes of an unbroken run.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from anyscene.dataset.places import RemotePath, path_or_uri
from anyscene.dataset.plan import DatasetInfo, Plan, ShardFile, is_shard_name, make_plan, writer_versions
from anyscene.dataset.source import RecordSource
from anyscene.dataset.storage import Storage, storage_at
from anyscene.dataset.workers import make_shards
from anyscene.engines import Engine, LocalEngine
from anyscene.errors import Interrupted, RunError
from anyscene.runs import MANIFEST_NAME, differences, progress, say

__all__ = ["generate"]


def generate(
    source: RecordSource,
    n: int,
    out: str | os.PathLike[str] | RemotePath,
    *,
    start: int = 0,
    format: str = "parquet",
    shards: int | None = None,
    workers: int = 1,
    engine: Engine | None = None,
    questions: bool = True,
    overwrite: bool = False,
    quiet: bool = False,
) -> DatasetInfo:
    """Writes rows `[start, start + n)` of the source into the folder `out`.

    Neither the number of workers nor the number of shards changes the rows, and the same `n`, `start`, `shards` and `format` give the same
    bytes. A run that was cut off goes on when it is called again; one that is complete is checked and left alone.

    Args:
        source: Where the rows come from.
        n: How many rows to write.
        out: The folder; it is made where it is missing. Or a URI that Arrow or fsspec knows, like `s3://bucket/folder`: there the workers
            write for themselves, and nothing keeps two runs out of one folder.
        start: The first row.
        format: "parquet", "jsonl" or "webdataset".
        shards: Into how many files to write; by default at least one per worker, and none of more than 250,000 rows (100,000 in JSONL and
            WebDataset).
        workers: How many processes make shards at the same time.
        engine: Where shards are made; by default in so many processes of this machine. Given, its workers count.
        questions: Whether records have the column `questions`.
        overwrite: Remove the run that is in the folder first; but go on with this very run where it is unfinished.
        quiet: Print nothing.

    Raises:
        SpecError: An option is out of range. Nothing was written.
        CapacityError: The source has fewer rows. Nothing was written.
        RunError: The folder holds another run or cannot be written to, the disk is full, or a worker process died.
        MissingExtraError: The URI needs a library that is not installed.
        Interrupted: The user pressed Ctrl-C.
    """
    storage = storage_at(path_or_uri(out))
    workers = engine.workers if engine else workers
    settle = partial(make_plan, source, n, start=start, format=format, shards=shards, workers=workers, questions=questions)
    settle()  # refuses what cannot be done before the folder is made
    storage.open()
    try:
        with storage.lock():
            with storage.errors():
                storage.remove_temporaries()
                found = _find_or_clear(storage, settle) if overwrite else _find(storage)
            plan = settle(adopt=found and found.identity)
            return _complete(source, plan, storage, found, engine=engine or LocalEngine(workers), quiet=quiet)
    except KeyboardInterrupt:
        rows = _rows_done(storage)
        raise Interrupted(f"stopped after {rows:,} of {n:,} rows; run the same command again to go on") from None


@dataclass(frozen=True, slots=True)
class _Found:
    """The run that a folder holds."""

    identity: dict[str, object]
    writer: object
    files: list[ShardFile]
    finished: bool


def _find(storage: Storage) -> _Found | None:
    """The run that the folder holds, whole or not."""
    manifest = storage.read_manifest()
    journal = None if manifest is not None else storage.read_journal()
    if manifest is not None:
        header, entries = manifest, manifest.pop("files", None)
    elif journal is not None:
        header, entries = journal[0], list(journal[1])
    elif stray := [name for name in storage.names() if is_shard_name(name)]:
        raise RunError(
            f"{storage} holds records of an unknown run ({stray[0]}), without {MANIFEST_NAME}. Choose another folder, or remove them "
            "with --overwrite (overwrite=True)."
        )
    else:
        return None
    if header.get("kind") != "dataset" or not isinstance(entries, list):
        raise RunError(f"{storage} holds a run of the kind {header.get('kind')!r}, not a dataset. Choose another folder.")
    return _Found(header, header.pop("writer", None), [ShardFile.from_json(entry) for entry in entries], manifest is not None)


def _find_or_clear(storage: Storage, settle: Callable[..., Plan]) -> _Found | None:
    """The unfinished run of this plan, which the same command with `overwrite` began; anything else is removed."""
    with contextlib.suppress(RunError):  # what cannot be read is removed, or refused, like the rest
        found = _find(storage)
        if found and not found.finished and settle(adopt=found.identity).identity() == found.identity:
            return found
    _clear(storage)
    return None


def _complete(source: RecordSource, plan: Plan, storage: Storage, found: _Found | None, *, engine: Engine, quiet: bool) -> DatasetInfo:
    """Makes what is missing of the plan in the folder."""
    if found and (lines := differences(found.identity, plan.identity())):
        raise RunError(
            f"{storage} belongs to another run ({'; '.join(lines)}). Choose another folder, or replace the run with --overwrite "
            "(overwrite=True)."
        )
    with storage.errors():
        files = _kept(plan, storage, found)
        rows_kept = sum(file.rows for file in files.values())
        if found and found.finished and len(files) == plan.shards:
            storage.end_journal()
            say(f"{storage} is already complete: {plan.n:,} rows in {plan.shards:,} files. Nothing to do.", quiet=quiet)
            return _info(plan, storage, files, rows_made=0)
        _claim(plan, storage, files)
    if rows_kept:
        say(f"Going on with {storage}: {rows_kept:,} of {plan.n:,} rows are there.", quiet=quiet)
    _make(source, plan, storage, files, engine=engine, quiet=quiet)
    entries = [files[plan.name(shard)].to_json() for shard in range(plan.shards)]
    storage.write_manifest({**plan.identity(), "writer": writer_versions(), "files": entries})
    with storage.errors():
        storage.end_journal()
    return _info(plan, storage, files, rows_made=plan.n - rows_kept)


def _claim(plan: Plan, storage: Storage, kept: dict[str, ShardFile]) -> None:
    """Marks the folder as this unfinished run's, and removes every shard that is not kept."""
    storage.start_journal({**plan.identity(), "writer": writer_versions()}, kept.values())
    storage.remove(MANIFEST_NAME)
    for name in storage.names():
        if is_shard_name(name) and name not in kept:
            storage.remove(name)


def _make(source: RecordSource, plan: Plan, storage: Storage, files: dict[str, ShardFile], *, engine: Engine, quiet: bool) -> None:
    """Makes the shards that are not in `files`, and enters each there and in the journal."""
    missing = [shard for shard in range(plan.shards) if plan.name(shard) not in files]
    rows_kept = sum(file.rows for file in files.values())
    try:
        with (
            progress(plan.n, "rows", done=rows_kept, quiet=quiet) as advance,
            contextlib.closing(make_shards(source, plan, missing, storage, engine=engine, advance=advance)) as made,
        ):
            for file in made:
                files[file.name] = file
    finally:
        with contextlib.suppress(OSError, RunError):  # or it would hide the error that ended the run
            storage.remove_temporaries()


def _kept(plan: Plan, storage: Storage, found: _Found | None) -> dict[str, ShardFile]:
    """The files of an earlier run that are in the folder as they should be. Those of two writers are never mixed."""
    if found is None:
        return {}
    intact = {file.name: file for file in found.files if storage.is_intact(file)}
    whole = found.finished and len(intact) == plan.shards
    return intact if whole or found.writer == writer_versions() else {}


def _clear(storage: Storage) -> None:
    """Removes a dataset: first what claims the folder, so that a run half removed is never taken for a whole one.

    Raises:
        RunError: The folder holds a run of another kind.
    """
    kind: object = "dataset"
    with contextlib.suppress(RunError):  # a damaged manifest is no reason to keep it
        header = storage.read_manifest() or (storage.read_journal() or ({"kind": kind},))[0]
        kind = header.get("kind")
    if kind != "dataset":
        raise RunError(f"{storage} holds a run of the kind {kind!r}, which is not overwritten with a dataset. Choose another folder.")
    storage.remove(MANIFEST_NAME)
    storage.end_journal()
    for name in storage.names():
        if is_shard_name(name):
            storage.remove(name)


def _rows_done(storage: Storage) -> int:
    with contextlib.suppress(RunError):
        found = _find(storage)
        return sum(file.rows for file in found.files) if found else 0
    return 0


def _info(plan: Plan, storage: Storage, files: dict[str, ShardFile], rows_made: int) -> DatasetInfo:
    ordered = tuple(files[plan.name(shard)] for shard in range(plan.shards))
    return DatasetInfo(storage.path, plan.n, plan.start, plan.format, plan.questions, ordered, rows_made)
