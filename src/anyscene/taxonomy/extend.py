"""Taxonomies with more words: numerals for counting, and the words of a graph that a user brings."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from dataclasses import replace
from functools import lru_cache
from typing import TypeVar

import numpy as np

from anyscene.taxonomy import taxonomy as t
from anyscene.taxonomy.loading import regular_plural

_Word = TypeVar("_Word")
_Key = TypeVar("_Key", bound=Hashable)
COUNT_TYPE = "count"
NUMERALS = ("two", "three", "four", "five", "six")
COUNT_QUESTION = "How many {plural} are there?"


def numeral(value: str) -> int | None:
    """The number that a value of type ``count`` stands for: 2 to 6 as words, any other as digits."""
    if value in NUMERALS:
        return NUMERALS.index(value) + 2
    return int(value) if value.isdecimal() and 2 <= int(value) <= 10_000 else None


@lru_cache(maxsize=4)
def with_counts(taxonomy: t.Taxonomy) -> t.Taxonomy:
    """The taxonomy with the attribute type ``count`` and the values two to six, furthest from the noun in word order."""
    if COUNT_TYPE in taxonomy.attribute_types.names:
        return taxonomy
    return with_words(taxonomy, attributes=[(COUNT_TYPE, word) for word in NUMERALS])


def with_words(
    taxonomy: t.Taxonomy,
    *,
    objects: Iterable[str] = (),
    attributes: Iterable[tuple[str, str]] = (),
    relations: Iterable[str] = (),
    scene_attributes: Iterable[tuple[str, str]] = (),
) -> t.Taxonomy:
    """The taxonomy with words added that it lacks: count nouns of class ``thing``, exclusive attributes, relations that fit all.

    A value that the taxonomy has with another type is added with the new one, and all that is known of it.

    Digest and vectors stay those of the taxonomy; new words have no vector.
    """
    nouns = [name for key, name in _first(objects, str.casefold) if key not in taxonomy.object_index]
    values = [
        pair for _, pair in _first(attributes, lambda pair: (pair[0].casefold(), pair[1].casefold())) if taxonomy.find_attribute(*pair) < 0
    ]
    predicates = [name for key, name in _first(relations, str.casefold) if key not in taxonomy.relation_index]
    known = taxonomy.scene_attribute_index
    phrases = [pair for key, pair in _first(scene_attributes, lambda pair: (pair[0].casefold(), pair[1].casefold())) if key not in known]
    classes = taxonomy.classes if not nouns or "thing" in taxonomy.classes else (*taxonomy.classes, "thing")
    wide = len(classes) - len(taxonomy.classes)
    attribute_types = _more_types(taxonomy.attribute_types, [kind for kind, _ in values])
    scene_types = _more_types(taxonomy.scene_attribute_types, [kind for kind, _ in phrases])
    return replace(
        taxonomy,
        classes=classes,
        class_parent=(*taxonomy.class_parent, *[""] * wide),
        objects=_more_objects(taxonomy.objects, nouns, classes),
        attributes=_more_attributes(taxonomy.attributes, values, attribute_types, taxonomy.attribute_types, wide),
        attribute_types=attribute_types,
        relations=_more_relations(taxonomy.relations, predicates, wide),
        scene_attributes=_more_scene_attributes(taxonomy.scene_attributes, phrases, scene_types, taxonomy.scene_attribute_types),
        scene_attribute_types=scene_types,
        vectors=_more_vectors(taxonomy.vectors, len(nouns), len(values), len(predicates), len(phrases)),
    )


def _first(words: Iterable[_Word], key: Callable[[_Word], _Key]) -> list[tuple[_Key, _Word]]:
    """Words with their keys, the first one of each key."""
    found: dict[_Key, _Word] = {}
    for word in words:
        found.setdefault(key(word), word)
    return list(found.items())


def _more_types(types: t.Types, kinds: list[str]) -> t.Types:
    new = [kind for kind in dict.fromkeys(kinds) if kind not in types.names]
    if not new:
        return types
    order = {**dict(zip(types.names, types.order.tolist(), strict=True)), **{kind: -100 if kind == COUNT_TYPE else 50 for kind in new}}
    weight = {**dict(zip(types.names, types.weight.tolist(), strict=True)), **dict.fromkeys(new, 1.0)}
    opens = {**dict(zip(types.names, types.open, strict=True)), **dict.fromkeys(new, "")}
    names = sorted(order, key=lambda name: (order[name], name))
    return t.Types(
        names=tuple(names),
        order=np.array([order[name] for name in names], dtype=np.int32),
        weight=np.array([weight[name] for name in names], dtype=np.float64),
        open=tuple(opens[name] for name in names),
    )


def _more_objects(old: t.Objects, nouns: list[str], classes: tuple[str, ...]) -> t.Objects:
    if not nouns:
        return old
    count = len(nouns)
    thing = classes.index("thing")
    return t.Objects(
        ids=(*old.ids, *nouns),
        names=(*old.names, *nouns),
        plurals=(*old.plurals, *map(regular_plural, nouns)),
        number=np.append(old.number, np.full(count, t.COUNT, dtype=np.int8)),
        class_index=np.append(old.class_index, np.full(count, thing, dtype=np.int16)),
        parents=(*old.parents, *[()] * count),
        visuality=np.append(old.visuality, np.ones(count, dtype=np.float32)),
        familiarity=np.append(old.familiarity, np.ones(count, dtype=np.float32)),
    )


def _wider(mask: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """A bool table with rows and columns of True added."""
    return np.pad(mask, ((0, rows), (0, columns)), constant_values=True)


def _more_attributes(old: t.Attributes, values: list[tuple[str, str]], types: t.Types, before: t.Types, wide: int) -> t.Attributes:
    at = {name: index for index, name in enumerate(types.names)}
    moved = np.array([at[name] for name in before.names], dtype=np.int16)
    words = [value for _, value in values]
    place = {value.casefold(): i for i, value in reversed(list(enumerate(old.values)))}
    known = np.array([place.get(word.casefold(), -1) for word in words], dtype=np.int64)
    fits = _wider(old.fits, 0, wide)
    return t.Attributes(
        values=(*old.values, *words),
        predicates=(*old.predicates, *(old.predicates[i] if i >= 0 else word for i, word in zip(known, words, strict=True))),
        type_index=np.append(
            moved[old.type_index] if len(old) else old.type_index, np.array([at[kind] for kind, _ in values], dtype=np.int16)
        ).astype(np.int16),
        fits=np.concatenate([fits, np.where(known[:, None] >= 0, fits[known], True) if len(fits) else _wider(fits, len(words), 0)]),
        exclusive=np.append(old.exclusive, np.where(known >= 0, old.exclusive[known], True) if len(old) else np.ones(len(words), np.bool_)),
        opposite=np.append(old.opposite, np.where(known >= 0, old.opposite[known], -1) if len(old) else np.full(len(words), -1)).astype(
            np.int32
        ),
        hex=(*old.hex, *(old.hex[i] if i >= 0 else "" for i in known)),
        basic_color=(*old.basic_color, *(old.basic_color[i] if i >= 0 else "" for i in known)),
    )


def _more_relations(old: t.Relations, names: list[str], wide: int) -> t.Relations:
    count = len(names)
    return t.Relations(
        names=(*old.names, *names),
        type_index=np.append(old.type_index, np.zeros(count, dtype=np.int16)).astype(np.int16),
        subjects=_wider(old.subjects, count, wide),
        objects=_wider(old.objects, count, wide),
        symmetric=np.append(old.symmetric, np.zeros(count, dtype=np.bool_)),
        antisymmetric=np.append(old.antisymmetric, np.zeros(count, dtype=np.bool_)),
        inverse=(*old.inverse, *[""] * count),
    )


def _more_scene_attributes(old: t.SceneAttributes, values: list[tuple[str, str]], types: t.Types, before: t.Types) -> t.SceneAttributes:
    at = {name: index for index, name in enumerate(types.names)}
    moved = np.array([at[name] for name in before.names], dtype=np.int16)
    count = len(values)
    kinds = np.array([at[kind] for kind, _ in values], dtype=np.int16)
    return t.SceneAttributes(
        values=(*old.values, *(value for _, value in values)),
        type_index=np.append(moved[old.type_index] if len(old) else old.type_index, kinds).astype(np.int16),
        groups=(*old.groups, *["scene"] * count),
        phrases=(*old.phrases, *(f"with the {kind} {value}" for kind, value in values)),
        modalities=(*old.modalities, *[frozenset(t.MODALITIES)] * count),
        contradicts=(*old.contradicts, *[frozenset[str]()] * count),
        visible=np.append(old.visible, np.ones(count, dtype=np.bool_)),
        questions=(*old.questions, *(f"Does the scene have the {kind} {value}?" for kind, value in values)),
    )


def _more_vectors(vectors: dict[str, np.ndarray], *counts: int) -> dict[str, np.ndarray]:
    sizes = dict(zip(("objects", "attributes", "relations", "scene_attributes"), counts, strict=True))
    return {name: np.pad(array, ((0, sizes[name]), (0, 0))) if sizes.get(name) else array for name, array in vectors.items()}
