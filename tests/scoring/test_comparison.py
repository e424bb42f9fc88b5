"""Runs side by side: only what both have is compared."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from anyscene.errors import SpecError
from anyscene.scoring import Scores, compare_runs, rank_runs, score_run


def make_run(build: Any, names: range, gain: float, seed: int, model: str, skip: frozenset[int] = frozenset()) -> Scores:
    """Scenes of unequal difficulty, the same for all models; `gain` moves the attributes alone."""
    scenes = {
        f"s{i}": [build.question("o", f"Dog {i}?"), build.question("a", f"Red {i}?", kind="attribute", depends_on=["o"])] for i in names
    }
    own = np.random.default_rng(seed)
    said = {}
    for i in names:
        hard = np.random.default_rng(1000 + i).uniform(0.2, 0.7)
        if i not in skip:
            said[(f"s{i}", "o")] = hard + own.uniform(0, 0.05)
            said[(f"s{i}", "a")] = hard + gain + own.uniform(0, 0.05)
    tables = build.records(scenes), build.media(scenes), build.answers(scenes, said)
    return score_run(*tables, model=model, judge="j", resamples=300)


def test_a_difference_in_one_skill_is_found_in_that_skill_alone(build: Any) -> None:
    a, b = make_run(build, range(80), 0.0, 1, "a"), make_run(build, range(80), 0.04, 2, "b")
    found = compare_runs(a, b, resamples=300)
    attribute, existence = found.by["kind"]["attribute"], found.by["kind"]["existence"]
    assert attribute.difference == pytest.approx(0.04, abs=0.01)
    assert attribute.p_adjusted is not None and attribute.p_adjusted < 0.01
    assert existence.low is not None and existence.high is not None and existence.low < 0.005 and existence.high > -0.005
    assert attribute.p is not None and attribute.p <= attribute.p_adjusted
    assert found.scores["soft"].difference == pytest.approx(0.02, abs=0.01)
    data = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert data["models"] == ["a", "b"] and data["same_judge"] and data["scenes"] == {"common": 80, "a": 80, "b": 80}


def test_only_common_scenes_and_answers_are_compared(build: Any) -> None:
    a = make_run(build, range(60), 0.0, 1, "a", skip=frozenset({30, 31}))
    b = make_run(build, range(20, 90), 0.0, 1, "b", skip=frozenset({40}))
    found = compare_runs(a, b, resamples=300)
    assert found.scenes == (40, 60, 70)
    assert found.scores["soft"].n == 37 and found.by["kind"]["existence"].n == 37
    own = a.by_scene["soft"][[i for i in range(20, 60) if i not in (30, 31, 40)]].mean()
    assert found.scores["soft"].a == pytest.approx(own)


def test_the_order_of_scenes_does_not_matter(build: Any) -> None:
    a, b = make_run(build, range(30), 0.0, 1, "a"), make_run(build, range(29, -1, -1), 0.03, 2, "b")
    found = compare_runs(a, b, resamples=300)
    by_id = dict(zip(b.record_ids, b.by_scene["soft"], strict=True))
    assert found.scores["soft"].b == pytest.approx(np.mean([by_id[name] for name in a.record_ids]))
    assert found.by["kind"]["attribute"].difference == pytest.approx(0.03, abs=0.015)


def test_a_run_equals_itself(build: Any) -> None:
    a = make_run(build, range(30), 0.0, 1, "a")
    found = compare_runs(a, a, resamples=300)
    assert all(one.difference == 0 and one.p == 1.0 for one in found.scores.values() if one.n)


def test_runs_that_share_nothing_are_refused(build: Any) -> None:
    with pytest.raises(SpecError, match="share no scene"):
        compare_runs(make_run(build, range(5), 0.0, 1, "a"), make_run(build, range(5, 9), 0.0, 1, "b"))


def test_several_runs_are_ranked_with_corrected_p_values(build: Any) -> None:
    runs = [
        make_run(build, range(60), gain, seed, model) for seed, (gain, model) in enumerate(((0.0, "low"), (0.06, "high"), (0.0, "same")))
    ]
    found = rank_runs(runs)
    assert found["scenes"] == 60 and found["runs"][0]["model"] == "high"
    verdicts = {(pair["a"], pair["b"]): pair["p_adjusted"] < 0.05 for pair in found["pairs"]}
    assert verdicts == {(0, 1): True, (0, 2): False, (1, 2): True}
    with pytest.raises(SpecError, match="at least two"):
        rank_runs(runs[:1])
    with pytest.raises(SpecError, match="soft, strict"):
        rank_runs(runs, "beauty")
