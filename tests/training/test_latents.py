from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")
pytest.importorskip("transformers")

MODELS = str(Path(__file__).parents[1] / "models")
if MODELS not in sys.path:
    sys.path.insert(0, MODELS)

import numpy as np  # noqa: E402
from tiny_pipelines import save  # noqa: E402

from anyscene.errors import AnySceneError, MediaError, SpecError  # noqa: E402
from anyscene.media import Media  # noqa: E402
from anyscene.models import load_model  # noqa: E402
from anyscene.training.denoiser import FAMILIES, Denoiser  # noqa: E402
from anyscene.training.examples import Grid, Size  # noqa: E402
from anyscene.training.latents import condition, encode, native_size, size_grid  # noqa: E402

pytestmark = [
    pytest.mark.torch,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]

SIZES = {
    "sd": Size(32, 16),
    "sdxl": Size(16, 32),
    "sd3": Size(16, 24),
    "flux": Size(8, 16),
    "qwen": Size(32, 16),
    "z_image": Size(16, 32),
    "ltx": Size(32, 64, 9),
    "wan": Size(16, 32, 5),
    "cogvideox": Size(16, 16, 9),
    "cogvideox1.5": Size(16, 16, 9),
}
CALL: dict[str, dict[str, Any]] = {"sd3": {"max_sequence_length": 77}, "flux": {"max_sequence_length": 48}}
CALL |= {kind: {"max_sequence_length": 16} for kind in ("ltx", "wan", "cogvideox", "cogvideox1.5")}
KINDS = list(SIZES)
CAPTIONS = ["a red ball", "a blue box on a table"]
SEEDS = [3, 4]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Any:
    made: dict[str, tuple[Any, Denoiser]] = {}

    def find(kind: str) -> tuple[Any, Denoiser]:
        if kind not in made:
            with torch.random.fork_rng():
                folder = save(kind, tmp_path_factory.mktemp("pipelines") / kind)
            size = SIZES[kind]
            options: dict[str, Any] = {"height": size.height, "width": size.width, "steps": 3, "batch_size": None}
            if size.frames > 1:
                options["frames"] = size.frames
            model = load_model(f"diffusers:{folder}", device="cpu", call=CALL.get(kind), **options)
            made[kind] = (model, Denoiser(model.pipe))
        return made[kind]

    return find


def generators() -> list[Any]:
    return [torch.Generator().manual_seed(seed) for seed in SEEDS]


def unguided(denoiser: Denoiser) -> dict[str, Any]:
    return denoiser.guided_by(1.0, learns=False)[0]


def noisy(size: Size, seed: int = 0) -> Media:
    source = np.random.default_rng(seed)
    frames = [source.integers(0, 256, (size.height, size.width, 3), dtype=np.uint8) for _ in range(size.frames)]
    return Media.of_frames(frames, "image" if size.frames == 1 else "video")


# ---- media to latents -----------------------------------------------------------------------------------------------------------


def test_every_family_is_tried_here(models: Any) -> None:
    assert {type(models(kind)[1].module).__name__ for kind in KINDS} == set(FAMILIES)


@pytest.mark.parametrize("kind", KINDS)
def test_an_encoder_that_undoes_the_decoder_gives_the_latents_that_the_pipeline_had(kind: str, models: Any) -> None:
    """Scale, shift, packing and order of axes are the inverse of what the pipeline does before it decodes."""
    model, denoiser = models(kind)
    pipe, decoded = model.pipe, []
    decode = pipe.vae.decode

    def keep(latents: Any, *args: Any, **more: Any) -> Any:
        decoded.append(latents.clone())
        return decode(latents, *args, **more)

    given = {**model.arguments, **unguided(denoiser), "generator": None}
    pipe.vae.decode = keep
    try:
        media = model.draw(CAPTIONS, generators(), **unguided(denoiser))
    finally:
        del pipe.vae.decode
    given |= {"generator": generators(), "output_type": "latent"}
    with torch.no_grad():
        wanted = pipe(CAPTIONS, **given)[0]
    (raw,) = decoded
    given_raw = iter(raw.split(1))
    pipe.vae.encode = lambda pixels: SimpleNamespace(latents=next(given_raw))
    try:
        found = encode(pipe, denoiser, media, *SIZES[kind])
    finally:
        del pipe.vae.encode
    assert found.shape == wanted.shape
    assert found.dtype == torch.float32
    if kind == "cogvideox1.5":  # a frame in front fills the row; the pipeline cuts it off
        assert torch.equal(found[:, 0], found[:, 1])
        found, wanted = found[:, 1:], wanted[:, 1:]
    torch.testing.assert_close(found, wanted.float(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_the_encoder_gets_what_the_pipelines_own_processor_makes(kind: str, models: Any) -> None:
    model, denoiser = models(kind)
    pipe, size = model.pipe, SIZES[kind]
    media, seen = noisy(size), []
    hook = pipe.vae.encode

    def keep(pixels: Any) -> Any:
        seen.append(pixels)
        return hook(pixels)

    pipe.vae.encode = keep
    try:
        found = encode(pipe, denoiser, [media], *size)
    finally:
        del pipe.vae.encode
    if size.frames > 1:
        wanted = pipe.video_processor.preprocess_video([list(media.frames)], size.height, size.width)
    else:
        wanted = pipe.image_processor.preprocess(media.image, size.height, size.width)
        wanted = wanted.unsqueeze(2) if kind == "qwen" else wanted
    torch.testing.assert_close(seen[0], wanted, rtol=0, atol=1e-6)
    asked = condition(model, denoiser, CAPTIONS[:1], *size)
    latents = (
        torch.stack(asked.args[0]).squeeze(2) if denoiser.family.listed else asked.args[0] if asked.args else asked.kwargs["hidden_states"]
    )
    assert found.shape == latents.shape
    assert not found.requires_grad


@pytest.mark.parametrize("kind", KINDS)
def test_latents_do_not_depend_on_what_stands_beside_them(kind: str, models: Any) -> None:
    model, denoiser = models(kind)
    size = SIZES[kind]
    media = [noisy(size, seed) for seed in range(3)]
    together = encode(model.pipe, denoiser, media, *size)
    for place in range(3):
        assert torch.equal(encode(model.pipe, denoiser, [media[place]], *size)[0], together[place])
    drawn = encode(model.pipe, denoiser, media[:2], *size, generators=generators())
    assert torch.equal(drawn[1:], encode(model.pipe, denoiser, media[1:2], *size, generators=generators()[1:]))
    assert not torch.equal(drawn, together[:2])


def test_draws_are_spread_around_the_mean(models: Any) -> None:
    model, denoiser = models("sd")
    size, media = SIZES["sd"], [noisy(SIZES["sd"])]
    middle = encode(model.pipe, denoiser, media, *size)
    drawn = [encode(model.pipe, denoiser, media, *size, generators=[torch.Generator().manual_seed(seed)]) for seed in range(200)]
    spread = torch.stack(drawn).std(0)
    assert ((torch.stack(drawn).mean(0) - middle).abs() < 5 * spread / 200**0.5).all()


def test_kept_latents_are_not_encoded_again(models: Any) -> None:
    model, denoiser = models("sd3")
    size, media = SIZES["sd3"], [noisy(SIZES["sd3"], seed) for seed in range(2)]
    kept: dict[Any, Any] = {}
    first = encode(model.pipe, denoiser, media, *size, kept=kept)
    assert set(kept) == {(one.sha256, size) for one in media}
    model.pipe.vae.encode = None
    try:
        assert torch.equal(encode(model.pipe, denoiser, media, *size, kept=kept), first)
    finally:
        del model.pipe.vae.encode
    with pytest.raises(SpecError, match="cannot be kept"):
        encode(model.pipe, denoiser, media, *size, kept=kept, generators=generators())


def test_an_encoder_that_overflows_in_half_precision_works_in_float32_and_is_half_again(models: Any) -> None:
    model, denoiser = models("sdxl")
    vae, media = model.pipe.vae, [noisy(SIZES["sdxl"])]
    assert vae.config.force_upcast
    wanted = encode(model.pipe, denoiser, media, *SIZES["sdxl"])
    vae.half()
    try:
        found = encode(model.pipe, denoiser, media, *SIZES["sdxl"])
        assert vae.dtype == torch.float16
    finally:
        vae.float()
    torch.testing.assert_close(found, wanted, rtol=1e-2, atol=1e-2)


def test_what_cannot_be_encoded_is_said(models: Any) -> None:
    model, denoiser = models("wan")
    with pytest.raises(SpecError, match=r"WanPipeline with 16 x 24 pixels: height and width must be multiples of 16"):
        encode(model.pipe, denoiser, [noisy(Size(16, 24, 5))], 16, 24, 5)
    with pytest.raises(SpecError, match=r"with 8 frames: it takes 1 more than a multiple of 4, such as 5"):
        encode(model.pipe, denoiser, [noisy(Size(16, 16, 8))], 16, 16, 8)
    with pytest.raises(MediaError, match="5 frames where 9"):
        encode(model.pipe, denoiser, [noisy(Size(16, 16, 5))], 16, 16, 9)
    with pytest.raises(SpecError, match="1 media and 2 generators"):
        encode(model.pipe, denoiser, [noisy(Size(16, 16, 5))], 16, 16, 5, generators=generators())


# ---- captions to questions ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_the_question_moved_to_the_pipelines_latents_and_times_gives_what_the_pipeline_got(kind: str, models: Any) -> None:
    model, denoiser = models(kind)
    pipe, given = model.pipe, []
    scheduler, step = pipe.scheduler, pipe.scheduler.step

    def keep(output: Any, time: Any, sample: Any, *args: Any, **more: Any) -> Any:
        level = pipe.scheduler.sigmas[len(given)] if denoiser.family.process == "flow" else time
        given.append((output, level, pipe.scheduler.scale_model_input(sample, time) if kind == "sdxl" else sample))
        return step(output, time, sample, *args, **more)

    pipe.scheduler.step = keep
    try:
        model.draw(CAPTIONS, generators(), **unguided(denoiser))
    finally:
        del pipe.scheduler.step
    assert pipe.scheduler is scheduler
    request = condition(model, denoiser, CAPTIONS, *SIZES[kind])
    assert denoiser.batch(request) == 2
    assert len(given) == 3
    with torch.no_grad():
        for output, level, sample in given:
            moved = denoiser.at(request, sample, torch.as_tensor(level).expand(2))
            torch.testing.assert_close(denoiser.ask(moved).float(), output.float(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_the_pipeline_is_left_as_it_was(kind: str, models: Any) -> None:
    model, denoiser = models(kind)
    model.pipe.scheduler.set_timesteps(7)  # not what the model's options say
    before = {name: str(value) for name, value in vars(model.pipe.scheduler).items()}
    decode = model.pipe.vae.decode
    model.pipe.vae.decode = None
    try:
        request = condition(model, denoiser, ["", "a ball"], *SIZES[kind])
    finally:
        del model.pipe.vae.decode
    assert model.pipe.vae.decode == decode
    assert {name: str(value) for name, value in vars(model.pipe.scheduler).items()} == before
    assert not denoiser.module._forward_pre_hooks
    assert denoiser.batch(request) == 2


def test_guidance_and_negative_prompts_of_the_model_are_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with torch.random.fork_rng():
        folder = save("sd", tmp_path / "sd")
    options = {"device": "cpu", "height": 16, "width": 16}
    guided = load_model(f"diffusers:{folder}", guidance=7.5, negative_prompt="blurry", **options)
    plain = load_model(f"diffusers:{folder}", guidance=1.0, **options)
    draw, changed = guided.draw, []
    monkeypatch.setattr(guided, "draw", lambda *args, **more: (changed.append(more), draw(*args, **more)))
    found, wanted = (condition(one, Denoiser(one.pipe), CAPTIONS, 16, 16) for one in (guided, plain))
    assert changed == [{"guidance_scale": 1.0, "negative_prompt": None, "height": 16, "width": 16}]
    assert torch.equal(found.kwargs["encoder_hidden_states"], wanted.kwargs["encoder_hidden_states"])
    assert len(found.args[0]) == 2


def test_sizes_of_sdxl_are_those_of_the_pipelines_own_call(models: Any) -> None:
    model, denoiser = models("sdxl")
    request = condition(model, denoiser, CAPTIONS, 24, 40)
    assert request.kwargs["added_cond_kwargs"]["time_ids"].tolist() == [[24, 40, 0, 0, 24, 40]] * 2


def test_wan_that_tells_the_time_of_each_position_is_told_it_everywhere(tmp_path: Path) -> None:
    with torch.random.fork_rng():
        folder = save("wan", tmp_path / "wan")
    model = load_model(f"diffusers:{folder}", device="cpu", call=CALL["wan"])
    model.pipe.register_to_config(expand_timesteps=True)
    denoiser = Denoiser(model.pipe)
    request = condition(model, denoiser, CAPTIONS, 16, 32, 5)
    told = request.kwargs["timestep"]
    assert told.ndim == 2
    latents = request.kwargs["hidden_states"]
    moved = denoiser.at(request, latents, torch.tensor([0.25, 0.75]))
    assert moved.kwargs["timestep"].shape == told.shape
    assert moved.kwargs["timestep"].float().unique(dim=1).flatten().tolist() == [250, 750]
    assert denoiser.ask(moved).shape == latents.shape


def test_a_pipeline_that_asks_about_more_than_the_captions_is_refused(models: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    model, denoiser = models("sd")
    draw = model.draw
    monkeypatch.setattr(model, "draw", lambda captions, sources, **more: draw(captions, sources, **{**more, "guidance_scale": 5.0}))
    with pytest.raises(AnySceneError, match="about 4 where 2 captions were given"):
        condition(model, denoiser, CAPTIONS, 16, 16)
    monkeypatch.setattr(model, "draw", lambda *args, **more: [])
    with pytest.raises(AnySceneError, match="without asking its denoiser"):
        condition(model, denoiser, CAPTIONS, 16, 16)


# ---- sizes ----------------------------------------------------------------------------------------------------------------------


def test_the_models_own_size_is_its_options_or_the_pipelines(models: Any) -> None:
    assert {kind: native_size(models(kind)[0]) for kind in KINDS} == SIZES


def test_without_options_the_size_is_what_the_pipeline_makes(models: Any) -> None:
    for kind in ("sd", "sdxl", "sd3", "flux", "cogvideox"):
        model, _ = models(kind)
        arguments = {name: value for name, value in model.arguments.items() if name not in ("height", "width", "num_frames")}
        pipe = model.pipe
        size = native_size(SimpleNamespace(pipe=pipe, arguments=arguments, modality=model.modality))  # type: ignore[arg-type]
        seen: list[Any] = []
        prepare = pipe.prepare_latents

        def keep(*args: Any, prepare: Any = prepare, seen: list[Any] = seen, **more: Any) -> Any:
            seen.append(args)
            return prepare(*args, **more)

        pipe.prepare_latents = keep
        try:
            pipe(CAPTIONS, **{**arguments, "num_inference_steps": 1, "output_type": "latent"})
        finally:
            del pipe.prepare_latents
        assert size.height in seen[0]
        assert size.width in seen[0]
        assert size.frames in (1, *seen[0])


def test_grids_of_the_families(models: Any) -> None:
    assert {kind: size_grid(models(kind)[0].pipe, models(kind)[1]) for kind in KINDS} == {
        "sd": Grid(8),
        "sdxl": Grid(8),
        "sd3": Grid(2),
        "flux": Grid(2),
        "qwen": Grid(16),
        "z_image": Grid(4),
        "ltx": Grid(32, 4),
        "wan": Grid(16, 4),
        "cogvideox": Grid(16, 4),
        "cogvideox1.5": Grid(16, 4),
    }


# ---- the sandbox ----------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sandbox() -> Iterator[tuple[Any, Denoiser]]:
    model = load_model("sandbox:diffusion")
    yield model, Denoiser(model.pipe)


@pytest.mark.parametrize("painter", ["diffusion", "renderer"])
def test_in_the_sandbox_decoded_latents_are_the_picture(painter: str, sandbox: tuple[Any, Denoiser]) -> None:
    model, denoiser = sandbox
    maker = model if painter == "diffusion" else load_model("sandbox:renderer", size=32)
    media = maker.generate(["A square is larger than a circle.", "There is a red crescent.", "There are four yellow hearts."], [1, 2, 3])
    size = native_size(model)
    assert size == Size(32, 32)
    config = model.pipe.vae.config
    with torch.no_grad():
        latents = encode(model.pipe, denoiser, media, *size)
        decoded = model.pipe.vae.decode(latents / config.scaling_factor + (config.shift_factor or 0)).sample
    pictures = model.pipe.image_processor.postprocess(decoded, output_type="np")
    psnrs_db = [-10 * math.log10(float(((picture - one.array() / 255) ** 2).mean())) for one, picture in zip(media, pictures, strict=True)]
    assert min(psnrs_db) > 22  # fine patterns are what the encoder loses
    assert sum(psnrs_db) / len(psnrs_db) > 30
