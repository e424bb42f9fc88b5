"""The report of a run: it loads nothing, says what is so, and what is missing stays missing."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import io
import random
import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from html_outline import Outline
from PIL import Image
from report_run import ANSWERS, MEDIA, estimate, fake_run

from anyscene.errors import RunError
from anyscene.report import RunContents, build_report, write_report
from anyscene.report.examples import judged_pictures
from anyscene.scoring import score_run

EVIL = "<script>alert(1)</script> \"x\" & 'y' <img src=x onerror=alert(1)> \u202eevil\u202c مرحبا 🦊 \x00\x1b[31m"


def with_scores(run: RunContents, **changes: Any) -> RunContents:
    return dataclasses.replace(run, scores={**run.scores, **changes})


def repainted(run: RunContents, files: list[bytes]) -> RunContents:
    """The run with other files, in turn, as if they had been judged."""
    new: dict[str, bytes] = {}
    renamed: dict[str, str] = {}
    media = run.media.to_pylist()
    for place, row in enumerate(media):
        if row["sha256"]:
            data = files[place % len(files)] + place.to_bytes(4, "big")  # no two alike: what follows a picture is not read
            new[row["file"]], renamed[row["sha256"]] = data, hashlib.sha256(data).hexdigest()
            row["sha256"] = renamed[row["sha256"]]
    judged = pa.array([renamed[one] for one in run.answers["media_sha256"].to_pylist()])
    answers = run.answers.set_column(0, "media_sha256", judged)
    return dataclasses.replace(run, media=pa.Table.from_pylist(media, run.media.schema), answers=answers, read_media=new.__getitem__)


def test_it_is_well_formed(report: str) -> None:
    outline = Outline(report)
    assert outline.faults == []
    assert len(outline.tags) > 1000
    assert len(set(outline.ids)) == len(outline.ids)
    assert report.startswith("<!DOCTYPE html>\n<html")


def test_the_parser_of_these_tests_sees_faults() -> None:
    assert Outline("<p><b>x</p>").faults != []
    assert Outline('<p a="1" a="2"></p>').faults != []
    assert Outline("<div>").faults == ["<div> is not closed"]


def test_it_loads_nothing_but_itself(report: str) -> None:
    loads = Outline(report).loads()
    assert len(loads) >= 10
    assert [one[:80] for one in loads if not one.startswith("data:image/")] == []
    style = re.search(r"<style>(.*?)</style>", report, re.DOTALL)
    assert style and "url(" not in style[1] and "@import" not in style[1] and "@font-face" not in style[1]


def test_its_policy_forbids_loading_and_allows_its_own_style_and_script_alone(report: str) -> None:
    policy = next(attrs["content"] for attrs in Outline(report).all_of("meta") if "http-equiv" in attrs)
    assert policy and policy.startswith("default-src 'none';") and "unsafe" not in policy and "http" not in policy
    for tag in ("style", "script"):
        sources = re.findall(rf"<{tag}>(.*?)</{tag}>", report, re.DOTALL)
        assert len(sources) == 1
        assert base64.b64encode(hashlib.sha256(sources[0].encode()).digest()).decode() in policy
    assert not re.search(r'<[^>]*\sstyle="', report)
    assert not re.search(r"<[^>]*\son[a-z]+=", report)


def test_the_same_run_gives_the_same_bytes_whatever_the_hash_seed(report: str, tmp_path: Path) -> None:
    code = "import sys; from report_run import fake_run; from anyscene.report import build_report; sys.stdout.buffer.write(build_report(fake_run(scenes=40)).encode())"
    for seed in ("1", "2"):
        made = subprocess.run(
            [sys.executable, "-c", code], cwd=Path(__file__).parent, env={"PYTHONHASHSEED": seed}, capture_output=True, check=True
        )
        assert made.stdout.decode() == report


def test_it_has_all_sections_in_an_order_of_headings_without_gaps(report: str) -> None:
    outline = Outline(report)
    for anchor in ("skills", "pictures", "scores", "judge", "precision", "provenance"):
        assert anchor in outline.ids
    links = [attrs["href"] for attrs in outline.all_of("a") if "href" in attrs]
    assert {link[1:] for link in links if link} <= set(outline.ids)
    levels = [level for level, _ in outline.headings]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


def test_the_headline_stands_with_its_interval_and_in_a_sentence(report: str) -> None:
    text = Outline(report).text
    assert "72.4 % 95% interval 70.5% to 74.4%" in text
    assert "On 40 scenes, sandbox:flawed reaches 72.4% soft accuracy (95% interval 70.5% to 74.4%), as judged by sandbox." in text


def test_every_score_and_skill_is_there(report: str, run: RunContents) -> None:
    text = Outline(report).text
    for one in run.scores["scores"].values():
        assert f"{100 * one['value']:.1f}% {100 * one['low']:.1f}% – {100 * one['high']:.1f}% 400" in text
    for group in run.scores["by"].values():
        for name, one in group.items():
            if one["soft"]["value"] is not None:
                shown = {"scene_attribute": "whole scene", "yes_no": "yes or no"}.get(name, name.replace("_", " "))
                assert f"{shown} {100 * one['soft']['value']:.1f}%" in text
    assert "3,700" in text and "± 1.1 points" in text and "45.1% 39.0% – 51.2%" in text


def test_it_takes_what_scoring_says_of_a_run(run: RunContents) -> None:
    scores = score_run(run.records, run.media, run.answers, model=run.model, judge=run.scores["judge"], resamples=200).to_dict()
    outline = Outline(build_report(dataclasses.replace(run, scores=scores)))
    assert outline.faults == []
    for name in ("soft", "strict", "library", "all_correct", "balanced_accuracy"):
        one = scores["scores"][name]
        assert f"{100 * one['value']:.1f}% {100 * one['low']:.1f}% – {100 * one['high']:.1f}% {one['n']}" in outline.text
    relation = scores["by"]["kind"]["relation"]["soft"]
    assert f"relation {100 * relation['value']:.1f}%" in outline.text
    assert "foils" in outline.text and "Corrected scores need true answers" in outline.text


def test_the_score_on_a_card_is_the_score_of_the_picture(run: RunContents) -> None:
    scored = score_run(run.records, run.media, run.answers, model=run.model, judge=run.scores["judge"], resamples=200)
    found = {one.record["id"]: (one.soft, one.strict) for one in judged_pictures(run)}
    assert len(found) > 30
    for place, identity in enumerate(scored.record_ids):
        if identity in found:
            assert found[identity] == pytest.approx((scored.by_scene["soft"][place], scored.by_scene["strict"][place]))


def test_a_missing_value_is_called_missing_and_never_zero(run: RunContents) -> None:
    scores = {name: estimate(None) for name in run.scores["scores"]}
    kinds = {"motion": {"soft": estimate(None), "strict": estimate(None), "balanced_accuracy": None, "questions": 0}}
    empty = with_scores(
        run,
        scores=scores,
        by={"kind": kinds},
        corrected={"motion": {"raw": estimate(None), "rogan_gladen": None, "prediction_powered": None}},
        noise_floor=None,
        label_mass=None,
    )
    text = Outline(build_report(dataclasses.replace(empty, media=run.media.slice(0, 0), answers=run.answers.slice(0, 0)))).text
    assert "nothing could be measured" in text
    assert "motion missing" in text
    assert text.count("missing") >= 12
    assert not re.search(r"(?<!\d)0\.0%", text)


def test_provenance_names_all_that_the_run_depends_on(run: RunContents) -> None:
    text = Outline(build_report(run, most_pictures=0)).text
    assert "The same run again anyscene eval scenes --model sandbox:flawed --judge sandbox --seed 7 --out run" in text
    assert "settings › reverse 0.35" in text and "template plain-1" in text and "pyarrow 18.0.0" in text
    bare = Outline(build_report(dataclasses.replace(run, provenance={}), most_pictures=0)).text
    assert "Scenes spec digest 568e54d3192129b1 seed 7" in bare
    assert "name sandbox revision 1 template plain-1" in bare and "model sandbox:flawed" in bare
    assert "The same run again" not in bare


def test_what_is_missing_is_counted_in_the_summary_and_warned_of(report: str, run: RunContents) -> None:
    text = Outline(report).text
    media, questions = run.scores["media"], run.scores["questions"]
    lost = media["expected"] - media["made"]
    assert lost > 0
    assert f"{lost} of {media['expected']}" in text and f"{media['failed']} failed" in text
    assert f"{questions['unsure']} unsure, 9 missing" in text
    assert "left out, never counted as wrong" in text


@pytest.mark.parametrize(
    ("changes", "warning"),
    [
        (
            {"judge_quality": {"by_kind": {"relation": {"specificity": estimate(0.4), "sensitivity": None}}}},
            "specificity is low (relation 40%)",
        ),
        (
            {"judge_quality": {"by_kind": {"count": {"specificity": estimate(0.9), "sensitivity": estimate(0.6)}}}},
            "sensitivity is low (count 60%)",
        ),
        (
            {"judge_quality": {"source": "foils", "by_kind": {"relation": {"specificity": estimate(0.4), "sensitivity": None}}}},
            "Few foils are denied (relation 40%)",
        ),
        ({"judge_quality": {}}, "Nothing is known about the judge's errors"),
        ({"label_mass": {"mean": 0.42, "low_share": 0.5}}, "label mass 42.0%"),
        ({"scenes": 12}, "12 scenes are few"),
        ({"scores": {"soft": estimate(0.9), "balanced_accuracy": estimate(0.5)}}, "no better than guessing"),
    ],
)
def test_a_reason_to_doubt_is_named_before_the_numbers(run: RunContents, changes: dict[str, Any], warning: str) -> None:
    page = build_report(with_scores(run, **changes), most_pictures=0)
    assert warning in Outline(page[: page.index("<main")] + "</body></html>").text


def test_a_run_without_faults_has_no_warning(run: RunContents) -> None:
    good = with_scores(
        run,
        scenes=400,
        media={"expected": 400, "made": 400},
        questions={"expected": 900, "answered": 900},
        judge_quality={"by_kind": {"existence": {"sensitivity": estimate(0.99), "specificity": estimate(0.98)}}},
    )
    page = build_report(good, most_pictures=0)
    assert 'class="warnings"' not in page
    assert "All 400 pictures were made, and all 900 questions were answered." in Outline(page).text


def test_texts_of_others_are_shown_and_never_run(run: RunContents) -> None:
    records = run.records.to_pylist()
    for record in records:
        record["caption"] = EVIL
        record["graph"]["objects"][0]["name"] = EVIL
        record["graph"]["objects"][0]["attributes"][0]["value"] = EVIL
        for relation in record["graph"]["relations"]:
            relation["predicate"] = EVIL
    scores = {**run.scores, "model": EVIL, "by": {"kind": {EVIL: run.scores["by"]["kind"]["existence"]}}}
    evil = dataclasses.replace(
        run, records=pa.Table.from_pylist(records, run.records.schema), scores=scores, provenance={EVIL: {EVIL: EVIL}, "command": EVIL}
    )
    outline = Outline(build_report(evil))
    assert outline.faults == []
    assert outline.scripts == 1
    assert [attrs for attrs in outline.all_of("img") if not (attrs["src"] or "").startswith("data:")] == []
    assert "<script>alert(1)</script>" in outline.text and "مرحبا 🦊" in outline.text
    assert "\x00" not in outline.text and "\x1b" not in outline.text


def test_a_picture_that_cannot_be_read_is_named_and_the_others_are_shown(run: RunContents) -> None:
    lost = {row["file"] for row in run.media.to_pylist()[::2]}

    def read(name: str) -> bytes:
        if name in lost:
            raise FileNotFoundError(2, "No such file", name)
        return run.read_media(name)

    outline = Outline(build_report(dataclasses.replace(run, read_media=read)))
    assert "This picture cannot be shown" in outline.text
    assert len(outline.all_of("img")) > 5


def test_a_picture_whose_file_is_not_the_one_that_was_judged_is_not_shown(run: RunContents) -> None:
    outline = Outline(build_report(dataclasses.replace(run, read_media=lambda name: run.read_media(name) + b"\0")))
    assert "is not the file that was judged" in outline.text
    assert outline.all_of("img") == []


def test_a_judged_file_that_is_no_picture_is_named() -> None:
    run = repainted(fake_run(scenes=4), [b"no picture"])
    outline = Outline(build_report(run))
    assert "no picture that can be read" in outline.text
    assert outline.all_of("img") == []


def test_an_error_of_reading_that_is_none_of_the_file_is_not_hidden(run: RunContents) -> None:
    def read(name: str) -> bytes:
        raise KeyError(name)

    with pytest.raises(KeyError):
        build_report(dataclasses.replace(run, read_media=read))


def test_every_picture_has_words_and_every_drawing_a_label_or_is_hidden(report: str) -> None:
    outline = Outline(report)
    images = outline.all_of("img")
    assert len(images) >= 20 and all(attrs.get("alt") for attrs in images)
    drawings = outline.all_of("svg")
    assert len(drawings) > 50
    assert [attrs for attrs in drawings if not (attrs.get("aria-label") or attrs.get("aria-hidden"))] == []


def test_a_run_of_nothing_still_makes_a_page() -> None:
    empty = RunContents(
        scores={"model": "m", "judge": {"name": "j"}},
        records=fake_run(scenes=1).records.slice(0, 0),
        media=MEDIA.empty_table(),
        answers=ANSWERS.empty_table(),
        read_media=lambda name: b"",
    )
    outline = Outline(build_report(empty))
    assert outline.faults == []
    assert "There is no picture to show." in outline.text and "nothing could be measured of m" in outline.text


def test_clips_move_and_have_a_still_for_print_and_calm(tmp_path: Path) -> None:
    outline = Outline(build_report(fake_run(scenes=8, modality="video")))
    stills = outline.all_of("source")
    assert len(stills) == len(outline.all_of("img")) > 0
    assert all("prefers-reduced-motion" in (attrs["media"] or "") for attrs in stills)
    assert "8 frames" in outline.text and "Clips" in outline.text


def test_two_dozen_photographs_make_a_file_that_can_be_mailed() -> None:
    run = fake_run(scenes=30)
    noise = [Image.frombytes("RGB", (96, 96), random.Random(k).randbytes(96 * 96 * 3)).resize((1024, 768)) for k in range(2)]
    files = []
    for image in noise:
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=95)
        files.append(buffer.getvalue())
    page = build_report(repainted(run, files))
    assert len(Outline(page).all_of("img")) == 24
    assert len(page.encode()) < 3_500_000


def test_it_is_written_in_one_step_or_not_at_all(run: RunContents, report: str, tmp_path: Path) -> None:
    write_report(tmp_path / "report.html", run)
    assert (tmp_path / "report.html").read_text(encoding="utf-8") == report
    with pytest.raises(RunError):
        write_report(tmp_path / "no" / "report.html", run, most_pictures=0)
