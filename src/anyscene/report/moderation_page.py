"""Pages about detectors: the matrix of what they learnt from by what they are tested on, degradations, baselines, hard cases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from anyscene.report.estimates import Estimate, count, percent, points
from anyscene.report.markup import Child, Markup, el
from anyscene.report.plots import Difference, dots_by_name, forest
from anyscene.report.run_page import figure, header_block, key_figures
from anyscene.report.shell import page
from anyscene.report.tables import figures, provenance_panels, table
from anyscene.runs import write_atomic

__all__ = ["build_hard_cases_page", "build_moderation_page", "write_hard_cases_page", "write_moderation_page"]

SIGNIFICANT = 0.05
MOST_ROWS = 60
ALL = "all generators"


def build_moderation_page(result: Mapping[str, Any]) -> str:
    """The evaluation of detectors as one HTML document that loads nothing.

    Args:
        result: what ``evaluation.json`` holds.
    """
    clean = [cell for cell in result["cells"] if not cell["degradation"]]
    sections = [
        ("matrix", "Matrix", "Which generators does it catch?", _matrix(result, clean)),
        ("figures", "All figures", "All figures", _figures(clean)),
        ("degraded", "Degraded", "When pictures are re-encoded, scaled, blurred", _degraded(result)),
        ("differences", "Differences", "One detector against another", _differences(result["differences"])),
        ("provenance", "Provenance", "Provenance", _provenance(result)),
    ]
    return page("Detectors of generated pictures", _header(result, clean), sections)


def write_moderation_page(path: Path, result: Mapping[str, Any]) -> None:
    """Writes the page, in one step.

    Raises:
        RunError: the file cannot be written.
    """
    write_atomic(path, build_moderation_page(result).encode())


def _header(result: Mapping[str, Any], clean: Sequence[Mapping[str, Any]]) -> Markup:
    judges = [name for name, one in result["detectors"].items() if not one["baseline"]]
    own = [cell for cell in clean if cell["detector"] in judges]
    held_out = [cell for cell in own if cell["trained_on_generator"] is False and cell["auroc"]["value"] is not None]
    words = []
    if held_out:
        worst = min(held_out, key=lambda cell: cell["auroc"]["value"])
        words.append(
            el(
                "p",
                f"The weakest on a generator that it never saw: {worst['detector']} on {worst['generator']} of {worst['data']}, "
                f"AUROC {_area(worst['auroc'])}, {percent(worst['fake_accuracy']['value'])} of the generated pictures found.",
                dir="auto",
            )
        )
    else:
        words.append(
            el("p", "No detector was tested on a generator that it had not learnt from: how far these figures carry is not known.")
        )
    words.append(el("p", "AUROC: how often a generated picture gets the higher score of a generated and a real one; 50% is chance."))
    numbers = [("detectors", count(len(judges))), ("data sets", count(len(result["data"]))), ("cells", count(len(own)))]
    title = judges[0] if len(judges) == 1 else f"{len(judges)} detectors"
    return header_block("Anyscene moderation", title, el("div", words, class_="summary"), key_figures(numbers), _warnings(result, clean))


def _warnings(result: Mapping[str, Any], clean: Sequence[Mapping[str, Any]]) -> list[str]:
    found = list(result["notes"])
    for name, one in result["data"].items():
        if one["audit"] != "passed":
            what = "was not audited" if one["audit"] == "none" else f"has a shortcut: {'; '.join(one['reasons'][:2])}"
            found.append(f"{name} {what}. A detector may tell file formats apart instead of pictures.")
    for name, one in result["detectors"].items():
        if one["calibration"]["rate"] != one["calibration"]["asked"]:
            found.append(f"{name}: {one['calibration']['words']}.")
    problems = dict.fromkeys(f"{cell['detector']} on {_where(cell)}: {cell['problem']}." for cell in clean if cell["problem"])
    rates = sorted({cell["tpr_at"] for cell in clean if cell["tpr_at"] is not None})
    if any(cell["tpr_at"] is None for cell in clean):
        found.append("Where there are fewer than 60 real pictures, recall at few false alarms is not told.")
    if 0.05 in rates:
        found.append("Where there are fewer than 1,000 real pictures, recall is told at 5% false alarms, not at 1%.")
    return [*found, *problems]


def _where(cell: Mapping[str, Any]) -> str:
    return f"{cell['generator'] or ALL} of {cell['data']}"


def _area(one: Mapping[str, Any]) -> str:
    estimate = Estimate.read(one)
    ends = f" ({percent(estimate.low)} to {percent(estimate.high)})" if estimate.interval else ""
    return f"{percent(estimate.value)}{ends}"


def _matrix(result: Mapping[str, Any], clean: Sequence[Mapping[str, Any]]) -> Markup:
    """A table for each data set: a row for each detector, a column for each generator."""
    parts: list[Child] = [
        el(
            "p",
            "AUROC with its interval. A star marks generators that the detector learnt from; of others it never saw a picture.",
            class_="note",
        )
    ]
    for name in result["data"]:
        own = [cell for cell in clean if cell["data"] == name]
        generators = list(dict.fromkeys(cell["generator"] for cell in own))
        rows = []
        for detector, about in result["detectors"].items():
            cells = {cell["generator"]: cell for cell in own if cell["detector"] == detector}
            told = [el("b", detector), el("span", f"learnt from {', '.join(about['generators'])}", class_="definition")]
            rows.append(el("tr", el("th", told, scope="row", dir="auto"), [_matrix_cell(cells.get(generator)) for generator in generators]))
        parts += [
            el("h3", name, dir="auto"),
            table(("Detector", *(one or ALL for one in generators)), rows, "figures scores", f"AUROC on {name}"),
        ]
    return el("div", parts)


def _matrix_cell(cell: Mapping[str, Any] | None) -> Markup:
    if cell is None or cell["auroc"]["value"] is None:
        return el("td", "missing", class_="number quiet")
    star = " ★" if cell["trained_on_generator"] else ""
    estimate = Estimate.read(cell["auroc"])
    ends = estimate.interval
    between = f"{percent(ends[0])} – {percent(ends[1])}" if ends else "–"
    return el("td", el("b", f"{percent(estimate.value)}{star}"), el("br"), between, class_="number", data_sort=f"{estimate.value:.6f}")


def _figures(clean: Sequence[Mapping[str, Any]]) -> Markup:
    columns = ("Tested on", "Value", "", "Interval", "Groups")
    folds: list[Markup] = []
    names = (
        ("auroc", "AUROC"),
        ("ap", "Average precision"),
        ("tpr", "Found at few false alarms"),
        ("real_accuracy", "Real pictures called real"),
        ("fake_accuracy", "Generated pictures called generated"),
    )
    for detector in dict.fromkeys(cell["detector"] for cell in clean):
        rows = []
        for cell in (cell for cell in clean if cell["detector"] == detector):
            for key, title in names:
                note = f", at {percent(cell['tpr_at'], 0)}" if key == "tpr" and cell["tpr_at"] else ""
                note = f", chance {percent(cell['share'])}" if key == "ap" else note
                told = [el("b", f"{title}{note}"), el("span", _where(cell), class_="definition")]
                estimate = Estimate.read(cell[key])
                cells = figures(estimate), el("td", count(estimate.n) if estimate.n else "–", class_="number")
                rows.append(el("tr", el("th", told, scope="row", dir="auto"), cells))
        folds.append(
            el(
                "details",
                el("summary", el("span", detector, class_="fold")),
                table(columns, rows, "figures scores", detector),
                open=not folds,
            )
        )
    note = "The last two at the detector's own threshold. Intervals are by group: a source image or a scene counts once."
    return el("div", el("p", note, class_="note"), folds)


def _degraded(result: Mapping[str, Any]) -> Markup:
    parts: list[Child] = []
    plots = []
    rows = []
    for detector, about in result["detectors"].items():
        for name in result["data"]:
            cells = [cell for cell in result["cells"] if (cell["detector"], cell["data"]) == (detector, name)]
            together = [cell for cell in cells if not cell["generator"]] or cells
            if len(together) < 2:
                continue
            for cell in together:
                what = el(
                    "th", el("b", cell["degradation"] or "clean"), el("span", f"{detector}, {name}", class_="definition"), scope="row"
                )
                told = [el("td", _area(cell[key]), class_="number") for key in ("auroc", "real_accuracy", "fake_accuracy")]
                rows.append(el("tr", what, told))
            if not about["baseline"]:
                lines = [(cell["degradation"] or "clean", [Estimate.read(cell["auroc"])]) for cell in together]
                plots.append(figure(f"{detector} on {name}", "AUROC with its interval.", dots_by_name(lines, f"AUROC of {detector}")))
    if not rows:
        return el("p", "No degradation was asked for.", class_="note")
    parts.append(el("p", "Real and generated pictures are degraded alike. The threshold stays that of clean pictures.", class_="note"))
    parts.append(el("div", plots, class_="panels"))
    parts.append(
        table(("Degradation", "AUROC", "Real called real", "Generated called generated"), rows, "figures scores", "Degraded pictures")
    )
    return el("div", parts)


def _differences(differences: Sequence[Mapping[str, Any]]) -> Markup:
    if not differences:
        return el("p", "There is one detector, and nothing to hold it against.", class_="note")
    rows = []
    for one in differences:
        what = [el("b", f"{one['b']} minus {one['a']}"), el("span", _where(one), class_="definition")]
        rows.append(el("tr", el("th", what, scope="row", dir="auto"), [_gap(one["auroc"], "value"), *_recall(one["fake_accuracy"])]))
    note = "On the same pictures, in points. The p-value is of the difference in pictures found, after Holm's correction for all rows."
    columns = ("Detectors", "AUROC", "Generated pictures found", "p")
    return el("div", el("p", note, class_="note"), table(columns, rows, "figures scores", "Differences"))


def _gap(one: Mapping[str, Any], key: str) -> Markup:
    estimate = Estimate.read({**one, "value": one.get(key)})
    ends = f" ({points(estimate.low)} to {points(estimate.high)})" if estimate.interval else ""
    return el("td", f"{points(estimate.value)}{ends}", class_="number")


def _recall(one: Mapping[str, Any]) -> list[Markup]:
    p = one.get("p_adjusted")
    told = "missing" if p is None else "< 0.001" if p < 0.001 else f"{p:.3f}"
    return [_gap(one, "difference"), el("td", told, class_="number main" if p is not None and p < SIGNIFICANT else "number quiet")]


def _provenance(result: Mapping[str, Any]) -> Markup:
    facts = {key: result[key] for key in ("detectors", "data", "split", "versions")}
    note = "Everything that the numbers depend on. This file holds no time, host name or path: the same run gives the same bytes."
    return el("div", el("p", note, class_="note"), provenance_panels({**facts["detectors"], **facts["data"], "split": facts["split"]}))


# ---- hard cases -----------------------------------------------------------------------------------------------------------------


def build_hard_cases_page(result: Mapping[str, Any]) -> str:
    """What a detector misses, and what it misses after it was trained on more of that, as one HTML document.

    Args:
        result: what ``hard-cases.json`` or ``hardened.json`` holds.
    """
    named = [one["skill"] for one in result["cases"] if one["hard"]]
    words = f"Missed more than the rest: {', '.join(named)}." if named else "Nothing is missed more than the rest, as far as can be told."
    numbers = [("pictures", count(result["pictures"])), ("missed", percent(result["missed"]["value"]))]
    lead = el("div", el("p", words, dir="auto"), class_="summary")
    header = header_block("Anyscene moderation", f"{result['detector']}: hard cases", lead, key_figures(numbers), [])
    sections = [("cases", "Cases", "What is missed", _cases(result["cases"]))]
    if "after" in result:
        sections.insert(0, ("after", "After", "After training on more of it", _after(result)))
    return page(f"{result['detector']}: hard cases", header, sections)


def write_hard_cases_page(path: Path, result: Mapping[str, Any]) -> None:
    """Writes the page, in one step.

    Raises:
        RunError: the file cannot be written.
    """
    write_atomic(path, build_hard_cases_page(result).encode())


def _cases(cases: Sequence[Mapping[str, Any]]) -> Markup:
    ordered = sorted(cases, key=lambda one: -(one["difference"] if one["difference"] is not None else -1.0))
    shown = [one for one in ordered if one["difference"] is not None][:MOST_ROWS]
    lines = [
        Difference(one["skill"], Estimate(one["difference"], one["low"], one["high"], one["n"]), bool(one["hard"] or one["easy"]))
        for one in shown
    ]
    rows = []
    for one in ordered:
        p = one["p_adjusted"]
        told = "–" if p is None else "< 0.001" if p < 0.001 else f"{p:.3f}"
        cells = [
            el("td", _area(one["missed"]), class_="number"),
            el("td", percent(one["rest"]), class_="number"),
            _gap(one, "difference"),
            el("td", told, class_="number main" if one["hard"] else "number quiet"),
            el("td", count(one["n"]), class_="number"),
        ]
        rows.append(el("tr", el("th", one["skill"], scope="row", dir="auto"), cells))
    note = (
        "Share of the generated pictures that are called real, where the scene asks for this, and where it does not. "
        "p: after Holm's correction; skills of fewer than 20 scenes are not compared."
    )
    plot = figure("More or less than the rest", "In points.", forest(lines, "Difference of the share that is missed")) if lines else None
    columns = ("Skill", "Missed", "Elsewhere", "Difference", "p", "Scenes")
    return el("div", el("p", note, class_="note"), plot, table(columns, rows, "figures scores", "Hard cases"))


def _after(result: Mapping[str, Any]) -> Markup:
    parts: list[Child] = []
    for name, rows in result["after"].items():
        lines = []
        for row in rows:
            lines.append(
                el(
                    "tr",
                    el("th", row["what"], scope="row", dir="auto"),
                    el("td", percent(row["a"]), class_="number"),
                    el("td", percent(row["b"]), class_="number"),
                    _gap(row, "difference"),
                    el("td", count(row["n"]), class_="number"),
                )
            )
        columns = ("Held-out pictures", "Before", "After", "Difference", "Groups")
        parts += [el("h3", name, dir="auto"), table(columns, lines, "figures", name)]
    note = (
        "Share of generated pictures that are found, of real ones that are called real; each detector at its own threshold, same pictures."
    )
    return el("div", el("p", note, class_="note"), parts)
