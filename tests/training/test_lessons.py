"""Lessons: pictures that fail their own questions are dropped and counted, the budget is exact, a stopped run goes on as if it had not been."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from anyscene.dataset import SceneSpace
from anyscene.dataset.scene_space import RecordOptions
from anyscene.evaluation import scores_of
from anyscene.evaluation.skills import Drawn, Rows, SkillNames, ask, compare_skills, draw_around, question_values
from anyscene.judges import load_judge
from anyscene.judges.protocol import Answer
from anyscene.language import QuestionOptions
from anyscene.media import Media
from anyscene.models import Failure, load_model
from anyscene.models.folder import FolderModel
from anyscene.sandbox.loading import load_sandbox_taxonomy
from anyscene.training.distill_config import Teaching
from anyscene.training.lessons import FATES, Lessons, Painting, listed, make_lessons, marked, preferred, with_pictures

TAXONOMY = load_sandbox_taxonomy()
SOURCE = SceneSpace(complexity=(2, 4), counts=True, taxonomy=TAXONOMY).source(
    1, RecordOptions(questions=QuestionOptions(forms=("yes_no",)))
)
NAMES = SkillNames.of(TAXONOMY)


def rows(start: int, count: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = SOURCE.table(start, start + count).to_pylist()
    return found


class Counting:
    """A model that says how many pictures it made; every third caption's it refuses if asked to."""

    def __init__(self, refuse: bool = False, **options: object) -> None:
        self.inner = load_model("sandbox:flawed", size=32, **options)
        self.name, self.revision, self.modality, self.settings, self.batch_size = "counting", "1", "image", {}, 16
        self.refuse, self.made = refuse, 0

    def generate(self, captions: Sequence[str], seeds: Sequence[int]) -> list[Media | Failure]:
        self.made += len(captions)
        found = self.inner.generate(captions, seeds)
        return [Failure("refused", "no") if self.refuse and len(text) % 3 == 0 else one for text, one in zip(captions, found, strict=True)]


PERFECT = {"drop": 0.0, "swap": 0.0, "reverse": 0.0, "miscount": 0.0}
HALF = {**PERFECT, "swap": 0.6, "miscount": 0.6}


def painting(model: Any, judge: Any = None) -> Painting:
    return Painting(model, judge or load_judge("sandbox:pixels"), 0, TAXONOMY, quiet=True)


def lessons_of(folder: Path, model: Any, how: Teaching, source: Rows = rows, weights: Mapping[str, float] | None = None) -> Lessons:
    def draw(n: int, first: int) -> Drawn:
        return draw_around(
            source, weights or {"attribute:color": 0.2, "count": 0.3}, n, NAMES, start=first, look=how.look, others=how.others
        )

    return make_lessons(folder, draw, painting(model), how, start=100)


def test_a_teacher_without_flaws_paints_as_many_scenes_as_the_budget_has(tmp_path: Path) -> None:
    teacher = Counting(**PERFECT)
    found = lessons_of(tmp_path, teacher, Teaching(budget=25))
    assert len(found.lessons) == 25 == teacher.made
    counts = found.counts
    assert counts == {**dict.fromkeys(counts, 0), "looked": 250, "painted": 25, "passed": 25, "budget": 25, "kept": 25, "pictures": 25}
    assert all(one.paths[0].is_file() and one.score > 0.9 for one in found.lessons)
    assert min(int(one["index"]) for one in found.records) >= 100
    assert [one.name for one in tmp_path.iterdir()] == ["part-000"]


def test_pictures_that_fail_are_dropped_counted_and_replaced(tmp_path: Path) -> None:
    found = lessons_of(tmp_path, Counting(**HALF), Teaching(budget=30, tries=6))
    counts = found.counts
    assert counts["kept"] == 30 == len({one["id"] for one in found.records}) and counts["short"] == 0
    assert counts["failed"] > 10
    assert counts["painted"] == sum(counts[fate] for fate in FATES) and counts["passed"] == counts["kept"] + counts["spare"]
    assert counts["painted"] <= 6 * 30
    assert len(list(tmp_path.iterdir())) > 1
    judge = load_judge("sandbox:pixels")
    for one in found.lessons:  # what was kept passes when it is asked again
        from anyscene.judges.judging import questions_of
        from anyscene.media import read_media

        questions = questions_of(one.record, ("yes_no",))
        answers = judge.answer(read_media(one.paths[0], "image"), questions)
        right = [said.p_yes if asked.answer == "yes" else 1 - said.p_yes for asked, said in zip(questions, answers, strict=True)]  # type: ignore[operator]
        assert min(right) >= 0.5


def test_a_teacher_that_fails_mostly_leaves_the_budget_short_and_says_so(tmp_path: Path) -> None:
    teacher = Counting(**{**PERFECT, "drop": 0.9})
    found = lessons_of(tmp_path, teacher, Teaching(budget=20, tries=1.5))
    assert teacher.made == 30 == found.counts["painted"]
    assert found.counts["kept"] + found.counts["short"] == 20 and found.counts["short"] > 10


def test_what_could_not_be_made_is_no_failure_of_the_picture(tmp_path: Path) -> None:
    found = lessons_of(tmp_path, Counting(refuse=True, **PERFECT), Teaching(budget=20, tries=3))
    assert found.counts["unmade"] > 0 and found.counts["failed"] == 0 and found.counts["kept"] == 20


class Unsure:
    """A judge that does not answer one question in every picture."""

    def __init__(self) -> None:
        self.inner = load_judge("sandbox:pixels")
        self.name, self.revision, self.template = "unsure", "1", "1"

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def answer(self, media: Media, questions: Sequence[Any]) -> list[Answer]:
        found = list(self.inner.answer(media, questions))
        return [Answer(None, None, "", "unsure"), *found[1:]]


def test_a_picture_with_an_unanswered_question_is_not_known_to_pass(tmp_path: Path) -> None:
    run = painting(Counting(**PERFECT), Unsure()).evaluate(tmp_path, rows(0, 8), 1)
    found, counts = marked(run, "unsure", 0.5)
    assert not found and counts == {"unmade": 0, "unjudged": 8, "failed": 0, "passed": 0}


def test_of_several_pictures_of_a_scene_the_best_that_passes_is_taken(tmp_path: Path) -> None:
    run = painting(Counting(**{**PERFECT, "swap": 0.5})).evaluate(tmp_path, rows(0, 30), 4)
    found, counts = marked(run, "sandbox:pixels", 0.5)
    alone, once = marked(painting(Counting(**{**PERFECT, "swap": 0.5})).evaluate(tmp_path / "one", rows(0, 30), 1), "sandbox:pixels", 0.5)
    assert sum(counts.values()) == 120 and sum(once.values()) == 30
    assert len({one.record["id"] for one in found}) == len(found) > len(alone)


def test_no_picture_passes_a_threshold_that_none_can_reach(tmp_path: Path) -> None:
    run = painting(Counting(**PERFECT)).evaluate(tmp_path, rows(0, 5), 1)
    assert marked(run, "sandbox:pixels", 1.0)[1]["failed"] == 5


def test_a_run_that_was_stopped_after_any_part_ends_with_the_same_lessons_and_paints_nothing_twice(tmp_path: Path) -> None:
    how = Teaching(budget=30, tries=6)
    whole = lessons_of(tmp_path / "whole", Counting(**HALF), how)
    parts = sorted((tmp_path / "whole").iterdir())
    for kept in range(len(parts)):
        broken = tmp_path / f"broken-{kept}"
        for one in parts[:kept]:
            shutil.copytree(one, broken / one.name)
        teacher = Counting(**HALF)
        again = lessons_of(broken, teacher, how)
        assert [(one.record["id"], one.paths[0].read_bytes()) for one in again.lessons] == [
            (one.record["id"], one.paths[0].read_bytes()) for one in whole.lessons
        ]
        assert again.counts == whole.counts
        assert teacher.made == sum(json.loads((one / "run.json").read_text())["scenes"]["n"] for one in parts[kept:])


def test_skills_that_hardly_any_scene_asks_for_do_not_keep_it_looking_for_ever(tmp_path: Path) -> None:
    looked: list[int] = []

    def source(start: int, count: int) -> list[dict[str, Any]]:
        looked.append(count)
        return rows(start, count)

    found = lessons_of(tmp_path, Counting(**PERFECT), Teaching(budget=3, tries=2, look=5, others=0.0), source, {"object:dragon": 0.5})
    assert found.counts["kept"] == 0 and found.counts["short"] == 3 and sum(looked) == found.counts["looked"] <= 4 * 5 * 2 * 3 + 15


def test_pairs_prefer_the_teacher_where_the_student_is_worse(tmp_path: Path) -> None:
    lessons = lessons_of(tmp_path / "lessons", Counting(**PERFECT), Teaching(budget=20)).lessons
    student = Counting(**HALF)
    student.name = "student"
    found = preferred(tmp_path / "student", lessons, painting(student))
    failed = marked_ids(tmp_path / "student")
    assert 5 < len(found) < 20 and failed <= {one.scene for one in found}
    assert all(one.rejected is not None and one.rejected.is_file() and one.path.is_file() and one.rejected != one.path for one in found)
    same = preferred(tmp_path / "same", lessons, painting(Counting(**PERFECT)))
    assert len(same) < len(found)


def marked_ids(folder: Path) -> set[str]:
    from anyscene.evaluation import open_run

    run = open_run(folder)
    passed = {str(one.record["id"]) for one in marked(run, "sandbox:pixels", 0.5)[0]}
    return {str(one["id"]) for one in run.records} - passed


@pytest.mark.parametrize(
    ("flaw", "kinds"), [("miscount", {"count"}), ("reverse", {"relation"}), ("swap", {"attribute"})], ids=["miscount", "reverse", "swap"]
)
def test_of_a_student_that_only_errs_in_one_way_just_that_is_chosen(flaw: str, kinds: set[str], tmp_path: Path) -> None:
    """Judged by its pixels: a painter with one flaw beside one without."""
    records = rows(0, 300)
    runs = [
        painting(Counting(**{**PERFECT, **flaws})).evaluate(tmp_path / name, records, 1)
        for name, flaws in (("student", {flaw: 0.7}), ("teacher", {}))
    ]
    values = [question_values(scores_of(one)) for one in runs]
    chosen = [one.skill for one in compare_skills(ask(records, NAMES), *values) if one.better]
    assert chosen and {skill.partition(":")[0] for skill in chosen} == kinds


# ---- a folder as a teacher ------------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    painter = load_model("sandbox:renderer", size=32)
    place = tmp_path / "pictures"
    place.mkdir()
    lines = ["file,caption"]
    for number, record in enumerate(rows(4000, 40)):
        media = painter.generate([record["caption"]], [number])[0]
        assert isinstance(media, Media)
        (place / f"{number}.png").write_bytes(media.data)
        lines.append(f'{number}.png,"{record["caption"]}"')
    (place / "manifest.csv").write_text("\n".join(lines))
    return place


def test_only_scenes_of_which_a_folder_has_pictures_are_taken(folder: Path, tmp_path: Path) -> None:
    teacher = FolderModel(str(folder))
    found = with_pictures(rows, 9000, teacher)
    assert [one["index"] for one in found] == list(range(4000, 4040))
    lessons = lessons_of(tmp_path / "lessons", teacher, Teaching(budget=100), listed([{}] * 100 + found))
    assert {one["id"] for one in lessons.records} <= {one["id"] for one in found}
    assert lessons.counts["failed"] == 0 and lessons.counts["unmade"] == 0 and lessons.counts["kept"] > 10
    assert lessons.counts["short"] == 100 - lessons.counts["kept"]


def test_a_folder_by_index_is_of_any_scenes_whatever(folder: Path, tmp_path: Path) -> None:
    place = tmp_path / "numbered"
    place.mkdir()
    for number in range(5):
        shutil.copy(folder / f"{number}.png", place / f"{number:06d}.png")
    assert with_pictures(rows, 100, FolderModel(str(place))) == []


def test_so_many_pictures_of_a_scene_are_kept_the_best_first(tmp_path: Path) -> None:
    run = painting(Counting(**{**PERFECT, "swap": 0.2})).evaluate(tmp_path / "run", rows(0, 12), 3)
    everything, counts = marked(run, "sandbox:pixels", 0.5, keep=3)
    one, _ = marked(run, "sandbox:pixels", 0.5)
    assert sum(len(lesson.paths) for lesson in everything) == counts["passed"] > len(everything)
    assert [lesson.paths[:1] for lesson in everything] == [lesson.paths for lesson in one]
    two = lessons_of(tmp_path / "lessons", Counting(**PERFECT), Teaching(budget=5, samples=3, keep=2))
    assert two.counts["kept"] == 5 and two.counts["pictures"] == 10 == sum(len(lesson.examples) for lesson in two.lessons)
