"""True answers to some of the questions, laid beside the rows that the judge answered."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from anyscene.errors import RecordError
from anyscene.judges.prompts import plain_words
from anyscene.scoring.question_bank import Floats, coded
from anyscene.scoring.rows import Rows

__all__ = ["truth_of_rows"]


def truth_of_rows(rows: Rows, labels: pa.Table | None) -> Floats:
    """``(rows,)`` 1 where the true answer to a yes/no question is yes, 0 where it is no, NaN where it is not known or the form is another.

    Several labels of one question (several people) are put to the vote; a tie leaves the question without a label. Labels of questions
    that have no row are left out.

    Args:
        rows: what the judge answered.
        labels: with the columns ``media_sha256``, ``question_key`` and ``answer``.

    Raises:
        RecordError: a column is missing, or a label of a yes/no question is neither yes nor no.
    """
    truth = np.full(len(rows), np.nan)
    if labels is None or not labels.num_rows or not len(rows):
        return truth
    missing = [name for name in ("media_sha256", "question_key", "answer") if name not in labels.column_names]
    if missing:
        raise RecordError(f"labels without the column {missing[0]!r} cannot be used; they have {', '.join(labels.column_names)}")
    shas, keys, said = coded(rows.sha256), rows.bank.key, coded(labels["answer"])
    verdicts = {"yes": 1.0, "no": -1.0}
    votes = np.array([verdicts.get(plain_words(word), np.nan) for word in said.words] + [np.nan])[said.index]
    sha_of = {word: place for place, word in enumerate(shas.words)}
    key_of = {word: place for place, word in enumerate(keys.words)}
    sha, key = coded(labels["media_sha256"]), coded(labels["question_key"])
    sha_code = np.array([sha_of.get(word, -1) for word in sha.words] + [-1], dtype=np.int64)[sha.index]
    key_code = np.array([key_of.get(word, -1) for word in key.words] + [-1], dtype=np.int64)[key.index]
    yes_no = np.zeros(len(keys.words), dtype=np.bool_)
    yes_no[keys.index[rows.bank.form_is("yes_no")]] = True
    used = (sha_code >= 0) & (key_code >= 0)
    used &= yes_no[key_code]
    strange = used & np.isnan(votes) & (said.index >= 0)
    if strange.any():
        wrong = said.words[said.index[np.flatnonzero(strange)[0]]]
        raise RecordError(f"a label of a yes/no question says {wrong!r}; it must be yes or no")
    used &= ~np.isnan(votes)
    own, place = np.unique(sha_code[used] * len(keys.words) + key_code[used], return_inverse=True)
    if not len(own):
        return truth
    sums = np.bincount(place.ravel(), votes[used])
    wanted = shas.index[rows.media] * len(keys.words) + keys.index[rows.question]
    at = np.minimum(np.searchsorted(own, wanted), len(own) - 1)
    found = (own[at] == wanted) & (sums[at] != 0)
    truth[found] = (sums[at[found]] > 0).astype(np.float64)
    return truth
