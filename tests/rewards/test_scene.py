"""SceneReward: hand-worked values under every rule, agreement with the scores of evaluation, what is missing, what is asked."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyscene.errors import AnySceneError, RecordError, SpecError
from anyscene.judges import Answer
from anyscene.judges.judging import judge_media
from anyscene.judges.store import read_answers
from anyscene.media import MediaEntry, MediaFolder
from anyscene.rewards import Reward, SceneReward, Score
from anyscene.rewards.scene import AGGREGATES, DEPENDENCIES
from anyscene.sandbox import load_judge
from anyscene.scoring.rows import score_rows
from anyscene.scoring.scores import media_scores

sys.path.insert(0, str(Path(__file__).parent))
from scripted import ScriptedJudge, flat, question, scene

BALL = question("q0", "ball?")
RED = question("q1", "red?", kind="attribute", depends_on=["q0"])
LEFT = question("q2", "left?", kind="relation", depends_on=["q1"])
BLUE = question("q3", "blue?", "no", kind="attribute", depends_on=["q0"], foil="swapped_attribute")
CAT = question("q4", "cat?", "no", foil="absent_object")
RECORD = scene("a", BALL, RED, LEFT, BLUE, CAT)
SAYS = {"ball?": 0.8, "red?": 0.6, "left?": 0.3, "blue?": 0.1, "cat?": 0.25}


def value(record=RECORD, says=SAYS, **options):
    (score,) = SceneReward(ScriptedJudge(says), **options).score([flat()], [record])
    return None if score is None else score.value


def test_soft_values_by_hand():
    assert value(dependencies="none", foil_weight=None) == pytest.approx((0.8 + 0.6 + 0.3) / 3)
    assert value(dependencies="none", foil_weight=0.5) == pytest.approx((0.8 + 0.6 + 0.3 + 0.5 * (0.9 + 0.75)) / 4)
    assert value(dependencies="library", foil_weight=None) == pytest.approx((0.8 + 0.6 * 0.8 + 0.3 * 0.6) / 3)
    assert value(dependencies="fixpoint", foil_weight=None) == pytest.approx((0.8 + 0.6 * 0.8 + 0.3 * 0.6 * 0.8) / 3)
    library = (0.8 + 0.6 * 0.8 + 0.3 * 0.6 + 0.5 * (0.9 * 0.8 + 0.75)) / 4
    assert value() == pytest.approx(library)  # the defaults


def test_hard_values_by_hand():
    says = {**SAYS, "ball?": 0.2}
    assert value(says=says, soft=False, dependencies="none", foil_weight=None) == pytest.approx(1 / 3)
    assert value(says=says, soft=False, dependencies="library", foil_weight=None) == 0.0
    right = {"ball?": 0.2, "red?": 0.9, "left?": 0.9, "blue?": 0.1, "cat?": 0.1}
    assert value(says=right, soft=False, dependencies="library", foil_weight=None) == pytest.approx(1 / 3)  # left? hangs on red? alone
    assert value(says=right, soft=False, dependencies="fixpoint", foil_weight=None) == 0.0


def test_aggregates_by_hand():
    assert value(aggregate="all", foil_weight=None) == pytest.approx(0.8 * 0.6 * 0.3)
    assert value(aggregate="all", foil_weight=0.1) == pytest.approx(0.8 * 0.6 * 0.3 * 0.9 * 0.75)
    assert value(aggregate="all", soft=False) == 0.0
    assert value(says={**SAYS, "left?": 0.7}, aggregate="all", soft=False) == 1.0
    expected = math.exp((math.log(0.8) + math.log(0.6) + math.log(0.3)) / 3)
    assert value(aggregate="geometric", dependencies="none", foil_weight=None) == pytest.approx(expected)
    assert value(says={**SAYS, "ball?": 0.0}, aggregate="geometric") == 0.0


def test_weights_of_kinds_and_of_foils_multiply():
    found = value(dependencies="none", foil_weight=0.5, kind_weights={"attribute": 2.0, "relation": 0.0})
    assert found == pytest.approx((0.8 + 2 * 0.6 + 0.0 + 0.5 * 2 * 0.9 + 0.5 * 0.75) / (1 + 2 + 1 + 0.5))


def test_an_empty_picture_earns_no_more_than_foils_about_absent_objects():
    nothing = dict.fromkeys(SAYS, 0.0)
    assert value(says=nothing) == pytest.approx(0.5 * 1.0 / 4)
    assert value(says=nothing, foil_weight=None) == 0.0


def test_missing_is_left_out_with_all_that_depends_on_it():
    says = {**SAYS, "red?": Answer(None, None, "?", "unparsed")}
    (score,) = SceneReward(ScriptedJudge(says), foil_weight=None).score([flat()], [RECORD])
    assert score is None  # red? and left? are unknown: one third is known, less than a half
    (score,) = SceneReward(ScriptedJudge(says), foil_weight=None, min_answered=0.3).score([flat()], [RECORD])
    assert score is not None and score.value == pytest.approx(0.8)
    assert [one.status for one in score.questions] == ["answered", "unparsed", "answered"]
    assert [one.value for one in score.questions] == [0.8, None, 0.3]
    assert [one.counted for one in score.questions] == [0.8, None, None]
    assert score.figures["answered"] == pytest.approx(1 / 3)
    assert value(says=says, aggregate="all", min_answered=0.0) is None


@pytest.mark.parametrize("status", ["unsure", "refused", "failed", "unparsed"])
def test_nothing_answered_is_none_and_no_zero(status):
    assert value(says=dict.fromkeys(SAYS, Answer(None, None, "", status)), min_answered=0.0) is None


def test_unsure_can_be_given_a_value_and_stays_unsure_in_the_report():
    says = dict.fromkeys(SAYS, Answer(None, None, "", "unsure"))
    (score,) = SceneReward(ScriptedJudge(says), unsure=0.0).score([flat()], [RECORD])
    assert score is not None and score.value == 0.0
    assert {one.status for one in score.questions} == {"unsure"}
    assert value(says=dict.fromkeys(SAYS, Answer(None, None, "", "failed")), unsure=0.0) is None


def test_probabilities_that_are_none_count_as_unparsed():
    (score,) = SceneReward(ScriptedJudge({**SAYS, "cat?": Answer(1.5, 1.0, "")})).score([flat()], [RECORD])
    assert score is not None and score.questions[-1].status == "unparsed" and score.questions[-1].value is None


def test_choice_and_open_questions_count_where_asked_for():
    record = scene(
        "a",
        question("q0", "which?", "b", form="choice", choices=["a", "b"]),
        question("q1", "what?", "The  Three Balls", form="open"),
    )
    says = {"which?": Answer(None, 1.0, "a", probabilities=(0.7, 0.3)), "what?": Answer(None, None, "3 balls.")}
    assert value(record, says, forms=("choice", "open")) == pytest.approx((0.3 + 1.0) / 2)
    assert value(record, says, forms=("choice", "open"), soft=False) == pytest.approx((0.0 + 1.0) / 2)
    assert value(record, says) is None  # no yes/no question


def test_each_question_about_each_picture_is_asked_once_and_in_order():
    judge = ScriptedJudge(SAYS)
    other = scene("b", question("x", "ball?"), question("y", "cat?", "yes"))
    scores = SceneReward(judge).score([flat(1), flat(2), flat(1), flat(1)], [RECORD, RECORD, RECORD, other])
    assert [score.record_id for score in scores if score] == ["a", "a", "a", "b"]
    assert len(judge.calls) == 2
    assert judge.calls[0][1] == ("ball?", "red?", "left?", "blue?", "cat?")
    assert scores[0] == scores[2]
    assert scores[3].value == pytest.approx((0.8 + 0.25) / 2)


def test_workers_change_no_score_and_no_order(sandbox_records, painted):
    records = sandbox_records(12)
    media = painted(records, drop=0.4)
    judge = load_judge("pixels")
    alone = SceneReward(judge).score(media, records)
    judge.workers = 4
    assert SceneReward(judge).score(media, records) == alone


def test_foils_are_asked_and_not_paid_at_weight_zero_and_not_asked_at_none():
    judge = ScriptedJudge(SAYS)
    (score,) = SceneReward(judge, foil_weight=0.0, dependencies="none").score([flat()], [RECORD])
    assert score.value == pytest.approx((0.8 + 0.6 + 0.3) / 3)
    assert [one.weight for one in score.questions] == [1, 1, 1, 0, 0]
    assert score.figures["foils"] == pytest.approx((0.9 + 0.75) / 2)
    judge = ScriptedJudge(SAYS)
    SceneReward(judge, foil_weight=None).score([flat()], [RECORD])
    assert judge.calls[0][1] == ("ball?", "red?", "left?")


def test_no_picture_has_no_score():
    assert SceneReward(ScriptedJudge(SAYS)).score([None, flat()], [RECORD, RECORD])[0] is None


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"dependencies": "some"}, "dependencies"),
        ({"aggregate": "median"}, "aggregate"),
        ({"forms": ()}, "forms"),
        ({"forms": ("essay",)}, "essay"),
        ({"foil_weight": -1.0}, "foil_weight"),
        ({"foil_weight": math.nan}, "foil_weight"),
        ({"kind_weights": {"count": math.inf}}, "count"),
        ({"min_answered": 1.5}, "min_answered"),
        ({"unsure": 2.0}, "unsure"),
    ],
)
def test_options_out_of_range_are_refused(options, word):
    with pytest.raises(SpecError, match=word):
        SceneReward(ScriptedJudge({}), **options)


def test_a_batch_that_does_not_fit_is_refused():
    reward = SceneReward(ScriptedJudge(SAYS))
    with pytest.raises(SpecError, match="2 pictures and 1 records"):
        reward.score([flat(), flat()], [RECORD])
    with pytest.raises(RecordError, match="'questions'"):
        reward.score([flat()], [{"id": "a", "caption": "x"}])


def test_a_judge_that_loses_answers_is_an_error():
    judge = ScriptedJudge(SAYS)
    judge.answer = lambda media, questions: []
    with pytest.raises(AnySceneError, match="0 answers to 5"):
        SceneReward(judge).score([flat()], [RECORD])


def test_agrees_with_the_scores_of_evaluation_on_the_same_answers(sandbox_records, painted, tmp_path):
    records = sandbox_records(40, seed=4)
    media = painted(records, drop=0.3, swap=0.3, reverse=0.3, miscount=0.3)
    folder = MediaFolder(tmp_path / "media")
    entries = []
    for place, (record, one) in enumerate(zip(records, media, strict=True)):
        name = folder.file_name(place, record["id"], 0, ".png")
        folder.write(name, one)
        entries.append(MediaEntry(record["id"], record["index"], 0, 0, name, one.sha256, "made"))
    folder.rewrite(entries)
    judge = load_judge("noisy")
    judge_media(records, folder, judge, tmp_path / "answers", forms=["yes_no"], quiet=True)
    scores = media_scores(score_rows(pa.Table.from_pylist(records), folder.table(), read_answers(tmp_path / "answers")))
    options = {"foil_weight": None, "min_answered": 0.0}
    same = {
        "soft": SceneReward(judge, dependencies="none", **options),
        "strict": SceneReward(judge, dependencies="none", soft=False, **options),
        "library": SceneReward(judge, dependencies="library", soft=False, **options),
        "fixpoint": SceneReward(judge, dependencies="fixpoint", soft=False, **options),
        "all_correct": SceneReward(judge, aggregate="all", soft=False, **options),
    }
    for name, reward in same.items():
        found = [math.nan if one is None else one.value for one in reward.score(media, records)]
        np.testing.assert_allclose(found, scores[name], atol=1e-12, err_msg=name)
    assert 0.2 < np.mean(scores["library"]) < np.mean(scores["strict"]) < 1


def test_soft_product_is_the_hard_rule_where_answers_are_sure(sandbox_records, painted):
    records = sandbox_records(20, seed=5)
    media = painted(records, drop=0.5)

    class Sure:
        name, revision, template, workers = "sure", "", "", 1
        looks = load_judge("pixels")

        def answer(self, media, questions):
            return [Answer(float((one.p_yes or 0) > 0.5), 1.0, "") for one in self.looks.answer(media, questions)]

    for dependencies in ("none", "library", "fixpoint"):
        soft = SceneReward(Sure(), dependencies=dependencies).score(media, records)
        hard = SceneReward(Sure(), dependencies=dependencies, soft=False).score(media, records)
        assert [one.value for one in soft] == pytest.approx([one.value for one in hard])


def test_better_pictures_have_a_higher_reward(sandbox_records, painted):
    records = sandbox_records(30, seed=6)
    reward = SceneReward(load_judge("pixels"))
    means = [
        np.mean([one.value for one in reward.score(painted(records, drop=rate, swap=rate), records) if one]) for rate in (0.0, 0.3, 0.8)
    ]
    assert means[0] > 0.97 and means[0] > means[1] + 0.1 > means[2] + 0.2


def test_a_score_survives_json():
    import json

    (score,) = SceneReward(ScriptedJudge({**SAYS, "red?": Answer(None, None, "", "failed")}), min_answered=0.1).score([flat()], [RECORD])
    outer = Score(1.0, "a", parts={"scene": score, "clip": None})
    assert Score.from_dict(json.loads(json.dumps(outer.to_dict()))) == outer
    with pytest.raises(RecordError):
        Score.from_dict({"values": 1})
    with pytest.raises(RecordError):
        Score.from_dict({"value": "high"})


def test_it_is_a_reward():
    assert isinstance(SceneReward(ScriptedJudge({})), Reward)


PROBABILITY = st.floats(0, 1)


@given(
    st.tuples(*[PROBABILITY] * 5), st.integers(0, 4), PROBABILITY, st.sampled_from(DEPENDENCIES), st.sampled_from(AGGREGATES), st.booleans()
)
def test_a_reward_is_from_0_to_1_and_never_falls_when_an_answer_gets_better(right, place, better, dependencies, aggregate, soft):
    def reward(values):
        says = {one["text"]: p if one["answer"] == "yes" else 1 - p for one, p in zip(RECORD["questions"], values, strict=True)}
        return value(says=says, dependencies=dependencies, aggregate=aggregate, soft=soft)

    improved = [max(one, better) if own == place else one for own, one in enumerate(right)]
    assert 0 <= reward(right) <= reward(improved) + 1e-12 <= 1 + 1e-9
