"""One progress bar on standard error: how far, how fast, how long still.

Into a file or a pipe goes a single line at the end instead, and with `quiet` nothing at all.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator

__all__ = ["progress", "say"]


def say(message: str, *, quiet: bool = False) -> None:
    """One line for the user on standard error."""
    if not quiet:
        print(message, file=sys.stderr, flush=True)


@contextlib.contextmanager
def progress(total: int, unit: str, *, done: int = 0, quiet: bool = False) -> Iterator[Callable[[int], None]]:
    """Shows how many of `total` are done; the block calls what it is given with each number newly done.

    Args:
        total: How many there are to do.
        unit: What is counted, in the plural ("rows").
        done: How many were done before; they do not count towards the rate.
        quiet: Show nothing.
    """
    began = time.monotonic()
    made = 0
    show = _bar(total, unit, done) if not quiet and sys.stderr.isatty() else contextlib.nullcontext(lambda _: None)
    with show as advance_bar:

        def advance(number: int) -> None:
            nonlocal made
            made += number
            advance_bar(number)

        yield advance
    elapsed_s = time.monotonic() - began
    say(f"{made:,} {unit} in {elapsed_s:.1f} s ({made / max(elapsed_s, 1e-9):,.0f} {unit}/s)", quiet=quiet)


@contextlib.contextmanager
def _bar(total: int, unit: str, done: int) -> Iterator[Callable[[int], None]]:
    from rich.console import Console  # here, because a quiet run need not load it
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, Task, TaskProgressColumn, TextColumn, TimeRemainingColumn
    from rich.text import Text

    class Rate(TextColumn):
        def render(self, task: Task) -> Text:
            speed = task.finished_speed or task.speed
            return Text("" if speed is None else f"{speed:,.0f} {unit}/s")

    columns = (TaskProgressColumn(), BarColumn(), MofNCompleteColumn(), TextColumn(unit), Rate(""), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(unit, total=total, completed=done)
        yield lambda number: bar.advance(task, number)
