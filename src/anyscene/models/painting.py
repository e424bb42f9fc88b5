"""Painting: a model's media for every scene of a run, resumable at any moment.

Each media has a seed of its own, drawn from (seed of the run, record, sample), so which media are made together, and in which order,
changes nothing. A model with several ``workers`` is given as many batches at once; never are more in memory.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anyscene.engines.threads import in_flight
from anyscene.errors import AnySceneError, Interrupted, MediaError
from anyscene.media import Media, MediaEntry, MediaFolder, read_media
from anyscene.models.protocol import Failure, Finds, KnowsTruth, Model
from anyscene.runs import file_error, open_folder, progress, remove_temporaries, say

__all__ = ["PaintReport", "media_seed", "model_facts", "paint"]

SEEDS = 2**31
"""Seeds are below this: every back-end takes them."""


@dataclass(frozen=True, slots=True)
class PaintReport:
    """How many media were asked for, and what became of them."""

    expected: int
    made: int
    failed: int
    refused: int
    missing: int


@dataclass(frozen=True, slots=True)
class _Task:
    position: int
    record: Mapping[str, Any]
    sample: int
    seed: int


def media_seed(seed: int, record_id: str, sample: int) -> int:
    """The seed of one media: a hash of the run's seed, the record and the sample, below 2^31."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{record_id}/{sample}".encode()).digest()[:8], "big") % SEEDS


def paint(
    records: Sequence[Mapping[str, Any]], model: Model, folder: Path, *, seed: int = 0, samples: int = 1, quiet: bool = False
) -> PaintReport:
    """Makes what is missing of a run's media.

    What is there and has the digest of the manifest is kept; what is damaged, failed or missing is made again.

    Args:
        records: the scenes: ``id``, ``index`` and ``caption`` of each are read.
        model: what makes the media.
        folder: where they go, with their manifest.
        seed: of the run.
        samples: media for each scene.
        quiet: show no progress.

    Raises:
        ModelError: the model cannot be used at all.
        RunError: the folder cannot be written; what was made is kept.
        Interrupted: stopped by Ctrl-C; what was made is kept.
    """
    open_folder(folder)
    media = MediaFolder(folder)
    tasks = [
        _Task(position, record, sample, media_seed(seed, record["id"], sample))
        for position, record in enumerate(records)
        for sample in range(samples)
    ]
    done = _kept(media, tasks, quiet)
    todo = [task for task in tasks if (task.record["id"], task.sample) not in done]
    try:
        if todo:
            if match := getattr(model, "match", None):
                say(match(records, samples).line(), quiet=quiet)
            workers = max(getattr(model, "workers", 1), 1)
            with (
                progress(len(tasks), "media", done=len(tasks) - len(todo), quiet=quiet) as advance,
                closing(
                    in_flight(lambda batch: list(_make(media, model, batch)), _batches(model, todo, workers), workers=workers)
                ) as all_made,
            ):
                for batch, made in all_made:
                    media.append(made)
                    done.update((entry.key, entry) for entry in made)
                    advance(len(batch))
            if stop := getattr(model, "stopped", None):  # the budget, or the server: what was made is kept
                raise stop
    except KeyboardInterrupt:
        if close := getattr(model, "close", None):
            close()  # batches that are under way elsewhere are waited for by nobody
        raise Interrupted(f"stopped; {len(done):,} of {len(tasks):,} media are kept: the same command goes on from there") from None
    entries = [done[task.record["id"], task.sample] for task in tasks]
    if todo or entries != media.entries():
        media.rewrite(entries)
    _tidy(folder)
    counts = {status: sum(entry.status == status for entry in entries) for status in ("made", "failed", "refused", "missing")}
    report = PaintReport(len(entries), **counts)
    if report.made < report.expected:
        first = next(entry for entry in entries if entry.status != "made")
        others = ", ".join(f"{number:,} {status}" for status, number in counts.items() if status != "made" and number)
        say(
            f"{report.made:,} of {report.expected:,} media made; {others} (the first: {first.reason}). "
            "They count as missing, not as wrong.",
            quiet=quiet,
        )
    return report


def _kept(media: MediaFolder, tasks: Sequence[_Task], quiet: bool) -> dict[tuple[str, int], MediaEntry]:
    """Entries that need not be made again. Damaged files are named."""
    wanted = {(task.record["id"], task.sample): task.seed for task in tasks}
    kept = {}
    for entry in media.entries():
        if entry.status != "made" or wanted.get(entry.key) != entry.seed:
            continue
        if (problem := media.problem(entry)) is None:
            kept[entry.key] = entry
        else:
            say(f"{problem}; it is made again.", quiet=quiet)
    return kept


def _batches(model: Model, todo: Sequence[_Task], workers: int) -> Iterator[Sequence[_Task]]:
    """What is to be made, in batches; the last ones are smaller where that keeps all workers busy. None once the model has stopped."""
    start = 0
    while start < len(todo) and not getattr(model, "stopped", None):
        share = len(todo) if workers == 1 else -(-(len(todo) - start) // (2 * workers))
        batch = todo[start : start + min(model.batch_size, share)]  # the model may like smaller ones from here on
        start += len(batch)
        yield batch


def _make(media: MediaFolder, model: Model, batch: Sequence[_Task]) -> Iterator[MediaEntry]:
    """Makes and writes the media of a batch."""
    if isinstance(model, Finds):
        found = [_find(model, task) for task in batch]
    else:
        found = model.generate([task.record["caption"] for task in batch], [task.seed for task in batch])
        if len(found) != len(batch):
            raise AnySceneError(
                f"{model.name} gave {len(found)} media for {len(batch)} captions; a model gives one, or a Failure, for each"
            )
    for task, one in zip(batch, found, strict=True):
        record, common = task.record, (task.record["id"], task.record["index"], task.sample, task.seed)
        if isinstance(one, Failure):
            yield MediaEntry(*common, "", None, one.status, " ".join(one.reason.split()))
            continue
        name = media.file_name(task.position, record["id"], task.sample, one.suffix)
        media.write(name, one)
        details = ""
        if isinstance(model, KnowsTruth):
            details = json.dumps(model.details(record["caption"], task.seed), ensure_ascii=False)
        yield MediaEntry(*common, name, one.sha256, "made", details=details)


def _find(model: Finds, task: _Task) -> Media | Failure:
    found = model.find(task.record["id"], task.record["index"], task.record["caption"], task.sample)
    if isinstance(found, Failure):
        return found
    try:
        read = getattr(model, "read", None)  # films and folders of views are more than a file of pictures
        return read(found) if read is not None else read_media(found, getattr(model, "modality", "image"))
    except MediaError as error:
        return Failure("failed", str(error))


def _tidy(folder: Path) -> None:
    """Removes what a killed run left half-written."""
    try:
        remove_temporaries(folder)
        for child in folder.iterdir():
            if child.is_dir():
                remove_temporaries(child)
    except OSError as error:
        raise file_error(error, folder) from error


def model_facts(model: Model) -> dict[str, object]:
    """What a run's manifest says of its model."""
    return {"name": model.name, "revision": model.revision, "modality": model.modality, "settings": dict(model.settings)}
