"""Pictures as tokens of a language model: the prompt, which tokens are of the picture, how they are drawn, and how they become pixels.

The shape is SimpleAR's (arXiv 2504.11455): a causal language model whose vocabulary goes on, after the text tokens, with the codes of a
picture tokenizer. A picture is a square of codes, row by row, after ``<|t2i|>`` caption ``<|soi|>``. Sampling and training use the same
functions, so that a policy is trained on what it will be asked.

Torch and diffusers are imported where they are used.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from anyscene.errors import ModelError, SpecError

__all__ = [
    "IMAGE_START",
    "TEXT_TO_IMAGE",
    "Decoder",
    "ImageTokens",
    "RowNoise",
    "Sampling",
    "TorchScriptDecoder",
    "VQDecoder",
    "encode_prompt",
    "prompt_text",
    "to_pixels",
]

TEXT_TO_IMAGE, IMAGE_START = "<|t2i|>", "<|soi|>"
COSMOS_CODES = 64_000
"""Codes of Cosmos-1.0-Tokenizer-DV8x16x16, SimpleAR's tokenizer."""


def prompt_text(caption: str | None, prefix: str = "") -> str:
    """The prompt as text; without a caption, the null prompt that guidance leads away from."""
    return f"{TEXT_TO_IMAGE}{'' if caption is None else prefix + caption}{IMAGE_START}"


def encode_prompt(tokenizer: Any, caption: str | None, prefix: str = "") -> list[int]:
    """The token ids of `prompt_text`. A caption that spells a special token out stays text: only its two ends are special.

    Args:
        tokenizer: one that knows ``<|t2i|>`` and ``<|soi|>`` as single tokens.
        caption: the caption, or None for the null prompt.
        prefix: text before the caption.
    """
    first, last = tokenizer.convert_tokens_to_ids([TEXT_TO_IMAGE, IMAGE_START])
    text = "" if caption is None else prefix + caption
    inside = tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"] if text else []
    return [first, *inside, last]


@dataclass(frozen=True, slots=True)
class ImageTokens:
    """Where a model's picture tokens lie in its vocabulary, and how many make a picture.

    Attributes:
        offset: token id of code 0; SimpleAR's is ``len(tokenizer)``.
        codes: how many codes there are.
        side: codes in a row, and rows: a picture has ``side * side`` tokens.
    """

    offset: int
    codes: int
    side: int

    @property
    def count(self) -> int:
        """Tokens of one picture."""
        return self.side * self.side

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        """A logits processor: minus infinity for all that is no picture token, ``(rows, vocabulary)``."""
        import torch

        only = torch.full_like(scores, -math.inf)
        codes = slice(self.offset, self.offset + self.codes)
        only[:, codes] = scores[:, codes]
        return only

    def codes_of(self, token_ids: Any) -> Any:
        """Codes from the token ids of whole pictures: ``(rows, count)`` to ``(rows, side, side)``."""
        return (token_ids - self.offset).clamp(0, self.codes - 1).view(-1, self.side, self.side)


@dataclass(frozen=True, slots=True)
class Sampling:
    """How tokens are drawn, in this order: temperature, top-k, top-p; then a draw with each row's own noise.

    Attributes:
        temperature: 0 takes the likeliest token.
        top_k: keep so many of the likeliest; 0 keeps all.
        top_p: keep the fewest that are this likely together; 1 keeps all.

    Raises:
        SpecError: a value out of its range.
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0

    def __post_init__(self) -> None:
        if not (self.temperature >= 0 and self.top_k >= 0 and 0 < self.top_p <= 1):
            raise SpecError(
                f"temperature={self.temperature}, top_k={self.top_k}, top_p={self.top_p}: temperature and top_k are at least 0, "
                "top_p is above 0 and at most 1"
            )

    def processors(self, seeds: Sequence[int], codes: tuple[int, int] | None = None) -> list[Any]:
        """Logits processors that make greedy decoding sample, one seed for each row. They keep state: take new ones for each batch.

        Args:
            seeds: one for each row.
            codes: first, and last + 1, of the token ids that may be drawn; all of them if None.
        """
        from transformers import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

        if self.temperature == 0:
            return []
        warpers: list[Any] = []
        if self.temperature != 1:
            warpers.append(TemperatureLogitsWarper(self.temperature))
        if self.top_k:
            warpers.append(TopKLogitsWarper(self.top_k))
        if self.top_p < 1:
            warpers.append(TopPLogitsWarper(self.top_p))
        return [*warpers, RowNoise(seeds, codes)]


class RowNoise:
    """A logits processor that makes the highest score a sample of the softmax (the Gumbel-max trick), each row with its own generator.

    So a row's tokens depend on its seed and its scores, not on how many rows stand beside it. The noise is drawn on the CPU: it is the
    same on every device. Where two scores with their noise are as near as the rounding of the model's precision, batches of other
    sizes may still choose differently: about one token in 100,000 in float32.

    Args:
        seeds: one for each row.
        codes: first, and last + 1, of the token ids that get noise; all of them if None.
    """

    def __init__(self, seeds: Sequence[int], codes: tuple[int, int] | None = None) -> None:
        import torch

        self._generators = [torch.Generator().manual_seed(seed % 2**63) for seed in seeds]
        self._codes = codes

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        """Scores with noise added, ``(rows, vocabulary)`` float32."""
        import torch

        first, last = self._codes or (0, scores.shape[-1])
        waits = torch.stack([torch.empty(last - first).exponential_(generator=each) for each in self._generators])
        noisy = scores.float().clone()
        noisy[:, first:last] -= waits.clamp_min(torch.finfo(torch.float32).tiny).log().to(scores.device)
        return noisy


class Decoder(Protocol):
    """A picture tokenizer's second half.

    Attributes:
        codes: how many codes it knows.
        exact: whether that is certain; else it may know fewer.
        downsample: pixels of a code, in each direction.
        side: codes in a row of the pictures that it was made for; None where it does not say.
    """

    codes: int
    exact: bool
    downsample: int
    side: int | None

    def decode(self, codes: Any) -> NDArray[np.uint8]:
        """``(side, side)`` codes of one picture to ``(height, width, 3) uint8 RGB``."""
        ...

    def copy_to(self, folder: Path) -> None:
        """Copies its files into a model's folder, where it is found when the model is loaded."""
        ...


class VQDecoder:
    """A diffusers ``VQModel`` as decoder.

    Args:
        folder: of the model.
        device: torch device.
        dtype: torch type of its weights.
    """

    def __init__(self, folder: Path, device: str, dtype: Any) -> None:
        from diffusers import VQModel

        self.folder = folder
        self.model = VQModel.from_pretrained(folder).to(device=device, dtype=dtype).eval()
        config = self.model.config
        self.codes = int(config.num_vq_embeddings)
        self.exact = True
        self.downsample = 2 ** (len(config.block_out_channels) - 1)
        self.side: int | None = config.sample_size // self.downsample

    def decode(self, codes: Any) -> NDArray[np.uint8]:
        """``(side, side)`` codes of one picture to ``(height, width, 3) uint8 RGB``."""
        import torch

        quantizer = self.model.quantize
        with torch.inference_mode():
            latents = quantizer.get_codebook_entry(codes.reshape(-1), (1, *codes.shape, quantizer.vq_embed_dim))
            return to_pixels(self.model.decode(latents, force_not_quantize=True).sample[0])

    def copy_to(self, folder: Path) -> None:
        """Copies its files into ``folder/vqmodel``."""
        (folder / "vqmodel").mkdir()
        for file in (self.folder / "config.json", *self.folder.glob("diffusion_pytorch_model*")):
            shutil.copyfile(file, folder / "vqmodel" / file.name)


class TorchScriptDecoder:
    """A ``decoder.jit`` as NVIDIA's Cosmos tokenizers come: ``(rows, frames, side, side)`` codes to ``(rows, 3, frames, height, width)``.

    Args:
        file: the TorchScript file.
        device: torch device. Its weights keep the precision that they were saved in.
    """

    codes = COSMOS_CODES
    exact = False
    downsample = 16
    side: int | None = None

    def __init__(self, file: Path, device: str) -> None:
        import torch

        self.file = file
        self.module = torch.jit.load(str(file), map_location=device).eval()

    def decode(self, codes: Any) -> NDArray[np.uint8]:
        """``(side, side)`` codes of one picture to ``(height, width, 3) uint8 RGB``.

        Raises:
            ModelError: what it gives is no picture.
        """
        import torch

        with torch.inference_mode():
            pixels = self.module(codes[None, None])
        if pixels.ndim == 5:
            pixels = pixels[:, :, 0]
        if pixels.ndim != 4 or pixels.shape[1] != 3:
            raise ModelError(
                f"the decoder gave numbers of shape {tuple(pixels.shape)}; pictures are (1, 3, height, width), with frames as third"
            )
        return to_pixels(pixels[0])

    def copy_to(self, folder: Path) -> None:
        """Copies its file to ``folder/decoder.jit``."""
        shutil.copyfile(self.file, folder / "decoder.jit")


def to_pixels(picture: Any) -> NDArray[np.uint8]:
    """``(3, height, width)`` in -1..1 to ``(height, width, 3) uint8 RGB``, rounded.

    Raises:
        ValueError: some are no numbers.
    """
    if not picture.isfinite().all():
        raise ValueError("pixels that are no numbers")
    scaled = ((picture.detach().float() / 2 + 0.5).clamp(0, 1) * 255).round()
    pixels: NDArray[np.uint8] = scaled.permute(1, 2, 0).cpu().numpy().astype(np.uint8)
    return pixels
