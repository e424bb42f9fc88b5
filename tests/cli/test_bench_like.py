"""anyscene bench like, audit and detect on the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from command_line import run_here
from PIL import Image

from anyscene.dataset import read_table

ROWS: list[dict[str, Any]] = [
    {"tag": "single_object", "include": [{"class": "circle", "count": 1}], "prompt": "a photo of a circle"},
    {"tag": "colors", "include": [{"class": "star", "count": 1, "color": "red"}], "prompt": "a photo of a red star"},
]


@pytest.fixture
def prompts(tmp_path: Path) -> Path:
    path = tmp_path / "metadata.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return path


def test_scenes_like_a_benchmark_share_nothing_with_it(prompts: Path, tmp_path: Path) -> None:
    out = tmp_path / "train"
    arguments = ("bench", "like", "geneval", "--items", prompts, "-n", 12, "--out", out, "--taxonomy", "sandbox", "--all-objects", "-q")
    done = run_here(*arguments)
    assert done.code == 0 and "12 scenes like geneval" in done.out and "attribute color: 50.0%, of the benchmark 50.0%" in done.out, (
        done.err
    )
    assert read_table(out).num_rows == 12
    facts = json.loads(run_here(*arguments, "--json").out)  # the same command again finds the same run
    assert facts["scenes"] == 12 and facts["complexity"] == {"benchmark": 1.5, "scenes": 1.5}
    audit = run_here("bench", "audit", out, "geneval", "--items", prompts, "--strict")
    assert audit.code == 0 and "0 of 2 prompts of geneval are in it" in audit.out


def test_an_audit_names_what_leaks_and_strictly_fails(prompts: Path, tmp_path: Path) -> None:
    train = tmp_path / "captions.txt"
    train.write_text("a dog on a sofa\nA photo of a red star!\n")
    done = run_here("bench", "audit", train, "geneval", "--items", prompts)
    assert done.code == 0 and "1 of 2 prompts of geneval are in it, in 1 of 2 captions" in done.out and "line 2" in done.out
    assert json.loads(run_here("bench", "audit", train, "geneval", "--items", prompts, "--json").out)["rows_by_kind"]["normalized"] == 1
    strict = run_here("bench", "audit", train, "geneval", "--items", prompts, "--strict")
    assert strict.code == 1 and strict.one_line and "1 of 2 prompts" in strict.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("like", "nothing", "-n", 3), "there is none of that name"),
        (("like", "geneval", "-n", 0), "ask for at least 1"),
        (("like", "geneval", "-n", 10**6, "--format", "xml"), "There is no format 'xml'"),
        (("audit", "TRAIN", "geneval", "--threshold", 2), "threshold 2.0"),
        (("audit", "gone.txt", "geneval"), "no such file"),
        (("detect", "geneval", "PICTURES", "--detector", "x"), "nothing in it is laid out"),
    ],
)
def test_wrong_requests_are_one_line(prompts: Path, tmp_path: Path, arguments: tuple[object, ...], said: str) -> None:
    train, pictures = tmp_path / "train.txt", tmp_path / "pictures"
    train.write_text("a dog\n")
    pictures.mkdir()
    Image.new("RGB", (8, 8)).save(pictures / "x.png")
    named = {"TRAIN": train, "PICTURES": pictures}
    whole: list[object] = [named.get(str(one), one) for one in arguments]
    if arguments[0] == "like":
        whole += ["--out", tmp_path / "out", "-q"]
    done = run_here("bench", *whole, "--items", prompts)
    assert done.refused and said in done.err, done.err


def test_a_benchmark_without_things_is_not_looked_at(tmp_path: Path) -> None:
    path = tmp_path / "color_val.txt"
    path.write_text("a red cup and a blue bowl\n")
    done = run_here("bench", "detect", "t2i-compbench", tmp_path, "--items", path, "--detector", "x")
    assert done.refused and "nothing to look for" in done.err
