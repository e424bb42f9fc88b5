"""The engine of one machine: this process, or worker processes beside it.

Each worker has a pipe to the parent: items come in, parts of results go out. A worker whose parent dies ends by itself; a parent whose
worker dies says so.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import queue
import signal
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from itertools import chain, islice
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, TypeVar

from anyscene.engines.failures import Failure
from anyscene.errors import RunError

__all__ = ["SINGLE_THREADED", "LocalEngine", "use_one_thread"]

SINGLE_THREADED = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")

Common = TypeVar("Common")
Item = TypeVar("Item")
Result = TypeVar("Result")


class LocalEngine:
    """Works in this process, or with several `workers` in as many processes beside it."""

    shares_disk = True

    def __init__(self, workers: int = 1) -> None:
        self.workers = workers

    def imap_unordered(
        self, function: Callable[[Common, Item], Result], common: Common, items: Iterable[Item], *, ahead: int = 0
    ) -> Generator[tuple[Item, Result], None, None]:
        """`(item, function(common, item))` for every item (`Engine.imap_unordered`)."""
        yield from self.stream(_only_part, (function, common), items, ahead=ahead)

    def stream(
        self, function: Callable[[Common, Item], Iterator[Result]], common: Common, items: Iterable[Item], *, ahead: int = 0
    ) -> Generator[tuple[Item, Result], None, None]:
        """`(item, part)` for every part of every item (`Engine.stream`). Closing it ends the workers."""
        queued = iter(items)
        first = list(islice(queued, self.workers))
        if len(first) > 1:
            yield from _stream_from_workers(function, common, first, queued)
        else:
            for item in chain(first, queued):
                for part in function(common, item):
                    yield item, part

    def actors(self, make: Callable[..., Any], arguments: tuple[Any, ...] = (), *, number: int | None = None) -> LocalActors:
        """`number` copies of `make(*arguments)`, by default one per worker, all in this process."""
        return LocalActors([make(*arguments) for _ in range(number or self.workers)])


class LocalActors:
    """Objects of this process that take calls in turn (`ActorGroup`)."""

    def __init__(self, objects: list[Any]) -> None:
        self.number = len(objects)
        self._free: queue.SimpleQueue[Any] = queue.SimpleQueue()
        for one in objects:
            self._free.put(one)

    def call(self, method: str, *arguments: Any) -> Any:
        """`object.method(*arguments)` on the next that is free."""
        one = self._free.get()
        try:
            return getattr(one, method)(*arguments)
        finally:
            self._free.put(one)

    def close(self) -> None:
        """There is nothing to end: the objects go with the last who knows them."""


def use_one_thread() -> None:
    """Keeps the libraries of a worker process to one thread: the workers are as many as the cores."""
    import pyarrow as pa

    pa.set_cpu_count(1)
    pa.set_io_thread_count(1)


def _only_part(common: tuple[Callable[[Any, Any], Any], Any], item: Any) -> Iterator[Any]:
    function, rest = common
    yield function(rest, item)


def _stream_from_workers(
    function: Callable[[Common, Item], Iterator[Result]], common: Common, first: list[Item], queued: Iterator[Item]
) -> Generator[tuple[Item, Result], None, None]:
    """A worker for each of the first items, and for those that follow whoever is free."""
    processes: dict[Connection, BaseProcess] = {}
    under_way: dict[Connection, Item] = {}
    try:
        for item in first:
            connection, process = _start_worker(function, common)
            processes[connection] = process
            under_way[connection] = item
            _send(connection, process, item)
        while under_way:
            ready = wait(list(under_way))
            for connection in [one for one in under_way if one in ready]:
                process = processes[connection]
                kind, value = _receive(connection, process)
                if kind == "part":
                    yield under_way[connection], value
                elif kind == "failed":
                    value.reraise()
                else:
                    del under_way[connection]
                    for item in queued:
                        under_way[connection] = item
                        _send(connection, process, item)
                        break
    finally:
        for connection, process in processes.items():
            connection.close()
            process.kill()
        for process in processes.values():
            process.join()
            process.close()


def _start_worker(function: Callable[[Any, Any], Iterator[Any]], common: Any) -> tuple[Connection, BaseProcess]:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_work, args=(theirs, function, common), daemon=True)
    with _interrupts_held_back(), _environment(SINGLE_THREADED):
        process.start()
    theirs.close()
    return ours, process


def _send(connection: Connection, process: BaseProcess, item: Any) -> None:
    try:
        connection.send(item)
    except OSError:
        raise _death_of(process) from None


def _receive(connection: Connection, process: BaseProcess) -> tuple[str, Any]:
    try:
        message: tuple[str, Any] = connection.recv()
    except (EOFError, OSError):
        raise _death_of(process) from None
    return message


def _death_of(process: BaseProcess) -> RunError:
    process.join()
    code = process.exitcode or 0
    if code < 0:
        name = signal.Signals(-code).name
        return RunError(
            f"A worker process was killed ({name}); the system does that when memory runs out. Finished files are kept: run the same "
            "command again to go on, with fewer workers if it happens again."
        )
    return RunError(
        f"A worker process ended on its own (exit code {code}); what it printed says why. A script that generates with several workers "
        'must do so under `if __name__ == "__main__":`.'
    )


@contextlib.contextmanager
def _interrupts_held_back() -> Iterator[None]:
    """Ctrl-C goes to every process of a terminal. A process started in here never sees it, and the parent gets it a moment later."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # started by `Process.start` otherwise, which then lets the signals through
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _work(connection: Connection, function: Callable[[Any, Any], Iterator[Any]], common: Any) -> None:
    """What a worker process does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # where it could not be held back
    threading.Thread(target=_end_with_parent, daemon=True).start()
    use_one_thread()
    try:
        while True:
            item = connection.recv()
            try:
                for part in function(common, item):
                    connection.send(("part", part))
            except Exception as error:  # recorded, and raised again by the parent
                connection.send(("failed", Failure.of(error)))
            else:
                connection.send(("done", None))
    except (EOFError, OSError):
        return  # the parent has gone


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
