"""`compare.html`: two runs on the same scenes: the difference, the skills that it comes from, and the pictures that differ most."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anyscene.report.contents import RunContents
from anyscene.report.estimates import Estimate, count, percent, points
from anyscene.report.examples import selected_differences
from anyscene.report.gallery import picture_pair
from anyscene.report.markup import Child, Markup, el
from anyscene.report.plots import Difference, forest
from anyscene.report.run_page import figure, header_block, key_figures, origins
from anyscene.report.shell import Section, page
from anyscene.report.tables import provenance_panels, table
from anyscene.report.words import GROUPS, LEVEL, SCORE_NAMES, label_of, warnings_of
from anyscene.runs import write_atomic

__all__ = ["Gap", "build_comparison", "p_words", "skill_gaps", "verdict_on", "write_comparison"]

SIGNIFICANT = 0.05
MOST_ROWS = 60
"""Of the forest plot; beyond, those with the smallest p-values are shown."""


@dataclass(frozen=True, slots=True)
class Gap:
    """How two runs differ on one score or one skill.

    Attributes:
        group: ``scores``, ``kind``, ``attribute_type``, ``complexity``, ...
        name: in its group.
        first: value of the first run.
        second: value of the second run.
        difference: second minus first, a fraction.
        effect_size: of the scenes' differences, in their standard deviations.
        p_value: of no difference; None where it is not known.
        p_adjusted: the same after Holm's correction for all that are listed with it.
    """

    group: str
    name: str
    first: float | None
    second: float | None
    difference: Estimate
    effect_size: float | None
    p_value: float | None
    p_adjusted: float | None

    @classmethod
    def read(cls, group: str, name: str, data: Any) -> Gap:
        """From a difference as `scoring.compare_runs` gives it; anything else is missing."""
        data = data if isinstance(data, Mapping) else {}
        a, b, effect, p, adjusted = (Estimate.read({"value": data.get(key)}).value for key in ("a", "b", "effect_size", "p", "p_adjusted"))
        return cls(group, name, a, b, Estimate.read({**data, "value": data.get("difference")}), effect, p, adjusted)

    @property
    def holds(self) -> bool:
        """Whether the difference stands after the correction."""
        return self.p_adjusted is not None and self.p_adjusted < SIGNIFICANT


def build_comparison(
    a: RunContents,
    b: RunContents,
    comparison: Mapping[str, Any],
    most_pictures: int = 12,
    more: Sequence[Section] = (),
    said: str | None = None,
) -> str:
    """The comparison of two runs as one HTML document that loads nothing.

    Args:
        a: the first run.
        b: the second run; differences are second minus first.
        comparison: of the two, as `scoring.compare_runs` gives it (``to_dict``).
        most_pictures: how many scenes are shown at most.
        more: further sections, put first (`shell.page`).
        said: what the comparison comes to, in the words of whoever knows more than these two runs; None finds its own.
    """
    pairs = selected_differences(a, b, most_pictures)
    cards = el("div", [picture_pair(a, b, pair) for pair in pairs], class_="cards")
    pictures = cards if pairs else el("p", "On no scene that both runs show do their verdicts differ.", class_="note")
    sections = [
        *more,
        ("skills", "Skills", "Where the difference comes from", _skills(a, b, comparison)),
        ("scores", "All scores", "All scores", _scores(a, b, comparison)),
        ("pictures", "Pictures", "Where they differ most", pictures),
        ("provenance", "Provenance", "Provenance", _provenance(a, b)),
    ]
    return page(f"{b.model} against {a.model}", _header(a, b, comparison, said), sections)


def write_comparison(
    path: Path,
    a: RunContents,
    b: RunContents,
    comparison: Mapping[str, Any],
    most_pictures: int = 12,
    more: Sequence[Section] = (),
    said: str | None = None,
) -> None:
    """Writes the comparison of two runs to a file, in one step; for the arguments see `build_comparison`.

    Raises:
        RunError: the file cannot be written.
    """
    write_atomic(path, build_comparison(a, b, comparison, most_pictures, more, said).encode())


def headline_gap(comparison: Mapping[str, Any]) -> Gap:
    """The difference on the score that is shown first."""
    name = str(comparison.get("headline") or "soft")
    return Gap.read("scores", name, (comparison.get("scores") or {}).get(name))


def score_gaps(comparison: Mapping[str, Any]) -> list[Gap]:
    """The differences on all scores."""
    return [Gap.read("scores", name, one) for name, one in (comparison.get("scores") or {}).items()]


def skill_gaps(comparison: Mapping[str, Any]) -> list[Gap]:
    """The differences on all skills."""
    return [Gap.read(group, name, one) for group, found in (comparison.get("by") or {}).items() for name, one in found.items()]


def verdict_on(a: str, b: str, comparison: Mapping[str, Any]) -> str:
    """The comparison in one sentence."""
    gap = headline_gap(comparison)
    difference, p_value = gap.difference, gap.p_value
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


def _header(a: RunContents, b: RunContents, comparison: Mapping[str, Any], said: str | None) -> Markup:
    gap = headline_gap(comparison)
    difference = gap.difference
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
        el("p", f"{SCORE_NAMES.get(gap.name, label_of(gap.name))}: {b.model} minus {a.model}", class_="what", dir="auto"),
        el("p", value, class_="big"),
        el("p", between, class_="interval"),
        class_="headline",
    )
    figures = [("common scenes", count(difference.n))]
    figures += [(a.model, percent(gap.first)), (b.model, percent(gap.second)), ("p-value", p_words(gap.p_value))]
    if gap.effect_size is not None:
        figures.append(("effect size", f"{gap.effect_size:+.2f}".replace("-", "\N{MINUS SIGN}")))
    warnings = [f"{run.model}: {one}" for run in (a, b) for one in warnings_of(run.scores)]
    if a.scores.get("judge") != b.scores.get("judge"):
        warnings.insert(
            0,
            f"The two runs have different judges ({a.judge}, {b.judge}, or other revisions or templates): the difference may be theirs.",
        )
    words = el("p", said or verdict_on(a.model, b.model, comparison), dir="auto")
    aside = el("div", words, key_figures(figures), class_="summary")
    return header_block("Anyscene comparison", f"{b.model} against {a.model}", number, aside, warnings)


def _scores(a: RunContents, b: RunContents, comparison: Mapping[str, Any]) -> Markup:
    gaps = score_gaps(comparison)
    if not gaps:
        return el("p", "No score was compared.", class_="note")
    note = el(
        "p",
        "On common scenes alone. P-values from flipping the signs of the scenes' differences; Holm's correction for all scores.",
        class_="note",
    )
    return el("div", note, _gap_table(gaps, [SCORE_NAMES.get(one.name, label_of(one.name)) for one in gaps], a.model, b.model))


def _skills(a: RunContents, b: RunContents, comparison: Mapping[str, Any]) -> Markup:
    skills = skill_gaps(comparison)
    if not skills:
        return el("p", "No skill was compared.", class_="note")
    kept = skills
    if len(skills) > MOST_ROWS:
        clearest = sorted(range(len(skills)), key=lambda k: (skills[k].p_value is None, skills[k].p_value or 0.0))[:MOST_ROWS]
        kept = [skills[k] for k in sorted(clearest)]
    plots = []
    for group in dict.fromkeys(one.group for one in kept):
        title = GROUPS.get(group, (f"By {label_of(group)}", ""))[0]
        rows = [Difference(label_of(one.name), one.difference, one.holds) for one in kept if one.group == group]
        legend = [("disc", "up", "better"), ("disc", "down", "worse"), ("disc", "same", "not shown to differ")]
        spoken = "; ".join(f"{row.name} {points(row.estimate.value)}" for row in rows)
        plots.append(
            figure(title, "Difference in points, with its interval.", forest(rows, f"{title}, differences in points: {spoken}"), legend)
        )
    note = "Filled marks hold after Holm's correction for all skills, at 5%."
    if len(kept) < len(skills):
        note += f" Of {count(len(skills))} skills, the {MOST_ROWS} with the smallest p-values."
    names = [f"{GROUPS[one.group][0][3:] if one.group in GROUPS else label_of(one.group)}: {label_of(one.name)}" for one in kept]
    body = _gap_table(kept, names, a.model, b.model)
    return el("div", el("p", note, class_="note"), el("div", plots, class_="panels"), body)


def _gap_table(gaps: Sequence[Gap], names: Sequence[str], a: str, b: str) -> Markup:
    """A row per difference: both values, the difference with its interval, p as it is and after correction."""
    rows = []
    for gap, name in zip(gaps, names, strict=True):
        ends, value = gap.difference.interval, gap.difference.value
        between = f"{points(ends[0])} to {points(ends[1])}" if ends else "–"
        cells: list[Child] = [
            _number(gap.first, percent(gap.first), "number"),
            _number(gap.second, percent(gap.second), "number"),
            _number(value, points(value), "number main" if value is not None else "number quiet"),
            el("td", between, class_="number quiet"),
            _number(gap.p_value, p_words(gap.p_value), "number"),
            _number(gap.p_adjusted, p_words(gap.p_adjusted), "number main" if gap.holds else "number"),
        ]
        rows.append(el("tr", el("th", name, scope="row", dir="auto"), cells))
    columns = ("Name", a, b, "Difference", "Interval", "p", "p (Holm)")
    return table(columns, rows, "figures sortable" + (" filterable" if len(rows) > 15 else ""), "Differences")


def _number(value: float | None, words: str, class_: str) -> Markup:
    return el("td", words, class_=class_, data_sort="" if value is None else f"{value:.6f}")


def _provenance(a: RunContents, b: RunContents) -> Markup:
    parts = []
    for run in (a, b):
        command = run.provenance.get("command")
        again = el("pre", el("code", command), tabindex="0") if command else None
        parts += [el("h3", run.model), again, provenance_panels(origins(run))]
    return el("div", parts)
