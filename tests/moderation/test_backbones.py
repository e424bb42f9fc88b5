"""Every backbone gives one number a picture, keeps its weights through a save, and says what it cannot do."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from anyscene.errors import ModelError, SpecError
from anyscene.moderation.training import TrainOptions, train_detector

torch = pytest.importorskip("torch")
t = pytest.importorskip("transformers")
pytest.importorskip("sklearn")
sys.path.insert(0, str(Path(__file__).parent))
from planted import picture, write  # noqa: E402

from anyscene.moderation.backbones import Network, load_frozen, make_network, pixels_of, run_batches, square_array  # noqa: E402

pytestmark = pytest.mark.torch
PICTURES = [picture(seed, 10 * seed) for seed in range(3)]


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """A CLIP with random weights."""
    folder = tmp_path_factory.mktemp("clip") / "tiny-clip"
    small = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = t.CLIPConfig(
        text_config={**small, "vocab_size": 30}, vision_config={**small, "image_size": 32, "patch_size": 8}, projection_dim=12
    )
    torch.manual_seed(0)
    t.CLIPModel(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def dino(tmp_path_factory):
    """A DINOv2 with random weights."""
    folder = tmp_path_factory.mktemp("dino") / "tiny-dino"
    torch.manual_seed(0)
    t.Dinov2Model(t.Dinov2Config(hidden_size=16, num_hidden_layers=2, num_attention_heads=2, image_size=28, patch_size=14)).save_pretrained(
        folder
    )
    return folder


@pytest.mark.parametrize(
    ("name", "options"),
    [("vit-tiny", {"size": 32, "patch": 8}), ("regnet", {"size": 32}), ("resnet", {"size": 48}), ("vit-tiny", {"size": 48, "patch": 16})],
)
def test_a_network_is_the_same_after_a_save(name, options, tmp_path):
    network = make_network(name, **options, seed=3)
    found = network.logits(PICTURES)
    assert found.shape == (3,) and len(set(found.tolist())) == 3
    network.save(tmp_path)
    again = Network.load(tmp_path, network.facts, {"size": network.size, "mean": network.mean, "std": network.std})
    assert again.logits(PICTURES) == pytest.approx(found, abs=1e-6)
    assert make_network(name, **options, seed=3).logits(PICTURES) == pytest.approx(found, abs=1e-6)
    assert (abs(make_network(name, **options, seed=4).logits(PICTURES) - found) > 1e-3).all()


def test_a_vision_transformer_is_of_the_usual_size():
    module = make_network("vit-tiny", size=224).module
    assert 5.4e6 < sum(one.numel() for one in module.parameters()) < 5.8e6
    assert make_network("vit-tiny", size=32).facts == {"name": "vit-tiny", "size": 32, "patch": 4}


def test_a_timm_network_is_the_same_after_a_save(tmp_path):
    pytest.importorskip("timm")
    network = make_network("timm:test_vit", size=32, pretrained=False)
    found = network.logits(PICTURES)
    network.save(tmp_path)
    again = Network.load(tmp_path, network.facts, {"size": 32, "mean": network.mean, "std": network.std})
    assert again.logits(PICTURES) == pytest.approx(found, abs=1e-6) and len(set(found.tolist())) == 3


def test_a_pretrained_network_of_a_folder_keeps_its_body_and_gets_one_output(tmp_path):
    config = t.ViTConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32, image_size=32, patch_size=8, num_labels=5
    )
    body = t.ViTForImageClassification(config)
    body.save_pretrained(tmp_path / "vit")
    network = make_network(f"transformers:{tmp_path / 'vit'}")
    assert network.size == 32 and network.logits(PICTURES).shape == (3,)
    kept = network.module.inner.vit.embeddings.cls_token
    assert torch.equal(kept, body.vit.embeddings.cls_token)
    assert network.facts["name"] == "transformers:vit" and len(network.facts["revision"]) == 16
    with pytest.raises(SpecError, match="squares of 32 pixels, not of 64"):
        make_network(f"transformers:{tmp_path / 'vit'}", size=64)


@pytest.mark.parametrize(
    ("name", "options", "error", "said"),
    [
        ("vit-huge", {}, SpecError, "there are vit-tiny"),
        ("timm:", {}, SpecError, "no such backbone"),
        ("vit-tiny", {"size": 30, "patch": 16}, SpecError, "not a multiple"),
        ("resnet", {"size": 32, "patch": 4}, SpecError, "patch=4 has no effect"),
        ("regnet", {"size": 8}, SpecError, "too small"),
        ("transformers:/nowhere/at-all", {}, ModelError, "cannot be loaded"),
    ],
)
def test_what_there_is_not_is_told(name, options, error, said):
    with pytest.raises(error, match=said):
        make_network(name, **options)


@pytest.mark.parametrize(("which", "width"), [("clip", 12), ("dino", 16)])
def test_a_linear_model_on_frozen_features_learns_a_cue(which, width, request, tmp_path):
    folder = request.getfixturevalue(which)
    frozen = load_frozen("frozen:x", str(folder), "cpu")
    assert frozen.features(PICTURES).shape == (3, width) == (3, frozen.width)
    before = {name: one.clone() for name, one in frozen.module.state_dict().items()}
    data = write(tmp_path / "data", {"train": 60, "validation": 40, "test": 5}, {"blue": 90.0})
    options = TrainOptions(f"frozen:{folder}", false_positive_rate=0.1, views=1)
    detector = train_detector(data, tmp_path / "detector", options, device="cpu", quiet=True)
    assert detector.facts["validation"]["auroc"]["value"] > 0.85
    assert detector.facts["backbone"]["name"] == f"frozen:{folder.name}"
    assert detector.facts["training"]["features"] == width
    for name, one in detector.scorer.frozen.module.state_dict().items():
        assert torch.equal(one, before[name])
    other = tmp_path / "moved"
    detector.folder.rename(other)
    from anyscene.moderation.detector import load_detector

    assert load_detector(other, device="cpu").score(PICTURES) == pytest.approx(detector.score(PICTURES))


def test_pixels_are_scaled_as_the_network_wants_them():
    array = np.full((1, 2, 2, 3), 255, dtype=np.uint8)
    found = pixels_of(array, (0.5, 0.0, 1.0), (0.5, 1.0, 2.0), "cpu")
    assert found.shape == (1, 3, 2, 2)
    assert found[0, :, 0, 0].tolist() == [1.0, 1.0, 0.0]
    assert square_array(PICTURES[0].convert("L"), 16).shape == (16, 16, 3)


def test_batches_are_halved_where_the_memory_does_not_suffice():
    sizes = []

    def call(some):
        sizes.append(len(some))
        if len(some) > 2 or some == [PICTURES[2]]:
            raise RuntimeError("CUDA out of memory")
        return np.ones(len(some))

    found = run_batches(PICTURES, 3, call, (), "cpu")
    assert found[:2].tolist() == [1, 1] or sizes[0] == 3
    assert np.isnan(found[2]) and sizes[0] == 3


def test_other_errors_are_not_taken_for_a_lack_of_memory():
    def call(some):
        raise RuntimeError("something else")

    with pytest.raises(RuntimeError, match="something else"):
        run_batches(PICTURES, 3, call, (), "cpu")


def test_the_hand_features_learn_a_format_and_nothing_from_content_alone(tmp_path):
    counts = {"train": 40, "validation": 30, "test": 20}
    same = write(tmp_path / "same", counts, {"a": 0.0})
    options = TrainOptions("hand", false_positive_rate=0.1)
    detector = train_detector(same, tmp_path / "detector", options, quiet=True)
    assert detector.facts["validation"]["auroc"]["low"] < 0.55
    blue = write(tmp_path / "blue", counts, {"a": 60.0}, seed=3)
    found = train_detector(blue, tmp_path / "blue-detector", options, quiet=True)
    assert found.facts["validation"]["auroc"]["value"] > 0.9
    scores = found.score(PICTURES)
    assert all(0 < one < 1 for one in scores) and scores == pytest.approx(found.score(PICTURES, batch=1))
