"""Rows: all different, valid, balanced, and each a pure function of its number."""

from __future__ import annotations

import hashlib
import itertools
import os
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from brute_force import DEEPEST, HOME, SETTINGS, VOCABULARIES, Load, Noun, Predicate, Value, Vocabulary, key_of_graph, settings_of
from hypothesis import given, settings
from hypothesis import strategies as st

import anyscene
from anyscene.errors import EmptySpaceError, SpecError
from anyscene.scene import Object, SceneGraph
from anyscene.scene.batch import SceneBatch
from anyscene.space import SceneSpec, Space, graph_of_row
from anyscene.taxonomy import Taxonomy


def graphs_of(space: Space, batch: SceneBatch) -> list[SceneGraph]:
    return [graph_of_row(space.taxonomy, batch, i) for i in range(batch.rows)]


def rows_of(space: Space, start: int, stop: int, seed: int = 0) -> list[SceneGraph]:
    return graphs_of(space, space.rows(seed).rows(start, stop))


def identity(graph: SceneGraph) -> object:
    return key_of_graph(graph), settings_of(graph)


def words(prefix: str, count: int) -> list[str]:
    return [f"{prefix} {i}" for i in range(count)]


@cache
def street(nouns: int = 40) -> Vocabulary:
    """Frames beyond the exact numbering: many values, class rules, a crowd of colours."""
    kinds = ["person", "animal", "thing", "vehicle"]
    return Vocabulary(
        nouns=tuple(Noun(name, kinds[i % 4], "mass" if i % 10 == 7 else "count") for i, name in enumerate(words("noun", nouns))),
        values=(
            *(Value(name, "color") for name in words("color", 200)),
            *(Value(name, "size") for name in words("size", 8)),
            *(Value(name, "material", ("thing", "vehicle")) for name in words("material", 30)),
            *(Value(name, "emotion", ("animate",)) for name in words("emotion", 12)),
            *(Value(name, "state", exclusive=False) for name in words("state", 20)),
        ),
        predicates=(
            *(Predicate(name) for name in words("spatial", 30)),
            *(Predicate(name, ("animate",), ("any",), "interactional") for name in words("doing", 15)),
            *(Predicate(name, ("person",), ("person",), "social") for name in words("social", 6)),
            *(Predicate(name, ("thing", "vehicle"), ("thing", "vehicle"), "part") for name in words("part", 4)),
        ),
        settings=SETTINGS.settings,
        groups=(("person", "animate"), ("animal", "animate"), ("animate", ""), ("thing", ""), ("vehicle", "thing")),
    )


# ---- small spaces are drawn to the last scene ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "deepest"), DEEPEST.items())
@pytest.mark.parametrize("order", ["balanced", "uniform"])
def test_a_small_space_is_exhausted(small: dict[str, Taxonomy], name: str, deepest: int, order: str) -> None:
    space = Space(small[name], SceneSpec(complexity=(1, deepest), order=order))
    rows = space.rows(seed=11)
    assert rows.capacity == space.size
    numbers = [space.index(graph) for graph in graphs_of(space, rows.rows(0, rows.capacity))]
    assert sorted(numbers) == list(range(space.size))


@pytest.mark.parametrize("order", ["balanced", "uniform"])
def test_a_small_space_with_scene_attributes_and_counts_is_exhausted(load: Load, order: str) -> None:
    space = Space(load(SETTINGS), SceneSpec(complexity=(1, 3), scene_attributes=(0, 2), counts=True, order=order))
    rows = space.rows(seed=2)
    assert rows.capacity == space.size
    numbers = [space.index(graph) for graph in graphs_of(space, rows.rows(0, rows.capacity))]
    assert sorted(numbers) == list(range(space.size))


@pytest.mark.parametrize("realism", [0.0, 0.2, 0.8, 1.0])
def test_realism_loses_no_scene_of_a_small_space(small: dict[str, Taxonomy], realism: float) -> None:
    space = Space(small["twins"], SceneSpec(complexity=(1, 4), realism=realism))
    rows = space.rows(seed=2)
    assert rows.capacity == space.size
    assert len(set(map(identity, graphs_of(space, rows.rows(0, rows.capacity))))) == space.size


# ---- rows are pure functions of their number ----------------------------------------------------------------------------------

SPECS = {
    "balanced": SceneSpec(complexity=(1, 7), scene_attributes=(0, 2)),
    "uniform": SceneSpec(complexity=(1, 7), scene_attributes=(0, 2), order="uniform"),
    "counts": SceneSpec(complexity=(1, 6), counts=True),
    "realism 0": SceneSpec(complexity=(2, 6), realism=0.0),
    "containing": SceneSpec(complexity=(3, 6), containing=SceneGraph((Object("a", "noun 3"), Object("b", "noun 4")))),
}


@pytest.mark.parametrize("name", SPECS)
@settings(max_examples=8, deadline=None)
@given(cuts=st.lists(st.integers(0, 160), max_size=6))
def test_rows_do_not_depend_on_how_they_are_cut(load: Load, name: str, cuts: list[int]) -> None:
    space = Space(load(street()), SPECS[name])
    rows = space.rows(seed=5)
    whole = graphs_of(space, rows.rows(0, 160))
    edges = [0, *sorted(cuts), 160]
    pieces = [graph for a, b in itertools.pairwise(edges) for graph in graphs_of(space, rows.rows(a, b))]
    assert pieces == whole


@pytest.mark.parametrize("name", SPECS)
def test_one_row_alone_is_the_row_in_its_batch(load: Load, name: str) -> None:
    space = Space(load(street()), SPECS[name])
    rows = space.rows(seed=5)
    start = min(10**9, rows.capacity - 40)
    whole = rows.rows(start, start + 40)
    assert whole.index.tolist() == list(range(start, start + 40)) and whole.rows == 40
    assert [graph_of_row(space.taxonomy, rows.rows(k, k + 1), 0) for k in range(start, start + 40)] == graphs_of(space, whole)


@pytest.mark.parametrize("name", SPECS)
def test_an_empty_batch_is_a_batch(load: Load, name: str) -> None:
    batch = Space(load(street()), SPECS[name]).rows(seed=5).rows(7, 7)
    assert batch.rows == 0 and len(batch.objects) == len(batch.attributes) == len(batch.relations) == len(batch.scene_attributes) == 0


@pytest.mark.parametrize("name", SPECS)
def test_a_seed_decides_the_rows(load: Load, name: str) -> None:
    space = Space(load(street()), SPECS[name])
    first, again, other = (rows_of(space, 0, 200, seed) for seed in (1, 1, 2))
    assert first == again
    assert len(set(map(identity, first)) & set(map(identity, other))) < 40
    assert sum(a == b for a, b in zip(first, other, strict=True)) < 20


SCRIPT = """
import sys
from pathlib import Path
import numpy as np
from anyscene.space import SceneSpec, Space
from anyscene.taxonomy import load_taxonomy
spec = SceneSpec(complexity=(1, 7), scene_attributes=(0, 2), counts=True, realism=float(sys.argv[2]))
space = Space(load_taxonomy(Path(sys.argv[1])), spec)
batch = space.rows(seed=9).rows(100, 400)
for name in ("objects", "object_start", "attributes", "attribute_start", "relations", "relation_start", "subjects", "targets", "scene_attributes"):
    sys.stdout.buffer.write(getattr(batch, name).tobytes())
sys.stdout.buffer.write(f"{space.size} {space.rows(9).capacity} {space.digest}".encode())
"""


@pytest.mark.parametrize("realism", ["0.5", "0.9"])
def test_rows_are_the_same_bytes_in_any_process(tmp_path: Path, realism: str) -> None:
    street().write(tmp_path)
    digests = set()
    for seed in ("0", "1", "4242"):
        env = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(Path(anyscene.__file__).parents[1]), "OMP_NUM_THREADS": seed[0]}
        env["OMP_NUM_THREADS"] = "1" if seed == "0" else "2"
        done = subprocess.run([sys.executable, "-B", "-c", SCRIPT, str(tmp_path), realism], env=env, capture_output=True, check=True)
        assert len(done.stdout) > 1000
        digests.add(hashlib.sha256(done.stdout).hexdigest())
    assert len(digests) == 1


# ---- rows differ --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SPECS)
def test_rows_are_all_different(load: Load, name: str) -> None:
    space = Space(load(street()), SPECS[name])
    assert len(set(map(identity, rows_of(space, 0, 2500)))) == 2500


@pytest.mark.parametrize(
    "spec", [SceneSpec(complexity=(5, 5), objects=(1, 1)), SceneSpec(complexity=(7, 7), objects=(2, 2), relations=(1, 1))]
)
def test_rows_stay_different_when_all_nouns_have_come_round(load: Load, spec: SceneSpec) -> None:
    """Four nouns, and more than 2^20 scenes a structure: attributes and relations have to tell rows apart."""
    space = Space(load(street(4)), spec)
    rows = space.rows(seed=0)
    assert rows.capacity > 1 << 20
    for start in (0, 1 << 19, rows.capacity - 3000):
        graphs = graphs_of(space, rows.rows(start, start + 3000))
        assert len(set(map(identity, graphs))) == 3000


def test_the_same_structure_filled_from_both_ends_never_meets(load: Load) -> None:
    """Rows far apart, structures with symmetry, few nouns: still no scene twice."""
    space = Space(load(street(8)), SceneSpec(complexity=(6, 6), objects=(3, 3), relations=(2, 2)))
    rows = space.rows(seed=0)
    seen: set[object] = set()
    spots = np.linspace(0, rows.capacity - 500, 12).astype(np.int64).tolist()
    for start in spots:
        seen |= set(map(identity, graphs_of(space, rows.rows(start, start + 500))))
    assert len(seen) == 6000


def test_a_frame_beyond_the_exact_numbering_is_different_to_the_last_row(load: Load) -> None:
    """Three objects that change places, and just enough nouns for a million rows: every one of them."""
    vocabulary = Vocabulary(nouns=tuple(Noun(name) for name in words("noun", 306)))
    space = Space(load(vocabulary), SceneSpec(complexity=(3, 3)))
    rows = space.rows(seed=0)
    assert 1 << 20 < rows.capacity <= space.size == 306 * 307 * 308 // 6
    found = np.zeros(306**3, dtype=np.bool_)
    for start in range(0, rows.capacity, 100_000):
        nouns = np.sort(rows.rows(start, min(start + 100_000, rows.capacity)).objects.reshape(-1, 3), axis=1)
        found[(nouns[:, 0] * 306 + nouns[:, 1]) * 306 + nouns[:, 2]] = True
    assert found.sum() == rows.capacity


@pytest.mark.parametrize(("nouns", "objects", "relations"), [(170, 3, 2), (80, 4, 3), (66, 4, 4)])
def test_no_scene_comes_again_seen_another_way(load: Load, nouns: int, objects: int, relations: int) -> None:
    """Structures that map onto themselves, beyond the exact numbering: the twin of a row under a symmetry is never a row."""
    vocabulary = Vocabulary(nouns=tuple(Noun(name) for name in words("noun", nouns)), predicates=(Predicate("near"),))
    spec = SceneSpec(complexity=(objects + relations,) * 2, objects=(objects,) * 2, relations=(relations,) * 2)
    batch = Space(load(vocabulary), spec).rows(seed=0).rows(0, 60_000)
    symmetric = 0
    for number, shape in enumerate(batch.shapes):
        own = batch.objects.reshape(-1, objects)[batch.shape_index == number]
        edges = set(shape.edges)
        group = [g for g in itertools.permutations(range(objects)) if {(g[a], g[b]) for a, b in edges} == edges]
        names = np.min([own[:, g] @ (nouns ** np.arange(objects)) for g in group], axis=0)
        assert len(np.unique(names)) == len(own)
        symmetric += len(group) > 1
    assert symmetric >= 1


def test_visits_beyond_the_exact_numbering_are_different_to_the_last_row(load: Load) -> None:
    """Eight nouns, 51 values of each of three types: every one of a million scenes comes once."""
    vocabulary = Vocabulary(
        nouns=tuple(Noun(name) for name in words("noun", 8)),
        values=tuple(Value(name, kind) for kind in ("color", "mood", "size") for name in words(kind, 51)),
    )
    space = Space(load(vocabulary), SceneSpec(complexity=(4, 4), objects=(1, 1)))
    rows = space.rows(seed=3)
    assert rows.capacity == space.size == 8 * 51**3 > 1 << 20
    found = np.zeros((8, 51, 51, 51), dtype=np.bool_)
    for start in range(0, rows.capacity, 100_000):
        batch = rows.rows(start, min(start + 100_000, rows.capacity))
        values = batch.attributes.reshape(-1, 3) - [0, 51, 102]
        found[batch.objects, values[:, 0], values[:, 1], values[:, 2]] = True
    assert found.all()


@pytest.mark.parametrize("name", SPECS)
def test_the_last_rows_are_rows(load: Load, name: str) -> None:
    space = Space(load(street(12)), SPECS[name])
    rows = space.rows(seed=5)
    graphs = graphs_of(space, rows.rows(rows.capacity - 300, rows.capacity))
    assert len(set(map(identity, graphs))) == 300
    for graph in graphs:
        street(12).check(graph, class_rules=SPECS[name].class_rules)
        assert space[space.index(graph)].same_scene(graph)


def test_there_is_never_more_than_there_is(load: Load) -> None:
    for nouns in (1, 2, 3, 8, 20):
        for c in (1, 2, 3, 4, 5):
            space = Space(load(street(nouns)), SceneSpec(complexity=(c, c), scene_attributes=(0, 1)))
            assert space.rows(0).capacity <= space.size


@pytest.mark.parametrize("order", ["balanced", "uniform"])
def test_rows_beyond_the_last_are_refused(small: dict[str, Taxonomy], order: str) -> None:
    """Asked for N, get N or an error says why: beyond the capacity there is nothing but repetition."""
    rows = Space(small["home"], SceneSpec(complexity=(1, 2), order=order)).rows(0)
    for start, stop in [(rows.capacity - 1, rows.capacity + 1), (rows.capacity, rows.capacity + 1), (-1, 1)]:
        with pytest.raises((anyscene.errors.SpecError, IndexError, ValueError)):
            rows.rows(start, stop)


@pytest.mark.parametrize("order", ["balanced", "uniform"])
@pytest.mark.parametrize("options", [{"objects": (5, 5)}, {"scene_attributes": (1, 1)}, {"attributes": (9, 9)}, {"relations": (2, 3)}])
def test_a_space_without_scenes_has_no_rows_and_names_the_constraint(
    small: dict[str, Taxonomy], options: dict[str, tuple[int, int]], order: str
) -> None:
    """`Loosen the one that the message names`, says the error."""
    name = next(iter(options))
    with pytest.raises(EmptySpaceError, match=name.replace("_", ".")):
        Space(small["home"], SceneSpec(complexity=(1, 2), order=order, **options)).rows(0)  # type: ignore[arg-type]


# ---- rows keep the rules ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SPECS)
def test_rows_keep_every_rule(load: Load, name: str) -> None:
    spec = SPECS[name]
    space = Space(load(street()), spec)
    for graph in rows_of(space, 0, 1000):
        street().check(graph, class_rules=spec.class_rules)
        assert spec.complexity[0] <= graph.complexity <= spec.complexity[1]
        assert spec.scene_attributes[0] <= len(graph.scene_attributes) <= spec.scene_attributes[1]


@pytest.mark.parametrize("name", SPECS)
def test_every_row_is_a_scene_of_the_space(load: Load, name: str) -> None:
    space = Space(load(street()), SPECS[name])
    for graph in rows_of(space, 0, 250):
        assert space[space.index(graph)].same_scene(graph)


def test_rows_of_the_shipped_vocabulary_keep_its_class_rules(shipped: Taxonomy) -> None:
    space = Space(shipped, SceneSpec(complexity=(1, 7), scene_attributes=(0, 4), counts=True))
    t = space.taxonomy
    batch = space.rows(seed=1).rows(0, 5000)
    owner = batch.object_of_attribute
    kinds = t.attributes.type_index[batch.attributes]
    classes = t.objects.class_index[batch.objects]
    counted = kinds == t.attribute_types.names.index("count")
    assert t.attributes.fits[batch.attributes, classes[owner]].all()
    assert np.isin(t.objects.number[batch.objects[owner[counted]]], (0, 3)).all() and counted.sum() > 100
    closed = t.attributes.exclusive[batch.attributes]
    pairs = owner[closed] * 1000 + kinds[closed]
    assert len(np.unique(pairs)) == len(pairs)
    assert len(np.unique(owner * 100_000 + batch.attributes)) == len(owner)
    row = np.repeat(np.arange(batch.rows), np.diff(batch.relation_start))
    start = batch.object_start[row]
    assert t.relations.subjects[batch.relations, classes[start + batch.subjects]].all()
    assert t.relations.objects[batch.relations, classes[start + batch.targets]].all()
    ends = np.stack([row, np.minimum(batch.subjects, batch.targets), np.maximum(batch.subjects, batch.targets)])
    assert len(np.unique(ends, axis=1).T) == len(row) and (batch.subjects != batch.targets).all()
    scene = np.repeat(np.arange(batch.rows), np.diff(batch.scene_start))
    for first, second in zip(range(len(scene)), range(1, len(scene)), strict=False):
        if scene[first] == scene[second]:
            assert not t.scene_conflicts[batch.scene_attributes[first], batch.scene_attributes[second]]
    assert (t.objects.visuality[batch.objects] >= 0.5).all()
    assert sorted(set(batch.complexity.tolist())) == list(range(1, 8))


def test_rows_of_the_shipped_vocabulary_are_all_different(shipped: Taxonomy) -> None:
    space = Space(shipped, SceneSpec(complexity=(1, 6), scene_attributes=(0, 1)))
    assert len({(graph.canonical_key()) for graph in rows_of(space, 0, 6000)}) == 6000


# ---- balance ------------------------------------------------------------------------------------------------------------------


def test_complexities_are_even(load: Load) -> None:
    space = Space(load(street()), SceneSpec(complexity=(3, 8)))
    batch = space.rows(seed=0).rows(0, 6000)
    found = Counter(batch.complexity.tolist())
    assert set(found) == {3, 4, 5, 6, 7, 8} and max(found.values()) - min(found.values()) <= 2
    part = Counter(space.rows(seed=0).rows(1234, 1834).complexity.tolist())
    assert all(98 <= count <= 102 for count in part.values()), "and so they are in any stretch of rows"


def test_a_complexity_with_few_scenes_is_followed_by_the_others(load: Load) -> None:
    """40 scenes of complexity 1: after that its turn goes to the others."""
    space = Space(load(street()), SceneSpec(complexity=(1, 3)))
    batch = space.rows(seed=0).rows(0, 3000)
    found = Counter(batch.complexity.tolist())
    assert found[1] == 40 and abs(found[2] - found[3]) <= 2


def test_most_scenes_with_objects_to_relate_have_relations(load: Load) -> None:
    space = Space(load(street()), SceneSpec(complexity=(3, 9)))
    graphs = rows_of(space, 0, 4000)
    several = [graph for graph in graphs if len(graph.objects) > 1]
    assert len(several) > 0.8 * len(graphs)
    assert sum(bool(graph.relations) for graph in several) > 0.7 * len(several)
    assert {len(graph.objects) for graph in graphs} >= {1, 2, 3, 4, 5}


def test_structures_of_one_split_are_even(load: Load) -> None:
    space = Space(load(street()), SceneSpec(complexity=(6, 6), objects=(3, 3), relations=(2, 2)))
    batch = space.rows(seed=0).rows(0, 3000)
    found = Counter(batch.shape_index.tolist())
    assert len(found) == space.structure_counts[6] and max(found.values()) - min(found.values()) <= 2


def test_nouns_are_even(load: Load) -> None:
    graphs = rows_of(Space(load(street()), SceneSpec(complexity=(4, 6))), 0, 8000)
    found = Counter(one.name for graph in graphs for one in graph.objects)
    mean = sum(found.values()) / 40
    assert len(found) == 40 and all(0.8 * mean < count < 1.2 * mean for count in found.values()), found


def types_of(vocabulary: Vocabulary, graphs: list[SceneGraph], kind: str) -> Counter[str]:
    return Counter(a.type for graph in graphs for one in graph.objects if vocabulary.noun(one.name).kind == kind for a in one.attributes)


@pytest.mark.parametrize("weights", [{}, {"size": 3.0}])
def test_attribute_types_are_drawn_by_weight_whatever_the_number_of_their_values(load: Load, weights: dict[str, float]) -> None:
    """200 colours do not drown 8 sizes; a person has no material, a thing no emotion."""
    vocabulary = replace(street(), weights=tuple(("attribute", kind, weight) for kind, weight in weights.items()))
    graphs = rows_of(Space(load(vocabulary), SceneSpec(complexity=(4, 6), attributes=(1, 1))), 0, 9000, seed=4)
    for kind, types in {"person": ["color", "size", "emotion", "state"], "thing": ["color", "size", "material", "state"]}.items():
        found = types_of(vocabulary, graphs, kind)
        total = sum(weights.get(name, 1.0) for name in types)
        assert set(found) == set(types)
        for name in types:
            assert found[name] / found.total() == pytest.approx(weights.get(name, 1.0) / total, abs=0.06), (kind, found)


def test_several_attributes_of_one_object_are_balanced_too(load: Load) -> None:
    graphs = rows_of(Space(load(street()), SceneSpec(complexity=(4, 6), objects=(1, 2))), 0, 9000)
    for kind in ("person", "thing"):
        found = types_of(street(), graphs, kind)
        assert all(0.12 < count / found.total() < 0.4 for count in found.values()) and len(found) == 4, found


def test_values_within_a_type_are_even(load: Load) -> None:
    graphs = rows_of(Space(load(street()), SceneSpec(complexity=(3, 5), attributes=(1, 1))), 0, 9000)
    found = Counter(a.value for graph in graphs for one in graph.objects for a in one.attributes if a.type == "size")
    mean = found.total() / 8
    assert len(found) == 8 and all(0.75 * mean < count < 1.25 * mean for count in found.values()), found


def test_relation_types_are_all_there(load: Load) -> None:
    graphs = rows_of(Space(load(street()), SceneSpec(complexity=(3, 6))), 0, 6000)
    kinds = {p.name: p.kind for p in street().predicates}
    found = Counter(kinds[r.predicate] for graph in graphs for r in graph.relations)
    assert found["spatial"] < 0.75 * found.total() and found["interactional"] > 0.1 * found.total(), found
    assert found["social"] and found["part"]


FEW = {
    "one object of four nouns": (4, SceneSpec(complexity=(5, 5), objects=(1, 1))),
    "two objects of four nouns": (4, SceneSpec(complexity=(7, 7), objects=(2, 2), relations=(1, 1))),
    "one given object": (60, SceneSpec(complexity=(5, 5), containing=SceneGraph((Object("a", "noun 3"),)), objects=(1, 1))),
    "two given objects": (
        60,
        SceneSpec(
            complexity=(6, 6), containing=SceneGraph((Object("a", "noun 3"), Object("b", "noun 4"))), objects=(2, 2), relations=(1, 1)
        ),
    ),
}


@pytest.mark.parametrize("name", FEW)
def test_attributes_vary_where_nouns_are_few(load: Load, name: str) -> None:
    """No value may stand in most scenes because the visit number has not come that far."""
    nouns, spec = FEW[name]
    graphs = rows_of(Space(load(street(nouns)), spec), 0, 2000)
    found = Counter(a.value for graph in graphs for one in graph.objects for a in one.attributes)
    value, count = found.most_common(1)[0]
    assert count < 0.4 * len(graphs), f"{value!r} is in {count} of {len(graphs)} scenes"


def test_attributes_vary_around_a_given_object_of_the_shipped_vocabulary(shipped: Taxonomy) -> None:
    spec = SceneSpec(complexity=(5, 5), objects=(1, 1), containing=SceneGraph((Object("a", "dog"),)))
    graphs = rows_of(Space(shipped, spec), 0, 2000)
    value, count = Counter(a.value for graph in graphs for one in graph.objects for a in one.attributes).most_common(1)[0]
    assert count < 0.2 * len(graphs), f"{value!r} is in {count} of {len(graphs)} scenes with a dog"


# ---- uniform ------------------------------------------------------------------------------------------------------------------


def test_uniform_rows_follow_the_numbers_of_scenes(load: Load) -> None:
    """Nearly all scenes of a range are of its greatest complexity, and so are nearly all rows."""
    space = Space(load(street()), SceneSpec(complexity=(1, 4), order="uniform"))
    rows = space.rows(seed=0)
    assert rows.capacity == space.size
    found = Counter(rows.rows(0, 2000).complexity.tolist())
    for c, count in space.scene_counts.items():
        assert found[c] / 2000 == pytest.approx(count / space.size, abs=0.03)


def test_uniform_rows_are_spread_over_the_numbers(small: dict[str, Taxonomy]) -> None:
    space = Space(small["home"], SceneSpec(complexity=(1, 5), order="uniform"))
    for seed in range(3):
        numbers = np.array([space.index(graph) for graph in rows_of(space, 0, 600, seed)])
        found = np.bincount(numbers * 6 // space.size, minlength=6)
        assert (abs(found - 100) < 40).all(), found
        assert abs(np.corrcoef(numbers[:-1], numbers[1:])[0, 1]) < 0.15


def test_home_is_checked_by_the_rules_it_was_made_by(small: dict[str, Taxonomy]) -> None:
    """A twin: `check` fails where a rule is broken."""
    space = Space(small["home"], SceneSpec(complexity=(2, 2), realism=0.0))
    broken = [
        i for i in range(space.size) if any(a.value == "happy" and one.name == "cup" for one in space[i].objects for a in one.attributes)
    ]
    assert len(broken) == 1
    with pytest.raises(AssertionError):
        HOME.check(space[broken[0]])
    assert VOCABULARIES["home"] is HOME


def test_spaces_that_share_their_words_have_the_rows_of_those_that_do_not(load: Load) -> None:
    taxonomy = load(street())

    def spec(objects: int, relations: int, attributes: int, scene: int = 0, **more: object) -> SceneSpec:
        size = objects + relations + attributes
        sizes = {"complexity": size, "objects": objects, "relations": relations, "attributes": attributes, "scene_attributes": scene}
        return SceneSpec(**{name: (one, one) for name, one in sizes.items()}, **more)  # type: ignore[arg-type]

    first = Space(taxonomy, spec(2, 1, 3))
    first.rows(0)
    for sizes in ((1, 0, 1), (3, 2, 4), (2, 1, 0), (1, 0, 6)):
        own, shared = Space(taxonomy, spec(*sizes)).rows(0), Space(taxonomy, spec(*sizes), sharing=first).rows(0)
        assert own.capacity == shared.capacity
        one, other = (rows.rows(0, min(50, own.capacity)) for rows in (own, shared))
        assert all(np.array_equal(getattr(one, name), getattr(other, name)) for name in SceneBatch.__slots__ if name != "shapes")
    with pytest.raises(SpecError, match="differ in nothing but complexity"):
        Space(taxonomy, spec(1, 0, 1, counts=True), sharing=first)
