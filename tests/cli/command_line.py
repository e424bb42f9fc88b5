"""The command line as a function: run in this process where speed matters, in one of its own where the process matters."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anyscene.cli.main import main

PATIENCE_S = 60.0
GRAPH: dict[str, Any] = {
    "objects": [
        {"id": "a", "name": "dog", "attributes": [{"type": "color", "value": "red"}]},
        {"id": "b", "name": "cat", "attributes": []},
    ],
    "relations": [{"subject": "a", "predicate": "chasing", "object": "b"}],
    "scene_attributes": [],
}
OBJECTS = "dog cat fox cow hen owl".split()
TOOLS = "saw axe pen cup".split()


@dataclass(frozen=True)
class Outcome:
    """What a command left behind."""

    code: object
    out: str
    err: str

    @property
    def refused(self) -> bool:
        """Bad input was told in one line, and nothing went to standard output."""
        return self.code in (1, 2) and self.one_line

    @property
    def one_line(self) -> bool:
        line = self.err.startswith("anyscene: ") and self.err.count("\n") == 1 and self.err.strip().isprintable()
        return line and "internal error" not in self.err and len(self.err) < 1200


def run_here(*arguments: object) -> Outcome:
    """The command in this process."""
    out = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    err = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", errors="backslashreplace")
    before = sys.stdout, sys.stderr, sys.argv
    sys.stdout, sys.stderr, sys.argv = out, err, ["anyscene", *map(str, arguments)]
    code: object = "it returned"
    try:
        main()
    except SystemExit as leaving:
        code = leaving.code or 0
    finally:
        sys.stdout, sys.stderr, sys.argv = before
        out.flush(), err.flush()
    return Outcome(code, out.buffer.getvalue().decode(), err.buffer.getvalue().decode())  # type: ignore[attr-defined]


def command(*arguments: object) -> list[str]:
    """The command as the words of a process of its own."""
    return [sys.executable, "-m", "anyscene.cli.main", *map(str, arguments)]


def run_apart(*arguments: object, env: dict[str, str] | None = None, **options: Any) -> Outcome:
    """The command in a process of its own."""
    environment = {**os.environ, **(env or {})}
    done = subprocess.run(command(*arguments), capture_output=True, env=environment, timeout=PATIENCE_S, **options)
    return Outcome(done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"))


def write_taxonomy(folder: Path) -> Path:
    """A vocabulary of eleven objects."""
    folder.mkdir(parents=True, exist_ok=True)
    tables = {
        "objects": [
            "name class number",
            *(f"{name} animal count" for name in OBJECTS),
            *(f"{name} tool count" for name in TOOLS),
            "sand stuff mass",
        ],
        "attributes": [
            "value type fits opposite",
            "red color any",
            "blue color any",
            "big size any small",
            "small size any big",
            "rusty state tool",
        ],
        "relations": ["relation type subject_classes object_classes", "chasing interactional animal animal", "near spatial any any"],
        "scene_attributes": ["value type group phrase", "fog weather scene in_fog", "rain weather scene in_the_rain"],
    }
    for name, rows in tables.items():
        (folder / f"{name}.tsv").write_text(
            "".join(row.replace(" ", "\t").replace("in_", "in ").replace("the_", "the ") + "\n" for row in rows)
        )
    return folder


def digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}
