"""GRPO of a token-by-token policy (SimpleAR, Janus) through TRL, with pictures as rollouts.

An update draws ``group_size`` pictures for each of ``captions`` captions, token by token from the policy itself, scores them, and changes
the weights so that pictures better than their group's mean become likelier (arXiv 2402.03300, section 4.1, with the published divergence
term). Tokens are drawn among picture codes only, exactly one picture a rollout, each rollout with random numbers of its own.
"""

from __future__ import annotations

import contextlib
import copy
import logging
import shutil
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any

from anyscene.errors import MissingExtraError, RunError, SpecError
from anyscene.models.autoregressive import AutoregressiveModel
from anyscene.models.janus import Janus
from anyscene.rewards import Reward
from anyscene.training.config import GrpoConfig
from anyscene.training.policies import POLICY, Trained, learning_rate_factor
from anyscene.training.run_folder import Rollouts, TrainingRun
from anyscene.weights import load_errors, one_line, quiet_loading

if TYPE_CHECKING:
    from anyscene.training.autoregressive_policy import PicturePolicy

__all__ = ["train_autoregressive"]

STATE = "state.pt"


def train_autoregressive(
    model: AutoregressiveModel,
    reward: Reward,
    records: Callable[[int, int], list[dict[str, Any]]],
    config: GrpoConfig,
    run: TrainingRun,
) -> Trained:
    """Trains a policy, or goes on where the run was stopped, and saves it under ``run.folder / "policy"``.

    Drawn with guidance (``rollout.guidance`` above 1), tokens come from other probabilities than those that are learnt, which are of the
    captioned branch alone: the gradient is biased, as in the published trainings that do the same (arXiv 2505.00703).

    Args:
        model: the policy, whose weights change.
        reward: scores pictures.
        records: training records by number and count; update k, from 0, learns from numbers k * captions on.
        config: of the run.
        run: its folder, log and checkpoints.

    Returns:
        How the saved policy is loaded.

    Raises:
        MissingExtraError: trl, or another library of training, is not installed.
        SpecError: the config cannot be honoured.
        AnySceneError: the probabilities that are learnt are not those that were drawn from, or the loss is no number.
        RewardHackedError: a guard stopped the training.
        Interrupted: stopped by Ctrl-C; the same call goes on from there.
    """
    _require_libraries()
    from accelerate import PartialState

    with _undisturbed():
        training = _Training(model, reward, records, config, run)
        if training.done < config.updates:
            with run.training(training.done):
                training.train()
        trained = training.save() if run.main else training.trained
        PartialState().wait_for_everyone()
    return trained


class _Training:
    """A policy on its way: what is trained, with which optimizer, how far."""

    def __init__(
        self,
        model: AutoregressiveModel,
        reward: Reward,
        records: Callable[[int, int], list[dict[str, Any]]],
        config: GrpoConfig,
        run: TrainingRun,
    ) -> None:
        import torch

        from anyscene.training.autoregressive_policy import add_lora, policy_of
        from anyscene.training.autoregressive_settings import trl_settings

        self.model, self.reward, self.records, self.config, self.run = model, reward, records, config, run
        self.shape = shape = model.shape
        self._arguments = trl_settings(shape, config, run.folder)
        self._place()
        if getattr(shape.model, "_hf_peft_config_loaded", False):
            raise SpecError(f"{model.name}: it has LoRA weights already; merge them into it first (peft's merge_and_unload)")
        torch.manual_seed(config.seed)
        shape.model.requires_grad_(False)
        self.adapted = add_lora(shape, config.lora) if config.lora.rank else None
        self.policy: PicturePolicy = policy_of(shape)
        if self.adapted is None:
            self.policy.float().requires_grad_(True)  # small steps are lost on weights of half precision; the arithmetic may be
        if config.optimization.gradient_checkpointing:
            language = self.policy.language  # newer versions of transformers have another word for it
            getattr(language, "activation_checkpointing_enable", language.gradient_checkpointing_enable)({"use_reentrant": False})
        self.reference = self._reference()
        self.weights = {name: one for name, one in self.policy.named_parameters() if one.requires_grad}
        tuned = config.optimization
        self.optimizer = torch.optim.AdamW(self.weights.values(), tuned.learning_rate, betas=tuned.betas, weight_decay=tuned.weight_decay)
        self.schedule = torch.optim.lr_scheduler.LambdaLR(self.optimizer, learning_rate_factor(tuned, config.updates))
        self.ema = self._average()
        self.trainer: Any = None
        self._scaler_state: dict[str, Any] = {}
        self.done = self._resume()
        self._unsaved = False

    # ---- setting up -----------------------------------------------------------------------------------------------------------

    def _place(self) -> None:
        """Everything on this process's device."""
        shape, device = self.shape, self._arguments.device
        if device.type != "cpu" and str(device) != shape.device:
            shape.model.to(device)
            if not isinstance(shape, Janus):
                for part in ("model", "module"):
                    if hasattr(shape.decoder, part):
                        getattr(shape.decoder, part).to(device)
            shape.device = str(device)
        self._arguments._n_gpu = min(1, self._arguments.n_gpu)  # other GPUs are used by other processes, or not at all

    def _reference(self) -> Any:
        """The policy at the start, where there is a divergence from it."""
        from anyscene.training.autoregressive_policy import AdaptersOff

        if not self.config.optimization.kl:
            return None
        if self.adapted is not None:
            return AdaptersOff(self.policy, self.adapted)
        return copy.deepcopy(self.policy).requires_grad_(False).eval()

    def _average(self) -> Any:
        if not self.config.ema.decay:
            return None
        from diffusers.training_utils import EMAModel

        return EMAModel(list(self.weights.values()), decay=self.config.ema.decay)

    # ---- training -------------------------------------------------------------------------------------------------------------

    def train(self) -> None:
        """The updates that are left."""
        from datasets import Dataset
        from transformers import PrinterCallback

        from anyscene.training.autoregressive_trainer import GroupTrainer, Painter

        rollout, inner = self.config.rollout, self.config.optimization.inner_updates
        left = self.config.updates - self.done
        numbers = range(self.done // inner * rollout.captions, self.config.updates // inner * rollout.captions)
        self._arguments.max_steps = left
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # theirs: that rollout functions are an experiment
            self.trainer = GroupTrainer(
                self.policy,
                self.reference,
                self.config.optimization.kl,
                Painter(self.shape, self.policy, self.reward, self.records, self.config),
                self._after,
                self._arguments,
                train_dataset=Dataset.from_dict({"prompt": [str(number) for number in numbers]}),
                processing_class=self._tokenizer(),
                optimizers=(self.optimizer, self.schedule),
            )
        self.trainer.remove_callback(PrinterCallback)
        if self._scaler_state:
            self.trainer.accelerator.scaler.load_state_dict(self._scaler_state)
        self.trainer.train()
        self.done = self.config.updates

    def _tokenizer(self) -> Any:
        """A copy of the model's, on which TRL may set what it misses."""
        tokenizer = copy.deepcopy(self.shape.processor.tokenizer if isinstance(self.shape, Janus) else self.shape.tokenizer)
        if tokenizer.pad_token is None:
            tokenizer.pad_token = tokenizer.convert_ids_to_tokens(self.shape.pad_id)
        if tokenizer.eos_token is None:
            tokenizer.eos_token = tokenizer.pad_token
        return tokenizer

    def _after(self, step: int, figures: dict[str, float], rollouts: Rollouts | None) -> None:
        """What follows every update: the average, the log, a checkpoint, the end if that is asked for."""
        if self.ema is not None:
            self.ema.step(list(self.weights.values()))
        update = self.done + step
        self.run.log(update, figures, rollouts)
        stop = self._anywhere(self.run.stop_asked)
        self._unsaved |= stop or self.run.checkpoint_due(update)
        if not self._unsaved or update % self.config.optimization.inner_updates:
            return  # rollouts that are still learnt from are not saved
        self._unsaved = False
        if self.run.main:
            with self.run.checkpoint(update) as folder:
                self._write_state(folder)
        self.trainer.accelerator.wait_for_everyone()
        if stop:
            self.run.stop(update)

    def _anywhere(self, asked: bool) -> bool:
        """Has any process been asked to stop?"""
        if self.trainer.accelerator.num_processes == 1:
            return asked
        import torch

        mine = torch.tensor([int(asked)], device=self.trainer.accelerator.device)
        return bool(self.trainer.accelerator.gather(mine).any().item())

    # ---- checkpoints ----------------------------------------------------------------------------------------------------------

    def _write_state(self, folder: Path) -> None:
        import torch

        scaler = self.trainer.accelerator.scaler
        state = {
            "weights": {name: one.detach() for name, one in self.weights.items()},
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "ema": None if self.ema is None else self.ema.state_dict(),
            "scaler": None if scaler is None else scaler.state_dict(),
        }
        try:
            torch.save(state, folder / STATE)
        except RuntimeError as error:  # torch's word for a full disk
            raise RunError(f"{folder / STATE}: the checkpoint cannot be written ({error})") from error

    def _resume(self) -> int:
        """Updates done already, whose outcome is loaded.

        Raises:
            RunError: the checkpoint is damaged, or of another policy.
        """
        import torch

        found = self.run.resume()
        if found is None:
            return 0
        update, folder = found
        damage: tuple[type[Exception], ...] = (*load_errors(), EOFError, IndexError, UnpicklingError)
        try:
            device = self._arguments.device
            device = "cpu" if device.type == "cpu" else device  # of several processes it is cpu:0, which torch.load does not know
            state = torch.load(folder / STATE, map_location=device, weights_only=True)
            if set(state["weights"]) != set(self.weights) or (state["ema"] is None) != (self.ema is None):
                raise ValueError("it is of other weights")
            with torch.no_grad():
                for name, one in self.weights.items():
                    one.copy_(state["weights"][name])
            self.optimizer.load_state_dict(state["optimizer"])
            self.schedule.load_state_dict(state["schedule"])
            if self.ema is not None:
                self.ema.load_state_dict(state["ema"])
        except damage as error:
            raise RunError(
                f"{folder}: this checkpoint cannot be read ({one_line(error, 160)}); remove it to go on from the one before"
            ) from None
        self._scaler_state = state["scaler"] or {}
        return int(update)

    # ---- the trained policy ---------------------------------------------------------------------------------------------------

    @property
    def trained(self) -> Trained:
        """How the policy is loaded once it is saved."""
        folder = str(self.run.folder / POLICY)
        if self.adapted is not None:
            return Trained(self.config.model, {**self.config.model_options, "lora": folder})
        settings = self.model.settings
        kept = ("guidance", "temperature", "top_k", "top_p", "prefix", "image_tokens", "dtype", "device")
        options = {name: settings[name] for name in kept if settings.get(name) is not None}
        return Trained(f"autoregressive:{folder}", {**options, "batch_size": self.model.batch_size})

    def save(self) -> Trained:
        """Writes the policy's folder. For the main process only.

        Raises:
            RunError: it cannot be written.
        """
        folder, unfinished = self.run.folder / POLICY, self.run.folder / f".{POLICY}.unfinished"
        weights = list(self.weights.values())
        if self.ema is not None:
            self.ema.store(weights)
            self.ema.copy_to(weights)
        try:
            for old in (folder, unfinished):
                shutil.rmtree(old, ignore_errors=True)
            unfinished.mkdir(parents=True)
            with quiet_loading():
                self._write_policy(unfinished)
            unfinished.rename(folder)
            self.trained.write(folder)
        except (OSError, RuntimeError) as error:
            raise RunError(f"{folder}: the trained policy cannot be written ({error})") from error
        finally:
            if self.ema is not None:
                self.ema.restore(weights)
        return self.trained

    def _write_policy(self, folder: Path) -> None:
        if self.adapted is not None:
            self.adapted.save_pretrained(folder)
            return
        self.shape.model.save_pretrained(folder)
        if isinstance(self.shape, Janus):
            self.shape.processor.save_pretrained(folder)
            return
        self.shape.tokenizer.save_pretrained(folder)
        self.shape.decoder.copy_to(folder)


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """Without the libraries' messages and bars; random states and the libraries' settings are afterwards as they were before."""
    import random

    import numpy as np
    import torch
    from transformers.utils import logging as transformers_log

    trl_log, level = logging.getLogger("trl"), transformers_log.get_verbosity()
    before = (trl_log.level, random.getstate(), np.random.get_state(), torch.get_rng_state())
    trl_log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        trl_log.setLevel(before[0])
        random.setstate(before[1])
        np.random.set_state(before[2])
        torch.set_rng_state(before[3])
        transformers_log.set_verbosity(level)


def _require_libraries() -> None:
    from importlib.util import find_spec

    for library in ("torch", "transformers", "trl", "datasets", "accelerate", "peft", "diffusers"):
        if find_spec(library) is None:
            raise MissingExtraError("Training an autoregressive policy", "train")
