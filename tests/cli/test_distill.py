"""`anyscene distill` in the sandbox, as a user runs it."""

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
student = "sandbox:diffusion"
teacher = "sandbox:renderer"
judge = "sandbox:pixels"
taxonomy = "sandbox"

[student_options]
steps = 2

[teacher_options]
size = 32

[scenes]
complexity = [1, 3]

[exam]
n = 80
least = 15

[fine_tuning]
updates = 2
batch_size = 4

[held_out]
n = 16
"""


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("config") / "run.toml"
    path.write_text(SMALL)
    return path


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, config: Path) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "run"
    made = run_here("distill", "--config", config, "--budget", 10, "--out", folder, "-q", "--json")
    assert made.code == 0, made.err
    assert json.loads(made.out) == json.loads((folder / "result.json").read_text())
    return folder


def test_a_run_ends_with_a_policy_a_result_and_a_report(run: Path) -> None:
    result = json.loads((run / "result.json").read_text())
    assert result["trained"] and result["lessons"]["kept"] == 10 and result["updates"] == 2
    assert {one.name for one in run.iterdir()} >= {"before", "teacher", "exam", "lessons", "after", "policy", "gap.json", "leakage.json"}
    assert "What was learnt, and what was lost" in (run / "report.html").read_text()


def test_the_closing_table_says_what_was_taught_and_what_happened_elsewhere(run: Path, config: Path) -> None:
    made = run_here("distill", "--config", config, "--budget", 10, "--out", run, "-q")
    assert made.code == 0, made.err
    for words in ("all that was taught", "all others", "On held-out scenes, at what was taught", "report:"):
        assert words in made.out


def test_without_a_gap_it_says_so_and_ends_well(config: Path, tmp_path: Path) -> None:
    given = ("--teacher", "sandbox:flawed", "-t", "size=32", "-t", "drop=1", "-s", "steps=3")
    made = run_here("distill", "--config", config, *given, "--out", tmp_path / "run", "-q")
    assert made.code == 0, made.err
    assert made.out.startswith("The teacher is not better anywhere that shows")
    assert not (tmp_path / "run" / "policy").exists()


def test_a_judge_that_always_says_yes_is_refused(config: Path, tmp_path: Path) -> None:
    for given in (("--judge", "sandbox:yes"), ("--set", 'second_judge="sandbox:yes"')):
        made = run_here("distill", "--config", config, *given, "--out", tmp_path / "run", "-q")
        assert made.refused and "is refused" in made.err, made
    assert not list(tmp_path.rglob("*.png"))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--student", "sandbox:flawed"), "steps"),
        (("--set", "student_options={}", "--student", "sandbox:flawed"), "only diffusers models can learn from pictures"),
        (("--set", "lessons.budgets=4"), "there is no such key"),
        (("--budget", "0"), "lessons.budget"),
        (("--teacher", "nothing:x"), "nothing"),
        (("--teacher", "folder:nowhere", "--set", "teacher_options={}"), "there is no such folder"),
        (("--set", "optimization.kl=0.1"), "optimization.kl: it has no effect"),
        (("--set", 'trackers=["aim"]'), "trackers"),
    ],
)
def test_what_is_wrong_is_said_in_one_line_before_anything_is_painted(
    config: Path, tmp_path: Path, options: tuple[str, ...], said: str
) -> None:
    made = run_here("distill", "--config", config, *options, "--out", tmp_path / "run", "-q")
    assert made.refused and said in made.err, made
    assert not list(tmp_path.rglob("*.png"))


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    made = run_here("distill", "--student", "sandbox:diffusion", "--taxonomy", "sandbox", "--out", tmp_path / "run")
    assert made.refused and "teacher is missing" in made.err


@pytest.mark.slow
def test_two_processes_make_one_run(config: Path, run: Path, tmp_path: Path) -> None:
    command = (sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "-m", "anyscene.cli.main", "distill", "--config")
    done = subprocess.run(
        [*command, config, "--budget", "10", "--out", tmp_path / "run", "-q"], capture_output=True, text=True, timeout=500, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    alone, together = ([json.loads(line) for line in (one / "metrics.jsonl").read_text().splitlines()] for one in (run, tmp_path / "run"))
    assert [one["loss"] for one in together] == pytest.approx([one["loss"] for one in alone], rel=1e-4)
    assert json.loads((tmp_path / "run" / "gap.json").read_text()) == json.loads((run / "gap.json").read_text())
    assert (tmp_path / "run" / "result.json").is_file()
