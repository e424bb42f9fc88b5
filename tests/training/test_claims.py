"""What may be claimed: on exams whose truth is known, answered by judges whose errors are known."""

from __future__ import annotations

import hashlib
from functools import cache

import numpy as np
import pyarrow as pa
import pytest

from anyscene.dataset import SceneSpace
from anyscene.judges.store import answer_schema
from anyscene.language.question import Question
from anyscene.sandbox import load_sandbox_taxonomy
from anyscene.scoring import Scores, score_run
from anyscene.training.claims import BETTER, NOT_SHOWN, WORSE, claim_of, corrected_gain, no_claim, verdict_of


@cache
def scenes(n: int) -> pa.Table:
    space = SceneSpace(taxonomy=load_sandbox_taxonomy(), complexity=(2, 5))
    return space.source(0).table(0, n)


def exam(
    rate: float,
    sensitivity: float = 1.0,
    specificity: float = 1.0,
    *,
    n: int = 400,
    which: str = "a",
    judge: str = "one",
    labelled: float = 0.0,
    seed: int = 0,
) -> Scores:
    """An exam in which this share of what was asked for is there, and nothing else, judged with these errors.

    What is there depends on the question, so a higher rate only adds to it; the errors depend on the exam, too.
    """
    records, rows, labels = scenes(n), [], []
    media = {"record_id": [], "sample": [], "sha256": [], "status": []}  # type: ignore[var-annotated]
    for record in records.to_pylist():
        sha = hashlib.sha256(f"{which}/{record['id']}".encode()).hexdigest()
        for name, value in zip(media, (record["id"], 0, sha, "made"), strict=True):
            media[name].append(value)
        for asked in (Question.from_dict(one) for one in record["questions"]):
            if asked.form != "yes_no":
                continue
            own = np.random.default_rng([seed, int(hashlib.sha256(f"{record['id']}/{asked.id}".encode()).hexdigest()[:8], 16)])
            there = asked.foil is None and own.random() < rate
            errs = np.random.default_rng([seed, int(hashlib.sha256(f"{sha}/{asked.id}/{judge}".encode()).hexdigest()[:8], 16)]).random()
            yes = errs < sensitivity if there else errs >= specificity
            rows.append({"media_sha256": sha, "question_key": asked.key, "p_yes": 0.95 if yes else 0.05, "status": "answered", "text": ""})
            if own.random() < labelled:
                labels.append({"media_sha256": sha, "question_key": asked.key, "answer": "yes" if there else "no"})
    fixed = {"judge": judge, "revision": "1", "template": "t", "label_mass": 1.0, "probabilities": []}
    answers = pa.Table.from_pylist([{**fixed, **row} for row in rows], answer_schema())
    truth = pa.Table.from_pylist(labels) if labels else None
    facts = {"name": judge, "revision": "1", "template": "t"}
    table = pa.table(media)
    return score_run(records, table, answers, model=which, judge=facts, labels=truth, resamples=200)


def test_an_exact_judge_is_believed_and_its_correction_changes_nothing() -> None:
    claim = claim_of(exam(0.5), exam(0.65, which="b"))
    raw, corrected = claim["scores"]["strict"], claim["corrected"]
    assert claim["claim"] == BETTER and raw["claim"] == BETTER
    assert raw["difference"] == pytest.approx(0.15, abs=0.03)
    assert corrected["difference"] == pytest.approx(raw["difference"], abs=1e-9)
    assert not corrected["doubtful"] and "true change" not in claim["sentence"]


def test_what_makes_the_exam_worse_is_called_worse() -> None:
    assert claim_of(exam(0.65), exam(0.5, which="b"))["claim"] == WORSE


def test_of_a_noisy_judges_gain_the_truth_is_found_again_with_true_answers() -> None:
    """Sensitivity and specificity 0.8: of every change, 60 % are seen."""
    a, b = (exam(rate, 0.8, 0.8, which=which, labelled=0.3) for rate, which in ((0.4, "a"), (0.6, "b")))
    claim = claim_of(a, b)
    raw, corrected = claim["scores"]["strict"], claim["corrected"]
    true = claim_of(exam(0.4), exam(0.6, which="b"))["scores"]["strict"]["difference"]
    assert raw["difference"] == pytest.approx(0.6 * true, abs=0.03) and raw["high"] < true
    assert corrected["low"] < true < corrected["high"] and corrected["source"] == "labels"
    assert corrected["sensitivity"] == pytest.approx([0.8, 0.8], abs=0.06)
    assert corrected["foils_called_true"] == pytest.approx([0.2, 0.2], abs=0.05)
    assert "Held against true answers" in claim["sentence"] and claim["claim"] == BETTER


def test_of_a_judge_biased_to_yes_foils_tell_how_much_of_a_gain_it_hides() -> None:
    a, b = (exam(rate, 1.0, 0.5, which=which) for rate, which in ((0.4, "a"), (0.6, "b")))
    claim = claim_of(a, b)
    raw, corrected = claim["scores"]["strict"], claim["corrected"]
    true = claim_of(exam(0.4), exam(0.6, which="b"))["scores"]["strict"]["difference"]
    assert raw["difference"] == pytest.approx(0.5 * true, abs=0.03)
    assert corrected["low"] < true < corrected["high"] and corrected["source"] == "foils" and not corrected["each_by_its_own"]
    assert "of the foils true" in claim["sentence"] and "at least" in claim["sentence"]


def test_a_gain_that_is_only_an_easier_yes_is_not_claimed() -> None:
    """Nothing changed in the pictures; of what is not there, the judge calls 10 % true before, and 40 % after."""
    claim = claim_of(exam(0.5, 1.0, 0.9), exam(0.5, 1.0, 0.6, which="b"))
    raw, corrected = claim["scores"]["soft"], claim["corrected"]
    assert raw["claim"] == BETTER and raw["difference"] > 0.08
    assert corrected["each_by_its_own"] and corrected["foils_called_true_rise"]["low"] > 0
    assert corrected["claim"] == NOT_SHOWN == claim["claim"]
    assert "more foils true than before" in claim["sentence"] and "nothing is claimed" in claim["sentence"]


def test_a_judge_that_says_yes_to_everything_leaves_nothing_to_correct() -> None:
    claim = claim_of(exam(0.5, 1.0, 0.0), exam(0.6, 1.0, 0.0, which="b"))
    assert claim["corrected"]["difference"] is None and "nearly as often" in claim["corrected"]["why_not"]
    assert claim["claim"] == NOT_SHOWN


def test_a_gain_that_the_second_judge_does_not_see_is_not_claimed() -> None:
    first = exam(0.5), exam(0.65, which="b")
    agrees = claim_of(*first, second=(exam(0.5, judge="two"), exam(0.65, which="b", judge="two")))
    assert agrees["claim"] == BETTER and agrees["second"]["judge"] == "two"
    assert agrees["second"]["sensitivity"] == agrees["second"]["specificity"] == 1.0
    parts = claim_of(*first, second=(exam(0.5, judge="two"), exam(0.5, which="b", judge="two")))
    assert parts["scores"]["soft"]["claim"] == BETTER and parts["claim"] == NOT_SHOWN
    assert "two, which chose nothing, sees" in parts["sentence"]


def test_held_against_an_exact_second_judge_a_noisy_ones_errors_are_named() -> None:
    noisy = tuple(exam(rate, 0.8, 0.8, which=which) for rate, which in ((0.4, "a"), (0.6, "b")))
    exact = tuple(exam(rate, which=which, judge="two") for rate, which in ((0.4, "a"), (0.6, "b")))
    claim = claim_of(noisy[0], noisy[1], second=(exact[0], exact[1]))
    assert claim["second"]["sensitivity"] == pytest.approx(0.8, abs=0.03)
    assert claim["second"]["specificity"] == pytest.approx(0.8, abs=0.03)
    assert claim["second"]["scores"]["soft"]["difference"] > 1.3 * claim["scores"]["soft"]["difference"]
    assert "such a judge would show" in claim["sentence"]


def test_where_nothing_changed_hardly_anything_is_claimed() -> None:
    """Two exams of the same model that differ by chance: at 95 %, one in twenty may be called a change by the raw score alone."""
    claimed = [
        claim_of(exam(0.5, 0.9, 0.85, n=60, seed=seed), exam(0.5, 0.9, 0.85, n=60, which="b", seed=seed))["claim"] for seed in range(24)
    ]
    assert sum(one != NOT_SHOWN for one in claimed) <= 4


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (0.01, 0.1, BETTER),
        (-0.1, -0.01, WORSE),
        (-0.1, 0.1, NOT_SHOWN),
        (0.0, 0.1, NOT_SHOWN),
        (-0.1, 0.0, NOT_SHOWN),
        (None, None, NOT_SHOWN),
    ],
)
def test_an_interval_that_holds_0_shows_nothing(low: float | None, high: float | None, verdict: str) -> None:
    assert verdict_of(low, high) == verdict


def test_few_scenes_give_no_corrected_gain() -> None:
    gain = corrected_gain(exam(0.5, n=6), exam(0.6, n=6, which="b"))
    assert gain.value is None and "too few" in gain.why


def test_where_a_kind_has_too_few_foils_all_questions_are_corrected_together() -> None:
    """On few scenes, some kind's few foils are all called true by a judge that does so with half of them."""
    found = [corrected_gain(exam(0.4, 1.0, 0.5, n=20, seed=one), exam(0.8, 1.0, 0.5, n=20, which="b", seed=one)) for one in range(6)]
    together = [one for one in found if not one.by_kind]
    assert together and all(one.value is not None and 0.15 < one.value < 0.7 for one in together)


def test_after_a_leak_there_is_no_claim() -> None:
    found = no_claim(["1 held-out scene trained on: 'a'"])
    assert found["claim"] is None and "1 held-out scene" in found["sentence"]


def test_a_claim_is_plain_json_and_the_same_each_time() -> None:
    import json

    claims = [claim_of(exam(0.5, 0.9, 0.8, n=50), exam(0.6, 0.9, 0.8, n=50, which="b")) for _ in range(2)]
    assert json.dumps(claims[0], allow_nan=False) == json.dumps(claims[1], allow_nan=False)
