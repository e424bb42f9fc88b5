"""`anyscene show` on what is no dataset, or no longer one."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from command_line import command, run_here

Spoil = Callable[[str, bytes], Path]


@pytest.fixture
def record(datasets: dict[str, Path]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(run_here("show", datasets["jsonl"], "--index", 0, "--json").out)
    return found


@pytest.mark.parametrize(
    "option", ["--index=40", "--index=-1", f"--index={'9' * 40}", "--index=x", "--count=0", "--count=-1", "--count=x", "--count="]
)
@pytest.mark.parametrize("format", ["parquet", "jsonl", "webdataset"])
def test_rows_that_are_not_there(datasets: dict[str, Path], format: str, option: str) -> None:
    assert run_here("show", datasets[format], option).refused


@pytest.mark.parametrize("suffix", [".parquet", ".jsonl", ".tar", ".txt", ""])
@pytest.mark.parametrize("data", [b"", b"\0" * 5000, b"\xff" * 5000, b"[]\n", b"{}\n", b"null\n", b"\n\n"], ids=lambda data: repr(data[:4]))
def test_no_file_of_records(spoil: Spoil, suffix: str, data: bytes) -> None:
    path = spoil(f"file{suffix}", data)
    for options in ((), ("--json",), ("--index", 0)):
        assert run_here("show", path, *options).refused


def test_another_parquet_file(tmp_path: Path) -> None:
    pq.write_table(pa.table({"index": [0], "other": ["x"]}), tmp_path / "other.parquet")
    for options in ((), ("--json",), ("--index", 0)):
        assert run_here("show", tmp_path / "other.parquet", *options).refused


@pytest.mark.parametrize("format", ["parquet", "jsonl", "webdataset"])
def test_a_damaged_file_never_breaks_it(datasets: dict[str, Path], tmp_path: Path, format: str) -> None:
    file = sorted(datasets[format].glob("records-*"))[0]
    whole = file.read_bytes()
    spoilt = [whole[: len(whole) * part // 7] for part in range(1, 7)]
    spoilt += [whole[:at] + bytes([whole[at] ^ 0x55]) + whole[at + 1 :] for at in range(5, len(whole), len(whole) // 40)]
    for data in spoilt:
        (tmp_path / file.name).write_bytes(data)
        for options in ((), ("--index", 3)):
            found = run_here("show", tmp_path / file.name, *options)
            assert found.refused or (found.code == 0 and found.err == ""), found


def test_a_folder_that_is_no_dataset(tmp_path: Path) -> None:
    for options in ((), ("--index", 0)):
        assert run_here("show", tmp_path, *options).refused
        assert run_here("show", tmp_path / "missing", *options).refused


@pytest.mark.parametrize("key", ["graph", "questions", "plausibility"])
@pytest.mark.parametrize(
    "junk", [1, "x", [], [1], {}, {"objects": 1}, {"objects": [{"id": "a"}], "relations": [], "scene_attributes": []}], ids=str
)
def test_a_record_that_cannot_be_drawn(spoil: Spoil, record: dict[str, Any], key: str, junk: Any) -> None:
    path = spoil("file.jsonl", json.dumps({**record, key: junk}).encode() + b"\n")
    found = run_here("show", path)
    assert found.refused or found.code == 0, found


@pytest.mark.parametrize("junk", [None, "x", [], {}], ids=str)
def test_an_index_that_is_no_number(spoil: Spoil, record: dict[str, Any], junk: Any) -> None:
    path = spoil("file.jsonl", json.dumps({**record, "index": junk}).encode() + b"\n")
    assert run_here("show", path, "--index", 3).refused


@pytest.mark.parametrize("name", ["file.jsonl", "run.json"])
def test_deep_nesting(spoil: Spoil, name: str) -> None:
    path = spoil(name, b"[" * 100_000)
    assert run_here("show", path if name != "run.json" else path.parent).refused


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
def test_a_pipe_is_not_waited_for(tmp_path: Path, suffix: str) -> None:
    os.mkfifo(tmp_path / f"pipe{suffix}")
    subprocess.run(command("show", tmp_path / f"pipe{suffix}"), timeout=4, capture_output=True)


def test_a_dataset_cannot_steer_the_terminal(spoil: Spoil, record: dict[str, Any]) -> None:
    path = spoil("file.jsonl", json.dumps({**record, "caption": "\x1b[31mred\u202e [bold]x[/bold]\x07"}).encode() + b"\n")
    shown = run_here("show", path)
    assert shown.code == 0
    assert all(line.isprintable() for line in shown.out.splitlines())
    assert "[bold]x[/bold]" in shown.out
