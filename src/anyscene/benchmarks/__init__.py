"""Benchmarks of others: their questions imported, their official scores computed from stored answers."""

from anyscene.benchmarks.dsg import DsgAnswers, DsgPrompt, DsgQuestion, DsgScores, read_dsg_answers, read_dsg_questions, score_dsg
from anyscene.benchmarks.tifa import TifaScores, score_tifa

__all__ = [
    "DsgAnswers",
    "DsgPrompt",
    "DsgQuestion",
    "DsgScores",
    "TifaScores",
    "read_dsg_answers",
    "read_dsg_questions",
    "score_dsg",
    "score_tifa",
]
