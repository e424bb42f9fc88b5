from __future__ import annotations

import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")
pytest.importorskip("transformers")
pytest.importorskip("accelerate")
pytest.importorskip("peft")

MODELS = str(Path(__file__).parents[1] / "models")
if MODELS not in sys.path:
    sys.path.insert(0, MODELS)

from tiny_pipelines import save  # noqa: E402

from anyscene.errors import AnySceneError, Interrupted, SpecError  # noqa: E402
from anyscene.models import load_model  # noqa: E402
from anyscene.training.config import Learning, read_config  # noqa: E402
from anyscene.training.loop import Learner, check_libraries, parts  # noqa: E402
from anyscene.training.policies import Trained  # noqa: E402
from anyscene.training.run_folder import TrainingRun  # noqa: E402

pytestmark = [
    pytest.mark.torch,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]

UPDATES = 6
Make = Callable[..., Learner]


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save("sd3", tmp_path_factory.mktemp("pipelines") / "sd3")


@pytest.fixture
def make(pipeline: Path, tmp_path: Path) -> Make:
    def found(name: str = "run", rank: int = 4, **given: Any) -> Learner:
        config = read_config(None, {"lora.rank": rank, "optimization.learning_rate": 0.01, **given}, Learning)
        run = TrainingRun(tmp_path / name, UPDATES, quiet=True, checkpoint_every=2)
        return Learner(load_model(f"diffusers:{pipeline}", device="cpu"), config, run)  # type: ignore[arg-type]

    return found


def pull(learner: Learner, strength: float = 1.0, towards: float = 1.0) -> Callable[[], Any]:
    """A pass whose gradient is as strong as is wanted: all weights are pulled to one value."""

    def ask() -> Any:
        loss = strength * sum(((one - towards) ** 2).sum() for one in learner.trainable.parameters)
        return loss, {"seen": torch.tensor(strength), "most": torch.tensor(strength)}

    return ask


def spy(learner: Learner, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Norms of the gradients with which AdamW steps, counted from the weights themselves."""
    norms: list[float] = []
    step = learner._optimizer.step

    def keep(*args: Any) -> Any:
        grads = [one.grad for one in learner.denoiser.module.parameters() if one.requires_grad]
        norms.append(math.sqrt(sum(float(one.square().sum()) for one in grads)))
        return step(*args)

    monkeypatch.setattr(learner._optimizer, "step", keep)
    return norms


# ---- clipping -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rank", [0, 4])
def test_gradients_are_cut_to_the_limit_at_every_update(rank: int, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not at the first only: a list of weights that is used up by then would be cut never or once."""
    learner = make(rank=rank, **{"optimization.max_grad_norm": 0.5})
    norms = spy(learner, monkeypatch)
    for update in range(3):
        learner.accumulate([pull(learner, 100.0)])
        assert learner.step(update)["grad_norm"] > 100
    assert norms == pytest.approx([0.5] * 3, rel=1e-4)
    assert isinstance(learner.trainable.parameters, list)


def test_gradients_under_the_limit_or_without_one_stay_as_they_are(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, limit, strength in (("short", 1e6, 1.0), ("unlimited", 0.0, 1000.0)):
        learner = make(name, **{"optimization.max_grad_norm": limit})
        norms = spy(learner, monkeypatch)
        learner.accumulate([pull(learner, strength)])
        assert norms == [] and learner.step(0)["grad_norm"] == pytest.approx(norms[0], rel=1e-5)


def test_a_gradient_that_is_no_number_stops_the_run(make: Make) -> None:
    learner = make()
    learner.accumulate([pull(learner, math.nan)])
    with pytest.raises(AnySceneError, match="update 4: the gradient is no number"):
        learner.step(3)


# ---- passes and figures ---------------------------------------------------------------------------------------------------------


def test_gradients_and_figures_of_passes_add_up_and_of_some_figures_the_largest_counts(make: Make) -> None:
    learner = make()
    figures = learner.accumulate([pull(learner, 0.25), pull(learner, 0.5)], largest=("most",))
    assert (figures["seen"], figures["most"]) == (0.75, 0.5)
    added = [one.grad.clone() for one in learner.trainable.parameters]
    loss = figures["loss"]
    learner._optimizer.zero_grad()
    assert learner.accumulate([pull(learner, 0.75)])["loss"] == pytest.approx(loss)
    for one, whole in zip(added, learner.trainable.parameters, strict=True):
        torch.testing.assert_close(one, whole.grad)


def test_the_learning_rate_follows_its_schedule(make: Make) -> None:
    learner = make(**{"optimization.schedule": "cosine", "optimization.warmup": 2})
    rates = []
    for update in range(UPDATES):
        learner.accumulate([pull(learner)])
        rates.append(learner.step(update)["learning_rate"])
    assert rates[:3] == pytest.approx([0.01 / 3, 0.02 / 3, 0.01])
    assert rates[3:] == pytest.approx([0.00775, 0.00325, 0.001])


def test_parts_cover_everything_once() -> None:
    assert [list(range(7))[part] for part in parts(7, 3)] == [[0, 1, 2], [3, 4, 5], [6]]
    assert list(parts(7, None)) == [slice(0, 7)]


# ---- the loop -------------------------------------------------------------------------------------------------------------------


class Counter:
    """Something that only a checkpoint can bring back."""

    def __init__(self) -> None:
        self.count = 0

    def state(self) -> dict[str, Any]:
        return {"count": self.count}

    def load_state(self, state: dict[str, Any]) -> None:
        self.count = state["count"]


def work(learner: Learner, counter: Counter, die_at: int | None = None, ask_at: int | None = None) -> Callable[[int], None]:
    def update(number: int) -> None:
        if number == die_at:
            raise KeyboardInterrupt
        counter.count += 1
        figures = learner.accumulate([pull(learner, towards=float(number))])
        learner.run.log(number + 1, figures | learner.step(number))
        if number + 1 == ask_at:
            learner.run._asked.set()

    return update


@pytest.mark.parametrize("given", [{"ema.decay": 0.5}, {"rank": 0, "optimization.weight_decay": 0.1}])
def test_a_run_goes_on_from_its_newest_checkpoint_as_if_nothing_had_happened(given: dict[str, Any], make: Make) -> None:
    learners, counters = [], []
    for name, stops in (("whole", [{}]), ("died", [{"die_at": 3}, {}]), ("stopped", [{"ask_at": 3}, {}])):
        for stop in stops:
            learner, counter = make(name, **given), Counter()
            try:
                learner.learn(work(learner, counter, **stop), counter)
            except (KeyboardInterrupt, Interrupted):
                continue
        learners.append(learner)
        counters.append(counter.count)
        assert [one["update"] for one in learner.run.metrics()] == [1, 2, 3, 4, 5, 6]
    assert counters == [6, 6, 6]
    for other in learners[1:]:
        for one, same in zip(learners[0].trainable.parameters, other.trainable.parameters, strict=True):
            assert torch.equal(one, same)
        if "ema.decay" in given:
            for one, same in zip(learners[0]._ema.shadow_params, other._ema.shadow_params, strict=True):
                assert torch.equal(one, same)


def test_a_run_that_is_done_learns_nothing_more(make: Make) -> None:
    learner = make()
    learner.learn(work(learner, Counter()))
    again, counter = make(), Counter()
    again.learn(work(again, counter))
    assert counter.count == 0
    assert all(torch.equal(a, b) for a, b in zip(learner.trainable.parameters, again.trainable.parameters, strict=True))


def test_the_moving_average_is_what_is_kept(make: Make, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    kept, last = [], []
    for name, decay in (("plain", 0.0), ("averaged", 0.9)):
        learner = make(name, **{"ema.decay": decay})
        learner.learn(work(learner, Counter()))
        base = Trained("diffusers:somewhere", {"steps": 3})
        assert learner.finish(base) == Trained("diffusers:somewhere", {"steps": 3, "lora": str(tmp_path / name / "policy")})
        kept.append(load_file(tmp_path / name / "policy" / "pytorch_lora_weights.safetensors"))
        last.append(learner.trainable.copy())
    assert all(torch.equal(a, b) for a, b in zip(*last, strict=True))  # averaging changes nothing of the training
    assert any(not torch.equal(kept[0][name], kept[1][name]) for name in kept[0])


def test_shares_of_several_processes_are_equal_or_refused(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    class Two:
        num_processes, process_index = 2, 1

    learner = make()
    assert learner.share(8, "fine_tuning.batch_size") == range(8)
    monkeypatch.setattr(learner, "accelerator", Two())
    assert learner.share(8, "fine_tuning.batch_size") == range(4, 8)
    with pytest.raises(SpecError, match=r"fine_tuning.batch_size = 7: it must be a multiple of the number of processes, 2"):
        learner.share(7, "fine_tuning.batch_size")


def test_a_model_that_is_offloaded_is_refused(pipeline: Path) -> None:
    class Offloaded:
        options = {"offload": "model"}  # noqa: RUF012

    with pytest.raises(SpecError, match=r"model_options\.offload: not while a model is trained"):
        check_libraries(Offloaded())  # type: ignore[arg-type]
