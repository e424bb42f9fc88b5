"""Tables of a taxonomy that questions draw on, made once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from anyscene.language import lexicon as lx
from anyscene.language.absent import AbsentObjects
from anyscene.language.distractors import attribute_distractors, scene_values_by_type

IntArray = NDArray[np.int64]
KINDS = ("existence", "attribute", "count", "relation", "scene_attribute", "motion", "change")
EXISTENCE, ATTRIBUTE, COUNTING, RELATION, SCENE, MOTION, CHANGE = range(len(KINDS))
MOVING_TYPES = ("motion", "camera_movement", "pace", "action")
CHANGING_TYPES = ("time_span", "transition")


@dataclass(frozen=True)
class Aids:
    """Tables of a taxonomy that questions draw on."""

    absent: AbsentObjects
    distractors: IntArray
    scene_lists: tuple[IntArray, IntArray, IntArray]
    scene_kind: IntArray
    motion_type: int
    person: NDArray[np.bool_]
    next_count: IntArray
    last_count: IntArray
    near_counts: IntArray


@lru_cache(maxsize=8)
def aids_of(lexicon: lx.Lexicon, modality: str) -> Aids:
    """The tables of a lexicon's taxonomy; kept for the last few."""
    taxonomy = lexicon.taxonomy
    names = taxonomy.scene_attribute_types.names
    kinds = [MOTION if name in MOVING_TYPES else CHANGE if name in CHANGING_TYPES else SCENE for name in names]
    types = taxonomy.attribute_types.names
    person = taxonomy.classes.index("person") if "person" in taxonomy.classes else -1
    by_number = {int(lexicon.count_number[i]): int(i) for i in np.flatnonzero(lexicon.count_number)}

    def neighbour(step: int) -> IntArray:
        return np.array([by_number.get(int(n) + step, -1) if n else -1 for n in lexicon.count_number], dtype=np.int64)

    near = (
        np.stack([neighbour(step) for step in (-1, 1, 2, -2, 3, -3)], axis=1)
        if len(lexicon.count_number)
        else np.zeros((0, 6), dtype=np.int64)
    )
    near = np.take_along_axis(near, np.argsort(near < 0, axis=1, kind="stable"), axis=1)
    return Aids(
        absent=AbsentObjects(taxonomy),
        distractors=attribute_distractors(taxonomy),
        scene_lists=scene_values_by_type(taxonomy, modality),
        scene_kind=np.array(kinds, dtype=np.int64),
        motion_type=types.index("motion") if "motion" in types else -1,
        person=taxonomy.objects.class_index == person,
        next_count=np.where(neighbour(1) >= 0, neighbour(1), neighbour(-1)),
        last_count=neighbour(-1),
        near_counts=near,
    )
