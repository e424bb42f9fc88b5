"""Batches that shrink when memory runs out, so that a long run on a small GPU goes on instead of dying."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from anyscene.media import Media
from anyscene.models.protocol import Failure
from anyscene.weights import empty_cache, is_out_of_memory

__all__ = ["run_in_batches"]

Item = TypeVar("Item")


def run_in_batches(
    run: Callable[[Sequence[Item]], Sequence[Media | Failure]], items: Sequence[Item], batch_size: int, device: str
) -> tuple[list[Media | Failure], int]:
    """Runs all items, at most so many at once; where memory runs out, half as many from there on.

    Args:
        run: gives one result for each item that it is given, in order.
        items: what to run.
        batch_size: at first.
        device: whose cached memory is given back after a batch that did not fit.

    Returns:
        One result for each item, in order (a failure for an item that does not fit alone), and the batch size that fitted.
    """
    results: list[Media | Failure] = []
    while len(results) < len(items):
        batch = items[len(results) : len(results) + batch_size]
        try:
            made = run(batch)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            made = None
        if made is not None:
            results.extend(made)
            continue
        empty_cache(device)  # outside the handler: the error's frames hold what did not fit
        if len(batch) == 1:
            results.append(Failure("failed", f"out of memory on {device} with a batch of one"))
        else:
            batch_size = len(batch) // 2
    return results, batch_size
