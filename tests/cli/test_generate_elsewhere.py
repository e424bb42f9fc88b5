"""`anyscene generate` with URIs, and with Ray."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from command_line import PATIENCE_S, Outcome, command, digests, run_here


def test_a_uri_is_a_folder_like_any_other(words: Path, tmp_path: Path) -> None:
    common = ("generate", "--taxonomy", words, "-n", 50, "--shards", 3)
    assert run_here(*common, "-q", "--out", tmp_path / "path") == Outcome(0, "", "")
    assert run_here(*common, "-q", "--out", f"file://{tmp_path}/uri") == Outcome(0, "", "")
    assert digests(tmp_path / "path") == digests(tmp_path / "uri")
    again = run_here(*common, "--out", f"file://{tmp_path}/uri")
    assert again.err == f"file://{tmp_path}/uri is already complete: 50 rows in 3 files. Nothing to do.\n"
    assert run_here(*common, "--out", f"file://{tmp_path}/uri", "--seed", 1).refused


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--engine", "spark"), "engine 'spark': it must be one of local, ray"),
        (("--address", "auto"), "--address says something of a Ray cluster: give --engine ray as well"),
        (("--cpus-per-worker", "2"), "--cpus-per-worker says something of a Ray cluster"),
        (("--workers", "0"), "workers is 0"),
        (("--engine", "ray", "--workers", "0"), "workers is 0"),
        (("--engine", "ray", "--cpus-per-worker", "0"), "neither a core nor a GPU"),
        (("--out", "nothing://at/all"), "Cannot use nothing://at/all"),
        (("--out", "file://two/slashes"), "three slashes"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_what_cannot_be_is_told(words: Path, tmp_path: Path, more: tuple[str, ...], message: str) -> None:
    found = run_here("generate", "--taxonomy", words, "-n", 3, "-q", "--out", tmp_path / "out", *more)
    assert found.refused, found
    assert message in found.err
    assert not (tmp_path / "out").exists()


def test_a_ray_that_is_not_installed_or_not_reached_is_told(words: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    common = ("generate", "--taxonomy", words, "-n", 3, "-q", "--out", tmp_path / "out", "--engine", "ray")
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "ray", None)
        assert "pip install 'anyscene[ray]'" in run_here(*common).err
    pytest.importorskip("ray")
    found = run_here(*common, "--address", "127.0.0.1:1")
    assert found.refused and "Cannot reach a Ray cluster at '127.0.0.1:1'" in found.err
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_cluster_of_its_own_makes_the_same_bytes_and_leaves_no_process(words: Path, tmp_path: Path) -> None:
    pytest.importorskip("ray")
    common = ("generate", "--taxonomy", words, "-n", 50, "--shards", 3, "--workers", 2)
    assert run_here(*common, "-q", "--out", tmp_path / "local") == Outcome(0, "", "")
    environment = {**os.environ, "RAY_worker_niceness": "0"}  # or other work on this machine keeps the workers waiting
    environment.pop("RAY_ADDRESS", None)
    words_of_ray = command(*common, "--engine", "ray", "--out", tmp_path / "ray")
    with subprocess.Popen(
        words_of_ray, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        shown, said = process.communicate(timeout=3 * PATIENCE_S)
    assert (process.returncode, shown) == (0, ""), said
    assert said.startswith("50 rows in ") and said.count("\n") == 1
    assert digests(tmp_path / "local") == digests(tmp_path / "ray")
    deadline = time.monotonic() + PATIENCE_S
    while any(not state.startswith("Z") for state in states_in_session(process.pid)):
        assert time.monotonic() < deadline, "processes of the cluster are still there"
        time.sleep(0.2)


def states_in_session(session: int) -> list[str]:
    listing = subprocess.run(["ps", "-A", "-o", "sess=,stat="], capture_output=True, text=True, check=True).stdout
    return [line.split()[1] for line in listing.splitlines() if line.split()[0] == str(session)]
