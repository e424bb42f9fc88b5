from __future__ import annotations

from pathlib import Path

import pytest

from anyscene.errors import RunError
from anyscene.runs import differences, manifest_bytes, normalized, read_manifest, write_manifest


def test_write_then_read_is_identity(tmp_path: Path) -> None:
    assert read_manifest(tmp_path) is None
    manifest: dict[str, object] = {"kind": "dataset", "source": {"words": ["gîte"], "seed": 7}, "files": []}
    write_manifest(tmp_path, manifest)
    assert read_manifest(tmp_path) == manifest
    assert list(read_manifest(tmp_path) or {}) == ["kind", "source", "files"]
    assert (tmp_path / "run.json").read_bytes() == manifest_bytes(manifest)


def test_normalized_is_what_would_be_read_back() -> None:
    assert normalized({"a": (1, 2), "b": {3: None}}) == {"a": [1, 2], "b": {"3": None}}


def test_values_that_are_no_json_are_refused() -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        manifest_bytes({"a": float("nan")})


@pytest.mark.parametrize("text", ["{", "[1]", "\x00"])
def test_damaged_manifest_is_a_run_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(RunError, match=r"run\.json"):
        read_manifest(tmp_path)


def test_differences_are_named_with_both_values() -> None:
    found = {"seed": 7, "source": {"words": 3, "old": "x"}, "same": [1]}
    asked = {"seed": 8, "source": {"words": 3, "new": "y" * 80}, "same": [1]}
    assert differences(found, asked) == [
        "seed: 7 there, 8 asked for",
        'source.old: "x" there, nothing asked for',
        f'source.new: nothing there, "{"y" * 56}... asked for',
    ]
    assert differences(found, found) == []
