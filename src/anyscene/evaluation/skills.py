"""Skills: what elements of scenes ask for, by name; how well each is mastered, where two differ, and scenes that ask for more of it.

Every element of a scene graph asks for one *concept*: ``object:animal``, ``attribute:color``, ``count``, ``relation:spatial``,
``scene:weather``. A question is about one element, so concepts part the questions. Around it there are *circumstances*: ``complexity:4``,
``rarity:uncommon object``. A model that cannot count is worse on complex scenes only because these count more: a circumstance makes a
difference of its own where a gap remains after what the concepts of its questions explain.

All functions are pure. They know records, values of questions and names of skills, and nothing of models or judges.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from anyscene.errors import RecordError, SpecError
from anyscene.rewards.protocol import Record
from anyscene.scoring import Scores
from anyscene.scoring.question_bank import Bools, Floats, Ints
from anyscene.scoring.scores import mean_by
from anyscene.scoring.statistics import LEVEL, Difference, Estimate, Mean, adjust_holm, bootstrap, compare_paired
from anyscene.taxonomy import COUNT_TYPE, FAMILIAR, Taxonomy
from anyscene.taxonomy.taxonomy import RELATION_TYPES

__all__ = [
    "Asked",
    "Drawn",
    "Rows",
    "SkillGap",
    "SkillNames",
    "ask",
    "compare_skills",
    "draw_around",
    "estimate_skills",
    "pool",
    "question_values",
]

LEAST = 20
"""Scenes on which a skill must occur to be compared; fewer say too little, and cost all others power."""
Rows = Callable[[int, int], Sequence[Record]]
"""Records by number of the first and count; fewer where the source ends."""


# ---- names ----------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SkillNames:
    """Which skill an element asks for. Words that it does not know have the name of their kind alone.

    Attributes:
        relation_types: type of each predicate.
        object_classes: class of each object's name.
        uncommon: names of objects that not everybody knows; where none or all are, there is no skill of that kind.
    """

    relation_types: Mapping[str, str] = field(default_factory=dict)
    object_classes: Mapping[str, str] = field(default_factory=dict)
    uncommon: frozenset[str] = frozenset()

    @classmethod
    def of(cls, taxonomy: Taxonomy) -> SkillNames:
        """The names of a vocabulary."""
        objects, relations = taxonomy.objects, taxonomy.relations
        uncommon = frozenset(name for name, known in zip(objects.names, objects.familiarity.tolist(), strict=True) if known < FAMILIAR)
        return cls(
            {name: RELATION_TYPES[place] for name, place in zip(relations.names, relations.type_index, strict=True)},
            {name: taxonomy.classes[place] for name, place in zip(objects.names, objects.class_index, strict=True)},
            uncommon if len(uncommon) < len(set(objects.names)) else frozenset(),
        )

    def of_record(self, record: Record) -> dict[str, tuple[str, ...]]:
        """The skills of each element of a scene (``o0``, ``o0.a1``, ``r0``, ``s0``): its concept, then its circumstances.

        Raises:
            RecordError: it has no graph.
        """
        graph = record.get("graph")
        if not isinstance(graph, Mapping):
            raise RecordError(f"record {record.get('id')}: it has no graph, so what it asks for is not known")
        found: dict[str, tuple[str, ...]] = {}
        around = self._around(record)
        names = {one["id"]: one["name"] for one in graph["objects"]}
        for place, thing in enumerate(graph["objects"]):
            rarity = self._rarity([thing["name"]])
            found[f"o{place}"] = (_named("object", self.object_classes.get(thing["name"])), *rarity, *around)
            for number, attribute in enumerate(thing["attributes"]):
                concept = COUNT_TYPE if attribute["type"] == COUNT_TYPE else _named("attribute", attribute["type"])
                found[f"o{place}.a{number}"] = (concept, *rarity, *around)
        for place, relation in enumerate(graph["relations"]):
            rarity = self._rarity([names.get(relation["subject"], ""), names.get(relation["object"], "")])
            found[f"r{place}"] = (_named("relation", self.relation_types.get(relation["predicate"])), *rarity, *around)
        for place, attribute in enumerate(graph["scene_attributes"]):
            found[f"s{place}"] = (_named("scene", attribute["type"]), *around)
        return found

    def _rarity(self, names: Sequence[str]) -> tuple[str, ...]:
        if not self.uncommon:
            return ()
        return ("rarity:uncommon object" if any(name in self.uncommon for name in names) else "rarity:everyday object",)

    def _around(self, record: Record) -> tuple[str, ...]:
        """The circumstances of all elements of a scene: its complexity, and how likely its combination is where the vocabulary knows."""
        found = []
        if record.get("complexity") is not None:
            found.append(f"complexity:{record['complexity']}")
        if record.get("plausibility") is not None:
            found.append(f"rarity:{'likely' if record['plausibility'] >= 0 else 'unlikely'} combination")
        return tuple(found)


def _named(kind: str, value: str | None) -> str:
    return f"{kind}:{value}" if value else kind


# ---- how well each is mastered --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Asked:
    """The questions of some records, by skill.

    Attributes:
        record: ``(questions,)`` the record of each, in the order of the records.
        records: how many records there are.
        members: for each skill ``(questions,)`` which ask for it; in the order of their names.
        concepts: those of the skills that are concepts.
    """

    record: Ints
    records: int
    members: Mapping[str, Bools]
    concepts: frozenset[str]

    def any_of(self, skills: Iterable[str]) -> Bools:
        """``(questions,)`` which ask for one of these skills at least."""
        found = np.zeros(len(self.record), dtype=np.bool_)
        for skill in skills:
            found |= self.members[skill]
        return found


def ask(records: Sequence[Record], names: SkillNames) -> Asked:
    """Sorts the questions of records by the skills of the element that they are about.

    Args:
        records: with ``graph`` and ``questions``.
        names: of the skills.

    Raises:
        RecordError: a record has no graph.
    """
    owner: list[int] = []
    places: dict[str, list[int]] = {}
    concepts: set[str] = set()
    for number, record in enumerate(records):
        skills = names.of_record(record)
        for question in record["questions"]:
            about = skills.get(question["elements"][0], ()) if question["elements"] else ()
            if about and question["kind"] == COUNT_TYPE:  # "Is there exactly one?" is about an object, and asks to count
                about = (COUNT_TYPE, *about[1:])
            concepts.update(about[:1])
            for skill in about:
                places.setdefault(skill, []).append(len(owner))
            owner.append(number)
    members = {}
    for skill in sorted(places, key=_in_order):
        members[skill] = np.zeros(len(owner), dtype=np.bool_)
        members[skill][places[skill]] = True
    return Asked(np.array(owner, dtype=np.int64), len(records), members, frozenset(concepts))


def _in_order(skill: str) -> tuple[str, int, str]:
    kind, _, name = skill.partition(":")
    return kind, int(name) if name.isdigit() else 0, name


def question_values(scores: Scores) -> Floats:
    """``(questions,)`` mean value, over the media of a scene, of each question that faithfulness is measured on; NaN elsewhere."""
    rows = scores.rows
    return mean_by(rows.question, np.where(rows.faithful, rows.value, np.nan), len(rows.bank))


def estimate_skills(asked: Asked, values: Floats, *, seed: int = 0, level: float = LEVEL) -> dict[str, Estimate]:
    """How well each skill is mastered, or how often something happens where it is asked for.

    Args:
        asked: the questions by skill.
        values: from 0 to 1: ``(questions,)``, or ``(records,)``, which count once for every skill of their scene; NaN where missing.
        seed: of the resampling.
        level: of the intervals.

    Returns:
        For each skill mean, interval and number of scenes.

    Raises:
        SpecError: there are neither as many values as questions nor as records.
    """
    if len(values) == asked.records and len(values) != len(asked.record):
        wanted = {}
        for skill, mask in asked.members.items():
            own = np.full(asked.records, np.nan)
            own[asked.record[mask]] = values[asked.record[mask]]
            wanted[skill] = [(1.0, Mean.of(own))]
    else:
        _check(asked, values)
        wanted = {skill: [(1.0, _mean(asked, mask, values))] for skill, mask in asked.members.items()}
    return bootstrap(wanted, seed=seed, level=level)


def _mean(asked: Asked, mask: Bools, values: Floats) -> Mean:
    return Mean.over(asked.record[mask], values[mask], asked.records)


def _check(asked: Asked, *values: Floats) -> None:
    for one in values:
        if len(one) != len(asked.record):
            raise SpecError(f"{len(one):,} values for {len(asked.record):,} questions about {asked.records:,} scenes")


# ---- where two differ -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SkillGap:
    """By how much the second of two is better at a skill, on the same questions.

    Attributes:
        skill: its name.
        a: value of the first.
        b: value of the second.
        difference: b - a, over the questions that both have values for; None where there is none.
        low: lower end of its interval.
        high: upper end.
        n: scenes.
        questions: how many.
        own: of a circumstance, the difference that its concepts do not explain; None for a concept.
        p_adjusted: after Holm's correction for all skills that are compared; None for those on too few scenes. Of a circumstance it is that
            of ``own`` or of the difference, whichever is larger.
        holds: does the difference stand after the correction?
    """

    skill: str
    a: float | None
    b: float | None
    difference: float | None
    low: float | None
    high: float | None
    n: int
    questions: int
    own: float | None
    p_adjusted: float | None
    holds: bool

    @property
    def better(self) -> bool:
        """Is the second truly better; at a circumstance, beyond what its concepts explain?"""
        return self.holds and (self.difference or 0.0) > 0 and (self.own is None or self.own > 0)

    @property
    def weight(self) -> float:
        """How much there is to learn: the difference, of a circumstance its own."""
        return float((self.difference if self.own is None else self.own) or 0.0)

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


def compare_skills(
    asked: Asked, a: Floats, b: Floats, *, seed: int = 0, level: float = LEVEL, least: int = LEAST, skills: Iterable[str] | None = None
) -> list[SkillGap]:
    """The differences of two on every skill, by skill.

    Args:
        asked: the questions by skill.
        a: ``(questions,)`` values of the first, NaN where missing.
        b: of the second.
        seed: of resamples and sign flips.
        level: of the intervals; differences hold at 1 - level.
        least: scenes on which a skill must occur to be compared at all.
        skills: those that are compared; None is all.

    Raises:
        SpecError: the values are not those of the questions.
    """
    _check(asked, a, b)
    both = ~(np.isnan(a) | np.isnan(b))
    masks = {skill: asked.members[skill] & both for skill in (asked.members if skills is None else skills)}
    expected = a + _explained(asked, b - a, both)
    pairs = {skill: (_mean(asked, mask, a), _mean(asked, mask, b)) for skill, mask in masks.items()}
    pairs |= {f"own\0{skill}": (_mean(asked, masks[skill], expected), pairs[skill][1]) for skill in masks if skill not in asked.concepts}
    found = compare_paired(pairs, seed=seed, level=level)
    p_values = {skill: _p_value(found, skill) if found[skill].n >= least else None for skill in masks}
    adjusted = dict(zip(p_values, adjust_holm(list(p_values.values())), strict=True))
    return [_gap(skill, masks[skill], found, adjusted[skill], 1 - level) for skill in masks]


def _explained(asked: Asked, gap: Floats, both: Bools) -> Floats:
    """``(questions,)`` the mean gap of each question's concept; of questions without one that of all."""
    found = np.full(len(gap), gap[both].mean() if both.any() else 0.0)
    for concept in asked.concepts:
        own = asked.members[concept] & both
        if own.any():
            found[asked.members[concept]] = gap[own].mean()
    return found


def _p_value(found: Mapping[str, Difference], skill: str) -> float | None:
    one, own = found[skill], found.get(f"own\0{skill}")
    if one.p is None or own is None or own.p is None:
        return one.p
    return max(one.p, own.p)


def _gap(skill: str, mask: Bools, found: Mapping[str, Difference], p: float | None, rate: float) -> SkillGap:
    one, own = found[skill], found.get(f"own\0{skill}")
    extra = None if own is None else own.difference
    return SkillGap(skill, one.a, one.b, one.difference, one.low, one.high, one.n, int(mask.sum()), extra, p, p is not None and p < rate)


def pool(asked: Asked, a: Floats, b: Floats, masks: Mapping[str, Bools], *, seed: int = 0, level: float = LEVEL) -> dict[str, Difference]:
    """The difference of two over sets of questions taken together.

    Args:
        asked: the questions by skill.
        a: ``(questions,)`` values of the first, NaN where missing.
        b: of the second.
        masks: for each name ``(questions,)`` which belong to it.
        seed: of resamples and sign flips.
        level: of the intervals.
    """
    _check(asked, a, b)
    both = ~(np.isnan(a) | np.isnan(b))
    pairs = {name: (_mean(asked, mask & both, a), _mean(asked, mask & both, b)) for name, mask in masks.items()}
    return compare_paired(pairs, seed=seed, level=level)


# ---- scenes that ask for some more than for others ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Drawn:
    """Scenes drawn around skills.

    Attributes:
        records: by their place in the source.
        looked: rows that were looked at; the next draw begins after them.
        ended: did the source end there?
    """

    records: tuple[Record, ...]
    looked: int
    ended: bool


def draw_around(
    rows: Rows,
    weights: Mapping[str, float],
    n: int,
    names: SkillNames,
    *,
    start: int = 0,
    look: int = 4,
    others: float = 0.0,
) -> Drawn:
    """New scenes that ask for some skills more than scenes do on average.

    Many rows are looked at, and those taken in which an element is worth most. Every skill gets scenes in proportion to what is lost by it:
    its weight times its frequency among the rows looked at. Unless a complexity is among the skills, each complexity is as frequent as
    there, for small scenes would always win.

    Args:
        rows: of the source.
        weights: of the skills, above 0.
        n: scenes.
        names: of the skills.
        start: first row that is looked at.
        look: rows looked at for each scene.
        others: share of the scenes that are taken as they come, whatever they ask for.

    Returns:
        ``n`` scenes, or fewer where the rows looked at do not hold so many that ask for one of the skills.

    Raises:
        SpecError: there is no skill, a weight is not above 0, or a number is out of its range.
    """
    if not weights or min(weights.values()) <= 0:
        raise SpecError(f"weights of skills {dict(weights)}: there must be one at least, and all above 0")
    if n < 1 or look < 1 or not 0 <= others < 1:
        raise SpecError(f"{n} scenes of {look} rows each, {others:g} of them others: at least 1, at least 1, and from 0 to below 1")
    seen = list(rows(start, n * look))
    around = n - round(n * others)
    taken = _Draw(seen, weights, names).take(around)
    rest = [place for place in range(len(seen)) if place not in taken]
    chosen = sorted(taken | set(rest[: round(n * others)]))
    return Drawn(tuple(seen[place] for place in chosen), len(seen), len(seen) < n * look)


class _Draw:
    """A draw among rows that were looked at."""

    def __init__(self, seen: Sequence[Record], weights: Mapping[str, float], names: SkillNames) -> None:
        self._queues: dict[tuple[object, str], list[int]] = {}
        self._taken: set[int] = set()
        self._held: list[frozenset[str]] = []
        self._levels: Counter[object] = Counter()
        frequency: Counter[str] = Counter()
        level_matters = any(skill.startswith("complexity:") for skill in weights)
        worth = []
        for place, record in enumerate(seen):
            elements = names.of_record(record)
            counts = Counter(skill for skills in elements.values() for skill in skills if skill in weights)
            level = None if level_matters else record.get("complexity")
            self._levels[level] += 1
            self._held.append(frozenset(counts))
            frequency.update(counts.keys())
            worth.append(sum(weights[skill] * number for skill, number in counts.items()) / max(1, len(elements)))
            for skill in counts:
                self._queues.setdefault((level, skill), []).append(place)
        self._lost = {skill: weights[skill] * number for skill, number in frequency.items()}
        for queue in self._queues.values():
            queue.sort(key=lambda place: (worth[place], -place))  # the best is popped from the end

    def take(self, n: int) -> set[int]:
        """Places of ``n`` rows: always the best of the level and the skill that lie furthest behind their share."""
        levels: Counter[object] = Counter()
        skills: Counter[str] = Counter()
        while len(self._taken) < n:
            open_ = [key for key in self._queues if self._best(key) is not None]
            if not open_:
                break
            level = max(dict.fromkeys(key[0] for key in open_), key=lambda one: self._levels[one] / (levels[one] + 1))
            skill = max((key[1] for key in open_ if key[0] == level), key=lambda one: (self._lost[one] / (skills[one] + 1), one))
            place = self._queues[level, skill].pop()
            self._taken.add(place)
            levels[level] += 1
            skills.update(self._held[place])
        return self._taken

    def _best(self, key: tuple[object, str]) -> int | None:
        """The best row of a queue that is not taken yet; those that are fall out of it."""
        queue = self._queues[key]
        while queue and queue[-1] in self._taken:
            queue.pop()
        return queue[-1] if queue else None
