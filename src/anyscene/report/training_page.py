"""What a training run looks like in a report: curves over its updates, and sheets of its rollouts."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from anyscene.report.markup import Child, Markup, el
from anyscene.report.run_page import figure, header_block, key_figures
from anyscene.report.shell import Section, page
from anyscene.runs import write_atomic

__all__ = ["Curve", "curve_plot", "training_sections", "write_training_page"]

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 440.0, 240.0, 52.0, 14.0, 12.0, 30.0
MOST_POINTS = 240


@dataclass(frozen=True, slots=True)
class Curve:
    """A number over the updates.

    Attributes:
        name: title of the plot.
        words: what it shows.
        key: of the number in ``metrics.jsonl``.
    """

    name: str
    words: str
    key: str


CURVES = (
    Curve("Reward", "Mean over the rollouts of an update; the line is its running mean.", "reward"),
    Curve("KL", "Divergence from the policy at the start.", "kl"),
    Curve("Tied groups", "Share of captions whose rollouts all have the same reward, and so teach nothing.", "zero_variance"),
    Curve("Spread of the reward", "Standard deviation within the rollouts of a caption.", "reward_std"),
    Curve("Gradient", "Its norm, before clipping.", "grad_norm"),
    Curve("Reward: foils", "Mean value of the questions whose right answer is no.", "reward/foils"),
)


def training_sections(
    metrics: Sequence[Mapping[str, float | None]], sheets: Sequence[tuple[int, bytes]] = (), warnings: Sequence[Mapping[str, object]] = ()
) -> list[Section]:
    """Sections for a page.

    Args:
        metrics: one mapping for each update, with ``update``; numbers that are missing or None are left out.
        sheets: numbers of updates, and PNG pictures of some of their rollouts.
        warnings: of guards against reward hacking: ``update``, ``cause`` and ``message`` of each.
    """
    found: list[Section] = []
    if warnings:
        said = [el("li", f"From update {one['update']} on: {one['message']} ({one['cause']}).") for one in warnings]
        found.append(("guards", "Guards", "What the guards said", el("ul", said)))
    plots = []
    for curve in CURVES:
        values = [(float(one["update"] or 0), float(one[curve.key])) for one in metrics if one.get(curve.key) is not None]  # type: ignore[arg-type]
        if len(values) > 1 and any(value for _, value in values):
            plots.append(figure(curve.name, curve.words, curve_plot(values, curve.name)))
    if plots:
        found.append(("training", "Training", "Over the updates", el("div", plots, class_="panels")))
    if sheets:
        pictures = [
            el(
                "figure",
                el("figcaption", el("h3", f"Update {update}")),
                el("img", src=f"data:image/png;base64,{base64.b64encode(png).decode()}", alt=f"rollouts of update {update}"),
                class_="panel",
            )
            for update, png in sheets
        ]
        note = el("p", "A row for each caption, its rollouts from the best to the worst, with their rewards.", class_="note")
        found.append(("rollouts", "Rollouts", "What it was rewarded for", el("div", note, el("div", pictures, class_="panels"))))
    return found


def curve_plot(values: Sequence[tuple[float, float]], label: str) -> Markup:
    """A number over the updates: points, and their running mean as a line.

    Args:
        values: update and number, in order; at least two.
        label: for those who cannot see it.
    """
    first, last = values[0][0], values[-1][0]
    low, high = min(value for _, value in values), max(value for _, value in values)
    pad = 0.06 * (high - low) or abs(high) * 0.1 or 1.0
    low, high = low - pad, high + pad
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM

    def x(update: float) -> float:
        return LEFT + (right - LEFT) * (update - first) / max(1e-12, last - first)

    def y(value: float) -> float:
        return bottom - (bottom - TOP) * (value - low) / (high - low)

    parts: list[Child] = []
    step = _round_step((high - low) / 4)
    level = math.ceil(low / step) * step
    while level <= high + 1e-12:
        parts.append(el("line", x1=LEFT, x2=right, y1=y(level), y2=y(level), class_="grid"))
        parts.append(el("text", f"{level:.6g}" if abs(level) > 1e-12 else "0", x=LEFT - 8, y=y(level) + 4, text_anchor="end"))
        level += step
    across = max(1, round(_round_step((last - first) / 5)))
    for update in range(math.ceil(first / across) * across, int(last) + 1, across):
        parts.append(el("text", str(update), x=x(update), y=HEIGHT - 8, text_anchor="middle"))
    every = math.ceil(len(values) / MOST_POINTS)
    parts += [el("circle", cx=x(update), cy=y(value), r=1.6, class_="mass") for update, value in values[::every]]
    smooth = _running(values, max(1, len(values) // 12))
    path = "M" + "L".join(f"{x(update):.1f} {y(value):.1f}" for update, value in smooth[::every])
    parts.append(el("path", d=path, class_="curve trend"))
    told = f"{label} over the updates: {values[0][1]:.4g} in the beginning, {smooth[-1][1]:.4g} on average in the end"
    return el("svg", parts, class_="plot", viewBox=f"0 0 {WIDTH:.0f} {HEIGHT:.0f}", role="img", aria_label=told)


def write_training_page(
    path: Path,
    title: str,
    metrics: Sequence[Mapping[str, float | None]],
    sheets: Sequence[tuple[int, bytes]] = (),
    warnings: Sequence[Mapping[str, object]] = (),
) -> None:
    """A page with nothing but the training, for a run without an evaluation.

    Raises:
        RunError: the file cannot be written.
    """
    words = el("p", "This run evaluated nothing: whether the policy got better on scenes that it did not train on is not known.")
    figures = key_figures([("updates", f"{len(metrics):,}")])
    header = header_block("Anyscene training", title, "", el("div", words, figures, class_="summary"), [])
    write_atomic(path, page(title, header, training_sections(metrics, sheets, warnings)).encode())


def _running(values: Sequence[tuple[float, float]], width: int) -> list[tuple[float, float]]:
    """Each value's mean with those around it, as many before as after."""
    sums = [0.0]
    for _, value in values:
        sums.append(sums[-1] + value)
    found = []
    for place, (update, _) in enumerate(values):
        reach = min(width, place, len(values) - 1 - place)
        found.append((update, (sums[place + reach + 1] - sums[place - reach]) / (2 * reach + 1)))
    return found


def _round_step(rough: float) -> float:
    """The smallest of 1, 2, 5 times a power of ten that is at least this large."""
    power = 10.0 ** math.floor(math.log10(max(rough, 1e-12)))
    return next(one * power for one in (1, 2, 5, 10) if one * power >= rough * (1 - 1e-9))
