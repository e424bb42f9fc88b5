"""Hard cases: what captions ask for in the generated pictures that a detector misses more often than others.

Every scene asks for skills: a kind of object, a type of attribute, a style, a complexity. A skill is a hard case where the share of its
pictures that are called real is higher than that of all others by more than chance. Chance is what is left when misses are dealt anew
among scenes of the same complexity, so that nothing counts as hard only because it occurs in larger scenes; and all skills that are looked
at are corrected for together (Holm).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from anyscene.errors import SpecError
from anyscene.evaluation.skills import SkillNames
from anyscene.moderation.dataset import GENERATED, DetectorData, open_dataset
from anyscene.moderation.detector import Detector, load_detector
from anyscene.moderation.matrix import HeldOut, scores_of
from anyscene.rewards.protocol import Record
from anyscene.scene.keyed import key_of
from anyscene.scoring.question_bank import Bools, Floats, Ints
from anyscene.scoring.statistics import LEVEL, Estimate, Mean, adjust_holm, bootstrap
from anyscene.taxonomy import Taxonomy, load_taxonomy

__all__ = ["Case", "HardCases", "SceneSkills", "cases_of", "find_hard_cases"]

LEAST = 20
"""Scenes that must ask for a skill, and that must not, for it to be compared."""
DEALS = 9999
MOST = 8
"""Skills that new scenes are drawn around."""


class SceneSkills(SkillNames):
    """Skills with the words themselves added: ``named:dog``, ``scene:style=watercolor``."""

    __slots__ = ()

    @classmethod
    def of(cls, taxonomy: Taxonomy | None = None) -> SceneSkills:
        """Those of a vocabulary; None is the one that ships."""
        names = SkillNames.of(taxonomy or load_taxonomy())
        return cls(names.relation_types, names.object_classes, names.uncommon)

    def of_record(self, record: Record) -> dict[str, tuple[str, ...]]:
        """The skills of each element."""
        found = super().of_record(record)
        graph = record["graph"]
        for place, thing in enumerate(graph["objects"]):
            found[f"o{place}"] = (*found.get(f"o{place}", ()), f"named:{thing['name']}")
        for place, one in enumerate(graph["scene_attributes"]):
            found[f"s{place}"] = (*found.get(f"s{place}", ()), f"scene:{one['type']}={one['value']}")
        return found

    def of_scene(self, record: Record) -> frozenset[str]:
        """All skills that a scene asks for."""
        return frozenset(skill for skills in self.of_record(record).values() for skill in skills)


@dataclass(frozen=True, slots=True)
class Case:
    """How often pictures that ask for a skill are missed.

    Attributes:
        skill: its name.
        missed: share of its pictures that are called real.
        rest: share of all others.
        difference: of the two; None where one of them is not known.
        low: lower end of its interval.
        high: upper end.
        own: the difference that the complexity of the scenes does not explain; None where the skill is not compared.
        n: groups of its pictures.
        pictures: how many.
        p: two-sided; None where fewer than 20 scenes ask for it, or all but 20.
        p_adjusted: after Holm's correction for all that are compared.
    """

    skill: str
    missed: Estimate
    rest: float | None
    difference: float | None
    low: float | None
    high: float | None
    own: float | None
    n: int
    pictures: int
    p: float | None
    p_adjusted: float | None = None

    @property
    def holds(self) -> bool:
        """Is it different from the rest by more than chance?"""
        return self.p_adjusted is not None and self.p_adjusted < 1 - LEVEL

    @property
    def hard(self) -> bool:
        """Is it missed more?"""
        return self.holds and (self.own or 0.0) > 0 and (self.difference or 0.0) > 0

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {**asdict(self), "hard": self.hard, "easy": self.holds and not self.hard}


@dataclass(frozen=True, slots=True)
class HardCases:
    """What a detector misses.

    Attributes:
        pictures: generated pictures that were looked at.
        missed: share of them that are called real.
        cases: all skills, by name.
        problem: why nothing can be said; else empty.
    """

    pictures: int
    missed: Estimate
    cases: tuple[Case, ...]
    problem: str = ""

    @property
    def weights(self) -> dict[str, float]:
        """The hard cases, at most eight, the hardest first, with how much more they are missed."""
        hard = sorted((one for one in self.cases if one.hard), key=lambda one: (-(one.own or 0.0), one.skill))
        return {one.skill: float(one.own or 0.0) for one in hard[:MOST]}

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "pictures": self.pictures,
            "missed": self.missed.to_dict(),
            "problem": self.problem,
            "hard": list(self.weights),
            "cases": [one.to_dict() for one in self.cases],
        }


def find_hard_cases(
    detector: Detector | str | Path,
    data: DetectorData | str | Path,
    *,
    split: str = "validation",
    taxonomy: Taxonomy | None = None,
    skills: SceneSkills | None = None,
    folder: Path | None = None,
    seed: int = 0,
    device: str = "auto",
    quiet: bool = False,
) -> HardCases:
    """The hard cases of a detector among the pictures of its own generators.

    Args:
        detector: the detector, or its folder.
        data: the data set that it was trained on, or another one; or its folder.
        split: whose pictures are looked at; not the one that is to show a change afterwards.
        taxonomy: whose classes and types name skills; None is the one that ships.
        skills: of scenes, in place of the taxonomy's.
        folder: where scores are kept; None keeps none.
        seed: of resampling and dealing.
        device: of torch, or ``auto``.
        quiet: show no progress.

    Raises:
        SpecError: there is no such split, or no generated picture has a scene.
        Interrupted: stopped by Ctrl-C.
    """
    detector = detector if isinstance(detector, Detector) else load_detector(detector, device=device)
    data = data if isinstance(data, DetectorData) else open_dataset(data)
    held = HeldOut(data.folder.resolve().name, data, data.select(split=split))
    scores = scores_of(detector, held, "", folder, quiet=quiet)
    own = [name for name in detector.generators if name in held.generators]
    return cases_of(detector, held, scores, skills or SceneSkills.of(taxonomy), generators=own, seed=seed)


def cases_of(
    detector: Detector,
    tested: HeldOut,
    scores: Sequence[float | None],
    skills: SceneSkills,
    *,
    generators: Iterable[str] = (),
    seed: int = 0,
) -> HardCases:
    """The skills whose pictures a detector misses more than others, from their scores.

    Args:
        detector: its threshold decides what is missed.
        tested: pictures of a split that it did not learn from.
        scores: of each picture; those without one are left out.
        skills: of scenes.
        generators: whose pictures are looked at; none is all.
        seed: of resampling and dealing.

    Raises:
        SpecError: none of the generated pictures has a scene.
    """
    chosen = set(generators)
    rows = [
        (one, score)
        for one, score in zip(tested.pictures, scores, strict=True)
        if one.label == GENERATED and (not chosen or one.generator in chosen) and score is not None and one.record_id in tested.data.records
    ]
    if not rows:
        raise SpecError(f"{tested.data.folder}: no generated picture has a scene and a score, so what captions ask for is not known")
    missed = np.array([score <= detector.threshold for _, score in rows], dtype=np.float64)
    group = _numbered(one.group for one, _ in rows)
    names, scene = np.unique([one.record_id for one, _ in rows], return_inverse=True)
    records = [tested.data.records[str(name)] for name in names]
    asks = [skills.of_scene(record) for record in records]
    members = {skill: np.array([skill in own for own in asks]) for skill in sorted(set().union(*asks), key=_in_order)}
    units = int(group.max()) + 1
    total = bootstrap({"": [(1.0, Mean.over(group, missed, units))]}, seed=seed)[""]
    problem = ""
    if missed.all() or not missed.any():
        problem = f"{'all' if missed.all() else 'none'} of the {len(rows):,} pictures are missed, so no case is harder than another"
    levels = _numbered(str(record.get("complexity")) for record in records)
    tests = {} if problem else _deal(missed, scene.astype(np.int64), members, levels, seed)
    cases = _cases(missed, scene.astype(np.int64), group, members, tests, seed)
    return HardCases(len(rows), total, cases, problem)


def _numbered(names: Iterable[str]) -> Ints:
    _, found = np.unique(np.array(list(names), dtype=np.str_), return_inverse=True)
    return found.astype(np.int64)


def _in_order(skill: str) -> tuple[str, int, str]:
    kind, _, name = skill.partition(":")
    return kind, int(name) if name.isdigit() else 0, name


def _cases(
    missed: Floats, scene: Ints, group: Ints, members: Mapping[str, Bools], tests: Mapping[str, tuple[float, float]], seed: int
) -> tuple[Case, ...]:
    units = int(group.max()) + 1
    wanted = {}
    sides = {}
    for skill, mask in members.items():
        own = mask[scene]
        inside, outside = (Mean.over(group, np.where(side, missed, np.nan), units) for side in (own, ~own))
        sides[skill] = inside, outside, int(own.sum())
        wanted[f"missed\0{skill}"] = [(1.0, inside)]
    shares = bootstrap(wanted, seed=seed)
    both = {skill: [(1.0, one), (-1.0, other)] for skill, (one, other, _) in sides.items()}
    gaps = bootstrap(both, seed=seed, bounds=(-1.0, 1.0))
    adjusted = dict(zip(tests, adjust_holm([p for _, p in tests.values()]), strict=True))
    found = []
    for skill, (inside, outside, pictures) in sides.items():
        rest = None if math.isnan(outside.value) else outside.value
        gap, tested = gaps[skill], tests.get(skill)
        found.append(
            Case(
                skill,
                shares[f"missed\0{skill}"],
                rest,
                gap.value,
                gap.low,
                gap.high,
                tested[0] if tested else None,
                inside.n,
                pictures,
                tested[1] if tested else None,
                adjusted.get(skill),
            )
        )
    return tuple(found)


def _deal(missed: Floats, scene: Ints, members: Mapping[str, Bools], level: Ints, seed: int) -> dict[str, tuple[float, float]]:
    """For each skill the difference that complexity does not explain, and how often dealing gives one as large.

    Misses of scenes are dealt anew among scenes of one complexity, or, to compare complexities themselves, among all.
    """
    misses = np.bincount(scene, missed, len(level)).astype(np.float64)
    pictures = np.bincount(scene, minlength=len(level)).astype(np.float64)
    compared = {skill: mask for skill, mask in members.items() if LEAST <= mask.sum() <= len(mask) - LEAST}
    found: dict[str, tuple[float, float]] = {}
    for by_level in (True, False):
        some = [skill for skill in compared if skill.startswith("complexity:") != by_level]
        if not some:
            continue
        matrix = np.array([compared[skill] for skill in some], dtype=np.float64).T
        dice = np.random.Generator(np.random.Philox(key_of("deal", seed, by_level)))
        observed = _gaps(misses[None], pictures[None], matrix)[0]
        dealt = np.empty((DEALS, len(some)))
        strata = level if by_level else np.zeros_like(level)
        order = np.argsort(strata, kind="stable")
        step = max(1, 4_000_000 // len(level))
        for first in range(0, DEALS, step):
            rows = min(step, DEALS - first)
            shuffled = np.argsort(strata[None] + dice.random((rows, len(level))), axis=1)  # scenes by level, at random within one
            places = np.empty_like(shuffled)
            places[:, order] = shuffled
            dealt[first : first + rows] = _gaps(misses[places], pictures[places], matrix)
        middle = dealt.mean(axis=0)
        reached = (np.abs(dealt - middle) >= np.abs(observed - middle) - 1e-12).sum(axis=0)
        for place, skill in enumerate(some):
            found[skill] = float(observed[place] - middle[place]), float((reached[place] + 1) / (DEALS + 1))
    return found


def _gaps(misses: Floats, pictures: Floats, matrix: Floats) -> Floats:
    """``(deals, skills)`` share missed among the scenes of each skill, less that among the others."""
    inside, number = misses @ matrix, pictures @ matrix
    outside, others = misses.sum(axis=1, keepdims=True) - inside, pictures.sum(axis=1, keepdims=True) - number
    return np.asarray(inside / number - outside / others, dtype=np.float64)
