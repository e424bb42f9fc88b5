"""Figures of detectors by hand, their intervals, and what has no figure."""

from __future__ import annotations

import numpy as np
import pytest

from anyscene.errors import SpecError
from anyscene.moderation.metrics import Scored, compare_auroc, measure, operating_rate, problem_of

pytest.importorskip("sklearn")


def scored(reals: list[float | None], fakes: list[float | None], groups: list[str] | None = None) -> Scored:
    generated = [False] * len(reals) + [True] * len(fakes)
    return Scored.of([*reals, *fakes], generated, groups or [str(place) for place in range(len(generated))])


def drawn(seed: int, reals: int, fakes: int, apart: float) -> Scored:
    dice = np.random.default_rng(seed)
    return scored(dice.normal(size=reals).tolist(), dice.normal(apart, size=fakes).tolist())


def test_figures_by_hand() -> None:
    found = measure(scored([0.1, 0.4, 0.35], [0.8, 0.4, 0.2]), threshold=0.37)
    # pairs won: 0.8 beats 3; 0.4 beats 2 and ties 1; 0.2 beats 1: 6.5 of 9
    assert found.auroc.value == pytest.approx(6.5 / 9)
    # from the top: 0.8 hit (1/1); 0.4 and 0.4 together 2/3; 0.35 alarm; 0.2 hit 3/5; recall rises by 1/3 each time
    assert found.ap.value == pytest.approx((1 + 2 / 3 + 3 / 5) / 3)
    assert found.real_accuracy.value == pytest.approx(2 / 3)
    assert found.fake_accuracy.value == pytest.approx(2 / 3)
    assert found.tpr.value is None and found.tpr_at is None  # three real pictures tell no rate
    assert (found.reals, found.fakes, found.share) == (3, 3, 0.5)


def test_recall_at_five_percent_by_hand() -> None:
    reals = [place / 100 for place in range(60)]  # 3 of 60 may be false alarms: those at 0.57, 0.58, 0.59
    found = measure(scored(reals, [0.565, 0.565, 0.3, 0.9]), threshold=None)
    assert found.tpr_at == 0.05
    assert found.tpr.value == pytest.approx(3 / 4)
    assert found.real_accuracy.value is None


def test_the_rate_at_which_recall_is_told_follows_the_number_of_real_pictures() -> None:
    assert [operating_rate(number) for number in (59, 60, 999, 1000)] == [None, 0.05, 0.05, 0.01]


def test_delongs_variance_by_hand() -> None:
    # placements of the fakes 1, 0.5, 1 -> variance 1/12; of the reals 1, 2/3 -> 1/18; DeLong: 1/36 + 1/36
    one, other = scored([1.0, 3.0], [4.0, 2.0, 5.0]), scored([0.0, 0.0], [1.0, 1.0, 1.0])
    other = Scored(np.array([0.0, 0.1, 1.0, 1.0, 1.1]), one.generated, one.group)
    found = compare_auroc(one, other)
    assert found.value == pytest.approx(1 - 5 / 6)
    assert found.high is not None and found.low is not None
    assert found.value - found.low == pytest.approx(1.959964 * (1 / 18) ** 0.5)


@pytest.mark.parametrize("apart", [0.0, 1.0, 2.5])
def test_intervals_of_auroc_cover_the_truth(apart: float) -> None:
    from statistics import NormalDist

    truth = NormalDist().cdf(apart / 2**0.5)
    found = [measure(drawn(seed, 60, 60, apart), None, number=20).auroc for seed in range(100)]
    assert sum(one.low <= truth <= one.high for one in found) >= 0.9 * len(found)  # type: ignore[operator]


def test_pictures_of_one_group_are_one_observation() -> None:
    dice = np.random.default_rng(0)
    reals, fakes = dice.normal(size=40), dice.normal(0.8, size=40)
    alone = measure(scored(reals.tolist(), fakes.tolist()), 0.4, number=200)
    groups = [f"{kind}{place}" for kind in "rf" for place in range(40) for _ in range(5)]
    copies = measure(scored(np.repeat(reals, 5).tolist(), np.repeat(fakes, 5).tolist(), groups), 0.4, number=200)
    for name in ("auroc", "fake_accuracy"):
        one, five = getattr(alone, name), getattr(copies, name)
        assert five.value == pytest.approx(one.value)
        assert five.high - five.low == pytest.approx(one.high - one.low, rel=0.15)


def test_a_detector_that_is_never_wrong_still_has_an_interval() -> None:
    found = measure(scored([0.0] * 20, [1.0] * 20), 0.5)
    for one in (found.auroc, found.ap, found.fake_accuracy):
        assert one.value == 1.0 and one.low is not None and 0.8 < one.low < 0.9


@pytest.mark.parametrize(
    ("reals", "fakes", "problem"),
    [
        ([0.5, 0.5], [0.5, 0.5], "tells nothing apart"),
        ([None, None], [None, None], "no picture has a score"),
        ([float("nan"), 0.1], [float("inf"), None], "no real or no generated"),
    ],
)
def test_scores_that_say_nothing_have_a_problem_and_no_figure(reals: list[float | None], fakes: list[float | None], problem: str) -> None:
    found = measure(scored(reals, fakes), 0.5)
    assert problem in found.problem
    assert found.auroc.value is found.ap.value is found.fake_accuracy.value is None


def test_missing_scores_are_counted_and_are_neither_right_nor_wrong() -> None:
    found = measure(scored([0.1, None, 0.2], [0.9, 0.8, None]), 0.5)
    assert found.unscored == (1, 1)
    assert "2 of 6 pictures have no score" in found.problem
    assert found.auroc.value == 1.0 and found.fake_accuracy.value == 1.0


def test_one_kind_alone_cannot_be_measured() -> None:
    with pytest.raises(SpecError, match="0 real and 2 generated"):
        measure(scored([], [0.1, 0.2]), 0.5)


def test_good_scores_have_no_problem() -> None:
    assert problem_of(np.array([0.1, 0.2])) == ""


def test_pairing_finds_a_small_difference_between_two_detectors() -> None:
    dice = np.random.default_rng(1)
    base = dice.normal(size=400)
    generated = np.arange(400) < 200
    one = Scored(base + 0.5 * generated, generated, np.arange(400))
    other = Scored(base + 0.7 * generated + dice.normal(scale=0.1, size=400), generated, np.arange(400))
    found = compare_auroc(one, other)
    assert found.low is not None and found.low > 0
    assert compare_auroc(other, one).value == pytest.approx(-found.value)  # type: ignore[operator]
    assert compare_auroc(one, one).value == 0.0


def test_two_detectors_are_compared_on_the_same_pictures_alone() -> None:
    with pytest.raises(SpecError, match="same pictures"):
        compare_auroc(scored([0.1], [0.2]), scored([0.1, 0.2], [0.2]))
    with pytest.raises(SpecError, match="one each"):
        Scored.of([0.1], [True, False], ["a"])
