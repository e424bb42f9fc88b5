"""Making shards, here or in worker processes.

Each worker has a pipe to the parent: numbers of shards come in, `rows`, `done` and `failed` messages go out. A worker whose parent dies
ends by itself; a parent whose worker dies says so.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import pickle
import signal
import threading
import traceback
from collections.abc import Callable, Generator, Iterable, Iterator
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pyarrow as pa

from anyscene.dataset.encoders import FORMATS
from anyscene.dataset.plan import ROWS_PER_CHUNK, Plan, ShardFile
from anyscene.dataset.source import RecordSource, records_between
from anyscene.errors import RunError
from anyscene.runs import AtomicFile

__all__ = ["make_shard", "make_shards"]

_SINGLE_THREADED = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


def make_shard(source: RecordSource, plan: Plan, shard: int, folder: Path, advance: Callable[[int], None]) -> ShardFile:
    """Makes one shard file, chunk by chunk; it appears under its name when it is complete."""
    rows = plan.rows(shard)
    encoder = FORMATS[plan.format].encoder()
    with AtomicFile(folder / plan.name(shard)) as file:
        for first in range(rows.start, rows.stop, ROWS_PER_CHUNK):
            last = min(first + ROWS_PER_CHUNK, rows.stop)
            for part in encoder.encode(records_between(source, first, last, plan.questions)):
                file.write(part)
            advance(last - first)
        for part in encoder.finish():
            file.write(part)
    return ShardFile(plan.name(shard), rows.start, len(rows), file.size, file.sha256)


def make_shards(
    source: RecordSource, plan: Plan, shards: Iterable[int], folder: Path, *, workers: int, advance: Callable[[int], None]
) -> Generator[ShardFile, None, None]:
    """Makes the shards with as many worker processes as are of use, and gives each when it is on the disk. Closing it ends the workers.

    Raises:
        RunError: A worker died, or a file could not be written.
    """
    todo = list(shards)
    workers = min(workers, len(todo))
    if workers <= 1:
        for shard in todo:
            yield make_shard(source, plan, shard, folder, advance)
    else:
        yield from _make_in_workers(source, plan, todo, folder, workers, advance)


def _make_in_workers(
    source: RecordSource, plan: Plan, todo: list[int], folder: Path, workers: int, advance: Callable[[int], None]
) -> Iterator[ShardFile]:
    queue = iter(todo)
    processes: dict[Connection, BaseProcess] = {}
    try:
        for _ in range(workers):
            connection, process = _start_worker(source, plan, folder)
            processes[connection] = process
            _send(connection, process, next(queue))
        left = len(todo)
        while left:
            ready = wait(list(processes))
            for connection, process in processes.items():
                if connection not in ready:
                    continue
                kind, value = _receive(connection, process)
                if kind == "rows":
                    advance(value)
                elif kind == "failed":
                    error, trace = value
                    raise error from WorkerTraceback(trace)
                else:
                    left -= 1
                    if (shard := next(queue, None)) is not None:
                        _send(connection, process, shard)
                    yield value
    finally:
        for connection, process in processes.items():
            connection.close()
            process.kill()
        for process in processes.values():
            process.join()
            process.close()


def _start_worker(source: RecordSource, plan: Plan, folder: Path) -> tuple[Connection, BaseProcess]:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_work, args=(theirs, source, plan, folder), daemon=True)
    with _interrupts_held_back(), _environment(_SINGLE_THREADED):
        process.start()
    theirs.close()
    return ours, process


def _send(connection: Connection, process: BaseProcess, shard: int) -> None:
    try:
        connection.send(shard)
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


def _work(connection: Connection, source: RecordSource, plan: Plan, folder: Path) -> None:
    """What a worker process does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # where it could not be held back
    threading.Thread(target=_end_with_parent, daemon=True).start()
    pa.set_cpu_count(1)
    pa.set_io_thread_count(1)
    try:
        while True:
            shard = connection.recv()
            try:
                made = make_shard(source, plan, shard, folder, lambda rows: connection.send(("rows", rows)))
            except Exception as error:  # recorded, and raised again by the parent
                connection.send(("failed", (_sendable(error), traceback.format_exc())))
            else:
                connection.send(("done", made))
    except (EOFError, OSError):
        return  # the parent has gone


def _sendable(error: Exception) -> Exception:
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # whatever a foreign exception does when it is pickled
        return RunError(f"A worker process failed: {type(error).__name__}: {error}")
    return error


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


class WorkerTraceback(Exception):
    """Where an error came about in a worker process."""
