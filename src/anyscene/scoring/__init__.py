"""Scores as pure functions of stored answers, with error bars, comparisons, and corrections for the judge's errors."""

from anyscene.scoring.comparison import Comparison, compare_runs, rank_runs
from anyscene.scoring.run import Scores, score_run

__all__ = ["Comparison", "Scores", "compare_runs", "rank_runs", "score_run"]
