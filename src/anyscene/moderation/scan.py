"""Scanning: every file of some folders gets one line that says what it is and how likely it is generated.

    summary = scan(["uploads"], load_detector("detector"), Path("results.parquet"))
    for finding in scan_pictures(["uploads"], load_detector("detector")): ...

Files are opened by processes of their own (`openers`), a few ahead of the detector and no more, so that memory has an end. Lines come in
the order of the listing whatever the number of workers. No file can stop a scan; only the user, the disk or a detector that cannot be used
at all can, and then the same command goes on where it was.
"""

from __future__ import annotations

import os
import sys
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from PIL import Image

from anyscene.errors import AnySceneError, Interrupted, SpecError
from anyscene.moderation.findings import Finding, Findings
from anyscene.moderation.listing import Listing, Source
from anyscene.moderation.openers import Openers
from anyscene.moderation.opening import SCORED, VERDICTS, Opened, OpeningLimits
from anyscene.runs import progress

__all__ = ["ScanSummary", "Scorer", "ScoresPictures", "check_scanner", "expected_false_positives", "finding_of", "scan", "scan_pictures"]

BATCH = 64
BATCH_PIXELS = 2**25
"""Of all pictures that go to the detector together; a single one may have more."""
WAITING = 512
"""Lines that may wait for those before them."""
FAILED_IN_A_ROW = 20
"""So many pictures at which a detector fails one after the other are no longer the pictures' fault."""


class ScoresPictures(Protocol):
    """What scanning asks of a detector; `detector.Detector` is one."""

    @property
    def threshold(self) -> float:
        """A picture with a higher score is called generated."""
        ...

    def score(self, pictures: Sequence[Any]) -> list[float | None]:
        """How likely each picture (PIL, RGB) is generated, from 0 to 1; None where that cannot be said."""
        ...


@dataclass(frozen=True, slots=True)
class ScanSummary:
    """What a scan came to.

    Attributes:
        files: that got a line.
        verdicts: how many of each; those that there are none of are left out.
        scored: pictures with a score.
        generated: of these, with a score above the threshold.
        reused: lines of an earlier scan, whose files had not changed.
        companions: members of tars that belong to pictures and were left out.
        threshold: that was taken.
        expected: what `expected_false_positives` says of so many pictures; None where the rate is not known.
    """

    files: int
    verdicts: Mapping[str, int]
    scored: int
    generated: int
    reused: int
    companions: int
    threshold: float
    expected: Mapping[str, float] | None

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {**asdict(self), "verdicts": dict(self.verdicts), "expected": dict(self.expected) if self.expected else None}


def scan(
    paths: Sequence[str | os.PathLike[str]],
    detector: ScoresPictures,
    out: Path,
    *,
    threshold: float | None = None,
    limits: OpeningLimits | None = None,
    workers: int | None = None,
    batch: int = BATCH,
    quiet: bool = True,
) -> ScanSummary:
    """Scans everything that some paths name and writes one line a file.

    What an earlier scan into the same file found is kept where path and SHA-256 are the same.

    Args:
        paths: files, folders, patterns, tar files of a WebDataset.
        detector: gives the scores.
        out: the results: ``.jsonl``, ``.csv`` or ``.parquet``.
        threshold: above which a picture is called generated; by default the detector's own.
        limits: of one file.
        workers: processes that open files; by default one for each core, and at most 8.
        batch: pictures that go to the detector together.
        quiet: show no progress.

    Raises:
        SpecError: an option cannot be honoured, a path is not there, or the detector looks at how files are encoded.
        RunError: the results cannot be written, or those that are there are of another scan.
        Interrupted: by Ctrl-C; the same call goes on.
        AnySceneError: the detector cannot be used at all.
    """
    limits = limits or OpeningLimits()
    threshold = checked_threshold(detector, threshold)
    findings = Findings(out, {"detector": identity_of(detector), "limits": _of_results(limits)})
    listing = Listing(paths, limits.file_bytes, [out, findings.facts, findings.parts])
    counts: Counter[str] = Counter()
    with findings.opened(), Openers(workers, limits) as openers:
        listing.leave_out(findings.own_files)
        total = listing.count() if not quiet and sys.stderr.isatty() else 0
        try:
            with progress(total, "files", quiet=quiet) as advance:
                for some in _findings(listing, detector, openers, batch, findings.known):
                    findings.add(one for one, _ in some)
                    counts.update(_counted(some, threshold))
                    advance(len(some))
        except KeyboardInterrupt:
            raise Interrupted(f"stopped after {counts['files']:,} files; the same command goes on from there") from None
        scored = counts["scored"]
        summary = ScanSummary(
            files=counts["files"],
            verdicts={name: counts[f"verdict {name}"] for name in VERDICTS if counts[f"verdict {name}"]},
            scored=scored,
            generated=counts["generated"],
            reused=counts["reused"],
            companions=listing.companions,
            threshold=threshold,
            expected=expected_false_positives(detector, threshold, scored),
        )
        findings.finish(threshold, {name: value for name, value in summary.to_dict().items() if name != "reused"})
    return summary


def scan_pictures(
    paths: Sequence[str | os.PathLike[str]],
    detector: ScoresPictures,
    *,
    threshold: float | None = None,
    limits: OpeningLimits | None = None,
    workers: int | None = None,
    batch: int = BATCH,
) -> Iterator[Finding]:
    """The findings of `scan` one after the other, written nowhere. Arguments and errors are those of `scan`."""
    limits = limits or OpeningLimits()
    above = checked_threshold(detector, threshold)
    listing = Listing(paths, limits.file_bytes)
    with Openers(workers, limits) as openers:
        for some in _findings(listing, detector, openers, batch, {}):
            yield from (one.judged(above) for one, _ in some)


def checked_threshold(detector: ScoresPictures, threshold: float | None) -> float:
    """The threshold that is taken.

    Raises:
        SpecError: it is not from 0 to 1, or the detector looks at something else than pictures.
    """
    check_scanner(detector)
    if threshold is None:
        return detector.threshold
    if not 0 <= threshold <= 1:
        raise SpecError(f"threshold {threshold:g}: scores, and so thresholds, are from 0 to 1")
    return threshold


def check_scanner(detector: ScoresPictures) -> None:
    """Whether a detector looks at pictures.

    Raises:
        SpecError: it looks at how files are encoded, which a scan of strangers' files must not go by.
    """
    facts = getattr(detector, "facts", {})
    if facts.get("backbone", {}).get("name") == "hand":
        raise SpecError(
            "a detector on hand-made features looks at how files are encoded, not at pictures: it is a baseline, not for scanning"
        )


def expected_false_positives(detector: ScoresPictures, threshold: float, scored: int) -> dict[str, float] | None:
    """How many of so many pictures would be called generated if all were real.

    Returns:
        ``rate``, ``low`` and ``high`` (of the real pictures that the threshold was made from, with their exact 95 % interval), and
        ``pictures``, ``pictures_low``, ``pictures_high``; None where the threshold is not the detector's, or it was not calibrated.
    """
    made = getattr(detector, "facts", {}).get("calibration")
    if not made or threshold != detector.threshold:
        return None
    rate, low, high = float(made["rate"]), float(made["low"]), float(made["high"])
    return {"rate": rate, "low": low, "high": high, "pictures": rate * scored, "pictures_low": low * scored, "pictures_high": high * scored}


def finding_of(path: str, opened: Opened, scores: Sequence[float | None]) -> Finding:
    """The line of a file, from what was opened and the scores of its pictures; of several frames, their mean."""
    known = [one for one in scores if one is not None]
    notes = opened.notes
    if opened.verdict in SCORED and not known:
        notes = (*notes, "the detector gives it no score")
    score = sum(known) / len(known) if known else None
    about = {"format": opened.format, "width": opened.width, "height": opened.height, "bytes": opened.size}
    return Finding(path, opened.sha256, opened.verdict, score, None, notes, **about)  # type: ignore[arg-type]


def identity_of(detector: ScoresPictures) -> str:
    """What tells a detector from others: its digest, or else its class."""
    return str(getattr(detector, "digest", None) or f"{type(detector).__module__}.{type(detector).__qualname__}")


def _of_results(limits: OpeningLimits) -> dict[str, Any]:
    """The limits that scores depend on."""
    return {name: value for name, value in asdict(limits).items() if name not in ("memory_bytes", "timeout_s")}


def _counted(some: Iterable[tuple[Finding, bool]], threshold: float) -> Iterator[str]:
    for one, reused in some:
        yield from ("files", f"verdict {one.verdict}")
        if one.score is not None:
            yield from ("scored", "generated") if one.score > threshold else ("scored",)
        if reused:
            yield "reused"


def _findings(
    listing: Listing, detector: ScoresPictures, openers: Openers, batch: int, known: Mapping[str, Finding]
) -> Iterator[list[tuple[Finding, bool]]]:
    """Findings in the order of the listing, some at a time, and whether each was known."""
    if batch < 1:
        raise SpecError(f"batch = {batch}: it must be at least 1")
    scorer = Scorer(detector, batch)
    lines: list[tuple[str, Opened, Finding | None]] = []
    pixels = number = 0
    for source, opened in _opened(listing, openers, known):
        before = known.get(source.path)
        if before is not None and (before.sha256 != opened.sha256 or opened.verdict != "ok" or opened.pictures):
            before = None
        if lines and pixels + opened.pixels > BATCH_PIXELS:
            yield scorer.lines(lines)
            lines, pixels, number = [], 0, 0
        lines.append((source.path, opened, before))
        pixels, number = pixels + opened.pixels, number + len(opened.pictures)
        if number >= batch or len(lines) >= WAITING:
            yield scorer.lines(lines)
            lines, pixels, number = [], 0, 0
    if lines:
        yield scorer.lines(lines)


def _opened(listing: Listing, openers: Openers, known: Mapping[str, Finding]) -> Iterator[tuple[Source, Opened]]:
    """Everything of a listing, opened a little ahead, in order."""
    ahead: deque[tuple[Source, Future[Opened] | Opened]] = deque()
    for source in listing:
        if isinstance(source.content, Opened):
            ahead.append((source, source.content))
        else:
            before = known.get(source.path)
            job = openers.submit(source.content, name=source.name, known=before.sha256 if before is not None else "")
            ahead.append((replace(source, content=b""), job))  # a member's bytes are the job's alone
        if len(ahead) > openers.workers + 1:
            yield _result(ahead.popleft())
    while ahead:
        yield _result(ahead.popleft())


def _result(waiting: tuple[Source, Future[Opened] | Opened]) -> tuple[Source, Opened]:
    source, job = waiting
    return source, job if isinstance(job, Opened) else job.result()


class Scorer:
    """Asks a detector for scores, so that a picture at which it fails spoils no other's.

    Args:
        detector: is asked.
        batch: pictures at once.
    """

    def __init__(self, detector: ScoresPictures, batch: int = BATCH) -> None:
        self.detector, self.batch, self._failed = detector, batch, 0

    def lines(self, waiting: Sequence[tuple[str, Opened, Finding | None]]) -> list[tuple[Finding, bool]]:
        """The lines of some files: what is known already stays as it is."""
        pictures = [picture for _, opened, before in waiting if before is None for picture in opened.pictures]
        scores = iter(self.scores(pictures))
        found = []
        for path, opened, before in waiting:
            if before is not None:
                found.append((replace(before, path=path), True))
            else:
                found.append((self.line(path, opened, [next(scores) for _ in opened.pictures]), False))
        return found

    def line(self, path: str, opened: Opened, scores: Sequence[float | Exception | None]) -> Finding:
        """The line of one file; where the detector failed, the verdict is ``not_scored``."""
        failed = next((one for one in scores if isinstance(one, Exception)), None)
        if failed is not None:
            said = f"{type(failed).__name__}: {' '.join(str(failed).split())[:160]}"
            opened = replace(opened, verdict="not_scored", notes=(*opened.notes, said))
        return finding_of(path, opened, [] if failed is not None else [one for one in scores if not isinstance(one, Exception)])

    def scores(self, pictures: Sequence[Image.Image]) -> list[float | Exception | None]:
        """A score, None or what went wrong, for each picture.

        Raises:
            AnySceneError: the detector cannot be used at all, as it says itself or as many failures in a row show.
        """
        found: list[float | Exception | None] = []
        for first in range(0, len(pictures), self.batch):
            found += self._of(pictures[first : first + self.batch])
        return found

    def _of(self, pictures: Sequence[Image.Image]) -> list[float | Exception | None]:
        try:
            found = self.detector.score(pictures)
            if len(found) != len(pictures):
                raise AnySceneError(f"the detector gave {len(found)} scores for {len(pictures)} pictures")
            self._failed = 0
            return [_sound(one) for one in found]
        except AnySceneError:
            raise
        except Exception as error:  # of whatever the detector is made of; halved, one picture does not spoil the others
            if len(pictures) == 1:
                self._failed += 1
                if self._failed >= FAILED_IN_A_ROW:
                    raise AnySceneError(f"the detector failed at {self._failed} pictures in a row; at the last: {error}") from error
                return [error]
        half = len(pictures) // 2
        return [*self._of(pictures[:half]), *self._of(pictures[half:])]


def _sound(score: float | None) -> float | None:
    return float(score) if score is not None and 0 <= score <= 1 else None
