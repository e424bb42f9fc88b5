"""The matrix: what a detector learnt shows where the cue is and nowhere else; degradations, baselines, differences, leaks."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from anyscene.errors import LeakageError, SpecError
from anyscene.moderation.matrix import evaluate_matrix
from anyscene.moderation.training import TrainOptions, train_detector

pytest.importorskip("torch")
pytest.importorskip("sklearn")
pytest.importorskip("accelerate")
pytest.importorskip("transformers")
sys.path.insert(0, str(Path(__file__).parent))
from planted import write

pytestmark = pytest.mark.torch
COUNTS = {"train": 50, "validation": 30, "test": 60}
QUICK = TrainOptions("resnet", size=32, steps=40, batch=16, learning_rate=2e-3, validate_every=20, false_positive_rate=0.1, patience=0)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("matrix")


@pytest.fixture(scope="module")
def cue(place):
    return write(place / "cue", COUNTS, {"blue": 60.0, "other": 60.0, "plain": 0.0})


@pytest.fixture(scope="module")
def no_cue(place):
    return write(place / "no-cue", {"train": 1, "validation": 1, "test": 60}, {"plain": 0.0}, seed=9)


@pytest.fixture(scope="module")
def detectors(cue, place):
    blue, plain = (
        train_detector(cue, place / name, replace(QUICK, generators=(generator,), steps=steps), device="cpu", quiet=True)
        for name, generator, steps in (("of-blue", "blue", 40), ("of-plain", "plain", 20))
    )
    return blue, plain


@pytest.fixture(scope="module")
def result(detectors, cue, no_cue, place):
    return evaluate_matrix(detectors, [cue, no_cue], place / "out", degradations=("blur:1",), device="cpu", quiet=True)


def cell(result, detector, data, generator, degradation=""):
    wanted = {"detector": detector, "data": data, "generator": generator, "degradation": degradation}
    return next(one for one in result["cells"] if all(one[key] == value for key, value in wanted.items()))


def test_a_cue_carries_to_generators_that_have_it_and_to_no_others(result):
    assert cell(result, "of-blue", "cue", "blue")["auroc"]["value"] > 0.9
    held_out = cell(result, "of-blue", "cue", "other")
    assert held_out["auroc"]["low"] > 0.85 and held_out["trained_on_generator"] is False and held_out["trained_on_data"]
    for data in ("cue", "no-cue"):
        chance = cell(result, "of-blue", data, "plain")["auroc"]
        assert chance["low"] < 0.5 < chance["high"]
    assert cell(result, "of-blue", "cue", "blue")["trained_on_generator"] is True
    assert cell(result, "of-blue", "no-cue", "plain")["trained_on_data"] is False


def test_every_detector_is_tested_on_every_generator_together_and_alone_clean_and_degraded(result):
    names = {one["detector"] for one in result["cells"]}
    assert names == {"of-blue", "of-plain", "hand features (cue: blue)", "hand features (cue: plain)"}
    assert len(result["cells"]) == 4 * 2 * (4 + 1)  # all together and three alone; of one generator there is no together
    together = cell(result, "of-blue", "cue", "")
    assert (together["reals"], together["fakes"]) == (60, 180)
    assert together["tpr_at"] == 0.05 and together["tpr"]["value"] is not None
    assert together["constant"] == {"auroc": 0.5, "ap": 0.75, "tpr": 0.05}


def test_degradation_is_done_to_both_sides_alike(result, cue, place):
    import pyarrow.parquet as pq

    folder = place / "out" / "scores" / "of-blue" / "cue"
    clean, blurred = (
        dict(zip(*pq.read_table(folder / f"{name}.parquet").to_pydict().values(), strict=True)) for name in ("clean", "blur-1")
    )
    labels = {one.file: one.label for one in cue.select(split="test")}
    for label in ("real", "generated"):
        own = [file for file in labels if labels[file] == label]
        assert sum(clean[file] != blurred[file] for file in own) > 0.95 * len(own)
    assert cell(result, "of-blue", "cue", "blue", "blur:1")["auroc"]["value"] > 0.8  # a colour survives a blur
    assert 0.3 < cell(result, "of-blue", "no-cue", "plain", "blur:1")["auroc"]["value"] < 0.7


def test_the_baseline_on_hand_features_learns_from_the_same(result):
    about = result["detectors"]["hand features (cue: blue)"]
    assert about["baseline"] and about["generators"] == ["blue"] and about["backbone"] == "hand"
    assert cell(result, "hand features (cue: blue)", "cue", "blue")["auroc"]["value"] > 0.9  # mean blue is one of them


def test_detectors_are_compared_on_the_same_pictures(result):
    found = {(one["a"], one["b"], one["data"], one["generator"]): one for one in result["differences"]}
    one = found["of-blue", "of-plain", "cue", "other"]
    assert one["auroc"]["high"] < 0 and one["fake_accuracy"]["difference"] < 0
    assert one["fake_accuracy"]["p_adjusted"] >= one["fake_accuracy"]["p"]
    same = found["of-blue", "of-plain", "no-cue", "plain"]
    assert same["auroc"]["low"] < 0 < same["auroc"]["high"]
    assert ("hand features (cue: blue)", "of-blue", "cue", "blue") in found
    assert ("hand features (cue: blue)", "of-plain", "cue", "blue") not in found


def test_scores_are_kept_and_the_same_command_gives_the_same_bytes(result, detectors, cue, no_cue, place, monkeypatch):
    from anyscene.moderation.detector import Detector

    before = {path.name: path.read_bytes() for path in (place / "out").glob("*.*")}
    assert set(before) == {"evaluation.json", "report.html"}
    monkeypatch.setattr(Detector, "score", lambda *_, **__: pytest.fail("a score was asked for again"))
    again = evaluate_matrix(detectors, [cue, no_cue], place / "out", degradations=("blur:1",), device="cpu", quiet=True)
    assert again == result == json.loads(before["evaluation.json"])
    assert {path.name: path.read_bytes() for path in (place / "out").glob("*.*")} == before


def test_the_report_names_detectors_generators_and_degradations(result, place):
    text = (place / "out" / "report.html").read_text()
    for word in (
        "of-blue",
        "of-plain",
        "hand features (cue: blue)",
        "other",
        "no-cue",
        "blur:1",
        "5% false alarms",
        "weakest on a generator",
    ):
        assert word in text


def test_pictures_that_were_seen_in_training_are_refused_or_left_out(detectors, cue, place):
    with pytest.raises(LeakageError, match=r"120 of 120 pictures of cue that of-blue .* --drop-seen"):
        evaluate_matrix(detectors[:1], [cue], place / "seen", split="validation", baselines=False, device="cpu", quiet=True)
    with pytest.raises(LeakageError, match="cannot be tested"):
        evaluate_matrix(detectors[:1], [cue], place / "seen", split="validation", baselines=False, drop_seen=True, device="cpu", quiet=True)


def test_a_detector_that_says_nothing_has_a_problem_and_no_figures(detectors, no_cue, place, monkeypatch):
    from anyscene.moderation.detector import NetworkScorer

    monkeypatch.setattr(NetworkScorer, "logits", lambda self, pictures, batch: 0.0 * self.network.logits([one.image for one in pictures]))
    found = evaluate_matrix(detectors[:1], [no_cue], place / "constant", degradations=(), baselines=False, device="cpu", quiet=True)
    (only,) = found["cells"]
    assert "tells nothing apart" in only["problem"] and only["auroc"]["value"] is None and only["fake_accuracy"]["value"] is None
    assert "tells nothing apart" in (place / "constant" / "report.html").read_text()


def test_what_cannot_be_tested_is_told(detectors, cue, place):
    with pytest.raises(SpecError, match="two detectors are in folders named of-blue"):
        evaluate_matrix([detectors[0], detectors[0]], [cue], place / "x", device="cpu", quiet=True)
    with pytest.raises(SpecError, match="degradation 'rain'"):
        evaluate_matrix(detectors[:1], [cue], place / "x", degradations=("rain",), device="cpu", quiet=True)
    with pytest.raises(SpecError, match="no data set"):
        evaluate_matrix(detectors[:1], [], place / "x", device="cpu", quiet=True)
