"""Any text-to-image, text-to-video or text-to-3D pipeline of diffusers as a `Model`.

    load_model("diffusers:stabilityai/sdxl-turbo", steps=2, guidance=0.0)
    load_model("diffusers:checkpoints/sd35", lora="runs/round-3@0.8", offload="model")

Every picture has a random generator of its own, on the CPU and seeded with its seed, so that it does not depend on its neighbours in a
batch.
"""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import PurePath
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from anyscene.errors import MissingExtraError, ModelError, SpecError
from anyscene.media import Media
from anyscene.models import pipelines
from anyscene.models.batching import run_in_batches
from anyscene.models.protocol import Failure
from anyscene.weights import is_out_of_memory, library_versions, one_line, pick_device, pick_dtype

__all__ = ["DiffusersModel"]

_CALL_ERRORS = (ValueError, RuntimeError, TypeError, LookupError, AttributeError, AssertionError, MemoryError)
_LOG = logging.getLogger(__name__)
_NO_NUMBERS = "it gave pixels that are no numbers; try dtype=float32 or dtype=bfloat16"


class DiffusersModel:
    """A diffusers pipeline behind the `Model` protocol.

    Args:
        name: a pipeline's folder, or its id on the hub.
        steps: denoising steps. For this and the next five options, None is the pipeline's own default.
        guidance: strength of classifier-free guidance.
        height: of a picture, in pixels.
        width: of a picture, in pixels.
        frames: of a clip.
        negative_prompt: what not to draw, the same for every caption.
        fps: frames a second of a clip; None is what the pipeline says, where it does.
        dtype: precision; ``auto`` is float32 on a CPU, bfloat16 on a GPU that has it, else float16.
        device: torch device; ``auto`` is the first of CUDA, MPS and the CPU that is there.
        offload: ``model`` or ``sequential`` keep what is not at work out of the device's memory.
        compile: compiles the denoiser (the first picture takes minutes, the others less).
        tiling: decodes in tiles, which saves memory.
        lora: folder, file or hub id of LoRA weights; ``@0.8`` behind it is their weight.
        scheduler: class name of another diffusers scheduler (``DDIMScheduler``).
        revision: branch, tag or commit on the hub.
        variant: of the weight files on the hub or in the folder (``fp16``).
        without: components to leave out, with commas between (``text_encoder_3,tokenizer_3``).
        local_files_only: never ask the hub.
        batch_size: captions a call; None is 4 for images and 1 for clips and 3D objects. It halves when memory runs out.
        call: further arguments of the pipeline's call, as JSON text or a dict. One that the pipeline does not take is refused.

    Attributes:
        pipe: the pipeline itself, for whoever trains it.
        options: those above with which the pipeline, saved and loaded again, makes the same pictures.

    Raises:
        MissingExtraError: torch, diffusers, transformers or (for LoRA weights) peft is not installed.
        SpecError: an option that the pipeline or the machine cannot honour.
        ModelError: no such pipeline, or it cannot be loaded.
    """

    def __init__(
        self,
        name: str,
        *,
        steps: int | None = None,
        guidance: float | None = None,
        height: int | None = None,
        width: int | None = None,
        frames: int | None = None,
        negative_prompt: str | None = None,
        fps: float | None = None,
        dtype: Literal["auto", "float32", "float16", "bfloat16"] = "auto",
        device: str = "auto",
        offload: Literal["none", "model", "sequential"] = "none",
        compile: bool = False,
        tiling: bool = False,
        lora: str | None = None,
        scheduler: str | None = None,
        revision: str | None = None,
        variant: str | None = None,
        without: str = "",
        local_files_only: bool = False,
        batch_size: int | None = None,
        call: str | dict[str, Any] | None = None,
    ) -> None:
        for option, value in (("steps", steps), ("height", height), ("width", width), ("frames", frames), ("batch_size", batch_size)):
            if value is not None and value < 1:
                raise SpecError(f"{option}={value}: it must be at least 1")
        extra = _read_extra(call)
        if not all(find_spec(library) for library in ("diffusers", "torch", "transformers")):
            raise MissingExtraError("A diffusers model", "models")
        left_out = tuple(part.strip() for part in without.split(",") if part.strip())
        self.device = pick_device(device)
        precision = pick_dtype(dtype, self.device)
        folder, self.revision = pipelines.find_pipeline(name, revision, variant, local_files_only, left_out)
        self.pipe = pipelines.load_pipeline(folder, precision, variant, left_out)
        if scheduler is not None:
            pipelines.use_scheduler(self.pipe, scheduler)
        ours = {
            "steps": steps,
            "guidance": guidance,
            "height": height,
            "width": width,
            "frames": frames,
            "negative_prompt": negative_prompt,
        }
        self._call = pipelines.read_call(self.pipe, ours, extra, fps)
        lora_digest = pipelines.add_lora(self.pipe, lora, local_files_only) if lora else None
        pipelines.place_pipeline(self.pipe, self.device, offload, compile, tiling)
        self.name = f"diffusers:{name}"
        self.modality = self._call.modality
        if batch_size not in (None, 1) and not self._call.batches:
            raise SpecError(f"batch_size={batch_size}: {type(self.pipe).__name__} takes one caption at a time")
        self.batch_size = batch_size or (4 if self.modality == "image" and self._call.batches else 1)
        self._made = self._told_of_cuts = False
        given: dict[str, Any] = {**ours, "fps": fps, "dtype": dtype, "device": device, "offload": offload, "compile": compile}
        given |= {"tiling": tiling, "batch_size": batch_size, "call": extra or None}
        self.options: Mapping[str, object] = {key: value for key, value in given.items() if value is not None}
        self.settings: Mapping[str, object] = {
            "pipeline": type(self.pipe).__name__,
            "scheduler": type(getattr(self.pipe, "scheduler", None)).__name__,
            **{key: value for key, value in self._call.arguments.items() if key != "output_type"},
            "fps": self._call.fps,
            "dtype": str(precision).removeprefix("torch."),
            "device": self.device.partition(":")[0],
            "variant": variant,
            "without": list(left_out),
            "compile": compile,
            "tiling": tiling,
            "lora": PurePath(lora).name if lora else None,
            "lora_digest": lora_digest,
            "versions": library_versions("diffusers", "transformers", "torch"),
        }

    def generate(self, captions: Sequence[str], seeds: Sequence[int]) -> list[Media | Failure]:
        """One media, or the reason why there is none, for each caption, in order.

        When memory runs out, batches are halved from there on; a single caption that does not fit is a `Failure`. Another error of a single
        caption is one too, as soon as anything has been made with these settings.

        Raises:
            ModelError: the pipeline cannot work with these settings at all (it fails on the first captions it is given).
        """
        if len(captions) != len(seeds):
            raise SpecError(f"{len(captions)} captions and {len(seeds)} seeds: every caption needs one seed")
        wanted = list(zip(captions, seeds, strict=True))
        painted = run_in_batches(self._careful, wanted, self.batch_size, self.device)
        self.batch_size = painted[1]
        return painted[0]

    def _careful(self, wanted: Sequence[tuple[str, int]]) -> list[Media | Failure]:
        """A batch; where it fails, caption by caption, so that one bad caption takes no other with it. Out of memory is raised."""
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("error", "invalid value encountered in cast")  # else no numbers would pass as a black picture
                made = self._paint(wanted)
            self._made = True
            return made
        except RuntimeWarning:
            reason = _NO_NUMBERS
        except _CALL_ERRORS as error:
            if is_out_of_memory(error):
                raise
            reason = one_line(error)
        if len(wanted) > 1:
            return self._singly(wanted)
        if not self._made:
            raise ModelError(f"{self.name}: {type(self.pipe).__name__} fails with these settings: {reason}")
        return [Failure("failed", reason)]

    def _singly(self, wanted: Sequence[tuple[str, int]]) -> list[Media | Failure]:
        done: list[Media | Failure] = []
        failed: ModelError | None = None
        for one in wanted:
            try:
                done += self._careful([one])
            except ModelError as error:  # nothing has been made so far; something may be yet
                failed = error
                done.append(Failure("failed", str(error)))
        if failed is not None and not self._made:
            raise failed
        return done

    @contextmanager
    def _telling_once(self) -> Iterator[None]:
        """Pipelines list what they cut off of long captions, in every batch; it is said once."""

        def pass_on(record: logging.LogRecord) -> bool:
            if "truncated" not in str(record.msg) and "longer than the specified maximum" not in str(record.msg):
                return True
            if not self._told_of_cuts:
                self._told_of_cuts = True
                _LOG.warning("%s: some captions are longer than its text encoder reads; their ends are cut off", self.name)
            return False

        loggers = [logging.getLogger(name) for name in (type(self.pipe).__module__, "transformers.tokenization_utils_base")]
        for logger in loggers:
            logger.addFilter(pass_on)
        try:
            yield
        finally:
            for logger in loggers:
                logger.removeFilter(pass_on)

    def _paint(self, wanted: Sequence[tuple[str, int]]) -> list[Media | Failure]:
        import torch

        generators = [torch.Generator("cpu").manual_seed(int(seed)) for _, seed in wanted]
        return self.draw([caption for caption, _ in wanted], generators)

    @property
    def arguments(self) -> dict[str, Any]:
        """With what the pipeline is called, by its own names, besides captions and generators."""
        return dict(self._call.arguments)

    def draw(self, captions: Sequence[str], generators: Sequence[Any], **changed: Any) -> list[Media | Failure]:
        """One call of the pipeline, for whoever trains it; its errors are not caught.

        Args:
            captions: as many as fit into memory.
            generators: torch generators, one for each caption.
            changed: arguments in place of those in `arguments`; one that is None is left out.
        """
        several = self._call.listed
        arguments = {key: value for key, value in {**self._call.arguments, **changed}.items() if value is not None or key not in changed}
        if "negative_prompt" in arguments and several:
            arguments["negative_prompt"] = [arguments["negative_prompt"]] * len(captions)
        with self._telling_once():
            output = self.pipe(
                prompt=list(captions) if several else captions[0],
                generator=list(generators) if self._call.batches else generators[0],
                **arguments,
            )
        made = _outputs(output, self.modality, len(captions))
        blocked = getattr(output, "nsfw_content_detected", None) or getattr(output, "nsfw_detected", None) or [False] * len(captions)
        return [
            Failure("refused", "the pipeline's safety checker held the picture back")
            if held
            else Media.of_frames(_pictures(one), self.modality, self._call.fps)
            for one, held in zip(made, blocked, strict=True)
        ]


def _read_extra(call: str | dict[str, Any] | None) -> dict[str, Any]:
    if call is None or isinstance(call, dict):
        return dict(call or {})
    try:
        extra = json.loads(call)
    except ValueError as error:
        raise SpecError(f"call={call}: it must be a JSON object of the pipeline's call arguments ({error})") from None
    if not isinstance(extra, dict):
        raise SpecError(f"call={call}: it must be a JSON object of the pipeline's call arguments")
    return extra


def _outputs(output: Any, modality: str, count: int) -> list[Any]:
    """What was made for each caption: a picture, or frames."""
    found = next((getattr(output, key) for key in ("frames", "images", "rgb") if getattr(output, key, None) is not None), None)
    if found is None:
        raise ValueError(f"it gave a {type(output).__name__} without pictures")
    if modality == "video" and getattr(output, "frames", None) is None:
        found = [found]  # the frames of one clip
    if len(found) != count:
        raise ValueError(f"it gave {len(found)} results for {count} captions")
    return list(found)


def _pictures(made: Any) -> list[Any]:
    """Frames as pictures or ``(height, width, 3) uint8 RGB`` arrays."""
    if hasattr(made, "size") and hasattr(made, "convert"):
        return [made]
    if hasattr(made, "detach"):  # a tensor with the channels first
        made = np.moveaxis(made.detach().float().cpu().numpy(), -3, -1)
    if isinstance(made, np.ndarray) and made.ndim == 3:
        made = made[None]
    return [_bytes(frame) if isinstance(frame, np.ndarray) else frame for frame in made]


def _bytes(frame: NDArray[Any]) -> NDArray[np.uint8]:
    if frame.dtype == np.uint8:
        return frame
    if not np.isfinite(frame).all():
        raise ValueError(_NO_NUMBERS)
    scaled: NDArray[np.uint8] = np.rint(np.clip(frame, 0.0, 1.0) * 255).astype(np.uint8)
    return scaled
