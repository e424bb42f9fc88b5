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


def cost_of(command: Sequence[str], *, every_s: float = 0.5) -> Cost:
    """Runs a command on all cores and looks at its processes every so often. What a process does after the last look is not counted.

    Memory that processes share, such as Ray's object store, is counted once per process that holds it.
    """
    began = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, preexec_fn=_on_all_cores)
    own = psutil.Process(process.pid)
    cpu_s: dict[tuple[int, float], float] = {}
    own_mib = worker_mib = together_mib = 0.0
    while process.poll() is None:
        together = 0.0
        for one in _family(own):
            try:
                with one.oneshot():
                    times, memory, name = one.cpu_times(), one.memory_info().rss / 2**20, " ".join(one.cmdline())
                    cpu_s[one.pid, one.create_time()] = times.user + times.system
            except psutil.Error:
                continue
            together += memory
            if one.pid == own.pid:
                own_mib = max(own_mib, memory)
            elif "ray::" in name or "spawn_main" in name:
                worker_mib = max(worker_mib, memory)
        together_mib = max(together_mib, together)
        time.sleep(every_s)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, list(command))
    return Cost(time.perf_counter() - began, sum(cpu_s.values()), own_mib, worker_mib, together_mib)


def _family(own: psutil.Process) -> list[psutil.Process]:
    try:
        return [own, *own.children(recursive=True)]
    except psutil.Error:
        return []


def _on_all_cores() -> None:
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, range(os.cpu_count() or 1))
