"""The steps of an evaluation: each takes the run's folder as it is and adds its own part."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from anyscene.engines import Engine, LocalEngine
from anyscene.errors import RecordError, SpecError
from anyscene.evaluation.command import command_of
from anyscene.evaluation.labels import FORMS
from anyscene.evaluation.parts import in_parts, score_in_parts
from anyscene.evaluation.run import REPORT, ROWS, SCORES, EvaluationRun, create_run, json_bytes, parquet_bytes
from anyscene.judges import Judge
from anyscene.judges.judging import JudgeReport, judge_media
from anyscene.models import Model
from anyscene.models.painting import PaintReport, paint
from anyscene.report import RunContents, write_comparison, write_report
from anyscene.report.shell import Section
from anyscene.runs import lock_folder, open_folder, remove_temporaries, write_atomic
from anyscene.scoring import Scores, compare_runs, score_run
from anyscene.taxonomy import Taxonomy

__all__ = ["compare_evaluations", "judge_run", "paint_run", "report_run", "score_evaluation", "scores_of"]


def paint_run(
    scenes: pa.Table,
    model: Model,
    out: str | Path,
    *,
    seed: int = 0,
    samples: int = 1,
    taxonomy: Taxonomy | None = None,
    words: Sequence[str] | None = None,
    quiet: bool = False,
) -> tuple[EvaluationRun, PaintReport]:
    """Makes the run's folder and its media, or goes on with them.

    Args:
        scenes: records with questions.
        model: what paints.
        out: the run's folder.
        seed: of the run; each media gets a seed of its own from it.
        samples: media for each scene.
        taxonomy: where the types of relations and classes of objects are looked up; None leaves scores by them out.
        words: how the command line names the model (`model_words`); without them the report shows no command.
        quiet: show no progress.

    Raises:
        RunError: the folder holds another run, or cannot be written.
        SpecError: the scenes cannot be painted by this model.
        ModelError: the model cannot be used.
    """
    out = Path(out)
    open_folder(out)
    with lock_folder(out):
        remove_temporaries(out)
        run = create_run(out, scenes, model, seed=seed, samples=samples, taxonomy=taxonomy, words=words)
        records = run.scenes.select(["id", "index", "caption"]).to_pylist()  # whole records would take ten times the memory
        report = paint(records, model, run.media.path, seed=seed, samples=samples, quiet=quiet)
    return run, report


def judge_run(
    run: EvaluationRun, judge: Judge, *, forms: Sequence[str] = FORMS, words: Sequence[str] | None = None, quiet: bool = False
) -> JudgeReport:
    """Asks what the judge has not answered yet.

    Args:
        run: the evaluation.
        judge: who answers.
        forms: of the questions that are asked.
        words: how the command line names the judge (`judge_words`); without them the report shows no command.
        quiet: show no progress.

    Raises:
        JudgeError: the judge cannot be used.
        MediaError: a media file is damaged.
        RecordError: a file of answers is damaged.
    """
    with lock_folder(run.folder):
        remove_temporaries(run.folder)
        return judge_media(run.records, run.media, judge, run.store(judge, forms, words), forms=forms, quiet=quiet)


def scores_of(run: EvaluationRun, judge: str | None = None, *, seed: int = 0) -> Scores:
    """The scores of a run from its stored answers. No judge is called, nothing is written.

    Args:
        run: the evaluation.
        judge: whose answers; by default the only one's.
        seed: of the resampling behind the intervals.

    Raises:
        SpecError: no judge has answered, or several have and none is named.
        RecordError: a file of answers is damaged, or there is not a single answer.
    """
    answers, facts = run.answers(judge)
    if not answers.num_rows:
        raise RecordError(f"{run.folder}: the store of {facts['name']} holds no answers; judge the run again")
    words = run.words
    return score_run(
        run.scenes,
        run.media.table(),
        answers,
        model=run.model["name"],
        judge=facts,
        labels=run.labels,
        labels_source=run.labels_source,
        relation_types=words["relation_types"],
        object_classes=words["object_classes"],
        samples=run.manifest["samples"],
        seed=seed,
    )


def score_evaluation(
    run: EvaluationRun, judge: str | None = None, *, seed: int = 0, engine: Engine | None = None, quiet: bool = True
) -> dict[str, Any]:
    """Writes ``scores.json`` and ``scores.parquet``, and gives what the first holds.

    A run with more scenes than are resampled one by one is scored part by part (`score_in_parts`); a smaller one at once, here.

    Args:
        run: the evaluation.
        judge: whose answers; by default the only one's.
        seed: of the resampling behind the intervals.
        engine: where the parts are scored; by default in this process.
        quiet: show no progress.

    Raises:
        SpecError: no judge has answered, or several have and none is named.
        RecordError: a file is damaged, or there is not a single answer.
        RunError: another process writes in the folder of a large run.
    """
    if in_parts(run):
        with lock_folder(run.folder):
            remove_temporaries(run.folder)  # rows that a killed run had written
            found = score_in_parts(run, judge, engine=engine or LocalEngine(), seed=seed, quiet=quiet)
    else:
        scores = scores_of(run, judge, seed=seed)
        found = scores.to_dict()
        write_atomic(run.folder / ROWS, parquet_bytes(scores.rows_table()))
    write_atomic(run.folder / SCORES, json_bytes(found))
    return found


def compare_evaluations(
    a: EvaluationRun,
    b: EvaluationRun,
    judge: str | None = None,
    *,
    seed: int = 0,
    html: Path | None = None,
    more: Sequence[Section] = (),
    said: str | None = None,
) -> dict[str, Any]:
    """Compares run b with run a on the scenes that both have; writes a page where one is asked for, with ``more`` sections put first, and
    with ``said`` in place of the comparison's own verdict.

    Raises:
        SpecError: the runs share no scene, or were judged by different judges.
        RecordError: a file of answers is damaged.
    """
    first, second = scores_of(a, judge, seed=seed), scores_of(b, judge, seed=seed)
    judges = [one.to_dict()["judge"] for one in (first, second)]
    if judges[0] != judges[1]:
        raise SpecError(
            f"{a.folder} was judged by {' '.join(judges[0].values())}, {b.folder} by {' '.join(judges[1].values())}; "
            "models are compared by one judge: let it judge both runs"
        )
    comparison: dict[str, Any] = compare_runs(first, second, seed=seed).to_dict()
    if html is not None:
        write_comparison(
            html, _contents(a, first.to_dict(), judge), _contents(b, second.to_dict(), judge), comparison, more=more, said=said
        )
    return comparison


def report_run(run: EvaluationRun, judge: str | None = None) -> Path:
    """Writes ``report.html`` from the scores, answers and media. Gives its path.

    Raises:
        RunError: the run has not been scored.
    """
    scores = run.scores()
    path = run.folder / REPORT
    write_report(path, _contents(run, scores, judge or scores["judge"]["name"]))
    return path


def _contents(run: EvaluationRun, scores: dict[str, Any], judge: str | None) -> RunContents:
    answers, facts = run.answers(judge)
    folder = run.media.path
    seed = scores.get("resampling_seed", 0)
    command = command_of(run.manifest, facts, labelled=run.labels is not None, share=run.labels_share, seed=seed)
    return RunContents(
        scores=scores,
        records=run.scenes,
        media=run.media.table(),
        answers=answers,
        read_media=lambda name: (folder / name).read_bytes(),
        provenance={**run.manifest, "judge": {key: value for key, value in facts.items() if key != "command"}, "command": command},
    )
