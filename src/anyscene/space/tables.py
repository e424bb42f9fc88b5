"""What the constraints of a spec leave of a taxonomy, as small tables of who goes with whom.

Objects fall into *profiles*: same class, same grammatical number as far as counting goes, same part of a pair split. All
objects of a profile allow the same attributes; relations look at classes alone. So spaces of any size are counted and
sampled from tables over a few dozen profiles.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import comb
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anyscene.errors import EmptySpaceError, SpecError
from anyscene.scene.graph import SceneGraph
from anyscene.scene.keyed import key_of
from anyscene.space.spec import Holdout, SceneSpec
from anyscene.taxonomy import COUNT_TYPE, FAMILIAR, VISIBLE, Taxonomy, close_names, with_counts

IntArray = NDArray[np.int64]
MAX_ATTRIBUTES = 16


@dataclass(frozen=True)
class Seed:
    """The graph that every scene contains, as indices: nouns, attributes of each, (subject, relation, object)."""

    nouns: tuple[int, ...]
    attributes: tuple[tuple[int, ...], ...]
    relations: tuple[tuple[int, int, int], ...]


@dataclass(frozen=True)
class Tables:
    """The vocabulary that a spec leaves, by profile.

    Attributes:
        taxonomy: with the values of type ``count`` added where the spec counts.
        nouns: ``[profile]`` object indices, ascending; those of ``seed`` are left out.
        profile_class: ``[profile]`` class of each.
        attributes: ``[profile][type]`` attribute indices, ascending; may be empty.
        relations: ``[class][class]`` relation indices, ascending.
        scene_attributes: indices that the modality allows, ascending.
        seed_profile: ``[seed object]`` the profile whose attributes it may have.
    """

    taxonomy: Taxonomy
    nouns: tuple[IntArray, ...]
    profile_class: tuple[int, ...]
    attributes: tuple[tuple[IntArray, ...], ...]
    relations: tuple[tuple[IntArray, ...], ...]
    scene_attributes: IntArray
    seed: Seed | None
    seed_profile: tuple[int, ...]

    @cached_property
    def laid_out(self) -> dict[tuple[object, ...], Any]:
        """What the samplers of spaces that share these tables have laid out, by what it depends on besides them."""
        return {}

    @cached_property
    def profile_of(self) -> IntArray:
        """``(objects,)`` profile of each object of the taxonomy; -1 for those left out."""
        profile = np.full(len(self.taxonomy.objects), -1, dtype=np.int64)
        for index, nouns in enumerate(self.nouns):
            profile[nouns] = index
        if self.seed:
            profile[list(self.seed.nouns)] = self.seed_profile
        return profile

    @cached_property
    def polynomials(self) -> tuple[tuple[int, ...], ...]:
        """``[profile][a]``: how many sets of ``a`` attributes an object of the profile can have."""
        return tuple(self.polynomial(profile) for profile in range(len(self.nouns)))

    def polynomial(self, profile: int, taken: tuple[int, ...] = (), first_type: int = 0) -> tuple[int, ...]:
        """Numbers of attribute sets by size, beside the attributes ``taken`` already, of types from ``first_type`` on.

        A set has at most one exclusive value of a type and any number of the others: the coefficients of
        the product over types of ``(1 + exclusive x) (1 + x)^others``.
        """
        poly = [1]
        for kind in range(first_type, len(self.taxonomy.attribute_types)):
            poly = multiply(poly, self.type_polynomial(profile, kind, taken))[: MAX_ATTRIBUTES + 1]
        return tuple(poly)

    def type_polynomial(self, profile: int, kind: int, taken: tuple[int, ...]) -> list[int]:
        """Numbers of sets of values of one type, by size."""
        exclusive, free = self.values(profile, kind, taken)
        sets = [comb(len(free), k) for k in range(min(len(free), MAX_ATTRIBUTES) + 1)]
        return multiply(sets, [1, len(exclusive)]) if len(exclusive) else sets

    def values(self, profile: int, kind: int, taken: tuple[int, ...] = ()) -> tuple[IntArray, IntArray]:
        """Exclusive and other values of a type that can join ``taken``, ascending."""
        attributes = self.taxonomy.attributes
        values = self.attributes[profile][kind]
        closed = False
        if taken:
            values = values[~np.isin(values, taken)]
            closed = any(attributes.exclusive[one] and attributes.type_index[one] == kind for one in taken)
        mask = attributes.exclusive[values]
        return (values[:0] if closed else values[mask]), values[~mask]


def multiply(a: list[int], b: list[int]) -> list[int]:
    """The product of two polynomials, lowest power first."""
    out = [0] * (len(a) + len(b) - 1)
    for i, x in enumerate(a):
        if x:
            for j, y in enumerate(b):
                out[i + j] += x * y
    return out


def build_tables(taxonomy: Taxonomy, spec: SceneSpec) -> Tables:
    """Apply a spec to a taxonomy.

    Raises:
        EmptySpaceError: no object is left; the message names the constraint.
        SpecError, TaxonomyError: a branch or a word of the contained graph is not in the taxonomy.
    """
    if spec.counts:
        taxonomy = with_counts(taxonomy)
    keep = _objects(taxonomy, spec)
    seed = _seed(taxonomy, spec.containing) if spec.containing else None
    parts = spec.holdout.parts if spec.holdout and "pair" in spec.holdout.kinds else 1
    object_part = _parts(spec.holdout, "object", taxonomy.objects.ids) if parts > 1 else np.zeros(len(keep), dtype=np.int64)
    countable = taxonomy.countable.astype(np.int64) if spec.counts else np.zeros(len(keep), dtype=np.int64)
    label = (taxonomy.objects.class_index.astype(np.int64) * 2 + countable) * parts + object_part
    if seed:
        keep[list(seed.nouns)] = False
        used = np.concatenate([label[keep], label[list(seed.nouns)]])
    else:
        used = label[keep]
    labels = np.unique(used)
    return Tables(
        taxonomy=taxonomy,
        nouns=tuple(np.flatnonzero(keep & (label == one)) for one in labels),
        profile_class=tuple(int(one) // parts // 2 for one in labels),
        attributes=tuple(_attributes(taxonomy, spec, int(one), parts) for one in labels),
        relations=_relations(taxonomy, spec),
        scene_attributes=_scene_attributes(taxonomy, spec),
        seed=seed,
        seed_profile=tuple(int(np.searchsorted(labels, label[noun])) for noun in seed.nouns) if seed else (),
    )


def _objects(taxonomy: Taxonomy, spec: SceneSpec) -> NDArray[np.bool_]:
    """Which objects are used."""
    steps: list[tuple[str, NDArray[np.bool_]]] = [(f"visuality of at least {VISIBLE}", taxonomy.objects.visuality >= VISIBLE)]
    if spec.familiar:
        steps.append(("familiar objects", taxonomy.objects.familiarity >= FAMILIAR))
    if spec.only:
        steps.append((f"only {', '.join(spec.only)}", np.logical_or.reduce([taxonomy.branch(name) for name in spec.only])))
    steps += [(f"without {name}", ~taxonomy.branch(name)) for name in spec.without]
    if spec.holdout and "element" in spec.holdout.kinds:
        steps.append((f"the {spec.holdout.side} side of the split", _side(spec.holdout, "object", taxonomy.objects.ids)))
    keep = np.ones(len(taxonomy.objects), dtype=np.bool_)
    for name, mask in steps:
        if not (keep & mask).any():
            raise EmptySpaceError(f"no object is left: {name} leaves none of the {int(keep.sum())} that were there before it")
        keep &= mask
    return keep


def _attributes(taxonomy: Taxonomy, spec: SceneSpec, label: int, parts: int) -> tuple[IntArray, ...]:
    rest, object_part = divmod(label, parts)
    class_index, countable = divmod(rest, 2)
    attributes = taxonomy.attributes
    keep = attributes.fits[:, class_index].copy() if spec.class_rules else np.ones(len(attributes), dtype=np.bool_)
    if spec.counts and not countable:
        keep &= attributes.type_index != taxonomy.attribute_types.names.index(COUNT_TYPE)
    if spec.holdout and "element" in spec.holdout.kinds:
        keep &= _side(spec.holdout, "attribute", attributes.values)
    if spec.holdout and parts > 1:
        own = (_parts(spec.holdout, "attribute", attributes.values) + object_part) % parts
        keep &= np.array([spec.holdout.keeps(part) for part in range(parts)])[own]
    return tuple(np.flatnonzero(keep & (attributes.type_index == kind)) for kind in range(len(taxonomy.attribute_types)))


def _relations(taxonomy: Taxonomy, spec: SceneSpec) -> tuple[tuple[IntArray, ...], ...]:
    relations = taxonomy.relations
    keep = np.ones(len(relations), dtype=np.bool_)
    if spec.holdout and "element" in spec.holdout.kinds:
        keep &= _side(spec.holdout, "relation", relations.names)
    classes = range(len(taxonomy.classes))
    if not spec.class_rules:
        every = np.flatnonzero(keep)
        return tuple(tuple(every for _ in classes) for _ in classes)
    return tuple(tuple(np.flatnonzero(keep & relations.subjects[:, a] & relations.objects[:, b]) for b in classes) for a in classes)


def _scene_attributes(taxonomy: Taxonomy, spec: SceneSpec) -> IntArray:
    keep = np.array([spec.modality in names for names in taxonomy.scene_attributes.modalities], dtype=np.bool_)
    if spec.holdout and "element" in spec.holdout.kinds:
        kinds = [taxonomy.scene_attribute_types.names[kind] for kind in taxonomy.scene_attributes.type_index]
        keep &= _side(spec.holdout, "scene", [f"{k}={v}" for k, v in zip(kinds, taxonomy.scene_attributes.values, strict=True)])
    return np.flatnonzero(keep)


def _parts(holdout: Holdout | None, kind: str, names: tuple[str, ...] | list[str]) -> IntArray:
    """The keyed part of each name."""
    assert holdout is not None
    return np.array([key_of(holdout.key, kind, name) % holdout.parts for name in names], dtype=np.int64)


def _side(holdout: Holdout, kind: str, names: tuple[str, ...] | list[str]) -> NDArray[np.bool_]:
    keeps = np.array([holdout.keeps(part) for part in range(holdout.parts)])
    return np.asarray(keeps[_parts(holdout, kind, names)], dtype=np.bool_)


def _seed(taxonomy: Taxonomy, graph: SceneGraph) -> Seed:
    """Look up the words of the contained graph."""

    def find(word: str, index: dict[str, int], what: str) -> int:
        if word.casefold() not in index:
            close = close_names(word.casefold(), index)
            near = f"; near it are {', '.join(close)}" if close else ""
            raise SpecError(f"the graph to contain has the {what} {word!r}, which the taxonomy lacks{near}")
        return index[word.casefold()]

    if graph.scene_attributes:
        raise SpecError("the graph to contain has scene attributes; only objects, attributes and relations can be asked for")
    nouns = tuple(find(one.name, taxonomy.object_index, "object") for one in graph.objects)
    if len(set(nouns)) < len(nouns):
        raise SpecError("the graph to contain has two objects of one noun; each noun may stand in it once")
    place = {one.id: i for i, one in enumerate(graph.objects)}
    pairs = [frozenset((r.subject, r.object)) for r in graph.relations]
    if len(set(pairs)) < len(pairs):
        raise SpecError("the graph to contain has two relations between one pair of objects; a scene has at most one")
    for one in graph.objects:
        for a in one.attributes:
            if taxonomy.find_attribute(a.type, a.value) < 0:
                find(a.value, taxonomy.attribute_index, "attribute")
                raise SpecError(
                    f"the graph to contain has the attribute {a.type}={a.value}; the taxonomy has {a.value!r} with another type"
                )
    attributes = tuple(tuple(sorted(taxonomy.find_attribute(a.type, a.value) for a in one.attributes)) for one in graph.objects)
    exclusive, kinds = taxonomy.attributes.exclusive, taxonomy.attributes.type_index
    for one, values in zip(graph.objects, attributes, strict=True):
        closed = [kinds[value] for value in values if exclusive[value]]
        if len(set(closed)) < len(closed):
            raise SpecError(f"the object {one.name!r} of the graph to contain has two values of one type that exclude each other")
    relations = tuple((place[r.subject], find(r.predicate, taxonomy.relation_index, "relation"), place[r.object]) for r in graph.relations)
    return Seed(nouns, attributes, relations)
