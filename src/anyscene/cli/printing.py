"""JSON on standard output, whatever letters the terminal knows."""

from __future__ import annotations

import json
import sys


def print_json(value: object) -> None:
    """One line of JSON; letters are escaped where standard output is not UTF-8, so that none is lost."""
    print(json.dumps(value, ensure_ascii=not sys.stdout.encoding.lower().startswith("utf")))
