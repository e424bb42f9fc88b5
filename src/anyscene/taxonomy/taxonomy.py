"""The taxonomy as columns: what exists in a scene and which things go together.

Every list is a column; the position in it is the *index* that the rest of the project computes with.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from anyscene.errors import TaxonomyError
from anyscene.taxonomy.plausibility import Plausibility

NUMBERS = ("count", "mass", "plural", "either")
COUNT, MASS, PLURAL, EITHER = range(4)
MODALITIES = ("image", "video", "3d")
RELATION_TYPES = ("spatial", "interactional", "functional", "social", "emotional", "symbolic", "part", "comparison")
GROUPS = ("style", "scene", "camera", "video", "3d")
VISIBLE = 0.5
FAMILIAR = 0.5
UNTYPED = "attribute"
"""The type of an attribute that a graph gives no type."""


@dataclass(frozen=True, slots=True)
class Objects:
    """Nouns. ``parents`` are hypernym ids; ``class_index`` points into ``Taxonomy.classes``."""

    ids: tuple[str, ...]
    names: tuple[str, ...]
    plurals: tuple[str, ...]
    number: NDArray[np.int8]
    class_index: NDArray[np.int16]
    parents: tuple[tuple[str, ...], ...]
    visuality: NDArray[np.float32]
    familiarity: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.names)


@dataclass(frozen=True, slots=True)
class Attributes:
    """Values of objects. ``fits``: ``(attributes, classes)`` bool; ``opposite``: index or -1."""

    values: tuple[str, ...]
    predicates: tuple[str, ...]
    type_index: NDArray[np.int16]
    fits: NDArray[np.bool_]
    exclusive: NDArray[np.bool_]
    opposite: NDArray[np.int32]
    hex: tuple[str, ...]
    basic_color: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.values)


@dataclass(frozen=True, slots=True)
class Relations:
    """``subjects`` and ``objects``: ``(relations, classes)`` bool, the classes that each side may have."""

    names: tuple[str, ...]
    type_index: NDArray[np.int16]
    subjects: NDArray[np.bool_]
    objects: NDArray[np.bool_]
    symmetric: NDArray[np.bool_]
    antisymmetric: NDArray[np.bool_]
    inverse: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.names)


@dataclass(frozen=True, slots=True)
class SceneAttributes:
    """Values of the whole picture. ``contradicts`` are type names and ``type=value`` pairs."""

    values: tuple[str, ...]
    type_index: NDArray[np.int16]
    groups: tuple[str, ...]
    phrases: tuple[str, ...]
    modalities: tuple[frozenset[str], ...]
    contradicts: tuple[frozenset[str], ...]
    visible: NDArray[np.bool_]
    questions: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.values)


@dataclass(frozen=True, slots=True)
class Types:
    """The types of one kind of element: word order, sampling weight and open question of each."""

    names: tuple[str, ...]
    order: NDArray[np.int32]
    weight: NDArray[np.float64]
    open: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.names)


@dataclass(frozen=True, eq=False)
class Taxonomy:
    """A vocabulary of the visual world (paper, section 3.1). Read one with ``load_taxonomy``.

    Two taxonomies are equal when they are the same object: tables made from one are kept by it.
    """

    name: str
    digest: str
    classes: tuple[str, ...]
    class_parent: tuple[str, ...]
    objects: Objects
    hypernyms: dict[str, tuple[str, tuple[str, ...]]]
    attributes: Attributes
    attribute_types: Types
    relations: Relations
    scene_attributes: SceneAttributes
    scene_attribute_types: Types
    vectors: dict[str, NDArray[np.generic]] = field(default_factory=dict)

    @cached_property
    def plausibility(self) -> Plausibility:
        """Scores of pairs and triples; all zero where the taxonomy has no vectors."""
        return Plausibility(self.vectors)

    @cached_property
    def object_index(self) -> dict[str, int]:
        """Name in lower case -> index."""
        return {name.casefold(): index for index, name in enumerate(self.objects.names)}

    @cached_property
    def countable(self) -> NDArray[np.bool_]:
        """``(objects,)`` can it stand with a numeral? Count nouns whose plural is no form of another noun ("two cookies")."""
        forms: dict[str, set[int]] = {}
        for i, (name, plural) in enumerate(zip(self.objects.names, self.objects.plurals, strict=True)):
            forms.setdefault(name.casefold(), set()).add(i)
            forms.setdefault(plural.casefold(), set()).add(i)
        alone = np.array([len(forms[plural.casefold()]) == 1 for plural in self.objects.plurals], dtype=np.bool_)
        return alone & np.isin(self.objects.number, (COUNT, EITHER))

    @cached_property
    def attribute_index(self) -> dict[str, int]:
        """Value in lower case -> index."""
        index: dict[str, int] = {}
        for place, value in enumerate(self.attributes.values):
            index.setdefault(value.casefold(), place)
        return index

    @cached_property
    def attribute_pairs(self) -> dict[tuple[str, str], int]:
        """(type, value), in lower case -> index."""
        return {
            (kind.casefold(), value.casefold()): i for i, (kind, value) in enumerate(map(self.attribute_words, range(len(self.attributes))))
        }

    def find_attribute(self, kind: str, value: str) -> int:
        """Index of an attribute; the type ``attribute`` stands for whichever type the value has. -1 where there is none."""
        found = self.attribute_pairs.get((kind.casefold(), value.casefold()))
        if found is None and kind == UNTYPED:
            found = self.attribute_index.get(value.casefold())
        return -1 if found is None else found

    @cached_property
    def relation_index(self) -> dict[str, int]:
        """Relation in lower case -> index."""
        return {name.casefold(): index for index, name in enumerate(self.relations.names)}

    @cached_property
    def scene_attribute_index(self) -> dict[tuple[str, str], int]:
        """(type, value), in lower case -> index."""
        types = self.scene_attribute_types.names
        rows = zip(self.scene_attributes.type_index, self.scene_attributes.values, strict=True)
        return {(types[kind].casefold(), value.casefold()): index for index, (kind, value) in enumerate(rows)}

    def attribute_words(self, index: int) -> tuple[str, str]:
        """(type, value) of an attribute."""
        return self.attribute_types.names[self.attributes.type_index[index]], self.attributes.values[index]

    def scene_attribute_words(self, index: int) -> tuple[str, str]:
        """(type, value) of a scene attribute."""
        return self.scene_attribute_types.names[self.scene_attributes.type_index[index]], self.scene_attributes.values[index]

    @cached_property
    def ancestors(self) -> tuple[frozenset[str], ...]:
        """For each object the ids of all hypernyms above it (its own id left out)."""
        parents = {node: up for node, (_, up) in self.hypernyms.items()}
        parents.update(zip(self.objects.ids, self.objects.parents, strict=True))
        known: dict[str, frozenset[str]] = {}
        for start in parents:
            waiting = [start]
            while waiting:
                node = waiting[-1]
                unknown = [up for up in parents[node] if up not in known]
                if unknown:
                    waiting += unknown
                    continue
                waiting.pop()
                if node not in known:
                    known[node] = frozenset(parents[node]).union(*(known[up] for up in parents[node]))
        return tuple(known[node] for node in self.objects.ids)

    def hypernym_path(self, index: int) -> tuple[str, ...]:
        """Names from the root down to the object, along first parents."""
        names = [self.objects.names[index]]
        up = self.objects.parents[index]
        lookup = {node: i for i, node in enumerate(self.objects.ids)} if up else {}
        while up:
            if up[0] in lookup:
                i = lookup[up[0]]
                names.append(self.objects.names[i])
                up = self.objects.parents[i]
            else:
                name, up = self.hypernyms[up[0]]
                names.append(name)
        return tuple(reversed(names))

    @cached_property
    def _branches(self) -> dict[str, set[str]]:
        branches: dict[str, set[str]] = {}
        for node, name in zip(self.objects.ids, self.objects.names, strict=True):
            branches.setdefault(name.casefold(), set()).add(node)
        for node, (name, _) in self.hypernyms.items():
            branches.setdefault(name.casefold(), set()).add(node)
        return branches

    def classes_under(self, name: str) -> NDArray[np.bool_]:
        """Which classes are ``name`` or below it; ``any`` is all. Empty where there is no such class."""
        return class_mask(name, self.classes, self.class_parent)

    def branch(self, name: str) -> NDArray[np.bool_]:
        """Objects of a branch: ``name`` is a class, or the name or id of an object or hypernym.

        Returns:
            ``(objects,)`` bool.

        Raises:
            TaxonomyError: nothing has that name.
        """
        mask = np.zeros(len(self.objects), dtype=np.bool_)
        classes = self.classes_under(name)
        nodes = self._branches.get(name.casefold(), set()) | ({name} if name in self.hypernyms or name in self.objects.ids else set())
        if classes.any():
            mask |= classes[self.objects.class_index]
        elif not nodes:
            close = close_names(name, [*self.classes, *self._branches])
            raise TaxonomyError(f"no class, object or hypernym is named {name!r}" + (f"; near it are {', '.join(close)}" if close else ""))
        else:
            mask |= np.fromiter(
                (node in nodes or not nodes.isdisjoint(up) for node, up in zip(self.objects.ids, self.ancestors, strict=True)),
                dtype=np.bool_,
                count=len(self.objects),
            )
        return mask

    @cached_property
    def scene_conflicts(self) -> NDArray[np.bool_]:
        """``(scene attributes, scene attributes)`` bool: pairs that cannot stand together, read both ways."""
        attributes = self.scene_attributes
        size = len(attributes)
        kinds = np.asarray(attributes.type_index)
        conflicts: NDArray[np.bool_] = kinds[:, None] == kinds[None, :]
        names = {name: index for index, name in enumerate(self.scene_attribute_types.names)}
        masks: dict[frozenset[str], NDArray[np.bool_]] = {}
        for index, against in enumerate(attributes.contradicts):
            if not against:
                continue
            if against not in masks:
                mask = np.zeros(size, dtype=np.bool_)
                for entry in against:
                    if entry in names:
                        mask |= kinds == names[entry]
                    else:
                        kind, value = entry.split("=", 1)
                        mask[self.scene_attribute_index[kind.casefold(), value.casefold()]] = True
                masks[against] = mask
            conflicts[index] |= masks[against]
        return conflicts | conflicts.T


def class_mask(name: str, classes: tuple[str, ...], parents: tuple[str, ...]) -> NDArray[np.bool_]:
    """``(classes,)`` bool: the classes that are ``name`` or stand under it."""
    if name == "any":
        return np.ones(len(classes), dtype=np.bool_)
    up = dict(zip(classes, parents, strict=True))

    def under(start: str) -> bool:
        node = start
        while node:
            if node == name:
                return True
            node = up.get(node, "")
        return False

    return np.fromiter((under(one) for one in classes), dtype=np.bool_, count=len(classes))


def close_names(name: str, names: Iterable[str], count: int = 3) -> list[str]:
    """The names most like ``name``, for messages."""
    import difflib

    return difflib.get_close_matches(name, list(names), n=count, cutoff=0.75)
