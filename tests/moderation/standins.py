"""Detectors for tests: a score that is read off the pixels, and ones that fail."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image


@dataclass
class Redness:
    """How red a picture is, from 0 to 1; it says of which pictures it was asked."""

    threshold: float = 0.5
    facts: Mapping[str, Any] = field(default_factory=lambda: {"calibration": {"rate": 0.01, "low": 0.004, "high": 0.021}})
    digest: str = "redness"
    asked: list[list[tuple[int, int]]] = field(default_factory=list)
    gate: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.gate.set()

    def score(self, pictures: Sequence[Image.Image]) -> list[float | None]:
        assert self.gate.wait(30)
        assert all(isinstance(one, Image.Image) and one.mode == "RGB" for one in pictures)
        self.asked.append([one.size for one in pictures])
        return [red_of(one) for one in pictures]


def red_of(picture: Image.Image) -> float:
    return float(np.asarray(picture)[..., 0].mean() / 255)
