from __future__ import annotations

import io
import re
import sys

import pytest

from anyscene.runs import progress, say


class Terminal(io.StringIO):
    """A standard error that is a terminal."""

    def isatty(self) -> bool:
        return True


def test_one_line_at_the_end_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with progress(1500, "rows") as advance:
        advance(1000)
        advance(500)
        assert capsys.readouterr().err == ""
    assert re.fullmatch(r"1,500 rows in \d+\.\d s \([\d,]+ rows/s\)\n", capsys.readouterr().err)


def test_quiet_is_silent(capsys: pytest.CaptureFixture[str]) -> None:
    with progress(10, "rows", quiet=True) as advance:
        advance(10)
    say("hello", quiet=True)
    assert capsys.readouterr() == ("", "")


def test_broken_off_block_prints_no_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(KeyboardInterrupt), progress(10, "rows"):
        raise KeyboardInterrupt
    assert capsys.readouterr() == ("", "")


def test_bar_with_rate_and_time_left_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    with progress(1000, "rows", done=400) as advance:
        for _ in range(6):
            advance(100)
    text = terminal.getvalue()
    assert "1000/1000" in text
    assert text.rstrip().splitlines()[-1].endswith("rows/s)")
    assert "600 rows in" in text
