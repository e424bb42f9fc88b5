"""``anyscene score``: the scores of a run from its stored answers."""

from __future__ import annotations

import json
from contextlib import nullcontext
from typing import Annotated

import typer

from anyscene.cli import backends as b
from anyscene.cli import options as o
from anyscene.cli.judge import RunFolder

HELP = """Compute the scores of a run from the stored answers; no judge is called.

Writes scores.json (all scores with intervals) and scores.parquet (what each question contributed). More than 20,000 scenes are scored
in parts of bounded memory: with --workers N side by side, with --engine ray on a cluster, always to the same bytes.

Example: anyscene score run --json
"""

WhichJudge = Annotated[str | None, typer.Option("--judge", help="Whose answers, where several judges have answered.", show_default=False)]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
BootstrapSeed = Annotated[int, typer.Option(help="Of the resampling behind the intervals.")]


def run(
    folder: RunFolder,
    judge: WhichJudge = None,
    seed: BootstrapSeed = 0,
    engine: o.EngineName = "local",
    address: o.Address = None,
    workers: o.Workers = None,
    cpus_per_worker: o.CpusPerWorker = None,
    as_json: AsJson = False,
    quiet: b.Quiet = False,
) -> None:
    """Score, print."""
    from anyscene.evaluation import in_parts, open_run, score_evaluation
    from anyscene.runs import say

    opened, place = open_run(folder), o.engine_of(engine, address, workers, cpus_per_worker)
    large = in_parts(opened)
    if not large and (workers or engine != "local"):
        say(f"{opened.manifest['scenes']['n']:,} scenes are scored at once, in this process", quiet=quiet)
    with place if large else nullcontext() as doing:
        scores = score_evaluation(opened, judge, seed=seed, engine=doing, quiet=quiet)
    if as_json:
        print(json.dumps(scores, ensure_ascii=False, indent=1))
    elif not quiet:
        from anyscene.report import print_scores

        print_scores(scores)
