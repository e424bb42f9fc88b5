"""Runs that are killed, stopped, starved of disk or robbed of a worker, in processes of their own."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_source import FakeSource

from anyscene.dataset import generate
from anyscene.errors import RunError

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals and limits")

SCRIPT = Path(__file__).with_name("generate_once.py")
SMALL: dict[str, Any] = {"num_questions": 3}
PATIENCE_S = 60.0


def start(out: Path, **options: Any) -> subprocess.Popen[str]:
    command = [sys.executable, "-W", "error", str(SCRIPT), str(out), json.dumps(options)]
    environment = {**os.environ, "PYTHONHASHSEED": "random"}
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True, env=environment)


def finish(process: subprocess.Popen[str]) -> tuple[int, str]:
    _, errors = process.communicate(timeout=PATIENCE_S)
    return process.returncode, errors


def until(condition: Callable[[], bool], process: subprocess.Popen[str] | None = None) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "it took too long"
        assert process is None or process.poll() is None, "the process ended early"
        time.sleep(0.005)


def num_shards(out: Path) -> int:
    return len(list(out.glob("records-*")))


def digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


def group_is_gone(group: int) -> bool:
    """Whether no process of the group runs; one that has ended may wait for its new parent to take notice."""
    listing = subprocess.run(["ps", "-A", "-o", "pgid=,stat="], capture_output=True, text=True, check=True).stdout
    return not any(line.split()[0] == str(group) and not line.split()[1].startswith("Z") for line in listing.splitlines())


@contextlib.contextmanager
def ended(process: subprocess.Popen[str]) -> Iterator[subprocess.Popen[str]]:
    """Whatever a test finds, nothing of the process stays behind."""
    with process:
        try:
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


@pytest.mark.parametrize(("format", "workers"), [("parquet", 1), ("parquet", 2), ("webdataset", 1)])
def test_killed_again_and_again_ends_as_if_unbroken(tmp_path: Path, format: str, workers: int) -> None:
    generate(FakeSource(**SMALL), 60, tmp_path / "whole", format=format, shards=20, quiet=True)
    out = tmp_path / "out"
    options = {"n": 60, "format": format, "shards": 20, "workers": workers}
    for enough in (1, 6, 12):
        with ended(start(out, source={**SMALL, "delay_s": 0.03}, **options)) as process:
            until(lambda enough=enough: num_shards(out) >= enough, process)  # type: ignore[misc]
            process.kill()
            process.wait()
            until(lambda group=process.pid: group_is_gone(group))  # type: ignore[misc]  # workers end with their parent
    assert (out / ".progress").exists()
    info = generate(FakeSource(**SMALL), out=out, **options, quiet=True)  # type: ignore[arg-type]
    assert 0 < info.rows_made <= 60 - 11 * 3
    assert digests(out) == digests(tmp_path / "whole")


@pytest.mark.parametrize("workers", [1, 2])
def test_ctrl_c_stops_cleanly_and_can_go_on(tmp_path: Path, workers: int) -> None:
    generate(FakeSource(**SMALL), 60, tmp_path / "whole", shards=20, quiet=True)
    out = tmp_path / "out"
    options = {"n": 60, "shards": 20, "workers": workers}
    with ended(start(out, source={**SMALL, "delay_s": 0.1}, **options)) as process:
        until(lambda: num_shards(out) >= 3, process)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to all of them
        code, errors = finish(process)
        until(lambda: group_is_gone(process.pid))
    assert code == 130
    done = num_shards(out) * 3
    counted = range(done - 3 * workers, done + 1, 3)  # each worker may have written a shard that was not counted any more
    assert errors.strip() in {f"stopped after {rows} of 60 rows; run the same command again to go on" for rows in counted}
    assert not [path for path in out.iterdir() if path.name.endswith(".tmp")]
    assert generate(FakeSource(**SMALL), out=out, **options, quiet=True).rows_made < 60  # type: ignore[arg-type]
    assert digests(out) == digests(tmp_path / "whole")


def test_killed_worker_is_an_error_and_not_a_hang(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"SIGKILL.*fewer workers"):
        generate(FakeSource(**SMALL, die_at=31), 60, tmp_path, shards=20, workers=2, quiet=True)
    assert {path.suffix for path in tmp_path.iterdir()} <= {"", ".parquet"}
    generate(FakeSource(**SMALL), 60, tmp_path, shards=20, workers=2, quiet=True)
    assert not (tmp_path / ".progress").exists()


def test_error_in_a_worker_is_the_same_error_here(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError, match="the engine slipped") as caught:
        generate(FakeSource(**SMALL, fail_at=31), 60, tmp_path, shards=20, workers=2, quiet=True)
    assert "fake_source.py" in str(caught.value.__cause__)


@pytest.mark.parametrize("workers", [1, 2])
def test_file_larger_than_allowed_leaves_whole_shards_only(tmp_path: Path, workers: int) -> None:
    options = {"n": 2000, "shards": 4, "format": "jsonl", "workers": workers}
    generate(FakeSource(**SMALL), out=tmp_path / "whole", **options, quiet=True)  # type: ignore[arg-type]
    limit = (tmp_path / "whole" / "records-00000-of-00004.jsonl").stat().st_size // 2
    with ended(start(tmp_path / "out", source=SMALL, largest_file=limit, **options)) as process:
        code, errors = finish(process)
    assert code == 1
    assert "larger than is allowed" in errors and "RunError" in errors
    assert "Traceback" not in errors
    assert [path.name for path in (tmp_path / "out").iterdir()] == [".progress"]
    generate(FakeSource(**SMALL), out=tmp_path / "out", **options, quiet=True)  # type: ignore[arg-type]
    assert digests(tmp_path / "out") == digests(tmp_path / "whole")


def test_full_disk_is_one_clear_error_and_goes_on_when_there_is_room(tmp_path: Path) -> None:
    options: dict[str, Any] = {"n": 2000, "shards": 4, "format": "jsonl"}
    generate(FakeSource(**SMALL), out=tmp_path / "whole", **options, quiet=True)
    size = sum(path.stat().st_size for path in (tmp_path / "whole").iterdir())
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size * 5 // 8}", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small disk is not allowed here")
    try:
        with pytest.raises(RunError, match="the disk is full"):
            generate(FakeSource(**SMALL), out=disk / "out", **options, quiet=True)
        names = sorted(path.name for path in (disk / "out").iterdir())
        assert names == [".progress", "records-00000-of-00004.jsonl", "records-00001-of-00004.jsonl"]
        subprocess.run(["mount", "-o", f"remount,size={size * 2}", str(disk)], check=True)
        assert generate(FakeSource(**SMALL), out=disk / "out", **options, quiet=True).rows_made == 1000
        assert digests(disk / "out") == digests(tmp_path / "whole")
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_hash_seed_and_process_do_not_change_a_byte(tmp_path: Path) -> None:
    generate(FakeSource(**SMALL), 60, tmp_path / "here", shards=2, quiet=True)
    with ended(start(tmp_path / "there", n=60, shards=2, workers=2, source=SMALL)) as process:
        code, errors = finish(process)
    assert code == 0, errors
    assert errors.startswith("60 rows in ") and errors.count("\n") == 1  # no terminal: one line at the end
    assert digests(tmp_path / "here") == digests(tmp_path / "there")
