"""The pages in a real browser, with the network off: no complaint in the console, no request, no sideways scrolling."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest
from chromium import CHROMIUM, Browser
from report_run import fake_run

from anyscene.report import build_report

pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with Browser() as one:
        yield one


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory, report: str, comparison: str) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    long = fake_run(scenes=12, modality="3d", model="organisation/" + "a-very-long-name-of-a-model" * 6)
    records = long.records.to_pylist()
    for record in records:
        record["caption"] = "w" * 400 + " مرحبا بالعالم 🦊"
        record["graph"]["objects"][0]["name"] = "wwwwwwwww " * 12
    long = dataclasses.replace(long, records=pa.Table.from_pylist(records, long.records.schema))
    made = {"report": report, "comparison": comparison, "long": build_report(long)}
    for name, page in made.items():
        (folder / f"{name}.html").write_text(page, encoding="utf-8")
    return {name: folder / f"{name}.html" for name in made}


@pytest.mark.parametrize("name", ["report", "comparison", "long"])
@pytest.mark.parametrize(("width", "dark"), [(1280, False), (390, False), (390, True)])
def test_it_opens_without_a_complaint_and_fits_the_window(
    browser: Browser, pages: dict[str, Path], name: str, width: int, dark: bool
) -> None:
    browser.open(pages[name], width, dark=dark)
    assert browser.complaints() == []
    assert browser.evaluate("innerWidth") == width
    assert browser.evaluate("document.documentElement.scrollWidth") <= width
    pictures = browser.evaluate("[...document.images].map(one => one.naturalWidth)")
    assert len(pictures) > 0 and min(pictures) > 0
    assert browser.evaluate("document.querySelectorAll('details').length") > 0 or name == "comparison"


def test_unfolding_everything_still_fits_a_phone(browser: Browser, pages: dict[str, Path]) -> None:
    browser.open(pages["long"], 390)
    browser.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true; })")
    assert browser.evaluate("document.documentElement.scrollWidth") <= 390


def test_tables_sort_and_filter(browser: Browser, pages: dict[str, Path]) -> None:
    browser.open(pages["report"], 1280)
    names = (
        "[...document.querySelector('table.filterable').tBodies[0].rows].filter(row => !row.hidden).map(row => row.cells[0].textContent)"
    )
    before = browser.evaluate(names)
    browser.evaluate("document.querySelector('table.filterable th button').click()")
    assert browser.evaluate(names) == sorted(before, reverse=True)
    browser.evaluate("document.querySelectorAll('table.filterable th button')[1].click()")
    assert browser.evaluate(names) == before[::-1]  # the lowest came first
    browser.evaluate(
        "const field = document.querySelector('input[type=search]'); field.value = 'TAR'; field.dispatchEvent(new Event('input'))"
    )
    assert browser.evaluate(names) == ["star"]
    assert browser.complaints() == []


def test_a_page_that_loads_something_is_complained_about(browser: Browser, tmp_path: Path) -> None:
    bad = tmp_path / "bad.html"
    bad.write_text("<img src='https://example.org/x.png'><script>console.error('x'); nothing()</script>")
    browser.open(bad, 800)
    said = " ".join(browser.complaints())
    assert "example.org" in said and "consoleAPICalled" in said and "exceptionThrown" in said
