"""What a back-end with weights of its own needs: a device, a precision, a revision, a quiet load, and to know when memory ran out.

Torch is imported where it is used, so that importing this module costs nothing.
"""

from __future__ import annotations

import hashlib
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from anyscene.errors import SpecError

__all__ = [
    "empty_cache",
    "folder_digest",
    "is_out_of_memory",
    "library_versions",
    "load_errors",
    "one_line",
    "pick_device",
    "pick_dtype",
    "quiet_loading",
]

_WHOLE = 64 << 20
"""Files up to so many bytes count whole in a folder's digest."""
_BLOCK, _BLOCKS = 1 << 20, 16
_OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "not enough memory", "failed to allocate")


def pick_device(device: str = "auto") -> str:
    """The torch device that is meant: ``auto`` is the first of CUDA, MPS (Apple) and the CPU that is there.

    Raises:
        SpecError: it names a device that this machine does not have.
    """
    import torch

    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if device == "auto":
        return next(name for name, is_there in there.items() if is_there)
    try:
        kind = torch.device(device).type
    except RuntimeError:
        raise SpecError(f"device {device!r}: torch knows no such device; try auto, cpu, cuda, cuda:1 or mps") from None
    if not there.get(kind, True):
        found = [name for name, is_there in there.items() if is_there]
        raise SpecError(f"device {device!r}: torch finds none here; there are {', '.join(found)}")
    return device


def pick_dtype(dtype: str, device: str) -> Any:
    """The ``torch.dtype`` that is meant: ``auto`` is float32 on a CPU, bfloat16 on a GPU that has it, else float16.

    Raises:
        SpecError: torch has no floating-point type of that name.
    """
    import torch

    if dtype == "auto":
        if device.startswith("cuda"):
            return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
        return torch.float16 if device.startswith("mps") else torch.float32
    found = getattr(torch, dtype, None)
    if not isinstance(found, torch.dtype) or not found.is_floating_point:
        raise SpecError(f"dtype {dtype!r}: it must be auto, float32, float16 or bfloat16")
    return found


def folder_digest(folder: Path) -> str:
    """Sixteen hexadecimal digits that tell one folder of weights from another, whatever it is called and wherever it lies.

    Names, sizes and contents count. Of a file above 64 MiB, sixteen blocks of 1 MiB spread evenly from its first to its last byte count,
    which any training changes; so a folder of 20 GB takes well under a second. Hidden files, and README files, do not count.
    """
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*"), key=lambda path: path.relative_to(folder).as_posix()):
        inside = path.relative_to(folder)
        if not path.is_file() or any(part.startswith(".") for part in inside.parts) or path.name.lower().startswith("readme"):
            continue
        size = path.stat().st_size
        digest.update(f"{inside.as_posix()}\0{size}\0".encode())
        with path.open("rb") as file:
            if size <= _WHOLE:
                digest.update(file.read())
            else:
                for place in range(_BLOCKS):
                    file.seek((size - _BLOCK) * place // (_BLOCKS - 1))
                    digest.update(file.read(_BLOCK))
    return digest.hexdigest()[:16]


@contextmanager
def quiet_loading() -> Iterator[None]:
    """No bars, log lines or warnings of transformers and diffusers while weights are loaded; all as before afterwards."""
    from contextlib import ExitStack
    from importlib import import_module
    from importlib.util import find_spec

    with ExitStack() as stack:
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")  # before anything is imported: importing warns too
        for library in ("transformers", "diffusers"):
            if find_spec(library) is None:
                continue
            log = import_module(f"{library}.utils.logging")
            stack.callback(log.set_verbosity, log.get_verbosity())
            log.set_verbosity(logging.CRITICAL)
            if log.is_progress_bar_enabled():
                stack.callback(log.enable_progress_bar)
                log.disable_progress_bar()
        hub = logging.getLogger("huggingface_hub")  # which tells of each time that it tries again
        stack.callback(hub.setLevel, hub.level)
        hub.setLevel(logging.CRITICAL)
        yield


def load_errors() -> tuple[type[Exception], ...]:
    """What loading foreign weights raises when they are missing, damaged or of another kind. Programming errors of ours are among them."""
    from safetensors import SafetensorError

    return (OSError, ValueError, RuntimeError, TypeError, KeyError, AttributeError, ImportError, NotImplementedError, SafetensorError)


def one_line(error: BaseException, most: int = 300) -> str:
    """An error's message as one line of at most so many characters, with the error's name where there is no message."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= most else text[: most - 1] + "…"


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that the device's memory, or the machine's, is used up."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and any(words in text for words in _OUT_OF_MEMORY)


def empty_cache(device: str) -> None:
    """Gives back the device memory that torch keeps for itself, after what was half done has been let go."""
    import gc

    import torch

    gc.collect()
    if device.startswith("cuda"):
        torch.cuda.empty_cache()
    elif device.startswith("mps"):
        torch.mps.empty_cache()


def library_versions(*names: str) -> dict[str, str]:
    """Versions of installed libraries, by name; one that is not installed is left out."""
    found = {}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
