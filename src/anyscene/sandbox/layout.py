"""Where things stand: a layout in which every relation of a scene holds.

The picture is a lattice of 32 x 32 units. Every thing takes a square of units, no two squares meet, and what a relation asks becomes a
window: "to the left of" leaves a later thing only centres to the right of an earlier one. Things are put down one by one at a drawn
free place within their window; a dead end begins anew with another draw, at last with smaller things and bands that keep room for those
to come. All draws are hashes of the graph, the seed and the attempt.

What is not said is left open, with one wish: a question such as "What is the star above?" should not have a better answer than the graph's.
Of several layouts the one is taken that misleads least.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from anyscene.errors import GraphError
from anyscene.sandbox import looks
from anyscene.scene.graph import SceneGraph
from anyscene.scene.keyed import mix_int
from anyscene.taxonomy import COUNT_TYPE, numeral

__all__ = ["AXES", "Place", "UnsatisfiableSceneError", "closes_circle", "copies", "lay_out", "value_of"]

UNITS = 32
EDGE, FRAMED_EDGE = 0.02, looks.FRAME_WIDTH + 0.02
GAP = 1
"""Units of a square that stay free; the rest is the thing's diameter."""
STEP = 2
"""Units between the centres of what is ahead of what."""
NEAR = 4
"""Units between squares of things next to each other, at most."""
APART = 6
"""Units between squares of things that must not be next to each other, at least."""
LEFT, ABOVE, UPPER_LEFT, NEXT_TO, LARGER = "to the left of", "above", "to the upper left of", "next to", "larger than"
ACROSS, DOWN = (LEFT, UPPER_LEFT), (ABOVE, UPPER_LEFT)
AXES = (ACROSS, DOWN, (LARGER,))
"""Relations that order things along one axis."""
SCALES = (
    ((6, 9, 12), (6, 8, 11, 15, 20)),
    ((5, 7, 10), (5, 7, 9, 12, 16, 21)),
    ((5, 6, 8), (5, 6, 7, 9, 11, 14, 18)),
)
"""Squares of small, other and large things, and of the rungs of a ladder of things that are larger than others, roomy to crowded."""
ATTEMPTS = (12, 24, 800)
"""Of each scale."""
LAYOUTS = 16
"""So many layouts are compared, until one misleads nobody (see ``_misleading``)."""
MIN_JITTER = 0.92
MAX_THINGS = 30


class UnsatisfiableSceneError(GraphError):
    """No picture of the sandbox can show this scene: it contradicts itself, or it has more things than fit."""


@dataclass(frozen=True, slots=True)
class Place:
    """One thing's place.

    Attributes:
        owner: id of its object.
        x: centre, fraction of the picture's width.
        y: centre, fraction of its height, downwards.
        diameter: fraction of the picture's side.
        depth: -0.5 (near) to 0.5, of the picture's side; used in 3D only.
    """

    owner: str
    x: float
    y: float
    diameter: float
    depth: float


def value_of(graph: SceneGraph, owner: int, kind: str, default: str = "") -> str:
    """The value of a type that an object has; of several the first."""
    return next((a.value for a in graph.objects[owner].attributes if a.type == kind), default)


def copies(graph: SceneGraph, owner: int) -> int:
    """How many of an object there are: its numeral, or 1."""
    return numeral(value_of(graph, owner, COUNT_TYPE)) or 1


def lay_out(graph: SceneGraph, seed: int = 0, apart: Iterable[tuple[str, str]] = ()) -> tuple[Place, ...]:
    """Places for all things of a scene, object after object, in which every relation holds (see ``looks``).

    Args:
        graph: a scene in the words of the sandbox.
        seed: of the draws.
        apart: ids of objects that are *not* to be next to each other.

    Raises:
        UnsatisfiableSceneError: the relations form a circle, contradict a size word, or there are more things than fit.
    """
    problem = _Problem.of(graph, apart)
    key = int.from_bytes(hashlib.blake2b(f"{seed}\0{graph.to_json()}".encode(), digest_size=8).digest(), "little")
    for scale, (attempts, sizes) in enumerate(zip(ATTEMPTS, (problem.squares(scale) for scale in range(len(SCALES))), strict=True)):
        found: list[tuple[int, tuple[Place, ...]]] = []
        for attempt in range(attempts + LAYOUTS):
            squares = _Attempt(problem, sizes, mix_int(key + (scale << 20) + attempt), attempt).place()
            if squares is not None:
                places = _places(graph, problem, squares, key)
                found.append((_misleading(graph, places), places))
            if (found and not found[-1][0]) or len(found) == LAYOUTS or (not found and attempt >= attempts - 1):
                break
        if found:
            return min(found, key=lambda one: one[0])[1]
    total = sum(problem.counts)
    raise UnsatisfiableSceneError(
        f"no room for {total} things with {len(graph.relations)} relations in one picture; leave out objects, numerals or relations"
    )


def closes_circle(edges: Iterable[tuple[int, int]], size: int) -> bool:
    """Do directed edges between ``size`` nodes form a circle?"""
    return any(length[node] > 0 for node, length in enumerate(_longest(edges, size)))


# ---- the problem ----------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Problem:
    """A scene as numbers.

    Attributes:
        counts: copies of each object.
        across: ``[a][b]``: how many steps a must be left of b; -1 for no matter.
        down: the same, above.
        near: pairs that are next to each other.
        apart: pairs that are not.
        size_words: ``small``, ``large`` or empty, of each object.
        rungs: of each object that is compared in size: how many are below it; else -1.
        framed: leaves room for a frame.
    """

    counts: tuple[int, ...]
    across: tuple[tuple[int, ...], ...]
    down: tuple[tuple[int, ...], ...]
    near: tuple[tuple[int, int], ...]
    apart: tuple[tuple[int, int], ...]
    size_words: tuple[str, ...]
    rungs: tuple[int, ...]
    framed: bool

    @classmethod
    def of(cls, graph: SceneGraph, apart: Iterable[tuple[str, str]]) -> _Problem:
        """Raises: UnsatisfiableSceneError: the scene contradicts itself or names what cannot be drawn."""
        at = {one.id: place for place, one in enumerate(graph.objects)}
        size = len(at)
        edges = [(at[r.subject], at[r.object], r.predicate) for r in graph.relations]
        counts = tuple(copies(graph, place) for place in range(size))
        if sum(counts) > MAX_THINGS:
            raise UnsatisfiableSceneError(f"{sum(counts)} things in one picture; at most {MAX_THINGS} are drawn")
        unknown = next((r.predicate for r in graph.relations if r.predicate not in (*ACROSS, ABOVE, NEXT_TO, LARGER)), None)
        if unknown is not None:
            raise UnsatisfiableSceneError(f"the relation {unknown!r} is not one of the sandbox; see its relations.tsv")
        across = _longest(_numbered(graph, [(a, b) for a, b, word in edges if word in ACROSS]), size)
        down = _longest([(a, b) for a, b, word in edges if word in DOWN], size)
        larger = _longest([(a, b) for a, b, word in edges if word == LARGER], size)
        for table, words in ((across, ACROSS), (down, DOWN), (larger, (LARGER,))):
            if any(table[node][node] > 0 for node in range(size)):
                raise UnsatisfiableSceneError(f"the relations {' and '.join(map(repr, words))} go round in a circle")
        compared = {node for a, b, word in edges if word == LARGER for node in (a, b)}
        sizes = tuple(value_of(graph, place, "size") for place in range(size))
        if any(sizes[node] for node in compared):
            raise UnsatisfiableSceneError(f"an object has a size word and is compared by {LARGER!r}; one of the two at most can be drawn")
        return cls(
            counts=counts,
            across=across,
            down=down,
            near=tuple((a, b) for a, b, word in edges if word == NEXT_TO),
            apart=tuple((at[a], at[b]) for a, b in apart),
            size_words=sizes,
            rungs=tuple(max(0, *larger[node]) if node in compared else -1 for node in range(size)),
            framed=any(one.type == "frame" for one in graph.scene_attributes),
        )

    def squares(self, scale: int) -> tuple[int, ...]:
        """Units of each object's square."""
        (small, middle, large), ladder = SCALES[scale]
        first = 1 if max(self.rungs) <= 1 else 0  # a short ladder leaves out the smallest rung
        if max(self.rungs) > 0:  # nothing that is not compared is small beside what is
            middle = max(middle, min(ladder[max(self.rungs) + first], large))
        words = {"small": small, "large": large}
        return tuple(
            words.get(word, middle) if rung < 0 else ladder[min(rung + first, len(ladder) - 1)]
            for word, rung in zip(self.size_words, self.rungs, strict=True)
        )


def _numbered(graph: SceneGraph, edges: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The edges, and things of one noun from left to right in the order of the graph, where that closes no circle."""
    names = [one.name for one in graph.objects]
    for later in range(1, len(names)):
        twin = next((earlier for earlier in range(later - 1, -1, -1) if names[earlier] == names[later]), None)
        if twin is not None and not closes_circle([*edges, (twin, later)], len(names)):
            edges = [*edges, (twin, later)]
    return edges


def _longest(edges: Iterable[tuple[int, int]], size: int) -> tuple[tuple[int, ...], ...]:
    """``[a][b]``: edges of the longest way from a to b, -1 where there is none; positive from a node to itself on a circle."""
    table = [[-1] * size for _ in range(size)]
    for a, b in edges:
        table[a][b] = 1
    for middle in range(size):
        for a in range(size):
            if table[a][middle] > 0:
                for b in range(size):
                    if table[middle][b] > 0:
                        table[a][b] = max(table[a][b], min(table[a][middle] + table[middle][b], size))
    return tuple(map(tuple, table))


# ---- one attempt ----------------------------------------------------------------------------------------------------------------

Square = tuple[int, int, int]
"""Left and top unit, and side."""


@cache
def _column(height: int) -> int:
    """Bits at the start of so many rows of the lattice."""
    return sum(1 << (UNITS * row) for row in range(height))


def _block(left: int, top: int, right: int, bottom: int) -> int:
    """The bits of a rectangle of positions, ends included, cut to the lattice."""
    left, top, right, bottom = max(left, 0), max(top, 0), min(right, UNITS - 1), min(bottom, UNITS - 1)
    if right < left or bottom < top:
        return 0
    return (((1 << (right - left + 1)) - 1) << left) * _column(bottom - top + 1) << (UNITS * top)


class _Attempt:
    """One try at placing everything."""

    def __init__(self, problem: _Problem, sizes: Sequence[int], key: int, number: int) -> None:
        self.problem, self.sizes, self.key, self.drawn = problem, sizes, key, 0
        self.banded = number % 2 == 1
        self.packed = number % 8 >= 6
        self.from_the_end = bool(mix_int(key) & 1)
        self.apart = {frozenset(pair) for pair in problem.apart}
        self.placed: list[list[Square]] = [[] for _ in sizes]

    def _draw(self, below: int) -> int:
        self.drawn += 1
        return mix_int(self.key + self.drawn) % below

    def place(self) -> list[list[Square]] | None:
        """Squares of each object's things, or None at a dead end."""
        for node in self._order():
            near = [b if a == node else a for a, b in self.problem.near if node in (a, b)]
            missing = [other for other in near if self.placed[other]]
            for left in range(self.problem.counts[node], 0, -1):
                free = self._free(node)
                spot = self._near(node, free, missing, must=left <= len(missing))
                if not spot:
                    return None
                square = self._choose(spot, self.sizes[node])
                self.placed[node].append(square)
                missing = [other for other in missing if not any(_close(square, one) for one in self.placed[other])]
            if missing:
                return None
        return self.placed

    def _order(self) -> list[int]:
        """Objects side by side follow each other; else the large and many come first in a packed attempt, or any."""
        count = len(self.sizes)
        turn = [self._draw(1 << 30) for _ in range(count)]
        if self.packed:
            weight = [-self.sizes[node] * self.sizes[node] * self.problem.counts[node] for node in range(count)]
            turn = [weight[node] * 4 + turn[node] % 4 for node in range(count)]
        order: list[int] = []
        waiting = sorted(range(count), key=turn.__getitem__)
        while waiting:
            beside = {b if a in order else a for a, b in self.problem.near if (a in order) != (b in order)}
            following = next((node for node in waiting if node in beside), waiting[0])
            order.append(following)
            waiting.remove(following)
        return order

    def _free(self, node: int) -> int:
        """Positions of a further square of an object, as bits, that meet no square and keep all directed relations."""
        side = self.sizes[node]
        low_x, high_x = self._window(node, self.problem.across, 0)
        low_y, high_y = self._window(node, self.problem.down, 1)
        free = _block(low_x, low_y, high_x, high_y)
        for owner, squares in enumerate(self.placed):
            margin = APART - 1 if frozenset((node, owner)) in self.apart else -1
            for left, top, other in squares:
                free &= ~_block(left - side - margin, top - side - margin, left + other + margin, top + other + margin)
                if not free:
                    return 0
        return free

    def _window(self, node: int, steps: Sequence[Sequence[int]], axis: int) -> tuple[int, int]:
        """First and last position along an axis."""
        side = self.sizes[node]
        before = max((steps[other][node] for other in range(len(self.sizes))), default=-1)
        after = max(steps[node])
        low, high = side, 2 * UNITS - side  # of twice the centre
        if self.banded and (before > 0 or after > 0):
            ways = max(before, 0) + max(after, 0) + 1
            low = max(low, 2 * UNITS * max(before, 0) // ways)
            high = min(high, 2 * UNITS * (max(before, 0) + 1) // ways)
        else:
            low = max(low, 2 * STEP * max(before, 0) + 4)
            high = min(high, 2 * UNITS - 2 * STEP * max(after, 0) - 4)
        for other, squares in enumerate(self.placed):
            if not squares:
                continue
            if steps[other][node] > 0:
                low = max(low, max(2 * one[axis] + one[2] for one in squares) + 2 * STEP * steps[other][node])
            if steps[node][other] > 0:
                high = min(high, min(2 * one[axis] + one[2] for one in squares) - 2 * STEP * steps[node][other])
        return -((side - low) // 2), (high - side) // 2

    def _near(self, node: int, free: int, missing: Sequence[int], must: bool) -> int:
        """The free positions that are next to the objects that still need it: to all, or else to one."""
        if not missing:
            return free
        side = self.sizes[node]
        beside = []
        for other in missing:
            spots = 0
            for left, top, size in self.placed[other]:
                spots |= _block(left - side - NEAR, top - side - NEAR, left + size + NEAR, top + size + NEAR)
            beside.append(free & spots)
        best = free
        for spots in beside:
            best &= spots
        if best:
            return best
        if must and len(missing) > 1:
            return 0
        return beside[self._draw(len(beside))]

    def _choose(self, spots: int, side: int) -> Square:
        """A drawn position; in a packed attempt the first one from the top, or from the bottom."""
        if self.packed:
            place = (spots if self.from_the_end else spots & -spots).bit_length() - 1
        else:
            bits = np.unpackbits(np.frombuffer(spots.to_bytes(UNITS * UNITS // 8, "little"), dtype=np.uint8), bitorder="little")
            places = np.flatnonzero(bits)
            place = int(places[self._draw(len(places))])
        return place % UNITS, place // UNITS, side


def _close(one: Square, other: Square) -> bool:
    """Are two squares next to each other?"""
    return all(one[axis] - other[axis] - other[2] <= NEAR and other[axis] - one[axis] - one[2] <= NEAR for axis in (0, 1))


def _places(graph: SceneGraph, problem: _Problem, squares: list[list[Square]], key: int) -> tuple[Place, ...]:
    """Squares of the lattice as fractions of the picture."""
    edge = FRAMED_EDGE if problem.framed else EDGE
    unit = (1 - 2 * edge) / UNITS
    fixed = {node for pair in problem.near for node in pair}
    places = []
    for node, own in enumerate(squares):
        free = node not in fixed and max(problem.rungs) < 0 and problem.size_words[node] != "large"
        draw = mix_int(key + (node + 1) * 7919)
        jitter = MIN_JITTER + (1 - MIN_JITTER) * (draw % 1024) / 1023 if free else 1.0
        for number, (left, top, side) in enumerate(own):
            depth = mix_int(draw + number) % 1024 / 1023 - 0.5
            diameter = (side - GAP) * unit * jitter
            places.append(Place(graph.objects[node].id, edge + (left + side / 2) * unit, edge + (top + side / 2) * unit, diameter, depth))
    return tuple(places)


# ---- several true answers -------------------------------------------------------------------------------------------------------


def _misleading(graph: SceneGraph, places: Sequence[Place]) -> int:
    """How many relations have another object nearer to their subject than their own, for which they hold, too.

    "What is the star above?" then has a better answer than the one that the graph gives (``looks``).
    """
    own: dict[str, list[Place]] = {}
    for place in places:
        own.setdefault(place.owner, []).append(place)
    names = {one.id: one.name for one in graph.objects}
    count = 0
    for one in graph.relations:
        word, subject = one.predicate, own[one.subject]
        limit = _distance(word, subject, own[one.object])
        count += any(
            names[other] != names[one.object] and _true(word, subject, things) and _distance(word, subject, things) < limit
            for other, things in own.items()
            if other not in (one.subject, one.object)
        )
    return count


def _distance(word: str, subject: Sequence[Place], other: Sequence[Place]) -> float:
    """How far another object is from the subject of a relation; for sizes, how small it is."""
    if word == LARGER:
        return -min(thing.diameter for thing in other)
    if word == NEXT_TO:
        return min(_gap(a, b) for a in subject for b in other)
    return min((a.x - b.x) ** 2 + (a.y - b.y) ** 2 for a in subject for b in other)


def _true(word: str, subject: Sequence[Place], other: Sequence[Place]) -> bool:
    """Does a relation hold between placed objects (``looks``)?"""
    if word == LARGER:
        return min(thing.diameter for thing in subject) >= looks.LARGER * max(thing.diameter for thing in other)
    if word == NEXT_TO:
        return min(_gap(a, b) for a in subject for b in other) <= looks.NEXT_TO
    across = min(thing.x for thing in other) - max(thing.x for thing in subject) >= looks.AHEAD
    down = min(thing.y for thing in other) - max(thing.y for thing in subject) >= looks.AHEAD
    return (across or word not in ACROSS) and (down or word not in DOWN)


def _gap(one: Place, other: Place) -> float:
    """Space between two boxes, the larger of across and down."""
    return max(abs(one.x - other.x), abs(one.y - other.y)) - (one.diameter + other.diameter) / 2
