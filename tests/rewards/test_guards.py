"""Guards: simulated policies that learn to be paid for nothing are caught by name, and one that improves honestly hears nothing."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from anyscene.errors import RewardHackedError, SpecError
from anyscene.judges import Answer
from anyscene.media import Media
from anyscene.rewards import Guards, SceneReward, Score, as_trl, default_guards
from anyscene.rewards.guard_rules import (
    AnsweredGuard,
    DiversityGuard,
    FoilGuard,
    HeldOutGuard,
    QualityGuard,
    ShortcutGuard,
)
from anyscene.rewards.protocol import QuestionScore
from anyscene.sandbox import load_judge, load_model

sys.path.insert(0, str(Path(__file__).parent))
from scripted import flat

STEPS, CAPTIONS, GROUP = 18, 4, 4


class PaidByBrightness:
    """A rigged judge: the brighter the picture, the surer it is of the right answer."""

    name, revision, template, workers = "rigged:brightness", "", "", 1

    def answer(self, media, questions):
        grey = float(media.array().mean()) / 255
        return [Answer(grey if one.answer == "yes" else 1 - grey, 1.0, "") for one in questions]


def brighter(media: Media, share: float) -> Media:
    pixels = media.array().astype(float)
    return Media.of_image((pixels + (255 - pixels) * min(max(share, 0), 1)).astype(np.uint8))


class Policies:
    """What the pictures of a step are, as training goes on: ``progress`` runs from 0 to 1."""

    @staticmethod
    def improving(records, step, progress):
        rate = 0.5 * (1 - progress)
        model = load_model("flawed", drop=rate, swap=rate, reverse=rate, miscount=rate)
        return model.generate([one["caption"] for one in records], [step * 1000 + place for place in range(len(records))])

    @staticmethod
    def brightening(records, step, progress):
        rng = np.random.default_rng(step)
        model = load_model("flawed", drop=0.3, swap=0.3, reverse=0.3, miscount=0.3)
        media = model.generate([one["caption"] for one in records], [step * 1000 + place for place in range(len(records))])
        return [brighter(one, 0.8 * progress + 0.1 * rng.normal()) for one in media]

    @staticmethod
    def collapsing(records, step, progress):
        model = load_model("flawed", drop=0.2, swap=0.2, reverse=0.2, miscount=0.2)
        seeds = [step * 1000 + (place if progress < 0.4 else place // GROUP) for place in range(len(records))]
        return model.generate([one["caption"] for one in records], seeds)

    @staticmethod
    def dissolving(records, step, progress):
        """Ever more pictures are noise, which the judge cannot tell anything about."""
        rng = np.random.default_rng(step)
        media = Policies.improving(records, step, 1.0)
        noise = [Media.of_image(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)) for _ in media]
        return [bad if rng.random() < 0.7 * progress else good for good, bad in zip(media, noise, strict=True)]


def train(policy, judge, records, held_out=None, steps=STEPS):
    """What the guards say over a run: {(cause, what): first step}, and the rewards."""
    reward = SceneReward(judge)
    guards = Guards(default_guards(None if held_out is None else SceneReward(held_out, name="second"), baseline=6, window=6))
    found, rewards, stopped = {}, [], None
    for step in range(steps):
        own = [records[(step * CAPTIONS + place) % len(records)] for place in range(CAPTIONS) for _ in range(GROUP)]
        media = policy(own, step, step / (steps - 1))
        scores = reward.score(media, own)
        report = guards.watch(media, own, scores)
        assert report.step == step
        for finding in report.findings:
            found.setdefault((finding.cause, finding.what), step)
            assert finding.message and finding.rule in ("warn", "stop")
        if report.stop and stopped is None:
            stopped = step
        rewards.append(float(np.mean([one.value for one in scores if one])))
    return found, rewards, stopped


@pytest.fixture(scope="module")
def records(sandbox_records):
    return sandbox_records(120, seed=3)


@pytest.mark.parametrize(("complexity", "second"), [((1, 1), "pixels"), ((3, 6), "noisy")])
def test_an_honest_improvement_hears_nothing(sandbox_records, second, complexity):
    scenes = sandbox_records(120, seed=3, complexity=complexity)
    found, rewards, stopped = train(Policies.improving, load_judge("pixels"), scenes, load_judge(second))
    assert rewards[-1] > rewards[0] + 0.25
    assert not found and stopped is None


def test_a_judge_that_always_says_yes_is_caught_at_once_by_its_foils(records):
    found, _, stopped = train(Policies.improving, load_judge("yes"), records, steps=4)
    assert list(found) == [("foils", "foils")] and stopped == 2


def test_a_judge_that_pays_for_brightness_is_caught_and_named(records):
    found, rewards, stopped = train(Policies.brightening, PaidByBrightness(), records, load_judge("pixels"))
    assert rewards[-1] > rewards[0] + 0.1
    assert found[("shortcut", "brightness")] <= 6
    assert ("held_out", "second") in found and ("quality", "brightness") in found
    assert stopped is not None and stopped == found[("held_out", "second")] < STEPS - 4


def test_a_group_that_becomes_one_picture_is_caught(records):
    found, _, stopped = train(Policies.collapsing, load_judge("pixels"), records)
    assert list(found) == [("diversity", "diversity")] and stopped is None


def test_pictures_that_the_judge_gives_up_on_are_caught(records):
    found, rewards, _ = train(Policies.dissolving, load_judge("pixels"), records)
    assert rewards[-4] > 0.9  # those that are judged at all look fine
    assert ("unanswered", "answered") in found


def scores_of(value, foil=None, n=8, place=0):
    asked = [QuestionScore("q0", "existence", "yes_no", None, value, value, 1.0, "answered")]
    if foil is not None:
        asked.append(QuestionScore("q1", "existence", "yes_no", "absent_object", foil, foil, 0.5, "answered"))
    return [Score(value + 0.001 * one, str(place), tuple(asked)) for one in range(n)]


def feed(guard, steps):
    """Watches steps of (scores, media); gives all findings."""
    guards, found = Guards([guard]), []
    for scores, media in steps:
        report = guards.watch(media, [{"id": one.record_id if one else "x", "caption": "x"} for one in scores], scores)
        found += report.findings
    return found


def pictures(n, seed, grey=128, spread=40):
    rng = np.random.default_rng(seed)
    return [Media.of_image(np.clip(rng.normal(grey, spread, (8, 8, 3)), 0, 255).astype(np.uint8)) for _ in range(n)]


def test_foils_that_fall_and_foils_that_stay_low():
    rng = np.random.default_rng(0)
    steps = [(scores_of(0.5, 0.9 - 0.02 * step + 0.01 * rng.normal()), pictures(8, step)) for step in range(20)]
    (finding, *_) = feed(FoilGuard(baseline=5, window=5), steps)
    assert finding.before > finding.now + 0.1 and "ever more often" in finding.message and finding.rule == "stop"
    assert not feed(FoilGuard(baseline=5, window=5), [(scores_of(0.5, 0.8), pictures(8, step)) for step in range(20)])
    assert not feed(FoilGuard(), [(scores_of(0.5), pictures(8, step)) for step in range(30)])  # no foils, nothing to say
    few = [(scores_of(0.5, 0.1, n=2), pictures(2, step)) for step in range(4)]
    assert not feed(FoilGuard(), few)
    assert feed(FoilGuard(least=6), few)


def test_the_held_out_judge_must_follow_by_its_own_scale():
    class Second:
        name = "second"

        def __init__(self, gain):
            self.gain, self.step = gain, -1

        def score(self, images, records):
            self.step += 1
            rng = np.random.default_rng(self.step)
            return [Score(100 * (0.3 + self.gain * self.step + 0.1 * rng.normal())) for _ in images]

    def run(gain):
        rng = np.random.default_rng(1)
        steps = []
        for step in range(20):
            scores = [Score(0.3 + 0.03 * step + 0.1 * rng.normal(), "a") for _ in range(12)]
            steps.append((scores, pictures(12, step)))
        return feed(HeldOutGuard(Second(gain), baseline=5, window=5), steps)

    assert run(0.0) and run(-0.02)
    assert run(0.0)[0].what == "second"
    assert not run(0.03) and not run(0.02)


def test_a_metric_of_quality_may_rise_but_not_fall():
    class Metric:
        name, revision = "aesthetic", ""

        def __init__(self, gain):
            self.gain, self.step = gain, -1

        def score(self, media, captions):
            self.step += 1
            rng = np.random.default_rng(self.step)
            return [5 + self.gain * self.step + 0.3 * rng.normal() for _ in media]

    steps = [(scores_of(0.5), pictures(8, step)) for step in range(20)]
    assert [one.what for one in feed(QualityGuard(Metric(-0.1), baseline=5, window=5), steps)][:1] == ["aesthetic"]
    assert not feed(QualityGuard(Metric(0.1), baseline=5, window=5), steps)


def test_pictures_that_drift_are_named_by_what_drifts():
    steps = [(scores_of(0.5), pictures(8, step, grey=110 + 5 * step, spread=30)) for step in range(20)]
    assert "brightness" in {one.what for one in feed(QualityGuard(baseline=5, window=5), steps)}


def test_diversity_is_of_groups_and_not_of_the_batch():
    alike = [Media.of_image(np.full((8, 8, 3), 40 * place, dtype=np.uint8)) for place in range(4) for _ in range(2)]
    records = [{"id": str(place)} for place in range(4) for _ in range(2)]
    guards = Guards([DiversityGuard()])
    assert guards.watch(alike, records, [None] * 8).statistics["guard/diversity"] == 0
    assert guards.watch(alike, [{"id": "one"}] * 8, [None] * 8).statistics["guard/diversity"] > 0.1


def test_a_step_without_groups_or_scores_says_nothing():
    guards = Guards(default_guards(SceneReward(load_judge("pixels"))))
    report = guards.watch([flat(), None], [{"id": "a"}, {"id": "b"}], [None, None])
    assert not report.findings and report.statistics["guard/answered"] == 0


def test_a_run_that_goes_on_from_its_state_says_the_same(records):
    def make():
        return Guards(default_guards(baseline=3, window=3))

    reward = SceneReward(PaidByBrightness())
    whole, first, reports = make(), make(), []
    for step in range(10):
        own = [records[step + place] for place in range(3) for _ in range(GROUP)]
        media = Policies.brightening(own, step, step / 9)
        scores = reward.score(media, own)
        reports.append(whole.watch(media, own, scores))
        if step == 5:
            state = json.loads(json.dumps(first.state_dict()))
            first = make()
            first.load_state_dict(state)
        assert first.watch(media, own, scores) == reports[-1]
    assert reports[-1].findings
    json.dumps([one.to_dict() for one in reports], allow_nan=False)
    with pytest.raises(SpecError, match="guards"):
        Guards([FoilGuard()]).load_state_dict(whole.state_dict())


def test_check_stops_the_trainer_that_it_is_hung_into(records):
    reward = as_trl(SceneReward(load_judge("yes")), watch=Guards(default_guards()).check)
    own = [records[place] for place in range(CAPTIONS) for _ in range(GROUP)]
    media = Policies.improving(own, 0, 0.5)
    lists = {name: [one[name] for one in own] for name in ("id", "questions")}
    with pytest.raises(RewardHackedError, match="what is not there"):
        for _ in range(5):
            reward(generated_image=media, **lists)


@pytest.mark.parametrize(
    "make",
    [
        lambda: FoilGuard(rule="shout"),
        lambda: AnsweredGuard(baseline=1),
        lambda: QualityGuard(statistics=["beauty"]),
        lambda: ShortcutGuard(statistics=["beauty"]),
        lambda: Guards([]),
    ],
)
def test_options_out_of_range_are_refused(make):
    with pytest.raises(SpecError):
        make()


def test_scores_must_fit_the_pictures():
    with pytest.raises(SpecError, match="1 pictures and 2 scores"):
        Guards([FoilGuard()]).watch([flat()], [{"id": "a"}], [None, None])
