"""The comparison of two runs: the difference in words that claim no more than was shown."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from html_outline import Outline
from report_run import fake_comparison

from anyscene.report import RunContents, build_comparison, write_comparison
from anyscene.report.comparison import verdict_on
from anyscene.scoring import compare_runs, score_run


def test_it_is_well_formed_and_loads_nothing(comparison: str) -> None:
    outline = Outline(comparison)
    assert outline.faults == []
    assert [one for one in outline.loads() if not one.startswith("data:image/")] == []
    assert len(set(outline.ids)) == len(outline.ids)
    assert len(outline.all_of("img")) >= 12


def test_the_same_runs_give_the_same_bytes(comparison: str, run: RunContents, other_run: RunContents, tmp_path: Path) -> None:
    write_comparison(tmp_path / "compare.html", run, other_run, fake_comparison())
    assert (tmp_path / "compare.html").read_text(encoding="utf-8") == comparison


def test_the_difference_and_both_scores_are_there(comparison: str) -> None:
    text = Outline(comparison).text
    assert "+3.8 points 95% interval +2.1 to +5.5" in text
    assert "sandbox:better is better than sandbox:flawed by 3.8 points (95% interval of the difference +2.1 to +5.5)." in text
    assert "common scenes 400 sandbox:flawed 72.4% sandbox:better 76.2% p-value < 0.001 effect size +0.31" in text


def test_every_skill_is_listed_with_its_adjusted_p(comparison: str) -> None:
    text = Outline(comparison).text
    assert "kind of question: relation 58.3% 71.1% +12.8 +9.7 to +15.9 < 0.001 < 0.001" in text
    assert "complexity: 6 75.0% 68.9% −6.1 −8.9 to −3.3 0.001 0.004" in text
    assert "kind of question: existence 93.1% 93.5% +0.4 −0.8 to +1.6 0.510 1.000" in text
    assert "kind of question: motion missing missing missing – missing missing" in text
    assert "Strict accuracy 74.1% 77.0% +2.9 +1.1 to +4.7 < 0.001 0.001" in text


def test_only_what_holds_after_correction_is_filled(comparison: str) -> None:
    dots = [
        attrs["class"] for attrs in Outline(comparison).all_of("circle") if "r" in attrs and attrs["r"] == "4.6" and attrs.get("cx") != "9"
    ]
    assert sorted(str(one) for one in dots) == ["down disc", "same disc", "same disc", "same disc", "up disc", "up disc"]


def change(**values: Any) -> dict[str, Any]:
    """A comparison whose headline has these values."""
    fake = fake_comparison()
    return {**fake, "scores": {"soft": {**fake["scores"]["soft"], **values}}}


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (
            change(difference=0.01, low=-0.02, high=0.04),
            "b leads by 1.0 points (95% interval of the difference −2.0 to +4.0), which is within what chance does: on these scenes neither model is shown to be better.",
        ),
        (
            change(difference=-0.05, low=-0.08, high=-0.02),
            "a is better than b by 5.0 points (95% interval of the difference −8.0 to −2.0).",
        ),
        (
            change(difference=0.0, low=0.0, high=0.0),
            "They score the same, which is within what chance does: on these scenes neither model is shown to be better.",
        ),
        (
            change(difference=0.5, low=None, high=None, p=None),
            "b leads by 50.0 points, which is within what chance does: on these scenes neither model is shown to be better.",
        ),
        (change(difference=None), "a and b cannot be compared: they have no scene in common that both were judged on."),
    ],
)
def test_the_verdict_claims_no_more_than_was_shown(data: dict[str, Any], words: str) -> None:
    assert verdict_on("a", "b", data) == words


def test_different_judges_are_warned_of(run: RunContents, other_run: RunContents) -> None:
    other = dataclasses.replace(other_run, scores={**other_run.scores, "judge": {"name": "other", "revision": "", "template": "t"}})
    assert "The two runs have different judges (sandbox, other" in Outline(build_comparison(run, other, fake_comparison())).text


def test_a_run_against_itself_has_no_picture_to_show(run: RunContents) -> None:
    page = build_comparison(run, run, {})
    outline = Outline(page)
    assert outline.faults == []
    assert "On no scene that both runs show do their verdicts differ." in outline.text
    assert "cannot be compared" in outline.text and "No skill was compared." in outline.text


def test_of_many_skills_those_with_the_smallest_p_values_are_drawn(run: RunContents) -> None:
    gap = {"difference": 0.1, "p_adjusted": 1.0}
    things = {f"thing {k}": {**gap, "p": k / 100} for k in range(90)}
    text = Outline(build_comparison(run, run, {"by": {"object_class": things}})).text
    assert "thing 59" in text and "thing 60" not in text
    assert "Of 90 skills, the 60 with the smallest p-values." in text


def test_it_takes_what_scoring_says_of_two_runs(run: RunContents, other_run: RunContents) -> None:
    scored = [
        score_run(one.records, one.media, one.answers, model=one.model, judge=one.scores["judge"], resamples=200)
        for one in (run, other_run)
    ]
    said = compare_runs(*scored, resamples=200).to_dict()
    real = [dataclasses.replace(one, scores=scores.to_dict()) for one, scores in zip((run, other_run), scored, strict=True)]
    outline = Outline(build_comparison(*real, said))
    assert outline.faults == []
    gap = said["scores"]["soft"]
    assert f"{100 * gap['difference']:+.1f} points 95% interval {100 * gap['low']:+.1f} to {100 * gap['high']:+.1f}" in outline.text
    assert f"sandbox:flawed {100 * gap['a']:.1f}% sandbox:better {100 * gap['b']:.1f}%" in outline.text
    relation = said["by"]["kind"]["relation"]
    assert f"kind of question: relation {100 * relation['a']:.1f}% {100 * relation['b']:.1f}%" in outline.text
