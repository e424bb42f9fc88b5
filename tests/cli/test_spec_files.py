"""Spec files that people break."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from command_line import run_here

Spoil = Callable[[str, bytes], Path]
HOLDOUT: dict[str, Any] = {"kind": "pair", "side": "train", "test_parts": 1, "parts": 5, "key": 0}
JUNK: list[Any] = [None, True, 0, -1, 1.5, "", "4-8", [], [1], [1, 2, 3], ["a", "b"], [None, None], [1.5, 2.5], [True, True], {}, {"a": 1}]
JUNK += [[[]], 10**30, [1, 10**9], [10**30, 10**30], "\ud800", ["\ud800"], 1e309, float("nan"), [""]]
RIGHT: dict[str, list[Any]] = {
    **{name: [None, [1, 10**9]] for name in ("objects", "attributes", "relations")},
    "containing": [None],
    "holdout": [None],
    "realism": [0],
    "familiar": [True],
    "counts": [True],
    "only": [[]],
    "without": [[]],
}


def takes(spoil: Spoil, words: Path, data: Any) -> Any:
    path = spoil("spec.json", data if isinstance(data, bytes) else json.dumps(data).encode())
    return run_here("space", "--taxonomy", words, "--spec", path, "--json")


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"\xff", b"\0", b"[" * 100_000, b"[]", b"1", b"null", b"NaN", b"9" * 10_000, b" " * 2_000_000],
    ids=lambda data: repr(data[:8]),
)
def test_no_json_object(words: Path, spoil: Spoil, data: bytes) -> None:
    assert takes(spoil, words, data).refused


@pytest.mark.parametrize("field", ["complexity", "scene_attributes", "modality", "realism", "familiar", "only", "without", "objects", "attributes", "relations", "counts", "containing", "holdout", "order"])  # fmt: skip
def test_a_value_of_the_wrong_kind(words: Path, spoil: Spoil, field: str) -> None:
    for junk in JUNK:
        if not any(junk is right or (junk == right and type(junk) is type(right)) for right in RIGHT.get(field, ())):
            found = takes(spoil, words, {"complexity": [2, 3], field: junk})
            empty = field in ("objects", "attributes", "relations") and found.code == 0 and json.loads(found.out)["total"] == 0
            assert found.refused or empty, (junk, found)


@pytest.mark.parametrize("field", HOLDOUT)
def test_a_holdout_of_the_wrong_kind(words: Path, spoil: Spoil, field: str) -> None:
    for junk in JUNK:
        if not (field == "key" and type(junk) is int):
            assert takes(spoil, words, {"complexity": [2, 3], "holdout": {**HOLDOUT, field: junk}}).refused, junk


@pytest.mark.parametrize(
    "data",
    [{"version": 2}, {"complexity": [2, 3], "nonsense": 1}, {"holdout": {"kind": "pair"}}, {"holdout": {**HOLDOUT, "more": 1}}],
    ids=str,
)
def test_a_spec_of_another_version(words: Path, spoil: Spoil, data: Any) -> None:
    assert takes(spoil, words, data).refused


def test_a_spec_that_is_right(words: Path, spoil: Spoil) -> None:
    assert takes(spoil, words, {}).code == 0
    assert takes(spoil, words, {"complexity": [2, 3], "holdout": HOLDOUT}).code == 0
