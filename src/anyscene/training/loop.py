"""What every gradient loop over the denoiser of a diffusers pipeline shares: accelerate, AdamW, clipping, a moving average, checkpoints.

A loop gives `Learner` the passes of an update, each of which makes a part of the loss; the learner adds up their gradients, over all
processes too, so that neither the number of passes nor that of processes changes what is learnt. All else that a loop draws at random it
draws from the number of the update, and so a run that was killed ends in the same weights as one that was not.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import nullcontext
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from anyscene.errors import AnySceneError, MissingExtraError, SpecError
from anyscene.models.diffusers import DiffusersModel
from anyscene.models.painting import media_seed
from anyscene.training.config import GrpoConfig, Learning
from anyscene.training.launch import as_copies, launched_for
from anyscene.training.policies import POLICY, Trained, learning_rate_factor
from anyscene.training.run_folder import TrainingRun

if TYPE_CHECKING:
    from torch import Tensor

    from anyscene.training.denoiser import Denoiser
    from anyscene.training.zero import Zero

__all__ = ["Learner", "Memory", "Pass", "check_libraries", "parts"]

STATE = "state.pt"

Pass = Callable[[], "tuple[Tensor, Mapping[str, Tensor]]"]
"""Gives a part of the loss of an update, and of its figures. The parts of a process sum to its mean."""


class Memory(Protocol):
    """What a loop knows beside the weights, and a checkpoint keeps."""

    def state(self) -> dict[str, Any]:
        """To be kept."""

    def load_state(self, state: dict[str, Any]) -> None:
        """What was kept."""


class Learner:
    """The denoiser of a pipeline, and how its weights are changed.

    Args:
        model: the pipeline.
        config: its ``optimization``, ``lora``, ``ema`` and ``seed``.
        run: its folder, with the number of updates.
        start: LoRA weights, as `Trainable.save` writes them, to go on from; None starts anew.

    Attributes:
        model: the pipeline.
        run: the run's folder.
        accelerator: accelerate's, which knows the processes and the device.
        device: on which is learnt.
        denoiser: of the pipeline.
        trainable: its trained weights.
        module: the denoiser as a process among several has it; gradients go through it.

    Raises:
        SpecError: the model cannot be trained so.
        MissingExtraError: a library is not installed.
    """

    def __init__(self, model: DiffusersModel, config: GrpoConfig | Learning, run: TrainingRun, *, start: Path | None = None) -> None:
        check_libraries(model)
        import torch
        from diffusers.training_utils import EMAModel

        from anyscene.training.denoiser import Denoiser
        from anyscene.training.sharding import Sharding
        from anyscene.training.trainable import Trainable
        from anyscene.training.zero import Zero, check_zero

        self.model, self.run, self._lora = model, run, config.lora
        settings = self._settings = config.optimization
        launched = launched_for()
        sharding = self._sharding = Sharding(settings.precision) if launched == "FSDP" else None
        stage = check_zero(settings.precision) if launched == "DEEPSPEED" else None
        self.accelerator = _accelerator(settings.precision, model.device)
        self.device = self.accelerator.device
        model.pipe.to(self.device)
        self.denoiser: Denoiser = Denoiser(model.pipe)
        self.trainable = Trainable(model.pipe, self.denoiser, config.lora, settings.precision, media_seed(config.seed, "lora", 0))
        if start is not None:
            self.trainable.load(start)
        if settings.gradient_checkpointing:
            self.denoiser.module.enable_gradient_checkpointing()
        self._rate = learning_rate_factor(settings, run.updates)
        in_parts = sharding is not None or stage is not None
        self.module = self.accelerator.prepare_model(self.denoiser.module, evaluation_mode=in_parts)  # which is to say: autocast alone
        if sharding is not None:
            self.trainable.shard(sharding, self.device)
        optimizer = torch.optim.AdamW(
            self.trainable.parameters, lr=settings.learning_rate, betas=settings.betas, weight_decay=settings.weight_decay
        )
        self._zero: Zero | None = None
        if stage is None:
            self._optimizer = self.accelerator.prepare(optimizer)
        else:
            self._zero = Zero(self.module, self.trainable.parameters, optimizer, stage, settings.max_grad_norm)
            self.module = self._zero.engine
        self._ema = EMAModel(self.trainable.parameters, decay=config.ema.decay) if config.ema.decay else None

    # ---- an update ------------------------------------------------------------------------------------------------------------

    def accumulate(self, passes: Sequence[Pass], largest: Collection[str] = ()) -> dict[str, float]:
        """Adds up the gradients of the passes of an update; every process has as many.

        Args:
            passes: asked one after the other, so that only one is in memory.
            largest: names of figures of which the largest counts; others are added up.

        Returns:
            The loss and the passes' figures, over all processes.
        """
        found: dict[str, list[Tensor]] = {}
        for place, ask in enumerate(passes):
            last = place + 1 == len(passes)
            # Gradients in parts are shared out after each pass, since whole ones would have to be kept until the last.
            at_once = last or self._sharding is not None or self._zero is not None
            with nullcontext() if at_once else self.accelerator.no_sync(self.module):
                loss, figures = ask()
                if self._zero is None:
                    self.accelerator.backward(loss)
                else:
                    self._zero.backward(loss, last)
            for name, value in {"loss": loss.detach(), **figures}.items():
                found.setdefault(name, []).append(value.float())
        return {name: self._over_all(values, name in largest) for name, values in found.items()}

    def _over_all(self, values: Sequence[Tensor], largest: bool) -> float:
        import torch

        mine = torch.stack(list(values)).to(self.device)
        gathered = self.accelerator.gather(mine.max() if largest else mine.sum())
        return float(gathered.max() if largest else gathered.mean())

    def step(self, update: int) -> dict[str, float]:
        """Changes the weights by the gradient that was added up, cut to ``max_grad_norm``.

        Args:
            update: its number, from 0.

        Returns:
            ``grad_norm``, before it was cut, and ``learning_rate``.

        Raises:
            AnySceneError: the gradient is no number.
        """
        rate = self._settings.learning_rate * self._rate(update)
        norm = self._step(rate) if self._zero is None else self._zero.step(rate)
        if not math.isfinite(norm) and self.accelerator.scaler is None:
            raise AnySceneError(
                f"update {update + 1}: the gradient is no number; lower optimization.learning_rate, or use precision no or bf16"
            )
        if self._ema is not None:
            self._ema.step(self.trainable.parameters)
        return {"grad_norm": norm, "learning_rate": rate}

    def _step(self, rate: float) -> float:
        from anyscene.training.sharding import whole

        for group in self._optimizer.param_groups:
            group["lr"] = rate
        limit = self._settings.max_grad_norm or math.inf
        norm = float(whole(self.accelerator.clip_grad_norm_(self.trainable.parameters, limit)))
        if math.isfinite(norm) or self.accelerator.scaler is not None:
            self._optimizer.step()
            self._optimizer.zero_grad()
        return norm

    # ---- the loop -------------------------------------------------------------------------------------------------------------

    def learn(self, work: Callable[[int], None], memory: Memory | None = None, at_once: int = 1) -> None:
        """Goes on from the newest checkpoint to the last update.

        Args:
            work: makes the updates from this number, from 0, on: gradient, step and log.
            memory: what else checkpoints keep.
            at_once: updates that one call of ``work`` makes.

        Raises:
            Interrupted: the user stopped it.
        """
        found = self.run.resume()
        done = found[0] if found else 0
        if found:
            self._load(found[1] / STATE, memory)
        with self.run.training(done):
            for update in range(done, self.run.updates, at_once):
                work(update)
                after = update + at_once
                due = any(self.run.checkpoint_due(number) for number in range(update + 1, after + 1))
                stop = any(self.gather([self.run.stop_asked]))
                if due or stop:
                    self._save(after, memory)
                if stop:
                    self.run.stop(after)

    def share(self, count: int, what: str) -> range:
        """Places of this process's part among so many.

        Args:
            count: of all processes together.
            what: the key that says so.

        Raises:
            SpecError: the parts would not be equal.
        """
        processes = self.accelerator.num_processes
        if count % processes:
            raise SpecError(f"{what} = {count}: it must be a multiple of the number of processes, {processes}")
        own = count // processes
        return range(self.accelerator.process_index * own, (self.accelerator.process_index + 1) * own)

    def gather(self, values: Sequence[Any]) -> list[Any]:
        """The values of all processes."""
        from accelerate.utils import gather_object

        return list(gather_object(list(values)))

    # ---- checkpoints and the end ------------------------------------------------------------------------------------------------

    def _save(self, update: int, memory: Memory | None) -> None:
        import torch

        from anyscene.training.sharding import whole

        state = {
            "weights": whole([one.detach() for one in self.trainable.parameters]),
            "optimizer": whole(self._optimizer.state_dict()) if self._zero is None else self._zero.state(),
            "algorithm": whole(memory.state()) if memory is not None else None,
            "ema": whole(self._ema.state_dict()) if self._ema is not None else None,
            "scaler": self.accelerator.scaler.state_dict() if self.accelerator.scaler is not None else None,
        }
        if self.accelerator.is_main_process:
            with self.run.checkpoint(update) as folder:
                torch.save(state, folder / STATE)
        self.accelerator.wait_for_everyone()

    def _load(self, path: Path, memory: Memory | None) -> None:
        import torch

        from anyscene.training.sharding import placed

        state = torch.load(path, map_location="cpu", weights_only=True)  # the device may have no room for it
        weights = self.trainable.parameters
        if self._zero is not None:
            self._zero.load_state(state["optimizer"], state["weights"])
        else:
            self._load_weights(state)
        if memory is not None:
            memory.load_state(state["algorithm"])
        if self._ema is not None:
            averaged = [placed(one, like) for one, like in zip(state["ema"]["shadow_params"], weights, strict=True)]
            self._ema.load_state_dict({**state["ema"], "shadow_params": averaged})
        if self.accelerator.scaler is not None:
            self.accelerator.scaler.load_state_dict(state["scaler"])

    def _load_weights(self, state: Mapping[str, Any]) -> None:
        from anyscene.training.sharding import placed

        weights = self.trainable.parameters
        self.trainable.set(state["weights"])
        for number, known in state["optimizer"]["state"].items():
            known.update({name: placed(one, weights[number]) for name, one in known.items() if name != "step"})
        self._optimizer.load_state_dict(state["optimizer"])

    def finish(self, base: Trained) -> Trained:
        """Writes what was learnt, its moving average if there is one, into the run's ``policy``.

        Args:
            base: how the model is loaded without it.

        Returns:
            How it is loaded: the base with LoRA weights, or a pipeline of its own.
        """
        folder = self.run.folder / POLICY
        main = self.accelerator.is_main_process
        if self._ema is None:
            self.trainable.save(folder, write=main)
        else:
            with self.trainable.swapped([one.to(self.device) for one in self._ema.shadow_params]):
                self.trainable.save(folder, write=main)
        self.accelerator.wait_for_everyone()
        if self._lora.rank:
            return Trained(base.load, {**base.options, "lora": str(folder)})
        return Trained(f"diffusers:{folder}", dict(self.model.options))


def check_libraries(model: DiffusersModel) -> None:
    """Is everything there that training needs, and the model as it must be?

    Raises:
        MissingExtraError: a library is not installed.
        SpecError: the model was loaded such that it cannot be trained.
    """
    if not all(find_spec(library) for library in ("torch", "diffusers", "accelerate", "peft")):
        raise MissingExtraError("Training a diffusion model", "train")
    for option in ("offload", "compile"):
        if model.options.get(option) not in (None, "none", False):
            raise SpecError(f"model_options.{option}: not while a model is trained")


def _accelerator(precision: str, device: str) -> Any:
    from accelerate import Accelerator
    from accelerate.utils import DistributedDataParallelKwargs

    try:
        with as_copies():
            return Accelerator(
                cpu=device == "cpu",
                mixed_precision=precision,
                kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=True)],
            )
    except ValueError as error:
        raise SpecError(f"optimization.precision = {precision}: {' '.join(str(error).split())[:200]}") from None


def parts(count: int, size: int | None) -> Iterator[slice]:
    """So many in parts of this size; the last is what is left. None is one part."""
    size = size or count
    return (slice(start, min(start + size, count)) for start in range(0, count, size))
