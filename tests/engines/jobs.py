"""What engines are given to do in tests: functions and classes that workers import by name."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from anyscene.errors import AnySceneError, SpecError


class Told:
    """What all items need; it counts how often it came into the process."""

    arrived = 0

    def __init__(self, factor: int) -> None:
        self.factor = factor

    def __setstate__(self, state: dict[str, int]) -> None:
        self.__dict__.update(state)
        Told.arrived += 1


def product(told: Told, item: int) -> tuple[int, int, int]:
    """The result, the process, and how often that process was sent what all need."""
    return told.factor * item, os.getpid(), Told.arrived


def countdown(told: Told, item: int) -> Iterator[int]:
    for left in range(item, -1, -1):
        yield told.factor * left


def slow(_: None, item: int) -> int:
    time.sleep(0.2)
    return item


def refuse(_: None, item: int) -> Iterator[int]:
    yield item
    raise SpecError(f"item {item} is not to be had")


def threads(_: None, item: int) -> tuple[str, int]:
    import pyarrow as pa

    return os.environ.get("OMP_NUM_THREADS", ""), pa.cpu_count()


def die(_: None, item: int) -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return item


def die_once(marker: str, item: int) -> Iterator[int]:
    """Ten parts; after the fifth the process is killed, the first time."""
    for part in range(10):
        yield part
        if part == 4 and not Path(marker, str(item)).exists():
            Path(marker, str(item)).touch()
            time.sleep(0.3)  # what was given has left the process
            os.kill(os.getpid(), signal.SIGKILL)


class Counter:
    """Counts from a start. It cannot be made of a negative one."""

    def __init__(self, start: int) -> None:
        if start < 0:
            raise SpecError(f"the start is {start}")
        self.value = start

    def add(self, number: int) -> int:
        return self.value + number

    def where(self, seconds: float) -> int:
        time.sleep(seconds)
        return os.getpid()

    def fail(self) -> None:
        raise AnySceneError("it cannot be counted")

    def die(self, marker: str) -> str:
        """Kills the process, the first time."""
        try:
            Path(marker).touch(exist_ok=False)
        except FileExistsError:
            return "survived"
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError

    def always_die(self) -> Any:
        os.kill(os.getpid(), signal.SIGKILL)
