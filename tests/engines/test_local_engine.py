from __future__ import annotations

import os
import threading
from itertools import groupby

import pytest
from jobs import Counter, Told, countdown, die, product, refuse, threads

from anyscene.engines import LocalEngine, WorkerTraceback, open_engine
from anyscene.errors import RunError, SpecError


@pytest.mark.parametrize("workers", [1, 3])
def test_every_item_is_done_once(workers: int) -> None:
    with open_engine(workers=workers) as engine:
        results = list(engine.imap_unordered(product, Told(3), range(9)))
    assert sorted((item, value) for item, (value, _, _) in results) == [(item, 3 * item) for item in range(9)]
    processes = {process for _, (_, process, _) in results}
    assert len(processes) <= workers
    assert (os.getpid() in processes) is (workers == 1)


@pytest.mark.parametrize("workers", [1, 2])
def test_parts_of_an_item_come_in_their_order(workers: int) -> None:
    parts = list(LocalEngine(workers).stream(countdown, Told(2), [3, 0, 1]))
    by_item = {item: [part for _, part in found] for item, found in groupby(sorted(parts, key=lambda one: one[0]), lambda one: one[0])}
    assert by_item == {0: [0], 1: [2, 0], 3: [6, 4, 2, 0]}


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_comes_out_as_itself(workers: int) -> None:
    with pytest.raises(SpecError, match="is not to be had") as caught:
        list(LocalEngine(workers).stream(refuse, None, [1, 2]))
    assert (caught.value.__cause__ is None) is (workers == 1)
    if workers > 1:
        assert isinstance(caught.value.__cause__, WorkerTraceback) and "jobs.py" in str(caught.value.__cause__)


def test_workers_use_one_thread() -> None:
    assert {found for _, found in LocalEngine(2).imap_unordered(threads, None, range(2))} == {("1", 1)}


def test_a_killed_worker_is_an_error() -> None:
    with pytest.raises(RunError, match="SIGKILL"):
        list(LocalEngine(2).imap_unordered(die, None, range(2)))


def test_no_items_are_no_work() -> None:
    assert list(LocalEngine(2).stream(refuse, None, [])) == []


def test_actors_of_this_process_take_calls_from_many_threads() -> None:
    group = LocalEngine(2).actors(Counter, (10,))
    found: list[int] = []
    calls = [threading.Thread(target=lambda number=number: found.append(group.call("add", number))) for number in range(8)]
    for call in calls:
        call.start()
    for call in calls:
        call.join()
    assert (group.number, sorted(found)) == (2, list(range(10, 18)))
    group.close()


@pytest.mark.parametrize(("name", "options", "message"), [("spark", {}, "local, ray"), ("local", {"workers": 0}, "workers is 0")])
def test_what_cannot_be_opened_is_told(name: str, options: dict[str, int], message: str) -> None:
    with pytest.raises(SpecError, match=message), open_engine(name, **options):  # type: ignore[arg-type]
        pass
