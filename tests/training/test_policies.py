"""Seeds of rollouts, learning rates, and the note that says how a policy is loaded."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from anyscene.training.config import Optimization
from anyscene.training.policies import Trained, learning_rate_factor, rollout_seed


def test_the_seed_of_a_rollout_is_a_hash_of_run_update_and_place() -> None:
    assert rollout_seed(0, 0, 0) == rollout_seed(0, 0, 0) < 2**31
    seeds = {rollout_seed(seed, update, place) for seed in range(5) for update in range(20) for place in range(-2, 48)}
    assert len(seeds) == 5 * 20 * 50
    assert rollout_seed(1, 2, 3) == 1859821052


def test_the_learning_rate_rises_in_equal_steps_then_stays() -> None:
    factor = learning_rate_factor(Optimization(warmup=3), 6)
    assert [factor(update) for update in range(6)] == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]


def test_a_cosine_ends_at_a_tenth_with_the_last_update() -> None:
    factor = learning_rate_factor(Optimization(schedule="cosine", warmup=1), 6)
    assert [factor(update) for update in range(6)] == pytest.approx([0.5, 1.0, 0.868198, 0.55, 0.231802, 0.1], abs=1e-6)
    assert factor(7) == pytest.approx(0.1)
    assert learning_rate_factor(Optimization(schedule="cosine"), 1)(0) == 1.0


def test_a_trained_policy_says_how_it_is_loaded(tmp_path: Path) -> None:
    Trained("autoregressive:x/policy", {"guidance": 2.0, "prefix": ""}).write(tmp_path)
    assert json.loads((tmp_path / "policy.json").read_text("utf-8")) == {
        "load": "autoregressive:x/policy",
        "options": {"guidance": 2.0, "prefix": ""},
    }
