"""The config of ``anyscene distill``."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from anyscene.training.config import HeldOut, Learning, Questioning, Section

__all__ = ["DistillConfig", "Exam", "Teaching"]


class Exam(Section):
    """The exam that student and teacher sit, on scenes of the training side: it tells at what the teacher is truly better.

    Attributes:
        n: scenes.
        samples: pictures of each.
        level: the teacher must be better at a skill at this level, after Holm's correction for all skills.
        least: scenes on which a skill must occur to be looked at.
        margin: the interval of the difference must lie above this.
        most: skills that are taught, at most: those with the largest difference, by the low end of its interval; None is all.
        reach: choose by what the student could draw: the teacher's pictures are judged once more as the student's own autoencoder gives
            them back, and only what is left of the difference counts, for no fine-tuning of the denoiser brings the rest. For pictures.
    """

    n: int = Field(default=500, ge=20)
    samples: int = Field(default=1, ge=1)
    level: float = Field(default=0.95, gt=0.5, lt=1)
    least: int = Field(default=20, ge=2)
    margin: float = Field(default=0.0, ge=0, lt=1)
    most: int | None = Field(default=None, ge=1)
    reach: bool = True


class Teaching(Section):
    """The lessons: captions around the chosen skills, with the teacher's pictures.

    Attributes:
        budget: captions that are learnt from, exactly.
        threshold: the judge must give at least this probability to the right answer of every yes/no question about a picture.
        samples: pictures that the teacher makes of a scene.
        keep: of those that pass, so many are learnt from, the best ones.
        look: new scenes that are looked at for each that is taken.
        others: share of the lessons that are scenes as they come, so that what is not taught is not forgotten.
        tries: scenes that the teacher may paint for each lesson, on average; then the budget stays short.
    """

    budget: int = Field(default=800, ge=1)
    threshold: float = Field(default=0.5, ge=0, le=1)
    samples: int = Field(default=1, ge=1)
    keep: int = Field(default=1, ge=1)
    look: int = Field(default=10, ge=1)
    others: float = Field(default=0.2, ge=0, lt=1)
    tries: float = Field(default=3.0, ge=1)


class DistillConfig(Learning):
    """A run of ``anyscene distill``.

    Attributes:
        student: the model that learns, as ``load_model`` takes it: a diffusers pipeline.
        student_options: of the student; as it is evaluated, those of ``held_out.model_options`` come on top.
        teacher: the model that it learns from: any.
        teacher_options: of the teacher.
        judge: who answers the questions about the pictures of both.
        judge_options: of that judge.
        second_judge: who answers as well, and chooses nothing; what is claimed must hold with it too.
        second_judge_options: of that judge.
        scenes: fields of ``SceneSpec``, not split; the split is made here.
        taxonomy: ``None`` is the one that ships; ``sandbox`` or a folder.
        questions: which are asked in exam, lessons and evaluation.
        exam: that both sit.
        lessons: that are learnt from.
        held_out: the scenes of the evaluation before and after.
        trackers: accelerate's, told of every update.
    """

    student: str
    student_options: dict[str, Any] = Field(default_factory=dict)
    teacher: str
    teacher_options: dict[str, Any] = Field(default_factory=dict)
    judge: str
    judge_options: dict[str, Any] = Field(default_factory=dict)
    second_judge: str | None = None
    second_judge_options: dict[str, Any] = Field(default_factory=dict)
    scenes: dict[str, Any] = Field(default_factory=dict)
    taxonomy: str | None = None
    questions: Questioning = Questioning()
    exam: Exam = Exam()
    lessons: Teaching = Teaching()
    held_out: HeldOut = HeldOut()
    trackers: tuple[Literal["tensorboard", "wandb", "trackio"], ...] = ()

    @model_validator(mode="after")
    def _check(self) -> DistillConfig:
        if self.fine_tuning.method in ("weighted", "nft"):
            raise ValueError("fine_tuning.method weighted or nft: all lessons passed the same questions and weigh alike; take sft, or dpo")
        if self.lessons.keep > self.lessons.samples:
            raise ValueError(f"lessons.keep {self.lessons.keep}: the teacher makes {self.lessons.samples} (lessons.samples) of each scene")
        if self.lessons.keep > 1 and self.fine_tuning.method == "dpo":
            raise ValueError("lessons.keep: dpo learns from one pair of each scene; leave it at 1")
        if not self.held_out.n:
            raise ValueError("held_out.n = 0: without held-out scenes nothing could be said of the student; give it some")
        if self.held_out.judge is not None or self.held_out.judge_options:
            raise ValueError("held_out.judge: student and teacher have one judge for everything; give another as second_judge")
        return self
