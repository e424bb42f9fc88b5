"""What is learnt from follows from the scores alone: never below the threshold, never from a tie, never by the order of the input."""

from __future__ import annotations

import math
import random
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pydantic import ValidationError

from anyscene.dataset import SceneSpace
from anyscene.errors import SpecError
from anyscene.evaluation import EvaluationRun, judge_run, paint_run, scores_of
from anyscene.sandbox import load_judge, load_model, load_sandbox_taxonomy
from anyscene.scoring.scores import MEDIA_SCORES
from anyscene.training.policies import TIE
from anyscene.training.selection import REASONS, Candidate, Selection, candidates_of, pairs, select, unselected, weights
from anyscene.training.selection_figures import diversity, selection_figures

FILE = Path("a.png")
LOOSE = Selection(threshold=0, margin=0)


def group(scene: str, *scores: float | None, complexity: int | None = None) -> list[Candidate]:
    return [Candidate(scene, f"caption {scene}", place, FILE, score, complexity) for place, score in enumerate(scores)]


def samples(chosen: Iterable[Candidate]) -> list[tuple[str, int]]:
    return [(one.scene, one.sample) for one in chosen]


# ---- by hand ------------------------------------------------------------------------------------------------------------------------


def test_the_best_of_each_group_is_taken_if_it_passes() -> None:
    candidates = [*group("a", 0.5, 0.9, 0.7), *group("b", 0.1, 0.2, 0.3), *group("c", 0.80, 0.81, 0.82)]
    chosen, counts = select(candidates, Selection(threshold=0.6, margin=0.05))
    assert samples(chosen) == [("a", 1)]
    assert counts == {
        "candidates": 9, "groups": 3, "chosen": 1, "unmade": 0, "unscored": 0, "below_threshold": 4, "tied": 0, "below_margin": 4,
        "not_best": 0, "unbalanced": 0, "over_budget": 0, "short": 0,
    }  # fmt: skip


def test_the_mean_of_a_group_is_that_of_all_that_were_scored_and_none_is_no_zero() -> None:
    """0.7 lies 0.1 above the mean of 0.5 and 0.7; were the unscored ones zeros, it would lie 0.4 above."""
    candidates = group("a", 0.5, 0.7, None, None)
    assert samples(select(candidates, Selection(margin=0.1))[0]) == [("a", 1)]
    chosen, counts = select(candidates, Selection(margin=0.11))
    assert not chosen and counts["unscored"] == 2 and counts["below_margin"] == 2


def test_several_of_a_group_are_taken_best_first() -> None:
    candidates = group("a", 0.6, 0.9, 0.8, 0.7, 0.5)
    assert samples(select(candidates, Selection(margin=0, top_k=2))[0]) == [("a", 1), ("a", 2)]
    assert samples(select(candidates, Selection(margin=0, top_k=9))[0]) == [("a", 1), ("a", 2), ("a", 3)]  # 0.6 is below the mean
    assert select(candidates, Selection(margin=0, top_k=2))[1]["not_best"] == 1


@pytest.mark.parametrize("scores", [(0.9, 0.9, 0.9), (0.9, 0.9 + TIE / 10, 0.9), (0.9,), (0.9, None, None)])
def test_a_group_that_cannot_be_compared_gives_nothing_unless_asked(scores: Sequence[float | None]) -> None:
    candidates = group("a", *scores)
    chosen, counts = select(candidates, LOOSE)
    assert not chosen and counts["tied"] == sum(one is not None for one in scores)
    first = LOOSE.model_copy(update={"ties": "first", "margin": 0.5})
    assert samples(select(candidates, first)[0]) == [("a", 0)]
    assert not select(candidates, first.model_copy(update={"threshold": 0.95}))[0]
    assert not pairs(candidates, first)[0]


def test_of_equal_best_ones_the_first_is_taken_whatever_rounding_says() -> None:
    assert samples(select(group("a", 0.2, 0.9, 0.9 + 1e-9, 0.9), LOOSE)[0]) == [("a", 1)]


def test_what_was_not_made_or_has_no_finite_score_is_counted_as_such() -> None:
    lost = Candidate("a", "caption a", 7, None, 0.9)
    _, counts = select([*group("a", 0.1, 0.3, None, math.nan), lost], LOOSE)
    assert (counts["unmade"], counts["unscored"], counts["chosen"], counts["below_margin"]) == (1, 2, 1, 1)


def test_a_candidate_that_stands_there_twice_is_an_error() -> None:
    with pytest.raises(SpecError, match="sample 1 of scene b stands among the candidates twice"):
        select([*group("a", 0.1, 0.2), *group("b", 0.1, 0.2), *group("b", 0.1, 0.2)[1:]], LOOSE)


def test_nothing_comes_of_nothing() -> None:
    assert select([], LOOSE)[0] == [] and pairs([], LOOSE)[0] == [] and weights([], LOOSE)[0] == [] and unselected([], 0) == []
    assert select([], Selection(budget=3))[1]["short"] == 3


def test_a_budget_takes_the_best_of_every_scene_before_any_second() -> None:
    candidates = [one for name in "abcd" for one in group(name, 0.9, 0.8, 0.1, 0.1)]
    how = Selection(margin=0.02, top_k=2, budget=6)
    chosen, counts = select(candidates, how)
    assert Counter(one.score for one in chosen) == {0.9: 4, 0.8: 2}
    assert counts["over_budget"] == 2 and counts["short"] == 0
    assert {tuple(samples(select(candidates, how, seed=seed)[0])) for seed in range(20)} > {tuple(samples(chosen))}  # the seed decides
    chosen, counts = select(candidates, how.model_copy(update={"budget": 11}))
    assert len(chosen) == 8 and counts["short"] == 3


def test_pairs_are_the_best_and_the_worst() -> None:
    candidates = [*group("a", 0.5, 0.9, 0.1, None), *group("b", 0.7, 0.7), *group("c", 0.2, 0.3)]
    found, counts = pairs(candidates, Selection(threshold=0.5, margin=0.02, top_k=3))
    assert [(one.chosen.sample, one.rejected.sample, one.rejected.scene) for one in found] == [(1, 2, "a")]
    assert counts["chosen"] == 1 and counts["tied"] == 2


def test_softmax_weights_are_as_worked_by_hand() -> None:
    candidates = [*group("a", 0.0, 0.1, None), *group("b", 0.4, 0.4)]
    found, counts = weights(candidates, Selection(threshold=0, temperature=0.1))
    assert [weight for _, weight in found] == pytest.approx([2 / (1 + math.e), 2 * math.e / (1 + math.e)])
    assert counts["unscored"] == 1 and counts["tied"] == 2
    found, _ = weights(candidates, Selection(threshold=0, temperature=0.1, ties="first"))
    assert [weight for _, weight in found][2:] == [1.0, 1.0]
    found, _ = weights(candidates, Selection(threshold=0.05, temperature=0.1))
    assert [weight for _, weight in found] == pytest.approx([2 * math.e / (1 + math.e)])  # what falls out takes its weight along


def test_nft_weights_are_as_worked_by_hand() -> None:
    """Scores 0, 1 and 0.4, 0.6: the deviation of all four is sqrt(0.13); 0.5 above the mean of a group is 1.387 of it, a fifth of that counts."""
    found, _ = weights([*group("a", 0.0, 1.0), *group("b", 0.4, 0.6)], Selection(threshold=0, weighting="nft"))
    step = 0.5 / math.sqrt(0.13) / 5
    assert [weight for _, weight in found] == pytest.approx([1 - step, 1 + step, 1 - step / 5, 1 + step / 5])
    outlier = [*group("a", *[0.0] * 200, 1.0)]
    assert max(weight for _, weight in weights(outlier, Selection(threshold=0, weighting="nft"))[0]) == 2.0  # cut at 5 deviations


def test_softmax_of_huge_differences_stays_finite() -> None:
    found, _ = weights(group("a", -1000.0, 0.0, 1000.0), Selection(threshold=-2000, temperature=1e-3))
    assert [weight for _, weight in found] == [0.0, 0.0, 3.0]


# ---- the trap: easy scenes ----------------------------------------------------------------------------------------------------------


def easy_and_hard() -> list[Candidate]:
    """Of 40 easy scenes all pass, of 40 middling ones 10, of 20 hard ones none."""
    rng = random.Random(0)
    found = []
    for complexity, scenes, passing in ((2, 40, 40), (4, 40, 10), (6, 20, 0)):
        for place in range(scenes):
            best = 0.9 if place < passing else 0.4
            found += group(f"{complexity}-{place:02d}", 0.1, best, 0.2 * rng.random(), 0.1, complexity=complexity)
    return found


def test_without_balance_easy_scenes_are_preferred_and_the_figures_say_so() -> None:
    candidates = easy_and_hard()
    chosen, _ = select(candidates, Selection(threshold=0.5))
    found = selection_figures(candidates, chosen)
    assert Counter(one.complexity for one in chosen) == {2: 40, 4: 10}
    assert found["by"]["complexity"]["2"] == {"candidates": 0.4, "chosen": 0.8, "ratio": 2.0}
    assert found["by"]["complexity"]["6"]["ratio"] == 0.0
    assert found["complexity"] == pytest.approx(3.6) and found["complexity_chosen"] == pytest.approx(2.4)


def test_balance_takes_the_same_share_of_every_complexity_that_has_any() -> None:
    chosen, counts = select(easy_and_hard(), Selection(threshold=0.5, balance="complexity"))
    assert Counter(one.complexity for one in chosen) == {2: 10, 4: 10}
    assert counts["unbalanced"] == 30 and counts["chosen"] == 20


def test_a_balanced_budget_is_shared_out_and_what_hard_scenes_cannot_give_is_not_made_up_by_easy_ones() -> None:
    how = Selection(threshold=0.5, balance="complexity", budget=15)
    chosen, counts = select(easy_and_hard(), how)
    assert Counter(one.complexity for one in chosen) == {2: 8, 4: 7} and counts["short"] == 0
    chosen, counts = select(easy_and_hard(), how.model_copy(update={"budget": 30}))
    assert Counter(one.complexity for one in chosen) == {2: 15, 4: 10} and counts["short"] == 5


def test_balance_without_complexities_is_an_error() -> None:
    with pytest.raises(SpecError, match="the complexity of scene a is not known"):
        select(group("a", 0.1, 0.9), Selection(balance="complexity"))


# ---- properties ---------------------------------------------------------------------------------------------------------------------

SCORES = st.one_of(st.none(), st.sampled_from([0.0, 0.25, 0.5, 0.5 + TIE / 20, 0.75, 1.0]), st.floats(0, 1))


@st.composite
def rounds(draw: st.DrawFn) -> list[Candidate]:
    found = []
    for place in range(draw(st.integers(0, 7))):
        scores = draw(st.lists(SCORES, min_size=1, max_size=5))
        complexity = draw(st.integers(1, 3))
        for sample, score in enumerate(scores):
            path = FILE if draw(st.integers(0, 9)) else None
            found.append(Candidate(f"s{place}", "a caption", sample * draw(st.just(3)), path, score, complexity))
    return found


SELECTIONS = st.builds(
    Selection,
    threshold=st.sampled_from([0.0, 0.3, 0.5, 0.9]),
    margin=st.sampled_from([0.0, 0.02, 0.3]),
    top_k=st.integers(1, 3),
    balance=st.sampled_from(["none", "complexity"]),
    budget=st.one_of(st.none(), st.integers(1, 8)),
    weighting=st.sampled_from(["softmax", "nft"]),
)


def known_of(candidates: Sequence[Candidate], scene: str) -> list[float]:
    return [one.score for one in candidates if one.scene == scene and one.path is not None and one.score is not None]


@settings(max_examples=300, deadline=None)
@given(rounds(), SELECTIONS, st.integers(0, 3))
def test_whatever_is_selected_keeps_every_promise(candidates: list[Candidate], how: Selection, seed: int) -> None:
    chosen, counts = select(candidates, how, seed)
    assert len(set(samples(chosen))) == len(chosen) and set(chosen) <= set(candidates)
    for one in chosen:
        known = known_of(candidates, one.scene)
        assert one.path is not None and one.score is not None
        assert one.score >= how.threshold
        assert len(known) > 1 and max(known) - min(known) > TIE  # never from a tied group
        assert one.score >= sum(known) / len(known) + how.margin - 2 * TIE
        better = [other for other in known if other > one.score + 2 * TIE]
        assert len(better) < how.top_k
    assert max(Counter(one.scene for one in chosen).values(), default=0) <= how.top_k
    assert counts["chosen"] == len(chosen) and counts["candidates"] == len(candidates)
    assert counts["chosen"] + sum(counts[reason] for reason in REASONS) == counts["candidates"]
    assert how.budget is None or len(chosen) + counts["short"] == how.budget
    assert counts["short"] >= 0
    unlimited, _ = select(candidates, how.model_copy(update={"budget": None, "balance": "none"}), seed)
    assert set(chosen) <= set(unlimited)
    if how.balance == "none":
        assert len(chosen) == (len(unlimited) if how.budget is None else min(how.budget, len(unlimited)))


@settings(max_examples=150, deadline=None)
@given(rounds(), SELECTIONS, st.integers(0, 3), st.randoms(use_true_random=False))
def test_the_order_of_the_candidates_changes_nothing(candidates: list[Candidate], how: Selection, seed: int, rng: random.Random) -> None:
    shuffled = rng.sample(candidates, len(candidates))
    for choose in (select, pairs, weights):
        assert choose(candidates, how, seed) == choose(shuffled, how, seed)  # type: ignore[operator]
    made = sum(one.path is not None for one in candidates)
    assert unselected(candidates, made // 2, seed) == unselected(shuffled, made // 2, seed)


@settings(max_examples=150, deadline=None)
@given(rounds(), SELECTIONS)
def test_pairs_and_weights_keep_the_same_promises(candidates: list[Candidate], how: Selection) -> None:
    for one in pairs(candidates, how)[0]:
        known = known_of(candidates, one.chosen.scene)
        assert one.chosen.scene == one.rejected.scene and one.chosen.score is not None and one.rejected.score is not None
        assert one.chosen.score >= max(known) - TIE and one.rejected.score <= min(known) + TIE and one.chosen.score > one.rejected.score
        assert one.chosen.score >= how.threshold
    open_ = how.model_copy(update={"threshold": 0.0, "budget": None, "balance": "none"})
    found, counts = weights(candidates, open_)
    assert counts["chosen"] == len(found) and not counts["below_margin"] and not counts["not_best"]
    for scene in {one.scene for one, _ in found}:
        own = [(one.score or 0.0, weight) for one, weight in found if one.scene == scene]
        assert math.fsum(weight for _, weight in own) == pytest.approx(len(own))
        assert all(weight >= 0 for _, weight in own)
        own.sort()
        assert all(b[1] >= a[1] - 1e-9 for a, b in pairwise(own))


# ---- what selection is compared with ------------------------------------------------------------------------------------------------


def test_unselected_pictures_are_as_many_as_asked_and_know_nothing_of_scores() -> None:
    candidates = [one for place in range(30) for one in group(f"s{place}", 0.1, 0.9, None, 0.5)]
    drawn = unselected(candidates, 20, seed=1)
    assert len(drawn) == 20 == len({one.scene for one in drawn})
    blind = [Candidate(one.scene, one.caption, one.sample, one.path, None) for one in candidates]
    assert samples(unselected(blind, 20, seed=1)) == samples(drawn)
    assert samples(unselected(candidates, 20, seed=2)) != samples(drawn)
    every = Counter(one.sample for seed in range(60) for one in unselected(candidates, 30, seed))
    assert all(350 < count < 550 for count in every.values())  # 450 of each expected, 18 the deviation
    assert len(unselected(candidates, 120)) == 120
    with pytest.raises(SpecError, match="121 unselected pictures: 120 were made"):
        unselected(candidates, 121)


def test_unselected_pictures_of_the_same_scenes() -> None:
    candidates = [one for place in range(30) for one in group(f"s{place}", 0.1, 0.9, 0.5)]
    assert {one.scene for one in unselected(candidates, 2, scenes=["s3", "s7"])} == {"s3", "s7"}
    with pytest.raises(SpecError, match="7 unselected pictures: 6 were made"):
        unselected(candidates, 7, scenes=["s3", "s7"])


# ---- the section of a config --------------------------------------------------------------------------------------------------------


def test_every_score_of_a_media_may_be_selected_by() -> None:
    assert set(Selection.model_fields["score"].annotation.__args__) == set(MEDIA_SCORES)  # type: ignore[union-attr]


@pytest.mark.parametrize("wrong", [{"margin": -0.1}, {"top_k": 0}, {"threshold": math.nan}, {"budget": 0}, {"temperature": 0}, {"best": 1}])
def test_a_selection_that_makes_no_sense_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        Selection.model_validate(wrong)


@pytest.mark.parametrize(
    ("method", "keys", "named"),
    [
        ("sft", {"temperature": 0.1}, "selection.temperature"),
        ("dpo", {"ties": "first", "threshold": 0.2}, "selection.ties"),
        ("weighted", {"margin": 0.1, "top_k": 2}, "selection.margin, selection.top_k"),
        ("weighted", {"weighting": "nft", "temperature": 0.1}, "selection.temperature"),
        ("weighted", {"weighting": "nft", "threshold": 0.1, "budget": 3, "balance": "complexity", "ties": "first"}, None),
        ("sft", {"margin": 0.1, "top_k": 2, "ties": "first"}, None),
        ("nft", {"threshold": 0.1, "margin": 0.1}, "selection.threshold, selection.margin"),
        ("nft", {"budget": 10, "balance": "complexity"}, None),
    ],
)
def test_keys_without_effect_are_named(method: str, keys: dict[str, object], named: str | None) -> None:
    how = Selection.model_validate(keys)
    if named is None:
        how.refuse_unused(method)
    else:
        with pytest.raises(SpecError, match=f"^{named}: it has no effect on {method}"):
            how.refuse_unused(method)


# ---- a real run ---------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> EvaluationRun:
    space = SceneSpace(taxonomy=load_sandbox_taxonomy(), complexity=(1, 5), objects=(1, 3))
    model = load_model("flawed", drop=0.3, fail=0.1)
    found, _ = paint_run(space.table(0, 24), model, tmp_path_factory.mktemp("run") / "run", samples=4, quiet=True)
    judge_run(found, load_judge("pixels"), forms=("yes_no",), quiet=True)
    return found


def test_candidates_of_a_run_have_its_scores_its_files_and_its_captions(run: EvaluationRun) -> None:
    candidates = candidates_of(run)
    assert len(candidates) == 96 and {one.sample for one in candidates} == {0, 1, 2, 3}
    entries = {entry.key: entry for entry in run.media.entries()}
    records = {record["id"]: record for record in run.records}
    assert 0 < sum(one.path is None for one in candidates) < 30
    for one in candidates:
        entry = entries[one.scene, one.sample]
        assert one.caption == records[one.scene]["caption"] and one.complexity == records[one.scene]["complexity"]
        assert (one.path is None) == (entry.status != "made") and (one.path is None) <= (one.score is None)
        assert one.path is None or one.path.is_file()
    for score in ("soft", "all_correct"):
        by_scene = scores_of(run).by_scene[score]
        for place, record in enumerate(run.records):
            known = [one.score for one in candidates_of(run, score=score) if one.scene == record["id"] and one.score is not None]
            assert (np.mean(known) if known else math.nan) == pytest.approx(by_scene[place], nan_ok=True)
    with pytest.raises(SpecError, match="score 'softer'"):
        candidates_of(run, score="softer")
    with pytest.raises(SpecError, match="not of nobody"):
        candidates_of(run, "nobody")


def test_the_figures_of_a_run(run: EvaluationRun) -> None:
    candidates = candidates_of(run)
    chosen, counts = select(candidates, Selection(threshold=0.6))
    assert 5 < len(chosen) < 24
    found = selection_figures(candidates, chosen, {record["id"]: record for record in run.records})
    assert found["scenes"] == 24 and found["scenes_chosen"] == pytest.approx(len(chosen) / 24)
    assert found["score_chosen"] > found["score"]
    assert found["unscored"] == pytest.approx((counts["unmade"] + counts["unscored"]) / 96)
    assert math.fsum(one["candidates"] for one in found["by"]["complexity"].values()) == pytest.approx(1)
    assert math.fsum(one["chosen"] for one in found["by"]["complexity"].values()) == pytest.approx(1)
    assert set(found["by"]["attribute_type"]) > {"none", "color"}
    assert 0 < selection_figures(candidates_of(run, score="all_correct"), [])["tied"] < 1
    empty = selection_figures(candidates, [])
    assert empty["score_chosen"] is None and empty["scenes_chosen"] == 0 and empty["by"]["complexity"]["1"]["ratio"] is None
    assert selection_figures([], [])["score"] is None


def test_tied_scenes_are_those_with_scores_to_compare_that_are_alike() -> None:
    candidates = [*group("a", 0.5, 0.5), *group("b", 0.5, 0.6), *group("c", 0.5, None), *group("d", 0.7, 0.7, 0.7)]
    assert selection_figures(candidates, [])["tied"] == pytest.approx(2 / 3)


def test_diversity_tells_a_model_that_draws_one_picture_from_one_that_draws_one_for_each_caption(
    tmp_path: Path, run: EvaluationRun
) -> None:
    real = diversity(candidates_of(run))
    assert real["within"] is not None and real["between"] is not None and 0.02 < real["within"] < real["between"]

    def painted(name: str, color_of: dict[str, int]) -> list[Candidate]:
        found = []
        for scene, color in color_of.items():
            path = tmp_path / f"{name}-{scene}.png"
            Image.new("RGB", (8, 8), (color, color, color)).save(path)
            found += [Candidate(scene, scene, sample, path, 0.5) for sample in range(3)]
        return found

    assert diversity(painted("one", {"a": 51, "b": 51})) == {"within": 0.0, "between": 0.0}
    found = diversity(painted("each", {"a": 0, "b": 51}))
    assert found["within"] == 0.0 and found["between"] == pytest.approx(0.2)
    assert diversity([]) == {"within": None, "between": None}
    assert diversity(candidates_of(run), most=5) == diversity(candidates_of(run)[::-1], most=5) != real


@pytest.mark.slow
def test_a_million_candidates_are_selected_from_in_seconds() -> None:
    rng = random.Random(0)
    scores = [None if rng.random() < 0.02 else rng.random() for _ in range(1_000_000)]
    candidates = [Candidate(f"scene-{place // 8}", "a dog", place % 8, FILE, score, place // 8 % 5) for place, score in enumerate(scores)]
    began = time.process_time()
    chosen, counts = select(candidates, Selection(balance="complexity", budget=50_000))
    assert time.process_time() - began < 30  # 2 s on an idle core
    assert len(chosen) == 50_000 and counts["groups"] == 125_000
