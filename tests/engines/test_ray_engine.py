"""A Ray cluster of three nodes on this machine: the same results as here, whoever is killed on the way."""

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
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
from fake_source import FakeSource
from jobs import Counter, Told, countdown, die, die_once, product, refuse, slow, threads

from anyscene.dataset import generate, read_table
from anyscene.engines import Engine, WorkerTraceback, open_engine, ray_engine, ray_work
from anyscene.errors import AnySceneError, MissingExtraError, RunError, SpecError

ray = pytest.importorskip("ray")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")]

SMALL: dict[str, Any] = {"num_questions": 3}
NODE: dict[str, Any] = {"num_cpus": 1, "object_store_memory": 100 * 2**20}
SCRIPT = Path(__file__).parent.parent / "dataset" / "generate_once.py"
PATIENCE_S = 120.0


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    from ray.cluster_utils import Cluster

    os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112 - Ray spells it so; or other work on this machine keeps the workers waiting
    with tempfile.TemporaryDirectory(prefix="ray", ignore_cleanup_errors=True) as folder:  # pytest's names are too long for a socket
        made = Cluster()
        for _ in range(3):
            made.add_node(**NODE, include_dashboard=False, temp_dir=folder)
        yield made
        ray.shutdown()
        made.shutdown()


@pytest.fixture(scope="module")
def engine(cluster: Any) -> Iterator[Engine]:
    with open_engine("ray", address=cluster.address) as opened:
        yield opened


def digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "it took too long"
        time.sleep(0.01)


def num_shards(out: Path) -> int:
    return len(list(out.glob("records-*")))


def test_every_item_is_done_once_and_what_all_need_is_sent_once(engine: Engine) -> None:
    results = list(engine.imap_unordered(product, Told(3), range(30)))
    assert engine.workers == 3
    assert sorted((item, value) for item, (value, _, _) in results) == [(item, 3 * item) for item in range(30)]
    assert os.getpid() not in {process for _, (_, process, _) in results}
    assert {arrived for _, (_, _, arrived) in results} == {1}


def test_never_are_more_under_way_than_workers_and_those_ahead(engine: Engine) -> None:
    taken = 0

    def items() -> Iterator[int]:
        nonlocal taken
        while taken < 12:
            taken += 1
            yield taken

    for done, _ in enumerate(engine.imap_unordered(slow, None, items(), ahead=2), 1):
        assert taken <= min(12, done - 1 + 3 + 2)
    assert done == 12


def test_parts_of_an_item_come_in_their_order(engine: Engine) -> None:
    parts = sorted(engine.stream(countdown, Told(2), [3, 0, 1, 40]), key=lambda one: one[0])
    by_item = {item: [part for _, part in found] for item, found in groupby(parts, lambda one: one[0])}
    assert by_item == {0: [0], 1: [2, 0], 3: [6, 4, 2, 0], 40: [2 * left for left in range(40, -1, -1)]}


def test_parts_come_once_though_workers_are_killed_between_them(engine: Engine, tmp_path: Path) -> None:
    parts = list(engine.stream(die_once, str(tmp_path), ["a", "b"]))
    assert len(list(tmp_path.iterdir())) == 2
    for item in ("a", "b"):
        assert [part for one, part in parts if one == item] == list(range(10))


def test_an_error_comes_out_as_itself(engine: Engine, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SpecError, match="item 1 is not to be had") as caught:
        list(engine.stream(refuse, None, [1]))
    assert isinstance(caught.value.__cause__, WorkerTraceback) and "jobs.py" in str(caught.value.__cause__)
    assert capfd.readouterr() == ("", "")


def test_workers_use_one_thread(engine: Engine) -> None:
    assert {found for _, found in engine.imap_unordered(threads, None, range(3))} == {("1", 1)}


def test_an_item_that_kills_every_worker_is_an_error(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(ray_engine, "RETRIES", 0)
    with pytest.raises(RunError, match=r"lost, again and again.*run the same command again"):
        list(engine.imap_unordered(die, None, [1]))
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(("name", "version"), [("anyscene", "0.0.1"), ("python", "3.9.0"), ("numpy", "1.0"), ("polaris", "1")])
def test_nodes_with_other_software_are_refused(engine: Engine, monkeypatch: pytest.MonkeyPatch, name: str, version: str) -> None:
    other = {**ray_work.versions(), name: version}
    monkeypatch.setattr(ray_engine, "versions", lambda: other)
    with pytest.raises(RunError, match=rf"other software than this machine: {name} is .* there and {version} here") as caught:
        list(engine.imap_unordered(threads, None, [1]))
    assert "\n" not in str(caught.value)


def test_a_call_goes_to_another_copy_when_its_own_is_killed(engine: Engine, tmp_path: Path) -> None:
    group = engine.actors(Counter, (10,), number=2)
    try:
        assert group.call("add", 3) == 13
        with pytest.raises(AnySceneError, match="cannot be counted"):
            group.call("fail")
        assert group.call("die", str(tmp_path / "marker")) == "survived"
        seen: set[int] = set()
        calls = [threading.Thread(target=lambda: seen.add(group.call("where", 1.0))) for _ in range(2)]
        until(lambda: group._free.qsize() == 2)  # the one that was killed has come back
        for call in calls:
            call.start()
        for call in calls:
            call.join()
        assert len(seen) == 2
    finally:
        group.close()


def test_an_object_that_cannot_be_made_is_told(engine: Engine) -> None:
    with pytest.raises(SpecError, match="the start is -1"):
        engine.actors(Counter, (-1,), number=1)


@pytest.mark.parametrize("format", ["parquet", "jsonl", "webdataset"])
def test_every_format_has_the_bytes_of_the_local_run(engine: Engine, tmp_path: Path, format: str) -> None:
    for out, options in (("local", {}), ("ray", {"engine": engine}), ("uri", {"engine": engine})):
        place = f"file://{tmp_path / out}" if out == "uri" else tmp_path / out
        info = generate(FakeSource(**SMALL), 1501, place, format=format, shards=5, quiet=True, **options)  # type: ignore[arg-type]
        assert (info.n, info.rows_made) == (1501, 1501)
    assert digests(tmp_path / "local") == digests(tmp_path / "ray") == digests(tmp_path / "uri")


def test_a_shard_of_many_pieces_has_the_bytes_of_the_local_run(engine: Engine, tmp_path: Path) -> None:
    for out, options in (("local", {}), ("ray", {"engine": engine})):
        generate(FakeSource(num_questions=4), 80_000, tmp_path / out, shards=1, quiet=True, **options)  # type: ignore[arg-type]
    assert (tmp_path / "local" / "records-00000-of-00001.parquet").stat().st_size > 2 * 2**22
    assert digests(tmp_path / "local") == digests(tmp_path / "ray")


def test_a_killed_worker_and_a_lost_node_lose_and_repeat_nothing(
    engine: Engine, cluster: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    generate(FakeSource(**SMALL), 240, tmp_path / "whole", shards=24, quiet=True)
    lost = next(node for node in cluster.worker_nodes if node.unique_id != ray.get_runtime_context().get_node_id())
    source = FakeSource(**SMALL, delay_s=0.5, die_once=str(tmp_path / "marker"), die_at=105)
    making = threading.Thread(target=generate, args=(source, 240, tmp_path / "out"), kwargs={"shards": 24, "engine": engine})
    making.start()
    until(lambda: num_shards(tmp_path / "out") >= 6)
    cluster.remove_node(lost, allow_graceful=False)  # the rest of this module has two nodes
    making.join()
    assert (tmp_path / "marker").exists()
    assert digests(tmp_path / "out") == digests(tmp_path / "whole")
    assert read_table(tmp_path / "out")["index"].to_pylist() == list(range(240))
    shown = capfd.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("240 rows in ") and shown.err.count("\n") == 1


@pytest.mark.parametrize("place", ["path", "uri"])
def test_a_killed_driver_loses_and_repeats_nothing(engine: Engine, cluster: Any, tmp_path: Path, place: str) -> None:
    generate(FakeSource(**SMALL), 240, tmp_path / "whole", shards=24, quiet=True)
    out = tmp_path / "out"
    where = f"file://{out}" if place == "uri" else str(out)
    options = {"n": 240, "shards": 24, "source": {**SMALL, "delay_s": 0.3}, "ray": cluster.address}
    with subprocess.Popen([sys.executable, str(SCRIPT), where, json.dumps(options)], stderr=subprocess.PIPE, text=True) as driver:
        until(lambda: num_shards(out) >= 5 or driver.poll() is not None)
        driver.kill()
        assert driver.wait() == -signal.SIGKILL, driver.stderr and driver.stderr.read()
    info = generate(FakeSource(**SMALL), 240, where, shards=24, engine=engine, quiet=True)
    assert 0 < info.rows_made <= 240 - 4 * 10  # the last shard may not have been on record yet
    assert digests(out) == digests(tmp_path / "whole")


def test_ctrl_c_stops_cleanly_and_can_go_on(engine: Engine, cluster: Any, tmp_path: Path) -> None:
    out = tmp_path / "out"
    options = {"n": 60, "shards": 20, "source": {**SMALL, "delay_s": 0.3}, "ray": cluster.address}
    command = [sys.executable, "-W", "error", str(SCRIPT), str(out), json.dumps(options)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True) as driver:
        until(lambda: num_shards(out) >= 3 or driver.poll() is not None)
        os.killpg(driver.pid, signal.SIGINT)  # as a terminal does: to all of them
        shown, errors = driver.communicate(timeout=PATIENCE_S)
    assert (driver.returncode, shown) == (130, "")
    rows = int(errors.split()[2])
    assert errors == f"stopped after {rows} of 60 rows; run the same command again to go on\n"
    assert 3 * num_shards(out) - rows in (0, 3)  # the last shard may not have been on record yet
    assert not [path for path in out.iterdir() if path.name.endswith(".tmp")]
    assert generate(FakeSource(**SMALL), 60, out, shards=20, engine=engine, quiet=True).rows_made == 60 - rows


def test_a_place_that_workers_do_not_share_is_told(engine: Engine) -> None:
    with pytest.raises(RunError, match=r"not to be seen from here.*plain path"):
        generate(FakeSource(**SMALL), 10, "memory://apart/scenes", engine=engine, quiet=True)


def test_words_that_a_worker_does_not_have_are_told(engine: Engine, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="other words or another version"):
        generate(FakeSource(**SMALL, manifest_of_process=True), 10, tmp_path, engine=engine, quiet=True)


def test_a_worker_that_fits_no_node_is_told(engine: Engine, cluster: Any) -> None:
    told = pytest.raises(RunError, match=r"64 cores and 0 GPUs; none of the [23] nodes.*--cpus-per-worker")
    with told, open_engine("ray", address=cluster.address, cpus=64):
        pass
    assert ray.is_initialized()  # whoever connected before stays connected


def test_clusters_that_cannot_be_reached_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    for address in ("127.0.0.1:1", "ray://127.0.0.1:1", "nowhere"):
        with pytest.raises(RunError, match=rf"Cannot reach a Ray cluster at '{address}'") as caught, open_engine("ray", address=address):
            pass
        assert "\n" not in str(caught.value)


def test_options_out_of_range_and_a_missing_ray_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    for options in ({"workers": 0}, {"cpus": -1}, {"cpus": 0, "gpus": 0}, {"gpus": float("nan")}):
        with pytest.raises(SpecError), open_engine("ray", **options):  # type: ignore[arg-type]
            pass
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r"anyscene\[ray\]"), open_engine("ray"):
        pass
