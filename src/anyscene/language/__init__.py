"""Scene graphs in English: captions, questions with answers, and the parser that proves captions lossless."""

from anyscene.language.aids import KINDS
from anyscene.language.captions import LOSSLESS, STYLES, realize_captions
from anyscene.language.encode import batch_of_graphs
from anyscene.language.lexicon import Lexicon, lexicon_of
from anyscene.language.parser import parse
from anyscene.language.questions import FOILS, FORMS, QuestionOptions, realize_questions

__all__ = [
    "FOILS",
    "FORMS",
    "KINDS",
    "LOSSLESS",
    "STYLES",
    "Lexicon",
    "QuestionOptions",
    "batch_of_graphs",
    "lexicon_of",
    "parse",
    "realize_captions",
    "realize_questions",
]
