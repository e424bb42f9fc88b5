"""Reading what chat and decision servers reply: text, log-probabilities, and whether either can be trusted.

Servers differ and have faults. A log-probability that cannot be one (positive, not a number, more than certain together, of other text
than the reply) makes all of that reply's probabilities unusable; then its words count, or nothing.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from anyscene.http import Malformed
from anyscene.judges.prompts import parse_choice, parse_yes_no, reply_status
from anyscene.judges.protocol import Answer
from anyscene.language.question import Question

__all__ = ["ChatReply", "decided", "label_masses", "read_chat", "spoken"]

ROUNDING = 1e-3
"""How far a probability, or a sum of them, may be above 1: servers round."""

_UNFINISHED = re.compile(r"\s*<think(?:ing)?>(?!.*</think)", re.DOTALL | re.IGNORECASE)
"""A thought that was cut off, or that no answer followed."""


@dataclass(frozen=True, slots=True)
class ChatReply:
    """One reply of a chat server.

    Attributes:
        text: what it says; thoughts that came apart from it only where there is nothing else.
        model: that the server says it is; empty where it says nothing.
        refused: held back by a content rule.
        whole: not cut off by the limit of tokens.
        first: the first token, as the server writes it, and its most likely alternatives with their log-probabilities; None where the
            server gives none.
        tokens: how many went in and came out.
    """

    text: str
    model: str
    refused: bool
    whole: bool
    first: tuple[str, tuple[tuple[str, object], ...]] | None
    tokens: tuple[int, int]


def read_chat(reply: Any) -> ChatReply:
    """A chat completion.

    Raises:
        Malformed: it is none.
    """
    choices = reply.get("choices") if isinstance(reply, dict) else None
    choice = choices[0] if isinstance(choices, list) and choices else None
    message = choice.get("message") if isinstance(choice, dict) else None
    if not isinstance(choice, dict) or not isinstance(message, dict):
        raise Malformed("no chat completion")
    text, refusal = _text(message.get("content")), message.get("refusal")
    thoughts = message.get("reasoning_content") or message.get("reasoning") or ""
    refused = choice.get("finish_reason") == "content_filter" or bool(refusal)
    usage = reply.get("usage") if isinstance(reply.get("usage"), dict) else {}
    return ChatReply(
        text=text or (str(refusal) if refusal else f"<think>{thoughts}" if thoughts else ""),
        model=reply["model"] if isinstance(reply.get("model"), str) else "",
        refused=refused,
        whole=choice.get("finish_reason") != "length",
        first=_first_token(choice.get("logprobs")) if text else None,
        tokens=(_count(usage.get("prompt_tokens")), _count(usage.get("completion_tokens"))),
    )


def label_masses(reply: ChatReply, groups: Sequence[Sequence[str]]) -> list[float] | None:
    """The probability of each label: of all its spellings together, by the first token's alternatives.

    Args:
        reply: of the server.
        groups: for each label, its spellings.

    Returns:
        One probability for each label, not normalised; None where the reply has no log-probabilities that can be used.
    """
    if reply.first is None:
        return None
    token, alternatives = reply.first
    if not reply.text.lstrip().startswith(_spelled(token).strip()):
        return None  # they belong to other text: a thought, or a template's marker
    found: dict[str, float] = {}
    total = 0.0
    for text, value in alternatives:
        if isinstance(value, bool) or not isinstance(value, (int, float)) or math.isnan(value) or value > ROUNDING:
            return None
        chance = math.exp(min(float(value), 0.0))
        total += chance
        found[_spelled(text)] = found.get(_spelled(text), 0.0) + chance
    if not alternatives or total > 1 + 10 * ROUNDING:
        return None
    return [sum(found.get(spelling, 0.0) for spelling in group) for group in groups]


def spoken(question: Question, text: str, mass: float | None = None) -> Answer:
    """The answer that a reply in words makes.

    Args:
        question: that was asked.
        text: of the reply.
        mass: of the labels, where it is known.
    """
    if _UNFINISHED.match(text):
        return Answer(None, mass, text, "unparsed")
    if question.form == "yes_no":
        said = parse_yes_no(text)
        return Answer(None, mass, text, reply_status(text)) if said is None else Answer(float(said), mass, text)
    if question.form == "choice":
        place = parse_choice(text, question.choices)
        if place is None:
            return Answer(None, mass, text, reply_status(text))
        return Answer(None, mass, text, "answered", tuple(float(one == place) for one in range(len(question.choices))))
    status = reply_status(text)
    if not text.strip():
        return Answer(None, None, text, "unparsed")
    return Answer(None, None, text, "answered" if status == "unparsed" else status)


def decided(question: Question, answer: Any, diagnosis: Any, text: str) -> Answer | None:
    """One answer of a decision server (``/v1/systemone``); None where it is not what it should be.

    Args:
        question: a yes/no question or one with choices.
        answer: the server's entry for it: ``noul``, the probability of yes; or ``probabilities`` by choice.
        diagnosis: the server's entry with the ``label_mass``; may be None.
        text: to be kept as the raw reply.
    """
    mass = diagnosis.get("label_mass") if isinstance(diagnosis, Mapping) else None
    if not isinstance(answer, Mapping) or (mass is not None and not _is_share(mass)):
        return None
    mass = None if mass is None else min(float(mass), 1.0)
    if question.form == "yes_no":
        yes = answer.get("noul")
        return Answer(min(float(yes), 1.0), mass, text) if yes is not None and _is_share(yes) else None
    shares = answer.get("probabilities")
    if not isinstance(shares, Mapping) or set(shares) != set(question.choices) or not all(map(_is_share, shares.values())):
        return None
    total = sum(shares.values())
    if abs(total - 1) > 0.05:
        return None
    return Answer(None, mass, text, "answered", tuple(shares[choice] / total for choice in question.choices))


def _first_token(logprobs: Any) -> tuple[str, tuple[tuple[str, object], ...]] | None:
    """Token and alternatives of the first place, as they came; None where the shape is another."""
    content = logprobs.get("content") if isinstance(logprobs, dict) else None
    first = content[0] if isinstance(content, list) and content else None
    if not isinstance(first, dict) or not isinstance(first.get("token"), str) or not isinstance(first.get("top_logprobs"), list):
        return None
    pairs = [(one.get("token"), one.get("logprob")) if isinstance(one, dict) else (None, None) for one in first["top_logprobs"]]
    return first["token"], tuple((token if isinstance(token, str) else "", value) for token, value in pairs)


def _spelled(token: str) -> str:
    """A token with the space that tokenizers write as ``▁`` or ``Ġ``."""
    return token.replace("\u2581", " ").replace("\u0120", " ")


def _text(content: Any) -> str:
    """The text of a message, which may come in parts."""
    if isinstance(content, list):
        return "".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return content if isinstance(content, str) else ""


def _count(value: Any) -> int:
    return value if isinstance(value, int) and value >= 0 else 0


def _is_share(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= 1 + ROUNDING
