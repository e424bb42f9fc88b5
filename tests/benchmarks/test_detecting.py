"""Detectors: tiny untrained ones of each kind go through the whole way; colours are told by a small CLIP that knows them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

from anyscene.benchmarks.benchmark import Items, make_record
from anyscene.benchmarks.boxes import Box, read_detections, write_detections
from anyscene.benchmarks.detecting import BACKGROUND, ClipColors, Found, ObjectDetector, classes_of, crop_of, detect_items
from anyscene.benchmarks.geneval import GENEVAL
from anyscene.errors import JudgeError

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
pytest.importorskip("torchvision")
pytestmark = pytest.mark.torch

CLIP = Path(__file__).parents[2] / "src" / "anyscene" / "sandbox" / "weights" / "contrastive"
LABELS = {0: "bench", 1: "mouse", 2: "car"}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Untrained weights of each kind, with what reads pictures for them."""
    root = tmp_path_factory.mktemp("detectors")
    torch.manual_seed(0)
    labels = {"id2label": LABELS, "label2id": {name: number for number, name in LABELS.items()}}
    yolos = transformers.YolosConfig(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        image_size=[32, 32],
        patch_size=8,
        num_detection_tokens=5,
        **labels,
    )
    transformers.YolosForObjectDetection(yolos).save_pretrained(root / "boxes")
    transformers.YolosImageProcessor(size={"height": 32, "width": 32}).save_pretrained(root / "boxes")
    masks(root / "masks", labels)
    (root / "bert").mkdir()
    transformers.BertConfig(hidden_size=8).save_pretrained(root / "bert")
    words(root / "words")
    return {path.name: path for path in root.iterdir()}


def masks(folder: Path, labels: dict[str, Any]) -> None:
    """A Mask2Former of eight numbers on a Swin."""
    stages = [f"stage{number}" for number in range(1, 5)]
    backbone = transformers.SwinConfig(
        image_size=32, patch_size=4, embed_dim=8, depths=[1] * 4, num_heads=[1] * 4, window_size=2, out_features=stages
    )
    config = transformers.Mask2FormerConfig(
        backbone_config=backbone,
        feature_size=32,
        mask_feature_size=32,
        hidden_dim=32,
        encoder_feedforward_dim=16,
        encoder_layers=1,
        decoder_layers=2,
        num_attention_heads=2,
        dim_feedforward=16,
        num_queries=6,
        **labels,
    )
    transformers.Mask2FormerForUniversalSegmentation(config).save_pretrained(folder)
    transformers.Mask2FormerImageProcessor(size={"height": 64, "width": 64}).save_pretrained(folder)


def words(folder: Path) -> None:
    """An OWL-ViT of sixteen numbers, with a tokenizer of letters."""
    letters = [chr(code) for code in range(97, 123)]
    vocabulary = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    folder.mkdir()
    (folder / "vocab.json").write_text(json.dumps({token: at for at, token in enumerate(vocabulary)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    tokenizer = transformers.CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"))
    text = {
        "vocab_size": len(vocabulary),
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "max_position_embeddings": 16,
        "pad_token_id": len(vocabulary) - 1,
        "bos_token_id": len(vocabulary) - 2,
        "eos_token_id": len(vocabulary) - 1,
    }
    vision = {
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "image_size": 32,
        "patch_size": 8,
    }
    config = transformers.OwlViTConfig(text_config=text, vision_config=vision, projection_dim=16)
    transformers.OwlViTForObjectDetection(config).save_pretrained(folder)
    size = {"height": 32, "width": 32}
    transformers.OwlViTProcessor(transformers.OwlViTImageProcessor(size=size, do_center_crop=False), tokenizer).save_pretrained(folder)


def pictures() -> list[Image.Image]:
    rng = np.random.default_rng(0)
    return [Image.fromarray(rng.integers(0, 255, (40, 60, 3), dtype=np.uint8)) for _ in range(2)]


@pytest.mark.parametrize("kind", ["boxes", "masks", "words"])
def test_boxes_are_within_the_picture_and_of_the_classes_asked_for(folders: dict[str, Path], kind: str) -> None:
    detector = ObjectDetector(str(folders[kind]), device="cpu", keep=0.0, local_files_only=True)
    every = ["bench", "car", "computer mouse"]
    found = detector.detect(pictures(), [every, ["car"]])
    assert len(found) == 2 and found[0]
    for own, names in zip(found, (set(every), {"car"}), strict=True):
        scores = [one.box.score for one in own]
        assert scores == sorted(scores, reverse=True) and {one.box.name for one in own} <= names
        for one in own:
            assert 0 <= one.box.left <= one.box.right <= 60 and 0 <= one.box.top <= one.box.bottom <= 40 and 0 <= one.box.score <= 1
            assert (one.mask is not None) == (kind == "masks")
            if one.mask is not None:
                rows, columns = np.nonzero(one.mask)
                edges = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
                assert one.mask.shape == (40, 60) and edges == (one.box.left, one.box.top, one.box.right, one.box.bottom)
    alone = detector.detect(pictures()[:1], [every])[0]
    assert [one.box.score for one in alone] == pytest.approx([one.box.score for one in found[0]], abs=1e-5)


def test_names_of_coco_are_geneval_s_and_strange_ones_are_refused(folders: dict[str, Path]) -> None:
    detector = ObjectDetector(str(folders["boxes"]), device="cpu", local_files_only=True)
    assert detector.classes == {"bench", "computer mouse", "car"} and len(detector.revision) == 16
    with pytest.raises(JudgeError, match="it knows no zebra"):
        detector.detect(pictures()[:1], [["zebra", "car"]])
    assert ObjectDetector(str(folders["words"]), device="cpu", local_files_only=True).classes is None


def test_what_is_no_detector_is_refused(folders: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(JudgeError, match="is a bert"):
        ObjectDetector(str(folders["bert"]), device="cpu", local_files_only=True)
    with pytest.raises(JudgeError, match="cannot be loaded"):
        ObjectDetector(str(tmp_path), device="cpu", local_files_only=True)


def square(color: str) -> Image.Image:
    image = Image.new("RGB", (96, 96), "black")
    ImageDraw.Draw(image).rectangle((24, 24, 72, 72), fill=color)
    return image


def test_a_thing_is_cut_out_along_its_mask() -> None:
    mask = np.zeros((96, 96), dtype=bool)
    mask[24:72, 24:48] = True
    cut = crop_of(square("red"), Found(Box("car", 1.0, 24, 24, 72, 72), mask))
    assert cut.size == (48, 48) and cut.getpixel((4, 4)) == (255, 0, 0) and cut.getpixel((40, 4)) == BACKGROUND
    assert crop_of(square("red"), Found(Box("car", 1.0, 30, 30, 30, 30))).size == (1, 1)


@pytest.mark.skipif(not CLIP.is_dir(), reason="the small CLIP is not here")
def test_colors_by_clip() -> None:
    clip = ClipColors(str(CLIP), device="cpu", local_files_only=True)
    told = clip.colors([square(color) for color in ("red", "blue", "green", "yellow")], "square")
    assert told == ["red", "blue", "green", "yellow"] and clip.colors([], "square") == []


class Scripted:
    """A detector that always finds the same."""

    name = "scripted"
    classes = None

    def detect(self, images: Sequence[Image.Image], names: Sequence[Sequence[str]]) -> list[list[Found]]:
        return [[Found(Box(name, 0.9, 24, 24, 72, 72)) for name in own] for own in names]


def geneval_items(tmp_path: Path) -> Items:
    rows = [
        {"tag": "colors", "include": [{"class": "square", "count": 1, "color": "red"}], "prompt": "a photo of a red square"},
        {"tag": "single_object", "include": [{"class": "cow", "count": 1}], "prompt": "a photo of a cow"},
    ]
    path = tmp_path / "metadata.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return GENEVAL.import_items(path)


@pytest.mark.skipif(not CLIP.is_dir(), reason="the small CLIP is not here")
def test_pictures_are_looked_at_and_scored(tmp_path: Path) -> None:
    items = geneval_items(tmp_path)
    clip = ClipColors(str(CLIP), device="cpu", local_files_only=True)
    done: list[int] = []
    stream = [("00000", 0, square("red")), ("00000", 1, square("blue")), ("00001", 0, square("red")), ("nobody", 0, square("red"))]
    seen = detect_items(items, stream, Scripted(), clip, model="m", samples=2, batch=2, advance=done.append)
    assert sum(done) == 3 and seen.judge.startswith("scripted, colours by") and seen.by_media["00000", 0].boxes[0].color == "red"
    found = GENEVAL.score(items, seen)
    assert found.official.by["tag"]["colors"].value == 0.5 and found.official.by["tag"]["single_object"].value == 1.0
    write_detections(tmp_path / "detections.jsonl", seen, items)
    again = read_detections(tmp_path / "detections.jsonl", items, 2)
    assert again.by_media == seen.by_media and (again.model, again.judge) == ("m", seen.judge)


def test_without_colors_their_pictures_have_no_verdict(tmp_path: Path) -> None:
    items = geneval_items(tmp_path)
    seen = detect_items(items, [("00000", 0, square("red")), ("00001", 0, square("red"))], Scripted())
    found = GENEVAL.score(items, seen)
    assert "colors" not in found.official.by["tag"] or found.official.by["tag"]["colors"].value is None
    assert any("lack colours of boxes" in note.line() for note in found.notes)


def test_what_is_looked_for() -> None:
    extra: dict[str, Any] = {
        "include": [{"class": "car", "count": 1, "color": "red"}, {"class": "dog", "count": 1}],
        "exclude": [{"class": "car", "count": 2}],
    }
    assert classes_of(extra) == (["car", "dog"], ["car"])
    assert classes_of({"objects": ["cup", "cow"]}) == (["cup", "cow"], [])
    record = make_record("vbench", "a", 0, "p")
    assert detect_items(Items("vbench", (record,), {"a": {}}), [("a", 0, square("red"))], Scripted()).by_media == {}
