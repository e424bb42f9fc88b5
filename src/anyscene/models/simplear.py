"""SimpleAR-shaped models (arXiv 2504.11455): a stock causal language model of transformers whose vocabulary goes on with picture codes.

The folder is what ``save_pretrained`` of the model and of its tokenizer write. The picture decoder stands in it too, as ``decoder.jit``
(TorchScript, as NVIDIA's Cosmos tokenizers) or as ``vqmodel/`` (a diffusers ``VQModel``), or is given apart.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anyscene.errors import ModelError, SpecError
from anyscene.models.image_tokens import (
    IMAGE_START,
    TEXT_TO_IMAGE,
    Decoder,
    ImageTokens,
    Sampling,
    TorchScriptDecoder,
    VQDecoder,
    encode_prompt,
)
from anyscene.weights import load_errors, one_line, quiet_loading

__all__ = ["DEFAULT_GUIDANCE", "DEFAULT_PREFIX", "SimpleAR", "load_decoder"]

DEFAULT_GUIDANCE = 6.0
DEFAULT_PREFIX = "A photo of "
"""SimpleAR's own, at evaluation and in its GRPO."""
DEFAULT_SIDE = 64
"""Codes in a row of SimpleAR's 1024-pixel pictures."""


class SimpleAR:
    """A causal language model, its tokenizer and its picture decoder.

    Args:
        folder: with the model and the tokenizer.
        decoder: file or folder of the decoder; None looks in the folder.
        device: torch device.
        dtype: torch type of the weights.
        sampling: how tokens are drawn.
        guidance: strength of classifier-free guidance; 1 is none.
        prefix: before each caption.
        image_tokens: of one picture, a square number; None is what ``size`` says, else what the decoder was made for.
        size: of a picture in pixels, instead of ``image_tokens``.

    Attributes:
        model: the language model itself, for whoever trains it.
        tokenizer: its tokenizer.
        tokens: which of its tokens are of the picture.
        decoder: codes to pixels.

    Raises:
        ModelError: the folder holds no such model, or its parts do not fit together.
        SpecError: a size that the decoder cannot make.
    """

    def __init__(
        self,
        folder: Path,
        decoder: Path | None,
        device: str,
        dtype: Any,
        sampling: Sampling,
        guidance: float = DEFAULT_GUIDANCE,
        prefix: str = DEFAULT_PREFIX,
        image_tokens: int | None = None,
        size: int | None = None,
    ) -> None:
        from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

        with quiet_loading():
            self.tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
            self.model = AutoModelForCausalLM.from_pretrained(folder, local_files_only=True).to(device=device, dtype=dtype).eval()
        self.decoder = load_decoder(decoder or folder, device, dtype)
        self.device, self.sampling, self.guidance, self.prefix = device, sampling, guidance, prefix
        known = self.tokenizer.get_vocab()
        absent = [token for token in (TEXT_TO_IMAGE, IMAGE_START) if token not in known]
        if absent:
            raise ModelError(f"{folder}: its tokenizer has no {' and no '.join(absent)}, so it is no SimpleAR-shaped model")
        self.tokens = _image_tokens(folder, self.model.config.vocab_size, len(self.tokenizer), self.decoder, image_tokens, size)
        self._null = encode_prompt(self.tokenizer, None)
        # What the folder says of generation (a chat model's repetition penalty, its end token) is not meant for pictures.
        self.model.generation_config = GenerationConfig(pad_token_id=self.pad_id)

    @property
    def pad_id(self) -> int:
        """A token id to fill rows with; it is masked, so any will do."""
        return int(self.tokenizer.pad_token_id if self.tokenizer.pad_token_id is not None else 0)

    @property
    def room(self) -> int:
        """Tokens that a prompt may have, its two special ones counted."""
        return int(self.model.config.max_position_embeddings) - self.tokens.count

    def encode(self, caption: str) -> list[int]:
        """The prompt of a caption as token ids."""
        return encode_prompt(self.tokenizer, caption, self.prefix)

    def sample(self, prompts: Sequence[Sequence[int]], seeds: Sequence[int]) -> Any:
        """Pictures' token ids, ``(rows, count)``, exactly one picture a row, nothing but picture tokens.

        Args:
            prompts: token ids; shorter ones are filled on the left and masked.
            seeds: one for each row.
        """
        import torch
        from transformers import LogitsProcessorList

        width = max(map(len, prompts))
        ids = torch.tensor([[self.pad_id] * (width - len(one)) + list(one) for one in prompts], device=self.device)
        mask = torch.tensor([[0] * (width - len(one)) + [1] * len(one) for one in prompts], device=self.device)
        last = self.tokens.offset + self.tokens.codes
        chain = [self.tokens, *self.sampling.processors(seeds, (self.tokens.offset, last))]
        guided: dict[str, Any] = {}
        if self.guidance != 1:
            null = torch.tensor([self._null] * len(prompts), device=self.device)
            guided = {"guidance_scale": self.guidance, "negative_prompt_ids": null, "negative_prompt_attention_mask": torch.ones_like(null)}
        with torch.inference_mode():
            made = self.model.generate(
                input_ids=ids,
                attention_mask=mask,
                max_new_tokens=self.tokens.count,
                do_sample=False,
                logits_processor=LogitsProcessorList(chain),
                **guided,
            )
        return made[:, width:]

    def decode(self, token_ids: Any) -> list[NDArray[np.uint8]]:
        """Pictures from their token ids, one by one, so that none's pixels depend on how many there are.

        Raises:
            ValueError: the decoder gave pixels that are no numbers.
        """
        return [self.decoder.decode(codes) for codes in self.tokens.codes_of(token_ids)]


def load_decoder(place: Path, device: str, dtype: Any) -> Decoder:
    """A picture decoder: a TorchScript file, a ``VQModel`` folder, or a folder with ``decoder.jit`` or ``vqmodel/`` in it.

    Raises:
        ModelError: there is none, or it cannot be loaded.
    """
    script = place if place.is_file() else place / "decoder.jit"
    folder = next((one for one in (place / "vqmodel", place) if _is_vqmodel(one)), None)
    try:
        with quiet_loading():
            if script.is_file():
                return TorchScriptDecoder(script, device)
            if folder is not None:
                return VQDecoder(folder, device, dtype)
    except load_errors() as error:
        raise ModelError(f"{place}: its picture decoder cannot be loaded: {one_line(error)}") from None
    raise ModelError(
        f"{place}: no picture decoder here; a decoder.jit (TorchScript) or a vqmodel folder (diffusers VQModel) "
        "is needed, or the option decoder=PATH that names one"
    )


def _is_vqmodel(folder: Path) -> bool:
    config = folder / "config.json"
    return config.is_file() and '"VQModel"' in config.read_text("utf-8", errors="replace")


def _image_tokens(folder: Path, vocabulary: int, text: int, decoder: Decoder, count: int | None, size: int | None) -> ImageTokens:
    """The picture's tokens of a model whose text tokens are so many."""
    if vocabulary <= text:
        raise ModelError(f"{folder}: {vocabulary} tokens in the model and {text} in the tokenizer: none are left for pictures")
    if decoder.exact and vocabulary - text < decoder.codes:
        raise ModelError(
            f"{folder}: {vocabulary - text} picture tokens, but the decoder has {decoder.codes} codes: they do not belong together"
        )
    codes = min(decoder.codes, vocabulary - text)
    if count is not None and size is not None:
        raise SpecError(f"image_tokens={count} and size={size}: give one of the two")
    if size is not None:
        if size < decoder.downsample or size % decoder.downsample:
            raise SpecError(f"size={size}: it must be a multiple of the {decoder.downsample} pixels that one token stands for")
        side = size // decoder.downsample
    elif count is not None:
        side = math.isqrt(max(count, 0))
        if side < 1 or side * side != count:
            raise SpecError(f"image_tokens={count}: it must be a square number; near it are {side**2 or 1} and {(side + 1) ** 2}")
    else:
        side = decoder.side or DEFAULT_SIDE
    return ImageTokens(text, codes, side)
