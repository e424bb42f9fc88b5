"""What every test may use: texts that are compared with golden files, and rewritten by `make golden` alone."""

from __future__ import annotations

import os
import runpy
from collections.abc import Callable
from pathlib import Path

import pytest

if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault(
        "OMP_NUM_THREADS", "1"
    )  # several of us share the cores; read when torch is imported, and by the processes that tests start

SHIM = Path(__file__).parent / "shim"
runpy.run_path(str(SHIM / "sitecustomize.py"))
os.environ["PYTHONPATH"] = os.pathsep.join([str(SHIM), *filter(None, [os.environ.get("PYTHONPATH")])])  # for the processes that tests start

GOLDEN = Path(__file__).parent / "golden"

CompareWithGolden = Callable[[str, str], None]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="write the golden files anew instead of comparing with them")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test that compares with a golden file, so that `make golden` runs those and no others.

    Files with slow tests come first: where two processes share the files, none is left with a long one when the others are done.
    """
    for item in items:
        if "golden" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.golden)
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> CompareWithGolden:
    """`golden(name, text)` fails unless tests/golden/NAME holds exactly this text; with --update-golden it makes it so."""
    update: bool = request.config.getoption("--update-golden")

    def compare(name: str, text: str) -> None:
        path = GOLDEN / name
        if update:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text.encode())
        assert path.is_file(), f"tests/golden/{name} is not there. Write it with: make golden"
        assert text == path.read_bytes().decode(), f"not what tests/golden/{name} says. If the change is meant: make golden"

    return compare
