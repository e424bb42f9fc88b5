"""`run.json`: what a run folder holds and what it was made from.

The manifest is plain JSON without times, host names or paths, so that the same run gives the same bytes anywhere.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from anyscene.errors import RunError
from anyscene.runs.files import write_atomic

__all__ = ["MANIFEST_NAME", "differences", "manifest_bytes", "normalized", "parse_manifest", "read_manifest", "write_manifest"]

MANIFEST_NAME = "run.json"
_MISSING = object()


def manifest_bytes(manifest: Mapping[str, object]) -> bytes:
    """The manifest as indented UTF-8 JSON, keys in the order given."""
    return (json.dumps(manifest, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()


def normalized(manifest: Mapping[str, object]) -> dict[str, object]:
    """The manifest as it would be read back: tuples become lists, keys strings."""
    value: dict[str, object] = json.loads(manifest_bytes(manifest))
    return value


def write_manifest(folder: Path, manifest: Mapping[str, object]) -> None:
    """Writes `run.json` into the folder, in one step."""
    write_atomic(folder / MANIFEST_NAME, manifest_bytes(manifest))


def read_manifest(folder: Path) -> dict[str, object] | None:
    """The folder's `run.json`, or None where there is none.

    Raises:
        RunError: It is there but cannot be read.
    """
    path = folder / MANIFEST_NAME
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise RunError(f"Cannot read {path}: {error}. It is no manifest of Anyscene, or is damaged.") from error
    return parse_manifest(content, path)


def parse_manifest(content: bytes, where: object) -> dict[str, object]:
    """The manifest in a file's content; `where` that is, for the message.

    Raises:
        RunError: It is none.
    """
    try:
        value = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise RunError(f"Cannot read {where}: {error}. It is no manifest of Anyscene, or is damaged.") from error
    if not isinstance(value, dict):
        raise RunError(f"Cannot read {where}: a manifest is a JSON object, this is a {type(value).__name__}.")
    return value


def differences(found: object, asked: object, where: str = "") -> list[str]:
    """How two manifests differ, one line per value: `seed: 7 there, 8 asked for`. Empty when they are the same."""
    if isinstance(found, Mapping) and isinstance(asked, Mapping):
        keys = [*found, *(key for key in asked if key not in found)]
        return [
            line
            for key in keys
            for line in differences(found.get(key, _MISSING), asked.get(key, _MISSING), f"{where}.{key}" if where else str(key))
        ]
    return [] if found == asked else [f"{where}: {_shown(found)} there, {_shown(asked)} asked for"]


def _shown(value: object) -> str:
    if value is _MISSING:
        return "nothing"
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}..."
