"""What a launcher says in the environment is honoured or refused in one line, before anything is trained."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("accelerate")

from anyscene.errors import SpecError
from anyscene.training.launch import launch_config, launched_for
from anyscene.training.sharding import Sharding
from anyscene.training.zero import check_zero

pytestmark = pytest.mark.torch


def test_configs_that_ship_start_several_processes_and_are_honoured(monkeypatch: pytest.MonkeyPatch) -> None:
    from accelerate.commands.config.config_args import load_config_from_file

    words = {}
    for name in ("ddp", "fsdp", "deepspeed-zero2"):
        config = load_config_from_file(str(launch_config(name)))
        words[name] = config.distributed_type.value
        assert config.num_processes == 2
    assert words == {"ddp": "MULTI_GPU", "fsdp": "FSDP", "deepspeed-zero2": "DEEPSPEED"}
    for key, value in load_config_from_file(str(launch_config("fsdp"))).fsdp_config.items():
        monkeypatch.setenv(key.upper(), str(value).lower() if isinstance(value, bool) else str(value))
    Sharding("bf16")
    with pytest.raises(SpecError, match=r"zero3: no such config .* there are ddp, deepspeed-zero2, fsdp"):
        launch_config("zero3")


def test_the_path_of_a_config_is_printed() -> None:
    done = subprocess.run([sys.executable, "-m", "anyscene.training.launch", "fsdp"], capture_output=True, text=True)
    assert Path(done.stdout.strip()) == launch_config("fsdp")
    assert done.stderr == ""
    wrong = subprocess.run([sys.executable, "-m", "anyscene.training.launch", "x"], capture_output=True, text=True)
    assert wrong.returncode == 1
    assert wrong.stderr.count("\n") == 1


def test_what_the_launcher_wants(monkeypatch: pytest.MonkeyPatch) -> None:
    assert launched_for() == "COPIES"
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    assert launched_for() == "FSDP"
    monkeypatch.setenv("ACCELERATE_USE_MEGATRON_LM", "true")
    with pytest.raises(SpecError, match=r"Megatron-LM: training does not run on it; .* fsdp"):
        launched_for()


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("FSDP_VERSION", "1", "fsdp_version: 2"),
        ("FSDP_OFFLOAD_PARAMS", "true", "fsdp_offload_params: true"),
        ("FSDP_ACTIVATION_CHECKPOINTING", "true", "optimization.gradient_checkpointing"),
        ("FSDP_CPU_RAM_EFFICIENT_LOADING", "true", "set it to false"),
        ("FSDP_RESHARD_AFTER_FORWARD", "false", "set it to true"),
    ],
)
def test_ways_to_shard_that_are_refused(name: str, value: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FSDP_VERSION", "2")
    monkeypatch.setenv(name, value)
    with pytest.raises(SpecError, match=said):
        Sharding("no")


def test_half_precision_that_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FSDP_VERSION", "2")
    for check in (Sharding, check_zero):
        with pytest.raises(SpecError, match="use bf16"):
            check("fp16")


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("ZERO_STAGE", "3", r"zero_stage 3: .* fsdp"),
        ("CONFIG_FILE", "mine.json", "deepspeed_config_file"),
        ("OFFLOAD_OPTIMIZER_DEVICE", "cpu", "set it to none"),
    ],
)
def test_ways_of_deepspeed_that_are_refused(name: str, value: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"ACCELERATE_DEEPSPEED_{name}", value)
    with pytest.raises(SpecError, match=said):
        check_zero("no")


def test_deepspeed_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("anyscene.training.zero.find_spec", lambda name: None)
    with pytest.raises(SpecError, match="pip install deepspeed, or launch with the config fsdp"):
        check_zero("no")
