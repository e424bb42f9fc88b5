"""Whole-image metrics: one number for a picture and its caption, from models that others trained and whose weights the user gives.

| name | formula | library | weights |
| --- | --- | --- | --- |
| ``clipscore`` | 2.5 max(cos, 0) of CLIP embeddings (Hessel et al. 2021, section 3) | transformers | ``openai/clip-vit-base-patch32`` |
| ``clip_cosine`` | cos itself | transformers | likewise |
| ``pickscore`` | logit scale times cos, CLIP taught preferences (Kirstain et al. 2023) | transformers | ``yuvalkirstain/PickScore_v1`` |
| ``vqascore`` | P("Yes") to ``Does this figure show "..."?`` (Lin et al. 2024) | transformers | any vision-language model |
| ``hpsv2`` | cos of a CLIP trained on preferences (Wu et al. 2023) | open_clip | ``HPS_v2.1_compressed.pt`` |
| ``imagereward`` | the reward model's own output (Xu et al. 2023) | image-reward | ``ImageReward.pt`` |

Clips and 3D objects get the mean over sampled frames, except with ``vqascore``, whose model sees all frames at once. What cannot be
scored is None, never 0. These numbers do not say what is wrong with a picture, and they favour their own training; report them beside
the answers to questions, not instead.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import redirect_stdout
from importlib.util import find_spec
from io import StringIO
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast, runtime_checkable

from PIL import Image

from anyscene.errors import JudgeError, MissingExtraError, SpecError
from anyscene.media import Media
from anyscene.plugins import load_plugin, plugin_names
from anyscene.runs import say, sha256_of
from anyscene.weights import empty_cache, folder_digest, is_out_of_memory, load_errors, one_line, pick_device, pick_dtype, quiet_loading

if TYPE_CHECKING:
    from anyscene.judges.transformers import TransformersJudge

__all__ = ["ClipScore", "Hpsv2", "ImageReward", "Metric", "PickScore", "VqaScore", "load_metric", "metric_names"]

GROUP = "anyscene.metrics"
_TABLE = {
    "clipscore": "anyscene.scoring.metrics:ClipScore",
    "clip_cosine": "anyscene.scoring.metrics:clip_cosine",
    "pickscore": "anyscene.scoring.metrics:PickScore",
    "vqascore": "anyscene.scoring.metrics:VqaScore",
    "hpsv2": "anyscene.scoring.metrics:Hpsv2",
    "imagereward": "anyscene.scoring.metrics:ImageReward",
}
CLIPSCORE_WEIGHT = 2.5
VQA_QUESTION = 'Does this figure show "{}"? Please answer Yes or No.'
CLIP_MEAN, CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
PROCESSORS = {"yuvalkirstain/PickScore_v1": "laion/CLIP-ViT-H-14-laion2B-s32B-b79K"}
"""Checkpoints that were published without a processor of their own, and whose they use."""

Pair = tuple[Image.Image, str]


@runtime_checkable
class Metric(Protocol):
    """Scores pictures against their captions; higher is better.

    Attributes:
        name: how it was asked for: ``clipscore:openai/clip-vit-base-patch32``.
        revision: of its weights, where known; else empty.
    """

    name: str
    revision: str

    def score(self, media: Sequence[Media | None], captions: Sequence[str]) -> list[float | None]:
        """One score for each media and its caption, in order; None where there is no media or it could not be scored."""
        ...


def load_metric(name: str, weights: str | None = None, **options: object) -> Metric:
    """The metric of a name.

    Args:
        name: ``clipscore``, ``clip_cosine``, ``pickscore``, ``vqascore``, ``hpsv2``, ``imagereward``, or one of another package's; its
            weights may follow a colon.
        weights: a folder or file, or a name on the hub; see the table above.
        options: of the metric; each class lists them. Text is read as the type that an option has.

    Raises:
        SpecError: no such metric, no weights, or an option that it does not have.
        JudgeError: the weights cannot be loaded.
        MissingExtraError: a library that it needs is not installed.
    """
    asked = name if weights is None else f"{name.partition(':')[0]}:{weights}"
    metric: Metric = load_plugin(GROUP, _TABLE, asked, options)
    return metric


def metric_names() -> list[str]:
    """The metrics that there are."""
    return plugin_names(GROUP, _TABLE)


class ClipScore:
    """CLIPScore (Hessel et al. 2021): ``2.5 max(cos, 0)`` of the embeddings of picture and caption.

    Args:
        weights: any ``CLIPModel`` with its processor.
        raw: give the cosine itself, from -1 to 1 (the metric ``clip_cosine``).
        prefix: put before each caption; the paper's captioning experiments use ``A photo depicts ``, text-to-image papers mostly nothing.
        frames: most frames of a clip that are scored.
        batch: pictures at once; halved when the memory does not suffice.
        device: as for the judge ``transformers``.
        dtype: float32 by default: half precision rounds cosines to two digits.
        revision: on the hub.
        local_files_only: take nothing from the hub that is not here already.
    """

    def __init__(
        self,
        weights: str,
        *,
        raw: bool = False,
        prefix: str = "",
        frames: int = 8,
        batch: int = 32,
        device: str = "auto",
        dtype: str = "float32",
        revision: str | None = None,
        local_files_only: bool = False,
    ) -> None:
        self.name = f"{'clip_cosine' if raw else 'clipscore'}:{weights}"
        self._clip = _TransformersClip(self.name, weights, weights, device, dtype, revision, local_files_only)
        self.revision = self._clip.revision
        self._raw, self._prefix, self._frames = raw, prefix, frames
        self._batches = _Batches(batch, self._clip.device)

    def score(self, media: Sequence[Media | None], captions: Sequence[str]) -> list[float | None]:
        """``2.5 max(cos, 0)``, from 0 to 2.5, or cos; the mean over frames."""

        def call(pairs: Sequence[Pair]) -> list[float]:
            cosines = self._clip.cosines([(image, self._prefix + caption) for image, caption in pairs])
            return cosines if self._raw else [CLIPSCORE_WEIGHT * max(cosine, 0.0) for cosine in cosines]

        return _over_frames(media, captions, self._frames, lambda pairs: self._batches.run(pairs, call))


def clip_cosine(
    weights: str,
    *,
    prefix: str = "",
    frames: int = 8,
    batch: int = 32,
    device: str = "auto",
    dtype: str = "float32",
    revision: str | None = None,
    local_files_only: bool = False,
) -> ClipScore:
    """`ClipScore` with ``raw``: the cosine itself."""
    same: dict[str, Any] = {"prefix": prefix, "frames": frames, "batch": batch, "device": device, "dtype": dtype}
    return ClipScore(weights, raw=True, revision=revision, local_files_only=local_files_only, **same)


class PickScore:
    """PickScore (Kirstain et al. 2023): the logit scale times the cosine, from a CLIP trained on people's preferences.

    Args:
        weights: a ``CLIPModel``: ``yuvalkirstain/PickScore_v1``.
        processor: folder or name of its processor, where it has none of its own.
        frames: see `ClipScore`, likewise the others.
    """

    def __init__(
        self,
        weights: str,
        *,
        processor: str | None = None,
        frames: int = 8,
        batch: int = 32,
        device: str = "auto",
        dtype: str = "float32",
        revision: str | None = None,
        local_files_only: bool = False,
    ) -> None:
        self.name = f"pickscore:{weights}"
        other = processor or PROCESSORS.get(weights, weights)
        self._clip = _TransformersClip(self.name, weights, other, device, dtype, revision, local_files_only)
        self.revision = self._clip.revision
        self._frames, self._batches = frames, _Batches(batch, self._clip.device)

    def score(self, media: Sequence[Media | None], captions: Sequence[str]) -> list[float | None]:
        """Logit scale times cosine; about 17 to 24 with the published weights."""

        def call(pairs: Sequence[Pair]) -> list[float]:
            return [self._clip.logit_scale * cosine for cosine in self._clip.cosines(pairs)]

        return _over_frames(media, captions, self._frames, lambda pairs: self._batches.run(pairs, call))


class VqaScore:
    """VQAScore (Lin et al. 2024): the probability, over the whole vocabulary, of "Yes" as the first token of the reply.

    Args:
        weights: what the judge ``transformers`` takes.
        question: asked instead of the paper's, with ``{}`` where the caption goes.
        options: of the judge: ``dtype``, ``device``, ``max_pixels``, ``frames`` and the others.

    Raises:
        SpecError: the question has no place for the caption.
        JudgeError: "Yes" is more than one token for this model.
    """

    def __init__(self, weights: str, *, question: str = VQA_QUESTION, **options: Any) -> None:
        from anyscene.judges import load_judge

        if question.count("{}") != 1:
            raise SpecError(f"question {question!r}: it needs one {{}} where the caption goes")
        _need(weights, "vqascore")
        self.name = f"vqascore:{weights}"
        self._judge = cast("TransformersJudge", load_judge(f"transformers:{weights}", **options))
        self._judge.whole_token("Yes")
        self.revision: str = self._judge.revision
        self._question = question

    def score(self, media: Sequence[Media | None], captions: Sequence[str]) -> list[float | None]:
        """P("Yes") from 0 to 1; None where a media does not fit the memory."""
        asked = [self._question.replace("{}", caption) for caption in captions]
        return [
            None if one is None else self._judge.reply_probability(one, [text], "Yes")[0]
            for one, text in zip(media, asked, strict=True)
        ]  # fmt: skip


class Hpsv2:
    """Human Preference Score v2 (Wu et al. 2023): the cosine of a ViT-H-14 CLIP trained on people's preferences.

    Pictures are brought to 224 pixels on their longer side and padded with black, as in the authors' package.

    Args:
        weights: the checkpoint file: ``HPS_v2_compressed.pt`` or ``HPS_v2.1_compressed.pt``.
        architecture: its name in open_clip.
        frames: see `ClipScore`, likewise the others.
    """

    def __init__(
        self,
        weights: str,
        *,
        architecture: str = "ViT-H-14",
        frames: int = 8,
        batch: int = 32,
        device: str = "auto",
        dtype: str = "float32",
    ) -> None:
        self.name = f"hpsv2:{weights}"
        _need(weights, "hpsv2")
        path = Path(weights).expanduser()
        if find_spec("open_clip") is None or find_spec("torchvision") is None:
            raise MissingExtraError("The metric hpsv2", "metrics")
        if not path.is_file():
            raise SpecError(f"metric {self.name!r}: no such file; give the checkpoint HPS_v2.1_compressed.pt of xswu/HPSv2 on the hub")
        self._device, kind = pick_device(device), pick_dtype(dtype, pick_device(device))
        self._model, self._tokenizer = _loaded(self.name, lambda: _open_clip(path, architecture))
        self._model = self._model.to(self._device, kind)
        self._kind = kind
        self.revision = _file_digest(path)
        self._frames, self._batches = frames, _Batches(batch, self._device)

    def score(self, media: Sequence[Media | None], captions: Sequence[str]) -> list[float | None]:
        """Cosine; about 0.2 to 0.35 with the published weights (tables often show it times 100)."""
        return _over_frames(media, captions, self._frames, lambda pairs: self._batches.run(pairs, self._cosines))

    def _cosines(self, pairs: Sequence[Pair]) -> list[float]:
        import torch

        side = self._model.visual.image_size
        side = side if isinstance(side, int) else side[0]
        pixels = torch.stack([_padded(image, side) for image, _ in pairs]).to(self._device, self._kind)
        with torch.inference_mode():
            pictures = self._model.encode_image(pixels, normalize=True)
            texts = self._model.encode_text(self._tokenizer([caption for _, caption in pairs]).to(self._device), normalize=True)
            return [float(one) for one in (pictures.float() * texts.float()).sum(-1)]


class ImageReward:
    """ImageReward (Xu et al. 2023), through its authors' package ``image-reward``.

    Args:
        weights: the checkpoint file ``ImageReward.pt``.
        config: the file ``med_config.json`` beside it by default.
        frames: most frames of a clip that are scored.
        device: as for the judge ``transformers``.
    """

    def __init__(self, weights: str, *, config: str | None = None, frames: int = 8, device: str = "auto") -> None:
        self.name = f"imagereward:{weights}"
        _need(weights, "imagereward")
        if find_spec("ImageReward") is None:
            raise MissingExtraError("The metric imagereward", "imagereward")
        path = Path(weights).expanduser()
        settings = Path(config).expanduser() if config else path.with_name("med_config.json")
        for file in (path, settings):
            if not file.is_file():
                raise SpecError(f"metric {self.name!r}: there is no file {file}; both ImageReward.pt and med_config.json are needed")
        self.revision = _file_digest(path)
        self._device = pick_device(device)

        def load() -> Any:
            with redirect_stdout(StringIO()):  # it prints
                from ImageReward import load as load_reward

                return load_reward(str(path), device=self._device, med_config=str(settings))

        self._model = _loaded(self.name, load)
        self._frames, self._batches = frames, _Batches(1, self._device)

    def score(self, media: Sequence[Media | None], captions: Sequence[str]) -> list[float | None]:
        """The reward; over the authors' test set it has mean 0 and variance 1."""
        import torch

        def call(pairs: Sequence[Pair]) -> list[float]:
            with torch.inference_mode():
                return [float(self._model.score(caption, image)) for image, caption in pairs]

        return _over_frames(media, captions, self._frames, lambda pairs: self._batches.run(pairs, call))


class _TransformersClip:
    """Cosines of a `CLIPModel` of transformers."""

    def __init__(
        self, name: str, weights: str, processor: str, device: str, dtype: str, revision: str | None, local_files_only: bool
    ) -> None:
        _need(weights, name.partition(":")[0])
        if find_spec("torch") is None or find_spec("transformers") is None:
            raise MissingExtraError(f"The metric {name.partition(':')[0]}", "judges")
        self.device = pick_device(device)
        kind = pick_dtype(dtype, self.device)
        hub: dict[str, Any] = {"local_files_only": True} if local_files_only else {}

        def load() -> tuple[Any, Any]:
            from transformers import AutoProcessor, CLIPModel

            model = CLIPModel.from_pretrained(weights, **hub, **({"revision": revision} if revision else {}))
            return model.eval().to(self.device, kind), AutoProcessor.from_pretrained(processor, **hub)

        self._model, self._processor = _loaded(name, load)
        self._most = int(self._model.config.text_config.max_position_embeddings)
        self._name, self._told = name, False
        self.logit_scale = float(self._model.logit_scale.detach().exp())
        folder = Path(weights).expanduser()
        self.revision = folder_digest(folder) if folder.is_dir() else str(getattr(self._model.config, "_commit_hash", None) or "")

    def cosines(self, pairs: Sequence[Pair]) -> list[float]:
        """The cosine of each picture and caption. Captions beyond the model's length are cut, which is said once."""
        import torch

        captions = [caption for _, caption in pairs]
        tokenizer = self._processor.tokenizer
        if not self._told and any(len(ids) > self._most for ids in tokenizer(captions, verbose=False)["input_ids"]):
            say(f"{self._name}: captions of more than {self._most} tokens are cut there; what comes after does not count")
            self._told = True
        texts = tokenizer(captions, padding=True, truncation=True, max_length=self._most, return_tensors="pt")
        pixels = self._processor.image_processor([image for image, _ in pairs], return_tensors="pt")["pixel_values"]
        with torch.inference_mode():
            found = self._model(
                input_ids=texts["input_ids"].to(self.device),
                attention_mask=texts["attention_mask"].to(self.device),
                pixel_values=pixels.to(self.device, self._model.dtype),
            )
            pictures, words = found.image_embeds.float(), found.text_embeds.float()
            return [float(one) for one in torch.nn.functional.cosine_similarity(pictures, words)]


class _Batches:
    """Calls in batches, halved whenever the memory does not suffice; None where one alone is too large."""

    def __init__(self, size: int, device: str) -> None:
        if size < 1:
            raise SpecError(f"batch {size}: it must be at least 1")
        self.size, self.device = size, device

    def run(self, pairs: Sequence[Pair], call: Callable[[Sequence[Pair]], list[float]]) -> list[float | None]:
        """The call's results for all pairs, in order."""
        done: list[float | None] = []
        while len(done) < len(pairs):
            some = pairs[len(done) : len(done) + self.size]
            try:
                done += call(some)
                continue
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
            empty_cache(self.device)
            if len(some) == 1:
                done.append(None)
            else:
                self.size = len(some) // 2
        return done


def _over_frames(
    media: Sequence[Media | None], captions: Sequence[str], frames: int, call: Callable[[Sequence[Pair]], Iterable[float | None]]
) -> list[float | None]:
    """Means over the sampled frames of each media; None where there is no media or a frame could not be scored."""
    if frames < 1:
        raise SpecError(f"frames {frames}: it must be at least 1")
    pictures = [() if one is None else one.sampled(frames) for one in media]
    pairs = [(image, caption) for images, caption in zip(pictures, captions, strict=True) for image in images]
    scores = iter(call(pairs))
    return [_mean(list(islice(scores, len(images)))) for images in pictures]


def _mean(scores: Sequence[float | None]) -> float | None:
    known = [score for score in scores if score is not None]
    return sum(known) / len(known) if known and len(known) == len(scores) else None


def _need(weights: str, name: str) -> None:
    if not weights:
        raise SpecError(f"metric {name!r} needs weights: a folder, a file or a name on the hub, as {name}:WEIGHTS")


def _loaded(name: str, load: Callable[[], Any]) -> Any:
    """What a loader gives, quietly; its failure as one line."""
    try:
        with quiet_loading():
            return load()
    except load_errors() as error:
        raise JudgeError(f"metric {name!r} cannot be loaded: {one_line(error)}") from error


def _open_clip(path: Path, architecture: str) -> tuple[Any, Any]:
    """A model of open_clip with the weights of a file, and its tokenizer."""
    import open_clip

    model = open_clip.create_model(architecture, pretrained=None)
    open_clip.load_checkpoint(model, str(path))
    return model.eval(), open_clip.get_tokenizer(architecture)


def _padded(image: Image.Image, side: int) -> Any:
    """``(3, side, side)``: the picture with its longer side so many pixels, in the middle of black, as CLIP's numbers."""
    from torchvision.transforms import InterpolationMode
    from torchvision.transforms import functional as to

    pixels = to.to_tensor(image)
    height, width = pixels.shape[1:]
    scale = side / max(height, width)
    size = [round(height * scale), round(width * scale)]
    if scale != 1:
        pixels = to.resize(pixels, size, InterpolationMode.BICUBIC, antialias=True)
    above, left = (side - size[0]) // 2, (side - size[1]) // 2
    pixels = to.pad(pixels, [left, above, side - size[1] - left, side - size[0] - above])
    return to.normalize(pixels, CLIP_MEAN, CLIP_STD)


def _file_digest(path: Path) -> str:
    return sha256_of(path)[:16]
