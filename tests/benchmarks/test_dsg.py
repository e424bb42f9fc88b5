"""DSG: published numbers from the stored answers, and small files with every fault."""

from __future__ import annotations

import csv
import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from anyscene.benchmarks import DsgScores, Replies, Reply, load_benchmark, read_dsg_answers, read_dsg_questions, score_dsg
from anyscene.benchmarks.propositions import graph_of_tuples
from anyscene.errors import RecordError, SpecError

DATA = Path(__file__).parents[3] / "shared" / "data" / "dsg"
QUESTIONS = "item_id,text,keywords,proposition_id,dependency,category_broad,category_detailed,tuple,question_natural_language".split(",")
ANSWERS = "dsg_prompt_split,qg_model,t2i_model,item_id,question,question_id,dependency_id,answer".split(",")
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="the data of the DSG release are not here")

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


def score(folder: Path, questions: list[Row], answers: list[Row], compat: str = "official") -> DsgScores:
    prompts = read_dsg_questions(write_questions(folder / "q.csv", questions), compat)
    return score_dsg(prompts, read_dsg_answers(write_answers(folder / "a.csv", answers)), compat=compat)


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
    found = score(tmp_path, questions, answers).to_dict()
    expected = {
        "library": 75.0,
        "in_place": 62.5,
        "fixpoint": 62.5,
        "no_dependency": 87.5,
        "paper": 81.25,
        "micro": 100 * 4 / 6,
        "all_correct": 50.0,
    }
    assert {name: found[name] for name in expected} == pytest.approx(expected)
    assert found["by_category"] == {"tifa": 50.0, "relation": 100.0}
    assert found["counts"]["answered"] == 6 and found["counts"]["yes"] == 5


def test_zeros_pass_to_later_questions_in_place_and_to_all_at_the_fixpoint(tmp_path: Path) -> None:
    questions: list[Row] = [("tifa_1", 1, "2"), ("tifa_1", 2, "3"), ("tifa_1", 3, "0"), ("tifa_1", 4, "2")]
    answers: list[Row] = [("tifa_1", 1, "yes"), ("tifa_1", 2, "yes"), ("tifa_1", 3, "no"), ("tifa_1", 4, "yes")]
    found = score(tmp_path, questions, answers)
    assert (found.columns["library"], found.columns["in_place"], found.columns["fixpoint"]) == (50.0, 25.0, 0.0)


def test_a_prompt_without_answers_scores_0_officially_and_is_left_out_when_fixed(tmp_path: Path) -> None:
    questions: list[Row] = [("tifa_1", 1, "0"), ("tifa_2", 1, "0"), ("vrd_1", 1, "0")]
    answers: list[Row] = [("tifa_1", 1, "yes")]
    official, fixed = score(tmp_path, questions, answers), score(tmp_path, questions, answers, "fixed")
    assert (official.columns["library"], official.columns["all_correct"], official.columns["micro"]) == (50.0, 50.0, 100.0)
    assert (fixed.columns["library"], fixed.columns["all_correct"]) == (100.0, 100.0)
    assert official.counts.prompts == 2 and official.counts.prompts_without_answers == 1  # relation was never asked about


@pytest.mark.parametrize(
    ("answer", "lenient"), [("Yes", True), ("yes ", True), ("no bus", False), ("", None), ("unsuitable", None), ("1000", None)]
)
def test_only_a_bare_yes_is_yes_officially(tmp_path: Path, answer: str, lenient: bool | None) -> None:
    questions: list[Row] = [("tifa_1", 1, "0"), ("tifa_1", 2, "0")]
    answers: list[Row] = [("tifa_1", 1, "yes"), ("tifa_1", 2, answer)]
    assert score(tmp_path, questions, answers).columns["no_dependency"] == 50.0
    fixed = score(tmp_path, questions, answers, "fixed")
    assert fixed.columns["no_dependency"] == {True: 100.0, False: 50.0, None: 100.0}[lenient]
    assert fixed.counts.empty == (answer == "") and fixed.counts.unparsed == (lenient is None and answer != "")
    assert math.isnan(fixed.columns["all_correct"]) == (lenient is None)


def test_an_unanswered_question_counts_as_no_officially_and_is_missing_when_fixed(tmp_path: Path) -> None:
    questions: list[Row] = [("tifa_1", 1, "0"), ("tifa_1", 2, "0"), ("tifa_1", 3, "2")]
    answers: list[Row] = [("tifa_1", 1, "yes"), ("tifa_1", 3, "yes")]
    official, fixed = score(tmp_path, questions, answers), score(tmp_path, questions, answers, "fixed")
    assert (official.columns["no_dependency"], official.columns["library"]) == pytest.approx((200 / 3, 100 / 3))
    assert (fixed.columns["no_dependency"], fixed.columns["library"]) == (100.0, 100.0)
    assert official.counts.unanswered == fixed.counts.unanswered == 1


def test_a_malformed_dependency_drops_all_of_its_item_officially_and_is_read_when_fixed(tmp_path: Path) -> None:
    questions: list[Row] = [("tifa_1", 1, "0"), ("tifa_1", 2, "1, right"), ("tifa_1", 3, "1")]
    answers: list[Row] = [("tifa_1", 1, "no"), ("tifa_1", 2, "yes"), ("tifa_1", 3, "yes")]
    official, fixed = score(tmp_path, questions, answers), score(tmp_path, questions, answers, "fixed")
    assert official.columns["library"] == pytest.approx(200 / 3)
    assert fixed.columns["library"] == 0.0
    assert official.counts.malformed_prompts == fixed.counts.malformed_prompts == 1


def test_dangling_self_and_cyclic_dependencies_are_survived(tmp_path: Path) -> None:
    questions: list[Row] = [("tifa_1", 1, "1"), ("tifa_1", 2, "3"), ("tifa_1", 3, "2"), ("tifa_1", 4, "9")]
    yes: list[Row] = [("tifa_1", n, "yes") for n in range(1, 5)]
    found = score(tmp_path, questions, yes)
    assert {found.columns[name] for name in ("library", "in_place", "fixpoint", "all_correct")} == {100.0}
    assert found.counts.dangling == 1
    found = score(tmp_path, questions, [*yes[:1], ("tifa_1", 2, "no"), *yes[2:]])
    assert {found.columns[name] for name in ("library", "in_place", "fixpoint")} == {50.0}


def test_of_answers_to_one_question_the_last_counts_and_strange_ones_are_counted(tmp_path: Path) -> None:
    questions: list[Row] = [("tifa_1", 1, "0")]
    answers: list[Row] = [("tifa_1", 1, "no"), ("tifa_1", 1, "yes"), ("nowhere", 1, "no")]
    found = score(tmp_path, questions, answers)
    assert found.columns["library"] == 100.0
    assert (found.counts.duplicates, found.counts.unknown) == (1, 1)


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
    assert list(score(tmp_path, [(item, 1, "0")], [(item, 1, "yes")]).by_category) == [category]


def test_files_of_others_are_refused_in_one_line(tmp_path: Path) -> None:
    questions = write_questions(tmp_path / "q.csv", [("tifa_1", 1, "0")])
    answers = write_answers(tmp_path / "a.csv", [("tifa_1", 1, "yes")])
    with pytest.raises(RecordError, match="lacks the column question_id"):
        read_dsg_answers(questions)
    with pytest.raises(RecordError, match="lacks the column proposition_id"):
        read_dsg_questions(answers)
    with pytest.raises(RecordError, match="No such file"):
        read_dsg_questions(tmp_path / "none.csv")
    with pytest.raises(RecordError, match=r"line 2: proposition_id 'one'"):
        read_dsg_questions(write_questions(tmp_path / "b.csv", [("tifa_1", "one", "0")]))
    with pytest.raises(RecordError, match=r"line 2: question_id 'x'"):
        read_dsg_answers(write_answers(tmp_path / "c.csv", [("tifa_1", "x", "yes")]))
    with pytest.raises(RecordError, match="holds no rows"):
        read_dsg_answers(write_answers(tmp_path / "d.csv", []))
    (tmp_path / "e.csv").write_bytes(b"\xff\xfe\x00binary")
    with pytest.raises(RecordError, match="save the file as UTF-8"):
        read_dsg_answers(tmp_path / "e.csv")
    (tmp_path / "f.csv").write_text("item_id,question_id,answer\ntifa_1,1\n")
    with pytest.raises(RecordError, match="line 2: a row of fewer columns"):
        read_dsg_answers(tmp_path / "f.csv")
    with pytest.raises(RecordError, match="none of the answers"):
        score_dsg(read_dsg_questions(questions), read_dsg_answers(write_answers(tmp_path / "g.csv", [("elsewhere", 1, "yes")])))
    with pytest.raises(SpecError, match="official, fixed"):
        read_dsg_questions(questions, "generous")


def test_the_model_may_be_left_out_where_there_is_one(tmp_path: Path) -> None:
    one = write_answers(tmp_path / "a.csv", [("tifa_1", 1, "yes")], "flux")
    assert read_dsg_answers(one).model == "flux"
    both = tmp_path / "both.csv"
    both.write_text(one.read_text() + "x,x,sdxl,tifa_1,q,1,0,no\n")
    assert read_dsg_answers(both, "sdxl").by_item == {"tifa_1": {1: "no"}}
    for model in (None, "dalle"):
        with pytest.raises(SpecError, match="flux, sdxl"):
            read_dsg_answers(both, model)
    bare = tmp_path / "bare.csv"
    bare.write_text("item_id,question_id,answer\ntifa_1,1.0,yes\n")
    assert read_dsg_answers(bare, "mine").by_item == {"tifa_1": {1: "yes"}}


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


@needs_data
@pytest.mark.parametrize("judge", PUBLISHED)
def test_published_scores_come_out_to_the_printed_digits(judge: str) -> None:
    found = score_dsg(read_dsg_questions(DATA / "dsg-1k-anns.csv"), read_dsg_answers(DATA / f"{judge}_dsg.csv", "sd2dot1")).to_dict()
    expected = PUBLISHED[judge]
    assert [round(found["by_category"][category], 1) for category in ORDER] == expected["by_category"]
    assert {name: round(found[name], 1 if name == "no_dependency" else 2) for name in expected if name != "by_category"} == {
        name: value for name, value in expected.items() if name != "by_category"
    }


@needs_data
def test_the_interval_of_a_published_score() -> None:
    found = score_dsg(read_dsg_questions(DATA / "dsg-1k-anns.csv"), read_dsg_answers(DATA / "pali17b_dsg.csv", "sd2dot1"))
    ends = found.intervals["library"]
    assert ends is not None and (ends[1] - ends[0]) / 2 == pytest.approx(1.75, abs=0.2)


@needs_data
def test_every_fault_of_the_released_file_is_found() -> None:
    prompts = read_dsg_questions(DATA / "dsg-1k-anns.csv", "fixed")
    edges = [(p.id, q.id, parent) for p in prompts for q in p.questions for parent in q.depends_on]
    ids = {p.id: {q.id for q in p.questions} for p in prompts}
    assert (len(prompts), sum(map(len, ids.values()))) == (1060, 8182)
    assert sum(p.malformed for p in prompts) == 8
    assert {item for item, _, parent in edges if parent not in ids[item]} == {"tifa160_134"}
    assert sum(parent not in ids[item] for item, _, parent in edges) == 8
    official = read_dsg_questions(DATA / "dsg-1k-anns.csv")
    assert all(not q.depends_on for p in official if p.malformed for q in p.questions)
    counts = score_dsg(official, read_dsg_answers(DATA / "pali17b_dsg.csv", "sd2dot1")).counts
    assert (counts.prompts, counts.prompts_without_answers, counts.answered, counts.empty, counts.unparsed) == (1060, 1, 8104, 69, 1)


@needs_data
@pytest.mark.parametrize(("judge", "library", "no_dependency"), [("pali17b", 84.28, 87.27), ("mplug", 90.45, 93.94)])
def test_a_model_that_was_judged_on_one_part_is_scored_on_that_part(judge: str, library: float, no_dependency: float) -> None:
    found = score_dsg(read_dsg_questions(DATA / "dsg-1k-anns.csv"), read_dsg_answers(DATA / f"{judge}_dsg.csv", "mini-dalle"))
    assert found.counts.prompts == 160 and list(found.by_category) == ["tifa"]
    assert (round(found.columns["library"], 2), round(found.columns["no_dependency"], 2)) == (library, no_dependency)


# ---- through records, with answers of any judge -----------------------------------------------------------------------------

DSG = load_benchmark("dsg")


@needs_data
@pytest.mark.parametrize("judge", PUBLISHED)
def test_published_scores_come_out_of_the_importer_too(judge: str) -> None:
    items = DSG.import_items(DATA / "dsg-1k-anns.csv")
    found = DSG.score(items, DSG.read_evidence(DATA / f"{judge}_dsg.csv", items, model="sd2dot1"))
    expected = PUBLISHED[judge]
    columns, categories = found.official.columns, found.official.by["category"]
    assert [round(categories[category].value or 0, 1) for category in ORDER] == expected["by_category"]
    assert {name: round(columns[name].value or 0, 1 if name == "no_dependency" else 2) for name in columns} == {
        name: value for name, value in expected.items() if name != "by_category"
    }
    fixed = score_dsg(
        read_dsg_questions(DATA / "dsg-1k-anns.csv", "fixed"), read_dsg_answers(DATA / f"{judge}_dsg.csv", "sd2dot1"), compat="fixed"
    )
    assert {name: one.value for name, one in found.fixed.columns.items()} == pytest.approx(fixed.columns)
    ends = found.official.headline
    assert ends.low is not None and ends.high is not None and (ends.high - ends.low) / 2 == pytest.approx(1.75, abs=0.2)
    assert found.counts.items_scored == 1059 and not found.judge_note


@needs_data
def test_every_fault_of_the_released_file_is_counted() -> None:
    items = DSG.import_items(DATA / "dsg-1k-anns.csv")
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


# ---- the command -----------------------------------------------------------------------------------------------------------


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "anyscene.cli.main", "bench", "score", "dsg", *arguments], capture_output=True, text=True)


def test_the_command_prints_json_and_a_table(tmp_path: Path) -> None:
    files = [
        "--items",
        str(write_questions(tmp_path / "q.csv", [("tifa_1", 1, "0"), ("tifa_1", 2, "1")])),
        str(write_answers(tmp_path / "a.csv", [("tifa_1", 1, "yes"), ("tifa_1", 2, "no")])),
    ]
    found = json.loads(command(*files, "--json").stdout)
    assert found["official"]["headline"]["value"] == 50.0
    assert set(found["official"]["columns"]) == {"library", "in_place", "fixpoint", "no_dependency", "paper", "micro", "all_correct"}
    table = command(*files).stdout
    assert "50.00" in table and "all_correct" in table and "1 of 1 items scored" in table and "silence-is-zero" in table
    wrong = command(*files, "--model", "unheard-of")
    assert wrong.returncode == 1 and len(wrong.stderr.splitlines()) == 1 and "m" in wrong.stderr and not wrong.stdout
