"""What a chat server takes: learnt from what it refuses.

Servers call the same thing by other names, take fewer alternatives than asked for, or refuse what they do not know. A refusal names the
parameter; the request is sent again without it or with what the server wants, and so are all later ones.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any

__all__ = ["Dialect"]

_NUMBER = re.compile(r"\d+")
_AT_LEAST = re.compile(r"(?:>=|at least|minimum|greater than or equal to|below minimum|integer_below_min)\D{0,40}?(\d+)")


@dataclass(frozen=True, slots=True)
class Dialect:
    """The parameters of a request beside its messages.

    Attributes:
        limit: the name of the limit of tokens.
        least: the fewest tokens that may be asked for.
        top: alternatives asked for; 0 where the server gives no log-probabilities.
        temperature: it may be set.
        template_arguments: arguments of the chat template may be sent.
    """

    limit: str = "max_tokens"
    least: int = 1
    top: int = 20
    temperature: bool = True
    template_arguments: bool = True

    def parameters(self, tokens: int, probabilities: bool) -> dict[str, Any]:
        """The parameters of one request.

        Args:
            tokens: most in the reply.
            probabilities: log-probabilities are wanted.
        """
        wanted: dict[str, Any] = {self.limit: max(tokens, self.least)}
        if self.temperature:
            wanted["temperature"] = 0
        if probabilities and self.top:
            wanted |= {"logprobs": True, "top_logprobs": self.top}
        if self.template_arguments:
            wanted["chat_template_kwargs"] = {"enable_thinking": False}
        return wanted

    def without_probabilities(self) -> Dialect:
        """The same without log-probabilities."""
        return replace(self, top=0)

    def after(self, refusal: str) -> Dialect | None:
        """What to try after a refusal with this text; None where it is about something else."""
        said = refusal.casefold()
        if self.template_arguments and ("chat_template_kwargs" in said or "enable_thinking" in said):
            return replace(self, template_arguments=False)
        if self.top and "logprobs" in said:
            numbers = [int(number) for number in _NUMBER.findall(said)]
            most = max((number for number in numbers if 1 < number < self.top), default=0) if "top_logprobs" in said or "max" in said else 0
            return replace(self, top=most)
        if "max_completion_tokens" in said and self.limit == "max_tokens":
            return replace(self, limit="max_completion_tokens")
        if "tokens" in said and (found := _AT_LEAST.search(said)) and self.least < int(found[1]) <= 1024:
            return replace(self, least=int(found[1]))
        if self.temperature and "temperature" in said:
            return replace(self, temperature=False)
        return None
