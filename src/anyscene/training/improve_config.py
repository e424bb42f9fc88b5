"""The config of ``anyscene improve``."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from anyscene.training.config import HeldOut, Learning, Questioning, Section
from anyscene.training.selection import Selection

__all__ = ["Baselines", "ImproveConfig"]

Score = Literal["soft", "strict", "library", "in_place", "fixpoint", "paper", "all_correct", "soft_arithmetic", "soft_geometric"]


class Baselines(Section):
    """What the improved model is compared with beside its start: models that learnt from as many pictures in as many updates.

    Attributes:
        unselected: pictures of the model's own, of the same rounds' scenes, that nobody chose.
        images: the user's own captioned pictures, as `pairs.read_pairs` takes them: an imagefolder or WebDataset shards.
    """

    unselected: bool = False
    images: str | None = None


class ImproveConfig(Learning):
    """A run of ``anyscene improve``.

    Attributes:
        model: what is improved, as ``load_model`` takes it: a diffusers pipeline.
        model_options: of the model as it paints candidates; as it is evaluated, those of ``held_out.model_options`` come on top.
        judge: who answers the questions by which pictures are chosen.
        judge_options: of that judge.
        second_judge: who answers as well, and chooses nothing; what is claimed must hold with it too.
        second_judge_options: of that judge.
        scenes: fields of ``SceneSpec``, not split; the split is made here.
        taxonomy: ``None`` is the one that ships; ``sandbox`` or a folder.
        questions: which are asked of candidates and held-out scenes.
        rounds: of painting, choosing and learning, at most.
        scenes_per_round: training scenes of a round; no scene comes twice.
        images_per_scene: candidates for each.
        start: from what a round learns: ``base`` from the model as it was, of all pictures chosen so far; ``previous`` from the weights of
            the round before, of this round's pictures; ``nft`` needs the second.
        patience: rounds in a row without a better score on the validation scenes after which no further one is made; 0 makes them all.
        validation: held-out scenes, other ones than those of the final exam, by which the best round is told; 0: the last round is it.
        score: that decides there, and of which the claim is made.
        selection: which candidates are learnt from.
        baselines: what else learns, to be compared with.
        held_out: the final exam, before and after.
        trackers: accelerate's, told of every update.
    """

    model: str
    model_options: dict[str, Any] = Field(default_factory=dict)
    judge: str
    judge_options: dict[str, Any] = Field(default_factory=dict)
    second_judge: str | None = None
    second_judge_options: dict[str, Any] = Field(default_factory=dict)
    scenes: dict[str, Any] = Field(default_factory=dict)
    taxonomy: str | None = None
    questions: Questioning = Questioning()
    rounds: int = Field(default=3, ge=1)
    scenes_per_round: int = Field(default=500, ge=1)
    images_per_scene: int = Field(default=8, ge=2)
    start: Literal["base", "previous"] = "base"
    patience: int = Field(default=0, ge=0)
    validation: int = Field(default=200, ge=0)
    score: Score = "soft"
    selection: Selection = Selection()
    baselines: Baselines = Baselines()
    held_out: HeldOut = HeldOut()
    trackers: tuple[Literal["tensorboard", "wandb", "trackio"], ...] = ()

    @model_validator(mode="after")
    def _check(self) -> ImproveConfig:
        if not self.held_out.n:
            raise ValueError("held_out.n = 0: without held-out scenes nothing could be said of the model; give it some")
        if self.fine_tuning.method == "nft" and self.start == "base":
            raise ValueError('fine_tuning.method nft: it learns from pictures of the very model that it changes; set start = "previous"')
        if self.patience and not self.validation:
            raise ValueError("patience: rounds are stopped by their score on validation scenes; set validation above 0, or patience to 0")
        if self.baselines.images is not None and self.fine_tuning.method == "dpo":
            raise ValueError("baselines.images: dpo learns from two pictures of a caption, of which one is better; take sft or weighted")
        return self
