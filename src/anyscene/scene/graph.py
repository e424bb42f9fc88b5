"""Scene graphs as values: objects with attributes, relations between them, attributes of the whole scene (paper, section 3)."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from anyscene.errors import GraphError
from anyscene.scene.canonical import canonical_key

MAX_ELEMENTS = 2000
MAX_NAME_CHARS = 200
_Pair = TypeVar("_Pair")


@dataclass(frozen=True, slots=True)
class Attribute:
    """A quality of one object: ``Attribute("color", "red")``."""

    type: str
    value: str


@dataclass(frozen=True, slots=True)
class Object:
    """A thing in the scene; ``id`` is unique within its graph."""

    id: str
    name: str
    attributes: tuple[Attribute, ...] = ()


@dataclass(frozen=True, slots=True)
class Relation:
    """``subject`` is ``predicate`` ``object``; both ends are object ids."""

    subject: str
    predicate: str
    object: str


@dataclass(frozen=True, slots=True)
class SceneAttribute:
    """A quality of the whole picture, clip or model: ``SceneAttribute("weather", "fog")``."""

    type: str
    value: str


@dataclass(frozen=True, slots=True)
class SceneGraph:
    """Objects, relations and scene attributes.

    Raises:
        GraphError: no object, an id used twice, a relation with an unknown end or from an object to itself,
            or a name that cannot stand in text.
    """

    objects: tuple[Object, ...]
    relations: tuple[Relation, ...] = ()
    scene_attributes: tuple[SceneAttribute, ...] = ()

    def __post_init__(self) -> None:
        if not self.objects:
            raise GraphError("the graph has no objects; at least one is needed")
        elements = self.complexity + len(self.scene_attributes)
        if elements > MAX_ELEMENTS:
            raise GraphError(f"the graph has {elements} elements; at most {MAX_ELEMENTS} are taken")
        ids = [one.id for one in self.objects]
        if len(set(ids)) < len(ids):
            twice = next(name for name, count in Counter(ids).items() if count > 1)
            raise GraphError(f"two objects have the id {_short(twice)}; ids must differ")
        known = set(ids)
        for one in self.objects:
            _check_text(one.id, "an object id")
            _check_text(one.name, f"the name of object {_short(one.id)}")
            for attribute in one.attributes:
                _check_text(attribute.type, f"an attribute type of object {_short(one.id)}")
                _check_text(attribute.value, f"an attribute of object {_short(one.id)}")
            if len(set(one.attributes)) < len(one.attributes):
                raise GraphError(f"the object {_short(one.id)} has the same attribute twice")
        for relation in self.relations:
            _check_text(relation.predicate, f"the relation from {_short(relation.subject)} to {_short(relation.object)}")
            for end in (relation.subject, relation.object):
                if end not in known:
                    raise GraphError(f"the relation {_short(relation.predicate)} names the object {_short(end)}, which is not in the graph")
            if relation.subject == relation.object:
                raise GraphError(f"the relation {_short(relation.predicate)} goes from {_short(relation.subject)} to itself")
        if len(set(self.scene_attributes)) < len(self.scene_attributes):
            raise GraphError("the graph has the same scene attribute twice")
        for scene_attribute in self.scene_attributes:
            _check_text(scene_attribute.type, "a scene attribute type")
            _check_text(scene_attribute.value, "a scene attribute")

    @property
    def complexity(self) -> int:
        """Objects + attributes + relations (paper, section 3.2); scene attributes do not count."""
        return len(self.objects) + len(self.relations) + sum(len(one.attributes) for one in self.objects)

    def to_dict(self) -> dict[str, Any]:
        """The graph as it stands in a record."""
        return {
            "objects": [
                {"id": one.id, "name": one.name, "attributes": [{"type": a.type, "value": a.value} for a in one.attributes]}
                for one in self.objects
            ],
            "relations": [{"subject": r.subject, "predicate": r.predicate, "object": r.object} for r in self.relations],
            "scene_attributes": [{"type": a.type, "value": a.value} for a in self.scene_attributes],
        }

    def to_json(self) -> str:
        """``to_dict`` as one line of JSON."""
        return json.dumps(self.to_dict(), ensure_ascii=False)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> SceneGraph:
        """Read the record format.

        Raises:
            GraphError: a key is missing, unknown or of the wrong kind.
        """
        _keys(data, "the graph", ("objects",), ("relations", "scene_attributes"))
        objects = []
        for place, entry in enumerate(_list(data, "objects")):
            _keys(entry, f"objects[{place}]", ("id", "name"), ("attributes",))
            attributes = tuple(
                _pair(value, f"objects[{place}].attributes[{i}]", Attribute)
                for i, value in enumerate(_list(entry, "attributes", optional=True))
            )
            objects.append(Object(_text(entry, "id", f"objects[{place}]"), _text(entry, "name", f"objects[{place}]"), attributes))
        relations = []
        for place, entry in enumerate(_list(data, "relations", optional=True)):
            where = f"relations[{place}]"
            _keys(entry, where, ("subject", "predicate", "object"), ())
            relations.append(Relation(_text(entry, "subject", where), _text(entry, "predicate", where), _text(entry, "object", where)))
        scene = tuple(
            _pair(value, f"scene_attributes[{i}]", SceneAttribute) for i, value in enumerate(_list(data, "scene_attributes", optional=True))
        )
        return cls(tuple(objects), tuple(relations), scene)

    @classmethod
    def of_words(
        cls,
        names: Sequence[str],
        attributes: Sequence[Sequence[Attribute]],
        edges: Sequence[tuple[int, int]],
        predicates: Sequence[str],
        scene_attributes: Sequence[SceneAttribute] = (),
    ) -> SceneGraph:
        """A graph whose objects have the ids ``o0``, ``o1``, ...; ``edges`` are (subject, object) positions."""
        objects = tuple(Object(f"o{i}", name, tuple(own)) for i, (name, own) in enumerate(zip(names, attributes, strict=True)))
        relations = tuple(Relation(f"o{a}", predicate, f"o{b}") for (a, b), predicate in zip(edges, predicates, strict=True))
        return cls(objects, relations, tuple(scene_attributes))

    def same_scene(self, other: SceneGraph) -> bool:
        """Equal up to the ids and the order of things (isomorphic as labelled graphs)."""
        return self.canonical_key() == other.canonical_key()

    def canonical_key(self) -> tuple[Any, ...]:
        """A value that two graphs share exactly when they are the same scene."""
        labels = {one.id: (one.name, tuple(sorted((a.type, a.value) for a in one.attributes))) for one in self.objects}
        key = canonical_key(labels, [(r.subject, r.predicate, r.object) for r in self.relations])
        return key, tuple(sorted((a.type, a.value) for a in self.scene_attributes))


def _check_text(text: str, where: str) -> None:
    if not text or text != text.strip():
        raise GraphError(f"{where} is {_short(text)}; it must be words without space around them")
    if not text.isprintable():
        raise GraphError(f"{where} has control characters: {_short(text)}")
    if len(text) > MAX_NAME_CHARS:
        raise GraphError(f"{where} has {len(text)} characters; at most {MAX_NAME_CHARS} are taken")


def _short(text: object) -> str:
    """A text as it may stand in a message: on one line, cut to 40 characters."""
    shown = str(text)
    return repr(shown if len(shown) <= 40 else shown[:40] + "...")


def _keys(data: Any, where: str, required: tuple[str, ...], optional: tuple[str, ...]) -> None:
    if not isinstance(data, Mapping):
        raise GraphError(f"{where} is {type(data).__name__}; it must be an object with {', '.join(required)}")
    for key in required:
        if key not in data:
            raise GraphError(f"{where} lacks {key!r}; found {', '.join(map(_short, list(data)[:8])) or 'nothing'}")
    for key in data:
        if key not in required and key not in optional:
            raise GraphError(f"{where} has the unknown key {_short(key)}; allowed are {', '.join(required + optional)}")


def _list(data: Mapping[str, Any], key: str, optional: bool = False) -> list[Any]:
    value = data.get(key, [] if optional else None)
    if not isinstance(value, list):
        raise GraphError(f"{key!r} is {type(value).__name__}; it must be a list")
    if len(value) > MAX_ELEMENTS:
        raise GraphError(f"{key!r} has {len(value)} entries; at most {MAX_ELEMENTS} are taken")
    return value


def _text(data: Mapping[str, Any], key: str, where: str) -> str:
    value = data[key]
    if not isinstance(value, str):
        raise GraphError(f"{where}.{key} is {type(value).__name__}; it must be text")
    return value


def _pair(data: Any, where: str, kind: Callable[[str, str], _Pair]) -> _Pair:
    _keys(data, where, ("type", "value"), ())
    return kind(_text(data, "type", where), _text(data, "value", where))
