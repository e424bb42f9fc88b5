"""DSG: published numbers from the stored answers, and small files with every fault."""

from __future__ import annotations

import csv
from collections import Counter
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest

from anyscene.benchmarks import BenchmarkResult, Items, Numbers, Replies, Reply, load_benchmark
from anyscene.benchmarks.propositions import graph_of_tuples
from anyscene.errors import RecordError, SpecError

DATA = Path(__file__).parents[3] / "shared" / "data" / "dsg"
QUESTIONS = "item_id,text,keywords,proposition_id,dependency,category_broad,category_detailed,tuple,question_natural_language".split(",")
ANSWERS = "dsg_prompt_split,qg_model,t2i_model,item_id,question,question_id,dependency_id,answer".split(",")
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="the data of the DSG release are not here")

DSG = load_benchmark("dsg")
Row = tuple[str, int | str, str]


def write_questions(path: Path, rows: list[Row]) -> Path:
    """(item, proposition, dependency) rows."""
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, QUESTIONS)
        writer.writeheader()
        for item, number, dependency in rows:
            named = {"item_id": item, "text": f"prompt {item}", "proposition_id": number, "dependency": dependency}
            writer.writerow(dict.fromkeys(QUESTIONS, "") | named | {"question_natural_language": f"Is it {number}?"})
    return path


def write_answers(path: Path, rows: list[Row], model: str = "m") -> Path:
    """(item, question, answer) rows."""
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, ANSWERS)
        writer.writeheader()
        for item, number, answer in rows:
            writer.writerow(dict.fromkeys(ANSWERS, "") | {"t2i_model": model, "item_id": item, "question_id": number, "answer": answer})
    return path


def score(folder: Path, questions: list[Row], answers: list[Row]) -> BenchmarkResult:
    items = DSG.import_items(write_questions(folder / "q.csv", questions))
    return DSG.score(items, DSG.read_evidence(write_answers(folder / "a.csv", answers), items))


def columns(found: Numbers) -> dict[str, float | None]:
    return {name: one.value for name, one in found.columns.items()}


# ---- by hand ----------------------------------------------------------------------------------------------------------------


def test_every_column_by_hand(tmp_path: Path) -> None:
    questions: list[Row] = [
        ("tifa_1", 1, "0"),
        ("tifa_1", 2, "1"),
        ("tifa_1", 3, "2"),
        ("tifa_1", 4, "0"),
        ("vrd_1", 1, "0"),
        ("vrd_1", 2, "1"),
    ]
    answers: list[Row] = [("tifa_1", 1, "no"), *(("tifa_1", n, "yes") for n in (2, 3, 4)), ("vrd_1", 1, "yes"), ("vrd_1", 2, "yes")]
    found = score(tmp_path, questions, answers)
    expected = {
        "library": 75.0,
        "in_place": 62.5,
        "fixpoint": 62.5,
        "no_dependency": 87.5,
        "paper": 81.25,
        "micro": 100 * 4 / 6,
        "all_correct": 50.0,
    }
    assert columns(found.official) == pytest.approx(expected) and columns(found.fixed) == pytest.approx(expected)
    assert {name: one.value for name, one in found.official.by["category"].items()} == {"tifa": 50.0, "relation": 100.0}
    assert (found.counts.answered, found.counts.items_scored) == (6, 2)


def test_zeros_pass_to_later_questions_in_place_and_to_all_at_the_fixpoint(tmp_path: Path) -> None:
    questions: list[Row] = [("tifa_1", 1, "2"), ("tifa_1", 2, "3"), ("tifa_1", 3, "0"), ("tifa_1", 4, "2")]
    answers: list[Row] = [("tifa_1", 1, "yes"), ("tifa_1", 2, "yes"), ("tifa_1", 3, "no"), ("tifa_1", 4, "yes")]
    found = columns(score(tmp_path, questions, answers).official)
    assert (found["library"], found["in_place"], found["fixpoint"]) == (50.0, 25.0, 0.0)


def test_a_prompt_without_answers_scores_0_officially_and_is_left_out_when_fixed(tmp_path: Path) -> None:
    questions: list[Row] = [("tifa_1", 1, "0"), ("tifa_2", 1, "0"), ("vrd_1", 1, "0")]
    found = score(tmp_path, questions, [("tifa_1", 1, "yes")])
    official, fixed = columns(found.official), columns(found.fixed)
    assert (official["library"], official["all_correct"], official["micro"]) == (50.0, 50.0, 100.0)
    assert (fixed["library"], fixed["all_correct"]) == (100.0, 100.0)
    assert found.official.headline.n == 2 and found.fixed.headline.n == 1  # relation was never asked about


ODD = [("Yes", True), ("yes ", True), ("no bus", False), ("no kite", False), ("", None), ("unsuitable", None), ("stat stat", None)]
ODD += [("1" + "0" * 40, None), ("yes 1" + "0" * 40, True)]


@pytest.mark.parametrize(("answer", "lenient"), ODD)
def test_only_a_bare_yes_is_yes_officially(tmp_path: Path, answer: str, lenient: bool | None) -> None:
    questions: list[Row] = [("tifa_1", 1, "0"), ("tifa_1", 2, "0")]
    found = score(tmp_path, questions, [("tifa_1", 1, "yes"), ("tifa_1", 2, answer)])
    assert columns(found.official)["no_dependency"] == 50.0
    assert columns(found.fixed)["no_dependency"] == {True: 100.0, False: 50.0, None: 100.0}[lenient]
    assert (found.counts.answered, found.counts.unparsed) == (1 + (lenient is not None), lenient is None)
    assert (columns(found.fixed)["all_correct"] is None) == (lenient is None)


def test_an_unanswered_question_counts_as_no_officially_and_is_missing_when_fixed(tmp_path: Path) -> None:
    questions: list[Row] = [("tifa_1", 1, "0"), ("tifa_1", 2, "0"), ("tifa_1", 3, "2")]
    found = score(tmp_path, questions, [("tifa_1", 1, "yes"), ("tifa_1", 3, "yes")])
    official, fixed = columns(found.official), columns(found.fixed)
    assert (official["no_dependency"], official["library"]) == pytest.approx((200 / 3, 100 / 3))
    assert (fixed["no_dependency"], fixed["library"], fixed["all_correct"]) == (100.0, 100.0, None)
    assert found.counts.missing == 1


def test_a_wrong_answer_is_known_to_be_wrong_whatever_is_missing_beside_it(tmp_path: Path) -> None:
    questions: list[Row] = [("tifa_1", 1, "0"), ("tifa_1", 2, "0"), ("tifa_2", 1, "0")]
    found = score(tmp_path, questions, [("tifa_1", 1, "no"), ("tifa_2", 1, "yes")])
    assert columns(found.fixed)["all_correct"] == 50.0


def test_a_malformed_dependency_drops_all_of_its_item_officially_and_is_read_when_fixed(tmp_path: Path) -> None:
    questions: list[Row] = [("tifa_1", 1, "0"), ("tifa_1", 2, "1, right"), ("tifa_1", 3, "1")]
    found = score(tmp_path, questions, [("tifa_1", 1, "no"), ("tifa_1", 2, "yes"), ("tifa_1", 3, "yes")])
    assert columns(found.official)["library"] == pytest.approx(200 / 3)
    assert columns(found.fixed)["library"] == 0.0


def test_dangling_self_and_cyclic_dependencies_are_survived(tmp_path: Path) -> None:
    questions: list[Row] = [("tifa_1", 1, "1"), ("tifa_1", 2, "3"), ("tifa_1", 3, "2"), ("tifa_1", 4, "9")]
    yes: list[Row] = [("tifa_1", n, "yes") for n in range(1, 5)]
    found = columns(score(tmp_path, questions, yes).official)
    assert {found[name] for name in ("library", "in_place", "fixpoint", "all_correct")} == {100.0}
    found = columns(score(tmp_path, questions, [*yes[:1], ("tifa_1", 2, "no"), *yes[2:]]).official)
    assert {found[name] for name in ("library", "in_place", "fixpoint")} == {50.0}


def test_two_answers_to_one_question_are_refused_and_strange_ones_are_counted(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="line 3: tifa_1 has another answer"):
        score(tmp_path, [("tifa_1", 1, "0")], [("tifa_1", 1, "no"), ("tifa_1", 1, "yes")])
    found = score(tmp_path, [("tifa_1", 1, "0")], [("tifa_1", 1, "yes"), ("tifa_1", 1, "yes"), ("nowhere", 1, "no"), ("tifa_1", 7, "no")])
    assert columns(found.official)["library"] == 100.0
    assert [note.line() for note in found.notes] == ["2 answers are to no question of the benchmark", "1 rows repeat another one"]


@pytest.mark.parametrize(
    ("item", "category"),
    [
        ("tifa160_1", "tifa"),
        ("stanford_paragraph_2", "paragraph"),
        ("localized_narratives_9", "paragraph"),
        ("countbench_1", "count"),
        ("vrd_4", "relation"),
        ("diffusiondb_16", "real_user"),
        ("midjourney_3", "real_user"),
        ("posescript_1", "pose"),
        ("whoops_5", "defying"),
        ("drawtext_45", "text"),
        ("my_own", "other"),
        ("tifa_vrd", "tifa"),
    ],
)
def test_categories_come_from_the_id(tmp_path: Path, item: str, category: str) -> None:
    assert list(score(tmp_path, [(item, 1, "0")], [(item, 1, "yes")]).official.by["category"]) == [category]


def test_files_of_others_are_refused_in_one_line(tmp_path: Path) -> None:
    questions = write_questions(tmp_path / "q.csv", [("tifa_1", 1, "0")])
    answers = write_answers(tmp_path / "a.csv", [("tifa_1", 1, "yes")])
    items = DSG.import_items(questions)

    def refused(path: Path, said: str) -> None:
        with pytest.raises(RecordError, match=said):
            DSG.score(items, DSG.read_evidence(path, items))

    refused(questions, "lacks the column question_id")
    with pytest.raises(RecordError, match="lacks the column text"):
        DSG.import_items(answers)
    refused(tmp_path / "none.csv", "No such file")
    refused(tmp_path, "a folder; a file is wanted")
    refused(write_answers(tmp_path / "c.csv", [("tifa_1", "x", "yes")]), r"line 2: question_id 'x'")
    refused(write_answers(tmp_path / "d.csv", []), "holds no rows")
    (tmp_path / "e.csv").write_bytes(b"\xff\xfe\x00binary")
    refused(tmp_path / "e.csv", "save the file as UTF-8")
    (tmp_path / "f.csv").write_text("item_id,question_id,answer\ntifa_1,1\n")
    refused(tmp_path / "f.csv", "line 2: a row of fewer columns")
    refused(write_answers(tmp_path / "g.csv", [("elsewhere", 1, "yes")]), "none of the 0 pictures answered about")


def test_the_model_may_be_left_out_where_there_is_one(tmp_path: Path) -> None:
    items = DSG.import_items(write_questions(tmp_path / "q.csv", [("tifa_1", 1, "0")]))
    one = write_answers(tmp_path / "a.csv", [("tifa_1", 1, "yes")], "flux")
    assert DSG.read_evidence(one, items).model == "flux"
    both = tmp_path / "both.csv"
    both.write_text(one.read_text() + "x,x,sdxl,tifa_1,q,1,0,no\nx,x,,tifa_1,q,1,0,no\n")
    assert DSG.read_evidence(both, items, model="sdxl").by_media == {("tifa_1", 0): {"q1": Reply("no")}}
    for model in (None, "dalle"):
        with pytest.raises(SpecError, match="the file has '', flux, sdxl"):
            DSG.read_evidence(both, items, model=model)
    bare = tmp_path / "bare.csv"
    bare.write_text("item_id,question_id,answer\ntifa_1,1.0,yes\n")
    assert DSG.read_evidence(bare, items, model="mine").model == "mine"


def test_answers_about_other_items_say_nothing_of_the_number_of_samples(tmp_path: Path) -> None:
    items = DSG.import_items(write_questions(tmp_path / "q.csv", [("tifa_1", 1, "0")]))
    path = tmp_path / "a.csv"
    path.write_text("item_id,question_id,answer,sample\ntifa_1,1,yes,0\nelsewhere,1,yes,900\n")
    assert DSG.read_evidence(path, items).samples == 1


# ---- published -------------------------------------------------------------------------------------------------------------

PUBLISHED: dict[str, dict[str, Any]] = {
    "pali17b": {
        "by_category": [88.1, 85.1, 34.4, 70.4, 89.7, 89.6, 84.4, 83.7],
        "library": 80.49,
        "in_place": 80.38,
        "fixpoint": 80.34,
        "no_dependency": 82.9,
        "paper": 81.72,
        "micro": 77.97,
        "all_correct": 53.30,
    },
    "mplug": {
        "by_category": [93.3, 89.9, 43.7, 73.7, 85.1, 93.4, 84.1, 86.0],
        "library": 83.05,
        "in_place": 82.90,
        "fixpoint": 82.90,
        "no_dependency": 87.6,
        "paper": 85.31,
        "micro": 81.72,
        "all_correct": 62.83,
    },
}
ORDER = ["tifa", "paragraph", "relation", "count", "real_user", "pose", "defying", "text"]


@lru_cache
def released() -> Items:
    return DSG.import_items(DATA / "dsg-1k-anns.csv")


@needs_data
@pytest.mark.parametrize(("judge", "library", "no_dependency"), [("pali17b", 84.28, 87.27), ("mplug", 90.45, 93.94)])
def test_a_model_that_was_judged_on_one_part_is_scored_on_that_part(judge: str, library: float, no_dependency: float) -> None:
    found = DSG.score(released(), DSG.read_evidence(DATA / f"{judge}_dsg.csv", released(), model="mini-dalle")).official
    assert found.headline.n == 160 and list(found.by["category"]) == ["tifa"]
    assert (round(found.headline.value or 0, 2), round(found.columns["no_dependency"].value or 0, 2)) == (library, no_dependency)


@needs_data
@pytest.mark.parametrize("judge", PUBLISHED)
def test_published_scores_come_out_to_the_printed_digits(judge: str) -> None:
    found = DSG.score(released(), DSG.read_evidence(DATA / f"{judge}_dsg.csv", released(), model="sd2dot1"))
    expected = PUBLISHED[judge]
    own, categories = found.official.columns, found.official.by["category"]
    assert [round(categories[category].value or 0, 1) for category in ORDER] == expected["by_category"]
    assert {name: round(own[name].value or 0, 1 if name == "no_dependency" else 2) for name in own} == {
        name: value for name, value in expected.items() if name != "by_category"
    }
    ends = found.official.headline
    assert ends.low is not None and ends.high is not None and (ends.high - ends.low) / 2 == pytest.approx(1.75, abs=0.2)
    assert found.counts.items_scored == 1059 and ends.n == 1060 and not found.judge_note
    assert judge != "pali17b" or (found.counts.answered, found.counts.unparsed) == (8104, 70)  # 69 of these are empty
    assert [categories[category].n for category in ORDER] == [160, 200, 100, 100, 200, 100, 100, 100]


@needs_data
def test_every_fault_of_the_released_file_is_counted() -> None:
    items = released()
    notes = {note.what.split(",")[0].split(";")[0]: note.count for note in items.notes}
    assert notes == {
        "dependencies with a part that is no number": 10,
        "dependencies on later questions": 48,
        "prompts whose questions depend on each other in a circle": 3,
        "dependencies of a question on itself": 44,
        "dependencies on questions that are not there": 8,
        "prompts whose questions are not numbered from 1 without a gap": 1,
    }
    assert sum(extra["malformed"] for extra in items.extras.values()) == 8
    assert (len(items.records), sum(len(record["questions"]) for record in items.records)) == (1060, 8182)
    broad = Counter(one["broad"] for extra in items.extras.values() for one in extra["questions"].values())
    assert broad == {"entity": 3395, "relation": 2069, "attribute": 1950, "global": 475, "other": 293}
    assert max(len(record["questions"]) for record in items.records) == 52
    assert {item for item, extra in items.extras.items() if "q1" not in extra["questions"]} == {"tifa160_134"}


def test_the_faults_of_the_code_are_weighed_one_by_one(tmp_path: Path) -> None:
    questions: list[Row] = [("tifa_1", 1, "0"), ("tifa_1", 2, "1, right"), ("tifa_2", 1, "0"), ("tifa_2", 2, "0"), ("tifa_3", 1, "0")]
    items = DSG.import_items(write_questions(tmp_path / "q.csv", questions))
    answers = [("tifa_1", 1, "no"), ("tifa_1", 2, "yes"), ("tifa_2", 1, "Yes."), ("tifa_2", 2, "yes")]
    found = DSG.score(items, DSG.read_evidence(write_answers(tmp_path / "a.csv", answers), items))
    assert found.official.headline.value == pytest.approx(100 * (0.5 + 0.5 + 0) / 3)
    assert found.fixed.headline.value == pytest.approx(100 * (0 + 1) / 2)
    effects = {one.name: one.effect for one in found.faults}
    assert effects == pytest.approx({"malformed-dependencies": 50 / 3, "exact-yes": -50 / 3, "silence-is-zero": -50 / 3})


def test_samples_of_a_prompt_are_a_mean_and_other_judges_are_named(tmp_path: Path) -> None:
    items = DSG.import_items(write_questions(tmp_path / "q.csv", [("tifa_1", 1, "0"), ("tifa_1", 2, "1")]))
    said = {
        ("tifa_1", 0): {"q1": Reply("Yes", 0.9), "q2": Reply("No", 0.1)},
        ("tifa_1", 1): {"q1": Reply("No", 0.3), "q2": Reply("Yes", 0.8)},
    }
    found = DSG.score(items, Replies(said, "m", "some:judge", samples=2))
    assert (found.official.headline.value, found.official.columns["no_dependency"].value) == (25.0, 50.0)
    assert found.fixed.headline.value == 25.0 and "not the published judge" in found.judge_note


def test_tuples_become_a_graph() -> None:
    graph, elements = graph_of_tuples(
        ["attribute - color (cube, dark, red)", "entity - whole (cube)", "relation - spatial (Cube, box, on)", "global - - (noir)", "other"]
    )
    assert [one["name"] for one in graph["objects"]] == ["cube", "box"]
    assert graph["objects"][0]["attributes"] == [{"type": "color", "value": "dark, red"}]
    assert graph["relations"] == [{"subject": "o0", "predicate": "on", "object": "o1"}]
    assert graph["scene_attributes"] == [{"type": "global", "value": "noir"}]
    assert elements == [["o0.a0"], ["o0"], ["r0"], ["s0"], []]
