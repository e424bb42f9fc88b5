"""A whole run: what scores.json holds, what is counted as missing, and judges that cheat."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from anyscene.errors import SpecError
from anyscene.scoring import Scores, score_run

SCENES = 60


def make_scenes(build: Any) -> dict[str, list[dict[str, Any]]]:
    ask = build.question
    return {
        f"s{i}": [
            ask("o", f"Is there a dog {i % 7}?", elements=["o0"]),
            ask("a", f"Is dog {i} red?", kind="attribute", depends_on=["o"], elements=["o0.a0"]),
            ask("f", f"Is there a cat {i}?", answer="no", elements=["o0"], foil="absent_object"),
            ask("s", f"Is dog {i} blue?", answer="no", kind="attribute", depends_on=["o"], elements=["o0.a0"], foil="swapped_attribute"),
            ask("c", f"Which animal {i}?", "dog", form="choice", choices=["dog", "cat"], elements=["o0"]),
        ]
        for i in range(SCENES)
    }


GRAPH = {
    "objects": [{"id": "o0", "name": "dog", "attributes": [{"type": "color", "value": "red"}]}],
    "relations": [],
    "scene_attributes": [],
}


def make_run(build: Any, said: dict[tuple[str, str], Any], **options: Any) -> Scores:
    scenes = make_scenes(build)
    records = build.records(scenes, dict.fromkeys(scenes, GRAPH), {name: 4 + place % 3 for place, name in enumerate(scenes)})
    tables = records, options.pop("media", build.media(scenes)), options.pop("answers", build.answers(scenes, said))
    defaults = {
        "model": "m",
        "judge": {"name": "j", "revision": "1", "template": "t1"},
        "resamples": 300,
        "object_classes": {"dog": "animal"},
    }
    return score_run(*tables, **{**defaults, **options})


def honest(rng: np.random.Generator) -> dict[tuple[str, str], Any]:
    """Answers of a good judge about good pictures."""
    said: dict[tuple[str, str], Any] = {}
    for i in range(SCENES):
        for id, right in (("o", 1), ("a", 1), ("f", 0), ("s", 0)):
            said[(f"s{i}", id)] = abs(right - rng.beta(1, 6))
        said[(f"s{i}", "c")] = [0.8, 0.2]
    return said


def test_scores_have_the_agreed_shape_and_are_plain_json(build: Any) -> None:
    run = make_run(build, honest(np.random.default_rng(0)))
    found = json.loads(json.dumps(run.to_dict(), allow_nan=False))
    assert found["judge"] == {"name": "j", "revision": "1", "template": "t1"}
    assert (found["scenes"], found["samples"], found["headline"], found["basis"]) == (SCENES, 1, "soft", "yes_no")
    assert found["media"] == {"expected": 60, "made": 60, "failed": 0, "refused": 0, "missing": 0}
    assert found["questions"] == {"expected": 300, "answered": 300, "unsure": 0, "unparsed": 0, "refused": 0, "failed": 0, "missing": 0}
    assert set(found["scores"]) == {
        *("soft", "strict", "library", "in_place", "fixpoint", "paper", "all_correct"),
        *("soft_arithmetic", "soft_geometric", "balanced_accuracy"),
    }
    for one in found["scores"].values():
        assert set(one) == {"value", "low", "high", "n"} and 0 <= one["low"] <= one["value"] <= one["high"] <= 1
    assert list(found["by"]) == ["kind", "attribute_type", "relation_type", "complexity", "object_class", "form", "foil"]
    assert list(found["by"]["kind"]) == ["existence", "attribute"]
    assert list(found["by"]["complexity"]) == ["4", "5", "6"]
    assert found["by"]["attribute_type"]["color"]["questions"] == 2 * SCENES
    assert found["by"]["object_class"]["animal"]["balanced_accuracy"]["value"] > 0.9
    assert found["by"]["relation_type"] == {}
    assert found["noise_floor"] is None and found["corrected"] == {}
    assert set(found["scenes_needed"]) == {"0.01", "0.02", "0.05"} and found["scenes_needed"]["0.01"] > found["scenes_needed"]["0.05"]
    assert found["label_mass"] == {"mean": pytest.approx(0.9), "low_share": 0.0}


def test_a_group_is_the_mean_over_its_questions_without_foils(build: Any) -> None:
    said = honest(np.random.default_rng(0))
    run = make_run(build, said)
    soft = np.mean([said[(f"s{i}", "a")] for i in range(SCENES)])
    assert run.summary["by"]["kind"]["attribute"]["soft"]["value"] == pytest.approx(soft)
    assert run.summary["by"]["foil"]["absent_object"]["soft"]["value"] == pytest.approx(
        np.mean([1 - said[(f"s{i}", "f")] for i in range(SCENES)])
    )
    assert run.summary["by"]["form"]["choice"]["soft"]["value"] == pytest.approx(0.8)
    assert run.summary["by"]["form"]["choice"]["balanced_accuracy"] is None


@pytest.mark.parametrize("p", [1.0, 0.0, 0.5])
def test_a_judge_that_always_says_the_same_has_balanced_accuracy_one_half(build: Any, p: float) -> None:
    said = {(f"s{i}", id): p for i in range(SCENES) for id in "oafs"}
    run = make_run(build, said)
    assert run.summary["scores"]["balanced_accuracy"]["value"] == 0.5
    for kind in ("existence", "attribute"):
        assert run.summary["by"]["kind"][kind]["balanced_accuracy"]["value"] == 0.5
    assert run.summary["scores"]["strict"]["value"] == p


def test_missing_media_and_answers_are_counted_and_change_no_mean(build: Any) -> None:
    scenes = make_scenes(build)
    said = {key: 1.0 for key in honest(np.random.default_rng(0)) if key[1] in "oafs"}
    said |= {("s0", "o"): "unsure", ("s1", "o"): "failed", ("s2", "a"): "refused"}
    said.pop(("s3", "o"))
    media = build.media(list(scenes)[:-2], status={("s4", 0): "failed", ("s5", 0): "refused"})
    run = make_run(build, said, media=media, samples=1)
    found = run.summary
    assert found["media"] == {"expected": 60, "made": 56, "failed": 1, "refused": 1, "missing": 2}
    asked = 4 * SCENES  # the question with choices was never asked
    assert found["questions"]["expected"] == asked
    assert {name: found["questions"][name] for name in ("unsure", "failed", "refused", "missing")} == {
        "unsure": 1,
        "failed": 1,
        "refused": 1,
        "missing": 1 + 4 * 4,
    }
    assert sum(found["questions"][name] for name in ("answered", "unsure", "unparsed", "refused", "failed", "missing")) == asked
    assert found["scores"]["strict"] == {**found["scores"]["strict"], "value": 1.0, "n": 56}
    assert found["scores"]["library"]["value"] == 1.0
    assert found["scores"]["all_correct"]["n"] == 56 - 4


def test_samples_that_the_manifest_lacks_are_missing(build: Any) -> None:
    run = make_run(build, honest(np.random.default_rng(0)), samples=3)
    assert run.summary["media"]["expected"] == 180 and run.summary["media"]["missing"] == 120
    assert run.summary["questions"]["missing"] == 600


def test_no_answer_at_all_gives_no_score(build: Any) -> None:
    found = make_run(build, {}).summary
    assert all(one == {"value": None, "low": None, "high": None, "n": 0} for one in found["scores"].values())
    assert found["scenes_needed"]["0.01"] is None and found["questions"]["missing"] == 300
    json.dumps(found, allow_nan=False)


def labels_of(build: Any, keys: Any, truth: dict[tuple[str, str], str]) -> pa.Table:
    scenes = make_scenes(build)
    asked = {(name, one["id"]): keys(one) for name, questions in scenes.items() for one in questions}
    return pa.table(
        {
            "media_sha256": [build.digest(name) for name, _ in truth],
            "question_key": [asked[key] for key in truth],
            "answer": list(truth.values()),
        },
        pa.schema({"media_sha256": pa.string(), "question_key": pa.string(), "answer": pa.string()}),
    )


def test_foils_tell_the_specificity_and_nothing_of_the_sensitivity(build: Any) -> None:
    said = honest(np.random.default_rng(0)) | {(f"s{i}", "f"): 0.9 for i in range(15)}
    quality = make_run(build, said).summary["judge_quality"]
    assert quality["source"] == "foils" and quality["labels"] == 0 and quality["reliability"] == []
    assert quality["by_kind"]["existence"]["specificity"]["value"] == pytest.approx(45 / 60)
    assert quality["by_kind"]["existence"]["sensitivity"] is None


def test_labels_tell_both_and_correct_the_scores(build: Any, keys: Any) -> None:
    said = {(f"s{i}", id): p for i in range(SCENES) for id, p in (("o", 0.9), ("a", 0.9), ("f", 0.1), ("s", 0.1))}
    said |= {(f"s{i}", "a"): 0.1 for i in range(20)}  # said no, rightly; of the others two should have been no
    truth = {(f"s{i}", "a"): "no" if i < 22 else "yes" for i in range(SCENES)} | {(f"s{i}", "o"): "Yes." for i in range(30)}
    found = make_run(build, said, labels=labels_of(build, keys, truth), labels_source="truth").summary
    quality = found["judge_quality"]
    assert (quality["source"], quality["labels"]) == ("truth", 90)
    assert quality["by_kind"]["attribute"]["specificity"]["value"] == pytest.approx(20 / 22)
    assert quality["by_kind"]["attribute"]["sensitivity"]["value"] == 1.0
    assert quality["by_kind"]["existence"]["specificity"] is None
    attribute = found["corrected"]["attribute"]
    assert attribute["raw"]["value"] == pytest.approx(40 / 60)
    assert attribute["rogan_gladen"]["value"] == pytest.approx(38 / 60)
    assert attribute["prediction_powered"]["value"] == pytest.approx(38 / 60)
    assert found["corrected"]["existence"]["rogan_gladen"] is None
    assert sum(one["n"] for one in quality["reliability"]) == 90
    json.dumps(found, allow_nan=False)


def test_several_labels_of_a_question_are_put_to_the_vote(build: Any, keys: Any) -> None:
    said = honest(np.random.default_rng(0))
    votes = [{("s0", "o"): "no"}, {("s0", "o"): "no"}, {("s0", "o"): "yes"}, {("s1", "o"): "no"}, {("s1", "o"): "yes"}]
    labels = pa.concat_tables([labels_of(build, keys, one) for one in votes])
    run = make_run(build, said, labels=labels)
    table = run.rows_table().filter(pa.compute.equal(run.rows_table()["question_id"], "o"))
    assert table["label"].to_pylist()[:3] == [0.0, None, None]


def test_rows_say_what_each_question_contributed(build: Any) -> None:
    said = honest(np.random.default_rng(0)) | {("s0", "a"): "unsure"}
    table = make_run(build, said).rows_table()
    assert table.num_rows == 5 * SCENES
    first = table.slice(0, 2).to_pylist()
    assert first[0]["value"] == pytest.approx(said[("s0", "o")]) and first[0]["gold"] == "yes" and first[0]["object_class"] == "animal"
    assert (first[1]["status"], first[1]["value"], first[1]["attribute_type"]) == ("unsure", None, "color")


def test_several_pictures_a_scene_give_a_noise_floor(build: Any) -> None:
    scenes = make_scenes(build)
    rng = np.random.default_rng(0)
    answers = pa.concat_tables([build.answers(scenes, honest(rng), sample) for sample in range(2)])
    found = make_run(build, {}, answers=answers, media=build.media(scenes, samples=2)).summary
    assert found["samples"] == 2 and found["noise_floor"]["samples"] == 2
    assert 0 < found["noise_floor"]["soft"]["seed_sd"] < found["noise_floor"]["soft"]["half_width"] < 0.1


def test_scores_are_a_pure_function(build: Any) -> None:
    said = honest(np.random.default_rng(0))
    assert make_run(build, said).to_dict() == make_run(build, said).to_dict()
    scenes = make_scenes(build)
    shuffled = build.answers(scenes, said).take(pa.array(np.random.default_rng(1).permutation(len(said))))
    assert make_run(build, said, answers=shuffled).to_dict() == make_run(build, said).to_dict()


def test_wrong_arguments_are_refused(build: Any) -> None:
    with pytest.raises(SpecError, match="labels, truth"):
        make_run(build, {}, labels_source="rumour")
    with pytest.raises(SpecError, match="between 0 and 1"):
        make_run(build, {}, level=95)
