"""Estimates as they stand in `scores.json`, and how they are written in words: a missing value stays missing."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["MISSING", "Estimate", "count", "percent", "points", "share"]

MISSING = "missing"
"""What stands where a value is not known; never a zero."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value with its interval, all fractions of one.

    Attributes:
        value: None where nothing could be measured.
        low: lower end of the interval; None where it is not known.
        high: upper end.
        n: how many scenes it rests on.
    """

    value: float | None = None
    low: float | None = None
    high: float | None = None
    n: int | None = None

    @classmethod
    def read(cls, data: Any) -> Estimate:
        """From ``{"value", "low", "high", "n"}``; anything else, or a value that is not finite, is missing."""
        if not isinstance(data, Mapping):
            return cls()
        value, low, high = (_finite(data.get(key)) for key in ("value", "low", "high"))
        n = data.get("n")
        return cls(value, low, high, int(n) if isinstance(n, (int, float)) and _finite(n) is not None else None)

    @property
    def known(self) -> bool:
        """Whether there is a value at all."""
        return self.value is not None

    @property
    def interval(self) -> tuple[float, float] | None:
        """Both ends, where both are known."""
        return None if self.low is None or self.high is None else (self.low, self.high)

    @property
    def half_width(self) -> float | None:
        """Half the width of the interval."""
        return None if self.interval is None else (self.interval[1] - self.interval[0]) / 2


def _finite(value: Any) -> float | None:
    usable = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if usable else None


def percent(value: float | None, digits: int = 1) -> str:
    """A fraction in percent (``72.4%``), or the word for missing."""
    return MISSING if value is None else f"{_zero(100 * value, digits):.{digits}f}%"


def points(value: float | None, digits: int = 1) -> str:
    """A difference of two fractions in percentage points, with its sign (``+1.3``)."""
    return MISSING if value is None else f"{_zero(100 * value, digits):+.{digits}f}".replace("-", "\N{MINUS SIGN}")


def share(part: int, whole: int) -> str:
    """How many of how many, in percent: ``12 of 2,000 (0.6%)``."""
    return f"{count(part)} of {count(whole)}" + (f" ({percent(part / whole)})" if whole else "")


def count(number: int | None) -> str:
    """A whole number with commas."""
    return MISSING if number is None else f"{number:,}"


def _zero(value: float, digits: int) -> float:
    """No negative zero."""
    return round(value, digits) + 0.0
