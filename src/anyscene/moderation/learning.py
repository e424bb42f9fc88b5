"""The loop that trains a network: AdamW, a cosine, checkpoints, and the weights that do best on the validation split.

All that is drawn at random is drawn from the seed, the number of the step and the place in the batch. A run that was killed goes on from
its last look at the validation split, and ends in the same weights as one that was not.
"""

from __future__ import annotations

import io
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from anyscene.errors import Interrupted, ModelError, SpecError
from anyscene.moderation.backbones import Network, make_network, pixels_of
from anyscene.moderation.dataset import GENERATED, Picture
from anyscene.moderation.degrade import augment
from anyscene.moderation.detector import NetworkScorer
from anyscene.moderation.metrics import Scored, problem_of
from anyscene.moderation.training import CHECKPOINT, METRICS, Learnt, Lessons, TrainOptions
from anyscene.runs import progress, say, write_atomic
from anyscene.scene.keyed import key_of, permutation
from anyscene.weights import pick_device

__all__ = ["learn_network"]

KEPT_PIXELS = 200_000_000
"""Of decoded pictures that are kept in memory, three bytes each."""
CLIP = 1.0


class Batches(Dataset):  # type: ignore[misc,unused-ignore]
    """The pictures of every step: real and generated ones by turns, these from each generator by turns.

    Each side goes through all of its pictures in an order of its own, then through all again in another.
    """

    def __init__(self, lessons: Lessons, options: TrainOptions, size: int, share: range) -> None:
        self._lessons, self._options, self._size, self._share = lessons, options, size, share
        self._generators = tuple(lessons.fakes)
        self._kept: dict[str, Image.Image] = {}
        self._room = KEPT_PIXELS
        self._orders: dict[tuple[str, int], Any] = {}

    def __getitem__(self, step: int) -> tuple[Any, Any]:
        """``(batch, size, size, 3) uint8`` and ``(batch,) float32``, 1 where generated."""
        chosen = [self._chosen(step, place) for place in self._share]
        options = self._options
        arrays = [
            np.asarray(augment(self._image(one), self._size, options.augmentation, options.seed, step, place), dtype=np.uint8)
            for place, one in zip(self._share, chosen, strict=True)
        ]
        return np.stack(arrays), np.array([one.label == GENERATED for one in chosen], dtype=np.float32)

    def _chosen(self, step: int, place: int) -> Picture:
        number = step * (self._options.batch // 2) + place // 2
        if place % 2 == 0:
            return self._nth("", self._lessons.reals, number)
        turn, which = divmod(number, len(self._generators))
        name = self._generators[which]
        return self._nth(name, self._lessons.fakes[name], turn)

    def _nth(self, side: str, pictures: Sequence[Picture], number: int) -> Picture:
        round_, place = divmod(number, len(pictures))
        if (side, round_) not in self._orders:
            self._orders = {key: order for key, order in self._orders.items() if key[0] != side}
            self._orders[side, round_] = permutation(len(pictures), key_of("order", self._options.seed, side, round_))
        return pictures[int(self._orders[side, round_][place])]

    def _image(self, picture: Picture) -> Image.Image:
        found = self._kept.get(picture.id)
        if found is None:
            found = self._lessons.of[picture.id].read(picture).image
            if self._room >= found.width * found.height:
                self._room -= found.width * found.height
                self._kept[picture.id] = found
        return found


@dataclass
class _Best:
    """The best look at the validation split so far."""

    step: int = 0
    auroc: float = -1.0
    loss: float = math.inf
    looks_since: int = 0
    weights: Mapping[str, Any] | None = None

    def look(self, step: int, auroc: float, loss: float, module: torch.nn.Module) -> None:
        """Better is a higher AUROC, to four digits, and then a lower loss."""
        if (round(auroc, 4), -loss) > (round(self.auroc, 4), -self.loss):
            weights = {name: one.detach().cpu().clone() for name, one in module.state_dict().items()}
            self.step, self.auroc, self.loss, self.looks_since, self.weights = step, auroc, loss, 0, weights
        else:
            self.looks_since += 1


class _Loop:
    """A training that is under way."""

    def __init__(self, lessons: Lessons, out: Path, options: TrainOptions, network: Network, device: str, quiet: bool) -> None:
        self.lessons, self.out, self.options, self.network, self.quiet = lessons, out, options, network, quiet
        self.accelerator = _accelerator(options.precision, device)
        self.main = self.accelerator.is_main_process
        optimizer = torch.optim.AdamW(network.module.parameters(), lr=options.learning_rate, weight_decay=options.weight_decay)
        self.module, self.optimizer = self.accelerator.prepare(network.module, optimizer)
        self.best = _Best()
        processes = self.accelerator.num_processes
        if options.batch % processes:
            raise SpecError(f"batch = {options.batch}: it must be a multiple of the number of processes, {processes}")
        own = options.batch // processes
        share = range(self.accelerator.process_index * own, (self.accelerator.process_index + 1) * own)
        self.batches = Batches(lessons, options, network.size, share)
        self.pending: list[dict[str, float]] = []

    def run(self) -> None:
        """Goes on from the last checkpoint to the end."""
        done = self.resume()
        options = self.options
        if done >= options.steps or self.ended:
            return
        try:
            with progress(options.steps, "steps", done=done, quiet=self.quiet or not self.main) as advance:
                for step, (arrays, labels) in enumerate(self.loader(done), done):
                    self.pending.append(self.update(step, arrays, labels))
                    advance(1)
                    if (step + 1) % options.validate_every == 0 or step + 1 == options.steps:
                        self.look(step + 1)
                        if self.ended:
                            break
        except KeyboardInterrupt:
            kept = f"what was learnt up to step {self.kept:,} is kept" if self.kept else "nothing is kept yet"
            raise Interrupted(f"stopped; {kept}: the same command goes on from there") from None

    @property
    def ended(self) -> bool:
        """Has it not become better for so long that it ends?"""
        return 0 < self.options.patience <= self.best.looks_since

    def loader(self, done: int) -> Iterator[tuple[Any, Any]]:
        workers = self.options.workers
        steps = range(done, self.options.steps)
        return iter(DataLoader(self.batches, batch_size=None, sampler=steps, num_workers=workers, prefetch_factor=4 if workers else None))

    def update(self, step: int, arrays: Any, labels: Any) -> dict[str, float]:
        """One step of AdamW.

        Raises:
            ModelError: the loss is no number.
        """
        options, device = self.options, self.accelerator.device
        rate = options.learning_rate * _factor(step, options.steps, options.warmup)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.module.train()
        with _seeded(options.seed, step, device), self.accelerator.autocast():
            logits = self.module(pixels_of(arrays, self.network.mean, self.network.std, device))
            loss = torch.nn.functional.binary_cross_entropy_with_logits(logits.float(), torch.as_tensor(labels).to(device))
        self.accelerator.backward(loss)
        norm = float(self.accelerator.clip_grad_norm_(self.module.parameters(), CLIP))
        value = float(self.accelerator.gather(loss.detach().reshape(1)).mean())
        if not math.isfinite(value):
            raise ModelError(f"step {step + 1}: the loss is no number; lower learning_rate, or take precision no or bf16")
        self.optimizer.step()
        self.optimizer.zero_grad()
        return {"step": step + 1, "loss": value, "learning_rate": rate, "grad_norm": norm}

    def look(self, step: int) -> None:
        """Holds the network against the validation split, and keeps where it is."""
        auroc, loss = self.validate()
        bare = self.accelerator.unwrap_model(self.module)
        self.best.look(step, auroc, loss, bare)
        self.pending[-1] |= {"validation/auroc": auroc, "validation/loss": loss}
        if self.main:
            lines = b"".join(json.dumps(_finite(one)).encode() + b"\n" for one in self.pending)
            path = self.out / METRICS
            write_atomic(path, (path.read_bytes() if path.exists() else b"") + lines)
            self.save(step, bare)
        self.accelerator.wait_for_everyone()
        self.kept = step
        self.pending = []
        say(f"step {step:,}: AUROC {auroc:.4f}, loss {loss:.4f} on the validation split", quiet=self.quiet or not self.main)

    def validate(self) -> tuple[float, float]:
        """AUROC and mean loss, both sides counting alike.

        Raises:
            ModelError: a logit is no number.
        """
        from sklearn.metrics import roc_auc_score

        pictures = self.lessons.validation
        network = Network(
            self.accelerator.unwrap_model(self.module), self.network.size, self.network.mean, self.network.std, self.network.facts
        )
        values = np.concatenate(
            [
                network.logits([self.lessons.of[one.id].read(one).image for one in pictures[first : first + 256]], self.options.batch)
                for first in range(0, len(pictures), 256)
            ]
        )
        truth = Scored.of(values.tolist(), [one.label == GENERATED for one in pictures], [one.group for one in pictures])
        if np.isnan(truth.score).any():
            raise ModelError(f"the network's output is no number ({problem_of(truth.score)}); lower learning_rate")
        losses = np.logaddexp(0.0, np.where(truth.generated, -truth.score, truth.score))
        loss = (losses[truth.generated].mean() + losses[~truth.generated].mean()) / 2
        return float(roc_auc_score(truth.generated, truth.score)), float(loss)

    # ---- going on -------------------------------------------------------------------------------------------------------------

    kept = 0

    def save(self, step: int, bare: torch.nn.Module) -> None:
        scaler = self.accelerator.scaler
        best = self.best
        state = {
            "step": step,
            "weights": bare.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": scaler.state_dict() if scaler is not None else None,
            "best": {"step": best.step, "auroc": best.auroc, "loss": best.loss, "looks_since": best.looks_since, "weights": best.weights},
        }
        buffer = io.BytesIO()
        torch.save(state, buffer)
        write_atomic(self.out / CHECKPOINT, buffer.getvalue())

    def resume(self) -> int:
        """Steps that are done."""
        path = self.out / CHECKPOINT
        done = 0
        if path.is_file():
            state = torch.load(path, map_location="cpu", weights_only=True)
            self.accelerator.unwrap_model(self.module).load_state_dict(state["weights"])
            self.optimizer.load_state_dict(state["optimizer"])
            if self.accelerator.scaler is not None:
                self.accelerator.scaler.load_state_dict(state["scaler"])
            self.best = _Best(**state["best"])
            done = self.kept = int(state["step"])
        metrics = self.out / METRICS
        if metrics.exists() and self.main:  # what was logged after the checkpoint is done again
            lines = [line for line in metrics.read_bytes().split(b"\n")[:-1] if json.loads(line)["step"] <= done]
            write_atomic(metrics, b"".join(line + b"\n" for line in lines))
        return done


def learn_network(lessons: Lessons, out: Path, options: TrainOptions, device: str, quiet: bool) -> Learnt:
    """Trains a network; see `training.train_detector`."""
    network = make_network(options.backbone, size=options.size, patch=options.patch, pretrained=options.pretrained, seed=options.seed)
    place = pick_device(device)
    network.module.to(place)
    loop = _Loop(lessons, out, options, network, place, quiet)
    loop.run()
    best = loop.best
    bare = loop.accelerator.unwrap_model(loop.module)
    bare.load_state_dict(best.weights)
    kept = Network(bare.to(place), network.size, network.mean, network.std, network.facts)
    preprocessing = {"size": network.size, "mean": list(network.mean), "std": list(network.std)}
    training = {"steps": loop.kept, "best_step": best.step, "auroc": best.auroc, "loss": best.loss}
    return Learnt(NetworkScorer(kept), network.facts, preprocessing, training)


def _accelerator(precision: str, device: str) -> Any:
    try:
        return Accelerator(cpu=device == "cpu", mixed_precision=precision)
    except ValueError as error:
        raise SpecError(f"precision = {precision}: {' '.join(str(error).split())[:200]}") from None


@contextmanager
def _seeded(seed: int, step: int, device: torch.device) -> Iterator[None]:
    """Torch's own dice (dropout, stochastic depth) as a function of the step; as they were afterwards."""
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(key_of("step", seed, step) >> 1)
        yield


def _factor(step: int, steps: int, warmup: float) -> float:
    """The learning rate's share: up along a line, down along a cosine."""
    rising = max(1.0, warmup * steps)
    if step < rising:
        return (step + 1) / (rising + 1)
    return 0.5 * (1 + math.cos(math.pi * (step - rising) / max(1.0, steps - rising)))


def _finite(values: Mapping[str, float]) -> dict[str, float | None]:
    return {name: value if math.isfinite(value) else None for name, value in values.items()}
