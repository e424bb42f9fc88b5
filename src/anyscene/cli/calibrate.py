"""``anyscene calibrate``: how far a judge can be trusted, and scores corrected for its errors."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from anyscene.cli import backends as b
from anyscene.cli.judge import RunFolder
from anyscene.cli.score import AsJson, WhichJudge

HELP = """Bring true answers into a run, and score it anew: the judge's sensitivity and specificity for each kind of question, and
scores corrected for its errors, with intervals.

True answers come from a CSV file (columns media_sha256, question_key, answer), from the answers of another judge of the run
(--from human:people), or from what a sandbox painter really drew (--from sandbox).

Example: anyscene calibrate run --from labels.csv
"""


def run(
    folder: RunFolder,
    source: Annotated[str, typer.Option("--from", help='A CSV file, the name of another judge of the run, or "sandbox".')],
    judge: WhichJudge = None,
    share: Annotated[float, typer.Option(min=0, max=1, help="Of the pictures, with --from sandbox.")] = 0.25,
    as_json: AsJson = False,
    quiet: b.Quiet = False,
) -> None:
    """Read the true answers, score, print."""
    import json

    from anyscene.errors import SpecError
    from anyscene.evaluation import label_run, open_run, report_run, score_evaluation
    from anyscene.evaluation.labels import labels_from_csv, labels_from_judge, write_labels
    from anyscene.report import print_scores
    from anyscene.runs import say

    opened = open_run(folder)
    if source == b.SANDBOX:
        number = label_run(opened, b.sandbox_truth, share=share)
        if not number:
            raise SpecError(f"{folder}: no picture says what it really shows; only sandbox:renderer and sandbox:flawed do")
    else:
        table = labels_from_judge(opened, source) if source in opened.judges else labels_from_csv(opened, Path(source))
        write_labels(opened, table)
        number = table.num_rows
    say(f"{number:,} true answers", quiet=quiet)
    scores = score_evaluation(opened, judge, quiet=quiet)
    report_run(opened, judge)
    if as_json:
        print(json.dumps({key: scores[key] for key in ("judge", "judge_quality", "corrected")}, ensure_ascii=False, indent=1))
    elif not quiet:
        print_scores(scores)
