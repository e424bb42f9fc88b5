"""``anyscene show``: read a dataset with your own eyes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from anyscene.cli.printing import print_json
from anyscene.errors import RecordError

HELP = """Print scenes of a dataset: the graph as a tree, the caption, the questions with answers.

Example: anyscene show scenes --index 12
"""


def run(
    path: Annotated[Path, typer.Argument(help="A dataset folder, or one of its files.")],
    index: Annotated[int | None, typer.Option(help="The row to show; without it, rows from all over the dataset.")] = None,
    count: Annotated[int, typer.Option(help="How many rows to show.", min=1)] = 5,
    as_json: Annotated[bool, typer.Option("--json", help="Print the records as JSON lines.")] = False,
) -> None:
    """Find the rows and draw them."""
    from itertools import islice

    from anyscene.dataset import count_rows, read_record, read_records

    if index is not None:
        records = [read_record(path, index)]
    else:
        rows = count_rows(path)
        if not rows:
            raise RecordError(f"{path} holds no records.")
        count = min(count, rows)
        step = rows // count
        records = list(islice(read_records(path), 0, step * count, step))
    if as_json:
        for record in records:
            print_json(record)
        return
    from anyscene.cli.drawing import console, draw_record

    to = console()
    for record in records:
        try:
            draw_record(record, to)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise RecordError(f"{path}: a record does not hold what it should ({type(error).__name__}: {error}).") from None
