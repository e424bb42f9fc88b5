"""The sandbox's tiny trained models: two that draw, one that compares. Their weights come with the package and are loaded by the classes
of the real ones.

They were trained on captions that are partly wrong (``tools/sandbox``), so that there is room to improve.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from anyscene.models.autoregressive import AutoregressiveModel
from anyscene.models.autoregressive import load_autoregressive as load_from_folder
from anyscene.models.diffusers import DiffusersModel
from anyscene.scoring.metrics import ClipScore

__all__ = ["WEIGHTS", "load_autoregressive", "load_contrastive", "load_diffusion"]

WEIGHTS = Path(__file__).parent / "weights"
"""The folder with one folder for each model."""


def load_autoregressive(
    *,
    guidance: float = 2.0,
    temperature: float = 1.0,
    top_k: int = 0,
    top_p: float = 1.0,
    device: str = "cpu",
    lora: str | None = None,
    batch_size: int = 32,
) -> AutoregressiveModel:
    """``sandbox:autoregressive``: a SimpleAR-shaped model of 2 million weights that draws 32 x 32 pixels as 64 tokens.

    Args:
        guidance: strength of classifier-free guidance; 1 is none.
        temperature: 0 takes the likeliest token each time.
        top_k: draws from so many of the likeliest tokens; 0 draws from all.
        top_p: draws from the fewest tokens that are this likely together; 1 draws from all.
        device: torch device.
        lora: folder of LoRA weights, as peft saves them.
        batch_size: captions at once.

    Raises:
        MissingExtraError: torch, transformers or diffusers is not installed.
    """
    model = load_from_folder(
        str(WEIGHTS / "autoregressive"),
        guidance=guidance,
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        prefix="",
        device=device,
        dtype="float32",
        lora=lora,
        batch_size=batch_size,
    )
    model.name = "sandbox:autoregressive"
    return model


def load_diffusion(
    *,
    steps: int = 20,
    guidance: float = 3.0,
    negative_prompt: str | None = None,
    dtype: Literal["auto", "float32", "float16", "bfloat16"] = "auto",
    device: str = "cpu",
    compile: bool = False,
    lora: str | None = None,
    scheduler: str | None = None,
    batch_size: int = 32,
) -> DiffusersModel:
    """``sandbox:diffusion``: a Stable Diffusion 3 pipeline of 3 million weights that draws 32 x 32 pixels by rectified flow.

    Whoever calls its pipeline directly gives it ``max_sequence_length=1``: it has no T5 encoder, for whose tokens the pipeline puts in
    zeros, and it was trained with one of them.

    Args:
        steps: denoising steps.
        guidance: strength of classifier-free guidance; 1 is none.
        negative_prompt: what not to draw, the same for every caption.
        dtype: precision; ``auto`` is float32 on a CPU.
        device: torch device.
        compile: compiles the denoiser.
        lora: folder, file or hub id of LoRA weights; ``@0.8`` behind it is their weight.
        scheduler: class name of another diffusers scheduler.
        batch_size: captions at once.

    Raises:
        MissingExtraError: torch, transformers or diffusers is not installed.
    """
    model = DiffusersModel(
        str(WEIGHTS / "diffusion"),
        steps=steps,
        guidance=guidance,
        height=32,
        width=32,
        negative_prompt=negative_prompt,
        dtype=dtype,
        device=device,
        compile=compile,
        lora=lora,
        scheduler=scheduler,
        batch_size=batch_size,
        call={"max_sequence_length": 1},
    )
    model.name = "sandbox:diffusion"
    return model


def load_contrastive(
    *, raw: bool = False, prefix: str = "", frames: int = 8, batch: int = 128, device: str = "cpu", dtype: str = "float32"
) -> ClipScore:
    """``sandbox:contrastive``: CLIPScore by a CLIP of 1.2 million weights that sees 32 x 32 pixels.

    Args:
        raw: give the cosine itself, from -1 to 1.
        prefix: put before each caption.
        frames: most frames of a clip that are scored.
        batch: pictures at once.
        device: torch device.
        dtype: float32 by default: half precision rounds cosines to two digits.

    Raises:
        MissingExtraError: torch or transformers is not installed.
    """
    metric = ClipScore(str(WEIGHTS / "contrastive"), raw=raw, prefix=prefix, frames=frames, batch=batch, device=device, dtype=dtype)
    metric.name = "sandbox:contrastive"
    return metric
