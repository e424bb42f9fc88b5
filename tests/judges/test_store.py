import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from anyscene.errors import RecordError
from anyscene.judges import Answer
from anyscene.judges.store import AnswerRow, answer_schema, answer_table, judges_of, keys_by_media, part_name, read_answers, write_answers


def rows(*answers):
    return [AnswerRow(f"m{i}", f"q{i}", answer) for i, answer in enumerate(answers)]


def table(*answers, judge="j", revision="1", template="t"):
    return answer_table(rows(*answers), judge, revision, template)


YES = Answer(0.9, 0.99, "Yes")
FAILED = Answer(None, None, "time-out", "failed")
CHOICE = Answer(None, 0.7, "B", probabilities=(0.1, 0.9))


def test_answers_read_back_with_every_value(tmp_path):
    given = table(YES, FAILED, CHOICE)
    write_answers(tmp_path / part_name(0, 0), given)
    again = read_answers(tmp_path)
    assert again.schema == answer_schema()
    assert again.to_pylist() == given.to_pylist()
    assert again["p_yes"].to_pylist() == [0.9, None, None]


def test_the_same_answers_give_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        write_answers(tmp_path / name, table(YES, CHOICE))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize(("first", "second", "counts"), [(YES, FAILED, "Yes"), (FAILED, YES, "Yes"), (YES, Answer(0.1, 1.0, "No"), "No")])
def test_an_answer_replaces_a_failure_and_a_later_answer_an_earlier_one(tmp_path, first, second, counts):
    write_answers(tmp_path / part_name(0, 0), table(first))
    write_answers(tmp_path / part_name(0, 1), table(second))
    again = read_answers(tmp_path)
    assert again["text"].to_pylist() == [counts]


def test_judges_revisions_and_templates_are_kept_apart(tmp_path):
    others = [table(YES), table(YES, judge="k"), table(YES, revision="2"), table(YES, template="u")]
    for number, one in enumerate(others):
        write_answers(tmp_path / f"other-{number}.parquet", one)
    again = read_answers(tmp_path)
    assert again.num_rows == 4
    assert judges_of(again) == [("j", "1", "t"), ("j", "1", "u"), ("j", "2", "t"), ("k", "1", "t")]
    assert keys_by_media(again, judge="k", revision="1", template="t") == {"m0": {"q0"}}


def test_a_failure_is_no_answer_for_going_on():
    assert keys_by_media(table(FAILED, YES), judge="j", revision="1", template="t") == {"m1": {"q1"}}


def test_every_flipped_byte_is_found_or_harmless(tmp_path):
    path = tmp_path / part_name(0, 0)
    given = table(*[Answer(i / 50, 0.5, f"reply number {i}") for i in range(50)])
    write_answers(path, given)
    data = path.read_bytes()
    found = 0
    for place in range(4, len(data), 7):
        path.write_bytes(data[:place] + bytes([data[place] ^ 0x41]) + data[place + 1 :])
        try:
            again = read_answers(tmp_path)
        except RecordError as error:
            assert path.name in str(error)
            found += 1
        else:
            assert again.to_pylist() == given.to_pylist(), f"byte {place}"
    assert found > 50


@pytest.mark.parametrize("size", [0, 3, 40, -1])
def test_a_cut_file_is_named(tmp_path, size):
    path = tmp_path / part_name(3, 0)
    write_answers(path, table(YES))
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(RecordError, match="part-00003"):
        read_answers(tmp_path)


def test_impossible_values_are_refused(tmp_path):
    for number, wrong in enumerate(
        [Answer(1.5, 0.5, "x"), Answer(0.5, -0.1, "x"), Answer(0.5, 0.5, "x", "maybe"), Answer(float("nan"), 1.0, "x")]
    ):
        folder = tmp_path / str(number)
        folder.mkdir()
        write_answers(folder / part_name(0, 0), table(wrong))
        with pytest.raises(RecordError, match="part-00000"):
            read_answers(folder)


def test_of_many_files_the_one_with_impossible_values_is_named(tmp_path):
    for number, p_yes in enumerate((0.5, 1.5, 0.5)):
        write_answers(tmp_path / part_name(number, 0), table(Answer(p_yes, 1.0, ""), judge=f"j{number}"))
    with pytest.raises(RecordError, match=r"part-00001\.parquet"):
        read_answers(tmp_path)


def test_a_folder_without_answers_and_a_strange_table_are_named(tmp_path):
    with pytest.raises(RecordError, match="no answers"):
        read_answers(tmp_path)
    pq.write_table(pa.table({"a": [1]}), tmp_path / "x.parquet")
    with pytest.raises(RecordError, match=r"x\.parquet.*media_sha256"):
        read_answers(tmp_path)


def test_of_many_rows_each_key_is_kept_once(tmp_path):
    rng = np.random.default_rng(0)
    keys = rng.integers(0, 40, (500, 2))
    made = [
        AnswerRow(f"m{a}", f"q{b}", Answer(float(p), 1.0, str(i))) for i, ((a, b), p) in enumerate(zip(keys, rng.random(500), strict=True))
    ]
    write_answers(tmp_path / "x.parquet", answer_table(made, "j", "", "t"))
    last = {(row.media_sha256, row.question_key): row.answer.text for row in made}
    again = read_answers(tmp_path)
    assert {(r["media_sha256"], r["question_key"]): r["text"] for r in again.to_pylist()} == last
    assert again.num_rows == len(last)
