"""Judges by name."""

from __future__ import annotations

from anyscene.judges.protocol import Judge
from anyscene.plugins import load_plugin, plugin_names

__all__ = ["judge_names", "load_judge"]

GROUP = "anyscene.judges"
_TABLE = {
    "transformers": "anyscene.judges.transformers:TransformersJudge",
    "openai": "anyscene.judges.openai:OpenAIJudge",
    "human": "anyscene.judges.human:HumanJudge",
    "stored": "anyscene.judges.stored:StoredJudge",
}


def load_judge(name: str, **options: object) -> Judge:
    """The judge that ``backend:name`` names: ``transformers:Qwen/Qwen3-VL-8B-Instruct``, ``sandbox:pixels``.

    Args:
        name: back-end and name, with a colon between.
        options: of the back-end; each one's docstring lists them. Text is read as the type that an option has.

    Raises:
        SpecError: no such back-end, or an option that it does not have.
        JudgeError: the judge cannot be loaded.
        MissingExtraError: a library that it needs is not installed.
    """
    judge: Judge = load_plugin(GROUP, _TABLE, name, options)
    return judge


def judge_names() -> list[str]:
    """The back-ends that there are."""
    return plugin_names(GROUP, _TABLE)
