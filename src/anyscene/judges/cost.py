"""What a long run will cost, before it begins: calls, tokens, time and money, as far as they can be known.

How many tokens a picture takes is a rule of each family of models. A judge that reads the picture once for all its questions (a shared
prefix, the decision endpoint) pays for it once; one that is asked question by question pays each time.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

from anyscene.judges.protocol import Judge

__all__ = ["CostEstimate", "estimate_cost", "image_tokens"]

QUESTION_TOKENS = 35
"""Of a question with its instruction, on average."""
QUESTIONS_PER_DECISION = 64
_WHOLE = {"gemma": 256, "internvl": 256, "paligemma": 256, "llava-v1.6": 2880, "llava-next": 2880, "llava": 576, "idefics2": 64}


@dataclass(frozen=True, slots=True)
class CostEstimate:
    """An estimate; what is not known is None.

    Attributes:
        calls: how often the model or the server is called.
        tokens: read by the model, pictures included.
        seconds: how long it takes.
        usd: what it costs.
    """

    calls: int
    tokens: int | None = None
    seconds: float | None = None
    usd: float | None = None

    def __str__(self) -> str:
        parts = [f"{self.calls:,} {'call' if self.calls == 1 else 'calls'}"]
        if self.tokens is not None:
            parts.append(f"about {_rounded(self.tokens)} tokens")
        if self.seconds is not None:
            parts.append(f"about {_duration(self.seconds)}")
        if self.usd is not None:
            parts.append(f"about {self.usd:,.2f} USD")
        return ", ".join(parts)


def estimate_cost(
    target: object,
    media: int,
    questions: int = 0,
    size: tuple[int, int] = (1024, 1024),
    *,
    frames: int = 1,
    usd_per_million_tokens: float | None = None,
    probe: Callable[[], object] | None = None,
) -> CostEstimate:
    """What judging, or making, so many media will cost.

    Args:
        target: a judge, or a model. A model's price of one picture is taken from its ``price_usd``, where it has one.
        media: how many are judged, or made.
        questions: about all of them together.
        size: width and height of a picture.
        frames: pictures of one media; no more count than the judge looks at.
        usd_per_million_tokens: price of what is read.
        probe: does the work for one media; it is done twice, and the second time is measured.
    """
    seconds = _timed(probe) * media / max(1, getattr(target, "workers", 1)) if probe is not None and media else None
    if not isinstance(target, Judge):
        price = getattr(target, "price_usd", None)
        return CostEstimate(media, None, seconds, None if price is None else price * media)
    backend, _, name = target.name.partition(":")
    pictures = min(frames, getattr(target, "frames", frames))
    once = media * image_tokens(name, *_limited(size, getattr(target, "max_pixels", None))) * pictures
    each = questions * QUESTION_TOKENS
    every_time = once * questions // max(media, 1) + each
    if backend == "openai" and target.template.startswith("systemone"):
        asked = math.ceil(questions / max(media, 1) / QUESTIONS_PER_DECISION)
        calls, tokens = media * asked, once * asked + each
    elif backend == "openai":
        calls, tokens = questions, every_time
    elif backend == "transformers":
        calls, tokens = media, once + each if getattr(target, "mode", "prefix") == "prefix" else every_time
    else:
        return CostEstimate(media, None, seconds)
    usd = None if usd_per_million_tokens is None else tokens * usd_per_million_tokens / 1e6
    return CostEstimate(calls, tokens, seconds, usd)


def image_tokens(model: str, width: int, height: int) -> int:
    """Tokens of one picture for a model of that name; one for each 28 by 28 pixels where the family is not known.

    Args:
        model: its name, as on the hub or in an interface.
        width: of the picture, in pixels.
        height: of the picture, in pixels.
    """
    family = model.casefold().replace("_", "-")
    if "qwen2-vl" in family or "qwen2.5-vl" in family:
        return _patches(width, height, 28, 1280)
    if "qwen3" in family:
        return _patches(width, height, 32, 16384)
    if "smolvlm" in family or "idefics3" in family:
        scale = 2048 / max(width, height)
        return 64 * (1 + math.ceil(width * scale / 512) * math.ceil(height * scale / 512))
    if "gpt-4o" in family or "gpt-4.1" in family:
        return _tiles(width, height)
    for part, tokens in _WHOLE.items():
        if part in family:
            return tokens
    return max(1, round(width / 28)) * max(1, round(height / 28))


def _patches(width: int, height: int, side: int, most: int) -> int:
    """Squares of so many pixels a side, the picture being made smaller where there would be too many (Qwen-VL)."""
    across, down = max(1, round(width / side)), max(1, round(height / side))
    if across * down <= most:
        return across * down
    shrink = math.sqrt(width * height / (most * side * side))
    return max(1, math.floor(width / shrink / side)) * max(1, math.floor(height / shrink / side))


def _tiles(width: int, height: int) -> int:
    """85 and 170 for each square of 512 pixels, the short side being brought to 768 (GPT-4o, at high detail)."""
    scale = min(1.0, 2048 / max(width, height))
    scale = min(scale, 768 / min(width, height))
    return 85 + 170 * math.ceil(width * scale / 512) * math.ceil(height * scale / 512)


def _limited(size: tuple[int, int], most: int | None) -> tuple[int, int]:
    width, height = size
    if not most or width * height <= most:
        return max(1, width), max(1, height)
    scale = math.sqrt(most / (width * height))
    return max(1, int(width * scale)), max(1, int(height * scale))


def _timed(call: Callable[[], object]) -> float:
    call()  # the first time loads, compiles and connects
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def _rounded(number: int) -> str:
    """Three digits, and a word for the rest: ``3.14 million``."""
    for size, word in ((10**9, " billion"), (10**6, " million")):
        if number >= size:
            return f"{number / size:.3g}{word}"
    return f"{number:,}"


def _duration(seconds: float) -> str:
    for size, word in ((86400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 1.5 * size:
            return f"{seconds / size:.3g} {word}"
    return f"{seconds:.3g} seconds"
