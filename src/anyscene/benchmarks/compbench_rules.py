"""The rules of T2I-CompBench on given boxes and probabilities: where two things lie, how many there are, what a phrase is worth.

Each function takes the names of faults that are mended; with none it does what the released code does, with ``FAULTS`` what was meant. The
rules for depth follow their description; the released file of them carries a non-commercial licence and was not used.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Sequence

from anyscene.benchmarks.boxes import Box, iou
from anyscene.errors import SpecError

__all__ = [
    "FAULTS",
    "MEND_ALL",
    "RELATIONS_2D",
    "RELATIONS_3D",
    "depth_score",
    "numeracy_score",
    "phrase_product",
    "position_score",
    "spatial_score",
    "three_in_one",
]

FAULTS = {
    "on-top-of": "'on top of' is in the list of relations, and no branch scores it: such prompts get nothing for their position.",
    "same-thing-twice": "Of two things of one name both are the first box found: it lies upon itself.",
    "part-of-a-word": "Any class whose name contains the letters of the one asked for is taken for it: 'cat' is found in 'cattle'.",
    "television": "The synonym of 'tv' is misspelt, so televisions are looked for under a name that the detector does not have.",
    "eight-phrases": "Only the first eight phrases of a prompt are asked about.",
    "four-decimals": "Probabilities and products are rounded to four decimals.",
}
"""Faults of the released rules, by name."""
MEND_ALL = frozenset(FAULTS)
RELATIONS_2D = ("on side of", "next to", "near", "on the left of", "on the right of", "on the bottom of", "on the top of", "on top of")
RELATIONS_3D = ("in front of", "behind", "hidden by")
PERSONS = ("girl", "boy", "man", "woman")
OVERLAP = 0.1
DISTANCE = 150.0
"""Pixels, in a picture of at most 480."""
SIDE = 480
LEAST = 0.5
"""A spatial score below this is 0."""
DEEP_OVERLAP = 0.5
SAME = 0.9
PHRASES = 8
_SYNONYMS = {"ship": "boat", "goldfish": "fish", "painting": "picture"}


def position_score(relation: str, a: Box, b: Box, mend: Collection[str] = ()) -> float:
    """How well box a lies from box b as the relation says, 0 to 1 (``determine_position``).

    Args:
        relation: one of ``RELATIONS_2D``.
        a: of which the relation is told.
        b: to which; boxes are in pixels of a picture whose longer side is at most 480.
        mend: faults that are mended.

    Raises:
        SpecError: another relation.
    """
    if relation not in RELATIONS_2D:
        raise SpecError(f"relation {relation!r}: it is one of {', '.join(RELATIONS_2D)}")
    if relation == "on top of":
        if "on-top-of" not in mend:
            return 0.0
        relation = "on the top of"
    x, y = (other - mine for mine, other in zip(a.centre, b.centre, strict=True))
    if relation in ("next to", "on side of", "near"):
        near = abs(x) < DISTANCE or abs(y) < DISTANCE
        return 1.0 if near else DISTANCE / max(abs(x), abs(y))
    along, across = (x, y) if relation in ("on the left of", "on the right of") else (y, x)
    sign = 1 if relation in ("on the left of", "on the top of") else -1
    if along * sign <= 0 or abs(along) <= abs(across):
        return 0.0
    overlap = iou(a, b)
    return 1.0 if overlap < OVERLAP else OVERLAP / overlap


def spatial_score(
    boxes: Sequence[Box], first: str, second: str, relation: str, *, longer_side: float = 0, mend: Collection[str] = ()
) -> float:
    """The score of a spatial prompt: a quarter for each thing's confidence, a half for the position; below one half it is 0.

    Args:
        boxes: in the detector's order.
        first: class of which the relation is told.
        second: class to which.
        relation: one of ``RELATIONS_2D``.
        longer_side: of the picture in pixels, so that boxes can be brought to 480; 0 takes them as they are.
        mend: faults that are mended.
    """
    return _spatial(boxes, first, second, lambda a, b: position_score(relation, a, b, mend), longer_side, mend, LEAST)


def depth_score(
    boxes: Sequence[Box], nearness: Sequence[float], first: str, second: str, relation: str, *, mend: Collection[str] = ()
) -> float:
    """The score of a prompt of three dimensions: as `spatial_score`, without its cut.

    Args:
        boxes: in the detector's order.
        nearness: for each box how near what is in it is on average, as DPT's inverse depth: more is nearer.
        first: class of which the relation is told.
        second: class to which.
        relation: ``in front of``, ``behind`` or ``hidden by``.
        mend: faults that are mended.

    Raises:
        SpecError: another relation.
    """
    if relation not in RELATIONS_3D:
        raise SpecError(f"relation {relation!r}: it is one of {', '.join(RELATIONS_3D)}")
    how_near = {id(box): value for box, value in zip(boxes, nearness, strict=True)}

    def position(a: Box, b: Box) -> float:
        nearer = how_near[id(a)] - how_near[id(b)]
        if (nearer if relation == "in front of" else -nearer) <= 0:
            return 0.0
        overlap = iou(a, b)
        return 1.0 if overlap > DEEP_OVERLAP else overlap / DEEP_OVERLAP

    return _spatial(boxes, first, second, position, 0, mend, 0.0)


def _spatial(
    boxes: Sequence[Box],
    first: str,
    second: str,
    position: Callable[[Box, Box], float],
    longer_side: float,
    mend: Collection[str],
    least: float,
) -> float:
    first, second = (_detected(name, mend) for name in (first, second))
    own = [box for box in boxes if box.name == first]
    others = [box for box in boxes if box.name == second]
    if first == second and "same-thing-twice" in mend:
        others = own[1:]
    if own and others:
        factor = SIDE / longer_side if longer_side > SIDE else 1.0
        a, b = own[0], others[0]
        at = position(a.scaled(factor), b.scaled(factor)) if factor != 1 else position(a, b)
        score = 0.25 * a.score + 0.25 * b.score + at / 2
    else:
        score = 0.25 * (own or others)[0].score if own or others else 0.0
    return score if score >= least else 0.0


def numeracy_score(boxes: Sequence[Box], wanted: Sequence[tuple[str, int]], mend: Collection[str] = ()) -> float:
    """Half for every thing that is there, half for the right number of it; a mean over the things.

    Boxes of one class that are nearly the same, or one within the other, count once.

    Args:
        boxes: in the detector's order.
        wanted: (name in the singular, number) of each thing.
        mend: faults that are mended.
    """
    kept: list[Box] = []
    for box in boxes:
        if not any(one.name == box.name and _same(box, one) for one in kept):
            kept.append(box)
    names = [box.name for box in kept]
    score = 0.0
    for thing, number in wanted:
        name = _detected(thing, mend)
        name = _SYNONYMS.get(name, name)
        if name not in names:
            names = [name if _holds(one, name, mend) else one for one in names]
        if name in names:
            score += 0.5 + 0.5 * (names.count(name) == number)
    return score / len(wanted) if wanted else math.nan


def _holds(label: str, name: str, mend: Collection[str]) -> bool:
    if "part-of-a-word" not in mend:
        return name in label
    return bool(re.search(rf"\b{re.escape(name)}\b", label))


def _same(a: Box, b: Box) -> bool:
    """Nearly the same, or one in the other; pixels at both ends count, as in the released code."""
    wide = max(0.0, min(a.right, b.right) - max(a.left, b.left) + 1)
    high = max(0.0, min(a.bottom, b.bottom) - max(a.top, b.top) + 1)
    own, other = (a.width + 1) * (a.height + 1), (b.width + 1) * (b.height + 1)
    shared = wide * high
    return max(shared / (own + other - shared), shared / own, shared / other) > SAME


def _detected(name: str, mend: Collection[str]) -> str:
    """What the detector calls a thing."""
    if name in PERSONS:
        return "person"
    return "tv" if name == ("television" if "television" in mend else "telivision") else name


def phrase_product(values: Sequence[float], mend: Collection[str] = ()) -> float:
    """BLIP-VQA's score: the product of P(yes) of the phrases; NaN where one is missing.

    Args:
        values: P(yes) / (P(yes) + P(no)) of each phrase of the prompt.
        mend: faults that are mended.
    """
    own = list(values) if "eight-phrases" in mend else list(values)[:PHRASES]
    if "four-decimals" in mend:
        return math.prod(own)
    return round(math.prod(round(value, 4) for value in own), 4)


def three_in_one(subset: str, phrases: float, spatial: float, clip: float) -> float:
    """The score of a complex prompt: a mean of the two or three scores that fit its kind.

    Args:
        subset: ``spatial``, ``action`` or ``spatialaction``.
        phrases: BLIP-VQA's score.
        spatial: the score in two dimensions.
        clip: the cosine with the prompt without its adjectives.

    Raises:
        SpecError: another subset.
    """
    if subset not in ("spatial", "action", "spatialaction"):
        raise SpecError(f"subset {subset!r} of complex prompts: it is spatial, action or spatialaction")
    parts = {"spatial": (phrases, spatial), "action": (phrases, clip), "spatialaction": (phrases, spatial, clip)}[subset]
    return sum(parts) / len(parts)
