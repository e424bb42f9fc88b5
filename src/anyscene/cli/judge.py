"""``anyscene judge``: a judge's answers about the pictures of a run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from anyscene.cli import backends as b
from anyscene.cli import options as o

HELP = """Ask a judge every question about every picture of a run.

Answers are stored once and scored in every way. Stopped at any moment, the same command goes on; what failed is asked again. Before
anything is asked, the judge must pass its canaries (anyscene doctor).

Example: anyscene judge run --judge transformers:Qwen/Qwen3-VL-8B-Instruct -j dtype=bfloat16

With --engine ray, workers of a Ray cluster load the judge and answer, each with a GPU of its own. Servers need no cluster:
--judge openai:MODEL -j base_url=URL1,URL2 asks several of them at once.
"""

RunFolder = Annotated[Path, typer.Argument(help="The folder of a run.")]
Doctor = Annotated[bool, typer.Option("--doctor/--no-doctor", help="Put canaries to the judge first, and refuse it if it fails them.")]


def run(
    folder: RunFolder,
    judge: b.JudgeName,
    judge_option: b.JudgeOptions = None,
    forms: b.Forms = "yes_no,choice",
    doctor: Doctor = True,
    engine: o.EngineName = "local",
    address: o.Address = None,
    workers: b.Workers = None,
    cpus_per_worker: o.CpusPerWorker = None,
    gpus_per_worker: b.GpusPerWorker = None,
    quiet: b.Quiet = False,
) -> None:
    """Load, examine, ask."""
    from anyscene.evaluation import open_run

    place = b.engine_of(engine, address, workers, cpus_per_worker, gpus_per_worker, judge=judge)
    opened, kinds, words = open_run(folder), o.parse_names(forms, "forms"), b.judge_words(judge, judge_option, doctor)
    with place as doing, b.judge_on(doing, judge, judge_option, quiet) as asked:
        if doctor:
            b.insist(asked, quiet)
        ask(opened, asked, kinds, words, quiet)


def ask(run: b.EvaluationRun, judge: b.Judge, forms: Sequence[str], words: Sequence[str], quiet: bool) -> None:
    """Say what is ahead, ask."""
    from anyscene.evaluation import judge_run

    b.announce(run, judge, forms, quiet)
    judge_run(run, judge, forms=forms, words=words, quiet=quiet)
