from __future__ import annotations

import base64
import io
import math
import re
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

if str(Path(__file__).parents[1]) not in sys.path:
    sys.path.append(str(Path(__file__).parents[1]))

from anyscene.errors import JudgeError, SpecError
from anyscene.judges import Answer, Judge, load_judge
from anyscene.judges.openai import OpenAIJudge
from anyscene.language.question import Question
from anyscene.media import Media
from servers import Asked, Reply, Server, error_reply, serving

COLOURS = {"red": (255, 0, 0), "green": (0, 128, 0), "blue": (0, 0, 255), "white": (255, 255, 255)}
P_RIGHT = 0.9


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("httpx")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret-of-the-test")


def media(*colours: str, modality: str = "image") -> Media:
    return Media.of_frames([Image.new("RGB", (16, 16), colour) for colour in colours], modality)


def is_it(colour: str) -> Question:
    return Question(colour, "attribute", "yes_no", f"Is this picture {colour}?", "yes")


WHICH = Question("which", "attribute", "choice", "What colour is this?", "red", ("green", "red", "blue"))
OPEN = Question("open", "attribute", "open", "What colour is this?", "red")
ALL = [is_it("red"), WHICH, is_it("blue"), OPEN, is_it("green"), is_it("white")]


def seen(asked: Asked) -> list[str]:
    """The colours of the pictures that a request holds."""
    if "images" in asked.body:
        urls = asked.body["images"]
    else:
        urls = [part["image_url"]["url"] for part in asked.body["messages"][-1]["content"] if part["type"] == "image_url"]
    names = {rgb: name for name, rgb in COLOURS.items()}
    return [names[Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))).convert("RGB").getpixel((0, 0))] for url in urls]


def question_text(asked: Asked) -> str:
    return str(asked.body["messages"][-1]["content"][-1]["text"])


def ranked(*pairs: tuple[str, float]) -> dict[str, Any]:
    """Log-probabilities of one place."""
    alternatives = [{"token": token, "logprob": math.log(chance) if chance > 0 else -9999.0, "bytes": None} for token, chance in pairs]
    return {"content": [{"token": pairs[0][0], "logprob": alternatives[0]["logprob"], "top_logprobs": alternatives}]}


def chat_reply(text: str | None, logprobs: Any = None, model: str = "vlm-2026-01-01", finish: str = "stop", **message: Any) -> Reply:
    choice = {"index": 0, "message": {"role": "assistant", "content": text, **message}, "finish_reason": finish, "logprobs": logprobs}
    return Reply({"model": model, "choices": [choice], "usage": {"prompt_tokens": 100, "completion_tokens": 1}})


def look(asked: Asked) -> Reply:
    """A judge that sees: answers by the picture's colour, with nine parts in ten on the right label and 0.05 elsewhere."""
    if not asked.path.endswith("/chat/completions"):
        return error_reply(404, "Not Found")
    colour, text = seen(asked)[0], question_text(asked)
    wants = asked.body.get("logprobs")
    if found := re.search(r"Is this picture (\w+)\?", text):
        right, wrong = ("Yes", "No") if found[1] == colour else ("No", "Yes")
        alternatives = ((right, 0.5), (" " + right.lower(), 0.255), (right.upper(), 0.1), (wrong, 0.095), ("The", 0.05))
    elif "\nA. " in text:
        options = re.findall(r"^([A-Z])\. (.+)$", text, re.MULTILINE)
        right = next(letter for letter, option in options if option == colour)
        alternatives = ((right, 0.855), *((letter, 0.095 / 2) for letter, _ in options if letter != right), ("The", 0.05))
    else:
        return chat_reply(f"{colour.title()}.")
    return chat_reply(right, ranked(*alternatives) if wants else None)


def judge(server: Server, **options: Any) -> OpenAIJudge:
    return OpenAIJudge("vlm", base_url=server.url, **{"backoff_s": 0.001, "timeout_s": 5.0, **options})


def right(answers: list[Answer]) -> None:
    """What `look` says of ALL about a red picture."""
    assert [answer.status for answer in answers] == ["answered"] * 6
    assert [answers[place].p_yes for place in (0, 2, 4, 5)] == pytest.approx([P_RIGHT, 1 - P_RIGHT, 1 - P_RIGHT, 1 - P_RIGHT])
    assert answers[1].probabilities == pytest.approx((0.05, 0.9, 0.05))
    assert [answers[place].label_mass for place in (0, 1, 2)] == pytest.approx([0.95] * 3)
    assert (answers[3].text, answers[3].p_yes) == ("Red.", None)


def test_probabilities_are_summed_over_spellings_and_normalised_over_the_labels() -> None:
    with serving(look) as server:
        one = load_judge("openai:vlm", base_url=server.url)
        assert isinstance(one, Judge)
        right(one.answer(media("red"), ALL))
        assert one.revision == "vlm-2026-01-01"
        assert one.template == "plain-1"
        assert one.answer(media("red"), []) == []


def test_the_picture_comes_first_and_the_question_last_and_requests_differ_only_at_the_end() -> None:
    with serving(look) as server:
        judge(server).answer(media("red"), ALL)
        bodies = [asked.body for asked in server.asked if "messages" in asked.body][1:]
        assert len(bodies) == 6
        for body in bodies:
            assert [part["type"] for part in body["messages"][-1]["content"]] == ["image_url", "text"]
            assert body["messages"][-1]["content"][0] == bodies[0]["messages"][-1]["content"][0]
            assert (body["temperature"], body["chat_template_kwargs"]) == (0, {"enable_thinking": False})
        assert all((body["max_tokens"], body["top_logprobs"]) == (1, 20) for body in bodies if body.get("logprobs"))
        assert sum(bool(body.get("logprobs")) for body in bodies) == 5


def test_questions_go_out_together_but_never_more_than_allowed_and_the_first_alone() -> None:
    arrived = []
    lock = threading.Lock()

    def slowly(asked: Asked) -> Reply:
        with lock:
            arrived.append(asked.time_s)
        return Reply(look(asked).body, look(asked).status, delay_s=0.1)

    with serving(slowly) as server:
        one = judge(server, concurrency=3)
        _ = one.revision
        begun = len(arrived)
        right(one.answer(media("red"), ALL))
        assert server.most_at_once == 3
        assert arrived[begun + 1] - arrived[begun] >= 0.1


TROUBLES: list[Callable[[Asked], Reply]] = [
    lambda asked: error_reply(429, "slow down", retry_after="0.02"),
    lambda asked: error_reply(500, "oops"),
    lambda asked: error_reply(503, "warming up"),
    lambda asked: Reply(b'{"choices": [{"mess'),
    lambda asked: Reply({"choices": []}),
    lambda asked: Reply(b"<html>bad gateway</html>"),
    lambda asked: Reply(look(asked).body, cut_after=25),
    lambda asked: Reply(look(asked).body, delay_s=0.5),
    lambda asked: Reply({"error": {"message": "provider down", "code": 502}}),
]


def test_nothing_is_lost_whatever_goes_wrong_in_between() -> None:
    count = 0
    lock = threading.Lock()

    def bad_weather(asked: Asked) -> Reply:
        nonlocal count
        if not asked.path.endswith("/chat/completions"):
            return look(asked)
        with lock:
            count += 1
            number = count
        return look(asked) if number % 2 else TROUBLES[number // 2 % len(TROUBLES)](asked)

    with serving(bad_weather) as server:
        one = judge(server, timeout_s=0.3, retries=12)
        for _ in range(3):
            right(one.answer(media("red"), ALL))
        assert count > 36


def wrong_logprobs(kind: str, text: str) -> Any:
    value = ranked(("Yes", 0.6), ("No", 0.4))
    first = value["content"][0]
    first["token"] = text[:2]  # of the text, so that nothing but the numbers is wrong
    if kind == "not a number":
        first["top_logprobs"][0]["logprob"] = math.nan
    elif kind == "positive":
        first["top_logprobs"][0]["logprob"], first["top_logprobs"][1]["logprob"] = 0.7, -9.0
    elif kind == "more than certain":
        first["top_logprobs"] = [{"token": token, "logprob": -0.05} for token in ("Yes", "No")]
    elif kind == "text":
        first["top_logprobs"][0]["logprob"] = "-0.5"
    elif kind == "null":
        first["top_logprobs"][1]["logprob"] = None
    elif kind == "false":
        first["top_logprobs"][0]["logprob"], first["top_logprobs"][1]["logprob"] = False, -9.0
    elif kind == "of another token":
        first["token"] = "<think>"
    elif kind == "empty":
        first["top_logprobs"] = []
    elif kind == "no content":
        value = {"content": []}
    elif kind == "another shape":
        value = {"tokens": ["Yes"], "token_logprobs": [-0.1]}
    elif kind == "missing":
        value = None
    return value


WRONG = "not a number,positive,more than certain,text,null,false,of another token,empty,no content,another shape,missing".split(",")


@pytest.mark.parametrize("kind", WRONG)
@pytest.mark.parametrize("said", ["No", "No, it is not."])
def test_wrong_logprobs_are_never_believed(kind: str, said: str) -> None:
    """They lean to yes while the words say no."""

    def answer(asked: Asked) -> Reply:
        if not asked.path.endswith("/chat/completions"):
            return error_reply(404, "")
        if "red" in question_text(asked):  # the server's first impression is good
            return look(asked)
        return chat_reply(said, wrong_logprobs(kind, said) if asked.body.get("logprobs") else None)

    with serving(answer) as server:
        found = judge(server).answer(media("red"), [is_it("blue")])[0]
        assert (found.status, found.p_yes, found.label_mass, found.text) == ("answered", 0.0, None, said)
        strict = judge(server, logprobs="on").answer(media("red"), [is_it("blue")])[0]
        assert (strict.status, strict.p_yes) == ("unparsed", None)


def test_labels_with_little_probability_are_no_answer() -> None:
    """A model that begins to think puts next to nothing on yes and no."""

    def thinks(asked: Asked) -> Reply:
        if not asked.path.endswith("/chat/completions"):
            return error_reply(404, "")
        if "red" in question_text(asked):
            return look(asked)
        text = "<think>The picture seems to be red, so yes" if asked.body["max_tokens"] > 1 else "<think>"
        return chat_reply(
            text, ranked(("<think>", 0.999), ("Yes", 0.0006), ("No", 0.0003)) if asked.body.get("logprobs") else None, finish="length"
        )

    with serving(thinks) as server:
        found = judge(server).answer(media("red"), [is_it("blue")])[0]
        assert (found.status, found.p_yes) == ("unparsed", None)
        assert found.label_mass == pytest.approx(0.0009)
        assert "seems to be red" in found.text


def test_low_mass_falls_back_to_words_that_are_plain() -> None:
    def wordy(asked: Asked) -> Reply:
        if not asked.path.endswith("/chat/completions"):
            return error_reply(404, "")
        if asked.body.get("logprobs"):
            return chat_reply("The", ranked(("The", 0.995), ("Yes", 0.004)), finish="length")
        return chat_reply("The answer is no.")

    with serving(wordy) as server:
        found = judge(server).answer(media("red"), [is_it("blue")])[0]
        assert (found.status, found.p_yes, found.text) == ("answered", 0.0, "The answer is no.")
        assert found.label_mass == pytest.approx(0.004)


@pytest.mark.parametrize("how", ["ignored", "refused"])
def test_a_server_without_logprobs_is_read_by_its_words(how: str) -> None:
    def wordy(asked: Asked) -> Reply:
        if how == "refused" and asked.body.get("logprobs"):
            return error_reply(400, "Unsupported parameter: 'logprobs' is not supported with this model.", "unsupported_parameter")
        reply = look(asked)
        if reply.status == 200:
            reply.body["choices"][0]["logprobs"] = None
        return reply

    with serving(wordy) as server:
        one = judge(server)
        answers = one.answer(media("red"), ALL)
        assert [answer.status for answer in answers] == ["answered"] * 6
        assert [answers[place].p_yes for place in (0, 2, 4, 5)] == [1.0, 0.0, 0.0, 0.0]
        assert all(answer.label_mass is None for answer in answers)
        assert answers[1].probabilities == (0.0, 1.0, 0.0)
        assert one.revision == "vlm-2026-01-01 words only"
        with pytest.raises(JudgeError, match="log-probabilities"):
            judge(server, logprobs="on").answer(media("red"), ALL)


def test_what_a_server_does_not_take_is_left_out_or_named_as_it_wants() -> None:
    def particular(asked: Asked) -> Reply:
        body = asked.body
        if "messages" not in body:
            return error_reply(404, "")
        if "chat_template_kwargs" in body:
            return error_reply(400, "Unrecognized request argument supplied: chat_template_kwargs")
        if "max_tokens" in body:
            return error_reply(400, "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead.")
        if body["max_completion_tokens"] < 16:
            return error_reply(400, "Invalid 'max_completion_tokens': integer below minimum value. Expected a value >= 16")
        if body.get("temperature") is not None:
            return error_reply(400, "Unsupported value: 'temperature' does not support 0 with this model.")
        if body.get("top_logprobs", 0) > 5:
            return error_reply(422, "top_logprobs must be between 0 and 5")
        return look(asked)

    with serving(particular) as server:
        one = judge(server)
        right(one.answer(media("red"), ALL))
        known = len(server.asked)
        right(one.answer(media("red"), ALL))
        assert len(server.asked) == known + 6


@pytest.mark.parametrize(
    ("reply", "status"),
    [
        (error_reply(400, "flagged by the content policy", "content_policy_violation"), "refused"),
        (chat_reply(None, finish="content_filter"), "refused"),
        (chat_reply(None, refusal="I cannot look at this."), "refused"),
        (chat_reply("I'm sorry, but I can't help with that."), "refused"),
        (chat_reply("I cannot tell from this picture."), "unsure"),
        (chat_reply("Yes or no."), "unparsed"),
        (chat_reply(""), "unparsed"),
        (chat_reply(None), "unparsed"),
        (chat_reply(None, reasoning_content="It is blue, so yes.", finish="length"), "unparsed"),
        (error_reply(500, "out of memory"), "failed"),
        (error_reply(400, "too many pixels"), "failed"),
        (Reply(b"garbage"), "failed"),
    ],
)
def test_every_failure_keeps_its_kind_and_its_text_and_the_other_answers_stand(reply: Reply, status: str) -> None:
    def answer(asked: Asked) -> Reply:
        return reply if "messages" in asked.body and "blue?" in question_text(asked) else look(asked)

    with serving(answer) as server:
        answers = judge(server, retries=2).answer(media("red"), [is_it("red"), is_it("blue"), is_it("green"), OPEN])
        assert [one.status for one in answers] == ["answered", status, "answered", "answered"]
        assert (answers[1].p_yes, answers[1].probabilities) == (None, ())
        assert answers[0].p_yes == pytest.approx(P_RIGHT)
        assert answers[2].p_yes == pytest.approx(1 - P_RIGHT)
        if status == "failed":
            assert re.search("out of memory|too many pixels|no JSON", answers[1].text)


@pytest.mark.parametrize("first", ["refused", "without", "garbled", "busy"])
def test_a_bad_first_reply_does_not_decide_about_the_server(first: str) -> None:
    count = 0

    def answer(asked: Asked) -> Reply:
        nonlocal count
        if "messages" not in asked.body:
            return error_reply(404, "")
        count += 1
        bad = {
            "refused": error_reply(400, "flagged", "content_filter"),
            "without": chat_reply("Yes"),
            "garbled": Reply(b"{"),
            "busy": error_reply(503, "busy"),
        }
        return bad[first] if count == 1 else look(asked)

    with serving(answer) as server:
        one = judge(server)
        right(one.answer(media("red"), ALL))
        assert one.revision == "vlm-2026-01-01"


def test_a_server_that_answers_everything_with_a_chat_completion_is_a_chat_server() -> None:
    def answer(asked: Asked) -> Reply:
        return look(asked) if "messages" in asked.body else chat_reply("Hello")

    with serving(answer) as server:
        one = judge(server, backoff_s=30.0)
        right(one.answer(media("red"), ALL))
        assert one.template == "plain-1"


def test_another_model_in_the_middle_stops_loudly() -> None:
    count = 0

    def changes(asked: Asked) -> Reply:
        nonlocal count
        reply = look(asked)
        if reply.status == 200:
            count += 1
            reply.body["model"] = "vlm-2026-01-01" if count < 5 else "vlm-2026-02-02"
        return reply

    with serving(changes) as server:
        one = judge(server, concurrency=1)
        with pytest.raises(JudgeError, match="'vlm-2026-01-01' and now answers as 'vlm-2026-02-02'"):
            one.answer(media("red"), ALL)


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (error_reply(401, "Incorrect API key"), "not accepted"),
        (error_reply(404, "The model `vlm` does not exist", "model_not_found"), "no such model"),
        (error_reply(400, "This model does not support image input"), "does not support image input"),
        (error_reply(500, "CUDA error"), "CUDA error"),
    ],
)
def test_a_server_that_cannot_be_used_says_so_before_any_question(reply: Reply, said: str) -> None:
    with serving(lambda asked: reply) as server:
        with pytest.raises(JudgeError, match=said):
            _ = judge(server, retries=1).revision
        with pytest.raises(JudgeError, match=said):
            judge(server, retries=1, endpoint="chat").answer(media("red"), ALL)


def test_clips_and_views_are_shown_as_several_pictures() -> None:
    with serving(look) as server:
        one = judge(server, frames=3)
        one.answer(media("red", "red", "green", "green", "blue", "blue", modality="video"), [is_it("red")])
        assert seen(server.asked[-1]) == ["red", "green", "blue"]
        assert question_text(server.asked[-1]).startswith("These are 3 frames of one clip, in order of time. Is this picture red?")
        one.answer(media("red", "green", modality="3d"), [is_it("red")])
        assert question_text(server.asked[-1]).startswith("These are 2 views of one 3D scene")
        assert "frames=3" in one.revision


def test_pictures_are_sent_as_they_are_unless_too_large() -> None:
    picture = media("red")
    with serving(look) as server:
        judge(server, detail="low").answer(picture, [is_it("red")])
        part = server.asked[-1].body["messages"][-1]["content"][0]["image_url"]
        assert base64.b64decode(part["url"].partition(",")[2]) == picture.data
        assert part["detail"] == "low"
        one = judge(server, max_pixels=100)
        one.answer(picture, [is_it("red")])
        sent = server.asked[-1].body["messages"][-1]["content"][0]["image_url"]["url"]
        assert Image.open(io.BytesIO(base64.b64decode(sent.partition(",")[2]))).size == (10, 10)
        assert one.revision == "vlm-2026-01-01 max_pixels=100"


def test_usage_is_counted() -> None:
    with serving(look) as server:
        one = judge(server)
        one.answer(media("red"), ALL)
        assert one.usage == {"requests": 7, "in": 700, "out": 7}


def test_system_prompt_and_more_of_the_request() -> None:
    with serving(look) as server:
        one = judge(server, system="You look closely.", body='{"top_p": 0.5}')
        one.answer(media("red"), [is_it("red")])
        body = server.asked[-1].body
        assert body["messages"][0] == {"role": "system", "content": "You look closely."}
        assert body["top_p"] == 0.5
        assert one.revision != judge(server, system="You look away.", body='{"top_p": 0.5}').revision


def decisions(blind: bool = False, **changes: Any) -> Callable[[Asked], Reply]:
    """A server with the decision endpoint."""

    def answer(asked: Asked) -> Reply:
        if not asked.path.endswith("/systemone"):
            return look(asked)
        colour = "red" if blind else seen(asked)[0]
        assert len(asked.body["questions"]) <= 64
        answers: dict[str, Any] = {}
        for name, question in asked.body["questions"].items():
            assert set(question) == {"type", "instructions", "criteria"}
            if question["type"] == "noul":
                yes = P_RIGHT if colour in question["instructions"] else 1 - P_RIGHT
                answers[name] = {"type": "noul", "noul": yes, "probabilities": {"yes": yes, "no": 1 - yes}}
            else:
                answers[name] = {
                    "type": "choice",
                    "probabilities": {option: 0.9 if option == colour else 0.05 for option in question["criteria"]},
                }
            answers[name] |= changes.get(question["instructions"], {})
        dropped = changes.get("dropped", ())
        return Reply(
            {
                "model": "vlm-2026-01-01",
                "answers": {name: value for name, value in answers.items() if asked.body["questions"][name]["instructions"] not in dropped},
                "diagnostics": {name: {"label_mass": 0.95, "argmax_is_label": True} for name in answers},
                "usage": {"input_tokens": 300, "output_tokens": len(answers)},
            }
        )

    return answer


def test_the_decision_endpoint_answers_all_questions_of_a_picture_at_once() -> None:
    with serving(decisions()) as server:
        one = judge(server)
        right(one.answer(media("red"), ALL))
        assert one.template == "systemone-1"
        assert server.paths().count("/v1/systemone") == 3  # two to learn that it looks, one for all
        assert server.paths().count("/v1/chat/completions") == 2  # one to learn the model, one open question
        many = [is_it("red"), *(Question(f"q{n}", "attribute", "yes_no", f"Is this picture blue, {n}?", "no") for n in range(99))]
        answers = one.answer(media("red"), many)
        assert len(answers) == 100
        assert [answer.p_yes for answer in answers] == pytest.approx([P_RIGHT] + [1 - P_RIGHT] * 99)
        assert server.paths().count("/v1/systemone") == 5


def test_a_decision_endpoint_that_does_not_look_at_pictures_is_not_used() -> None:
    with serving(decisions(blind=True)) as server:
        one = judge(server)
        right(one.answer(media("red"), ALL))
        assert one.template == "plain-1"
        with pytest.raises(JudgeError, match="does not look at pictures"):
            judge(server, endpoint="systemone").answer(media("red"), ALL)


@pytest.mark.parametrize("bad", [{"noul": math.nan}, {"noul": 1.7}, {"noul": None}, {"noul": "high"}, {"noul": -0.2}])
def test_decisions_that_are_none_are_asked_again_by_chat(bad: dict[str, Any]) -> None:
    with serving(decisions(**{"Is this picture blue?": bad, "dropped": ("Is this picture green?",)})) as server:
        right(judge(server).answer(media("red"), ALL))
        assert server.paths().count("/v1/chat/completions") == 4


def test_chosen_probabilities_must_be_of_the_choices_and_sum_to_one() -> None:
    for wrong in ({"red": 0.9, "green": 0.9, "blue": 0.9}, {"red": 1.0}, {"red": 0.5, "green": 0.3, "yellow": 0.2}):
        with serving(decisions(**{WHICH.text: {"probabilities": wrong}})) as server:
            right(judge(server).answer(media("red"), ALL))


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("", {}, "which model"),
        ("m", {"body": "["}, "no JSON"),
        ("m", {"body": '{"model": "x"}'}, "without"),
        ("m", {"frames": 0}, "at least 1"),
    ],
)
def test_options_that_do_not_fit_are_refused(name: str, options: dict[str, Any], said: str) -> None:
    with pytest.raises(SpecError, match=said):
        OpenAIJudge(name, base_url="http://localhost:1/v1", **options)


def test_the_own_server_of_openai_wants_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    with pytest.raises(JudgeError, match="OPENAI_API_KEY is not set"):
        OpenAIJudge("gpt-4o")
