"""Keyed draws for wording: a hash of (scene, place)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from anyscene.scene.batch import SceneBatch
from anyscene.scene.keyed import U64, mix

IntArray = NDArray[np.int64]


def scene_keys(batch: SceneBatch, seed: int) -> U64:
    """``(rows,)`` a hash of each scene's content and the seed."""
    weights = np.uint64(0x9E3779B97F4A7C15)
    keys = mix(np.full(batch.rows, seed & (2**64 - 1), dtype=np.uint64) + weights)
    for values, starts, salt in (
        (batch.objects, batch.object_start, 1),
        (batch.attributes, batch.attribute_start[batch.object_start], 2),
        (batch.relations, batch.relation_start, 3),
        (batch.scene_attributes, batch.scene_start, 4),
    ):
        place = np.arange(len(values)) - np.repeat(starts[:-1], np.diff(starts))
        hashed = mix(values.astype(np.uint64) * weights + (place * 8 + salt).astype(np.uint64))
        total = np.zeros(len(values) + 1, dtype=np.uint64)
        np.cumsum(hashed, out=total[1:])
        keys = mix(keys + (total[starts[1:]] - total[starts[:-1]]))
    return keys
