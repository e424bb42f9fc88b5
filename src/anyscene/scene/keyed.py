"""Keyed hashing and keyed bijections: every draw is a hash of (key, place), so nothing depends on order or workers.

The mixing function is the finaliser of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014).
"""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

U64 = NDArray[np.uint64]
MASK = (1 << 64) - 1
_A, _B, _GOLDEN = 0xBF58476D1CE4E5B9, 0x94D049BB133111EB, 0x9E3779B97F4A7C15
_A64, _B64 = np.uint64(_A), np.uint64(_B)
_S30, _S27, _S31 = np.uint64(30), np.uint64(27), np.uint64(31)
ROUNDS = 4


def key_of(*parts: object) -> int:
    """A 64-bit key out of anything with a stable ``str``."""
    text = "\x1f".join(map(str, parts))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")


def mix(values: U64) -> U64:
    """A bijection of 64-bit words that spreads every bit; takes ownership of nothing."""
    x = values ^ (values >> _S30)
    x *= _A64
    x ^= x >> _S27
    x *= _B64
    x ^= x >> _S31
    return x


def mix_int(value: int) -> int:
    """``mix`` for one Python integer."""
    x = value & MASK
    x = ((x ^ (x >> 30)) * _A) & MASK
    x = ((x ^ (x >> 27)) * _B) & MASK
    return x ^ (x >> 31)


def permutation(size: int, key: int) -> NDArray[np.int64]:
    """A keyed shuffle of ``0 .. size - 1``; the same on every machine."""
    return np.argsort(mix(np.arange(1, size + 1, dtype=np.uint64) * np.uint64(_GOLDEN) ^ np.uint64(key)), kind="stable")


def shuffle_digits(digits: list[U64], sizes: list[U64], key: U64) -> list[U64]:
    """A keyed bijection on mixed-radix digits (a generalised Feistel network).

    Each digit in turn is moved by a hash of all others, modulo its own range; four rounds.

    Args:
        digits: one ``(rows,)`` array a place, ``digits[i] < sizes[i]``.
        sizes: the range of every digit, ``(rows,)``.
        key: ``(rows,)``; rows with one key and one list of sizes share one bijection.
    """
    digits = list(digits)
    salted = [key + np.uint64(((i + 1) * _GOLDEN) & MASK) for i in range(len(digits))]
    hashes = [mix(d + s) for d, s in zip(digits, salted, strict=True)]
    total = sum(hashes[1:], start=hashes[0].copy())
    for turn in range(ROUNDS):
        for i, size in enumerate(sizes):
            total -= hashes[i]
            move = mix(total + np.uint64(((turn * 64 + i + 1) * _GOLDEN) & MASK) + key)
            digits[i] = (digits[i] + move % size) % size
            hashes[i] = mix(digits[i] + salted[i])
            total += hashes[i]
    return digits


def permute_int(value: int, size: int, key: int) -> int:
    """A keyed bijection of ``0 .. size - 1`` for integers of any length: a Feistel network over bits, walked until it lands inside."""
    if size <= 1:
        return value
    half = max(1, ((size - 1).bit_length() + 1) // 2)
    mask = (1 << half) - 1
    while True:
        left, right = value >> half, value & mask
        for turn in range(6):
            left, right = right, left ^ (_wide(right, half, key, turn) & mask)
        value = left << half | right
        if value < size:
            return value


def _wide(value: int, bits: int, key: int, turn: int) -> int:
    """A hash of ``value`` with at least ``bits`` bits."""
    if bits <= 64 and value <= MASK:
        return mix_int(mix_int(value + key) + (turn + 1) * _GOLDEN)
    size = (bits + 7) // 8
    data = value.to_bytes(size + 8, "big") + key.to_bytes(8, "big") + bytes([turn])
    return int.from_bytes(hashlib.shake_128(data).digest(size + 8), "big")
