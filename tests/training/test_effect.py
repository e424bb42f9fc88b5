"""The short version of docs/results/grpo.md: a policy trained for a minute beats its start on compositions that it never saw."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("trl")
pytestmark = [pytest.mark.torch, pytest.mark.slow]

CONFIG = Path(__file__).resolve().parents[2] / "docs" / "results" / "grpo" / "autoregressive.toml"


def test_a_policy_beats_its_start_on_held_out_scenes(tmp_path: Path) -> None:
    from anyscene.sandbox import load_sandbox_taxonomy
    from anyscene.training import read_config
    from anyscene.training.grpo import run_grpo

    config = read_config(CONFIG, {"updates": 20, "optimization.schedule": "constant", "held_out.n": 150, "seed": 7})
    result = run_grpo(config, tmp_path / "run", taxonomy=load_sandbox_taxonomy(), quiet=True)
    checked = result["held_out"]["split"]["checked"]
    assert checked["structures"]["shared"] == checked["pairs"]["shared"] == 0
    for name in ("strict", "soft"):
        one = result["difference"][name]
        assert one["low"] > 0, f"{name}: {one['a']:.3f} to {one['b']:.3f}, {one['low']:+.3f} to {one['high']:+.3f}"
