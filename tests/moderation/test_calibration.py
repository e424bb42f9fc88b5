"""Thresholds keep the share of false alarms that they were made for, and are refused where nobody could tell."""

from __future__ import annotations

import numpy as np
import pytest

from anyscene.errors import ModelError, SpecError
from anyscene.moderation.calibration import calibrate, check_rate, reals_needed


def test_a_threshold_by_hand() -> None:
    found = calibrate([place / 100 for place in range(30)], 0.1)
    assert found.threshold == 0.27  # the third largest of 30: floor(0.1 * 31) = 3
    assert (found.false_alarms, found.reals, found.rate) == (2, 30, 0.1)
    assert found.high == pytest.approx(0.2207, abs=1e-4)  # exact interval of 2 of 30
    assert found.low == pytest.approx(0.0082, abs=1e-4)


def test_new_real_pictures_are_called_generated_no_more_often_than_was_asked_for() -> None:
    dice = np.random.default_rng(0)
    shares = [float((dice.normal(size=2000) > calibrate(dice.normal(size=60), 0.05).threshold).mean()) for _ in range(200)]
    assert 0.04 < np.mean(shares) <= 0.0515  # 3 / 61 = 0.049 on average


def test_intervals_hold_the_true_share_of_false_alarms() -> None:
    dice = np.random.default_rng(1)
    held = []
    for _ in range(200):
        found = calibrate(dice.random(100), 0.05)
        held.append(found.low <= 1 - found.threshold <= found.high)
    assert np.mean(held) >= 0.94


def test_equal_scores_at_the_threshold_are_not_above_it() -> None:
    found = calibrate([0.0] * 20 + [1.0] * 10, 0.1)
    assert found.threshold == 1.0 and found.false_alarms == 0


def test_too_few_real_pictures_are_refused_or_the_rate_is_widened() -> None:
    assert reals_needed(0.01) == 300
    with pytest.raises(SpecError, match=r"100 real pictures are too few .* takes 300; they bear 0\.03"):
        check_rate(100, 0.01)
    assert check_rate(100, 0.01, widen=True) == pytest.approx(0.03)
    found = calibrate(np.arange(100.0), 0.01, widen=True)
    assert found.rate == pytest.approx(0.03) and found.asked == 0.01
    assert "for 1 % takes 300" in found.words
    with pytest.raises(SpecError, match="6 is the least"):
        check_rate(5, 0.01, widen=True)


@pytest.mark.parametrize("rate", [0.0, -0.1, 0.6, float("nan")])
def test_a_rate_out_of_range_is_refused(rate: float) -> None:
    with pytest.raises(SpecError, match="above 0"):
        check_rate(1000, rate)


def test_scores_that_say_nothing_get_no_threshold() -> None:
    with pytest.raises(ModelError, match="same score"):
        calibrate([0.5] * 50, 0.1)
    with pytest.raises(ModelError, match="have no score"):
        calibrate([0.5, None, *np.arange(48.0)], 0.1)
