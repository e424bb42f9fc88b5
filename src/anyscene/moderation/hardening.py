"""The hard-case loop: find what a detector misses, paint more of it, train again with the same budget, and show the change.

    OUT/
      hard-cases.json              what is missed, found on the validation split
      hard/, plain/                new scenes around the hard cases, and as many plain ones: runs, and a data set of each
      hardened/, control/          detectors trained on the old pictures and the new ones
      scores/                      of all three on the test split, which nothing was chosen by
      hardened.json, report.html

New pictures replace none of the old ones and cost no more updates: the three detectors see equally many pictures. The control tells what
harder scenes do from what more scenes do.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from anyscene import __version__
from anyscene.dataset import record_schema
from anyscene.errors import CapacityError, LeakageError, RunError, SpecError
from anyscene.evaluation import paint_run
from anyscene.evaluation.run import json_bytes, slug
from anyscene.evaluation.skills import Drawn, Rows, SkillNames, draw_around
from anyscene.models import Model
from anyscene.moderation.build import BuildOptions, build_dataset
from anyscene.moderation.dataset import GENERATED, REAL, DetectorData, open_dataset
from anyscene.moderation.detector import Detector, load_detector
from anyscene.moderation.hard_cases import HardCases, SceneSkills, find_hard_cases
from anyscene.moderation.matrix import SCORES, HeldOut, scores_of
from anyscene.moderation.metrics import Scored, compare_auroc
from anyscene.moderation.training import TrainOptions, read_options, train_detector
from anyscene.rewards.protocol import Record
from anyscene.runs import differences, lock_folder, normalized, open_folder, read_manifest, say, write_atomic, write_manifest
from anyscene.scoring.question_bank import Bools
from anyscene.scoring.statistics import Difference, Mean, adjust_holm, compare_paired
from anyscene.taxonomy import Taxonomy

__all__ = ["harden"]

LOOK = (4, 8, 16, 32, 64)
"""Rows looked at for each new scene, more where the ones before held too few."""
HARD_CASES, HARDENED, REPORT = "hard-cases.json", "hardened.json", "report.html"


def harden(
    detector: Detector | str | Path,
    data: DetectorData | str | Path,
    out: str | Path,
    *,
    painters: Mapping[str, Callable[[], Model]],
    rows: Rows,
    n: int,
    control: bool = True,
    held_out: DetectorData | str | Path | None = None,
    taxonomy: Taxonomy | None = None,
    skills: SceneSkills | None = None,
    seed: int = 0,
    device: str = "auto",
    quiet: bool = False,
) -> dict[str, Any]:
    """Runs the loop, or goes on with it.

    Args:
        detector: what is to be made better.
        data: the data set that it was trained on.
        out: the folder to write into.
        painters: how each generator that it learnt from is loaded, by its name in the data set.
        rows: scenes to draw from, by number of the first and count; fewer where the space ends.
        n: new scenes.
        control: train another detector on as many plain scenes.
        held_out: another data set, on whose validation split cases are looked for and on whose test split the change is shown. What the
            captions of training never ask for, the data set trained on has in no split.
        taxonomy: of the scenes; None is the one that ships.
        skills: of scenes, in place of the taxonomy's.
        seed: of painting, and of the resampling.
        device: of torch, or ``auto``.
        quiet: show no progress.

    Returns:
        What ``hardened.json`` holds; without ``after`` where nothing is missed more than the rest.

    Raises:
        SpecError: a generator has no painter, the data set is another one, or there are too few scenes or real pictures.
        LeakageError: the detector has seen pictures of the other data set.
        RunError: the folder holds another loop.
        Interrupted: stopped by Ctrl-C; the same command goes on.
    """
    detector = detector if isinstance(detector, Detector) else load_detector(detector, device=device)
    data = data if isinstance(data, DetectorData) else open_dataset(data)
    out, skills = Path(out), skills or SceneSkills.of(taxonomy)
    _check(detector, data, painters, n)
    if held_out is None:
        held = data
    else:
        held = held_out if isinstance(held_out, DetectorData) else open_dataset(held_out)
        _check_held_out(detector, held)
    open_folder(out)
    with lock_folder(out):
        _open(out, detector, data, held, n, control, seed)
        cases = find_hard_cases(detector, held, skills=skills, folder=out / SCORES / "validation", seed=seed, quiet=quiet)
        result = {"kind": "hardened-detector", "detector": detector.name, **cases.to_dict(), "versions": {"anyscene": __version__}}
        write_atomic(out / HARD_CASES, json_bytes(normalized(result)))
        if cases.weights:
            say(f"missed more than the rest: {', '.join(cases.weights)}", quiet=quiet)
            fresh = _fresh(rows, [data, held])
            drawn = _around(fresh, cases.weights, n, skills)
            arms = {"hard": list(drawn.records), "plain": list(fresh(drawn.looked, 2 * n))[: len(drawn.records)] if control else []}
            detectors = {"before": detector}
            for arm, name in (("hard", "hardened"), ("plain", "control")):
                if arms[arm]:
                    more = _painted(arms[arm], painters, detector, data, out / arm, taxonomy, seed, quiet)
                    options = _options(detector)
                    detectors[name] = train_detector(data, out / name, options, extra=[more], device=device, allow_biased=True, quiet=quiet)
            result |= {
                "scenes": {arm: len(ones) for arm, ones in arms.items()},
                "after": _after(detectors, held, cases, skills, out, seed, quiet),
            }
        found: dict[str, Any] = normalized(result)
        write_atomic(out / HARDENED, json_bytes(found))
        from anyscene.report.moderation_page import write_hard_cases_page

        write_hard_cases_page(out / REPORT, found)
    return found


def _check(detector: Detector, data: DetectorData, painters: Mapping[str, Any], n: int) -> None:
    if detector.facts["data"]["digest"] != data.digest:
        raise SpecError(f"{detector.folder} was not trained on {data.folder}; give the data set that it was trained on")
    if missing := [name for name in detector.generators if name not in painters]:
        raise SpecError(f"generator {missing[0]!r} has no model to paint more; name it: --generator {missing[0]}=MODEL")
    reals = len(data.select(label=REAL))
    if not 1 <= n <= reals:
        raise SpecError(f"{n} new scenes: at least 1, and at most {reals:,}, for each takes its encoding from a real picture")


def _check_held_out(detector: Detector, held: DetectorData) -> None:
    ids, groups = detector.seen
    tested = [one for one in held.pictures if one.split != "train"]
    if seen := [one for one in tested if one.id in ids or one.group in groups]:
        raise LeakageError(
            f"{len(seen):,} of {len(tested):,} pictures of {held.folder} were trained on, or belong to the same source as some that were "
            f"(the first: {seen[0].file}); look for hard cases on others"
        )
    if not any(one.label == GENERATED and one.generator in detector.generators for one in tested):
        raise SpecError(f"{held.folder} has no pictures of {' or '.join(detector.generators)} to validate and test on")


def _open(out: Path, detector: Detector, data: DetectorData, held: DetectorData, n: int, control: bool, seed: int) -> None:
    words: dict[str, Any] = {"kind": "hard-case-loop", "detector": detector.digest, "data": data.digest, "n": n, "control": control}
    asked = normalized(words | {"seed": seed} | ({} if held is data else {"held_out": held.digest}))
    found = read_manifest(out)
    if found is not None and (differing := differences(found, asked)):
        raise RunError(f"{out} holds another loop ({'; '.join(differing[:3])}). Take another folder for another one.")
    write_manifest(out, asked)


def _options(detector: Detector) -> TrainOptions:
    """The options that a detector was trained with."""
    given = dict(detector.facts["options"])
    augmentation = {f"augmentation.{name}": value for name, value in given.pop("augmentation").items()}
    options = read_options(given | augmentation)
    return replace(options, generators=tuple(options.generators))


def _graph(record: Record) -> str:
    return json.dumps(record["graph"], sort_keys=True)


def _fresh(rows: Rows, sets: Sequence[DetectorData]) -> Rows:
    """Scenes that are in none of the data sets; none of what is validated or tested on comes into training."""
    known = {_graph(record) for data in sets for record in data.records.values()}

    def fresh(start: int, count: int) -> Sequence[Record]:
        return [record for record in rows(start, count) if _graph(record) not in known]

    return fresh


def _around(rows: Rows, weights: Mapping[str, float], n: int, skills: SkillNames) -> Drawn:
    """New scenes around the hard cases. Where these are rare, more rows are looked at for each.

    Raises:
        CapacityError: they are too rare even so.
    """
    looked = 0
    for look in LOOK:
        drawn = draw_around(rows, weights, n, skills, look=look)
        if len(drawn.records) == n:
            return drawn
        if drawn.looked == looked:
            break
        looked = drawn.looked
    raise CapacityError(
        f"{n} new scenes around the hard cases ({', '.join(weights)}): of {looked:,} scenes looked at {len(drawn.records)} ask for "
        "one; take fewer with -n, or other scenes to draw from"
    )


def _painted(
    records: Sequence[Record],
    painters: Mapping[str, Callable[[], Model]],
    detector: Detector,
    data: DetectorData,
    folder: Path,
    taxonomy: Taxonomy | None,
    seed: int,
    quiet: bool,
) -> DetectorData:
    """New pictures of every generator, made as those of the data set were: paired with its real ones, and encoded as these are."""
    table = pa.Table.from_pylist([dict(record) for record in records], record_schema())
    runs = {}
    for name in detector.generators:
        runs[name] = folder / "runs" / slug(name)
        paint_run(table, painters[name](), runs[name], seed=seed, taxonomy=taxonomy, quiet=quiet)
    given = data.manifest.get("options") or {}
    known: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in given.items()}
    known |= {"n": None, "shares": (0.98, 0.01, 0.01), "group_by": "file"}
    options = BuildOptions(**known)
    return build_dataset(data.folder / "pictures" / REAL, runs, folder / "data", options=options, quiet=quiet)


# ---- the change -----------------------------------------------------------------------------------------------------------------


def _after(
    detectors: Mapping[str, Detector], data: DetectorData, cases: HardCases, skills: SceneSkills, out: Path, seed: int, quiet: bool
) -> dict[str, list[dict[str, Any]]]:
    """Each two detectors on the same pictures of the test split."""
    held = HeldOut(data.folder.resolve().name, data, data.select(split="test"))
    scores = {name: scores_of(one, held, "", out / SCORES / name, quiet=quiet) for name, one in detectors.items()}
    asks = [skills.of_scene(data.records[one.record_id]) if one.record_id in data.records else frozenset() for one in held.pictures]
    own = np.array([one.generator in detectors["before"].generators for one in held.pictures])
    named = np.array([bool(ask & set(cases.weights)) for ask in asks])
    masks = {"the named cases together": own & named, "the other generated pictures": own & ~named}
    masks |= {skill: own & np.array([skill in ask for ask in asks]) for skill in cases.weights}
    others = np.array([one.generator != "" for one in held.pictures]) & ~own
    masks |= {"generators that were not learnt from": others} if others.any() else {}
    pairs = [("before", "hardened"), ("before", "control"), ("control", "hardened")]
    found = {}
    for a, b in pairs:
        if a in detectors and b in detectors:
            one, other = (held.scored(scores[name]) for name in (a, b))
            thresholds = detectors[a].threshold, detectors[b].threshold
            found[f"{b} minus {a}"] = _rows(one, other, thresholds, masks, named, seed)
    return found


def _rows(
    a: Scored, b: Scored, thresholds: tuple[float, float], masks: Mapping[str, Bools], named: Bools, seed: int
) -> list[dict[str, Any]]:
    """Found and called real, then AUROC. Where real pictures have scenes, those of the named cases tell whether the cases themselves, and
    not how they are painted, came to count as generated.
    """
    both = ~(np.isnan(a.score) | np.isnan(b.score))
    wanted = {f"found: {name}": mask & both for name, mask in masks.items() if (mask & both).any()}
    wanted["real pictures called real"] = ~a.generated & both
    alike = ~a.generated & named
    if (alike & both).any():
        wanted["real pictures of the named cases called real"] = alike & both
    groups = int(a.group.max()) + 1

    def mean(scored: Scored, threshold: float, mask: Bools) -> Mean:
        right = (scored.score > threshold) == scored.generated
        return Mean.over(scored.group[mask], right[mask].astype(np.float64), groups)

    pairs = {name: (mean(a, thresholds[0], mask), mean(b, thresholds[1], mask)) for name, mask in wanted.items()}
    compared: dict[str, Difference] = compare_paired(pairs, seed=seed)
    adjusted = adjust_holm([one.p for one in compared.values()])
    rows = [{"what": name, **one.to_dict(), "p_adjusted": p} for (name, one), p in zip(compared.items(), adjusted, strict=True)]
    areas = {f"AUROC: {name}": (mask, ~a.generated) for name, mask in masks.items()}
    if alike.any():
        areas["AUROC: the named cases, against their real pictures"] = masks["the named cases together"], alike
    for name, (mask, reals) in areas.items():
        chosen = mask | reals
        if mask.any():
            gap = compare_auroc(a.take(chosen), b.take(chosen))
            rows.append({"what": name, "a": None, "b": None, "difference": gap.value, "low": gap.low, "high": gap.high, "n": gap.n})
    return rows
