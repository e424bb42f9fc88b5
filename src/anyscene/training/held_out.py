"""What every recipe does around its training: split the scenes, evaluate on the side that is never trained on, claim a folder."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anyscene import __version__
from anyscene.dataset import SceneSpace
from anyscene.dataset.scene_space import RecordOptions
from anyscene.errors import RunError, SpecError
from anyscene.evaluation import judge_run, open_run, paint_run, report_run, score_evaluation
from anyscene.language import QuestionOptions
from anyscene.runs import differences, normalized, read_manifest, write_manifest
from anyscene.space import Holdout, SceneSpec, prove_split
from anyscene.training.config import HeldOut, Questioning, Section

if TYPE_CHECKING:
    from collections.abc import Sequence

    from anyscene.evaluation import EvaluationRun
    from anyscene.judges import Judge
    from anyscene.models import Model
    from anyscene.taxonomy import Taxonomy

__all__ = [
    "FORMS",
    "REPORT",
    "SCORES",
    "Sides",
    "asked",
    "claim",
    "evaluate",
    "headlines",
    "is_evaluated",
    "json_text",
    "split_scenes",
    "training_records",
]

FORMS = ("yes_no",)
SCORES = ("all_correct", "strict", "soft")
"""What a result states first, before and after."""
REPORT = "report.html"


@dataclass(frozen=True, slots=True)
class Sides:
    """Training and held-out scenes.

    Attributes:
        train: the space that is trained on.
        held_out: the space of the evaluation.
        proof: what both could ever draw, and what they share (`space.prove_split`).
    """

    train: SceneSpace
    held_out: SceneSpace
    proof: Mapping[str, Any]

    @property
    def digests(self) -> dict[str, str]:
        """Of the two spaces."""
        return {"train": self.train.digest, "held_out": self.held_out.digest}


def split_scenes(scenes: Mapping[str, Any], held: HeldOut, taxonomy: Taxonomy | None) -> Sides:
    """The two sides of a config's scenes.

    Args:
        scenes: fields of ``SceneSpec``.
        held: what is held out.
        taxonomy: the vocabulary; None is the one that ships.

    Raises:
        SpecError: there are no such scenes, or they are the side of a split already.
    """
    spec = SceneSpec.from_dict(dict(scenes))
    if spec.holdout is not None:
        raise SpecError(f"the scenes are the {spec.holdout.side} side of a split; give the whole, which is split for training")
    train, test = (
        SceneSpace(spec, taxonomy=taxonomy, holdout=Holdout.of_share(held.by, side, held.test, held.key)) for side in ("train", "test")
    )
    for side, space in (("training", train), ("held-out", test)):
        if not space.size:
            raise SpecError(f"no {side} scene is left by the split; take another held_out.key, or wider scenes")
    return Sides(train, test, prove_split(train.space, test.space))


def asked(questions: Questioning = Questioning(), forms: Sequence[str] = FORMS) -> RecordOptions:  # noqa: B008  # it cannot be changed
    """The wording of the records of a run."""
    return RecordOptions(questions=QuestionOptions(tuple(forms), questions.foils, only_one=questions.only_one))


def training_records(space: SceneSpace, seed: int, wording: RecordOptions) -> Callable[[int, int], list[dict[str, Any]]]:
    """Records by number of the first and count. When all that the space gives have been seen, they come again."""
    source = space.source(seed, wording)
    there = source.capacity

    def records(start: int, count: int) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        while len(found) < count:
            first = (start + len(found)) % there
            found += source.table(first, min(there, first + count - len(found))).to_pylist()
        return found

    return records


def evaluate(
    folder: Path,
    model: Model,
    judges: Sequence[Judge],
    space: SceneSpace,
    *,
    first: int = 0,
    n: int,
    seed: int,
    samples: int = 1,
    wording: RecordOptions | None = None,
    quiet: bool = False,
) -> EvaluationRun:
    """An evaluation on the scenes ``first`` to ``first + n`` of a space, painted, judged, scored and reported, or gone on with.

    Args:
        folder: of the evaluation.
        model: what paints.
        judges: who answer; the scores and the report are the first one's.
        space: of the scenes.
        first: number of the first scene.
        n: scenes.
        seed: of the scenes and their media.
        samples: media of each.
        wording: of the records; None is that of `asked` without arguments.
        quiet: show no progress.

    Raises:
        SpecError: there are not so many scenes.
        RunError: the folder holds another evaluation, or cannot be written.
    """
    wording = asked() if wording is None else wording
    source = space.source(seed, wording)
    if source.capacity < first + n:
        raise SpecError(f"{first + n:,} held-out scenes: there are only {source.capacity:,}; take fewer (held_out.n), or a wider space")
    run, _ = paint_run(source.table(first, first + n), model, folder, seed=seed, samples=samples, taxonomy=space.taxonomy, quiet=quiet)
    for judge in judges:
        judge_run(run, judge, forms=wording.questions.forms, quiet=quiet)
    score_evaluation(run, judges[0].name)
    report_run(run, judges[0].name)
    return run


def is_evaluated(folder: Path) -> bool:
    """Is the evaluation in this folder whole? The report is its last file."""
    return (folder / REPORT).is_file()


def headlines(folder: Path) -> dict[str, Any]:
    """The scores that a result states first, of a finished evaluation."""
    scores = open_run(folder).scores()["scores"]
    return {name: scores[name] for name in SCORES}


def claim(out: Path, kind: str, config: Section, digests: Mapping[str, str]) -> None:
    """Marks a folder as this run's own.

    Args:
        out: the folder; it exists.
        kind: of recipe.
        config: of the run.
        digests: of the spaces it draws from.

    Raises:
        RunError: it is another's.
    """
    asked = normalized({"anyscene": __version__, "kind": kind, "config": config.model_dump(mode="json"), "scenes": dict(digests)})
    found = read_manifest(out)
    if found is None:
        write_manifest(out, asked)
        return
    changed = differences(found, asked)
    if changed:
        raise RunError(f"{out} holds another run ({'; '.join(changed[:3])}). Choose another folder, or remove it.")


def json_text(value: Mapping[str, Any]) -> bytes:
    """A result as the bytes of a JSON file."""
    return (json.dumps(value, indent=1, ensure_ascii=False, default=float) + "\n").encode()
