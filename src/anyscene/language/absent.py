"""Objects that a scene does not have: for foils and for wrong choices.

An absent object is of another class than every object of the scene, no hypernym or hyponym of any, and not much like any by its
vector. It comes from the things that stand out in a picture (animals, vehicles, food, tools, ...), never from backgrounds and
parts, which may well be there unsaid.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from anyscene.scene.batch import SceneBatch
from anyscene.scene.keyed import U64, mix
from anyscene.taxonomy import FAMILIAR, VISIBLE, Taxonomy

IntArray = NDArray[np.int64]
FOREGROUND = ("animal", "vehicle", "food", "tool", "weapon", "instrument", "machine", "toy", "furniture", "device")
TRIES = 6
MAX_LIKENESS = 0.45


LIVING = ("animal", "plant", "food", "person", "body_part", "natural_object", "landform", "water", "substance")
MADE = ("vehicle", "tool", "weapon", "instrument", "machine", "furniture", "device", "container", "structure", "building", "room",
        "covering", "document", "artifact", "clothing", "fabric", "place")  # fmt: skip


def _confusable(classes: tuple[str, ...]) -> NDArray[np.bool_]:
    """``(classes, classes)``: may things of the two look alike?

    What lives or grows does not look like what is made; toys and works of art look like anything.
    """
    living = np.array([name in LIVING for name in classes])
    made = np.array([name in MADE for name in classes])
    apart = living[:, None] & made[None, :]
    return np.asarray(~(apart | apart.T), dtype=np.bool_)


class AbsentObjects:
    """Draws objects that are not in a scene."""

    def __init__(self, taxonomy: Taxonomy) -> None:
        self.taxonomy = taxonomy
        objects = taxonomy.objects
        seen = (objects.visuality >= VISIBLE) & (objects.familiarity >= FAMILIAR)
        front = np.isin(objects.class_index, [i for i, name in enumerate(taxonomy.classes) if name in FOREGROUND])
        pool = np.flatnonzero(seen & front)
        if len(np.unique(objects.class_index[pool])) < 3:
            pool = np.flatnonzero(seen) if seen.any() else np.arange(len(objects))
        self.pool = pool[np.argsort(mix(pool.astype(np.uint64)))]
        self.classes = objects.class_index.astype(np.int64)
        self.by_class = len(np.unique(self.classes[pool])) > 1 and len(taxonomy.classes) < 64
        self.size = len(objects)
        self.related = _related(taxonomy, by_class=self.by_class)
        self.seen = objects.visuality >= VISIBLE
        self.has_related = np.zeros(len(objects), dtype=np.bool_)
        self.has_related[np.concatenate([self.related // self.size, self.related % self.size])] = True
        if self.by_class:  # few have a relative of another class that can be seen; a shared class rules out the rest
            both = self.seen[self.related // self.size] & self.seen[self.related % self.size]
            kin = np.concatenate([self.related[both] // self.size, self.related[both] % self.size])
            self.pool = self.pool[~np.isin(self.pool, kin)]
        self.confusable = _confusable(taxonomy.classes)
        vectors = taxonomy.vectors.get("objects")
        self.vectors = None if vectors is None else vectors.astype(np.float32)  # whole numbers: their products add up exactly

    def draw(self, batch: SceneBatch, keys: U64, slots: int) -> IntArray:
        """``(rows, slots)`` different absent objects of each scene; -1 where none was found."""
        found = np.full((batch.rows, slots), -1, dtype=np.int64)
        length = len(self.pool) // slots
        if not length:
            return found
        bits = (
            np.left_shift(np.uint64(1), self.classes[batch.objects].astype(np.uint64))
            if self.by_class
            else np.zeros(len(batch.objects), dtype=np.uint64)
        )
        taken = np.bitwise_or.reduceat(bits, batch.object_start[:-1])
        for slot in range(slots):
            todo = np.arange(batch.rows)
            for turn in range(TRIES):
                h = mix(keys[todo] + np.uint64(slot * 1000 + turn + 7))
                candidate = self.pool[slot * length + (h % np.uint64(length)).astype(np.int64)]
                if self.by_class:
                    other_class = (taken[todo] >> self.classes[candidate].astype(np.uint64)) & np.uint64(1) == 0
                    rows, candidate = todo[other_class], candidate[other_class]
                else:
                    rows = todo
                fine = self._absent(batch, rows, candidate)
                found[rows[fine], slot] = candidate[fine]
                todo = todo[found[todo, slot] < 0]
                if not len(todo):
                    break
        return found

    def has_relative(self, batch: SceneBatch, objects: IntArray, rows: IntArray) -> NDArray[np.bool_]:
        """Is there a hypernym or hyponym of each object in its scene (a dog and a poodle)?"""
        if not len(objects):
            return np.zeros(0, dtype=np.bool_)
        there, owner, begin = _objects_of(batch, rows)
        own = batch.objects[objects][owner]
        kin = _related(self.taxonomy, by_class=False)
        codes = np.minimum(there, own) * self.size + np.maximum(there, own)
        if not len(kin):
            return np.zeros(len(objects), dtype=np.bool_)
        related = kin[np.minimum(np.searchsorted(kin, codes), len(kin) - 1)] == codes
        return np.asarray(np.logical_or.reduceat(related, begin), dtype=np.bool_)

    def _absent(self, batch: SceneBatch, rows: IntArray, candidate: IntArray) -> NDArray[np.bool_]:
        """Is the candidate none of the objects of the scene of its row, nor related to or like one?"""
        if not len(rows):
            return np.zeros(0, dtype=np.bool_)
        there, owner, begin = _objects_of(batch, rows)
        other = candidate[owner]
        bad = there == other
        if not self.by_class or not self.seen[there].all():
            near = np.flatnonzero(self.has_related[there] & self.has_related[other])
            codes = np.minimum(there[near], other[near]) * self.size + np.maximum(there[near], other[near])
            at = np.minimum(np.searchsorted(self.related, codes), len(self.related) - 1)
            bad[near] |= self.related[at] == codes
        if self.vectors is not None:
            near = np.flatnonzero(self.confusable[self.classes[there], self.classes[other]])
            bad[near] |= np.einsum("ij,ij->i", self.vectors[there[near]], self.vectors[other[near]]) > MAX_LIKENESS * 127 * 127
        return ~np.logical_or.reduceat(bad, begin)


def _objects_of(batch: SceneBatch, rows: IntArray) -> tuple[IntArray, IntArray, IntArray]:
    """(all objects of some rows, which of the rows each is in, where each row begins among them)."""
    counts = np.diff(batch.object_start)[rows]
    begin = np.cumsum(counts) - counts
    owner = np.repeat(np.arange(len(rows)), counts)
    return batch.objects[np.arange(len(owner)) + (batch.object_start[rows] - begin)[owner]], owner, begin


@lru_cache(maxsize=4)
def _related(taxonomy: Taxonomy, by_class: bool) -> IntArray:
    """Sorted codes of hypernym pairs of which one can be seen; with ``by_class`` only those that the class does not rule out already."""
    at = {node: i for i, node in enumerate(taxonomy.objects.ids)}
    classes = taxonomy.objects.class_index
    seen = taxonomy.objects.visuality >= VISIBLE
    size = len(taxonomy.objects)
    codes = set()
    for i, above in enumerate(taxonomy.ancestors):
        for node in above:
            j = at.get(node)
            if j is not None and (seen[i] or seen[j]) and not (by_class and classes[i] == classes[j]):
                codes.add(min(i, j) * size + max(i, j))
    return np.array(sorted(codes), dtype=np.int64)
