"""Do the intervals of corrected scores hold? Repeats of an evaluation whose truth is known: flawed painter, judge of pixels, score.

    python tools/sandbox/coverage.py --repeats 100 --scenes 2000      (an hour of one core)

Each repeat draws new scenes, paints them with the stated rates, judges them from their pixels (the judge "noisy" flips answers at stated
rates), labels a quarter of the pictures with the truth, and scores. The truth is the share of true answers over many more scenes, for each
kind of question. Printed is in how many repeats each interval holds it.
"""

from __future__ import annotations

import argparse
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from anyscene import SceneSpace
from anyscene.evaluation.labels import label_schema
from anyscene.judges import Judge
from anyscene.judges.judging import questions_of
from anyscene.judges.store import AnswerRow, answer_table
from anyscene.language.question import Question
from anyscene.media import Media, MediaEntry, media_schema
from anyscene.models.painting import media_seed
from anyscene.sandbox import load_judge, load_sandbox_taxonomy
from anyscene.sandbox.painters import Painter, load_flawed
from anyscene.sandbox.truth import true_answer
from anyscene.scoring import score_run

METHODS = ("raw", "rogan_gladen", "prediction_powered")
SPEC: dict[str, Any] = {"complexity": (1, 6), "counts": True, "scene_attributes": (0, 1)}


def painted(painter: Painter, table: pa.Table, seed: int) -> Iterator[tuple[dict[str, Any], int, list[Question]]]:
    """Each record with the seed of its picture and its yes/no questions."""
    for record in table.to_pylist():
        yield record, media_seed(seed, record["id"], 0), questions_of(record, ("yes_no",))


def truth_by_kind(space: SceneSpace, painter: Painter, scenes: int) -> dict[str, float]:
    """Share of questions with the right answer yes that are truly so, by kind."""
    right: Counter[str] = Counter()
    asked: Counter[str] = Counter()
    for record, seed, questions in painted(painter, space.source(10**6).table(0, scenes), 10**6):
        seen = painter.drawn(record["caption"], seed).seen
        for question in questions:
            if question.foil is None:
                asked[question.kind] += 1
                right[question.kind] += true_answer(question, seen) == question.answer
    return {kind: right[kind] / number for kind, number in asked.items()}


def main() -> None:
    """Prints the coverage."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=100)
    parser.add_argument("--scenes", type=int, default=300)
    parser.add_argument("--rate", type=float, default=0.15, help="of every kind of flaw")
    parser.add_argument("--labels", type=float, default=0.25)
    parser.add_argument("--truth-scenes", type=int, default=100_000, help="scenes that the truth is counted on")
    arguments = parser.parse_args()
    rate = arguments.rate
    painter = load_flawed(drop=rate, swap=rate, reverse=rate, miscount=rate)
    judges = [load_judge(name) for name in ("pixels", "noisy")]
    space = SceneSpace(taxonomy=load_sandbox_taxonomy(), **SPEC)
    truth = truth_by_kind(space, painter, arguments.truth_scenes)
    held: dict[tuple[str, str, str], int] = defaultdict(int)
    width: dict[tuple[str, str, str], float] = defaultdict(float)
    for repeat in range(arguments.repeats):
        table = space.source(repeat).table(0, arguments.scenes)
        entries, labels = [], []
        rows: dict[str, list[AnswerRow]] = {judge.name: [] for judge in judges}
        for place, (record, seed, questions) in enumerate(painted(painter, table, repeat)):
            media = painter.generate([record["caption"]], [seed])[0]
            if not isinstance(media, Media):
                raise SystemExit(f"{record['caption']}: {media}")
            entries.append(MediaEntry(record["id"], record["index"], 0, seed, f"{place}.png", media.sha256, "made"))
            for judge in judges:
                answers = judge.answer(media, questions)
                rows[judge.name] += [AnswerRow(media.sha256, one.key, answer) for one, answer in zip(questions, answers, strict=True)]
            if place < arguments.labels * arguments.scenes:  # scenes come in the order of a keyed permutation: the first are a random part
                seen = painter.drawn(record["caption"], seed).seen
                labels += [(media.sha256, question.key, true_answer(question, seen)) for question in questions]
        columns = [pa.array(column, pa.string()) for column in zip(*labels, strict=True)]
        for judge in judges:
            scores = score_run(
                table,
                pa.Table.from_pylist([{name: getattr(entry, name) for name in media_schema().names} for entry in entries], media_schema()),
                answer_table(rows[judge.name], judge.name, judge.revision, judge.template),
                model=painter.name,
                judge=judge.name,
                labels=pa.Table.from_arrays(columns, schema=label_schema()),
                labels_source="truth",
                seed=repeat,
            ).to_dict()
            for kind, found in scores["corrected"].items():
                for method in METHODS:
                    one = found.get(method)
                    if one is not None:
                        held[judge.name, kind, method] += one["low"] <= truth[kind] <= one["high"]
                        width[judge.name, kind, method] += one["high"] - one["low"]
        if (repeat + 1) % 10 == 0:
            show(judges, truth, held, width, repeat + 1)
    print(f"{arguments.scenes} scenes a repeat, all rates {rate}, labels {arguments.labels}")


def show(
    judges: list[Judge],
    truth: dict[str, float],
    held: dict[tuple[str, str, str], int],
    width: dict[tuple[str, str, str], float],
    repeats: int,
) -> None:
    """The table after so many repeats."""
    print(f"{repeats} repeats\n{'judge':<18}{'kind':<18}{'truth':>8}{'method':>22}{'holds':>8}{'mean width':>12}")
    for judge in judges:
        for kind, value in sorted(truth.items()):
            for method in METHODS:
                key = (judge.name, kind, method)
                print(f"{judge.name:<18}{kind:<18}{value:>8.3f}{method:>22}{held[key]:>8}{width[key] / repeats:>12.4f}", flush=True)


if __name__ == "__main__":
    main()
