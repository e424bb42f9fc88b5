"""The pickles that flow_grpo's remote rewards send, read without running anything that they say.

A pickle is a program. This reader takes those that only build plain values (lists, dicts, texts, bytes, numbers) and the numpy arrays of
texts that flow_grpo cuts its prompts into; the few names that numpy's arrays need are stood in for by classes of this file, and every
other name, call and memory trick is refused before the unpickler sees it.
"""

from __future__ import annotations

import io
import pickle
import pickletools
from collections.abc import Callable, Sequence
from typing import Any

from anyscene.rewards.wire import Refusal

__all__ = ["pickled_items", "read_pickle", "write_pickle"]

_REFUSED = frozenset(
    "PERSID BINPERSID EXT1 EXT2 EXT4 NEXT_BUFFER READONLY_BUFFER INST OBJ NEWOBJ NEWOBJ_EX DUP POP POP_MARK FROZENSET ADDITEMS".split()
)
_TUPLES = frozenset({"TUPLE", "TUPLE1", "TUPLE2", "TUPLE3"})
_PUTS = frozenset({"PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"})
_GETS = frozenset({"GET", "BINGET", "LONG_BINGET"})
MOST_SHARED_TUPLES = 16
"""Tuples that are used again: nested in one another, n of them make the hash of the last one take 2^n steps."""


class _Dtype:
    """Stands in for ``numpy.dtype``: only its letters and its byte order."""

    def __init__(self, letters: object, *_: object) -> None:
        self.letters, self.order = letters if isinstance(letters, str) else "", "<"

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.order = state[1]


class _Array:
    """Stands in for ``numpy.ndarray``: takes one axis of texts or of values, and nothing else."""

    values: tuple[Any, ...] = ()

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, dtype, _, data = state
        if not isinstance(dtype, _Dtype) or len(shape) != 1:
            raise pickle.UnpicklingError("an array that is no list of texts")
        if isinstance(data, list) and dtype.letters.startswith("O") and len(data) == shape[0]:
            self.values = tuple(data)
        elif isinstance(data, bytes) and dtype.letters.startswith("U"):
            self.values = _texts(data, int(dtype.letters[1:] or 0), dtype.order, int(shape[0]))
        else:
            raise pickle.UnpicklingError("an array that is no list of texts")


class _Call:
    """A function that a pickle may call, and not change."""

    __slots__ = ("_make",)

    def __init__(self, make: Callable[..., Any]) -> None:
        self._make = make

    def __call__(self, *arguments: object) -> Any:
        return self._make(*arguments)

    def __setstate__(self, _: object) -> None:
        raise pickle.UnpicklingError("it changes what is not its own")


def _scalar(dtype: object, data: object = b"") -> str:
    if not isinstance(dtype, _Dtype) or not isinstance(data, bytes) or not dtype.letters.startswith("U"):
        raise pickle.UnpicklingError("a numpy scalar that is no text")
    return _texts(data, len(data) // 4, dtype.order, 1)[0]


def _from_buffer(data: object, dtype: object, shape: object, _: object) -> _Array:
    """How arrays are written in protocol 5."""
    if not isinstance(data, (bytes, bytearray)):
        raise pickle.UnpicklingError("an array that is no list of texts")
    array = _Array()
    array.__setstate__((1, shape, dtype, False, bytes(data)))
    return array


def _latin(text: object, coding: object) -> bytes:
    """How bytes are written in protocols 0 to 2."""
    if not isinstance(text, str) or coding != "latin1":
        raise pickle.UnpicklingError("bytes that are written in no way that is known")
    return text.encode("latin1")


def _no_bytes(*arguments: object) -> bytes:
    if arguments:
        raise pickle.UnpicklingError("bytes that are written in no way that is known")
    return b""


def _texts(data: bytes, letters: int, order: str, number: int) -> tuple[str, ...]:
    width = 4 * letters
    if len(data) != width * number or order not in ("<", ">"):
        raise pickle.UnpicklingError("an array whose size is not that of its data")
    coding = "utf-32-le" if order == "<" else "utf-32-be"
    return tuple(data[place * width : (place + 1) * width].decode(coding).rstrip("\0") for place in range(number))


_NUMPY = {
    "core.multiarray": {"_reconstruct": _Call(lambda *_: _Array()), "scalar": _Call(_scalar)},
    "core.numeric": {"_frombuffer": _Call(_from_buffer)},
}
_KNOWN = {
    (f"numpy.{prefix}{module}", name): found
    for prefix in ("", "_")  # numpy 1 and 2
    for module, names in _NUMPY.items()
    for name, found in names.items()
} | {
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Dtype,
    ("_codecs", "encode"): _Call(_latin),
    ("__builtin__", "bytes"): _Call(_no_bytes),
}


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        found = _KNOWN.get((module, name))
        if found is None:
            raise pickle.UnpicklingError(f"it names {module}.{name}")
        return found


def read_pickle(body: bytes | bytearray, most_values: int) -> dict[str, Any]:
    """The dictionary that a pickle holds; arrays of texts are lists.

    Args:
        body: the pickle.
        most_values: steps that it may take.

    Raises:
        Refusal: it is damaged, no dictionary, or holds what is not taken.
    """
    data = bytes(body)
    try:
        _check(data, most_values)
        value = _Reader(io.BytesIO(data)).load()
    except Refusal:
        raise
    except Exception as error:  # a damaged pickle may fail in any way
        raise Refusal(400, "bad_pickle", f"the pickle is not taken: {' '.join(str(error).split())[:200] or type(error).__name__}") from None
    if not isinstance(value, dict):
        raise Refusal(400, "bad_pickle", f"the pickle holds {type(value).__name__}; it must be a dict with images and prompts")
    return {str(key): list(one.values) if isinstance(one, _Array) else one for key, one in value.items()}


def write_pickle(value: dict[str, Any]) -> bytes:
    """A reply, in a protocol that every Python reads."""
    return pickle.dumps(value, protocol=4)


def _check(data: bytes, most_values: int) -> None:
    """Refuses steps that no plain value needs, and places in the memo that were never filled in order (they cost memory)."""
    before, places, shared = "", 0, 0
    tuples: set[int] = set()
    for steps, (opcode, argument, _) in enumerate(pickletools.genops(io.BytesIO(data)), 1):
        if steps > most_values:
            raise Refusal(413, "too_many_values", f"the pickle has more than {most_values:,} values")
        if opcode.name in _REFUSED:
            raise pickle.UnpicklingError(f"it holds {opcode.name}")
        if opcode.name in _PUTS:
            place = places if argument is None else int(argument)
            if place > steps:
                raise pickle.UnpicklingError("a memo that is not filled in order")
            places += 1
            if before in _TUPLES:
                tuples.add(place)
        elif opcode.name in _GETS:
            shared += argument in tuples
            if shared > MOST_SHARED_TUPLES:
                raise pickle.UnpicklingError(f"more than {MOST_SHARED_TUPLES} tuples that are used again")
        before = opcode.name


def pickled_items(value: dict[str, Any]) -> tuple[list[bytes], Sequence[Any], list[Any]]:
    """(files, prompts, metadata) of a request in any of the shapes that flow_grpo sends; prompts and metadata may be empty.

    Raises:
        Refusal: there are no images, or something is of the wrong kind.
    """
    images = value.get("images")
    if not isinstance(images, (list, tuple)) or not all(isinstance(one, bytes) for one in images):
        raise Refusal(400, "bad_request", "images must be a list of the bytes of JPEG or PNG files")
    prompts = value.get("prompts") or []
    if not isinstance(prompts, (list, tuple)):
        raise Refusal(400, "bad_request", "prompts must be a list of texts")
    metadata = value.get("meta_datas") or value.get("metadata") or []
    if isinstance(metadata, dict):
        metadata = metadata.get("records") or []
    if not isinstance(metadata, (list, tuple)):
        raise Refusal(400, "bad_request", "metadata must be a list with one entry for each image, or empty")
    return list(images), prompts, list(metadata)
