"""The scores in a terminal, and where there is none."""

from __future__ import annotations

import io

import pytest
from report_run import estimate, fake_comparison
from rich.console import Console

from anyscene.report import RunContents, print_comparison, print_scores


def printed(run: RunContents, encoding: str = "utf-8") -> str:
    buffer = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    print_scores(run.scores, Console(file=buffer, width=140))
    buffer.seek(0)
    return buffer.read()


def test_all_that_matters_is_printed_as_plain_text(run: RunContents, capsys: pytest.CaptureFixture[str]) -> None:
    print_scores(run.scores)
    shown = capsys.readouterr().out
    assert "\x1b" not in shown
    lines = [" ".join(line.split()) for line in shown.splitlines()]
    assert lines[0] == "sandbox:flawed, judged by sandbox"
    assert lines[1] == "Soft accuracy 72.4% 95% interval 70.5% to 74.4%, 400 scenes"
    assert "Balanced accuracy 80.1% 78.3% to 81.9% 400" in lines
    assert any(line.startswith("relation 58.3%") and "54.9% to 61.7%" in line for line in lines)
    assert any(line.startswith("relation 95.1% 71.8% 58.3%") and line.endswith("missing") for line in lines)
    assert any(line.startswith("Warning: The judge's specificity is low (relation 72%)") for line in lines)
    assert any("unsure, 9 missing" in line for line in lines)


def test_a_missing_value_is_called_missing(run: RunContents) -> None:
    assert any(line.split() == ["motion", "missing", "-", "-", "-", "0"] for line in printed(run).splitlines())


def test_it_prints_where_only_ascii_is_known(run: RunContents) -> None:
    shown = printed(run, "ascii")
    assert shown.isascii() and "72.4%" in shown and "####" in shown


def test_names_of_others_steer_no_terminal(run: RunContents, capsys: pytest.CaptureFixture[str]) -> None:
    kinds = {"[bold]x[/bold]\x1b[2J": run.scores["by"]["kind"]["existence"]}
    print_scores({**run.scores, "model": "evil\x1b[31m[red]", "by": {"kind": kinds}})
    shown = capsys.readouterr().out
    assert "\x1b" not in shown
    assert "[bold]x[/bold]?[2J" in shown and "evil?[31m[red]" in shown


def test_scores_of_nothing_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    print_scores({"model": "m", "judge": {"name": "j"}, "scores": {"soft": estimate(None)}})
    shown = capsys.readouterr().out
    assert "Soft accuracy missing  nothing could be measured" in shown
    assert "0.0%" not in shown


def test_a_comparison_is_printed_with_its_verdict_first(capsys: pytest.CaptureFixture[str]) -> None:
    print_comparison("one", "two", fake_comparison())
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == "two is better than one by 3.8 points (95% interval of the difference +2.1 to +5.5)."
    assert "relation kind 58.3% 71.1% +12.8 +9.7 to +15.9 < 0.001 < 0.001" in lines
    assert "6 complexity 75.0% 68.9% -6.1 -8.9 to -3.3 0.001 0.004" in lines
    assert "motion kind missing missing missing - missing missing" in lines
    assert not any("star" in line for line in lines)  # objects are left to the page
