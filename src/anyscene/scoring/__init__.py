"""Scores as pure functions of stored answers, with error bars, comparisons, and corrections for the judge's errors."""

from anyscene.scoring.run import Scores, score_run

__all__ = ["Scores", "score_run"]
