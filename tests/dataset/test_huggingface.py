from __future__ import annotations

import sys

import pytest
from fake_source import FakeSource

from anyscene.dataset import to_datasets
from anyscene.errors import CapacityError, MissingExtraError


def test_missing_library_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'anyscene\[datasets\]'"):
        to_datasets(FakeSource(), 3)


def test_range_is_checked() -> None:
    with pytest.raises(CapacityError):
        to_datasets(FakeSource(rows=10), 3, start=8)


@pytest.mark.interop
@pytest.mark.filterwarnings("ignore")  # of the library's own making
def test_rows_are_those_of_the_source() -> None:
    pytest.importorskip("datasets")
    source = FakeSource(num_questions=4)
    dataset = to_datasets(source, 20, start=5)
    assert dataset.to_list() == source.table(5, 25).to_pylist()
    assert "questions" not in to_datasets(source, 2, questions=False).column_names
