import hashlib

import numpy as np
import pytest

from anyscene.errors import AnySceneError, Interrupted, JudgeError, MediaError, RecordError
from anyscene.judges import Answer
from anyscene.judges.judging import MEDIA_PER_BLOCK, judge_media
from anyscene.judges.store import answer_table, part_name, read_answers, write_answers
from anyscene.media import Media, MediaEntry, MediaFolder


def question(number, text=None, form="yes_no"):
    choices = ["red", "blue"] if form == "choice" else []
    body = {"id": f"q{number}", "kind": "existence", "form": form, "text": text or f"Is it {number}?", "answer": "yes", "choices": choices}
    return body | {"depends_on": [], "elements": [], "foil": None}


class HashJudge:
    """Answers that depend on the media and the question only; `fails` names questions that fail the first time they are asked."""

    name, revision, template = "test:hash", "1", "t"

    def __init__(self, workers=1, fails=(), stop_after=None, error=KeyboardInterrupt):
        self.workers, self.fails, self.asked, self.stop_after, self.error = workers, set(fails), [], stop_after, error

    def answer(self, media, questions):
        answers = []
        for one in questions:
            if self.stop_after is not None and len(self.asked) >= self.stop_after:
                raise self.error
            self.asked.append((media.sha256, one.key))
            if one.text in self.fails:
                answers.append(Answer(None, None, "down", "failed"))
                continue
            p = int(hashlib.sha256((media.sha256 + one.key).encode()).hexdigest()[:6], 16) / 0xFFFFFF
            answers.append(Answer(None, 1.0, "A", probabilities=(p, 1 - p)) if one.form == "choice" else Answer(p, 1.0, f"{p}"))
        return answers


@pytest.fixture
def run(tmp_path):
    """150 scenes with one picture each; scenes 10 and 100 have the same picture."""
    media = MediaFolder(tmp_path / "media")
    media.path.mkdir()
    records, entries = [], []
    for number in range(150):
        picture = Media.of_image(np.full((2, 2, 3), 10 if number == 100 else number, dtype=np.uint8))
        name = media.file_name(number, f"r{number}", 0, ".png")
        media.write(name, picture)
        entries.append(MediaEntry(f"r{number}", number, 0, 0, name, picture.sha256, "made"))
        records.append(
            {
                "id": f"r{number}",
                "modality": "image",
                "questions": [question(0), question(1, form="choice"), question(2, f"Is it {number}th?")],
            }
        )
    entries[7] = MediaEntry("r7", 7, 0, 0, "", None, "refused", "no")
    media.append(entries)
    return records, media, tmp_path / "answers"


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_every_question_of_every_made_media_is_answered_once(run):
    records, media, folder = run
    judge = HashJudge()
    report = judge_media(records, media, judge, folder, quiet=True)
    assert report.expected == 149 * 3
    assert len(judge.asked) == len(set(judge.asked)) == 149 * 3 - 2  # two questions that twins share
    assert read_answers(folder).num_rows == report.asked == len(judge.asked)
    assert len(list(folder.glob("part-*"))) == -(-150 // MEDIA_PER_BLOCK)


def test_a_complete_run_asks_nothing_and_changes_nothing(run):
    records, media, folder = run
    judge_media(records, media, HashJudge(), folder, quiet=True)
    before = contents(folder)
    judge = HashJudge()
    assert judge_media(records, media, judge, folder, quiet=True).asked == 0
    assert not judge.asked
    assert contents(folder) == before


@pytest.mark.parametrize("workers", [1, 5])
@pytest.mark.parametrize("stop_after", [0, 1, 200, 300, 440])
def test_a_run_stopped_anywhere_ends_with_the_bytes_of_an_unbroken_one(run, stop_after, workers, tmp_path):
    records, media, folder = run
    judge_media(records, media, HashJudge(), tmp_path / "whole", quiet=True)
    with pytest.raises(Interrupted):
        judge_media(records, media, HashJudge(workers, stop_after=stop_after), folder, quiet=True)
    judge_media(records, media, HashJudge(workers), folder, quiet=True)
    assert contents(folder) == contents(tmp_path / "whole")


def test_what_failed_is_asked_again_and_only_that(run):
    records, media, folder = run
    report = judge_media(records, media, HashJudge(fails=["Is it 3th?", "Is it 149th?"]), folder, quiet=True)
    assert report.statuses["failed"] == 2
    assert sorted(r["status"] for r in read_answers(folder).to_pylist()).count("failed") == 2
    judge = HashJudge()
    assert judge_media(records, media, judge, folder, quiet=True).asked == 2
    assert {part_name(0, 1), part_name(2, 1)} <= {path.name for path in folder.iterdir()}
    assert set(read_answers(folder)["status"].to_pylist()) == {"answered"}


def test_answers_brought_from_elsewhere_are_not_asked_again(run, tmp_path):
    records, media, folder = run
    judge_media(records, media, HashJudge(), tmp_path / "whole", quiet=True)
    folder.mkdir()
    write_answers(folder / "from-a-colleague.parquet", read_answers(tmp_path / "whole"))
    assert judge_media(records, media, HashJudge(), folder, quiet=True).asked == 0


def test_only_the_forms_asked_for_are_put(run):
    records, media, folder = run
    assert judge_media(records, media, HashJudge(), folder, forms=["choice"], quiet=True).expected == 149
    assert judge_media(records, media, HashJudge(), folder, quiet=True).asked == 149 * 2 - 1  # the rest


def test_an_error_of_the_judge_stops_the_run_and_keeps_finished_blocks(run):
    records, media, folder = run
    with pytest.raises(JudgeError, match="no key"):
        judge_media(records, media, HashJudge(stop_after=300, error=JudgeError("no key")), folder, quiet=True)
    assert [path.name for path in sorted(folder.glob("part-*"))] == [part_name(0, 0)]


def test_a_damaged_media_file_stops_the_run_and_is_named(run):
    records, media, folder = run
    (media.path / media.entries()[70].file).write_bytes(b"x")
    with pytest.raises(MediaError, match=r"r70-0\.png"):
        judge_media(records, media, HashJudge(), folder, quiet=True)


def test_a_damaged_part_is_named_and_made_again_once_it_is_removed(run):
    records, media, folder = run
    judge_media(records, media, HashJudge(), folder, quiet=True)
    before = contents(folder)
    path = folder / part_name(1, 0)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(RecordError, match="part-00001"):
        judge_media(records, media, HashJudge(), folder, quiet=True)
    path.unlink()
    judge_media(records, media, HashJudge(), folder, quiet=True)
    assert contents(folder) == before


@pytest.mark.parametrize(
    "wrong", [Answer(1.2, 1.0, "x"), Answer(float("nan"), 1.0, "x"), Answer(None, 1.0, "x"), Answer(0.5, 1.0, "x", probabilities=(0.5,))]
)
def test_probabilities_that_are_none_are_unparsed_and_never_a_score(run, wrong):
    records, media, folder = run
    judge = HashJudge()
    judge.answer = lambda _, questions: [wrong for _ in questions]
    report = judge_media(records[:3], media, judge, folder, forms=["yes_no"], quiet=True)
    assert report.statuses["unparsed"] > 0
    table = read_answers(folder)
    assert set(table["status"].to_pylist()) == {"unparsed"}
    assert table["p_yes"].null_count == table.num_rows


def test_a_judge_that_leaves_answers_out_stops_the_run(run):
    records, media, folder = run
    judge = HashJudge()
    judge.answer = lambda _, questions: [Answer(1.0, 1.0, "yes")]
    with pytest.raises(AnySceneError, match="1 answers to 3 questions"):
        judge_media(records, media, judge, folder, quiet=True)


def test_an_empty_table_of_answers_is_possible():
    assert answer_table([], "j", "", "t").num_rows == 0
