"""Diffusers pipelines: found in a folder or on the hub, loaded, given LoRA weights, moved where they run, and their calls understood.

What a pipeline can do is read from its own call signature, never from a table of model names; so one that diffusers gets tomorrow works.
"""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anyscene.errors import MissingExtraError, ModelError, SpecError
from anyscene.weights import folder_digest, is_out_of_memory, load_errors, one_line, quiet_loading

__all__ = ["Call", "add_lora", "find_pipeline", "load_pipeline", "place_pipeline", "read_call", "use_scheduler"]

_NAMES = {
    "steps": ("num_inference_steps",),
    "guidance": ("guidance_scale", "true_cfg_scale", "prior_guidance_scale"),
    "height": ("height", "frame_size"),
    "width": ("width", "frame_size"),
    "frames": ("num_frames", "video_length", "frames"),
    "negative_prompt": ("negative_prompt",),
}
"""Our options and what pipelines call them, the first that there is."""
_OURS = ("prompt", "generator", "output_type", "return_dict", "num_images_per_prompt", "num_videos_per_prompt", "callback_on_step_end")
"""Call arguments that are not the user's to set."""
_FRAME_COUNTS = _NAMES["frames"]


@dataclass(frozen=True, slots=True)
class Call:
    """How a pipeline wants to be called.

    Attributes:
        arguments: by the pipeline's own names, without captions and generators.
        modality: ``image``, ``video`` or ``3d``.
        batches: whether it takes several captions, with a generator for each; else they go in one by one.
        listed: whether captions go in as a list even one by one.
        fps: frames a second of its clips, where it says so.
    """

    arguments: Mapping[str, Any]
    modality: str
    batches: bool
    listed: bool
    fps: float | None


def find_pipeline(
    name: str, revision: str | None = None, variant: str | None = None, local_files_only: bool = False, without: tuple[str, ...] = ()
) -> tuple[Path, str]:
    """The folder of a pipeline, fetched from the hub unless it is one here, and its revision.

    Args:
        name: a folder, or a hub id such as ``stabilityai/sdxl-turbo``.
        revision: branch, tag or commit on the hub.
        variant: of the weight files: ``fp16``.
        local_files_only: never ask the hub.
        without: components that are not fetched.

    Returns:
        The folder, and the commit on the hub or a digest of the folder (`folder_digest`).

    Raises:
        ModelError: no such folder, no pipeline in it, or it cannot be fetched.
    """
    folder = Path(name).expanduser()
    if name and folder.is_dir():
        if not (folder / "model_index.json").is_file():
            raise ModelError(
                f"{name}: there is no model_index.json in this folder, so it is no diffusers pipeline (save one with save_pretrained)"
            )
        if revision is not None:
            raise SpecError(f"revision {revision!r}: {name} is a folder here; only models on the hub have revisions")
        return folder, folder_digest(folder)
    if folder.is_file():
        raise ModelError(f"{name}: a file; a pipeline is a folder with a model_index.json (save one with save_pretrained)")
    if not name or name.count("/") > 1 or name[0] in "./~" or "\\" in name:
        raise ModelError(
            f"{name or 'no name given'}: no such folder; give the folder of a diffusers pipeline, or its id on the hub (owner/name)"
        )
    with quiet_loading():
        from diffusers import DiffusionPipeline

    left_out = dict.fromkeys(without)
    try:
        with quiet_loading():
            found = Path(
                DiffusionPipeline.download(name, revision=revision, variant=variant, local_files_only=local_files_only, **left_out)
            )
    except load_errors() as error:
        where = "is not in the local cache, and local_files_only is set" if local_files_only else "cannot be fetched from the hub"
        raise ModelError(f"{name}: no such folder here, and it {where} ({one_line(error, 160)})") from None
    return found, found.name


def load_pipeline(folder: Path, dtype: Any, variant: str | None = None, without: tuple[str, ...] = ()) -> Any:
    """The pipeline of a folder, for text to images where it can do several things, else as it was saved.

    Components that it was saved without (SD3 without T5) are left out; a safety checker that it was saved with stays.

    Raises:
        ModelError: it is damaged, of a class that diffusers does not have, or a component to leave out is none of its own.
    """
    with quiet_loading():
        from diffusers import AutoPipelineForText2Image, DiffusionPipeline

    try:
        index = json.loads((folder / "model_index.json").read_text("utf-8"))
        components = {key: value for key, value in index.items() if isinstance(value, list) and not key.startswith("_")}
    except (OSError, ValueError, AttributeError) as error:
        raise ModelError(f"{folder}/model_index.json: cannot be read ({one_line(error, 120)})") from None
    unknown = [one for one in without if one not in components]
    if unknown:
        raise SpecError(f"without={','.join(unknown)}: the pipeline's components are {', '.join(components)}")
    absent: dict[str, Any] = dict.fromkeys([*without, *(key for key, value in components.items() if not value or value[0] is None)])
    options = {"dtype": dtype, "variant": variant, "local_files_only": True}
    try:
        with quiet_loading():
            try:
                pipe = AutoPipelineForText2Image.from_pretrained(str(folder), **options, **absent)
            except ValueError as error:
                if "can't find a pipeline" not in str(error):
                    raise
                pipe = DiffusionPipeline.from_pretrained(str(folder), **options, **absent)
            _as_dtype(pipe, dtype)
    except load_errors() as error:
        raise ModelError(f"{folder}: this pipeline ({index.get('_class_name')}) cannot be loaded: {one_line(error)}") from None
    pipe.set_progress_bar_config(disable=True)
    return pipe


def _as_dtype(pipe: Any, dtype: Any) -> None:
    """Older diffusers know the precision by another keyword, ignore this one and load everything as float32."""
    denoiser = _denoiser(pipe)
    if denoiser is not None and denoiser.dtype != dtype:
        pipe.to(dtype)


def _denoiser(pipe: Any) -> Any:
    return next((one for one in (getattr(pipe, key, None) for key in ("transformer", "unet", "prior")) if one is not None), None)


def use_scheduler(pipe: Any, name: str) -> None:
    """Puts another of diffusers' schedulers in, with the configuration of the one that was there.

    Raises:
        SpecError: diffusers has no such scheduler.
    """
    with quiet_loading():
        import diffusers

        found = getattr(diffusers, name, None)
    if not (inspect.isclass(found) and hasattr(found, "from_config") and hasattr(found, "set_timesteps")):
        fitting = sorted({one.__name__ for one in getattr(pipe.scheduler, "compatibles", ())})
        raise SpecError(f"scheduler {name!r}: diffusers has none of that name; this pipeline's can be exchanged for {', '.join(fitting)}")
    with quiet_loading():
        pipe.scheduler = found.from_config(pipe.scheduler.config)


def add_lora(pipe: Any, lora: str, local_files_only: bool = False) -> str:
    """Loads LoRA weights into a pipeline.

    Args:
        pipe: the pipeline.
        lora: a folder, a ``.safetensors`` file or a hub id; ``@0.8`` behind it is the weight that it gets.
        local_files_only: never ask the hub.

    Returns:
        Sixteen hexadecimal digits: of the names, values and strengths of all that was loaded.

    Raises:
        MissingExtraError: peft is not installed.
        ModelError: there is nothing there, it is not LoRA weights, or not for this pipeline.
    """
    from importlib.util import find_spec

    if find_spec("peft") is None:
        raise MissingExtraError("Loading LoRA weights", "train")
    path, weight = _lora_weight(lora)
    if not hasattr(pipe, "load_lora_weights"):
        raise SpecError(f"lora={lora}: {type(pipe).__name__} takes no LoRA weights")
    options: dict[str, Any] = {"local_files_only": local_files_only}
    local = Path(path).expanduser()
    if local.is_file():
        source, options["weight_name"] = str(local.parent), local.name
    elif local.is_dir() or (path.count("/") == 1 and path[0] not in "./~"):
        source = str(local) if local.is_dir() else path
    else:
        raise ModelError(f"lora={lora}: no such file or folder")
    try:
        with quiet_loading():
            pipe.load_lora_weights(source, adapter_name="anyscene", **options)
            loaded = sorted(key for key, names in pipe.get_list_adapters().items() if "anyscene" in names)
            if loaded:
                pipe.set_adapters(["anyscene"], adapter_weights=[weight])
    except load_errors() as error:
        raise ModelError(f"lora={lora}: cannot be loaded into {type(pipe).__name__}: {one_line(error)}") from None
    if not loaded:
        raise ModelError(f"lora={lora}: it holds no weights for any part of {type(pipe).__name__}")
    return _lora_digest(pipe, loaded)


def _lora_weight(lora: str) -> tuple[str, float]:
    path, at, weight = lora.rpartition("@")
    if not at:
        return lora, 1.0
    try:
        return path, float(weight)
    except ValueError:
        return lora, 1.0


def _lora_digest(pipe: Any, parts: list[str]) -> str:
    import torch

    digest = hashlib.sha256()
    for part in parts:
        module = getattr(pipe, part)
        for name, layer in module.named_modules():
            if getattr(layer, "scaling", None):
                digest.update(f"{part}.{name}\0{sorted(layer.scaling.items())}\0".encode())
        for name, value in module.named_parameters():
            if "lora_" in name:
                digest.update(f"{part}.{name}\0{tuple(value.shape)}\0".encode())
                digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]


def place_pipeline(pipe: Any, device: str, offload: str = "none", compiled: bool = False, tiling: bool = False) -> None:
    """Moves a pipeline where it runs.

    Args:
        pipe: the pipeline.
        device: torch device.
        offload: ``model`` keeps in the device's memory only the component at work, ``sequential`` only the layer at work (slowest).
        compiled: compiles the denoiser (the first call takes minutes).
        tiling: decodes latents in tiles, one picture at a time: less memory, seams are possible.

    Raises:
        SpecError: the device has no memory of its own to save, or the pipeline cannot do what is asked.
        ModelError: it does not fit into the device's memory.
    """
    if offload != "none" and device == "cpu":
        raise SpecError(f"offload={offload}: there is nothing to offload from on a CPU; leave it at none")
    if tiling:
        if not hasattr(getattr(pipe, "vae", None), "enable_tiling"):
            raise SpecError(f"tiling: {type(pipe).__name__} has no decoder that works in tiles")
        pipe.vae.enable_tiling()
        if hasattr(pipe.vae, "enable_slicing"):
            pipe.vae.enable_slicing()
    try:
        if offload == "model":
            pipe.enable_model_cpu_offload(device=device)
        elif offload == "sequential":
            pipe.enable_sequential_cpu_offload(device=device)
        else:
            pipe.to(device)
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise ModelError(f"{type(pipe).__name__}: cannot be moved to {device}: {one_line(error)}") from None
        raise ModelError(
            f"{type(pipe).__name__} does not fit into the memory of {device}; try offload=model, then offload=sequential"
        ) from None
    if compiled:
        denoiser = _denoiser(pipe)
        if denoiser is None:
            raise SpecError(f"compile: {type(pipe).__name__} has no denoiser to compile")
        denoiser.compile()


def read_call(pipe: Any, options: Mapping[str, Any], extra: Mapping[str, Any], fps: float | None = None) -> Call:
    """How this pipeline is called with these options.

    Args:
        pipe: the pipeline.
        options: of ours (steps, guidance, height, width, frames, negative_prompt); None is the pipeline's own default.
        extra: further arguments, by the pipeline's own names.
        fps: frames a second, where the user says so.

    Raises:
        SpecError: the pipeline takes no such argument (the message lists those it takes), or one is set twice.
        ModelError: it makes nothing from text alone.
    """
    kind = type(pipe).__name__
    taken = {
        key: one
        for key, one in inspect.signature(pipe.__call__).parameters.items()
        if one.kind not in (one.VAR_KEYWORD, one.VAR_POSITIONAL)
    }
    needs = [key for key, one in taken.items() if one.default is one.empty and key not in ("prompt", *extra)]
    if "prompt" not in taken or "generator" not in taken or needs:
        why = f"needs {', '.join(needs)}" if needs else "takes no caption" if "prompt" not in taken else "takes no seed"
        raise ModelError(f"{kind}: it makes no picture, clip or 3D object from text alone: it {why}")
    free = ", ".join(key for key in taken if key not in _OURS)
    arguments: dict[str, Any] = {}
    for option, value in options.items():
        if value is None:
            continue
        key = _named(option, taken)
        if key is None:
            raise SpecError(f"{option}={value}: {kind} has no such argument; it takes {free}")
        if arguments.get(key, value) != value:
            raise SpecError(f"{option}={value}: {kind} makes square frames only; height and width must be the same")
        arguments[key] = value
    for key, value in extra.items():
        if key in _OURS:
            raise SpecError(f"call argument {key!r}: it is set for each picture and cannot be given; {kind} takes {free}")
        if key not in taken:
            raise SpecError(f"call argument {key!r}: {kind} has no such argument; it takes {free}")
        if key in arguments:
            raise SpecError(f"call argument {key!r}: it is given twice, as an option too")
        arguments[key] = value
    if options.get("guidance") is not None and "true_cfg_scale" in arguments:
        arguments.setdefault("negative_prompt", " ")  # without one, these pipelines do not guide at all
    if "output_type" in taken:
        arguments["output_type"] = "pil"
    modality = "3d" if "frame_size" in taken else "video" if any(key in taken for key in _FRAME_COUNTS) else "image"
    default = taken["frame_rate"].default if "frame_rate" in taken else None
    rate = fps if fps is not None else arguments.get("frame_rate", default)
    prompt, generator = str(taken["prompt"].annotation).lower(), str(taken["generator"].annotation).lower()
    listed = "list" in prompt or taken["prompt"].annotation is inspect.Parameter.empty
    batches = listed and "list" in generator and not kind.startswith("TextToVideoZero")  # its frames of several captions come as one heap
    return Call(arguments, modality, batches, listed, float(rate) if isinstance(rate, int | float) and modality == "video" else None)


def _named(option: str, taken: Mapping[str, inspect.Parameter]) -> str | None:
    names = [key for key in _NAMES[option] if key in taken]
    if names[:2] == ["guidance_scale", "true_cfg_scale"] and taken["guidance_scale"].default is None:
        return "true_cfg_scale"  # the other is for distilled models of the family
    return names[0] if names else None
