"""``anyscene eval``: paint, judge, score and report in one command."""

from __future__ import annotations

from typing import Annotated

import typer

from anyscene.cli import backends as b
from anyscene.cli import options as o
from anyscene.cli.judge import Doctor
from anyscene.cli.paint import Limit, Samples, Scenes, Seed
from anyscene.cli.score import AsJson

HELP = """Evaluate a text-to-image, -video or -3D model: paint, judge, score, report.

Every step is kept in the run's folder: stopped at any moment, the same command goes on, and ends with the files of an unbroken run.
With a painter of the sandbox, which knows what it drew, true answers are kept for a share of the pictures and correct the judge's errors.

Example: anyscene generate -n 500 --taxonomy sandbox --out scenes && anyscene eval scenes --model sandbox:flawed --judge sandbox:pixels
--out run
"""


def run(
    scenes: Scenes,
    model: b.ModelName,
    judge: b.JudgeName,
    out: o.OutFolder,
    model_option: b.ModelOptions = None,
    judge_option: b.JudgeOptions = None,
    n: Limit = None,
    samples: Samples = 1,
    seed: Seed = 0,
    forms: b.Forms = "yes_no,choice",
    labels: Annotated[
        float, typer.Option(min=0, max=1, help="Share of the pictures with true answers, where the painter knows them.")
    ] = 0.25,
    doctor: Doctor = True,
    taxonomy: o.TaxonomyFolder = None,
    as_json: AsJson = False,
    quiet: b.Quiet = False,
) -> None:
    """All steps."""
    import json

    from anyscene.cli.judge import ask
    from anyscene.evaluation import label_run, paint_run, report_run, scenes_of, score_evaluation
    from anyscene.runs import say

    table = scenes_of(scenes, n)
    painter = b.make_model(model, model_option)
    judged_by = b.make_judge(judge, judge_option)  # before anything is painted: a wrong name should not cost hours
    if doctor:
        b.insist(judged_by, quiet)
    kinds = o.parse_names(forms, "forms")
    opened, _ = paint_run(
        table,
        painter,
        out,
        seed=seed,
        samples=samples,
        taxonomy=b.taxonomy_of(scenes, taxonomy),
        words=b.model_words(model, model_option, taxonomy),
        quiet=quiet,
    )
    del painter  # its memory is needed by the judge
    ask(opened, judged_by, kinds, b.judge_words(judge, judge_option, doctor), quiet)
    if labels > 0:
        label_run(opened, b.sandbox_truth, share=labels, forms=kinds)
    scores = score_evaluation(opened, judged_by.name)
    path = report_run(opened, judged_by.name)
    if as_json:
        print(json.dumps(scores, ensure_ascii=False, indent=1))
    elif not quiet:
        from anyscene.report import print_scores

        print_scores(scores)
    say(f"report: {path}", quiet=quiet)
