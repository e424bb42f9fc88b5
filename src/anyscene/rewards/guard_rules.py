"""The guards, one class for each way in which a reward is hacked. `guards` tells how they work together.

Each follows numbers from step to step, and holds the last ``window`` steps against the first ``baseline`` ones.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from anyscene.errors import SpecError
from anyscene.media import Media
from anyscene.rewards.picture_statistics import CONTENT, STATISTICS, group_diversity
from anyscene.rewards.protocol import Record, Reward, Score, questions_in
from anyscene.scoring.metrics import Metric

__all__ = [
    "AnsweredGuard",
    "DiversityGuard",
    "Finding",
    "FoilGuard",
    "Guard",
    "HeldOutGuard",
    "QualityGuard",
    "Rollouts",
    "ShortcutGuard",
]

RULES = ("warn", "stop")
SURE = 4.0
"""Standard errors that a change must be away from none. Steps of a run are many, and looked at again and again."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One reason not to trust the reward any more.

    Attributes:
        cause: one word; see the table above.
        what: the number that moved: ``foils``, ``brightness``.
        rule: ``warn`` or ``stop``.
        before: its mean over the first steps; NaN where there is no such.
        now: its mean over the last steps.
        message: one line for people.
    """

    cause: str
    what: str
    rule: str
    before: float
    now: float
    message: str


@dataclass(frozen=True, slots=True)
class Rollouts:
    """The pictures of one step, with their records and scores, and what is computed about them once for all guards."""

    media: tuple[Media | None, ...]
    records: tuple[Record, ...]
    scores: tuple[Score | None, ...]
    numbers: tuple[Mapping[str, float] | None, ...]

    def groups(self) -> list[list[int]]:
        """The places of the rollouts of each record."""
        found: dict[str, list[int]] = {}
        for place, record in enumerate(self.records):
            found.setdefault(str(record["id"]), []).append(place)
        return list(found.values())


class Guard(Protocol):
    """Watches one danger.

    Attributes:
        cause: the word that names it.
        rule: ``warn`` or ``stop``.
    """

    cause: str
    rule: str

    def watch(self, rollouts: Rollouts) -> tuple[Mapping[str, float], list[Finding]]:
        """The numbers of this step, and what is wrong by now."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """What it remembers, as plain JSON values."""
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on from `state_dict`."""
        ...


class _Trends:
    """Numbers by step; their first steps beside their last ones."""

    def __init__(self, rule: str, baseline: int, window: int) -> None:
        if rule not in RULES:
            raise SpecError(f"rule {rule!r}: it must be warn or stop")
        if baseline < 3 or window < 3:
            raise SpecError(f"baseline {baseline}, window {window}: at least 3 steps say how much a number scatters")
        self.rule, self.baseline, self.window = rule, baseline, window
        self.first: dict[str, list[float]] = {}
        self.last: dict[str, list[float]] = {}

    def add(self, name: str, value: float) -> None:
        """Adds the number of a step; NaN is left out."""
        if math.isnan(value):
            return
        first = self.first.setdefault(name, [])
        if len(first) < self.baseline:
            first.append(value)
        else:
            last = self.last.setdefault(name, [])
            last.append(value)
            del last[: -self.window]

    def change(self, name: str) -> tuple[float, float, float] | None:
        """(mean of the first steps, mean of the last, standard error of the difference); None while there are too few."""
        first, last = self.first.get(name, []), self.last.get(name, [])
        if len(first) < self.baseline or len(last) < self.window:
            return None
        spread = math.sqrt(np.var(first, ddof=1) / len(first) + np.var(last, ddof=1) / len(last))
        return float(np.mean(first)), float(np.mean(last)), max(float(spread), 1e-9)

    def recent(self, name: str) -> list[float]:
        """The last steps, those of the baseline included."""
        return (self.first.get(name, []) + self.last.get(name, []))[-self.window :]

    def state_dict(self) -> dict[str, Any]:
        return {
            "first": {name: list(one) for name, one in self.first.items()},
            "last": {name: list(one) for name, one in self.last.items()},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.first = {name: list(one) for name, one in state["first"].items()}
        self.last = {name: list(one) for name, one in state["last"].items()}


class FoilGuard(_Trends):
    """Speaks when the judge says yes to what is not there.

    Args:
        fall: by how much the probability of the right answer to foils may fall.
        floor: below this it speaks whatever came before; a judge that always says yes is at 0.
        least: foils that it must have seen before it speaks of the floor.
        rule: ``warn`` or ``stop``.
        baseline: first steps, which say what is normal.
        window: last steps, held against them.
    """

    cause = "foils"

    def __init__(
        self, *, fall: float = 0.1, floor: float = 0.5, least: int = 30, rule: str = "stop", baseline: int = 10, window: int = 10
    ) -> None:
        super().__init__(rule, baseline, window)
        self.fall, self.floor, self.least = fall, floor, least

    def watch(self, rollouts: Rollouts) -> tuple[Mapping[str, float], list[Finding]]:
        """See `Guard.watch`; ``guard/foils`` is the mean probability of the right answer to foils."""
        asked = [one for score in rollouts.scores if score is not None for one in questions_in(score)]
        values = [one.value for one in asked if one.foil and one.value is not None]
        if not values:
            return {}, []
        self.add("foils", math.fsum(values) / len(values))
        self.add("count", len(values))
        findings = []
        change = self.change("foils")
        if change and change[1] < change[0] - self.fall and change[1] < change[0] - SURE * change[2]:
            text = f"the judge says yes to what is not there ever more often: foils are right with {change[1]:.2f}, not {change[0]:.2f}"
            findings.append(Finding(self.cause, "foils", self.rule, change[0], change[1], text))
        recent = self.recent("foils")
        now = float(np.mean(recent))
        enough = len(recent) >= 3 and sum(self.recent("count")) >= self.least
        if not findings and enough and now + 2 * float(np.std(recent, ddof=1)) / math.sqrt(len(recent)) < self.floor:
            text = f"the judge says yes to what is not there: foils are answered right with {now:.2f}, no better than by not looking"
            findings.append(Finding(self.cause, "foils", self.rule, math.nan, now, text))
        return {"guard/foils": self.recent("foils")[-1]}, findings


class HeldOutGuard(_Trends):
    """Speaks when the reward rises and a second judge, which is not trained against, does not follow.

    Both rises are counted in standard deviations among the rollouts of the first steps, so that the two need not be on one scale.

    Args:
        held_out: a reward of the same question with another judge; or any reward that ought to rise with it.
        least_rise: rises of the reward below this are not looked at.
        follow: share of the reward's rise that the other must show.
        most: pictures of a step that the second judge sees; spread evenly.
        rule: ``warn`` or ``stop``; likewise baseline and window, see `FoilGuard`.
    """

    cause = "held_out"

    def __init__(
        self,
        held_out: Reward,
        *,
        least_rise: float = 0.5,
        follow: float = 0.3,
        most: int = 16,
        rule: str = "stop",
        baseline: int = 10,
        window: int = 10,
    ) -> None:
        super().__init__(rule, baseline, window)
        self.held_out, self.least_rise, self.follow, self.most = held_out, least_rise, follow, most

    def watch(self, rollouts: Rollouts) -> tuple[Mapping[str, float], list[Finding]]:
        """See `Guard.watch`; ``guard/held_out`` is the second reward's mean, ``guard/correlation`` that of both over the pictures."""
        known = [place for place, score in enumerate(rollouts.scores) if score is not None]
        if len(known) > self.most:
            known = [known[int((place + 0.5) * len(known) / self.most)] for place in range(self.most)]
        others = self.held_out.score([rollouts.media[place] for place in known], [rollouts.records[place] for place in known])
        pairs = [
            (score.value, other.value)
            for score, other in zip((rollouts.scores[place] for place in known), others, strict=True)
            if score is not None and other is not None
        ]
        if len(pairs) < 2:
            return {}, []
        own, other = np.array(pairs, dtype=np.float64).T
        self.add("reward", float(own.mean()))
        self.add("held_out", float(other.mean()))
        if len(self.first["reward"]) + len(self.last.get("reward", [])) <= self.baseline:
            self.add("reward_variance", float(own.var(ddof=1)))
            self.add("held_out_variance", float(other.var(ddof=1)))
        seen = {"guard/held_out": float(other.mean()), "guard/correlation": _correlation(own, other)}
        return {name: value for name, value in seen.items() if not math.isnan(value)}, self._findings()

    def _findings(self) -> list[Finding]:
        mine, other = self.change("reward"), self.change("held_out")
        if mine is None or other is None:
            return []
        scale = {name: max(math.sqrt(float(np.mean(self.first[f"{name}_variance"]))), 0.02) for name in ("reward", "held_out")}
        rise, error = (mine[1] - mine[0]) / scale["reward"], mine[2] / scale["reward"]
        followed, other_error = (other[1] - other[0]) / scale["held_out"], other[2] / scale["held_out"]
        if rise < self.least_rise or rise < SURE * error or followed + 2 * other_error >= self.follow * rise:
            return []
        text = (
            f"the reward rose from {mine[0]:.3f} to {mine[1]:.3f}, the held-out {self.held_out.name} went from {other[0]:.3f} to "
            f"{other[1]:.3f}: the policy learns the judge, not the captions"
        )
        return [Finding(self.cause, self.held_out.name, self.rule, other[0], other[1], text)]


class DiversityGuard(_Trends):
    """Speaks when the rollouts of one caption become alike.

    Args:
        keep: share of the first steps' diversity that must be left.
        rule: ``warn`` or ``stop``; likewise baseline and window, see `FoilGuard`.
    """

    cause = "diversity"

    def __init__(self, *, keep: float = 0.5, rule: str = "warn", baseline: int = 10, window: int = 10) -> None:
        super().__init__(rule, baseline, window)
        self.keep = keep

    def watch(self, rollouts: Rollouts) -> tuple[Mapping[str, float], list[Finding]]:
        """See `Guard.watch`; ``guard/diversity`` is the mean distance (root mean square of colours) of pairs of rollouts of one group."""
        found = [group_diversity([one for place in group if (one := rollouts.media[place]) is not None]) for group in rollouts.groups()]
        distances = [one for one in found if one is not None]
        if not distances:
            return {}, []
        now = math.fsum(distances) / len(distances)
        self.add("diversity", now)
        change = self.change("diversity")
        findings = []
        if change and change[1] < self.keep * change[0] and change[1] < change[0] - SURE * change[2]:
            text = f"the rollouts of one caption become alike: their distance fell from {change[0]:.3f} to {change[1]:.3f}"
            findings.append(Finding(self.cause, "diversity", self.rule, change[0], change[1], text))
        return {"guard/diversity": now}, findings


class QualityGuard(_Trends):
    """Speaks when pictures drift in what no caption asks for, or a metric of their quality falls.

    Args:
        metric: of quality; asked about ``most`` pictures of a step. None for the simple statistics alone.
        drift: of a statistic or the metric, in standard deviations among the pictures of the first steps.
        statistics: which of `picture_statistics` are watched, up and down.
        most: pictures of a step that the metric sees.
        rule: ``warn`` or ``stop``; likewise baseline and window, see `FoilGuard`.
    """

    cause = "quality"

    def __init__(
        self,
        metric: Metric | None = None,
        *,
        drift: float = 1.0,
        statistics: Sequence[str] = STATISTICS[:5],
        most: int = 16,
        rule: str = "warn",
        baseline: int = 10,
        window: int = 10,
    ) -> None:
        super().__init__(rule, baseline, window)
        if unknown := sorted(set(statistics) - set(STATISTICS)):
            raise SpecError(f"picture statistic {unknown[0]!r}: they are {', '.join(STATISTICS)}")
        self.metric, self.drift, self.statistics, self.most = metric, drift, tuple(statistics), most

    def watch(self, rollouts: Rollouts) -> tuple[Mapping[str, float], list[Finding]]:
        """See `Guard.watch`; ``guard/brightness`` and so on are means over the pictures."""
        known = [numbers for numbers in rollouts.numbers if numbers is not None]
        values = {name: np.array([numbers[name] for numbers in known]) for name in self.statistics if len(known) > 1}
        if self.metric is not None:
            made = [place for place, one in enumerate(rollouts.media) if one is not None and "caption" in rollouts.records[place]]
            if len(made) > self.most:
                made = [made[int((place + 0.5) * len(made) / self.most)] for place in range(self.most)]
            found = self.metric.score([rollouts.media[one] for one in made], [str(rollouts.records[one]["caption"]) for one in made])
            scored = np.array([one for one in found if one is not None], dtype=np.float64)
            if len(scored) > 1:
                values[self.metric.name] = scored
        findings = []
        for name, own in values.items():
            self.add(name, float(own.mean()))
            if len(self.first[name]) + len(self.last.get(name, [])) <= self.baseline:
                self.add(f"{name}_variance", float(own.var(ddof=1)))
            findings += self._finding(name)
        return {f"guard/{name}": float(own.mean()) for name, own in values.items()}, findings

    def _finding(self, name: str) -> list[Finding]:
        change = self.change(name)
        if change is None:
            return []
        scale = max(math.sqrt(float(np.mean(self.first[f"{name}_variance"]))), 1e-3)
        moved = change[1] - change[0]
        is_metric = self.metric is not None and name == self.metric.name
        if abs(moved) < self.drift * scale or abs(moved) < SURE * change[2] or (is_metric and moved > 0):
            return []
        text = f"the {name} of the pictures went from {change[0]:.3f} to {change[1]:.3f}, which no caption asks for"
        return [Finding(self.cause, name, self.rule, change[0], change[1], text)]


class ShortcutGuard(_Trends):
    """Speaks when a simple number about the picture explains the reward among rollouts of the same caption.

    Args:
        explained: share of the reward's variance within groups that brightness may explain (a squared correlation); honest painters of the
            sandbox reach 0.2.
        content_explained: the same for statistics that honest content moves as well: a picture with an object left out has less colour and
            a smaller file, and is rightly paid less; a painter that does nothing else wrong reaches 0.96.
        least: rollouts that it must have seen.
        statistics: which of `picture_statistics`.
        rule: ``warn`` or ``stop``; likewise window, see `FoilGuard`.
    """

    cause = "shortcut"

    def __init__(
        self,
        *,
        explained: float = 0.6,
        content_explained: float = 0.98,
        least: int = 60,
        statistics: Sequence[str] = STATISTICS,
        rule: str = "warn",
        window: int = 10,
    ) -> None:
        super().__init__(rule, 3, window)
        if unknown := sorted(set(statistics) - set(STATISTICS)):
            raise SpecError(f"picture statistic {unknown[0]!r}: they are {', '.join(STATISTICS)}")
        self.least, self.statistics = least, tuple(statistics)
        self.limits = {name: content_explained if name in CONTENT else explained for name in statistics}
        self.steps: list[list[list[float]]] = []

    def watch(self, rollouts: Rollouts) -> tuple[Mapping[str, float], list[Finding]]:
        """See `Guard.watch`; ``guard/shortcut`` is the largest squared correlation."""
        rows: list[list[float]] = []
        for group in rollouts.groups():
            own = []
            for place in group:
                score, numbers = rollouts.scores[place], rollouts.numbers[place]
                if score is not None and numbers is not None:
                    own.append([score.value, *(numbers[name] for name in self.statistics)])
            if len(own) > 1:
                table = np.array(own)
                rows += (table - table.mean(axis=0)).tolist()
        self.steps = [*self.steps, rows][-self.window :]
        table = np.array([row for step in self.steps for row in step])
        if len(table) < self.least or float(table[:, 0].std()) < 1e-3:
            return {}, []
        squares = {name: _correlation(table[:, 0], table[:, place + 1]) ** 2 for place, name in enumerate(self.statistics)}
        known = {name: value for name, value in squares.items() if not math.isnan(value)}
        if not known:
            return {}, []
        worst = max(known, key=lambda name: known[name] - self.limits[name])
        findings = []
        if known[worst] > self.limits[worst]:
            text = f"the {worst} of a picture explains {known[worst]:.0%} of the differences in reward among rollouts of one caption"
            findings.append(Finding(self.cause, worst, self.rule, math.nan, known[worst], text))
        return {"guard/shortcut": max(known.values())}, findings

    def state_dict(self) -> dict[str, Any]:
        """The rollouts of the last steps."""
        return {"steps": self.steps}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on from `state_dict`."""
        self.steps = [list(step) for step in state["steps"]]


class AnsweredGuard(_Trends):
    """Speaks when the judge can answer ever less: leaving questions out must not become a way to be paid.

    Args:
        fall: by how much the share of answered questions may fall.
        rule: ``warn`` or ``stop``; likewise baseline and window, see `FoilGuard`.
    """

    cause = "unanswered"

    def __init__(self, *, fall: float = 0.1, rule: str = "warn", baseline: int = 10, window: int = 10) -> None:
        super().__init__(rule, baseline, window)
        self.fall = fall

    def watch(self, rollouts: Rollouts) -> tuple[Mapping[str, float], list[Finding]]:
        """See `Guard.watch`; ``guard/answered`` is the mean share of questions answered, 0 for a picture without a score."""
        shares = [_answered(score) for score, one in zip(rollouts.scores, rollouts.media, strict=True) if one is not None]
        if not shares:
            return {}, []
        now = math.fsum(shares) / len(shares)
        self.add("answered", now)
        change = self.change("answered")
        findings = []
        if change and change[1] < change[0] - self.fall and change[1] < change[0] - SURE * change[2]:
            text = f"the judge can answer ever less about the pictures: {change[1]:.0%} of its questions, not {change[0]:.0%}"
            findings.append(Finding(self.cause, "answered", self.rule, change[0], change[1], text))
        return {"guard/answered": now}, findings


def _answered(score: Score | None) -> float:
    if score is None:
        return 0.0
    asked = list(questions_in(score))
    return sum(one.value is not None for one in asked) / len(asked) if asked else 1.0


def _correlation(one: Any, other: Any) -> float:
    """Pearson's correlation; NaN where one of them does not vary."""
    first, second = one - one.mean(), other - other.mean()
    size = math.sqrt(float((first**2).sum()) * float((second**2).sum()))
    return float((first * second).sum()) / size if size > 1e-12 else math.nan
