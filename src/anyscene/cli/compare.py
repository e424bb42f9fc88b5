"""``anyscene compare``: two runs on the scenes that they share."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from anyscene.cli import backends as b
from anyscene.cli.score import AsJson, WhichJudge

HELP = """Compare two models on the scenes that both runs share: difference, interval, effect size, p-value, for every skill.

Example: anyscene compare run-a run-b --html compare.html
"""


def run(
    run_a: Annotated[Path, typer.Argument(help="The folder of a run.")],
    run_b: Annotated[Path, typer.Argument(help="The folder of another run, of the same scenes or some of them.")],
    judge: WhichJudge = None,
    html: Annotated[Path | None, typer.Option(help="Write a page that can be read offline.", show_default=False)] = None,
    as_json: AsJson = False,
    quiet: b.Quiet = False,
) -> None:
    """Score both, compare, print."""
    from anyscene.evaluation import compare_evaluations, open_run
    from anyscene.report import print_comparison
    from anyscene.runs import say

    first, second = open_run(run_a), open_run(run_b)
    found = compare_evaluations(first, second, judge, html=html)
    if as_json:
        print(json.dumps(found, ensure_ascii=False, indent=1))
    elif not quiet:
        print_comparison(first.model["name"], second.model["name"], found)
    if html is not None:
        say(f"comparison: {html}", quiet=quiet)
