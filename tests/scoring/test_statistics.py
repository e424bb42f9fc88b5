"""Intervals cover, differences are found, corrections are the textbook's."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyscene.errors import SpecError
from anyscene.scoring.statistics import (
    MANY_SCENES,
    Mean,
    adjust_bh,
    adjust_holm,
    bootstrap,
    clopper_pearson,
    compare_paired,
    noise_floor,
    normal_quantile,
    resamples,
    scenes_needed,
    t_quantile,
    wilson,
)

NAN = float("nan")


@pytest.mark.parametrize(
    ("df", "p", "expected"),
    [
        (1, 0.975, 12.706205),
        (2, 0.975, 4.302653),
        (9, 0.975, 2.262157),
        (30, 0.995, 2.749996),
        (299, 0.975, 1.967930),
        (1000, 0.975, 1.962339),
    ],
)
def test_t_quantiles_are_those_of_the_tables(df: float, p: float, expected: float) -> None:
    assert t_quantile(p, df) == pytest.approx(expected, abs=2e-6)
    assert t_quantile(1 - p, df) == pytest.approx(-expected, abs=2e-6)


def test_t_quantiles_do_not_jump_where_the_method_changes() -> None:
    assert t_quantile(0.975, 299.999999) == pytest.approx(t_quantile(0.975, 300), abs=1e-8)


def test_wilson_is_that_of_the_textbook() -> None:
    assert wilson(0.5, 10) == pytest.approx((0.236593, 0.763407), abs=1e-6)
    assert wilson(1.0, 20) == pytest.approx((0.838875, 1.0), abs=1e-6)


def test_resamples_draw_every_scene_once_on_average_and_do_not_depend_on_chunks() -> None:
    drawn = np.concatenate(list(resamples(50, 400, seed=3)))
    assert drawn.shape == (400, 50)
    assert (drawn.sum(axis=1) == 50).all()
    assert drawn.var() == pytest.approx(1 - 1 / 50, abs=0.05)
    fewer = np.concatenate(list(resamples(50, 7, seed=3)))
    assert (drawn[:7] == fewer).all()
    assert (drawn[0] != drawn[1]).any() and (np.concatenate(list(resamples(50, 1, seed=4))) != drawn[:1]).any()


@pytest.mark.parametrize("method", ["bca", "percentile"])
@pytest.mark.parametrize("scenes", [12, 150])
def test_intervals_cover_the_truth_as_often_as_they_say(scenes: int, method: str) -> None:
    rng, covered, repeats = np.random.default_rng(scenes), 0, 300
    for seed in range(repeats):
        one = bootstrap({"x": [(1.0, Mean.of(rng.beta(2, 1, scenes)))]}, seed=seed, number=400, method=method)["x"]
        assert one.low is not None and one.high is not None
        covered += one.low <= 2 / 3 <= one.high
    assert 0.915 <= covered / repeats <= 0.985


def test_questions_of_one_scene_count_as_alike() -> None:
    rng = np.random.default_rng(0)
    scene = np.repeat(np.arange(100), 20)
    values = np.repeat((rng.random(100) < 0.5).astype(float), 20)  # all 20 questions of a scene get one answer
    clustered = bootstrap({"x": [(1.0, Mean.over(scene, values, 100))]})["x"]
    apart = bootstrap({"x": [(1.0, Mean.over(np.arange(2000), values, 2000))]})["x"]
    assert clustered.high - clustered.low == pytest.approx(math.sqrt(20) * (apart.high - apart.low), rel=0.15)  # type: ignore[operator]


def test_many_scenes_are_resampled_in_units_without_changing_the_interval() -> None:
    rng = np.random.default_rng(1)
    values = np.sort(rng.random(4 * MANY_SCENES))  # sorted, so that units of neighbours would be far too wide
    one = bootstrap({"x": [(1.0, Mean.of(values))]})["x"]
    expected = 2 * 1.96 * values.std() / math.sqrt(len(values))
    assert one.high - one.low == pytest.approx(expected, rel=0.1)  # type: ignore[operator]


def test_where_all_scenes_agree_the_interval_still_has_a_width() -> None:
    one = bootstrap({"x": [(1.0, Mean.of(np.ones(40)))]})["x"]
    assert (one.value, one.high) == (1.0, 1.0) and one.low == pytest.approx(wilson(1.0, 40)[0])


def test_few_scenes_get_a_wide_interval_and_one_gets_no_certainty() -> None:
    few = bootstrap({"x": [(1.0, Mean.of(np.array([0.9, 1.0, NAN])))]})["x"]
    assert few.n == 2 and few.low is not None and few.low < 0.5
    single = bootstrap({"x": [(1.0, Mean.of(np.array([0.7])))]}, bounds=None)["x"]
    assert (single.value, single.low, single.high, single.n) == (0.7, None, None, 1)


def test_nothing_known_is_no_zero() -> None:
    one = bootstrap({"x": [(1.0, Mean.of(np.full(5, NAN)))], "y": [(0.5, Mean.of(np.ones(5))), (0.5, Mean.of(np.full(5, NAN)))]})
    assert {name: (e.value, e.low, e.high, e.n) for name, e in one.items()} == {"x": (None, None, None, 0), "y": (None, None, None, 0)}


def test_an_unknown_method_is_refused() -> None:
    with pytest.raises(SpecError, match="bca, percentile"):
        bootstrap({}, method="magic")


def test_same_seed_same_interval() -> None:
    mean = Mean.of(np.random.default_rng(0).random(60))
    assert bootstrap({"x": [(1.0, mean)]}, seed=5) == bootstrap({"x": [(1.0, mean)]}, seed=5) != bootstrap({"x": [(1.0, mean)]}, seed=6)


def pair(rng: np.random.Generator, scenes: int, gain: float) -> tuple[Mean, Mean]:
    hard = rng.normal(0, 1, scenes)  # what makes a scene hard is shared by both models
    return Mean.of(hard + rng.normal(0, 0.3, scenes)), Mean.of(hard + gain + rng.normal(0, 0.3, scenes))


def test_pairing_finds_what_separate_intervals_would_not() -> None:
    rng = np.random.default_rng(0)
    one = compare_paired({"x": pair(rng, 200, 0.15)})["x"]
    assert one.difference == pytest.approx(0.15, abs=0.08)
    assert one.low is not None and one.low > 0 and one.p is not None and one.p < 0.001
    assert one.effect_size == pytest.approx(0.15 / (0.3 * math.sqrt(2)), abs=0.2)


def test_p_values_are_uniform_where_there_is_no_difference() -> None:
    rng = np.random.default_rng(0)
    p = [compare_paired({"x": pair(rng, 25, 0.0)}, seed=seed, number=30, flips=300)["x"].p for seed in range(400)]
    assert np.mean([one < 0.05 for one in p]) == pytest.approx(0.05, abs=0.03)  # type: ignore[operator]
    assert np.mean([one < 0.5 for one in p]) == pytest.approx(0.5, abs=0.08)  # type: ignore[operator]


def test_equal_runs_differ_by_nothing() -> None:
    mean = Mean.of(np.random.default_rng(0).random(30))
    one = compare_paired({"x": (mean, mean)})["x"]
    assert (one.difference, one.p, one.effect_size) == (0.0, 1.0, None)


def test_sign_flips_of_three_scenes_are_counted_exactly() -> None:
    zero, ones = Mean.of(np.zeros(3)), Mean.of(np.ones(3))
    one = compare_paired({"x": (zero, ones)}, flips=20_000)["x"]
    assert one.p == pytest.approx(2 / 8, abs=0.015)  # +++ and --- of eight patterns


def test_unpaired_means_are_refused() -> None:
    with pytest.raises(SpecError, match="same scenes"):
        compare_paired({"x": (Mean.of(np.array([1.0, NAN])), Mean.of(np.array([NAN, 1.0])))})


def test_holm_and_benjamini_hochberg_by_hand() -> None:
    p = [0.01, 0.04, None, 0.03, 0.005]
    assert adjust_holm(p) == [pytest.approx(0.03), pytest.approx(0.06), None, pytest.approx(0.06), pytest.approx(0.02)]
    assert adjust_bh(p) == [pytest.approx(0.02), pytest.approx(0.04), None, pytest.approx(0.04), pytest.approx(0.02)]


@given(st.lists(st.floats(0, 1), max_size=12))
def test_corrections_never_make_a_p_value_smaller_and_holm_is_the_stricter(p: list[float]) -> None:
    for raw, bh, holm in zip(p, adjust_bh(p), adjust_holm(p), strict=True):
        assert bh is not None and holm is not None
        assert raw <= bh + 1e-12 and bh <= holm + 1e-12 and holm <= 1


def test_the_noise_floor_is_the_spread_of_runs_that_differ_in_their_seeds() -> None:
    rng = np.random.default_rng(0)
    scenes, samples, between, within = 300, 4, 0.3, 0.2
    truth = rng.normal(0.5, between, scenes)
    values = (truth[:, None] + rng.normal(0, within, (scenes, samples))).ravel()
    floor = noise_floor(np.repeat(np.arange(scenes), samples), np.tile(np.arange(samples), scenes), values)
    assert floor is not None
    assert floor["within_scene_sd"] == pytest.approx(within, rel=0.05)
    assert floor["between_scene_sd"] == pytest.approx(between, rel=0.1)
    assert floor["seed_sd"] == pytest.approx(within / math.sqrt(scenes * samples), rel=0.05)
    runs = [(truth[:, None] + rng.normal(0, within, (scenes, samples))).mean() for _ in range(600)]
    assert np.quantile(np.abs(np.diff(runs)), 0.95) == pytest.approx(floor["half_width"], rel=0.15)


def test_the_noise_floor_takes_scenes_with_unequal_numbers_and_says_where_it_is_not_known() -> None:
    floor = noise_floor(np.array([0, 0, 1, 2, 2]), np.array([0, 1, 0, 0, 1]), np.array([0.0, 1.0, 0.5, NAN, 0.5]))
    assert floor is not None and floor["scenes"] == 1 and floor["within_scene_sd"] == pytest.approx(math.sqrt(0.5))
    assert noise_floor(np.arange(5), np.zeros(5, dtype=np.int64), np.ones(5)) is None
    assert noise_floor(np.arange(0), np.arange(0), np.zeros(0)) is None


def test_scenes_needed_give_the_width_that_was_asked_for() -> None:
    values = np.random.default_rng(0).random(500)
    needed = scenes_needed(values, 0.02)
    assert needed == math.ceil((normal_quantile(0.975) * values.std(ddof=1) / 0.02) ** 2)
    assert scenes_needed(np.array([0.5]), 0.02) is None
    with pytest.raises(SpecError, match="above 0"):
        scenes_needed(values, 0.0)


def test_exact_intervals_are_those_of_the_tables() -> None:
    assert clopper_pearson(0, 10) == pytest.approx((0.0, 0.308497), abs=1e-6)
    assert clopper_pearson(3, 300) == pytest.approx((0.002067, 0.028945), abs=1e-6)
    assert clopper_pearson(10, 10) == pytest.approx((0.691503, 1.0), abs=1e-6)
    with pytest.raises(SpecError, match="0 of 0"):
        clopper_pearson(0, 0)


def test_what_a_resample_gives_does_not_hang_on_how_matrices_are_multiplied() -> None:
    """Libraries share the work out by shape and threads, and so add up in other orders."""
    rng = np.random.default_rng(3)
    scene = rng.integers(0, 700, 5000)
    means = {str(number): Mean.over(scene, rng.random(5000), 700) for number in range(150)}
    together = bootstrap({name: [(1.0, mean)] for name, mean in means.items()}, seed=1)
    for name in ("0", "73", "149"):
        assert bootstrap({name: [(1.0, means[name])]}, seed=1)[name] == together[name]
