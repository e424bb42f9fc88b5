"""What looks at a picture and gives a number: networks from scratch or pretrained, and linear models on fixed features.

    vit-tiny, vit-small, vit-base   vision transformers from scratch, for any picture and patch size (transformers)
    regnet, resnet                  small convolutional networks from scratch, for tiny pictures: regnet looks closely, resnet is fast
    transformers:NAME               pretrained: a folder, or a name on the hub
    timm:NAME                       a network of timm, with its weights unless pretrained is off
    frozen:NAME                     logistic regression on the features of a network that stays as it is: CLIP, DINOv2
    hand                            logistic regression on features of file and pixels: the audit's, as a baseline

All are other libraries' classes. A picture is never scaled down: `degrade.fit` cuts the square out that a network sees.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from anyscene.errors import MissingExtraError, ModelError, SpecError
from anyscene.moderation.degrade import fit
from anyscene.scoring.question_bank import Floats
from anyscene.weights import empty_cache, folder_digest, is_out_of_memory, load_errors, one_line, quiet_loading

__all__ = ["Frozen", "Logit", "Network", "load_frozen", "make_network", "pixels_of", "run_batches", "square_array"]

Pixels = NDArray[np.uint8]
NETWORK = "network"
HALF = (0.5, 0.5, 0.5)
VIT = {"tiny": (192, 3), "small": (384, 6), "base": (768, 12)}
"""Width and heads of the vision transformers of 12 layers (arXiv 2010.11929, 2012.12877)."""
SMALL, SMALL_PATCH, PATCH, SIZE = 64, 4, 16, 224


@dataclass(frozen=True)
class Network:
    """A network that gives each picture one logit: above 0, more likely generated than not.

    Attributes:
        module: from ``(batch, 3, size, size)`` to ``(batch,)``.
        size: of the square that it sees, in pixels.
        mean: that is taken from the channels, of values between 0 and 1.
        std: by which they are divided then.
        facts: what it is, for ``detector.json``.
    """

    module: Logit
    size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    facts: Mapping[str, Any]

    def logits(self, images: Sequence[Image.Image], batch: int = 64) -> Floats:
        """``(images,)`` the logit of each; NaN where one does not fit the memory."""
        device = next(self.module.parameters()).device
        self.module.eval()

        def call(some: Sequence[Image.Image]) -> Floats:
            with torch.inference_mode():
                pixels = pixels_of(np.stack([square_array(one, self.size) for one in some]), self.mean, self.std, device)
                return np.asarray(self.module(pixels).double().cpu().numpy(), dtype=np.float64)

        return run_batches(images, batch, call, (), str(device))

    def save(self, folder: Path) -> None:
        """Writes it such that `load` finds it."""
        self.module.save(folder / NETWORK)

    @staticmethod
    def load(folder: Path, facts: Mapping[str, Any], preprocessing: Mapping[str, Any]) -> Network:
        """What `save` wrote.

        Raises:
            ModelError: the files are missing or damaged.
        """
        place, backbone = folder / NETWORK, str(facts["name"])
        module = _timm_again(place, facts) if backbone.startswith("timm:") else _Transformers(_pretrained(backbone, str(place)))
        return Network(module, preprocessing["size"], tuple(preprocessing["mean"]), tuple(preprocessing["std"]), facts)


class Logit(nn.Module, ABC):  # type: ignore[misc,unused-ignore]
    """A network of another library with one output for each picture.

    Args:
        inner: the network.
    """

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Writes it as its library does."""


class _Transformers(Logit):
    def forward(self, pixels: Tensor) -> Tensor:
        return self.inner(pixel_values=pixels).logits[:, 0]

    def save(self, folder: Path) -> None:
        with quiet_loading():
            self.inner.save_pretrained(str(folder))


class _Timm(Logit):
    def forward(self, pixels: Tensor) -> Tensor:
        return self.inner(pixels)[:, 0]

    def save(self, folder: Path) -> None:
        from safetensors.torch import save_file

        folder.mkdir(parents=True, exist_ok=True)
        save_file({name: one.contiguous() for name, one in self.inner.state_dict().items()}, str(folder / "model.safetensors"))


def make_network(name: str, *, size: int | None = None, patch: int | None = None, pretrained: bool = True, seed: int = 0) -> Network:
    """A network by the name of its backbone, ready to be trained.

    Args:
        name: see the module.
        size: of the square that it sees, in pixels; None is the backbone's own, or 224.
        patch: of a vision transformer from scratch; None is 16, or 4 where the square has 64 pixels at most.
        pretrained: with timm's weights, or from scratch.
        seed: of the weights that are drawn.

    Raises:
        SpecError: there is no such backbone, or it cannot have that size.
        ModelError: its weights cannot be loaded.
        MissingExtraError: a library is not installed.
    """
    kind, _, rest = name.partition(":")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if kind == "timm" and rest:
            return _timm_network(name, rest, size, patch, pretrained)
        if kind == "transformers" and rest:
            _refuse(name, patch=patch)
            return _pretrained_network(name, rest, size)
        try:
            module, sizes = _from_scratch(name, size, patch)
        except (ImportError, RuntimeError) as error:  # transformers imports a network's code when it is asked for
            raise _missing(name, "transformers", "moderation", error) from None
    return Network(_Transformers(module), sizes["size"], HALF, HALF, {"name": name, **sizes})


def _missing(name: str, library: str, extra: str, error: Exception) -> MissingExtraError | ModelError:
    """A library that is not there; or one that is, and cannot be imported, which no installing mends."""
    if find_spec(library) is None:
        return MissingExtraError(f"Backbone {name!r}", extra)
    return ModelError(f"backbone {name!r} cannot be made: {one_line(error)}")


def _refuse(name: str, **given: object) -> None:
    for option, value in given.items():
        if value is not None:
            raise SpecError(f"backbone {name!r} has its own {option}; {option}={value} has no effect")


def _from_scratch(name: str, size: int | None, patch: int | None) -> tuple[nn.Module, dict[str, int]]:
    import transformers as t

    side = SIZE if size is None else size
    if name.startswith("vit-") and name[4:] in VIT:
        width, heads = VIT[name[4:]]
        patch = (SMALL_PATCH if side <= SMALL else PATCH) if patch is None else patch
        if side < patch or side % patch:
            raise SpecError(f"backbone {name!r}: size {side} is not a multiple of patch {patch}")
        sizes = {"image_size": side, "patch_size": patch, "hidden_size": width, "intermediate_size": 4 * width}
        config = t.ViTConfig(**sizes, num_attention_heads=heads, num_hidden_layers=12, num_labels=1)
        return t.ViTForImageClassification(config), {"size": side, "patch": patch}
    _refuse(name, patch=patch)
    if side < 16:
        raise SpecError(f"backbone {name!r}: size {side} is too small; at least 16")
    if name == "regnet":  # no pooling before the first stage: what gives a tiny picture away is a pixel wide
        widths = {"embedding_size": 32, "hidden_sizes": [32, 64, 128], "depths": [1, 2, 1], "groups_width": 16}
        config = t.RegNetConfig(**widths, layer_type="x", downsample_in_first_stage=False, num_labels=1)
        return t.RegNetForImageClassification(config), {"size": side}
    if name == "resnet":
        config = t.ResNetConfig(embedding_size=32, hidden_sizes=[32, 64, 128], depths=[1, 1, 1], layer_type="basic", num_labels=1)
        return t.ResNetForImageClassification(config), {"size": side}
    known = f"{', '.join(f'vit-{one}' for one in VIT)}, regnet, resnet, transformers:NAME, timm:NAME, frozen:NAME, hand"
    raise SpecError(f"backbone {name!r}: there is no such backbone; there are {known}")


def _pretrained(name: str, weights: str) -> nn.Module:
    from transformers import AutoModelForImageClassification

    try:
        with quiet_loading():
            return AutoModelForImageClassification.from_pretrained(weights, num_labels=1, ignore_mismatched_sizes=True)
    except load_errors() as error:
        raise ModelError(f"backbone {name!r} cannot be loaded: {one_line(error)}") from error


def _pretrained_network(name: str, weights: str, size: int | None) -> Network:
    module = _pretrained(name, weights)
    own = _own_size(module.config)
    if size is not None and own is not None and own != size:
        raise SpecError(f"backbone {name!r} sees squares of {own} pixels, not of {size}")
    mean, std = _channels(weights)
    return Network(_Transformers(module), own or size or SIZE, mean, std, {"name": _portable(name), "revision": _revision(weights, module)})


def _own_size(config: Any) -> int | None:
    found = getattr(getattr(config, "vision_config", config), "image_size", None)
    return int(found[0] if isinstance(found, (list, tuple)) else found) if found else None


def _channels(weights: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Means and deviations that a network's image processor says, or a half where it has none."""
    from transformers import AutoImageProcessor

    try:
        with quiet_loading():
            processor = AutoImageProcessor.from_pretrained(weights)
        return tuple(map(float, processor.image_mean)), tuple(map(float, processor.image_std))
    except load_errors():
        return HALF, HALF


def _portable(name: str) -> str:
    """A folder by its last name: a detector says nothing of where it was made."""
    kind, _, rest = name.partition(":")
    path = Path(rest).expanduser()
    return f"{kind}:{path.resolve().name}" if path.is_dir() else name


def _revision(weights: str, module: nn.Module) -> str:
    folder = Path(weights).expanduser()
    return folder_digest(folder) if folder.is_dir() else str(getattr(module.config, "_commit_hash", None) or "")


def _timm_network(name: str, rest: str, size: int | None, patch: int | None, pretrained: bool) -> Network:
    options = {} if size is None else {"img_size": size}
    if patch is not None:
        options["patch_size"] = patch
    module = _timm(name, rest, options, pretrained)
    from timm.data import resolve_model_data_config

    data = resolve_model_data_config(module)
    facts = {"name": name, "pretrained": pretrained, "options": options}
    return Network(_Timm(module), size or int(data["input_size"][-1]), tuple(data["mean"]), tuple(data["std"]), facts)


def _timm(name: str, rest: str, options: Mapping[str, int], pretrained: bool) -> nn.Module:
    try:
        import timm
    except (ImportError, RuntimeError) as error:
        raise _missing(name, "timm", "timm", error) from None
    try:
        with quiet_loading():
            return timm.create_model(rest, pretrained=pretrained, num_classes=1, **options)
    except (*load_errors(), AssertionError) as error:  # type: ignore[misc]
        raise ModelError(f"backbone {name!r} cannot be made: {one_line(error)}") from error


def _timm_again(place: Path, facts: Mapping[str, Any]) -> Logit:
    from safetensors.torch import load_file

    module = _timm(facts["name"], str(facts["name"]).partition(":")[2], facts["options"], pretrained=False)
    try:
        module.load_state_dict(load_file(str(place / "model.safetensors")))
    except load_errors() as error:
        raise ModelError(f"{place}: the weights cannot be loaded: {one_line(error)}") from error
    return _Timm(module)


# ---- features of a network that stays as it is --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Frozen:
    """A network that gives each picture a row of features.

    Attributes:
        module: of transformers.
        size: of the square that it sees, in pixels.
        mean: as of `Network`.
        std: likewise.
        facts: what it is.
    """

    module: nn.Module
    size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    facts: Mapping[str, Any]

    def features(self, images: Sequence[Image.Image], batch: int = 32) -> Floats:
        """``(images, features)``; a row of NaN where one does not fit the memory."""
        device = next(self.module.parameters()).device

        def call(some: Sequence[Image.Image]) -> Floats:
            with torch.inference_mode():
                pixels = pixels_of(np.stack([square_array(one, self.size) for one in some]), self.mean, self.std, device)
                return np.asarray(self._embed(pixels).double().cpu().numpy(), dtype=np.float64)

        return run_batches(images, batch, call, (self.width,), str(device))

    @property
    def width(self) -> int:
        """How many features there are."""
        device = next(self.module.parameters()).device
        with torch.inference_mode():
            return int(self._embed(torch.zeros(1, 3, self.size, self.size, device=device)).shape[1])

    def _embed(self, pixels: Tensor) -> Tensor:
        found = self.module.get_image_features(pixel_values=pixels) if hasattr(self.module, "get_image_features") else self.module(pixels)
        if isinstance(found, Tensor):
            return found
        pooled = getattr(found, "pooler_output", None)
        return (found.last_hidden_state[:, 0] if pooled is None else pooled).flatten(1)

    def save(self, folder: Path) -> None:
        """Writes it beside the linear model, so that the detector needs nothing else."""
        with quiet_loading():
            self.module.save_pretrained(str(folder / NETWORK))


def load_frozen(name: str, weights: str, device: str, preprocessing: Mapping[str, Any] | None = None) -> Frozen:
    """A network to take features from.

    Args:
        name: of the backbone, for messages.
        weights: a folder, or a name on the hub.
        device: of torch.
        preprocessing: ``size``, ``mean`` and ``std``; None takes those that come with the weights.

    Raises:
        ModelError: it cannot be loaded.
    """
    from transformers import AutoModel

    try:
        with quiet_loading():
            module = AutoModel.from_pretrained(weights).eval().to(device)
    except load_errors() as error:
        raise ModelError(f"backbone {name!r} cannot be loaded: {one_line(error)}") from error
    if preprocessing is None:
        mean, std = _channels(weights)
        facts = {"name": _portable(name), "revision": _revision(weights, module)}
        return Frozen(module, _own_size(module.config) or SIZE, mean, std, facts)
    return Frozen(module, preprocessing["size"], tuple(preprocessing["mean"]), tuple(preprocessing["std"]), {"name": name})


# ---- pictures as numbers --------------------------------------------------------------------------------------------------------


def square_array(image: Image.Image, size: int) -> Pixels:
    """``(size, size, 3) uint8 RGB``."""
    return np.asarray(fit(image if image.mode == "RGB" else image.convert("RGB"), size), dtype=np.uint8)


def pixels_of(arrays: Pixels | Tensor, mean: Sequence[float], std: Sequence[float], device: Any) -> Tensor:
    """``(batch, 3, size, size) float32`` for a network, from ``(batch, size, size, 3) uint8``."""
    values = torch.as_tensor(arrays).to(device).permute(0, 3, 1, 2).float() / 255
    middle, width = (torch.tensor(tuple(one), device=device).view(1, 3, 1, 1) for one in (mean, std))
    return (values - middle) / width


def run_batches(
    images: Sequence[Image.Image], batch: int, call: Callable[[Sequence[Image.Image]], Floats], row: tuple[int, ...], device: str
) -> Floats:
    """``(images, *row)`` what a call gives for all pictures, in batches that are halved where the memory does not suffice."""
    return np.concatenate([np.zeros((0, *row)), *_batched(images, batch, call, row, device)])


def _batched(
    images: Sequence[Image.Image], batch: int, call: Callable[[Sequence[Image.Image]], Floats], row: tuple[int, ...], device: str
) -> Iterator[Floats]:
    done = 0
    while done < len(images):
        some = images[done : done + batch]
        try:
            yield call(some)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            empty_cache(device)
            if len(some) > 1:
                batch = len(some) // 2
                continue
            yield np.full((1, *row), np.nan)
        done += len(some)
