"""How likely a statement is, given what was seen.

Every thing has a chance of being there and of being each shape. A noun phrase picks things out: all of its noun, or with an ordinal one
group of them, counted from the left. Which of several alike things belong to one group cannot be seen for certain, so all ways to divide
them are weighed: things of a group look alike, and groups stand apart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from anyscene.sandbox import looks
from anyscene.sandbox.looks import Thing
from anyscene.sandbox.queries import Counted, Exists, Has, Noun, Query, Relates, SceneHas
from anyscene.taxonomy import Taxonomy

__all__ = ["Sight"]

Doubles = NDArray[np.float64]
Members = tuple[int, ...]

AHEAD_SPREAD = 0.003
NEXT_TO_SPREAD = 0.004
LARGER_SPREAD = 0.015
SIZE_SPREAD = 0.0035
"""Over how much a bound is soft, for fractions of the side; of the ratio's logarithm for ``larger than``."""
MOST_DIVIDED = 8
"""Of more things of one noun only so many are divided into groups in all ways."""
GROUPS_AS_ASKED = 0.9
"""How likely a question about a second group is asked where there is one."""
ALIKE_BY_CHANCE = 0.12
"""How often two groups look the same."""
LARGEST_GROUP = 4


def _rise(value: float) -> float:
    return float(1 / (1 + np.exp(-np.clip(value, -40.0, 40.0))))


@dataclass(frozen=True)
class Sight:
    """What was seen in one picture or clip.

    Attributes:
        things: with their chances.
        there: how likely each is a thing at all.
        whole: type of scene attribute -> value -> probability; the empty value stands for none.
        taxonomy: the vocabulary of the statements.
    """

    things: tuple[Thing, ...]
    there: tuple[float, ...]
    whole: Mapping[str, Mapping[str, float]]
    taxonomy: Taxonomy

    def probability(self, query: Query) -> float:
        """How likely a statement is, 0 to 1."""
        if isinstance(query, SceneHas):
            kind, value = self.taxonomy.scene_attribute_words(query.value)
            return float(self.whole.get(kind, {}).get(value, 0.0))
        if isinstance(query, Counted):
            return self._count(query.noun, query.number)
        if isinstance(query, Exists):
            return self.presence(query.noun)
        if isinstance(query, Has):
            kind, value = self.taxonomy.attribute_words(query.attribute)
            return sum(weight * self._all_have(members, kind, value) for members, weight in self._groups(query.noun))
        return self._relation(query)

    # ---- nouns --------------------------------------------------------------------------------------------------------------

    @cached_property
    def _shares(self) -> dict[str, Doubles]:
        """Shape -> ``(things,)`` chance that a thing is there and has it."""
        there = np.array(self.there, dtype=np.float64)
        return {
            shape: there * np.array([_chance(thing, "shape", shape) for thing in self.things], dtype=np.float64) for shape in looks.SHAPES
        }

    def _share(self, noun: Noun) -> Doubles:
        return self._shares.get(self.taxonomy.objects.names[noun.object], np.zeros(len(self.things)))

    def presence(self, noun: Noun) -> float:
        """How likely what the noun phrase means is there."""
        if noun.order <= 1:
            return float(1 - np.prod(1 - self._share(noun)))
        return sum(weight for _, weight in self._groups(noun))

    def _count(self, noun: Noun, number: int) -> float:
        """Chance of exactly so many things, each there or not on its own."""
        chances = np.array([1.0])
        for share in self._share(noun):
            chances = np.convolve(chances, (1 - share, share))
        return float(chances[number]) if number < len(chances) else 0.0

    def _groups(self, noun: Noun) -> list[tuple[Members, float]]:
        """(things that the noun phrase may mean, probability); what is left to 1 is that there is no such thing."""
        share = self._share(noun)
        if not len(share):
            return []
        members = [int(one) for one in np.flatnonzero(share >= 0.5)]
        if not members:
            best = int(np.argmax(share))
            return [((best,), float(share[best]))] if noun.order <= 1 else []
        certain = float(np.prod(share[members]))
        if noun.order == 0:
            return [(tuple(members), certain)]
        members.sort(key=lambda one: self.things[one].x)
        found: dict[Members, float] = {}
        for groups, weight in self._divisions(tuple(members), noun.order):
            if len(groups) >= noun.order:
                group = groups[noun.order - 1]
                fits = 1.0 if (len(group) > 1) == noun.plural else 0.02
                found[group] = found.get(group, 0.0) + weight * fits
        total = sum(found.values())
        if total <= 0:
            return []
        enough = self._enough(tuple(members), noun)
        return [(group, weight / total * enough * certain) for group, weight in found.items()]

    def _enough(self, members: Members, noun: Noun) -> float:
        """How likely there are as many groups as the ordinal says."""
        if noun.order == 1:
            return 1.0
        if len(members) < noun.order + (1 if noun.plural else 0):
            return 0.0
        if not noun.plural:  # single things: each counts
            return 1.0
        divisions = self._divisions(members, noun.order)
        fewer = sum(weight for groups, weight in divisions if len(groups) < noun.order) * (1 - GROUPS_AS_ASKED)
        more = sum(weight for groups, weight in divisions if len(groups) >= noun.order) * GROUPS_AS_ASKED
        return more / max(fewer + more, 1e-12)

    def _divisions(self, members: Members, order: int) -> list[tuple[tuple[Members, ...], float]]:
        """(groups from left to right, weight) for all ways to divide neighbours, not normalised."""
        joints = len(members) - 1
        alike = [self._alike(a, b) for a, b in pairwise(members)]
        apart = [_rise((self.things[b].x - self.things[a].x - 0.04) / 0.004) for a, b in pairwise(members)]
        together = alike
        divided = [max(gap, 1e-3) * (ALIKE_BY_CHANCE * like + (1 - like)) for gap, like in zip(apart, alike, strict=True)]
        free = min(joints, MOST_DIVIDED)
        least = sorted(range(joints), key=lambda joint: together[joint] - divided[joint])[:free]
        result = []
        for code in range(1 << free):
            cuts = {least[bit] for bit in range(free) if code >> bit & 1}
            groups, weight, begin = [], 1.0, 0
            for joint in range(joints):
                weight *= divided[joint] if joint in cuts else together[joint]
                if joint in cuts:
                    groups.append(members[begin : joint + 1])
                    begin = joint + 1
            groups.append(members[begin:])
            if max(map(len, groups)) <= LARGEST_GROUP:
                result.append((tuple(groups), weight * 0.3 ** max(len(groups) - max(order, 2), 0)))
        return result

    def _alike(self, a: int, b: int) -> float:
        """Chance that two things have one look."""
        one, other = self.things[a], self.things[b]
        chance = float(np.exp(-0.5 * (np.log(one.width / other.width) / 0.05) ** 2))
        for kind in ("color", "pattern", "material"):
            values = set(one.chances.get(kind, ())) | {getattr(one, kind)}
            chance *= sum(_chance(one, kind, value) * _chance(other, kind, value) for value in values)
        return min(max(chance, 1e-6), 1.0)

    # ---- attributes and relations ---------------------------------------------------------------------------------------------

    def _all_have(self, members: Sequence[int], kind: str, value: str) -> float:
        return float(np.prod([self._has(self.things[one], kind, value) for one in members]))

    def _has(self, thing: Thing, kind: str, value: str) -> float:
        if kind == "size":
            large = _rise((thing.width - (looks.SMALL_TO + looks.LARGE_FROM) / 2) / SIZE_SPREAD)
            return {"large": large, "small": 1 - large}.get(value, 0.0)
        return _chance(thing, kind, value)

    def _relation(self, query: Relates) -> float:
        """Over all that both sides may mean; a target without an ordinal may be any group of its noun but the subject itself."""
        word = self.taxonomy.relations.names[query.relation]
        same = query.subject.object == query.target.object
        total = 0.0
        for subject, weight in self._groups(query.subject):
            targets = self._groups(query.target) if query.target.order or query.target.count else None
            if targets is not None:
                total += weight * sum(
                    share * self._holds(word, subject, target) for target, share in targets if not set(target) & set(subject)
                )
                continue
            total += weight * sum(
                share * max((self._holds(word, subject, target) for target in groups), default=0.0)
                for groups, share in self._targets(query.target, subject if same else ())
            )
        return total

    def _targets(self, noun: Noun, without: Members) -> list[tuple[tuple[Members, ...], float]]:
        """(groups that "the circle" or "circles" may mean, probability) where nothing says how many groups of the noun there are."""
        share = self._share(noun)
        members = sorted((int(one) for one in np.flatnonzero(share >= 0.5) if int(one) not in without), key=lambda one: self.things[one].x)
        if not members:
            rest = [one for one in range(len(share)) if one not in without]
            best = max(rest, key=lambda one: float(share[one]), default=None)
            return [] if best is None or noun.plural else [(((best,),), float(share[best]))]
        certain = float(np.prod(share[members]))
        divisions = self._divisions(tuple(members), 1)
        total = sum(weight for _, weight in divisions)
        return [
            (tuple(group for group in groups if (len(group) > 1) == noun.plural), weight / total * certain) for groups, weight in divisions
        ]

    def distance(self, query: Relates) -> float:
        """How far the target of a relation is from its subject, the smaller the more likely meant (``looks``); of no unit."""
        word = self.taxonomy.relations.names[query.relation]
        subject = max(self._groups(query.subject), key=lambda one: one[1], default=((), 0.0))[0]
        same = query.subject.object == query.target.object
        divided = max(self._targets(query.target, subject if same else ()), key=lambda one: one[1], default=((), 0.0))[0]
        true = [target for target in divided if subject and self._holds(word, subject, target) >= 0.5]
        if not true:
            return float("inf")
        if word == "larger than":
            return -max(min(self.things[one].width for one in target) for target in true)
        if word == "next to":
            return min(self._gap(subject, target) for target in true)
        pairs = [(self.things[a], self.things[b]) for target in true for a in subject for b in target]
        return min(float(np.hypot(a.x - b.x, a.y - b.y)) for a, b in pairs)

    def _gap(self, subject: Sequence[int], target: Sequence[int]) -> float:
        """Space between the nearest two boxes, the larger of across and down."""
        return min(
            max(
                abs(one.x - other.x) - (one.width + other.width) / 2,
                abs(one.y - other.y) - (one.height + other.height) / 2,
            )
            for one in (self.things[a] for a in subject)
            for other in (self.things[b] for b in target)
        )

    def _holds(self, word: str, subject: Sequence[int], target: Sequence[int]) -> float:
        """Chance that a relation holds between groups, every member counted (``looks``)."""
        one, other = [self.things[a] for a in subject], [self.things[b] for b in target]
        across = min(thing.x for thing in other) - max(thing.x for thing in one)
        down = min(thing.y for thing in other) - max(thing.y for thing in one)
        if word == "to the left of":
            return _rise((across - looks.AHEAD) / AHEAD_SPREAD)
        if word == "above":
            return _rise((down - looks.AHEAD) / AHEAD_SPREAD)
        if word == "to the upper left of":
            return _rise((across - looks.AHEAD) / AHEAD_SPREAD) * _rise((down - looks.AHEAD) / AHEAD_SPREAD)
        if word == "next to":
            return _rise((looks.NEXT_TO - self._gap(subject, target)) / NEXT_TO_SPREAD)
        if word == "larger than":
            ratio = min(thing.width for thing in one) / max(thing.width for thing in other)
            return _rise(float(np.log(ratio / looks.LARGER)) / LARGER_SPREAD)
        return 0.0


def _chance(thing: Thing, kind: str, value: str) -> float:
    """Chance that a property of a thing has a value; a property without chances is certain."""
    chances = thing.chances.get(kind)
    if chances is None:
        return 1.0 if getattr(thing, kind, None) == value else 0.0
    return float(chances.get(value, 0.0))
