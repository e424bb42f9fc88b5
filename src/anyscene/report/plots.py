"""The plots of a report as inline SVG: dots with intervals, on axes that say where they begin. Colours are classes of the style sheet.

Every plot is drawn about 440 units wide, so that its letters stay readable on a phone; the numbers stand in tables as well.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from anyscene.report.estimates import Estimate, count, percent, points
from anyscene.report.graphs import shortened, text_width
from anyscene.report.markup import Child, Markup, el

__all__ = [
    "Bin",
    "Difference",
    "by_complexity",
    "by_round",
    "dots_by_name",
    "forest",
    "headline_scale",
    "interval_bar",
    "reliability_curve",
]

_Scale = Callable[[float], float]
WIDTH = 440.0
_SHAPES = ("disc", "diamond", "square")


@dataclass(frozen=True, slots=True)
class Bin:
    """A bin of the judge's probabilities: its ends, the mean probability in it, the share that was right, how many answers."""

    low: float
    high: float
    mean_p: float | None
    share_right: float | None
    n: int


@dataclass(frozen=True, slots=True)
class Difference:
    """A row of a forest plot: a skill, the difference on it, and whether it holds after correction for many comparisons."""

    name: str
    estimate: Estimate
    holds: bool


def interval_bar(estimate: Estimate) -> Markup:
    """A bar for a table cell of any width: the track from 0 to 100 %, the interval, the value. Empty where there is no value."""

    def x(value: float) -> float:
        return 2 + 196 * min(1.0, max(0.0, value))

    track = el("line", x1=2, x2=198, y1=8, y2=8, class_="track" if estimate.known else "track missing")
    parts: list[Markup] = [track]
    if estimate.value is not None:
        parts.append(el("line", x1=x(0.5), x2=x(0.5), y1=5, y2=11, class_="tick"))
        if estimate.interval:
            start, end = x(estimate.interval[0]), x(estimate.interval[1])
            parts.append(el("rect", x=start, y=4, width=max(1.0, end - start), height=8, class_="band"))
        parts.append(el("line", x1=x(estimate.value), x2=x(estimate.value), y1=2, y2=14, class_="here"))
    return el("svg", parts, class_="bar", viewBox="0 0 200 16", preserveAspectRatio="none", aria_hidden="true")


def headline_scale(estimate: Estimate, noise: float | None) -> Markup:
    """The headline on a ruler from 0 to 100 %, with its interval, and the noise floor around it where it is known."""

    def x(value: float) -> float:
        return 12 + 576 * min(1.0, max(0.0, value))

    parts: list[Child] = [el("line", x1=x(0), x2=x(1), y1=30, y2=30, class_="axis")]
    for tenth in range(11):
        tall = 7 if tenth % 5 == 0 else 4
        parts.append(el("line", x1=x(tenth / 10), x2=x(tenth / 10), y1=30, y2=30 + tall, class_="axis"))
        if tenth % 5 == 0:
            anchor = {0: "start", 10: "end"}.get(tenth, "middle")
            parts.append(el("text", f"{10 * tenth}%", x=x(tenth / 10) + {0: -10, 10: 10}.get(tenth, 0), y=52, text_anchor=anchor))
    if estimate.value is not None:
        if noise:
            start, end = x(estimate.value - noise), x(estimate.value + noise)
            parts.append(
                el("path", el("title", f"noise floor: ± {100 * noise:.1f} points"), d=f"M{start:.1f} 11v-7H{end:.1f}v7", class_="noise")
            )
        if estimate.interval:
            start, end = x(estimate.interval[0]), x(estimate.interval[1])
            parts.append(el("rect", x=start, y=14, width=max(2.0, end - start), height=16, class_="band"))
        parts.append(el("line", x1=x(estimate.value), x2=x(estimate.value), y1=9, y2=30, class_="here"))
    label = f"Ruler from 0 to 100 percent with the headline at {percent(estimate.value)}"
    return el("svg", parts, class_="plot ruler", viewBox="0 0 600 58", role="img", aria_label=label)


def by_complexity(rows: Sequence[tuple[str, Estimate, Estimate]], label: str) -> Markup:
    """Soft (line, discs) and strict (diamonds) scores over complexity, with intervals; under it how many scenes each rests on."""
    low, high = _range([one for _, soft, strict in rows for one in (soft, strict)])
    top, bottom, left, right, floor = 14.0, 218.0, 44.0, WIDTH - 14, 262.0
    step = (right - left) / max(1, len(rows))

    def y(value: float) -> float:
        return bottom - (bottom - top) * (value - low) / (high - low)

    parts: list[Child] = _level_lines(low, high, y, left, right)
    most = max([soft.n or 0 for _, soft, _ in rows], default=0)
    every = math.ceil(len(rows) / 14)
    line: list[str] = []
    marks: list[Child] = []
    for place, (name, soft, strict) in enumerate(rows):
        x = left + step * (place + 0.5)
        if place % every == 0:
            parts.append(el("text", name, x=x, y=floor + 17, text_anchor="middle"))
        if most and soft.n:
            tall = max(1.0, 22 * soft.n / most)
            scenes = el("title", f"complexity {name}: {count(soft.n)} scenes")
            parts.append(el("rect", scenes, x=x - step * 0.32, y=floor - tall, width=step * 0.64, height=tall, class_="mass"))
        offset = min(5.0, step / 5)
        marks.append(_upright(strict, x + offset, y, "diamond", "second"))
        marks.append(_upright(soft, x - offset, y, "disc", "first"))
        if soft.value is not None:
            line.append(f"{'L' if line else 'M'}{x - offset:.1f} {y(soft.value):.1f}")
    parts.append(el("path", d="".join(line), class_="curve") if len(line) > 1 else None)
    parts += [
        el("text", "scenes", x=left - 8, y=floor - 2, text_anchor="end"),
        el("line", x1=left, x2=right, y1=floor, y2=floor, class_="axis"),
    ]
    parts += [el("text", "complexity (objects + attributes + relations)", x=(left + right) / 2, y=floor + 36, text_anchor="middle"), marks]
    return el("svg", parts, class_="plot", viewBox=f"0 0 {WIDTH:.0f} {floor + 42:.0f}", role="img", aria_label=label)


def dots_by_name(rows: Sequence[tuple[str, Sequence[Estimate]]], label: str) -> Markup:
    """Rows of dots with intervals: one row per name, one mark per estimate (disc, diamond, square), the first written out."""
    low, high = _range([one for _, estimates in rows for one in estimates])
    left, right, top = 116.0, WIDTH - 62, 6.0
    lanes = max([len(estimates) for _, estimates in rows], default=1)
    tall = 30.0 if lanes < 2 else 16.0 * lanes + 8
    bottom = top + tall * len(rows)

    def x(value: float) -> float:
        return left + (right - left) * (value - low) / (high - low)

    parts: list[Child] = _plumb_lines(low, high, x, top, bottom)
    for place, (name, estimates) in enumerate(rows):
        middle = top + tall * (place + 0.5)
        if place:
            parts.append(el("line", x1=4, x2=WIDTH - 4, y1=top + tall * place, y2=top + tall * place, class_="rule"))
        parts.append(el("text", _fitting(name, left - 14), x=left - 12, y=middle + 4, text_anchor="end", class_="row"))
        for lane, estimate in enumerate(estimates):
            y = middle + (lane - (lanes - 1) / 2) * 14
            parts.append(_lying(estimate, x, y, _SHAPES[lane], ("first", "second", "third")[lane]))
        first = estimates[0] if estimates else Estimate()
        words = percent(first.value)
        parts.append(el("text", words, x=WIDTH - 6, y=middle + 4, text_anchor="end", class_="value"))
    return el("svg", parts, class_="plot", viewBox=f"0 0 {WIDTH:.0f} {bottom + 24:.0f}", role="img", aria_label=label)


def by_round(lines: Sequence[tuple[str, str, Sequence[Estimate]]], label: str) -> Markup:
    """Scores over rounds, the first is round 0: for each line its shape, its series, and the estimates with their intervals."""
    low, high = _range([one for _, _, line in lines for one in line])
    top, bottom, left, right = 14.0, 218.0, 44.0, WIDTH - 14
    most = max((len(line) for _, _, line in lines), default=1)
    step = (right - left) / max(1, most)

    def y(value: float) -> float:
        return bottom - (bottom - top) * (value - low) / (high - low)

    parts: list[Child] = _level_lines(low, high, y, left, right)
    parts += [el("text", str(place), x=left + step * (place + 0.5), y=bottom + 19, text_anchor="middle") for place in range(most)]
    for number, (shape, series, line) in enumerate(lines):
        shift = min(7.0, step / 6) * (number - (len(lines) - 1) / 2)
        marks = [(left + step * (place + 0.5) + shift, one) for place, one in enumerate(line)]
        known = [f"{x:.1f} {y(one.value):.1f}" for x, one in marks if one.value is not None]
        parts.append(el("path", d=f"M{'L'.join(known)}", class_=f"way {series}") if len(known) > 1 else None)
        parts += [_upright(one, x, y, shape, series) for x, one in marks]
    return el("svg", parts, class_="plot", viewBox=f"0 0 {WIDTH:.0f} {bottom + 26:.0f}", role="img", aria_label=label)


def reliability_curve(bins: Sequence[Bin], label: str) -> Markup:
    """How often the judge is right against how sure it is, over a histogram of how sure it is. On the diagonal it is calibrated."""
    left, right, top, bottom, floor = 48.0, WIDTH - 14, 12.0, 236.0, 300.0

    def x(value: float) -> float:
        return left + (right - left) * value

    def y(value: float) -> float:
        return bottom - (bottom - top) * value

    parts: list[Child] = _level_lines(0.0, 1.0, y, left, right)
    parts.append(el("line", x1=x(0), y1=y(0), x2=x(1), y2=y(1), class_="diagonal"))
    most = max([one.n for one in bins], default=0)
    line: list[str] = []
    marks = []
    for one in bins:
        if one.n:
            tall = max(1.0, 42 * one.n / most)
            width = max(1.0, x(one.high) - x(one.low) - 2)
            title = el("title", f"{percent(one.low, 0)} to {percent(one.high, 0)}: {count(one.n)} answers")
            parts.append(el("rect", title, x=x(one.low) + 1, y=floor - tall, width=width, height=tall, class_="mass"))
        if one.n and one.mean_p is not None and one.share_right is not None:
            line.append(f"{'L' if line else 'M'}{x(one.mean_p):.1f} {y(one.share_right):.1f}")
            radius = 3 + 5 * math.sqrt(one.n / most)
            marks.append(el("circle", cx=x(one.mean_p), cy=y(one.share_right), r=radius, class_="first disc"))
    parts.append(el("path", d="".join(line), class_="curve") if len(line) > 1 else None)
    parts += [marks, el("line", x1=left, x2=right, y1=floor, y2=floor, class_="axis")]
    for value in (0.0, 0.25, 0.5, 0.75, 1.0):
        parts.append(el("text", percent(value, 0), x=x(value), y=floor + 17, text_anchor="middle" if value < 1 else "end"))
    parts.append(el("text", "probability that the judge gives", x=(left + right) / 2, y=floor + 36, text_anchor="middle"))
    parts.append(el("text", "share that is true", x=left + 8, y=top + 12, class_="hint"))
    return el("svg", parts, class_="plot", viewBox=f"0 0 {WIDTH:.0f} {floor + 42:.0f}", role="img", aria_label=label)


def forest(rows: Sequence[Difference], label: str) -> Markup:
    """Differences around zero, with intervals, in percentage points; those that hold after correction are filled."""
    ends = sorted(abs(v) for row in rows for v in (row.estimate.low, row.estimate.high) if v is not None)
    most = max([abs(row.estimate.value) for row in rows if row.estimate.value is not None], default=0.0)
    reach = _ceiling(max(0.02, 1.25 * most, ends[len(ends) * 4 // 5] if ends else 0.0))  # one wide interval must not flatten the others
    left, right, top, tall = 136.0, WIDTH - 66, 6.0, 26.0
    bottom = top + tall * len(rows)

    def x(value: float) -> float:
        return left + (right - left) * (min(reach, max(-reach, value)) + reach) / (2 * reach)

    parts: list[Child] = []
    for value in (-reach, -reach / 2, 0.0, reach / 2, reach):
        parts.append(el("line", x1=x(value), x2=x(value), y1=top, y2=bottom, class_="zero" if value == 0 else "grid"))
        parts.append(
            el(
                "text",
                points(value, 0 if reach >= 0.02 and abs(100 * reach / 2 % 1) < 1e-9 else 1) if value else "0",
                x=x(value),
                y=bottom + 17,
                text_anchor="middle",
            )
        )
    for place, row in enumerate(rows):
        y = top + tall * (place + 0.5)
        parts.append(el("text", _fitting(row.name, left - 14), x=left - 12, y=y + 4, text_anchor="end", class_="row"))
        side = "same" if not row.holds else "up" if (row.estimate.value or 0) > 0 else "down"
        parts.append(_lying(row.estimate, x, y, "disc", side))
        for end, edge, way in ((row.estimate.low, left, -1), (row.estimate.high, right, 1)):
            if end is not None and way * end > reach:  # it goes on
                parts.append(el("path", d=f"M{edge - 5 * way:.1f} {y - 4:.1f}l{5 * way} 4l{-5 * way} 4", class_=f"whisker beyond {side}"))
        words = points(row.estimate.value)
        parts.append(el("text", words, x=WIDTH - 6, y=y + 4, text_anchor="end", class_="value"))
    return el("svg", parts, class_="plot", viewBox=f"0 0 {WIDTH:.0f} {bottom + 24:.0f}", role="img", aria_label=label)


def _range(estimates: Sequence[Estimate]) -> tuple[float, float]:
    """Ends of an axis in tenths that hold all values and intervals, at least three tenths apart."""
    values = [value for one in estimates for value in (one.value, one.low, one.high) if value is not None]
    low = max(0.0, math.floor(min(values, default=0.0) * 10 - 0.1) / 10)
    high = min(1.0, math.ceil(max(values, default=1.0) * 10 + 0.1) / 10)
    while high - low < 0.295:
        low, high = max(0.0, low - 0.1), min(1.0, high + 0.1)
    return round(low, 1), round(high, 1)


def _ceiling(value: float) -> float:
    """The next of 1, 2, 4, 5, 10 times a power of ten."""
    scale = 10.0 ** math.floor(math.log10(value))
    return next(round(step * scale, 6) for step in (1, 2, 4, 5, 10) if step * scale >= value - 1e-12)


def _steps(low: float, high: float) -> list[float]:
    step = 0.1 if high - low < 0.55 else 0.2
    first = math.ceil(low / step - 1e-9)
    return [round(k * step, 1) for k in range(first, math.floor(high / step + 1e-9) + 1)]


def _level_lines(low: float, high: float, y: _Scale, left: float, right: float) -> list[Child]:
    parts: list[Child] = []
    for value in _steps(low, high):
        parts.append(el("line", x1=left, x2=right, y1=y(value), y2=y(value), class_="grid"))
        parts.append(el("text", percent(value, 0), x=left - 8, y=y(value) + 4, text_anchor="end"))
    return parts


def _plumb_lines(low: float, high: float, x: _Scale, top: float, bottom: float) -> list[Child]:
    parts: list[Child] = []
    for value in _steps(low, high):
        parts.append(el("line", x1=x(value), x2=x(value), y1=top, y2=bottom, class_="grid"))
        parts.append(el("text", percent(value, 0), x=x(value), y=bottom + 17, text_anchor="middle"))
    return parts


def _upright(estimate: Estimate, x: float, y: _Scale, shape: str, series: str) -> Markup | None:
    if estimate.value is None:
        return None
    ends = estimate.interval
    whisker = el("line", x1=x, x2=x, y1=y(ends[0]), y2=y(ends[1]), class_=f"whisker {series}") if ends else None
    return el("g", el("title", _told(estimate)), whisker, _shape(shape, x, y(estimate.value), series))


def _lying(estimate: Estimate, x: _Scale, y: float, shape: str, series: str) -> Markup | None:
    if estimate.value is None:
        return None
    ends = estimate.interval
    whisker = el("line", x1=x(ends[0]), x2=x(ends[1]), y1=y, y2=y, class_=f"whisker {series}") if ends else None
    return el("g", el("title", _told(estimate)), whisker, _shape(shape, x(estimate.value), y, series))


def _shape(shape: str, x: float, y: float, series: str) -> Markup:
    if shape == "diamond":
        return el("path", d=f"M{x:.1f} {y - 5:.1f}l5 5l-5 5l-5 -5z", class_=f"{series} {shape}")
    if shape == "square":
        return el("rect", x=x - 3.8, y=y - 3.8, width=7.6, height=7.6, class_=f"{series} {shape}")
    return el("circle", cx=x, cy=y, r=4.6, class_=f"{series} {shape}")


def _told(estimate: Estimate) -> str:
    ends = f", {percent(estimate.interval[0])} to {percent(estimate.interval[1])}" if estimate.interval else ""
    return f"{percent(estimate.value)}{ends}" + (f", {count(estimate.n)} scenes" if estimate.n is not None else "")


def _fitting(words: str, width: float) -> str:
    longest = len(words)
    while longest > 4 and text_width(shortened(words, longest), 12) > width:
        longest -= 1
    return shortened(words, longest)
