"""How plausible is it that an object has an attribute, stands in a relation to another object, is found in a place, or shares a scene with
another?

Every object, attribute, relation and location has a vector of 64 dimensions, made offline from a sentence embedding of its words and
trained on some thousand plausible pairs (`tools/taxonomy/build_vectors.py`). They are stored as int8, unit length times 127, in
`vectors.npz` of a taxonomy, row for row as in its TSV files; a row of zeros means "unknown". With **s**, **r**, **o** the unit vectors of
subject, relation and object, **a** of an attribute, **l** of a location, the raw scores are

    attribute   o · a
    location    o · l
    relation    sᵀ S r  +  oᵀ O r  +  sᵀ M o
    object      sᵀ N o,  N symmetric

The 64 by 64 matrices S and O (what a relation asks of its subject and of its object), M (how well the two go together in these roles) and N
are learned too. As S and O differ, "dog chasing ball" is not "ball chasing dog". A raw score is then standardised: 0 is the mean and 1 the
standard deviation over random pairs that the class rules allow. Vectors know what belongs together, not what is possible; that is what the
class columns `fits`, `subject_classes` and `object_classes` are for, and the caller applies those.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Plausibility"]

Rows = NDArray[np.int64]
Scores = NDArray[np.float32]

_KINDS = ("attribute", "location", "relation", "object")
_TABLES = {
    "attribute": ("objects", "attributes"),
    "location": ("objects", "scene_attributes"),
    "relation": ("objects", "relations", "objects"),
    "object": ("objects", "objects"),
}
_WIDTH = 64
_STEPS = 512
_BLOCK = 4096  # pairs scored at a time: the vectors gathered for a block stay in the cache


class Plausibility:
    """Plausibility scores from the arrays of a `vectors.npz`; every method takes equally long arrays of row positions and works
    elementwise.

    Scores are roughly of mean 0 and standard deviation 1 over random pairs allowed by class, higher is more plausible, and exactly 0 where
    a vector is missing. They depend on the arrays alone.
    """

    def __init__(self, vectors: Mapping[str, NDArray[Any]]) -> None:
        """Keep the arrays; nothing is computed before the first score.

        Args:
            vectors: `objects`, `attributes`, `relations`, `scene_attributes` (rows, 64) int8, and optionally `maps` (4, 64, 64), which
                holds S, O, M and N (default: four identities; N is made symmetric), and `scale` (4, 2), mean and standard deviation of the
                raw score of attribute, location, relation and object (default: 0 and 1). Where an array of vectors is absent, every score
                that needs it is 0.
        """
        self._vectors = vectors
        self._maps = np.asarray(vectors.get("maps", np.stack([np.eye(_WIDTH)] * 4)), np.float64)
        self._scale: Scores = np.asarray(vectors.get("scale", np.tile([0.0, 1.0], (4, 1))), np.float32)

    def attribute_scores(self, objects: Rows, attributes: Rows) -> Scores:
        """How plausibly each object has its attribute (`rusty nail` over `rusty banana`)."""

        def raw(o: Rows, a: Rows) -> Scores:
            return _dot(self._objects[o], self._attributes[a])

        return self._score("attribute", raw, objects, attributes)

    def location_scores(self, objects: Rows, scene_attributes: Rows) -> Scores:
        """How plausibly each object is found in its location; 0 for scene attributes that are not locations."""

        def raw(o: Rows, a: Rows) -> Scores:
            return _dot(self._objects[o], self._locations[a])

        return self._score("location", raw, objects, scene_attributes)

    def relation_scores(self, subjects: Rows, relations: Rows, objects: Rows) -> Scores:
        """How plausibly each subject stands in its relation to its object (`dog chasing ball` over `ball chasing dog`)."""

        def raw(s: Rows, r: Rows, o: Rows) -> Scores:
            return _dot(self._objects[s], self._of_subject[r]) + _dot(self._objects[o], self._of_object[r] + self._partners[s])

        return self._score("relation", raw, subjects, relations, objects)

    def object_scores(self, objects: Rows, others: Rows) -> Scores:
        """How plausibly two objects are in one scene, whatever the relation; symmetric."""

        def raw(o: Rows, p: Rows) -> Scores:
            return _dot(self._objects[o], self._company[p])

        return self._score("object", raw, objects, others)

    def _score(self, kind: str, raw: Callable[..., Scores], *rows: Rows) -> Scores:
        """Raw scores block by block, standardised; 0 where one of the vectors is missing."""
        mean, deviation = self._scale[_KINDS.index(kind)]
        scores = np.zeros(len(rows[0]), np.float32)
        if any(table not in self._vectors for table in _TABLES[kind]):
            return scores
        for start in range(0, len(scores), _BLOCK):
            block = slice(start, start + _BLOCK)
            scores[block] = raw(*(column[block] for column in rows))
        scores /= _STEPS * _STEPS
        scores -= mean
        scores /= deviation
        for table, column in zip(_TABLES[kind], rows, strict=True):
            scores[~self._known[table][column]] = 0
        return scores

    def _unit(self, table: str, transform: NDArray[np.float64] | None = None) -> Scores:
        """The vectors of a table at unit length, turned by a matrix; missing ones stay zero.

        Whole numbers, in steps of 1/512. An int8 times a half-precision float is exact in double precision, and so is the sum of 64; the
        inner product of two rows on the grid is exact in single precision. So no score hangs on the order in which a machine adds.
        """
        vectors = np.asarray(self._vectors[table], np.float64)
        length = np.sqrt(np.sum(vectors * vectors, axis=1, keepdims=True))
        turned = vectors if transform is None else vectors @ transform
        return np.asarray(np.rint(turned / np.maximum(length, 1) * _STEPS), np.float32)

    @cached_property
    def _known(self) -> dict[str, NDArray[np.bool_]]:
        """For each table, which rows have a vector."""
        tables = {table for tables in _TABLES.values() for table in tables}
        return {table: np.any(np.asarray(self._vectors[table]) != 0, axis=1) for table in sorted(tables & self._vectors.keys())}

    @cached_property
    def _objects(self) -> Scores:
        return self._unit("objects")

    @cached_property
    def _attributes(self) -> Scores:
        return self._unit("attributes")

    @cached_property
    def _locations(self) -> Scores:
        return self._unit("scene_attributes")

    @cached_property
    def _of_subject(self) -> Scores:
        """What each relation asks of its subject: S r."""
        return self._unit("relations", self._maps[0].T)

    @cached_property
    def _of_object(self) -> Scores:
        """What each relation asks of its object: O r."""
        return self._unit("relations", self._maps[1].T)

    @cached_property
    def _partners(self) -> Scores:
        """What goes with each object as a subject: Mᵀ s."""
        return self._unit("objects", self._maps[2])

    @cached_property
    def _company(self) -> Scores:
        """What goes with each object in a scene: N p."""
        return self._unit("objects", (self._maps[3] + self._maps[3].T) / 2)


def _dot(left: Scores, right: Scores) -> Scores:
    """Row-wise inner products."""
    products: Scores = np.einsum("ij,ij->i", left, right)
    return products
