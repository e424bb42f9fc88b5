"""Which pictures are shown: each scene once, and each for the reason that is given."""

from __future__ import annotations

import hashlib
from typing import Any

import pyarrow as pa
import pytest
from report_run import ANSWERS, JUDGE, MEDIA, question

from anyscene.dataset import record_schema
from anyscene.language.question import Question
from anyscene.report import Example, RunContents, select_examples, selected_differences
from anyscene.report import examples as module

QUESTIONS = [
    question("q0", "existence", "Is there a dog?", elements=["o0"]),
    question("q1", "existence", "Is there a cat?", elements=["o1"]),
    question("q2", "relation", "Is the dog above the cat?", depends_on=["q0", "q1"], elements=["r0"]),
    question("q3", "existence", "Is there a moon?", "no", elements=["o0"], foil="absent_object"),
    question(
        "q4", "attribute", "What color is the dog?", "red", form="choice", choices=["blue", "red"], depends_on=["q0"], elements=["o0.a0"]
    ),
]
GRAPH = {
    "objects": [
        {"id": "o0", "name": "dog", "attributes": [{"type": "color", "value": "red"}]},
        {"id": "o1", "name": "cat", "attributes": []},
    ],
    "relations": [{"subject": "o0", "predicate": "above", "object": "o1"}],
    "scene_attributes": [],
}
RIGHT: list[Any] = [0.9, 0.9, 0.9, 0.1, [0.1, 0.9]]
"""p_yes of the first four, probabilities of the choices of the last."""


def made_run(scenes: list[list[Any]], complexity: list[int] | None = None) -> RunContents:
    """A run of one picture a scene; for each its answers: p_yes, probabilities, a status, or None for no row at all."""
    records, media, answers = [], [], []
    for index, given in enumerate(scenes):
        sha = hashlib.sha256(str(index).encode()).hexdigest()
        size = complexity[index] if complexity else 4
        record = {
            "id": f"s{index}",
            "index": index,
            "caption": "A dog.",
            "graph": GRAPH,
            "complexity": size,
            "modality": "image",
            "plausibility": None,
        }
        records.append({**record, "spec_digest": "d", "seed": 0, "questions": QUESTIONS})
        media.append(
            {
                "record_id": f"s{index}",
                "index": index,
                "sample": 0,
                "seed": 1,
                "file": f"{index}.png",
                "sha256": sha,
                "status": "made",
                "reason": "",
                "details": "",
            }
        )
        for asked, one in zip(QUESTIONS, given, strict=True):
            row: dict[str, Any] = {
                "media_sha256": sha,
                "question_key": Question.from_dict(asked).key,
                "judge": JUDGE["name"],
                "revision": JUDGE["revision"],
            }
            row |= {
                "template": JUDGE["template"],
                "p_yes": None,
                "label_mass": None,
                "text": "said",
                "status": "answered",
                "probabilities": [],
            }
            if isinstance(one, float):
                answers.append(row | {"p_yes": one})
            elif isinstance(one, list):
                answers.append(row | {"probabilities": one})
            elif isinstance(one, str):
                answers.append(row | {"status": one})
    return RunContents(
        scores={"model": "m", "judge": JUDGE},
        records=pa.Table.from_pylist(records, record_schema()),
        media=pa.Table.from_pylist(media, MEDIA),
        answers=pa.Table.from_pylist(answers, ANSWERS),
        read_media=lambda name: b"",
    )


def changed(**answers: Any) -> list[Any]:
    return [answers.get(f"q{place}", one) for place, one in enumerate(RIGHT)]


def shown(run: RunContents, group: str, most: int = 24) -> list[str]:
    return [one.record["id"] for one in select_examples(run, most) if one.group == group]


def only(run: RunContents) -> Example:
    (found,) = module.judged_pictures(run)
    return found


def test_answers_become_verdicts_and_values_of_the_right_answer() -> None:
    example = only(made_run([[0.9, 0.2, 0.5, 0.9, [0.7, 0.3]]]))
    assert [one.verdict for one in example.asked] == ["right", "wrong", "open", "wrong", "wrong"]
    assert [one.value for one in example.asked] == pytest.approx([0.9, 0.2, 0.5, 0.1, 0.3])
    assert [one.said for one in example.asked] == ["yes", "no", "undecided", "yes", "blue"]
    assert example.soft == pytest.approx((0.9 + 0.2 + 0.5) / 3)  # no foil, no choice
    assert example.strict == pytest.approx(0.5)


def test_what_is_missing_has_no_value_and_no_part_in_the_mean() -> None:
    example = only(made_run([["unsure", None, 0.8, "failed", "refused"]]))
    assert [one.status for one in example.asked] == ["unsure", "missing", "answered", "failed", "refused"]
    assert [one.value for one in example.asked] == [None, None, pytest.approx(0.8), None, None]
    assert (example.soft, example.strict) == (pytest.approx(0.8), 1.0)


def test_a_picture_without_any_answer_has_no_score_and_is_neither_best_nor_worst() -> None:
    run = made_run([["failed"] * 5, RIGHT, [0.1, 0.1, 0.1, 0.9, [0.9, 0.1]]])
    silent = next(one for one in module.judged_pictures(run) if one.record["id"] == "s0")
    assert (silent.soft, silent.strict) == (None, None)
    assert "s0" not in shown(run, "best") + shown(run, "worst") + shown(run, "instructive")
    assert shown(run, "sample") == ["s0"]


def test_answers_of_another_judge_are_passed_over() -> None:
    run = made_run([RIGHT])
    other = run.answers.set_column(2, "judge", pa.array(["other"] * 5)).set_column(5, "p_yes", pa.array([0.0] * 4 + [None]))
    both = RunContents(run.scores, run.records, run.media, pa.concat_tables([run.answers, other]), run.read_media)
    assert [one.verdict for one in only(both).asked] == ["right"] * 5


def test_a_later_answer_replaces_a_failure_and_its_words_are_shown() -> None:
    run = made_run([["failed", *RIGHT[1:]]])
    again = made_run([RIGHT]).answers.slice(0, 1)
    example = only(RunContents(run.scores, run.records, run.media, pa.concat_tables([run.answers, again]), run.read_media))
    assert (example.asked[0].verdict, example.asked[0].said) == ("right", "yes")


def test_best_are_the_most_complex_of_the_faultless_and_worst_the_simplest_of_the_hopeless() -> None:
    hopeless = [0.1, 0.1, 0.1, 0.1, [0.9, 0.1]]
    run = made_run([RIGHT, RIGHT, RIGHT, hopeless, hopeless, hopeless], [3, 9, 5, 8, 2, 6])
    assert shown(run, "best")[:3] == ["s1", "s2", "s0"]
    assert shown(run, "worst") == ["s4", "s5", "s3"]


def why(run: RunContents) -> list[str]:
    return [one.why for one in select_examples(run) if one.group == "instructive"]


def test_a_wrong_relation_between_right_parts_is_instructive() -> None:
    assert why(made_run([RIGHT, changed(q2=0.05)])) == ["The objects are there, the relation is not: “Is the dog above the cat?”"]


def test_a_wrong_relation_of_a_missing_part_is_not() -> None:
    assert why(made_run([RIGHT, changed(q1=0.1, q2=0.05)])) == []


def test_a_confirmed_foil_is_instructive() -> None:
    (found,) = why(made_run([RIGHT, changed(q3=0.95)]))
    assert found.startswith("The judge confirms what was not asked for (absent object): “Is there a moon?”")


def test_a_part_of_an_object_that_is_not_there_is_a_contradiction() -> None:
    (found,) = why(made_run([RIGHT, changed(q0=0.05, q2=0.2)]))
    assert found == "The judge contradicts itself: “Is there a dog?” is wrong, yet “What color is the dog?” is right."


@pytest.mark.parametrize(("answer", "words"), [("unsure", "could not tell"), (0.55, "is torn")])
def test_doubt_is_instructive(answer: Any, words: str) -> None:
    assert why(made_run([RIGHT, changed(q1=answer)])) == [f"The judge {words}: “Is there a cat?”"]


def test_a_choice_that_cannot_be_made_is_no_doubt() -> None:
    assert why(made_run([RIGHT, changed(q4="unsure")])) == []


def test_no_scene_is_shown_twice_and_never_more_than_asked_for() -> None:
    run = made_run([RIGHT, changed(q2=0.1), changed(q3=0.9), changed(q0=0.1), changed(q1="unsure")] * 12)
    for most in (0, 1, 5, 24, 100):
        found = [one.record["id"] for one in select_examples(run, most)]
        assert len(found) == len(set(found)) <= most
        assert len(found) == min(most, 60)


def test_all_groups_have_their_share() -> None:
    run = made_run([RIGHT, changed(q2=0.1), changed(q3=0.9), changed(q0=0.1), changed(q1="unsure")] * 12)
    assert [len(shown(run, group)) for group in ("best", "worst", "instructive", "sample")] == [6, 6, 8, 4]


def test_the_fair_sample_does_not_depend_on_the_scores() -> None:
    good, bad = made_run([RIGHT] * 40), made_run([[0.1, 0.1, 0.1, 0.9, [0.9, 0.1]]] * 40)
    lots = [sorted((one.record["id"] for one in module.judged_pictures(run)), key=module._lot) for run in (good, bad)]
    assert lots[0] == lots[1] != sorted(lots[0])


def test_pictures_beyond_the_first_scenes_are_not_considered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CONSIDERED", 2)
    assert [one.record["id"] for one in module.judged_pictures(made_run([RIGHT] * 4))] == ["s0", "s1"]


def test_pairs_are_the_scenes_that_differ_most_and_no_others() -> None:
    a = made_run([RIGHT, changed(q2=0.1), RIGHT, changed(q0=0.1, q1=0.1, q2=0.1), ["failed"] * 5])
    b = made_run([RIGHT, RIGHT, changed(q0=0.1, q2=0.1), RIGHT, RIGHT])
    assert [one.record["id"] for one, _ in selected_differences(a, b)] == ["s3", "s2", "s1"]
    assert len(selected_differences(a, b, most=1)) == 1
