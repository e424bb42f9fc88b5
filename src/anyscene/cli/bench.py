"""``anyscene bench``: the official scores of other benchmarks from stored answers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from anyscene.cli.printing import print_json

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
score = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
app.add_typer(score, name="score", help="Score stored answers as the benchmark does.")

HELP_DSG = """DSG-1k: every official score of one model's pictures, from the files of the DSG release or files with their columns.

library is the published score; in_place and fixpoint are other readings of the dependency rule; paper is half library, half
no_dependency; micro is a mean over questions. All in percent.

Example: anyscene bench score dsg --questions dsg-1k-anns.csv --answers pali17b_dsg.csv --model sd2dot1
"""


@app.callback()
def _root() -> None:
    """Groups what is below."""


@score.callback()
def _score() -> None:
    """One command a benchmark."""


@score.command("dsg", help=HELP_DSG)
def dsg(
    questions: Annotated[Path, typer.Option(help="CSV file of questions: dsg-1k-anns.csv.")],
    answers: Annotated[Path, typer.Option(help="CSV file of answers with the columns item_id, question_id, answer, t2i_model.")],
    model: Annotated[str | None, typer.Option(help="Which t2i_model; may be left out if there is one.", show_default=False)] = None,
    compat: Annotated[
        str, typer.Option(help="official: as published. fixed: faults of the files repaired, missing is not wrong.")
    ] = "official",
    seed: Annotated[int, typer.Option(help="Of the bootstrap behind the intervals.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Read, score, print."""
    from anyscene.benchmarks.dsg import read_dsg_answers, read_dsg_questions, score_dsg

    found = score_dsg(read_dsg_questions(questions, compat), read_dsg_answers(answers, model), compat=compat, seed=seed).to_dict()
    if as_json:
        print_json(found)
    else:
        _draw(found)


def _draw(found: dict[str, Any]) -> None:
    from rich.table import Table

    from anyscene.benchmarks.dsg import COLUMNS
    from anyscene.cli.drawing import console

    to, counts = console(), found["counts"]
    table = Table(box=None, padding=(0, 2, 0, 0), title=f"DSG, {found['model'] or 'model without a name'} ({found['compat']}), percent")
    table.title_justify = "left"
    for name in ("", *COLUMNS):
        table.add_column(name, justify="right" if name else "left")
    for label, values in (("all", found), *found["categories"].items()):
        table.add_row(label, *("missing" if values[name] is None else f"{values[name]:.2f}" for name in COLUMNS))
    half = ("" if ends is None else f"± {(ends[1] - ends[0]) / 2:.2f}" for ends in (found["intervals"][name] for name in COLUMNS))
    table.add_row(f"{found['level']:.0%} interval", *half, style="dim")
    to.print(table)
    to.print(
        f"{counts['prompts']:,} prompts, {counts['prompts_without_answers']:,} without answers; {counts['questions']:,} questions, "
        f"{counts['answered']:,} answered ({counts['yes']:,} yes), {counts['empty']:,} empty, {counts['unparsed']:,} neither yes nor no, "
        f"{counts['unanswered']:,} not answered"
    )
