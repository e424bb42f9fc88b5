"""The pictures of a report: each with its caption, its graph marked by the judge's verdicts, and its questions with answers."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence

from anyscene.errors import MediaError
from anyscene.report.contents import Asked, Example, RunContents
from anyscene.report.estimates import percent
from anyscene.report.graphs import Drawing, draw_scene_graph, element_verdicts, shortened
from anyscene.report.markup import Markup, el
from anyscene.report.pictures import embedded_picture
from anyscene.report.words import label_of, noun_of

__all__ = ["TITLES", "gallery", "picture_card", "picture_pair"]

TITLES = {
    "best": ("Best", "Most questions right; among equals the most complex scenes. Picked, not typical."),
    "worst": ("Worst", "Fewest questions right; among equals the simplest scenes. Picked, not typical."),
    "instructive": (
        "Most instructive",
        "Objects that are there in the wrong relation, foils that the judge confirms, contradictions, doubts.",
    ),
    "sample": ("A fair sample", "Drawn without regard to the scores."),
}
_MARKS = {"right": "✓ right", "wrong": "✗ wrong", "open": "○ no verdict"}
BESIDE = 270
"""A graph that is no wider stands beside its picture, in CSS pixels."""
MOST_FAULTS = 6
LONGEST = 2000
"""A caption, question or reply is cut beyond so many characters."""


def gallery(run: RunContents, examples: Sequence[Example]) -> Markup:
    """All groups of pictures, each under its heading."""
    groups = []
    for group, (title, note) in TITLES.items():
        shown = [one for one in examples if one.group == group]
        if shown:
            cards = [picture_card(run, one) for one in shown]
            head = el("h3", title, id=f"pictures-{group}")
            groups.append(el("section", head, el("p", note, class_="note"), el("div", cards, class_="cards"), class_="group"))
    return el("div", groups) if groups else el("p", "There is no picture to show.", class_="note")


def picture_card(run: RunContents, one: Example) -> Markup:
    """One picture with everything that is known about it."""
    counts = Counter(asked.verdict for asked in one.asked)
    tally = ", ".join(f"{counts[verdict]} {'without verdict' if verdict == 'open' else verdict}" for verdict in _MARKS if counts[verdict])
    facts = [_scene(one), f"complexity {one.record['complexity']}" if "complexity" in one.record else None, f"soft {percent(one.soft)}"]
    said = [
        el("p", [el("span", fact) for fact in facts if fact], class_="facts"),
        el("blockquote", shortened(one.record["caption"], LONGEST), class_="caption", dir="auto"),
        el("p", one.why, class_="why", dir="auto") if one.why else None,
    ]
    drawing = scene_graph(one)
    beside = drawing.width <= BESIDE
    graph = _graph_box(drawing)
    return el(
        "article",
        el("div", _figure(run, one), el("div", said, graph if beside else None, class_="said"), class_="top"),
        None if beside else graph,
        _faults(one.asked),
        el("details", el("summary", f"{len(one.asked)} questions", el("span", f": {tally}" if tally else "")), _questions(one.asked)),
        class_="card-of",
    )


def picture_pair(a: RunContents, b: RunContents, pair: tuple[Example, Example]) -> Markup:
    """One scene, painted by two models: their pictures side by side, and the questions on which they differ."""
    first, second = pair
    sides = []
    for run, one in ((a, first), (b, second)):
        score = el("p", el("b", run.model), f" {percent(one.strict, 0)} right", class_="facts")
        graph = _graph_box(scene_graph(one))
        sides.append(el("div", score, _figure(run, one), graph, class_="side"))
    other = {asked.question.id: asked for asked in second.asked}
    rows = []
    for asked in first.asked:
        twin = other.get(asked.question.id)
        if twin is not None and twin.verdict != asked.verdict:
            cells = [el("td", _MARKS[x.verdict], class_=f"verdict {x.verdict}") for x in (asked, twin)]
            rows.append(el("tr", el("td", asked.question.text, dir="auto"), el("td", asked.question.answer, dir="auto"), cells))
    head = el("thead", el("tr", [el("th", name, scope="col") for name in ("Question", "Right answer", a.model, b.model)]))
    return el(
        "article",
        el("p", el("span", _scene(first)), class_="facts"),
        el("blockquote", shortened(first.record["caption"], LONGEST), class_="caption", dir="auto"),
        el("div", sides, class_="sides"),
        el(
            "div",
            el("table", head, el("tbody", rows), class_="questions"),
            class_="scroll",
            tabindex="0",
            role="group",
            aria_label="Questions",
        ),
        class_="card-of wide",
    )


def scene_graph(one: Example) -> Drawing:
    """The graph of an example, marked with the verdicts on its elements."""
    return draw_scene_graph(one.record["graph"], element_verdicts(one.asked))


def _graph_box(drawing: Drawing) -> Markup:
    """A box that scrolls where the drawing is wider than the page."""
    return el("div", drawing.svg, class_="scroll graphs", tabindex="0", role="group", aria_label="Scene graph")


def _scene(one: Example) -> str:
    number = one.record.get("index")
    return f"Scene {number:,}" if isinstance(number, int) else "Scene"


def _faults(asked: Sequence[Asked]) -> Markup | None:
    """What was not right, a line each: it is what a reader looks for first."""
    lines = []
    order = ("wrong", "open")
    for one in sorted((one for one in asked if one.verdict in order), key=lambda one: order.index(one.verdict))[:MOST_FAULTS]:
        said = f"judge: {one.said}" if one.status == "answered" else _silence(one)
        words = el("span", shortened(one.question.text, 200), " ", el("span", said, class_="quiet"), dir="auto")
        lines.append(
            el("li", el("span", _MARKS[one.verdict][0], class_=f"verdict {one.verdict}", aria_label=one.verdict, role="img"), words)
        )
    return el("ul", lines, class_="faults") if lines else None


def _figure(run: RunContents, one: Example) -> Markup:
    """The picture as it was judged; where its file cannot be read or is another one now, a line that says so."""
    modality = str(one.record.get("modality") or "image")
    file = str(one.media.get("file") or "")
    try:
        data = run.read_media(file)
        if hashlib.sha256(data).hexdigest() != one.media["sha256"]:
            raise MediaError(f"{file} is not the file that was judged")
        picture = embedded_picture(data, modality, file)
    except (MediaError, OSError) as error:
        return el("figure", el("div", f"This {noun_of(modality, 1)} cannot be shown: {error}", class_="unread"))
    alt = f"{noun_of(modality, 1)} made for: {shortened(one.record['caption'], 300)}"
    image = el("img", src=picture.uri, alt=alt, width=picture.width, height=picture.height, class_="crisp" if picture.crisp else None)
    if picture.still:
        image = el("picture", el("source", srcset=picture.still, media="(prefers-reduced-motion: reduce), print"), image)
    facts = [
        f"{picture.width} × {picture.height}",
        f"{picture.frames} {'views' if modality == '3d' else 'frames'}" if picture.frames > 1 else None,
    ]
    facts.append(f"seed {one.media['seed']}" if one.media.get("seed") is not None else None)
    return el("figure", image, el("figcaption", " · ".join(fact for fact in facts if fact)))


def _questions(asked: Sequence[Asked]) -> Markup:
    """The questions as a table: what was asked, what is right, what was said and how surely, and on which questions it depends."""
    names = {one.question.id: f"{place}" for place, one in enumerate(asked, 1)}
    head = el("tr", [el("th", name, scope="col") for name in ("#", "Question", "Right answer", "Judge", "P(right)")])
    rows = []
    for one in asked:
        question = one.question
        needs = ", ".join(names.get(parent, parent) for parent in question.depends_on)
        notes = [label_of(question.kind), f"foil: {label_of(question.foil)}" if question.foil else None]
        notes += ["of " + ", ".join(question.choices) if question.choices else None, f"needs {needs}" if needs else None]
        said = (
            el("span", one.said or label_of(one.status), dir="auto")
            if one.status == "answered"
            else el("span", _silence(one), class_="quiet", dir="auto")
        )
        rows.append(
            el(
                "tr",
                el("td", names[question.id], class_="number"),
                el(
                    "td",
                    el("span", shortened(question.text, LONGEST), dir="auto"),
                    el("small", " · ".join(note for note in notes if note), dir="auto"),
                ),
                el("td", shortened(question.answer, LONGEST), dir="auto"),
                el("td", el("span", _MARKS[one.verdict], class_=f"verdict {one.verdict}"), " ", said),
                el("td", _probability(one), class_="number"),
                class_=one.verdict,
            )
        )
    table = el("table", el("thead", head), el("tbody", rows), class_="questions")
    return el("div", table, class_="scroll", tabindex="0", role="group", aria_label="Questions and answers")


def _silence(one: Asked) -> str:
    """Why there is no verdict, with the raw reply where there is one."""
    reply = shortened(one.text, 120)
    return label_of(one.status) + (f": “{reply}”" if reply else "")


def _probability(one: Asked) -> Markup:
    if one.value is None:
        return el("span", "missing", class_="quiet")
    width = 46 * min(1.0, max(0.0, one.value))
    bar = [
        el("rect", x=1, y=4, width=46, height=6, rx=3, class_="trough"),
        el("rect", x=1, y=4, width=width, height=6, rx=3, class_=f"fill {one.verdict}"),
    ]
    return el("span", el("svg", bar, class_="chance", viewBox="0 0 48 14", aria_hidden="true"), percent(one.value, 0), class_="nowrap")
