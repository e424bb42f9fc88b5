"""The recipe of ``anyscene improve``: a model learns from the best of its own pictures, round after round.

RUN/
  run.json                          the config
  before/ after/                    the final exam on held-out scenes: at the start, and after the best round
  after-unselected/ after-images/   the same of what it is compared with, after as many rounds
  start/                            the start on the validation scenes
  selected/round-1/                 candidates/  the round's scenes, pictures and answers
                                    examples.jsonl, selection.json  what was chosen, and why the rest was not
                                    training/  metrics.jsonl, policy/
                                    validation/, validation.json
  unselected/ images/               likewise
  leakage.json                      nothing held out was trained on
  policy/                           the weights of the best round, with a model card
  result.json, report.html          what it came to
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import chain
from pathlib import Path
from typing import Any

from anyscene.errors import Interrupted, MissingExtraError, SpecError
from anyscene.evaluation import EvaluationRun, compare_evaluations, open_run
from anyscene.judges import Judge, load_judge
from anyscene.models import load_model
from anyscene.models.diffusers import DiffusersModel
from anyscene.report.improve_page import claims_section, improve_sections, write_improve_page
from anyscene.runs import lock_folder, open_folder, remove_temporaries, say, write_atomic
from anyscene.taxonomy import Taxonomy
from anyscene.training.arms import (
    SELECTION,
    TRAINING,
    VALIDATION,
    Arm,
    Workshop,
    anchored,
    chosen_captions,
    has_pictures,
    trained_records,
)
from anyscene.training.claims import make_claim, no_claim
from anyscene.training.config import Learning
from anyscene.training.held_out import REPORT, Sides, claim, headlines, json_text, split_scenes
from anyscene.training.improve_config import ImproveConfig
from anyscene.training.launch import check_learning, join_processes, make_trackers, take_own_gpu
from anyscene.training.leakage import LeakageReport, audit_leakage
from anyscene.training.model_card import write_model_card
from anyscene.training.policies import POLICY, Trained
from anyscene.training.selection import REASONS

__all__ = ["run_improve"]

BEFORE, AFTER, START, RESULT = "before", "after", "start", "result.json"
AGAINST = {"unselected": "as many pictures that nobody chose", "images": "as many of the user's pictures"}
"""What it is compared with, in words."""


def run_improve(
    config: ImproveConfig,
    out: str | Path,
    *,
    taxonomy: Taxonomy | None = None,
    quiet: bool = False,
    examine: Callable[[Judge], None] | None = None,
) -> dict[str, Any]:
    """Runs a config, or goes on with it.

    Args:
        config: the whole run.
        out: its folder.
        taxonomy: the vocabulary of its scenes; None is the one that ships.
        quiet: show no progress.
        examine: called with every judge before it is used; raises if the judge is not fit.

    Returns:
        What ``result.json`` holds.

    Raises:
        RunError: the folder holds another run, or cannot be written.
        SpecError: the config cannot be honoured, or nothing was chosen in the first round.
        LeakageError: something held out was trained on; the result claims nothing.
        Interrupted: stopped by Ctrl-C; what was done is kept.
    """
    if not all(find_spec(library) for library in ("torch", "diffusers", "accelerate", "peft")):
        raise MissingExtraError("Improving a model", "train")
    # All that may be wrong with the config is found before anything is painted, which may take hours.
    sides = _sides(config, taxonomy)
    take_own_gpu()
    name, state = _check(config)
    judges = _judges(config)
    main, out = bool(state.is_main_process), Path(out)
    if main:
        for one in {id(one): one for one in judges if one is not None}.values():
            if examine is not None:
                examine(one)
        open_folder(out)
    judge, evaluator, second = judges
    assert judge is not None and evaluator is not None
    trackers = make_trackers(config.trackers, config, out) if main else []
    shop = Workshop(config, out, sides, judge, evaluator, second, name, state.wait_for_everyone, main, quiet or not main, trackers)
    with lock_folder(out) if main else nullcontext():
        if main:
            claim(out, "improve", config, sides.digests)
            remove_temporaries(out)
        try:
            found = _run(shop)
        except KeyboardInterrupt:
            raise Interrupted("stopped; what was done is kept: the same command goes on from there") from None
    for tracker in trackers:
        tracker.finish()
    state.wait_for_everyone()
    return found


# ---- before anything is painted ----------------------------------------------------------------------------------------------------


def _sides(config: ImproveConfig, taxonomy: Taxonomy | None) -> Sides:
    """Training and held-out scenes, and enough of both."""
    sides = split_scenes(config.scenes, config.held_out, taxonomy)
    wanted = config.rounds * config.scenes_per_round
    there = sides.train.source(config.seed).capacity
    if there < wanted:
        raise SpecError(
            f"{config.rounds} rounds of {config.scenes_per_round:,} scenes: there are only {there:,} training scenes; "
            "take fewer (rounds, scenes_per_round), or a wider space"
        )
    wanted, there = config.held_out.n + config.validation, sides.held_out.source(config.held_out.seed).capacity
    if there < wanted:
        raise SpecError(
            f"{wanted:,} held-out scenes ({config.held_out.n:,} of the exam, {config.validation:,} of validation): there are only "
            f"{there:,}; take fewer (held_out.n, validation), or a wider space"
        )
    return sides


def _check(config: ImproveConfig) -> tuple[str, Any]:
    """The model's name and the processes, if all that the config says of learning can be done."""
    config.selection.refuse_unused(config.fine_tuning.method)
    source = config.baselines.images
    if source is not None and not has_pictures(source):
        raise SpecError(f"baselines.images = {source}: none of its pictures can be used; see anyscene improve --help")
    if config.held_out.model_options:
        load_model(config.model, **{**config.model_options, **config.held_out.model_options})
    model = load_model(config.model, **config.model_options)
    if not isinstance(model, DiffusersModel):
        raise SpecError(f"{model.name}: only diffusers models can be improved; this is a {type(model).__name__}")
    name = model.name
    modality = str(config.scenes.get("modality", "image"))
    if modality != model.modality:
        raise SpecError(f"scenes.modality = {modality}: {name} makes {model.modality}; set it to that")
    state = join_processes(model)
    check_learning(model, config)
    return name, state


def _judges(config: ImproveConfig) -> tuple[Judge | None, Judge | None, Judge | None]:
    """Who chooses, who judges held-out scenes, and who does so as well."""
    judge = load_judge(config.judge, **config.judge_options)
    held = config.held_out
    evaluator = judge if held.judge is None else load_judge(held.judge, **held.judge_options)
    second = None if config.second_judge is None else load_judge(config.second_judge, **config.second_judge_options)
    if second is not None and second.name == evaluator.name:
        raise SpecError(f"second_judge = {config.second_judge}: it is the judge of the held-out scenes already; take another")
    return judge, evaluator, second


# ---- the run -----------------------------------------------------------------------------------------------------------------------


def _run(shop: Workshop) -> dict[str, Any]:
    config, out = shop.config, shop.out
    if shop.main:
        shop.examine(out / BEFORE, None, shop.name, 0, config.held_out.n)
    shop.wait()
    start = shop.validate(out / START, None, shop.name)
    own = Arm("selected", shop)
    rounds, stopped = _rounds(own, start)
    others = [Arm("unselected", shop, own)] if config.baselines.unselected else []
    others += [Arm("images", shop, own)] if config.baselines.images is not None else []
    followed: dict[str, list[dict[str, Any]]] = {
        arm.name: [found for one in rounds if (found := arm.run(one["round"])) is not None] for arm in others
    }
    course = _Course(start, rounds, _best(config, rounds), stopped, followed)
    return _conclude(own, others, course) if shop.main else {}


@dataclass(frozen=True, slots=True)
class _Course:
    """How the rounds went.

    Attributes:
        start: the start on the validation scenes.
        rounds: of the arm that chooses.
        best: number of the one that is kept.
        stopped: why not all were made, or None.
        others: rounds of the arms that it is compared with.
    """

    start: Mapping[str, Any] | None
    rounds: Sequence[dict[str, Any]]
    best: int
    stopped: str | None
    others: Mapping[str, Sequence[dict[str, Any]]]


def _rounds(arm: Arm, start: Mapping[str, Any] | None) -> tuple[list[dict[str, Any]], str | None]:
    """The rounds of the arm that chooses, and why they ended before all were made."""
    config = arm.shop.config
    scores = [_score(start)]
    found: list[dict[str, Any]] = []
    for number in range(1, config.rounds + 1):
        one = arm.run(number)
        if one is None:
            if not found:
                raise SpecError(_nothing_chosen(arm))
            return found, f"no candidate of round {number} passed the selection"
        found.append(one)
        scores.append(_score(one["validation"]))
        if config.patience and number < config.rounds and _tired(scores, config.patience):
            return found, f"no better {config.score} on the validation scenes in {config.patience} rounds"
    return found, None


def _score(found: Mapping[str, Any] | None) -> float:
    """On the validation scenes; one that is not known is the worst."""
    value = None if found is None else found["score"]["value"]
    return -1.0 if value is None else float(value)


def _tired(scores: Sequence[float], patience: int) -> bool:
    """Is the best score so many rounds old? The first is the start's."""
    return len(scores) - 1 - scores.index(max(scores)) >= patience


def _best(config: ImproveConfig, rounds: Sequence[Mapping[str, Any]]) -> int:
    """The round with the best score on the validation scenes, the earliest of several; without them, the last."""
    if not config.validation:
        return len(rounds)
    scores = [_score(one["validation"]) for one in rounds]
    return scores.index(max(scores)) + 1


def _nothing_chosen(arm: Arm) -> str:
    counts = json.loads((arm.folder(1) / SELECTION).read_text("utf-8"))["counts"]
    reasons = ", ".join(f"{counts[name]:,} {name.replace('_', ' ')}" for name in REASONS if counts[name])
    advice = "take a lower selection.threshold or selection.margin, or more images_per_scene"
    if counts["unmade"] + counts["unscored"] == counts["candidates"]:
        advice = "take a judge that can answer about such pictures"
    return f"none of {counts['candidates']:,} candidates passed the selection ({reasons}); in a new folder, {advice}"


# ---- what it came to ----------------------------------------------------------------------------------------------------------------


def _conclude(arm: Arm, others: Sequence[Arm], course: _Course) -> dict[str, Any]:
    """Exams, audit, claims, report. For the main process only."""
    shop, out, best = arm.shop, arm.shop.out, course.best
    config = shop.config
    exams = {one.name: shop.examine(out / _exam(one), one.policy(best), one.called(best), 0, config.held_out.n) for one in (arm, *others)}
    before, after = open_run(out / BEFORE), exams[arm.name]
    leakage = _audit(shop, (arm, *others), len(course.rounds))
    leakage.write(out)
    second = None if shop.second is None else shop.second.name

    def said(a: EvaluationRun, b: EvaluationRun) -> dict[str, Any]:
        """What is held out must not have been trained on, or nothing is said."""
        if not leakage.clean:
            return no_claim(leakage.findings)
        return make_claim(a, b, shop.evaluator.name, second=second, score=config.score)

    def told(folder: str) -> dict[str, Any] | None:
        return headlines(out / folder) if leakage.clean else None

    result: dict[str, Any] = {
        "claim": said(before, after),
        "before": told(BEFORE),
        "after": told(AFTER),
        "baselines": {
            one.name: {
                "after": told(_exam(one)),
                "claim": said(before, exams[one.name]),
                "against": said(exams[one.name], after),
                "rounds": list(course.others[one.name]),
            }
            for one in others
        },
        "best_round": best,
        "stopped": course.stopped,
        "updates": len(course.rounds) * config.fine_tuning.updates,
        "start": course.start,
        "rounds": list(course.rounds),
        "held_out": {
            "scenes": config.held_out.n,
            "validation": config.validation,
            "judge": shop.evaluator.name,
            "second_judge": second,
            "split": shop.sides.proof,
        },
        "leakage": leakage.to_dict(),
    }
    if config.validation and _score(course.rounds[best - 1]["validation"]) <= _score(course.start):
        say("no round was better than the start on the validation scenes; the best of them was examined", quiet=shop.quiet)
    _keep_policy(arm, best)
    _write_card(shop, result, leakage)
    _report(arm, others, result, leakage)
    write_atomic(out / RESULT, json_text(result))
    leakage.require_clean()
    return result


def _exam(arm: Arm) -> str:
    return AFTER if arm.name == "selected" else f"{AFTER}-{arm.name}"


def _audit(shop: Workshop, arms: Sequence[Arm], rounds: int) -> LeakageReport:
    """Of the scenes that were really learnt from, against those of the exam and of the validation."""
    runs = [shop.out / BEFORE] + ([shop.out / START / VALIDATION] if shop.config.validation else [])
    return audit_leakage(
        trained_records(arms, rounds),
        chain.from_iterable(open_run(one).records for one in runs),
        by=shop.config.held_out.by,
        captions=chosen_captions(arms, rounds),
        given=shop.sides.train.spec.containing,
    )


def _keep_policy(arm: Arm, best: int) -> None:
    """The weights of the best round in the run's own ``policy``."""
    made, kept = arm.folder(best) / TRAINING / POLICY, arm.shop.out / POLICY
    if (kept / "policy.json").is_file():
        return
    shutil.rmtree(kept, ignore_errors=True)
    shutil.copytree(made, kept, ignore=shutil.ignore_patterns("policy.json"))
    anchored(Trained.read(made), kept).write(kept)


def _write_card(shop: Workshop, result: Mapping[str, Any], leakage: LeakageReport) -> None:
    config, rounds = shop.config, result["rounds"][: result["best_round"]]
    claims = {"the model before training": result["claim"]}
    for name, one in result["baselines"].items():
        claims[f"the same model, trained on {AGAINST[name]}"] = one["against"]
    write_model_card(
        shop.out / POLICY,
        base=Trained(config.model, config.model_options),
        recipe="improve",
        claims=claims,
        data={
            "rounds": len(rounds),
            "scenes": len(rounds) * config.scenes_per_round,
            "pictures made of them": len(rounds) * config.scenes_per_round * config.images_per_scene,
            "pictures learnt from": sum(one["pictures"] for one in rounds),
            "judge that chose them": shop.judge.name,
        },
        settings=config.model_dump(mode="json", include={*Learning.model_fields, "start", "selection"}),
        leakage=leakage,
        modality=shop.sides.train.spec.modality,
    )


def _report(arm: Arm, others: Sequence[Arm], result: Mapping[str, Any], leakage: LeakageReport) -> None:
    shop, out = arm.shop, arm.shop.out
    numbers = [one["round"] for one in result["rounds"]]
    metrics: dict[str, list[dict[str, Any]]] = {
        one.name: [line for number in numbers for line in one.metrics(number)] for one in (arm, *others)
    }
    sections = [*improve_sections(result, metrics, [(f"Round {one}", arm.sheet(one)) for one in dict.fromkeys((1, numbers[-1]))])]
    sections.append(leakage.section())
    if not leakage.clean:
        write_improve_page(out / REPORT, f"{shop.name} learns from its own pictures", result["claim"]["sentence"], sections)
        return
    claims = {"After against before": result["claim"]}
    for name, one in result["baselines"].items():
        claims[f"After against {AGAINST[name]}"] = one["against"]
        claims[f"Learning from {AGAINST[name]} against before"] = one["claim"]
    sections.insert(0, claims_section(claims))
    runs = open_run(out / BEFORE), open_run(out / AFTER)
    compare_evaluations(*runs, shop.evaluator.name, html=out / REPORT, more=sections, said=result["claim"]["sentence"])
