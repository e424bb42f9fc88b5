"""Text for a terminal: JSON in the letters that it knows, and no control characters of somebody else."""

from __future__ import annotations

import json
import sys


def print_json(value: object) -> None:
    """One line of JSON; letters are escaped where standard output is not UTF-8, so that none is lost."""
    print(json.dumps(value, ensure_ascii=not sys.stdout.encoding.lower().startswith("utf")))


def printable(text: str) -> str:
    """The text with control characters escaped: a file of somebody else must not steer the terminal."""
    return text if text.isprintable() else "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)
