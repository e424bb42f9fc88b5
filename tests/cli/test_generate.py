"""`anyscene generate`: the same rows however they are made, and nothing lost whatever happens."""

from __future__ import annotations

import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from command_line import PATIENCE_S, Outcome, command, digests, run_apart, run_here

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals and limits")
MANY = ("-n", 24_000, "--shards", 30, "-q")


def rows(folder: Path) -> list[str]:
    shown = run_here("show", folder, "--json", "--count", 10**9)
    assert shown.code == 0, shown.err
    return shown.out.splitlines()


@pytest.mark.parametrize("options", [("--shards", 1), ("--shards", 16), ("--workers", 2), ("--workers", 10_000, "--shards", 3)], ids=str)
def test_shards_and_workers_change_no_row(words: Path, tmp_path: Path, options: tuple[Any, ...]) -> None:
    for name, more in (("plain", ()), ("other", options)):
        assert run_here("generate", "--taxonomy", words, "-n", 50, "-q", "--out", tmp_path / name, *more).code == 0
    assert rows(tmp_path / "plain") == rows(tmp_path / "other")


def test_halves_make_the_whole(words: Path, tmp_path: Path) -> None:
    for name, n, start in (("whole", 50, 0), ("first", 20, 0), ("second", 30, 20)):
        assert run_here("generate", "--taxonomy", words, "-n", n, "--start", start, "-q", "--out", tmp_path / name).code == 0
    assert rows(tmp_path / "first") + rows(tmp_path / "second") == rows(tmp_path / "whole")


def test_seed_style_and_questions_are_heard(words: Path, tmp_path: Path) -> None:
    common = ("generate", "--taxonomy", words, "-n", 5, "-q")
    for name, more in {
        "plain": (),
        "seed": ("--seed", -(2**63)),
        "style": ("--style", "tags"),
        "forms": ("--forms", "open"),
        "foils": ("--foils", "0.5"),
        "none": ("--no-questions",),
    }.items():
        assert run_here(*common, *more, "--out", tmp_path / name) == Outcome(0, "", "")
    made = [tuple(rows(path)) for path in tmp_path.iterdir()]
    assert len(set(made)) == 6
    assert not any('"questions"' in row for row in rows(tmp_path / "none"))


def test_says_what_it_did_unless_quiet(words: Path, tmp_path: Path) -> None:
    common = ("generate", "--taxonomy", words, "-n", 5, "--out", tmp_path / "out")
    first, again, other = run_here(*common), run_here(*common), run_here(*common, "--seed", 1)
    assert (first.out, again.out) == ("", "")
    assert "5 rows in" in first.err
    assert "already complete" in again.err
    assert other.refused
    assert "source.seed: 0 there, 1 asked for" in other.err
    assert run_here(*common, "--seed", 1, "--overwrite", "-q") == Outcome(0, "", "")


@pytest.fixture(scope="module")
def whole(words: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What an unbroken run leaves."""
    out = tmp_path_factory.mktemp("whole") / "out"
    assert run_apart("generate", "--taxonomy", words, *MANY, "--out", out) == Outcome(0, "", "")
    return digests(out)


def heed_interrupts() -> None:
    """A shell that starts these tests in the background lets its children ignore Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT], ids=lambda how: how.name)
def test_a_run_that_was_cut_off_ends_as_if_unbroken(
    words: Path, tmp_path: Path, whole: dict[str, str], how: signal.Signals, workers: int
) -> None:
    out = tmp_path / "out"
    again = ("generate", "--taxonomy", words, *MANY, "--workers", workers, "--out", out)
    with subprocess.Popen(
        command(*again), preexec_fn=heed_interrupts, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        deadline = time.monotonic() + PATIENCE_S
        while len(list(out.glob("records-*"))) < 3:
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.002)
        process.send_signal(how)
        printed, said = process.communicate(timeout=PATIENCE_S)
    assert not (out / "run.json").exists()
    assert run_here("show", out).refused
    if how is signal.SIGINT:
        assert (process.returncode, printed) == (130, "")
        assert said.startswith("anyscene: stopped after")
        assert said.count("\n") == 1
    deadline = time.monotonic() + PATIENCE_S
    while (last := run_apart(*again)).code and "Another process" in last.err and time.monotonic() < deadline:
        time.sleep(0.05)  # workers of the killed run end soon after it
    assert last == Outcome(0, "", "")
    assert digests(out) == whole


@pytest.mark.slow
def test_ctrl_c_before_the_first_row_is_one_line_too(words: Path) -> None:
    with subprocess.Popen(
        command("space", "--taxonomy", words, "--complexity", 14), preexec_fn=heed_interrupts, stderr=subprocess.PIPE, text=True
    ) as process:
        time.sleep(2)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, said) == (130, "anyscene: stopped\n")


def test_a_full_disk_leaves_nothing_half_written(words: Path, tmp_path: Path, whole: dict[str, str]) -> None:
    out = tmp_path / "out"
    again = ("generate", "--taxonomy", words, *MANY, "--out", out)

    def small_disk() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (8_000, 8_000))

    found = run_apart(*again, preexec_fn=small_disk)
    assert found.refused, found
    assert "larger than is allowed" in found.err
    assert sorted(path.name for path in out.iterdir()) == [".progress"]
    assert run_apart(*again) == Outcome(0, "", "")
    assert digests(out) == whole


def test_the_last_full_disk_can_be_told(words: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full")
    with open("/dev/full", "w") as full:
        done = subprocess.run(command("taxonomy", "stats", "--taxonomy", words), stdout=full, stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (1, "anyscene: standard output: No space left on device\n")


@pytest.mark.parametrize("out", ["file", "file/below", "other run", "records", "run.json is a folder", "a" * 300, "", " "])
def test_a_folder_that_cannot_be_used_is_left_alone(words: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, out: str) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").write_text("mine")
    for name, file in (("other run", "run.json"), ("records", "records-00000-of-00001.parquet"), ("records", "mine.txt")):
        Path(name).mkdir(exist_ok=True)
        (Path(name) / file).write_text('{"kind": "other"}')
    Path("run.json is a folder/run.json").mkdir(parents=True)
    before = {path: path.read_bytes() if path.is_file() else None for path in tmp_path.rglob("*")}
    for more in (("--overwrite",), ()) if out != "records" else ((),):
        assert run_here("generate", "--taxonomy", words, "-n", 3, "-q", "--out", out, *more).refused
    assert {path: path.read_bytes() if path.is_file() else None for path in tmp_path.rglob("*")} == before


@pytest.mark.parametrize(
    "manifest", [b"garbage", b"[1]", b"\xff", b"null", b'{"kind": "dataset"}', b'{"kind": "dataset", "files": [{"name": 1}]}'], ids=repr
)
def test_a_damaged_manifest_is_told_and_overwritten_only_when_asked(words: Path, tmp_path: Path, manifest: bytes) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "run.json").write_bytes(manifest)
    again = ("generate", "--taxonomy", words, "-n", 3, "-q", "--out", out)
    assert run_here(*again).refused
    assert run_here("show", out).refused
    assert (out / "run.json").read_bytes() == manifest
    assert run_here(*again, "--overwrite") == Outcome(0, "", "")


def test_foreign_files_in_the_folder_stay(words: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    for more in ((), ("--seed", 1, "--overwrite")):
        assert run_here("generate", "--taxonomy", words, "-n", 3, "-q", "--out", tmp_path, *more) == Outcome(0, "", "")
    assert (tmp_path / "mine.txt").read_text() == "mine"


def test_missing_parents_are_made(words: Path, tmp_path: Path) -> None:
    assert run_here("generate", "--taxonomy", words, "-n", 3, "-q", "--out", tmp_path / "a" / "b" / "c").code == 0
    assert len(rows(tmp_path / "a" / "b" / "c")) == 3


def test_a_missing_file_is_told_and_made_anew(words: Path, tmp_path: Path) -> None:
    again = ("generate", "--taxonomy", words, "-n", 30, "--shards", 3, "-q", "--out", tmp_path / "out")
    assert run_here(*again).code == 0
    before = digests(tmp_path / "out")
    lost = sorted((tmp_path / "out").glob("records-*"))[1]
    for harm in (lambda: lost.write_bytes(b"junk"), lost.unlink):
        harm()
        assert run_here("show", tmp_path / "out", "--index", 15).refused
        assert run_here(*again).code == 0
        assert digests(tmp_path / "out") == before
