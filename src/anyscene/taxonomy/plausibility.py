"""Placeholder that the plausibility model replaces."""
from collections.abc import Mapping
import numpy as np
from numpy.typing import NDArray
class Plausibility:
    def __init__(self, vectors: Mapping[str, NDArray[np.generic]]) -> None:
        self.vectors = vectors
    def attribute_scores(self, objects, attributes): return np.zeros(len(objects), np.float32)
    def relation_scores(self, subjects, relations, objects): return np.zeros(len(objects), np.float32)
