"""``anyscene report``: a run as one HTML file."""

from __future__ import annotations

from anyscene.cli import backends as b
from anyscene.cli.judge import RunFolder
from anyscene.cli.score import WhichJudge

HELP = """Write report.html: scores with intervals, skills, plots, pictures with questions and answers, provenance.

One file that needs no network. The run is scored first where it has not been.

Example: anyscene report run
"""


def run(folder: RunFolder, judge: WhichJudge = None, quiet: b.Quiet = False) -> None:
    """Score where needed, write."""
    from anyscene.evaluation import open_run, report_run, score_evaluation
    from anyscene.evaluation.run import SCORES
    from anyscene.runs import say

    opened = open_run(folder)
    if judge is not None or not (folder / SCORES).exists():
        score_evaluation(opened, judge, quiet=quiet)
    say(f"report: {report_run(opened)}", quiet=quiet)
