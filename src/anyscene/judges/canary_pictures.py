"""The pictures of the canaries, drawn: plain shapes in plain colours on white, and what is true of them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from PIL import Image, ImageDraw

from anyscene.language.question import Question

__all__ = ["SIDE", "drawn_canaries"]

SIDE = 336
"""Width and height of each picture, in pixels."""
_SMOOTH = 4
_COLOURS = {"red": (220, 20, 20), "green": (20, 150, 40), "blue": (30, 60, 220), "black": (10, 10, 10), "purple": (140, 30, 170)}


@dataclass(frozen=True, slots=True)
class _Thing:
    colour: str
    shape: str
    x: float
    y: float
    size: float = 0.34


_LEFT, _RIGHT, _TOP, _BOTTOM = (0.27, 0.5), (0.73, 0.5), (0.5, 0.27), (0.5, 0.73)
_SPREAD = ((0.2, 0.22), (0.76, 0.3), (0.5, 0.55), (0.22, 0.8), (0.8, 0.78))


def _one(colour: str, shape: str) -> tuple[_Thing, ...]:
    return (_Thing(colour, shape, 0.5, 0.5, 0.5),)


def _two(first: str, second: str, across: bool = True) -> tuple[_Thing, ...]:
    """``blue square`` left of ``green triangle``, or above it."""
    colours, shapes = zip(*(what.split(" ") for what in (first, second)), strict=True)
    places = (_LEFT, _RIGHT) if across else (_TOP, _BOTTOM)
    return tuple(_Thing(colour, shape, x, y) for colour, shape, (x, y) in zip(colours, shapes, places, strict=True))


def _many(number: int, colour: str, shape: str) -> tuple[_Thing, ...]:
    return tuple(_Thing(colour, shape, x, y, 0.24) for x, y in _SPREAD[:number])


_PICTURES: dict[str, tuple[_Thing, ...]] = {
    "red circle": _one("red", "circle"),
    "blue square": _one("blue", "square"),
    "green triangle": _one("green", "triangle"),
    "red triangle": _one("red", "triangle"),
    "purple star": _one("purple", "star"),
    "square, triangle": _two("blue square", "green triangle"),
    "triangle, square": _two("green triangle", "blue square"),
    "circle over star": _two("red circle", "black star", across=False),
    "star over circle": _two("black star", "red circle", across=False),
    "red square, blue circle": _two("red square", "blue circle"),
    "blue square, red circle": _two("blue square", "red circle"),
    "green circle, black square": _two("green circle", "black square"),
    "two circles": _many(2, "black", "circle"),
    "three circles": _many(3, "black", "circle"),
    "two squares": _many(2, "red", "square"),
    "four squares": _many(4, "red", "square"),
    "five triangles": _many(5, "green", "triangle"),
    "two stars": _many(2, "purple", "star"),
}
_ASKED = """
existence | Is there a circle in the picture?           | red circle                 | blue square
existence | Is there a square in the picture?           | blue square                | red circle
existence | Is there a triangle in the picture?         | green triangle             | purple star
existence | Is there a star in the picture?             | purple star                | green triangle
existence | Is there a triangle in the picture?         | square, triangle           | red square, blue circle
existence | Is there a star in the picture?             | circle over star           | square, triangle
existence | Is there a circle in the picture?           | star over circle           | triangle, square
existence | Is there a square in the picture?           | blue square, red circle    | three circles
attribute | Is the circle red?                          | blue square, red circle    | red square, blue circle
attribute | Is the circle blue?                         | red square, blue circle    | blue square, red circle
attribute | Is the square red?                          | red square, blue circle    | blue square, red circle
attribute | Is the square blue?                         | blue square, red circle    | red square, blue circle
attribute | Is the triangle green?                      | green triangle             | red triangle
attribute | Is the triangle red?                        | red triangle               | square, triangle
attribute | Is the star black?                          | circle over star           | purple star
attribute | Is the star purple?                         | purple star                | star over circle
count     | Are there exactly two circles?              | two circles                | three circles
count     | Are there exactly three circles?            | three circles              | two circles
count     | Are there exactly two squares?              | two squares                | four squares
count     | Are there exactly four squares?             | four squares               | two squares
count     | Is there exactly one triangle?              | red triangle               | five triangles
count     | Are there exactly five triangles?           | five triangles             | green triangle
count     | Are there exactly two stars?                | two stars                  | purple star
count     | Is there exactly one star?                  | star over circle           | two stars
relation  | Is the square to the left of the triangle?  | square, triangle           | triangle, square
relation  | Is the square to the right of the triangle? | triangle, square           | square, triangle
relation  | Is the triangle to the left of the square?  | triangle, square           | square, triangle
relation  | Is the circle above the star?               | circle over star           | star over circle
relation  | Is the circle below the star?               | star over circle           | circle over star
relation  | Is the star above the circle?               | star over circle           | circle over star
relation  | Is the circle to the right of the square?   | red square, blue circle    | green circle, black square
relation  | Is the square to the right of the circle?   | green circle, black square | blue square, red circle
"""
"""Kind, question, a picture where the answer is yes, and one where it is no."""
_CHOSEN = """
attribute | What colour is the circle?     | red square, blue circle | red, blue, green, black        | blue
attribute | What colour is the square?     | blue square, red circle | red, green, blue, black        | blue
attribute | What colour is the triangle?   | red triangle            | green, blue, black, red        | red
attribute | What colour is the star?       | purple star             | purple, red, green, blue       | purple
existence | Which shape is in the picture? | green triangle          | circle, square, triangle, star | triangle
existence | Which shape is in the picture? | blue square             | circle, square, triangle, star | square
count     | How many circles are there?    | three circles           | 1, 2, 3, 4                     | 3
count     | How many squares are there?    | four squares            | 4, 3, 2, 1                     | 4
relation  | Which shape is on the left?    | triangle, square        | square, triangle               | triangle
relation  | Which shape is on top?         | circle over star        | circle, star                   | circle
"""
"""Kind, question, picture, choices, and the right one."""


def drawn_canaries() -> Iterator[tuple[str, Image.Image, tuple[Question, ...]]]:
    """Name, picture and questions of each canary."""
    asked = _questions()
    for name, things in _PICTURES.items():
        yield name, _drawn(things), tuple(asked[name])


def _questions() -> dict[str, list[Question]]:
    """The questions of each picture, by its name."""
    asked: dict[str, list[Question]] = {name: [] for name in _PICTURES}
    for kind, text, *pictures in _rows(_ASKED):
        for name, answer in zip(pictures, ("yes", "no"), strict=True):
            asked[name].append(Question(f"c{len(asked[name])}", kind, "yes_no", text, answer))
    for kind, text, name, choices, answer in _rows(_CHOSEN):
        asked[name].append(Question(f"c{len(asked[name])}", kind, "choice", text, answer, tuple(choices.split(", "))))
    return asked


def _rows(table: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.split("|")] for line in table.strip().splitlines()]


def _drawn(things: tuple[_Thing, ...]) -> Image.Image:
    """The picture, drawn large and made small, so that its edges are smooth."""
    side = SIDE * _SMOOTH
    picture = Image.new("RGB", (side, side), "white")
    draw = ImageDraw.Draw(picture)
    for thing in things:
        corners = _corners(thing.shape)
        points = [(side * (thing.x + thing.size / 2 * x), side * (thing.y + thing.size / 2 * y)) for x, y in corners]
        if thing.shape == "circle":
            draw.ellipse([*points[0], *points[1]], fill=_COLOURS[thing.colour])
        else:
            draw.polygon(points, fill=_COLOURS[thing.colour])
    return picture.resize((SIDE, SIDE), Image.Resampling.BOX)


def _corners(shape: str) -> list[tuple[float, float]]:
    """Corners from -1 to 1; of a circle, those of the square around it."""
    if shape == "circle":
        return [(-1, -1), (1, 1)]
    if shape == "square":
        return [(-0.9, -0.9), (0.9, -0.9), (0.9, 0.9), (-0.9, 0.9)]
    if shape == "triangle":
        return [(0, -0.95), (1, 0.85), (-1, 0.85)]
    radii = [1.05 if spike % 2 == 0 else 0.45 for spike in range(10)]
    return [(radius * math.sin(math.pi * spike / 5), -radius * math.cos(math.pi * spike / 5)) for spike, radius in enumerate(radii)]
