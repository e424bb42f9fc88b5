"""Wrong choices: values of the same type that do not hold when the right one does."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from anyscene.scene.keyed import mix
from anyscene.taxonomy import COUNT_TYPE, Taxonomy

IntArray = NDArray[np.int64]
WIDTH = 8
LOOSE_TYPES = frozenset(
    "accessory build cleanness color_quality condition decoration eyes facade face finish food_look grooming hair luminosity make "
    "outfit part plant_state proportion state terrain texture topping weather".split()
)
"""Types with several dimensions (rusty, dented): only the opposite of a value is certainly wrong."""
LOOSE_SCENE_TYPES = frozenset(("lighting", "topology", "composition", "time_span"))
"""Types of scene attributes of which two may well hold together; they have no wrong choices."""


def attribute_distractors(taxonomy: Taxonomy) -> IntArray:
    """``(attributes, 8)`` values that exclude each attribute; -1 where there are no more.

    The opposite comes first. Colours differ in their basic colour; other values are exclusive ones of the type, fit all classes
    that the right one fits, have not the same opposite, and are among the less similar half of the type by their vectors.
    Near-synonyms (huge, enormous) are thus kept apart.
    """
    attributes = taxonomy.attributes
    table = np.full((len(attributes), WIDTH), -1, dtype=np.int64)
    vectors = taxonomy.vectors.get("attributes")
    basic = np.array([hash_of(name) for name in attributes.basic_color], dtype=np.uint64)
    for kind, name in enumerate(taxonomy.attribute_types.names):
        own = np.flatnonzero((attributes.type_index == kind) & attributes.exclusive)
        if len(own) < 2 or name == COUNT_TYPE:
            continue
        if name in LOOSE_TYPES:
            continue
        apart = attributes.fits[own].astype(np.int32) @ (~attributes.fits[own]).T.astype(np.int32) == 0
        np.fill_diagonal(apart, False)
        if any(attributes.basic_color[i] for i in own):
            apart &= basic[own][:, None] != basic[own][None, :]
        elif vectors is not None:
            near = vectors[own].astype(np.int32) @ vectors[own].T.astype(np.int32)
            apart &= near <= np.median(near, axis=1, keepdims=True)
        other = attributes.opposite[own]
        apart &= (other[:, None] != other[None, :]) | (other[:, None] < 0)
        order = mix(own[:, None].astype(np.uint64) * np.uint64(1_000_003) + own[None, :].astype(np.uint64))
        order = np.where(apart, order >> np.uint64(1), np.uint64(2**64 - 1))
        picks = np.argsort(order, axis=1, kind="stable")[:, :WIDTH]
        chosen = np.where(np.take_along_axis(apart, picks, axis=1), own[picks], -1)
        table[own, : chosen.shape[1]] = chosen
    return _opposite_first(table, attributes.opposite.astype(np.int64), attributes.exclusive)


def _opposite_first(table: IntArray, opposite: IntArray, exclusive: NDArray[np.bool_]) -> IntArray:
    led = np.flatnonzero((opposite >= 0) & exclusive)
    rest = table[led]
    rest = np.where(rest == opposite[led][:, None], -1, rest)
    table[led] = np.concatenate([opposite[led][:, None], rest], axis=1)[:, :WIDTH]
    order = np.argsort(table < 0, axis=1, kind="stable")
    return np.take_along_axis(table, order, axis=1)


def hash_of(text: str) -> int:
    """A small stable number for a word."""
    return int(sum(ord(char) * 31**i for i, char in enumerate(text)) % (1 << 61))


def scene_values_by_type(taxonomy: Taxonomy, modality: str) -> tuple[IntArray, IntArray, IntArray]:
    """(visible values in type order, first of each type, place of every value within its type or -1)."""
    scene = taxonomy.scene_attributes
    loose = np.isin(scene.type_index, [i for i, name in enumerate(taxonomy.scene_attribute_types.names) if name in LOOSE_SCENE_TYPES])
    usable = (
        np.array([modality in names for names in scene.modalities], dtype=np.bool_) & scene.visible if len(scene) else np.zeros(0, np.bool_)
    )
    values = np.flatnonzero(usable & ~loose) if len(scene) else np.zeros(0, dtype=np.int64)
    values = values[np.argsort(scene.type_index[values], kind="stable")]
    counts = np.bincount(scene.type_index[values], minlength=len(taxonomy.scene_attribute_types))
    first = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    place = np.full(len(scene), -1, dtype=np.int64)
    place[values] = np.arange(len(values)) - first[scene.type_index[values]]
    return values, first, place
