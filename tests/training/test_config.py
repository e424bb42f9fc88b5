"""A config is read whole, or refused with the key that is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from anyscene.errors import SpecError
from anyscene.space import SceneSpec
from anyscene.training.config import GrpoConfig, config_names, read_config


@pytest.mark.parametrize("name", config_names())
def test_configs_that_ship_are_whole(name: str) -> None:
    config = read_config(Path(name), {})
    assert config.updates > 1 and config.held_out.n >= 500
    SceneSpec.from_dict(config.scenes)


def test_there_are_configs_for_both_kinds_of_policy() -> None:
    assert {read_config(Path(name), {}).model.partition(":")[0] for name in config_names()} >= {"autoregressive", "diffusers"}


def test_what_is_given_comes_before_the_file(tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    path.write_text('model = "sandbox:autoregressive"\nupdates = 3\n[rollout]\ngroup_size = 4\ncaptions = 5\n')
    config = read_config(path, {"rollout.group_size": 6, "updates": None, "model_options.guidance": "2"})
    assert (config.rollout.group_size, config.rollout.captions, config.updates) == (6, 5, 3)
    assert config.model_options == {"guidance": "2"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("updates = 5", "model is missing"),
        ('model = "a"\nlearning_rate = 3', "learning_rate: there is no such key"),
        ('model = "a"\n[rollout]\ngroup = 3', "rollout.group: there is no such key .*group_size"),
        ('model = "a"\n[rollout]\ngroup_size = 1', "rollout.group_size.*greater than or equal to 2.*1"),
        ('model = "a"\nalgorithm = "ppo"', "algorithm.*'ppo'"),
        ('model = "a"\nupdates = 5\n[optimization]\ninner_updates = 2', "multiple of optimization.inner_updates"),
        ("model = a", "no TOML file"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "run.toml"
    path.write_text(text)
    with pytest.raises(SpecError, match=said):
        read_config(path, {})


def test_a_file_that_is_not_there_is_named_with_those_that_ship(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"nowhere.toml.*simplear-0.5b"):
        read_config(tmp_path / "nowhere.toml", {})


def test_a_key_below_a_value_is_refused() -> None:
    with pytest.raises(SpecError, match="model is no section"):
        read_config(None, {"model": "a", "model.guidance": 2})


@pytest.mark.parametrize("name", config_names())
def test_configs_that_ship_set_nothing_in_vain(name: str) -> None:
    config = read_config(Path(name), {})
    config.refuse_unused("grpo" if config.algorithm == "auto" else config.algorithm)


def test_what_has_no_effect_is_refused() -> None:
    for algorithm, key, value in (("grpo", "rollout.steps", 4), ("flow_grpo", "nft.samples", 2), ("nft", "optimization.clip_range", 0.1)):
        with pytest.raises(SpecError, match=f"{key}: it has no effect on {algorithm}"):
            read_config(None, {"model": "a", key: value}).refuse_unused(algorithm)


def test_rewards_have_weights() -> None:
    assert GrpoConfig(model="a").rewards == {"scene": 1.0}
    assert GrpoConfig(model="a", reward={"scene": 1, "clip": 0.3}).rewards == {"scene": 1.0, "clip": 0.3}
