"""Text-to-image models that draw a picture token by token, as language models do: SimpleAR and Janus, through transformers.

    load_model("autoregressive:checkpoints/SimpleAR-0.5B-RL", decoder="checkpoints/Cosmos-DV8x16x16")
    load_model("autoregressive:deepseek-community/Janus-Pro-1B", guidance=5)

Which of the two a folder holds is read from its ``config.json``. Every picture has random numbers of its own, seeded with its seed, so
that it does not depend on its neighbours in a batch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from anyscene.errors import MissingExtraError, ModelError, SpecError
from anyscene.media import Media
from anyscene.models.batching import run_in_batches
from anyscene.models.image_tokens import Sampling
from anyscene.models.janus import DEFAULT_GUIDANCE as JANUS_GUIDANCE
from anyscene.models.janus import Janus
from anyscene.models.protocol import Failure
from anyscene.models.simplear import DEFAULT_GUIDANCE as SIMPLEAR_GUIDANCE
from anyscene.models.simplear import DEFAULT_PREFIX, SimpleAR
from anyscene.weights import folder_digest, library_versions, load_errors, one_line, pick_device, pick_dtype, quiet_loading

__all__ = ["AutoregressiveModel", "load_autoregressive"]


class AutoregressiveModel:
    """A token-by-token text-to-image model behind the `Model` protocol.

    Args:
        name: how it was asked for.
        revision: of its weights.
        shape: the loaded `SimpleAR` or `Janus`.
        settings: what its pictures depend on, as plain JSON values.
        batch_size: captions at once; it halves when memory runs out.

    Attributes:
        shape: what it was made of, for whoever trains it: prompts, sampling and decoding are its methods.
    """

    modality = "image"

    def __init__(self, name: str, revision: str, shape: SimpleAR | Janus, settings: Mapping[str, object], batch_size: int) -> None:
        self.name, self.revision, self.shape, self.settings, self.batch_size = name, revision, shape, settings, batch_size

    def generate(self, captions: Sequence[str], seeds: Sequence[int]) -> list[Media | Failure]:
        """One picture, or the reason why there is none, for each caption, in order.

        A caption that leaves no room for a picture, and one that does not fit into memory alone, is a `Failure`. Batches are halved from
        there on when memory runs out.
        """
        if len(captions) != len(seeds):
            raise SpecError(f"{len(captions)} captions and {len(seeds)} seeds: every caption needs one seed")
        prompts = [self.shape.encode(caption) for caption in captions]
        made: dict[int, Media | Failure] = {}
        for place, prompt in enumerate(prompts):
            if len(prompt) > self.shape.room:
                made[place] = Failure(
                    "failed", f"the prompt has {len(prompt)} tokens; beside a picture the model has room for {self.shape.room}"
                )
        # By length, so that little is filled up.
        order = sorted((place for place in range(len(prompts)) if place not in made), key=lambda place: len(prompts[place]))
        pictures, self.batch_size = run_in_batches(
            lambda places: self._paint([prompts[place] for place in places], [seeds[place] for place in places]),
            order,
            self.batch_size,
            self.shape.device,
        )
        made.update(zip(order, pictures, strict=True))
        return [made[place] for place in range(len(captions))]

    def _paint(self, prompts: Sequence[Sequence[int]], seeds: Sequence[int]) -> list[Media | Failure]:
        painted: list[Media | Failure] = []
        for tokens in self.shape.sample(prompts, seeds):
            try:
                painted.append(Media.of_image(self.shape.decode(tokens[None])[0]))
            except ValueError as error:
                painted.append(Failure("failed", f"{one_line(error)}; try dtype=float32 or dtype=bfloat16"))
        return painted


def load_autoregressive(
    name: str,
    *,
    guidance: float | None = None,
    temperature: float = 1.0,
    top_k: int = 0,
    top_p: float = 1.0,
    prefix: str | None = None,
    decoder: str | None = None,
    image_tokens: int | None = None,
    size: int | None = None,
    dtype: Literal["auto", "float32", "float16", "bfloat16"] = "auto",
    device: str = "auto",
    lora: str | None = None,
    revision: str | None = None,
    local_files_only: bool = False,
    batch_size: int = 8,
) -> AutoregressiveModel:
    """Loads a SimpleAR- or Janus-shaped model.

    Args:
        name: the model's folder, or its id on the hub.
        guidance: strength of classifier-free guidance; 1 is none. None is 6 for SimpleAR and 5 for Janus.
        temperature: 0 takes the likeliest token each time.
        top_k: draws from so many of the likeliest tokens; 0 draws from all.
        top_p: draws from the fewest tokens that are this likely together; 1 draws from all.
        prefix: text before each caption; None is "A photo of " for SimpleAR and nothing for Janus.
        decoder: SimpleAR's picture decoder, where it is not in the folder: a file, a folder or a hub id.
        image_tokens: SimpleAR's tokens of a picture, a square number; None is what the decoder was made for, else 4096.
        size: SimpleAR's pictures in pixels, instead of ``image_tokens``.
        dtype: precision; ``auto`` is float32 on a CPU, bfloat16 on a GPU that has it, else float16.
        device: torch device; ``auto`` is the first of CUDA, MPS and the CPU that is there.
        lora: folder or hub id of LoRA weights, as peft saves them.
        revision: branch, tag or commit on the hub.
        local_files_only: never ask the hub.
        batch_size: captions at once; it halves when memory runs out.

    Raises:
        MissingExtraError: torch, transformers or diffusers (for a ``VQModel`` decoder), or peft (for LoRA weights), is not installed.
        SpecError: an option out of its range, or one that the model's shape does not have.
        ModelError: no such model, or it cannot be loaded.
    """
    if batch_size < 1:
        raise SpecError(f"batch_size={batch_size}: it must be at least 1")
    if guidance is not None and not guidance >= 0:
        raise SpecError(f"guidance={guidance}: it must be at least 0; 1 is no guidance")
    sampling = Sampling(temperature, top_k, top_p)
    _require_libraries()
    folder, found = _find_folder(name, revision, local_files_only)
    kind = _model_type(name, folder)
    target = pick_device(device)
    precision = pick_dtype(dtype, target)
    drawn: dict[str, object] = {"temperature": temperature, "top_k": top_k, "top_p": top_p}
    shape: SimpleAR | Janus
    try:
        if kind == "janus":
            given = [key for key, value in (("decoder", decoder), ("image_tokens", image_tokens), ("size", size)) if value is not None]
            if given:
                raise SpecError(f"option {given[0]}: {name} is a Janus model; its decoder and its picture's size are its own")
            shape = Janus(folder, target, precision, sampling, JANUS_GUIDANCE if guidance is None else guidance, prefix or "")
        else:
            place = _find_decoder(decoder, local_files_only)
            shape = SimpleAR(
                folder,
                place,
                target,
                precision,
                sampling,
                SIMPLEAR_GUIDANCE if guidance is None else guidance,
                DEFAULT_PREFIX if prefix is None else prefix,
                image_tokens,
                size,
            )
            drawn |= {"image_tokens": shape.tokens.count, "decoder_digest": _digest(place) if place else None}
        lora_digest = _add_lora(shape.model, lora, local_files_only) if lora else None
    except load_errors() as error:
        raise ModelError(f"{name}: this {kind} model cannot be loaded: {one_line(error)}") from None
    settings = {
        "shape": type(shape).__name__,
        "guidance": shape.guidance,
        "prefix": shape.prefix,
        **drawn,
        "dtype": str(precision).removeprefix("torch."),
        "device": target.partition(":")[0],
        "lora": Path(lora).name if lora else None,
        "lora_digest": lora_digest,
        "versions": library_versions("transformers", "diffusers", "torch"),
    }
    return AutoregressiveModel(f"autoregressive:{name}", found, shape, settings, batch_size)


def _require_libraries() -> None:
    try:
        import torch  # noqa: F401 - looked for before anything else, so that the message is about it
        import transformers  # noqa: F401
    except ModuleNotFoundError as error:
        if error.name not in ("torch", "transformers"):
            raise
        raise MissingExtraError("An autoregressive model", "models") from None


def _find_folder(name: str, revision: str | None, local_files_only: bool) -> tuple[Path, str]:
    """The folder of a model, fetched from the hub unless it is one here, and its commit or a digest of its files."""
    folder = Path(name).expanduser()
    if folder.is_dir() and name:
        if revision is not None:
            raise SpecError(f"revision {revision!r}: {name} is a folder here; only models on the hub have revisions")
        return folder, folder_digest(folder)
    if not name or folder.is_file() or name.count("/") > 1 or name[0] in "./~" or "\\" in name:
        raise ModelError(f"{name or 'no name given'}: no such folder; give the folder of a model, or its id on the hub (owner/name)")
    from huggingface_hub import snapshot_download

    try:
        with quiet_loading():
            found = Path(snapshot_download(name, revision=revision, local_files_only=local_files_only))
    except load_errors() as error:
        where = "is not in the local cache, and local_files_only is set" if local_files_only else "cannot be fetched from the hub"
        raise ModelError(f"{name}: no such folder here, and it {where} ({one_line(error, 160)})") from None
    return found, found.name


def _find_decoder(decoder: str | None, local_files_only: bool) -> Path | None:
    """Where a decoder that is given apart lies."""
    if decoder is None:
        return None
    return Path(decoder).expanduser() if Path(decoder).expanduser().is_file() else _find_folder(decoder, None, local_files_only)[0]


def _digest(place: Path) -> str:
    return folder_digest(place if place.is_dir() else place.parent)


def _model_type(name: str, folder: Path) -> str:
    """``janus``, or the type of a causal language model."""
    from transformers import AutoConfig
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    if not (folder / "config.json").is_file():
        raise ModelError(
            f"{name}: there is no config.json in this folder, so it is no model of transformers (save one with save_pretrained)"
        )
    try:
        with quiet_loading():
            kind = str(AutoConfig.from_pretrained(folder, local_files_only=True).model_type)
    except load_errors() as error:
        raise ModelError(f"{name}/config.json: it cannot be read ({one_line(error, 160)})") from None
    if kind != "janus" and kind not in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        raise ModelError(
            f"{name}: a {kind!r} model; a causal language model with picture tokens (SimpleAR, model type qwen2) or a janus model is needed"
        )
    return kind


def _add_lora(model: Any, lora: str, local_files_only: bool) -> str:
    """Puts LoRA weights on a model; the digest of their folder."""
    from importlib.util import find_spec

    if find_spec("peft") is None:
        raise MissingExtraError("Loading LoRA weights", "train")
    folder, _ = _find_folder(lora, None, local_files_only)
    try:
        with quiet_loading():
            model.load_adapter(str(folder))
    except load_errors() as error:
        raise ModelError(f"lora={lora}: cannot be loaded into {type(model).__name__}: {one_line(error)}") from None
    return folder_digest(folder)
