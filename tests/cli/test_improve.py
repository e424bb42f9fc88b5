"""`anyscene improve` in the sandbox, as a user runs it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import run_here

pytest.importorskip("torch")
pytest.importorskip("diffusers")
pytest.importorskip("accelerate")
pytest.importorskip("peft")
pytestmark = [
    pytest.mark.torch,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]

SMALL = """
model = "sandbox:diffusion"
judge = "sandbox:pixels"
taxonomy = "sandbox"
rounds = 1
scenes_per_round = 6
images_per_scene = 3
validation = 0

[model_options]
steps = 3

[scenes]
complexity = [1, 3]

[selection]
threshold = 0.2
margin = 0.0

[fine_tuning]
updates = 2
batch_size = 4

[lora]
rank = 4

[held_out]
n = 10
"""


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("config") / "run.toml"
    path.write_text(SMALL)
    return path


def test_a_run_closes_with_one_table_and_what_may_be_claimed(config: Path, tmp_path: Path) -> None:
    given = ("improve", "--config", config, "--baseline", "unselected", "--seed", 1, "--out", tmp_path / "run", "-q")
    made = run_here(*given)
    assert made.code == 0, made.err
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    for words in ("on held-out scenes", "all_correct", "soft, than unselected", result["claim"]["sentence"], "report.html"):
        assert words in made.out
    again = run_here(*given, "--json")
    assert json.loads(again.out) == result


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--model", "sandbox:flawed"), "has no option 'steps'"),
        (("--model", "sandbox:none"), "the sandbox has no model"),
        (("--judge", "sandbox:none"), "the sandbox has no judge"),
        (("--judge", "sandbox:yes"), "is refused"),
        (("--second-judge", "sandbox:yes"), "is refused"),
        (("--second-judge", "sandbox:pixels"), "take another"),
        (("--baseline", "best"), "it must be unselected or images=PATH"),
        (("--baseline", "images=/nowhere"), "no such folder"),
        (("--start", "middle"), "start"),
        (("--rounds", "0"), "rounds"),
        (("--images-per-scene", "1"), "images_per_scene"),
        (("--scenes-per-round", "1000000000"), "training scenes"),
        (("--set", "held_out.n=1000000000"), "held-out scenes"),
        (("--set", "held_out.n=0"), "without held-out scenes"),
        (("--set", "held_out.model_options.step=4"), "has no option"),
        (("--set", "patience=2"), "set validation above 0"),
        (("--set", "selection.temperature=0.5"), "selection.temperature: it has no effect on sft"),
        (("--set", "selection.best=1"), "there is no such key"),
        (("--set", "optimization.kl=0.1"), "it has no effect on sft"),
        (("--set", "fine_tuning.method=ppo"), "fine_tuning.method"),
        (("--set", "fine_tuning.min_snr=5"), "no effect on flow models"),
        (("--set", "fine_tuning.size=33"), "multiples of"),
        (("--set", "lora.dropout=0.1"), "without dropout"),
        (("--set", 'lora.targets=["nothing"]'), "lora.targets nothing"),
        (("--set", "optimization.precision=fp16"), "fp16"),
        (("--set", "scenes.modality=video"), "makes image"),
        (("--set", "scenes.colour=red"), "colour"),
        (("--set", 'trackers=["nothing"]'), "trackers"),
    ],
)
def test_what_is_wrong_is_said_in_one_line_before_anything_is_painted(
    config: Path, tmp_path: Path, options: tuple[str, ...], said: str
) -> None:
    made = run_here("improve", "--config", config, *options, "--out", tmp_path / "run", "-q")
    assert made.refused, made
    assert said in made.err
    assert not list(tmp_path.rglob("*.png"))


@pytest.mark.slow
def test_two_processes_make_one_run(config: Path, tmp_path: Path) -> None:
    given = ("improve", "--config", config, "--set", "validation=4", "--rounds", "2", "-q")
    assert run_here(*given, "--out", tmp_path / "alone").code == 0
    command = (sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "-m", "anyscene.cli.main", *map(str, given))
    done = subprocess.run([*command, "--out", tmp_path / "run"], capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr[-2000:]
    losses = [
        [json.loads(line)["loss"] for line in (tmp_path / one / "selected/round-1/training/metrics.jsonl").read_text().splitlines()]
        for one in ("alone", "run")
    ]
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)
    assert json.loads((tmp_path / "run" / "result.json").read_text())["claim"]["claim"]
