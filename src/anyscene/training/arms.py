"""The rounds of ``anyscene improve``: paint candidates, choose, learn, look at validation scenes.

An *arm* is a model that goes through the rounds: ``selected``, which learns from the pictures that the judge found best, and those that it
is compared with: ``unselected``, which learns from pictures of its own that nobody chose, and ``images``, which learns from the user's.
They get exactly as many pictures in exactly as many updates as ``selected`` got in the same round.

Every step of a round leaves a file when it is done, and is not made again.
"""

from __future__ import annotations

import heapq
import json
import math
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from anyscene.errors import SpecError
from anyscene.evaluation import EvaluationRun, judge_run, open_run, paint_run, scores_of
from anyscene.judges import Judge
from anyscene.media import read_media
from anyscene.models import Model, load_model
from anyscene.models.diffusers import DiffusersModel
from anyscene.models.painting import media_seed
from anyscene.rewards import Score
from anyscene.runs import open_folder, say, write_atomic
from anyscene.scene.keyed import key_of
from anyscene.training.config import FineTuning
from anyscene.training.examples import Example, read_examples, write_examples
from anyscene.training.held_out import FORMS, Sides, asked, evaluate, is_evaluated, json_text
from anyscene.training.improve_config import ImproveConfig
from anyscene.training.pairs import Pair, read_pairs
from anyscene.training.policies import POLICY, Trained
from anyscene.training.run_folder import CHECKPOINTS, TrainingRun
from anyscene.training.selection import Candidate, candidates_of, pairs, select, unselected, weights
from anyscene.training.selection_figures import diversity, selection_figures
from anyscene.training.sheets import ROWS, contact_sheet

__all__ = [
    "SELECTION",
    "TRAINING",
    "VALIDATION",
    "Arm",
    "Workshop",
    "anchored",
    "chosen_captions",
    "has_pictures",
    "policy_at",
    "trained_records",
]

ArmName = Literal["selected", "unselected", "images"]
EXAMPLES, SELECTION, CANDIDATES, TRAINING, VALIDATION = "examples.jsonl", "selection.json", "candidates", "training", "validation"
PICTURES = "pictures"
FOUND = "validation.json"


@dataclass(frozen=True, slots=True)
class Workshop:
    """What the rounds need to know.

    Attributes:
        config: of the run.
        out: its folder.
        sides: its scenes.
        judge: who chooses.
        evaluator: who judges held-out scenes.
        second: who judges them as well, or None.
        name: of the model at the start.
        wait: until all processes are here.
        main: is this the process that paints, judges and writes?
        quiet: show no progress.
        trackers: accelerate's.
    """

    config: ImproveConfig
    out: Path
    sides: Sides
    judge: Judge
    evaluator: Judge
    second: Judge | None
    name: str
    wait: Callable[[], None]
    main: bool
    quiet: bool
    trackers: Sequence[Any] = ()

    @property
    def examiners(self) -> list[Judge]:
        """All who judge held-out scenes; the scores are the first one's."""
        return [one for one in (self.evaluator, self.second) if one is not None]

    def painter(self, trained: Trained | None, called: str, *, evaluated: bool) -> Model:
        """The model, as it paints candidates or as it is evaluated.

        Args:
            trained: its policy; None is the start.
            called: what its runs call it.
            evaluated: with the options of the evaluation.
        """
        trained = trained or Trained(self.config.model, self.config.model_options)
        more = self.config.held_out.model_options if evaluated else {}
        model = load_model(trained.load, **{**trained.options, **more})
        model.name = called
        return model

    def examine(self, folder: Path, trained: Trained | None, called: str, first: int, n: int) -> EvaluationRun:
        """An evaluation on held-out scenes, unless it is done. For the main process only."""
        if is_evaluated(folder):
            return open_run(folder)
        held = self.config.held_out
        model = self.painter(trained, called, evaluated=True)
        space = self.sides.held_out
        return evaluate(
            folder,
            model,
            self.examiners,
            space,
            first=first,
            n=n,
            seed=held.seed,
            samples=held.samples,
            wording=asked(self.config.questions),
            quiet=self.quiet,
        )

    def validate(self, folder: Path, trained: Trained | None, called: str) -> dict[str, Any] | None:
        """Scores on the validation scenes, where there are any: ``score``, ``second``, ``foils``, ``diversity``."""
        if not self.config.validation:
            return None
        if self.main and not (folder / FOUND).is_file():
            open_folder(folder)
            run = self.examine(folder / VALIDATION, trained, called, self.config.held_out.n, self.config.validation)
            write_atomic(folder / FOUND, json_text(self._figures(run)))
        self.wait()
        found: dict[str, Any] = json.loads((folder / FOUND).read_text("utf-8"))
        return found

    def _figures(self, run: EvaluationRun) -> dict[str, Any]:
        score, judge = self.config.score, self.evaluator.name
        own = run.scores()["scores"]
        second = None if self.second is None else scores_of(run, self.second.name).to_dict()["scores"][score]
        apart = diversity(candidates_of(run, judge), seed=self.config.seed, modality=run.model["modality"])
        return {"score": own[score], "foils": _foils(run, judge), "second": second, "diversity": apart["between"]}


def _foils(run: EvaluationRun, judge: str) -> float | None:
    """The share of foils that the judge calls true."""
    rows = scores_of(run, judge).rows
    known = rows.credit[rows.is_foil & rows.yes_no]
    known = known[known == known]
    return float(1 - known.mean()) if len(known) else None


@dataclass(frozen=True, slots=True)
class Arm:
    """One model's way through the rounds.

    Attributes:
        name: of the arm.
        shop: what its rounds need.
        like: the arm whose numbers of pictures it takes; None chooses its own.
    """

    name: ArmName
    shop: Workshop
    like: Arm | None = None

    def folder(self, round_: int) -> Path:
        """Of a round; the first is 1."""
        return self.shop.out / self.name / f"round-{round_}"

    def policy(self, round_: int) -> Trained | None:
        """What a round made; None is the start, before the first."""
        return None if round_ == 0 else policy_at(self.folder(round_) / TRAINING / POLICY)

    def called(self, round_: int) -> str:
        """The name of its model after a round."""
        if round_ == 0:
            return self.shop.name
        return f"{self.shop.name}, {self.name}, round {round_}"

    def run(self, round_: int) -> dict[str, Any] | None:
        """A round, as far as it is not done.

        Returns:
            What came of it: ``pictures``, ``selection`` (of the arm that chooses), ``validation``; None where nothing could be learnt from,
            and the rounds end.

        Raises:
            SpecError: there are not enough pictures.
            Interrupted: stopped by Ctrl-C; what was done is kept.
        """
        folder, shop = self.folder(round_), self.shop
        if shop.main and not (folder / SELECTION).is_file():
            open_folder(folder)
            self._gather(round_)
        shop.wait()
        found: dict[str, Any] = {"round": round_, **json.loads((folder / SELECTION).read_text("utf-8"))}
        if not found["pictures"]:
            return None
        self._learn(round_)
        found["validation"] = shop.validate(folder, self.policy(round_), self.called(round_))
        return found

    def metrics(self, round_: int) -> list[dict[str, Any]]:
        """What the training of a round logged; updates are counted over all rounds."""
        updates = self.shop.config.fine_tuning.updates
        lines = TrainingRun(self.folder(round_) / TRAINING, updates).metrics()
        return [{**one, "update": one["update"] + (round_ - 1) * updates} for one in lines]

    def sheet(self, round_: int) -> bytes:
        """A picture of some candidates of a round with their scores."""
        run = open_run(self.folder(round_) / CANDIDATES)
        shown = {str(one["id"]): one for one in run.records[:ROWS]}
        found = [one for one in candidates_of(run, self.shop.judge.name, self.shop.config.selection.score) if one.scene in shown]
        media = [None if one.path is None else read_media(one.path, run.model["modality"]) for one in found]
        scores = [None if one.score is None else Score(one.score) for one in found]
        return contact_sheet(media, [shown[one.scene] for one in found], scores)

    # ---- what is learnt from --------------------------------------------------------------------------------------------------

    def _gather(self, round_: int) -> None:
        """Writes the examples of a round, and last how they were found."""
        folder = self.folder(round_)
        wanted = None if self.like is None else len(read_examples(self.like.folder(round_) / EXAMPLES, verify=False))
        if wanted is None:
            examples, said = self._chosen(round_)
        elif self.name == "unselected":
            examples, said = self._unselected(round_, wanted), {}
        else:
            examples, said = self._images(round_, wanted)
        write_examples(folder / EXAMPLES, examples)
        write_atomic(folder / SELECTION, json_text({"pictures": len(examples), **said}))

    def _paint(self, round_: int, samples: int) -> EvaluationRun:
        """Candidates of the round's scenes by the model of the round before."""
        shop, config = self.shop, self.shop.config
        say(f"{self.name}, round {round_}: painting {config.scenes_per_round:,} x {samples} candidates", quiet=shop.quiet)
        source = shop.sides.train.source(config.seed, asked(config.questions))
        first = (round_ - 1) * config.scenes_per_round
        table = source.table(first, first + config.scenes_per_round)
        model = shop.painter(self.policy(round_ - 1), self.called(round_ - 1), evaluated=False)
        run, _ = paint_run(
            table,
            model,
            self.folder(round_) / CANDIDATES,
            seed=config.seed,
            samples=samples,
            taxonomy=shop.sides.train.taxonomy,
            quiet=shop.quiet,
        )
        return run

    def _chosen(self, round_: int) -> tuple[list[Example], dict[str, Any]]:
        shop, config = self.shop, self.shop.config
        run = self._paint(round_, config.images_per_scene)
        judge_run(run, shop.judge, forms=FORMS, quiet=shop.quiet)
        candidates = candidates_of(run, shop.judge.name, config.selection.score)
        how, seed, method = config.selection, config.seed, config.fine_tuning.method
        if method == "dpo":
            two, counts = pairs(candidates, how, seed)
            examples = [_example(one.chosen, rejected=one.rejected) for one in two]
            chosen = [one.chosen for one in two]
        elif method in ("weighted", "nft"):
            if method == "nft":  # from the worst, too, something is learnt
                how = how.model_copy(update={"weighting": "nft", "threshold": -math.inf})
            weighed, counts = weights(candidates, how, seed)
            examples, chosen = [_example(one, weight) for one, weight in weighed], [one for one, _ in weighed]
        else:
            chosen, counts = select(candidates, how, seed)
            examples = [_example(one) for one in chosen]
        records = {str(one["id"]): one for one in run.records}
        figures = selection_figures(candidates, chosen, records)
        apart = diversity(candidates, seed=config.seed, modality=run.model["modality"])
        say(f"{self.name}, round {round_}: {len(examples):,} chosen of {len(candidates):,}", quiet=shop.quiet)
        return examples, {"counts": counts, "figures": figures, "diversity": apart}

    def _unselected(self, round_: int, wanted: int) -> list[Example]:
        """So many pictures of the model's own, that nobody looked at; with dpo, pairs in an order that says nothing."""
        config = self.shop.config
        two = config.fine_tuning.method == "dpo"
        samples = 2 if two else min(config.images_per_scene, -(-wanted // config.scenes_per_round))
        made = _painted(self._paint(round_, samples))
        if two:
            groups: dict[str, list[Candidate]] = {}
            for one in made:
                groups.setdefault(one.scene, []).append(one)
            made = [group[0] for group in groups.values() if all(one.path is not None for one in group)]
            chosen = unselected(made, wanted, config.seed)
            return [_example(one, rejected=groups[one.scene][1]) for one in chosen]
        return [_example(one) for one in unselected(made, wanted, config.seed)]

    def _images(self, round_: int, wanted: int) -> tuple[list[Example], dict[str, Any]]:
        """So many of the user's pictures, in an order drawn by the seed; none comes in two rounds."""
        source, seed = self.shop.config.baselines.images, self.shop.config.seed
        assert source is not None and self.like is not None
        before = sum(len(read_examples(self.folder(one) / EXAMPLES, verify=False)) for one in range(1, round_))
        damaged: list[str] = []
        taken = _drawn(source, before + wanted, seed, damaged)[before:]
        if len(taken) < wanted:
            there = before + len(taken)
            raise SpecError(
                f"baselines.images = {source}: it holds {there:,} pictures, and rounds 1 to {round_} of the selected arm learnt from "
                f"{before + wanted:,}; give it more, or leave it out in a run of its own"
            )
        found = []
        for place, (index, pair) in enumerate(taken):
            path = pair.media
            if isinstance(path, bytes):
                media = read_media(path, name=pair.name)
                file = self.folder(round_) / PICTURES / f"{place:05d}{media.suffix}"
                open_folder(file.parent)
                write_atomic(file, path, sync=False)
                path = file
            found.append(Example(f"images-{index}", pair.caption, path))
        return found, {"damaged": len(damaged)}

    # ---- learning -------------------------------------------------------------------------------------------------------------

    def _examples(self, round_: int) -> list[Example]:
        first = 1 if self.shop.config.start == "base" else round_
        return [one for number in range(first, round_ + 1) for one in read_examples(self.folder(number) / EXAMPLES)]

    def _learn(self, round_: int) -> None:
        """The training of a round, unless it is done."""
        from anyscene.training.supervised import train_supervised

        shop, config, folder = self.shop, self.shop.config, self.folder(round_) / TRAINING
        if (folder / POLICY / "policy.json").is_file():
            if shop.main:
                shutil.rmtree(folder / CHECKPOINTS, ignore_errors=True)
            return
        examples = self._examples(round_)
        say(f"{self.name}, round {round_}: learning from {len(examples):,} pictures", quiet=shop.quiet or not shop.main)
        base, start = Trained(config.model, config.model_options), None
        before = self.policy(round_ - 1) if config.start == "previous" else None
        if before is not None and config.lora.rank:
            start = self.folder(round_ - 1) / TRAINING / POLICY
        elif before is not None:
            base = before
        model = load_model(base.load, **base.options)
        assert isinstance(model, DiffusersModel)
        run = TrainingRun(
            folder,
            config.fine_tuning.updates,
            main=shop.main,
            quiet=shop.quiet,
            checkpoint_every=config.checkpoint_every,
            checkpoints_kept=config.checkpoints_kept,
            trackers=[_Told(one, self.name, (round_ - 1) * config.fine_tuning.updates) for one in shop.trackers],
        )
        # Another seed each round, and the same for all arms: what they draw by chance is then no difference between them.
        drawn = config.model_copy(update={"seed": media_seed(config.seed, "round", round_)})
        if config.fine_tuning.method == "nft" and self.like is not None:  # of pictures that nobody judged none is good or bad
            given = config.fine_tuning.model_dump(exclude_unset=True, exclude={"method", "nft_strength"})
            drawn = drawn.model_copy(update={"fine_tuning": FineTuning(**given)})
        trained = train_supervised(model, base, examples, drawn, run, start=start)
        if shop.main:
            trained.write(folder / POLICY)
            shutil.rmtree(folder / CHECKPOINTS, ignore_errors=True)
        shop.wait()


@dataclass(frozen=True, slots=True)
class _Told:
    """A tracker that is told which arm speaks, and of one step after the other over all rounds."""

    tracker: Any
    arm: str
    first: int

    def log(self, values: Mapping[str, float], step: int) -> None:
        self.tracker.log({f"{self.arm}/{name}": value for name, value in values.items()}, step=self.first + step)


def policy_at(folder: Path) -> Trained:
    """How the policy in this folder is loaded, wherever the folder is now.

    Raises:
        RunError: there is none, or it is damaged.
    """
    return anchored(Trained.read(folder), folder)


def anchored(found: Trained, folder: Path) -> Trained:
    """The same weights in another folder."""
    if "lora" in found.options:
        return replace(found, options={**found.options, "lora": str(folder)})
    return replace(found, load=f"diffusers:{folder}")


def has_pictures(source: str) -> bool:
    """Is there a pair in the user's set that can be used?"""
    return next(read_pairs(source, damaged=[]), None) is not None


def trained_records(arms: Sequence[Arm], rounds: int) -> Iterator[Mapping[str, Any]]:
    """The records of all scenes that the arms learnt from in their first so many rounds."""
    for arm in arms:
        for round_ in range(1, rounds + 1):
            if arm.name != "images":
                scenes = {one.scene for one in read_examples(arm.folder(round_) / EXAMPLES, verify=False)}
                yield from (one for one in open_run(arm.folder(round_) / CANDIDATES).records if one["id"] in scenes)


def chosen_captions(arms: Sequence[Arm], rounds: int) -> Iterator[str]:
    """The captions of the user's pictures that were learnt from."""
    for arm in arms:
        for round_ in range(1, rounds + 1):
            if arm.name == "images":
                yield from (one.caption for one in read_examples(arm.folder(round_) / EXAMPLES, verify=False))


def _example(chosen: Candidate, weight: float = 1.0, rejected: Candidate | None = None) -> Example:
    assert chosen.path is not None
    return Example(chosen.scene, chosen.caption, chosen.path, weight, None if rejected is None else rejected.path)


def _painted(run: EvaluationRun) -> list[Candidate]:
    """The media of a run without a look at what any judge says of them."""
    captions = dict(zip(run.scenes["id"].to_pylist(), run.scenes["caption"].to_pylist(), strict=True))
    folder = run.media.path
    return [
        Candidate(one.record_id, captions[one.record_id], one.sample, folder / one.file if one.status == "made" else None, None)
        for one in run.media.entries()
    ]


def _drawn(source: str, count: int, seed: int, damaged: list[str]) -> list[tuple[int, Pair]]:
    """The first so many pairs of a set in an order drawn by the seed, with their places in the set; only these are kept in memory.

    Pairs that cannot be used are left out, and told of in ``damaged``.
    """
    heap: list[tuple[int, int, Pair]] = []
    for index, pair in enumerate(read_pairs(source, damaged)):
        entry = (-key_of("images", seed, str(index)), -index, pair)
        if len(heap) < count:
            heapq.heappush(heap, entry)
        elif entry[:2] > heap[0][:2]:
            heapq.heapreplace(heap, entry)
    return [(-index, pair) for _, index, pair in sorted(heap, key=lambda one: (-one[0], -one[1]))]
