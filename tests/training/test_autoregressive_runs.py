"""Whole trainings of tiny token-by-token policies: they learn, can be stopped and go on, and are saved so that they load."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")
pytest.importorskip("trl")
pytest.importorskip("peft")

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent / "models")]
from autoregressive_runs import CAPTIONS, Paid, blue, blue_above, config_of, start  # noqa: E402
from test_autoregressive import ScriptedDecoder, janus, save_script, save_simplear, save_vqmodel  # noqa: E402, F401

from anyscene.errors import AnySceneError, Interrupted, RunError, SpecError  # noqa: E402
from anyscene.models import load_model  # noqa: E402
from anyscene.training.autoregressive_policy import SimpleARPolicy  # noqa: E402

pytestmark = pytest.mark.torch


@pytest.fixture(scope="module")
def simplear(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("simplear")
    save_simplear(folder)
    save_vqmodel(folder / "vqmodel")
    return folder


@pytest.fixture(scope="module")
def simplear_of_cosmos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With a scripted decoder, whose pictures' colours follow their codes."""
    folder = tmp_path_factory.mktemp("cosmos")
    save_simplear(folder)
    torch.manual_seed(3)
    save_script(ScriptedDecoder(), folder / "decoder.jit")
    return folder


@pytest.fixture(params=["simplear", "janus"])
def folder(request: pytest.FixtureRequest) -> Path:
    found: Path = request.getfixturevalue(request.param)
    return found


def pictures(model: Any) -> list[str]:
    return [one.sha256 for one in model.generate(CAPTIONS, range(4))]


def weights(folder: Path) -> bytes:
    return b"".join(file.read_bytes() for file in sorted((folder / "policy").glob("*.safetensors")))


def figures(folder: Path) -> list[dict[str, float]]:
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text("utf-8").splitlines()]
    return [{name: value for name, value in line.items() if not name.startswith("seconds/")} for line in lines]


@pytest.mark.parametrize(
    ("shape", "group", "updates", "paid"),
    [("simplear_of_cosmos", 8, 12, blue), pytest.param("janus", 24, 25, blue_above, marks=pytest.mark.slow)],
)
def test_a_planted_reward_rises_and_the_saved_policy_is_the_trained_one(
    shape: str, group: int, updates: int, paid: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str], request: pytest.FixtureRequest
) -> None:
    model_options = {"guidance": 1.0, "device": "cpu"} | ({} if shape == "janus" else {"size": 64})
    folder = request.getfixturevalue(shape)
    capfd.readouterr()
    config = config_of(folder, updates, rollout={"group_size": group}, model_options=model_options)
    trained, model, run = start(config, tmp_path, Paid(paid))
    rewards = [one["reward"] for one in run.metrics()]
    spread = run.metrics()[0]["reward_std"]
    assert sum(rewards[-3:]) / 3 > sum(rewards[:3]) / 3 + spread
    assert all(one["ratio_max_deviation"] < 1e-3 for one in run.metrics())
    assert {"loss", "grad_norm", "entropy", "learning_rate", "seconds/sample", "seconds/judge", "seconds/learn"} <= set(run.metrics()[0])
    assert capfd.readouterr() == ("", "")  # no library speaks
    assert trained.load == f"autoregressive:{tmp_path}/policy"
    again = load_model(trained.load, **trained.options)
    assert again.settings == model.settings and pictures(again) == pictures(model)
    assert pictures(again) != pictures(load_model(config.model, **config.model_options))
    assert json.loads((tmp_path / "policy" / "policy.json").read_text("utf-8"))["load"] == trained.load


@pytest.mark.parametrize(
    "given",
    [
        {"optimization": {"kl": 0.1, "schedule": "cosine", "warmup": 2}, "ema": {"decay": 0.5}},
        {"lora": {"rank": 2, "dropout": 0.3}, "optimization": {"micro_batch": 4}},
        {"optimization": {"inner_updates": 2, "kl": 0.1}},
    ],
    ids=["ema", "lora", "inner updates"],
)
def test_a_run_that_was_stopped_goes_on_as_if_it_had_not(simplear: Path, tmp_path: Path, given: dict[str, Any]) -> None:
    config = config_of(simplear, 4, **given)
    start(config, tmp_path / "whole", Paid(blue))

    def until_stopped(image: Any, record: Any, place: int) -> float:
        if place == 0 and record["id"] == ("r0" if config.optimization.inner_updates == 2 else "r2"):
            os.kill(os.getpid(), 2)  # Ctrl-C, in the second update's rollouts, or in the first of a pair
        return blue(image, record, place)

    with pytest.raises(Interrupted, match="stopped after 2 of 4 updates"):
        start(config, tmp_path / "parts", Paid(until_stopped))
    assert not (tmp_path / "parts" / "policy").exists()
    assert [one["update"] for one in figures(tmp_path / "parts")] == [1, 2]
    start(config, tmp_path / "parts", Paid(blue))
    assert weights(tmp_path / "parts") == weights(tmp_path / "whole") != b""
    assert figures(tmp_path / "parts") == figures(tmp_path / "whole")


def test_a_run_that_was_killed_goes_on_from_its_last_checkpoint(simplear: Path, tmp_path: Path) -> None:
    config = config_of(simplear, 4, checkpoint_every=2)
    start(config, tmp_path / "whole", Paid(blue))

    def broken(image: Any, record: Any, place: int) -> float:
        if record["id"] == "r6":  # in the last update
            raise KeyboardInterrupt
        return blue(image, record, place)

    with pytest.raises(KeyboardInterrupt):
        start(config, tmp_path / "parts", Paid(broken))
    assert len(figures(tmp_path / "parts")) == 3
    start(config, tmp_path / "parts", Paid(blue))
    assert weights(tmp_path / "parts") == weights(tmp_path / "whole")
    assert figures(tmp_path / "parts") == figures(tmp_path / "whole")
    # Killed between the last checkpoint and the saving: only that is done.
    reward = Paid(blue)
    (tmp_path / "parts" / "policy" / "policy.json").unlink()
    start(config, tmp_path / "parts", reward)
    assert reward.calls == 0 and weights(tmp_path / "parts") == weights(tmp_path / "whole")


def test_a_checkpoint_of_other_weights_or_a_damaged_one_is_named(simplear: Path, tmp_path: Path) -> None:
    start(config_of(simplear, 1), tmp_path, Paid(blue))
    with pytest.raises(RunError, match="update-00001: this checkpoint cannot be read"):
        start(config_of(simplear, 1, lora={"rank": 2}), tmp_path, Paid(blue))
    (tmp_path / "checkpoints" / "update-00001" / "state.pt").write_bytes(b"torn")
    with pytest.raises(RunError, match="update-00001: this checkpoint cannot be read"):
        start(config_of(simplear, 1), tmp_path, Paid(blue))


def test_a_moving_average_is_what_is_saved(simplear: Path, tmp_path: Path) -> None:
    trained, model, _ = start(config_of(simplear, 3, ema={"decay": 0.9}), tmp_path, Paid(blue))
    first = load_model(f"autoregressive:{simplear}", **trained.options).shape.model.state_dict()
    saved = load_model(trained.load, **trained.options).shape.model.state_dict()
    name = "model.layers.0.mlp.up_proj.weight"
    last = model.shape.model.state_dict()[name]
    assert (saved[name] - first[name]).norm() > 0 and (saved[name] - last).norm() > 0
    assert (saved[name] - first[name]).norm() < (last - first[name]).norm()


def test_adapters_are_trained_alone_and_load_as_lora_weights(folder: Path, tmp_path: Path) -> None:
    config = config_of(folder, 2, lora={"rank": 2}, optimization={"kl": 0.1, "learning_rate": 5e-2})
    trained, model, run = start(config, tmp_path, Paid(blue))
    assert trained.load == config.model and trained.options == {**config.model_options, "lora": str(tmp_path / "policy")}
    again, before = load_model(trained.load, **trained.options), load_model(config.model, **config.model_options)
    assert pictures(again) == pictures(model) != pictures(before)
    own = {name: one for name, one in model.shape.model.state_dict().items() if "lora_" not in name}
    old = before.shape.model.state_dict()
    assert len(own) >= len(old) and all(torch.equal(one, old[name.replace(".base_layer", "")]) for name, one in own.items())
    adapted = {name.rpartition(".lora_A")[0] for name in model.shape.model.state_dict() if ".lora_A" in name}
    assert adapted and not [name for name in adapted if "vision" in name]
    assert run.metrics()[0]["kl"] == pytest.approx(0, abs=1e-6) and run.metrics()[1]["kl"] > 1e-6


def test_drawn_with_guidance_the_ratio_to_what_was_drawn_from_is_unknown(folder: Path, tmp_path: Path) -> None:
    plain, guided = Paid(blue), Paid(blue)
    start(config_of(folder, 1), tmp_path / "plain", plain)
    trained, model, run = start(config_of(folder, 1, rollout={"guidance": 2.0}), tmp_path / "guided", guided)
    assert [one.sha256 for one, _ in plain.seen[0]] != [one.sha256 for one, _ in guided.seen[0]]
    assert "ratio_max_deviation" not in run.metrics()[0] and run.metrics()[0]["grad_norm"] > 0
    assert trained.options["guidance"] == model.shape.guidance == 1.0  # of the model as it is asked later, not of its rollouts


def test_the_sandbox_policy_is_loaded_again_with_its_own_ways_of_drawing(tmp_path: Path) -> None:
    config = config_of(Path("unused"), 1, model_options={"batch_size": 4}).model_copy(update={"model": "sandbox:autoregressive"})
    trained, model, run = start(config, tmp_path, Paid(blue))
    again = load_model(trained.load, **trained.options)
    assert again.settings == model.settings and (again.shape.guidance, again.shape.prefix, again.batch_size) == (2.0, "", 4)
    assert pictures(again) == pictures(model) and run.metrics()[0]["ratio_max_deviation"] < 1e-3


def test_captions_reach_the_model_and_the_reward_whole(simplear: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    own = SimpleARPolicy.base_model

    def kept(policy: Any, input_ids: Any, attention_mask: Any, **others: Any) -> Any:
        asked.append((input_ids, attention_mask))
        return own(policy, input_ids, attention_mask, **others)

    monkeypatch.setattr(SimpleARPolicy, "base_model", kept)
    reward = Paid(blue)
    start(config_of(simplear, 1, rollout={"captions": 4, "group_size": 2}), tmp_path, reward)
    tokenizer = load_model(f"autoregressive:{simplear}", device="cpu").shape.tokenizer
    ids, mask = asked[-1]
    read = {tokenizer.decode(row[keep.bool()][:-16]) for row, keep in zip(ids, mask, strict=True)}
    assert read == {f"<|t2i|>A photo of {caption}<|soi|>" for caption in CAPTIONS}
    assert [record["caption"] for _, record in reward.seen[0]] == [caption for caption in CAPTIONS for _ in range(2)]


def test_a_caption_without_room_has_no_picture_and_teaches_nothing(simplear: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("autoregressive_runs.CAPTIONS", ("boots " * 60, "a taxi", "boots", "two tacos"))
    reward = Paid(lambda image, record, place: None if image is None else blue(image, record, place))
    _, _, run = start(config_of(simplear, 1), tmp_path, reward)
    assert [image is None for image, _ in reward.seen[0]] == [True] * 4 + [False] * 4
    assert run.metrics()[0]["unscored"] == 0.5 and run.metrics()[0]["grad_norm"] > 0


def test_a_torchscript_decoder_goes_with_the_policy(simplear_of_cosmos: Path, tmp_path: Path) -> None:
    config = config_of(simplear_of_cosmos, 1, model_options={"size": 64, "device": "cpu"})
    trained, model, _ = start(config, tmp_path, Paid(blue))
    assert (tmp_path / "policy" / "decoder.jit").read_bytes() == (simplear_of_cosmos / "decoder.jit").read_bytes()
    assert pictures(load_model(trained.load, **trained.options)) == pictures(model) and trained.options["guidance"] == 6.0


@pytest.mark.parametrize("precision", ["bf16", "no"])
def test_weights_of_half_precision_are_trained_in_whole_precision(simplear: Path, tmp_path: Path, precision: str) -> None:
    given = {"model_options": {"device": "cpu", "dtype": "bfloat16", "guidance": 1.0}}
    optimization = {"precision": precision, "learning_rate": 1e-4, "gradient_checkpointing": True}
    _, model, run = start(config_of(simplear, 2, optimization=optimization, **given), tmp_path, Paid(blue))
    assert {one.dtype for one in model.shape.model.parameters()} == {torch.float32}
    found = run.metrics()[0]
    assert found["grad_norm"] > 0 and (found["ratio_max_deviation"] < 1e-3) == (precision == "no")


def test_a_model_that_computes_otherwise_without_its_cache_is_refused(
    simplear: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = SimpleARPolicy.hidden
    monkeypatch.setattr(SimpleARPolicy, "hidden", lambda policy, embedded, **inputs: own(policy, embedded))  # no mask
    with pytest.raises(AnySceneError, match="learnt differ from those that were drawn"):
        start(config_of(simplear, 2), tmp_path, Paid(blue))


def test_a_loss_that_is_no_number_ends_the_run(simplear: Path, tmp_path: Path) -> None:
    with pytest.raises(AnySceneError, match="is no number any more; try a lower"):
        start(config_of(simplear, 4, optimization={"learning_rate": 1e30, "kl": 1.0}), tmp_path, Paid(blue))


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"optimization": {"micro_batch": 3}}, "micro_batch 3: it must divide the 8"),
        ({"lora": {"rank": 2, "targets": ["lm_head"]}}, "lora.targets lm_head"),
        ({"lora": {"rank": 2, "targets": ["no_such"]}}, "lora.targets no_such"),
    ],
)
def test_what_cannot_be_honoured_is_refused(simplear: Path, tmp_path: Path, given: dict[str, Any], named: str) -> None:
    with pytest.raises(SpecError, match=named):
        start(config_of(simplear, 1, **given), tmp_path, Paid(blue))


@pytest.mark.parametrize("kind", ["FSDP", "DEEPSPEED"])
def test_weights_in_parts_are_refused(kind: str, simplear: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"ACCELERATE_USE_{kind}", "true")
    with pytest.raises(SpecError, match=rf"{kind}: .*launch ddp\).* lora.rank"):
        start(config_of(simplear, 1), tmp_path, Paid(blue))


def test_adapters_are_not_put_on_adapters(simplear: Path, tmp_path: Path) -> None:
    trained, _, _ = start(config_of(simplear, 1, lora={"rank": 2}), tmp_path / "first", Paid(blue))
    with pytest.raises(SpecError, match="has LoRA weights already"):
        start(config_of(simplear, 1, model_options=dict(trained.options)), tmp_path / "second", Paid(blue))


SCRIPT = """
import sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from accelerate import PartialState
from autoregressive_runs import Paid, blue, config_of, start
state = PartialState(cpu=True)
config = config_of(Path(sys.argv[2]), 2, rollout={"captions": 2, "group_size": 4}, optimization={"kl": 0.1, "learning_rate": 1e-3})
reward = Paid(blue)
start(config, Path(sys.argv[3]), reward, main=state.is_main_process)
seen = f"{len(reward.seen[0])} {sorted({record['id'] for _, record in reward.seen[0]})}"
Path(sys.argv[3] + f"-{state.process_index}.txt").write_text(seen)
"""


@pytest.mark.slow
def test_two_processes_share_the_captions_and_one_writes(simplear: Path, tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(SCRIPT)
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]  # as accelerate launch does
    command = [*launch, str(tmp_path / "train.py"), str(Path(__file__).parent)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run([*command, str(simplear), str(tmp_path / "two")], env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    assert [(tmp_path / f"two-{process}.txt").read_text() for process in (0, 1)] == ["4 ['r0']", "4 ['r1']"]
    config = config_of(simplear, 2, optimization={"kl": 0.1, "learning_rate": 1e-3})
    start(config, tmp_path / "one", Paid(blue))
    for one, two in zip(figures(tmp_path / "one"), figures(tmp_path / "two"), strict=True):
        assert set(one) == set(two)
        for name in ("reward", "kl", "entropy", "grad_norm", "reward_std"):
            assert two[name] == pytest.approx(one[name], rel=2e-3, abs=1e-6), name
    assert load_model(f"autoregressive:{tmp_path}/two/policy", device="cpu")
