"""`compare.html`: two runs on the same scenes: the difference, the skills that it comes from, and the pictures that differ most."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anyscene.report.contents import RunContents
from anyscene.report.estimates import Estimate, count, percent, points
from anyscene.report.examples import selected_differences
from anyscene.report.gallery import picture_pair
from anyscene.report.markup import Child, Markup, el
from anyscene.report.plots import Difference, forest
from anyscene.report.run_page import figure, header_block, key_figures
from anyscene.report.shell import page
from anyscene.report.tables import provenance_panels, table
from anyscene.report.words import GROUPS, LEVEL, SCORE_NAMES, label_of, warnings_of
from anyscene.runs import write_atomic

__all__ = ["Skill", "build_comparison", "skills_of", "verdict_on", "write_comparison"]

SIGNIFICANT = 0.05
MOST_ROWS = 60
"""Of the forest plot; beyond, those with the smallest p-values are shown."""


@dataclass(frozen=True, slots=True)
class Skill:
    """How two runs differ on one skill.

    Attributes:
        group: ``kind``, ``attribute_type``, ``complexity``, ...
        name: of the skill in its group.
        difference: second run minus first, a fraction.
        p_value: of no difference; None where it is not known.
        p_adjusted: the same after Holm's correction for all skills that are listed.
    """

    group: str
    name: str
    difference: Estimate
    p_value: float | None
    p_adjusted: float | None

    @property
    def holds(self) -> bool:
        """Whether the difference stands after the correction."""
        return self.p_adjusted is not None and self.p_adjusted < SIGNIFICANT


def build_comparison(a: RunContents, b: RunContents, comparison: Mapping[str, Any], most_pictures: int = 12) -> str:
    """The comparison of two runs as one HTML document that loads nothing.

    Args:
        a: the first run.
        b: the second run; differences are second minus first.
        comparison: ``score``, ``scenes``, ``a_score``, ``b_score``, ``difference`` (estimates), ``p_value``, ``effect_size``,
            ``skills`` (each ``group``, ``name``, ``difference``, ``p_value``, ``p_adjusted``).
        most_pictures: how many scenes are shown at most.
    """
    pairs = selected_differences(a, b, most_pictures)
    cards = el("div", [picture_pair(a, b, pair) for pair in pairs], class_="cards")
    pictures = cards if pairs else el("p", "On no scene that both runs show do their verdicts differ.", class_="note")
    sections = [
        ("skills", "Skills", "Where the difference comes from", _skills(comparison)),
        ("pictures", "Pictures", "Where they differ most", pictures),
        ("provenance", "Provenance", "Provenance", _provenance(a, b)),
    ]
    return page(f"{b.model} against {a.model}", _header(a, b, comparison), sections)


def write_comparison(path: Path, a: RunContents, b: RunContents, comparison: Mapping[str, Any], most_pictures: int = 12) -> None:
    """Writes the comparison of two runs to a file, in one step.

    Raises:
        RunError: the file cannot be written.
    """
    write_atomic(path, build_comparison(a, b, comparison, most_pictures).encode())


def skills_of(comparison: Mapping[str, Any]) -> list[Skill]:
    """The skills of a comparison, as values."""
    found = []
    for one in comparison.get("skills") or []:
        p_value, p_adjusted = (Estimate.read({"value": one.get(key)}).value for key in ("p_value", "p_adjusted"))
        found.append(Skill(str(one.get("group") or ""), str(one["name"]), Estimate.read(one.get("difference")), p_value, p_adjusted))
    return found


def verdict_on(a: str, b: str, comparison: Mapping[str, Any]) -> str:
    """The comparison in one sentence."""
    difference, p_value = Estimate.read(comparison.get("difference")), Estimate.read({"value": comparison.get("p_value")}).value
    if difference.value is None:
        return f"{a} and {b} cannot be compared: they have no scene in common that both were judged on."
    told = f"by {abs(100 * difference.value):.1f} points"
    if difference.interval:
        level = percent(float(comparison.get("level") or LEVEL), 0)
        told += f" ({level} interval of the difference {points(difference.interval[0])} to {points(difference.interval[1])})"
    inside = difference.interval is not None and difference.interval[0] <= 0 <= difference.interval[1]
    if inside or (difference.interval is None and (p_value is None or p_value >= SIGNIFICANT)):
        leads = "They score the same" if difference.value == 0 else f"{b if difference.value > 0 else a} leads {told}"
        return f"{leads}, which is within what chance does: on these scenes neither model is shown to be better."
    better, worse = (b, a) if difference.value > 0 else (a, b)
    return f"{better} is better than {worse} {told}."


def p_words(value: float | None) -> str:
    """A p-value as it is usually written."""
    return "missing" if value is None else "< 0.001" if value < 0.001 else f"{value:.3f}"


def _header(a: RunContents, b: RunContents, comparison: Mapping[str, Any]) -> Markup:
    difference = Estimate.read(comparison.get("difference"))
    name = str(comparison.get("score") or "soft")
    value = (
        el("span", points(difference.value), el("small", "points", class_="unit"))
        if difference.known
        else el("span", "missing", class_="none")
    )
    ends = difference.interval
    level = percent(float(comparison.get("level") or LEVEL), 0)
    between = f"{level} interval {points(ends[0])} to {points(ends[1])}" if ends else "no interval"
    number = el(
        "div",
        el("p", f"{SCORE_NAMES.get(name, label_of(name))}: {b.model} minus {a.model}", class_="what", dir="auto"),
        el("p", value, class_="big"),
        el("p", between, class_="interval"),
        class_="headline",
    )
    figures = [("common scenes", count(comparison["scenes"]))] if isinstance(comparison.get("scenes"), int) else []
    figures += [(run.model, percent(Estimate.read(comparison.get(key)).value)) for run, key in ((a, "a_score"), (b, "b_score"))]
    figures.append(("p-value", p_words(Estimate.read({"value": comparison.get("p_value")}).value)))
    effect = Estimate.read({"value": comparison.get("effect_size")}).value
    if effect is not None:
        figures.append(("effect size", f"{effect:+.2f}".replace("-", "\N{MINUS SIGN}")))
    warnings = [f"{run.model}: {one}" for run in (a, b) for one in warnings_of(run.scores)]
    if a.scores.get("judge") != b.scores.get("judge"):
        warnings.insert(
            0,
            f"The two runs have different judges ({a.judge}, {b.judge}, or other revisions or templates): the difference may be theirs.",
        )
    words = el("p", verdict_on(a.model, b.model, comparison), dir="auto")
    aside = el("div", words, key_figures(figures), class_="summary")
    return header_block("Anyscene comparison", f"{b.model} against {a.model}", number, aside, warnings)


def _skills(comparison: Mapping[str, Any]) -> Markup:
    skills = skills_of(comparison)
    if not skills:
        return el("p", "No skill was compared.", class_="note")
    kept = skills
    if len(skills) > MOST_ROWS:
        limit = sorted(skills, key=lambda one: 2.0 if one.p_value is None else one.p_value)[:MOST_ROWS]
        kept = [one for one in skills if one in limit]
    plots = []
    for group in dict.fromkeys(one.group for one in kept):
        title = GROUPS.get(group, (f"By {label_of(group)}", ""))[0]
        rows = [Difference(label_of(one.name), one.difference, one.holds) for one in kept if one.group == group]
        legend = [("disc", "up", "better"), ("disc", "down", "worse"), ("disc", "same", "not shown to differ")]
        spoken = "; ".join(f"{row.name} {points(row.estimate.value)}" for row in rows)
        plots.append(
            figure(title, "Difference in points, with its interval.", forest(rows, f"{title}, differences in points: {spoken}"), legend)
        )
    note = "Filled marks hold after Holm's correction for all skills listed here, at 5%."
    if len(kept) < len(skills):
        note += f" Of {count(len(skills))} skills, the {MOST_ROWS} with the smallest p-values."
    body = [_skill_row(one) for one in kept]
    columns = ("Skill", "Group", "Difference", "Interval", "p", "p (Holm)")
    return el(
        "div",
        el("p", note, class_="note"),
        el("div", plots, class_="panels"),
        table(columns, body, "figures sortable", "Differences by skill"),
    )


def _skill_row(one: Skill) -> Markup:
    ends = one.difference.interval
    between = f"{points(ends[0])} to {points(ends[1])}" if ends else "–"
    value = one.difference.value
    cells: list[Child] = [
        el("td", label_of(one.group), class_="number quiet"),
        el(
            "td",
            points(value),
            class_="number main" if value is not None else "number quiet",
            data_sort="" if value is None else f"{value:.6f}",
        ),
        el("td", between, class_="number quiet"),
        el("td", p_words(one.p_value), class_="number", data_sort="" if one.p_value is None else f"{one.p_value:.6f}"),
        el(
            "td",
            p_words(one.p_adjusted),
            class_="number main" if one.holds else "number",
            data_sort="" if one.p_adjusted is None else f"{one.p_adjusted:.6f}",
        ),
    ]
    return el("tr", el("th", label_of(one.name), scope="row", dir="auto"), cells)


def _provenance(a: RunContents, b: RunContents) -> Markup:
    parts = []
    for run in (a, b):
        rest = {key: value for key, value in run.provenance.items() if key != "command"}
        command = run.provenance.get("command")
        again = el("pre", el("code", command), tabindex="0") if command else None
        parts += [el("h3", run.model), again, provenance_panels(rest)]
    return el("div", parts)
