"""Judging: every question about every media of a run, into the answer store, resumable at any moment.

Media are judged in blocks of a fixed number; a block is one file of the store, so a run that was stopped ends with the bytes of an
unbroken one. What failed is asked again by the next run, into a file beside the first. A judge with several ``workers`` is asked about
as many media at once, whatever their blocks; a block is written when its last answer is there.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from anyscene.engines.threads import in_flight
from anyscene.errors import AnySceneError, Interrupted, SpecError
from anyscene.judges.protocol import STATUSES, Answer, Judge
from anyscene.judges.store import AnswerRow, answer_table, keys_by_media, part_name, read_answer_file, write_answers
from anyscene.language.question import Question
from anyscene.language.questions import FORMS
from anyscene.media import MediaEntry, MediaFolder
from anyscene.runs import open_folder, progress, remove_temporaries, say

__all__ = ["MEDIA_PER_BLOCK", "JudgeReport", "judge_facts", "judge_media", "questions_of"]

MEDIA_PER_BLOCK = 64
_PART = re.compile(r"part-([0-9]{5,})(?:-([0-9]+))?\.parquet")


@dataclass(frozen=True, slots=True)
class JudgeReport:
    """How many questions there were, how many of them were asked now, and what became of those."""

    expected: int
    asked: int
    statuses: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class _Task:
    """A media, where its record is, and which of the record's questions are asked; made only when they are."""

    entry: MediaEntry
    record: int
    questions: tuple[int, ...]


def questions_of(record: Mapping[str, Any], forms: Sequence[str] | None = None) -> list[Question]:
    """The questions of a record, those of some forms only where asked for."""
    return [Question.from_dict(one) for one in record.get("questions") or () if forms is None or one["form"] in forms]


def judge_media(
    records: Sequence[Mapping[str, Any]],
    media: MediaFolder,
    judge: Judge,
    folder: Path,
    *,
    forms: Sequence[str] | None = None,
    quiet: bool = False,
) -> JudgeReport:
    """Asks what the store does not answer yet.

    Args:
        records: the scenes, with their questions. They are looked up one by one, so that they may be made as they are asked for.
        media: their media.
        judge: who answers.
        folder: of the store.
        forms: only questions of these forms; all if None.
        quiet: show no progress.

    Raises:
        SpecError: there is no such form.
        JudgeError: the judge cannot be used at all; what was answered is kept.
        MediaError: a media file is damaged; the message names it.
        RecordError: a file of the store is damaged; the message names it.
        Interrupted: stopped by Ctrl-C; what was answered is kept.
    """
    for form in forms or ():
        if form not in FORMS:
            raise SpecError(f"question form {form!r}: it must be one of {', '.join(FORMS)}")
    open_folder(folder)
    remove_temporaries(folder)
    place, numbers = {}, []
    for position, record in enumerate(records):
        place[record["id"]] = position
        numbers.append(sum(forms is None or one["form"] in forms for one in record.get("questions") or ()))
    entries = media.entries()
    expected = sum(numbers[place[entry.record_id]] for entry in entries if entry.status == "made" and entry.record_id in place)
    store = _Store(folder, judge)
    plan = list(_plan(entries, place, lambda position: questions_of(records[position], forms), store))
    todo = sum(len(task.questions) for _, tasks in plan for task in tasks)
    counts: Counter[str] = Counter()
    if todo:

        def ask(which: tuple[int, int]) -> list[AnswerRow]:
            task = plan[which[0]][1][which[1]]
            record = records[task.record]
            questions = questions_of(record, forms)
            return _ask(judge, media, task.entry, [questions[number] for number in task.questions], record.get("modality", "image"))

        places = ((at, number) for at, (_, tasks) in enumerate(plan) for number in range(len(tasks)))
        unfinished: dict[int, dict[int, list[AnswerRow]]] = {}
        try:
            with (
                progress(expected, "questions", done=expected - todo, quiet=quiet) as advance,
                closing(in_flight(ask, places, workers=max(judge.workers, 1))) as answered,
            ):
                for (at, number), rows in answered:
                    own = unfinished.setdefault(at, {})
                    own[number] = rows
                    advance(len(rows))
                    if len(own) == len(plan[at][1]):
                        store.add(plan[at][0], _block_table(unfinished.pop(at), judge, counts))
        except KeyboardInterrupt:
            if close := getattr(judge, "close", None):
                close()  # a judge over HTTP may be waiting for a busy server
            raise Interrupted("stopped; finished blocks of answers are kept: the same command goes on from there") from None
    open_ones = ", ".join(f"{counts[status]:,} {status}" for status in STATUSES[1:] if counts[status])
    if open_ones:
        say(f"{counts['answered']:,} of {todo:,} questions answered; {open_ones}. They count as missing, not as wrong.", quiet=quiet)
    return JudgeReport(expected, todo, {status: counts[status] for status in STATUSES})


class _Store:
    """The files of a store by block, and the answers that came from elsewhere."""

    def __init__(self, folder: Path, judge: Judge) -> None:
        self.folder, self.judge = folder, judge
        self.attempts: dict[int, list[Path]] = {}
        strangers = []
        for path in sorted(folder.glob("*.parquet")):
            match = _PART.fullmatch(path.name)
            if match:
                self.attempts.setdefault(int(match[1]), []).append(path)
            else:
                strangers.append(read_answer_file(path))
        self.strangers = self._keys(strangers)

    def _keys(self, tables: Sequence[pa.Table]) -> Mapping[str, set[str]]:
        if not tables:
            return {}
        judge = self.judge
        return keys_by_media(pa.concat_tables(tables), judge=judge.name, revision=judge.revision, template=judge.template)

    def answered(self, block: int) -> Mapping[str, set[str]]:
        return self._keys([read_answer_file(path) for path in self.attempts.get(block, ())])

    def add(self, block: int, table: pa.Table) -> None:
        own = self.attempts.setdefault(block, [])
        taken = {path.name for path in own}
        attempt = next(number for number in range(len(taken) + 1) if part_name(block, number) not in taken)
        path = self.folder / part_name(block, attempt)
        write_answers(path, table)
        own.append(path)


def _plan(
    entries: Sequence[MediaEntry], place: Mapping[str, int], questions_at: Callable[[int], Sequence[Question]], store: _Store
) -> Iterator[tuple[int, list[_Task]]]:
    """What is to be asked, block by block. Of media with the same bytes the first one's block asks what they have in common."""
    twins = {sha256 for sha256, number in Counter(entry.sha256 for entry in entries if entry.status == "made").items() if number > 1}
    shared: dict[str, set[str]] = {str(sha256): set() for sha256 in twins}
    for block, start in enumerate(range(0, len(entries), MEDIA_PER_BLOCK)):
        answered = store.answered(block)
        tasks = []
        for entry in entries[start : start + MEDIA_PER_BLOCK]:
            if entry.status != "made" or entry.sha256 is None or entry.record_id not in place:
                continue
            known = answered.get(entry.sha256, set()) | store.strangers.get(entry.sha256, set())
            open_ones: dict[str, int] = {}
            for number, question in enumerate(questions_at(place[entry.record_id])):
                if entry.sha256 in shared:
                    if question.key in shared[entry.sha256]:
                        continue
                    shared[entry.sha256].add(question.key)
                if question.key not in known:
                    open_ones.setdefault(question.key, number)
            if open_ones:
                tasks.append(_Task(entry, place[entry.record_id], tuple(open_ones.values())))
        if tasks:
            yield block, tasks


def _block_table(rows_of: Mapping[int, Sequence[AnswerRow]], judge: Judge, counts: Counter[str]) -> pa.Table:
    """The answers of a block, in the order of its media; they are counted by status."""
    rows = [row for number in sorted(rows_of) for row in rows_of[number]]
    counts.update(row.answer.status for row in rows)
    return answer_table(rows, judge.name, judge.revision, judge.template)


def _ask(judge: Judge, media: MediaFolder, entry: MediaEntry, questions: Sequence[Question], modality: str) -> list[AnswerRow]:
    read = media.unread if getattr(judge, "takes_files", False) else media.read
    answers = judge.answer(read(entry, modality), questions)
    if len(answers) != len(questions):
        raise AnySceneError(f"{judge.name} gave {len(answers)} answers to {len(questions)} questions; a judge gives one for each")
    sha256 = entry.sha256 or ""
    return [AnswerRow(sha256, question.key, _checked(answer, question, judge)) for question, answer in zip(questions, answers, strict=True)]


def _checked(answer: Answer, question: Question, judge: Judge) -> Answer:
    """The answer, with probabilities that are none turned into an unparsed one."""
    wrong = answer.p_yes is not None and not 0 <= answer.p_yes <= 1
    if answer.probabilities:
        wrong = wrong or len(answer.probabilities) != len(question.choices) or not all(0 <= p <= 1 for p in answer.probabilities)
    if answer.status == "answered" and question.form == "yes_no" and answer.p_yes is None:
        wrong = True
    if answer.status == "answered" and question.form == "choice" and not answer.probabilities:
        wrong = True
    if not wrong:
        return answer
    return Answer(None, None, f"{judge.name} gave no probabilities that can be used: {answer.text}"[:1000], "unparsed")


def judge_facts(judge: Judge) -> dict[str, object]:
    """What a run's manifest says of its judge."""
    return {"name": judge.name, "revision": judge.revision, "template": judge.template}
