"""Canaries: pictures with known answers that a judge must pass before it is trusted.

A judge that always says yes, guesses, does not look at the picture, answers otherwise when asked again, or lets one question sway
another spoils every score without a sign. Each question here is asked about one picture where the answer is yes and about one where it is
no, so that none of these can pass.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from statistics import fmean

from anyscene.errors import JudgeError, SpecError
from anyscene.judges.canary_pictures import drawn_canaries
from anyscene.judges.protocol import STATUSES, Answer, Judge
from anyscene.language.question import Question
from anyscene.media import Media

__all__ = ["Canary", "DoctorReport", "KindResult", "default_canaries", "run_doctor"]

NEAR_CHANCE = 0.6
"""A balanced accuracy below this is as good as guessing."""
FEWEST = 4
"""Questions of either answer that a verdict on a kind needs."""
MOST_ONE_SIDED = 0.9
LOW_MASS = 0.5
MOST_MISSING = 0.2
MOST_FLIPS = 0.1
SAME = 0.05
"""Probabilities that differ by less are the same: servers batch, and round."""


@dataclass(frozen=True, slots=True)
class Canary:
    """A picture and questions about it, with the right answers (``yes`` and ``no``, or one of the choices).

    Attributes:
        media: the picture.
        questions: about it.
        name: of the picture, for messages.
    """

    media: Media
    questions: tuple[Question, ...]
    name: str = ""


@dataclass(frozen=True, slots=True)
class KindResult:
    """How a judge fared with the yes/no questions of one kind.

    Attributes:
        kind: of the questions.
        sensitivity: share of its answers right where yes is right; None where it answered none.
        specificity: share right where no is right; None where it answered none.
        yes: how many of the first it answered.
        no: how many of the second.
    """

    kind: str
    sensitivity: float | None
    specificity: float | None
    yes: int
    no: int

    @property
    def balanced_accuracy(self) -> float | None:
        """The mean of both; 0.5 is chance. None where either is not known."""
        return None if self.sensitivity is None or self.specificity is None else (self.sensitivity + self.specificity) / 2


@dataclass(frozen=True, slots=True)
class DoctorReport:
    """What the canaries say of a judge.

    Attributes:
        judge: its name.
        revision: its revision.
        template: the words that it was asked with.
        kinds: yes/no questions by kind, and under ``all`` all together, first.
        choice_accuracy: share of the questions with choices that it answered rightly; None where there were none.
        statuses: how many answers had each status.
        label_mass: mean probability of the labels; None where it gives none.
        says_yes: share of its yes/no answers that were yes; None where there were none.
        repeats: how many questions were asked twice, and how many of them got another answer.
        alone: how many questions were asked by themselves too, and how many of them got another answer.
        errors: why it is refused, a line each; empty where it is not.
        warnings: what else should be known, a line each.
    """

    judge: str
    revision: str
    template: str
    kinds: tuple[KindResult, ...]
    choice_accuracy: float | None
    statuses: Mapping[str, int]
    label_mass: float | None
    says_yes: float | None
    repeats: tuple[int, int]
    alone: tuple[int, int]
    errors: tuple[str, ...]
    warnings: tuple[str, ...]

    @property
    def refused(self) -> bool:
        """Whether the judge must not be used."""
        return bool(self.errors)

    @property
    def verdict(self) -> str:
        """``passed``, ``warned`` or ``refused``."""
        return "refused" if self.errors else "warned" if self.warnings else "passed"

    def to_dict(self) -> dict[str, object]:
        """Everything as plain JSON values."""
        value = asdict(self)
        value["verdict"] = self.verdict
        value["kinds"] = [{**asdict(kind), "balanced_accuracy": kind.balanced_accuracy} for kind in self.kinds]
        value["statuses"] = dict(self.statuses)
        for name in ("repeats", "alone"):
            value[name] = dict(zip(("asked", "changed"), value[name], strict=True))
        for name in ("errors", "warnings"):
            value[name] = list(value[name])
        return value

    def lines(self) -> list[str]:
        """The report as text."""
        title = " ".join(part for part in (self.judge, self.revision and f"({self.revision})", f"asked with {self.template}") if part)
        rows = [f"{'kind':<16}{'yes right':>11}{'no right':>11}{'balanced':>11}{'asked':>8}"]
        for kind in self.kinds:
            shares = (kind.sensitivity, kind.specificity, kind.balanced_accuracy)
            rows.append(f"{kind.kind:<16}{''.join(f'{_percent(share):>11}' for share in shares)}{kind.yes + kind.no:>8}")
        facts = [", ".join(f"{number} {status}" for status, number in self.statuses.items() if number)]
        facts += [f"choices right {_percent(self.choice_accuracy)}"] if self.choice_accuracy is not None else []
        facts += [f"says yes {_percent(self.says_yes)}"] if self.says_yes is not None else []
        facts += [f"label mass {self.label_mass:.3f}"] if self.label_mass is not None else []
        facts += [
            f"{self.repeats[1]} of {self.repeats[0]} answers changed when asked again, {self.alone[1]} of {self.alone[0]} when asked alone"
        ]
        problems = [f"REFUSED: {line}" for line in self.errors] + [f"warning: {line}" for line in self.warnings]
        return [title, *rows, "; ".join(facts), *problems, f"verdict: {self.verdict}"]

    def check(self) -> None:
        """Raises JudgeError where the judge is refused."""
        if self.errors:
            raise JudgeError(f"{self.judge} fails its canaries: {'; '.join(self.errors)}")


def default_canaries() -> tuple[Canary, ...]:
    """Drawn pictures of circles, squares, triangles and stars, 336 pixels, without text.

    Existence, attributes, counts and relations, 16 yes/no questions each, half of them with the answer no, and questions with choices.
    """
    return tuple(Canary(Media.of_image(picture), questions, name) for name, picture, questions in drawn_canaries())


def run_doctor(
    judge: Judge, canaries: Sequence[Canary] | None = None, *, min_sensitivity: float = 0.7, min_specificity: float = 0.7
) -> DoctorReport:
    """Puts canaries to a judge: all once, every third picture a second time, and its questions also one by one.

    The judge does not get the right answers along with the questions.

    Args:
        judge: to be examined.
        canaries: pictures with known answers; `default_canaries` if None.
        min_sensitivity: share of the yes answers, over all kinds, that it must get right. A single kind below it is a warning.
        min_specificity: the same for no.

    Raises:
        JudgeError: the judge cannot be asked at all.
        SpecError: there are no canaries.
    """
    canaries = default_canaries() if canaries is None else canaries
    if not any(canary.questions for canary in canaries):
        raise SpecError("a judge cannot be examined without canaries")
    asked = [(canary, list(zip(canary.questions, _ask(judge, canary.media, canary.questions), strict=True))) for canary in canaries]
    pairs = [pair for _, own in asked for pair in own]
    again: list[tuple[Question, Answer, Answer]] = []
    alone: list[tuple[Question, Answer, Answer]] = []
    for canary, own in asked[::3]:
        repeated = _ask(judge, canary.media, canary.questions)
        again += [(question, first, second) for (question, first), second in zip(own, repeated, strict=True)]
        if len(own) > 1:
            alone += [(question, first, _ask(judge, canary.media, [question])[0]) for question, first in own]
    kinds = _by_kind(pairs)
    answered = [(question, answer) for question, answer in pairs if answer.status == "answered"]
    chosen = [_credit(question, answer) for question, answer in answered if question.form == "choice"]
    sides = [_says_yes(answer) for question, answer in answered if question.form == "yes_no"]
    masses = [answer.label_mass for _, answer in answered if answer.label_mass is not None]
    counts = Counter(answer.status for _, answer in pairs)
    report = DoctorReport(
        judge=judge.name,
        revision=judge.revision,
        template=judge.template,
        kinds=kinds,
        choice_accuracy=fmean(chosen) if chosen else None,
        statuses={status: counts[status] for status in STATUSES},
        label_mass=fmean(masses) if masses else None,
        says_yes=fmean(sides) if sides else None,
        repeats=(len(again), sum(_flipped(*one) for one in again)),
        alone=(len(alone), sum(_flipped(*one) for one in alone)),
        errors=(),
        warnings=(),
    )
    errors = [*_on_silence(pairs), *_on_numbers(report, pairs, (min_sensitivity, min_specificity)), *_on_change(report)]
    warnings = _warnings(report, pairs, again + alone, (min_sensitivity, min_specificity))
    return replace(report, errors=tuple(errors), warnings=tuple(warnings))


def _ask(judge: Judge, media: Media, questions: Sequence[Question]) -> list[Answer]:
    """The judge's answers, without having told it the right ones; what is no probability is unparsed."""
    answers = judge.answer(media, [replace(question, answer="", foil=None) for question in questions])
    if len(answers) != len(questions):
        raise JudgeError(f"{judge.name} gave {len(answers)} answers to {len(questions)} questions; a judge gives one for each")
    return [_sound(question, answer) for question, answer in zip(questions, answers, strict=True)]


def _sound(question: Question, answer: Answer) -> Answer:
    if answer.status != "answered" or question.form == "open":
        return answer
    shares = (answer.p_yes,) if question.form == "yes_no" else answer.probabilities
    wanted = 1 if question.form == "yes_no" else len(question.choices)
    if len(shares) == wanted and all(share is not None and 0 <= share <= 1 for share in shares):
        return answer
    return replace(answer, status="unparsed", text=f"no probabilities that can be used: {answer.text}")


def _says_yes(answer: Answer) -> float:
    """1 for yes, 0 for no, half for neither."""
    p_yes = answer.p_yes or 0.0
    return 0.5 if p_yes == 0.5 else float(p_yes > 0.5)


def _credit(question: Question, answer: Answer) -> float:
    """1 where the answer is right, 0 where it is wrong, a share where the judge puts several first."""
    if question.form == "yes_no":
        said = _says_yes(answer)
        return said if question.answer == "yes" else 1 - said
    best = max(answer.probabilities)
    first = [choice for choice, share in zip(question.choices, answer.probabilities, strict=True) if share == best]
    return (question.answer in first) / len(first)


def _by_kind(pairs: Sequence[tuple[Question, Answer]]) -> tuple[KindResult, ...]:
    """All yes/no questions, then those of each kind."""
    credits: dict[str, dict[bool, list[float]]] = defaultdict(lambda: {True: [], False: []})
    for question, answer in pairs:
        if question.form == "yes_no":
            for kind in ("all", question.kind):
                own = credits[kind][question.answer == "yes"]
                if answer.status == "answered":
                    own.append(_credit(question, answer))
    return tuple(
        KindResult(
            kind, fmean(own[True]) if own[True] else None, fmean(own[False]) if own[False] else None, len(own[True]), len(own[False])
        )
        for kind, own in credits.items()
    )


def _flipped(question: Question, first: Answer, second: Answer) -> bool:
    """Whether the second answer says something else."""
    if first.status != second.status:
        return True
    if first.status != "answered":
        return False
    if question.form == "yes_no":
        return _says_yes(first) != _says_yes(second) and abs((first.p_yes or 0.0) - (second.p_yes or 0.0)) > SAME
    if question.form == "choice":
        return first.probabilities.index(max(first.probabilities)) != second.probabilities.index(max(second.probabilities))
    return first.text.casefold() != second.text.casefold()


def _on_silence(pairs: Sequence[tuple[Question, Answer]]) -> list[str]:
    """Errors about answers that are none."""
    missing = [answer for _, answer in pairs if answer.status != "answered"]
    if len(missing) <= MOST_MISSING * len(pairs):
        return []
    status, number = Counter(answer.status for answer in missing).most_common(1)[0]
    example = next(answer.text for answer in missing if answer.status == status)
    return [f"{len(missing)} of {len(pairs)} questions are not answered, {number} of them {status}, for example {example[:80]!r}"]


def _on_numbers(report: DoctorReport, pairs: Sequence[tuple[Question, Answer]], least: tuple[float, float]) -> list[str]:
    """Errors about how right the answers are."""
    errors = []
    yes_no = [(question, answer) for question, answer in pairs if question.form == "yes_no" and answer.status == "answered"]
    one_sided = report.says_yes is not None and len(yes_no) >= FEWEST and not 1 - MOST_ONE_SIDED < report.says_yes < MOST_ONE_SIDED
    golds = {question.answer for question, _ in yes_no}
    if one_sided and golds == {"yes", "no"}:
        word = "yes" if (report.says_yes or 0) > 0.5 else "no"
        errors.append(f"it says {word} to nearly everything ({_percent(report.says_yes)} yes, half would be right)")
    elif (blind := _blind(yes_no)) >= MOST_ONE_SIDED:
        errors.append(f"it does not look: {_percent(blind)} of the questions get the same answer whatever the picture shows")
    hopeless = bool(errors)
    for kind in report.kinds:
        share = kind.balanced_accuracy
        if hopeless or share is None or min(kind.yes, kind.no) < FEWEST:
            continue
        if share < NEAR_CHANCE:
            name = "on all questions" if kind.kind == "all" else f"on questions of the kind {kind.kind}"
            errors.append(f"it is as good as guessing {name} (balanced accuracy {_percent(share)}, chance is 50 %)")
            hopeless = kind.kind == "all"
        elif kind.kind == "all":
            for found, wanted, word in zip((kind.sensitivity, kind.specificity), least, ("yes", "no"), strict=True):
                if found is not None and found < wanted:
                    errors.append(f"where {word} is right it is right in {_percent(found)} only; {_percent(wanted)} are wanted")
    chances = [1 / len(question.choices) for question, answer in pairs if question.form == "choice" and answer.status == "answered"]
    if report.choice_accuracy is not None and len(chances) >= 2 * FEWEST:
        chance = fmean(chances)
        if report.choice_accuracy < chance + (1 - chance) / 5:
            errors.append(
                f"it is as good as guessing among choices ({_percent(report.choice_accuracy)} right, chance is {_percent(chance)})"
            )
    if report.label_mass is not None and report.label_mass < LOW_MASS:
        errors.append(
            f"it does not really answer: its labels have a probability of {report.label_mass:.3f} together (a model that thinks aloud?)"
        )
    return errors


def _blind(yes_no: Sequence[tuple[Question, Answer]]) -> float:
    """Of questions asked about pictures with either answer, the share that got one and the same answer; 0 where they are too few."""
    golds: dict[str, set[str]] = defaultdict(set)
    said: dict[str, set[float]] = defaultdict(set)
    for question, answer in yes_no:
        golds[question.key].add(question.answer)
        said[question.key].add(_says_yes(answer))
    both = [key for key, found in golds.items() if len(found) > 1]
    return fmean(len(said[key]) == 1 for key in both) if len(both) >= FEWEST else 0.0


def _on_change(report: DoctorReport) -> list[str]:
    """Errors about answers that do not stay."""
    errors = []
    for (asked, changed), words in ((report.repeats, "when asked again"), (report.alone, "when asked alone instead of with others")):
        if changed > max(1, MOST_FLIPS * asked):
            errors.append(f"{changed} of {asked} answers change {words}")
    return errors


def _warnings(
    report: DoctorReport,
    pairs: Sequence[tuple[Question, Answer]],
    twice: Sequence[tuple[Question, Answer, Answer]],
    least: tuple[float, float],
) -> list[str]:
    warnings = []
    missing = sum(number for status, number in report.statuses.items() if status != "answered")
    if 0 < missing <= MOST_MISSING * len(pairs):
        example = next(answer for _, answer in pairs if answer.status != "answered")
        warnings.append(f"{missing} of {len(pairs)} questions are not answered, for example ({example.status}) {example.text[:80]!r}")
    for kind in report.kinds[1:]:
        if min(kind.yes, kind.no) < FEWEST:
            warnings.append(f"too few canaries of the kind {kind.kind} for a verdict: {kind.yes} with yes and {kind.no} with no answered")
            continue
        if (kind.balanced_accuracy or 0.0) < NEAR_CHANCE:
            continue  # an error
        for found, wanted, word in zip((kind.sensitivity, kind.specificity), least, ("yes", "no"), strict=True):
            if found is not None and found < wanted:
                warnings.append(
                    f"{kind.kind}: where {word} is right it is right in {_percent(found)} only; correct its scores with calibrate"
                )
    masses = [answer.label_mass for _, answer in pairs if answer.status == "answered" and answer.label_mass is not None]
    low = sum(mass < LOW_MASS for mass in masses)
    if low and not (report.label_mass or 1.0) < LOW_MASS:
        warnings.append(f"in {low} of {len(masses)} answers the labels have a probability below {LOW_MASS:g} together")
    if not masses and any(answer.status == "answered" for _, answer in pairs):
        warnings.append("it gives no probabilities, only words: soft scores are as coarse as strict ones")
    for (asked, changed), words in ((report.repeats, "when asked again"), (report.alone, "when asked alone")):
        if 0 < changed <= max(1, MOST_FLIPS * asked):
            warnings.append(f"{changed} of {asked} answers change {words}")
    moved = [abs(first.p_yes - second.p_yes) for _, first, second in twice if first.p_yes is not None and second.p_yes is not None]
    if moved and max(moved) > SAME and not report.repeats[1] and not report.alone[1]:
        warnings.append(f"its probabilities are not quite repeatable: they move by up to {max(moved):.2f}")
    return warnings


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.0f} %"
