"""What a command costs, with every process that it starts, on all cores of the machine."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass

import psutil


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one run: seconds of the clock, CPU seconds of all processes, and the most memory (resident, in MiB) of the command's own process,
    of any worker, and of all processes together.
    """

    wall_s: float
    cpu_s: float
    own_mib: float
    worker_mib: float
    together_mib: float

    def __str__(self) -> str:
        memory = f"command {self.own_mib:,.0f} MiB, largest worker {self.worker_mib:,.0f} MiB, together {self.together_mib:,.0f} MiB"
        return f"{self.wall_s:,.1f} s, {self.cpu_s:,.1f} CPU s; at most: {memory}"


def cost_of(command: Sequence[str], *, beside: Sequence[int] = (), every_s: float = 0.5) -> Cost:
    """Runs a command on all cores and looks at its processes every so often. What a process does after the last look is not counted.

    Memory that processes share, such as Ray's object store, is counted once per process that holds it.

    Args:
        command: What is run.
        beside: Processes that work for it and are there before: what they, and those that they start, spend meanwhile counts as well.
        every_s: Seconds between two looks.
    """
    others = [psutil.Process(pid) for pid in beside]
    before = {key: spent for key, (spent, _, _) in _looked_at(others).items()}
    began = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, preexec_fn=_on_all_cores)
    own = psutil.Process(process.pid)
    cpu_s: dict[tuple[int, float], float] = {}
    own_mib = worker_mib = together_mib = 0.0
    while process.poll() is None:
        found = _looked_at([own, *others])
        cpu_s.update({key: spent - before.get(key, 0.0) for key, (spent, _, _) in found.items()})
        own_mib = max([own_mib, *(mib for (pid, _), (_, mib, _) in found.items() if pid == own.pid)])
        worker_mib = max([worker_mib, *(mib for _, mib, name in found.values() if name.startswith("ray::") or "spawn_main" in name)])
        together_mib = max(together_mib, sum(mib for _, mib, _ in found.values()))
        time.sleep(every_s)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, list(command))
    return Cost(time.perf_counter() - began, sum(cpu_s.values()), own_mib, worker_mib, together_mib)


def _looked_at(roots: Sequence[psutil.Process]) -> dict[tuple[int, float], tuple[float, float, str]]:
    """CPU seconds, MiB and command line of these processes and of all that they started."""
    found = {}
    for root in roots:
        try:
            family = [root, *root.children(recursive=True)]
        except psutil.Error:
            continue
        for one in family:
            try:
                with one.oneshot():
                    times = one.cpu_times()
                    found[one.pid, one.create_time()] = times.user + times.system, one.memory_info().rss / 2**20, " ".join(one.cmdline())
            except psutil.Error:
                continue
    return found


def _on_all_cores() -> None:
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, range(os.cpu_count() or 1))
