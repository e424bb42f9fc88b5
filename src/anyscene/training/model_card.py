"""The model card beside trained weights: ``README.md`` as model hubs read it, and as people do.

It says what the weights are, how stock libraries load them, what was learnt from, and what the held-out figures are with their intervals.
No figure stands in it unless the audit found that nothing held out was trained on.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from anyscene.errors import RunError
from anyscene.evaluation.command import portable
from anyscene.report.words import SCORE_NAMES
from anyscene.runs import write_atomic
from anyscene.training.claims import verdict_of
from anyscene.training.leakage import LeakageReport
from anyscene.training.policies import Trained

__all__ = ["CARD", "write_model_card"]

CARD = "README.md"
LORA = "pytorch_lora_weights.safetensors"
PIPELINE = "model_index.json"
HERE = '"path/to/this/folder"'
"""What the folder of the card is called in its code."""
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
_TASKS = {"image": "text-to-image", "video": "text-to-video", "3d": "text-to-3d"}
_OUTPUTS = {"image": "images[0]", "video": "frames[0]", "3d": "images[0]"}
_ORIGINS = ("device", "offload", "batch_size", "local_files_only", "compile", "tiling", "lora")
"""Options of a model that say how it ran, not what it drew."""


def write_model_card(
    folder: Path,
    *,
    base: Trained,
    recipe: str,
    claims: Mapping[str, Mapping[str, Any]],
    data: Mapping[str, object],
    settings: Mapping[str, Any],
    leakage: LeakageReport,
    modality: str = "image",
    teacher: str | None = None,
    licence: str | None = None,
    command: str | None = None,
) -> Path:
    """Writes ``README.md`` beside LoRA weights or a whole pipeline.

    Args:
        folder: of the weights.
        base: the model before training.
        recipe: ``improve`` or ``distill``.
        claims: what it was compared with (``the model before training``), and the claim: as `claims.make_claim` gives it, or
            ``compare_evaluations``; b is the trained model.
        data: what was learnt from, as rows of a table: ``{"captions": 2_400, "pictures learnt from": 611, "judge": "..."}``.
        settings: of the run; sections as mappings.
        leakage: of the run. Unless it is clean, no figure is written.
        modality: of the media.
        teacher: whose media were learnt from, where it was not the model itself.
        licence: of the weights, as hubs name it (``apache-2.0``); None says that the base model's holds.
        command: that makes the run again.

    Returns:
        The path of the card.

    Raises:
        RunError: there are no weights in the folder, or it cannot be written.
    """
    lora = (folder / LORA).is_file()
    if not lora and not (folder / PIPELINE).is_file():
        raise RunError(f"{folder}: there is neither {LORA} nor {PIPELINE}; a model card is written beside weights")
    name, hub = _model_names(base.load)
    shown = claims if leakage.clean else {}
    parts = [
        _header(name, hub, recipe, lora, modality, shown, licence),
        f"# {_plain(name)}, after `anyscene {recipe}`",
        _about(name, recipe, lora, teacher),
        _loading(base, name, lora, modality),
        _results(shown, leakage),
        _table("What it learnt from", data),
        _table("Settings", dict(_flat(settings))),
        *([f"## The same run again\n\n```sh\n{command}\n```"] if command else []),
        _rights(name, teacher, licence),
    ]
    path = folder / CARD
    write_atomic(path, ("\n\n".join(parts) + "\n").encode())
    return path


def _model_names(load: str) -> tuple[str, str | None]:
    """How the base model is called, and its id on the hub where it is from there."""
    kind, _, rest = load.partition(":")
    if kind != "diffusers":
        return load, None
    hub = rest if _HUB_ID.fullmatch(rest) and not Path(rest).exists() else None
    return hub or portable(rest), hub


def _header(
    name: str, hub: str | None, recipe: str, lora: bool, modality: str, claims: Mapping[str, Mapping[str, Any]], licence: str | None
) -> str:
    """The card's metadata. JSON is YAML, so every value is written as JSON."""
    values: dict[str, Any] = {"library_name": "diffusers", "pipeline_tag": _TASKS[modality]}
    values["tags"] = ["anyscene", recipe, "diffusers", _TASKS[modality], *(["lora"] if lora else [])]
    if hub is not None:
        values |= {"base_model": hub, "base_model_relation": "adapter" if lora else "finetune"}
    if licence is not None:
        values["license"] = licence
    first = next(iter(claims.values()), {}).get("scores") or {}
    metrics = [
        {"type": score, "name": SCORE_NAMES.get(score, score), "value": round(one["b"], 4)}
        for score, one in first.items()
        if one.get("b") is not None
    ]
    if metrics:
        dataset = {"name": "Anyscene held-out scenes", "type": "anyscene"}
        result = {"task": {"type": _TASKS[modality]}, "dataset": dataset, "metrics": metrics}
        values["model-index"] = [{"name": f"{name} after anyscene {recipe}", "results": [result]}]
    lines = [f"{key}: {json.dumps(value, ensure_ascii=True)}" for key, value in values.items()]
    return "\n".join(["---", *lines, "---"])


def _about(name: str, recipe: str, lora: bool, teacher: str | None) -> str:
    what = "LoRA weights for" if lora else "A fine-tuned copy of"
    how = "pictures of its own that a judge found closest to their captions"
    if recipe == "distill":
        how = f"pictures of {_code(portable(teacher or 'a teacher'))} of scenes that it draws better"
    return f"{what} {_code(name)}, which learnt from {how}. Captions, questions and scores are those of Anyscene's scene graphs."


def _loading(base: Trained, name: str, lora: bool, modality: str) -> str:
    """With stock diffusers, where the base model is one of its own; and as it was evaluated."""
    parts = ["## How to load it"]
    if lora and base.load.startswith("diffusers:"):
        lines = [f"pipe = DiffusionPipeline.from_pretrained({_string(name)})", f"pipe.load_lora_weights({HERE})"]
        parts.append(_stock(lines, modality))
    elif not lora:
        parts.append(_stock([f"pipe = DiffusionPipeline.from_pretrained({HERE})"], modality))
    options = {key: _portable(value) for key, value in base.options.items() if key not in _ORIGINS and value is not None}
    given = "".join(f", {key}={_literal(value)}" for key, value in options.items())
    call = f"{_string(_portable_load(base.load))}{given}, lora={HERE}" if lora else f"{HERE[:1]}diffusers:{HERE[1:]}{given}"
    parts.append(f"As it was evaluated:\n\n```python\nfrom anyscene.models import load_model\n\nmodel = load_model({call})\n```")
    return "\n\n".join(parts)


def _stock(lines: Sequence[str], modality: str) -> str:
    code = ["from diffusers import DiffusionPipeline", "", *lines, f'media = pipe("A red cube is on a table.").{_OUTPUTS[modality]}']
    return "```python\n" + "\n".join(code) + "\n```"


def _results(claims: Mapping[str, Mapping[str, Any]], leakage: LeakageReport) -> str:
    parts = ["## On held-out scenes"]
    if not leakage.clean:
        found = "\n".join(f"- {_plain(line)}" for line in leakage.findings)
        return f"{parts[0]}\n\n**Nothing is claimed: what is held out was trained on.** No figure of this run says anything.\n\n{found}"
    kinds = (*leakage.by.split("+"), "scene")
    counts = ", ".join(_many(leakage.checked[kind]["held_out"], kind) for kind in kinds)
    looked = f"{_many(leakage.records['trained'] + leakage.records['captions'], 'caption')} that were trained on"
    parts.append(f"Nothing of them was trained on: an audit of all {looked} found none of their {counts} (`leakage.json`).")
    for title, claim in claims.items():
        scores = claim.get("scores") or {}
        parts.append(f"### Against {_plain(title)}")
        said = claim.get("sentences") or ([claim["sentence"]] if claim.get("sentence") else [])
        parts += [_plain(" ".join(said))] if said else []
        parts += [_score_table(scores)] if scores else []
    if not claims:
        parts.append("No evaluation was made, so nothing is known of what this training did.")
    return "\n\n".join(parts)


def _score_table(scores: Mapping[str, Mapping[str, Any]]) -> str:
    lines = [
        "| score | compared with | this model | difference in points, 95 % interval | scenes | |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for score, one in scores.items():
        low, high = one.get("low"), one.get("high")
        difference = "not known" if one.get("difference") is None else f"{100 * one['difference']:+.1f}"
        if low is not None and high is not None:
            difference += f" ({100 * low:+.1f} to {100 * high:+.1f})"
        cells = (_percent(one.get("a")), _percent(one.get("b")), difference, f"{one.get('n') or 0:,}", verdict_of(low, high))
        lines.append(f"| {_cell(SCORE_NAMES.get(score, score))} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _table(title: str, values: Mapping[str, object]) -> str:
    rows = [f"| {_cell(key)} | {_cell(_portable(value))} |" for key, value in values.items()]
    return "\n".join([f"## {title}", "", "| | |", "| --- | --- |", *rows])


def _rights(name: str, teacher: str | None, licence: str | None) -> str:
    derived = f"The licence of {_code(name)} holds for what is derived from it."
    parts = [derived if licence is None else f"Of the weights: {_plain(licence)}."]
    if teacher is not None:
        parts.append(f"They learnt from media that {_code(portable(teacher))} made: its terms may limit what they may be used for.")
    return f"## Licence\n\n{' '.join(parts)}"


# ---- words and values ----------------------------------------------------------------------------------------------------------------


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def _portable_load(load: str) -> str:
    kind, colon, rest = load.partition(":")
    return f"{kind}{colon}{portable(rest)}" if colon else portable(load)


def _portable(value: object) -> object:
    """A value without paths of this machine."""
    if isinstance(value, (str, Path)):
        return _portable_load(str(value))
    if isinstance(value, Mapping):
        return {key: _portable(one) for key, one in value.items()}
    return [_portable(one) for one in value] if isinstance(value, (list, tuple)) else value


def _literal(value: object) -> str:
    """As Python writes it."""
    return _string(value) if isinstance(value, str) else repr(value)


def _string(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _many(number: int, what: str) -> str:
    return f"{number:,} {what}" + ("" if number == 1 else "s")


def _percent(value: float | None) -> str:
    return "not known" if value is None else f"{100 * value:.1f} %"


def _cell(value: object) -> str:
    text = value if isinstance(value, str) else f"{value:,}" if type(value) is int else json.dumps(value, ensure_ascii=False, default=str)
    return _plain(text)


def _plain(text: str) -> str:
    """On one line, with nothing that Markdown or HTML would take for markup."""
    return re.sub(r"([\\`*_\[\]<>|#])", r"\\\1", " ".join(text.split()))


def _code(text: str) -> str:
    return "`" + " ".join(text.replace("`", "'").split()) + "`"
