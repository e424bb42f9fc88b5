"""The rules of scenes written a second time, as plainly as can be: every labelled scene is tried, and kept once per relabelling.

Nothing here uses ``anyscene.space``, the structures of ``anyscene.scene`` or the loader of taxonomies.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import combinations, permutations, product
from pathlib import Path
from typing import Any

import networkx

from anyscene.scene import Attribute, Object, Relation, SceneAttribute, SceneGraph
from anyscene.taxonomy import Taxonomy

NUMERALS = ("two", "three", "four", "five", "six")
Content = tuple[str, tuple[str, ...]]
Edges = tuple[tuple[int, str, int], ...]
Key = tuple[tuple[Content, ...], Edges]


@dataclass(frozen=True)
class Noun:
    name: str
    kind: str = "thing"
    number: str = "count"
    familiarity: float = 1.0
    visuality: float = 1.0
    parents: str = ""


@dataclass(frozen=True)
class Value:
    name: str
    kind: str
    fits: tuple[str, ...] = ("any",)
    exclusive: bool = True


@dataclass(frozen=True)
class Predicate:
    name: str
    subjects: tuple[str, ...] = ("any",)
    objects: tuple[str, ...] = ("any",)
    kind: str = "spatial"


@dataclass(frozen=True)
class Setting:
    """A scene attribute; ``against`` are types and ``type=value``."""

    name: str
    kind: str
    against: tuple[str, ...] = ()
    modalities: tuple[str, ...] = ("image", "video", "3d")


@dataclass(frozen=True)
class Vocabulary:
    nouns: tuple[Noun, ...]
    values: tuple[Value, ...] = ()
    predicates: tuple[Predicate, ...] = ()
    settings: tuple[Setting, ...] = ()
    groups: tuple[tuple[str, str], ...] = ()
    hypernyms: tuple[tuple[str, str, str], ...] = ()
    weights: tuple[tuple[str, str, float], ...] = ()

    def write(self, folder: Path) -> None:
        """The vocabulary in the format of ``docs/taxonomy-format.md``."""

        def table(name: str, header: str, rows: Iterable[tuple[object, ...]]) -> None:
            lines = ["\t".join(map(str, row)) for row in rows]
            if lines:
                (folder / name).write_text("\n".join([header.replace(" ", "\t"), *lines, ""]), encoding="utf-8")

        table(
            "objects.tsv",
            "name number class familiarity visuality parents",
            [(n.name, n.number, n.kind, n.familiarity, n.visuality, n.parents) for n in self.nouns],
        )
        table("classes.tsv", "class parent", self.groups)
        table("hypernyms.tsv", "id name parents", self.hypernyms)
        table("attributes.tsv", "value type fits exclusive", [(v.name, v.kind, ",".join(v.fits), int(v.exclusive)) for v in self.values])
        table(
            "relations.tsv",
            "relation type subject_classes object_classes",
            [(p.name, p.kind, ",".join(p.subjects), ",".join(p.objects)) for p in self.predicates],
        )
        table(
            "scene_attributes.tsv",
            "value type phrase modalities contradicts",
            [(s.name, s.kind, f"in {s.name} {s.kind}", ",".join(s.modalities), ",".join(s.against)) for s in self.settings],
        )
        table("types.tsv", "kind type weight", self.weights)

    # ---- rules ------------------------------------------------------------------------------------------------------------

    def is_in(self, kind: str, groups: tuple[str, ...]) -> bool:
        """Is a class one of the groups or under one of them?"""
        up = dict(self.groups)
        while kind:
            if kind in groups or "any" in groups:
                return True
            kind = up.get(kind, "")
        return False

    def noun(self, name: str) -> Noun:
        return next(one for one in self.nouns if one.name == name)

    def value(self, name: str) -> Value:
        return Value(name, "count") if name in NUMERALS else next(one for one in self.values if one.name == name)

    def may_have(self, noun: Noun, value: Value, class_rules: bool = True) -> bool:
        if value.kind == "count":
            return noun.number in ("count", "either")
        return not class_rules or self.is_in(noun.kind, value.fits)

    def may_stand(self, predicate: Predicate, subject: Noun, target: Noun, class_rules: bool = True) -> bool:
        return not class_rules or (self.is_in(subject.kind, predicate.subjects) and self.is_in(target.kind, predicate.objects))

    def go_together(self, values: Iterable[str]) -> bool:
        """No two exclusive values of one type."""
        closed = [self.value(name).kind for name in values if self.value(name).exclusive]
        return len(set(closed)) == len(closed)

    def check(self, graph: SceneGraph, class_rules: bool = True) -> None:
        """Assert that a scene keeps every rule."""
        nouns = {one.id: self.noun(one.name) for one in graph.objects}
        for one in graph.objects:
            names = [a.value for a in one.attributes]
            assert len(set(names)) == len(names) and self.go_together(names), graph
            for a in one.attributes:
                assert self.value(a.value).kind == a.type
                assert self.may_have(nouns[one.id], self.value(a.value), class_rules), graph
        predicates = {one.name: one for one in self.predicates}
        for r in graph.relations:
            assert self.may_stand(predicates[r.predicate], nouns[r.subject], nouns[r.object], class_rules), graph
        pairs = [frozenset((r.subject, r.object)) for r in graph.relations]
        assert len(set(pairs)) == len(pairs), graph
        assert networkx.is_directed_acyclic_graph(networkx.DiGraph([(r.subject, r.object) for r in graph.relations])), graph
        settings = {(one.kind, one.name): one for one in self.settings}
        chosen = [settings[a.type, a.value] for a in graph.scene_attributes]
        assert all(agree(a, b) for a, b in combinations(chosen, 2)), graph


Load = Callable[[Vocabulary], Taxonomy]


def agree(a: Setting, b: Setting) -> bool:
    """Can two scene attributes stand together? A contradiction on one side is enough."""
    if a.kind == b.kind:
        return False
    return not any(one.kind in other.against or f"{one.kind}={one.name}" in other.against for one, other in ((a, b), (b, a)))


# ---- scenes -------------------------------------------------------------------------------------------------------------------


def contents(vocabulary: Vocabulary, size: int, *, class_rules: bool = True, counts: bool = False) -> list[Content]:
    """Every noun with every set of ``size`` attributes."""
    values = [*vocabulary.values, *(Value(name, "count") for name in NUMERALS if counts)]
    found = []
    for noun in vocabulary.nouns:
        fitting = sorted(v.name for v in values if vocabulary.may_have(noun, v, class_rules))
        found += [(noun.name, chosen) for chosen in combinations(fitting, size) if vocabulary.go_together(chosen)]
    return found


def relation_sets(size: int, count: int) -> Iterator[tuple[tuple[int, int], ...]]:
    """Every acyclic set of ``count`` directed pairs over ``size`` labelled objects, at most one a pair."""
    for pairs in combinations(combinations(range(size), 2), count):
        for turned in product((False, True), repeat=count):
            edges = tuple((b, a) if turn else (a, b) for (a, b), turn in zip(pairs, turned, strict=True))
            if networkx.is_directed_acyclic_graph(networkx.DiGraph(edges)):
                yield edges


def labelled_scenes(vocabulary: Vocabulary, complexity: int, *, class_rules: bool = True, counts: bool = False) -> Iterator[Key]:
    """Every scene of a complexity, in every numbering in which the contents of its objects ascend."""
    by_size = [contents(vocabulary, a, class_rules=class_rules, counts=counts) for a in range(complexity)]
    for size in range(1, complexity + 1):
        for num_relations in range(min(complexity - size, size * (size - 1) // 2) + 1):
            rest = complexity - size - num_relations
            wirings = list(relation_sets(size, num_relations))
            for spread in product(range(rest + 1), repeat=size):
                if sum(spread) != rest:
                    continue
                for nodes in product(*(by_size[a] for a in spread)):
                    if any(nodes[i] > nodes[i + 1] for i in range(size - 1)):
                        continue
                    for edges in wirings:
                        yield from _with_predicates(vocabulary, nodes, edges, class_rules)


def _with_predicates(
    vocabulary: Vocabulary, nodes: tuple[Content, ...], edges: tuple[tuple[int, int], ...], class_rules: bool
) -> Iterator[Key]:
    nouns = [vocabulary.noun(name) for name, _ in nodes]
    fitting = [[p.name for p in vocabulary.predicates if vocabulary.may_stand(p, nouns[a], nouns[b], class_rules)] for a, b in edges]
    for chosen in product(*fitting):
        yield nodes, tuple((a, p, b) for (a, b), p in zip(edges, chosen, strict=True))


def smallest(nodes: tuple[Content, ...], edges: Edges) -> Key:
    """One name for all numberings of a scene: contents ascend and relations are the smallest that any such numbering gives."""
    order = sorted(range(len(nodes)), key=lambda i: nodes[i])
    groups: dict[Content, list[int]] = {}
    for i in order:
        groups.setdefault(nodes[i], []).append(i)
    best = None
    for turn in product(*(permutations(group) for group in groups.values())):
        place = {node: i for i, node in enumerate(node for group in turn for node in group)}
        own = tuple(sorted((place[a], p, place[b]) for a, p, b in edges))
        best = own if best is None or own < best else best
    assert best is not None
    return tuple(nodes[i] for i in order), best


def scenes(vocabulary: Vocabulary, complexity: int, **options: Any) -> set[Key]:
    """Every scene of a complexity once."""
    return {smallest(*scene) for scene in labelled_scenes(vocabulary, complexity, **options)}


def key_of_graph(graph: SceneGraph) -> Key:
    """The name of a scene graph among ``scenes``; scene attributes are left out."""
    at = {one.id: i for i, one in enumerate(graph.objects)}
    nodes = tuple((one.name, tuple(sorted(a.value for a in one.attributes))) for one in graph.objects)
    return smallest(nodes, tuple((at[r.subject], r.predicate, at[r.object]) for r in graph.relations))


def graph_of_key(vocabulary: Vocabulary, key: Key) -> SceneGraph:
    nodes, edges = key
    return SceneGraph(
        tuple(
            Object(f"n{i}", name, tuple(Attribute(vocabulary.value(v).kind, v) for v in values)) for i, (name, values) in enumerate(nodes)
        ),
        tuple(Relation(f"n{a}", p, f"n{b}") for a, p, b in edges),
    )


def as_networkx(key: Key) -> networkx.DiGraph:
    found = networkx.DiGraph()
    found.add_nodes_from((i, {"label": node}) for i, node in enumerate(key[0]))
    found.add_edges_from((a, b, {"label": p}) for a, p, b in key[1])
    return found


def isomorphism_classes(keys: Iterable[Key]) -> int:
    """How many of the graphs networkx holds to be different."""
    buckets: dict[object, list[networkx.DiGraph]] = {}
    for key in keys:
        graph = as_networkx(key)
        bucket = buckets.setdefault((key[0], tuple(sorted(p for _, p, _ in key[1]))), [])
        if not any(
            networkx.is_isomorphic(graph, other, node_match=lambda a, b: a == b, edge_match=lambda a, b: a == b) for other in bucket
        ):
            bucket.append(graph)
    return sum(map(len, buckets.values()))


def setting_sets(vocabulary: Vocabulary, size: int, modality: str = "image") -> set[frozenset[tuple[str, str]]]:
    """Every set of scene attributes that can stand together."""
    usable = [one for one in vocabulary.settings if modality in one.modalities]
    return {
        frozenset((one.kind, one.name) for one in chosen)
        for chosen in combinations(usable, size)
        if all(agree(a, b) for a, b in combinations(chosen, 2))
    }


def settings_of(graph: SceneGraph) -> frozenset[tuple[str, str]]:
    return frozenset((a.type, a.value) for a in graph.scene_attributes)


def contains(key: Key, seed: SceneGraph) -> bool:
    """Does the scene hold the seed, whose nouns then occur nowhere else?"""
    nodes, edges = key
    names = [name for name, _ in nodes]
    at = {}
    for one in seed.objects:
        if names.count(one.name) != 1:
            return False
        at[one.id] = names.index(one.name)
        if not {a.value for a in one.attributes} <= set(nodes[at[one.id]][1]):
            return False
    return all((at[r.subject], r.predicate, at[r.object]) in edges for r in seed.relations)


def renumbered(graph: SceneGraph, shuffle: Callable[[list[Any]], None]) -> SceneGraph:
    """The same scene with other ids and everything in another order."""
    ids = [f"x{i}" for i in range(len(graph.objects))]
    shuffle(ids)
    new = dict(zip((one.id for one in graph.objects), ids, strict=True))

    def mixed(values: Iterable[Any]) -> tuple[Any, ...]:
        found = list(values)
        shuffle(found)
        return tuple(found)

    return SceneGraph(
        mixed(Object(new[one.id], one.name, mixed(one.attributes)) for one in graph.objects),
        mixed(Relation(new[r.subject], r.predicate, new[r.object]) for r in graph.relations),
        mixed(SceneAttribute(one.type, one.value) for one in graph.scene_attributes),
    )


# ---- vocabularies -------------------------------------------------------------------------------------------------------------

HOME = Vocabulary(
    nouns=(
        Noun("boy", "person", parents="creature"),
        Noun("dog", "animal", parents="creature"),
        Noun("rice", "food", "mass", familiarity=0.2),
        Noun("cup", "thing", "either"),
        Noun("scissors", "thing", "plural", visuality=1.0),
    ),
    values=(
        Value("red", "color"),
        Value("blue", "color"),
        Value("happy", "emotion", ("animate",)),
        Value("broken", "state", ("thing",)),
        Value("wet", "state", exclusive=False),
        Value("dirty", "state", ("thing", "animate"), exclusive=False),
    ),
    predicates=(
        Predicate("holding", ("animate",), ("thing", "food"), "interactional"),
        Predicate("chasing", ("animate",), ("animate",), "interactional"),
        Predicate("on", ("thing",), ("thing",)),
    ),
    groups=(("person", "animate"), ("animal", "animate"), ("animate", ""), ("thing", ""), ("food", "")),
    hypernyms=(("creature", "living being", ""),),
)
"""Classes under a group, class rules, exclusive and other values of one type, mass and plural nouns; food is never a subject."""

BARE = Vocabulary(
    nouns=(Noun("dog"), Noun("cat"), Noun("cup", "vessel")), predicates=(Predicate("near"), Predicate("in", ("any",), ("vessel",)))
)
"""No attribute at all."""

MONO = Vocabulary(nouns=(Noun("ball"),), values=(Value("red", "color"),), predicates=(Predicate("near"),))
"""One of each: nothing but symmetry."""

TWINS = Vocabulary(
    nouns=(Noun("dog", "animal"), Noun("cup", "vessel")),
    values=(Value("red", "color"), Value("wet", "state", exclusive=False), Value("shiny", "state", ("vessel",), exclusive=False)),
    predicates=(Predicate("near"), Predicate("on", ("any",), ("vessel",))),
)
"""Two nouns of two classes and three values: symmetry and class rules together."""

LONELY = Vocabulary(nouns=(Noun("sun"), Noun("moon", "body")), values=(Value("bright", "light"), Value("dim", "light")))
"""No relation at all."""

VOCABULARIES = {"home": HOME, "bare": BARE, "mono": MONO, "twins": TWINS, "lonely": LONELY}
DEEPEST = {"home": 3, "bare": 5, "mono": 7, "twins": 4, "lonely": 5}
"""How complex scenes can be for every one of them to be listed in a moment."""

SETTINGS = replace(
    MONO,
    settings=(
        Setting("fog", "weather", ("place=cave",)),
        Setting("rain", "weather", ("place",)),
        Setting("sun", "weather"),
        Setting("cave", "place"),
        Setting("beach", "place", ("light=neon",)),
        Setting("city", "place"),
        Setting("neon", "light", ("weather=sun",)),
        Setting("dusk", "light"),
        Setting("dawn", "light", modalities=("video",)),
        Setting("oil", "style"),
        Setting("photo", "style", ("place=cave", "light")),
        Setting("pan", "motion", ("style=oil",), modalities=("video", "3d")),
    ),
)
"""Contradictions with types and with values, each written on one side only."""
