"""A token-by-token model as TRL sees it: a language model whose vocabulary is the picture's codes alone.

TRL's trainer takes log-probabilities from hidden states and the head's weights, not from what a model's ``forward`` gives. So a picture
token's probability is taken among picture tokens by showing it no other rows of the head: exact, and cheaper than masking the text. The
completions that it sees are codes from 0; the prompts are token ids.

Imports torch: import this module only when training starts.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, NamedTuple

import torch

from anyscene.errors import SpecError
from anyscene.models.janus import Janus
from anyscene.models.simplear import SimpleAR
from anyscene.training.config import Lora
from anyscene.weights import quiet_loading

__all__ = ["AdaptersOff", "Head", "JanusPolicy", "PicturePolicy", "SimpleARPolicy", "add_lora", "drawing", "policy_of", "tokens_in_picture"]

ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")


class Head(NamedTuple):
    """The rows of a linear output layer that belong to picture codes.

    Attributes:
        weight: ``(codes, width)``.
        bias: ``(codes,)``, or None.
    """

    weight: torch.Tensor
    bias: torch.Tensor | None


class PicturePolicy(torch.nn.Module, ABC):  # type: ignore[misc]
    """What TRL's trainer is given in place of a causal language model.

    Its parameters are those that decide about pictures, and shared with the model that it was made of: what it learns, the model knows.

    Args:
        model: of transformers, from which settings are taken.
        count: codes of one picture, which are the last columns of every input.

    Attributes:
        config: a copy of the model's; TRL writes into it.
        generation_config: likewise.
    """

    is_gradient_checkpointing = False
    """TRL would switch it off and on around its passes without gradients, where it costs nothing anyway."""

    def __init__(self, model: Any, count: int) -> None:
        super().__init__()
        self.config, self.generation_config = copy.deepcopy(model.config), copy.deepcopy(model.generation_config)
        self.count = count

    def add_model_tags(self, tags: object) -> None:
        """Nothing: they would be for a model card."""

    @abstractmethod
    def embed(self, prompts: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
        """Embeddings ``(rows, columns, width)`` of prompts' token ids and, behind them, pictures' codes."""

    @abstractmethod
    def hidden(self, embedded: torch.Tensor, **inputs: Any) -> torch.Tensor:
        """What the language model makes of them, as the head takes it, ``(rows, columns, width)``."""

    @abstractmethod
    def get_output_embeddings(self) -> Head:
        """The head's rows for the codes."""

    def base_model(self, input_ids: torch.Tensor, attention_mask: torch.Tensor, **_: object) -> SimpleNamespace:
        """Hidden states at the last token of prompts, which are filled on the left, and at all of a picture's codes behind them.

        Args:
            input_ids: ``(rows, columns)``; the last ``count`` columns are codes.
            attention_mask: ``(rows, columns)``, 0 where a row is filled.
        """
        embedded = self.embed(input_ids[:, : -self.count], input_ids[:, -self.count :])
        positions = (attention_mask.long().cumsum(-1) - 1).clamp_min(0)  # as generation counts them
        hidden = self.hidden(embedded, attention_mask=attention_mask, position_ids=positions)
        return SimpleNamespace(last_hidden_state=hidden[:, -self.count - 1 :])

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor, **inputs: Any) -> torch.Tensor:
        """Logits of every code of the pictures, ``(rows, count, codes)``. (TRL puts its fused head in place of this.)"""
        hidden = self.base_model(input_ids, attention_mask).last_hidden_state[:, :-1]
        return torch.nn.functional.linear(hidden, *self.get_output_embeddings())


class SimpleARPolicy(PicturePolicy):
    """The policy of a `SimpleAR`: all of its weights decide about pictures."""

    def __init__(self, shape: SimpleAR) -> None:
        super().__init__(shape.model, shape.tokens.count)
        self.language, self.offset, self.codes = shape.model, shape.tokens.offset, shape.tokens.codes
        if shape.model.get_output_embeddings() is None:
            raise SpecError(f"a {type(shape.model).__name__} has no output layer of its own; it cannot be trained here")

    def embed(self, prompts: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
        """See `PicturePolicy.embed`."""
        embedded: torch.Tensor = self.language.get_input_embeddings()(torch.cat([prompts, codes + self.offset], 1))
        return embedded

    def hidden(self, embedded: torch.Tensor, **inputs: Any) -> torch.Tensor:
        """See `PicturePolicy.hidden`."""
        found: torch.Tensor = self.language.base_model(inputs_embeds=embedded, use_cache=False, **inputs).last_hidden_state
        return found

    def get_output_embeddings(self) -> Head:
        """See `PicturePolicy.get_output_embeddings`."""
        head, rows = self.language.get_output_embeddings(), slice(self.offset, self.offset + self.codes)
        return Head(head.weight[rows], None if head.bias is None else head.bias[rows])


class JanusPolicy(PicturePolicy):
    """The policy of a `Janus`: its language model and what embeds and chooses codes, without what it sees and decodes with."""

    def __init__(self, shape: Janus) -> None:
        super().__init__(shape.model, shape.count)
        inner = shape.model.model
        self.language, self.code_embeddings, self.aligner = inner.language_model, inner.generation_embeddings, inner.generation_aligner
        self.head = inner.generation_head

    def embed(self, prompts: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
        """See `PicturePolicy.embed`."""
        text = self.language.get_input_embeddings()(prompts)
        return torch.cat([text, self.aligner(self.code_embeddings(codes)).to(text.dtype)], 1)

    def hidden(self, embedded: torch.Tensor, **inputs: Any) -> torch.Tensor:
        """See `PicturePolicy.hidden`: up to the last layer of the generation head."""
        found = self.language(inputs_embeds=embedded, use_cache=False, **inputs).last_hidden_state
        before_last: torch.Tensor = self.head.activation_fn(self.head.proj_out(found))
        return before_last

    def get_output_embeddings(self) -> Head:
        """See `PicturePolicy.get_output_embeddings`."""
        return Head(self.head.vision_head.weight, self.head.vision_head.bias)


class AdaptersOff:
    """The policy before training, where LoRA adapters are all that is trained: itself, with the adapters switched off.

    Args:
        policy: the policy.
        adapted: the same model as `add_lora` gave it.
    """

    def __init__(self, policy: PicturePolicy, adapted: Any) -> None:
        self._policy, self._adapted = policy, adapted

    def __call__(self, *args: Any, **inputs: Any) -> Any:
        """As the policy's own call."""
        with self._adapted.disable_adapter():
            return self._policy(*args, **inputs)


def policy_of(shape: SimpleAR | Janus) -> PicturePolicy:
    """The policy of a loaded model."""
    return JanusPolicy(shape) if isinstance(shape, Janus) else SimpleARPolicy(shape)


def tokens_in_picture(shape: SimpleAR | Janus) -> int:
    """Tokens of one picture."""
    return shape.count if isinstance(shape, Janus) else shape.tokens.count


def add_lora(shape: SimpleAR | Janus, lora: Lora) -> Any:
    """Puts LoRA adapters into a model, all of whose own weights are frozen then, and gives it as peft's model.

    Raises:
        SpecError: there are no such layers, or the head is among them, from whose bare weights the log-probabilities are taken.
    """
    from peft import LoraConfig, get_peft_model

    names: Any = list(lora.targets or ATTENTION)
    wrong = [name for name in names if name.rpartition(".")[2] in ("lm_head", "vision_head")]
    if wrong:
        raise SpecError(f"lora.targets {wrong[0]}: the output layer cannot have adapters; name layers of the language model")
    if isinstance(shape, Janus):  # the tower with which it sees has layers of the same names
        names = rf".*language_model\..*({'|'.join(name.replace('.', '[.]') for name in names)})"
    config = LoraConfig(
        r=lora.rank,
        lora_alpha=2 * lora.rank if lora.alpha is None else lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=names,
    )
    try:
        with quiet_loading():
            return get_peft_model(shape.model, config)
    except ValueError as error:
        raise SpecError(f"lora.targets {', '.join(lora.targets or ATTENTION)}: {' '.join(str(error).split())[:200]}") from None


@contextmanager
def drawing(policy: PicturePolicy) -> Iterator[None]:
    """The policy without dropout while it draws."""
    was = policy.training
    policy.eval()
    try:
        yield
    finally:
        policy.train(was)
