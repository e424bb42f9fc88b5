"""Stored answers joined with the questions that they answer: one row for each question about each media.

The *value* of a row is the probability that the judge gives to the right answer; it is missing (NaN), never 0, where the judge did not
answer. The *credit* is the same answer taken as a hard one: 1 if the right answer is the likeliest, 0 if it is not, and an equal share
where several are equally likely (half for a yes/no question at exactly 0.5), which is what guessing among them would earn.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from anyscene.errors import RecordError, SpecError
from anyscene.judges.prompts import plain_words
from anyscene.judges.protocol import STATUSES
from anyscene.scoring.question_bank import Bools, Codes, Floats, Ints, QuestionBank, coded, flat_list, question_bank

__all__ = ["ANSWERED", "FAILED", "MISSING", "ROW_STATUSES", "Rows", "places_of", "score_rows"]

ROW_STATUSES = (*STATUSES, "missing")
"""Of a row; ``missing``: the question was never answered about this media."""
ANSWERED, UNPARSED, FAILED, MISSING = (ROW_STATUSES.index(name) for name in ("answered", "unparsed", "failed", "missing"))
_TOLERANCE = 1e-9


@dataclass(frozen=True)
class Rows:
    """All questions about all media, media after media, in the order of their files.

    Attributes:
        bank: the questions.
        scene: ``(media,)`` position of the record of each media in the table of records.
        sample: ``(media,)`` number of each media among those of its scene.
        sha256: ``(media,)`` digests; None unless made.
        media_status: ``(media,)`` what became of each.
        start: ``(media + 1,)`` first row of each media; media that were not made have none.
        media: ``(rows,)`` the media of each row.
        question: ``(rows,)`` the question of each row, as a position in ``bank``.
        value: ``(rows,)`` probability of the right answer, NaN where missing.
        credit: ``(rows,)`` 1, 0, or a share where several answers are the likeliest; NaN where missing.
        p_yes: ``(rows,)`` of yes/no questions; NaN elsewhere and where missing.
        label_mass: ``(rows,)`` NaN where the judge gives none.
        status: ``(rows,)`` place in ``ROW_STATUSES``.
        complexity: ``(records,)`` of each record.
        unused: answers in the store that belong to no row.
        answered: forms of which there are answers.
        on_yes_no: whether faithfulness is measured on yes/no questions; None: if there are any that ask for what should be there.
    """

    bank: QuestionBank
    scene: Ints
    sample: Ints
    sha256: pa.Array
    media_status: tuple[str, ...]
    start: Ints
    media: Ints
    question: Ints
    value: Floats
    credit: Floats
    p_yes: Floats
    label_mass: Floats
    status: Ints
    complexity: Ints
    unused: int
    answered: frozenset[str]
    on_yes_no: bool | None = None

    def __len__(self) -> int:
        return len(self.question)

    @property
    def scenes(self) -> int:
        """How many records there are, with media or without."""
        return len(self.bank.start) - 1

    @cached_property
    def row_scene(self) -> Ints:
        """``(rows,)`` the record of each row."""
        return self.scene[self.media]

    @cached_property
    def yes_no(self) -> Bools:
        """``(rows,)`` which are yes/no questions."""
        return self.bank.form_is("yes_no")[self.question]

    @cached_property
    def gold_yes(self) -> Bools:
        """``(rows,)`` which have the right answer "yes"."""
        return self.bank.gold_yes[self.question]

    @cached_property
    def is_foil(self) -> Bools:
        """``(rows,)`` which are foils."""
        return self.bank.foil.index[self.question] >= 0

    @cached_property
    def faithful(self) -> Bools:
        """``(rows,)`` on which faithfulness is measured: yes/no questions whose right answer is yes; all but foils if there are none."""
        asked = self.yes_no & self.gold_yes & ~self.is_foil
        on_yes_no = bool(asked.any()) if self.on_yes_no is None else self.on_yes_no
        return asked if on_yes_no else ~self.is_foil & ~self.yes_no

    def edges(self) -> tuple[Ints, Ints]:
        """(child, parent) rows: each question about a media, with each question about it that it depends on."""
        bank = self.bank
        if not len(bank.child) or not len(self.media):
            return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
        kept = np.isin(bank.form.index, np.unique(bank.form.index[self.question]))  # rows are left out by form alone
        both = kept[bank.child] & kept[bank.parent]
        child, parent = bank.child[both], bank.parent[both]
        rank = np.append(0, np.cumsum(kept))  # position among the questions that have rows
        of_record = np.searchsorted(bank.record[child], np.arange(self.scenes + 1))  # edges are in the order of their records
        made = np.flatnonzero(np.diff(self.start) > 0)
        count = np.diff(of_record)[self.scene[made]]
        edge = _ranges(of_record[:-1][self.scene[made]], count)
        shift = np.repeat(self.start[made] - rank[bank.start[self.scene[made]]], count)
        return rank[child[edge]] + shift, rank[parent[edge]] + shift


def score_rows(
    records: pa.Table,
    media: pa.Table,
    answers: pa.Table,
    *,
    relation_types: Mapping[str, str] | None = None,
    object_classes: Mapping[str, str] | None = None,
    forms: Collection[str] | None = None,
    on_yes_no: bool | None = None,
) -> Rows:
    """Joins records, media and answers.

    Where a question about a media has several answers, an answer replaces a failure, and of two answers the later one counts.

    Args:
        records: with ``id``, ``graph``, ``questions`` and ``complexity``.
        media: with ``record_id``, ``sample``, ``sha256`` and ``status``; media of other records are left out.
        answers: of one judge: ``media_sha256``, ``question_key``, ``p_yes``, ``label_mass``, ``text``, ``status``, ``probabilities``.
        relation_types: type of each predicate.
        object_classes: class of each object's name.
        forms: of the questions that were asked; by default those of which there is an answer at all. Questions of other forms get no rows,
            but where there is no form, all do.
        on_yes_no: whether faithfulness is measured on yes/no questions; by default if there are any that ask for what should be there.

    Raises:
        RecordError: a table is not what it should be.
        SpecError: the answers come from several judges.
    """
    _one_judge(answers)
    bank = question_bank(records, relation_types=relation_types, object_classes=object_classes)
    scene, sample, sha256, media_status = _media(records, media)
    made = np.array([status == "made" for status in media_status], dtype=np.bool_)
    count = np.where(made, np.diff(bank.start)[scene], 0) if len(scene) else np.zeros(0, dtype=np.int64)
    owner, question = np.repeat(np.arange(len(scene)), count), _ranges(bank.start[:-1][scene], count)

    shas = coded(sha256)
    place = _join(answers, shas, bank.key, shas.index[owner], bank.key.index[question])
    answered = frozenset(bank.form.words[code] for code in np.unique(bank.form.index[question[place >= 0]]).tolist())
    keep = np.isin(bank.form.index[question], places_of(bank.form, answered if forms is None else forms))
    owner, question, place = owner[keep], question[keep], place[keep]
    value, credit, p_yes, label_mass, status = _values(answers, bank, question, place)
    used = np.zeros(answers.num_rows, dtype=np.bool_)
    used[place[place >= 0]] = True
    complexity = records["complexity"] if "complexity" in records.column_names else pa.nulls(records.num_rows, pa.int64())
    return Rows(
        bank=bank,
        scene=scene,
        sample=sample,
        sha256=sha256,
        media_status=media_status,
        start=np.append(0, np.cumsum(np.bincount(owner, minlength=len(scene)))).astype(np.int64),
        media=owner,
        question=question,
        value=value,
        credit=credit,
        p_yes=p_yes,
        label_mass=label_mass,
        status=status,
        complexity=np.asarray(pc.fill_null(complexity, -1)).astype(np.int64),
        unused=int((~used).sum()),
        answered=answered,
        on_yes_no=on_yes_no,
    )


def places_of(form: Codes, forms: Collection[str]) -> list[int]:
    """The codes of some forms of questions, such as were asked; of all where there are none."""
    return [place for place, word in enumerate(form.words) if word in forms or not forms]


def _ranges(start: Ints, count: Ints) -> Ints:
    """``start[i], start[i] + 1, ...``, ``count[i]`` of each, one after the other."""
    total = int(count.sum())
    ends = np.cumsum(count)
    return np.arange(total) - np.repeat(ends - count - start, count) if total else np.zeros(0, dtype=np.int64)


def _one_judge(answers: pa.Table) -> None:
    needed = ("media_sha256", "question_key", "p_yes", "text", "status", "probabilities")
    missing = [name for name in needed if name not in answers.column_names]
    if missing:
        raise RecordError(f"answers without the column {missing[0]!r} cannot be scored; they have {', '.join(answers.column_names)}")
    for name in ("judge", "revision", "template"):
        if name in answers.column_names:
            found = pc.unique(answers[name]).to_pylist()
            if len(found) > 1:
                several = ", ".join(map(repr, found[:5]))
                raise SpecError(f"the answers come from several judges ({name}: {several}); score those of one at a time")


def _media(records: pa.Table, media: pa.Table) -> tuple[Ints, Ints, pa.Array, tuple[str, ...]]:
    """(scene, sample, digest, status) of the media of these records, by scene and sample; of two rows about one the later counts."""
    missing = [name for name in ("record_id", "sample", "sha256", "status") if name not in media.column_names]
    if missing:
        raise RecordError(f"a table of media without the column {missing[0]!r} cannot be scored; it has {', '.join(media.column_names)}")
    ids = records["id"].combine_chunks()
    if len(pc.unique(ids)) < len(ids):
        raise RecordError("two records have the same id; scores could not tell them apart")
    scene = np.asarray(pc.fill_null(pc.index_in(media["record_id"], value_set=ids.cast(media["record_id"].type)), -1)).astype(np.int64)
    sample = np.asarray(media["sample"]).astype(np.int64)
    order = np.lexsort((np.arange(len(scene)), sample, scene))
    order = order[scene[order] >= 0]
    last = np.ones(len(order), dtype=np.bool_)
    last[:-1] = (np.diff(scene[order]) != 0) | (np.diff(sample[order]) != 0)
    order = order[last]
    taken = media.select(["sha256", "status"]).take(pa.array(order))
    sha256 = pa.array(taken["sha256"].to_pylist(), pa.string())
    statuses = tuple(taken["status"].to_pylist())
    if any(status == "made" and digest is None for status, digest in zip(statuses, sha256.to_pylist(), strict=True)):
        raise RecordError("a media is said to be made but has no sha256")
    return scene[order], sample[order], sha256, statuses


def _join(answers: pa.Table, shas: Codes, keys: Codes, row_sha: Ints, row_key: Ints) -> Ints:
    """The row of `answers` that counts for each (media, question); -1 where there is none."""
    if not answers.num_rows or not shas.words or not keys.words:
        return np.full(len(row_sha), -1, dtype=np.int64)
    sha = _index_in(answers["media_sha256"], shas.words)
    key = _index_in(answers["question_key"], keys.words)
    rows = np.flatnonzero((sha >= 0) & (key >= 0))
    failed = np.asarray(pc.fill_null(pc.equal(answers["status"], "failed"), True))[rows]
    own = sha[rows] * len(keys.words) + key[rows]
    order = np.argsort(own * 2 + ~failed, kind="stable")  # of one question: failures first, then answers as they came; the last counts
    rows, own = rows[order], own[order]
    wanted = row_sha * len(keys.words) + row_key
    at = np.searchsorted(own, wanted, side="right") - 1
    found = (at >= 0) & (own[at] == wanted) if len(own) else np.zeros(len(wanted), dtype=np.bool_)
    return np.where(found, rows[at], -1) if len(own) else np.full(len(wanted), -1, dtype=np.int64)


def _index_in(column: pa.ChunkedArray, words: Sequence[str]) -> Ints:
    plain = column.cast(pa.string())
    return np.asarray(pc.fill_null(pc.index_in(plain, value_set=pa.array(words, pa.string())), -1)).astype(np.int64)


def _values(answers: pa.Table, bank: QuestionBank, question: Ints, place: Ints) -> tuple[Floats, Floats, Floats, Floats, Ints]:
    """(value, credit, p_yes, label mass, status) of each row."""
    rows = len(question)
    value, credit, p_yes, label_mass = (np.full(rows, np.nan) for _ in range(4))
    status = np.full(rows, MISSING, dtype=np.int64)
    has = place >= 0
    stored = _index_in(answers["status"], ROW_STATUSES)
    if (stored[place[has]] < 0).any():
        raise RecordError(f"an answer of unknown status; it must be one of {', '.join(STATUSES)}")
    status[has] = stored[place[has]]
    if "label_mass" in answers.column_names:
        label_mass[has] = _probabilities(answers, "label_mass")[place[has]]
    answered = status == ANSWERED
    yes_no = answered & bank.form_is("yes_no")[question]
    p_yes[yes_no] = _probabilities(answers, "p_yes")[place[yes_no]]
    value[yes_no] = np.where(bank.gold_yes[question[yes_no]], p_yes[yes_no], 1 - p_yes[yes_no])
    known = yes_no & ~np.isnan(value)
    credit[known] = np.where(value[known] > 0.5, 1.0, np.where(value[known] < 0.5, 0.0, 0.5))
    choice = np.flatnonzero(answered & bank.form_is("choice")[question])
    if len(choice):
        value[choice], credit[choice] = _choice_values(answers, bank, question[choice], place[choice])
    open_ = np.flatnonzero(answered & bank.form_is("open")[question])
    if len(open_):
        value[open_] = credit[open_] = _open_values(answers, bank, question[open_], place[open_])
    status[answered & np.isnan(value)] = UNPARSED  # said to be answered, but without a probability or a text that says what
    return value, credit, p_yes, label_mass, status


def _probabilities(answers: pa.Table, name: str) -> Floats:
    found = np.asarray(pc.cast(answers[name], pa.float64()).to_numpy()).astype(np.float64)
    if ((found < -_TOLERANCE) | (found > 1 + 1e-6)).any():
        raise RecordError(f"answers hold a {name} that is no probability: {found[(found < 0) | (found > 1)][0]:g}")
    clipped: Floats = np.clip(found, 0, 1)
    return clipped


def _choice_values(answers: pa.Table, bank: QuestionBank, question: Ints, place: Ints) -> tuple[Floats, Floats]:
    """From the probabilities of the choices; without them, from the text where it is one of the choices."""
    used, own = np.unique(place, return_inverse=True)
    start, flat = flat_list(answers["probabilities"].combine_chunks().take(pa.array(used)))
    values = np.asarray(pc.cast(flat, pa.float64()).to_numpy(zero_copy_only=False)).astype(np.float64)
    size = np.diff(start)[own.ravel()]
    expected = np.diff(bank.choices)[question]
    fits = size == expected
    if ((size > 0) & ~fits).any():
        bad = int(np.flatnonzero((size > 0) & ~fits)[0])
        raise RecordError(f"an answer gives {size[bad]} probabilities to a question with {expected[bad]} choices")
    value, credit = np.full(len(place), np.nan), np.full(len(place), np.nan)
    at = np.flatnonzero(fits)
    if len(at):
        first = start[own.ravel()[at]]
        spread = _ranges(first, size[at])
        bounds = np.append(0, np.cumsum(size[at]))[:-1]
        own_value = values[first + bank.gold_choice[question[at]]]
        best = np.maximum.reduceat(values[spread], bounds)
        level = np.repeat(best, size[at]) - _TOLERANCE
        ties = np.add.reduceat((values[spread] >= level).astype(np.float64), bounds)
        value[at] = np.clip(own_value, 0, 1)
        credit[at] = np.where(np.isnan(own_value), np.nan, np.where(own_value >= best - _TOLERANCE, 1 / np.maximum(ties, 1), 0.0))
    rest = np.flatnonzero(~fits)
    if len(rest):
        value[rest] = credit[rest] = _named_choices(answers, bank, question[rest], place[rest])
    return value, credit


def _named_choices(answers: pa.Table, bank: QuestionBank, question: Ints, place: Ints) -> Floats:
    """1 where the text names the right choice, 0 where another one, NaN where none."""
    found = np.full(len(place), np.nan)
    texts = answers["text"].take(pa.array(place)).to_pylist()
    for row, (text, one) in enumerate(zip(texts, question.tolist(), strict=True)):
        choices = [bank.choice_text.words[code] for code in bank.choice_text.index[bank.choices[one] : bank.choices[one + 1]]]
        said = plain_words(text or "")
        if said and said in map(plain_words, choices):
            found[row] = float(said == plain_words(choices[bank.gold_choice[one]]))
    return found


def _open_values(answers: pa.Table, bank: QuestionBank, question: Ints, place: Ints) -> Floats:
    """1 where the text is the right answer, 0 where it is another one, NaN where it is empty."""
    said = coded(answers["text"].take(pa.array(place)))
    names: dict[str, int] = {"": 0}
    of_said = np.array([names.setdefault(plain_words(word), len(names)) for word in said.words] + [0], dtype=np.int64)[said.index]
    of_gold = np.array([names.setdefault(plain_words(word), len(names)) for word in bank.gold.words], dtype=np.int64)
    return np.where(of_said == 0, np.nan, (of_said == of_gold[bank.gold.index[question]]).astype(np.float64))
