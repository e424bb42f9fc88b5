"""Two scores of a synset, each a logistic regression on the hand labels in ``review/``: can it be shown, and will people know it.

The features are WordNet structure (branch, lexicographer file, dominance of the sense), the ImageNet and detection lists,
Lancaster norms and word frequency; they are built here for any noun synset and never shipped.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence

import numpy as np
from word_data import WordData
from wordnet import WordNet

BRANCHES = {
    "compound": "substance",
    "chemical_element": "substance",
    "microorganism": "animal",
    "relative": "person",
    "person": "Tops",
    "animal": "Tops",
    "plant": "Tops",
    "artifact": "Tops",
    "location": "Tops",
    "body_part": "body",
    "internal_organ": "body",
    "nerve": "body",
    "vessel": "body",
    "bone": "body",
    "muscle": "body",
    "tissue": "body",
    "worker": "person",
    "entertainer": "person",
    "bad_person": "person",
    "inhabitant": "person",
    "expert": "person",
    "food": "food",
    "container": "artifact",
    "clothing": "artifact",
    "vehicle": "artifact",
    "instrumentality": "artifact",
    "structure": "artifact",
    "commodity": "artifact",
    "fungus": "plant",
    "material": "substance",
    "bird": "animal",
    "mammal": "animal",
    "fish": "animal",
    "insect": "animal",
    "tree": "plant",
    "herb": "plant",
    "shrub": "plant",
    "woody_plant": "plant",
    "dog": "animal",
    "edible_fruit": "food",
    "beverage": "food",
    "invertebrate": "animal",
    "drug": "artifact",
    "device": "artifact",
    "machine": "artifact",
    "furniture": "artifact",
    "building": "artifact",
}
LEXNAMES = [
    "artifact",
    "animal",
    "plant",
    "food",
    "person",
    "body",
    "object",
    "substance",
    "location",
    "communication",
    "process",
    "phenomenon",
]


class FeatureMaker:
    """Turns synsets into feature vectors."""

    def __init__(self, wordnet: WordNet, data: WordData) -> None:
        self.wordnet = wordnet
        self.data = data
        self.branches = [wordnet.sense(lemma, lexname) for lemma, lexname in BRANCHES.items()]

    def matrix(self, synsets: Sequence[str]) -> np.ndarray:
        """Float features of shape ``(synsets, features)``."""
        return np.array([self._features(synset) for synset in synsets])

    def _features(self, synset: str) -> list[float]:
        wordnet, data = self.wordnet, self.data
        node = wordnet.synsets[synset]
        names = [lemma.replace("_", " ").lower() for lemma in node.lemmas]
        lead = [lemma for lemma in node.lemmas if wordnet.senses[lemma.lower()][0] == synset]
        spoken = [lemma.replace("_", " ").lower() for lemma in lead] or names[:1]
        words = re.split("[ -]", names[0])
        in_large, in_middle = data.imagenet["22k"], data.imagenet["12k"]
        siblings = [s for parent in node.hypernyms for s in wordnet.hyponyms[parent] if s != synset]
        share = wordnet.dominance(node.lemmas[0], synset)
        rank = wordnet.senses[node.lemmas[0].lower()].index(synset)
        frequency = max(data.zipf(name) for name in spoken)
        visual = _first(data.visual, [*names, words[-1]], 3.3)
        person = float(node.lexname == "person")
        in_label = any(name in data.detection_labels for name in spoken)
        above = wordnet.distances(synset)
        tags = sum(wordnet.tags[lemma.lower(), synset] for lemma in node.lemmas if (lemma.lower(), synset) in wordnet.tags)
        features = [
            synset in in_large,
            synset in in_middle,
            synset in data.imagenet[""],
            _share(siblings, in_large, 0.3),
            _share(siblings, in_middle, 0.2),
            _share(wordnet.hyponyms[synset], in_large, 0.0),
            any(parent in in_large for parent in node.hypernyms),
            not wordnet.hyponyms[synset],
            rank == 0,
            math.log(rank + 1),
            share,
            len(wordnet.senses[node.lemmas[0].lower()]) == 1,
            in_label,
            visual,
            _first(data.haptic, [*names, words[-1]], 1.8),
            any(name in data.visual for name in names),
            frequency,
            data.zipf(names[0]),
            min(data.zipf(word) for word in words),
            frequency * share,
            max(0.0, frequency - 3),
            max(0.0, frequency - 4),
            math.log(tags + 1),
            len(words),
            any(word[:1].isupper() for word in re.split("[_-]", node.lemmas[0])),
            person * bool(re.search("(er|or|ist|ant|ent)$", names[0])),
            person * frequency,
            person * visual,
            person * share,
            len(node.lemmas) > 1,
            min(len(above), 12),
            *(node.lexname == lexname for lexname in LEXNAMES),
            *(branch in above for branch in self.branches),
        ]
        return [float(feature) for feature in features]


def _share(synsets: Sequence[str], members: frozenset[str], default: float) -> float:
    return sum(s in members for s in synsets) / len(synsets) if synsets else default


def _first(table: Mapping[str, float], words: Sequence[str], default: float) -> float:
    return next((table[word] for word in words if word in table), default)


def fit_logistic(features: np.ndarray, labels: np.ndarray, weights: np.ndarray, penalty: float) -> np.ndarray:
    """Ridge logistic regression by Newton's method; the first coefficient is the intercept and is not penalised."""
    design = np.hstack([np.ones((len(features), 1)), features])
    ridge = np.diag([0.0] + [penalty] * features.shape[1])
    coefficients = np.zeros(design.shape[1])
    for _ in range(30):
        expected = sigmoid(design @ coefficients)
        curvature = (design * (weights * expected * (1 - expected))[:, None]).T @ design + ridge
        gradient = design.T @ (weights * (labels - expected)) - ridge @ coefficients
        step = np.linalg.solve(curvature + 1e-9 * np.eye(len(ridge)), gradient)
        coefficients += step
        if np.abs(step).max() < 1e-8:
            break
    return coefficients


def predict(features: np.ndarray, coefficients: np.ndarray) -> np.ndarray:
    """Probability of each row."""
    return sigmoid(coefficients[0] + features @ coefficients[1:])


def sigmoid(values: np.ndarray) -> np.ndarray:
    """The logistic function, safe for large values."""
    return np.asarray(1 / (1 + np.exp(-np.clip(values, -35, 35))))
