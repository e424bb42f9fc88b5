"""Detectors of transformers as the eyes of GenEval and T2I-CompBench: boxes, masks where there are any, and colours by CLIP.

Three kinds are taken, told apart by their configuration: detectors of fixed classes (DETR, RT-DETR, YOLOS, ...), instance segmentation
(Mask2Former: ``facebook/mask2former-swin-small-coco-instance`` is the nearest to GenEval's own) and detectors asked by words (OWL-ViT,
OWLv2). Torch and transformers are imported when weights are loaded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from anyscene.benchmarks.benchmark import Items
from anyscene.benchmarks.boxes import Box, Detections, Seen
from anyscene.benchmarks.geneval import COLORS, MAX_OBJECTS, THRESHOLD
from anyscene.errors import JudgeError, MissingExtraError
from anyscene.weights import folder_digest, load_errors, one_line, pick_device, quiet_loading

__all__ = ["BACKGROUND", "KEEP", "TEMPLATES", "ClipColors", "Detector", "Found", "ObjectDetector", "classes_of", "crop_of", "detect_items"]

KEEP = 0.05
"""Boxes of a lower score are not kept: no scorer takes them."""
BACKGROUND = (153, 153, 153)
"""What is put around a thing whose mask is known before its colour is asked for (``#999``)."""
TEMPLATES = ("a photo of a {color} {name}", "a photo of a {color}-colored {name}", "a photo of a {color} object")
_ALIASES = {
    "mouse": "computer mouse",
    "remote": "tv remote",
    "keyboard": "computer keyboard",
    "aeroplane": "airplane",
    "motorbike": "motorcycle",
    "sofa": "couch",
    "tvmonitor": "tv",
    "pottedplant": "potted plant",
    "diningtable": "dining table",
    "hair dryer": "hair drier",
}
"""GenEval's words for classes that detectors call otherwise."""


@dataclass(frozen=True)
class Found:
    """One thing in one picture.

    Attributes:
        box: where it is.
        mask: ``(height, width) bool``, where the detector gives one.
    """

    box: Box
    mask: NDArray[np.bool_] | None = None


class Detector(Protocol):
    """Finds things in pictures.

    Attributes:
        name: how it was asked for.
        classes: what it can find; None where it takes any words.
    """

    name: str
    classes: frozenset[str] | None

    def detect(self, images: Sequence[Image.Image], names: Sequence[Sequence[str]]) -> list[list[Found]]:
        """What is in each picture, of the classes that are looked for in it, the surest first."""
        ...


class ObjectDetector:
    """A detector of transformers.

    Args:
        weights: a folder, or a name on the hub.
        device: ``auto``, ``cpu``, ``cuda``, ...
        keep: least score of a box.
        revision: of the weights on the hub.
        local_files_only: load nothing from the net.

    Raises:
        JudgeError: it cannot be loaded, or is of no kind that is taken.
        MissingExtraError: torch or transformers is not installed.
    """

    def __init__(
        self, weights: str, *, device: str = "auto", keep: float = KEEP, revision: str | None = None, local_files_only: bool = False
    ) -> None:
        _need_torch("An object detector")
        self.name = weights
        self._keep, self._device = keep, pick_device(device)
        hub: dict[str, Any] = {"local_files_only": local_files_only} | ({"revision": revision} if revision else {})
        self._kind, self._model, self._processor = _loaded(weights, lambda: _load(weights, hub, self._device))
        folder = Path(weights).expanduser()
        self.revision = folder_digest(folder) if folder.is_dir() else str(getattr(self._model.config, "_commit_hash", None) or "")
        self._labels: dict[int, str] = {}
        if self._kind != "words":
            self._labels = {
                int(number): _ALIASES.get(label.lower(), label.lower()) for number, label in self._model.config.id2label.items()
            }
        self.classes: frozenset[str] | None = frozenset(self._labels.values()) if self._labels else None

    def detect(self, images: Sequence[Image.Image], names: Sequence[Sequence[str]]) -> list[list[Found]]:
        """What is in each picture.

        Args:
            images: RGB.
            names: for each picture the classes that are looked for.

        Raises:
            JudgeError: a class is none of the detector's.
        """
        if self.classes is not None and (strange := sorted({name for own in names for name in own} - self.classes)):
            raise JudgeError(
                f"detector {self.name}: it knows no {', '.join(strange[:5])}; take one of COCO's 80 classes, or one asked by words"
            )
        pictures = [image.convert("RGB") for image in images]
        found = {"words": self._by_words, "masks": self._masks, "boxes": self._boxes}[self._kind](pictures, names)
        wanted = [set(own) for own in names]
        return [
            sorted((one for one in own if one.box.name in some), key=lambda one: -one.box.score)
            for own, some in zip(found, wanted, strict=True)
        ]

    def _run(self, **given: Any) -> Any:
        import torch

        with torch.inference_mode():
            return self._model(**{name: value.to(self._device) for name, value in given.items()})

    def _boxes(self, pictures: Sequence[Image.Image], names: Sequence[Sequence[str]]) -> list[list[Found]]:
        outputs = self._run(**self._processor(images=list(pictures), return_tensors="pt"))
        sizes = [(image.height, image.width) for image in pictures]
        results = self._processor.post_process_object_detection(outputs, threshold=self._keep, target_sizes=sizes)
        return [
            [
                Found(_box(self._labels.get(int(label), ""), float(score), corners.tolist(), image))
                for score, label, corners in zip(one["scores"], one["labels"], one["boxes"], strict=True)
            ]
            for one, image in zip(results, pictures, strict=True)
        ]

    def _masks(self, pictures: Sequence[Image.Image], names: Sequence[Sequence[str]]) -> list[list[Found]]:
        outputs = self._run(**self._processor(images=list(pictures), return_tensors="pt"))
        sizes = [(image.height, image.width) for image in pictures]
        results = self._processor.post_process_instance_segmentation(
            outputs, threshold=self._keep, target_sizes=sizes, return_binary_maps=True
        )
        found = []
        for one, image in zip(results, pictures, strict=True):
            own = []
            for place, segment in enumerate(one["segments_info"]):
                mask = one["segmentation"][place].cpu().numpy() > 0
                rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
                corners = [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
                name = self._labels.get(int(segment["label_id"]), "")
                own.append(Found(_box(name, float(segment["score"]), [float(at) for at in corners], image), mask))
            found.append(own)
        return found

    def _by_words(self, pictures: Sequence[Image.Image], names: Sequence[Sequence[str]]) -> list[list[Found]]:
        found = []
        for image, own in zip(pictures, names, strict=True):  # each picture has words of its own
            texts = [[f"a photo of a {name}" for name in own]]
            most = int(self._model.config.text_config.max_position_embeddings)
            given = self._processor(text=texts, images=image, return_tensors="pt", padding="max_length", truncation=True, max_length=most)
            outputs = self._run(**given)
            side = max(image.size) if self._kind == "words" and self._model.config.model_type == "owlv2" else 0
            size = (side, side) if side else (image.height, image.width)  # OWLv2 pads to a square
            result = self._processor.post_process_grounded_object_detection(outputs, threshold=self._keep, target_sizes=[size])[0]
            found.append(
                [
                    Found(_box(own[int(label)], float(score), corners.tolist(), image))
                    for score, label, corners in zip(result["scores"], result["labels"], result["boxes"], strict=True)
                ]
            )
        return found


class ClipColors:
    """Which of GenEval's ten colours a thing has, by CLIP: three sentences for each colour, their mean the class (as the released script).

    Args:
        weights: a ``CLIPModel`` of transformers: ``openai/clip-vit-large-patch14`` is GenEval's.
        device: ``auto``, ``cpu``, ``cuda``, ...
        revision: of the weights on the hub.
        local_files_only: load nothing from the net.

    Raises:
        JudgeError: it cannot be loaded.
        MissingExtraError: torch or transformers is not installed.
    """

    def __init__(self, weights: str, *, device: str = "auto", revision: str | None = None, local_files_only: bool = False) -> None:
        _need_torch("Colours by CLIP")
        self.name = weights
        self._device = pick_device(device)
        hub: dict[str, Any] = {"local_files_only": local_files_only} | ({"revision": revision} if revision else {})

        def load() -> tuple[Any, Any]:
            from transformers import AutoProcessor, CLIPModel

            return CLIPModel.from_pretrained(weights, **hub).eval().to(self._device), AutoProcessor.from_pretrained(weights, **hub)

        self._model, self._processor = _loaded(weights, load)
        self._classes: dict[str, Any] = {}

    def colors(self, crops: Sequence[Image.Image], name: str) -> list[str]:
        """The colour of each picture of a thing.

        Args:
            crops: from `crop_of`.
            name: what the thing is.
        """
        import torch

        if not crops:
            return []
        classes = self._class(name)
        found: list[str] = []
        for first in range(0, len(crops), 16):
            pixels = self._processor.image_processor(list(crops[first : first + 16]), return_tensors="pt")["pixel_values"]
            with torch.inference_mode():
                pictures = _vector(self._model.get_image_features(pixel_values=pixels.to(self._device))).float()
            best = (pictures @ classes.T).argmax(dim=1)
            found += [COLORS[int(place)] for place in best]
        return found

    def _class(self, name: str) -> Any:
        import torch

        if name not in self._classes:
            texts = [template.format(color=color, name=name) for color in COLORS for template in TEMPLATES]
            most = int(self._model.config.text_config.max_position_embeddings)
            given = self._processor.tokenizer(texts, padding=True, truncation=True, max_length=most, return_tensors="pt")
            with torch.inference_mode():
                words = _vector(
                    self._model.get_text_features(
                        input_ids=given["input_ids"].to(self._device), attention_mask=given["attention_mask"].to(self._device)
                    )
                ).float()
            words = torch.nn.functional.normalize(words, dim=-1).reshape(len(COLORS), len(TEMPLATES), -1).mean(dim=1)
            self._classes[name] = torch.nn.functional.normalize(words, dim=-1)
        return self._classes[name]


def crop_of(image: Image.Image, found: Found) -> Image.Image:
    """The thing alone: cut out along its box, grey where its mask says that it is not."""
    picture = image.convert("RGB")
    if found.mask is not None:
        picture = Image.composite(picture, Image.new("RGB", picture.size, BACKGROUND), Image.fromarray(found.mask.astype(np.uint8) * 255))
    box = found.box
    left, top = int(box.left), int(box.top)
    return picture.crop((left, top, max(int(box.right), left + 1), max(int(box.bottom), top + 1)))


def classes_of(extra: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """What is looked for in the pictures of an item, and of this, whose colour: from the extras of GenEval, or ``objects`` of others."""
    entries = [*extra.get("include", ()), *extra.get("exclude", ())]
    names = [one["class"] for one in entries] or [str(name) for name in extra.get("objects", ())]
    return list(dict.fromkeys(names)), list(dict.fromkeys(one["class"] for one in entries if "color" in one))


def detect_items(
    items: Items,
    pictures: Iterable[tuple[str, int, Image.Image]],
    detector: Detector,
    colors: ClipColors | None = None,
    *,
    model: str = "",
    samples: int = 1,
    batch: int = 8,
    advance: Callable[[int], object] | None = None,
) -> Detections:
    """Looks at the pictures of a benchmark.

    Args:
        items: the benchmark's, with what is to be looked for (`classes_of`).
        pictures: (record id, sample, picture) of each.
        detector: what finds things.
        colors: what tells their colours, where an item asks for one; without it those pictures have no verdict.
        model: whose pictures they are.
        samples: pictures expected for each item.
        batch: pictures at a time.
        advance: is told how many more are done.

    Raises:
        JudgeError: the detector knows a class not.
    """
    wanted = {str(record["id"]): classes_of(items.extras[record["id"]]) for record in items.records}
    by_media: dict[tuple[str, int], Seen] = {}
    stream = (one for one in pictures if wanted.get(one[0], ([], []))[0])
    while some := list(islice(stream, batch)):
        found = detector.detect([image for _, _, image in some], [wanted[id][0] for id, _, _ in some])
        for (id, sample, image), own in zip(some, found, strict=True):
            boxes = [one.box for one in own]
            for name in wanted[id][1] if colors else ():
                mine = [at for at, one in enumerate(own) if one.box.name == name and one.box.score > THRESHOLD][:MAX_OBJECTS]
                assert colors is not None
                for at, color in zip(mine, colors.colors([crop_of(image, own[at]) for at in mine], name), strict=True):
                    boxes[at] = replace(boxes[at], color=color)
            by_media[id, sample] = Seen(tuple(boxes), size=image.size)
        if advance:
            advance(len(some))
    said = detector.name if colors is None else f"{detector.name}, colours by {colors.name}"
    return Detections(by_media, model, said, samples)


def _box(name: str, score: float, corners: Sequence[float], image: Image.Image) -> Box:
    """A box within the picture."""
    left, top = (min(max(at, 0.0), float(most)) for at, most in zip(corners[:2], image.size, strict=True))
    right, bottom = (min(max(at, 0.0), float(most)) for at, most in zip(corners[2:], image.size, strict=True))
    return Box(name, min(max(score, 0.0), 1.0), left, top, max(left, right), max(top, bottom))


def _vector(features: Any) -> Any:
    """Features as a tensor: newer versions of transformers give them inside an output."""
    return getattr(features, "pooler_output", features)


def _need_torch(what: str) -> None:
    if any(find_spec(name) is None for name in ("torch", "transformers", "torchvision")):
        raise MissingExtraError(what, "judges")


def _loaded(weights: str, load: Callable[[], Any]) -> Any:
    try:
        with quiet_loading():
            return load()
    except load_errors() as error:
        raise JudgeError(f"detector {weights!r} cannot be loaded: {one_line(error)}") from error


def _load(weights: str, hub: Mapping[str, Any], device: str) -> tuple[str, Any, Any]:
    """The kind of a detector, its model and its processor."""
    import transformers
    from transformers.models.auto import modeling_auto as known

    kind = transformers.AutoConfig.from_pretrained(weights, **hub).model_type
    if kind in ("owlvit", "owlv2"):
        name, loader, processor = "words", transformers.AutoModelForZeroShotObjectDetection, transformers.AutoProcessor
    elif kind == "mask2former":
        name, loader, processor = "masks", transformers.AutoModelForUniversalSegmentation, transformers.AutoImageProcessor
    elif kind in known.MODEL_FOR_OBJECT_DETECTION_MAPPING_NAMES:
        name, loader, processor = "boxes", transformers.AutoModelForObjectDetection, transformers.AutoImageProcessor
    else:
        raise JudgeError(f"detector {weights!r} is a {kind}; DETR and its kin, YOLOS, Mask2Former, OWL-ViT and OWLv2 are taken")
    return name, loader.from_pretrained(weights, **hub).eval().to(device), processor.from_pretrained(weights, **hub)
