"""The tables of a report: scores with definitions, skills, the judge's errors, provenance."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from anyscene.report.estimates import MISSING, Estimate, count, percent
from anyscene.report.markup import Child, Markup, el
from anyscene.report.plots import interval_bar
from anyscene.report.words import DEFINITIONS, GROUPS, SCORE_NAMES, label_of

__all__ = [
    "corrected_table",
    "figures",
    "in_order",
    "judge_table",
    "ordered_skills",
    "provenance_panels",
    "score_table",
    "skill_tables",
    "table",
]

MOST_ROWS = 200
"""Of one table of skills; a vocabulary has thousands of objects."""
LONGEST = 400
"""A value of the provenance is cut beyond so many characters."""


def table(columns: Sequence[str], rows: Iterable[Child], class_: str, label: str) -> Markup:
    """A table in a box of its own that scrolls sideways where it is too narrow."""
    head = el("thead", el("tr", [el("th", name, scope="col") if name else el("td", class_="barred") for name in columns]))
    return el("div", el("table", head, el("tbody", rows), class_=class_), class_="scroll", tabindex="0", role="group", aria_label=label)


def figures(estimate: Estimate) -> Markup:
    """Table cells of an estimate: value, bar, interval."""
    ends = estimate.interval
    between = f"{percent(ends[0])} – {percent(ends[1])}" if ends else "–"
    quiet = "" if estimate.known else " quiet"
    order = "" if estimate.value is None else f"{estimate.value:.6f}"
    cells = [
        el("td", percent(estimate.value), class_=f"number main{quiet}", data_sort=order),
        el("td", interval_bar(estimate), class_="barred"),
        el("td", between, class_="number quiet"),
    ]
    return Markup("".join(cells))


def score_table(scores: Mapping[str, Any], headline: str) -> Markup:
    """Every score of the run with its interval and what it means."""
    rows = []
    found = scores.get("scores") or {}
    for name in [*SCORE_NAMES, *(name for name in found if name not in SCORE_NAMES)]:
        if name not in found:
            continue
        estimate = Estimate.read(found[name])
        heading = el("b", SCORE_NAMES.get(name, label_of(name)), title=name)
        definition = el("span", DEFINITIONS.get(name, "A score of this run's own."), class_="definition")
        scenes = el("td", count(estimate.n) if estimate.n is not None else "–", class_="number")
        rows.append(
            el("tr", el("th", heading, definition, scope="row"), figures(estimate), scenes, class_="headline" if name == headline else None)
        )
    return table(("Score", "Value", "", "Interval", "Scenes"), rows, "figures scores", "All scores")


def ordered_skills(by: Mapping[str, Any], group: str) -> list[tuple[str, Mapping[str, Any]]]:
    """A group's skills: complexity by number, the others as the data has them."""
    found = [(str(name), one) for name, one in (by.get(group) or {}).items() if isinstance(one, Mapping)]
    return in_order(found) if group == "complexity" else found


def in_order(rows: Sequence[tuple[str, Any]]) -> list[tuple[str, Any]]:
    """Rows by the number that their name is; names that are none come last."""
    return sorted(rows, key=lambda row: (0, float(row[0]), "") if row[0].replace(".", "", 1).isdigit() else (1, 0.0, row[0]))


def skill_tables(by: Mapping[str, Any]) -> Markup:
    """One table per group of skills, each in a fold; the first is open."""
    folds: list[Markup] = []
    for group in [*GROUPS, *(group for group in by if group not in GROUPS)]:
        skills = ordered_skills(by, group)
        if not skills:
            continue
        title, note = GROUPS.get(group, (f"By {label_of(group)}", ""))
        if group not in ("kind", "complexity", "form", "foil"):
            skills.sort(key=lambda row: (_soft(row[1]) is None, _soft(row[1]) or 0.0, row[0]))
        shown = skills if len(skills) <= MOST_ROWS else skills[: MOST_ROWS // 2] + skills[-MOST_ROWS // 2 :]
        if len(shown) < len(skills):
            note += f" Of {count(len(skills))}, the {MOST_ROWS // 2} lowest and the {MOST_ROWS // 2} highest; scores.json has all."
        rows = [_skill_row(name, one) for name, one in shown]
        columns = ("Skill", "Soft", "", "Interval", "Strict", "Balanced", "Scenes", "Questions")
        summary = el("summary", el("span", title, class_="fold"), el("span", f" {count(len(skills))}", class_="tally"))
        contents = table(columns, rows, "figures sortable" + (" filterable" if len(shown) > 15 else ""), title)
        folds.append(el("details", summary, el("p", note, class_="note"), contents, class_="skills", open=not folds))
    return el("div", folds) if folds else el("p", "No skill was measured.", class_="note")


def _soft(one: Mapping[str, Any]) -> float | None:
    return Estimate.read(one.get("soft")).value


def _skill_row(name: str, one: Mapping[str, Any]) -> Markup:
    soft, strict, balanced = (Estimate.read(one.get(key)) for key in ("soft", "strict", "balanced_accuracy"))
    questions = one.get("questions")
    return el(
        "tr",
        el("th", label_of(name), scope="row", dir="auto"),
        figures(soft),
        _plain(strict),
        _plain(balanced),
        el("td", "–" if soft.n is None else count(soft.n), class_="number", data_sort=soft.n),
        el("td", count(questions) if isinstance(questions, int) else "–", class_="number", data_sort=questions),
    )


def _plain(estimate: Estimate) -> Markup:
    order = "" if estimate.value is None else f"{estimate.value:.6f}"
    return el("td", percent(estimate.value) if estimate.known else "–", class_="number", data_sort=order)


def judge_table(quality: Mapping[str, Any]) -> Markup:
    """Sensitivity and specificity of the judge, per kind of question."""
    rows = []
    for kind, one in (quality.get("by_kind") or {}).items():
        sides = [Estimate.read((one or {}).get(side)) for side in ("sensitivity", "specificity")]
        cells = [cell for estimate in sides for cell in (el("td", percent(estimate.value), class_=_quiet(estimate)), _interval(estimate))]
        rows.append(el("tr", el("th", label_of(kind), scope="row"), cells))
    return table(("Kind", "Sensitivity", "Interval", "Specificity", "Interval"), rows, "figures", "Errors of the judge")


def corrected_table(corrected: Mapping[str, Any]) -> Markup:
    """Raw and corrected scores per kind."""
    rows = []
    for kind, one in corrected.items():
        estimates = [Estimate.read((one or {}).get(key)) for key in ("raw", "rogan_gladen", "prediction_powered")]
        cells = [
            cell for estimate in estimates for cell in (el("td", percent(estimate.value), class_=_quiet(estimate)), _interval(estimate))
        ]
        rows.append(el("tr", el("th", label_of(kind), scope="row"), cells))
    columns = ("Kind", "Raw", "Interval", "Rogan-Gladen", "Interval", "Prediction-powered", "Interval")
    return table(columns, rows, "figures", "Raw and corrected scores")


def _quiet(estimate: Estimate) -> str:
    return "number main" if estimate.known else "number quiet"


def _interval(estimate: Estimate) -> Markup:
    ends = estimate.interval
    return el("td", f"{percent(ends[0])} – {percent(ends[1])}" if ends else "–", class_="number quiet")


def provenance_panels(provenance: Mapping[str, Any]) -> Markup:
    """Everything that the run's manifest says: a panel per group of values, lists of more than a dozen counted."""
    alone = {key: value for key, value in provenance.items() if not isinstance(value, Mapping)}
    groups = [("run", alone), *((key, value) for key, value in provenance.items() if isinstance(value, Mapping))]
    panels = []
    for title, group in groups:
        lines = [el("div", el("dt", name), el("dd", el("code", value, dir="auto"))) for name, value in _flat(group, "")]
        if lines:
            panels.append(el("section", el("h3", label_of(title).capitalize()), el("dl", lines), class_="panel"))
    return el("div", panels, class_="panels provenance")


def _flat(value: Any, where: str) -> Iterable[tuple[str, str]]:
    if isinstance(value, Mapping):
        for key, one in value.items():
            yield from _flat(one, f"{where} › {label_of(str(key))}" if where else label_of(str(key)))
    elif isinstance(value, (list, tuple)):
        shown = json.dumps(value, ensure_ascii=False, default=str) if len(value) <= 12 else f"{count(len(value))} values"
        yield where, shown[:LONGEST]
    else:
        yield where, MISSING if value is None else "none" if value == "" else str(value)[:LONGEST]
