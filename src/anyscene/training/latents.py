"""What supervised learning starts from: pictures and clips as a denoiser knows them, and the question its pipeline asks about a caption.

The encoder is the pipeline's own; how its latents become the denoiser's (scale, shift, packing) is the inverse of how each pipeline
decodes. The conditioning is not rebuilt: the stock pipeline runs, without guidance, up to its first question to the denoiser.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator, MutableMapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from anyscene.errors import AnySceneError, SpecError
from anyscene.media import Media
from anyscene.models.diffusers import DiffusersModel
from anyscene.training.denoiser import Denoiser, Request
from anyscene.training.examples import Grid, Size, fit

__all__ = ["condition", "encode", "give_back", "native_size", "size_grid"]


# ---- sizes ----------------------------------------------------------------------------------------------------------------------


def size_grid(pipe: Any, denoiser: Denoiser) -> Grid:
    """Which sizes the pipeline takes: pixels in steps of the encoder's and the denoiser's patches together, frames in the encoder's."""
    found = (getattr(pipe, name, None) for name in ("vae_spatial_compression_ratio", "vae_scale_factor_spatial", "vae_scale_factor"))
    pixels = next(int(one) for one in found if one)
    kind = denoiser.kind.__name__
    return Grid(math.lcm(pixels * _PATCHES[kind](denoiser.module.config), _ASKED.get(kind, 1)), _frames_step(pipe))


def _frames_step(pipe: Any) -> int:
    found = (getattr(pipe, name, None) for name in ("vae_temporal_compression_ratio", "vae_scale_factor_temporal"))
    return next((int(one) for one in found if one), 1)


_PATCHES: dict[str, Callable[[Any], int]] = {
    "UNet2DConditionModel": lambda config: 1,
    "SD3Transformer2DModel": lambda config: int(config.patch_size),
    "FluxTransformer2DModel": lambda config: 2,
    "QwenImageTransformer2DModel": lambda config: 2,
    "ZImageTransformer2DModel": lambda config: 2,
    "LTXVideoTransformer3DModel": lambda config: int(config.patch_size),
    "WanTransformer3DModel": lambda config: int(max(config.patch_size[1:])),
    "CogVideoXTransformer3DModel": lambda config: int(config.patch_size),
}
"""Latent pixels along a side that the denoiser takes together, by its class."""
_ASKED = {"UNet2DConditionModel": 8, "LTXVideoTransformer3DModel": 32, "WanTransformer3DModel": 16, "CogVideoXTransformer3DModel": 8}
"""Multiples on which pipelines insist, whatever their encoder is like."""


def native_size(model: DiffusersModel) -> Size:
    """The size that the model makes: its options, else the pipeline's own."""
    pipe, given = model.pipe, model.arguments
    taken = inspect.signature(pipe.__call__).parameters
    height, width, frames = (
        given.get(name) or (taken[name].default if name in taken else None) for name in ("height", "width", "num_frames")
    )
    own_height, own_width = _default_sides(pipe)
    if model.modality != "image" and not frames:
        frames = pipe.transformer.config.sample_frames
    return Size(int(height or own_height), int(width or own_width), int(frames or 1))


def _default_sides(pipe: Any) -> tuple[int, int]:
    """Height and width of a pipeline whose call signature leaves them open."""
    config = (pipe.transformer if getattr(pipe, "unet", None) is None else pipe.unet).config
    if config.get("sample_height"):
        factor = pipe.vae_scale_factor_spatial
        return config.sample_height * factor, config.sample_width * factor
    side = getattr(pipe, "default_sample_size", None) or config.get("sample_size")
    if not side:
        return 1024, 1024  # Z-Image's call has it in its body
    sides = (side, side) if isinstance(side, int) else tuple(side)
    return sides[0] * pipe.vae_scale_factor, sides[1] * pipe.vae_scale_factor


# ---- pictures to latents --------------------------------------------------------------------------------------------------------


def encode(
    pipe: Any,
    denoiser: Denoiser,
    media: Sequence[Media],
    height: int,
    width: int,
    frames: int = 1,
    *,
    generators: Sequence[torch.Generator] | None = None,
    kept: MutableMapping[tuple[str, Size], Tensor] | None = None,
) -> Tensor:
    """The clean latents of pictures or clips, as the denoiser of this family knows them.

    Each is encoded by itself, so its latents do not depend on what stands beside it, and the encoder needs memory for one only.

    Args:
        pipe: the pipeline.
        denoiser: its denoiser.
        media: pictures, or clips for a family of videos; scaled and cut to the size where they have another.
        height: in pixels.
        width: in pixels.
        frames: of a clip.
        generators: one for each; the latents are drawn with them from what the encoder says. None takes its mean.
        kept: latents (means only) are taken from here if they are there, and else put there, on the CPU, by the digest of the file.

    Returns:
        ``(batch, ...) float32`` on the denoiser's device.

    Raises:
        SpecError: the pipeline does not take this size.
        MediaError: a clip has too few frames.
    """
    size = Size(height, width, frames)
    size_grid(pipe, denoiser).check(size, type(pipe).__name__)
    if generators is not None and len(generators) != len(media):
        raise SpecError(f"{len(media)} media and {len(generators)} generators: every one needs its own")
    if generators is not None and kept is not None:
        raise SpecError("latents that are drawn anew each time cannot be kept; leave out one of the two")
    device = next(denoiser.module.parameters()).device
    found = []
    with torch.no_grad(), _ready_encoder(pipe) as vae:
        for place, one in enumerate(media):
            key = (one.sha256, size) if kept is not None else None
            latents = kept.get(key) if kept is not None and key is not None else None
            if latents is None:
                raw = _encoded(vae, _pixels(one, size, denoiser), None if generators is None else generators[place])
                latents = _LATENTS[denoiser.kind.__name__](pipe, raw.float())[0]
                if kept is not None and key is not None:
                    kept[key] = latents.cpu()
            found.append(latents.to(device))
    return torch.stack(found)


def give_back(pipe: Any, denoiser: Denoiser, media: Media, size: Size) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """A picture after its way through the autoencoder and back, as well as it can be drawn from latents.

    Args:
        pipe: the pipeline.
        denoiser: its denoiser.
        media: a picture; scaled and cut to the size where it has another.
        size: of a picture that the pipeline makes.

    Returns:
        ``(height, width, 3) uint8`` RGB.
    """
    with torch.no_grad(), _ready_encoder(pipe) as vae:
        drawn = vae.decode(_encoded(vae, _pixels(media, size, denoiser), None), return_dict=False)[0].float().cpu()
    picture = drawn[0] if drawn.ndim == 4 else drawn[0, :, 0]  # Qwen-Image's is one of clips
    return np.asarray(((picture.permute(1, 2, 0).clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).numpy())


@contextmanager
def _ready_encoder(pipe: Any) -> Iterator[Any]:
    """The encoder; in float32 for as long as it would overflow in float16."""
    vae = pipe.vae
    before = vae.dtype
    raised = before == torch.float16 and bool(vae.config.get("force_upcast"))
    if raised:
        vae.to(torch.float32)
    try:
        yield vae
    finally:
        if raised:
            vae.to(before)


def _pixels(media: Media, size: Size, denoiser: Denoiser) -> Tensor:
    """``(1, 3, [frames,] height, width)`` from -1 to 1; frames where the encoder is one of clips (Qwen-Image's is)."""
    stacked = np.stack([np.asarray(frame, dtype=np.float32) for frame in fit(media, size)])
    found = torch.from_numpy(stacked / np.float32(255)).permute(3, 0, 1, 2) * 2 - 1
    moving = denoiser.family.modality == "video" or denoiser.kind.__name__ == "QwenImageTransformer2DModel"
    return (found if moving else found[:, 0]).unsqueeze(0)


def _encoded(vae: Any, pixels: Tensor, generator: torch.Generator | None) -> Tensor:
    given = vae.encode(pixels.to(vae.device, vae.dtype))
    if not hasattr(given, "latent_dist"):
        return torch.as_tensor(given.latents)
    return torch.as_tensor(given.latent_dist.mode() if generator is None else given.latent_dist.sample(generator))


def _wide(values: Sequence[float], like: Tensor) -> Tensor:
    return torch.tensor(values, device=like.device, dtype=like.dtype).reshape(1, -1, *[1] * (like.ndim - 2))


def _scaled(pipe: Any, raw: Tensor) -> Tensor:
    config = pipe.vae.config
    mean, deviation = config.get("latents_mean"), config.get("latents_std")
    if mean is not None and deviation is not None:
        raw = (raw - _wide(mean, raw)) / _wide(deviation, raw)
    return raw * float(config.scaling_factor)


def _shifted(pipe: Any, raw: Tensor) -> Tensor:
    config = pipe.vae.config
    return (raw - float(config.get("shift_factor") or 0.0)) * float(config.scaling_factor)


def _standardized(pipe: Any, raw: Tensor) -> Tensor:
    config = pipe.vae.config
    return (raw - _wide(config.latents_mean, raw)) / _wide(config.latents_std, raw)


def _packed(pipe: Any, latents: Tensor) -> Tensor:
    """``(1, positions, channels)``: four neighbours as one position."""
    _, channels, height, width = latents.shape
    return torch.as_tensor(pipe._pack_latents(latents, 1, channels, height, width))


def _ltx(pipe: Any, raw: Tensor) -> Tensor:
    vae = pipe.vae
    latents = pipe._normalize_latents(raw, vae.latents_mean, vae.latents_std, vae.config.scaling_factor)
    return torch.as_tensor(pipe._pack_latents(latents, pipe.transformer_spatial_patch_size, pipe.transformer_temporal_patch_size))


def _cogvideox(pipe: Any, raw: Tensor) -> Tensor:
    """Frames before channels; where the denoiser takes several together, the first fills the row in front (it is cut off in decoding)."""
    latents = raw.permute(0, 2, 1, 3, 4) * float(pipe.vae_scaling_factor_image)
    patch = pipe.transformer.config.patch_size_t
    missing = -latents.shape[1] % patch if patch else 0
    return torch.cat([latents[:, :1]] * missing + [latents], dim=1)


_LATENTS: dict[str, Callable[[Any, Tensor], Tensor]] = {
    "UNet2DConditionModel": _scaled,
    "SD3Transformer2DModel": _shifted,
    "FluxTransformer2DModel": lambda pipe, raw: _packed(pipe, _shifted(pipe, raw)),
    "QwenImageTransformer2DModel": lambda pipe, raw: _packed(pipe, _standardized(pipe, raw)[:, :, 0]),
    "ZImageTransformer2DModel": _shifted,
    "LTXVideoTransformer3DModel": _ltx,
    "WanTransformer3DModel": _standardized,
    "CogVideoXTransformer3DModel": _cogvideox,
}
"""From what the encoder gives to what the denoiser takes, by the denoiser's class."""


# ---- captions to questions ------------------------------------------------------------------------------------------------------


class _Asked(Exception):
    """The pipeline has asked its denoiser."""

    def __init__(self, request: Request) -> None:
        self.request = request


def condition(model: DiffusersModel, denoiser: Denoiser, captions: Sequence[str], height: int, width: int, frames: int = 1) -> Request:
    """What the pipeline asks its denoiser first when it makes media of these captions, without guidance; `Denoiser.at` moves it.

    The pipeline runs up to there and no further; it is left as it was.

    Args:
        model: with its options.
        denoiser: of its pipeline.
        captions: one for each; an empty one is allowed.
        height: in pixels.
        width: in pixels.
        frames: of a clip.

    Raises:
        SpecError: the pipeline does not take this size.
        AnySceneError: the pipeline asked its denoiser nothing, or of another number of media than there are captions.
    """
    pipe = model.pipe
    size_grid(pipe, denoiser).check(Size(height, width, frames), type(pipe).__name__)
    arguments, _ = denoiser.guided_by(1.0, learns=False)
    if "negative_prompt" in model.arguments:
        arguments["negative_prompt"] = None
    arguments |= {"height": height, "width": width}
    if model.modality != "image":
        arguments["num_frames"] = frames

    def stop(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        raise _Asked(Request(args, dict(kwargs)))

    scheduler = dict(vars(pipe.scheduler))
    hook = denoiser.module.register_forward_pre_hook(stop, with_kwargs=True, prepend=True)  # before shards are put together
    try:
        model.draw(captions, [torch.Generator().manual_seed(0) for _ in captions], **arguments)
    except _Asked as asked:
        request = asked.request
    else:
        raise AnySceneError(f"{type(pipe).__name__} made a picture without asking its denoiser; it cannot be trained")
    finally:
        hook.remove()
        vars(pipe.scheduler).clear()
        vars(pipe.scheduler).update(scheduler)
    if denoiser.batch(request) != len(captions):
        raise AnySceneError(
            f"{type(pipe).__name__} asked its denoiser about {denoiser.batch(request)} where {len(captions)} captions were given: "
            "it guides in a way of its own. Remove guidance from the model's options"
        )
    return request
