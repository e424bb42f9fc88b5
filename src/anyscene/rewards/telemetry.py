"""Counters, gauges and histograms of a server, in the text format that Prometheus reads."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence

__all__ = ["BATCH_BUCKETS", "SECONDS_BUCKETS", "Histogram", "Telemetry"]

SECONDS_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)
BATCH_BUCKETS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0)


class Histogram:
    """Counts of values up to each of some bounds.

    Attributes:
        bounds: upper ends of the buckets, ascending; one more bucket has no end.
        total: sum of all values.
        count: how many there were.
    """

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = tuple(bounds)
        self.total, self.count = 0.0, 0
        self._buckets = [0] * (len(self.bounds) + 1)

    @property
    def mean(self) -> float:
        """Of all values; 0 where there were none."""
        return self.total / self.count if self.count else 0.0

    def add(self, value: float) -> None:
        """Count one value."""
        self._buckets[bisect_left(self.bounds, value)] += 1
        self.total += value
        self.count += 1

    def lines(self, name: str) -> list[str]:
        """The lines of one metric."""
        found, below = [f"# TYPE {name} histogram"], 0
        for bound, number in zip((*map(_number, self.bounds), "+Inf"), self._buckets, strict=True):
            below += number
            found.append(f'{name}_bucket{{le="{bound}"}} {below}')
        return [*found, f"{name}_sum {_number(self.total)}", f"{name}_count {self.count}"]


class Telemetry:
    """What a server counts; all of it is written by one thread, that of the event loop.

    Args:
        what: is served, in every name: ``anyscene_reward_replies_total``.

    Attributes:
        latency: seconds from the first byte of a scoring request to its reply.
        waiting: seconds that a picture waited for its batch to begin.
        scoring: seconds that the reward took for a batch.
        batches: pictures in a batch.
    """

    def __init__(self, what: str = "reward") -> None:
        self._prefix = f"anyscene_{what}_"
        self.latency, self.waiting, self.scoring = (Histogram(SECONDS_BUCKETS) for _ in range(3))
        self.batches = Histogram(BATCH_BUCKETS)
        self._counts: dict[tuple[str, str], int] = {}
        self._gauges: dict[str, Callable[[], float]] = {}

    def count(self, name: str, label: str = "", number: int = 1) -> None:
        """Add to a counter: ``count("requests", 'status="200"')``. Labels come from a fixed set, never from a request."""
        self._counts[name, label] = self._counts.get((name, label), 0) + number

    def counted(self, name: str, label: str = "") -> int:
        """What a counter says."""
        return self._counts.get((name, label), 0)

    def gauge(self, name: str, read: Callable[[], float]) -> None:
        """Something that is read when it is asked for."""
        self._gauges[name] = read

    def text(self) -> str:
        """Everything, one line a number."""
        lines: list[str] = []
        for name in sorted({name for name, _ in self._counts}):
            lines.append(f"# TYPE {self._prefix}{name}_total counter")
            for (own, label), number in sorted(self._counts.items()):
                if own == name:
                    lines.append(f"{self._prefix}{name}_total{'{' + label + '}' if label else ''} {number}")
        for name, read in self._gauges.items():
            lines += [f"# TYPE {self._prefix}{name} gauge", f"{self._prefix}{name} {_number(read())}"]
        lines += self.latency.lines(self._prefix + "request_seconds")
        lines += self.waiting.lines(self._prefix + "waiting_seconds")
        lines += self.scoring.lines(self._prefix + "batch_seconds")
        lines += self.batches.lines(self._prefix + "batch_pictures")
        return "\n".join(lines) + "\n"


def _number(value: float) -> str:
    return f"{value:.9g}"
