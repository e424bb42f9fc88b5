"""SimpleAR- and Janus-shaped models, tiny and random, saved and loaded through the classes of the real ones."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("diffusers")

from anyscene.errors import ModelError, SpecError  # noqa: E402
from anyscene.models import Failure, Model, load_model  # noqa: E402
from anyscene.models.image_tokens import IMAGE_START, TEXT_TO_IMAGE, ImageTokens, RowNoise, encode_prompt, prompt_text  # noqa: E402

pytestmark = pytest.mark.torch

CAPTIONS = ["two tacos", "a", "a very long row of boots beside a wall with graffiti", "boots", "a red kiwi"]
SEEDS = [3, 1, 4, 1, 2**63 + 5]
CODES = 32


def byte_tokenizer(specials: list[str], **named: str) -> Any:
    """A Qwen2 tokenizer of single bytes."""
    from transformers import Qwen2Tokenizer
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    vocabulary = {letter: place for place, letter in enumerate(bytes_to_unicode().values())} | {"<|endoftext|>": 256}
    tokenizer = Qwen2Tokenizer(
        vocab=vocabulary, merges=[], pad_token="<|endoftext|>", eos_token="<|endoftext|>", extra_special_tokens=named
    )
    tokenizer.add_special_tokens({"additional_special_tokens": specials})
    return tokenizer


def save_simplear(folder: Path, extra: int = CODES, specials: tuple[str, ...] = (TEXT_TO_IMAGE, IMAGE_START)) -> int:
    """A tiny random Qwen2 with picture tokens; gives the id of the first of them."""
    from transformers import GenerationConfig, Qwen2Config, Qwen2ForCausalLM

    tokenizer = byte_tokenizer(list(specials))
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=len(tokenizer) + extra,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=160,
    )
    model = Qwen2ForCausalLM(config)
    with torch.no_grad():
        for weights in model.parameters():
            weights.mul_(4)  # far from uniform, so that prompts and guidance matter
    # What the folders of chat models hold, and what must not reach pictures.
    model.generation_config = GenerationConfig(
        repetition_penalty=5.0, do_sample=True, top_k=2, eos_token_id=list(range(len(tokenizer), len(tokenizer) + 8)), pad_token_id=256
    )
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return len(tokenizer)


def save_vqmodel(folder: Path) -> None:
    from diffusers import VQModel

    torch.manual_seed(1)
    VQModel(
        block_out_channels=(8, 8, 8),
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        latent_channels=4,
        num_vq_embeddings=CODES,
        norm_num_groups=4,
        sample_size=16,
        mid_block_add_attention=False,
    ).save_pretrained(folder)


class ScriptedDecoder(torch.nn.Module):  # type: ignore[misc]
    """Codes to pictures with 16 pixels a code, in and out as a Cosmos ``decoder.jit``."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = torch.nn.Embedding(CODES, 8)
        self.paint = torch.nn.ConvTranspose2d(8, 3, 16, 16)

    def forward(self, codes: torch.Tensor) -> torch.Tensor:
        return torch.tanh(3 * self.paint(self.embed(codes[:, 0]).permute(0, 3, 1, 2)))[:, :, None]


def save_script(decoder: ScriptedDecoder, file: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch advises against new TorchScript files; the decoders that there are came as such
        torch.jit.script(decoder).save(str(file))


@pytest.fixture(scope="module")
def simplear(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("simplear")
    save_simplear(folder)
    save_vqmodel(folder / "vqmodel")
    return folder


@pytest.fixture(scope="module")
def janus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from transformers import (
        GenerationConfig,
        JanusConfig,
        JanusForConditionalGeneration,
        JanusImageProcessor,
        JanusProcessor,
        JanusVisionConfig,
        JanusVQVAEConfig,
        LlamaConfig,
    )

    folder = tmp_path_factory.mktemp("janus")
    tokenizer = byte_tokenizer([], image_token="<image_placeholder>", boi_token="<begin_of_image>", eoi_token="<end_of_image>")
    tokenizer.add_special_tokens({"bos_token": "<bos>"})
    torch.manual_seed(2)
    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4}
    config = JanusConfig(
        text_config=LlamaConfig(
            vocab_size=len(tokenizer), intermediate_size=64, num_key_value_heads=4, max_position_embeddings=160, **sizes
        ).to_dict(),
        vision_config=JanusVisionConfig(image_size=16, patch_size=4, projection_dim=32, num_image_tokens=16, **sizes).to_dict(),
        vq_config=JanusVQVAEConfig(
            embed_dim=4,
            num_embeddings=CODES,
            latent_channels=8,
            base_channels=32,
            channel_multiplier=(1, 1, 2),
            num_res_blocks=1,
            projection_dim=32,
            image_token_embed_dim=32,
        ).to_dict(),
        image_token_id=tokenizer.convert_tokens_to_ids("<image_placeholder>"),
    )
    model = JanusForConditionalGeneration(config)
    with torch.no_grad():
        for weights in model.model.language_model.parameters():
            weights.mul_(4)
        model.model.generation_head.vision_head.weight.mul_(20)
    model.generation_config = GenerationConfig(
        bos_token_id=tokenizer.bos_token_id,
        pad_token_id=256,
        generation_kwargs={"boi_token_id": tokenizer.convert_tokens_to_ids("<begin_of_image>")},
    )
    model.save_pretrained(folder)
    JanusProcessor(
        JanusImageProcessor(image_mean=[0.5] * 3, image_std=[0.5] * 3, size={"height": 16, "width": 16}), tokenizer, num_image_tokens=16
    ).save_pretrained(folder)
    return folder


@pytest.fixture(params=["simplear", "janus"])
def folder(request: pytest.FixtureRequest) -> Path:
    found: Path = request.getfixturevalue(request.param)
    return found


def load(folder: Path, **options: object) -> Any:
    return load_model(f"autoregressive:{folder}", **{"device": "cpu", **options})


def hashes(model: Model, captions: list[str] = CAPTIONS, seeds: list[int] = SEEDS) -> list[str]:
    media = model.generate(captions, seeds)
    assert not [one for one in media if isinstance(one, Failure)]
    return [one.sha256 for one in media if not isinstance(one, Failure)]


@pytest.mark.parametrize("guidance", [1.0, 3.0])
def test_a_picture_does_not_depend_on_its_neighbours_in_a_batch(folder: Path, guidance: float) -> None:
    model = load(folder, guidance=guidance)
    assert isinstance(model, Model) and model.modality == "image"
    together = hashes(model)
    assert together == [hashes(model, [caption], [seed])[0] for caption, seed in zip(CAPTIONS, SEEDS, strict=True)]
    assert together == hashes(load(folder, guidance=guidance, batch_size=2))
    assert hashes(model, CAPTIONS[::-1], SEEDS[::-1]) == together[::-1]
    assert len(set(together)) == len(CAPTIONS)


def test_seed_caption_and_each_way_of_drawing_change_pictures(folder: Path) -> None:
    plain = hashes(load(folder, guidance=1))
    assert all(a != b for a, b in zip(plain, hashes(load(folder, guidance=1), seeds=[7] * 5), strict=True))
    for options in ({"guidance": 4.0}, {"temperature": 0.3}, {"top_k": 2}, {"top_p": 0.2}, {"prefix": "Fog over "}):
        assert hashes(load(folder, **{"guidance": 1.0, **options})) != plain, options
    greedy = load(folder, guidance=1, temperature=0)
    assert hashes(greedy) == hashes(greedy, seeds=[9] * 5) == hashes(load(folder, guidance=1, top_k=1))


def test_settings_name_what_pictures_depend_on(folder: Path, tmp_path: Path) -> None:
    model = load(folder, top_k=5)
    assert model.name == f"autoregressive:{folder}" and len(model.revision) == 16
    assert model.settings["guidance"] == {"SimpleAR": 6.0, "Janus": 5.0}[model.settings["shape"]]
    assert model.settings["top_k"] == 5 and model.settings["dtype"] == "float32" and "torch" in model.settings["versions"]


def test_only_picture_tokens_are_drawn_and_always_a_whole_picture(simplear: Path) -> None:
    model = load(simplear, temperature=50.0)
    shape = model.shape
    ids = shape.sample([shape.encode(caption) for caption in CAPTIONS], SEEDS)
    assert ids.shape == (5, 16) and shape.tokens == ImageTokens(offset=259, codes=CODES, side=4)
    assert int(ids.min()) >= 259 and int(ids.max()) < 259 + CODES
    assert len(ids.unique()) > CODES // 2
    assert {one.image.size for one in model.generate(CAPTIONS, SEEDS)} == {(16, 16)}


def test_guidance_is_that_of_transformers_over_the_null_prompt(simplear: Path) -> None:
    shape = load(simplear, guidance=3.0, temperature=0, prefix="").shape
    ids = shape.sample([shape.encode("boots")], [0])[0]
    prompt, null = torch.tensor([shape.encode("boots")]), torch.tensor([encode_prompt(shape.tokenizer, None)])
    assert null.tolist() == [[257, 258]]
    for place, token in enumerate(ids.tolist()):
        with torch.no_grad():
            given, free = (shape.model(torch.cat([start, ids[None, :place]], 1)).logits[0, -1].log_softmax(-1) for start in (prompt, null))
        assert token == 259 + int((free + 3 * (given - free))[259:].argmax())


@pytest.mark.parametrize("caption", ["two tacos", "boots", "graffiti", "taxi", "<|soi|>", "2 i", "so", "Τάκο"])
def test_a_caption_reaches_the_model_whole(caption: str) -> None:
    tokenizer = byte_tokenizer([TEXT_TO_IMAGE, IMAGE_START])
    ids = encode_prompt(tokenizer, caption, "A photo of ")
    assert ids[0] == 257 and ids[-1] == 258 and not {257, 258} & set(ids[1:-1])
    assert tokenizer.decode(ids[1:-1]) == f"A photo of {caption}"
    if "<" not in caption:
        assert ids == tokenizer(prompt_text(caption, "A photo of "), add_special_tokens=False)["input_ids"]


def test_a_torchscript_decoder_is_used_as_a_cosmos_one(tmp_path: Path) -> None:
    save_simplear(tmp_path)
    torch.manual_seed(3)
    decoder = ScriptedDecoder()
    save_script(decoder, tmp_path / "decoder.jit")
    model = load(tmp_path, size=64)
    assert model.shape.tokens.side == 4 and model.settings["image_tokens"] == 16
    ids = model.shape.sample([model.shape.encode("boots")], [5])
    with torch.no_grad():
        expected = ((decoder((ids - 259).view(1, 1, 4, 4))[0, :, 0] / 2 + 0.5) * 255).round().permute(1, 2, 0).byte().numpy()
    made = model.generate(["boots"], [5])[0]
    assert np.array_equal(made.array(), expected) and expected.shape == (64, 64, 3) and expected.std() > 10
    apart = tmp_path / "elsewhere"
    apart.mkdir()
    (tmp_path / "decoder.jit").rename(apart / "decoder.jit")
    for place in (apart, apart / "decoder.jit"):
        again = load(tmp_path, image_tokens=16, decoder=str(place))
        assert hashes(again, ["boots"], [5]) == [made.sha256] and again.settings["decoder_digest"]
    with pytest.raises(ModelError, match="no picture decoder"):
        load(tmp_path)


def test_lora_weights_change_pictures_and_settings(simplear: Path, tmp_path: Path) -> None:
    peft = pytest.importorskip("peft")
    from transformers import Qwen2ForCausalLM

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # peft asks transformers for names that it has given up
        config = peft.LoraConfig(r=2, target_modules=["q_proj", "v_proj"], init_lora_weights=False)
        peft.get_peft_model(Qwen2ForCausalLM.from_pretrained(simplear), config).save_pretrained(tmp_path / "lora")
    plain, with_lora = load(simplear), load(simplear, lora=str(tmp_path / "lora"))
    assert hashes(plain) != hashes(with_lora)
    assert with_lora.settings["lora"] == "lora" and len(with_lora.settings["lora_digest"]) == 16
    (tmp_path / "no").mkdir()
    with pytest.raises(ModelError, match="lora="):
        load(simplear, lora=str(tmp_path / "no"))


def test_memory_that_runs_out_halves_the_batch_and_loses_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = load(folder)
    expected = hashes(model)
    sample, sizes = model.shape.sample, []

    def small_memory(prompts: list[list[int]], seeds: list[int]) -> Any:
        sizes.append(len(prompts))
        if len(prompts) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return sample(prompts, seeds)

    monkeypatch.setattr(model.shape, "sample", small_memory)
    assert hashes(model) == expected
    assert sizes == [5, 2, 2, 1] and model.batch_size == 2

    def no_memory(prompts: list[list[int]], seeds: list[int]) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(model.shape, "sample", no_memory)
    assert [one.status for one in model.generate(["a", "b"], [1, 2])] == ["failed"] * 2

    def broken(prompts: list[list[int]], seeds: list[int]) -> Any:
        raise RuntimeError("index out of range in self")

    monkeypatch.setattr(model.shape, "sample", broken)
    with pytest.raises(RuntimeError, match="index out of range"):
        model.generate(["a"], [1])


def test_a_caption_without_room_fails_alone(folder: Path) -> None:
    model = load(folder)
    made = model.generate(["boots " * 60, "boots"], [1, 4])
    assert isinstance(made[0], Failure) and "room for" in made[0].reason
    assert not isinstance(made[1], Failure) and made[1].sha256 == hashes(model, ["boots"], [4])[0]


def test_pixels_that_are_no_numbers_are_a_failure_not_a_black_picture(tmp_path: Path) -> None:
    save_simplear(tmp_path)
    decoder = ScriptedDecoder()
    with torch.no_grad():
        decoder.paint.bias.fill_(float("nan"))
    save_script(decoder, tmp_path / "decoder.jit")
    made = load(tmp_path, size=32).generate(["boots"], [1])
    assert isinstance(made[0], Failure) and "no numbers" in made[0].reason


def test_row_noise_draws_from_the_softmax() -> None:
    scores = torch.tensor([[0.0, 1.0, 2.0, float("-inf")]]).repeat(4000, 1)
    drawn = RowNoise(range(4000))(None, scores).argmax(-1)
    shares = torch.bincount(drawn, minlength=4) / 4000
    assert shares[3] == 0 and torch.allclose(shares, scores[0].softmax(-1), atol=0.03)
    one, again = RowNoise([5]), RowNoise([4, 5], (0, 4))
    for _ in range(3):
        assert torch.equal(one(None, scores[:1])[0], again(None, scores[:2])[1])


@pytest.mark.parametrize(
    "wrong",
    [
        {"temperature": -1.0},
        {"top_p": 0.0},
        {"top_k": -1},
        {"batch_size": 0},
        {"guidance": -1.0},
        {"image_tokens": 15},
        {"size": 18},
        {"image_tokens": 16, "size": 16},
        {"revision": "main"},
        {"no_such": 1},
    ],
)
def test_options_that_cannot_be_honoured_are_refused(simplear: Path, wrong: dict[str, object]) -> None:
    with pytest.raises(SpecError, match=str(next(iter(wrong)))):
        load(simplear, **wrong)


def test_janus_has_no_decoder_or_size_to_choose(janus: Path) -> None:
    for option in ({"decoder": "x"}, {"image_tokens": 16}, {"size": 16}):
        with pytest.raises(SpecError, match=f"option {next(iter(option))}.*Janus"):
            load(janus, **option)


def test_a_folder_of_another_kind_is_named_in_one_line(simplear: Path, tmp_path: Path) -> None:
    from transformers import ViTConfig

    def refused(folder: Path | str) -> str:
        with pytest.raises(ModelError) as caught:
            load_model(f"autoregressive:{folder}", device="cpu", local_files_only=True)
        assert "\n" not in str(caught.value) and len(str(caught.value)) < 600
        return str(caught.value)

    assert "no config.json" in refused(tmp_path)
    assert "no such folder" in refused(tmp_path / "absent")
    assert "no name given" in refused("")
    assert "not in the local cache" in refused("no-such-owner/no-such-model")
    ViTConfig().save_pretrained(tmp_path / "vit")
    assert "'vit' model" in refused(tmp_path / "vit")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "config.json").write_text("{")
    assert "cannot be read" in refused(tmp_path / "broken")
    save_simplear(tmp_path / "plain", specials=("<|t2i|>",))
    save_vqmodel(tmp_path / "plain" / "vqmodel")
    assert "no <|soi|>" in refused(tmp_path / "plain")
    save_simplear(tmp_path / "few", extra=8)
    save_vqmodel(tmp_path / "few" / "vqmodel")
    assert "do not belong together" in refused(tmp_path / "few")
    save_simplear(tmp_path / "none", extra=0)
    save_vqmodel(tmp_path / "none" / "vqmodel")
    assert "none are left for pictures" in refused(tmp_path / "none")
    save_simplear(tmp_path / "cut")
    weights = tmp_path / "cut" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    assert "cannot be loaded" in refused(tmp_path / "cut")
