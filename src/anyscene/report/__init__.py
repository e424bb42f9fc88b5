"""Reports: one self-contained HTML page per run or comparison, and the same numbers as tables for a terminal."""

from anyscene.report.comparison import build_comparison, write_comparison
from anyscene.report.contents import Asked, Example, RunContents
from anyscene.report.examples import select_examples, selected_differences
from anyscene.report.run_page import build_report, write_report
from anyscene.report.terminal import print_comparison, print_scores

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
    "write_comparison",
    "write_report",
]
