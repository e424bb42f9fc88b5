"""`anyscene moderate train`, `eval`, `hard-cases` and `harden` in the sandbox, as a user runs them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command_line import run_here

pytest.importorskip("torch")
pytest.importorskip("sklearn")
pytest.importorskip("accelerate")
pytest.importorskip("transformers")
pytestmark = [pytest.mark.torch, pytest.mark.slow]
QUICK = ("--backbone", "resnet", "--size", "32", "--steps", "12", "--set", "batch=16", "--set", "validate_every=6", "--widen")


def run(*words: object) -> str:
    made = run_here(*words)
    assert made.code == 0, made.err
    return made.out


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a data set: photographs of the sandbox's camera, and the same scenes as another painter draws them."""
    place = tmp_path_factory.mktemp("moderate")
    run("generate", "-n", 80, "--taxonomy", "sandbox", "--complexity", "1-3", "--out", place / "scenes", "-q")
    for name, model in (("photos", "camera"), ("fakes", "renderer")):
        words = ("--model", f"sandbox:{model}", "-m", "size=32", "--taxonomy", "sandbox", "-q")
        run("paint", place / "scenes", *words, "--out", place / name)
    words = ("--real", place / "photos", "--generated", f"drawn={place / 'fakes'}", "--shares", "0.4,0.3,0.3", "-q")
    run("moderate", "build", *words, "--out", place / "data")
    run("moderate", "train", place / "data", *QUICK, "--allow-biased", "--out", place / "detector", "-q")
    return place


def test_training_says_how_well_it_does_and_what_its_threshold_is_for(place: Path) -> None:
    said = run("moderate", "train", place / "data", *QUICK, "--allow-biased", "--out", place / "detector", "-q")
    assert "validation: AUROC 0." in said and "threshold 0." in said and "for 1 % takes 300" in said
    facts = json.loads(run("moderate", "train", place / "data", *QUICK, "--allow-biased", "--out", place / "detector", "-q", "--json"))
    assert facts["data"]["generators"] == ["drawn"] and facts["options"]["steps"] == 12


def test_what_was_not_audited_is_refused_in_one_line(place: Path) -> None:
    made = run_here("moderate", "train", place / "data", *QUICK, "--out", place / "other")
    assert made.code == 1 and "run anyscene moderate audit" in made.err and made.err.count("\n") == 1


def test_wrong_options_are_told_in_one_line(place: Path) -> None:
    for words, said in (
        (("--backbone", "vgg"), "there are vit-tiny"),
        (("--set", "lr=1"), "unknown key 'lr'"),
        (("--generator", "sora"), "has drawn"),
        (("--false-positive-rate", "0.9"), "at most 0.5"),
    ):
        made = run_here("moderate", "train", place / "data", "--allow-biased", "--widen", "--out", place / "wrong", "-q", *words)
        assert made.code == 1 and said in made.err, (words, made.err)


def test_an_evaluation_writes_figures_and_a_report(place: Path) -> None:
    words = ("moderate", "eval", place / "detector", "--data", place / "data", "--degrade", "jpeg:75", "--out", place / "evaluation")
    said = run(*words)
    assert "hand features (data)" in said and "report: " in said
    found = json.loads(run(*words, "--json"))
    assert found == json.loads((place / "evaluation" / "evaluation.json").read_text())
    assert {one["degradation"] for one in found["cells"]} == {"", "jpeg:75"}
    assert found["detectors"]["detector"]["generators"] == ["drawn"]
    made = run_here("moderate", "eval", place / "detector", "--data", place / "data", "--split", "train", "--out", place / "x")
    assert made.code == 1 and "--drop-seen" in made.err


def test_hard_cases_and_the_loop(place: Path) -> None:
    words = ("--taxonomy", "sandbox", "-q")
    said = run("moderate", "hard-cases", place / "detector", place / "data", *words, "--out", place / "cases")
    assert "generated pictures are missed" in said
    assert any(one["skill"].startswith("named:") for one in json.loads((place / "cases" / "hard-cases.json").read_text())["cases"])
    own = ("--generator", "drawn=sandbox:renderer", "-m", "size=32", "--complexity", "1-3", "-n", 10)
    found = json.loads(run("moderate", "harden", place / "detector", place / "data", *own, *words, "--json", "--out", place / "loop"))
    assert found["hard"] == [] and "after" not in found  # so few pictures show nothing
    assert (place / "loop" / "report.html").is_file()
    made = run_here(
        "moderate", "harden", place / "detector", place / "data", "--generator", "drawn", *words, "-n", 10, "--out", place / "y"
    )
    assert made.code == 1 and "NAME=MODEL" in made.err
