"""Weighted sums by hand under every normalisation, gates, and what is missing."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

import numpy as np
import pytest

from anyscene.errors import JudgeError, SpecError
from anyscene.rewards import Gate, MetricReward, SceneReward, Score, Weighted
from anyscene.rewards.columns import filled, mean_figures, questions_text, record_of, records_from_columns
from anyscene.rewards.protocol import flat_figures, questions_in

sys.path.insert(0, str(Path(__file__).parent))
from scripted import ScriptedJudge, flat, question, scene


class Table:
    """A reward that gives what it is told, in order."""

    def __init__(self, *values, name="table"):
        self.values, self.name = values, name

    def score(self, images, records):
        return [None if value is None else Score(value, str(one["id"])) for value, one in zip(self.values, records, strict=True)]


RECORDS = [{"id": "a"}, {"id": "a"}, {"id": "b"}, {"id": "b"}]
PICTURES = [flat(grey) for grey in range(4)]


def values(reward):
    return [None if one is None else one.value for one in reward.score(PICTURES, RECORDS)]


def test_sums_without_normalising():
    reward = Weighted({"scene": (Table(1, 2, 3, 4), 1.0), "clip": (Table(10, 0, 0, 10), -0.5)})
    assert values(reward) == [-4, 2, 3, -1]


def test_group_normalising_is_gdpo():
    reward = Weighted({"scene": (Table(1, 3, 5, 5), 1.0), "clip": (Table(0, 0, 1, 3), 2.0)}, normalise="group")
    deviation = math.sqrt(2)
    one = (1 - 2) / (deviation + 1e-4)
    assert values(reward) == pytest.approx([one, -one, 2 * one, -2 * one])


def test_batch_normalising():
    numbers = np.array([1.0, 2.0, 3.0, 6.0])
    expected = (numbers - numbers.mean()) / (numbers.std(ddof=1) + 1e-4)
    assert values(Weighted({"x": (Table(*numbers), 1.0)}, normalise="batch")) == pytest.approx(list(expected))


def test_running_normalising_sees_all_batches_and_goes_on_from_its_state():
    table = Table(1, 2, 3, 4)
    reward = Weighted({"x": (table, 1.0)}, normalise="running")
    values(reward)
    state = json.loads(json.dumps(reward.state_dict()))
    table.values = (10, 20, None, 30)
    seen = np.array([1, 2, 3, 4, 10, 20, 30], dtype=float)
    expected = [(one - seen.mean()) / (seen.std(ddof=1) + 1e-4) for one in (10, 20, 30)]
    found = values(reward)
    assert found[2] is None and [found[0], found[1], found[3]] == pytest.approx(expected)
    again = Weighted({"x": (table, 1.0)}, normalise="running")
    again.load_state_dict(state)
    assert values(again) == found
    with pytest.raises(SpecError, match="rewards x"):
        Weighted({"y": (table, 1.0)}).load_state_dict(state)


def test_a_tied_group_and_a_single_rollout_give_nothing():
    assert values(Weighted({"x": (Table(7, 7, 5, 5), 1.0)}, normalise="group")) == [0, 0, 0, 0]
    reward = Weighted({"x": (Table(3), 1.0)}, normalise="group")
    assert reward.score(PICTURES[:1], RECORDS[:1])[0].value == 0


def test_a_missing_part_makes_the_sum_missing_and_a_weightless_one_does_not():
    reward = Weighted({"x": (Table(1, 2, 3, 4), 1.0), "y": (Table(None, 1, 1, 1), 1.0), "z": (Table(1, None, 1, 1), 0.0)})
    scores = reward.score(PICTURES, RECORDS)
    assert [one is None for one in scores] == [True, False, False, False]
    assert scores[1].value == 3 and scores[1].parts["z"] is None
    grouped = Weighted({"x": (Table(None, 2, 3, 5), 1.0)}, normalise="group")
    assert values(grouped) == [None, 0.0, pytest.approx(-0.7070, abs=1e-3), pytest.approx(0.7070, abs=1e-3)]


def test_parts_and_questions_stay_visible():
    judge = ScriptedJudge({"ball?": 0.75, "cat?": 0.2})
    record = scene("a", question("q0", "ball?"), question("q1", "cat?", "no", foil="absent_object"))
    reward = Weighted({"scene": (SceneReward(judge), 1.0), "clip": (Table(0.3), 0.1)})
    (score,) = reward.score([flat()], [record])
    figures = flat_figures(score)
    assert figures["scene/foils"] == pytest.approx(0.8) and figures["clip"] == 0.3 and figures["term/clip"] == pytest.approx(0.03)
    assert [one.id for one in questions_in(score)] == ["q0", "q1"]
    assert json.loads(questions_text(score)) == {"q0": 0.75, "q1": 0.8}


def test_gates_open_at_the_threshold():
    reward = Gate(Table(1, 2, 3, None), Table(0.5, 0.4, None, 1.0, name="quality"), 0.5, otherwise=-1.0)
    scores = reward.score(PICTURES, RECORDS)
    assert [None if one is None else one.value for one in scores] == [1, -1.0, None, None]
    assert scores[1].figures == {"open": 0.0, "ungated": 2} and scores[1].parts["gate"].value == 0.4
    assert reward.name == "table"


def test_a_gate_may_look_at_a_figure_of_the_reward_itself():
    record = scene("a", question("q0", "ball?"), question("q1", "cat?", "no", foil="absent_object"))
    for says, expected in ((0.9, 0.0), (0.2, pytest.approx((0.75 + 0.5 * 0.8) / 1.5))):
        judge = ScriptedJudge({"ball?": 0.75, "cat?": says})
        (score,) = Gate(SceneReward(judge), "foils", 0.5).score([flat()], [record])
        assert score.value == expected
    judge = ScriptedJudge({"ball?": 0.75, "cat?": 0.1})
    assert Gate(SceneReward(judge, foil_weight=None), "foils", 0.5).score([flat()], [record]) == [None]


@pytest.mark.parametrize("parts", [{}, {"x": (Table(1), math.nan)}])
def test_sums_of_nothing_and_weights_that_are_no_numbers_are_refused(parts):
    with pytest.raises(SpecError):
        Weighted(parts)


def test_unknown_ways_are_refused():
    with pytest.raises(SpecError, match="normalise"):
        Weighted({"x": (Table(1), 1.0)}, normalise="z-score")
    with pytest.raises(SpecError, match="gate"):
        Gate(Table(1), Table(1), math.nan)


class Brightness:
    name, revision = "bright:v1", ""

    def score(self, media, captions):
        assert all(isinstance(one, str) for one in captions)
        return [None if one is None else float(one.array().mean()) for one in media]


def test_metrics_are_rewards():
    reward = MetricReward(Brightness())
    assert reward.name == "bright"
    scores = reward.score([flat(10), None], [{"id": "a", "caption": "x"}] * 2)
    assert scores[0].value == 10 and scores[1] is None


def test_missing_scores_become_the_mean_of_their_group():
    known = [Score(1.0, "a"), None, Score(4.0, "b"), None, None]
    ids = ["a", "a", "b", "b", "c"]
    assert filled(known, ids, "group") == [1, 1, 4, 4, 2.5]
    assert filled(known, ids, -10.0) == [1, -10, 4, -10, -10]
    assert math.isnan(filled(known, ids, "nan")[1])
    for how in ("raise", "group"):
        with pytest.raises(JudgeError, match="2 of 2"):
            filled([None, None], ["a", "b"], how)
    with pytest.raises(SpecError):
        filled(known, ids, "zero")


def test_records_come_out_of_columns_whatever_their_form():
    record = scene("a", question("q0", "ball?"))
    as_text = {"id": ["a"], "questions": [json.dumps(record["questions"])], "graph": ['{"objects": []}'], "prompt": ["p"], "log": print}
    (found,) = records_from_columns(as_text, 1)
    assert found["questions"] == record["questions"] and found["graph"] == {"objects": []} and "log" not in found
    assert record_of({"record": json.dumps(record), "index": 3}) == record
    arrays = {"id": "a", "questions": np.array(record["questions"], dtype=object)}
    assert record_of(arrays)["questions"] == record["questions"]


def test_means_over_scores_know_how_many_there_were():
    assert mean_figures([Score(1.0, figures={"x": 1.0}), Score(1.0, figures={"x": 3.0}), None]) == {"x": 2.0, "known": pytest.approx(2 / 3)}
    assert mean_figures([]) == {}
