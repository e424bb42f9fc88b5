"""The report of a distillation: what was chosen stands out, what is missing stays missing, what nobody learnt is said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from html_outline import Outline

from anyscene.report.distill_page import distill_sections, skill_label, write_distill_page
from anyscene.report.shell import page


def gap(skill: str, difference: float | None, **changed: Any) -> dict[str, Any]:
    ends = (None, None) if difference is None else (difference - 0.05, difference + 0.05)
    found = {
        "skill": skill,
        "a": 0.4,
        "b": None if difference is None else 0.4 + difference,
        "difference": difference,
        "low": ends[0],
        "high": ends[1],
        "n": 60,
        "questions": 80,
        "own": None,
        "p_adjusted": 0.001,
        "holds": True,
    }
    return {**found, **changed}


def change(skill: str, difference: float | None, claim: str, taught: bool) -> dict[str, Any]:
    return {**gap(skill, difference), "claim": claim, "taught": taught}


COUNTS = {
    "budget": 50,
    "kept": 48,
    "short": 2,
    "looked": 2000,
    "painted": 150,
    "failed": 99,
    "unjudged": 2,
    "unmade": 1,
    "passed": 48,
    "spare": 0,
}


def result(**changed: Any) -> dict[str, Any]:
    found: dict[str, Any] = {
        "trained": True,
        "conclusion": "It <b>learnt</b> colours.",
        "chosen": ["attribute:color"],
        "gap": [
            gap("attribute:color", 0.3),
            gap("complexity:4", 0.1, own=-0.02, p_adjusted=0.6, holds=False),
            gap("relation:comparison", 0.2, p_adjusted=None, holds=False),
        ],
        "lessons": COUNTS,
        "holding": {"attribute:color": {"lessons": 0.9, "fresh": 0.3}, "complexity:4": {"lessons": 0.25, "fresh": 0.25}},
        "skills": [
            change("attribute:color", 0.14, "better", True),
            change("count", -0.09, "worse", False),
            change("object:round", None, "no difference shown", False),
        ],
        "taught": {**gap("", 0.14), "claim": "better"},
        "elsewhere": {**gap("", -0.01), "claim": "no difference shown"},
        "not_asked": [],
        "to_teacher": {
            "before": {"taught": gap("", 0.31), "elsewhere": gap("", 0.2), "skills": {"attribute:color": gap("", 0.33)}},
            "after": {"taught": gap("", 0.17), "elsewhere": gap("", 0.21), "skills": {"attribute:color": gap("", 0.19)}},
        },
    }
    return {**found, **changed}


NOTHING = {"trained": False, "conclusion": "The teacher is not better anywhere that shows.", "chosen": [], "gap": result()["gap"]}


def contents(found: dict[str, Any]) -> str:
    return page("a run", "", distill_sections(found))  # type: ignore[arg-type]


def test_skills_have_names_for_people() -> None:
    assert skill_label("attribute:color") == "attribute: color"
    assert skill_label("count") == "counting" and skill_label("object") == "object"
    assert skill_label("scene:background_pattern") == "scene: background pattern"


def test_before_and_after_stand_beside_the_gap_to_the_teacher() -> None:
    text = contents(result())
    for words in ("+14.0", "+9.0 to +19.0", "All that was taught", "All others", "+33.0", "+19.0", "+31.0", "worse", "−9.0"):
        assert words in text, words
    assert "<b>attribute: color</b>" in text and "<b>counting</b>" not in text
    assert "It &lt;b&gt;learnt&lt;/b&gt; colours." in text


def test_what_is_missing_is_a_dash_and_no_zero() -> None:
    row = contents(result()).split("object: round")[-1].split("</tr>")[0]
    assert row.count("–") == 5 and "+0.0" not in row and ">0.0" not in row


def test_the_gap_says_what_was_chosen_and_what_was_met_too_seldom() -> None:
    text = contents(result())
    table = text.split("What the teacher does better")[-1]
    assert ">chosen</td>" in table and "too few scenes" in table and "−2.0" in table and "0.600" in table


def test_lessons_are_counted_to_the_last_and_what_is_short_is_said() -> None:
    text = contents(result())
    for words in ("pictures that failed one of their questions", "99", "2 lessons are short", "90.0%", "30.0%"):
        assert words in text, words
    full = contents(result(lessons={**COUNTS, "short": 0}))
    assert "lessons are short" not in full


def test_skills_that_no_held_out_question_asks_for_are_named() -> None:
    assert "No held-out question asks for scene: frame" in contents(result(not_asked=["scene:frame"]))


def test_without_a_gap_the_page_says_that_nothing_was_trained(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    write_distill_page(path, "a <i>student</i>", NOTHING)
    text = path.read_text()
    assert text.count("The teacher is not better anywhere that shows.") == 2
    assert "What was taught" not in text and "What was learnt" not in text and "<i>student" not in text


def test_pages_are_whole_and_load_nothing(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    write_distill_page(path, "nothing", NOTHING)
    for text in (contents(result()), path.read_text()):
        outline = Outline(text)
        assert outline.faults == [] and outline.scripts == 1 and len(set(outline.ids)) == len(outline.ids)
        assert "https://" not in text
