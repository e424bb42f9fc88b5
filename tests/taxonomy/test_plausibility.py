"""The plausibility scores rank hand-written plausible pairs above implausible ones, and behave as pure functions of the shipped vectors."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from anyscene.taxonomy.plausibility import Plausibility

DATA = Path(__file__).parents[2] / "src/anyscene/taxonomy/data"
PAIRS = Path(__file__).with_name("plausibility_pairs.tsv")
TARGETS = {"attribute": 0.93, "relation": 0.95, "location": 0.94}
FORBIDDEN = 3.0  # taken off the score of a pair that the class rules forbid


def read_rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))


class Vocabulary:
    """Rows and positions by name, read without the package's loader so that this test stands on its own."""

    def __init__(self) -> None:
        tables = {
            "object": ("objects", "name"),
            "attribute": ("attributes", "value"),
            "relation": ("relations", "relation"),
            "location": ("scene_attributes", "value"),
        }
        self.rows = {kind: read_rows(DATA / f"{table}.tsv") for kind, (table, _) in tables.items()}
        self.position = {
            kind: {row[column]: i for i, row in enumerate(self.rows[kind]) if kind != "location" or row["type"] == "location"}
            for kind, (_, column) in tables.items()
        }
        self.parents = {row["class"]: row["parent"] for row in read_rows(DATA / "classes.tsv")}

    def visible(self, position: int) -> bool:
        return float(self.rows["object"][position]["visuality"] or 1) >= 0.5

    def allows(self, classes: str, position: int) -> bool:
        wanted, name = set((classes or "any").split(",")), self.rows["object"][position]["class"]
        while name and name not in wanted:
            name = self.parents.get(name, "")
        return bool(name) or "any" in wanted


@pytest.fixture(scope="module")
def arrays() -> dict[str, np.ndarray]:
    with np.load(DATA / "vectors.npz") as vectors:
        return dict(vectors)


@pytest.fixture(scope="module")
def vocabulary() -> Vocabulary:
    return Vocabulary()


@pytest.fixture(scope="module")
def plausibility(arrays: Mapping[str, np.ndarray]) -> Plausibility:
    return Plausibility(arrays)


def combined_scores(kind: str, plausibility: Plausibility, vocabulary: Vocabulary) -> tuple[np.ndarray, np.ndarray]:
    """Label and score less the penalty of every evaluation pair whose words are all in the vocabulary."""
    places, found = vocabulary.position, []
    for row in read_rows(PAIRS):
        if row["kind"] == kind:
            a, b = places["object"].get(row["a"], -1), places[kind].get(row["b"], -1)
            c = places["object"].get(row["c"], -1) if kind == "relation" else a
            if min(a, b, c) >= 0 and vocabulary.visible(a) and vocabulary.visible(c):
                found.append((int(row["label"]), a, b, c))
    labels, a, b, c = np.array(found, np.int64).T
    rules = vocabulary.rows[kind]
    if kind == "attribute":
        scores = plausibility.attribute_scores(a, b)
        allowed = [vocabulary.allows(rules[j]["fits"], i) for i, j in zip(a, b, strict=True)]
    elif kind == "location":
        scores = plausibility.location_scores(a, b)
        allowed = [True] * len(a)
    else:
        scores = plausibility.relation_scores(a, b, c)
        allowed = [
            vocabulary.allows(rules[j]["subject_classes"], i) and vocabulary.allows(rules[j]["object_classes"], k)
            for i, j, k in zip(a, b, c, strict=True)
        ]
    return labels.astype(bool), scores - FORBIDDEN * ~np.array(allowed)


def area(scores: np.ndarray, plausible: np.ndarray) -> float:
    """Area under the ROC curve by ranks, ties counted half."""
    _, place, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[place]
    yes, no = int(plausible.sum()), int((~plausible).sum())
    return float((ranks[plausible].sum() - yes * (yes + 1) / 2) / (yes * no))


def test_the_area_by_ranks_is_the_share_of_pairs_in_order() -> None:
    scores, plausible = np.array([3.0, 1.0, 2.0, 1.0]), np.array([True, True, False, False])
    assert area(scores, plausible) == (1 + 1 + 0 + 0.5) / 4


@pytest.mark.parametrize("kind", TARGETS)
def test_plausible_pairs_score_above_implausible_ones(kind: str, plausibility: Plausibility, vocabulary: Vocabulary) -> None:
    plausible, scores = combined_scores(kind, plausibility, vocabulary)
    assert min(plausible.sum(), (~plausible).sum()) >= 150, "the vocabulary has lost too many words of the evaluation pairs"
    assert area(scores, plausible) >= TARGETS[kind]


def test_roles_matter(plausibility: Plausibility, vocabulary: Vocabulary) -> None:
    places = vocabulary.position
    triples = [
        ("dog", "chasing", "ball"),
        ("cat", "eating", "fish"),
        ("cowboy", "riding", "horse"),
        ("pillow", "on", "bed"),
        ("flower", "in", "vase"),
    ]
    s, r, o = (
        np.array(column)
        for column in zip(*((places["object"][a], places["relation"][b], places["object"][c]) for a, b, c in triples), strict=True)
    )
    assert (plausibility.relation_scores(s, r, o) > plausibility.relation_scores(o, r, s)).all()


def test_arrays_match_the_tables(arrays: Mapping[str, np.ndarray], vocabulary: Vocabulary) -> None:
    for table, kind in {"objects": "object", "attributes": "attribute", "relations": "relation", "scene_attributes": "location"}.items():
        assert arrays[table].dtype == np.int8
        assert arrays[table].shape == (len(vocabulary.rows[kind]), 64)
    seen = np.array([vocabulary.visible(i) for i in range(len(vocabulary.rows["object"]))])
    located = np.array([row["type"] == "location" for row in vocabulary.rows["location"]])
    assert (arrays["objects"].any(axis=1) == seen).all()
    assert (arrays["scene_attributes"].any(axis=1) == located).all()
    assert arrays["attributes"].any(axis=1).all() and arrays["relations"].any(axis=1).all()


def test_vectors_are_small(arrays: Mapping[str, np.ndarray]) -> None:
    assert (DATA / "vectors.npz").stat().st_size <= 1_600_000
    for table in ("objects", "attributes", "relations", "scene_attributes"):
        length = np.linalg.norm(arrays[table][arrays[table].any(axis=1)].astype(np.float32), axis=1)
        assert np.allclose(length, 127, atol=4)


def test_random_pairs_have_mean_0_and_deviation_1(plausibility: Plausibility, vocabulary: Vocabulary) -> None:
    generator = np.random.default_rng(1)
    seen = np.array([i for i in range(len(vocabulary.rows["object"])) if vocabulary.visible(i)])
    places = np.array(list(vocabulary.position["location"].values()))
    a, c = generator.choice(seen, (2, 50_000))
    for scores in (plausibility.location_scores(a, generator.choice(places, 50_000)), plausibility.object_scores(a, c)):
        assert abs(scores.mean()) < 0.05
        assert abs(scores.std() - 1) < 0.05


def made_up_vectors() -> dict[str, np.ndarray]:
    """Twenty rows a table, the last one missing."""
    generator = np.random.default_rng(2)
    tables = {
        name: generator.integers(-60, 60, (20, 64)).astype(np.int8) for name in ("objects", "attributes", "relations", "scene_attributes")
    }
    for table in tables.values():
        table[-1] = 0
    maps = generator.normal(size=(4, 64, 64)).astype(np.float16)
    return tables | {"maps": maps, "scale": np.array([[0.5, 2.0]] * 4, np.float32)}


def all_scores(plausibility: Plausibility, a: np.ndarray, b: np.ndarray, c: np.ndarray) -> dict[str, np.ndarray]:
    return {
        "attribute": plausibility.attribute_scores(a, b),
        "location": plausibility.location_scores(a, b),
        "relation": plausibility.relation_scores(a, b, c),
        "object": plausibility.object_scores(a, c),
    }


def test_scores_follow_the_formulas() -> None:
    vectors = made_up_vectors()
    unit = {
        name: vectors[name] / np.linalg.norm(vectors[name].astype(float), axis=1, keepdims=True).clip(1e-9)
        for name in vectors
        if vectors[name].ndim == 2
    }
    of_subject, of_object, pair, company = vectors["maps"].astype(float)

    def grid(x: np.ndarray) -> np.ndarray:
        """What is kept of a vector: steps of 1/512, so that scores are the same on every machine."""
        return np.rint(x * 512) / 512

    (s, o), a, r, location = unit["objects"][[3, 4]], unit["attributes"][5], unit["relations"][5], unit["scene_attributes"][5]
    raw = {
        "attribute": grid(s) @ grid(a),
        "location": grid(s) @ grid(location),
        "relation": grid(s) @ grid(of_subject @ r) + grid(o) @ (grid(of_object @ r) + grid(s @ pair)),
        "object": grid(s) @ grid((company + company.T) @ o / 2),
    }
    scores = all_scores(Plausibility(vectors), np.array([3]), np.array([5]), np.array([4]))
    for kind, expected in raw.items():
        assert scores[kind][0] == pytest.approx((expected - 0.5) / 2, abs=1e-4)


@pytest.mark.parametrize("size", [0, 1, 10_000])
def test_scores_are_float32_and_hang_on_their_own_pair_only(size: int) -> None:
    generator = np.random.default_rng(3)
    a, b, c = generator.integers(0, 20, (3, size))
    whole = all_scores(Plausibility(made_up_vectors()), a, b, c)
    backwards = all_scores(Plausibility(made_up_vectors()), a[::-1], b[::-1], c[::-1])
    for kind, scores in whole.items():
        assert scores.shape == (size,)
        assert scores.dtype == np.float32
        assert (scores == backwards[kind][::-1]).all()


def test_a_missing_vector_scores_exactly_0() -> None:
    known, missing = np.array([0]), np.array([19])
    plausibility = Plausibility(made_up_vectors())
    for a, b, c in ((missing, known, missing), (missing, missing, missing)):
        for scores in all_scores(plausibility, a, b, c).values():
            assert scores[0] == 0
    assert plausibility.attribute_scores(known, missing)[0] == plausibility.location_scores(known, missing)[0] == 0
    assert plausibility.relation_scores(known, missing, known)[0] == plausibility.relation_scores(known, known, missing)[0] == 0
    assert plausibility.attribute_scores(known, known)[0] != 0


def test_a_taxonomy_without_vectors_scores_0_everywhere() -> None:
    rows = np.arange(5)
    for scores in all_scores(Plausibility({}), rows, rows, rows).values():
        assert scores.tolist() == [0] * 5
