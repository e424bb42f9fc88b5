"""What the tests of the command line share: a small vocabulary, a graph, a dataset in every format."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

HERE = str(Path(__file__).parent)
if HERE not in sys.path:
    sys.path.insert(0, HERE)

from command_line import GRAPH, Outcome, run_here, write_taxonomy  # noqa: E402


@pytest.fixture(scope="session")
def words(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a small vocabulary."""
    return write_taxonomy(tmp_path_factory.mktemp("cli") / "words")


@pytest.fixture(scope="session")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("graph") / "graph.json"
    path.write_text(json.dumps(GRAPH))
    return path


@pytest.fixture(scope="session")
def datasets(tmp_path_factory: pytest.TempPathFactory, words: Path) -> dict[str, Path]:
    """The same forty rows in every format."""
    folder = tmp_path_factory.mktemp("datasets")
    for name in ("parquet", "jsonl", "webdataset"):
        made = run_here("generate", "--taxonomy", words, "-n", 40, "-q", "--shards", 3, "--format", name, "--out", folder / name)
        assert made == Outcome(0, "", ""), made
    return {name: folder / name for name in ("parquet", "jsonl", "webdataset")}


@pytest.fixture
def spoil(tmp_path: Path) -> Callable[[str, bytes], Path]:
    """Writes a file with the bytes given."""

    def write(name: str, data: bytes) -> Path:
        (tmp_path / name).write_bytes(data)
        return tmp_path / name

    return write
