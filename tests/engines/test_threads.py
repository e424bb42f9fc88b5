import threading
import time
from contextlib import closing

import pytest

from anyscene.engines.threads import in_flight


@pytest.mark.parametrize("workers", [1, 4])
def test_every_item_comes_back_once_with_its_own_result(workers):
    assert sorted(in_flight(lambda item: item * item, range(50), workers=workers)) == [(item, item * item) for item in range(50)]


def test_one_worker_keeps_the_order_and_uses_no_thread():
    here = threading.get_ident()
    assert list(in_flight(lambda item: (item, threading.get_ident()), "abc", workers=1)) == [(one, (one, here)) for one in "abc"]


def test_as_many_run_at_once_as_there_are_workers_and_only_twice_as_many_are_drawn():
    drawn, together, most, lock = [], 0, 0, threading.Lock()

    def items():
        for number in range(40):
            drawn.append(number)
            yield number

    def call(_):
        nonlocal together, most
        with lock:
            together += 1
            most = max(most, together)
        time.sleep(0.005)
        with lock:
            together -= 1

    for taken, _ in enumerate(in_flight(call, items(), workers=3)):
        assert len(drawn) <= taken + 1 + 6
    assert most == 3


def test_after_a_failure_nothing_begins_and_what_had_begun_still_comes():
    gate, asked = threading.Event(), []

    def call(item):
        asked.append(item)
        if item == 1:
            raise ValueError("this one")
        gate.wait(10)
        return item

    found, results = [], in_flight(call, range(100), workers=2)
    threading.Timer(0.05, gate.set).start()
    with pytest.raises(ValueError, match="this one"):
        found.extend(item for item, _ in results)
    assert 0 in found and len(asked) <= 5
    assert sorted([*found, 1]) == sorted(asked)


def test_closing_it_begins_nothing_more():
    asked = []
    with closing(in_flight(lambda item: asked.append(item), iter(range(10**9)), workers=2)) as results:
        next(results)
    time.sleep(0.02)
    before = len(asked)
    time.sleep(0.02)
    assert len(asked) == before <= 6
