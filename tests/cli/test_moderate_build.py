"""`anyscene moderate build` and `audit`, as a user runs them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from command_line import run_here
from PIL import Image

pytest.importorskip("sklearn")


@pytest.fixture(scope="module")
def sides(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of a camera and of a painter on the same scenes."""
    root = tmp_path_factory.mktemp("moderate")
    assert run_here("generate", "-n", 24, "--complexity", "1-3", "--taxonomy", "sandbox", "--out", root / "scenes", "-q").code == 0
    for name, model in (("real", "sandbox:camera"), ("fake", "sandbox:flawed")):
        done = run_here("paint", root / "scenes", "--model", model, "-m", "size=48", "--out", root / name, "-q")
        assert done.code == 0, done.err
    return root


def test_a_data_set_is_built_audited_and_built_no_second_time(sides: Path, tmp_path: Path) -> None:
    command = ("moderate", "build", "--real", sides / "real", "--generated", f"flawed={sides / 'fake'}", "--out", tmp_path / "data")
    done = run_here(*command, "--licence", "ours")
    assert done.code == 0, done.err
    assert "flawed: " in done.err and " test" in done.err
    manifest = json.loads((tmp_path / "data" / "dataset.json").read_text())
    assert manifest["options"]["licence"] == "ours" and manifest["counts"]["flawed"] == manifest["counts"]["real"]
    again = run_here(*command, "--licence", "ours")
    assert again.code == 0 and "nothing to do" in again.err
    other = run_here(*command, "--seed", 5)
    assert other.refused is False and other.code == 1 and "holds another data set" in other.err
    found = run_here("moderate", "audit", tmp_path / "data", "-q")
    assert found.code == 0, found.out
    assert "passed: no shortcut was found" in found.out and "of their looks: " in found.out
    assert json.loads((tmp_path / "data" / "dataset.json").read_text())["audit"]["biased"] is False


def test_a_model_paints_for_a_data_set(sides: Path, tmp_path: Path) -> None:
    done = run_here(
        "moderate", "build", "--real", sides / "real", "--model", "sandbox:flawed", "-m", "size=48", "-n", 6, "--out", tmp_path / "d", "-q"
    )
    assert done.code == 0 and done.err == ""
    assert json.loads((tmp_path / "d" / "dataset.json").read_text())["pairs"] == 6


def write_biased(root: Path) -> None:
    dice = np.random.default_rng(0)
    for side in ("real", "fake"):
        (root / side).mkdir()
    for place in range(20):
        values = dice.integers(0, 255, (40, 40, 3), dtype=np.uint8)
        Image.fromarray(values).save(root / "real" / f"{place}.jpg", quality=85)
        Image.fromarray(values[:, ::-1]).save(root / "fake" / f"{place}.png")


def test_raw_pictures_are_refused_in_one_line_that_names_the_shortcut(tmp_path: Path) -> None:
    write_biased(tmp_path)
    command = ("moderate", "audit", "--real", tmp_path / "real", "--generated", f"model={tmp_path / 'fake'}", "-q")
    done = run_here(*command)
    assert done.code == 1 and done.one_line
    assert "(format)" in done.err and "--allow-biased" in done.err
    assert "shortcut: model: file format (format) tells the sides apart, AUROC 1.00" in done.out
    allowed = run_here(*command, "--allow-biased", "--json")
    assert allowed.code == 0
    assert json.loads(allowed.out)["biased"] is True


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("build", "--real", "real", "--out", "x"), "no generated pictures"),
        (("build", "--real", "real", "--generated", "real", "--out", "x"), "NAME=PATH"),
        (("build", "--real", "real", "--generated", "a=b", "--generated", "a=c", "--out", "x"), "given twice"),
        (("build", "--real", "gone", "--generated", "a=fake", "--out", "x"), "give a folder of pictures"),
        (("build", "--real", "real", "--generated", "a=fake", "--out", "x", "--shares", "1,2"), "three numbers"),
        (("build", "--real", "real", "--generated", "a=fake", "--out", "x", "--shares", "1,1,1"), "sum up to 1"),
        (("build", "--real", "real", "--generated", "a=fake", "--out", "x", "--scale", "small"), "give a factor"),
        (("build", "--real", "real", "--generated", "a=fake", "--out", "x", "--scale", "0.5"), "never larger"),
        (("build", "--real", "real", "--generated", "a=fake", "--out", "x", "--encoding", "gif"), "must be real, png, or jpeg"),
        (("build", "--real", "real", "--generated", "a=fake", "--out", "x", "--spec", "a.json"), "name a --model"),
        (("build", "--real", "real", "--generated", "a=fake", "--out", "x", "--scenes", "real"), ""),
        (("audit",), "audit what?"),
        (("audit", "real", "--real", "real"), "audit what?"),
        (("audit", "real"), "no data set of a detector"),
        (("audit", "--real", "real"), "0 generators"),
    ],
)
def test_mistakes_are_told_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], said: str) -> None:
    write_biased(tmp_path)
    monkeypatch.chdir(tmp_path)
    done = run_here("moderate", *arguments, "-q")
    assert done.refused, done.err
    assert said in done.err
    assert not (tmp_path / "x" / "dataset.json").exists()
