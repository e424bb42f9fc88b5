"""`report.html`: one run as one self-contained page, from the headline down to single pictures and where it all came from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from anyscene.report.contents import Example, RunContents
from anyscene.report.estimates import Estimate, count, percent
from anyscene.report.examples import select_examples
from anyscene.report.gallery import gallery
from anyscene.report.markup import Child, Markup, el
from anyscene.report.plots import Bin, by_complexity, dots_by_name, headline_scale, reliability_curve
from anyscene.report.shell import page
from anyscene.report.tables import corrected_table, judge_table, ordered_skills, provenance_panels, score_table, skill_tables, table
from anyscene.report.words import (
    SCORE_NAMES,
    answer_counts,
    headline_of,
    interval_words,
    label_of,
    media_counts,
    noise_of,
    noun_of,
    summary_sentences,
    warnings_of,
)
from anyscene.runs import write_atomic

__all__ = ["build_report", "figure", "header_block", "key_figures", "origins", "write_report"]


def build_report(run: RunContents, most_pictures: int = 24) -> str:
    """The report of a run as one HTML document that loads nothing. The same contents give the same text.

    Args:
        run: the contents.
        most_pictures: how many pictures are shown at most.
    """
    examples = select_examples(run, most_pictures)
    modality = str(examples[0].record.get("modality") or "image") if examples else "image"
    nouns = noun_of(modality)
    nouns = nouns[0].upper() + nouns[1:]
    sections = [
        ("skills", "Skills", "Where it succeeds and where it fails", _skills(run.scores)),
        ("pictures", nouns, nouns, _pictures(run, examples)),
        ("scores", "All scores", "All scores", _scores(run.scores)),
        ("judge", "Judge", "Can the judge be trusted?", _judge(run.scores)),
        ("precision", "Precision", "How precise is this?", _precision(run.scores)),
        ("provenance", "Provenance", "Provenance", _provenance(run)),
    ]
    return page(f"{run.model}: evaluation", _header(run, modality), sections)


def write_report(path: Path, run: RunContents, most_pictures: int = 24) -> None:
    """Writes the report of a run to a file, in one step.

    Raises:
        RunError: the file cannot be written.
    """
    write_atomic(path, build_report(run, most_pictures).encode())


def header_block(eyebrow: str, title: str, lead: Child, aside: Child, warnings: Sequence[str]) -> Markup:
    """What stands on top of a page: its title, the headline, and the warnings."""
    alert = el(
        "div", el("h2", "Before you believe these numbers"), el("ul", [el("li", one) for one in warnings]), class_="warnings", role="note"
    )
    words = [el("p", eyebrow, class_="eyebrow"), el("h1", title, dir="auto")]
    return el("header", el("div", words, class_="masthead"), el("div", lead, aside, class_="lead"), alert if warnings else None)


def key_figures(figures: Sequence[tuple[str, str]]) -> Markup:
    """A row of numbers with what they count."""
    return el("dl", [el("div", el("dt", name), el("dd", value)) for name, value in figures], class_="key")


def _header(run: RunContents, modality: str) -> Markup:
    name, headline = headline_of(run.scores)
    noise = noise_of(run.scores)
    expected, made, _ = media_counts(run.scores)
    questions, answered, _ = answer_counts(run.scores)
    value = (
        el("span", f"{100 * headline.value:.1f}", el("small", "%")) if headline.value is not None else el("span", "missing", class_="none")
    )
    number = el(
        "div",
        el("p", SCORE_NAMES.get(name, label_of(name)), class_="what"),
        el("p", value, class_="big"),
        el("p", interval_words(headline, run.scores), class_="interval"),
        class_="headline",
    )
    figures = [("scenes", count(int(run.scores.get("scenes") or 0)))]
    figures += [(noun_of(modality), count(made) if made == expected else f"{count(made)} / {count(expected)}")]
    figures += [("answers", count(answered) if answered == questions else f"{count(answered)} / {count(questions)}")]
    if noise is not None:
        figures.append(("noise floor", f"± {_width(noise)}"))
    words = [el("p", sentence, dir="auto") for sentence in summary_sentences(run, modality)]
    ruler = [headline_scale(headline, noise)]
    aside = el("div", ruler, words, key_figures(figures), class_="summary")
    return header_block("Anyscene evaluation", run.model, number, aside, warnings_of(run.scores))


def figure(title: str, caption: Child, drawing: Child, legend: Sequence[tuple[str, str, str]] = ()) -> Markup:
    """A plot with its title, what it shows, and what its marks mean (shape, series, words)."""
    keys = [el("li", el("svg", _key(shape, series), viewBox="0 0 18 12", aria_hidden="true"), words) for shape, series, words in legend]
    return el(
        "figure",
        el("figcaption", el("h3", title), el("p", caption)),
        drawing,
        el("ul", keys, class_="legend") if keys else None,
        class_="panel",
    )


def _key(shape: str, series: str) -> list[Markup]:
    line = el("line", x1=0, x2=18, y1=6, y2=6, class_=f"whisker {series}")
    if shape == "diamond":
        return [line, el("path", d="M9 1l5 5l-5 5l-5 -5z", class_=f"{series} diamond")]
    if shape == "square":
        return [line, el("rect", x=5, y=2, width=8, height=8, class_=f"{series} square")]
    return [line, el("circle", cx=9, cy=6, r=4.6, class_=f"{series} disc")]


def _skills(scores: Mapping[str, Any]) -> Markup:
    by = scores.get("by") or {}
    steps = [(name, Estimate.read(one.get("soft")), Estimate.read(one.get("strict"))) for name, one in ordered_skills(by, "complexity")]
    kinds = [(label_of(name), [Estimate.read(one.get("soft"))]) for name, one in ordered_skills(by, "kind")]
    plots = []
    if steps:
        legend = [("disc", "first", "soft"), ("diamond", "second", "strict")]
        drawing = by_complexity(steps, "Scores by complexity, with intervals. " + _spoken([(name, soft) for name, soft, _ in steps]))
        plots.append(figure("Score by complexity", "Does it hold as scenes grow? Bars below: how many scenes.", drawing, legend))
    if kinds:
        drawing = dots_by_name(
            kinds, "Soft accuracy by kind of question, with intervals. " + _spoken([(name, one[0]) for name, one in kinds])
        )
        plots.append(figure("Score by kind of question", "Soft accuracy with its interval.", drawing))
    note = el(
        "p",
        "Soft: mean probability of the right answers. Strict: share answered right. Balanced: foils count half. Intervals: by scene.",
        class_="note",
    )
    return el("div", el("div", plots, class_="panels"), note, skill_tables(by))


def _spoken(rows: Sequence[tuple[str, Estimate]]) -> str:
    return "; ".join(f"{name}: {percent(one.value)}" for name, one in rows[:40])


def _pictures(run: RunContents, examples: Sequence[Example]) -> Markup:
    key = el(
        "ul",
        el("li", el("span", "✓ right", class_="verdict right"), " the judge gives the right answer"),
        el("li", el("span", "✗ wrong", class_="verdict wrong"), " it gives a wrong one"),
        el("li", el("span", "○ open", class_="verdict open"), " no verdict; never counted as wrong"),
        class_="verdicts",
    )
    note = el(
        "p",
        "Every graph is what was asked for, marked with what the judge found. Unfold the questions to see how sure it was.",
        class_="note",
    )
    return el("div", note, key, gallery(run, examples))


def _scores(scores: Mapping[str, Any]) -> Markup:
    return el(
        "div",
        el("p", "The same answers, counted in different ways. The marked one is the headline.", class_="note"),
        score_table(scores, headline_of(scores)[0]),
    )


def _judge(scores: Mapping[str, Any]) -> Markup:
    quality, corrected = scores.get("judge_quality") or {}, scores.get("corrected") or {}
    plots = [plot for plot in (_reliability(quality), _correction(corrected)) if plot]
    parts: list[Child] = [el("p", _known_errors(scores), class_="note"), el("div", plots, class_="panels") if plots else None]
    if quality.get("by_kind"):
        note = "Sensitivity: how often it confirms what is there. Specificity: how often it denies what is not."
        parts += [el("h3", "Errors of the judge"), el("p", note, class_="note"), judge_table(quality)]
    if corrected:
        note = "The share of what should be there that is there, had the judge made no errors. These intervals hold for all kinds together."
        parts += [el("h3", "Raw and corrected scores"), el("p", note, class_="note"), corrected_table(corrected)]
    else:
        parts.append(
            el(
                "p",
                "Corrected scores need true answers to some of the questions, from people or from a painter that knows them.",
                class_="note",
            )
        )
    return el("div", parts)


def _reliability(quality: Mapping[str, Any]) -> Markup | None:
    bins = [_bin(one) for one in quality.get("reliability") or []]
    if not any(one.n for one in bins):
        return None
    error = _width(Estimate.read({"value": quality.get("calibration_error")}).value)
    label = f"Reliability curve of the judge in {len(bins)} bins, mean distance from the diagonal {error}."
    caption = f"On the diagonal its probabilities mean what they say; the mean distance from it is {error}. Bars: how often."
    return figure("Reliability of the judge", caption, reliability_curve(bins, label))


def _correction(corrected: Mapping[str, Any]) -> Markup | None:
    if not corrected:
        return None
    columns = ("raw", "rogan_gladen", "prediction_powered")
    rows = [(label_of(kind), [Estimate.read((one or {}).get(key)) for key in columns]) for kind, one in corrected.items()]
    legend = [("disc", "first", "raw"), ("diamond", "second", "Rogan-Gladen"), ("square", "third", "prediction-powered")]
    caption = "What the model would score with a judge that makes no errors. The number is the raw score."
    return figure(
        "Raw and corrected scores",
        caption,
        dots_by_name(rows, "Raw and corrected scores by kind; the table below has the numbers."),
        legend,
    )


def _known_errors(scores: Mapping[str, Any]) -> str:
    """Where what is known about the judge comes from."""
    sources = {
        "foils": "Its errors are estimated from foils, questions whose right answer is “no”. A picture may show a foil by accident, so the "
        "specificity is at least what is shown; of sensitivity foils say nothing.",
        "labels": "Its errors are estimated from people's answers.",
        "truth": "Its errors are measured in the sandbox, where the truth is known.",
    }
    quality = scores.get("judge_quality") or {}
    note = (
        sources.get(str(quality.get("source")), "Where its errors are known from is not said.")
        if quality.get("by_kind")
        else "Nothing is known about its errors."
    )
    mass = scores.get("label_mass")
    if isinstance(mass, Mapping):
        mean, low = percent(mass.get("mean")), percent(mass.get("low_share"))
        note += f" Label mass (probability of all permitted answers together): mean {mean}; low in {low} of answers."
    return note


def _width(value: float | None) -> str:
    """A width in percentage points, without a sign."""
    return percent(None) if value is None else f"{100 * value:.1f} points"


def _bin(one: Mapping[str, Any]) -> Bin:
    mean, right = (Estimate.read({"value": one.get(key)}).value for key in ("mean_p", "share_right"))
    return Bin(float(one["low"]), float(one["high"]), mean, right, int(one.get("n") or 0))


def _precision(scores: Mapping[str, Any]) -> Markup:
    name, headline = headline_of(scores)
    needed = scores.get("scenes_needed") or {}
    here = headline.half_width
    rows = []
    for width, scenes in sorted(needed.items(), key=lambda pair: float(pair[0])):
        known = isinstance(scenes, int)
        rows.append(
            el(
                "tr",
                el("th", f"± {_width(float(width))}", scope="row"),
                el("td", count(scenes) if known else "missing", class_="number main" if known else "number quiet"),
            )
        )
    parts: list[Child] = []
    if here is not None:
        parts.append(el("p", f"{SCORE_NAMES.get(name, label_of(name))} is known to ± {_width(here)} from {count(headline.n)} scenes."))
    if rows:
        parts.append(
            el(
                "div",
                el("h3", "Scenes needed"),
                el("p", "To know the headline this well.", class_="note"),
                table(("Precision", "Scenes"), rows, "figures narrow", "Scenes needed"),
            )
        )
    floor = scores.get("noise_floor")
    if isinstance(floor, Mapping):
        note = "How far two runs of one model can lie apart when nothing but the seeds change. Smaller differences mean nothing."
        parts.append(
            el(
                "div",
                el("h3", "Noise floor"),
                el("p", note, class_="note"),
                table(
                    ("Score", "Difference of two runs", "Standard deviation of one"), _noise_rows(floor), "figures narrow", "Noise floor"
                ),
            )
        )
    else:
        parts.append(el("p", "The noise floor is not known: it takes at least two pictures (seeds) of a scene.", class_="note"))
    return el("div", parts, class_="precision")


def _noise_rows(floor: Mapping[str, Any]) -> list[Markup]:
    """For each score: how far two runs can lie apart, and the standard deviation of one."""
    rows = []
    for name, one in floor.items():
        if isinstance(one, Mapping):
            apart, spread = (Estimate.read({"value": one.get(key)}).value for key in ("half_width", "seed_sd"))
            cells = [el("td", f"± {_width(apart)}", class_="number main"), el("td", _width(spread), class_="number")]
            rows.append(el("tr", el("th", SCORE_NAMES.get(name, label_of(name)), scope="row"), cells))
    return rows


def _provenance(run: RunContents) -> Markup:
    command = run.provenance.get("command")
    where = "With the same dataset in a folder called scenes. What was named by a path of one machine is named by its last part here."
    again = (
        [el("h3", "The same run again"), el("pre", el("code", command), tabindex="0"), el("p", where, class_="note")] if command else None
    )
    note = "Everything that the numbers depend on. This file holds no time, host name or path: the same run gives the same bytes."
    return el("div", el("p", note, class_="note"), again, provenance_panels(origins(run)))


def origins(run: RunContents) -> dict[str, Any]:
    """The run's manifest without its command, with what only the scores and the scenes say: names, spec digest and seed of the scenes."""
    facts: dict[str, Any] = {key: value for key, value in run.provenance.items() if key != "command"}
    facts.setdefault("model", run.model)
    facts.setdefault("judge", run.scores.get("judge") or run.judge)
    scenes = facts.get("scenes")
    own = {name: run.records[name].unique().to_pylist() for name in ("spec_digest", "seed") if name in run.records.column_names}
    said = {name: values[0] if len(values) == 1 else values for name, values in own.items() if values}
    facts["scenes"] = {**said, **scenes} if isinstance(scenes, Mapping) else {**said, **({"scenes": scenes} if scenes is not None else {})}
    return facts
