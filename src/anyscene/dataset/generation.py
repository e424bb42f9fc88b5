"""`generate`: a source of rows to a folder of files, whatever happens on the way.

The folder is claimed by a journal before the first row is made, and by `run.json` after the last. Each shard is entered in the journal once
it is on the disk, so that a run that was cut off goes on where it stopped and ends with the bytes of an unbroken run.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from anyscene.dataset.plan import DatasetInfo, Plan, ShardFile, is_shard_name, make_plan, writer_versions
from anyscene.dataset.source import RecordSource
from anyscene.dataset.workers import make_shards
from anyscene.errors import Interrupted, RunError
from anyscene.runs import (
    JOURNAL_NAME,
    MANIFEST_NAME,
    append_journal,
    differences,
    file_error,
    lock_folder,
    open_folder,
    progress,
    read_journal,
    read_manifest,
    remove_temporaries,
    say,
    sha256_of,
    start_journal,
    write_manifest,
)

__all__ = ["generate"]


def generate(
    source: RecordSource,
    n: int,
    out: str | os.PathLike[str],
    *,
    start: int = 0,
    format: str = "parquet",
    shards: int | None = None,
    workers: int = 1,
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
        out: The folder; it is made where it is missing.
        start: The first row.
        format: "parquet", "jsonl" or "webdataset".
        shards: Into how many files to write; by default at least one per worker, and none of more than 250,000 rows (100,000 in JSONL and
            WebDataset).
        workers: How many processes make shards at the same time.
        questions: Whether records have the column `questions`.
        overwrite: Remove the run that is in the folder first; but go on with this very run where it is unfinished.
        quiet: Print nothing.

    Raises:
        SpecError: An option is out of range. Nothing was written.
        CapacityError: The source has fewer rows. Nothing was written.
        RunError: The folder holds another run or cannot be written to, the disk is full, or a worker process died.
        Interrupted: The user pressed Ctrl-C.
    """
    folder = Path(out)
    settle = partial(make_plan, source, n, start=start, format=format, shards=shards, workers=workers, questions=questions)
    settle()  # refuses what cannot be done before the folder is made
    open_folder(folder)
    try:
        with lock_folder(folder):
            with _file_errors(folder):
                remove_temporaries(folder)
                found = _find_or_clear(folder, settle) if overwrite else _find(folder)
            return _complete(source, settle(adopt=found and found.identity), folder, found, workers=workers, quiet=quiet)
    except KeyboardInterrupt:
        rows = _rows_done(folder)
        raise Interrupted(f"stopped after {rows:,} of {n:,} rows; run the same command again to go on") from None


@dataclass(frozen=True, slots=True)
class _Found:
    """The run that a folder holds."""

    identity: dict[str, object]
    writer: object
    files: list[ShardFile]
    finished: bool


def _find(folder: Path) -> _Found | None:
    """The run that the folder holds, whole or not."""
    manifest = read_manifest(folder)
    journal = None if manifest is not None else read_journal(folder)
    if manifest is not None:
        header, entries = manifest, manifest.pop("files", None)
    elif journal is not None:
        header, entries = journal[0], list(journal[1])
    elif stray := sorted(path.name for path in folder.iterdir() if is_shard_name(path.name)):
        raise RunError(
            f"{folder} holds records of an unknown run ({stray[0]}), without {MANIFEST_NAME}. Choose another folder, or remove them "
            "with --overwrite (overwrite=True)."
        )
    else:
        return None
    if header.get("kind") != "dataset" or not isinstance(entries, list):
        raise RunError(f"{folder} holds a run of the kind {header.get('kind')!r}, not a dataset. Choose another folder.")
    return _Found(header, header.pop("writer", None), [ShardFile.from_json(entry) for entry in entries], manifest is not None)


def _find_or_clear(folder: Path, settle: Callable[..., Plan]) -> _Found | None:
    """The unfinished run of this plan, which the same command with `overwrite` began; anything else is removed."""
    with contextlib.suppress(RunError):  # what cannot be read is removed, or refused, like the rest
        found = _find(folder)
        if found and not found.finished and settle(adopt=found.identity).identity() == found.identity:
            return found
    _clear(folder)
    return None


def _complete(source: RecordSource, plan: Plan, folder: Path, found: _Found | None, *, workers: int, quiet: bool) -> DatasetInfo:
    """Makes what is missing of the plan in the folder."""
    if found and (lines := differences(found.identity, plan.identity())):
        raise RunError(
            f"{folder} belongs to another run ({'; '.join(lines)}). Choose another folder, or replace the run with --overwrite "
            "(overwrite=True)."
        )
    with _file_errors(folder):
        files = _kept(plan, folder, found)
        rows_kept = sum(file.rows for file in files.values())
        if found and found.finished and len(files) == plan.shards:
            (folder / JOURNAL_NAME).unlink(missing_ok=True)
            say(f"{folder} is already complete: {plan.n:,} rows in {plan.shards:,} files. Nothing to do.", quiet=quiet)
            return _info(plan, folder, files, rows_made=0)
        _claim(plan, folder, files)
    if rows_kept:
        say(f"Going on with {folder}: {rows_kept:,} of {plan.n:,} rows are there.", quiet=quiet)
    _make(source, plan, folder, files, workers=workers, quiet=quiet)
    entries = [files[plan.name(shard)].to_json() for shard in range(plan.shards)]
    write_manifest(folder, {**plan.identity(), "writer": writer_versions(), "files": entries})
    with _file_errors(folder):
        (folder / JOURNAL_NAME).unlink()
    return _info(plan, folder, files, rows_made=plan.n - rows_kept)


def _claim(plan: Plan, folder: Path, kept: dict[str, ShardFile]) -> None:
    """Marks the folder as this unfinished run's, and removes every shard that is not kept."""
    start_journal(folder, {**plan.identity(), "writer": writer_versions()}, [file.to_json() for file in kept.values()])
    (folder / MANIFEST_NAME).unlink(missing_ok=True)
    for path in sorted(folder.iterdir()):
        if is_shard_name(path.name) and path.name not in kept:
            path.unlink()


def _make(source: RecordSource, plan: Plan, folder: Path, files: dict[str, ShardFile], *, workers: int, quiet: bool) -> None:
    """Makes the shards that are not in `files`, and enters each there and in the journal."""
    missing = [shard for shard in range(plan.shards) if plan.name(shard) not in files]
    rows_kept = sum(file.rows for file in files.values())
    try:
        with (
            progress(plan.n, "rows", done=rows_kept, quiet=quiet) as advance,
            contextlib.closing(make_shards(source, plan, missing, folder, workers=workers, advance=advance)) as made,
        ):
            for file in made:
                append_journal(folder, file.to_json())
                files[file.name] = file
    finally:
        with contextlib.suppress(OSError):  # or it would hide the error that ended the run
            remove_temporaries(folder)


def _kept(plan: Plan, folder: Path, found: _Found | None) -> dict[str, ShardFile]:
    """The files of an earlier run that are in the folder as they should be. Those of two writers are never mixed."""
    if found is None:
        return {}
    intact = {file.name: file for file in found.files if _is_intact(folder, file)}
    whole = found.finished and len(intact) == plan.shards
    return intact if whole or found.writer == writer_versions() else {}


def _is_intact(folder: Path, file: ShardFile) -> bool:
    path = folder / file.name
    return path.is_file() and path.stat().st_size == file.bytes and sha256_of(path) == file.sha256


def _clear(folder: Path) -> None:
    """Removes a dataset: first what claims the folder, so that a run half removed is never taken for a whole one.

    Raises:
        RunError: The folder holds a run of another kind.
    """
    kind: object = "dataset"
    with contextlib.suppress(RunError):  # a damaged manifest is no reason to keep it
        header = read_manifest(folder) or (read_journal(folder) or ({"kind": kind},))[0]
        kind = header.get("kind")
    if kind != "dataset":
        raise RunError(f"{folder} holds a run of the kind {kind!r}, which is not overwritten with a dataset. Choose another folder.")
    for name in (MANIFEST_NAME, JOURNAL_NAME):
        (folder / name).unlink(missing_ok=True)
    for path in sorted(folder.iterdir()):
        if is_shard_name(path.name):
            path.unlink()


def _rows_done(folder: Path) -> int:
    with contextlib.suppress(RunError):
        found = _find(folder)
        return sum(file.rows for file in found.files) if found else 0
    return 0


def _info(plan: Plan, folder: Path, files: dict[str, ShardFile], rows_made: int) -> DatasetInfo:
    ordered = tuple(files[plan.name(shard)] for shard in range(plan.shards))
    return DatasetInfo(folder, plan.n, plan.start, plan.format, plan.questions, ordered, rows_made)


@contextlib.contextmanager
def _file_errors(folder: Path) -> Iterator[None]:
    """Tells what an `OSError` in the folder means. The source is called outside of it: its errors are its own."""
    try:
        yield
    except OSError as error:
        raise file_error(error, folder) from error
