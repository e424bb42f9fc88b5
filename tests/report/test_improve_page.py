"""The report of an improvement: what may be claimed stands first, what is missing stays missing, nothing that is shown is run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from html_outline import Outline

from anyscene.report.estimates import Estimate
from anyscene.report.improve_page import claims_section, improve_sections, write_improve_page
from anyscene.report.plots import by_round
from anyscene.report.shell import page


def estimate(value: float | None) -> dict[str, Any]:
    return {"value": value, "low": None if value is None else value - 0.05, "high": None if value is None else value + 0.05, "n": 50}


def difference(value: float | None, claim: str) -> dict[str, Any]:
    ends = (None, None) if value is None else (value - 0.04, value + 0.04)
    return {"a": 0.4, "b": None if value is None else 0.4 + value, "difference": value, "low": ends[0], "high": ends[1], "claim": claim}


def claim(**changed: Any) -> dict[str, Any]:
    found = {
        "claim": "better",
        "score": "soft",
        "judge": "sandbox:pixels",
        "scores": {"soft": difference(0.1, "better"), "all_correct": difference(0.02, "no difference shown")},
        "corrected": {"score": "strict", "source": "foils", **difference(0.123, "better")},
        "second": {"judge": "other", "scores": {"soft": difference(0.08, "better")}},
        "sentences": ["soft: it is better.", "other <b>agrees</b>."],
        "sentence": "soft: it is better. other <b>agrees</b>.",
    }
    return {**found, **changed}


def round_(number: int, pictures: int = 40) -> dict[str, Any]:
    figures = {"score": 0.5, "score_chosen": 0.9, "complexity": 3.5, "complexity_chosen": 3.0, "tied": 0.2, "scenes_chosen": 0.5}
    return {
        "round": number,
        "pictures": pictures,
        "counts": {"candidates": 300, "groups": 100, "chosen": pictures, "below_threshold": 210, "tied": 0, "not_best": 50, "short": 0},
        "figures": figures,
        "diversity": {"within": 0.2, "between": None},
        "validation": {"score": estimate(0.4 + number / 20), "second": None, "foils": 0.12, "diversity": 0.31},
    }


def result(**changed: Any) -> dict[str, Any]:
    found: dict[str, Any] = {
        "rounds": [round_(1), round_(2)],
        "best_round": 2,
        "stopped": None,
        "updates": 80,
        "start": {"score": estimate(0.4), "second": None, "foils": 0.1, "diversity": 0.33},
        "baselines": {"unselected": {"rounds": [round_(1), round_(2)]}},
    }
    return {**found, **changed}


METRICS = {"selected": [{"update": float(one), "loss": 1 / one, "grad_norm": 0.5} for one in range(1, 9)]}


def contents(sections: Any) -> str:
    return page("a run", "", sections)  # type: ignore[arg-type]


def test_claims_say_what_was_compared_by_whom_and_what_is_shown() -> None:
    text = contents([claims_section({"After against before": claim()})])
    for words in (
        "After against before",
        "Soft accuracy",
        "+10.0",
        "+6.0 to +14.0",
        "Strict accuracy, corrected",
        "+12.3",
        "by foils",
        "other",
    ):
        assert words in text
    assert "<b>agrees</b>" not in text and "no difference shown" in text


def test_where_nothing_is_claimed_there_is_no_figure() -> None:
    none = {"claim": None, "sentence": "Nothing is claimed: 1 held-out scene trained on.", "reasons": ["1 held-out scene"]}
    text = contents([claims_section({"After against before": none})])
    assert "Nothing is claimed" in text and "points" not in text.split("<main")[1] and "<table" not in text


def test_a_correction_that_cannot_be_had_is_left_out() -> None:
    without = {**claim()["corrected"], "difference": None, "low": None, "high": None}
    text = contents([claims_section({"a": claim(corrected=without, second=None)})])
    assert "corrected by" not in text


def test_rounds_arms_and_reasons_are_shown() -> None:
    text = contents(improve_sections(result(), METRICS, [("Round 1", b"png")]))
    for words in ("its best pictures", "pictures nobody chose", "Round 2 is the one that is kept", "below threshold", "210", "31", "Loss"):
        assert words in text
    assert "By the second judge" not in text, "there was none"
    assert '<th scope="row">tied</th>' not in text, "no candidate was left out for it"


def test_a_run_without_validation_has_no_curve_of_it() -> None:
    rounds = [{**round_(1), "validation": None}]
    text = contents(improve_sections(result(rounds=rounds, start=None, baselines={}, best_round=1), {"selected": []}))
    assert "On validation scenes" not in text and "Round after round" in text


def test_an_early_end_is_said() -> None:
    assert "It ended early: no better soft" in contents(improve_sections(result(stopped="no better soft in 2 rounds"), METRICS))


def test_a_missing_score_breaks_no_line_and_draws_no_mark() -> None:
    line = [Estimate(0.5, 0.4, 0.6, 10), Estimate(), Estimate(0.6, 0.5, 0.7, 10)]
    drawn = by_round([("disc", "first", line)], "scores by round")
    assert drawn.count("<circle") == 2 and drawn.count('class="way first"') == 1 and ">2</text>" in drawn


def test_a_page_of_its_own_is_whole(tmp_path: Path) -> None:
    write_improve_page(tmp_path / "report.html", "a <model>", "Nothing is claimed.", improve_sections(result(), METRICS))
    text = (tmp_path / "report.html").read_text()
    assert "a &lt;model&gt;" in text and "Nothing is claimed." in text
    outline = Outline(text)
    assert outline.faults == [] and len(set(outline.ids)) == len(outline.ids)
    assert [one for one in outline.loads() if not one.startswith("data:image/")] == []
