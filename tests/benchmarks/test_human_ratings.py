"""Scores against people: the published correlations, agreement of judges, and how little a hard yes or no tells."""

from __future__ import annotations

import csv
import json
from collections import Counter, defaultdict
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest

from anyscene.benchmarks import Items, load_benchmark
from anyscene.benchmarks.dsg import prompt_scores
from anyscene.scoring.agreement import agreement_share, cohen_kappa, compare_pairs, kendall_tau_b, pearson, spearman

DATA = Path(__file__).parents[3] / "shared" / "data"
DSG = load_benchmark("dsg")
MODELS = ("mini-dalle", "sd1dot1", "sd1dot5", "sd2dot1", "vq-diffusion")
pytestmark = pytest.mark.skipif(not (DATA / "dsg").is_dir(), reason="the released ratings are not here")


@lru_cache
def people() -> dict[tuple[str, str], float]:
    """Mean rating of each picture, by model and prompt."""
    found = defaultdict(list)
    with open(DATA / "dsg" / "tifa160-likert-anns.csv", newline="") as file:
        for row in csv.DictReader(file):
            found[row["t2i_model"], row["item_id"]].append(float(row["answer"]))
    return {key: float(np.mean(own)) for key, own in found.items()}


@lru_cache
def questions() -> Items:
    return DSG.import_items(DATA / "dsg" / "dsg-1k-anns.csv")


def tifa160() -> list[str]:
    return [record["id"] for record in questions().records if questions().extras[record["id"]]["category"] == "tifa"]


@lru_cache
def scored(judge: str, model: str) -> dict[str, np.ndarray]:
    return prompt_scores(questions(), DSG.read_evidence(DATA / "dsg" / f"{judge}_dsg.csv", questions(), model=model))


@lru_cache
def rated(judge: str, column: str) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(model, prompt, rating, score) of the 800 pictures of TIFA-160."""
    place = {record["id"]: at for at, record in enumerate(questions().records)}
    rows = []
    for number, model in enumerate(MODELS):
        found = scored(judge, model)[column]
        rows += [(number, prompt, people()[model, id], found[place[id]]) for prompt, id in enumerate(tifa160())]
    columns = np.array(rows).T
    return columns[0].astype(np.int64), columns[1].astype(np.int64), columns[2], columns[3]


@pytest.mark.parametrize(
    ("judge", "column", "rho", "tau"),
    [
        ("mplug", "library", 0.463, 0.380),
        ("mplug", "no_dependency", 0.464, 0.378),
        ("pali17b", "library", 0.571, 0.458),
        ("pali17b", "no_dependency", 0.570, 0.457),
    ],
)
def test_dsg_follows_people_as_published(judge: str, column: str, rho: float, tau: float) -> None:
    _, _, rating, score = rated(judge, column)
    assert len(rating) == 800
    assert (round(spearman(rating, score) or 0, 3), round(kendall_tau_b(rating, score) or 0, 3)) == (rho, tau)


METRICS = {
    "meteor": (0.340, 0.372, 0.274),
    "bleu": (0.183, 0.259, 0.188),
    "rouge": (0.329, 0.336, 0.245),
    "spice": (0.328, 0.307, 0.232),
    "clipscore_vitb32": (0.332, 0.320, 0.231),
    "tifa_vilt": (0.493, 0.500, 0.382),
    "tifa_git-large": (0.545, 0.545, 0.426),
    "tifa_ofa-large": (0.496, 0.487, 0.372),
    "tifa_blip2-flant5xl": (0.559, 0.558, 0.436),
    "tifa_mplug-large": (0.597, 0.592, 0.472),
}


def tifa_ratings() -> dict[str, dict[str, object]]:
    found: dict[str, dict[str, object]] = json.loads((DATA / "tifa" / "human_annotations_with_scores.json").read_text())
    return found


@pytest.mark.parametrize("metric", METRICS)
def test_metrics_follow_people_as_published(metric: str) -> None:
    rows = tifa_ratings().values()
    rating, score = np.array([row["human_avg"] for row in rows]), np.array([row[metric] for row in rows])
    found = pearson(rating, score), spearman(rating, score), kendall_tau_b(rating, score)
    assert tuple(round(one or 0, 3) for one in found) == METRICS[metric]


def test_people_follow_people() -> None:
    rows = [row["human_scores"] for row in tifa_ratings().values()]
    first, second = np.array([own[:2] for own in rows if len(own) >= 2]).T  # type: ignore[index,arg-type]
    assert round(spearman(first, second) or 0, 3) == 0.722


def test_two_crowds_agree_on_the_same_pictures() -> None:
    names = dict(
        zip(("mini_dalle", "stable_diffusion_v1_1", "stable_diffusion_v1_5", "stable_diffusion_v2_1", "vq_diffusion"), MODELS, strict=True)
    )
    with open(DATA / "dsg" / "tifa160-likert-anns.csv", newline="") as file:
        item_of = {row["source_id"]: row["item_id"] for row in csv.DictReader(file)}
    pairs = []
    for key, row in tifa_ratings().items():
        text = str(row["text_id"])
        pairs.append((float(str(row["human_avg"])), people()[names[key[len(text) + 1 :]], item_of[text]]))
    first, second = np.array(pairs).T
    assert len(pairs) == 800 and round(spearman(first, second) or 0, 3) == 0.830


def test_judges_agree_as_measured() -> None:
    kinds = {(id, number): one["broad"] for id, extra in questions().extras.items() for number, one in extra["questions"].items()}
    said = []
    for judge in ("pali17b", "mplug"):
        found = DSG.read_evidence(DATA / "dsg" / f"{judge}_dsg.csv", questions(), model="sd2dot1")
        said.append({(id, number): one.text == "yes" for (id, _), own in found.by_media.items() for number, one in own.items()})
    shared = sorted(set(said[0]) & set(said[1]))
    verdicts = np.array([[own[key] for key in shared] for own in said], dtype=float)
    assert len(shared) == 8174
    assert (round(100 * (agreement_share(*verdicts) or 0), 1), round(cohen_kappa(*verdicts) or 0, 2)) == (86.2, 0.49)
    for kind, share, kappa in (("entity", 90.6, 0.65), ("attribute", 87.3, 0.38), ("relation", 79.4, 0.38), ("global", 82.1, 0.20)):
        own = verdicts[:, [kinds[key] == kind for key in shared]]
        assert (round(100 * (agreement_share(*own) or 0), 1), round(cohen_kappa(*own) or 0, 2)) == (share, kappa)


@pytest.mark.parametrize(("judge", "mean"), [("pali17b", 0.56), ("mplug", 0.74)])
def test_judges_say_yes_to_pictures_that_people_reject(judge: str, mean: float) -> None:
    _, prompt, rating, score = rated(judge, "library")
    ids = tifa160()
    bad = (rating <= 2) & (prompt != ids.index("tifa160_134"))  # that one has no answers
    assert bad.sum() == 31 and round(float(score[bad].mean()), 2) == mean


@pytest.mark.parametrize(("judge", "right", "tied", "wrong"), [("pali17b", 46.9, 44.1, 9.0), ("mplug", 30.1, 60.5, 9.4)])
def test_hard_answers_tie_on_half_of_the_pairs_that_people_tell_apart(judge: str, right: float, tied: float, wrong: float) -> None:
    _, prompt, rating, score = rated(judge, "library")
    ids = tifa160()
    asked = prompt != ids.index("tifa160_134")
    pairs = compare_pairs(prompt[asked], rating[asked], score[asked], 0.5)
    assert pairs is not None and pairs.n == 778
    assert tuple(round(100 * one, 1) for one in (pairs.right, pairs.tied, pairs.wrong)) == (right, tied, wrong)


def test_people_rank_the_models_and_the_judges_do_not_follow() -> None:
    ratings = defaultdict(list)
    with open(DATA / "dsg" / "tifa160-likert-anns.csv", newline="") as file:
        for row in csv.DictReader(file):
            ratings[row["t2i_model"]].append(float(row["answer"]))
    assert [round(float(np.mean(ratings[model])), 3) for model in MODELS] == [3.839, 3.738, 3.990, 4.149, 3.611]
    model = rated("pali17b", "library")[0]
    for judge in ("pali17b", "mplug"):
        _, _, _, score = rated(judge, "library")
        systems = [float(score[model == place].mean()) for place in range(5)]
        assert np.argsort(systems).tolist().index(2) <= 1  # SD1.5, second best to people, is last or next to it
        assert (spearman(systems, [float(np.mean(ratings[name])) for name in MODELS]) or 0) == pytest.approx(0.3, abs=0.2)


def test_as_many_people_rated_as_the_release_says() -> None:
    raters: Counter[tuple[str, str]] = Counter()
    with open(DATA / "dsg" / "tifa160-likert-anns.csv", newline="") as file:
        for row in csv.DictReader(file):
            raters[row["t2i_model"], row["item_id"]] += 1
    assert raters.total() == 3995 and Counter(raters.values()) == {5: 796, 4: 3, 3: 1}
