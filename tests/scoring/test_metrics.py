"""Whole-image metrics: tiny random models through the classes of real ones, against the formulas worked by hand."""

from __future__ import annotations

import importlib.util
import json
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from anyscene.errors import JudgeError, MissingExtraError, SpecError
from anyscene.media import Media
from anyscene.scoring.metrics import Metric, load_metric, metric_names

pytestmark = pytest.mark.torch
torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

JUDGES = str(Path(__file__).parents[1] / "judges")
if JUDGES not in sys.path:
    sys.path.insert(0, JUDGES)

import tiny_vlm  # noqa: E402

tiny_vlm.make_torchvision_importable()
CAPTIONS = ["a red ball", "two blue cats on a table", "a very small green tree in the rain"]


def media_of(seed: int, height: int = 40, width: int = 56) -> Media:
    return Media.of_image(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


MEDIA = [media_of(seed) for seed in range(3)]


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from transformers import CLIPConfig, CLIPModel, CLIPProcessor, CLIPTokenizer
    from transformers.convert_slow_tokenizer import bytes_to_unicode
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    symbols = list(bytes_to_unicode().values())
    words = [*symbols, *(symbol + "</w>" for symbol in symbols), "<|startoftext|>", "<|endoftext|>"]
    tokens = CLIPTokenizer(vocab={word: place for place, word in enumerate(words)}, merges=[], model_max_length=77)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = CLIPConfig(
        text_config={
            **sizes,
            "vocab_size": len(words),
            "max_position_embeddings": 77,
            "bos_token_id": len(words) - 2,
            "eos_token_id": len(words) - 1,
        },
        vision_config={**sizes, "image_size": 32, "patch_size": 8},
        projection_dim=16,
    )
    torch.manual_seed(0)
    model = CLIPModel(config).eval()
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim > 1:
                weight.mul_(5)
    folder = tmp_path_factory.mktemp("clip")
    model.save_pretrained(folder)
    CLIPProcessor(CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}), tokens).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def llava(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_vlm.save_llava(tmp_path_factory.mktemp("metric") / "llava")


def embeddings(clip: Path, media: Media, caption: str) -> tuple[Any, Any, float]:
    """Embeddings from the model's own parts, one picture and caption at a time, and the logit scale."""
    from transformers import AutoProcessor, CLIPModel

    model, processor = CLIPModel.from_pretrained(clip).eval(), AutoProcessor.from_pretrained(clip)
    inputs = processor(text=[caption], images=[media.image], return_tensors="pt")
    with torch.no_grad():
        picture = model.visual_projection(model.vision_model(pixel_values=inputs["pixel_values"]).pooler_output)[0]
        words = model.text_projection(
            model.text_model(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"]).pooler_output
        )[0]
    return picture.double().numpy(), words.double().numpy(), math.exp(float(model.logit_scale.detach()))


def cosine(clip: Path, media: Media, caption: str) -> float:
    picture, words, _ = embeddings(clip, media, caption)
    return float(picture @ words / np.sqrt((picture @ picture) * (words @ words)))


def scores_of(name: str, weights: Path, media: list[Media | None], captions: list[str], **options: object) -> list[float | None]:
    metric = load_metric(name, weights=str(weights), device="cpu", **options)
    assert isinstance(metric, Metric) and metric.name == f"{name}:{weights}" and metric.revision
    return metric.score(media, captions)


def test_clip_metrics_are_their_formulas(clip: Path) -> None:
    cosines = [cosine(clip, one, caption) for one, caption in zip(MEDIA, CAPTIONS, strict=True)]
    scale = embeddings(clip, MEDIA[0], CAPTIONS[0])[2]
    assert min(cosines) < 0 < max(cosines) or len({round(one, 3) for one in cosines}) == 3, "the model tells nothing apart"
    assert scores_of("clip_cosine", clip, MEDIA, CAPTIONS) == pytest.approx(cosines, abs=1e-5)
    assert scores_of("clipscore", clip, MEDIA, CAPTIONS) == pytest.approx([2.5 * max(one, 0) for one in cosines], abs=1e-5)
    assert scores_of("pickscore", clip, MEDIA, CAPTIONS) == pytest.approx([scale * one for one in cosines], rel=1e-4, abs=1e-4)


def test_negative_cosines_count_as_zero_in_clipscore_only(clip: Path) -> None:
    many = [media_of(seed) for seed in range(12)]
    words = [" ".join(CAPTIONS[seed % 3].split()[: 1 + seed % 4]) for seed in range(12)]
    raw, clipped = scores_of("clip_cosine", clip, many, words), scores_of("clipscore", clip, many, words)
    flipped = [one for one in raw if one is not None and one < 0]
    assert clipped == pytest.approx([2.5 * max(one or 0, 0) for one in raw], abs=1e-6)
    if not flipped:  # all of this model's cosines are positive: turn its text around
        from transformers import AutoProcessor, CLIPModel

        model = CLIPModel.from_pretrained(clip)
        with torch.no_grad():
            model.text_projection.weight.neg_()
        model.save_pretrained(clip / "turned")
        AutoProcessor.from_pretrained(clip).save_pretrained(clip / "turned")
        assert scores_of("clipscore", clip / "turned", many, words) == [0.0] * 12
        assert scores_of("clip_cosine", clip / "turned", many, words) == pytest.approx([-(one or 0) for one in raw], abs=1e-5)


def test_scores_do_not_depend_on_the_batch(clip: Path) -> None:
    together = scores_of("clip_cosine", clip, MEDIA, CAPTIONS)
    assert scores_of("clip_cosine", clip, MEDIA, CAPTIONS, batch=1) == pytest.approx(together, abs=1e-6)
    assert scores_of("clip_cosine", clip, MEDIA, CAPTIONS, batch="2") == pytest.approx(together, abs=1e-6)
    assert scores_of("clip_cosine", clip, [], []) == []


def test_clips_get_the_mean_over_their_frames(clip: Path) -> None:
    frames = [media_of(seed).array() for seed in range(6)]
    video = Media.of_frames(frames, "video", fps=4)
    each = scores_of("clip_cosine", clip, [Media.of_image(frame) for frame in frames], CAPTIONS[:1] * 6)
    assert scores_of("clip_cosine", clip, [video], CAPTIONS[:1]) == pytest.approx([sum(each) / 6], abs=1e-6)  # type: ignore[arg-type]
    assert scores_of("clip_cosine", clip, [video], CAPTIONS[:1], frames=2) == pytest.approx([(each[1] + each[4]) / 2], abs=1e-6)  # type: ignore[operator]


def test_what_is_missing_stays_missing(clip: Path, llava: Path) -> None:
    for name, weights in (("clipscore", clip), ("vqascore", llava)):
        found = scores_of(name, weights, [MEDIA[0], None, MEDIA[2]], CAPTIONS)
        whole = scores_of(name, weights, list(MEDIA), CAPTIONS)
        assert found[1] is None and [found[0], found[2]] == pytest.approx([whole[0], whole[2]], abs=1e-6)


def test_out_of_memory_halves_the_batch_and_gives_up_single_pictures_only(clip: Path) -> None:
    metric: Any = load_metric("clip_cosine", weights=str(clip), device="cpu", batch=8)
    right, sizes = metric.score(MEDIA, CAPTIONS), []

    def look(_: Any, __: Any, inputs: dict[str, Any]) -> None:
        sizes.append(len(inputs["pixel_values"]))
        if sizes[-1] > limit:
            raise torch.OutOfMemoryError("CUDA out of memory")

    limit = 1
    metric._clip._model.register_forward_pre_hook(look, with_kwargs=True)
    assert metric.score(MEDIA, CAPTIONS) == pytest.approx(right, abs=1e-6)
    assert sizes[0] == 3 and metric._batches.size == 1
    limit = 0
    assert metric.score(MEDIA, CAPTIONS) == [None] * 3


def test_long_captions_are_cut_and_that_is_said_once(clip: Path, capsys: pytest.CaptureFixture[str]) -> None:
    metric = load_metric("clipscore", weights=str(clip), device="cpu")
    long = "red " * 60
    assert metric.score(MEDIA[:1], [long]) == pytest.approx(metric.score(MEDIA[:1], [long + "blue"]), abs=1e-6)
    assert capsys.readouterr().err.count("more than 77 tokens") == 1


def test_a_prefix_is_part_of_the_caption(clip: Path) -> None:
    with_prefix = scores_of("clip_cosine", clip, MEDIA, CAPTIONS, prefix="A photo depicts ")
    assert with_prefix == pytest.approx(
        [cosine(clip, one, "A photo depicts " + caption) for one, caption in zip(MEDIA, CAPTIONS, strict=True)], abs=1e-5
    )


def test_vqascore_is_the_probability_of_yes_over_the_whole_vocabulary(llava: Path) -> None:
    from transformers import AutoModelForImageTextToText, AutoProcessor

    processor, model = AutoProcessor.from_pretrained(llava), AutoModelForImageTextToText.from_pretrained(llava).eval()
    expected = []
    for one, caption in zip(MEDIA, CAPTIONS, strict=True):
        prompt = (
            f'<|im_start|>user\n<image>\nDoes this figure show "{caption}"? Please answer Yes or No.<|im_end|>\n<|im_start|>assistant\n'
        )
        with torch.no_grad():
            shares = model(**processor(text=[prompt], images=[one.image], return_tensors="pt")).logits[0, -1].softmax(-1)
        expected.append(float(shares[processor.tokenizer.convert_tokens_to_ids("Yes")]))
    assert scores_of("vqascore", llava, list(MEDIA), CAPTIONS) == pytest.approx(expected, abs=1e-7)
    other = scores_of("vqascore", llava, list(MEDIA), CAPTIONS, question="Is it {}?", dtype="float32")
    assert other != pytest.approx(expected, abs=1e-7)
    with pytest.raises(SpecError, match="needs one"):
        load_metric("vqascore", weights=str(llava), question="Is it?")
    with pytest.raises(SpecError, match="speed"):
        load_metric("vqascore", weights=str(llava), speed=1)


def test_a_model_without_a_token_for_yes_has_no_vqascore(tmp_path: Path) -> None:
    with pytest.raises(JudgeError, match="more than one token"):
        load_metric("vqascore", weights=str(tiny_vlm.save_llava(tmp_path / "bytes", whole=())))


def test_missing_libraries_and_weights_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in metric_names():
        if name in ("hpsv2", "imagereward", "sandbox"):
            continue
        with pytest.raises(SpecError, match="needs weights"):
            load_metric(name)
    with pytest.raises(SpecError, match="there is no back-end 'beauty'"):
        load_metric("beauty")
    with pytest.raises(JudgeError, match="cannot be loaded"):
        load_metric("clipscore", weights=str(tmp_path), local_files_only=True)
    real = importlib.util.find_spec
    monkeypatch.setattr("anyscene.scoring.metrics.find_spec", lambda name: None if name in ("open_clip", "ImageReward") else real(name))
    for name, extra in (("hpsv2", "metrics"), ("imagereward", "imagereward")):
        with pytest.raises(MissingExtraError, match=rf"anyscene\[{extra}\]"):
            load_metric(name, weights=str(tmp_path))


def test_hpsv2_is_the_cosine_of_a_model_of_open_clip(tmp_path: Path) -> None:
    open_clip = pytest.importorskip("open_clip")
    pytest.importorskip("torchvision")
    from torchvision.transforms import functional as to

    size = {"layers": 2, "width": 32}
    tiny = {
        "embed_dim": 16,
        "vision_cfg": {**size, "image_size": 32, "patch_size": 8, "head_width": 8},
        "text_cfg": {**size, "context_length": 77, "vocab_size": 49408, "heads": 4},
    }
    (tmp_path / "tiny-clip.json").write_text(json.dumps(tiny))
    open_clip.add_model_config(tmp_path / "tiny-clip.json")
    torch.manual_seed(0)
    model = open_clip.create_model("tiny-clip", pretrained=None).eval()
    torch.save({"state_dict": model.state_dict()}, tmp_path / "weights.pt")
    square = media_of(0, 32, 32)
    pixels = to.normalize(to.to_tensor(square.image), (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
    with torch.no_grad():
        picture, words = model.encode_image(pixels[None])[0], model.encode_text(open_clip.get_tokenizer("tiny-clip")(CAPTIONS[:1]))[0]
    expected = float(torch.nn.functional.cosine_similarity(picture, words, dim=0))
    assert scores_of("hpsv2", tmp_path / "weights.pt", [square], CAPTIONS[:1], architecture="tiny-clip") == pytest.approx(
        [expected], abs=1e-5
    )
    wide = scores_of("hpsv2", tmp_path / "weights.pt", [media_of(1, 20, 60)], CAPTIONS[:1], architecture="tiny-clip")
    assert wide[0] is not None and -1 <= wide[0] <= 1
    with pytest.raises(SpecError, match="no such file"):
        load_metric("hpsv2", weights=str(tmp_path / "none.pt"))
