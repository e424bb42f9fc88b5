"""``anyscene score``: the scores of a run from its stored answers."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from anyscene.cli import backends as b
from anyscene.cli.judge import RunFolder

HELP = """Compute the scores of a run from the stored answers; no judge is called.

Writes scores.json (all scores with intervals) and scores.parquet (what each question contributed).

Example: anyscene score run --json
"""

WhichJudge = Annotated[str | None, typer.Option("--judge", help="Whose answers, where several judges have answered.", show_default=False)]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
BootstrapSeed = Annotated[int, typer.Option(help="Of the resampling behind the intervals.")]


def run(folder: RunFolder, judge: WhichJudge = None, seed: BootstrapSeed = 0, as_json: AsJson = False, quiet: b.Quiet = False) -> None:
    """Score, print."""
    from anyscene.evaluation import open_run, score_evaluation

    scores = score_evaluation(open_run(folder), judge, seed=seed)
    if as_json:
        print(json.dumps(scores, ensure_ascii=False, indent=1))
    elif not quiet:
        from anyscene.report import print_scores

        print_scores(scores)
