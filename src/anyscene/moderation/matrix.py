"""Evaluating detectors: each on each generator of each data set, clean and degraded, beside baselines and each other.

The folder of an evaluation:

OUT/
  evaluation.json                          all figures with intervals
  report.html
  scores/<detector>/<data>/<what>.parquet  score of each picture, kept for the next time
  baselines/<data>/                        a detector on hand features, trained as the others were
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from anyscene import __version__
from anyscene.errors import Interrupted, LeakageError, SpecError
from anyscene.evaluation.run import json_bytes, parquet_bytes, slug
from anyscene.moderation.dataset import GENERATED, REAL, DetectorData, Picture, open_dataset
from anyscene.moderation.degrade import SWEEP, check_degradation, degrade
from anyscene.moderation.detector import Detector, load_detector
from anyscene.moderation.metrics import Measured, Scored, compare_auroc, measure
from anyscene.runs import normalized, open_folder, progress, write_atomic
from anyscene.scoring.statistics import RESAMPLES, Difference, Mean, adjust_holm, compare_paired

__all__ = ["HeldOut", "compare_recall", "evaluate_matrix", "scores_of"]

EVALUATION, REPORT, SCORES, BASELINES = "evaluation.json", "report.html", "scores", "baselines"
KIND, VERSION = "detector-evaluation", 1
FEWER = 500
"""Resamples for degraded pictures, which are many and of which less depends."""
AT_ONCE = 256


@dataclass(frozen=True)
class HeldOut:
    """A data set's pictures that detectors are tested on.

    Attributes:
        name: of the data set.
        data: the data set.
        pictures: of one split.
    """

    name: str
    data: DetectorData
    pictures: tuple[Picture, ...]

    def scored(self, scores: Sequence[float | None], generator: str = "") -> Scored:
        """The real pictures and those of a generator, or of all, with their scores."""
        places = [place for place, one in enumerate(self.pictures) if one.label == REAL or generator in ("", one.generator)]
        chosen = [self.pictures[place] for place in places]
        return Scored.of([scores[place] for place in places], [one.label == GENERATED for one in chosen], [one.group for one in chosen])

    @property
    def generators(self) -> list[str]:
        """Those whose pictures are among them."""
        return sorted({one.generator for one in self.pictures if one.label == GENERATED})


def evaluate_matrix(
    detectors: Sequence[Detector | str | Path],
    data: Sequence[DetectorData | str | Path],
    out: str | Path,
    *,
    degradations: Sequence[str] = SWEEP,
    split: str = "test",
    baselines: bool = True,
    drop_seen: bool = False,
    batch: int = 64,
    device: str = "auto",
    seed: int = 0,
    quiet: bool = False,
) -> dict[str, Any]:
    """Evaluates detectors, and writes figures and a report.

    Args:
        detectors: each is tested on all data sets; with several, each two are compared.
        data: data sets.
        out: the folder to write into.
        degradations: see `degrade.check_degradation`; all pictures, real and generated, are degraded alike.
        split: of the data sets.
        baselines: train a detector on hand features for each data set that a detector was trained on and that is among ``data``.
        drop_seen: leave out what a detector has seen in training, instead of refusing it.
        batch: pictures at a time.
        device: of torch, or ``auto``.
        seed: of the resampling.
        quiet: show no progress.

    Returns:
        What ``evaluation.json`` holds.

    Raises:
        SpecError: there is nothing to test, two have one name, or a degradation is not known.
        LeakageError: a detector has seen pictures that it is tested on.
        Interrupted: stopped by Ctrl-C; scores of what was finished are kept.
    """
    for name in degradations:
        check_degradation(name)
    out = Path(out)
    judges = _named([one if isinstance(one, Detector) else load_detector(one, device=device) for one in detectors], "detector")
    sets = {name: _tested(name, one, split) for name, one in _named([_opened(one) for one in data], "data set").items()}
    open_folder(out)
    hand = _hand(judges, sets, out, quiet) if baselines else {}
    notes: list[str] = []
    cells: list[dict[str, Any]] = []
    clean: dict[tuple[str, str], list[float | None]] = {}
    for label, detector in {**judges, **hand}.items():
        for name, tested in sets.items():
            seen = _unseen(detector, label, tested, drop_seen, notes)
            for degradation in ("", *degradations):
                scores = scores_of(detector, seen, degradation, out / SCORES / slug(label) / slug(name), batch=batch, quiet=quiet)
                if not degradation:
                    kept = dict(zip((one.file for one in seen.pictures), scores, strict=True))
                    clean[label, name] = [kept.get(one.file) for one in tested.pictures]
                cells += _cells(detector, label, seen, scores, degradation, seed)
    result: dict[str, Any] = normalized(
        {
            "kind": KIND,
            "version": VERSION,
            "split": split,
            "detectors": {label: _about(one, label in hand) for label, one in {**judges, **hand}.items()},
            "data": {name: _about_data(one) for name, one in sets.items()},
            "cells": cells,
            "differences": _differences(judges, hand, sets, clean, seed),
            "notes": notes,
            "versions": {"anyscene": __version__},
        }
    )
    write_atomic(out / EVALUATION, json_bytes(result))
    from anyscene.report.moderation_page import write_moderation_page

    write_moderation_page(out / REPORT, result)
    return result


def _opened(one: DetectorData | str | Path) -> DetectorData:
    return one if isinstance(one, DetectorData) else open_dataset(one)


def _named(ones: Sequence[Any], what: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for one in ones:
        name = one.folder.resolve().name
        if name in found:
            raise SpecError(f"two {what}s are in folders named {name}; name one of the folders differently")
        found[name] = one
    if not found:
        raise SpecError(f"no {what} was named")
    return found


def _tested(name: str, data: DetectorData, split: str) -> HeldOut:
    pictures = data.select(split=split)
    for label in (REAL, GENERATED):
        if not any(one.label == label for one in pictures):
            raise SpecError(f"{data.folder} has no {label} pictures in its {split} split")
    return HeldOut(name, data, pictures)


def _unseen(detector: Detector, label: str, tested: HeldOut, drop: bool, notes: list[str]) -> HeldOut:
    """The pictures of a data set that a detector has not seen.

    Raises:
        LeakageError: it has seen some.
    """
    ids, groups = detector.seen
    seen = [one for one in tested.pictures if one.id in ids or one.group in groups]
    if not seen:
        return tested
    told = f"{len(seen):,} of {len(tested.pictures):,} pictures of {tested.name} that {label} is tested on"
    if not drop:
        raise LeakageError(
            f"{told} were trained on, or belong to the same source as some that were (the first: {seen[0].file}); "
            "--drop-seen leaves them out"
        )
    notes.append(f"{told} were left out: it was trained on them, or on others of the same source.")
    known = set(seen)
    return _checked(HeldOut(tested.name, tested.data, tuple(one for one in tested.pictures if one not in known)), label)


def _checked(tested: HeldOut, label: str) -> HeldOut:
    if len({one.label for one in tested.pictures}) < 2:
        raise LeakageError(f"{label} has seen all real or all generated pictures of {tested.name}; it cannot be tested on them")
    return tested


# ---- scores ---------------------------------------------------------------------------------------------------------------------


def scores_of(
    detector: Detector, tested: HeldOut, degradation: str, folder: Path | None, *, batch: int = 64, quiet: bool = False
) -> list[float | None]:
    """The score of each picture; those that are kept in the folder are not asked for again.

    Args:
        detector: the detector.
        tested: the pictures.
        degradation: what is done to all of them first; empty is nothing.
        folder: where scores are kept; None keeps none.
        batch: pictures at a time.
        quiet: show no progress.

    Raises:
        Interrupted: stopped by Ctrl-C.
        RecordError: a file of the data set is missing or damaged.
    """
    path = None if folder is None else folder / f"{slug(degradation) if degradation else 'clean'}.parquet"
    key = {b"detector": detector.digest.encode(), b"data": tested.data.digest.encode(), b"degradation": degradation.encode()}
    kept = {} if path is None else _kept(path, key)
    if all(one.file in kept for one in tested.pictures):
        return [kept[one.file] for one in tested.pictures]
    found: list[float | None] = []
    try:
        with progress(len(tested.pictures), "pictures", quiet=quiet) as advance:
            for first in range(0, len(tested.pictures), AT_ONCE):
                some = tested.pictures[first : first + AT_ONCE]
                found += detector.score((_given(tested.data, one, degradation) for one in some), batch=batch)
                advance(len(some))
    except KeyboardInterrupt:
        raise Interrupted("stopped; scores of what was finished are kept: the same command goes on from there") from None
    if path is not None:
        table = pa.table({"file": [one.file for one in tested.pictures], "score": pa.array(found, pa.float64())})
        open_folder(path.parent)
        write_atomic(path, parquet_bytes(table.replace_schema_metadata(key)))
    return found


def _kept(path: Path, key: Mapping[bytes, bytes]) -> dict[str, float | None]:
    """Scores by file; none where they are of something else, or the file is damaged."""
    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowException):
        return {}
    if any((table.schema.metadata or {}).get(name) != value for name, value in key.items()):
        return {}
    return dict(zip(table["file"].to_pylist(), table["score"].to_pylist(), strict=True))


def _given(data: DetectorData, picture: Picture, degradation: str) -> bytes | Image.Image:
    return degrade(data.read(picture).image, degradation) if degradation else data.data(picture)


# ---- figures --------------------------------------------------------------------------------------------------------------------


def _cells(
    detector: Detector, label: str, tested: HeldOut, scores: Sequence[float | None], degradation: str, seed: int
) -> list[dict[str, Any]]:
    found = []
    generators = tested.generators
    for generator in generators if len(generators) == 1 else ["", *generators]:
        number = FEWER if degradation else RESAMPLES
        measured: Measured = measure(tested.scored(scores, generator), detector.threshold, seed=seed, number=number)
        trained = set(detector.generators)
        found.append(
            {
                "detector": label,
                "data": tested.name,
                "generator": generator,
                "degradation": degradation,
                "trained_on_generator": generator in trained if generator else None,
                "trained_on_data": tested.data.digest == detector.facts["data"]["digest"],
                **measured.to_dict(),
                "constant": {"auroc": 0.5, "ap": measured.share, "tpr": measured.tpr_at},
            }
        )
    return found


def _differences(
    judges: Mapping[str, Detector],
    hand: Mapping[str, Detector],
    sets: Mapping[str, HeldOut],
    clean: Mapping[tuple[str, str], Sequence[float | None]],
    seed: int,
) -> list[dict[str, Any]]:
    """Each two detectors on the same pictures, and each detector against the hand features that learnt from the same."""
    pairs = [*combinations(judges, 2)]
    for baseline, one in hand.items():
        pairs += [(baseline, label) for label, other in judges.items() if _lessons(other) == _lessons(one)]
    everyone = {**judges, **hand}
    found: list[dict[str, Any]] = []
    for a, b in pairs:
        for name, tested in sets.items():
            generators = tested.generators
            for generator in generators if len(generators) == 1 else ["", *generators]:
                first, second = (tested.scored(clean[label, name], generator) for label in (a, b))
                recall = compare_recall(first, second, everyone[a].threshold, everyone[b].threshold, seed)
                found.append(
                    {
                        "a": a,
                        "b": b,
                        "data": name,
                        "generator": generator,
                        "auroc": compare_auroc(first, second).to_dict(),
                        "fake_accuracy": recall.to_dict(),
                    }
                )
    adjusted = adjust_holm([one["fake_accuracy"]["p"] for one in found])
    for row, p in zip(found, adjusted, strict=True):
        row["fake_accuracy"]["p_adjusted"] = p
    return found


def compare_recall(a: Scored, b: Scored, threshold_a: float, threshold_b: float, seed: int = 0) -> Difference:
    """By how much the second of two detectors finds more of the same generated pictures, each at its own threshold; by group."""
    both = a.generated & ~(np.isnan(a.score) | np.isnan(b.score))
    _, place = np.unique(a.group[both], return_inverse=True)
    groups = int(place.max(initial=-1)) + 1
    means = [
        Mean.over(place.astype(np.int64), (one.score[both] > threshold).astype(np.float64), groups)
        for one, threshold in ((a, threshold_a), (b, threshold_b))
    ]
    return compare_paired({"": (means[0], means[1])}, seed=seed)[""]


# ---- baselines ------------------------------------------------------------------------------------------------------------------


def _lessons(detector: Detector) -> tuple[str, tuple[str, ...]]:
    return detector.facts["data"]["digest"], tuple(sorted(detector.generators))


def _hand(judges: Mapping[str, Detector], sets: Mapping[str, HeldOut], out: Path, quiet: bool) -> dict[str, Detector]:
    """Detectors on hand features that learn from what the detectors learnt from, as far as it is there."""
    from anyscene.moderation.training import TrainOptions, train_detector

    found: dict[str, Detector] = {}
    for detector in judges.values():
        if detector.facts["backbone"]["name"] == "hand" or any(_lessons(one) == _lessons(detector) for one in found.values()):
            continue
        for name, tested in sets.items():
            if tested.data.digest == detector.facts["data"]["digest"]:
                every = set(detector.generators) == set(tested.data.generators)
                label = f"hand features ({name}{'' if every else ': ' + ', '.join(detector.generators)})"
                rate = float(detector.facts["calibration"]["asked"])
                options = TrainOptions("hand", generators=detector.generators, false_positive_rate=rate, widen=True)
                found[label] = train_detector(tested.data, out / BASELINES / slug(label), options, allow_biased=True, quiet=True)
    return found


def _about(detector: Detector, baseline: bool) -> dict[str, Any]:
    facts = detector.facts
    return {
        "baseline": baseline,
        "backbone": facts["backbone"]["name"],
        "generators": list(detector.generators),
        "pictures": facts["data"]["pictures"],
        "data": facts["data"]["digest"],
        "threshold": detector.threshold,
        "calibration": facts["calibration"],
        "digest": detector.digest,
    }


def _about_data(tested: HeldOut) -> dict[str, Any]:
    audit = tested.data.audit
    return {
        "digest": tested.data.digest,
        "counts": tested.data.manifest["counts"],
        "audit": "none" if audit is None else "a shortcut was found" if audit["biased"] else "passed",
        "reasons": [] if audit is None else list(audit.get("reasons", [])),
    }
