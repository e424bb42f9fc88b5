"""What a distillation looks like in a report: what the teacher does better, what was taught, and what became of every skill."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from anyscene.report.comparison import p_words
from anyscene.report.estimates import Estimate, count, percent, points
from anyscene.report.markup import Child, Markup, el
from anyscene.report.plots import Difference, forest
from anyscene.report.run_page import figure, header_block, key_figures
from anyscene.report.shell import Section, page
from anyscene.report.tables import table
from anyscene.report.words import label_of
from anyscene.runs import write_atomic

__all__ = ["distill_sections", "skill_label", "write_distill_page"]

MOST_ROWS = 40
"""Of a plot; the table has all."""
_KINDS = {
    "attribute": "attribute",
    "complexity": "complexity",
    "count": "counting",
    "object": "object",
    "rarity": "rarity",
    "relation": "relation",
    "scene": "scene",
}
_COUNTS = {
    "budget": "lessons asked for",
    "kept": "lessons",
    "looked": "new scenes looked at",
    "painted": "scenes painted by the teacher",
    "failed": "pictures that failed one of their questions",
    "unjudged": "pictures not fully judged",
    "unmade": "pictures not made",
    "spare": "pictures that passed and were not needed",
}


def skill_label(skill: str) -> str:
    """A skill's name for people: ``attribute:color`` is "attribute: color"."""
    kind, _, name = skill.partition(":")
    return f"{_KINDS.get(kind, label_of(kind))}: {label_of(name)}" if name else _KINDS.get(kind, label_of(kind))


def distill_sections(result: Mapping[str, Any]) -> list[Section]:
    """Sections for a page.

    Args:
        result: what ``result.json`` holds (`training.distill.run_distill`); what was not reached is left out.
    """
    found: list[Section] = []
    if "skills" in result:
        found.append(("learnt", "Learnt", "What was learnt, and what was lost", _learnt(result)))
    found.append(("gap", "Gap", "What the teacher does better", _gap(result)))
    if "lessons" in result:
        found.append(("lessons", "Lessons", "What was taught", _lessons(result)))
    return found


def write_distill_page(path: Path, title: str, result: Mapping[str, Any]) -> None:
    """A page of a run that trained nothing.

    Raises:
        RunError: the file cannot be written.
    """
    words = el("p", str(result["conclusion"]))
    figures = key_figures([("skills compared", count(len(result["gap"]))), ("chosen", count(len(result["chosen"])))])
    header = header_block("Anyscene distillation", title, "", el("div", words, figures, class_="summary"), [])
    write_atomic(path, page(title, header, distill_sections(result)).encode())


def _learnt(result: Mapping[str, Any]) -> Markup:
    rows = result["skills"]
    plots: list[Markup] = []
    for title, taught in (("Taught", True), ("Elsewhere", False)):
        own = [one for one in rows if one["taught"] == taught and one["difference"] is not None]
        if own:
            words = "Difference on held-out scenes in points, after minus before."
            plots.append(_forest(title, words, own[:MOST_ROWS], [one["claim"] != "no difference shown" for one in own[:MOST_ROWS]]))
    before, after = (((result.get("to_teacher") or {}).get(name) or {}).get("skills") or {} for name in ("before", "after"))
    lines = [_pooled(name, words, result) for name, words in (("taught", "All that was taught"), ("elsewhere", "All others"))]
    for one in rows:
        cells = [
            _value(one["a"], percent),
            _value(one["b"], percent),
            _value(one["difference"], points, "number main"),
            _between(one),
            _value((before.get(one["skill"]) or {}).get("difference"), points),
            _value((after.get(one["skill"]) or {}).get("difference"), points),
            el("td", one["claim"], class_="number"),
        ]
        name = skill_label(one["skill"])
        lines.append(el("tr", el("th", el("b", name) if one["taught"] else name, scope="row", dir="auto"), cells))
    columns = ("Skill", "Before", "After", "Difference", "Interval", "Gap before", "Gap after", "Shown")
    note = (
        "On held-out scenes. Gaps are to the teacher on the same scenes; skills in bold were taught. What is shown for a single skill "
        "holds after Holm's correction for all."
    )
    if result.get("not_asked"):
        note += f" No held-out question asks for {', '.join(map(skill_label, result['not_asked']))}."
    return el(
        "div",
        el("p", str(result["conclusion"])),
        el("div", plots, class_="panels"),
        el("p", note, class_="note"),
        table(columns, lines, "figures sortable", "Before and after"),
    )


def _pooled(name: str, words: str, result: Mapping[str, Any]) -> Markup:
    one = result[name]
    gaps = [((result.get("to_teacher") or {}).get(when) or {}).get(name) or {} for when in ("before", "after")]
    cells = [
        _value(one["a"], percent),
        _value(one["b"], percent),
        _value(one["difference"], points, "number main"),
        _between(one),
        *(_value(gap.get("difference"), points) for gap in gaps),
        el("td", one["claim"], class_="number"),
    ]
    return el("tr", el("th", words, scope="row"), cells, class_="headline")


def _gap(result: Mapping[str, Any]) -> Markup:
    rows, chosen = result["gap"], set(result["chosen"])
    reach = {one["skill"]: one for one in result.get("reach") or ()}
    shown = [one for one in rows if one["difference"] is not None][:MOST_ROWS]
    plot = _forest("Teacher minus student", "In points, on the exam.", shown, [one["holds"] for one in shown]) if shown else None
    lines = []
    for one in rows:
        picked = one["skill"] in chosen
        name = skill_label(one["skill"])
        cells = [
            _value(one["a"], percent),
            _value(one["b"], percent),
            *([_value(reach[one["skill"]]["b"], percent)] if reach else []),
            _value(one["difference"], points, "number main"),
            _between(one),
            _value(one["own"], points),
            _value(one["p_adjusted"], p_words),
            el("td", count(one["n"]), class_="number"),
            el("td", "chosen" if picked else "too few scenes" if one["p_adjusted"] is None else "", class_="number"),
        ]
        lines.append(el("tr", el("th", el("b", name) if picked else name, scope="row", dir="auto"), cells))
    columns = (
        "Skill",
        "Student",
        "Teacher",
        *(["In reach"] if reach else []),
        "Difference",
        "Interval",
        "Its own",
        "p (Holm)",
        "Scenes",
        "",
    )
    note = (
        "Both answered the same exam, on scenes of the training side. Chosen is where the teacher is better after Holm's correction for "
        "all skills. Complexity and rarity count only for what the concepts in these scenes do not explain: the column “its own”."
    )
    if reach:
        note += (
            " “In reach” is the teacher after a way through the student's autoencoder: what is lost there the student cannot draw, so "
            "skills are chosen by what is left of the difference."
        )
    said = el("p", str(result["conclusion"])) if not chosen and result.get("conclusion") else None
    body = table(columns, lines, "figures sortable", "What the teacher does better")
    return el("div", said, el("p", note, class_="note"), el("div", plot, class_="panels") if plot else None, body)


def _lessons(result: Mapping[str, Any]) -> Markup:
    counts = result["lessons"]
    figures = key_figures([(words, count(counts[name])) for name, words in _COUNTS.items() if name in counts])
    held = result.get("holding") or {}
    lines = [
        el(
            "tr",
            el("th", skill_label(skill), scope="row", dir="auto"),
            el("td", percent(held[skill]["lessons"]), class_="number main"),
            el("td", percent(held[skill]["fresh"]), class_="number"),
        )
        for skill in [*result["chosen"], *(skill for skill in held if skill not in result["chosen"])]
        if skill in held
    ]
    short = el("p", f"{count(counts['short'])} lessons are short: the teacher's tries were used up.") if counts.get("short") else None
    note = el("p", "Share of the scenes that ask for a skill; those taught come first.", class_="note")
    return el("div", figures, short, note, table(("Skill", "Lessons", "Scenes as they come"), lines, "figures narrow", "What was taught"))


def _forest(title: str, words: str, rows: Sequence[Mapping[str, Any]], holds: Sequence[bool]) -> Markup:
    differences = [
        Difference(skill_label(one["skill"]), Estimate.read({**one, "value": one["difference"]}), held)
        for one, held in zip(rows, holds, strict=True)
    ]
    legend = [("disc", "up", "better"), ("disc", "down", "worse"), ("disc", "same", "not shown to differ")]
    spoken = "; ".join(f"{row.name} {points(row.estimate.value)}" for row in differences)
    return figure(title, words, forest(differences, f"{title}, differences in points: {spoken}"), legend)


def _value(value: float | None, words: Any, class_: str = "number") -> Markup:
    return el("td", "–" if value is None else words(value), class_=class_, data_sort="" if value is None else f"{value:.6f}")


def _between(one: Mapping[str, Any]) -> Child:
    known = one["low"] is not None and one["high"] is not None
    return el("td", f"{points(one['low'])} to {points(one['high'])}" if known else "–", class_="number quiet")
