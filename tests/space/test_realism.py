"""One knob: the further up, the more plausible the scenes, and still no scene comes twice."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from brute_force import Noun, Predicate, Value, Vocabulary, key_of_graph

from anyscene.scene.batch import SceneBatch
from anyscene.scene.keyed import mix
from anyscene.space import SceneSpec, Space, graph_of_row
from anyscene.space.realism import MAX_WIDTH, beta_of, width_of, winners
from anyscene.taxonomy import Taxonomy, load_taxonomy

STEPS = (0.2, 0.5, 0.8, 1.0)
WORLD = Vocabulary(
    nouns=tuple(Noun(f"noun {i}", ("animal", "thing")[i % 2]) for i in range(240)),
    values=tuple(
        Value(f"{kind} {i}", kind, fits)
        for kind, fits in (("color", ("any",)), ("state", ("any",)), ("mood", ("animal",)))
        for i in range(40)
    ),
    predicates=tuple(
        Predicate(f"{kind} {i}", subjects, kind=kind)
        for kind, subjects in (("spatial", ("any",)), ("social", ("animal",)))
        for i in range(40)
    ),
)


def with_vectors(vocabulary: Vocabulary, folder: Path) -> Taxonomy:
    """Every word leans to one of four themes; words of one theme go together."""
    vocabulary.write(folder)
    rng = np.random.default_rng(7)
    themes = rng.normal(size=(4, 64))

    def vectors(count: int) -> np.ndarray:
        raw = themes[np.arange(count) % 4] + 0.8 * rng.normal(size=(count, 64))
        return np.rint(127 * raw / np.linalg.norm(raw, axis=1, keepdims=True)).astype(np.int8)

    sizes = {"objects": len(vocabulary.nouns), "attributes": len(vocabulary.values), "relations": len(vocabulary.predicates)}
    np.savez(
        folder / "vectors.npz",
        **{name: vectors(size) for name, size in sizes.items()},
        scale=np.array([[0.2, 0.3], [0, 1], [0.5, 0.6], [0.2, 0.3]]),
    )
    return load_taxonomy(folder)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Taxonomy:
    return with_vectors(WORLD, tmp_path_factory.mktemp("world"))


def scores(taxonomy: Taxonomy, batch: SceneBatch) -> tuple[float, float, float]:
    """Mean plausibility of (object, attribute), of (subject, relation, object), and of related objects."""
    judge = taxonomy.plausibility
    start = np.repeat(batch.object_start[:-1], np.diff(batch.relation_start))
    subjects, targets = batch.objects[start + batch.subjects], batch.objects[start + batch.targets]
    return (
        float(judge.attribute_scores(batch.objects[batch.object_of_attribute], batch.attributes).mean()),
        float(judge.relation_scores(subjects, batch.relations, targets).mean()),
        float(judge.object_scores(subjects, targets).mean()),
    )


def rows(
    taxonomy: Taxonomy, realism: float, count: int = 3000, complexity: tuple[int, int] = (5, 7), seed: int = 0
) -> tuple[Space, SceneBatch]:
    space = Space(taxonomy, SceneSpec(complexity=complexity, realism=realism))
    return space, space.rows(seed).rows(0, count)


def test_the_more_realism_the_more_plausible(world: Taxonomy) -> None:
    found = np.array([scores(world, rows(world, realism)[1]) for realism in STEPS])
    assert (np.diff(found, axis=0) > 0.1).all(), found.round(2)


def test_the_middle_is_chance(world: Taxonomy) -> None:
    """At 0.5 attributes are as plausible as any that fit."""
    _, batch = rows(world, 0.5)
    judge = world.plausibility
    owners = batch.objects[batch.object_of_attribute]
    chance = judge.attribute_scores(owners, np.random.default_rng(0).permutation(batch.attributes)).mean()
    assert scores(world, batch)[0] == pytest.approx(chance, abs=0.1)


@pytest.mark.parametrize("realism", [0.0, 0.2, 0.8, 1.0])
def test_rows_stay_different_and_keep_the_rules(world: Taxonomy, realism: float) -> None:
    space, batch = rows(world, realism)
    graphs = [graph_of_row(space.taxonomy, batch, i) for i in range(batch.rows)]
    assert len(set(map(key_of_graph, graphs))) == batch.rows
    for graph in graphs:
        WORLD.check(graph, class_rules=realism > 0)


@pytest.mark.parametrize("realism", [0.1, 0.9])
def test_rows_with_realism_do_not_depend_on_how_they_are_cut(world: Taxonomy, realism: float) -> None:
    space, whole = rows(world, realism, 700)
    source = space.rows(0)
    pieces = [source.rows(a, b) for a, b in [(0, 1), (1, 38), (38, 300), (300, 301), (301, 700)]]
    for name in ("objects", "attributes", "relations", "subjects", "targets"):
        assert np.concatenate([getattr(piece, name) for piece in pieces]).tolist() == getattr(whole, name).tolist()


@pytest.mark.parametrize("realism", [0.2, 1.0])
def test_the_last_rows_with_realism_are_rows(world: Taxonomy, realism: float) -> None:
    space = Space(world, SceneSpec(complexity=(4, 5), realism=realism))
    source = space.rows(0)
    batch = source.rows(source.capacity - 300, source.capacity)
    graphs = [graph_of_row(space.taxonomy, batch, i) for i in range(300)]
    assert len(set(map(key_of_graph, graphs))) == 300
    for graph in graphs:
        WORLD.check(graph)
        assert space[space.index(graph)].same_scene(graph)


def test_realism_counts_in_small_structures_too(world: Taxonomy) -> None:
    """One object and one attribute: some ten thousand scenes. `1 plausible ones only`, says the spec."""
    judge = world.plausibility

    def first(realism: float) -> float:
        space = Space(world, SceneSpec(complexity=(2, 2), objects=(1, 1), realism=realism))
        source = space.rows(0)
        batch = source.rows(0, min(500, source.capacity))
        return float(judge.attribute_scores(batch.objects, batch.attributes).mean())

    assert first(1.0) > first(0.5) + 0.2 and first(0.2) < first(0.5) - 0.1


def test_without_vectors_realism_changes_no_rule(tmp_path: Path) -> None:
    WORLD.write(tmp_path)
    space, batch = rows(load_taxonomy(tmp_path), 0.9, 500)
    graphs = [graph_of_row(space.taxonomy, batch, i) for i in range(500)]
    assert len(set(map(key_of_graph, graphs))) == 500


def test_more_realism_is_more_plausible_in_the_shipped_vocabulary(shipped: Taxonomy) -> None:
    found = np.array([scores(shipped, rows(shipped, realism, 1200, (5, 6))[1]) for realism in STEPS])
    assert (np.diff(found, axis=0) > 0.1).all(), found.round(2)


# ---- the competition ----------------------------------------------------------------------------------------------------------


def test_the_ends_of_the_knob() -> None:
    assert [width_of(realism) for realism in (0.0, 0.5, 1.0)] == [MAX_WIDTH, 1, MAX_WIDTH]
    assert [beta_of(realism) for realism in (0.0, 0.25, 0.5, 1.0)] == [-4.0, -2.0, 0.0, 4.0]
    widths = [width_of(0.5 + i / 100) for i in range(51)]
    assert widths == sorted(widths) and widths == [width_of(0.5 - i / 100) for i in range(51)]


@pytest.mark.parametrize("beta", [-2.0, 0.0, 1.0, 4.0])
def test_winners_have_the_odds_of_their_scores(beta: float) -> None:
    """A softmax of beta times score, to a few percent."""
    scores = np.array([0.0, 0.5, -1.0, 1.0], dtype=np.float32)
    keys = mix(np.arange(1, 20_001, dtype=np.uint64))
    found = np.bincount(winners(np.tile(scores, (20_000, 1)), beta, keys), minlength=4) / 20_000
    expected = np.exp(beta * scores) / np.exp(beta * scores).sum()
    assert np.abs(found - expected).max() < 0.02
