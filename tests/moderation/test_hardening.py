"""The hard-case loop: what training never showed is named, painted, learnt, and found on held-out pictures."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from anyscene.errors import LeakageError, RunError, SpecError
from anyscene.media import Media
from anyscene.moderation.hard_cases import SceneSkills
from anyscene.moderation.hardening import harden
from anyscene.moderation.training import TrainOptions, train_detector

pytest.importorskip("torch")
pytest.importorskip("sklearn")
pytest.importorskip("accelerate")
pytest.importorskip("transformers")
sys.path.insert(0, str(Path(__file__).parent))
from planted import painted, record, write

pytestmark = [pytest.mark.torch, pytest.mark.slow]
OTHERS = ("cat", "cup", "box")
SKILLS = SceneSkills(object_classes={"dog": "dogs", "cat": "others", "cup": "others", "box": "others"})
QUICK = TrainOptions("resnet", size=32, steps=60, batch=16, learning_rate=2e-3, validate_every=30, false_positive_rate=0.1, patience=0)


def scenes(name, number, dogs):
    """Every so many-th scene is of a dog; 0 is none."""
    found = []
    for place in range(number):
        thing = "dog" if dogs and place % dogs == 0 else OTHERS[place % 3]
        found.append({**record(place, [(thing, [("n", f"{name}{place}")])], name), "complexity": 2})
    return found


class Painter:
    """Paints as the planted set was painted."""

    name, revision, modality, settings, batch_size = "planted", "1", "image", {}, 8
    painted = 0

    def generate(self, captions, seeds):
        Painter.painted += len(captions)
        return [Media.of_image(painted(seed, {"caption": caption}, 60.0)) for caption, seed in zip(captions, seeds, strict=True)]


def rows(start, count):
    """One in eight is of a dog: the first rows looked at hold too few."""
    return scenes("new", 400, 8)[start : start + count]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("hard")


@pytest.fixture(scope="module")
def data(place):
    counts = {"train": 60, "validation": 50, "test": 50}
    records = {split: scenes(split, number, 0 if split == "train" else 2) for split, number in counts.items()}
    return write(place / "data", counts, {"planted": 60.0}, records=records)


@pytest.fixture(scope="module")
def detector(data, place):
    return train_detector(data, place / "detector", QUICK, device="cpu", quiet=True)


@pytest.fixture(scope="module")
def given(data, detector, place):
    return {
        "detector": detector,
        "data": data,
        "out": place / "loop",
        "painters": {"planted": Painter},
        "rows": rows,
        "skills": SKILLS,
        "n": 32,
        "device": "cpu",
        "quiet": True,
    }


@pytest.fixture(scope="module")
def result(given):
    return harden(**given)


def row(result, pair, what):
    return next(one for one in result["after"][pair] if one["what"] == what)


def test_what_training_never_showed_is_named(result):
    assert set(result["hard"]) == {"named:dog", "object:dogs"}
    assert result["scenes"] == {"hard": 32, "plain": 32}


def test_recall_rises_on_the_named_cases_and_nowhere_is_it_paid_for(result):
    dogs = row(result, "hardened minus before", "found: the named cases together")
    assert dogs["low"] > 0.2 and dogs["n"] == 25
    assert dogs["p_adjusted"] < 0.01
    reals = row(result, "hardened minus before", "real pictures called real")
    assert reals["low"] < 0.1 and reals["high"] > -0.1
    assert row(result, "hardened minus before", "AUROC: the named cases together")["low"] > 0
    assert {"control minus before", "hardened minus control"} <= set(result["after"])


def test_the_loop_again_paints_nothing_and_says_the_same(result, given, place):
    before, page = Painter.painted, (place / "loop" / "report.html").read_bytes()
    assert harden(**given) == result
    assert Painter.painted == before == 64
    assert (place / "loop" / "report.html").read_bytes() == page
    assert b"named:dog" in page and b"hardened minus before" in page


def test_held_out_scenes_do_not_come_into_training(given, data, tmp_path):
    known = [*data.records.values()]
    with pytest.raises(Exception, match=r"32 new scenes around the hard cases \(.*\): of 0 scenes looked at 0 ask for one; take fewer"):
        harden(**{**given, "out": tmp_path / "x", "rows": lambda start, count: known[start : start + count]})


def test_what_no_split_of_the_data_holds_is_named_on_another_data_set(place):
    counts = {"train": 60, "validation": 50, "test": 20}
    data = write(place / "simple", counts, {"planted": 60.0}, records={split: scenes(split, n, 0) for split, n in counts.items()})
    detector = train_detector(data, place / "simple-detector", QUICK, device="cpu", quiet=True)
    given = {"painters": {"planted": Painter}, "rows": rows, "skills": SKILLS, "n": 32, "control": False, "device": "cpu", "quiet": True}
    assert harden(detector, data, place / "alone", **given)["hard"] == []
    held = {"train": 1, "validation": 50, "test": 50}
    records = {split: scenes(f"other {split}", n, 2) for split, n in held.items()}
    varied = write(place / "varied", held, {"planted": 60.0}, seed=1, records=records, paired=True)
    found = harden(detector, data, place / "varied-loop", held_out=varied, **given)
    assert set(found["hard"]) == {"named:dog", "object:dogs"}
    dogs = row(found, "hardened minus before", "found: the named cases together")
    assert dogs["low"] > 0.2 and dogs["n"] == 25
    assert row(found, "hardened minus before", "real pictures of the named cases called real")["n"] == 25
    assert row(found, "hardened minus before", "AUROC: the named cases, against their real pictures")["low"] > 0
    with pytest.raises(RunError, match="held_out"):
        harden(detector, data, place / "varied-loop", **given)
    known = {split: scenes(f"other {split}", n, 2) for split, n in held.items()}
    again = write(place / "again", {"test": 10, **held}, {"planted": 60.0}, records={"test": scenes("train", 50, 0), **known})
    with pytest.raises(LeakageError, match=r"of 200 pictures of .*again were trained on.*look for hard cases on others"):
        harden(detector, data, place / "seen", held_out=again, **given)


def test_what_cannot_be_done_is_told(given, data, detector, place, tmp_path):
    with pytest.raises(RunError, match="n: 32 there, 30 asked for"):
        harden(**{**given, "n": 30})
    with pytest.raises(SpecError, match="--generator planted=MODEL"):
        harden(**{**given, "out": tmp_path / "x", "painters": {}})
    with pytest.raises(SpecError, match="at most 160"):
        harden(**{**given, "out": tmp_path / "x", "n": 161})
    other = write(tmp_path / "other", {"train": 2, "validation": 2, "test": 2}, {"planted": 0.0})
    with pytest.raises(SpecError, match="was not trained on"):
        harden(**{**given, "data": other})
