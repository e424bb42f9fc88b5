"""Weights in shards: each process keeps its part of every weight, of its gradient and of what the optimizer knows of it.

`accelerate launch` says by its config (``distributed_type: FSDP``) that weights are to be sharded, and how. Torch's FSDP2 does it, on
GPUs and on CPUs alike; accelerate itself would shard on GPUs only, and pass the config over in silence on CPUs. Arithmetic in half
precision is the autocast of unsharded training, so that both learn the same.

Imports torch: import this module only when training starts.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor

from anyscene.errors import SpecError

__all__ = ["Sharding", "placed", "swapped_shards", "whole"]


class Sharding:
    """How the launcher wants weights to be sharded.

    Args:
        precision: of the arithmetic.

    Raises:
        SpecError: it wants what cannot be honoured.
    """

    def __init__(self, precision: str) -> None:
        from accelerate.utils import FullyShardedDataParallelPlugin

        version = os.environ.get("FSDP_VERSION", "1")
        if version != "2":
            raise SpecError(f"fsdp_version {version}: weights are sharded by version 2; set fsdp_version: 2 in the config of accelerate")
        for name, instead in _REFUSED.items():
            if os.environ.get(f"FSDP_{name.upper()}", "false").lower() == "true":
                raise SpecError(f"fsdp_{name}: true: {instead}")
        if os.environ.get("FSDP_RESHARD_AFTER_FORWARD", "true").lower() in ("false", "no_shard"):
            raise SpecError("fsdp_reshard_after_forward: false: between two passes a process keeps its part alone; set it to true")
        if precision == "fp16":
            raise SpecError("optimization.precision = fp16: not with sharded weights; use bf16")
        self._plugin = FullyShardedDataParallelPlugin()

    def shard(self, module: Any, device: torch.device) -> None:
        """Shards a module in place: its blocks, one at a time in memory when it is asked, and what is left of it.

        Args:
            module: whose parameters are others afterwards, of the same names in the same order.
            device: of the weights.

        Raises:
            SpecError: the config names blocks that the module does not have.
        """
        from accelerate.utils.fsdp_utils import fsdp2_prepare_auto_wrap_policy
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import fully_shard

        mesh = init_device_mesh(device.type, (torch.distributed.get_world_size(),))
        try:
            is_block = fsdp2_prepare_auto_wrap_policy(self._plugin, module)
        except ValueError as error:
            raise SpecError(f"fsdp_transformer_layer_cls_to_wrap: {' '.join(str(error).split())[:160]}") from None
        blocks = [one for one in module.modules() if one is not module and is_block is not None and is_block(one)]
        for block in reversed(blocks):  # those inside others first
            fully_shard(block, mesh=mesh, reshard_after_forward=True)
        # The rest, too: what stays put together between two passes would go on being used when other weights are swapped in.
        fully_shard(module, mesh=mesh, reshard_after_forward=True)
        # That nothing may be changed in place of what it gives and learns from; nothing is, and pipelines do so while they draw only.
        warnings.filterwarnings("ignore", message="FSDP2-wrapped module .* returned a view tensor")


_REFUSED = {
    "offload_params": "sharded weights stay on the device",
    "activation_checkpointing": "set optimization.gradient_checkpointing instead",
    "cpu_ram_efficient_loading": "every process reads the whole model before it is sharded; set it to false",
}
"""Settings of accelerate's that are not honoured, and what to do."""


@contextmanager
def swapped_shards(parameters: Sequence[Any], values: Sequence[Any]) -> Iterator[None]:
    """These in place of sharded weights, for as long as the block is open; each process copies its shards.

    Args:
        parameters: of a module as `Sharding.shard` left it.
        values: for each, sharded alike.
    """
    kept = [one.to_local().detach().clone() for one in parameters]
    try:
        _write(parameters, [one.to_local() for one in values])
        yield
    finally:
        _write(parameters, kept)


def _write(parameters: Sequence[Any], shards: Sequence[Tensor]) -> None:
    with torch.no_grad():
        for one, shard in zip(parameters, shards, strict=True):
            one.to_local().copy_(shard)


def whole(value: Any) -> Any:
    """The same with all sharded tensors in it put together, on the CPU. Every process must ask at once.

    Args:
        value: tensors, or dicts, lists and tuples of them and of anything else.
    """
    if isinstance(value, DTensor):
        return value.detach().full_tensor().cpu()
    if isinstance(value, dict):
        return {name: whole(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(whole(one) for one in value)
    return value


def placed(value: Tensor, like: Tensor) -> Tensor:
    """A tensor where another of its shape lies: on its device, and sharded as it is. Every process gives the same tensor."""
    if not isinstance(like, DTensor):
        return value.to(like.device)
    from torch.distributed.tensor import distribute_tensor

    moved = value.to(like.to_local().device)
    return distribute_tensor(moved, like.device_mesh, like.placements, src_data_rank=None)
