"""The folder of a training run, and what a training loop needs of it: a log, pictures, trackers, checkpoints, guards, a way to stop.

    RUN/
      run.json                    the config and the versions of what it ran on
      metrics.jsonl               one line for each update
      warnings.jsonl              what the guards said, and when first
      rollouts/update-00020.png   some rollouts, a row for each caption, best first
      checkpoints/update-00050/   weights, optimizer, random states; the newest few are kept
      policy/                     the trained weights and policy.json, which says how to load them
      before/ after/              evaluations on held-out scenes
      result.json, report.html    what it came to

Stopped at any moment, the same command goes on from the newest checkpoint.
"""

from __future__ import annotations

import json
import math
import shutil
import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from anyscene.errors import Interrupted, RewardHackedError, RunError
from anyscene.media import Media
from anyscene.rewards import GuardReport, Guards, Score
from anyscene.rewards.protocol import Record, flat_figures
from anyscene.runs import open_folder, remove_temporaries, say, write_atomic
from anyscene.training.policies import TIE
from anyscene.training.sheets import contact_sheet

__all__ = ["Rollouts", "TrainingRun"]

METRICS, WARNINGS, CHECKPOINTS, ROLLOUTS, GUARDS = "metrics.jsonl", "warnings.jsonl", "checkpoints", "rollouts", "guards.json"


@dataclass(frozen=True, slots=True)
class Rollouts:
    """What one update learnt from: pictures, records and scores, the rollouts of a group side by side.

    Attributes:
        media: pictures; None where one could not be made.
        records: the scene of each.
        scores: of each; None where it could not be judged.
    """

    media: Sequence[Media | None]
    records: Sequence[Record]
    scores: Sequence[Score | None]

    def figures(self) -> dict[str, float]:
        """Reward, its spread within groups, share of groups in which all are alike, and the means of what rewards are made of."""
        known = [one.value for one in self.scores if one is not None]
        groups: dict[str, list[float]] = {}
        for record, score in zip(self.records, self.scores, strict=True):
            if score is not None:
                groups.setdefault(str(record["id"]), []).append(score.value)
        spreads = [_deviation(values) for values in groups.values() if len(values) > 1]
        found = {
            "reward": _mean(known),
            "reward_std": _mean(spreads),
            "zero_variance": _mean([float(one < TIE) for one in spreads]),
            "unscored": 1 - len(known) / max(1, len(self.scores)),
        }
        parts = [flat_figures(one) for one in self.scores if one is not None]
        for name in sorted({name for part in parts for name in part}):
            found[f"reward/{name}"] = _mean([part[name] for part in parts if name in part])
        return found


@dataclass
class TrainingRun:
    """An open run.

    Attributes:
        folder: where it is.
        updates: how many there are in all.
        main: is this the process that writes?
        quiet: show nothing.
        guards: watch the rollouts, or None.
        stop_on_guard: does a guard that says stop end the run?
        pictures_every: updates between two sheets of rollouts.
        checkpoint_every: updates between two checkpoints.
        checkpoints_kept: so many of the newest.
        trackers: accelerate's trackers, told of every update.
    """

    folder: Path
    updates: int
    main: bool = True
    quiet: bool = False
    guards: Guards | None = None
    stop_on_guard: bool = True
    pictures_every: int = 20
    checkpoint_every: int = 50
    checkpoints_kept: int = 2
    trackers: Sequence[Any] = ()
    _asked: threading.Event = field(default_factory=threading.Event)
    _advance: Any = None

    # ---- going on -------------------------------------------------------------------------------------------------------------

    def newest_checkpoint(self) -> tuple[int, Path] | None:
        """Number of updates done and folder of the newest whole checkpoint, or None. Does not change anything."""
        whole = self._checkpoints()
        return whole[-1] if whole else None

    def _checkpoints(self) -> list[tuple[int, Path]]:
        found = (self.folder / CHECKPOINTS).glob("update-*")
        return sorted((int(one.name.removeprefix("update-")), one) for one in found if one.name.removeprefix("update-").isdigit())

    def resume(self) -> tuple[int, Path] | None:
        """As `newest_checkpoint`; and what was logged after it is forgotten, the guards remember what they knew then."""
        found = self.newest_checkpoint()
        done = found[0] if found else 0
        if self.main:
            open_folder(self.folder)
            remove_temporaries(self.folder)
            shutil.rmtree(self.folder / CHECKPOINTS / "unfinished", ignore_errors=True)
            for name, lines in ((METRICS, self.metrics()), (WARNINGS, self.warnings())):
                kept = [json.dumps(one).encode() + b"\n" for one in lines if one["update"] <= done]
                if kept or (self.folder / name).exists():
                    write_atomic(self.folder / name, b"".join(kept))
        if found and self.guards is not None and (found[1] / GUARDS).is_file():
            self.guards.load_state_dict(json.loads((found[1] / GUARDS).read_text("utf-8")))
        return found

    def checkpoint_due(self, update: int) -> bool:
        """After update number ``update`` (the first is 1): is it time to save?"""
        return update % self.checkpoint_every == 0 or update == self.updates or self.stop_asked

    @contextmanager
    def checkpoint(self, update: int) -> Iterator[Path]:
        """A folder to write a checkpoint into; it counts as soon as the block is left without an error. For the main process only.

        Raises:
            RunError: it cannot be written.
        """
        place = self.folder / CHECKPOINTS
        unfinished, whole = place / "unfinished", place / f"update-{update:05d}"
        shutil.rmtree(unfinished, ignore_errors=True)
        try:
            unfinished.mkdir(parents=True)
            yield unfinished
            if self.guards is not None:
                (unfinished / GUARDS).write_text(json.dumps(self.guards.state_dict()), "utf-8")
            shutil.rmtree(whole, ignore_errors=True)
            unfinished.rename(whole)
        except OSError as error:
            raise RunError(f"{whole}: the checkpoint cannot be written ({error.strerror or error})") from error
        for _, old in self._checkpoints()[: -self.checkpoints_kept]:
            shutil.rmtree(old, ignore_errors=True)

    # ---- the log --------------------------------------------------------------------------------------------------------------

    def metrics(self) -> list[dict[str, Any]]:
        """What was logged so far, one dict for each update, with ``update`` from 1."""
        return _lines(self.folder / METRICS)

    def warnings(self) -> list[dict[str, Any]]:
        """What the guards said so far: ``update``, ``cause``, ``rule`` and ``message`` of each, where it was said first."""
        return _lines(self.folder / WARNINGS)

    def log(self, update: int, figures: Mapping[str, float], rollouts: Rollouts | None = None) -> None:
        """Keeps the figures of an update, shows progress, watches for hacking, draws a sheet of rollouts from time to time.

        Args:
            update: its number; the first is 1.
            figures: loss, KL, ratio and what else the loop knows; those of the rollouts are added.
            rollouts: of this update, all processes' together; None for an inner update.

        Raises:
            RewardHackedError: a guard says stop.
        """
        report = self._watch(rollouts)
        found = {**(rollouts.figures() if rollouts else {}), **{name: float(value) for name, value in figures.items()}}
        if report is not None:
            found |= report.statistics
        if self.main:
            self._write(update, found, rollouts)
        self._show(update, found)
        if report is not None:
            self._tell(update, report)

    def _write(self, update: int, found: Mapping[str, float], rollouts: Rollouts | None) -> None:
        self._append(METRICS, _line({"update": update, **found}))
        for tracker in self.trackers:
            tracker.log({name: value for name, value in found.items() if math.isfinite(value)}, step=update)
        if rollouts is not None and (update == 1 or update % self.pictures_every == 0):
            place = self.folder / ROLLOUTS
            place.mkdir(exist_ok=True)
            write_atomic(place / f"update-{update:05d}.png", contact_sheet(rollouts.media, rollouts.records, rollouts.scores))

    def _watch(self, rollouts: Rollouts | None) -> GuardReport | None:
        if self.guards is None or rollouts is None:
            return None
        return self.guards.watch(rollouts.media, rollouts.records, rollouts.scores)

    def _tell(self, update: int, report: GuardReport) -> None:
        known = {(one["cause"], one["rule"]) for one in self.warnings()} if report.findings and self.main else set()
        for finding in report.findings:
            if self.main and (finding.cause, finding.rule) not in known:
                known.add((finding.cause, finding.rule))
                say(f"guard {finding.cause}: {finding.message}", quiet=self.quiet)
                said = {"update": update, "cause": finding.cause, "rule": finding.rule, "message": finding.message}
                self._append(WARNINGS, json.dumps(said).encode() + b"\n")
        if report.stop and self.stop_on_guard:
            raise RewardHackedError("; ".join(one.message for one in report.findings if one.rule == "stop"))

    def _append(self, name: str, line: bytes) -> None:
        try:
            with open(self.folder / name, "ab") as file:
                file.write(line)
        except OSError as error:
            raise RunError(f"{self.folder / name}: it cannot be written ({error.strerror})") from error

    # ---- progress and stopping ------------------------------------------------------------------------------------------------

    @property
    def stop_asked(self) -> bool:
        """Has somebody pressed Ctrl-C? The loop saves a checkpoint and calls `stop`."""
        return self._asked.is_set()

    def stop(self, update: int) -> None:
        """Ends a run that was asked to stop.

        Raises:
            Interrupted: always.
        """
        raise Interrupted(f"stopped after {update} of {self.updates} updates; the same command goes on from there")

    @contextmanager
    def training(self, done: int) -> Iterator[None]:
        """Progress, and Ctrl-C that waits for the end of the update. A second Ctrl-C does not wait."""
        before: Any = None
        if threading.current_thread() is threading.main_thread():

            def ask(number: int, frame: Any) -> None:
                if self._asked.is_set():
                    raise KeyboardInterrupt
                self._asked.set()
                say("stopping after this update; press again not to wait", quiet=self.quiet)

            before = signal.signal(signal.SIGINT, ask)
        try:
            with _bar(self.updates, done, self.quiet or not self.main) as self._advance:
                yield
        finally:
            self._advance = None
            if before is not None:
                signal.signal(signal.SIGINT, before)

    def _show(self, update: int, found: Mapping[str, float]) -> None:
        if self._advance is not None:
            said = {"reward": "reward", "kl": "KL", "zero_variance": "tied"}
            self._advance(update, "  ".join(f"{word} {found[name]:.3f}" for name, word in said.items() if name in found))


@contextmanager
def _bar(total: int, done: int, quiet: bool) -> Iterator[Any]:
    import sys

    if quiet or not sys.stderr.isatty():

        def tell(update: int, text: str) -> None:
            if update % max(1, total // 20) == 0:
                say(f"update {update}/{total}  {text}", quiet=quiet)

        yield tell
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("updates  {task.fields[said]}"), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("updates", total=total, completed=done, said="")
        yield lambda update, text: bar.update(task, completed=update, said=text)


def _lines(path: Path) -> list[dict[str, Any]]:
    """JSON lines, as far as they are whole."""
    found: list[dict[str, Any]] = []
    if path.is_file():
        for line in path.read_bytes().split(b"\n")[:-1]:  # a torn last line is dropped
            try:
                found.append(json.loads(line))
            except ValueError:
                break
    return found


def _line(values: Mapping[str, float]) -> bytes:
    plain = {name: (value if math.isfinite(value) else None) for name, value in values.items()}
    return json.dumps(plain, allow_nan=False).encode() + b"\n"


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else math.nan


def _deviation(values: Sequence[float]) -> float:
    middle = _mean(values)
    return math.sqrt(_mean([(one - middle) ** 2 for one in values]))
