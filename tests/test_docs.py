"""Every command and every Python block that README and docs show is run, in order, in an empty folder."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```(sh|python|toml)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(page: Path) -> list[tuple[str, str]]:
    return BLOCK.findall(page.read_text(encoding="utf-8"))


def test_the_pages_show_commands():
    shown = sum(body.count("anyscene ") for page in PAGES for kind, body in blocks(page) if kind == "sh")
    assert shown >= 25


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page)], ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_runs(page, tmp_path):
    bin_folder = tmp_path / "bin"
    bin_folder.mkdir()
    command = bin_folder / "anyscene"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m anyscene.cli.main "$@"\n')
    command.chmod(0o755)
    work = tmp_path / "work"
    work.mkdir()
    environment = {**os.environ, "PATH": f"{bin_folder}:{Path(sys.executable).parent}:{os.environ['PATH']}"}
    for kind, body in blocks(page):
        if kind == "toml":  # a file, named in its first line
            (work / body.splitlines()[0].removeprefix("#").strip()).write_text(body, encoding="utf-8")
            continue
        lines = [line for line in body.splitlines() if line.strip() and not line.startswith("#")]
        if kind == "sh":
            for line in lines:
                if re.search(r"anyscene (grpo|improve|distill) ", line):
                    pytest.importorskip("trl")
                if "--engine ray" in line:
                    pytest.importorskip("ray")
                if line.startswith("accelerate"):
                    pytest.importorskip("trl")
                if "anyscene improve" in line or "anyscene distill" in line:
                    pytest.importorskip("peft")
                if line.split()[0] in ("make", "pip", "git", "cd"):
                    check_outside(line)
                    continue
                done = subprocess.run(
                    ["sh", "-ec", line], cwd=work, env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL
                )
                assert done.returncode == 0, f"{line}\n{done.stdout[-500:]}\n{done.stderr[-1500:]}"
        else:
            if "import datasets" in body:
                pytest.importorskip("datasets")
            done = subprocess.run(
                [sys.executable, "-c", body], cwd=work, env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL
            )
            assert done.returncode == 0, f"{body}\n{done.stderr[-1500:]}"


def check_outside(line: str) -> None:
    """Commands that cannot run inside a test: the target or the extra must at least exist."""
    words = line.split()
    if words[0] == "make":
        targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
        assert words[1] in targets, line
    if words[0] == "pip":
        project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
        for extra in re.findall(r"\[([a-z,]+)\]", line):
            assert all(re.search(rf"^{name} = \[", project, re.MULTILINE) for name in extra.split(",")), line
