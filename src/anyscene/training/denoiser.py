"""The denoiser of a stock diffusers pipeline, as training sees it: what it was asked while pictures were made, and how to ask it again.

A hook in front of the denoiser keeps its arguments, with all conditioning that the pipeline prepared: text embeddings, position ids, sizes.
Training calls the same denoiser with the same arguments, and so needs no copy of any pipeline. What differs from family to family stands
in one table.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor

from anyscene.errors import AnySceneError, SpecError

__all__ = ["FAMILIES", "Denoiser", "Family", "Request", "check_requests"]


@dataclass(frozen=True, slots=True)
class Family:
    """Denoisers that are asked alike.

    Attributes:
        models: what people call them.
        process: ``flow`` mixes picture and noise in a straight line, ``diffusion`` by the variance-preserving schedule.
        guidance: the pipeline's argument for the strength of guidance.
        unguided: its value for none; None where the number is an input of the denoiser and cannot be turned off.
        doubled: guidance asks once, for twice as many pictures: without caption, with caption.
        time: how the denoiser is told the noise level ``t`` of a flow: ``1000t``, ``t`` or ``1-t``.
        listed: latents go in as a list of ``(channels, 1, height, width)``, and come out so with the sign turned.
        modality: what it makes: ``image`` or ``video``. Families of videos learn from examples, not by reinforcement.
    """

    models: str
    process: Literal["flow", "diffusion"]
    guidance: str = "guidance_scale"
    unguided: float | None = 1.0
    doubled: bool = False
    time: Literal["1000t", "t", "1-t"] = "1000t"
    listed: bool = False
    modality: Literal["image", "video"] = "image"


FAMILIES = {
    "UNet2DConditionModel": Family("Stable Diffusion 1 and 2, SDXL", "diffusion", doubled=True),
    "SD3Transformer2DModel": Family("Stable Diffusion 3 and 3.5, sandbox:diffusion", "flow", doubled=True),
    "FluxTransformer2DModel": Family("FLUX.1", "flow", unguided=None, time="t"),
    "QwenImageTransformer2DModel": Family("Qwen-Image", "flow", guidance="true_cfg_scale", time="t"),
    "ZImageTransformer2DModel": Family("Z-Image", "flow", unguided=0.0, time="1-t", listed=True),
    "LTXVideoTransformer3DModel": Family("LTX-Video", "flow", doubled=True, modality="video"),
    "WanTransformer3DModel": Family("Wan", "flow", modality="video"),
    "CogVideoXTransformer3DModel": Family("CogVideoX", "diffusion", doubled=True, modality="video"),
}
"""By the class of the denoiser."""


@dataclass(frozen=True, slots=True)
class Request:
    """What the denoiser was asked once.

    Attributes:
        args: by position.
        kwargs: by name.
    """

    args: tuple[Any, ...]
    kwargs: dict[str, Any]


class Denoiser:
    """The denoiser of a pipeline.

    Args:
        pipe: the pipeline.

    Attributes:
        part: its name in the pipeline: ``unet`` or ``transformer``.
        module: the network itself.
        kind: its class, whatever becomes of it when it is sharded.
        family: how it is asked.

    Raises:
        SpecError: it is of no family that can be trained.
    """

    def __init__(self, pipe: Any) -> None:
        self.part = "unet" if getattr(pipe, "unet", None) is not None else "transformer"
        self.module: Any = getattr(pipe, self.part, None)
        self.kind: Any = type(self.module)
        found = FAMILIES.get(self.kind.__name__)
        if found is None or getattr(pipe, "scheduler", None) is None:
            known = "; ".join(one.models for one in FAMILIES.values())
            raise SpecError(f"{type(pipe).__name__} with the denoiser {self.kind.__name__} cannot be trained; these families can: {known}")
        if getattr(pipe, "transformer_2", None) is not None:
            raise SpecError(f"{type(pipe).__name__} with two denoisers, for much and for little noise, cannot be trained; one with one can")
        self.family = found

    @contextmanager
    def recording(self, *, first: bool = False) -> Iterator[list[Request]]:
        """What it is asked inside the block, in order; with ``first``, only the first time."""
        found: list[Request] = []

        def keep(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            if not (first and found):
                found.append(Request(args, dict(kwargs)))

        hook = self.module.register_forward_pre_hook(keep, with_kwargs=True, prepend=True)
        try:
            yield found
        finally:
            hook.remove()

    def ask(self, request: Request, guidance: float | None = None, module: Any = None) -> Tensor:
        """What the pipeline gave its scheduler when the denoiser was asked this.

        Args:
            request: as it was recorded, or from `at`.
            guidance: with which the pipeline guided; None if it did not. No gradient goes through the branch without caption (Flow-GRPO).
            module: what is called in the denoiser's place: itself as a process among several has it.
        """
        found = (module or self.module)(*request.args, **{**request.kwargs, "return_dict": False})[0]
        if self.family.listed:
            found = -torch.stack([one.float() for one in found]).squeeze(2)
        if guidance is None:
            return found
        without, captioned = found.chunk(2)
        without = without.detach()
        return without + guidance * (captioned - without)

    def at(self, request: Request, latents: Tensor, times: Tensor) -> Request:
        """The same question about other latents at other times.

        Args:
            request: as it was recorded.
            latents: ``(batch, ...)``.
            times: of each: the noise level, from 0 to 1, of a flow; the timestep, an integer, of a diffusion.
        """
        if self.family.process == "flow":
            times = {"1000t": times * 1000, "t": times, "1-t": 1 - times}[self.family.time]
        if self.family.listed:
            recorded, _, *others = request.args
            given = list(latents.to(recorded[0].dtype).unsqueeze(2).unbind(0))
            return replace(request, args=(given, times, *others))
        if "hidden_states" in request.kwargs:
            told = request.kwargs["timestep"]
            times = times.reshape(-1, *[1] * (told.ndim - 1)).expand(len(times), *told.shape[1:])  # Wan may tell it each position
            asked = {"hidden_states": latents.to(request.kwargs["hidden_states"].dtype), "timestep": times.to(told.dtype)}
            return replace(request, kwargs={**request.kwargs, **asked})
        return replace(request, args=(latents.to(request.args[0].dtype), times, *request.args[2:]))

    def in_pipeline(self, latents: Tensor, request: Request) -> Tensor:
        """Latents in the precision that the pipeline has them in; mixed precision makes float32 of what the denoiser gives."""
        if self.family.listed:
            return latents
        asked = request.args[0] if request.args else request.kwargs["hidden_states"]
        return latents.to(asked.dtype)

    def batch(self, request: Request) -> int:
        """Of how many pictures the denoiser was asked at once."""
        asked = request.args[0] if request.args else request.kwargs["hidden_states"]
        return len(asked)

    def guided_by(self, guidance: float, learns: bool) -> tuple[dict[str, Any], float | None]:
        """How to guide at a strength, where 1 is not at all.

        Args:
            guidance: the strength.
            learns: whether a loop may learn through the guidance.

        Returns:
            Arguments of the pipeline, and the strength with which `ask` is to guide (None if it is not to).

        Raises:
            SpecError: this family cannot be trained with guidance.
        """
        family = self.family
        if family.unguided is None:  # an input like any other; 1 leaves the model's own
            return ({} if guidance == 1 else {family.guidance: guidance}), None
        if guidance == 1:
            return {family.guidance: family.unguided}, None
        if guidance < 1:
            raise SpecError(f"rollout.guidance = {guidance}: it is 1, for none, or more")
        if not learns:
            raise SpecError(f"rollout.guidance = {guidance}: nft learns the plain denoiser, so its rollouts are made without guidance: 1")
        if not family.doubled:
            raise SpecError(f"rollout.guidance = {guidance}: {family.models} can only be trained without guidance: 1")
        return {family.guidance: guidance}, guidance

    def mixing(self, scheduler: Any, times: Tensor) -> tuple[Tensor, Tensor]:
        """Shares of picture and of noise at these times: ``(batch,)`` each."""
        if self.family.process == "flow":
            return 1 - times, times
        share = scheduler.alphas_cumprod.to(times.device)[times]
        return share.sqrt(), (1 - share).sqrt()

    def clean(self, prediction: Tensor, latents: Tensor, shares: tuple[Tensor, Tensor], kind: str) -> Tensor:
        """The picture that a prediction implies.

        Args:
            prediction: of the denoiser, without guidance.
            latents: that it was asked about.
            shares: of picture and of noise in them, from `mixing`.
            kind: of prediction: ``velocity`` (noise minus picture), ``epsilon`` or ``v_prediction``.
        """
        signal, noise = (one.reshape(-1, *[1] * (latents.ndim - 1)) for one in shares)
        if kind == "velocity":
            return latents - noise * prediction
        if kind == "epsilon":
            return (latents - noise * prediction) / signal
        return signal * latents - noise * prediction

    def predicts(self, scheduler: Any) -> str:
        """What it predicts: ``velocity``, ``epsilon`` or ``v_prediction``.

        Raises:
            SpecError: something else, or the scheduler does not say.
        """
        if self.family.process == "flow":
            kind = scheduler.config.get("prediction_type", "flow_prediction")
            if not hasattr(scheduler, "sigmas") or kind != "flow_prediction":
                raise SpecError(f"{type(scheduler).__name__}: it has no noise levels of a flow; use FlowMatchEulerDiscreteScheduler")
            return "velocity"
        kind = str(scheduler.config.get("prediction_type", "epsilon"))
        if kind not in ("epsilon", "v_prediction") or not hasattr(scheduler, "alphas_cumprod"):
            raise SpecError(f"{type(scheduler).__name__} with prediction_type {kind!r}: only epsilon and v_prediction can be trained")
        return kind


def check_requests(denoiser: Denoiser, requests: list[Request], steps: int, batch: int) -> None:
    """Was the denoiser asked once a step, of as many pictures as there are?

    Raises:
        AnySceneError: no.
    """
    if len(requests) != steps or any(denoiser.batch(one) != batch for one in requests):
        asked = sorted({denoiser.batch(one) for one in requests})
        raise AnySceneError(
            f"the pipeline asked its denoiser {len(requests)} times in {steps} steps, of {asked} pictures where {batch} were expected: "
            "it guides in a way of its own. Remove negative prompts and guidance from the model's options"
        )
