"""A scene graph as a small drawing: objects as cards with their attributes, relations as labelled arrows.

Objects stand in layers, subjects above objects; an arrow that passes a layer gets a place in it, so that it crosses no card. Every
element carries the judge's verdict on it.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, TypeAlias

from anyscene.report.contents import Asked
from anyscene.report.markup import Markup, el, text

__all__ = ["Drawing", "draw_scene_graph", "element_verdicts", "shortened", "text_width"]

ROW = 21.0
"""Height of a line of a card."""
GAP = 26.0
"""Between cards of one layer."""
WIDEST = 486.0
"""Objects without relations, and what holds for the whole scene, go to a new row beyond this width: that of a card of the page."""
BEND = 0.45
"""How far the control points of an arrow lie from its ends, as a share of its height."""
_NARROW, _BROAD = set("iljtfrI.,:;'|!()[] "), set("mwMW@%")


_Segment: TypeAlias = tuple[float, float, float, float]
"""Both ends of an arrow, or of a part of it: x, y, x, y."""


@dataclass(frozen=True, slots=True)
class Drawing:
    """An SVG element and its width in CSS pixels."""

    svg: Markup
    width: float


@dataclass(slots=True)
class _Place:
    """A card, or a point that an arrow passes through."""

    width: float
    height: float
    x: float = 0.0
    y: float = 0.0
    above: list[_Place] = field(default_factory=list)
    below: list[_Place] = field(default_factory=list)


def text_width(words: str, size: float) -> float:
    """About how wide a text is in a sans-serif face, a little generous, in the units of ``size``."""
    total = 0.0
    for char in words:
        if unicodedata.east_asian_width(char) in "WF":
            total += 1.05
        elif char in _NARROW:
            total += 0.34
        elif char in _BROAD:
            total += 0.88
        else:
            total += 0.69 if char.isupper() else 0.56
    return total * size


def shortened(words: str, longest: int) -> str:
    """The text, cut with an ellipsis where it is longer."""
    words = " ".join(words.split())
    return words if len(words) <= longest else words[: longest - 1].rstrip() + "…"


def element_verdicts(asked: Sequence[Asked]) -> dict[str, str]:
    """Verdict per graph element: ``wrong`` if any question about it (no foil) is wrong, else ``right`` if any is right, else ``open``."""
    found: dict[str, str] = {}
    for one in asked:
        if not one.question.foil:
            for element in one.question.elements:
                found[element] = min(found.get(element, one.verdict), one.verdict, key=("wrong", "right", "open").index)
    return found


def draw_scene_graph(graph: Mapping[str, Any], verdicts: Mapping[str, str]) -> Drawing:
    """The graph as inline SVG, in CSS pixels; its colours are classes of the page's style sheet."""
    objects = graph.get("objects") or []
    lines = {one["id"]: [_line(a) for a in one.get("attributes") or []] for one in objects}
    cards = {one["id"]: _card_of(one, lines[one["id"]]) for one in objects}
    relations = [
        (place, one)
        for place, one in enumerate(graph.get("relations") or [])
        if one["subject"] in cards and one["object"] in cards and one["subject"] != one["object"]
    ]
    layers, routes = _layers(cards, [(one["subject"], one["object"]) for _, one in relations])
    scene = [(place, _line(one)) for place, one in enumerate(graph.get("scene_attributes") or [])]
    chips, chips_width, top = _scene_chips(scene, verdicts)
    width, height = _arrange(layers, top)
    width = max(width, chips_width)
    shift = (width - max((max(p.x + p.width / 2 for p in layer) for layer in layers if layer), default=0.0) - 4) / 2
    for layer in layers:
        for place in layer:
            place.x += max(0.0, shift)
    arrows, labels, reach = _arrows([(place, one, route) for (place, one), route in zip(relations, routes, strict=True)], verdicts)
    width = max(width, reach + 4)
    drawn = [_draw_card(one, lines[one["id"]], cards[one["id"]], verdicts) for one in objects]
    svg = el(
        "svg",
        chips,
        arrows,
        drawn,
        labels,
        class_="graph",
        viewBox=f"0 0 {width:.0f} {height:.0f}",
        width=f"{width:.0f}",
        height=f"{height:.0f}",
        role="img",
        aria_label=_in_words(graph),
    )
    return Drawing(svg, width)


def _in_words(graph: Mapping[str, Any]) -> str:
    names = {one["id"]: one["name"] for one in graph.get("objects") or []}
    relations = [f"{names.get(r['subject'], '?')} {r['predicate']} {names.get(r['object'], '?')}" for r in graph.get("relations") or []]
    return shortened(
        "Scene graph. Objects: " + (", ".join(names.values()) or "none") + ". Relations: " + ("; ".join(relations) or "none") + ".", 600
    )


def _line(attribute: Mapping[str, Any]) -> tuple[str, str]:
    return shortened(str(attribute["type"]).replace("_", " "), 18), shortened(str(attribute["value"]), 26)


def _card_of(one: Mapping[str, Any], lines: Sequence[tuple[str, str]]) -> _Place:
    widths = [text_width(shortened(one["name"], 28), 14) * 1.06 + 44, *(text_width(f"{kind}  {value}", 12) + 48 for kind, value in lines)]
    return _Place(max(88.0, *widths), 32.0 + ROW * len(lines) + (7 if lines else 0))


def _layers(cards: Mapping[str, _Place], edges: Sequence[tuple[str, str]]) -> tuple[list[list[_Place]], list[list[_Place]]]:
    """Cards (and points for passing arrows) in layers, and for each arrow the places it goes through."""
    level = dict.fromkeys(cards, 0)
    for _ in range(len(cards)):  # at most so many rounds, were there a cycle
        moved = False
        for subject, other in edges:
            if level[other] <= level[subject] < len(cards):
                level[other], moved = level[subject] + 1, True
        if not moved:
            break
    linked = {end for edge in edges for end in edge}
    for name in cards:  # a subject stands right above the nearest of its objects
        below = [level[other] for subject, other in edges if subject == name]
        if below and not any(other == name for _, other in edges):
            level[name] = max(level[name], min(below) - 1)
    depth = 1 + max((level[name] for name in linked), default=-1)
    layers: list[list[_Place]] = [[cards[name] for name in cards if name in linked and level[name] == row] for row in range(depth)]
    routes = []
    for subject, other in edges:
        route = [cards[subject]]
        for row in range(level[subject] + 1, level[other]):
            point = _Place(12.0, 0.0)
            layers[row].append(point)
            route.append(point)
        route.append(cards[other])
        for upper, lower in pairwise(route):
            upper.below.append(lower)
            lower.above.append(upper)
        routes.append(route)
    _untangle(layers)
    return [layer for layer in layers if layer] + _rows([cards[name] for name in cards if name not in linked]), routes


def _rows(loose: Sequence[_Place]) -> list[list[_Place]]:
    """Cards without relations, in rows."""
    rows: list[list[_Place]] = []
    used = 0.0
    for card in loose:
        if not rows or used + card.width > WIDEST - 8:
            rows.append([])
            used = 0.0
        rows[-1].append(card)
        used += card.width + GAP
    return rows


def _untangle(layers: list[list[_Place]]) -> None:
    """Puts every place near the middle of its neighbours (barycentre sweeps, down and up)."""
    for sweep in range(6):
        down = sweep % 2 == 0
        for layer in layers if down else reversed(layers):
            order = {id(place): position for one in layers for position, place in enumerate(one)}

            def middle(place: _Place, down: bool = down, order: dict[int, int] = order) -> float:
                near = place.above if down else place.below
                return sum(order[id(one)] for one in near) / len(near) if near else order[id(place)]

            layer.sort(key=middle)


def _arrange(layers: list[list[_Place]], top: float) -> tuple[float, float]:
    """Gives every place its middle x and its top y; the size of the whole."""
    width = max([2 * 4 + sum(p.width for p in layer) + GAP * (len(layer) - 1) for layer in layers], default=88.0)
    y = top
    for layer in layers:
        x = (width - sum(p.width for p in layer) - GAP * (len(layer) - 1)) / 2
        tallest = max(p.height for p in layer)
        for place in layer:
            place.x, place.y = x + place.width / 2, y + (tallest - place.height) / 2
            x += place.width + GAP
        going = sum(len(place.below) for place in layer)
        y += tallest + (40 + 20 * min(going, 5) if going else 18)
    return width, y - 18 + 6


def _port(place: _Place, neighbours: list[_Place], neighbour: _Place) -> float:
    """Where on a card's edge an arrow begins or ends: neighbours from left to right, so that arrows do not cross there."""
    if not place.height:
        return place.x
    order = sorted(range(len(neighbours)), key=lambda k: neighbours[k].x)
    rank = [neighbours[k] for k in order].index(neighbour)
    return place.x - place.width / 2 + place.width * (rank + 1) / (len(neighbours) + 1)


def _arrows(
    relations: Sequence[tuple[int, Mapping[str, Any], list[_Place]]], verdicts: Mapping[str, str]
) -> tuple[list[Markup], list[Markup], float]:
    """Arrows, their labels, and how far to the right the labels go."""
    lines, labels = [], []
    taken: list[tuple[float, float, float]] = []
    for place, relation, route in relations:
        verdict = verdicts.get(f"r{place}", "unasked")
        path, middle = "", []
        for upper, lower in pairwise(route):
            x1, y1 = _port(upper, upper.below, lower), upper.y + upper.height
            x2, y2 = _port(lower, lower.above, upper), lower.y - (8 if lower.height else 0)
            bend = (y2 - y1) * BEND
            path += f"{'L' if path else 'M'}{x1:.1f} {y1:.1f}C{x1:.1f} {y1 + bend:.1f} {x2:.1f} {y2 - bend:.1f} {x2:.1f} {y2:.1f}"
            middle.append((x1, y1, x2, y2))
        lines.append(el("path", d=path, class_=f"edge {verdict}"))
        lines.append(el("path", d=f"M{x2:.1f} {y2 + 8:.1f}l-5 -9.5q5 2.6 10 0z", class_=f"head {verdict}"))
        labels.append(_label(str(relation["predicate"]), verdict, middle[(len(middle) - 1) // 2], taken))
    return lines, labels, max((x + half for x, _, half in taken), default=0.0)


def _on_curve(segment: _Segment, t: float) -> tuple[float, float]:
    """A point of an arrow: it leaves and arrives straight down, its control points nine twentieths of its height away."""
    x1, y1, x2, y2 = segment
    ends, middles = (1 - t) ** 3 + 3 * (1 - t) ** 2 * t, 3 * (1 - t) * t * t + t**3
    return x1 * ends + x2 * middles, y1 * ends + y2 * middles + (y2 - y1) * BEND * 3 * (1 - t) * t * (1 - 2 * t)


def _label(predicate: str, verdict: str, segment: _Segment, taken: list[tuple[float, float, float]]) -> Markup:
    """The predicate on its arrow, where it covers the others least."""
    words = shortened(predicate, 30)
    marked = verdict in ("right", "wrong", "open")
    half = (text_width(words, 12) + (30 if marked else 14)) / 2
    best = (math.inf, 0.0, 0.0)
    for t in (0.5, 0.36, 0.64, 0.27, 0.73, 0.19, 0.81):
        x, y = _on_curve(segment, t)
        x = max(x, half + 2)
        covered = sum(max(0.0, half + wide + 4 - abs(x - other)) * max(0.0, 22 - abs(y - height)) for other, height, wide in taken)
        if covered < best[0]:
            best = (covered, x, y)
    _, x, y = best
    taken.append((x, y, half))
    return el(
        "g",
        el("title", predicate) if words != predicate else None,
        el("rect", x=x - half, y=y - 10, width=2 * half, height=20.0, rx=10.0, class_=f"label {verdict}"),
        el("text", words, x=x + (8 if marked else 0), y=y + 4, class_="predicate", text_anchor="middle"),
        _mark(x - half + 12, y, verdict) if marked else None,
    )


def _draw_card(one: Mapping[str, Any], lines: Sequence[tuple[str, str]], card: _Place, verdicts: Mapping[str, str]) -> Markup:
    left, verdict = card.x - card.width / 2, verdicts.get(one["id"], "unasked")
    parts = [
        el("title", one["name"]),
        el("rect", x=left, y=card.y, width=card.width, height=card.height, rx=8.0, class_=f"card {verdict}"),
        el("text", shortened(one["name"], 28), x=left + 30, y=card.y + 21, class_="name"),
        _mark(left + 17, card.y + 16, verdict),
    ]
    for place, (kind, value) in enumerate(lines):
        y = card.y + 36 + ROW * place
        about = verdicts.get(f"{one['id']}.a{place}", "unasked")
        parts.append(_mark(left + 17, y + 9, about))
        words = Markup(f'<tspan class="type">{text(kind)}</tspan>  {text(value)}')
        parts.append(el("text", words, x=left + 30, y=y + 13, class_=f"attribute {about}"))
    return el("g", parts)


def _scene_chips(scene: Sequence[tuple[int, tuple[str, str]]], verdicts: Mapping[str, str]) -> tuple[list[Markup], float, float]:
    """What holds for the whole scene, as chips along the top; how wide they are, and where the rest begins."""
    chips: list[Markup] = []
    x, y, widest = 4.0, 2.0, 0.0
    for place, (kind, value) in scene:
        verdict = verdicts.get(f"s{place}", "unasked")
        width = text_width(f"{kind}  {value}", 12) + 36
        if x > 4 and x + width > WIDEST:
            x, y = 4.0, y + 30
        words = Markup(f'<tspan class="type">{text(kind)}</tspan>  {text(value)}')
        chips += [
            el("rect", x=x, y=y, width=width, height=24.0, rx=12.0, class_=f"chip {verdict}"),
            _mark(x + 14, y + 12, verdict),
            el("text", words, x=x + 25, y=y + 16, class_=f"attribute {verdict}"),
        ]
        x += width + 8
        widest = max(widest, x)
    return chips, widest, y + 38 if scene else 6.0


def _mark(x: float, y: float, verdict: str) -> Markup:
    """A tick, a cross, an empty ring, or a dot for what was not asked: verdicts do not rest on colour alone."""
    if verdict == "right":
        return el("path", d=f"M{x - 4.5:.1f} {y:.1f}l3.2 3.4l5.8 -6.6", class_="mark right")
    if verdict == "wrong":
        return el("path", d=f"M{x - 3.8:.1f} {y - 3.8:.1f}l7.6 7.6m0 -7.6l-7.6 7.6", class_="mark wrong")
    if verdict == "open":
        return el("circle", cx=x, cy=y, r=3.6, class_="mark open")
    return el("circle", cx=x, cy=y, r=2.0, class_="mark unasked")
