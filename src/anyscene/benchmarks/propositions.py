"""Files of propositions, the nine columns that DSG-1k and DPG-Bench share: read with every fault they have, as records with graphs.

A row is a proposition of a prompt: its number, the numbers that it depends on, a semantic tuple such as ``attribute - color (cube,
purple)``, and the yes/no question whose right answer is "yes". The tuples of a prompt make its scene graph: whole things and parts are
objects, attributes hang on the object that they name, relations join two of them, and what is said of the whole picture is an attribute
of the scene.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

from anyscene.benchmarks.benchmark import Items, Note, make_record
from anyscene.benchmarks.reading import csv_rows, read_text, whole_number
from anyscene.errors import RecordError

__all__ = ["PROPOSITION_COLUMNS", "graph_of_tuples", "parents_of", "read_propositions"]

PROPOSITION_COLUMNS = (
    "item_id",
    "text",
    "proposition_id",
    "dependency",
    "category_broad",
    "category_detailed",
    "tuple",
    "question_natural_language",
)
MOST_QUESTIONS = 1_000
"""Of one prompt; the longest of DSG-1k has 52."""
_INTEGER = re.compile(r"\s*[+-]?[0-9]{1,9}\s*")
_TUPLE = re.compile(r"\s*([^(-]*?)\s*-\s*([^(]*?)\s*\((.*)\)\s*\Z", re.DOTALL)
_KINDS = {"entity": "existence", "attribute": "attribute", "relation": "relation", "global": "scene_attribute", "other": "attribute"}
EXAMPLES = 3


@dataclass(frozen=True, slots=True)
class _Row:
    line: int
    number: int
    cells: dict[str, str]


def read_propositions(path: Path, benchmark: str, *, items: int, questions: int | None) -> Items:
    """The prompts of a file of propositions, in the order of the file.

    A question's parents that are not there, and itself, are left out of ``depends_on``; a dependency of which a part is no number keeps
    the parts that are. What the file says stands in the extras of each question, for the readings that need it.

    Args:
        path: the file.
        benchmark: short name.
        items: how many the release has.
        questions: likewise; None where it is not known.

    Raises:
        RecordError: it cannot be read, or two rows contradict each other; the message names the line.
    """
    notes: dict[str, list[str]] = {}
    prompts, first = _grouped(path, notes)
    records: list[dict[str, Any]] = []
    extras: dict[str, dict[str, Any]] = {}
    for index, (item, rows) in enumerate(prompts.items()):
        record, extra = _item(benchmark, item, index, rows, notes)
        if record["id"] in extras:
            raise RecordError(
                f"{path}, line {rows[0].line}: the items {extras[record['id']]['item_id']!r} and {item!r} cannot be told apart"
            )
        if item == first[0]:
            extra["first_row"] = f"q{first[1]}"
        records.append(record)
        extras[record["id"]] = extra
    counted = sum(len(rows) for rows in prompts.values())
    found = [Note(what, len(places), tuple(dict.fromkeys(places))[:EXAMPLES]) for what, places in notes.items()]
    if len(records) != items or (questions is not None and counted != questions):
        whole = f"{items:,} prompts" + (f" with {questions:,} questions" if questions is not None else "")
        found.insert(0, Note(f"prompts with {counted:,} questions are in the file; the release has {whole}", len(records)))
    return Items(benchmark, tuple(records), extras, tuple(found))


def _grouped(path: Path, notes: dict[str, list[str]]) -> tuple[dict[str, list[_Row]], tuple[str, int]]:
    """The rows of each item by their numbers, and (item, number) of the first row of the file."""
    rows = csv_rows(path, PROPOSITION_COLUMNS)
    last = rows[-1][1]["question_natural_language"].rstrip()
    if not last.endswith(("?", ".")) and not read_text(path).endswith(("\n", "\r")):
        raise RecordError(f"{path}, line {rows[-1][0]}: the file ends in the middle of a question ({last[-40:]!r}); it is cut off")
    prompts: dict[str, dict[int, _Row]] = {}
    previous, first = "", ("", 0)
    for line, cells in rows:
        where, item = f"{path}, line {line}", cells["item_id"].strip()
        number = whole_number(cells["proposition_id"])
        if number is None or number < 1:
            raise RecordError(f"{where}: proposition_id {cells['proposition_id'][:40]!r} is no whole number from 1")
        if not item:
            raise RecordError(f"{where}: no item_id")
        if not cells["question_natural_language"].strip():
            raise RecordError(f"{where}: no question")
        if not cells["text"].strip():
            raise RecordError(f"{where}: no text")
        own = prompts.setdefault(item, {})
        first = first if first[0] else (item, number)
        if number in own:
            if own[number].cells != cells:
                raise RecordError(f"{where}: question {number} of {item} stands in line {own[number].line} with other words")
            notes.setdefault("rows that repeat another one, left out", []).append(f"line {line}")
            continue
        if own and next(iter(own.values())).cells["text"] != cells["text"]:
            raise RecordError(f"{where}: another text for {item} than in line {next(iter(own.values())).line}")
        if own and (previous != item or max(own) > number):
            notes.setdefault("rows out of order, put back in the order of their numbers", []).append(f"line {line}")
        if len(own) >= MOST_QUESTIONS:
            raise RecordError(f"{where}: more than {MOST_QUESTIONS:,} questions about {item}")
        own[number], previous = _Row(line, number, cells), item
    return {item: [own[number] for number in sorted(own)] for item, own in prompts.items()}, first


def _item(
    benchmark: str, item: str, index: int, rows: Sequence[_Row], notes: dict[str, list[str]]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """A prompt as a record, and its extras."""
    numbers = {row.number for row in rows}
    graph, elements = graph_of_tuples([row.cells["tuple"] for row in rows])
    questions: list[dict[str, Any]] = []
    extra: dict[str, dict[str, str]] = {}
    malformed = False
    for row, about in zip(rows, elements, strict=True):
        cells = row.cells
        parents, clean = parents_of(cells["dependency"])
        malformed = malformed or not clean
        if not clean:
            notes.setdefault("dependencies with a part that is no number; the numbers are kept", []).append(item)
        for parent in parents:
            if parent == row.number:
                notes.setdefault("dependencies of a question on itself, left out", []).append(item)
            elif parent not in numbers:
                notes.setdefault("dependencies on questions that are not there, left out", []).append(item)
            elif parent > row.number:
                notes.setdefault("dependencies on later questions, kept", []).append(item)
        broad, detailed = cells["category_broad"].strip(), cells["category_detailed"].strip()
        questions.append(
            {
                "id": f"q{row.number}",
                "kind": "count" if detailed == "count" else _KINDS.get(broad, "attribute"),
                "form": "yes_no",
                "text": cells["question_natural_language"].strip(),
                "answer": "yes",
                "depends_on": [f"q{parent}" for parent in parents if parent in numbers and parent != row.number],
                "elements": about,
            }
        )
        extra[f"q{row.number}"] = {
            "tuple": cells["tuple"].strip(),
            "dependency": cells["dependency"].strip(),
            "broad": broad,
            "detailed": detailed,
        }
    if numbers != set(range(1, len(numbers) + 1)):
        notes.setdefault("prompts whose questions are not numbered from 1 without a gap", []).append(item)
    if _cyclic({one["id"]: one["depends_on"] for one in questions}):
        notes.setdefault("prompts whose questions depend on each other in a circle, kept", []).append(item)
    record = make_record(benchmark, item, index, rows[0].cells["text"].strip(), questions, graph=graph)
    return record, {"item_id": item, "malformed": malformed, "questions": extra}


def _cyclic(depends_on: dict[str, list[str]]) -> bool:
    """Do some questions depend on themselves through others?"""
    try:
        TopologicalSorter(depends_on).prepare()
    except CycleError:
        return True
    return False


def parents_of(text: str) -> tuple[tuple[int, ...], bool]:
    """The ids in a comma list, without 0, and whether all parts of it are numbers."""
    parts = [_INTEGER.fullmatch(part) for part in text.split(",")]
    numbers = [int(part[0]) if part else None for part in parts]
    return tuple(dict.fromkeys(number for number in numbers if number)), None not in numbers


def graph_of_tuples(tuples: Sequence[str]) -> tuple[dict[str, Any], list[list[str]]]:
    """The scene graph that semantic tuples describe, and for each tuple the element that it is about.

    Returns:
        The graph as in a record, and for each tuple a list of one element id, empty where the tuple cannot be read.
    """
    objects: list[dict[str, Any]] = []
    relations: list[dict[str, str]] = []
    scene: list[dict[str, str]] = []
    place: dict[str, int] = {}

    def thing(name: str) -> int:
        if name.casefold() not in place:
            place[name.casefold()] = len(objects)
            objects.append({"id": f"o{len(objects)}", "name": name, "attributes": []})
        return place[name.casefold()]

    parsed = [_parsed(text) for text in tuples]
    for one in parsed:  # objects in the order in which they are introduced, before those that only others mention
        if one and one[0] == "entity":
            thing(one[2][0])
    elements: list[list[str]] = []
    for one in parsed:
        if one is None:
            elements.append([])
            continue
        broad, detailed, words = one
        if broad == "entity":
            elements.append([f"o{thing(words[0])}"])
        elif broad == "relation" and len(words) >= 3 and words[0].casefold() != words[1].casefold():
            subject, target = thing(words[0]), thing(words[1])
            elements.append([f"r{len(relations)}"])
            relations.append({"subject": f"o{subject}", "predicate": ", ".join(words[2:]), "object": f"o{target}"})
        elif broad == "global":
            elements.append([f"s{len(scene)}"])
            scene.append({"type": "global" if detailed in ("", "-") else detailed, "value": ", ".join(words)})
        elif len(words) >= 2:
            own = objects[thing(words[0])]
            elements.append([f"{own['id']}.a{len(own['attributes'])}"])
            own["attributes"].append({"type": detailed or broad, "value": ", ".join(words[1:])})
        else:
            elements.append([])
    return {"objects": objects, "relations": relations, "scene_attributes": scene}, elements


def _parsed(text: str) -> tuple[str, str, list[str]] | None:
    """``attribute - color (cube, purple)`` -> (attribute, color, [cube, purple]); None where it is no tuple."""
    found = _TUPLE.match(text)
    if not found:
        return None
    words = [word.strip() for word in found[3].split(",")]
    words = [word for word in words if word]
    return (found[1].strip().casefold(), found[2].strip(), words) if words else None
