"""The fakes beside this file are importable in tests and in the processes that tests start."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

HERE = str(Path(__file__).parent)
if HERE not in sys.path:
    sys.path.insert(0, HERE)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "interop: reads our files with other libraries, where they are installed")
