"""DeepSpeed's ZeRO, stages 1 and 2: each process has all weights, and its part of what the optimizer knows of them (2: of gradients, too).

`accelerate launch` says by its config (``distributed_type: DEEPSPEED``) that this is wanted. Checkpoints hold what they would hold without,
so that a run goes on either way.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from anyscene.errors import SpecError

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Zero", "check_zero"]

_PREFIX = "ACCELERATE_DEEPSPEED_"
_STATE = ("exp_avg", "exp_avg_sq")
"""What AdamW knows of each weight."""


def check_zero(precision: str) -> int:
    """The stage that the launcher wants.

    Args:
        precision: of the arithmetic.

    Raises:
        SpecError: it wants what cannot be honoured, or DeepSpeed is not installed.
    """
    stage = os.environ.get(f"{_PREFIX}ZERO_STAGE", "2")
    if stage not in ("1", "2"):
        raise SpecError(
            f"zero_stage {stage}: stages 1 and 2 are supported; to have weights in parts, too: python -m anyscene.training.launch fsdp"
        )
    if os.environ.get(f"{_PREFIX}CONFIG_FILE", "none") != "none":
        raise SpecError("deepspeed_config_file: the run's own config says what it would say; give zero_stage alone")
    for device in ("OPTIMIZER", "PARAM"):
        if os.environ.get(f"{_PREFIX}OFFLOAD_{device}_DEVICE", "none") != "none":
            raise SpecError(f"offload_{device.lower()}_device: what is trained stays on the device; set it to none")
    if precision == "fp16":
        raise SpecError("optimization.precision = fp16: not with DeepSpeed; use bf16")
    if find_spec("deepspeed") is None:
        raise SpecError("the launcher asks for DeepSpeed, which is not installed: pip install deepspeed, or launch with the config fsdp")
    return int(stage)


class Zero:
    """A module whose optimizer is shared out.

    Args:
        module: to be trained.
        parameters: its trained weights.
        optimizer: AdamW over them.
        stage: of ZeRO.
        max_grad_norm: gradients longer than this are cut; 0 cuts none.

    Attributes:
        engine: DeepSpeed's, to be asked in the module's place where gradients are to go through it.
    """

    def __init__(self, module: Any, parameters: Sequence[Any], optimizer: Any, stage: int, max_grad_norm: float) -> None:
        import deepspeed

        logging.getLogger("DeepSpeed").setLevel(logging.ERROR)
        self._parameters, self._groups = parameters, optimizer.state_dict()["param_groups"]
        config = {
            "train_micro_batch_size_per_gpu": 1,  # a word for its figures; passes are what they are
            "gradient_clipping": max_grad_norm,
            "zero_optimization": {"stage": stage},
            "zero_allow_untested_optimizer": True,
            "zero_force_ds_cpu_optimizer": False,
        }
        self.engine: Any = deepspeed.initialize(model=module, optimizer=optimizer, config=config, dist_init_required=False)[0]

    def backward(self, loss: Tensor, last: bool) -> None:
        """Adds up the gradients of a pass.

        Args:
            loss: of the pass.
            last: whether it is the update's last.
        """
        self.engine.set_gradient_accumulation_boundary(last)
        self.engine.backward(loss)

    def step(self, rate: float) -> float:
        """Changes the weights at this learning rate; gives the gradient's length before it was cut."""
        for group in self.engine.optimizer.param_groups:
            group["lr"] = rate
        self.engine.step()
        return float(self.engine.get_global_grad_norm())

    @property
    def _inner(self) -> list[dict[str, Any]]:
        """What AdamW knows of this process's part."""
        return list(self.engine.optimizer.optimizer.state.values())

    def state(self) -> dict[str, Any]:
        """What AdamW knows of all weights, as its own `state_dict` has it. Every process must ask at once."""
        from deepspeed.utils import safe_get_full_optimizer_state

        steps = [one["step"].detach().clone() for one in self._inner]
        if not steps:
            return {"state": {}, "param_groups": self._groups}
        known = [{name: safe_get_full_optimizer_state(one, name) for name in _STATE} for one in self._parameters]
        return {"state": {place: {"step": steps[0], **one} for place, one in enumerate(known)}, "param_groups": self._groups}

    def load_state(self, state: Mapping[str, Any], weights: Sequence[Tensor]) -> None:
        """Makes the weights and what AdamW knows of them these.

        Args:
            state: as `state` gave it, or AdamW's own `state_dict`.
            weights: of all.
        """
        from deepspeed.utils import safe_set_full_fp32_param, safe_set_full_optimizer_state

        # A step of no length, after which there are places to write to.
        self.backward(sum((one * 0).sum() for one in self._parameters), last=True)
        self.step(0.0)
        for place, (one, weight) in enumerate(zip(self._parameters, weights, strict=True)):
            one.data.copy_(weight)
            safe_set_full_fp32_param(one, weight.to(one.device))
            for name in _STATE:
                safe_set_full_optimizer_state(one, state["state"][place][name].to(one.device), name)
        for part in self._inner:
            part["step"] = state["state"][0]["step"].clone()
