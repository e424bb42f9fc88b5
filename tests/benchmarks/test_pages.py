"""What docs/benchmarks.md says of the benchmarks, held against the code."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from anyscene.benchmarks import benchmark_names, load_benchmark

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")


def faults() -> set[str]:
    """The names of all faults: the first arguments of ``Fault(...)`` and the keys of tables called ``FAULTS``."""
    found: set[str] = set()
    for path in sorted((ROOT / "src" / "anyscene" / "benchmarks").glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Fault":
                found |= {one.value for one in node.args[:1] if isinstance(one, ast.Constant)}
            if isinstance(node, ast.Assign) and any(getattr(target, "id", "") == "FAULTS" for target in node.targets):
                found |= {key.value for key in getattr(node.value, "keys", ()) if isinstance(key, ast.Constant)}
    return found


def test_every_official_fault_is_explained() -> None:
    assert len(faults()) >= 15
    assert [name for name in sorted(faults()) if f"`{name}`" not in PAGE] == []


@pytest.mark.parametrize("name", benchmark_names())
def test_every_benchmark_is_told_and_complete(name: str) -> None:
    about = load_benchmark(name).about
    assert about.name == name and f"| `{name}` |" in PAGE
    assert all(str(getattr(about, field)) for field in about.__slots__ if field != "judge_note")
    assert about.samples >= 1 and about.modality in ("image", "video")
