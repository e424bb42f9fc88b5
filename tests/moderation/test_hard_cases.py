"""Hard cases: what is planted is named, nothing else is; complexity explains what it explains."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from anyscene.errors import SpecError
from anyscene.moderation import hard_cases
from anyscene.moderation.detector import Detector
from anyscene.moderation.hard_cases import SceneSkills, cases_of
from anyscene.moderation.matrix import HeldOut

sys.path.insert(0, str(Path(__file__).parent))
from planted import record

from anyscene.moderation.dataset import DetectorData, Picture

CLASSES = {"dog": "animal", "cat": "animal", "cup": "thing", "box": "thing"}
COLOURS, SHAPES = ("red", "blue"), ("round", "square")


SKILLS = SceneSkills(object_classes=CLASSES)


class Known(DetectorData):
    """Data whose records are given."""

    def __init__(self, records):
        object.__setattr__(self, "folder", Path("data"))
        object.__setattr__(self, "manifest", {})
        self.__dict__["records"] = {one["id"]: one for one in records}


def scenes(number, seed=0):
    dice = np.random.default_rng(seed)
    found = []
    for place in range(number):
        things = []
        for _ in range(int(dice.integers(1, 4))):
            kinds = [("color", str(dice.choice(COLOURS))), ("shape", str(dice.choice(SHAPES)))]
            things.append((str(dice.choice(list(CLASSES))), [one for one in kinds if dice.random() < 0.5]))
        found.append(record(place, things))
    return found


def find(records, misses, copies=1, threshold=0.5):
    pictures = tuple(
        Picture(f"{one['id']}-{copy}", f"{one['id']}-{copy}.png", "generated", "g", "validation", one["id"], "", one["id"], 8, 8, "png", "")
        for one in records
        for copy in range(copies)
    )
    scores = [
        None if one is None else threshold - 0.1 if one else threshold + 0.1 for one in np.repeat(np.array(misses, dtype=object), copies)
    ]
    detector = Detector(Path("x"), {"threshold": threshold}, None)
    return cases_of(detector, HeldOut("data", Known(records), pictures), scores, SKILLS)


def has(one, name=None, kind=None):
    things = one["graph"]["objects"]
    return any(
        (name is None or thing["name"] == name) and (kind is None or any(a["type"] == kind for a in thing["attributes"]))
        for thing in things
    )


def test_a_planted_miss_is_named_and_nothing_else():
    records, dice = scenes(500), np.random.default_rng(1)
    misses = [dice.random() < (0.6 if has(one, "dog") else 0.2) for one in records]
    found = find(records, misses)
    assert next(iter(found.weights)) == "named:dog"
    assert set(found.weights) <= {"named:dog", "object:animal"}
    case = next(one for one in found.cases if one.skill == "named:dog")
    assert case.low < 0.4 < case.high and case.missed.low < 0.6 < case.missed.high
    assert case.pictures == sum(has(one, "dog") for one in records) == case.n
    assert found.missed.value == pytest.approx(np.mean(misses))


def test_nothing_is_named_where_nothing_is_planted(monkeypatch):
    monkeypatch.setattr(hard_cases, "DEALS", 1999)
    named = 0
    for seed in range(12):
        records, dice = scenes(200, seed), np.random.default_rng(100 + seed)
        named += bool(find(records, [dice.random() < 0.3 for _ in records]).weights)
    assert named <= 2


def test_what_complexity_explains_is_not_put_on_a_skill():
    records, dice = scenes(600, 2), np.random.default_rng(3)
    misses = [dice.random() < 0.05 + 0.08 * one["complexity"] for one in records]
    found = {one.skill: one for one in find(records, misses).cases}
    colour = found["attribute:color"]
    assert colour.difference > 0.1  # scenes with a colour are larger
    assert abs(colour.own) < 0.08 and not colour.hard
    assert any(one.hard for skill, one in found.items() if skill.startswith("complexity:"))


def test_pictures_of_one_scene_are_one_observation():
    records, dice = scenes(120, 4), np.random.default_rng(5)
    misses = [dice.random() < (0.5 if has(one, "dog") else 0.3) for one in records]
    one, five = ({case.skill: case for case in find(records, misses, copies).cases}["named:dog"] for copies in (1, 5))
    assert five.p == pytest.approx(one.p, abs=0.02)
    assert five.high - five.low == pytest.approx(one.high - one.low, rel=0.15)


def test_rare_skills_are_told_and_not_compared():
    records = scenes(60, 6)
    rare = record(99, [("box", [("size", "huge")])])
    found = {one.skill: one for one in find([*records, rare], [place % 3 == 0 for place in range(61)]).cases}
    assert found["attribute:size"].p is None and found["attribute:size"].n == 1 and not found["attribute:size"].hard


@pytest.mark.parametrize(("missed", "word"), [(True, "all"), (False, "none")])
def test_where_all_or_none_are_missed_no_case_is_harder(missed, word):
    found = find(scenes(60), [missed] * 60)
    assert found.problem.startswith(f"{word} of the 60 pictures") and not found.weights


def test_pictures_without_a_score_are_left_out():
    records = scenes(80)
    found = find(records, [None if place < 10 else place % 2 == 0 for place in range(80)])
    assert found.pictures == 70
    with pytest.raises(SpecError, match="no generated picture has a scene and a score"):
        find(records, [None] * 80)


def test_words_of_scenes_are_skills_too():
    one = record(0, [("dog", [])])
    one["graph"]["scene_attributes"] = [{"type": "style", "value": "sketch"}]
    assert SKILLS.of_scene(one) == {"object:animal", "complexity:1", "named:dog", "scene:style", "scene:style=sketch"}
