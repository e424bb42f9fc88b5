"""Answers that were given before, taken from an answer store: a run is judged again without any judge being called."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from anyscene.errors import JudgeError, SpecError
from anyscene.judges.protocol import Answer
from anyscene.judges.store import read_answer_file, read_answers
from anyscene.language.question import Question
from anyscene.media import Media

__all__ = ["StoredJudge"]

IDENTITY = ("judge", "revision", "template")


class StoredJudge:
    """Gives the answers of a store, found by the media's digest and the question's key.

    A question that the store does not answer is ``failed`` with the text "not in the store", and so is missing, not wrong.

    Args:
        name: a file of answers, the folder of a store, or the folder of a run with stores in `answers/`.
        judge: whose answers are taken, where there are several judges' in the store.
        revision: of the judge, where there are several.
        template: likewise.

    Raises:
        JudgeError: nothing in the store is by that judge.
        RecordError: there are no answers at that place, or a file is damaged.
        SpecError: the store holds answers of several judges, and none or not one of them was chosen.
    """

    workers = 1
    examinable = False
    """Canaries are not put to it: it can only answer what it was asked before."""

    def __init__(self, name: str, *, judge: str | None = None, revision: str | None = None, template: str | None = None) -> None:
        if not name:
            raise SpecError("judge 'stored' needs a store of answers: stored:RUN/answers/JUDGE, or stored:FILE.parquet")
        self.name = f"stored:{name}"
        table = _stores(Path(name).expanduser())
        wanted = {"judge": judge, "revision": revision, "template": template}
        table, self.template, self.revision = _chosen(table, wanted, self.name)
        media = table["media_sha256"].combine_chunks()
        order = pc.sort_indices(media)
        self._table = table.take(order)
        self._media = np.asarray(pc.take(media, order)).astype(str)

    def answer(self, media: Media, questions: Sequence[Question]) -> list[Answer]:
        """What the store says of this media."""
        first, last = np.searchsorted(self._media, media.sha256, "left"), np.searchsorted(self._media, media.sha256, "right")
        rows = self._table.slice(first, last - first).to_pylist()
        known = {row["question_key"]: row for row in rows}
        return [_answer(known.get(question.key)) for question in questions]


def _answer(row: dict[str, object] | None) -> Answer:
    if row is None:
        return Answer(None, None, "not in the store", "failed")
    shares = row["probabilities"] or ()
    return Answer(row["p_yes"], row["label_mass"], str(row["text"] or ""), str(row["status"]), tuple(shares))  # type: ignore[arg-type]


def _stores(path: Path) -> pa.Table:
    """All answers at a place: a file, a store, a folder of stores, or a run."""
    folder = path / "answers" if (path / "answers").is_dir() else path
    if not folder.is_dir() or any(folder.glob("*.parquet")):
        return read_answer_file(folder) if folder.is_file() else read_answers(folder)
    stores = sorted({file.parent for file in folder.glob("*/*.parquet")})
    return pa.concat_tables([read_answers(store) for store in stores]) if stores else read_answers(folder)


def _chosen(table: pa.Table, wanted: dict[str, str | None], name: str) -> tuple[pa.Table, str, str]:
    """The rows of the one judge that is meant, the template, and what tells those answers from others: judge and revision."""
    found = table.group_by(list(IDENTITY)).aggregate([]).to_pylist()
    found = sorted((one["judge"], one["revision"], one["template"]) for one in found)
    meant = [one for one in found if all(value is None or value == part for value, part in zip(wanted.values(), one, strict=True))]
    shown = "; ".join(f"judge={judge} revision={revision or '(none)'} template={template}" for judge, revision, template in found)
    if not meant:
        asked = " ".join(f"{key}={value}" for key, value in wanted.items() if value is not None)
        raise JudgeError(f"{name} holds no answers of {asked}; it holds {shown}")
    if len(meant) > 1:
        raise SpecError(f"{name} holds answers of {len(meant)} judges; choose one with the options judge, revision, template: {shown}")
    masks = [pc.equal(table[column], part) for column, part in zip(IDENTITY, meant[0], strict=True)]
    return table.filter(pc.and_(pc.and_(masks[0], masks[1]), masks[2])), meant[0][2], f"{meant[0][0]} {meant[0][1]}".strip()
