"""Each score by hand, and the dependency rules against the loops that they stand for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyscene.scoring.rows import score_rows
from anyscene.scoring.scores import fixpoint, in_place, library, media_scores, scene_means

NAN = float("nan")


def edges(pairs: list[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray]:
    array = np.array(pairs, dtype=np.int64).reshape(-1, 2)
    return array[:, 0], array[:, 1]


def test_library_looks_at_direct_parents_only() -> None:
    credit = np.array([0.0, 1.0, 1.0])
    assert library(credit, *edges([(1, 0), (2, 1)])).tolist() == [0, 0, 1]


def test_in_place_passes_zeros_on_in_the_order_of_the_questions() -> None:
    credit = np.array([0.0, 1.0, 1.0])
    assert in_place(credit, *edges([(1, 0), (2, 1)])).tolist() == [0, 0, 0]
    backwards = np.array([1.0, 1.0, 0.0])
    assert in_place(backwards, *edges([(1, 2), (0, 1)])).tolist() == [1, 0, 0]


def test_fixpoint_passes_zeros_on_whatever_the_order() -> None:
    assert fixpoint(np.array([1.0, 1.0, 0.0]), *edges([(1, 2), (0, 1)])).tolist() == [0, 0, 0]


def test_fixpoint_lets_a_cycle_of_right_answers_stand() -> None:
    cycle = edges([(0, 1), (1, 0), (2, 2)])
    assert fixpoint(np.array([1.0, 1.0, 1.0]), *cycle).tolist() == [1, 1, 1]
    assert fixpoint(np.array([1.0, 0.0, 1.0]), *cycle).tolist() == [0, 0, 1]


@pytest.mark.parametrize("rule", [library, in_place, fixpoint])
def test_what_depends_on_a_missing_answer_is_missing_even_when_it_is_wrong(rule: Any) -> None:
    result = rule(np.array([NAN, 0.0, 1.0, 1.0]), *edges([(1, 0), (2, 0)]))
    assert np.isnan(result).tolist() == [True, True, True, False]


@pytest.mark.parametrize("rule", [in_place, fixpoint])
def test_missing_goes_before_wrong_along_chains(rule: Any) -> None:
    result = rule(np.array([NAN, 1.0, 0.0, 1.0]), *edges([(1, 0), (3, 1), (3, 2)]))
    assert np.isnan(result).tolist() == [True, True, False, True]


def by_loop(credit: list[float], parents: list[list[int]], overwrite: bool) -> list[float]:
    """The official loops, with missing answers as one more value."""
    raw, result = list(credit), list(credit)
    for child, own in enumerate(parents):
        values = [(result if overwrite else raw)[parent] for parent in own]
        if any(np.isnan(values)) or np.isnan(raw[child]):
            result[child] = NAN
        elif 0 in values:
            result[child] = 0.0
    return result


@st.composite
def small_runs(draw: st.DrawFn) -> tuple[list[float], list[list[int]]]:
    number = draw(st.integers(1, 7))
    credit = draw(st.lists(st.sampled_from([0.0, 1.0, 0.5, NAN]), min_size=number, max_size=number))
    parents = [draw(st.lists(st.integers(0, number - 1), max_size=3, unique=True)) for _ in range(number)]
    return credit, parents


@given(small_runs())
def test_the_rules_are_the_loops_that_they_stand_for(run: tuple[list[float], list[list[int]]]) -> None:
    credit, parents = run
    pairs = edges([(child, parent) for child, own in enumerate(parents) for parent in own])
    np.testing.assert_array_equal(library(np.array(credit), *pairs), by_loop(credit, parents, overwrite=False))
    np.testing.assert_array_equal(in_place(np.array(credit), *pairs), by_loop(credit, parents, overwrite=True))
    result = fixpoint(np.array(credit), *pairs)
    np.testing.assert_array_equal(by_loop(result.tolist(), parents, overwrite=False), result)  # nothing more to pass on


def test_scores_of_one_picture_by_hand(build: Any) -> None:
    scenes = {
        "a": [
            build.question("p"),
            build.question("q", kind="attribute", depends_on=["p"]),
            build.question("r", kind="attribute", depends_on=["q"]),
            build.question("s"),
            build.question("f", answer="no", foil="absent_object"),
            build.question("c", "Which?", "red", form="choice", choices=["red", "blue"]),
        ]
    }
    said = {("a", "p"): 0.2, ("a", "q"): 0.8, ("a", "r"): 0.9, ("a", "s"): 0.7, ("a", "f"): 0.9, ("a", "c"): [0.5, 0.5]}
    scores = media_scores(score_rows(build.records(scenes), build.media(scenes), build.answers(scenes, said)))
    expected = {
        "soft": (0.2 + 0.8 + 0.9 + 0.7) / 4,
        "strict": 3 / 4,
        "library": 2 / 4,
        "in_place": 1 / 4,
        "fixpoint": 1 / 4,
        "paper": (2 / 4 + 3 / 4) / 2,
        "all_correct": 0.0,
        "soft_arithmetic": (0.2 + 0.8 + 0.9 + 0.7 + 0.5) / 5,
        "soft_geometric": (0.2 * 0.8 * 0.9 * 0.7 * 0.5) ** (1 / 5),
    }
    assert {name: values.tolist() for name, values in scores.items()} == {name: [pytest.approx(one)] for name, one in expected.items()}


def test_a_score_averages_over_what_was_answered_and_all_correct_needs_everything(build: Any) -> None:
    scenes = {"a": [build.question("p"), build.question("q", depends_on=["p"]), build.question("r")]}
    rows = score_rows(
        build.records(scenes), build.media(scenes), build.answers(scenes, {("a", "q"): 0.0, ("a", "p"): "unsure", ("a", "r"): 1.0})
    )
    scores = {name: values[0] for name, values in media_scores(rows).items()}
    assert scores["strict"] == 0.5
    assert scores["library"] == 1.0  # q depends on what nobody could tell
    assert np.isnan(scores["all_correct"])


def test_a_certain_no_makes_the_geometric_mean_zero(build: Any) -> None:
    scenes = {"a": [build.question("p"), build.question("q")]}
    rows = score_rows(build.records(scenes), build.media(scenes), build.answers(scenes, {("a", "p"): 0.0, ("a", "q"): 1.0}))
    assert media_scores(rows)["soft_geometric"].tolist() == [0.0]


def test_nothing_answered_is_missing_and_no_zero(build: Any) -> None:
    scenes = {"a": [build.question("p")], "b": [build.question("p")]}
    rows = score_rows(build.records(scenes), build.media(scenes), build.answers(scenes, {("a", "p"): 0.0}))
    scores = media_scores(rows)
    assert all(values[0] == 0 and np.isnan(values[1]) for values in scores.values())
    assert np.isnan(scene_means(rows, scores["soft"])).tolist() == [False, True]


def test_a_run_without_yes_no_questions_is_scored_on_the_others(build: Any) -> None:
    scenes = {"a": [build.question("c", "Which?", "red", form="choice", choices=["red", "blue"])]}
    rows = score_rows(build.records(scenes), build.media(scenes), build.answers(scenes, {("a", "c"): [0.75, 0.25]}))
    assert rows.faithful.all() and not rows.yes_no.any()
    assert media_scores(rows)["soft"].tolist() == [0.75]


def test_a_scene_is_the_mean_of_its_pictures(build: Any) -> None:
    import pyarrow as pa

    scenes = {"a": [build.question("p")]}
    answers = pa.concat_tables([build.answers(scenes, {("a", "p"): p}, sample) for sample, p in enumerate((0.2, 0.6))])
    rows = score_rows(build.records(scenes), build.media(scenes, samples=2), answers)
    assert scene_means(rows, media_scores(rows)["soft"]).tolist() == [pytest.approx(0.4)]
