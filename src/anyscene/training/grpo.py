"""The recipe of ``anyscene grpo``: evaluate on held-out scenes, train against a reward, evaluate again, compare."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from anyscene.errors import MissingExtraError, SpecError
from anyscene.evaluation import compare_evaluations, open_run
from anyscene.judges import Judge, load_judge
from anyscene.models import Model, load_model
from anyscene.models.autoregressive import AutoregressiveModel
from anyscene.models.diffusers import DiffusersModel
from anyscene.plugins import checked_options
from anyscene.report import training_sections, write_training_page
from anyscene.rewards import Guards, MetricReward, Reward, RewardClient, SceneReward, Weighted, default_guards
from anyscene.runs import lock_folder, open_folder, say, write_atomic
from anyscene.scoring.metrics import load_metric
from anyscene.taxonomy import Taxonomy
from anyscene.training.config import GrpoConfig
from anyscene.training.held_out import (
    FORMS,
    REPORT,
    SCORES,
    Sides,
    asked,
    claim,
    evaluate,
    headlines,
    is_evaluated,
    json_text,
    split_scenes,
    training_records,
)
from anyscene.training.launch import join_processes, make_trackers, take_own_gpu
from anyscene.training.policies import POLICY, Trained
from anyscene.training.run_folder import ROLLOUTS, TrainingRun

__all__ = ["make_reward", "run_grpo"]

BEFORE, AFTER, RESULT = "before", "after", "result.json"


def make_reward(config: GrpoConfig, judge: Judge | None) -> Reward:
    """The config's reward: one, or the weighted sum of several, each put to mean 0 and deviation 1 within its group first.

    Raises:
        SpecError: no such reward or option, or no judge for the scene reward.
        JudgeError: a metric's weights cannot be loaded.
    """
    made: dict[str, Reward] = {}
    for name in config.rewards:
        if name == "scene":
            if judge is None:
                raise SpecError("the reward 'scene' asks a judge; name one: --judge sandbox:pixels")
            checked = checked_options(SceneReward, "reward_options", config.reward_options)
            made[name] = SceneReward(judge, **checked)  # type: ignore[arg-type]
        elif name == "served":
            made[name] = RewardClient(config.reward_servers, name="served")
        elif name == "clip":
            made[name] = MetricReward(load_metric(config.clip_weights), name="clip")
        elif ":" in name:
            made[name] = MetricReward(load_metric(name))
        else:
            raise SpecError(f"reward {name!r}: it must be scene, clip, served, or a metric with its weights (pickscore:...)")
    if len(made) == 1:
        return next(iter(made.values()))
    parts = {name.partition(":")[0]: (one, config.rewards[name]) for name, one in made.items()}
    if len(parts) < len(made):
        raise SpecError(f"rewards {', '.join(made)}: two have one name before the colon, by which their parts are logged; take one of each")
    return Weighted(parts, normalise="group")


def run_grpo(
    config: GrpoConfig,
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
        What ``result.json`` holds: scores before and after on the held-out scenes, and the paired differences with their intervals.

    Raises:
        RunError: the folder holds another run, or cannot be written.
        SpecError: the config cannot be honoured.
        RewardHackedError: a guard stopped the training.
        Interrupted: stopped by Ctrl-C; what was done is kept.
    """
    _require_libraries()
    sides = split_scenes(config.scenes, config.held_out, taxonomy)
    take_own_gpu()
    painter = load_model(config.model, **{**config.model_options, **config.held_out.model_options})
    state = join_processes(painter)
    main, out = bool(state.is_main_process), Path(out)
    run = _Run(config, out, sides, state.wait_for_everyone, main, quiet or not main)
    # All that may be wrong with the config is found before anything is painted, which may take hours.
    trainer = _trainer(config, painter)
    judge = load_judge(config.judge, **config.judge_options) if config.judge else None
    evaluator, second = _evaluator(config, judge), _second_judge(config)
    reward = make_reward(config, judge)
    if main:
        for one in {id(one): one for one in (judge, evaluator, second) if one is not None}.values():
            if examine is not None:
                examine(one)
        open_folder(out)
    with lock_folder(out) if main else nullcontext():
        if main:
            claim(out, "grpo", config, sides.digests)
            run.evaluate(BEFORE, lambda: painter, evaluator)
        state.wait_for_everyone()
        trained = run.train(trainer, reward, _guards(config, second))
        found = run.conclude(trained, evaluator) if main else {}
    state.wait_for_everyone()
    return found


@dataclass(frozen=True, slots=True)
class _Run:
    """What the steps of a run need to know."""

    config: GrpoConfig
    out: Path
    sides: Sides
    wait: Callable[[], None]
    main: bool
    quiet: bool

    def evaluate(self, name: str, model: Callable[[], Model], judge: Judge | None) -> None:
        """The evaluation before or after, if it is wanted and not done. For the main process only."""
        if judge is not None and not is_evaluated(self.out / name):
            say(f"evaluating the policy {name} training", quiet=self.quiet)
            held, wording = self.config.held_out, asked(self.config.questions)
            evaluate(
                self.out / name,
                model(),
                [judge],
                self.sides.held_out,
                n=held.n,
                seed=held.seed,
                samples=held.samples,
                wording=wording,
                quiet=self.quiet,
            )

    def train(self, trainer: Callable[..., Trained], reward: Reward, guards: Guards | None) -> Trained:
        """The training, unless it is done."""
        config, out = self.config, self.out
        if (out / POLICY / "policy.json").is_file():
            return Trained.read(out / POLICY)
        policy = load_model(config.model, **config.model_options)
        run = TrainingRun(
            out,
            config.updates,
            main=self.main,
            quiet=self.quiet,
            guards=guards,
            stop_on_guard=config.guards.stop,
            pictures_every=config.pictures_every,
            checkpoint_every=config.checkpoint_every,
            checkpoints_kept=config.checkpoints_kept,
            trackers=make_trackers(config.trackers, config, out) if self.main else (),
        )
        wording = asked(config.questions, config.reward_options.get("forms", FORMS))
        trained = trainer(policy, reward, training_records(self.sides.train, config.seed, wording), config, run)
        for tracker in run.trackers:
            tracker.finish()
        if self.main:
            trained.write(out / POLICY)
        self.wait()
        return trained

    def conclude(self, trained: Trained, evaluator: Judge | None) -> dict[str, Any]:
        """The evaluation after, the comparison, the report, the result. For the main process only."""
        config, out = self.config, self.out
        run = TrainingRun(out, config.updates)
        trained_on = run.metrics(), _sheets(out), run.warnings()
        result: dict[str, Any] = {"updates": config.updates, "policy": {"load": trained.load, "options": dict(trained.options)}}
        if evaluator is None:
            write_training_page(out / REPORT, trained.load, *trained_on)
        else:
            self.evaluate(AFTER, lambda: load_model(trained.load, **{**trained.options, **config.held_out.model_options}), evaluator)
            before, after = open_run(out / BEFORE), open_run(out / AFTER)
            more = training_sections(*trained_on)
            comparison = compare_evaluations(before, after, evaluator.name, html=out / REPORT, more=more)
            result |= {
                "held_out": {"scenes": config.held_out.n, "split": self.sides.proof, "judge": evaluator.name},
                "before": headlines(out / BEFORE),
                "after": headlines(out / AFTER),
                "difference": {name: comparison["scores"][name] for name in SCORES},
            }
        write_atomic(out / RESULT, json_text(result))
        return result


def _trainer(config: GrpoConfig, policy: Model) -> Callable[..., Trained]:
    """Which loop trains a policy.

    Raises:
        SpecError: none does, or not with this algorithm.
    """
    autoregressive = isinstance(policy, AutoregressiveModel)
    if not autoregressive and not isinstance(policy, DiffusersModel):
        raise SpecError(f"{policy.name}: only autoregressive and diffusers models can be trained; this is a {type(policy).__name__}")
    if config.algorithm != "auto" and autoregressive != (config.algorithm == "grpo"):
        fitting = "grpo" if autoregressive else "flow_grpo or nft"
        raise SpecError(f"algorithm {config.algorithm}: {policy.name} is trained with {fitting}")
    config.refuse_unused("grpo" if autoregressive else "nft" if config.algorithm == "nft" else "flow_grpo")
    if autoregressive:
        from anyscene.training.autoregressive import train_autoregressive

        return train_autoregressive
    from anyscene.training.diffusion import train_diffusion

    return train_diffusion


def _second_judge(config: GrpoConfig) -> Judge | None:
    """The judge that pays nothing, where guards have one."""
    chosen = config.guards
    return load_judge(chosen.second_judge, **chosen.second_judge_options) if chosen.on and chosen.second_judge is not None else None


def _guards(config: GrpoConfig, second: Judge | None) -> Guards | None:
    chosen = config.guards
    held_out = None if second is None else SceneReward(second, name="second")
    return Guards(default_guards(held_out, baseline=chosen.baseline, window=chosen.window)) if chosen.on else None


# ---- evaluation -----------------------------------------------------------------------------------------------------------------


def _evaluator(config: GrpoConfig, judge: Judge | None) -> Judge | None:
    held = config.held_out
    if not held.n:
        return None
    if held.judge is not None:
        return load_judge(held.judge, **held.judge_options)
    if judge is None:
        raise SpecError("the evaluation before and after needs a judge: --judge, or held_out.judge; without evaluation, held_out.n = 0")
    return judge


def _sheets(out: Path) -> list[tuple[int, bytes]]:
    """The first and the last sheet of rollouts."""
    found = sorted((out / ROLLOUTS).glob("update-*.png"))
    return [(int(one.stem.removeprefix("update-")), one.read_bytes()) for one in dict.fromkeys(found[:1] + found[-1:])]


def _require_libraries() -> None:
    if not all(find_spec(library) for library in ("torch", "transformers", "accelerate", "peft", "trl", "datasets")):
        raise MissingExtraError("Training a policy", "train")
