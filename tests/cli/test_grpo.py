"""`anyscene grpo` in the sandbox, as a user runs it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import Outcome, run_here

pytest.importorskip("trl")
pytestmark = pytest.mark.torch

SMALL = """
model = "sandbox:autoregressive"
judge = "sandbox:pixels"
taxonomy = "sandbox"
clip_weights = "sandbox:contrastive"
updates = 2
checkpoint_every = 1

[scenes]
complexity = [1, 3]

[rollout]
captions = 2
group_size = 3

[optimization]
learning_rate = 1e-4

[held_out]
n = 8
"""


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("config") / "run.toml"
    path.write_text(SMALL)
    return path


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, config: Path) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "run"
    made = run_here("grpo", "--config", config, "--out", folder, "-q", "--json")
    assert made.code == 0, made.err
    assert json.loads(made.out) == json.loads((folder / "result.json").read_text())
    return folder


def refusal(made: Outcome) -> str:
    assert made.refused, made
    return made.err


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_a_run_ends_with_a_policy_a_result_and_a_report(run: Path) -> None:
    result = json.loads((run / "result.json").read_text())
    assert result["held_out"]["scenes"] == 8 and result["updates"] == 2
    for name in ("all_correct", "strict", "soft"):
        one = result["difference"][name]
        assert one["b"] - one["a"] == pytest.approx(one["difference"]) and one["low"] <= one["difference"] <= one["high"]
        assert one["a"] == pytest.approx(result["before"][name]["value"])
    page = (run / "report.html").read_text()
    assert "Over the updates" in page and "What it was rewarded for" in page and "<script src" not in page
    assert [json.loads(line)["update"] for line in (run / "metrics.jsonl").read_text().splitlines()] == [1, 2]


def test_training_and_held_out_scenes_share_no_structure_and_no_pair(run: Path) -> None:
    checked = json.loads((run / "result.json").read_text())["held_out"]["split"]["checked"]
    assert checked["structures"]["shared"] == checked["pairs"]["shared"] == 0
    assert checked["structures"]["test"] > 0 and checked["pairs"]["test"] > 0


def test_the_trained_policy_is_loaded_from_its_folder_and_is_another(run: Path) -> None:
    from anyscene.models import load_model
    from anyscene.training.policies import Trained

    trained = Trained.read(run / "policy")
    made = load_model(trained.load, **trained.options).generate(["There is a red circle."], [1])[0]
    before = load_model("sandbox:autoregressive", guidance=trained.options["guidance"]).generate(["There is a red circle."], [1])[0]
    assert made.array().shape == before.array().shape == (32, 32, 3)  # type: ignore[union-attr]
    media = json.loads((run / "after" / "run.json").read_text())["model"]
    assert media["revision"] != json.loads((run / "before" / "run.json").read_text())["model"]["revision"]


def test_the_same_command_again_changes_nothing(run: Path, config: Path) -> None:
    before = files(run)
    assert run_here("grpo", "--config", config, "--out", run, "-q").code == 0
    assert files(run) == before


def test_another_command_does_not_write_into_the_run(run: Path, config: Path) -> None:
    refused = refusal(run_here("grpo", "--config", config, "--seed", 5, "--out", run, "-q"))
    assert "seed: 0 there, 5 asked for" in refused


def test_a_clip_reward_and_a_sum_of_rewards_train_too(config: Path, tmp_path: Path) -> None:
    for reward, part in (("clip", None), ("scene=1,clip=0.5", "reward/clip")):
        out = tmp_path / reward.replace("=", "")
        made = run_here("grpo", "--config", config, "--reward", reward, "--set", "updates=1", "--set", "held_out.n=0", "--out", out, "-q")
        assert made.code == 0, made.err
        line = json.loads((out / "metrics.jsonl").read_text())
        assert part is None or part in line
        assert "evaluated nothing" in (out / "report.html").read_text()


def test_a_judge_that_always_says_yes_is_refused_and_without_the_doctor_stopped(config: Path, tmp_path: Path) -> None:
    rigged = ("grpo", "--config", config, "--judge", "sandbox:yes", "--set", "held_out.n=0", "--set", "updates=8", "-q")
    assert "is refused" in refusal(run_here(*rigged, "--out", tmp_path / "a"))
    stopped = refusal(run_here(*rigged, "--no-doctor", "--out", tmp_path / "b"))
    assert "foils" in stopped or "what is not there" in stopped


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--model", "sandbox:flawed"), "only autoregressive and diffusers models can be trained"),
        (("--algorithm", "nft"), "trained with grpo"),
        (("--reward", "beauty"), "it must be scene, clip"),
        (("--reward", "scene=a"), "must be a number"),
        (("--set", "rollout.group=4"), "there is no such key"),
        (("--set", "rollout.trained_steps=4"), "rollout.trained_steps: it has no effect on grpo"),
        (("--set", "nft.samples=4"), "nft.samples: it has no effect on grpo"),
        (("--reward", "sandbox:contrastive=1,sandbox:other=1"), "sandbox"),
        (("--set", "rollout.group_size"), "KEY=VALUE"),
        (("--set", "held_out.n=1000000"), "held-out scenes"),
        (("--set", "reward_options.soft=maybe"), "soft"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(config: Path, tmp_path: Path, options: tuple[str, ...], said: str) -> None:
    made = run_here("grpo", "--config", config, *options, "--out", tmp_path / "run", "-q")
    assert said in refusal(made)
    assert not list(tmp_path.rglob("*.png"))  # nothing was painted before it was found


def test_a_vocabulary_is_kept_by_its_name(config: Path, tmp_path: Path) -> None:
    given = ("--taxonomy", "sandbox", "--set", "updates=1", "--set", "held_out.n=0", "-q")
    assert run_here("grpo", "--config", config, *given, "--out", tmp_path / "run").code == 0
    assert json.loads((tmp_path / "run" / "run.json").read_text())["config"]["taxonomy"] == "sandbox"


def test_the_scene_reward_needs_a_judge(tmp_path: Path) -> None:
    made = run_here(
        "grpo", "--model", "sandbox:autoregressive", "--taxonomy", "sandbox", "--set", "held_out.n=0", "--out", tmp_path / "run"
    )
    assert "asks a judge" in refusal(made)


def test_a_split_is_not_split_again(config: Path, tmp_path: Path) -> None:
    assert run_here("split", "--taxonomy", "sandbox", "--by", "pair", "--complexity", "1-3", "--out", tmp_path / "split").code == 0
    made = run_here("grpo", "--config", config, "--scenes", tmp_path / "split" / "train.json", "--out", tmp_path / "run", "-q")
    assert "give the whole" in refusal(made)


@pytest.mark.slow
def test_two_processes_make_one_run(config: Path, run: Path, tmp_path: Path) -> None:
    command = (sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "-m", "anyscene.cli.main", "grpo", "--config")
    done = subprocess.run([*command, config, "--out", tmp_path / "run", "-q"], capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr[-2000:]
    alone, together = ([json.loads(line) for line in (one / "metrics.jsonl").read_text().splitlines()] for one in (run, tmp_path / "run"))
    assert [one["reward"] for one in together] == pytest.approx([one["reward"] for one in alone], abs=1e-6)
    assert (tmp_path / "run" / "result.json").is_file()


def test_a_tracker_is_told_of_every_update(config: Path, tmp_path: Path) -> None:
    pytest.importorskip("tensorboardX")
    given = ("--set", "held_out.n=0", "--set", 'trackers=["tensorboard"]', "-q")
    assert run_here("grpo", "--config", config, *given, "--out", tmp_path / "run").code == 0
    written = b"".join(path.read_bytes() for path in (tmp_path / "run" / "tracker").rglob("*tfevents*"))
    assert b"reward_std" in written and written.count(b"zero_variance") == 2


def test_a_tracker_that_is_not_installed_is_named(config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import anyscene.training.launch as recipe

    monkeypatch.setattr(recipe, "find_spec", lambda name: None if name == "wandb" else object())
    given = ("--set", "held_out.n=0", "--set", 'trackers=["wandb"]', "-q")
    assert "pip install wandb" in refusal(run_here("grpo", "--config", config, *given, "--out", tmp_path / "run"))
