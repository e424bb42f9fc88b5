"""Guards against reward hacking: they watch the rollouts of a training run, and say when the reward and the truth part, and why.

Each guard follows one number from step to step. The first ``baseline`` steps say what is normal; the last ``window`` steps are held against
them. A guard speaks only if the change is large *and* clearly outside the scatter of the steps, so that a run of some hundred steps that
improves honestly hears nothing.

    guards = Guards(default_guards(held_out=SceneReward(another_judge)))
    report = guards.watch(images, records, scores)
    if report.stop:
        ...

| cause | guard | speaks when |
| --- | --- | --- |
| ``foils`` | `FoilGuard` | the judge says yes to what is not there: the right answers to foils get less likely, or less than a half |
| ``held_out`` | `HeldOutGuard` | the reward rises, and what a second judge that is not trained against says does not follow |
| ``diversity`` | `DiversityGuard` | the rollouts of one caption become alike |
| ``quality`` | `QualityGuard` | brightness, saturation, contrast, entropy or sharpness drift, or a metric of quality falls |
| ``shortcut`` | `ShortcutGuard` | a simple number about the picture explains the reward among the rollouts of one caption |
| ``unanswered`` | `AnsweredGuard` | ever more pictures are of a kind that the judge cannot answer about |
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from anyscene.errors import RewardHackedError, SpecError
from anyscene.rewards.guard_rules import (
    AnsweredGuard,
    DiversityGuard,
    Finding,
    FoilGuard,
    Guard,
    HeldOutGuard,
    QualityGuard,
    Rollouts,
    ShortcutGuard,
)
from anyscene.rewards.picture_statistics import picture_statistics
from anyscene.rewards.pictures import media_of
from anyscene.rewards.protocol import Record, Reward, Score
from anyscene.rewards.scene import checked_batch
from anyscene.scoring.metrics import Metric

__all__ = ["GuardReport", "Guards", "default_guards"]


@dataclass(frozen=True, slots=True)
class GuardReport:
    """What the guards saw in one step.

    Attributes:
        step: number of the step, from 0.
        findings: what is wrong; empty where nothing is.
        statistics: every number that is watched, of this step alone, for logs.
    """

    step: int
    findings: tuple[Finding, ...] = ()
    statistics: Mapping[str, float] = field(default_factory=dict)

    @property
    def stop(self) -> bool:
        """Should training stop?"""
        return any(finding.rule == "stop" for finding in self.findings)

    @property
    def causes(self) -> tuple[str, ...]:
        """The causes, each once."""
        return tuple(dict.fromkeys(finding.cause for finding in self.findings))

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        findings = [{name: None if value != value else value for name, value in asdict(one).items()} for one in self.findings]
        return {"step": self.step, "stop": self.stop, "findings": findings, "statistics": dict(self.statistics)}


class Guards:
    """Several guards over one training run.

    Args:
        guards: see `default_guards`.

    Attributes:
        step: how many steps were watched.
    """

    def __init__(self, guards: Sequence[Guard]) -> None:
        if not guards:
            raise SpecError("give at least one guard; default_guards() gives the usual ones")
        self.guards = list(guards)
        self.step = 0

    def watch(self, images: Sequence[Any], records: Sequence[Record], scores: Sequence[Score | None]) -> GuardReport:
        """Looks at the rollouts of one step.

        Args:
            images: as `Reward.score` takes them.
            records: of each; rollouts of one group have the same id.
            scores: of each, None where it could not be judged.

        Raises:
            SpecError: they differ in number.
        """
        checked_batch(images, records, "id")
        if len(scores) != len(images):
            raise SpecError(f"{len(images)} pictures and {len(scores)} scores: each picture has one")
        media = tuple(media_of(image) for image in images)
        numbers = tuple(None if one is None else picture_statistics(one) for one in media)
        rollouts = Rollouts(media, tuple(records), tuple(scores), numbers)
        statistics: dict[str, float] = {}
        findings: list[Finding] = []
        for guard in self.guards:
            seen, found = guard.watch(rollouts)
            statistics |= seen
            findings += found
        report = GuardReport(self.step, tuple(findings), statistics)
        self.step += 1
        return report

    def check(self, images: Sequence[Any], records: Sequence[Record], scores: Sequence[Score | None]) -> GuardReport:
        """As `watch`, for the ``watch`` argument of the adapters.

        Raises:
            RewardHackedError: a guard whose rule is ``stop`` speaks; the message names the causes.
        """
        report = self.watch(images, records, scores)
        if report.stop:
            raise RewardHackedError("; ".join(finding.message for finding in report.findings if finding.rule == "stop"))
        return report

    def state_dict(self) -> dict[str, Any]:
        """What all guards remember, as plain JSON values, for a checkpoint."""
        return {"step": self.step, "guards": [[guard.cause, guard.state_dict()] for guard in self.guards]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on from `state_dict`.

        Raises:
            SpecError: it is the state of other guards.
        """
        causes = [cause for cause, _ in state["guards"]]
        if causes != [guard.cause for guard in self.guards]:
            raise SpecError(f"the state is of the guards {', '.join(causes)}; these are {', '.join(guard.cause for guard in self.guards)}")
        self.step = int(state["step"])
        for guard, (_, own) in zip(self.guards, state["guards"], strict=True):
            guard.load_state_dict(own)


def default_guards(held_out: Reward | None = None, metric: Metric | None = None, *, baseline: int = 10, window: int = 10) -> list[Guard]:
    """The usual guards: foils and the held-out judge stop, the others warn.

    Args:
        held_out: a reward with a second judge, which is not trained against; without it there is no such guard.
        metric: of the pictures' quality.
        baseline: first steps, which say what is normal.
        window: last steps, held against them.
    """
    guards: list[Guard] = [
        FoilGuard(baseline=baseline, window=window),
        DiversityGuard(baseline=baseline, window=window),
        QualityGuard(metric, baseline=baseline, window=window),
        ShortcutGuard(window=window),
        AnsweredGuard(baseline=baseline, window=window),
    ]
    return guards if held_out is None else [*guards, HeldOutGuard(held_out, baseline=baseline, window=window)]
