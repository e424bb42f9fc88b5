"""Reports: one self-contained HTML page per run or comparison, and the same numbers as tables for a terminal."""

from anyscene.report.comparison import build_comparison, write_comparison
from anyscene.report.contents import Asked, Example, RunContents
from anyscene.report.examples import select_examples, selected_differences
from anyscene.report.run_page import build_report, write_report
from anyscene.report.terminal import print_comparison, print_scores
from anyscene.report.training_page import training_sections, write_training_page

__all__ = [
    "Asked",
    "Example",
    "RunContents",
    "build_comparison",
    "build_report",
    "print_comparison",
    "print_scores",
    "select_examples",
    "selected_differences",
    "training_sections",
    "write_comparison",
    "write_report",
    "write_training_page",
]
