"""What the tests of reports share: a run that looks like a real one, and the page made of it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

HERE = str(Path(__file__).parent)
if HERE not in sys.path:
    sys.path.insert(0, HERE)

from report_run import fake_comparison, fake_run  # noqa: E402

from anyscene.report import RunContents, build_comparison, build_report  # noqa: E402


@pytest.fixture(scope="session")
def run() -> RunContents:
    return fake_run(scenes=40)


@pytest.fixture(scope="session")
def other_run() -> RunContents:
    return fake_run(scenes=40, better=0.15, model="sandbox:better")


@pytest.fixture(scope="session")
def report(run: RunContents) -> str:
    return build_report(run)


@pytest.fixture(scope="session")
def comparison(run: RunContents, other_run: RunContents) -> str:
    return build_comparison(run, other_run, fake_comparison())
