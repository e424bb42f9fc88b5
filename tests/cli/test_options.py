"""Options that cannot be honoured: one line, a non-zero exit, and nothing written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command_line import run_here

DIGITS = "9" * 50
WRONG_SPECS = [
    *(f"--complexity={text}" for text in ("0", "100", "4-", "8-4", "a-b", "-3", "", DIGITS, "1-999999999", "4–8", "１", "1.5", "4 - 8")),
    *(f"--scene-attributes={text}" for text in ("5", "-1", "x", "3-1")),
    *(f"--{kind}={text}" for kind in ("objects", "attributes", "relations") for text in ("-1", "x", "3-1", DIGITS)),
    *(f"--realism={text}" for text in ("nan", "inf", "-1", "2", "1e400", "x", "")),
    *(f"--{name}={text}" for name in ("only", "without") for text in ("", ",", "nothing", "\x1b[31m", "\udcff", "a" * 100_000)),
    "--modality=smell",
    "--order=random",
    "--order=uniform --realism=0.3",
    "--only=animal --without=animal",
    "--no-such-option",
    "extra",
]
EMPTY = ["--relations=50", "--objects=0", "--attributes=99", "--objects=20", "--complexity=1 --objects=2"]
WRONG_ROWS = [
    *(f"-n={number}" for number in ("0", "-1", "1e30", "x", "", "1.5", "nan", DIGITS)),
    *(f"--seed={number}" for number in (DIGITS, f"-{DIGITS}", str(2**63), "x", "")),
    *(f"--foils={share}" for share in ("nan", "inf", "-1", "0.6", "x")),
    *(f"--shards={number}" for number in ("0", "-1", "4", DIGITS, "x")),
    *(f"--workers={number}" for number in ("0", "-1", "x")),
    *(f"--start={number}" for number in ("-1", DIGITS, "99999999999", "x")),
    *(f"--forms={forms}" for forms in ("", ",", "x", "yes_no,x")),
    "--style=x",
    "--format=csv",
    "--out=",
]


def words_of(line: str) -> list[str]:
    """`-n=3` is how the tables above write `-n 3`."""
    parts = [part for one in line.split(" --") for part in (one if one.startswith("-") or one == "extra" else f"--{one}",)]
    return [word for part in parts for word in (part.split("=", 1) if part.startswith("-n=") else [part])]


@pytest.mark.parametrize("line", WRONG_SPECS, ids=lambda line: ascii(line)[:40])
def test_a_spec_that_cannot_be(words: Path, tmp_path: Path, line: str) -> None:
    for command in (("space",), ("generate", "-n", 3, "--out", tmp_path / "out"), ("split", "--by", "pair", "--out", tmp_path / "out")):
        found = run_here(*command, "--taxonomy", words, *words_of(line))
        assert found.refused, found
        assert found.out == ""
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("line", EMPTY)
def test_a_spec_without_scenes(words: Path, tmp_path: Path, line: str) -> None:
    assert json.loads(run_here("space", "--taxonomy", words, "--json", *words_of(line)).out)["total"] == 0
    assert run_here("generate", "-n", 3, "--out", tmp_path / "out", "--taxonomy", words, *words_of(line)).refused
    assert run_here("split", "--by", "pair", "--out", tmp_path / "out", "--taxonomy", words, *words_of(line)).refused
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("line", WRONG_ROWS, ids=lambda line: line[:40])
def test_rows_that_cannot_be(words: Path, tmp_path: Path, line: str) -> None:
    found = run_here("generate", "--taxonomy", words, "-n", 3, "--out", tmp_path / "out", *words_of(line))
    assert found.refused, found
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "arguments",
    [
        "nothing",
        "generate",
        "generate -n 5",
        "generate -n",
        "show",
        "show a b",
        "show missing",
        "describe",
        "describe missing",
        "split --by pair",
        "split --by colour --out out",
        "space --at 0 --find missing",
        "space --find missing",
        "taxonomy nothing",
        "taxonomy check",
        "taxonomy check missing",
        "taxonomy search",
        "taxonomy search x --limit 0",
        "taxonomy stats --taxonomy missing",
        "--nothing",
    ],
)
def test_arguments_that_make_no_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: str) -> None:
    monkeypatch.chdir(tmp_path)
    found = run_here(*arguments.split())
    assert found.refused, found
    assert found.code == 1 or "See: anyscene" in found.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("at", ["-1", "1277", DIGITS, "x", "1.5", ""])
@pytest.mark.parametrize("more", [(), ("--json",)], ids=["", "json"])
def test_a_scene_that_is_not_there(words: Path, at: str, more: tuple[str, ...]) -> None:
    assert run_here("space", "--taxonomy", words, "--complexity", "1-2", f"--at={at}", *more).refused


@pytest.mark.parametrize("share", ["0", "1", "nan", "inf", "-1", "0.001", "0.999", "x"])
def test_a_share_that_no_split_has(words: Path, tmp_path: Path, share: str) -> None:
    assert run_here("split", "--taxonomy", words, "--by", "pair", f"--test={share}", "--out", tmp_path / "out").refused
    assert list(tmp_path.iterdir()) == []


def test_split_never_replaces_a_file(words: Path, tmp_path: Path) -> None:
    (tmp_path / "test.json").write_text("mine")
    for key in (0, 1):
        assert run_here("split", "--taxonomy", words, "--by", "pair", "--key", key, "--out", tmp_path).refused
    assert [path.name for path in tmp_path.iterdir()] == ["test.json"]
    assert (tmp_path / "test.json").read_text() == "mine"


def test_a_side_of_a_split_is_not_split_again(words: Path, tmp_path: Path) -> None:
    split = ("split", "--taxonomy", words, "--by", "pair")
    assert run_here(*split, "--out", tmp_path / "first").code == 0
    assert run_here(*split, "--spec", tmp_path / "first" / "train.json", "--out", tmp_path / "second").refused
    assert not (tmp_path / "second").exists()
