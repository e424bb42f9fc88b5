"""The shell command that makes a run again, put together from what the run's own files say.

A run keeps how its model and its judge were named on the command line; everything else stands in its manifest. Whoever calls the steps
from Python may give these words too; without them a run has no command, for it is not known what would make it again.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

from anyscene.language.questions import FORMS as ALL_FORMS

__all__ = ["command_of", "judge_words", "model_words", "portable"]

SCENES, RUN, TRUE_ANSWERS = "scenes", "run", "labels.csv"
"""What the dataset, the run's folder and a file of true answers are called in the command; a run does not know where it lies."""


def model_words(name: str, options: Mapping[str, object] | None = None, taxonomy: str | None = None) -> list[str]:
    """How a model is named on the command line: ``["--model", "sandbox:flawed", "-m", "drop=0.2"]``.

    Args:
        name: as `load_model` takes it.
        options: likewise.
        taxonomy: the vocabulary, where one was named.
    """
    return ["--model", name, *_options("-m", options), *(["--taxonomy", portable(taxonomy)] if taxonomy else [])]


def judge_words(name: str, options: Mapping[str, object] | None = None, *, examined: bool = True) -> list[str]:
    """How a judge is named on the command line.

    Args:
        name: as `load_judge` takes it.
        options: likewise.
        examined: whether it had to pass its canaries.
    """
    return ["--judge", name, *_options("-j", options), *([] if examined else ["--no-doctor"])]


def command_of(
    manifest: Mapping[str, Any], judge: Mapping[str, Any], *, labelled: bool = False, share: float | None = None, seed: int = 0
) -> str | None:
    """The commands, one a line, that make a run again where the dataset is called ``scenes``; a pure function of its arguments.

    Args:
        manifest: what ``run.json`` holds.
        judge: what ``judge.json`` of the judge holds.
        labelled: whether the run has true answers.
        share: of the media for which a painter told them; None where they came from elsewhere.
        seed: of the resampling behind the intervals.

    Returns:
        The commands, or None where the run does not say how its model or its judge was named.
    """
    words, asked = manifest.get("command"), judge.get("command")
    if not words or not asked:
        return None
    truth = share if labelled and share is not None else 0.0
    evaluate = ["eval", SCENES, "-n", str(manifest["scenes"]["n"]), *words, *asked, "--forms", ",".join(judge["forms"])]
    evaluate += [
        "--samples",
        str(manifest["samples"]),
        "--seed",
        str(manifest["seed"]),
        "--labels",
        repr(truth) if truth else "0",
        "--out",
        RUN,
    ]
    commands: list[Sequence[str]] = [evaluate]
    if labelled and share is None:
        commands.append(["calibrate", RUN, "--from", TRUE_ANSWERS])
    if seed:
        commands += [["score", RUN, "--seed", str(seed)], ["report", RUN]]
    return "\n".join(shlex.join(["anyscene", *command]) for command in commands)


def all_forms(*given: Sequence[str]) -> list[str]:
    """Forms of questions that were asked at one time or another, in their usual order."""
    return [form for form in ALL_FORMS if any(form in forms for forms in given)]


def _options(flag: str, options: Mapping[str, object] | None) -> list[str]:
    """Options sorted by name, so that their order makes no other run."""
    return [
        word for key, value in sorted((options or {}).items()) if value is not None for word in (flag, f"{key}={portable(_text(value))}")
    ]


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def portable(text: str) -> str:
    """A path of this machine only by its last name: a run says nothing of where it was made."""
    for flavour in (PurePosixPath, PureWindowsPath):
        if flavour(text).is_absolute():
            return flavour(text).name or text
    return text
