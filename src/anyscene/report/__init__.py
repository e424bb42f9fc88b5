"""Reports: one self-contained HTML page per run or comparison, and the same numbers as tables for a terminal."""

from anyscene.report.contents import Asked, Example, RunContents
from anyscene.report.examples import select_examples
from anyscene.report.run_page import build_report, write_report

__all__ = ["Asked", "Example", "RunContents", "build_report", "select_examples", "write_report"]
