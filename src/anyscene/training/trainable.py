"""The weights of a denoiser that are trained: low-rank adapters or all of them; their copies, checkpoints and what is kept in the end."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from anyscene.errors import MissingExtraError, SpecError
from anyscene.runs import write_atomic
from anyscene.training.config import Lora
from anyscene.training.denoiser import Denoiser
from anyscene.training.sharding import Sharding, placed, swapped_shards, whole
from anyscene.weights import quiet_loading

__all__ = ["Trainable"]

TARGETS = ("to_k", "to_q", "to_v", "to_out.0")
"""The attention's layers, as diffusers names them."""

LORA_FILE = "pytorch_lora_weights.safetensors"
"""The name that diffusers gives to LoRA weights."""


class Trainable:
    """What is trained of a denoiser; everything else of its pipeline is frozen.

    Args:
        pipe: the pipeline.
        denoiser: its denoiser.
        lora: of the adapters; rank 0 trains all weights.
        precision: of the arithmetic; the trained weights are float32 in any case.
        seed: of the adapters' first values.

    Attributes:
        parameters: the trained weights, float32.

    Raises:
        SpecError: what cannot be trained so.
        MissingExtraError: adapters without peft.
    """

    def __init__(self, pipe: Any, denoiser: Denoiser, lora: Lora, precision: str, seed: int) -> None:
        self._pipe, self._denoiser, self._lora = pipe, denoiser, lora
        self._sharded = False
        for part in pipe.components.values():
            if isinstance(part, torch.nn.Module):
                part.requires_grad_(False).eval()
        if lora.dropout:
            raise SpecError(
                f"lora.dropout = {lora.dropout}: a diffusion model is trained in the mode in which it draws, without dropout; use 0"
            )
        if getattr(denoiser.module, "peft_config", None):
            raise SpecError("the model has LoRA weights already: merge them into its weights first (fuse_lora, save_pretrained)")
        if lora.rank:
            self._add_adapter(seed)
        else:
            if precision == "no" and denoiser.module.dtype != torch.float32:
                raise SpecError(
                    f"all weights of a model in {str(denoiser.module.dtype).removeprefix('torch.')} with optimization.precision no: "
                    "load it with model_options.dtype = float32, or set precision to bf16 or fp16"
                )
            denoiser.module.requires_grad_(True)
        self.parameters: list[Any] = self._trained()
        for one in self.parameters:
            one.data = one.data.float()

    def _trained(self) -> list[Any]:
        return [one for one in self._denoiser.module.parameters() if one.requires_grad]

    def shard(self, sharding: Sharding, device: torch.device) -> None:
        """Leaves each process its part of the denoiser; `parameters`, and all that is copied of them, are sharded from then on."""
        sharding.shard(self._denoiser.module, device)
        self.parameters, self._sharded = self._trained(), True

    def _add_adapter(self, seed: int) -> None:
        try:
            from peft import LoraConfig
        except ImportError:
            raise MissingExtraError("LoRA", "train") from None
        if not hasattr(self._pipe, "save_lora_weights"):
            raise SpecError(f"lora.rank = {self._lora.rank}: {type(self._pipe).__name__} takes no LoRA weights; 0 trains all weights")
        module, targets = self._denoiser.module, self._lora.targets or TARGETS
        config = LoraConfig(
            r=self._lora.rank,
            lora_alpha=self._lora.alpha or 2 * self._lora.rank,
            lora_dropout=self._lora.dropout,
            init_lora_weights="gaussian",
            target_modules=list(targets),
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            try:
                module.add_adapter(config)
            except ValueError as error:
                raise SpecError(f"lora.targets {', '.join(targets)}: {' '.join(str(error).split())[:200]}") from None

    def load(self, path: Path) -> None:
        """Makes the adapters those that `save` wrote.

        Args:
            path: the folder, or the file in it.

        Raises:
            SpecError: there are no such weights, or they are of other adapters than these.
        """
        from peft import get_peft_model_state_dict, set_peft_model_state_dict
        from safetensors import SafetensorError, safe_open
        from safetensors.torch import load_file

        if not self._lora.rank:
            raise SpecError(f"{path}: to go on from LoRA weights, lora.rank must be theirs; it is 0, which trains all weights")
        file = path / LORA_FILE if path.is_dir() else path
        try:
            found = load_file(file)
            with safe_open(file, framework="pt") as opened:
                about = json.loads((opened.metadata() or {}).get("lora_adapter_metadata", "{}"))
        except (OSError, SafetensorError) as error:
            raise SpecError(f"{file}: no LoRA weights to go on from ({' '.join(str(error).split())[:200]})") from None
        module, prefix = self._denoiser.module, f"{self._denoiser.part}."
        weights = {name.removeprefix(prefix): one for name, one in found.items()}
        mine = get_peft_model_state_dict(module)
        if {name: one.shape for name, one in weights.items()} != {name: one.shape for name, one in mine.items()}:
            raise SpecError(f"{file}: its LoRA weights are of another rank or of other layers than lora.rank and lora.targets say")
        alpha = about.get(f"{prefix}lora_alpha")
        if alpha != module.peft_config["default"].lora_alpha:
            raise SpecError(f"{file}: its LoRA weights have alpha {alpha}, where lora.alpha is {module.peft_config['default'].lora_alpha}")
        set_peft_model_state_dict(module, weights)

    def copy(self) -> list[Tensor]:
        """The weights as they are now."""
        return [one.detach().clone() for one in self.parameters]

    @contextmanager
    def swapped(self, values: Sequence[Tensor]) -> Iterator[None]:
        """These in place of the trained weights, for as long as the block is open; nothing is copied, unless weights are sharded."""
        if self._sharded:
            with swapped_shards(self.parameters, values):
                yield
            return
        kept = [one.data for one in self.parameters]
        try:
            for one, value in zip(self.parameters, values, strict=True):
                one.data = value
            yield
        finally:
            for one, value in zip(self.parameters, kept, strict=True):
                one.data = value

    def set(self, values: Sequence[Tensor]) -> None:
        """Makes the trained weights these, which every process has whole."""
        with torch.no_grad():
            for one, value in zip(self.parameters, values, strict=True):
                one.copy_(placed(value, one))

    def save(self, folder: Path, *, write: bool = True) -> None:
        """Writes the policy as diffusers reads it: LoRA weights, or the whole pipeline.

        Args:
            folder: where.
            write: False only takes part in putting sharded weights together, for the process that writes.
        """
        module, part = self._denoiser.module, self._denoiser.part
        if not self._lora.rank:
            weights = whole(module.state_dict()) if self._sharded else {}
            if write:
                with self._unsharded(weights), quiet_loading():
                    self._pipe.save_pretrained(str(folder))
            return
        from peft import get_peft_model_state_dict

        weights = {name: one.contiguous() for name, one in whole(get_peft_model_state_dict(module)).items()}
        if not write:
            return
        given = {f"{part}_lora_layers": weights, f"{part}_lora_adapter_metadata": module.peft_config["default"].to_dict()}
        self._pipe.save_lora_weights(str(folder), **given)
        _order_header(folder / LORA_FILE)

    @contextmanager
    def _unsharded(self, weights: dict[str, Tensor]) -> Iterator[None]:
        """A denoiser of these weights in the place of the sharded one."""
        if not self._sharded:
            yield
            return
        part, sharded, components = self._denoiser.part, self._denoiser.module, vars(self._pipe)
        with torch.device("meta"):
            plain = self._denoiser.kind.from_config(sharded.config)
        plain.load_state_dict(weights, assign=True)
        components[part] = plain  # not by setattr, which would write the sharded one's class into the pipeline's own config
        try:
            yield
        finally:
            components[part] = sharded


def _order_header(path: Path) -> None:
    """Puts what a safetensors file says of itself in order: it is written in one that changes, so the same weights would be other bytes."""
    data = path.read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:start])
    about = header.pop("__metadata__", {})
    adapter = json.loads(about.get("lora_adapter_metadata", "{}"))
    adapter = {
        name: sorted(one) if isinstance(one, list) and all(isinstance(part, str) for part in one) else one for name, one in adapter.items()
    }
    if adapter:
        about["lora_adapter_metadata"] = json.dumps(adapter, indent=2, sort_keys=True)
    text = json.dumps({"__metadata__": dict(sorted(about.items())), **header}, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    write_atomic(path, len(text).to_bytes(8, "little") + text + data[start:])
