"""The contrastive model that comes with the package: loaded as any CLIP, and a fair one of its size."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from anyscene.errors import SpecError
from anyscene.media import Media
from anyscene.rewards import MetricReward, clip_reward
from anyscene.sandbox import render
from anyscene.sandbox.trained import WEIGHTS
from anyscene.scene.graph import Attribute, Object, SceneGraph
from anyscene.scoring.metrics import ClipScore, Metric, load_metric

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

pytestmark = pytest.mark.torch
FOLDER = WEIGHTS / "contrastive"


@pytest.fixture(scope="module")
def captions() -> ModuleType:
    """The distribution that the model was trained on."""
    spec = spec_from_file_location("captions", Path(__file__).parents[2] / "tools" / "sandbox" / "captions.py")
    assert spec and spec.loader
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def metric() -> Metric:
    return load_metric("sandbox:contrastive", raw=True)


def scenes(captions: ModuleType, n: int) -> tuple[list[Media], list[str]]:
    """Pictures of scenes that were not trained on, and their true captions."""
    graphs = [captions.draw_scene(np.random.default_rng([5, index])) for index in range(n)]
    return [painted(graph, place) for place, graph in enumerate(graphs)], captions.captions_of(graphs)


def painted(graph: SceneGraph, seed: int) -> Media:
    return Media.of_image(render(graph, seed=seed, size=32).image)


def of_color(color: str, noun: str) -> SceneGraph:
    return SceneGraph((Object("o0", noun, (Attribute("color", color),)),))


def preferred(metric: Metric, captions: ModuleType, true: list[SceneGraph], false: list[SceneGraph]) -> float:
    """The share of pictures that are liker to their true captions."""
    pictures = [painted(graph, 100 + place) for place, graph in enumerate(true)]
    right, wrong = (metric.score(pictures, captions.captions_of(graphs)) for graphs in (true, false))
    return float(np.mean([a is not None and b is not None and a > b for a, b in zip(right, wrong, strict=True)]))


def test_another_noun_or_color_is_liked_less(metric: Metric, captions: ModuleType) -> None:
    nouns, colors = ("circle", "ring", "square", "star", "heart", "arrow"), ("red", "green", "blue", "yellow", "pink", "purple")
    pairs = [(color, noun) for color in colors for noun in nouns]
    true = [of_color(color, noun) for color, noun in pairs]
    for_color = [of_color(colors[colors.index(color) - 1], noun) for color, noun in pairs]
    for_noun = [of_color(color, nouns[nouns.index(noun) - 1]) for color, noun in pairs]
    assert preferred(metric, captions, true, for_color) > 0.9
    assert preferred(metric, captions, true, for_noun) > 0.85


def test_true_captions_are_found_among_others(metric: Metric, captions: ModuleType) -> None:
    pictures, said = scenes(captions, 32)
    distinct = list(dict.fromkeys(said))
    best = [distinct[int(np.argmax(metric.score([one] * len(distinct), distinct)))] for one in pictures]
    assert len(distinct) > 25 and np.mean([a == b for a, b in zip(best, said, strict=True)]) > 0.5


def test_a_batch_scores_as_its_pictures_do_alone(metric: Metric, captions: ModuleType) -> None:
    pictures, said = scenes(captions, 12)
    together = metric.score([*pictures, None], [*said, "There is a ring."])
    apart = [metric.score([one], [caption])[0] for one, caption in zip(pictures, said, strict=True)]
    small = load_metric("sandbox:contrastive", raw=True, batch=5).score(pictures, said)
    assert together[:-1] == pytest.approx(apart, abs=1e-5) and small == pytest.approx(apart, abs=1e-5)
    assert together[-1] is None and len(set(apart)) == 12


def test_a_batch_is_one_call_of_the_model(captions: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers import CLIPModel

    calls: list[int] = []
    forward = CLIPModel.forward
    monkeypatch.setattr(CLIPModel, "forward", lambda self, **given: calls.append(len(given["pixel_values"])) or forward(self, **given))
    pictures, said = scenes(captions, 40)
    load_metric("sandbox:contrastive").score(pictures, said)
    load_metric("sandbox:contrastive", batch=32).score(pictures, said)
    assert calls == [40, 32, 8]


def test_its_folder_is_that_of_any_clip_and_scores_the_same(metric: Metric, captions: ModuleType) -> None:
    from transformers import AutoProcessor, CLIPModel

    pictures, said = scenes(captions, 6)
    model, processor = CLIPModel.from_pretrained(FOLDER).float().eval(), AutoProcessor.from_pretrained(FOLDER)
    given: Any = processor(images=[one.image for one in pictures], text=said, padding=True, return_tensors="pt")
    with torch.inference_mode():
        cosines = (model(**given).logits_per_image / model.logit_scale.exp()).diag().tolist()
    assert metric.score(pictures, said) == pytest.approx(cosines, abs=1e-5)
    scored = load_metric("sandbox:contrastive").score(pictures, said)
    assert scored == pytest.approx([2.5 * max(one, 0.0) for one in cosines], abs=1e-5)
    assert load_metric("clipscore", weights=str(FOLDER), device="cpu").score(pictures, said) == pytest.approx(scored, abs=1e-6)


@pytest.mark.parametrize("make", [lambda: MetricReward(load_metric("sandbox:contrastive")), lambda: clip_reward(str(FOLDER), device="cpu")])
def test_it_is_a_reward(make: Callable[[], MetricReward]) -> None:
    graphs = [of_color("red", "star"), of_color("blue", "star")]
    record = {"id": "scene-1", "caption": "There is a red star."}
    right, wrong = make().score([painted(graph, 3).array() for graph in graphs], [record, record])
    assert right is not None and wrong is not None and right.record_id == "scene-1"
    assert right.value > wrong.value >= 0


def test_every_word_of_the_sandbox_is_one_token_and_others_are_spelled(captions: ModuleType) -> None:
    from transformers import AutoProcessor

    tokenizer = AutoProcessor.from_pretrained(FOLDER).tokenizer
    words = {word for values in captions.VALUES.values() for value in values for word in value.split()} | {*captions.looks.SHAPES}
    assert len(words) > 30 and [word for word in sorted(words) if len(tokenizer(word).input_ids) != 3] == []
    assert len(tokenizer("zebra").input_ids) > 3


def test_the_weights_are_small_and_name_no_place() -> None:
    files = [file for file in FOLDER.rglob("*") if file.is_file()]
    assert 1_000_000 < sum(file.stat().st_size for file in files) <= 3_000_000
    assert {file.suffix for file in files if file.stat().st_size > 100_000} == {".safetensors"}
    assert not any("_name_or_path" in file.read_text() for file in files if file.suffix == ".json")
    assert sum(file.stat().st_size for file in WEIGHTS.rglob("*") if file.is_file()) <= 14_000_000


def test_what_it_does_not_have_is_said() -> None:
    assert isinstance(load_metric("sandbox"), ClipScore) and load_metric("sandbox:").name == "sandbox:contrastive"
    with pytest.raises(SpecError, match="no metric 'beauty'; it has contrastive"):
        load_metric("sandbox:beauty")
    with pytest.raises(SpecError, match="no option 'speed'"):
        load_metric("sandbox:contrastive", speed="1")
