"""The recipe of ``anyscene distill``: find what a teacher does better, have it teach just that, and show what was learnt and what was lost.

    RUN/
      run.json                      the config, the digests of both sides of the scenes
      before/ teacher/ after/       evaluations on held-out scenes: of the student before, of the teacher, of the student after
      exam/student exam/teacher     evaluations of both on scenes of the training side
      exam/reach                    the teacher's pictures of the exam as the student's autoencoder gives them back
      gap.json                      the difference on every skill, and which were chosen
      lessons/                      the teacher's pictures around these (`lessons`)
      examples.jsonl                what is learnt from
      leakage.json                  the audit: nothing held out is among the lessons
      metrics.jsonl, checkpoints/   of the training
      policy/                       the trained weights, policy.json, which says how to load them, and a model card
      result.json, report.html      what it came to

Stopped at any moment, the same command goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from itertools import chain
from pathlib import Path
from typing import Any

from anyscene.dataset.scene_space import RecordOptions
from anyscene.errors import MissingExtraError, SpecError
from anyscene.evaluation import EvaluationRun, compare_evaluations, open_run, report_run, score_evaluation, scores_of
from anyscene.evaluation.skills import Asked, Drawn, Rows, SkillGap, SkillNames, ask, compare_skills, draw_around, pool, question_values
from anyscene.judges import Judge, load_judge
from anyscene.models import Model, load_model
from anyscene.models.diffusers import DiffusersModel
from anyscene.models.protocol import Finds
from anyscene.report.distill_page import distill_sections, write_distill_page
from anyscene.report.improve_page import claims_section
from anyscene.report.training_page import training_sections
from anyscene.rewards.protocol import Record
from anyscene.runs import lock_folder, open_folder, say, write_atomic
from anyscene.scoring.question_bank import Floats
from anyscene.taxonomy import Taxonomy
from anyscene.training.arms import policy_at
from anyscene.training.claims import NOT_SHOWN, WORSE, make_claim, no_claim, verdict_of
from anyscene.training.distill_config import DistillConfig, Exam
from anyscene.training.examples import read_examples, write_examples
from anyscene.training.held_out import REPORT, Sides, asked, claim, evaluate, headlines, is_evaluated, json_text, split_scenes
from anyscene.training.launch import check_learning, join_processes, make_trackers, take_own_gpu
from anyscene.training.leakage import LEAKAGE, LeakageReport, audit_leakage
from anyscene.training.lessons import Lessons, Painting, listed, make_lessons, preferred, with_pictures
from anyscene.training.model_card import write_model_card
from anyscene.training.policies import POLICY, Trained
from anyscene.training.reach import GivenBack, can_give_back
from anyscene.training.run_folder import TrainingRun

__all__ = ["run_distill"]

BEFORE, TEACHER, AFTER, EXAM, LESSONS = "before", "teacher", "after", "exam", "lessons"
GAP, EXAMPLES, RESULT = "gap.json", "examples.jsonl", "result.json"
NO_GAP = "The teacher is not better anywhere that shows, so there is nothing to take over from it. Nothing was trained."


def run_distill(
    config: DistillConfig,
    out: str | Path,
    *,
    taxonomy: Taxonomy | None = None,
    quiet: bool = False,
    examine: Callable[[Judge], None] | None = None,
) -> dict[str, Any]:
    """Runs a config, or goes on with it.

    Args:
        config: the whole run.
        out: its folder.
        taxonomy: the vocabulary of its scenes; None is the one that ships.
        quiet: show no progress.
        examine: called with every judge before it is used; raises if the judge is not fit.

    Returns:
        What ``result.json`` holds: ``trained``, ``conclusion`` (in words), ``chosen`` (skills), ``gap`` (on the exam), ``lessons`` (counts)
        and, where something was trained, ``taught`` and ``elsewhere`` (differences on held-out scenes, over the questions that ask for a
        chosen skill and over all others), ``skills``, ``claim`` (of all questions).

    Raises:
        RunError: the folder holds another run, or cannot be written.
        SpecError: the config cannot be honoured.
        LeakageError: something held out is among the lessons; nothing was trained.
        Interrupted: stopped by Ctrl-C; what was done is kept.
    """
    if not all(find_spec(library) for library in ("torch", "diffusers", "accelerate", "peft")):
        raise MissingExtraError("Distilling into a model", "train")
    # All that may be wrong with the config is found before anything is painted, which may take hours.
    sides = split_scenes(config.scenes, config.held_out, taxonomy)
    take_own_gpu()
    state = _check_student(config)
    main, out = bool(state.is_main_process), Path(out)
    student = load_model(config.student, **{**config.student_options, **config.held_out.model_options})
    teacher = load_model(config.teacher, **config.teacher_options)
    judges = [load_judge(config.judge, **config.judge_options)]
    if config.second_judge is not None:
        judges.append(load_judge(config.second_judge, **config.second_judge_options))
    _check_scenes(config, sides, (student, teacher), judges)
    if main:
        for judge in judges if examine is not None else ():
            examine(judge)  # type: ignore[misc]
        open_folder(out)
    trackers = make_trackers(config.trackers, config, out) if main else []
    run = _Run(config, out, sides, SkillNames.of(sides.train.taxonomy), tuple(judges), quiet or not main, trackers)
    with lock_folder(out) if main else nullcontext():
        if main:
            claim(out, "distill", config, sides.digests)
            run.prepare(student, teacher)
        del student, teacher  # their memory is the training's
        state.wait_for_everyone()
        if (out / EXAMPLES).is_file():
            run.train(main, state.wait_for_everyone)
        found = run.conclude() if main else {}
    for tracker in trackers:
        tracker.finish()
    state.wait_for_everyone()
    return found


def _check_student(config: DistillConfig) -> Any:
    """The processes, if all that the config says of learning can be done."""
    student = load_model(config.student, **config.student_options)
    if not isinstance(student, DiffusersModel):
        raise SpecError(f"{student.name}: only diffusers models can learn from pictures; this is a {type(student).__name__}")
    state = join_processes(student)
    check_learning(student, config)
    return state


def _check_scenes(config: DistillConfig, sides: Sides, models: Sequence[Model], judges: Sequence[Judge]) -> None:
    """Do scenes, models and judges fit?"""
    modality = sides.train.spec.modality
    for model in models:
        if model.modality != modality:
            raise SpecError(f"the scenes ask for {modality}, {model.name} makes {model.modality}")
    if len({judge.name for judge in judges}) < len(judges):
        raise SpecError(f"second_judge {judges[-1].name}: it has the name of the judge; take another one")
    there = int(sides.train.source(config.seed).capacity)
    if there <= config.exam.n:
        raise SpecError(
            f"an exam of {config.exam.n:,} scenes: the training side has {there:,}, and the lessons need some too; "
            "take fewer (exam.n), or wider scenes"
        )
    there = int(sides.held_out.source(config.held_out.seed).capacity)
    if there < config.held_out.n:
        raise SpecError(f"{config.held_out.n:,} held-out scenes: there are only {there:,}; take fewer (held_out.n), or wider scenes")


@dataclass(frozen=True, slots=True)
class _Run:
    """What the steps of a run need to know."""

    config: DistillConfig
    out: Path
    sides: Sides
    names: SkillNames
    judges: tuple[Judge, ...]
    quiet: bool
    trackers: Sequence[Any]

    # ---- before the training, for the main process only -------------------------------------------------------------------------

    def prepare(self, student: Model, teacher: Model) -> None:
        """Everything up to the examples; those are written last, and only if there is something to learn."""
        if (self.out / EXAMPLES).is_file() and (self.out / LEAKAGE).is_file():
            return
        exam, rows, start = self._scenes(teacher)
        self._on_held_out(BEFORE, student)
        self._teacher_on_held_out(teacher)
        runs = {name: self._examine(f"{EXAM}/{name}", model, exam) for name, model in (("student", student), ("teacher", teacher))}
        gaps = within = self._gaps(runs["student"], runs["teacher"])
        if self.config.exam.reach and isinstance(student, DiffusersModel) and can_give_back(student):
            within = self._gaps(runs["student"], self._examine(f"{EXAM}/reach", GivenBack(runs["teacher"], student), exam))
        chosen = _chosen(within, self.config.exam)
        found: dict[str, Any] = {"chosen": [one.skill for one in chosen], "gap": [one.to_dict() for one in gaps]}
        found |= {} if within is gaps else {"reach": [one.to_dict() for one in within]}
        if chosen:
            self._warn_of_unasked(found["chosen"])
            weights = {one.skill: one.weight for one in chosen}
            lessons = self._lessons(rows, start, weights, teacher)
            found["lessons"] = lessons.counts
            found["holding"] = _holding(self.names, lessons.records, exam, gaps)
            write_atomic(self.out / GAP, json_text(found))
            if lessons.lessons:
                self._write_examples(lessons, student)
            return
        write_atomic(self.out / GAP, json_text(found))

    @property
    def _wording(self) -> RecordOptions:
        return asked(self.config.questions)

    def _scenes(self, teacher: Model) -> tuple[list[Record], Rows, int]:
        """The exam's scenes, where new ones come from, and the first of those that is new."""
        source = self.sides.train.source(self.config.seed, self._wording)
        there, n = int(source.capacity), self.config.exam.n

        def rows(start: int, count: int) -> list[Record]:
            found: list[Record] = source.table(min(start, there), min(start + count, there)).to_pylist() if count else []
            return found

        if not isinstance(teacher, Finds):
            return rows(0, n), rows, n
        mine = with_pictures(rows, there, teacher)
        if len(mine) < self.config.exam.least:
            raise SpecError(
                f"{teacher.name} has pictures of {len(mine)} training scenes, by id or caption; it needs {self.config.exam.least}. "
                "Write the training scenes with anyscene split and anyscene generate, and have those painted"
            )
        say(f"{teacher.name} has pictures of {len(mine):,} training scenes: exam and lessons are among these", quiet=self.quiet)
        return mine[:n], listed(mine), 0  # pictures that exist are few, and what is claimed rests on held-out scenes

    def _on_held_out(self, name: str, model: Model) -> None:
        if not is_evaluated(self.out / name):
            held = self.config.held_out
            say(f"held-out scenes: {name}", quiet=self.quiet)
            evaluate(
                self.out / name,
                model,
                self.judges,
                self.sides.held_out,
                n=held.n,
                seed=held.seed,
                samples=held.samples,
                wording=self._wording,
                quiet=self.quiet,
            )

    def _teacher_on_held_out(self, teacher: Model) -> None:
        """What there was to be reached, unless the teacher is a folder that has no pictures of these scenes."""
        held = self.config.held_out
        if isinstance(teacher, Finds):
            records = self.sides.held_out.source(held.seed, self._wording).table(0, held.n).to_pylist()
            has = len(with_pictures(listed(records), len(records), teacher))
            if has < len(records):
                say(
                    f"{teacher.name} has pictures of {has:,} of {len(records):,} held-out scenes: it is not evaluated there",
                    quiet=self.quiet,
                )
                return
        self._on_held_out(TEACHER, teacher)

    def _examine(self, name: str, model: Model, records: Sequence[Record]) -> EvaluationRun:
        folder = self.out / name
        if not is_evaluated(folder):
            say(f"exam: {model.name}", quiet=self.quiet)
            run = self._painting(model).evaluate(folder, records, self.config.exam.samples)
            score_evaluation(run, self.judges[0].name)
            report_run(run, self.judges[0].name)
        return open_run(folder)

    def _painting(self, model: Model) -> Painting:
        return Painting(model, self.judges[0], self.config.seed, self.sides.train.taxonomy, self.quiet)

    def _gaps(self, a: EvaluationRun, b: EvaluationRun) -> list[SkillGap]:
        """By how much the second is better at each skill on an exam."""
        exam = self.config.exam
        values = [self._values(one) for one in (a, b)]
        return compare_skills(ask(a.records, self.names), *values, level=exam.level, least=exam.least)

    def _warn_of_unasked(self, chosen: Sequence[str]) -> None:
        """What no held-out question asks for cannot be shown to be learnt."""
        there = ask(open_run(self.out / BEFORE).records, self.names).members
        missing = [skill for skill in chosen if skill not in there]
        if missing:
            told = "take wider scenes, or another held_out.key, to see it learnt"
            say(f"no held-out question asks for {', '.join(missing)}; {told}", quiet=self.quiet)

    def _values(self, run: EvaluationRun, judge: Judge | None = None) -> Floats:
        return question_values(scores_of(run, (judge or self.judges[0]).name))

    def _lessons(self, rows: Rows, start: int, weights: Mapping[str, float], teacher: Model) -> Lessons:
        how = self.config.lessons

        def draw(n: int, first: int) -> Drawn:
            return draw_around(rows, weights, n, self.names, start=first, look=how.look, others=how.others)

        return make_lessons(self.out / LESSONS, draw, self._painting(teacher), how, start=start)

    def _write_examples(self, lessons: Lessons, student: Model) -> None:
        """The audit comes first: what is held out is not learnt from."""
        audit = self._audit({str(one["id"]) for one in lessons.records})
        if not audit.clean:
            claimed = no_claim(audit.findings)
            result = {"trained": False, **_read(self.out / GAP), "conclusion": claimed["sentence"], "claim": claimed}
            write_atomic(self.out / RESULT, json_text(result))
            audit.require_clean()
        examples = [one for lesson in lessons.lessons for one in lesson.examples]
        if self.config.fine_tuning.method == "dpo":
            say("lessons: the student's own pictures, to be preferred less", quiet=self.quiet)
            examples = preferred(self.out / LESSONS / "student", lessons.lessons, self._painting(student))
        if examples:
            write_examples(self.out / EXAMPLES, examples)

    def _audit(self, scenes: Collection[str]) -> LeakageReport:
        """Of the records of these lessons as they were painted, against those that both evaluations have."""
        lessons = chain.from_iterable(open_run(part).records for part in sorted((self.out / LESSONS).glob("part-*")))
        mine = [one for one in lessons if one["id"] in scenes]
        theirs = open_run(self.out / BEFORE).records
        audit = audit_leakage(mine, theirs, by=self.config.held_out.by, given=self.sides.train.spec.containing)
        audit.write(self.out)
        return audit

    # ---- the training -----------------------------------------------------------------------------------------------------------

    def train(self, main: bool, wait: Callable[[], None]) -> None:
        """The training, unless it is done."""
        from anyscene.training.supervised import train_supervised

        config, out = self.config, self.out
        if (out / POLICY / "policy.json").is_file():
            return
        policy = load_model(config.student, **config.student_options)
        assert isinstance(policy, DiffusersModel)
        run = TrainingRun(
            out,
            config.fine_tuning.updates,
            main=main,
            quiet=self.quiet,
            checkpoint_every=config.checkpoint_every,
            checkpoints_kept=config.checkpoints_kept,
            trackers=self.trackers,
        )
        trained = train_supervised(policy, Trained(config.student, config.student_options), read_examples(out / EXAMPLES), config, run)
        if main:
            trained.write(out / POLICY)
        wait()

    # ---- after it, for the main process only --------------------------------------------------------------------------------------

    def conclude(self) -> dict[str, Any]:
        """The evaluation after, what changed on every skill, the report, the result."""
        found = _read(self.out / GAP)
        result: dict[str, Any] = {"trained": (self.out / EXAMPLES).is_file(), "judge": self.judges[0].name, **found}
        if result["trained"]:
            self._compare(result)
        else:
            result["conclusion"] = NO_GAP if not found["chosen"] else _no_lesson(found["lessons"], self.config)
            result["before"] = headlines(self.out / BEFORE)
            write_distill_page(self.out / REPORT, f"{self.config.student} learns from {self.config.teacher}", result)
        write_atomic(self.out / RESULT, json_text(result))
        return result

    def _compare(self, result: dict[str, Any]) -> None:
        config, out = self.config, self.out
        audit = self._audit({one.scene for one in read_examples(out / EXAMPLES)})
        audit.require_clean()
        if not is_evaluated(out / AFTER):
            trained = policy_at(out / POLICY)
            student = load_model(trained.load, **{**trained.options, **config.held_out.model_options})
            student.name = f"{config.student}, distilled"
            self._on_held_out(AFTER, student)
        before, after = open_run(out / BEFORE), open_run(out / AFTER)
        second = self.judges[1].name if len(self.judges) > 1 else None
        result |= {
            "updates": config.fine_tuning.updates,
            "held_out": {"scenes": config.held_out.n, "split": self.sides.proof},
            "before": headlines(out / BEFORE),
            "after": headlines(out / AFTER),
            "claim": make_claim(before, after, self.judges[0].name, second=second),
            **self._skills(before, after, result["chosen"]),
        }
        result["conclusion"] = _conclusion(result)
        sections = [
            *distill_sections(result),
            claims_section({"After against before, on all held-out questions": result["claim"]}),
            audit.section(),
            *training_sections(TrainingRun(out, config.fine_tuning.updates).metrics()),
        ]
        compare_evaluations(before, after, self.judges[0].name, html=out / REPORT, more=sections, said=result["conclusion"])
        self._write_card(result, audit)

    def _skills(self, before: EvaluationRun, after: EvaluationRun, chosen: Sequence[str]) -> dict[str, Any]:
        """Every skill before and after; those chosen together, and all others together."""
        questions = ask(before.records, self.names)
        values = self._values(before), self._values(after)
        known = [skill for skill in chosen if skill in questions.members]
        taught = questions.any_of(known)
        masks = {"taught": taught, "elsewhere": ~taught}
        changes = compare_skills(questions, *values, least=2)
        found: dict[str, Any] = {name: _claimed(asdict(one)) for name, one in pool(questions, *values, masks).items()}
        for judge in self.judges[1:]:
            others = self._values(before, judge), self._values(after, judge)
            for name, one in pool(questions, *others, masks).items():
                found[name]["second"] = _claimed(asdict(one))
                if found[name]["second"]["claim"] != found[name]["claim"]:
                    found[name]["claim"] = NOT_SHOWN
        found["skills"] = [_skill_row(one, chosen) for one in changes]
        found["not_asked"] = [skill for skill in chosen if skill not in known]
        if (self.out / TEACHER).is_dir():
            found["to_teacher"] = self._to_teacher(questions, values, masks)
        return found

    def _to_teacher(self, questions: Asked, values: tuple[Floats, Floats], masks: Mapping[str, Any]) -> dict[str, Any]:
        """How far the student was, and is, from the teacher on held-out scenes."""
        teacher = self._values(open_run(self.out / TEACHER))
        found: dict[str, Any] = {}
        for name, own in zip((BEFORE, AFTER), values, strict=True):
            found[name] = {which: _claimed(asdict(one)) for which, one in pool(questions, own, teacher, masks).items()}
            found[name]["skills"] = {
                one.skill: {"difference": one.difference, "low": one.low, "high": one.high}
                for one in compare_skills(questions, own, teacher, least=2)
            }
        return found

    def _write_card(self, result: Mapping[str, Any], audit: LeakageReport) -> None:
        config = self.config
        counts = result["lessons"]
        write_model_card(
            self.out / POLICY,
            base=Trained(config.student, config.student_options),
            recipe="distill",
            claims={"the model before training": result["claim"]},
            data={
                "captions with a picture of the teacher": counts["kept"],
                "pictures that failed their own questions": counts["failed"],
                "skills taught": result["chosen"],
                "on these skills": _change(result["taught"]),
                "on all others": _change(result["elsewhere"]),
                "judge": self.judges[0].name,
            },
            settings=config.model_dump(include={"seed", "exam", "lessons", "fine_tuning", "optimization", "lora", "ema"}),
            leakage=audit,
            modality=self.sides.train.spec.modality,
            teacher=config.teacher,
        )


def _read(path: Path) -> dict[str, Any]:
    from anyscene.evaluation.run import read_json

    return read_json(path)


def _chosen(gaps: Sequence[SkillGap], exam: Exam) -> list[SkillGap]:
    """Skills that are taught, those with the largest difference first; of equals the first by name."""
    found = [one for one in gaps if one.better and (one.low or 0.0) > exam.margin]
    return sorted(found, key=lambda one: -(one.low or 0.0))[: exam.most]


def _holding(names: SkillNames, lessons: Sequence[Record], fresh: Sequence[Record], gaps: Sequence[SkillGap]) -> dict[str, Any]:
    """For each skill the share of the scenes that ask for it, among the lessons and among scenes as they come."""
    shares = []
    for records in (lessons, fresh):
        held = [{skill for skills in names.of_record(one).values() for skill in skills} for one in records]
        shares.append({one.skill: sum(one.skill in each for each in held) / max(1, len(held)) for one in gaps})
    return {one.skill: {"lessons": shares[0][one.skill], "fresh": shares[1][one.skill]} for one in gaps}


def _claimed(one: dict[str, Any]) -> dict[str, Any]:
    return {**one, "claim": verdict_of(one["low"], one["high"])}


def _skill_row(one: SkillGap, chosen: Sequence[str]) -> dict[str, Any]:
    """A skill before and after. Its verdict holds for all skills together."""
    verdict = verdict_of(one.low, one.high) if one.holds else NOT_SHOWN
    return {**one.to_dict(), "taught": one.skill in chosen, "claim": verdict}


# ---- words ----------------------------------------------------------------------------------------------------------------------


def _change(one: Mapping[str, Any]) -> str:
    if one["difference"] is None:
        return "no question"
    between = f" ({100 * one['low']:+.1f} to {100 * one['high']:+.1f})" if one["low"] is not None else ""
    return f"{100 * one['a']:.1f} % to {100 * one['b']:.1f} %, {100 * one['difference']:+.1f} points{between}: {one['claim']}"


def _conclusion(result: Mapping[str, Any]) -> str:
    shown = [skill for skill in result["chosen"] if skill not in result["not_asked"]]
    said = [f"On held-out scenes, at what was taught ({', '.join(shown) or 'none of it is asked there'}): {_change(result['taught'])}."]
    if shown and result["not_asked"]:
        said.append(f"{', '.join(result['not_asked'])}: taught too, but no held-out question asks for it.")
    said.append(f"Elsewhere: {_change(result['elsewhere'])}.")
    others = [one for one in result["skills"] if not one["taught"] and one["difference"] is not None]
    lost = [one for one in others if one["claim"] == WORSE]
    if lost:
        named = [f"{one['skill']}, {_change(one)}" for one in lost]
        said.append(f"Lost: {'; '.join(named)}.")
    elif others:
        worst = min(others, key=lambda one: one["difference"])
        said.append(f"No single skill is shown to be lost; the lowest difference is that of {worst['skill']}, {_change(worst)}.")
    if result["lessons"]["short"]:
        counts = result["lessons"]
        said.append(f"Of {counts['budget']:,} lessons there were only {counts['kept']:,}.")
    said += result["claim"]["sentences"][1:]
    return " ".join(said)


def _no_lesson(counts: Mapping[str, int], config: DistillConfig) -> str:
    if counts["kept"]:
        return "At none of the lessons the teacher's picture has a higher score than the student's own. Nothing was trained."
    fates = ", ".join(f"{counts[name]:,} {words}" for name, words in FATE_WORDS.items() if counts[name]) or "none was painted"
    told = f"{fates}; lessons.threshold is {config.lessons.threshold:g}"
    return f"Of the teacher's pictures none passed its own questions ({told}). Nothing was trained."


FATE_WORDS = {"failed": "failed one", "unjudged": "were not fully judged", "unmade": "were not made"}
