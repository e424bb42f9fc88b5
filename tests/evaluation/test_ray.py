"""Painting, judging and scoring on a Ray cluster of three nodes, with workers, a node and the driver killed on the way: the files of the local run."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from anyscene.engines import Engine, LocalEngine, open_engine
from anyscene.evaluation import judge_run, open_run, paint_run, scenes_of
from anyscene.evaluation.parts import score_in_parts
from anyscene.judges.remote import load_remote_judge
from anyscene.models.remote import load_remote_model

ray = pytest.importorskip("ray")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")]

OPTIONS = {"refuse": 0.05, "fail": 0.02}
WHO = ("--model", "sandbox:flawed", "-m", "refuse=0.05", "-m", "fail=0.02", "--judge", "sandbox:pixels", "--no-doctor", "-q")
NODE: dict[str, Any] = {"num_cpus": 1, "object_store_memory": 100 * 2**20}
PATIENCE_S = 600.0


def command(*words: object) -> list[str]:
    return [sys.executable, "-m", "anyscene.cli.main", *map(str, words)]


def digests(folder: Path) -> dict[str, str]:
    """Of all files of a run."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.rglob("*")) if path.is_file()
    }


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("ray") / "scenes"
    spec = ("generate", "-n", 160, "--taxonomy", "sandbox", "--complexity", "2-6", "--scene-attributes", "0-1", "--counts", "-q")
    subprocess.run(command(*spec, "--out", out), check=True)
    return out


@pytest.fixture(scope="module")
def local(scenes: Path) -> dict[str, str]:
    """The files of the run as this machine alone makes it."""
    out = scenes.parent / "local"
    subprocess.run(command("eval", scenes, *WHO, "--out", out), check=True)
    return digests(out)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    from ray.cluster_utils import Cluster

    os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112 - Ray spells it so; or other work on this machine keeps the workers waiting
    with tempfile.TemporaryDirectory(prefix="ray", ignore_cleanup_errors=True) as folder:  # pytest's names are too long for a socket
        made = Cluster()
        for _ in range(2):
            made.add_node(**NODE, include_dashboard=False, temp_dir=folder)
        yield made
        ray.shutdown()
        made.shutdown()


class Disturbed:
    """A model or judge; while its n-th call is under way, something happens."""

    def __init__(self, other: Any, method: str, happens: dict[int, Callable[[], object]]) -> None:
        self._other, self._method, self._happens = other, method, happens
        self._calls, self._lock = 0, threading.Lock()

    def _call(self, *arguments: Any) -> Any:
        with self._lock:
            self._calls += 1
            event = self._happens.pop(self._calls, None)
        if event is not None:
            threading.Timer(0.01, event).start()
        return getattr(self._other, self._method)(*arguments)

    def __getattr__(self, name: str) -> Any:
        return self._call if name == self._method else getattr(self._other, name)


def test_killed_workers_and_a_lost_node_change_no_byte(cluster: Any, scenes: Path, local: dict[str, str], tmp_path: Path) -> None:
    doomed = cluster.add_node(**NODE)
    killed: list[int] = []

    def kill_one_of(crew: Any) -> None:
        killed.append(crew.workers[0][1])
        os.kill(killed[-1], signal.SIGKILL)

    with open_engine("ray", address=cluster.address, workers=3) as engine:
        model = load_remote_model(engine, "sandbox:flawed", OPTIONS)
        happens = {2: lambda: kill_one_of(model.crew), 4: lambda: cluster.remove_node(doomed, allow_graceful=False)}
        run, report = paint_run(scenes_of(scenes), Disturbed(model, "generate", happens), tmp_path / "run", quiet=True)
        model.close()
        judge = load_remote_judge(engine, "sandbox:pixels", {})
        asked = judge_run(run, Disturbed(judge, "answer", {30: lambda: kill_one_of(judge.crew)}), quiet=True).asked
        judge.close()
    assert len(killed) == 2 and happens == {}
    assert 130 < report.made < 160 and report.failed and report.refused
    assert (model.served, judge.served) == (160, asked)
    assert model.crew.worker_seconds > 0
    here = digests(tmp_path / "run")
    same = [name for name in here if name.startswith("media/") or name.endswith(".parquet")]
    assert len(same) >= report.made + 5
    assert {name: here[name] for name in same} == {name: local[name] for name in same}


def test_parts_scored_on_the_cluster_give_the_bytes_of_this_machine(cluster: Any, local: dict[str, str], scenes: Path) -> None:
    run = open_run(scenes.parent / "local")

    def scored(engine: Engine) -> tuple[dict[str, Any], bytes]:
        return score_in_parts(run, engine=engine, scenes=25, quiet=True), (run.folder / "scores.parquet").read_bytes()

    assert local  # it is there
    with open_engine("ray", address=cluster.address, workers=3) as engine:
        assert not engine.shares_disk
        assert scored(engine) == scored(LocalEngine())


def test_a_killed_driver_goes_on_where_it_was(cluster: Any, scenes: Path, local: dict[str, str], tmp_path: Path) -> None:
    out = tmp_path / "run"
    evaluate = command("eval", scenes, *WHO, "--engine", "ray", "--address", cluster.address, "--workers", 2, "--out", out)
    manifest, parts = out / "media" / "sandbox-flawed" / "manifest.jsonl", out / "answers" / "sandbox-pixels"

    def finished() -> dict[Path, int]:
        """When the media that are in the manifest, and the parts of answers, were written."""
        lines = manifest.read_text(encoding="utf-8").splitlines(keepends=True)
        made = [json.loads(line)["file"] for line in lines if line.endswith("\n")]
        files = [*(manifest.parent / name for name in made if name), *parts.glob("part-*")]
        return {path: path.stat().st_mtime_ns for path in files}

    kept: dict[Path, int] = {}
    for begun in (manifest.exists, lambda: any(parts.glob("part-*"))):
        process = subprocess.Popen(evaluate)
        until = time.monotonic() + PATIENCE_S
        try:
            while not begun():
                assert process.poll() is None and time.monotonic() < until
                time.sleep(0.005)
        finally:
            process.kill()
            process.wait()
        assert kept.items() <= finished().items()
        kept = finished()
    assert len(kept) > 140
    assert not (out / "scores.json").exists()
    subprocess.run(evaluate, check=True)
    assert digests(out) == local
    assert kept.items() <= finished().items()  # nothing was made or asked again
