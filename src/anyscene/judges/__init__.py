"""Judges answer questions about media, behind one protocol; their answers are stored once and scored in every way."""

from anyscene.judges.loading import judge_names, load_judge
from anyscene.judges.protocol import Answer, Judge

__all__ = ["Answer", "Judge", "judge_names", "load_judge"]
