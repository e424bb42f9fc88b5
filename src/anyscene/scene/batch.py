"""Many scenes as integer columns: the form in which scenes are made and written out.

Numbers are positions in a taxonomy's lists; this module knows no words.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from anyscene.scene.structure import Edge

IntArray = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Shape:
    """What a caption needs to know of a structure: relations in caption order and attributes of each object."""

    edges: tuple[Edge, ...]
    attributes: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class SceneBatch:
    """``rows`` scenes. Flat columns hold the elements of all scenes one after the other, in the order of their shape.

    Attributes:
        index: ``(rows,)`` row number in the dataset.
        shapes: the distinct shapes that occur.
        shape_index: ``(rows,)`` into ``shapes``.
        objects: ``(objects,)`` noun of every object; ``object_start`` ``(rows + 1,)`` where each scene begins.
        attributes: ``(attributes,)`` value of every attribute; ``attribute_start`` ``(objects + 1,)`` where each object begins.
        relations: ``(relations,)`` predicate of every relation; ``relation_start`` ``(rows + 1,)``.
        subjects, targets: ``(relations,)`` position of both ends within their scene.
        scene_attributes: ``(scene attributes,)``; ``scene_start`` ``(rows + 1,)``.
    """

    index: IntArray
    shapes: tuple[Shape, ...]
    shape_index: IntArray
    objects: IntArray
    object_start: IntArray
    attributes: IntArray
    attribute_start: IntArray
    relations: IntArray
    relation_start: IntArray
    subjects: IntArray
    targets: IntArray
    scene_attributes: IntArray
    scene_start: IntArray

    @property
    def rows(self) -> int:
        """How many scenes there are."""
        return len(self.index)

    @property
    def row_of_object(self) -> IntArray:
        """``(objects,)`` the scene of every object."""
        return owners(self.object_start)

    @property
    def object_of_attribute(self) -> IntArray:
        """``(attributes,)`` the object of every attribute."""
        return owners(self.attribute_start)

    @property
    def complexity(self) -> IntArray:
        """``(rows,)`` objects + attributes + relations."""
        ends = self.attribute_start[self.object_start]
        return np.diff(self.object_start) + np.diff(self.relation_start) + np.diff(ends)


def owners(starts: IntArray) -> IntArray:
    """``[0, 2, 3] -> [0, 0, 1]``: the group of every element from the group starts."""
    return np.repeat(np.arange(len(starts) - 1), np.diff(starts))


def starts_of(counts: IntArray) -> IntArray:
    """``[2, 1] -> [0, 2, 3]``: group starts from group sizes."""
    starts = np.zeros(len(counts) + 1, dtype=np.int64)
    np.cumsum(counts, out=starts[1:])
    return starts
