from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
diffusers = pytest.importorskip("diffusers")
pytest.importorskip("transformers")
pytest.importorskip("accelerate")
pytest.importorskip("peft")

MODELS = str(Path(__file__).parents[1] / "models")
if MODELS not in sys.path:
    sys.path.insert(0, MODELS)

import numpy as np  # noqa: E402
from safetensors.torch import load_file  # noqa: E402
from tiny_pipelines import save  # noqa: E402

from anyscene.errors import Interrupted, SpecError  # noqa: E402
from anyscene.media import Media  # noqa: E402
from anyscene.models import load_model  # noqa: E402
from anyscene.training.config import Learning, read_config  # noqa: E402
from anyscene.training.examples import Example  # noqa: E402
from anyscene.training.launch import launch_config  # noqa: E402
from anyscene.training.policies import Trained  # noqa: E402
from anyscene.training.run_folder import TrainingRun  # noqa: E402
from anyscene.training.supervised import check_supervised, train_supervised  # noqa: E402

pytestmark = [
    pytest.mark.torch,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]

OPTIONS: dict[str, dict[str, Any]] = {
    "sd": {"height": 16, "width": 16, "guidance": 3.0, "steps": 2},
    "sdxl": {"height": 16, "width": 16, "steps": 2},
    "sd3": {"height": 16, "width": 16, "guidance": 3.0, "steps": 2, "call": {"max_sequence_length": 77}},
    "flux": {"height": 16, "width": 16, "steps": 2, "call": {"max_sequence_length": 48}},
    "qwen": {"height": 16, "width": 16, "steps": 2},
    "z_image": {"height": 16, "width": 16, "steps": 2},
    "ltx": {"height": 32, "width": 32, "frames": 9, "steps": 2},
    "wan": {"height": 16, "width": 16, "frames": 5, "steps": 2},
    "cogvideox": {"height": 16, "width": 16, "frames": 9, "steps": 2, "call": {"max_sequence_length": 16}},
}
CAPTIONS = ["a red ball", "a blue box", "a cat", "a dog on a table"]
Folder = Callable[[str], Path]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    made: dict[str, Path] = {}

    def find(kind: str) -> Path:
        if kind not in made:
            made[kind] = save(kind, tmp_path_factory.mktemp("pipelines") / kind)
        return made[kind]

    return find


def load(kind: str, folder: Folder, **more: Any) -> tuple[Any, Trained]:
    base = Trained(f"diffusers:{folder(kind)}", {**OPTIONS[kind], "device": "cpu", **more})
    return load_model(base.load, **base.options), base


def picture(path: Path, seed: int, size: tuple[int, int] = (16, 16), tint: Sequence[int] = (0, 0, 0), frames: int = 1) -> Path:
    noise = np.random.default_rng(seed).integers(0, 120, (frames, *size, 3))
    media = Media.of_frames(list((noise + np.asarray(tint)).astype(np.uint8)), "image" if frames == 1 else "video")
    path.write_bytes(media.data)
    return path


def make_examples(place: Path, count: int = 4, **given: Any) -> list[Example]:
    """Blue pictures, each with a red one that is rejected."""
    place.mkdir(exist_ok=True)
    return [
        Example(
            f"s{at}",
            CAPTIONS[at % len(CAPTIONS)],
            picture(place / f"{at}.png", at, tint=(0, 0, 130), **given),
            rejected=picture(place / f"{at}-rejected.png", 100 + at, tint=(130, 0, 0), **given),
        )
        for at in range(count)
    ]


def configure(**given: Any) -> Learning:
    plain = {
        "fine_tuning.updates": 2,
        "fine_tuning.batch_size": 4,
        "optimization.learning_rate": 1e-3,
        "lora.rank": 4,
        "checkpoint_every": 1,
    }
    return read_config(None, {**plain, **given}, Learning)


def train(
    kind: str,
    folder: Folder,
    out: Path,
    config: Learning,
    examples: Sequence[Example] | None = None,
    *,
    start: Path | None = None,
    stop_after: int | None = None,
    **options: Any,
) -> tuple[Trained, TrainingRun, Any]:
    model, base = load(kind, folder, **options)
    examples = examples or make_examples(out.parent / "examples", frames=OPTIONS[kind].get("frames", 1))
    run = TrainingRun(out, config.fine_tuning.updates, quiet=True, checkpoint_every=config.checkpoint_every)
    if stop_after is not None:
        log = run.log

        def ask(update: int, *args: Any) -> None:
            log(update, *args)
            if update == stop_after:
                run._asked.set()

        run.log = ask  # type: ignore[method-assign]
    return train_supervised(model, base, examples, config, run, start=start), run, model


def weights(out: Path) -> list[Any]:
    newest = sorted((out / "checkpoints").glob("update-*"))[-1]
    return list(torch.load(newest / "state.pt", weights_only=True)["weights"])


def same(one: Path, other: Path) -> bool:
    return all(torch.equal(a, b) for a, b in zip(weights(one), weights(other), strict=True))


# ---- what is learnt -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "rate"), [("sd", 3e-3), ("sd3", 3e-3)])
@pytest.mark.parametrize("method", ["sft", "weighted", "dpo"])
def test_the_loss_falls(method: str, kind: str, rate: float, folder: Folder, tmp_path: Path) -> None:
    """Learnt by heart: four pictures, all weights."""
    given = {"fine_tuning.method": method, "lora.rank": 0, "optimization.learning_rate": rate, "fine_tuning.updates": 30}
    _, run, _ = train(kind, folder, tmp_path / "run", configure(**given, checkpoint_every=100))
    losses = [one["loss"] for one in run.metrics()]
    assert np.mean(losses[-8:]) < np.mean(losses[:8]) * 0.95, losses
    if method == "dpo":
        first, margins = run.metrics()[0], [one["margin"] for one in run.metrics()]
        assert first["margin"] == 0.0
        assert first["accuracy"] == 0.5
        assert first["loss"] == pytest.approx(np.log(2))
        assert np.mean(margins[-8:]) > 0
        assert np.mean([one["accuracy"] for one in run.metrics()[-8:]]) > 0.7


def test_what_is_drawn_comes_nearer_to_what_was_learnt(folder: Folder, tmp_path: Path) -> None:
    """In latents: the decoder of a random pipeline doesn't undo its encoder."""
    from anyscene.media import read_media
    from anyscene.training.denoiser import Denoiser
    from anyscene.training.latents import encode

    given = {"lora.rank": 0, "optimization.learning_rate": 5e-3, "fine_tuning.updates": 30, "fine_tuning.batch_size": 8}
    examples = make_examples(tmp_path / "examples")
    before, _ = load("sd3", folder)
    _, _, after = train("sd3", folder, tmp_path / "run", configure(**given, checkpoint_every=100), examples)
    wanted = encode(before.pipe, Denoiser(before.pipe), [read_media(one.path) for one in examples], 16, 16).mean(0)
    off = []
    for model in (before, after):
        sources = [torch.Generator().manual_seed(seed) for seed in range(8)]
        size = {"height": 16, "width": 16, "max_sequence_length": 77}
        with torch.no_grad():
            drawn = model.pipe(CAPTIONS * 2, generator=sources, guidance_scale=1.0, num_inference_steps=8, output_type="latent", **size)
        off.append(float((drawn.images.mean(0) - wanted).square().mean()))
    assert off[1] < off[0] * 0.5, off


@pytest.mark.parametrize("kind", ["sd", "sd3"])
def test_nft_moves_towards_good_pictures_and_away_from_bad_ones(kind: str, folder: Folder, tmp_path: Path) -> None:
    """At one half nothing is learnt; above it the error on the same picture falls, below it rises."""
    given = {"fine_tuning.method": "nft", "lora.rank": 0, "fine_tuning.updates": 8, "fine_tuning.batch_size": 4}
    examples = make_examples(tmp_path / "examples")
    probe = configure(**{"lora.rank": 0, "fine_tuning.updates": 1, "fine_tuning.batch_size": 4, "fine_tuning.caption_dropout": 0.0})
    _, run, _ = train(kind, folder, tmp_path / "probe", probe, examples)
    start, changes = run.metrics()[0]["loss"], {}
    for weight in (0.0, 1.0, 2.0):
        own = [replace(one, weight=weight) for one in examples]
        config = configure(**given, **{"optimization.learning_rate": 3e-4})
        trained, run, _ = train(kind, folder, tmp_path / f"{weight}", config, own)
        if weight == 1:
            assert max(abs(one["grad_norm"]) for one in run.metrics()[:1]) < 1e-6
        model = load_model(trained.load, **trained.options)
        again = TrainingRun(tmp_path / f"probe-{weight}", 1, quiet=True)
        train_supervised(model, trained, examples, probe, again)  # type: ignore[arg-type]
        changes[weight] = again.metrics()[0]["loss"] - start
    assert changes[2.0] < -abs(changes[1.0]) - 1e-6 and changes[0.0] > abs(changes[1.0]) + 1e-6, changes


def test_only_the_proportions_of_weights_count_and_what_weighs_nothing_teaches_nothing(folder: Folder, tmp_path: Path) -> None:
    examples = make_examples(tmp_path / "examples")
    config = configure(**{"fine_tuning.method": "weighted"})
    graded = [replace(one, weight=weight) for one, weight in zip(examples, (0.0, 0.25, 0.25, 0.5), strict=True)]
    train("sd3", folder, tmp_path / "graded", config, graded)
    train("sd3", folder, tmp_path / "more", config, [replace(one, weight=one.weight * 64) for one in graded])
    other = picture(tmp_path / "other.png", 77)
    train("sd3", folder, tmp_path / "first is another", config, [replace(graded[0], path=other), *graded[1:]])
    train("sd3", folder, tmp_path / "last is another", config, [*graded[:3], replace(graded[3], path=other)])
    assert same(tmp_path / "graded", tmp_path / "more")
    assert same(tmp_path / "graded", tmp_path / "first is another")
    assert not same(tmp_path / "graded", tmp_path / "last is another")


def test_min_snr_weighs_the_noise_levels(folder: Folder, tmp_path: Path) -> None:
    losses = []
    for name, given in (("plain", {}), ("high", {"fine_tuning.min_snr": 1e12}), ("five", {"fine_tuning.min_snr": 5.0})):
        config = configure(**{"fine_tuning.updates": 1, **given})
        if name == "plain":
            config = config.model_copy(update={"fine_tuning": config.fine_tuning.model_copy(update={"min_snr": None})})
        _, run, _ = train("sd", folder, tmp_path / name, config)
        losses.append(run.metrics()[0]["loss"])
    assert losses[0] == losses[1]
    assert losses[2] < losses[0]


def asked_captions(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    import anyscene.training.latents as latents

    asked: list[str] = []
    plain = latents.condition

    def keep(model: Any, denoiser: Any, captions: Sequence[str], *size: int) -> Any:
        asked.extend(captions)
        return plain(model, denoiser, captions, *size)

    monkeypatch.setattr(latents, "condition", keep)
    return asked


def test_captions_are_dropped_at_the_rate_that_was_asked_for(folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = asked_captions(monkeypatch)
    given = {"fine_tuning.updates": 8, "fine_tuning.batch_size": 16, "fine_tuning.caption_dropout": 0.25, "checkpoint_every": 100}
    train("sd3", folder, tmp_path / "run", configure(**given))
    assert len(asked) == 128
    assert 0.15 < asked.count("") / 128 < 0.35
    assert set(asked) == {"", *CAPTIONS}


def test_both_pictures_of_a_pair_are_asked_about_with_the_same_caption_noise_and_time(
    folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from anyscene.training.denoiser import Denoiser

    asked, told = asked_captions(monkeypatch), []
    plain = Denoiser.at

    def keep(self: Any, request: Any, latents: Any, times: Any) -> Any:
        told.append((latents, times))
        return plain(self, request, latents, times)

    monkeypatch.setattr(Denoiser, "at", keep)
    alike = [replace(one, rejected=one.path) for one in make_examples(tmp_path / "examples")]
    _, run, _ = train("sd3", folder, tmp_path / "run", configure(**{"fine_tuning.method": "dpo"}), alike)
    assert asked[:4] == asked[4:8]
    for latents, times in told:
        assert torch.equal(*latents.chunk(2))
        assert torch.equal(*times.chunk(2))
    assert [one["margin"] for one in run.metrics()] == [0.0, 0.0]


# ---- passes, processes, interruption --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["sft", "weighted", "dpo", "nft"])
def test_small_passes_add_up_to_the_gradient_of_one(method: str, folder: Folder, tmp_path: Path) -> None:
    examples = [replace(one, weight=0.5 + at / 2) for at, one in enumerate(make_examples(tmp_path / "examples"))]
    found = []
    for micro in (None, 1, 3):
        given = {"fine_tuning.method": method, "optimization.micro_batch": micro, "fine_tuning.updates": 1}
        _, run, _ = train("sd3", folder, tmp_path / str(micro), configure(**given), examples)
        found.append((run.metrics()[0], torch.load(tmp_path / str(micro) / "checkpoints/update-00001/state.pt")["optimizer"]["state"]))
    for metrics, state in found[1:]:
        assert metrics["loss"] == pytest.approx(found[0][0]["loss"], rel=1e-5)
        for number, one in state.items():  # after one update this is a tenth of the gradient
            torch.testing.assert_close(one["exp_avg"], found[0][1][number]["exp_avg"], rtol=1e-3, atol=1e-7)


def test_gradient_checkpointing_changes_no_gradient(folder: Folder, tmp_path: Path) -> None:
    for kind in ("sd", "sd3"):
        norms = []
        for on in (False, True):
            config = configure(**{"optimization.gradient_checkpointing": on, "fine_tuning.updates": 1})
            _, run, _ = train(kind, folder, tmp_path / f"{kind}-{on}", config)
            norms.append(run.metrics()[0]["grad_norm"])
        assert norms[0] == pytest.approx(norms[1], rel=1e-5)


INTERRUPTED = [
    ("sft", 4, {"ema.decay": 0.9, "optimization.schedule": "cosine", "optimization.micro_batch": 3}),
    ("dpo", 4, {"ema.decay": 0.9}),
    ("weighted", 0, {"optimization.weight_decay": 0.1}),
    ("dpo", 0, {}),
    ("nft", 4, {"fine_tuning.noise_shift": 1.0}),
]


@pytest.mark.parametrize(("method", "rank", "more"), INTERRUPTED)
def test_an_interrupted_run_ends_in_the_weights_of_an_unbroken_one(
    method: str, rank: int, more: dict[str, Any], folder: Folder, tmp_path: Path
) -> None:
    given = {"fine_tuning.method": method, "lora.rank": rank, "fine_tuning.updates": 4, "checkpoint_every": 100}
    config, examples = configure(**given, **more), make_examples(tmp_path / "examples", 6)
    whole, _, _ = train("sd3", folder, tmp_path / "whole", config, examples)
    with pytest.raises(Interrupted, match="stopped after 2 of 4 updates"):
        train("sd3", folder, tmp_path / "broken", config, examples, stop_after=2)
    broken, run, _ = train("sd3", folder, tmp_path / "broken", config, examples)
    assert [one["update"] for one in run.metrics()] == [1, 2, 3, 4]
    assert same(tmp_path / "whole", tmp_path / "broken")
    made = [load_model(one.load, **one.options).generate(["a ball"], [1])[0].data for one in (whole, broken)]  # type: ignore[union-attr]
    assert made[0] == made[1]


SCRIPT = """
import sys
from pathlib import Path
sys.path.insert(0, {here!r})
import torch
torch.set_num_threads(int(sys.argv[5]))
from accelerate import PartialState
from anyscene.models import load_model
from anyscene.training.config import Learning
from anyscene.training.examples import read_examples
from anyscene.training.launch import launch_config  # noqa: E402
from anyscene.training.policies import Trained
from anyscene.training.run_folder import TrainingRun
from anyscene.training.supervised import train_supervised
config = Learning.model_validate_json(Path(sys.argv[1]).read_text())
base = Trained.read(Path(sys.argv[2]))
state = PartialState(cpu=True)
updates = config.fine_tuning.updates
run = TrainingRun(Path(sys.argv[4]), updates, main=state.is_main_process, quiet=True, checkpoint_every=config.checkpoint_every)
train_supervised(load_model(base.load, **base.options), base, read_examples(Path(sys.argv[3])), config, run)
print("processes " + str(state.num_processes) + "\\n", end="", flush=True)  # in one piece: the other process writes as well
"""


def in_processes(folder: Folder, place: Path, config: Learning, examples: Sequence[Example]) -> list[str]:
    """What a process needs to train as `train` does, as files; and the arguments that name them."""
    from anyscene.training.examples import write_examples

    load("sd3", folder)[1].write(place)
    write_examples(place / "examples.jsonl", examples)
    (place / "config.json").write_text(config.model_dump_json(exclude_unset=True))
    (place / "script.py").write_text(SCRIPT.format(here=str(Path(__file__).parent)))
    return ["script.py", "config.json", ".", "examples.jsonl"]


@pytest.mark.slow
def test_after_kill_9_the_same_weights_come_out(folder: Folder, tmp_path: Path) -> None:
    config = configure(**{"fine_tuning.updates": 60, "ema.decay": 0.9, "checkpoint_every": 2, "optimization.micro_batch": 3})
    examples = make_examples(tmp_path / "examples", 6)
    script = in_processes(folder, tmp_path, config, examples)
    process = subprocess.Popen([sys.executable, *script, "killed", str(torch.get_num_threads())], cwd=tmp_path)
    log, until = tmp_path / "killed" / "metrics.jsonl", time.monotonic() + 120
    while not (log.exists() and log.read_bytes().count(b"\n") >= 5) and process.poll() is None and time.monotonic() < until:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    done = TrainingRun(tmp_path / "killed", 60).newest_checkpoint()
    assert done is not None
    assert 2 <= done[0] < 60
    train("sd3", folder, tmp_path / "killed", config, examples)
    train("sd3", folder, tmp_path / "whole", config, examples)
    assert same(tmp_path / "killed", tmp_path / "whole")
    killed, whole = (load_file(tmp_path / name / "policy" / "pytorch_lora_weights.safetensors") for name in ("killed", "whole"))
    assert killed.keys() == whole.keys()
    assert all(torch.equal(killed[name], whole[name]) for name in whole)


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind", ["ddp", "fsdp", pytest.param("deepspeed-zero2", marks=pytest.mark.skipif(not find_spec("deepspeed"), reason="no deepspeed"))]
)
def test_two_processes_learn_what_one_learns_and_each_goes_on_where_the_other_stopped(kind: str, folder: Folder, tmp_path: Path) -> None:
    """All weights, a reference that is swapped in, a moving average; the first update is made by one process, the next two by two."""
    given = {"fine_tuning.method": "dpo", "lora.rank": 0, "fine_tuning.updates": 3, "ema.decay": 0.5, "optimization.micro_batch": 1}
    config, examples = configure(**given), make_examples(tmp_path / "examples", 6)
    trained, run, _ = train("sd3", folder, tmp_path / "one", config, examples)
    with pytest.raises(Interrupted):
        train("sd3", folder, tmp_path / "two", config, examples, stop_after=1)
    command = [*launch(kind), *in_processes(folder, tmp_path, config, examples), "two", "1"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "DS_ACCELERATOR": "cpu"}
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=600, env=environment)
    assert done.returncode == 0, done.stderr[:4000]
    assert done.stdout.count("processes 2") == 2
    two = TrainingRun(tmp_path / "two", 3).metrics()
    assert [one["update"] for one in two] == [1, 2, 3]
    for one, other in zip(run.metrics(), two, strict=True):
        assert other["loss"] == pytest.approx(one["loss"], rel=1e-3)
        assert other["grad_norm"] == pytest.approx(one["grad_norm"], rel=1e-2)
    for a, b in zip(weights(tmp_path / "one"), weights(tmp_path / "two"), strict=True):
        torch.testing.assert_close(a, b, rtol=0.05, atol=3e-4)
    shutil.copytree(tmp_path / "two" / "checkpoints", tmp_path / "again" / "checkpoints")
    train("sd3", folder, tmp_path / "again", config, examples)  # nothing is left to learn; the checkpoint is whole, the average with it
    again, made = (transformer(tmp_path / name) for name in ("again", "two"))
    assert again.keys() == made.keys() == transformer(tmp_path / "one").keys()
    assert all(torch.equal(again[name], made[name]) for name in made)
    index = json.loads((tmp_path / "two" / "policy" / "model_index.json").read_text())
    assert index["transformer"] == ["diffusers", "SD3Transformer2DModel"]
    assert diffusers.SD3Transformer2DModel.from_pretrained(tmp_path / "two" / "policy" / "transformer")
    assert load_model(trained.load.replace("/one/", "/two/"), **trained.options).generate(["a ball"], [1])  # type: ignore[union-attr]


def launch(kind: str) -> list[str]:
    """Two processes by a config that ships."""
    return [sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(launch_config(kind))]


def transformer(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = load_file(run / "policy" / "transformer" / "diffusion_pytorch_model.safetensors")
    return found


@pytest.mark.parametrize("rank", [0, 4])
def test_mixed_precision_keeps_weights_in_float32(rank: int, folder: Folder, tmp_path: Path) -> None:
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state()
    try:
        for method in ("sft", "dpo"):
            given = {"fine_tuning.method": method, "optimization.precision": "bf16", "lora.rank": rank}
            _, run, _ = train("sd3", folder, tmp_path / method, configure(**given), dtype="bfloat16")
            assert all(one.dtype == torch.float32 for one in weights(tmp_path / method))
            assert all(one["grad_norm"] > 0 for one in run.metrics())
            assert run.metrics()[0].get("margin", 0.0) == 0.0
    finally:
        AcceleratorState._reset_state()


# ---- what is kept ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["sft", "dpo"])
@pytest.mark.parametrize("kind", ["sd", "sdxl", "sd3", "flux"])
def test_lora_weights_give_the_same_pictures_when_stock_diffusers_loads_them(
    kind: str, method: str, folder: Folder, tmp_path: Path
) -> None:
    given = {"fine_tuning.method": method, "optimization.learning_rate": 0.05, "lora.alpha": 16}
    trained, _, model = train(kind, folder, tmp_path / "run", configure(**given))
    _, base = load(kind, folder)
    assert trained == Trained(base.load, {**base.options, "lora": str(tmp_path / "run" / "policy")})
    wanted = [one.data for one in model.generate(CAPTIONS[:2], [1, 2])]
    stock, _ = load(kind, folder)
    assert [one.data for one in stock.generate(CAPTIONS[:2], [1, 2])] != wanted
    stock.pipe.load_lora_weights(str(tmp_path / "run" / "policy"))
    assert [one.data for one in stock.generate(CAPTIONS[:2], [1, 2])] == wanted
    assert [one.data for one in load_model(trained.load, **trained.options).generate(CAPTIONS[:2], [1, 2])] == wanted  # type: ignore[union-attr]


@pytest.mark.parametrize("kind", ["sd", "sd3"])
def test_all_weights_are_kept_as_a_pipeline(kind: str, folder: Folder, tmp_path: Path) -> None:
    trained, _, model = train(kind, folder, tmp_path / "run", configure(**{"lora.rank": 0, "optimization.learning_rate": 0.01}))
    assert trained.load == f"diffusers:{tmp_path / 'run' / 'policy'}"
    made = [one.generate(["a ball"], [1])[0].data for one in (model, load_model(trained.load, **trained.options), load(kind, folder)[0])]  # type: ignore[union-attr]
    assert made[0] == made[1] != made[2]


@pytest.mark.parametrize("kind", ["qwen", "z_image", "ltx", "wan", "cogvideox"])
def test_other_families_and_clips_are_learnt_from_too(kind: str, folder: Folder, tmp_path: Path) -> None:
    for method in ("sft", "dpo"):
        trained, run, model = train(kind, folder, tmp_path / method, configure(**{"fine_tuning.method": method, "lora.rank": 4}))
        assert all(one["grad_norm"] > 0 for one in run.metrics())
        wanted = model.generate(CAPTIONS[:1], [1])[0].data
        assert load_model(trained.load, **trained.options).generate(CAPTIONS[:1], [1])[0].data == wanted  # type: ignore[union-attr]


def test_pictures_of_several_shapes_are_learnt_from_each_in_its_own(folder: Folder, tmp_path: Path) -> None:
    from anyscene.training.latents import encode

    shapes = []
    with pytest.MonkeyPatch.context() as patch:
        import anyscene.training.latents as latents

        def keep(*args: Any, **more: Any) -> Any:
            found = encode(*args, **more)
            shapes.append(tuple(found.shape[2:]))
            return found

        patch.setattr(latents, "encode", keep)
        examples = make_examples(tmp_path / "examples", 4)
        wide = [replace(one, path=picture(tmp_path / f"wide{at}.png", at, size=(32, 64))) for at, one in enumerate(examples)]
        train("sd", folder, tmp_path / "run", configure(**{"fine_tuning.updates": 4}), examples + wide, height=32, width=32)
    assert len(set(shapes)) == 2


def test_a_second_round_goes_on_from_the_first(folder: Folder, tmp_path: Path) -> None:
    config, examples = configure(), make_examples(tmp_path / "examples")
    train("sd3", folder, tmp_path / "first", config, examples)
    tiny = configure(**{"optimization.learning_rate": 1e-12, "fine_tuning.updates": 1})
    train("sd3", folder, tmp_path / "second", tiny, examples, start=tmp_path / "first" / "policy")
    for one, other in zip(weights(tmp_path / "first"), weights(tmp_path / "second"), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-9)
    preferring = configure(**{"fine_tuning.method": "dpo"})
    _, run, _ = train("sd3", folder, tmp_path / "third", preferring, examples, start=tmp_path / "first" / "policy")
    assert run.metrics()[0]["margin"] == 0.0  # held to the first round
    train("sd3", folder, tmp_path / "anew", tiny, examples)
    assert not same(tmp_path / "second", tmp_path / "anew")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"lora.rank": 8}, "another rank"),
        ({"lora.targets": ["to_q"]}, "other layers"),
        ({"lora.alpha": 3}, "have alpha 8, where lora.alpha is 3"),
        ({"lora.rank": 0}, "it is 0, which trains all weights"),
    ],
)
def test_a_round_with_other_adapters_is_refused(given: dict[str, Any], said: str, folder: Folder, tmp_path: Path) -> None:
    train("sd3", folder, tmp_path / "first", configure(**{"fine_tuning.updates": 1}))
    with pytest.raises(SpecError, match=said):
        train("sd3", folder, tmp_path / "second", configure(**given), start=tmp_path / "first" / "policy")
    with pytest.raises(SpecError, match="no LoRA weights to go on from"):
        train("sd3", folder, tmp_path / "second", configure(), start=tmp_path / "nowhere")


# ---- what is refused ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "given", "said"),
    [
        *[
            ("sd3", {f"optimization.{key}": value}, f"optimization.{key}: it has no effect on sft")
            for key, value in (("kl", 0.1), ("clip_range", 0.2), ("advantage_clip", 2.0), ("scale", "batch"), ("inner_updates", 2))
        ],
        ("sd", {"fine_tuning.dpo_beta": 100.0}, "fine_tuning.dpo_beta: it has no effect on sft"),
        ("sd", {"fine_tuning.noise_shift": 1.0}, "fine_tuning.noise_shift: it has no effect on models that are no flows"),
        ("sd3", {"fine_tuning.method": "nft", "fine_tuning.caption_dropout": 0.1}, "caption_dropout: it has no effect on nft"),
        ("sd", {"fine_tuning.method": "dpo", "fine_tuning.min_snr": 5.0}, "fine_tuning.min_snr: it has no effect on dpo"),
        ("sd3", {"fine_tuning.method": "dpo", "fine_tuning.caption_dropout": 0.1}, "caption_dropout: it has no effect on dpo"),
        ("sd3", {"fine_tuning.min_snr": 5.0}, "min_snr: it has no effect on flow models"),
        ("sd3", {"fine_tuning.size": 17}, "must be multiples of"),
    ],
)
def test_what_has_no_effect_is_refused(kind: str, given: dict[str, Any], said: str, folder: Folder) -> None:
    model, _ = load(kind, folder)
    check_supervised(model, configure())
    with pytest.raises(SpecError, match=said):
        check_supervised(model, configure(**given))


def test_examples_that_lack_what_the_method_needs_are_refused(folder: Folder, tmp_path: Path) -> None:
    examples = make_examples(tmp_path / "examples")
    without = [*examples[:1], replace(examples[1], rejected=None)]
    for method, given, said in (
        ("dpo", without, "scene s1: dpo learns from a better and a worse picture"),
        ("weighted", [replace(examples[0], weight=-1.0)], "scene s0: a weight of -1"),
        ("weighted", [replace(examples[0], weight=0.0)], "all weights are 0"),
        ("nft", [replace(examples[0], weight=3.0)], "scene s0: a weight of 3.0; with nft"),
    ):
        with pytest.raises(SpecError, match=said):
            train("sd3", folder, tmp_path / method, configure(**{"fine_tuning.method": method}), given)
    with pytest.raises(SpecError, match=r"a run of 3 updates, where fine_tuning.updates is 2"):
        model, base = load("sd3", folder)
        train_supervised(model, base, examples, configure(), TrainingRun(tmp_path / "run", 3, quiet=True))
