"""The numbers of a report as tables for a terminal; plain text where the output is none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from anyscene.report.comparison import p_words, skill_gaps, verdict_on
from anyscene.report.estimates import MISSING, Estimate, count, percent, points, share
from anyscene.report.tables import ordered_skills
from anyscene.report.words import GROUPS, SCORE_NAMES, answer_counts, headline_of, interval_words, label_of, media_counts, warnings_of

__all__ = ["print_comparison", "print_scores"]

_GROUPS_SHOWN = ("kind", "attribute_type", "relation_type", "complexity", "foil")
"""Objects are left to the report: a vocabulary has thousands."""
BAR = 20
"""Cells of a bar."""


def print_scores(scores: Mapping[str, Any], to: Console | None = None) -> None:
    """The scores of a run: headline, all scores, skills, errors of the judge, what is missing, warnings.

    Args:
        scores: what `scores.json` holds.
        to: where to; standard output unless given.
    """
    console = to or _console()
    name, headline = headline_of(scores)
    judge = scores.get("judge") or {}
    judged_by = judge.get("name") if isinstance(judge, Mapping) else judge
    console.print(Text(_safe(f"{scores.get('model')}, judged by {judged_by}", console)))
    line = Text.assemble(
        (f"{SCORE_NAMES.get(name, label_of(name))} {percent(headline.value)}", "bold"),
        f"  {interval_words(headline, scores)}, {count(headline.n)} scenes",
    )
    console.print(line, "", sep="\n")
    console.print(_scores(scores, console), "", sep="\n")
    skills = _skills(scores, console)
    if skills.row_count:
        console.print(skills, "", sep="\n")
    quality = (scores.get("judge_quality") or {}).get("by_kind") or {}
    if quality:
        console.print(_judge(quality, scores.get("corrected") or {}, console), "", sep="\n")
    for noun, (expected, there, lost) in (("pictures", media_counts(scores)), ("answers", answer_counts(scores))):
        why = ": " + ", ".join(f"{count(number)} {label_of(key)}" for key, number in lost) if lost else ""
        console.print(Text(f"{share(there, expected)} {noun}{why}"))
    for one in warnings_of(scores):
        console.print(Text.assemble(("Warning: ", "bold yellow"), _safe(one, console)))


def print_comparison(a: str, b: str, comparison: Mapping[str, Any], to: Console | None = None) -> None:
    """The comparison of two runs: the verdict, then the skills.

    Args:
        a: name of the first model.
        b: name of the second model; differences are second minus first.
        comparison: as for `build_comparison`.
        to: where to; standard output unless given.
    """
    console = to or _console()
    console.print(Text(_safe(verdict_on(a, b, comparison), console), style="bold"))
    skills = skill_gaps(comparison)
    if not skills:
        return
    table = _table("Skill", "Group", ">" + _safe(a, console), ">" + _safe(b, console), ">Difference", ">Interval", ">p", ">p (Holm)")
    for one in skills:
        if one.group in _GROUPS_SHOWN:
            ends = one.difference.interval
            between = f"{points(ends[0])} to {points(ends[1])}" if ends else "-"
            style = ("green" if (one.difference.value or 0) > 0 else "red") if one.holds else ""
            values = (
                percent(one.first),
                percent(one.second),
                points(one.difference.value),
                between,
                p_words(one.p_value),
                p_words(one.p_adjusted),
            )
            table.add_row(*(Text(_safe(cell, console)) for cell in (label_of(one.name), label_of(one.group), *values)), style=style)
    console.print("", table, sep="\n")


def _console() -> Console:
    """Standard output; colours on a terminal alone, and lines that are not cut where there is none."""
    plain = Console(highlight=False)
    return plain if plain.is_terminal else Console(highlight=False, width=140, no_color=True)


def _safe(words: str, console: Console) -> str:
    """Without control characters, and in the letters that the output knows."""
    shown = "".join(char if char.isprintable() else "?" for char in words).replace("\N{MINUS SIGN}", "-")
    return shown if console.encoding.lower().startswith("utf") else shown.encode("ascii", "replace").decode("ascii")


def _table(*columns: str) -> Table:
    """A table without lines; a column whose name begins with ``>`` is of numbers."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for one in columns:
        table.add_column(Text(one.removeprefix(">")), justify="right" if one.startswith(">") else "left", overflow="fold")
    return table


def _bar(value: float | None, console: Console) -> str:
    full, empty = ("━", "─") if console.encoding.lower().startswith("utf") else ("#", "-")
    return "" if value is None else full * round(BAR * value) + empty * (BAR - round(BAR * value))


def _between(estimate: Estimate) -> str:
    return f"{percent(estimate.interval[0])} to {percent(estimate.interval[1])}" if estimate.interval else "-"


def _scores(scores: Mapping[str, Any], console: Console) -> Table:
    table = _table("Score", ">Value", ">Interval", ">Scenes")
    found = scores.get("scores") or {}
    for name in [*(name for name in SCORE_NAMES if name in found), *(name for name in found if name not in SCORE_NAMES)]:
        one = Estimate.read(found[name])
        table.add_row(
            Text(_safe(SCORE_NAMES.get(name, label_of(name)), console)),
            percent(one.value),
            _between(one),
            count(one.n) if one.known else "-",
        )
    return table


def _skills(scores: Mapping[str, Any], console: Console) -> Table:
    table = _table("Skill", ">Soft", "", ">Interval", ">Strict", ">Balanced", ">Questions")
    for group in _GROUPS_SHOWN:
        skills = ordered_skills(scores.get("by") or {}, group)
        if skills:
            table.add_row(Text(GROUPS[group][0], style="bold"))
        for name, one in skills:
            soft, strict, balanced = (Estimate.read(one.get(key)) for key in ("soft", "strict", "balanced_accuracy"))
            questions = one.get("questions")
            others = (percent(value.value) if value.known else "-" for value in (strict, balanced))
            bar = _bar(soft.value, console)
            table.add_row(
                Text("  " + _safe(label_of(name), console)),
                percent(soft.value),
                bar,
                _between(soft),
                *others,
                count(questions) if isinstance(questions, int) else "-",
            )
    return table


def _judge(quality: Mapping[str, Any], corrected: Mapping[str, Any], console: Console) -> Table:
    table = _table("Judge", ">Sensitivity", ">Specificity", ">Raw", ">Rogan-Gladen", ">Prediction-powered")
    for kind, one in quality.items():
        sides = [percent(Estimate.read((one or {}).get(side)).value) for side in ("sensitivity", "specificity")]
        own = corrected.get(kind) or {}
        values = [Estimate.read(own.get(key)) for key in ("raw", "rogan_gladen", "prediction_powered")]
        cells = [
            MISSING if not value.known else f"{percent(value.value)}" + (f" ({_between(value)})" if value.interval else "")
            for value in values
        ]
        table.add_row(Text(_safe(label_of(kind), console)), *sides, *cells)
    return table
