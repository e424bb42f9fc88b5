"""True answers to some questions of a run: from people, from another judge, or from a painter that knows what it drew."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from anyscene.errors import RecordError
from anyscene.evaluation.run import LABELS, EvaluationRun, parquet_bytes
from anyscene.judges.judging import questions_of
from anyscene.language.question import Question
from anyscene.runs import write_atomic

__all__ = ["FORMS", "label_run", "label_schema", "labels_from_csv", "labels_from_judge", "write_labels"]

FORMS = ("yes_no", "choice")
"""Asked unless told otherwise: open questions are matched by their words, which is strict to judges that phrase freely."""

TruthOf = Callable[[Question, Mapping[str, Any]], str | None]
"""The true answer to a question, by what a painter says of a media (``details`` of its entry); None where it has none."""


def label_schema() -> pa.Schema:
    """The Arrow schema of true answers: which question about which media, and the answer."""
    return pa.schema({"media_sha256": pa.string(), "question_key": pa.string(), "answer": pa.string()})


def label_run(run: EvaluationRun, truth_of: TruthOf, *, share: float = 1.0, forms: Sequence[str] = FORMS) -> int:
    """Writes true answers to the questions about a share of the media, as far as the painter said what it drew.

    Which media are labelled is a hash of their digests, so the same ones are again.

    Returns:
        How many questions got a label.
    """
    place = {id: number for number, id in enumerate(run.scenes["id"].to_pylist())}
    columns: dict[str, list[str]] = {"media_sha256": [], "question_key": [], "answer": []}
    for entry in run.media.entries():
        if entry.sha256 is None or not entry.details or int(hashlib.sha256(entry.sha256.encode()).hexdigest()[:8], 16) >= share * 2**32:
            continue
        details = json.loads(entry.details)
        for question in questions_of(run.records[place[entry.record_id]], forms):
            answer = truth_of(question, details)
            if answer is not None:
                for column, value in zip(columns.values(), (entry.sha256, question.key, answer), strict=True):
                    column.append(value)
    table = pa.table(columns, label_schema())
    if table.num_rows:
        write_labels(run, table, "truth", share)
    return int(table.num_rows)


def write_labels(run: EvaluationRun, table: pa.Table, source: str = "labels", share: float | None = None) -> None:
    """Keeps true answers with the run; those that were there stay unless they are answered anew.

    Args:
        run: the evaluation.
        table: of ``label_schema``.
        source: ``labels`` (somebody's) or ``truth`` (a painter's own). A mixture counts as labels.
        share: of the media, where these are a painter's own answers about as large a share; a larger share holds all of a smaller one.
    """
    old = run.labels
    if old is not None and old.num_rows:
        source = source if source == run.labels_source else "labels"
        share = None if share is None or run.labels_share is None or source != "truth" else max(share, run.labels_share)
        new = set(zip(table["media_sha256"].to_pylist(), table["question_key"].to_pylist(), strict=True))
        keep = [pair not in new for pair in zip(old["media_sha256"].to_pylist(), old["question_key"].to_pylist(), strict=True)]
        table = pa.concat_tables([old.cast(label_schema()).filter(pa.array(keep, pa.bool_())), table])
    table = table.sort_by([("media_sha256", "ascending"), ("question_key", "ascending")])
    table = table.replace_schema_metadata({"source": source, **({} if share is None else {"share": repr(float(share))})})
    write_atomic(run.folder / LABELS, parquet_bytes(table))


def labels_from_csv(run: EvaluationRun, path: Path) -> pa.Table:
    """True answers from a CSV file with the columns ``media_sha256``, ``question_key`` and ``answer``. Rows without an answer are left out.

    Raises:
        RecordError: it cannot be read, lacks a column, or a row is of no media or question of the run; the message names the line.
    """
    known = _asked(run)
    columns: dict[str, list[str]] = {name: [] for name in label_schema().names}
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            missing = [name for name in columns if name not in (reader.fieldnames or ())]
            if missing:
                raise RecordError(f"{path}: it lacks the column {missing[0]}; true answers have the columns {', '.join(columns)}")
            for row in reader:
                answer = (row["answer"] or "").strip()
                if not answer:
                    continue
                pair = (row["media_sha256"], row["question_key"])
                if pair not in known:
                    raise RecordError(
                        f"{path}, line {reader.line_num}: media {pair[0][:12]!r} with question {pair[1]!r} is not in {run.folder}"
                    )
                if not _possible(known[pair], answer):
                    raise RecordError(f"{path}, line {reader.line_num}: {answer!r} is no answer to {known[pair].text!r}")
                for column, value in zip(columns.values(), (*pair, answer), strict=True):
                    column.append(value)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise RecordError(f"{path}: cannot be read as CSV ({error})") from None
    return pa.table(columns, label_schema())


def labels_from_judge(run: EvaluationRun, judge: str) -> pa.Table:
    """Another judge's answers (people's, a stronger model's) as true ones; those it did not give are left out.

    Raises:
        SpecError: it has not answered in this run.
    """
    answers, _ = run.answers(judge)
    answers = answers.filter(pc.equal(answers["status"], "answered"))
    known = _asked(run)
    columns: dict[str, list[str]] = {name: [] for name in label_schema().names}
    for row in answers.to_pylist():
        pair = (row["media_sha256"], row["question_key"])
        question = known.get(pair)
        if question is None or row["p_yes"] == 0.5:
            continue
        if question.form == "yes_no":
            answer = "yes" if row["p_yes"] > 0.5 else "no"
        elif question.form == "choice":
            answer = question.choices[max(range(len(question.choices)), key=row["probabilities"].__getitem__)]
        else:
            answer = row["text"]
        for column, value in zip(columns.values(), (*pair, answer), strict=True):
            column.append(value)
    return pa.table(columns, label_schema())


def _asked(run: EvaluationRun) -> dict[tuple[str, str], Question]:
    """Every question of the run by media and key."""
    questions = {record["id"]: questions_of(record) for record in run.records}
    return {
        (entry.sha256, question.key): question
        for entry in run.media.entries()
        if entry.sha256 is not None
        for question in questions[entry.record_id]
    }


def _possible(question: Question, answer: str) -> bool:
    return answer in (("yes", "no") if question.form == "yes_no" else question.choices or (answer,))
