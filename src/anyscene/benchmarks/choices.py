"""Free answers mapped to the choices of a question, as TIFA does before it compares them with the right one.

The released scorer takes an answer that is literally a choice as that choice, and any other as the choice nearest to it by sentence
embeddings; so it always ends at some choice, also from an answer that means none. With an encoder this is done here too; without one, the
nearest choice is found by letters, and the result says so.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from anyscene.errors import MissingExtraError, ModelError
from anyscene.judges.prompts import parse_choice, plain_words

__all__ = ["Encoder", "literal_choice", "load_encoder", "named_choice", "nearest_choice"]

Encoder = Callable[[Sequence[str]], Any]
"""Texts to ``(texts, width)`` vectors of length 1."""


def literal_choice(text: str, choices: Sequence[str]) -> int | None:
    """The choice that the text is, letter for letter."""
    return list(choices).index(text) if text in choices else None


def named_choice(text: str, choices: Sequence[str]) -> int | None:
    """The choice that the text says: in other letters, with an article, in digits or words, or inside a sentence; None where it says
    none, or several.
    """
    literal = literal_choice(text, choices)
    if literal is not None:
        return literal
    said = plain_words(text)
    equal = [place for place, choice in enumerate(choices) if said and plain_words(choice) == said]
    return equal[0] if len(equal) == 1 else parse_choice(text, choices)


def nearest_choice(text: str, choices: Sequence[str], encoder: Encoder | None = None) -> int:
    """The choice that the released scorer would make of the text; always one, the first of those equally near.

    Args:
        text: a free answer.
        choices: at least one.
        encoder: of sentences; without one, texts are as near as their letters (cosine of counts of three letters in a row).
    """
    literal = literal_choice(text, choices)
    if literal is not None:
        return literal
    if encoder is not None:
        vectors = np.asarray(encoder([text, *choices]), dtype=np.float64)
        return int(np.argmax(vectors[1:] @ vectors[0]))
    named = named_choice(text, choices)
    if named is not None:
        return named
    own = _letters(text)
    return int(np.argmax([_cosine(own, _letters(choice)) for choice in choices]))


def _letters(text: str) -> Counter[str]:
    padded = f"  {plain_words(text)} "
    return Counter(padded[at : at + 3] for at in range(len(padded) - 2))


def _cosine(a: Counter[str], b: Counter[str]) -> float:
    both = sum(number * b[key] for key, number in a.items())
    length = math.sqrt(sum(n * n for n in a.values()) * sum(n * n for n in b.values()))
    return both / length if length else 0.0


def load_encoder(name: str) -> Encoder:
    """A sentence encoder through transformers: mean of the last layer over the tokens, length 1.

    Args:
        name: a folder or the name of a model; TIFA's is ``sentence-transformers/all-mpnet-base-v2``.

    Raises:
        MissingExtraError: torch or transformers is not installed.
        ModelError: it cannot be loaded.
    """
    try:
        import torch
        from transformers import AutoModel, AutoTokenizer
    except ImportError as error:
        raise MissingExtraError("a sentence encoder", "judges") from error
    try:
        tokenizer, model = AutoTokenizer.from_pretrained(name), AutoModel.from_pretrained(name).eval()
    except (OSError, ValueError) as error:
        raise ModelError(f"{name}: cannot be loaded as a sentence encoder ({str(error).splitlines()[0]})") from None

    def encode(texts: Sequence[str]) -> Any:
        given = tokenizer(list(texts), padding=True, truncation=True, return_tensors="pt")
        with torch.inference_mode():
            states = model(**given).last_hidden_state
        mask = given["attention_mask"].unsqueeze(-1).to(states.dtype)
        mean = (states * mask).sum(1) / mask.sum(1).clamp(min=1e-9)
        return torch.nn.functional.normalize(mean, dim=1).numpy()

    return encode
