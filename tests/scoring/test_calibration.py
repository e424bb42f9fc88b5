"""Corrected scores cover the truth whatever the judge's errors; published intervals are reproduced."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from anyscene.scoring.calibration import (
    Bin,
    calibration_error,
    effective_size,
    guessed_means,
    lang_reiczigel,
    prediction_powered,
    reliability_bins,
    reliability_sums,
    rogan_gladen,
    said_means,
    simultaneous_level,
)
from anyscene.scoring.statistics import LEVEL, Estimate, Mean

SCENES = 2000


@dataclass(frozen=True)
class Kind:
    """A kind of question in a simulated run: where it occurs, how often it is true, and how the judge errs on it."""

    scenes: int
    most: int
    truth: float
    sensitivity: float
    specificity: float


KINDS = {
    "existence": Kind(2000, 4, 0.9, 0.99, 0.97),
    "attribute": Kind(1500, 3, 0.8, 0.92, 0.85),
    "relation": Kind(1000, 2, 0.7, 0.8, 0.9),
    "poor judge": Kind(2000, 2, 0.6, 0.8, 0.8),
    "near perfect judge": Kind(1500, 2, 0.85, 0.995, 0.99),
    "perfect judge": Kind(1500, 3, 0.9, 1.0, 1.0),
    "few questions": Kind(120, 1, 0.85, 0.95, 0.9),
    "very few questions": Kind(60, 1, 0.8, 1.0, 1.0),
    "nearly always true": Kind(300, 2, 0.97, 0.98, 0.9),
}


def corrected(scene: np.ndarray, said: np.ndarray, label: np.ndarray, level: float = LEVEL) -> Estimate | None:
    return rogan_gladen(*said_means(scene, said, label, SCENES), level)


def powered(scene: np.ndarray, p_yes: np.ndarray, label: np.ndarray, level: float = LEVEL) -> Estimate | None:
    return prediction_powered(*guessed_means(scene, p_yes, label, SCENES), level)


def size_of(scene: np.ndarray, values: np.ndarray) -> float:
    return effective_size(Mean.over(scene, values, SCENES))


def bins_of(p_yes: np.ndarray, truth: np.ndarray) -> list[Bin]:
    return reliability_bins(reliability_sums(p_yes, truth))


def per_scene(rng: np.random.Generator, mean: float, alike: float) -> np.ndarray:
    """A rate for each scene: pictures of one scene fail, and are misjudged, together."""
    return np.full(SCENES, mean) if mean in (0.0, 1.0) else rng.beta(mean * alike, (1 - mean) * alike, SCENES)


def simulate(rng: np.random.Generator, kind: Kind, share: float) -> tuple[np.ndarray, ...]:
    """(scene, said yes, p(yes), label) of each question."""
    scene = np.repeat(np.sort(rng.choice(SCENES, kind.scenes, replace=False)), rng.integers(1, kind.most + 1, kind.scenes))
    true = (rng.random(len(scene)) < per_scene(rng, kind.truth, 6)[scene]).astype(float)
    rate = np.where(true == 1, per_scene(rng, kind.sensitivity, 20)[scene], 1 - per_scene(rng, kind.specificity, 20)[scene])
    said = (rng.random(len(scene)) < rate).astype(float)
    p_yes = np.where(said == 1, rng.uniform(0.5, 1, len(scene)), rng.uniform(0, 0.5, len(scene)))
    labelled = (rng.random(SCENES) < share)[scene]
    return scene, said, p_yes, np.where(labelled, true, np.nan)


@pytest.mark.parametrize("share", [1.0, 0.25, 0.05])
@pytest.mark.parametrize("name", KINDS)
def test_corrected_scores_cover_the_truth(name: str, share: float) -> None:
    """At the level that each of five kinds gets, so that the 95 % hold for all of them together."""
    kind, rng, level, repeats = KINDS[name], np.random.default_rng(sorted(KINDS).index(name)), simultaneous_level(0.95, 5), 400
    covered, known = {"rogan_gladen": 0, "prediction_powered": 0}, {"rogan_gladen": 0, "prediction_powered": 0}
    for _ in range(repeats):
        scene, said, p_yes, label = simulate(rng, kind, share)
        for method, one in {
            "rogan_gladen": corrected(scene, said, label, level),
            "prediction_powered": powered(scene, p_yes, label, level),
        }.items():
            if one is not None:
                assert one.low is not None and one.high is not None and one.value is not None
                assert 0 <= one.low <= one.value <= one.high <= 1
                known[method] += 1
                covered[method] += one.low <= kind.truth <= one.high
    assert all(known[method] >= 0.4 * repeats for method in known)
    assert all(covered[method] >= 0.96 * known[method] for method in known)


@pytest.mark.parametrize("name", ["existence", "attribute", "poor judge"])
def test_intervals_of_one_kind_cover_at_their_own_level(name: str) -> None:
    kind, rng, repeats, covered = KINDS[name], np.random.default_rng(7), 400, [0, 0]
    for _ in range(repeats):
        scene, said, p_yes, label = simulate(rng, kind, 0.25)
        for place, one in enumerate((corrected(scene, said, label), powered(scene, p_yes, label))):
            assert one is not None and one.low is not None and one.high is not None
            covered[place] += one.low <= kind.truth <= one.high
    assert min(covered) >= 0.93 * repeats


def test_correction_removes_the_judges_bias() -> None:
    kind, rng = KINDS["poor judge"], np.random.default_rng(0)
    scene, said, p_yes, label = simulate(rng, kind, 0.5)
    assert abs(said.mean() - kind.truth) > 0.03
    for one in (corrected(scene, said, label), powered(scene, p_yes, label)):
        assert one is not None and one.value == pytest.approx(kind.truth, abs=0.03)


def test_predictions_narrow_the_interval_of_the_labels_alone() -> None:
    scene, _, _, label = simulate(np.random.default_rng(0), KINDS["existence"], 0.05)
    own = np.random.default_rng(1)
    rng_truth = simulate(np.random.default_rng(0), KINDS["existence"], 1.0)[3]  # the same draws, all labelled
    good = np.clip(0.02 + 0.96 * rng_truth + own.normal(0, 0.01, len(scene)), 0, 1)
    with_judge, alone = powered(scene, good, label), powered(scene, np.full(len(scene), 0.5), label)
    assert with_judge is not None and alone is not None
    assert (with_judge.high - with_judge.low) < 0.6 * (alone.high - alone.low)  # type: ignore[operator]


def test_with_all_labelled_the_score_is_the_share_of_true_labels() -> None:
    scene, said, p_yes, label = simulate(np.random.default_rng(0), KINDS["relation"], 1.0)
    for one in (corrected(scene, said, label), powered(scene, p_yes, label)):
        assert one is not None and one.value == pytest.approx(label.mean())


def test_answers_missing_where_pictures_are_wrong_do_not_bias() -> None:
    rng = np.random.default_rng(0)
    kind = Kind(2000, 3, 0.7, 0.97, 0.95)
    scene, said, p_yes, label = simulate(rng, kind, 0.3)
    truth = simulate(np.random.default_rng(0), kind, 1.0)[3]
    unsure = (truth == 0) & (rng.random(len(truth)) < 0.7)  # it cannot tell most of what is not there
    answered_only = said[~unsure].mean()
    assert answered_only > 0.8
    for one in (corrected(scene, np.where(unsure, 0.0, said), label), powered(scene, np.where(unsure, np.nan, p_yes), label)):
        assert one is not None and one.low is not None and one.high is not None
        assert one.low <= 0.7 <= one.high and one.high - one.low < 0.1


def test_without_labels_of_both_sides_there_is_no_corrected() -> None:
    scene, said = np.arange(40), np.ones(40)
    assert corrected(scene, said, np.ones(40)) is None
    assert corrected(scene, said, np.full(40, np.nan)) is None
    assert powered(scene, said, np.full(40, np.nan)) is None


def test_a_judge_that_always_says_yes_cannot_be_corrected() -> None:
    truth = np.tile([1.0, 0.0], 50)
    assert corrected(np.arange(100), np.ones(100), truth) is None
    one = powered(np.arange(100), np.ones(100), truth)
    assert one is not None and one.value == pytest.approx(0.5)  # from the labels alone


def test_lang_reiczigel_by_hand() -> None:
    low, high = lang_reiczigel(0.4, 0.9, 0.95, 500, 80, 100)
    z2 = 1.959963984540054**2
    n = 500 + z2
    p, se, sp = (500 * 0.4 + z2 / 2) / n, (80 * 0.9 + 1) / 82, (100 * 0.95 + 1) / 102
    share = (p + sp - 1) / (se + sp - 1)
    shift = 2 * z2 * (share * se * (1 - se) / 82 - (1 - share) * sp * (1 - sp) / 102)
    half = z2**0.5 * (p * (1 - p) / n + share**2 * se * (1 - se) / 82 + (1 - share) ** 2 * sp * (1 - sp) / 102) ** 0.5 / (se + sp - 1)
    assert (low, high) == (pytest.approx(share + shift - half), pytest.approx(share + shift + half))
    assert low < (0.4 + 0.95 - 1) / 0.85 < high


def test_questions_of_one_scene_that_agree_count_as_few() -> None:
    values = np.repeat(np.tile([0.0, 1.0], 20), 10)
    assert size_of(np.repeat(np.arange(40), 10), values) == pytest.approx(39, abs=1.5)
    assert size_of(np.arange(400), values) == pytest.approx(399, abs=1.5)
    assert size_of(np.repeat(np.arange(4), 5), np.ones(20)) == 4  # no error was seen: a scene counts as one


def test_reliability_bins_by_hand() -> None:
    bins = bins_of(np.array([0.05, 0.15, 0.95, 1.0, np.nan, 0.5]), np.array([0.0, 1.0, 1.0, 1.0, 1.0, np.nan]))
    known = [(one.low, one.high, one.mean_p, one.share_right, one.n) for one in bins if one.n]
    assert known == [(0.0, 0.1, 0.05, 0.0, 1), (0.1, 0.2, 0.15, 1.0, 1), (0.9, 1.0, pytest.approx(0.975), 1.0, 2)]
    assert calibration_error(bins) == pytest.approx((0.05 + 0.85 + 2 * 0.025) / 4)
    assert bins_of(np.array([0.5]), np.array([np.nan])) == [] and calibration_error([]) is None
