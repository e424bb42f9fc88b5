"""Lessons: captions around the chosen skills with a teacher's pictures of them, as far as these pass their own questions.

    RUN/lessons/
      part-000/       an evaluation of the teacher: scenes, pictures, answers; as many scenes as the budget has captions
      part-001/ ...   more scenes in place of those whose pictures failed, until the budget is full or the tries are used up
      student/        with ``dpo``: the student's own pictures of the lessons, which are to be preferred less

Which scenes a part has follows from the parts before it, so that a run which was stopped goes on as if it had not been.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa

from anyscene.dataset.schema import record_schema
from anyscene.evaluation import EvaluationRun, judge_run, paint_run
from anyscene.evaluation.skills import Drawn, Rows
from anyscene.judges import Judge
from anyscene.models import Model
from anyscene.models.protocol import Finds
from anyscene.rewards.protocol import Record
from anyscene.runs import say
from anyscene.scoring.rows import score_rows
from anyscene.taxonomy import Taxonomy
from anyscene.training.distill_config import Teaching
from anyscene.training.examples import Example
from anyscene.training.held_out import FORMS

__all__ = ["FATES", "Lesson", "Lessons", "Painting", "listed", "make_lessons", "marked", "preferred", "with_pictures"]

FATES = ("unmade", "unjudged", "failed", "passed")
"""What becomes of a teacher's picture: none was made, not all its questions were answered, one was answered wrongly, or none."""
LEAST_RATE = 0.05
"""Lessons for each scene painted, at least, by which the size of the next part is reckoned."""
MOST_LOOKED = 4
"""Times the rows that are looked at when every draw is full; beyond, the chosen skills are too rare among the scenes."""
NO_INDEX = -1
CHUNK, BARREN = 4096, 100_000
"""Rows that are looked through at a time for those of which a folder has pictures, and rows without any after which it is given up."""


@dataclass(frozen=True, slots=True)
class Painting:
    """Who paints and who judges, and how.

    Attributes:
        model: who paints.
        judge: who answers.
        seed: of the pictures.
        taxonomy: of the scenes.
        quiet: show no progress.
    """

    model: Model
    judge: Judge
    seed: int
    taxonomy: Taxonomy | None = None
    quiet: bool = False

    def evaluate(self, folder: Path, records: Sequence[Record], samples: int) -> EvaluationRun:
        """Paints and judges records, or goes on with it."""
        table = pa.Table.from_pylist(list(records), schema=record_schema())
        run, _ = paint_run(table, self.model, folder, seed=self.seed, samples=samples, taxonomy=self.taxonomy, quiet=self.quiet)
        judge_run(run, self.judge, forms=FORMS, quiet=self.quiet)
        return run


@dataclass(frozen=True, slots=True)
class Lesson:
    """A scene with the pictures of it that passed and are learnt from.

    Attributes:
        record: of the scene.
        paths: of the pictures, the best first.
        score: mean probability of the right answers of the best.
    """

    record: Record
    paths: tuple[Path, ...]
    score: float

    @property
    def examples(self) -> list[Example]:
        """To learn from, the best first."""
        return [Example(str(self.record["id"]), str(self.record["caption"]), path) for path in self.paths]


@dataclass(frozen=True, slots=True)
class Lessons:
    """What is learnt from.

    Attributes:
        lessons: at most as many as the budget.
        counts: ``budget``, ``kept``, ``short``; ``pictures`` that are learnt from; of scenes ``looked`` at and ``painted``; of pictures how
            many ended as each of `FATES`, and ``spare``, which passed and were not needed.
    """

    lessons: tuple[Lesson, ...]
    counts: dict[str, int]

    @property
    def records(self) -> list[Record]:
        """Those that are trained on."""
        return [one.record for one in self.lessons]


def make_lessons(folder: Path, draw: Callable[[int, int], Drawn], painting: Painting, how: Teaching, *, start: int) -> Lessons:
    """Has the teacher paint scenes until the budget is full.

    Args:
        folder: of the lessons.
        draw: gives so many new scenes from this row on.
        painting: of the teacher.
        how: budget, threshold, tries.
        start: first row of the source that may be looked at.

    Raises:
        RunError: the folder cannot be written.
        ModelError: the teacher cannot be used at all.
        JudgeError: the judge cannot be used at all.
    """
    kept: list[Lesson] = []
    counts = dict.fromkeys(("looked", "painted", *FATES), 0)
    ended, part = False, 0
    most = MOST_LOOKED * how.look * how.tries * how.budget
    while len(kept) < how.budget and not ended and counts["looked"] < most:
        rate = max(LEAST_RATE, len(kept) / counts["painted"]) if counts["painted"] else 1.0
        left = math.floor(how.tries * how.budget) - counts["painted"]
        wanted = min(left, math.ceil((how.budget - len(kept)) / rate))
        if wanted < 1:
            break
        drawn = draw(wanted, start + counts["looked"])
        ended = drawn.ended
        counts["looked"] += drawn.looked
        if drawn.records:
            say(
                f"lessons: the teacher paints {len(drawn.records):,} scenes; {len(kept):,} of {how.budget:,} are there",
                quiet=painting.quiet,
            )
            run = painting.evaluate(folder / f"part-{part:03d}", drawn.records, how.samples)
            found, fates = marked(run, painting.judge.name, how.threshold, how.keep)
            kept += found
            counts["painted"] += len(drawn.records)
            for fate, number in fates.items():
                counts[fate] += number
        part += 1
    lessons = tuple(kept[: how.budget])
    short = how.budget - len(lessons)
    pictures = sum(len(one.paths) for one in lessons)
    counts |= {"budget": how.budget, "kept": len(lessons), "pictures": pictures, "short": short, "spare": counts["passed"] - pictures}
    return Lessons(lessons, counts)


def marked(run: EvaluationRun, judge: str, threshold: float, keep: int = 1) -> tuple[list[Lesson], dict[str, int]]:
    """The best ``keep`` pictures of each scene of those that pass, and what became of all.

    A picture passes if the judge gives at least ``threshold`` to the right answer of each yes/no question about it, foils among them. One
    with an unanswered question is not known to pass.
    """
    counts = dict.fromkeys(FATES, 0)
    passed: dict[str, list[tuple[float, Path]]] = {}
    records: dict[str, Record] = {}
    for record, path, values in _values(run, judge):
        fate = _fate(path, values, threshold)
        counts[fate] += 1
        if path is not None and fate == "passed":
            records[record["id"]] = record
            passed.setdefault(record["id"], []).append((math.fsum(values) / len(values), path))
    found = []
    for scene, pictures in passed.items():
        pictures.sort(key=lambda one: -one[0])  # of equals the first sample
        found.append(Lesson(records[scene], tuple(path for _, path in pictures[:keep]), pictures[0][0]))
    return found, counts


def _values(run: EvaluationRun, judge: str) -> Iterator[tuple[Record, Path | None, list[float]]]:
    """Of each picture its scene, its file and the probability of each right answer, NaN where it is missing; by scene and sample."""
    answers, _ = run.answers(judge)
    media = run.media.table()
    rows = score_rows(run.scenes, media, answers, forms=FORMS)
    keys = zip(media["record_id"].to_pylist(), media["sample"].to_pylist(), strict=True)
    files = dict(zip(keys, media["file"].to_pylist(), strict=True))
    for place, (scene, sample) in enumerate(zip(rows.scene.tolist(), rows.sample.tolist(), strict=True)):
        record = run.records[scene]
        path = run.media.path / files[record["id"], sample] if rows.media_status[place] == "made" else None
        yield record, path, rows.value[rows.start[place] : rows.start[place + 1]].tolist()


def _fate(path: Path | None, values: Sequence[float], threshold: float) -> str:
    if path is None:
        return "unmade"
    if any(value < threshold for value in values):  # no comparison holds for one that is missing
        return "failed"
    return "passed" if values and not any(map(math.isnan, values)) else "unjudged"


def preferred(folder: Path, lessons: Sequence[Lesson], painting: Painting) -> list[Example]:
    """Pairs for learning by preference: the teacher's picture and the student's own, where the student's has the lower score.

    Args:
        folder: of the student's pictures.
        lessons: with the teacher's.
        painting: of the student.
    """
    run = painting.evaluate(folder, [one.record for one in lessons], 1)
    own = {}
    for record, path, values in _values(run, painting.judge.name):
        if path is not None and values and not any(map(math.isnan, values)):
            own[record["id"]] = (path, math.fsum(values) / len(values))
    found = []
    for lesson in lessons:
        path, score = own.get(lesson.record["id"], (None, math.inf))
        if path is not None and score < lesson.score:
            found.append(replace(lesson.examples[0], rejected=path))
    return found


# ---- a teacher whose pictures exist already -------------------------------------------------------------------------------------


def with_pictures(rows: Rows, capacity: int, teacher: Finds) -> list[Record]:
    """The records of a source of which a folder has a picture, by id or caption.

    By index it would have one of any scenes whatever, so indices do not count. The source is looked through until it ends, or until
    `BARREN` rows in a row have none.

    Args:
        rows: of the source.
        capacity: how many it has.
        teacher: the folder.
    """
    found: list[Record] = []
    last = 0
    for first in range(0, capacity, CHUNK):
        for place, record in enumerate(rows(first, min(CHUNK, capacity - first)), first):
            if isinstance(teacher.find(str(record["id"]), NO_INDEX, str(record["caption"]), 0), Path):
                found.append(record)
                last = place
        if first + CHUNK - last > BARREN:
            break
    return found


def listed(records: Sequence[Record]) -> Rows:
    """A list of records as a source."""
    return lambda start, count: records[start : start + count]
