"""People as a judge: their questions go into a folder, their answers come back from it.

The folder holds `questions.csv` (one line a question, with an empty column for its answer), `media/` (copies of the pictures),
`index.html` (pictures and questions to look at) and `answers*.csv` (what was answered, by whom). A run that is judged by
``human:FOLDER`` first fills the folder; people then answer on the local page (`anyscene.judges.label_page`), or in a spreadsheet:
fill in the column ``answer`` of `questions.csv` and save it as `answers.csv`. Judging the run once more takes in what was answered.

What has no answer yet stays missing. Later lines replace earlier ones of the same rater.
"""

from __future__ import annotations

import csv
import hashlib
import html
import io
import os
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from anyscene.errors import JudgeError, SpecError
from anyscene.judges.prompts import parse_choice, parse_yes_no, plain_words, reply_status
from anyscene.judges.protocol import Answer
from anyscene.language.question import Question
from anyscene.media import Media
from anyscene.runs import file_error, open_folder, write_atomic

__all__ = ["HumanFolder", "HumanJudge", "Item", "RatedAnswer", "read_rating"]

QUESTIONS, ANSWERS, INDEX = "questions.csv", "answers.csv", "index.html"
QUESTION_COLUMNS = ("item", "media", "modality", "form", "question", "choices", "media_sha256", "question_key", "answer")
ANSWER_COLUMNS = ("rater", "item", "media_sha256", "question_key", "question", "answer")
CHOICE_MARK = " | "
NOT_ANSWERED = "not answered yet"
_UNSURE = {"unsure", "u", "?", "not sure", "cannot tell", "can't tell", "don't know"}
_INDEX_HEAD = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Questions about pictures</title>
<style>body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}
article{display:flex;gap:1.5rem;flex-wrap:wrap;
border-top:1px solid #8884;padding:1.5rem 0}img{max-width:100%;width:20rem;object-fit:contain;align-self:start;border-radius:8px}
ol{padding:0;list-style:none;flex:1;min-width:16rem}li{margin:.3rem 0}code{opacity:.6}</style>
<h1>Questions about pictures</h1>
<p>Write your answers into the column <b>answer</b> of questions.csv (yes, no or unsure; the chosen words; a few words), and save it as
answers.csv. What is left empty stays unanswered.</p>
"""


@dataclass(frozen=True, slots=True)
class Item:
    """One question about one media, as people are asked it.

    Attributes:
        id: of the item: the beginnings of the media's digest and of the question's key.
        media: file in the folder.
        modality: ``image``, ``video`` or ``3d``.
        form: ``yes_no``, ``choice`` or ``open``.
        question: its text.
        choices: the answers to choose from.
        media_sha256: of the file.
        question_key: of the question.
    """

    id: str
    media: str
    modality: str
    form: str
    question: str
    choices: tuple[str, ...]
    media_sha256: str
    question_key: str


@dataclass(frozen=True, slots=True)
class RatedAnswer:
    """What one person answered to one item, as it was written."""

    rater: str
    item: str
    text: str


class HumanFolder:
    """The folder that questions go to and answers come from. Any number of threads may use it.

    Raises:
        JudgeError: a file in it is not what it should be; the message names it.
        RunError: it cannot be made or written.
    """

    def __init__(self, path: Path) -> None:
        open_folder(path)
        self.path = path
        self._lock = threading.Lock()
        self.items: dict[str, Item] = {item.id: item for item in self._read_items()}

    def add(self, media: Media, questions: Sequence[Question]) -> int:
        """Adds what is not there yet. Gives the number of new items."""
        with self._lock:
            new = [item for question in questions if (item := _item(media, question)).id not in self.items]
            new = list({item.id: item for item in new}.values())
            if not new:
                return 0
            file = self.path / new[0].media
            open_folder(file.parent)
            if not file.exists():
                write_atomic(file, media.data)
            self._append_index(new)
            _append(self.path / QUESTIONS, QUESTION_COLUMNS, [_row_of(item) for item in new])
            self.items.update({item.id: item for item in new})
            return len(new)

    def save(self, rater: str, item: str, text: str) -> None:
        """Adds one answer; it is on the disk when this returns. An empty text takes the rater's answer back."""
        one = self.items[item]
        with self._lock:
            _append(self._own_answers(), ANSWER_COLUMNS, [(rater, item, one.media_sha256, one.question_key, one.question, text)])

    def answers(self) -> dict[str, dict[str, str]]:
        """The last answer of each rater to each item: item id to rater to text. Answers without a name belong to their file."""
        found: dict[str, dict[str, str]] = {}
        for path in [self.path / QUESTIONS, *sorted(self.path.glob("answers*.csv"))]:
            for one in self._read_answers(path):
                if one.text:
                    found.setdefault(one.item, {})[one.rater] = one.text
                else:
                    found.get(one.item, {}).pop(one.rater, None)
        return found

    def _read_items(self) -> list[Item]:
        rows = _read_csv(self.path / QUESTIONS, QUESTION_COLUMNS[:-1])
        return [
            Item(
                row["item"], row["media"], row["modality"], row["form"], row["question"], _choices(row["choices"]),
                row["media_sha256"], row["question_key"],
            )
            for row in rows
        ]  # fmt: skip

    def _read_answers(self, path: Path) -> list[RatedAnswer]:
        unnamed = path.stem.removeprefix("answers").removeprefix("questions").strip("-_ ") or "unnamed"
        found = []
        for line, row in enumerate(_read_csv(path, ("item", "answer")), start=2):
            if row["item"] not in self.items and row["answer"].strip():
                raise JudgeError(
                    f"{path}, line {line}: there is no item {row['item']!r} in {QUESTIONS}; answer the questions of this folder"
                )
            named = row.get("rater", "").strip()
            if named or row["answer"].strip():  # an empty cell of a spreadsheet takes nothing back
                found.append(RatedAnswer(named or unnamed, row["item"], row["answer"].strip()))
        return found

    def _own_answers(self) -> Path:
        """The file for single answers: one that a spreadsheet wrote without a column for names is left as it is."""
        path = self.path / ANSWERS
        if not path.exists() or set(ANSWER_COLUMNS) <= set(_header(path.read_text("utf-8-sig"))[1]):
            return path
        return self.path / "answers-page.csv"

    def _append_index(self, items: Sequence[Item]) -> None:
        path = self.path / INDEX
        lines = "".join(
            f"<li><code>{item.id}</code> {html.escape(item.question)} <small>{html.escape(' / '.join(item.choices))}</small>"
            for item in items
        )
        picture = f'<img loading="lazy" src="{html.escape(items[0].media)}" alt="">'
        with _opened(path) as file:
            file.write(("" if path.stat().st_size else _INDEX_HEAD) + f"<article>{picture}<ol>{lines}</ol></article>\n")


class HumanJudge:
    """Answers what people answered in a folder, and puts there what they have not been asked yet.

    A yes/no question gets the share of its raters who said yes, a choice the shares of its choices; those who were unsure do not count,
    unless all were. A question that nobody answered is ``failed`` with the text "not answered yet", so the next run asks again. What a
    run has taken in stays in its store; to take in a change of mind, judge into an empty store.

    Args:
        name: the folder.
        rater: take this person's answers only.
        share: share of the questions that people are asked at all, chosen by their keys.

    Raises:
        JudgeError: a file of the folder is not what it should be.
        SpecError: the share is no share, or no folder is named.
    """

    template = "human-1"
    workers = 1
    examinable = False
    """Canaries are not put to it: it can only answer what it was asked before."""

    def __init__(self, name: str, *, rater: str | None = None, share: float = 1.0) -> None:
        if not name:
            raise SpecError("judge 'human' needs a folder for its questions and answers: human:FOLDER")
        if not 0 < share <= 1:
            raise SpecError(f"share {share}: it must be above 0 and at most 1")
        self.name = f"human:{name}"
        self.revision = f"rater={rater}" if rater else ""
        self.rater, self.share = rater, share
        self.folder = HumanFolder(Path(name).expanduser())
        self._given = self.folder.answers()

    def answer(self, media: Media, questions: Sequence[Question]) -> list[Answer]:
        """What people said; the questions that they were not asked yet are added to the folder."""
        chosen = [question for question in questions if self.share >= 1 or _draw(media.sha256 + question.key) < self.share]
        self.folder.add(media, chosen)
        asked = {question.key for question in chosen}
        return [
            self._of(media, question) if question.key in asked else Answer(None, None, "people are not asked this", "failed")
            for question in questions
        ]

    def _of(self, media: Media, question: Question) -> Answer:
        given = self._given.get(_item_id(media.sha256, question.key), {})
        texts = [text for rater, text in sorted(given.items()) if self.rater in (None, rater)]
        return combined([read_rating(question.form, question.choices, text) for text in texts], question)


def read_rating(form: str, choices: Sequence[str], text: str) -> Answer:
    """One person's answer as they wrote it: yes, no or unsure; a choice's words, letter or place; a few words."""
    if text.strip().casefold() in _UNSURE:
        return Answer(None, None, text, "unsure")
    if form == "yes_no":
        said = parse_yes_no(text)
        return Answer(None, None, text, reply_status(text)) if said is None else Answer(float(said), None, text)
    if form == "choice":
        place = parse_choice(text, choices)
        if place is None:
            return Answer(None, None, text, reply_status(text))
        return Answer(None, None, text, "answered", tuple(float(one == place) for one in range(len(choices))))
    return Answer(None, None, text)


def combined(answers: Sequence[Answer], question: Question) -> Answer:
    """Several people's answers to a question as one: shares of those who decided; the commonest words of an open question.

    A tie between the words of an open question is ``unsure``.
    """
    if not answers:
        return Answer(None, None, NOT_ANSWERED, "failed")
    text = "; ".join(answer.text for answer in answers)
    decided = [answer for answer in answers if answer.status == "answered"]
    if not decided:
        return Answer(None, None, text, "unsure" if any(answer.status == "unsure" for answer in answers) else answers[0].status)
    if question.form == "yes_no":
        return Answer(sum(answer.p_yes or 0.0 for answer in decided) / len(decided), None, text)
    if question.form == "choice":
        votes = zip(*(answer.probabilities for answer in decided), strict=True)
        return Answer(None, None, text, "answered", tuple(sum(vote) / len(decided) for vote in votes))
    ranked = Counter(plain_words(answer.text) for answer in decided).most_common()
    if len(ranked) > 1 and ranked[0][1] == ranked[1][1]:
        return Answer(None, None, text, "unsure")
    return Answer(None, None, next(answer.text for answer in decided if plain_words(answer.text) == ranked[0][0]))


def _draw(text: str) -> float:
    """A number from 0 to below 1 that belongs to the text."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") / 2**64


def _item(media: Media, question: Question) -> Item:
    file = f"media/{media.sha256[:16]}{media.suffix}"
    key = question.key
    return Item(
        _item_id(media.sha256, key), file, media.modality, question.form, question.text, tuple(question.choices), media.sha256, key
    )  # fmt: skip


def _item_id(sha256: str, key: str) -> str:
    return f"{sha256[:12]}-{key}"


def _row_of(item: Item) -> tuple[str, ...]:
    choices = CHOICE_MARK.join(item.choices)
    return (item.id, item.media, item.modality, item.form, item.question, choices, item.media_sha256, item.question_key, "")


def _choices(text: str) -> tuple[str, ...]:
    return tuple(text.split(CHOICE_MARK)) if text else ()


def _opened(path: Path) -> io.TextIOWrapper:
    try:
        return open(path, "a", encoding="utf-8", newline="")
    except OSError as error:
        raise file_error(error, path) from error


def _append(path: Path, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Adds lines to a CSV file in one piece, in the columns that it has, and waits until they are on the disk."""
    try:
        before = path.read_bytes() if path.exists() else b""
        buffer = io.StringIO(newline="")
        mark, has = _header(before.decode("utf-8-sig")) if before else (",", list(columns))
        writer = csv.DictWriter(buffer, has, delimiter=mark, extrasaction="ignore", restval="")
        if not before:
            writer.writeheader()
        writer.writerows(dict(zip(columns, row, strict=True)) for row in rows)
        ending = "" if before.endswith(b"\n") or not before else "\r\n"  # whoever wrote the last line was stopped, or a spreadsheet
        with open(path, "ab") as file:
            file.write((ending + buffer.getvalue()).encode())
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise file_error(error, path) from error


def _header(text: str) -> tuple[str, list[str]]:
    """What stands between the columns (spreadsheets choose by country), and their names."""
    head = text.partition("\n")[0]
    mark = max(",;\t", key=head.count)
    return mark, next(csv.reader([head.rstrip("\r")], delimiter=mark), [])


def _read_csv(path: Path, needed: Sequence[str]) -> list[Mapping[str, str]]:
    """The lines of a CSV file by column, whatever a spreadsheet puts between them; none where there is no file."""
    if not path.exists():
        return []
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError:
        raise JudgeError(f"{path}: not UTF-8 text; save it as CSV in UTF-8") from None
    except OSError as error:
        raise file_error(error, path) from error
    mark, names = _header(text)
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=mark)
    missing = [name for name in needed if name not in names]
    if missing:
        raise JudgeError(f"{path}: the column {missing[0]!r} is missing; its first line must name {', '.join(needed)}")
    whole = (row for row in reader if all(row.get(name) is not None for name in needed))  # one that was cut off by a crash says nothing
    return [{name: row.get(name) or "" for name in names} for row in whole]
