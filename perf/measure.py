"""How a measurement is taken: on one core, in CPU seconds of this process, in several rounds.

The best round is the number, for the machine's other work only ever takes away; the spread of the rounds says how far to trust it.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import count
from pathlib import Path

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "ARROW_IO_THREADS", "POLARS_MAX_THREADS")


def restart_on_one_core() -> None:
    """Keep this script, and the processes it starts, on one core and one thread. It starts anew once, for libraries read it when loaded."""
    if all(os.environ.get(name) == "1" for name in THREADS):
        return
    os.environ.update(dict.fromkeys(THREADS, "1"))
    if hasattr(os, "sched_setaffinity"):  # elsewhere one thread has to do
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    os.execv(sys.executable, [sys.executable, *sys.argv])


def cpu_seconds(work: Callable[[], object]) -> float:
    """CPU seconds of this process, all its threads together, for one call."""
    before = time.process_time()
    work()
    return time.process_time() - before


def rate_of(work: Callable[[int], object], rows: int, start: int) -> float:
    """Rows per CPU second of `work(start)`, which makes `rows` rows."""
    return rows / cpu_seconds(partial(work, start))


def in_turn(ways: Mapping[str, Callable[[int], float]], rows: int, rounds: int) -> dict[str, list[float]]:
    """What each way gives in each round, the ways taken in turn, so that a busy moment of the machine falls on all of them alike.

    Each call is given a first row of its own. No two calls make the same rows, not even those of one round: what one way leaves in the
    engine's caches would make the next look faster than it is.
    """
    found: dict[str, list[float]] = {name: [] for name in ways}
    starts = count(0, rows)
    for _ in range(rounds):
        for name, way in ways.items():
            found[name].append(way(next(starts)))
    return found


def best_wall_seconds(command: Sequence[str], rounds: int) -> float:
    """The least wall time of several runs of a command."""

    def run() -> float:
        before = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        return time.perf_counter() - before

    return min(run() for _ in range(rounds))


def peak_mib(command: Sequence[str]) -> float:
    """The most memory that one run of a command held at a time, in MiB (ru_maxrss of that process alone)."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, list(command))
    return usage.ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def folder_bytes(folder: Path) -> int:
    """How large the files of a folder are together."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
