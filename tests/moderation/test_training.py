"""Detectors learn a planted cue and nothing where there is none; a killed training ends in the weights of an unbroken one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from anyscene.errors import Interrupted, ModelError, RecordError, RunError, SpecError
from anyscene.moderation.detector import load_detector
from anyscene.moderation.metrics import Scored, measure
from anyscene.moderation.training import TrainOptions, read_options, train_detector

torch = pytest.importorskip("torch")
pytest.importorskip("sklearn")
pytest.importorskip("accelerate")
pytest.importorskip("transformers")
sys.path.insert(0, str(Path(__file__).parent))
from planted import picture, write  # noqa: E402

pytestmark = pytest.mark.torch
COUNTS = {"train": 60, "validation": 40, "test": 60}
QUICK = TrainOptions("resnet", size=32, steps=40, batch=16, learning_rate=2e-3, validate_every=10, false_positive_rate=0.1, patience=0)


@pytest.fixture(scope="module")
def cue(tmp_path_factory):
    return write(tmp_path_factory.mktemp("cue") / "data", COUNTS, {"blue": 60.0})


@pytest.fixture(scope="module")
def no_cue(tmp_path_factory):
    return write(tmp_path_factory.mktemp("none") / "data", COUNTS, {"blue": 0.0}, seed=7)


@pytest.fixture(scope="module")
def detector(cue, tmp_path_factory):
    return train_detector(cue, tmp_path_factory.mktemp("trained") / "detector", QUICK, device="cpu", quiet=True)


def figures(detector, data, split="test"):
    pictures = data.select(split=split)
    scores = detector.score([data.read(one) for one in pictures])
    scored = Scored.of(scores, [one.label == "generated" for one in pictures], [one.group for one in pictures])
    return measure(scored, detector.threshold, number=200)


def test_a_planted_cue_is_learnt_and_does_not_help_where_it_is_not(detector, cue, no_cue):
    found = figures(detector, cue)
    assert found.auroc.value > 0.9
    assert found.fake_accuracy.value > 0.6 and found.real_accuracy.value > 0.75
    elsewhere = figures(detector, no_cue)
    assert elsewhere.auroc.low < 0.5 < elsewhere.auroc.high


def test_the_threshold_has_its_rate_and_the_scores_its_verdicts(detector, cue):
    reals = cue.select(label="real", split="validation")
    scores = detector.score([cue.path(one) for one in reals])
    assert sum(score > detector.threshold for score in scores) == detector.facts["calibration"]["false_alarms"] == 3  # floor(0.1 * 41) - 1
    assert detector.facts["calibration"]["reals"] == 40
    assert detector.verdict(detector.threshold) == "real" and detector.verdict(None) is None
    assert detector.verdict(1.0) == "generated"
    assert detector.generators == ("blue",)


def test_scores_do_not_depend_on_the_batch(detector):
    given = [picture(5, 40), b"no picture", picture(6), picture(7, 40)]
    scores = detector.score(given)
    assert scores[1] is None
    assert [one if one is None else round(one, 5) for one in detector.score(given, batch=1)] == [
        one if one is None else round(one, 5) for one in scores
    ]
    assert all(0 <= one <= 1 for one in scores if one is not None)
    assert detector.score([]) == []


def test_the_same_seed_gives_the_same_weights_and_another_one_others(detector, cue, tmp_path):
    again = train_detector(cue, tmp_path / "again", QUICK, device="cpu", quiet=True)
    assert again.facts["weights"] == detector.facts["weights"]
    other = train_detector(cue, tmp_path / "other", TrainOptions(**{**_options(), "seed": 1}), device="cpu", quiet=True)
    assert other.facts["weights"]["network/model.safetensors"] != detector.facts["weights"]["network/model.safetensors"]


def _options(**given):
    return {name: getattr(QUICK, name) for name in QUICK.__slots__} | given


def test_a_finished_detector_is_loaded_and_another_one_refused(detector, cue):
    before = (detector.folder / "detector.json").stat().st_mtime_ns
    again = train_detector(cue, detector.folder, QUICK, device="cpu", quiet=True)
    assert again.digest == detector.digest and (detector.folder / "detector.json").stat().st_mtime_ns == before
    with pytest.raises(RunError, match=r"options\.steps: 40 there, 41 asked for"):
        train_detector(cue, detector.folder, TrainOptions(**_options(steps=41)), device="cpu", quiet=True)


def test_a_training_that_was_stopped_goes_on_to_the_same_weights(detector, cue, tmp_path, monkeypatch):
    from anyscene.moderation import learning

    update, steps = learning._Loop.update, []

    def stops(self, step, *given):
        steps.append(step)
        if len(steps) == 26:
            raise KeyboardInterrupt
        return update(self, step, *given)

    monkeypatch.setattr(learning._Loop, "update", stops)
    with pytest.raises(Interrupted, match="up to step 20 is kept"):
        train_detector(cue, tmp_path / "run", QUICK, device="cpu", quiet=True)
    with pytest.raises(RunError, match="not finished"):
        load_detector(tmp_path / "run")
    found = train_detector(cue, tmp_path / "run", QUICK, device="cpu", quiet=True)
    assert steps[26] == 20
    assert found.facts == detector.facts
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [one["step"] for one in lines] == list(range(1, 41))
    assert (tmp_path / "run" / "metrics.jsonl").read_bytes() == (detector.folder / "metrics.jsonl").read_bytes()
    assert not (tmp_path / "run" / "checkpoint.pt").exists()


@pytest.mark.slow
def test_a_training_that_was_killed_goes_on_to_the_same_weights(detector, cue, tmp_path):
    code = (
        "import sys; from anyscene.moderation.training import TrainOptions, train_detector\n"
        f"train_detector({str(cue.folder)!r}, {str(tmp_path / 'run')!r}, "
        "TrainOptions('resnet', size=32, steps=40, batch=16, learning_rate=2e-3, validate_every=10, false_positive_rate=0.1, patience=0),"
        " device='cpu', quiet=True)"
    )
    process = subprocess.Popen([sys.executable, "-c", code], env={**os.environ, "OMP_NUM_THREADS": "1"})
    for _ in range(600):
        if (tmp_path / "run" / "checkpoint.pt").exists() or process.poll() is not None:
            break
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "run" / "detector.json").exists()
    found = train_detector(cue, tmp_path / "run", QUICK, device="cpu", quiet=True)
    assert found.facts["weights"] == detector.facts["weights"]


def test_training_ends_early_where_it_no_longer_gets_better(no_cue, tmp_path):
    options = TrainOptions(**_options(steps=400, validate_every=2, patience=2, learning_rate=1e-5))
    found = train_detector(no_cue, tmp_path / "run", options, device="cpu", quiet=True)
    assert found.facts["training"]["steps"] < 400
    assert found.facts["training"]["steps"] - found.facts["training"]["best_step"] == 4


def test_pictures_of_a_batch_are_half_real_and_of_all_generators_alike(tmp_path):
    from anyscene.moderation.learning import Batches
    from anyscene.moderation.training import Lessons

    data = write(tmp_path / "data", {"train": 6, "validation": 2, "test": 1}, {"a": 0.0, "b": 0.0, "c": 0.0})
    lessons = Lessons.from_data(data, (), ())
    batches = Batches(lessons, TrainOptions(**_options(batch=12)), 32, range(12))
    chosen = [batches._chosen(step, place) for step in range(6) for place in range(12)]
    assert [sum(one.generator == name for one in chosen) for name in ("", "a", "b", "c")] == [36, 12, 12, 12]
    first = [one.id for one in chosen if one.label != "generated"][:6]
    second = [one.id for one in chosen if one.label != "generated"][6:12]
    assert sorted(first) == sorted(second) and first != second  # all of them before any comes again, in another order
    pixels, labels = batches[3]
    assert pixels.shape == (12, 32, 32, 3) and pixels.dtype == np.uint8 and labels.sum() == 6
    assert (batches[3][0] == pixels).all()


def test_only_the_named_generators_are_learnt_from(tmp_path):
    from anyscene.moderation.training import Lessons

    data = write(tmp_path / "data", {"train": 4, "validation": 2, "test": 1}, {"a": 0.0, "b": 0.0})
    lessons = Lessons.from_data(data, (), ("b",))
    assert set(lessons.fakes) == {"b"}
    assert {one.generator for one in lessons.validation} == {"", "b"}
    with pytest.raises(SpecError, match=r"generator 'c': .* has a, b"):
        Lessons.from_data(data, (), ("c",))


def test_pictures_of_another_set_are_added_and_its_real_ones_are_not(tmp_path):
    from anyscene.moderation.training import Lessons

    counts = {"train": 4, "validation": 2, "test": 1}
    data, more = write(tmp_path / "data", counts, {"a": 0.0}), write(tmp_path / "more", counts, {"a": 0.0}, seed=3)
    lessons = Lessons.from_data(data, (more,), ())
    assert (len(lessons.reals), len(lessons.fakes["a"]), len(lessons.validation)) == (4, 4 + 7, 4)
    strangers = write(tmp_path / "strangers", counts, {"b": 0.0}, seed=4)
    with pytest.raises(SpecError, match=r"pictures of b, which .* does not train on"):
        Lessons.from_data(data, (strangers,), ())


def test_too_few_real_pictures_for_the_rate_are_told_before_training(cue, tmp_path):
    with pytest.raises(SpecError, match=r"40 real pictures are too few .* 0\.01: that takes 300"):
        train_detector(cue, tmp_path / "run", TrainOptions("resnet", size=32), device="cpu", quiet=True)
    assert not (tmp_path / "run").exists()


def test_a_biased_or_unaudited_set_is_refused_unless_allowed(tmp_path):
    data = write(tmp_path / "data", {"train": 2, "validation": 2, "test": 1}, {"a": 0.0}, biased=True)
    with pytest.raises(SpecError, match="a shortcut that its audit found"):
        train_detector(data, tmp_path / "run", QUICK, device="cpu", quiet=True)
    with pytest.raises(SpecError, match="2 real pictures are too few"):
        train_detector(data, tmp_path / "run", QUICK, device="cpu", quiet=True, allow_biased=True)


def test_a_network_without_numbers_or_differences_is_no_detector(cue, tmp_path, monkeypatch):
    from anyscene.moderation import backbones

    monkeypatch.setattr(backbones.Network, "logits", lambda self, images, batch=64: np.full(len(images), np.nan))
    with pytest.raises(ModelError, match="no number"):
        train_detector(cue, tmp_path / "nan", TrainOptions(**_options(steps=2)), device="cpu", quiet=True)
    monkeypatch.setattr(backbones.Network, "logits", lambda self, images, batch=64: np.zeros(len(images)))
    with pytest.raises(ModelError, match="same score"):
        train_detector(cue, tmp_path / "same", TrainOptions(**_options(steps=2)), device="cpu", quiet=True)
    assert not (tmp_path / "same" / "detector.json").exists()


def test_damaged_weights_are_refused(detector, tmp_path):
    import shutil

    copy = Path(shutil.copytree(detector.folder, tmp_path / "copy"))
    path = copy / "network" / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(RecordError, match="not those that were trained"):
        load_detector(copy)
    path.unlink()
    with pytest.raises(RecordError, match="is missing"):
        load_detector(copy)
    with pytest.raises(RunError, match="no such folder"):
        load_detector(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"step": 3}, "unknown key 'step'"),
        ({"steps": "many"}, "steps = 'many'"),
        ({"augmentation.blurr": 0.1}, "unknown key 'blurr'"),
        ({"augmentation.blur": 2}, "augmentation.blur = 2"),
        ({"batch": 7}, "must be even"),
        ({"precision": "fp8"}, "precision"),
        ({"learning_rate": 0}, "learning_rate"),
    ],
)
def test_wrong_options_are_told(given, said):
    with pytest.raises(SpecError, match=said):
        read_options(given)


def test_options_are_read_by_dotted_names():
    found = read_options({"steps": "30", "augmentation.blur": 0.5, "generators": ["a"]})
    assert found.steps == 30 and found.augmentation.blur == 0.5 and found.augmentation.flip == 0.5 and found.generators == ("a",)
