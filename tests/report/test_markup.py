"""HTML as text: balanced, and escaped unless it is markup already."""

from __future__ import annotations

from html_outline import Outline
from hypothesis import given
from hypothesis import strategies as st

from anyscene.report.estimates import Estimate, percent, points
from anyscene.report.markup import el


def test_texts_are_escaped_and_markup_is_kept() -> None:
    assert el("p", "a < b & c", el("b", "x"), None, [1, "&"]) == "<p>a &lt; b &amp; c<b>x</b>1&amp;</p>"


def test_attributes_are_escaped_renamed_or_left_out() -> None:
    assert (
        el("td", class_="a", data_sort=0.5, title='"<', open=True, hidden=False, dir=None)
        == '<td class="a" data-sort="0.5" title="&quot;&lt;" open></td>'
    )
    assert el("img", src="x") == '<img src="x">'
    assert el("circle", r=1.0) == '<circle r="1"/>'


@given(st.text(st.characters(codec=None), max_size=60), st.text(st.characters(codec=None), max_size=60))
def test_any_text_survives_and_breaks_nothing(words: str, value: str) -> None:
    page = str(el("p", words, title=value))
    page.encode()
    outline = Outline(page)
    assert outline.faults == []
    assert [tag for tag, _ in outline.tags] == ["p"]
    if words.isprintable() and words.isascii():
        assert outline.text == " ".join(words.split())


def test_an_estimate_that_is_none_is_missing() -> None:
    for data in (None, {}, {"value": None}, {"value": float("nan")}, {"value": "0.5"}, {"value": True}, 0.5):
        assert not Estimate.read(data).known
    assert Estimate.read({"value": 0, "low": None, "high": 1}) == Estimate(0.0, None, 1.0, None)
    assert Estimate.read({"value": 0.5, "low": 0.4, "high": 0.6, "n": 3}).half_width == 0.09999999999999998


def test_numbers_are_written_with_their_sign_and_no_negative_zero() -> None:
    assert [percent(0.72434), percent(None), percent(-0.0001), percent(1.0, 0)] == ["72.4%", "missing", "0.0%", "100%"]
    assert [points(0.0132), points(-0.0132), points(None), points(-0.00001)] == ["+1.3", "−1.3", "missing", "+0.0"]
