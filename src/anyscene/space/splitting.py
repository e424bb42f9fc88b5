"""The proof of a split: two spaces compared over everything that they could ever draw; and what of that one scene holds."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np

from anyscene.errors import SpecError
from anyscene.scene.canonical import Key, canonical_key
from anyscene.scene.graph import SceneGraph
from anyscene.scene.structure import Edge
from anyscene.space.space import Space


def prove_split(train: Space, test: Space) -> dict[str, Any]:
    """Count what the two sides have and share, element by element, pair by pair, structure by structure.

    Returns:
        ``by``: what they must not share; ``checked``: for each kind (``elements``, ``pairs``, ``structures``) how many the training
        side has, the test side has, and both have.

    Raises:
        SpecError: they share what they must not share.
    """
    holdout = train.spec.holdout
    if holdout is None or test.spec.holdout is None:
        raise SpecError("only the two sides of a split can be compared; these specs have no holdout")
    checked = {"elements": _elements(train, test), "pairs": _pairs(train, test), "structures": _structures(train, test)}
    for kind in sorted(holdout.kinds):
        shared = checked[f"{kind}s"]["shared"]
        if shared:
            raise SpecError(f"the two sides share {shared} {kind}s")
    return {"by": holdout.kind, "test_share": holdout.test_parts / holdout.parts, "checked": checked}


def _elements(train: Space, test: Space) -> dict[str, int]:
    """Objects, attributes, relations and scene attributes."""
    mine, theirs = _words(train), _words(test)
    return {"train": len(mine), "test": len(theirs), "shared": len(mine & theirs)}


def _words(space: Space) -> set[tuple[str, int]]:
    tables = space.tables
    found = {("object", int(noun)) for nouns in tables.nouns for noun in nouns}
    found |= {("attribute", int(value)) for profile in tables.attributes for values in profile for value in values}
    found |= {("relation", int(value)) for row in tables.relations for cell in row for value in cell}
    if tables.seed:
        found |= {("object", noun) for noun in tables.seed.nouns} | {("relation", relation) for _, relation, _ in tables.seed.relations}
        found |= {("attribute", value) for values in tables.seed.attributes for value in values}
    if space.spec.scene_attributes[1]:
        found |= {("scene", int(value)) for value in tables.scene_attributes}
    return found


def _pairs(train: Space, test: Space) -> dict[str, int]:
    """(object, attribute) pairs that the tables allow."""
    sizes = {"train": 0, "test": 0, "shared": 0}
    for side, space in (("train", train), ("test", test)):
        for nouns, profile in zip(space.tables.nouns, space.tables.attributes, strict=True):
            sizes[side] += len(nouns) * sum(map(len, profile))
    none = np.zeros(0, dtype=np.int64)
    theirs = [np.concatenate([none, *profile]) for profile in test.tables.attributes]
    for nouns, profile in zip(train.tables.nouns, train.tables.attributes, strict=True):
        own = np.concatenate([none, *profile])
        for others, values in zip(test.tables.nouns, theirs, strict=True):
            both = len(np.intersect1d(nouns, others))
            if both:
                sizes["shared"] += both * len(np.intersect1d(own, values))
    if train.tables.seed and test.tables.seed:
        given = sum(map(len, train.tables.seed.attributes))
        sizes = {side: size + given for side, size in sizes.items()}
    return sizes


def _structures(train: Space, test: Space) -> dict[str, int]:
    mine, theirs = ({frame.structure.code for frames in space.frames.values() for frame in frames} for space in (train, test))
    return {"train": len(mine), "test": len(theirs), "shared": len(mine & theirs)}


def parts_of(graph: SceneGraph) -> Mapping[str, frozenset[Key]]:
    """What one scene has of each kind that a split can keep apart.

    Two scenes have the same structure exactly when `scene.structure.identify` gives the same one for both; scenes that it does not know,
    since they are too large or their relations run in a circle, have one as well. Words are taken without regard to case, as spaces do.

    Returns:
        ``element``: (kind, word), with ``type=value`` for scene attributes; ``pair``: (object, attribute); ``structure``: a single key.
    """
    pairs = {(one.name.casefold(), a.value.casefold()) for one in graph.objects for a in one.attributes}
    elements = {("object", one.name.casefold()) for one in graph.objects} | {("attribute", value) for _, value in pairs}
    elements |= {("relation", one.predicate.casefold()) for one in graph.relations}
    elements |= {("scene", f"{one.type}={one.value}".casefold()) for one in graph.scene_attributes}
    place = {one.id: number for number, one in enumerate(graph.objects)}
    edges = tuple((place[one.subject], place[one.object]) for one in graph.relations)
    structure = _structure_key(tuple(len(one.attributes) for one in graph.objects), edges)
    return {"element": frozenset(elements), "pair": frozenset(pairs), "structure": frozenset([structure])}


@lru_cache(maxsize=1 << 16)
def _structure_key(attributes: tuple[int, ...], edges: tuple[Edge, ...]) -> Key:
    """Equal exactly for isomorphic structures."""
    return canonical_key({str(node): count for node, count in enumerate(attributes)}, [(str(a), "", str(b)) for a, b in edges])
