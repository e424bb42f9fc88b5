"""A record as a person would like to read it: the graph as a tree, the caption, the questions with answers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from anyscene.cli.printing import printable

MARKS = {"yes": "green", "no": "red"}


def console() -> Console:
    """Standard output; colours only on a terminal, never wider than is readable."""
    plain = Console(highlight=False)
    return plain if plain.is_terminal else Console(highlight=False, width=140, no_color=True)


def draw_graph(graph: Mapping[str, Any], title: str) -> Tree:
    """The graph as a tree: objects with attributes, and under each the relations that go out from it."""
    names = {one["id"]: one["name"] for one in graph["objects"]}
    tree = Tree(Text(title, style="bold"))
    for one in graph["objects"]:
        label = Text.assemble((one["name"], "bold cyan"), (f"  {one['id']}", "dim"))
        branch = tree.add(label)
        for attribute in one["attributes"]:
            branch.add(Text.assemble((f"{attribute['type']}: ", "dim"), (attribute["value"], "yellow")))
        for relation in graph["relations"]:
            if relation["subject"] == one["id"]:
                branch.add(
                    Text.assemble(
                        (relation["predicate"], "magenta"), " → ", (names[relation["object"]], "cyan"), (f"  {relation['object']}", "dim")
                    )
                )
    if graph["scene_attributes"]:
        branch = tree.add(Text("the whole scene", style="bold"))
        for attribute in graph["scene_attributes"]:
            branch.add(Text.assemble((f"{attribute['type']}: ", "dim"), (attribute["value"], "yellow")))
    return tree


def draw_questions(questions: Iterable[Mapping[str, Any]]) -> Table:
    """Questions with answers, foils marked."""
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for column in ("id", "text", "answer", "note"):
        table.add_column(column, overflow="fold", style="dim" if column in ("id", "note") else "")
    for question in questions:
        answer = Text(question["answer"], style=MARKS.get(question["answer"], "blue"))
        notes = [question["foil"].replace("_", " ")] if question["foil"] else []
        if question["choices"]:
            notes.append("of " + ", ".join(question["choices"]))
        table.add_row(question["id"], question["text"], answer, "; ".join(notes))
    return table


def draw_record(record: Mapping[str, Any], to: Console) -> None:
    """One record: title, caption, tree, questions."""
    record = _visible(record)
    title = f"scene {record['index']}" if "index" in record else "scene"
    plausibility = record.get("plausibility")
    details = f"complexity {record['complexity']}, {record['modality']}" + (
        f", plausibility {plausibility:+.2f}" if plausibility is not None else ""
    )
    to.print(draw_graph(record["graph"], f"{title} ({details})"))
    to.print(Text(f"“{record['caption']}”", style="italic"))
    if record.get("questions"):
        to.print(draw_questions(record["questions"]))
    to.print()


def _visible(value: Any) -> Any:
    """The value with all its texts printable."""
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, Mapping):
        return {key: _visible(one) for key, one in value.items()}
    return [_visible(one) for one in value] if isinstance(value, list) else value
