"""The shapes of other trainers, called as those trainers call them."""

from __future__ import annotations

import asyncio
import inspect
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from anyscene.errors import JudgeError, RecordError, RewardHackedError, SpecError
from anyscene.judges import Answer
from anyscene.media import Media
from anyscene.rewards import SceneReward, Weighted, as_flow_factory, as_flow_grpo, as_t2i_r1, as_trl, as_trl_async
from anyscene.rewards.verl_omni import FIGURES, compute_score, use_reward
from anyscene.sandbox import load_judge

sys.path.insert(0, str(Path(__file__).parent))
from scripted import ScriptedJudge, flat, question, scene

ONE = scene("a", question("q0", "ball?"), question("q1", "cat?", "no", foil="absent_object"))
TWO = scene("b", question("q0", "cat?", "yes"))
SAYS = {"ball?": 0.75, "cat?": 0.2}
VALUE_ONE, VALUE_TWO = (0.75 + 0.5 * 0.8) / 1.5, 0.2


class Half(ScriptedJudge):
    """Answers about dark pictures only."""

    def answer(self, media, questions):
        if media.array().mean() > 100:
            return [Answer(None, None, "", "failed") for _ in questions]
        return super().answer(media, questions)


def columns(records):
    return {"id": [one["id"] for one in records], "questions": [one["questions"] for one in records]}


def test_trl_gets_floats_and_none_in_order_and_logs_the_parts():
    metrics, extras = {}, {}
    reward = as_trl(SceneReward(Half(SAYS)))
    assert reward.__name__ == "scene"
    found = reward(
        prompts=["p"] * 3,
        completions=["c"] * 3,
        completion_ids=[[1]] * 3,
        generated_image=[flat(1).image, flat(2).image, flat(200).image],
        trainer_state=object(),
        log_extra=lambda name, given: extras.__setitem__(name, given),
        log_metric=lambda name, given: metrics.__setitem__(name, given),
        **columns([ONE, TWO, ONE]),
    )
    assert found == [pytest.approx(VALUE_ONE), pytest.approx(VALUE_TWO), None]
    assert metrics["rewards/scene/known"] == pytest.approx(2 / 3) and metrics["rewards/scene/foils"] == pytest.approx(0.8)
    assert extras["record_id"] == ["a", "b", "a"]
    assert json.loads(extras["scene_questions"][0]) == {"q0": 0.75, "q1": 0.8} and extras["scene_questions"][2] == ""


def test_trl_without_pictures_says_what_is_missing():
    with pytest.raises(RecordError, match=r"'generated_image'.*questions"):
        as_trl(SceneReward(ScriptedJudge(SAYS)))(prompts=["p"], completions=["c"], **columns([ONE]))


def test_async_trl_gives_the_same_and_is_seen_as_async():
    reward = as_trl_async(SceneReward(ScriptedJudge(SAYS)), "pictures")
    assert inspect.iscoroutinefunction(reward.__call__)
    found = asyncio.run(reward(prompts=["p"] * 2, completions=["c"] * 2, pictures=[flat(1), flat(2)], **columns([ONE, TWO])))
    assert found == [pytest.approx(VALUE_ONE), pytest.approx(VALUE_TWO)]


def test_a_watcher_may_stop_the_trainer():
    def stop(images, records, scores):
        assert [one["id"] for one in records] == ["a"] and scores[0].record_id == "a" and len(images) == 1
        raise RewardHackedError("enough")

    with pytest.raises(RewardHackedError):
        as_trl(SceneReward(ScriptedJudge(SAYS)), watch=stop)(generated_image=[flat()], **columns([ONE]))


def test_flow_grpo_in_both_layouts():
    pixels = np.stack([flat(1).array(), flat(2).array(), flat(3).array()])
    reward = as_flow_grpo(SceneReward(ScriptedJudge(SAYS)))
    metadata = [{"prompt": "x", **ONE}, {"prompt": "x", **TWO}, {"prompt": "x", **ONE}]
    for images in (pixels, np.moveaxis(pixels, -1, 1).astype(np.float32) / 255):
        scores, rest = reward(images, ["x"] * 3, metadata, only_strict=True)
        assert rest == {} and scores["avg"] == scores["scene"] == pytest.approx([VALUE_ONE, VALUE_TWO, VALUE_ONE])
        assert scores["known"] == [1, 1, 1]


def test_flow_grpo_knows_no_missing_so_the_group_fills_it():
    pixels = np.stack([flat(grey).array() for grey in (1, 200, 2, 201)])
    weighted = Weighted({"scene": (SceneReward(Half(SAYS)), 1.0)})
    scores, _ = as_flow_grpo(weighted)(pixels, ["x"] * 4, [ONE, ONE, TWO, TWO])
    assert scores["avg"] == pytest.approx([VALUE_ONE, VALUE_ONE, VALUE_TWO, VALUE_TWO])
    assert scores["known"] == [1, 0, 1, 0] and scores["scene"] == pytest.approx([VALUE_ONE, -10, VALUE_TWO, -10])
    with pytest.raises(JudgeError):
        as_flow_grpo(weighted, missing="raise")(pixels, ["x"] * 4, [ONE, ONE, TWO, TWO])
    with pytest.raises(SpecError, match="1 metadata for 4"):
        as_flow_grpo(weighted)(pixels, ["x"] * 4, [ONE])


def test_t2i_r1_keyword_lists():
    reward = as_t2i_r1(SceneReward(ScriptedJudge(SAYS)))
    reward.load_to_device("cuda:0")
    found = reward(prompts=["x", "y"], images=[flat(1).image, flat(2).image], task_type=["color", None], **columns([ONE, TWO]))
    assert found == pytest.approx([VALUE_ONE, VALUE_TWO]) and reward.__name__ == "scene"


def test_flow_factory_finds_what_it_looks_for():
    class PointwiseRewardModel:  # as theirs: configured, then called with what its signature names
        def __init__(self, config, accelerator):
            self.config = config

    made = as_flow_factory(SceneReward(ScriptedJudge(SAYS)), PointwiseRewardModel)
    model = made("config", None)
    assert isinstance(model, PointwiseRewardModel) and model.config == "config" and set(made.required_fields) >= {"prompt", "image"}
    assert {"prompt", "image", "video", "metadata"} <= set(inspect.signature(made.__call__).parameters)
    metadata = [json.dumps({"id": one["id"], "questions": json.dumps(one["questions"])}) for one in (ONE, TWO)]
    output = model(prompt=["x", "y"], image=[flat(1).image, flat(2).image], metadata=metadata)
    assert output.rewards == pytest.approx([VALUE_ONE, VALUE_TWO])
    assert output.extra_info["figures"][0]["foils"] == pytest.approx(0.8)
    clip = [flat(1).image, flat(2).image]
    assert model(prompt=["x"], video=[clip], metadata=metadata[:1]).rewards == pytest.approx([VALUE_ONE])
    with pytest.raises(SpecError, match="either"):
        model(prompt=["x"])
    with pytest.raises(RecordError, match="metadata"):
        model(prompt=["x"], image=[flat().image])


@pytest.fixture
def own_reward():
    """Sets the reward of this process, and takes it away again."""
    yield use_reward
    use_reward(None)


def verl_picture(grey):
    return np.moveaxis(flat(grey).array(), -1, 0)  # (channels, height, width) uint8


def test_verl_omni_scores_waiting_calls_together(own_reward):
    judge = ScriptedJudge(SAYS)
    batches = []

    class Counting(SceneReward):
        def score(self, images, records):
            batches.append(len(images))
            return super().score(images, records)

    own_reward(Counting(judge))

    async def all_at_once():
        return await asyncio.gather(
            *(
                compute_score("anyscene", verl_picture(grey), "A ball.", {"record": json.dumps(ONE if grey % 2 else TWO)}, batch_size=16)
                for grey in range(40)
            )
        )

    found = asyncio.run(all_at_once())
    assert [one["score"] for one in found] == pytest.approx([VALUE_ONE if grey % 2 else VALUE_TWO for grey in range(40)])
    assert sum(batches) == 40 and batches[:2] == [16, 16]
    assert all(set(one) == {"score", "known", "questions", *FIGURES} for one in found)  # verl wants the same names in all
    assert np.isnan(found[0]["foils"]) and found[1]["foils"] == pytest.approx(0.8)
    assert asyncio.run(compute_score("anyscene", verl_picture(1), "A ball.", dict(ONE)))["score"] == pytest.approx(VALUE_ONE)  # a new loop


def test_verl_omni_loads_the_judge_that_its_config_names(own_reward, sandbox_records, painted):
    (record,) = sandbox_records(1)
    (media,) = painted([record], drop=0, swap=0, reverse=0, miscount=0)
    extra = {"record": json.dumps(record), "num_turns": None, "rollout_reward_scores": {}}
    options = {"judge": "sandbox:noisy", "judge_options": {"sensitivity": 1.0, "specificity": 1.0}, "options": {"soft": False}}
    call = compute_score(
        data_source="anyscene", solution_image=media.array(), ground_truth=record["caption"], extra_info=extra, model_name="x", **options
    )
    assert asyncio.run(call)["score"] == 1.0


def test_verl_omni_says_what_is_wrong(own_reward):
    with pytest.raises(SpecError, match="no reward"):
        asyncio.run(compute_score("anyscene", verl_picture(1), "A ball.", dict(ONE)))
    own_reward(SceneReward(Half(SAYS)))
    with pytest.raises(SpecError, match="'jugde'"):
        asyncio.run(compute_score("anyscene", verl_picture(1), "A ball.", dict(ONE), jugde="x"))
    with pytest.raises(SpecError, match="options of the scene reward"):
        asyncio.run(compute_score("anyscene", verl_picture(1), "A ball.", dict(ONE), judge="sandbox:yes", options={"hard": True}))
    with pytest.raises(JudgeError, match="'a'"):
        asyncio.run(compute_score("anyscene", verl_picture(200), "A ball.", dict(ONE)))
    found = asyncio.run(compute_score("anyscene", verl_picture(200), "A ball.", dict(ONE), missing=-1.0))
    assert found["score"] == -1.0 and found["known"] == 0.0 and found["questions"] == ""


def test_one_bad_record_spoils_no_other_score(own_reward):
    own_reward(SceneReward(ScriptedJudge(SAYS)))

    async def both():
        calls = (compute_score("anyscene", verl_picture(1), "x", one) for one in (dict(ONE), {"id": "no questions"}, dict(TWO)))
        return await asyncio.gather(*calls, return_exceptions=True)

    first, second, third = asyncio.run(both())
    assert first["score"] == pytest.approx(VALUE_ONE) and third["score"] == pytest.approx(VALUE_TWO)
    assert isinstance(second, RecordError)


def test_a_judge_that_breaks_is_heard_of_by_all_who_wait(own_reward):
    class Broken(ScriptedJudge):
        def answer(self, media, questions):
            raise ZeroDivisionError("broken")

    own_reward(SceneReward(Broken({})))

    async def two():
        calls = (compute_score("anyscene", verl_picture(grey), "x", dict(ONE)) for grey in (1, 2))
        return await asyncio.wait_for(asyncio.gather(*calls, return_exceptions=True), 20)

    assert all(isinstance(one, JudgeError) and "broken" in str(one) for one in asyncio.run(two()))


def test_every_adapter_gives_the_same_reward(sandbox_records, painted, own_reward):
    records = sandbox_records(6, seed=2)
    media: list[Media] = painted(records, drop=0.3)
    reward = SceneReward(load_judge("pixels"))
    expected = pytest.approx([one.value for one in reward.score(media, records)])
    pixels = np.stack([one.array() for one in media])
    own_reward(reward)

    async def verl():
        return await asyncio.gather(
            *(compute_score("x", np.moveaxis(one, -1, 0), record["caption"], record) for one, record in zip(pixels, records, strict=True))
        )

    lists = {name: [one[name] for one in records] for name in records[0]}
    images = [Image.fromarray(one) for one in pixels]
    assert as_trl(reward)(generated_image=images, **lists) == expected
    assert as_flow_grpo(reward)(pixels, [""] * 6, records)[0]["avg"] == expected
    assert as_t2i_r1(reward)(prompts=[""] * 6, images=images, **lists) == expected
    assert as_flow_factory(reward)()(prompt=[""] * 6, image=images, metadata=[json.dumps(one) for one in records]).rewards == expected
    assert [one["score"] for one in asyncio.run(verl())] == expected


@pytest.mark.torch
def test_tensors_of_every_kind_give_the_reward_of_the_picture():
    torch = pytest.importorskip("torch")
    pixels = np.stack([flat(1).array(), flat(2).array()])
    judge = ScriptedJudge(SAYS)
    tensors = [
        torch.from_numpy(pixels).permute(0, 3, 1, 2),
        torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255,
        (torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255).bfloat16().requires_grad_(),
    ]
    for images in tensors:
        scores, _ = as_flow_grpo(SceneReward(judge))(images, ["x"] * 2, [ONE, TWO])
        assert scores["avg"] == pytest.approx([VALUE_ONE, VALUE_TWO])
    assert {sha for sha, _ in judge.calls} == {flat(1).sha256, flat(2).sha256}  # the very same pictures, whatever the kind
    found = asyncio.run(one_by_one(tensors[0]))
    assert found == pytest.approx([VALUE_ONE, VALUE_TWO])


async def one_by_one(images):
    use_reward(SceneReward(ScriptedJudge(SAYS)))
    found = [await compute_score("x", image, "y", record) for image, record in zip(images, (ONE, TWO), strict=True)]
    use_reward(None)
    return [one["score"] for one in found]
