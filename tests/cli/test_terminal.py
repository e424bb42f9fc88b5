"""What surrounds the command: pipes, encodings, colours, and how little it loads."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import command, run_apart, run_here

HEAVY = {"numpy", "pyarrow", "torch", "pandas", "rich.console"}
HELP = "import sys\nsys.argv = ['anyscene', '--help']\nfrom anyscene.cli.main import main\ntry:\n    main()\nexcept SystemExit:\n    pass\n"


def loaded_by(code: str) -> set[str]:
    """The heavy libraries that a fresh process holds after running the code."""
    report = "\nprint(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code + report], capture_output=True, text=True, check=True)
    names = set(done.stderr.split())
    assert "anyscene.cli.main" in names
    return names & HEAVY


def test_help_loads_nothing_heavy() -> None:
    assert loaded_by(HELP) <= {"rich.console"}


def test_the_guard_against_heavy_imports_can_fail() -> None:
    assert "numpy" in loaded_by(f"import numpy\n{HELP}")


@pytest.mark.parametrize("reader", ["head -1", "true"])
def test_a_reader_that_leaves_early_is_no_error(datasets: dict[str, Path], reader: str) -> None:
    for options in (("--count", 40), ("--count", 1, "--json")):
        left = subprocess.Popen(command("show", datasets["parquet"], *options), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        right = subprocess.run(reader.split(), stdin=left.stdout, capture_output=True)
        assert left.stdout and left.stderr
        left.stdout.close()
        assert left.stderr.read() == b""
        left.stderr.close()
        assert left.wait() in (0, 1, 141)
        assert right.stdout.count(b"\n") == (reader == "head -1")


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
def test_closed_streams(words: Path, closed: str) -> None:
    for complexity, code in (("2", 0), ("x", 1)):
        line = f"{' '.join(command('space', '--taxonomy', words, '--complexity', complexity))} {closed}"
        done = subprocess.run(line, shell=True, capture_output=True, text=True)
        assert done.returncode == code
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "environment", [{"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}], ids=str
)
def test_letters_that_the_terminal_lacks(words: Path, tmp_path: Path, environment: dict[str, str]) -> None:
    graph = tmp_path / "graph.json"
    graph.write_text(json.dumps({"objects": [{"id": "a", "name": "jalapeño"}]}))
    assert "jalape?o" in run_apart("describe", graph, "--taxonomy", words, env=environment).out
    record = json.loads(run_apart("describe", graph, "--taxonomy", words, "--json", env=environment).out)
    assert record["graph"]["objects"][0]["name"] == "jalapeño"
    assert run_apart("taxonomy", "search", "dog", "--taxonomy", words, env=environment).code == 0
    assert run_apart("space", "--only", "ñ", "--taxonomy", words, env=environment).code == 1


@pytest.mark.parametrize("environment", [{}, {"TERM": "xterm-256color"}, {"NO_COLOR": "1"}], ids=str)
def test_no_colours_where_nobody_sees_them(datasets: dict[str, Path], environment: dict[str, str]) -> None:
    for command_line in (("show", datasets["parquet"], "--count", 1), ("space", "--complexity", 2, "--only", "nothing"), ("--help",)):
        found = run_apart(*command_line, env=environment)
        assert "\x1b" not in found.out + found.err


@pytest.mark.skipif(sys.platform == "win32", reason="no pseudo terminals")
@pytest.mark.parametrize("no_color", [False, True])
def test_colours_on_a_terminal_unless_refused(datasets: dict[str, Path], no_color: bool) -> None:
    import pty

    ours, theirs = pty.openpty()
    environment = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR")} | {
        "TERM": "xterm-256color"
    }
    with subprocess.Popen(
        command("show", datasets["parquet"], "--index", 0), stdout=theirs, env=environment | ({"NO_COLOR": "1"} if no_color else {})
    ):
        os.close(theirs)
        shown = b""
        try:
            while piece := os.read(ours, 65536):
                shown += piece
        except OSError:
            pass  # how Linux tells that the other end is closed
    os.close(ours)
    assert "scene 0" in shown.decode()
    coloured = any(f"\x1b[{number}".encode() in shown or f";{number}m".encode() in shown for number in range(30, 38))
    assert coloured is not no_color


def test_error_messages_cannot_steer_the_terminal(words: Path) -> None:
    found = run_here("space", "--taxonomy", words, "--only", "\x1b[31m\n\u202e\udcff")
    assert found.refused
    assert run_here("show", "\x1b[31m\n\u202e").refused
