"""Graphs as drawings: everything is in them, nothing covers anything, verdicts do not rest on colour."""

from __future__ import annotations

import re
from itertools import combinations
from typing import Any

import pytest
from html_outline import Outline

from anyscene.language.question import Question
from anyscene.report import Asked
from anyscene.report.graphs import draw_scene_graph, element_verdicts, shortened, text_width


def graph(objects: int, relations: list[tuple[int, int]], attributes: int = 1) -> dict[str, Any]:
    return {
        "objects": [
            {"id": f"o{k}", "name": f"object {k}", "attributes": [{"type": "color", "value": f"value {j}"} for j in range(attributes)]}
            for k in range(objects)
        ],
        "relations": [{"subject": f"o{a}", "predicate": f"is {a} to {b}", "object": f"o{b}"} for a, b in relations],
        "scene_attributes": [{"type": "style", "value": "oil painting"}],
    }


def boxes(svg: str, kind: str) -> list[tuple[float, float, float, float]]:
    """(left, top, right, bottom) of the rectangles of a class."""
    found = []
    for attrs in Outline(svg).all_of("rect"):
        if (attrs["class"] or "").split()[0] == kind:
            x, y, width, height = (float(attrs[name] or 0) for name in ("x", "y", "width", "height"))
            found.append((x, y, x + width, y + height))
    return found


def overlap(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


SHAPES = [
    (0, []),
    (1, []),
    (9, []),
    (2, [(0, 1)]),
    (3, [(0, 1), (1, 2), (0, 2)]),
    (5, [(0, 1), (0, 2), (0, 3), (0, 4)]),
    (5, [(1, 0), (2, 0), (3, 0), (4, 0)]),
    (6, [(0, 1), (1, 2), (2, 3), (0, 3), (4, 3), (0, 5)]),
    (4, [(0, 2), (0, 3), (1, 2), (1, 3)]),
    (3, [(0, 1), (1, 2), (2, 0)]),  # a cycle, which no scene has, must not hang
]


@pytest.mark.parametrize(("objects", "relations"), SHAPES)
def test_everything_is_drawn_inside_the_drawing_and_no_two_cards_overlap(objects: int, relations: list[tuple[int, int]]) -> None:
    drawing = draw_scene_graph(graph(objects, relations), {})
    outline = Outline(drawing.svg)
    assert outline.faults == []
    _, _, width, height = map(float, re.findall(r"[\d.]+", outline.all_of("svg")[0]["viewbox"] or ""))
    assert width == pytest.approx(drawing.width, abs=1)
    cards, labels = boxes(drawing.svg, "card"), boxes(drawing.svg, "label")
    assert (len(cards), len(labels)) == (objects, len(relations))
    assert not any(overlap(*pair) for pair in combinations(cards, 2))
    for left, top, right, bottom in [*cards, *labels, *boxes(drawing.svg, "chip")]:
        assert 0 <= left < right <= width + 0.5
        assert 0 <= top < bottom <= height + 0.5
    for k in range(objects):
        assert f"object {k}" in outline.text
    for a, b in relations:
        assert f"is {a} to {b}" in outline.text
    assert "oil painting" in outline.text


@pytest.mark.parametrize(("objects", "relations"), SHAPES[:-1])
def test_labels_cover_neither_cards_nor_each_other(objects: int, relations: list[tuple[int, int]]) -> None:
    drawing = draw_scene_graph(graph(objects, relations), {})
    cards, labels = boxes(drawing.svg, "card"), boxes(drawing.svg, "label")
    assert not any(overlap(label, card) for label in labels for card in cards)
    assert not any(overlap(*pair) for pair in combinations(labels, 2))


def test_subjects_stand_above_objects() -> None:
    drawing = draw_scene_graph(graph(3, [(2, 1), (1, 0)]), {})
    tops = [top for _, top, _, _ in boxes(drawing.svg, "card")]
    assert tops[2] < tops[1] < tops[0]


def asked(elements: list[str], right: bool | None, foil: str | None = None) -> Asked:
    question = Question("q", "existence", "yes_no", "?", "yes", elements=tuple(elements), foil=foil)
    return Asked(question, "answered", 0.5 if right is None else float(right), right)


def test_one_wrong_answer_marks_an_element_wrong_and_foils_mark_nothing() -> None:
    found = element_verdicts(
        [
            asked(["o0"], True),
            asked(["o0"], False),
            asked(["o1", "r0"], True),
            asked(["o1"], None),
            asked(["o2"], None),
            asked(["o3"], False, "absent_object"),
        ]
    )
    assert found == {"o0": "wrong", "o1": "right", "r0": "right", "o2": "open"}


def test_a_verdict_is_drawn_as_a_mark_and_not_by_colour_alone() -> None:
    drawing = draw_scene_graph(graph(2, [(0, 1)]), {"o0": "right", "o0.a0": "wrong", "o1": "open", "r0": "wrong"})
    marks = [
        attrs["class"]
        for tag in ("path", "circle")
        for attrs in Outline(drawing.svg).all_of(tag)
        if (attrs["class"] or "").startswith("mark")
    ]
    assert sorted(str(one) for one in marks) == ["mark open", "mark right", "mark unasked", "mark unasked", "mark wrong", "mark wrong"]


def test_the_drawing_says_in_words_what_it_shows() -> None:
    label = Outline(draw_scene_graph(graph(2, [(0, 1)]), {}).svg).all_of("svg")[0]["aria-label"]
    assert label == "Scene graph. Objects: object 0, object 1. Relations: object 0 is 0 to 1 object 1."


def test_long_names_are_cut_and_kept_in_the_title() -> None:
    long = graph(1, [])
    long["objects"][0]["name"] = "x" * 200
    drawing = draw_scene_graph(long, {})
    assert drawing.width < 500
    assert "x" * 200 in Outline(drawing.svg).text


def test_wide_letters_count_as_wide() -> None:
    assert text_width("漢字", 10) > text_width("ab", 10) > text_width("il", 10)
    assert shortened("a  b\nc", 9) == "a b c" and shortened("abcdef", 4) == "abc…"
