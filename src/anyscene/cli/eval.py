"""``anyscene eval``: paint, judge, score and report in one command."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from anyscene.cli import backends as b
from anyscene.cli import options as o
from anyscene.cli.judge import Doctor
from anyscene.cli.paint import Limit, Samples, Scenes, Seed
from anyscene.cli.score import AsJson

if TYPE_CHECKING:
    from anyscene.engines import Engine

HELP = """Evaluate a text-to-image, -video or -3D model: paint, judge, score, report.

Every step is kept in the run's folder: stopped at any moment, the same command goes on, and ends with the files of an unbroken run.
With a painter of the sandbox, which knows what it drew, true answers are kept for a share of the pictures and correct the judge's errors.

Example: anyscene generate -n 500 --taxonomy sandbox --out scenes && anyscene eval scenes --model sandbox:flawed --judge sandbox:pixels
--out run

With --engine ray, workers of a Ray cluster paint and then judge, each with a GPU of its own; the files are the same.
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
    engine: o.EngineName = "local",
    address: o.Address = None,
    workers: b.Workers = None,
    cpus_per_worker: o.CpusPerWorker = None,
    gpus_per_worker: b.GpusPerWorker = None,
    as_json: AsJson = False,
    quiet: b.Quiet = False,
) -> None:
    """All steps."""
    import json

    from anyscene.cli.judge import ask
    from anyscene.evaluation import label_run, paint_run, report_run, scenes_of, score_evaluation
    from anyscene.runs import say

    sent = judge if b.on_workers(judge) else None
    place = b.engine_of(engine, address, workers, cpus_per_worker, gpus_per_worker, model=model, judge=sent)
    table, vocabulary, kinds = scenes_of(scenes, n), b.taxonomy_of(scenes, taxonomy), o.parse_names(forms, "forms")
    words = b.model_words(model, model_option, taxonomy)

    def paint(painter: b.Model) -> b.EvaluationRun:
        return paint_run(table, painter, out, seed=seed, samples=samples, taxonomy=vocabulary, words=words, quiet=quiet)[0]

    def check(judged_by: b.Judge) -> None:
        if doctor:
            b.insist(judged_by, quiet)

    with place as doing, _painted(doing, model, model_option, judge, judge_option, paint, check, quiet) as (opened, judged_by):
        ask(opened, judged_by, kinds, b.judge_words(judge, judge_option, doctor), quiet)
    if labels > 0:
        label_run(opened, b.sandbox_truth, share=labels, forms=kinds)
    scores = score_evaluation(opened, judged_by.name, quiet=quiet)
    path = report_run(opened, judged_by.name)
    if as_json:
        print(json.dumps(scores, ensure_ascii=False, indent=1))
    elif not quiet:
        from anyscene.report import print_scores

        print_scores(scores)
    say(f"report: {path}", quiet=quiet)


@contextmanager
def _painted(
    engine: Engine | None,
    model: str,
    model_option: b.ModelOptions,
    judge: str,
    judge_option: b.JudgeOptions,
    paint: Callable[[b.Model], b.EvaluationRun],
    check: Callable[[b.Judge], None],
    quiet: bool,
) -> Iterator[tuple[b.EvaluationRun, b.Judge]]:
    """The run, painted, and its judge. The judge is seen before anything is painted: a wrong name should not cost hours."""
    if engine is None:
        painter, judged_by = b.make_model(model, model_option), b.make_judge(judge, judge_option)
        check(judged_by)
        opened = paint(painter)
        del painter  # its memory is needed by the judge
        yield opened, judged_by
        return
    where = engine if b.on_workers(judge) else None
    with b.judge_on(where, judge, judge_option, True, number=1) as judged_by:
        check(judged_by)
    with b.model_on(engine, model, model_option, quiet) as painter:  # after the one judge has ended, and before the others begin
        opened = paint(painter)
    with b.judge_on(where, judge, judge_option, quiet) as judged_by:
        yield opened, judged_by
