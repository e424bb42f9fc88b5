"""``anyscene label``: the page on which people answer the questions of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

HELP = """Answer the questions of a run yourself, on a page in the browser that only this machine can open.

Judging a run with --judge human:FOLDER puts its questions into FOLDER. Answer them here (or fill in FOLDER/questions.csv in a
spreadsheet), then judge the run once more: your answers are taken in. Every answer is kept at once; close the page whenever you like.

Example: anyscene judge run --judge human:people && anyscene label people
"""


def run(
    folder: Annotated[Path, typer.Argument(help="Folder with the questions.")],
    port: Annotated[int, typer.Option(min=0, max=65535, help="Of the page; 0 takes a free one.")] = 0,
    browser: Annotated[bool, typer.Option(help="Open the page in the browser.")] = True,
) -> None:
    """Serve the page until Ctrl-C."""
    from anyscene.judges.label_page import serve_questions

    serve_questions(folder, port, open_browser=browser)
