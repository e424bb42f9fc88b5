"""One evaluation from scenes to report: paint, judge, score, report, each step resumable."""

from anyscene.evaluation.command import command_of, judge_words, model_words
from anyscene.evaluation.labels import label_run
from anyscene.evaluation.parts import in_parts
from anyscene.evaluation.run import EvaluationRun, create_run, open_run, scenes_of
from anyscene.evaluation.steps import compare_evaluations, judge_run, paint_run, report_run, score_evaluation, scores_of

__all__ = [
    "EvaluationRun",
    "command_of",
    "compare_evaluations",
    "create_run",
    "in_parts",
    "judge_run",
    "judge_words",
    "label_run",
    "model_words",
    "open_run",
    "paint_run",
    "report_run",
    "scenes_of",
    "score_evaluation",
    "scores_of",
]
