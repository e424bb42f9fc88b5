"""The colours of the style sheet: every text can be read on every ground that it stands on, by day and by night (WCAG 2, AA)."""

from __future__ import annotations

import re
from importlib.resources import files

import pytest

STYLE = files("anyscene.report").joinpath("assets", "style.css").read_text(encoding="utf-8")
GROUNDS = ("ground", "paper")
PAIRS = [
    *((ink, ground) for ink in ("ink", "soft", "right", "wrong", "open") for ground in GROUNDS),
    ("ink", "sunk"),
    ("soft", "sunk"),
    ("ink", "warn-wash"),
    ("warn", "warn-wash"),
    *((ink, f"{verdict}-wash") for verdict in ("right", "wrong", "open") for ink in ("ink", "soft", verdict)),
]
MARKS = [(mark, "paper") for mark in ("first", "second", "third")]


def palette(dark: bool) -> dict[str, str]:
    blocks = re.findall(r":root \{(.*?)\}", STYLE, re.DOTALL)
    light, night = (dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", block)) for block in blocks[:2])
    assert len(light) >= 15 and len(night) >= 15
    return light | night if dark else light


def luminance(colour: str) -> float:
    parts = [int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("dark", [False, True])
def test_texts_stand_out_from_what_is_behind_them(dark: bool) -> None:
    colours = palette(dark)
    weak = {pair: round(contrast(colours[pair[0]], colours[pair[1]]), 2) for pair in PAIRS}
    assert {pair: value for pair, value in weak.items() if value < 4.5} == {}


@pytest.mark.parametrize("dark", [False, True])
def test_marks_of_plots_stand_out(dark: bool) -> None:
    colours = palette(dark)
    assert all(contrast(colours[mark], colours[ground]) >= 3 for mark, ground in MARKS)


def test_contrast_is_what_the_standard_says() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#767676", "#ffffff") == pytest.approx(4.54, abs=0.01)
