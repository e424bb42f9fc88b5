"""Many blocking calls at once, in threads, with the results in order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import TypeVar

__all__ = ["run_together"]

T = TypeVar("T")
R = TypeVar("R")


def run_together(pool: Executor, call: Callable[[T], R], items: Sequence[T]) -> list[R]:
    """What ``call`` gives for each item, in order, made by the threads of a pool.

    When one call raises, those that have not begun are cancelled, and its error is raised.
    """
    futures = [pool.submit(call, item) for item in items]
    try:
        return [future.result() for future in futures]
    except BaseException:
        for future in futures:
            future.cancel()
        raise
