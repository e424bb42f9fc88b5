"""What training runs are made of, read from TOML files: every key is known, or the run does not start."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from anyscene.errors import SpecError

__all__ = [
    "Adapters",
    "Ema",
    "FineTuning",
    "GrpoConfig",
    "Guarding",
    "HeldOut",
    "Learning",
    "Lora",
    "Nft",
    "Optimization",
    "Questioning",
    "Rollout",
    "Section",
    "config_names",
    "read_config",
]

SHIPPED = Path(__file__).parent / "configs"


class Section(BaseModel):
    """Part of a config, or all of it: values that cannot be changed, and no unknown key."""

    model_config = ConfigDict(extra="forbid", frozen=True)


Config = TypeVar("Config", bound=Section)


class Rollout(Section):
    """How pictures are made to learn from.

    Attributes:
        captions: captions an update, over all processes.
        group_size: pictures for each caption; their rewards are compared with one another.
        guidance: strength of classifier-free guidance; 1 is none. Above 1, tokens are drawn with guidance and learnt without it.
        temperature: of the tokens of an autoregressive policy.
        steps: denoising steps of a diffusion policy; None is the model's own.
        noise: of a diffusion policy's sampler: the level of the flow SDE, or DDIM's eta. NFT samples without noise.
        trained_steps: of the denoising steps, so many are learnt from, drawn anew for each update; None is all.
        batch_size: pictures that are made at once, a process; None is all of its share.
    """

    captions: int = Field(default=12, ge=1)
    group_size: int = Field(default=8, ge=2)
    guidance: float = Field(default=1.0, ge=0)
    temperature: float = Field(default=1.0, gt=0)
    steps: int | None = Field(default=None, ge=1)
    noise: float = Field(default=0.7, gt=0)
    trained_steps: int | None = Field(default=None, ge=1)
    batch_size: int | None = Field(default=None, ge=1)


class Optimization(Section):
    """How the policy is changed.

    Attributes:
        learning_rate: of AdamW, at its height.
        schedule: after the warm-up, of the learning rate; ``cosine`` ends at a tenth.
        warmup: updates until the learning rate is at its height.
        weight_decay: of AdamW.
        betas: of AdamW.
        max_grad_norm: gradients longer than this are cut to it; 0 cuts none.
        kl: weight of the divergence from the policy at the start.
        clip_range: the importance ratio counts only from 1 - this to 1 + this; None is 0.2 for tokens, 1e-4 for denoising steps.
        advantage_clip: advantages beyond are cut (diffusion policies).
        scale: rewards minus their group's mean, divided by the standard deviation of the ``group``, of the ``batch``, or by nothing.
        inner_updates: gradient steps on the same rollouts.
        micro_batch: pictures in one forward pass, a process; None is all of its share.
        precision: of the arithmetic.
        gradient_checkpointing: less memory for more time.
    """

    learning_rate: float = Field(default=1e-5, gt=0)
    schedule: Literal["constant", "cosine"] = "constant"
    warmup: int = Field(default=0, ge=0)
    weight_decay: float = Field(default=0.0, ge=0)
    betas: tuple[float, float] = (0.9, 0.999)
    max_grad_norm: float = Field(default=1.0, ge=0)
    kl: float = Field(default=0.0, ge=0)
    clip_range: float | None = Field(default=None, gt=0)
    advantage_clip: float = Field(default=5.0, gt=0)
    scale: Literal["group", "batch", "none"] = "group"
    inner_updates: int = Field(default=1, ge=1)
    micro_batch: int | None = Field(default=None, ge=1)
    precision: Literal["no", "bf16", "fp16"] = "no"
    gradient_checkpointing: bool = False


class Lora(Section):
    """Low-rank adapters in place of all weights.

    Attributes:
        rank: 0 trains all weights.
        alpha: scale; None is twice the rank.
        dropout: of the adapters.
        targets: names of the layers; empty is the attention's usual ones.
    """

    rank: int = Field(default=0, ge=0)
    alpha: float | None = Field(default=None, gt=0)
    dropout: float = Field(default=0.0, ge=0, lt=1)
    targets: tuple[str, ...] = ()


class Nft(Section):
    """DiffusionNFT (arXiv 2509.16117).

    Attributes:
        strength: how far the implied good and bad policies lie from the old one (beta there).
        old_ramp: how much the decay of the old policy's moving average rises with each update.
        old_decay: its largest decay; 0 takes the newest policy as the old one.
        samples: moments of the path at which each picture is learnt from.
    """

    strength: float = Field(default=1.0, gt=0)
    old_ramp: float = Field(default=0.001, ge=0)
    old_decay: float = Field(default=0.5, ge=0, lt=1)
    samples: int = Field(default=4, ge=1)


class Ema(Section):
    """A moving average of the weights, which is what is kept and evaluated in the end.

    Attributes:
        decay: 0 is none.
    """

    decay: float = Field(default=0.0, ge=0, lt=1)


class Questioning(Section):
    """Which questions are asked of training and held-out scenes.

    Attributes:
        foils: share of the yes/no questions whose answer is no.
        only_one: ask of things in the singular whether there is exactly one; without it, many are paid as well as one.
    """

    foils: float = Field(default=1 / 3, ge=0, le=0.5)
    only_one: bool = False


class HeldOut(Section):
    """The evaluation before and after, on scenes that share no structure and no (object, attribute) pair with training.

    Attributes:
        n: scenes; 0 evaluates nothing.
        samples: pictures of each.
        test: share of the structures, and of the pairs, that are held out.
        key: which of the many splits.
        by: what the sides do not share.
        seed: of the scenes and their pictures; the same for all seeds of training, so that runs can be compared scene by scene.
        model_options: of the model as it is evaluated, before and after.
        judge: who judges; None is the judge that pays the reward.
        judge_options: of that judge.
    """

    n: int = Field(default=500, ge=0)
    samples: int = Field(default=1, ge=1)
    test: float = Field(default=0.2, ge=0.01, le=0.99)
    key: int = 0
    by: str = "structure+pair"
    seed: int = Field(default=0, ge=0)
    model_options: dict[str, Any] = Field(default_factory=dict)
    judge: str | None = None
    judge_options: dict[str, Any] = Field(default_factory=dict)


class Guarding(Section):
    """Guards against reward hacking.

    Attributes:
        on: watch the rollouts.
        stop: a guard whose rule is to stop ends the run; otherwise it warns.
        second_judge: who is asked as well and pays nothing; what it says must follow the reward.
        second_judge_options: of that judge.
        baseline: first updates, which say what is normal.
        window: last updates, held against them.
    """

    on: bool = True
    stop: bool = True
    second_judge: str | None = None
    second_judge_options: dict[str, Any] = Field(default_factory=dict)
    baseline: int = Field(default=10, ge=3)
    window: int = Field(default=10, ge=3)


class Adapters(Lora):
    """Low-rank adapters unless ``rank = 0`` asks for all weights.

    Attributes:
        rank: 0 trains all weights.
    """

    rank: int = Field(default=16, ge=0)


class FineTuning(Section):
    """Learning from pictures that are there already.

    Attributes:
        method: ``sft`` learns the pictures, ``weighted`` each by its weight, ``dpo`` prefers the better of two (Diffusion-DPO), ``nft``
            moves towards the good ones of all and away from the bad ones (DiffusionNFT, with the model at the start as the old one).
        updates: gradient steps.
        batch_size: pictures of an update, over all processes; with ``dpo``, pairs.
        caption_dropout: share of the pictures that are learnt without their caption, so that guidance goes on working; for ``sft`` and
            ``weighted``.
        min_snr: the gamma of min-SNR weighting of models that predict noise or v (arXiv 2303.09556); None weights all noise alike.
        noise_shift: flow models learn at noise levels of a logit-normal density (Stable Diffusion 3); above 0 at higher ones, where it is
            decided what a picture shows, below 0 at lower ones, where details are.
        dpo_beta: how strongly ``dpo`` is held to the model at the start.
        nft_strength: of ``nft``: how far the implied good and bad models lie from the one at the start (beta there); below 1 each round
            goes further.
        size: pixels of the shorter side to which pictures are brought, cropped to the nearest shape; None is the model's own size.
    """

    method: Literal["sft", "weighted", "dpo", "nft"] = "sft"
    updates: int = Field(default=200, ge=1)
    batch_size: int = Field(default=16, ge=1)
    caption_dropout: float = Field(default=0.1, ge=0, lt=1)
    min_snr: float | None = Field(default=5.0, gt=0)
    noise_shift: float = Field(default=0.0, ge=-5, le=5)
    dpo_beta: float = Field(default=2500.0, gt=0)
    nft_strength: float = Field(default=0.1, gt=0)
    size: int | None = Field(default=None, ge=8)


class Learning(Section):
    """What every run has that learns from pictures that are there already.

    Attributes:
        seed: of everything.
        checkpoint_every: updates between two checkpoints.
        checkpoints_kept: so many of the newest.
    """

    seed: int = Field(default=0, ge=0)
    fine_tuning: FineTuning = FineTuning()
    optimization: Optimization = Optimization()
    lora: Adapters = Adapters()
    ema: Ema = Ema()
    checkpoint_every: int = Field(default=100, ge=1)
    checkpoints_kept: int = Field(default=1, ge=1)


class GrpoConfig(Section):
    """A run of ``anyscene grpo``.

    Attributes:
        model: the policy, as ``load_model`` takes it.
        model_options: of the policy.
        judge: who answers the questions of the scene reward.
        judge_options: of that judge.
        reward: ``scene``, ``clip`` (then ``clip_weights``), ``served`` (then ``reward_servers``), or weights of several:
            ``{scene = 1.0, clip = 0.3}``.
        reward_options: of `rewards.SceneReward`.
        reward_servers: addresses of servers of one reward (``anyscene reward serve``), asked in turn; their token, if they want one, is in
            the environment variable ANYSCENE_REWARD_TOKEN.
        clip_weights: the metric behind ``clip``, as ``load_metric`` takes it.
        scenes: the training scenes: fields of ``SceneSpec``.
        taxonomy: ``None`` is the one that ships; ``sandbox`` or a folder.
        questions: which are asked, in the reward and in the evaluation.
        algorithm: ``auto`` is ``grpo`` for autoregressive and ``flow_grpo`` for diffusion policies. ``flow_grpo`` is the policy gradient
            along the noisy sampler (DDPO for noise-predicting models), ``nft`` learns on the forward process.
        updates: gradient steps (with ``inner_updates``, rollouts times these).
        seed: of everything.
    """

    model: str
    model_options: dict[str, Any] = Field(default_factory=dict)
    judge: str | None = None
    judge_options: dict[str, Any] = Field(default_factory=dict)
    reward: str | dict[str, float] = "scene"
    reward_options: dict[str, Any] = Field(default_factory=dict)
    reward_servers: tuple[str, ...] = ()
    clip_weights: str = "clipscore:openai/clip-vit-base-patch32"
    scenes: dict[str, Any] = Field(default_factory=dict)
    taxonomy: str | None = None
    questions: Questioning = Questioning()
    algorithm: Literal["auto", "grpo", "flow_grpo", "nft"] = "auto"
    updates: int = Field(default=200, ge=1)
    seed: int = Field(default=0, ge=0)
    rollout: Rollout = Rollout()
    optimization: Optimization = Optimization()
    lora: Lora = Lora()
    nft: Nft = Nft()
    ema: Ema = Ema()
    held_out: HeldOut = HeldOut()
    guards: Guarding = Guarding()
    trackers: tuple[Literal["tensorboard", "wandb", "trackio"], ...] = ()
    checkpoint_every: int = Field(default=50, ge=1)
    checkpoints_kept: int = Field(default=2, ge=1)
    pictures_every: int = Field(default=20, ge=1)

    @model_validator(mode="after")
    def _check(self) -> GrpoConfig:
        if bool(self.reward_servers) != ("served" in self.rewards):
            raise ValueError("reward = served and reward_servers go together: the one is the reward of the others")
        if self.updates % self.optimization.inner_updates:
            raise ValueError(f"updates {self.updates} must be a multiple of optimization.inner_updates {self.optimization.inner_updates}")
        return self

    def refuse_unused(self, algorithm: str) -> None:
        """What was set and would have no effect is an error.

        Args:
            algorithm: ``grpo``, ``flow_grpo`` or ``nft``.

        Raises:
            SpecError: it names the key.
        """
        sections = {"rollout": self.rollout, "optimization": self.optimization}
        unused = [f"{name}.{key}" for name, keys in UNUSED[algorithm].items() for key in keys if key in sections[name].model_fields_set]
        if algorithm != "nft" and self.nft.model_fields_set:
            unused.append(f"nft.{min(self.nft.model_fields_set)}")
        if unused:
            raise SpecError(f"{', '.join(unused)}: it has no effect on {algorithm}; leave it out")

    @property
    def rewards(self) -> dict[str, float]:
        """Weights of the rewards by their names."""
        return {self.reward: 1.0} if isinstance(self.reward, str) else dict(self.reward)


UNUSED: dict[str, dict[str, tuple[str, ...]]] = {
    "grpo": {"rollout": ("steps", "noise", "trained_steps"), "optimization": ("advantage_clip",)},
    "flow_grpo": {"rollout": ("temperature",)},
    "nft": {"rollout": ("temperature", "noise", "trained_steps"), "optimization": ("clip_range",)},
}
"""Keys that an algorithm does not know."""


def read_config(path: Path | None, given: dict[str, Any], kind: type[Config] = GrpoConfig) -> Config:  # type: ignore[assignment]
    """A config out of a TOML file and of what was given beside it, which comes first.

    Args:
        path: the file; or the name of a config that ships (`config_names`); or None.
        given: keys by their dotted names (``rollout.group_size``), with values as JSON or TOML would have them; None is not given.
        kind: of config.

    Raises:
        SpecError: the file cannot be read, or a key or value is wrong.
    """
    data = _read_toml(path) if path is not None else {}
    for name, value in given.items():
        if value is None:
            continue
        *sections, last = name.split(".")
        inner = data
        for section in sections:
            inner = inner.setdefault(section, {})
            if not isinstance(inner, dict):
                raise SpecError(f"{name}: {section} is no section of the config")
        inner[last] = value
    try:
        return kind.model_validate(data)
    except ValidationError as error:
        raise SpecError("; ".join(_one(dict(each), kind) for each in error.errors()[:3])) from None


def _one(problem: dict[str, Any], kind: type[Section]) -> str:
    place = ".".join(str(part) for part in problem["loc"]) or "the config"
    if problem["type"] == "extra_forbidden":
        return f"{place}: there is no such key ({_allowed(problem['loc'], kind)})"
    if problem["type"] == "missing":
        return f"{place} is missing"
    return f"{place}: {problem['msg']}, but it is {str(problem['input'])[:60]!r}"


def _allowed(place: tuple[Any, ...], kind: type[Section]) -> str:
    section: Any = kind
    for part in place[:-1]:
        section = section.model_fields[part].annotation
    return f"known are {', '.join(section.model_fields)}"


def config_names() -> list[str]:
    """Configs that ship."""
    return sorted(one.stem for one in SHIPPED.glob("*.toml"))


def _read_toml(path: Path) -> dict[str, Any]:
    if not path.exists() and str(path) in config_names():
        path = SHIPPED / f"{path}.toml"
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        shipped = ", ".join(config_names())
        raise SpecError(f"{path}: it cannot be read ({error.strerror}). Give a TOML file, or one that ships: {shipped}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SpecError(f"{path}: it is no TOML file ({error})") from None
