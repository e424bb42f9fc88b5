"""The short versions of docs/results/improve.md and docs/results/distill.md: both recipes make a model better on compositions that it never saw.

They ask less than the experiments: one smaller round in place of three, drawn in half the steps; scenes that all have a background, its
pattern or a frame. What is asserted is that there is an effect, not how large it is. One thread, so that cores do not change the sums.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
for library in ("diffusers", "transformers", "accelerate", "peft"):
    pytest.importorskip(library)

from anyscene.sandbox import load_sandbox_taxonomy  # noqa: E402
from anyscene.training import read_config  # noqa: E402
from anyscene.training.distill import run_distill  # noqa: E402
from anyscene.training.distill_config import DistillConfig  # noqa: E402
from anyscene.training.improve import run_improve  # noqa: E402
from anyscene.training.improve_config import ImproveConfig  # noqa: E402

pytestmark = [
    pytest.mark.torch,
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]

RESULTS = Path(__file__).resolve().parents[2] / "docs" / "results"


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def rose(one: Mapping[str, Any], what: str) -> None:
    assert one["low"] > 0, f"{what}: {one['a']:.3f} to {one['b']:.3f}, {one['low']:+.3f} to {one['high']:+.3f}"


def shares_nothing(result: Mapping[str, Any]) -> None:
    """The two sides of the split, which both have something to share."""
    checked = result["held_out"]["split"]["checked"]
    for kind in ("structures", "pairs"):
        assert checked[kind]["train"] and checked[kind]["test"] and checked[kind]["shared"] == 0


def test_a_model_that_learns_from_its_own_judged_pictures_beats_its_start_and_what_learnt_from_pictures_that_nobody_judged(
    tmp_path: Path,
) -> None:
    short = {
        "model_options.steps": 10,
        "rounds": 1,
        "scenes_per_round": 120,
        "validation": 0,
        "fine_tuning.updates": 80,
        "fine_tuning.nft_strength": 0.01,
        "held_out.n": 200,
        "seed": 7,
    }
    config = read_config(RESULTS / "improve" / "second.toml", short, ImproveConfig)
    result = run_improve(config, tmp_path / "run", taxonomy=load_sandbox_taxonomy(), quiet=True)
    shares_nothing(result)
    assert result["leakage"]["clean"]
    rose(result["claim"]["scores"]["soft"], "over the start")
    rose(result["baselines"]["unselected"]["against"]["scores"]["soft"], "over learning from pictures that nobody judged")


def test_a_student_takes_over_from_its_teacher_what_it_was_taught_and_loses_nothing_that_shows(tmp_path: Path) -> None:
    short = {
        "student_options.steps": 10,
        "scenes.complexity": [1, 3],
        "scenes.relations": [0, 0],
        "scenes.scene_attributes": [1, 1],
        "exam.n": 120,
        "exam.most": 2,
        "lessons.budget": 200,
        "lessons.samples": 4,
        "lessons.keep": 4,
        "lessons.others": 0.0,
        "fine_tuning.updates": 500,
        "fine_tuning.batch_size": 16,
        "ema.decay": 0.95,
        "held_out.n": 200,
        "seed": 7,
    }
    config = read_config(RESULTS / "distill" / "second.toml", short, DistillConfig)
    result = run_distill(config, tmp_path / "run", taxonomy=load_sandbox_taxonomy(), quiet=True)
    assert result["trained"], result["conclusion"]
    shares_nothing(result)
    assert "scene:frame" in result["chosen"] and not result["not_asked"]
    rose(result["taught"], f"what was taught ({', '.join(result['chosen'])})")
    rose(next(one for one in result["skills"] if one["skill"] == "scene:frame"), "frames")
    assert result["elsewhere"]["high"] > 0, result["conclusion"]
