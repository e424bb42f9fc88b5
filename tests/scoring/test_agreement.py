"""Correlations and agreement against definitions, brute force and the literature's examples."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyscene.errors import SpecError
from anyscene.scoring.agreement import (
    agreement_share,
    calibrate_ties,
    cohen_kappa,
    compare_pairs,
    kendall_tau_b,
    krippendorff_alpha,
    midranks,
    pearson,
    spearman,
)

NAN = float("nan")
series = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=2, max_size=40)


def tau_by_pairs(x: list[int], y: list[int]) -> float | None:
    """The definition, pair by pair."""
    pairs = [(np.sign(x[i] - x[j]), np.sign(y[i] - y[j])) for i in range(len(x)) for j in range(i)]
    scale = math.sqrt(sum(a != 0 for a, _ in pairs) * sum(b != 0 for _, b in pairs))
    return float(sum(a * b for a, b in pairs)) / scale if scale else None


@given(series)
def test_kendall_is_its_definition_with_any_ties(pairs: list[tuple[int, int]]) -> None:
    x, y = map(list, zip(*pairs, strict=True))
    found, expected = kendall_tau_b(x, y), tau_by_pairs(x, y)
    assert (found is None) == (expected is None)
    assert found is None or found == pytest.approx(expected, abs=1e-12)


def test_kendall_takes_many_values() -> None:
    x = np.random.default_rng(0).permutation(200_000)
    assert kendall_tau_b(x, x) == 1.0
    assert kendall_tau_b(x, -x) == -1.0


def test_midranks_share_ties() -> None:
    assert midranks(np.array([3.0, 1.0, 3.0, 2.0])).tolist() == [3.5, 1.0, 3.5, 2.0]


def test_pearson_and_spearman_by_hand() -> None:
    x, y = [1, 2, 3, 4], [1, 4, 9, 16]
    assert pearson(x, y) == pytest.approx(0.9843740)
    assert spearman(x, y) == pytest.approx(1.0)
    assert pearson([1, 1, 1], [1, 2, 3]) is None
    assert spearman([1, NAN, 2, 3], [3, 0, 2, 1]) == pytest.approx(-1.0)


def test_series_of_unequal_length_are_refused() -> None:
    with pytest.raises(SpecError, match="equally long"):
        pearson([1, 2], [1, 2, 3])


def test_kappa_by_hand() -> None:
    a = [1] * 20 + [1] * 5 + [0] * 10 + [0] * 15
    b = [1] * 20 + [0] * 5 + [1] * 10 + [0] * 15
    assert agreement_share(a, b) == 0.7
    assert cohen_kappa(a, b) == pytest.approx(0.4)
    assert cohen_kappa([1, 1], [1, 1]) is None


def test_krippendorffs_own_example() -> None:
    """Krippendorff (2011), Computing Krippendorff's Alpha-Reliability: four observers, twelve units, with missing data."""
    ratings = np.array(
        [
            [1, 2, 3, 3, 2, 1, 4, 1, 2, NAN, NAN, NAN],
            [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, NAN, 3],
            [NAN, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, NAN],
            [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, NAN],
        ]
    )
    assert krippendorff_alpha(ratings) == pytest.approx(0.743, abs=5e-4)
    assert krippendorff_alpha(ratings, "interval") == pytest.approx(0.849, abs=5e-4)
    assert krippendorff_alpha(ratings[:1]) is None
    with pytest.raises(SpecError, match="nominal or interval"):
        krippendorff_alpha(ratings, "ordinal")


def test_pairs_are_compared_within_their_group() -> None:
    group = np.array([0, 1, 0, 1, 0])
    people = np.array([1.0, 1.0, 3.0, 1.4, 5.0])
    score = np.array([0.2, 0.9, 0.2, 0.1, 0.1])
    pairs = compare_pairs(group, people, score, least_gap=0.5)
    assert pairs is not None
    assert (pairs.n, pairs.right, pairs.tied, pairs.wrong) == (3, 0.0, pytest.approx(1 / 3), pytest.approx(2 / 3))
    assert compare_pairs(group[:2], people[:2], score[:2]) is None


@given(st.lists(st.tuples(st.integers(1, 4), st.integers(0, 6)), min_size=2, max_size=9))
def test_ties_are_calibrated_as_every_threshold_tried_out_says(pairs: list[tuple[int, int]]) -> None:
    people, score = (list(own) for own in zip(*pairs, strict=True))

    def right(threshold: float) -> int:
        found = 0
        for at, (a, x) in enumerate(pairs):
            for b, y in pairs[at + 1 :]:
                told = 0 if abs(x - y) <= threshold else (x > y) - (x < y)
                found += told == (a > b) - (a < b)
        return found

    tried = [right(threshold) for threshold in range(7)]
    found = calibrate_ties(people, score)
    assert found is not None and found.n == len(pairs) * (len(pairs) - 1) // 2
    assert found.accuracy == max(tried) / found.n and found.threshold == tried.index(max(tried))


def test_a_single_value_has_no_pairs() -> None:
    assert calibrate_ties([1], [2]) is None
