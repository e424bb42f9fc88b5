"""People as a judge: questions out, answers back, through CSV and through the local page."""

from __future__ import annotations

import csv
import http.client
import io
import itertools
import json
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, urlsplit

import numpy as np
import pytest

from anyscene.errors import JudgeError, SpecError
from anyscene.judges import Judge, load_judge
from anyscene.judges.human import HumanFolder, HumanJudge, combined, read_rating
from anyscene.judges.label_page import LabelServer
from anyscene.language.question import Question
from anyscene.media import Media

YES_NO = Question("q0", "existence", "yes_no", 'Is there a "red", round ball?', "yes")
CHOICE = Question("q1", "attribute", "choice", "What color is it?", "red", ("dark red", "red", "blue"))
OPEN = Question("q2", "count", "open", "How many balls are there?", "three")
ALL = (YES_NO, CHOICE, OPEN)


def picture(seed: int) -> Media:
    return Media.of_image(np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8))


def sheet(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(path.read_text("utf-8"), newline="")))


def fill(path: Path, target: Path, given: dict[str, str], delimiter: str = ",", encoding: str = "utf-8", **more: str) -> None:
    """What a person does in a spreadsheet: the column `answer` is filled in and the sheet is saved."""
    rows = sheet(path)
    with target.open("w", encoding=encoding, newline="") as file:
        writer = csv.DictWriter(file, [*rows[0], *more], delimiter=delimiter)
        writer.writeheader()
        writer.writerows(row | {"answer": given.get(row["question"], "")} | more for row in rows)


def test_questions_go_out_and_answers_come_back_through_a_spreadsheet(tmp_path: Path) -> None:
    judge, media = load_judge(f"human:{tmp_path}"), picture(0)
    assert isinstance(judge, Judge)
    first = judge.answer(media, ALL)
    assert [(answer.status, answer.text, answer.p_yes) for answer in first] == [("failed", "not answered yet", None)] * 3
    rows = sheet(tmp_path / "questions.csv")
    assert [row["question"] for row in rows] == [question.text for question in ALL]
    assert all((tmp_path / row["media"]).read_bytes() == media.data and row["media_sha256"] == media.sha256 for row in rows)
    fill(tmp_path / "questions.csv", tmp_path / "answers.csv", {YES_NO.text: "No", CHOICE.text: "Red"})
    answers = load_judge(f"human:{tmp_path}").answer(media, ALL)
    assert [answer.status for answer in answers] == ["answered", "answered", "failed"]
    assert answers[0].p_yes == 0.0 and answers[1].probabilities == (0.0, 1.0, 0.0)


@pytest.mark.parametrize(("delimiter", "encoding"), [(";", "utf-8-sig"), ("\t", "utf-8")])
def test_spreadsheets_of_other_countries_are_read(delimiter: str, encoding: str, tmp_path: Path) -> None:
    HumanFolder(tmp_path).add(picture(0), ALL)
    fill(tmp_path / "questions.csv", tmp_path / "answers.csv", {YES_NO.text: "yes", OPEN.text: "drei; vier"}, delimiter, encoding)
    answers = HumanJudge(str(tmp_path)).answer(picture(0), ALL)
    assert answers[0].p_yes == 1.0 and answers[2].text == "drei; vier"


def test_answers_may_be_filled_into_the_questions_themselves_and_questions_added_later(tmp_path: Path) -> None:
    HumanFolder(tmp_path).add(picture(0), ALL)
    fill(tmp_path / "questions.csv", tmp_path / "filled.csv", {YES_NO.text: "yes"}, ";")
    (tmp_path / "filled.csv").replace(tmp_path / "questions.csv")
    judge = HumanJudge(str(tmp_path))
    assert judge.answer(picture(0), ALL)[0].p_yes == 1.0
    judge.answer(picture(1), ALL)
    again = HumanJudge(str(tmp_path))
    assert len(again.folder.items) == 6 and again.answer(picture(0), ALL)[0].p_yes == 1.0


def test_asking_twice_adds_nothing(tmp_path: Path) -> None:
    folder = HumanFolder(tmp_path)
    assert (folder.add(picture(0), ALL), folder.add(picture(0), ALL), folder.add(picture(1), (YES_NO, YES_NO))) == (3, 0, 1)
    before = (tmp_path / "questions.csv").read_bytes()
    assert HumanFolder(tmp_path).add(picture(1), (YES_NO,)) == 0
    assert (tmp_path / "questions.csv").read_bytes() == before
    page = (tmp_path / "index.html").read_text()
    assert page.count("<article>") == 2 and "&quot;red&quot;" in page


def test_unsure_and_unreadable_answers_are_neither_yes_nor_no() -> None:
    assert read_rating("yes_no", (), "unsure").status == read_rating("yes_no", (), "?").status == "unsure"
    assert read_rating("yes_no", (), "purple").status == "unparsed"
    assert read_rating("choice", CHOICE.choices, "unsure").status == "unsure"
    assert read_rating("choice", CHOICE.choices, "b").probabilities == (0.0, 1.0, 0.0)
    assert read_rating("choice", CHOICE.choices, "pink").status == "unparsed"
    assert read_rating("yes_no", (), "y").p_yes == 1.0


def test_several_raters_are_combined_by_shares_or_taken_one_by_one(tmp_path: Path) -> None:
    folder, media = HumanFolder(tmp_path), picture(0)
    folder.add(media, ALL)
    items = {item.question: item.id for item in folder.items.values()}
    for rater, given in {
        "ann": ("yes", "red", "three"),
        "bob": ("no", "red", "3"),
        "eve": ("yes", "blue", "two"),
        "joe": ("unsure", "unsure", "unsure"),
    }.items():
        for question, text in zip(ALL, given, strict=True):
            folder.save(rater, items[question.text], text)
    folder.save("eve", items[YES_NO.text], "no")
    together = HumanJudge(str(tmp_path)).answer(media, ALL)
    assert together[0].p_yes == pytest.approx(1 / 3)
    assert together[1].probabilities == pytest.approx((0, 2 / 3, 1 / 3))
    assert together[2].text == "three"
    eve = load_judge(f"human:{tmp_path}", rater="eve")
    assert eve.revision == "rater=eve" and eve.answer(media, ALL)[0].p_yes == 0.0
    assert load_judge(f"human:{tmp_path}", rater="joe").answer(media, ALL)[0].status == "unsure"
    assert load_judge(f"human:{tmp_path}", rater="zoe").answer(media, ALL)[0].text == "not answered yet"
    folder.save("eve", items[YES_NO.text], "")
    assert eve.answer(media, ALL)[0].p_yes == 0.0, "a judge does not change while it is used"
    assert load_judge(f"human:{tmp_path}", rater="eve").answer(media, ALL)[0].status == "failed"


def test_two_different_words_are_a_tie() -> None:
    assert combined([read_rating("open", (), "two"), read_rating("open", (), "three")], OPEN).status == "unsure"


def test_a_line_torn_by_a_crash_costs_nothing_else(tmp_path: Path) -> None:
    folder, media = HumanFolder(tmp_path), picture(0)
    folder.add(media, ALL)
    items = {item.question: item.id for item in folder.items.values()}
    folder.save("ann", items[YES_NO.text], "yes")
    whole = (tmp_path / "answers.csv").read_bytes()
    folder.save("ann", items[CHOICE.text], "red")
    line = (tmp_path / "answers.csv").read_bytes()[len(whole) :]
    for cut in range(1, len(line) - len("red\r\n")):
        (tmp_path / "answers.csv").write_bytes(whole + line[:cut])
        fresh = HumanFolder(tmp_path)
        fresh.save("ann", items[OPEN.text], "three")
        answers = HumanJudge(str(tmp_path)).answer(media, ALL)
        assert (answers[0].p_yes, answers[1].status, answers[2].text) == (1.0, "failed", "three")


def test_only_a_share_is_asked_when_so_wished(tmp_path: Path) -> None:
    judge = HumanJudge(str(tmp_path), share=0.3)
    asked = [judge.answer(picture(seed), ALL) for seed in range(60)]
    assert 30 < len(judge.folder.items) < 80
    texts = {answer.text for answers in asked for answer in answers}
    assert texts == {"not answered yet", "people are not asked this"}
    for share in (0, 1.5):
        with pytest.raises(SpecError, match="share"):
            load_judge(f"human:{tmp_path}", share=share)


def test_wrong_files_are_named(tmp_path: Path) -> None:
    HumanFolder(tmp_path).add(picture(0), ALL)
    (tmp_path / "answers.csv").write_text("item,answer\nnothing,yes\n")
    with pytest.raises(JudgeError, match=r"answers\.csv, line 2"):
        HumanJudge(str(tmp_path))
    (tmp_path / "answers.csv").write_text("question,reply\na,b\n")
    with pytest.raises(JudgeError, match="column 'item' is missing"):
        HumanJudge(str(tmp_path))
    (tmp_path / "answers.csv").write_bytes(b"item,answer\n\xff\xfe,yes\n")
    with pytest.raises(JudgeError, match="UTF-8"):
        HumanJudge(str(tmp_path))
    with pytest.raises(SpecError, match="needs a folder"):
        load_judge("human")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[LabelServer]:
    folder = HumanFolder(tmp_path)
    for seed in range(5):
        folder.add(picture(seed), ALL)
    running = LabelServer(tmp_path)
    running.start()
    yield running
    running.close()


def fetch(server: LabelServer, path: str, body: object = None, host: str | None = None, token: str | None = None) -> tuple[int, bytes]:
    where = urlsplit(server.url)
    connection = http.client.HTTPConnection("127.0.0.1", where.port, timeout=10)
    headers = {"Host": host or where.netloc, "Connection": "close"}
    data = None if body is None else json.dumps(body).encode()
    connection.request("GET" if body is None else "POST", f"/{server.token if token is None else token}/{path}", data, headers)
    reply = connection.getresponse()
    found = reply.status, reply.read()
    connection.close()
    return found


def test_the_page_shows_each_rater_every_question_and_keeps_every_click(server: LabelServer, tmp_path: Path) -> None:
    status, page = fetch(server, "")
    assert status == 200 and not re.search(rb"https?://", page), "the page must load nothing from elsewhere"
    items = json.loads(fetch(server, "items?rater=" + quote("Ann B."))[1])
    assert len(items) == 15 and all(one["answer"] is None for one in items)
    assert sum(one["media"] != other["media"] for one, other in itertools.pairwise(items)) == 4, (
        "questions of one picture follow each other"
    )
    assert fetch(server, items[0]["media"]) == (200, (tmp_path / items[0]["media"]).read_bytes())
    for one in items[:4]:
        text = {"yes_no": "yes", "choice": "blue", "open": "three"}[one["form"]]
        assert fetch(server, "answer", {"rater": "Ann B.", "item": one["item"], "answer": text})[0] == 200
        on_disk = HumanFolder(tmp_path).answers()[one["item"]]
        assert on_disk == {"Ann B.": text}
    again = json.loads(fetch(server, "items?rater=" + quote("Ann B."))[1])
    assert [one["item"] for one in again] == [one["item"] for one in items]
    assert [one["answer"] is not None for one in again] == [True] * 4 + [False] * 11
    other = json.loads(fetch(server, "items?rater=bob")[1])
    assert all(one["answer"] is None for one in other) and [one["item"] for one in other] != [one["item"] for one in items]
    fetch(server, "answer", {"rater": "Ann B.", "item": items[0]["item"], "answer": ""})
    assert items[0]["item"] not in {item for item, given in HumanFolder(tmp_path).answers().items() if given}


def test_whoever_does_not_know_the_address_gets_nothing(server: LabelServer) -> None:
    assert fetch(server, "items", token="guess")[0] == 403
    assert fetch(server, "items", host="evil.example:80")[0] == 403
    assert fetch(server, "media/../questions.csv")[0] == 404
    assert fetch(server, "questions.csv")[0] == 404
    assert fetch(server, "answers.csv")[0] == 404


def test_what_is_no_answer_is_refused(server: LabelServer, tmp_path: Path) -> None:
    item = next(iter(server.folder.items))
    good = {"rater": "ann", "item": item, "answer": "yes"}
    for wrong in (
        {"rater": "=cmd()"},
        {"rater": ""},
        {"item": "none"},
        {"answer": "=1+1"},
        {"answer": "x" * 501},
        {"answer": 1},
        {"answer": None},
    ):
        status, body = fetch(server, "answer", good | wrong)
        assert status == 400 and json.loads(body)["error"]
    assert fetch(server, "answer", [1])[0] == 400
    assert fetch(server, "answer", good | {"answer": "x" * 20_000})[0] == 400
    assert fetch(server, "elsewhere", good)[0] == 400
    assert not (tmp_path / "answers.csv").exists()


def test_clicks_of_many_people_at_once_are_all_kept(server: LabelServer, tmp_path: Path) -> None:
    items = list(server.folder.items)

    def click(rater: str) -> None:
        for item in items:
            assert fetch(server, "answer", {"rater": rater, "item": item, "answer": "yes"})[0] == 200

    threads = [threading.Thread(target=click, args=(f"rater {number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(len(given) == 4 for given in HumanFolder(tmp_path).answers().values())


def test_a_folder_without_questions_cannot_be_served(tmp_path: Path) -> None:
    with pytest.raises(JudgeError, match="no questions here"):
        LabelServer(tmp_path)
    with pytest.raises(JudgeError, match="no such folder"):
        LabelServer(tmp_path / "none")


def test_the_page_is_served_until_ctrl_c(tmp_path: Path) -> None:
    HumanFolder(tmp_path).add(picture(0), ALL)
    program = f"from pathlib import Path; from anyscene.judges.label_page import serve_questions; serve_questions(Path({str(tmp_path)!r}), open_browser=False)"
    with subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.PIPE, text=True) as running:
        assert running.stderr is not None
        first = running.stderr.readline()
        url = urlsplit(first.split()[3])
        connection = http.client.HTTPConnection("127.0.0.1", url.port, timeout=10)
        connection.request("GET", url.path, headers={"Connection": "close"})
        assert connection.getresponse().status == 200
        connection.close()
        running.send_signal(signal.SIGINT)
        assert "Stopped" in running.stderr.read()
        assert running.wait(10) == 0
