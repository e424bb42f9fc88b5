from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
diffusers = pytest.importorskip("diffusers")
pytest.importorskip("transformers")

MODELS = str(Path(__file__).parents[1] / "models")
if MODELS not in sys.path:
    sys.path.insert(0, MODELS)

from tiny_pipelines import BUILD  # noqa: E402

from anyscene.errors import AnySceneError, SpecError  # noqa: E402
from anyscene.training.denoiser import Denoiser, check_requests  # noqa: E402
from anyscene.training.flow_grpo import recording_scheduler  # noqa: E402
from anyscene.training.recording import FlowSde, NoisyDdim  # noqa: E402

pytestmark = [
    pytest.mark.torch,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]

CALL: dict[str, dict[str, Any]] = {
    "sd": {"height": 32, "width": 32, "guidance_scale": 1.0},
    "sdxl": {"height": 32, "width": 32, "guidance_scale": 1.0},
    "sd3": {"height": 32, "width": 32, "guidance_scale": 1.0, "max_sequence_length": 77},
    "flux": {"height": 16, "width": 16, "max_sequence_length": 48},
    "qwen": {"height": 32, "width": 32, "true_cfg_scale": 1.0},
    "z_image": {"height": 32, "width": 32, "guidance_scale": 0.0},
    "ltx": {"height": 32, "width": 32, "num_frames": 5, "guidance_scale": 1.0, "max_sequence_length": 16},
    "wan": {"height": 16, "width": 16, "num_frames": 5, "guidance_scale": 1.0, "max_sequence_length": 16},
    "cogvideox": {"height": 16, "width": 16, "num_frames": 5, "guidance_scale": 1.0, "max_sequence_length": 16},
}
CAPTIONS = ["a red ball", "a blue box"]
PIPES: dict[str, Any] = {}


def pipeline(kind: str) -> Any:
    if kind not in PIPES:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            PIPES[kind] = BUILD[kind]()
        PIPES[kind].set_progress_bar_config(disable=True)
    return PIPES[kind]


def generators(count: int = 2) -> list[Any]:
    return [torch.Generator().manual_seed(seed) for seed in range(count)]


def paint(pipe: Any, kind: str, steps: int = 4, **more: Any) -> Any:
    with torch.no_grad():
        return pipe(list(CAPTIONS), generator=generators(), num_inference_steps=steps, output_type="latent", **{**CALL[kind], **more})[0]


@pytest.fixture
def stock() -> Any:
    """The pipelines' own schedulers are in their places again after a test."""
    before = {kind: pipe.scheduler for kind, pipe in PIPES.items()}
    yield
    for kind, scheduler in before.items():
        PIPES[kind].scheduler = scheduler


# ---- the recording schedulers ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["sd", "sd3", "flux"])
def test_without_noise_a_recording_scheduler_paints_what_the_stock_one_paints(kind: str, stock: None) -> None:
    pipe = pipeline(kind)
    wanted = paint(pipe, kind)
    before = pipe.scheduler
    try:
        pipe.scheduler = recording_scheduler(pipe, Denoiser(pipe), 0.0)
        pipe.scheduler.start(generators())
        found = paint(pipe, kind)
        assert pipe.scheduler.steps == []
    finally:
        pipe.scheduler = before
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)


def test_one_flow_step_by_hand() -> None:
    scheduler = FlowSde()
    scheduler.noise = 0.8
    scheduler.sigmas = torch.tensor([1.0, 0.5, 0.25, 0.0])
    scheduler.timesteps = scheduler.sigmas[:-1] * 1000
    x, v = torch.tensor([[2.0]]), torch.tensor([[-1.0]])
    # level 0.5, length -0.25: s = 0.8 sqrt(0.5 / 0.5), s^2 / 2t = 0.64
    mean, std = scheduler.transition(1, v, x)
    assert mean.item() == pytest.approx(2 * (1 - 0.64 * 0.25) - 1 * (1 + 0.64 * 0.5) * -0.25)
    assert float(std) == pytest.approx(0.8 * 0.5)
    # the first level is 1: s = 0.8 sqrt(1 / (1 - 0.5)), s^2 / 2t = 0.64
    mean, std = scheduler.transition(0, v, x)
    assert mean.item() == pytest.approx(2 * (1 - 0.64 * 0.5) - 1 * 1 * -0.5)
    assert float(std) == pytest.approx(0.8 * 2**0.5 * 0.5**0.5)
    mean, std = scheduler.transition(2, v, x)  # the last one has no noise
    assert (mean.item(), float(std)) == (pytest.approx(2 + 0.25), 0.0)
    assert scheduler.noisy_steps() == [0, 1]


def test_flow_noise_changes_paths_and_not_where_they_end() -> None:
    """Exact velocities of data from N(3, 0.5^2): the samples of the noisy sampler have that mean and that spread."""
    scheduler = FlowSde()
    scheduler.set_timesteps(sigmas=torch.linspace(1, 0.005, 400).tolist())
    scheduler.noise = 0.7
    source = torch.Generator().manual_seed(0)
    x = torch.randn(4000, 1, generator=source)
    for index in range(len(scheduler.timesteps)):
        level = float(scheduler.sigmas[index])
        spread = (1 - level) ** 2 * 0.25 + level**2
        off = x - (1 - level) * 3
        velocity = level / spread * off - (3 + (1 - level) * 0.25 / spread * off)
        mean, std = scheduler.transition(index, velocity, x)
        x = mean + std * torch.randn(x.shape, generator=source)
    assert x.mean().item() == pytest.approx(3, abs=0.03)
    assert x.std().item() == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("predicts", ["epsilon", "v_prediction"])
def test_a_noisy_ddim_step_is_that_of_the_stock_scheduler(predicts: str) -> None:
    options = {"clip_sample": False, "set_alpha_to_one": False, "steps_offset": 1, "prediction_type": predicts}
    ours, theirs = NoisyDdim(**options), diffusers.DDIMScheduler(**options)
    for one in (ours, theirs):
        one.set_timesteps(5)
    ours.noise = 0.6
    source = torch.Generator().manual_seed(1)
    x, prediction, noise = (torch.randn(2, 3, generator=source) for _ in range(3))
    for index in ours.noisy_steps():
        mean, std = ours.transition(index, prediction, x)
        wanted = theirs.step(prediction, int(theirs.timesteps[index]), x, eta=0.6, variance_noise=noise).prev_sample
        torch.testing.assert_close(mean + std * noise, wanted)
    assert ours.noisy_steps() == [0, 1, 2, 3]


@pytest.mark.parametrize("kind", ["sd", "sdxl", "sd3", "flux"])
def test_the_noise_of_recorded_steps_is_standard_and_their_probability_that_of_the_step(kind: str, stock: None) -> None:
    pipe = pipeline(kind)
    denoiser, before = Denoiser(pipe), pipe.scheduler
    noise = []
    try:
        pipe.scheduler = scheduler = recording_scheduler(pipe, denoiser, 0.7)
        scheduler.start(generators())
        with denoiser.recording() as requests:
            paint(pipe, kind, steps=8)
        check_requests(denoiser, requests, 8, 2)
        with torch.no_grad():
            for step in scheduler.steps:
                mean, std = scheduler.transition(step.index, denoiser.ask(requests[step.index]), step.before)
                noise.append(((step.after - mean) / std).flatten(1))
                exact = torch.distributions.Normal(mean, std).log_prob(step.after).flatten(1).mean(1)
                torch.testing.assert_close(step.log_prob, exact)
    finally:
        pipe.scheduler = before
    found = torch.cat(noise, 1)
    assert found.mean().item() == pytest.approx(0, abs=4 / found.numel() ** 0.5)
    assert found.std().item() == pytest.approx(1, abs=4 / (2 * found.numel()) ** 0.5)
    assert torch.corrcoef(found)[0, 1].abs() < 4 / found.shape[1] ** 0.5  # every picture has noise of its own


def test_the_noise_of_a_picture_is_its_generators_whatever_stands_beside_it() -> None:
    scheduler = FlowSde()
    scheduler.noise = 0.7
    found = []
    for seeds in ([1, 2], [2]):
        scheduler.set_timesteps(4)
        scheduler.start([torch.Generator().manual_seed(seed) for seed in seeds])
        scheduler.step(torch.zeros(len(seeds), 8), scheduler.timesteps[0], torch.ones(len(seeds), 8))
        found.append(scheduler.steps[0].after[-1])
    assert torch.equal(found[0], found[1])


def test_the_state_stays_in_float32_when_the_denoiser_is_in_bfloat16() -> None:
    scheduler = FlowSde()
    scheduler.set_timesteps(6)
    scheduler.noise = 0.7
    scheduler.start(generators())
    x = torch.randn(2, 16, generator=torch.Generator().manual_seed(0)).bfloat16()
    for time in scheduler.timesteps:
        x = scheduler.step(torch.zeros_like(x), time, x, return_dict=False)[0]
        assert x.dtype == torch.bfloat16
    for before, after in zip(scheduler.steps, scheduler.steps[1:], strict=False):
        assert after.before is before.after
        assert not torch.equal(before.after, before.after.bfloat16().float())


# ---- the denoiser ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["sd", "sd3", "flux", "qwen", "z_image", "ltx", "wan", "cogvideox"])
def test_asked_again_about_the_same_latents_and_time_it_gives_the_scheduler_the_same(kind: str) -> None:
    pipe = pipeline(kind)
    denoiser = Denoiser(pipe)
    given: list[tuple[Any, Any, Any]] = []
    step = pipe.scheduler.step

    def keep(output: Any, time: Any, sample: Any, **more: Any) -> Any:
        level = pipe.scheduler.sigmas[len(given)] if denoiser.family.process == "flow" else time
        given.append((output, level, sample))
        return step(output, time, sample, **more)

    pipe.scheduler.step = keep
    try:
        with denoiser.recording() as requests:
            paint(pipe, kind)
    finally:
        del pipe.scheduler.step
    assert len(requests) == len(given) == 4
    check_requests(denoiser, requests, 4, 2)
    with torch.no_grad():
        for request, (output, level, sample) in zip(requests, given, strict=True):
            assert torch.equal(denoiser.ask(request), output)
            moved = denoiser.at(requests[0], sample, level.expand(2) if torch.is_tensor(level) else torch.tensor([level] * 2))
            torch.testing.assert_close(denoiser.ask(moved), output, rtol=1e-4, atol=1e-5)


def test_guidance_is_that_of_the_pipeline_and_learns_through_the_captioned_branch_alone() -> None:
    pipe = pipeline("sd")
    denoiser = Denoiser(pipe)
    arguments, strength = denoiser.guided_by(5.0, learns=True)
    assert (arguments, strength) == ({"guidance_scale": 5.0}, 5.0)
    outputs = []
    step = pipe.scheduler.step
    pipe.scheduler.step = lambda output, *args, **more: (outputs.append(output), step(output, *args, **more))[1]
    try:
        with denoiser.recording() as requests:
            paint(pipe, "sd", guidance_scale=5.0)
    finally:
        del pipe.scheduler.step
    weight = next(denoiser.module.parameters())
    weight.requires_grad_(True)
    found = denoiser.ask(requests[0], 5.0)
    assert torch.equal(found, outputs[0])
    (grad,) = torch.autograd.grad(found.sum(), weight)
    without, captioned = denoiser.module(*requests[0].args, **requests[0].kwargs)[0].chunk(2)
    (wanted,) = torch.autograd.grad(5 * captioned.sum(), weight)
    torch.testing.assert_close(grad, wanted)
    assert without.requires_grad


def test_what_guidance_each_family_takes() -> None:
    sd, flux, qwen, z_image = (Denoiser(pipeline(kind)) for kind in ("sd", "flux", "qwen", "z_image"))
    assert sd.guided_by(1.0, learns=True) == ({"guidance_scale": 1.0}, None)
    assert flux.guided_by(1.0, learns=True) == ({}, None)
    assert flux.guided_by(3.5, learns=False) == ({"guidance_scale": 3.5}, None)
    assert qwen.guided_by(1.0, learns=True) == ({"true_cfg_scale": 1.0}, None)
    assert z_image.guided_by(1.0, learns=False) == ({"guidance_scale": 0.0}, None)
    with pytest.raises(SpecError, match="Qwen-Image can only be trained without guidance"):
        qwen.guided_by(4.0, learns=True)
    with pytest.raises(SpecError, match="nft learns the plain denoiser"):
        sd.guided_by(4.0, learns=False)
    with pytest.raises(SpecError, match="1, for none, or more"):
        sd.guided_by(0.5, learns=True)


@pytest.mark.parametrize(("kind", "predicts"), [("sd3", "velocity"), ("sd", "epsilon"), ("sd", "v_prediction")])
def test_the_right_prediction_implies_the_picture_that_was_mixed_with_noise(kind: str, predicts: str) -> None:
    pipe = pipeline(kind)
    denoiser = Denoiser(pipe)
    source = torch.Generator().manual_seed(2)
    picture, noise = (torch.randn(3, 4, 2, 2, generator=source) for _ in range(2))
    times = torch.tensor([0.1, 0.5, 0.9]) if predicts == "velocity" else torch.tensor([10, 500, 900])
    shares = denoiser.mixing(pipe.scheduler, times)
    signal, noisy = (one.reshape(3, 1, 1, 1) for one in shares)
    mixed = signal * picture + noisy * noise
    right = {"velocity": noise - picture, "epsilon": noise, "v_prediction": signal * noise - noisy * picture}[predicts]
    if predicts != "velocity":
        torch.testing.assert_close(mixed, pipe.scheduler.add_noise(picture, noise, times))
    torch.testing.assert_close(denoiser.clean(right, mixed, shares, predicts), picture, rtol=1e-4, atol=1e-4)


# ---- what cannot be trained -----------------------------------------------------------------------------------------------------


def test_a_pipeline_of_another_family_is_refused_by_the_names_of_those_that_can() -> None:
    with pytest.raises(
        SpecError, match=r"ShapEPipeline.*cannot be trained.*Stable Diffusion 1 and 2.*FLUX.*Qwen-Image.*Z-Image.*LTX.*Wan.*CogVideoX"
    ):
        Denoiser(pipeline("shap_e"))


def test_a_pipeline_with_two_denoisers_is_refused() -> None:
    pipe = pipeline("wan")
    pipe.transformer_2 = pipe.transformer
    try:
        with pytest.raises(SpecError, match="WanPipeline with two denoisers"):
            Denoiser(pipe)
    finally:
        pipe.transformer_2 = None


def test_a_scheduler_of_a_flow_family_that_does_not_follow_the_flow_is_refused() -> None:
    pipe = pipeline("wan")
    assert Denoiser(pipe).predicts(pipe.scheduler) == "velocity"
    with pytest.raises(SpecError, match=r"UniPCMultistepScheduler.*no noise levels of a flow"):
        Denoiser(pipe).predicts(diffusers.UniPCMultistepScheduler())


def test_a_flow_along_another_scheduler_is_refused() -> None:
    pipe = pipeline("sd3")
    before = pipe.scheduler
    pipe.scheduler = diffusers.FlowMatchHeunDiscreteScheduler()
    try:
        with pytest.raises(SpecError, match=r"FlowMatchHeunDiscreteScheduler.*FlowMatchEulerDiscreteScheduler"):
            recording_scheduler(pipe, Denoiser(pipe), 0.7)
    finally:
        pipe.scheduler = before


def test_more_noise_than_ddim_has_is_refused() -> None:
    pipe = pipeline("sd")
    with pytest.raises(SpecError, match="at most 1"):
        recording_scheduler(pipe, Denoiser(pipe), 1.5)


def test_a_pipeline_that_asks_twice_a_step_is_not_learnt_from() -> None:
    pipe = pipeline("sd")
    denoiser = Denoiser(pipe)
    with denoiser.recording() as requests:
        paint(pipe, "sd", guidance_scale=5.0)
    with pytest.raises(AnySceneError, match="4 times in 4 steps, of \\[4\\] pictures where 2 were expected"):
        check_requests(denoiser, requests, 4, 2)
