"""What an improvement looks like in a report: what may be claimed and why, the rounds, what was chosen, the curves of learning."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from anyscene.report.estimates import Estimate, count, percent, points
from anyscene.report.markup import Child, Markup, el
from anyscene.report.plots import by_round
from anyscene.report.run_page import figure, header_block, key_figures
from anyscene.report.shell import Section, page
from anyscene.report.tables import table
from anyscene.report.training_page import curve_plot
from anyscene.report.words import SCORE_NAMES, label_of
from anyscene.runs import write_atomic

__all__ = ["claims_section", "improve_sections", "write_improve_page"]

ARMS = {"selected": "its best pictures", "unselected": "pictures nobody chose", "images": "the user's pictures"}
MARKS = {"selected": ("disc", "first"), "unselected": ("diamond", "second"), "images": ("square", "third")}
CURVES = {
    "loss": ("Loss", "Of each update; the line is its running mean."),
    "grad_norm": ("Gradient", "Its norm, before it was cut."),
    "margin": ("Margin", "By how much the better picture of a pair is preferred, more than at the start."),
    "accuracy": ("Accuracy", "Share of the pairs whose better picture is preferred."),
}


def claims_section(claims: Mapping[str, Mapping[str, Any]]) -> Section:
    """What may be claimed, and why.

    Args:
        claims: by what was compared (``After against before``), as `training.claims.make_claim` gives them.
    """
    note = (
        "Corrected is what a judge without the errors that were seen would have said. A difference whose interval holds 0 is not shown, "
        "and a claim needs the raw one, the corrected one and the second judge's."
    )
    parts: list[Markup] = [el("p", note, class_="note")] if any(one.get("scores") for one in claims.values()) else []
    for title, claim in claims.items():
        parts += [el("h3", title), *(el("p", one, dir="auto") for one in claim.get("sentences") or [claim["sentence"]])]
        if claim.get("scores"):
            parts.append(table(("Score", "Before", "After", "Difference", "Interval", "Shown"), _claim_rows(claim), "figures", title))
    return "claim", "Claim", "What may be claimed", el("div", parts)


def _claim_rows(claim: Mapping[str, Any]) -> list[Markup]:
    rows = [_claim_row(SCORE_NAMES.get(name, name), one) for name, one in claim["scores"].items()]
    corrected, second, score = claim.get("corrected"), claim.get("second"), claim["score"]
    if corrected is not None and corrected["difference"] is not None:
        name = f"{SCORE_NAMES.get(corrected['score'], corrected['score'])}, corrected by {corrected['source']}"
        rows.append(_claim_row(name, {"a": None, "b": None, **corrected}))
    if second is not None:
        rows.append(_claim_row(f"{SCORE_NAMES.get(score, score)}, by {second['judge']}", second["scores"][score]))
    return rows


def _claim_row(name: str, one: Mapping[str, Any]) -> Markup:
    between = f"{points(one['low'])} to {points(one['high'])}" if one["low"] is not None and one["high"] is not None else "–"
    cells = [
        *(el("td", "–" if one[side] is None else percent(one[side]), class_="number") for side in ("a", "b")),
        el("td", points(one["difference"]), class_="number main"),
        el("td", between, class_="number quiet"),
        el("td", one["claim"], class_="number"),
    ]
    return el("tr", el("th", name, scope="row", dir="auto"), cells)


def improve_sections(
    result: Mapping[str, Any],
    metrics: Mapping[str, Sequence[Mapping[str, float | None]]],
    sheets: Sequence[tuple[str, bytes]] = (),
) -> list[Section]:
    """Sections for a page, without the claims and the audit.

    Args:
        result: what ``result.json`` holds (`training.improve.run_improve`).
        metrics: for each arm one mapping for each update, over all rounds, with ``update``.
        sheets: titles and PNG pictures of candidates.
    """
    found: list[Section] = [("rounds", "Rounds", "Round after round", _rounds(result))]
    found.append(("chosen", "Chosen", "What was learnt from", _chosen(result)))
    if sheets:
        found.append(("candidates", "Candidates", "Candidates and their scores", _sheets(sheets)))
    plots = [
        figure(f"{title}: {ARMS[arm]}", words, curve_plot(values, title))
        for arm, lines in metrics.items()
        for key, (title, words) in CURVES.items()
        if len(values := [(float(one["update"] or 0), float(one[key])) for one in lines if one.get(key) is not None]) > 1  # type: ignore[arg-type]
    ]
    if plots:
        found.append(("training", "Training", "Over the updates of all rounds", el("div", plots, class_="panels")))
    return found


def write_improve_page(path: Path, title: str, said: str, sections: Sequence[Section]) -> None:
    """A page of a run that may claim nothing.

    Raises:
        RunError: the file cannot be written.
    """
    header = header_block("Anyscene improvement", title, "", el("div", el("p", said), class_="summary"), [])
    write_atomic(path, page(title, header, sections).encode())


def _arms(result: Mapping[str, Any]) -> dict[str, Sequence[Mapping[str, Any]]]:
    return {"selected": result["rounds"], **{name: one["rounds"] for name, one in result["baselines"].items()}}


def _rounds(result: Mapping[str, Any]) -> Markup:
    arms = _arms(result)
    start = result["start"]
    validated = start is not None
    plots = []
    if validated:
        for key, title, words in (
            ("score", "On validation scenes", "Held-out scenes that are not those of the exam; round 0 is the start."),
            ("second", "By the second judge", "Which chose nothing. If it does not follow, the first one is being pleased."),
        ):
            series = {
                name: [Estimate.read(one.get(key)) for one in (start, *(one["validation"] for one in rounds))]
                for name, rounds in arms.items()
            }
            if not any(one.known for line in series.values() for one in line):
                continue
            legend = [(*MARKS[name], ARMS[name]) for name in series]
            spoken = "; ".join(f"{ARMS[name]}: {', '.join(percent(one.value) for one in line)}" for name, line in series.items())
            lines = [(*MARKS[name], line) for name, line in series.items()]
            plots.append(figure(title, words, by_round(lines, f"{title}, by round. {spoken}"), legend))
    rows = []
    for name, rounds in arms.items():
        for one in ([{"round": 0, "pictures": 0, "validation": start}] if validated and name == "selected" else []) + list(rounds):
            rows.append(_round_row(name, one, name == "selected" and one["round"] == result["best_round"]))
    ended = f" It ended early: {result['stopped']}." if result["stopped"] else ""
    note = (
        f"Round {result['best_round']} is the one that is kept.{ended} Diversity is how far pictures of different scenes lie apart, 0 "
        "where all are alike; foils are questions about what no caption asked for."
    )
    columns = ("Learns from", "Round", "Pictures", "Score", "Second judge", "Foils called true", "Diversity")
    figures = key_figures([("rounds", count(len(result["rounds"]))), ("updates", count(result["updates"]))])
    return el(
        "div", el("div", plots, class_="panels"), figures, el("p", note, class_="note"), table(columns, rows, "figures", "The rounds")
    )


def _round_row(arm: str, one: Mapping[str, Any], best: bool) -> Markup:
    found = one.get("validation") or {}
    values = [_value(found.get(key)) for key in ("score", "second")]
    foils, apart = found.get("foils"), found.get("diversity")
    cells = [
        el("td", count(one["round"]) if one["round"] else "start", class_="number"),
        el("td", count(one["pictures"]) if one["round"] else "–", class_="number"),
        *(el("td", "–" if value is None else percent(value), class_="number") for value in values),
        el("td", "–" if foils is None else percent(foils), class_="number"),
        el("td", "–" if apart is None else f"{apart:.3f}", class_="number"),
    ]
    return el("tr", el("th", ARMS[arm] if one["round"] else "nothing yet", scope="row"), cells, class_="headline" if best else None)


def _value(found: Any) -> float | None:
    return Estimate.read(found).value


def _chosen(result: Mapping[str, Any]) -> Markup:
    rounds = result["rounds"]
    names = [name for name in rounds[0]["counts"] if any(one["counts"][name] for one in rounds)]
    lines: list[Child] = [
        el("tr", el("th", label_of(name), scope="row"), [el("td", count(one["counts"][name]), class_="number") for one in rounds])
        for name in names
    ]
    told = (
        ("score", "mean score of the candidates", percent),
        ("score_chosen", "mean score of the chosen", percent),
        ("complexity", "mean complexity of the candidates", _plain),
        ("complexity_chosen", "mean complexity of the chosen", _plain),
        ("tied", "scenes whose candidates tie", percent),
    )
    for name, words, write in told:
        values = [one["figures"][name] for one in rounds]
        lines.append(_line(words, values, write))
    lines.append(_line("diversity within a scene", [one["diversity"]["within"] for one in rounds], _plain))
    lines.append(_line("diversity between scenes", [one["diversity"]["between"] for one in rounds], _plain))
    columns = ("", *(f"Round {one['round']}" for one in rounds))
    note = "Candidates are made by the model of the round before. A candidate that was not chosen is counted under its first reason."
    return el("div", el("p", note, class_="note"), table(columns, lines, "figures", "What was chosen, and why the rest was not"))


def _line(words: str, values: Sequence[float | None], write: Any) -> Markup:
    return el("tr", el("th", words, scope="row"), [el("td", "–" if one is None else write(one), class_="number") for one in values])


def _plain(value: float) -> str:
    return f"{value:.3g}"


def _sheets(sheets: Sequence[tuple[str, bytes]]) -> Markup:
    pictures = [
        el(
            "figure",
            el("figcaption", el("h3", title)),
            el("img", src=f"data:image/png;base64,{base64.b64encode(png).decode()}", alt=f"candidates of {title}"),
            class_="panel",
        )
        for title, png in sheets
    ]
    note = el("p", "A row for each scene, its candidates from the best to the worst, with their scores.", class_="note")
    return el("div", note, el("div", pictures, class_="panels"))
