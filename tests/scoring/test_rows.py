"""Answers meet their questions: values, credits, what is missing, and what a question is about."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from anyscene.errors import RecordError, SpecError
from anyscene.language.question import Question
from anyscene.scoring.question_bank import coded, question_bank
from anyscene.scoring.rows import ROW_STATUSES, score_rows

GRAPH = {
    "objects": [
        {"id": "o0", "name": "dog", "attributes": [{"type": "color", "value": "red"}, {"type": "size", "value": "huge"}]},
        {"id": "o1", "name": "oak", "attributes": []},
    ],
    "relations": [{"subject": "o0", "predicate": "beside", "object": "o1"}],
    "scene_attributes": [{"type": "weather", "value": "rainy"}],
}


def test_value_is_the_probability_of_the_right_answer(build: Any) -> None:
    scenes = {"a": [build.question("yes"), build.question("no", answer="no", foil="absent_object")]}
    rows = score_rows(build.records(scenes), build.media(scenes), build.answers(scenes, {("a", "yes"): 0.9, ("a", "no"): 0.2}))
    assert rows.value.tolist() == [0.9, 0.8]
    assert rows.credit.tolist() == [1.0, 1.0]


def test_exactly_one_half_earns_half(build: Any) -> None:
    scenes = {"a": [build.question("q"), build.question("r", answer="no", foil="absent_object")]}
    rows = score_rows(build.records(scenes), build.media(scenes), build.answers(scenes, {("a", "q"): 0.5, ("a", "r"): 0.5}))
    assert rows.credit.tolist() == [0.5, 0.5]


@pytest.mark.parametrize("status", ["unsure", "unparsed", "refused", "failed"])
def test_any_other_status_is_missing_even_with_a_probability(build: Any, status: str) -> None:
    scenes = {"a": [build.question("q"), build.question("r")]}
    answers = build.answers(scenes, {("a", "q"): {"p_yes": 0.9, "status": status}, ("a", "r"): 1})
    rows = score_rows(build.records(scenes), build.media(scenes), answers)
    assert np.isnan(rows.value).tolist() == [True, False]
    assert ROW_STATUSES[rows.status[0]] == status


def test_no_answer_is_missing_and_an_answer_without_a_probability_unparsed(build: Any) -> None:
    scenes = {"a": [build.question("q"), build.question("r"), build.question("s")]}
    answers = build.answers(scenes, {("a", "q"): {"p_yes": None}, ("a", "s"): 0.0})
    rows = score_rows(build.records(scenes), build.media(scenes), answers)
    assert [ROW_STATUSES[one] for one in rows.status] == ["unparsed", "missing", "answered"]
    assert np.isnan(rows.value).tolist() == [True, True, False]


def test_choices_take_the_probability_of_the_right_one_and_share_the_credit_of_ties(build: Any) -> None:
    def choice(id: str) -> Any:
        return build.question(id, "What colour is it?" + id, "red", form="choice", choices=["blue", "red", "green"])

    scenes = {"a": [choice("likeliest"), choice("tied"), choice("wrong")]}
    said = {("a", "likeliest"): [0.3, 0.4, 0.3], ("a", "tied"): [0.1, 0.45, 0.45], ("a", "wrong"): [0.6, 0.4, 0.0]}
    rows = score_rows(build.records(scenes), build.media(scenes), build.answers(scenes, said))
    assert rows.value.tolist() == [0.4, 0.45, 0.4]
    assert rows.credit.tolist() == [1.0, 0.5, 0.0]


def test_choices_without_probabilities_are_read_from_the_text(build: Any) -> None:
    def choice(id: str) -> Any:
        return build.question(id, "Which one?" + id, "red", form="choice", choices=["blue", "red"])

    scenes = {"a": [choice("right"), choice("wrong"), choice("neither")]}
    said = {("a", "right"): {"text": "Red."}, ("a", "wrong"): {"text": "blue"}, ("a", "neither"): {"text": "purple"}}
    rows = score_rows(build.records(scenes), build.media(scenes), build.answers(scenes, said))
    assert rows.value[:2].tolist() == [1.0, 0.0]
    assert np.isnan(rows.value[2]) and ROW_STATUSES[rows.status[2]] == "unparsed"


def test_open_answers_are_compared_in_one_form(build: Any) -> None:
    asked = [build.question(f"q{i}", f"How many? {i}", "two dogs", kind="count", form="open") for i in range(4)]
    scenes = {"a": asked}
    texts = ["2 dogs", "The two Dogs.", "three dogs", ""]
    said = {("a", f"q{i}"): {"text": text} for i, text in enumerate(texts)}
    rows = score_rows(build.records(scenes), build.media(scenes), build.answers(scenes, said))
    assert rows.value[:3].tolist() == [1.0, 1.0, 0.0]
    assert ROW_STATUSES[rows.status[3]] == "unparsed"


def test_a_wrong_number_of_probabilities_is_refused(build: Any) -> None:
    scenes = {"a": [build.question("q", "Which?", "red", form="choice", choices=["blue", "red"])]}
    answers = build.answers(scenes, {("a", "q"): [0.2, 0.3, 0.5]})
    with pytest.raises(RecordError, match="3 probabilities to a question with 2 choices"):
        score_rows(build.records(scenes), build.media(scenes), answers)


def test_an_answer_replaces_a_failure_and_a_later_answer_an_earlier_one(build: Any) -> None:
    scenes = {"a": [build.question("q"), build.question("r")]}
    parts = [{("a", "q"): 0.1, ("a", "r"): 0.3}, {("a", "q"): "failed", ("a", "r"): 0.9}]
    answers = pa.concat_tables([build.answers(scenes, part) for part in parts])
    rows = score_rows(build.records(scenes), build.media(scenes), answers)
    assert rows.value.tolist() == [0.1, 0.9]


def test_media_that_were_not_made_have_no_rows_and_of_two_entries_the_later_counts(build: Any) -> None:
    scenes = {"a": [build.question("q")], "b": [build.question("q")]}
    media = pa.concat_tables([build.media(scenes, status={("a", 0): "failed", ("b", 0): "refused"}), build.media(["b"])])
    rows = score_rows(build.records(scenes), media, build.answers(scenes, {("b", "q"): 1}))
    assert rows.media_status == ("failed", "made")
    assert rows.row_scene.tolist() == [1]


def test_equal_pictures_of_one_question_share_an_answer(build: Any) -> None:
    scenes = {"a": [build.question("q")]}
    media = build.media(scenes, samples=2)
    twin = media.set_column(5, "sha256", pa.array([build.digest("a")] * 2))
    rows = score_rows(build.records(scenes), twin, build.answers(scenes, {("a", "q"): 0.7}))
    assert rows.value.tolist() == [0.7, 0.7]


def test_forms_that_were_never_asked_have_no_rows_unless_named(build: Any) -> None:
    scenes = {"a": [build.question("q"), build.question("o", "What is it?", "a dog", form="open")]}
    tables = build.records(scenes), build.media(scenes), build.answers(scenes, {("a", "q"): 1})
    assert len(score_rows(*tables)) == 1
    assert len(score_rows(*tables, forms=("yes_no", "open"))) == 2


def test_keys_are_those_of_questions(build: Any) -> None:
    asked = [
        build.question("q", "Is it säuberlich?"),
        build.question("c", "Which?", "b", form="choice", choices=["a", "b"]),
        build.question("d", "Which?", "b", form="choice", choices=["b", "a"]),
        build.question("o", "Which?", "b", form="open"),
    ]
    bank = question_bank(build.records({"a": asked, "b": asked[:1]}))
    keys = [bank.key.words[code] for code in bank.key.index]
    assert keys == [Question.from_dict(one).key for one in (*asked, asked[0])]


def test_questions_know_what_they_are_about(build: Any) -> None:
    elements = {"o0": ["o0"], "o0.a1": ["o0.a1"], "r0": ["r0"], "s0": ["s0"], "none": [], "out of range": ["o7.a0"], "strange": ["x1"]}
    asked = [build.question(id, elements=own) for id, own in elements.items()]
    asked.append(build.question("absent", answer="no", elements=["o0"], foil="absent_object"))
    bank = question_bank(build.records({"a": asked}, {"a": GRAPH}), relation_types={"beside": "spatial"}, object_classes={"dog": "animal"})

    def words(column: Any) -> list[str | None]:
        return [None if code < 0 else column.words[code] for code in column.index]

    assert words(bank.attribute_type) == [None, "size", None, "weather", None, None, None, None]
    assert words(bank.relation_type) == [None, None, "spatial", None, None, None, None, None]
    assert words(bank.object_class) == ["animal", "animal", None, None, None, None, None, None]


def test_records_with_words_as_dictionaries_read_the_same(build: Any) -> None:
    from anyscene import SceneSpace
    from anyscene.dataset import record_schema

    table = SceneSpace(complexity=(4, 6)).table(0, 40)
    plain = pa.Table.from_pylist(table.to_pylist(), record_schema())
    first, second = question_bank(table), question_bank(plain)
    assert [first.key.words[code] for code in first.key.index] == [second.key.words[code] for code in second.key.index]
    assert first.parent.tolist() == second.parent.tolist() and len(first.parent) > 40
    expected = [Question.from_dict(one).key for row in plain["questions"].to_pylist() for one in row]
    assert [first.key.words[code] for code in first.key.index] == expected


@pytest.mark.parametrize("words", [["b", "a", "unused"], ["a", "b", "a"], ["b", None, "a"]])
def test_words_as_dictionaries_are_coded_as_they_would_be_as_text(words: list[str | None]) -> None:
    column = pa.DictionaryArray.from_arrays(pa.array([1, 0, None, 1, 0], pa.int32()), pa.array(words, pa.string()))
    found, plain = coded(column), coded(column.cast(pa.string()))
    assert found.words == plain.words
    assert found.index.tolist() == plain.index.tolist()


def test_dependencies_become_edges_between_rows_of_one_media(build: Any) -> None:
    asked = [build.question("p"), build.question("q", depends_on=["p", "nowhere"]), build.question("r", depends_on=["q", "p"])]
    scenes = {"a": asked, "b": asked[:2]}
    media = build.media(scenes, samples=2, status={("a", 1): "failed"})
    rows = score_rows(build.records(scenes), media, build.answers(scenes, {("a", "p"): 1}))
    child, parent = rows.edges()
    assert sorted(zip(child.tolist(), parent.tolist(), strict=True)) == [(1, 0), (2, 0), (2, 1), (4, 3), (6, 5)]
    assert rows.bank.dangling == 2


def test_edges_hold_where_some_forms_have_no_rows(build: Any) -> None:
    asked = [build.question("o", "What?", "x", form="open"), build.question("p"), build.question("q", depends_on=["p", "o"])]
    scenes = {"a": asked, "b": asked}
    rows = score_rows(build.records(scenes), build.media(scenes), build.answers(scenes, {("a", "p"): 1}))
    child, parent = rows.edges()
    assert list(zip(child.tolist(), parent.tolist(), strict=True)) == [(1, 0), (3, 2)]


def test_answers_of_several_judges_are_refused(build: Any) -> None:
    scenes = {"a": [build.question("q")]}
    answers = build.answers(scenes, {("a", "q"): 1})
    other = answers.set_column(4, "template", pa.array(["t2"])).cast(answers.schema)
    with pytest.raises(SpecError, match="several judges"):
        score_rows(build.records(scenes), build.media(scenes), pa.concat_tables([answers, other]))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"answer": "perhaps"}, "neither yes nor no"),
        ({"form": "choice", "answer": "red", "choices": ["blue"]}, "not among its choices"),
        ({"form": "essay"}, "question form 'essay'"),
    ],
)
def test_impossible_questions_are_refused_with_their_record(build: Any, change: dict[str, Any], said: str) -> None:
    with pytest.raises(RecordError, match=said) as caught:
        question_bank(build.records({"fine": [build.question("q")], "bad": [build.question("q") | change]}))
    assert "'bad'" in str(caught.value)


def test_probabilities_out_of_range_are_refused(build: Any) -> None:
    scenes = {"a": [build.question("q")]}
    with pytest.raises(RecordError, match="no probability"):
        score_rows(build.records(scenes), build.media(scenes), build.answers(scenes, {("a", "q"): 1.5}))


def test_a_table_that_lacks_a_column_is_refused_by_name(build: Any) -> None:
    scenes = {"a": [build.question("q")]}
    tables = [build.records(scenes), build.media(scenes), build.answers(scenes, {("a", "q"): 1})]
    for place, column in ((0, "questions"), (1, "sha256"), (2, "p_yes")):
        broken = list(tables)
        broken[place] = broken[place].drop_columns([column])
        with pytest.raises(RecordError, match=column):
            score_rows(*broken)


def test_no_answers_and_no_media_give_no_values(build: Any) -> None:
    scenes = {"a": [build.question("q")]}
    rows = score_rows(build.records(scenes), build.media(scenes), build.answers(scenes, {}))
    assert [ROW_STATUSES[one] for one in rows.status] == ["missing"]
    assert len(score_rows(build.records(scenes), build.media([]), build.answers(scenes, {}))) == 0
