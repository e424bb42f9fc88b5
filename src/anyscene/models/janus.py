"""Janus-shaped models (arXiv 2410.13848, 2501.17811), through transformers' own classes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anyscene.errors import ModelError
from anyscene.models.image_tokens import Sampling, to_pixels
from anyscene.weights import quiet_loading

__all__ = ["DEFAULT_GUIDANCE", "Janus"]

DEFAULT_GUIDANCE = 5.0
"""Of the model's authors and of transformers."""


class Janus:
    """A ``JanusForConditionalGeneration`` and its processor.

    Its picture tokens have a head of their own, so that no other token can be drawn.

    Args:
        folder: with the model and the processor.
        device: torch device.
        dtype: torch type of the weights.
        sampling: how tokens are drawn.
        guidance: strength of classifier-free guidance; 1 is none.
        prefix: before each caption.

    Attributes:
        model: the model itself, for whoever trains it.
        processor: its processor.

    Raises:
        ModelError: its generation settings do not say which token starts a picture.
    """

    def __init__(
        self, folder: Path, device: str, dtype: Any, sampling: Sampling, guidance: float = DEFAULT_GUIDANCE, prefix: str = ""
    ) -> None:
        from transformers import AutoProcessor, GenerationConfig, JanusForConditionalGeneration

        with quiet_loading():
            self.processor = AutoProcessor.from_pretrained(folder, local_files_only=True)
            self.model = JanusForConditionalGeneration.from_pretrained(folder, local_files_only=True).to(device=device, dtype=dtype).eval()
        self.device, self.sampling, self.guidance, self.prefix = device, sampling, guidance, prefix
        found = self.model.generation_config
        if "boi_token_id" not in (getattr(found, "generation_kwargs", None) or {}) or found.bos_token_id is None:
            raise ModelError(f"{folder}: its generation_config.json names no bos_token_id and no generation_kwargs.boi_token_id")
        pad_id = found.pad_token_id if found.pad_token_id is not None else self.processor.tokenizer.pad_token_id
        if pad_id is None:
            raise ModelError(f"{folder}: neither its generation_config.json nor its tokenizer names a pad token")
        self.pad_id = int(pad_id)
        # Only what pictures need: the settings of its chat (sampling, penalties) are not meant for them.
        self.model.generation_config = GenerationConfig(
            bos_token_id=found.bos_token_id, pad_token_id=self.pad_id, generation_kwargs=dict(found.generation_kwargs)
        )

    @property
    def count(self) -> int:
        """Tokens of one picture."""
        return int(self.model.config.vision_config.num_image_tokens)

    @property
    def room(self) -> int:
        """Tokens that a prompt may have."""
        return int(self.model.config.text_config.max_position_embeddings) - self.count

    def encode(self, caption: str) -> list[int]:
        """The prompt of a caption as token ids, in the model's chat form where it has one."""
        prompt = self.prefix + caption
        if self.processor.chat_template:
            turn = [{"role": "user", "content": [{"type": "text", "text": prompt}]}]
            prompt = self.processor.apply_chat_template(turn, add_generation_prompt=True)
        ids: list[int] = self.processor(text=prompt, generation_mode="image", return_tensors="pt")["input_ids"][0].tolist()
        return ids

    def sample(self, prompts: Sequence[Sequence[int]], seeds: Sequence[int]) -> Any:
        """Pictures' codes, ``(rows, count)``.

        Args:
            prompts: token ids; shorter ones are filled on the left and masked.
            seeds: one for each row.
        """
        import torch
        from transformers import DynamicCache, LogitsProcessorList

        width = max(map(len, prompts))
        ids = torch.tensor([[self.pad_id] * (width - len(one)) + list(one) for one in prompts], device=self.device)
        mask = torch.tensor([[0] * (width - len(one)) + [1] * len(one) for one in prompts], device=self.device)
        with torch.inference_mode():
            # Guidance comes first in our own list: transformers would put it behind the noise. The cache is new for each call,
            # because the one that it keeps grows with the longest prompt so far, and rounding with it.
            return self.model.generate(
                input_ids=ids,
                attention_mask=mask,
                generation_mode="image",
                guidance_scale=1.0,
                do_sample=False,
                max_new_tokens=self.count,
                past_key_values=DynamicCache(config=self.model.config.get_text_config(decoder=True)),
                logits_processor=LogitsProcessorList([_Guidance(self.guidance), *self.sampling.processors(seeds)]),
            )

    def decode(self, token_ids: Any) -> list[NDArray[np.uint8]]:
        """Pictures from their codes, one by one, so that none's pixels depend on how many there are.

        Raises:
            ValueError: the decoder gave pixels that are no numbers.
        """
        import torch

        pictures = []
        for codes in token_ids:
            with torch.inference_mode():
                pixels = self.model.decode_image_tokens(codes[None])
            pictures.append(to_pixels(pixels[0].permute(2, 0, 1)))
        return pictures


class _Guidance:
    """Classifier-free guidance over rows of which the second half has no caption: ``u + guidance * (c - u)``."""

    def __init__(self, guidance: float) -> None:
        self._guidance = guidance

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        conditional, unconditional = scores.chunk(2)
        return conditional if self._guidance == 1 else unconditional + (conditional - unconditional) * self._guidance
