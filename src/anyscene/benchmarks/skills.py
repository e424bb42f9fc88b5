"""What the prompts of a benchmark ask for, in one vocabulary: how many things, which kinds of attributes and relations, scene attributes.

A profile is read from an item's graph where it has one, else from its questions and the benchmark's own tags. Where a benchmark does not
say what kind an attribute or a relation is, the profile says ``any``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from anyscene.benchmarks.benchmark import Items
from anyscene.scene.structure import MAX_COMPLEXITY

__all__ = ["ANY", "ATTRIBUTES", "RELATIONS", "Profile", "fitted", "profile_of", "profiles_of", "skill_shares"]

ANY = "any"
ATTRIBUTES: Mapping[str, tuple[str, ...]] = {
    "color": ("color",),
    "shape": ("shape",),
    "texture": ("texture", "pattern", "coating", "finish"),
    "material": ("material",),
    "size": ("size", "proportion"),
    "state": ("state", "condition", "posture", "motion", "emotion", "expression", "wetness", "fullness"),
    "count": ("count",),
}
"""Kinds of attributes, and the types of the shipped vocabulary that they are."""
RELATIONS: Mapping[str, tuple[str, ...]] = {
    "spatial": ("spatial",),
    "action": ("interactional", "functional", "social", "emotional"),
    "part": ("part",),
    "comparison": ("comparison",),
}
"""Kinds of relations, likewise."""
MOST_SCENE_ATTRIBUTES = 3
"""Of a fitted profile: a fourth makes the counting of a space slow and is hardly ever asked for."""
_ATTRIBUTE_WORDS = {"colour": "color", "colors": "color", "type": ANY, "number": "count", "counting": "count", "textures": "texture"}
_SPATIAL = frozenset(
    "left right above below under over on in inside behind front next near beside between top bottom beneath underneath around inside "
    "outside by at against upon onto along across from far".split()
)
_NOT_SPATIAL = frozenset("holding wearing eating riding looking playing chasing".split())


@dataclass(frozen=True, slots=True, order=True)
class Profile:
    """The content of one prompt.

    Attributes:
        objects: how many kinds of things; several alike are one with a count.
        attributes: kind of each, sorted; ``count`` is one of them.
        relations: kind of each, sorted.
        scene: scene attributes.
    """

    objects: int
    attributes: tuple[str, ...]
    relations: tuple[str, ...]
    scene: int

    @property
    def complexity(self) -> int:
        """Objects, attributes and relations together."""
        return self.objects + len(self.attributes) + len(self.relations)

    @property
    def skills(self) -> tuple[str, ...]:
        """What is asked for: ``object``, kinds of attributes and relations, ``scene``."""
        own = {"object", *(f"attribute {one}" for one in self.attributes), *(f"relation {one}" for one in self.relations)}
        return tuple(sorted(own | ({"scene"} if self.scene else set())))


def profiles_of(items: Items) -> tuple[Counter[Profile], int]:
    """How often each profile occurs, and how many items say too little to have one."""
    found = [profile_of(record, items.extras.get(str(record["id"]), {})) for record in items.records]
    return Counter(one for one in found if one is not None), sum(one is None for one in found)


def profile_of(record: Mapping[str, Any], extra: Mapping[str, Any]) -> Profile | None:
    """The profile of an item; None where neither graph nor questions nor tags tell one."""
    if record["graph"]["objects"]:
        return _of_graph(record["graph"])
    tags = extra.get("categories") or extra.get("skills")
    if record["questions"] and not (tags and len(tags) != len(record["questions"])):
        return _of_questions(record["questions"], extra)
    return _of_tags([str(tag) for tag in tags]) if tags else None


def fitted(profile: Profile) -> Profile:
    """The profile as far as an engine's scene can have it: fourteen elements, one relation for two things, one number for a thing.

    What is too much goes in this order: scene attributes, attributes, relations, things.
    """
    objects = max(1, profile.objects)
    relations = list(profile.relations)
    attributes = [one for one in profile.attributes if one != "count"]
    counts = len(profile.attributes) - len(attributes)
    attributes = sorted([*attributes, *["count"] * min(counts, objects), *[ANY] * (counts - min(counts, objects))])
    while objects + len(attributes) + len(relations) > MAX_COMPLEXITY:
        if len(attributes) > max(len(relations), objects):
            attributes.pop()
        elif relations and len(relations) >= objects - 1:
            relations.pop()
        else:
            objects -= 1
    while attributes.count("count") > objects:
        attributes.remove("count")
    return Profile(objects, tuple(attributes), tuple(relations[: objects * (objects - 1) // 2]), min(profile.scene, MOST_SCENE_ATTRIBUTES))


def skill_shares(profiles: Mapping[Profile, int]) -> dict[str, float]:
    """For each skill the share of prompts that ask for it."""
    total = sum(profiles.values())
    counted: Counter[str] = Counter()
    for profile, number in profiles.items():
        counted.update(dict.fromkeys(profile.skills, number))
    return {skill: counted[skill] / total for skill in sorted(counted)}


def attribute_kind(type_: str) -> str:
    """The kind of an attribute from a benchmark's or the vocabulary's name of its type."""
    name = type_.casefold().strip()
    name = _ATTRIBUTE_WORDS.get(name, name)
    return name if name in ATTRIBUTES else next((kind for kind, types in ATTRIBUTES.items() if name in types), ANY)


def relation_kind(words: str) -> str:
    """The kind of a relation from its words."""
    own = words.casefold().replace(",", " ").split()
    if any(word in _SPATIAL for word in own) and not any(word in _NOT_SPATIAL for word in own):
        return "spatial"
    return "action" if any(word.endswith("ing") or word in _NOT_SPATIAL for word in own) else ANY


def _of_graph(graph: Mapping[str, Any]) -> Profile:
    related = {end for one in graph["relations"] for end in (one["subject"], one["object"])}
    alike: Counter[tuple[str, ...]] = Counter()
    attributes: list[str] = []
    objects = 0
    for one in graph["objects"]:
        own = [attribute_kind(attribute["type"]) for attribute in one["attributes"]]
        key = (one["name"], *sorted(f"{attribute['type']}={attribute['value']}" for attribute in one["attributes"]))
        alike[key] += 1
        if one["id"] in related or alike[key] == 1:
            objects += 1
            attributes += own
        if one["id"] not in related and alike[key] == 2:
            attributes.append("count")
    relations = [relation_kind(one["predicate"]) for one in graph["relations"]]
    return Profile(objects, tuple(sorted(attributes)), tuple(sorted(relations)), len(graph["scene_attributes"]))


def _of_questions(questions: Sequence[Mapping[str, Any]], extra: Mapping[str, Any]) -> Profile:
    """From the kinds of questions; tags that go with them one by one say more."""
    tags = extra.get("skills") or extra.get("categories") or []
    tags = tags if len(tags) == len(questions) else [""] * len(questions)
    category = str(extra.get("category", ""))
    kinds = Counter(str(one["kind"]) for one in questions)
    attributes, relations, scene = [], [], 0
    own_types = extra.get("questions", {})
    for one, tag in zip(questions, tags, strict=True):
        kind, named = str(one["kind"]), own_types.get(one["id"], {}) if isinstance(own_types, Mapping) else {}
        if kind == "attribute":
            attributes.append(attribute_kind(str(named.get("element_type") or category or tag)))
        elif kind == "count" and str(one["answer"]) not in ("one", "1"):
            attributes.append("count")
        elif kind == "motion":
            attributes.append("state")
        elif kind == "relation":
            spatial = tag == "position" or "spatial" in (tag, category, named.get("element_type")) or category == "3d_spatial"
            acting = tag == "verb" or category == "non_spatial"
            relations.append("spatial" if spatial else "action" if acting else relation_kind(str(one["text"])))
        elif kind == "scene_attribute":
            scene += 1
    if category in ("color", "shape", "texture", "complex"):  # each question is a phrase: a thing with an attribute
        objects = len(questions)
    else:
        objects = max(kinds["existence"], kinds["count"], 1 + bool(relations))
    return Profile(objects, tuple(sorted(attributes)), tuple(sorted(relations)), scene)


def _of_tags(tags: Sequence[str]) -> Profile:
    """From the tags of a whole prompt: a thing, and one of each that they name (ConceptMix counts no first thing, GenAI-Bench none)."""
    attributes, relations, scene, objects = [], [], 0, 0
    for tag in tags:
        name = tag.casefold()
        if name in ("object", "objects"):
            objects += 1
        elif name in ("style", "scene"):
            scene += 1
        elif name in ("spatial", "spatial relation"):
            relations.append("spatial")
        elif name == "action relation":
            relations.append("action")
        elif name == "part relation":
            relations.append("part")
        elif name in ("comparison", "differentiation"):
            relations.append("comparison")
        elif name in ("attribute", "color", "shape", "texture", "size", "number", "counting", "material"):
            attributes.append(attribute_kind(name))
    return Profile(objects + 1 + bool(relations and not objects), tuple(sorted(attributes)), tuple(sorted(relations)), scene)
