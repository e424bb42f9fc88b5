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
"""

RunFolder = Annotated[Path, typer.Argument(help="The folder of a run.")]
Doctor = Annotated[bool, typer.Option("--doctor/--no-doctor", help="Put canaries to the judge first, and refuse it if it fails them.")]


def run(
    folder: RunFolder,
    judge: b.JudgeName,
    judge_option: b.JudgeOptions = None,
    forms: b.Forms = "yes_no,choice",
    doctor: Doctor = True,
    quiet: b.Quiet = False,
) -> None:
    """Load, examine, ask."""
    from anyscene.evaluation import open_run

    opened, asked = open_run(folder), b.make_judge(judge, judge_option)
    if doctor:
        b.insist(asked, quiet)
    ask(opened, asked, o.parse_names(forms, "forms"), b.judge_words(judge, judge_option, doctor), quiet)


def ask(run: b.EvaluationRun, judge: b.Judge, forms: Sequence[str], words: Sequence[str], quiet: bool) -> None:
    """Say what is ahead, ask."""
    from anyscene.evaluation import judge_run

    b.announce(run, judge, forms, quiet)
    judge_run(run, judge, forms=forms, words=words, quiet=quiet)
