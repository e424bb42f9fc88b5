"""Many slow calls at once in threads of this process, for calls that wait: for a server, for a worker elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from queue import SimpleQueue
from typing import TypeVar

__all__ = ["in_flight"]

T = TypeVar("T")
R = TypeVar("R")


def in_flight(call: Callable[[T], R], items: Iterable[T], *, workers: int) -> Generator[tuple[T, R], None, None]:
    """What ``call`` gives for each item, as it comes, with the item.

    An item is drawn when there is room for it: at most twice ``workers`` are under way, or ready and not yet taken, whatever their
    number. With one worker nothing runs in threads, and the order is that of the items.

    When one call fails, nothing more begins, what the others are at still comes, and then its error is raised. Ctrl-C, and closing the
    iterator, wait for nothing.

    Args:
        call: safe to use from many threads, where there is more than one worker.
        items: drawn in the thread of whoever iterates.
        workers: threads.
    """
    if workers <= 1:
        for item in items:
            yield item, call(item)
        return
    source, running = iter(items), 0  # those that have begun and were not yet taken
    finished: SimpleQueue[tuple[T, Future[R]]] = SimpleQueue()
    failed: Exception | None = None
    pool = ThreadPoolExecutor(workers, thread_name_prefix="in-flight")

    def begin(item: T) -> None:
        pool.submit(call, item).add_done_callback(lambda future: finished.put((item, future)))

    try:
        while True:
            while failed is None and running < 2 * workers:  # the next ones lie ready, so no thread waits while results are taken
                try:
                    item = next(source)
                except StopIteration:
                    break
                begin(item)
                running += 1
            if not running:
                break
            item, future = finished.get()
            running -= 1
            try:
                result = future.result()
            except CancelledError:
                continue
            except Exception as error:
                failed = failed or error
                continue
            yield item, result
            del result, future
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
    if failed is not None:
        raise failed
