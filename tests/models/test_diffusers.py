from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
diffusers = pytest.importorskip("diffusers")
pytest.importorskip("transformers")

HERE = str(Path(__file__).parent)
if HERE not in sys.path:
    sys.path.insert(0, HERE)

import numpy as np  # noqa: E402
from PIL import Image  # noqa: E402
from tiny_pipelines import save  # noqa: E402

from anyscene.errors import ModelError, SpecError  # noqa: E402
from anyscene.media import Media  # noqa: E402
from anyscene.models import Failure, Model, load_model  # noqa: E402

pytestmark = [
    pytest.mark.torch,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]

CAPTIONS = ["a red ball", "a blue box on a table", "two green cats, and a very long sentence about what they do all day"]
SEEDS = [3, 2**40 + 1, 7]
SMALL: dict[str, dict[str, Any]] = {
    "sd": {"steps": 2, "height": 32, "width": 32, "guidance": 3.0},
    "sd3": {"steps": 2, "height": 32, "width": 32, "guidance": 3.0, "call": {"max_sequence_length": 77}},
    "flux": {"steps": 2, "height": 16, "width": 16, "call": '{"max_sequence_length": 48}'},
    "ltx": {
        "steps": 2,
        "height": 32,
        "width": 32,
        "frames": 9,
        "guidance": 3.0,
        "negative_prompt": "dull",
        "call": {"max_sequence_length": 48},
    },
    "shap_e": {"steps": 1, "height": 32, "width": 32},
}

Folder = Callable[[str], Path]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    made: dict[str, Path] = {}

    def find(kind: str) -> Path:
        if kind not in made:
            made[kind] = save(kind, tmp_path_factory.mktemp("pipelines") / kind)
        return made[kind]

    return find


@pytest.fixture
def load(folder: Folder) -> Callable[..., Any]:
    def with_options(kind: str, **options: Any) -> Any:
        return load_model(f"diffusers:{folder(kind)}", **{"device": "cpu", **SMALL[kind], **options})

    return with_options


def arrays(made: list[Media | Failure]) -> list[Any]:
    assert all(isinstance(one, Media) for one in made), made
    return [np.stack([one.array(i) for i in range(len(one.frames))]) for one in made if isinstance(one, Media)]


@pytest.mark.parametrize("kind", ["sd", "sd3", "flux"])
def test_a_saved_pipeline_paints_each_caption_alike_in_a_batch_and_alone(kind: str, load: Callable[..., Any]) -> None:
    model = load(kind, batch_size=3)
    assert isinstance(model, Model)
    together = arrays(model.generate(CAPTIONS, SEEDS))
    alone = [arrays(model.generate([caption], [seed]))[0] for caption, seed in zip(CAPTIONS, SEEDS, strict=True)]
    assert model.modality == "image"
    assert all(
        np.abs(one.astype(int) - other.astype(int)).max() <= 1 for one, other in zip(together, alone, strict=True)
    )  # of 255: kernels of other sizes round otherwise
    assert not np.array_equal(together[0], arrays(model.generate([CAPTIONS[0]], [4]))[0])  # the seed is used
    assert together[0].shape == (1, SMALL[kind]["height"], SMALL[kind]["width"], 3)


def test_the_caption_is_used(load: Callable[..., Any]) -> None:
    model = load("sd3")
    first, second = arrays(model.generate(CAPTIONS[:2], [5, 5]))
    assert not np.array_equal(first, second)


def test_a_text_to_video_pipeline_gives_clips_with_its_own_frame_rate(load: Callable[..., Any]) -> None:
    model = load("ltx", batch_size=2)
    together = model.generate(CAPTIONS[:2], SEEDS[:2])
    alone = [model.generate([caption], [seed])[0] for caption, seed in zip(CAPTIONS[:2], SEEDS[:2], strict=True)]
    assert model.modality == "video"
    assert [len(one.frames) for one in together] == [9, 9]
    assert together[0].fps == 25
    assert all(np.abs(one.astype(int) - other).max() <= 1 for one, other in zip(arrays(together), arrays(alone), strict=True))  # rounding
    model = load("ltx")
    assert model.batch_size == 1
    assert [one.sha256 for one in model.generate(CAPTIONS[:2], SEEDS[:2])] == [one.sha256 for one in alone]
    assert load("ltx", fps=12.0).generate(CAPTIONS[:1], [1])[0].fps == 12
    assert load("ltx", call={"frame_rate": 10, "max_sequence_length": 48}).generate(CAPTIONS[:1], [1])[0].fps == 10


def test_a_text_to_3d_pipeline_gives_views(load: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    model = load("shap_e")
    renderer = model.pipe.shap_e_renderer
    few = partial(renderer.decode_to_image, n_coarse_samples=2, n_fine_samples=2)  # its 192 samples a ray take half a minute here
    monkeypatch.setattr(renderer, "decode_to_image", few)
    made = model.generate(CAPTIONS[:1], SEEDS[:1])[0]
    assert (made.modality, len(made.frames), made.image.size, model.batch_size) == ("3d", 20, (32, 32), 1)


def test_square_views_take_one_size(load: Callable[..., Any]) -> None:
    with pytest.raises(SpecError, match="square"):
        load("shap_e", width=64)
    with pytest.raises(SpecError, match="one caption at a time"):
        load("shap_e", batch_size=2)


def test_an_argument_that_the_pipeline_does_not_take_is_refused_with_those_it_takes(load: Callable[..., Any]) -> None:
    with pytest.raises(SpecError, match=r"'eta_max'.*it takes .*num_inference_steps"):
        load("sd", call={"eta_max": 1})
    with pytest.raises(SpecError, match=r"frames=8: StableDiffusionPipeline has no such argument"):
        load("sd", frames=8)
    with pytest.raises(SpecError, match="negative_prompt"):
        load("shap_e", negative_prompt="dull")
    with pytest.raises(SpecError, match="given twice"):
        load("sd", call={"num_inference_steps": 3})
    with pytest.raises(SpecError, match="cannot be given"):
        load("sd", call={"generator": 3})
    with pytest.raises(SpecError, match="JSON object"):
        load("sd", call="[1]")


def test_a_call_argument_given_as_text_reaches_the_pipeline(load: Callable[..., Any]) -> None:
    plain, noisy = load("sd"), load("sd", call='{"eta": 1.0}')
    assert noisy.settings["eta"] == 1.0
    assert not np.array_equal(arrays(plain.generate(CAPTIONS[:1], [1]))[0], arrays(noisy.generate(CAPTIONS[:1], [1]))[0])


def test_options_come_as_text_from_a_command_line(folder: Folder) -> None:
    model = load_model(f"diffusers:{folder('sd')}", device="cpu", steps="2", height="32", width="32", guidance="3.0", batch_size="2")
    assert model.settings["num_inference_steps"] == 2
    with pytest.raises(SpecError, match="steps=many"):
        load_model(f"diffusers:{folder('sd')}", steps="many")
    with pytest.raises(SpecError, match="at least 1"):
        load_model(f"diffusers:{folder('sd')}", steps=0)


def test_lora_weights_change_the_picture_by_their_weight(load: Callable[..., Any], tmp_path: Path) -> None:
    peft = pytest.importorskip("peft")
    base = load("sd3")
    plain = arrays(base.generate(CAPTIONS[:1], [1]))[0]
    transformer = base.pipe.transformer
    torch.manual_seed(1)
    transformer.add_adapter(peft.LoraConfig(r=2, lora_alpha=2, init_lora_weights=False, target_modules=["to_k", "to_q", "to_v"]))
    tuned = arrays(base.generate(CAPTIONS[:1], [1]))[0]
    layers = peft.get_peft_model_state_dict(transformer)
    diffusers.StableDiffusion3Pipeline.save_lora_weights(tmp_path / "lora", transformer_lora_layers=layers)
    file = tmp_path / "lora" / "pytorch_lora_weights.safetensors"
    models = [load("sd3", lora=text) for text in (f"{tmp_path / 'lora'}", f"{file}@0.25", f"{file}@0")]
    full, part, none = (arrays(model.generate(CAPTIONS[:1], [1]))[0] for model in models)
    assert np.array_equal(none, plain)
    assert not np.array_equal(full, plain)
    assert not np.array_equal(full, part)
    assert np.abs(full.astype(int) - tuned).max() <= 1
    assert len({model.settings["lora_digest"] for model in models}) == 3
    assert models[0].settings["lora"] == "lora"


def test_lora_weights_that_are_none_are_refused_in_one_line(load: Callable[..., Any], tmp_path: Path) -> None:
    pytest.importorskip("peft")
    with pytest.raises(ModelError, match="no such file or folder"):
        load("sd", lora=str(tmp_path / "nothing"))
    (tmp_path / "bad.safetensors").write_bytes(b"not weights")
    with pytest.raises(ModelError, match=r"bad\.safetensors.*cannot be loaded") as told:
        load("sd", lora=str(tmp_path / "bad.safetensors"))
    assert "\n" not in str(told.value)
    from safetensors.torch import save_file

    save_file({"transformer.other.lora_A.weight": torch.zeros(2, 2)}, tmp_path / "other.safetensors")
    with pytest.raises(ModelError, match=r"other\.safetensors"):
        load("sd", lora=str(tmp_path / "other.safetensors"))


def test_out_of_memory_halves_the_batch_and_goes_on(load: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    model = load("sd", batch_size=4)
    expected = arrays(model.generate([*CAPTIONS, "a fox"], [1, 2, 3, 4]))
    sizes: list[int] = []
    call = type(model.pipe).__call__

    def scarce(self: Any, prompt: list[str], **rest: Any) -> Any:
        sizes.append(len(prompt))
        if len(prompt) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return call(self, prompt=prompt, **rest)

    scarce.__signature__ = __import__("inspect").signature(call)  # type: ignore[attr-defined]
    monkeypatch.setattr(type(model.pipe), "__call__", scarce)
    made = arrays(model.generate([*CAPTIONS, "a fox"], [1, 2, 3, 4]))
    assert sizes == [4, 2, 1, 1, 1, 1]
    assert model.batch_size == 1
    assert all(
        np.abs(one.astype(int) - other.astype(int)).max() <= 1 for one, other in zip(made, expected, strict=True)
    )  # a kernel's rounding


def test_one_caption_that_does_not_fit_into_memory_is_a_failure(load: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    model = load("sd", batch_size=2)

    def full(self: Any, **rest: Any) -> Any:
        raise RuntimeError("MPS backend out of memory (allocated 9 GB)")

    monkeypatch.setattr(type(model.pipe), "__call__", full)
    made = model.generate(CAPTIONS, SEEDS)
    assert [one.status for one in made] == ["failed"] * 3
    assert "out of memory" in made[0].reason


def test_one_bad_caption_takes_no_other_with_it(load: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    model = load("sd", batch_size=3)
    call = type(model.pipe).__call__

    def picky(self: Any, prompt: list[str], **rest: Any) -> Any:
        if CAPTIONS[1] in prompt:
            raise ValueError("this caption\ncannot be read")
        return call(self, prompt=prompt, **rest)

    monkeypatch.setattr(type(model.pipe), "__call__", picky)
    made = model.generate(CAPTIONS, SEEDS)
    assert [type(one).__name__ for one in made] == ["Media", "Failure", "Media"]
    assert made[1] == Failure("failed", "this caption cannot be read")


def test_settings_that_never_work_stop_the_run(load: Callable[..., Any]) -> None:
    model = load("sd", height=33)
    with pytest.raises(ModelError, match=r"fails with these settings: .*divisible by 8"):
        model.generate(CAPTIONS, SEEDS)


def test_a_picture_that_the_safety_checker_blocks_is_refused(load: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    model = load("sd", batch_size=2)

    def checked(images: Any, device: Any, dtype: Any) -> Any:
        return images, [True, False]

    monkeypatch.setattr(model.pipe, "run_safety_checker", checked)
    made = model.generate(CAPTIONS[:2], SEEDS[:2])
    assert made[0] == Failure("refused", "the pipeline's safety checker held the picture back")
    assert isinstance(made[1], Media)


def test_a_picture_of_no_numbers_is_a_failure_and_not_a_black_picture(load: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    model = load("sd")
    assert isinstance(model.generate(CAPTIONS[:1], [1])[0], Media)
    decode = model.pipe.vae.decode
    monkeypatch.setattr(model.pipe.vae, "decode", lambda *given, **rest: (decode(*given, **rest)[0] * float("nan"),))
    made = model.generate(CAPTIONS[:1], [1])[0]
    assert isinstance(made, Failure)
    assert "no numbers" in made.reason


def test_captions_that_are_cut_are_told_of_once(
    load: Callable[..., Any], caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    model = load("sd", batch_size=1)
    assert len(arrays(model.generate(["a very long caption " * 40] * 3, [1, 2, 3]))) == 3
    assert [record.getMessage() for record in caplog.records] == [
        f"{model.name}: some captions are longer than its text encoder reads; their ends are cut off"
    ]
    assert "truncated" not in capfd.readouterr().err


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("/no/such/folder", "no such folder"),
        ("", "no name given"),
        ("somebody/some-model", "not in the local cache"),
        ("a/b/c", "no such folder"),
    ],
)
def test_a_pipeline_that_is_not_there_is_told_in_one_line(name: str, told: str) -> None:
    with pytest.raises(ModelError, match=told) as raised:
        load_model(f"diffusers:{name}", local_files_only=True)
    assert "\n" not in str(raised.value)


def test_a_folder_that_holds_no_sound_pipeline_is_told_in_one_line(folder: Folder, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelError, match=r"no model_index\.json"):
        load_model(f"diffusers:{tmp_path / 'empty'}")
    (tmp_path / "empty" / "model_index.json").write_text('{"_class_name": "NoSuchPipeline"}')
    with pytest.raises(ModelError, match=r"NoSuchPipeline\) cannot be loaded") as raised:
        load_model(f"diffusers:{tmp_path / 'empty'}")
    assert "\n" not in str(raised.value)
    import shutil

    broken = tmp_path / "broken"
    shutil.copytree(folder("sd"), broken)
    (broken / "unet" / "diffusion_pytorch_model.safetensors").write_bytes(b"cut off")
    with pytest.raises(ModelError, match="cannot be loaded"):
        load_model(f"diffusers:{broken}")


def test_the_revision_of_a_folder_is_that_of_its_contents(folder: Folder, tmp_path: Path) -> None:
    import shutil

    from anyscene.weights import folder_digest

    copy = tmp_path / "copy"
    shutil.copytree(folder("sd"), copy)
    (copy / "README.md").write_text("words")
    (copy / ".cache").mkdir()
    (copy / ".cache" / "lock").write_text("1")
    assert folder_digest(copy) == folder_digest(folder("sd"))
    weights = copy / "unet" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x7f")
    assert folder_digest(copy) != folder_digest(folder("sd"))


def test_settings_hold_all_that_pictures_depend_on(load: Callable[..., Any], folder: Folder) -> None:
    import json

    model = load("sd", negative_prompt="dull", scheduler="EulerDiscreteScheduler")
    assert model.name == f"diffusers:{folder('sd')}"
    assert len(model.revision) == 16
    wanted = {"pipeline": "StableDiffusionPipeline", "scheduler": "EulerDiscreteScheduler", "num_inference_steps": 2, "height": 32}
    wanted |= {"guidance_scale": 3.0, "negative_prompt": "dull", "dtype": "float32", "device": "cpu"}
    assert wanted.items() <= model.settings.items()
    assert model.settings["versions"]["torch"] == torch.__version__
    assert json.loads(json.dumps(model.settings)) == model.settings
    assert len(arrays(model.generate(CAPTIONS, SEEDS))) == 3  # a negative prompt for each of a batch
    with pytest.raises(SpecError, match=r"can be exchanged for .*EulerDiscreteScheduler"):
        load("sd", scheduler="NoScheduler")


def test_machines_are_asked_only_for_what_they_have(load: Callable[..., Any]) -> None:
    with pytest.raises(SpecError, match="nothing to offload"):
        load("sd", offload="model")
    with pytest.raises(SpecError, match="no such device"):
        load("sd", device="abacus")
    if not torch.cuda.is_available():
        with pytest.raises(SpecError, match="torch finds none here"):
            load("sd", device="cuda:1")


def test_half_precision_and_tiles_are_honoured(load: Callable[..., Any]) -> None:
    model = load("sd", dtype="bfloat16", tiling=True)
    assert model.pipe.unet.dtype == torch.bfloat16
    assert model.pipe.vae.use_tiling
    assert model.settings["dtype"] == "bfloat16"
    assert len(arrays(model.generate(CAPTIONS[:2], SEEDS[:2]))) == 2


def test_components_can_be_left_out(load: Callable[..., Any]) -> None:
    model = load("sd3", without="text_encoder_2, tokenizer_2")
    assert model.pipe.text_encoder_2 is None
    with pytest.raises(SpecError, match="the pipeline's components are"):
        load("sd3", without="text_encoder_9")


def test_loading_leaves_logging_as_it_was(load: Callable[..., Any], capfd: pytest.CaptureFixture[str]) -> None:
    before = diffusers.utils.logging.get_verbosity(), diffusers.utils.logging.is_progress_bar_enabled()
    model = load("sd")
    model.generate(CAPTIONS[:1], [1])
    assert (diffusers.utils.logging.get_verbosity(), diffusers.utils.logging.is_progress_bar_enabled()) == before
    assert capfd.readouterr() == ("", "")


def test_guidance_of_distilled_families_is_given_as_their_true_guidance() -> None:
    from anyscene.models.pipelines import read_call

    class Distilled:
        def __call__(self, prompt: str | list[str] | None = None, negative_prompt: str | None = None, true_cfg_scale: float = 4.0,
                     guidance_scale: float | None = None, generator: Any | list[Any] | None = None) -> None: ...  # fmt: skip

    arguments = dict(read_call(Distilled(), {"guidance": 5.0}, {}).arguments)
    assert arguments == {"true_cfg_scale": 5.0, "negative_prompt": " "}


def test_a_pipeline_that_needs_a_picture_is_refused() -> None:
    from anyscene.models.pipelines import read_call

    class Edits:
        def __call__(self, image: Image.Image, prompt: str | None = None, generator: Any = None) -> None: ...

    with pytest.raises(ModelError, match=r"Edits.*needs image"):
        read_call(Edits(), {}, {})
