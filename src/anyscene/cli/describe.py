"""``anyscene describe``: caption and questions for a graph that you bring."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from anyscene.cli.options import TaxonomyFolder, parse_names
from anyscene.cli.printing import print_json

HELP = """Put a scene graph into words: caption and questions with answers.

Reads our format, networkx node-link, the paper's released format and Visual Genome style.

Example: anyscene describe graph.json --style dense
"""


def run(
    graph: Annotated[Path, typer.Argument(help="A JSON file with a scene graph.")],
    style: Annotated[str, typer.Option(help="Caption: plain, dense, short or tags.")] = "plain",
    modality: Annotated[str, typer.Option(help="image, video or 3d.")] = "image",
    forms: Annotated[str, typer.Option(help="Forms of the questions: yes_no, choice, open.")] = "yes_no,choice,open",
    foils: Annotated[float, typer.Option(help="Share of yes/no questions whose answer is no, 0 to 0.5.")] = 1 / 3,
    seed: Annotated[int, typer.Option(help="Of the draws of foils and wrong choices.")] = 0,
    taxonomy: TaxonomyFolder = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Read, describe, print."""
    from anyscene.dataset import RecordOptions, describe
    from anyscene.language import QuestionOptions
    from anyscene.scene import load_graph
    from anyscene.taxonomy import load_taxonomy

    options = RecordOptions(style, QuestionOptions(parse_names(forms, "forms"), foils, seed))
    record = describe(load_graph(graph), taxonomy=load_taxonomy(taxonomy), modality=modality, options=options)
    if as_json:
        print_json(record)
        return
    from anyscene.cli.drawing import console, draw_record

    draw_record(record, console())
