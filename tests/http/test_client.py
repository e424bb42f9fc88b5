from __future__ import annotations

import builtins
import email.utils
import itertools
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

if str(Path(__file__).parents[1]) not in sys.path:
    sys.path.append(str(Path(__file__).parents[1]))

from anyscene.errors import JudgeError, MissingExtraError, ModelError, SpecError
from anyscene.http import ApiClient, HttpFailure, Malformed, run_together
from servers import Reply, Server, error_reply, in_turn, serving

KEY = "sk-secret-of-the-test"


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("httpx")
    monkeypatch.setenv("OPENAI_API_KEY", KEY)


def client(server: Server, **options: Any) -> ApiClient:
    return ApiClient(server.url, error=ModelError, **{"backoff_s": 0.001, "timeout_s": 5.0, **options})


def value_of(reply: Any) -> int:
    if not isinstance(reply, dict) or not isinstance(reply.get("value"), int):
        raise Malformed("no value in it")
    return int(reply["value"])


GOOD = Reply({"value": 7})


@pytest.mark.parametrize(
    "bad",
    [
        *(error_reply(status, "busy") for status in (408, 409, 425, 429, 500, 502, 503, 529)),
        Reply(b'{"value": '),
        Reply(b"<html>Bad Gateway</html>"),
        Reply(b""),
        Reply({"value": "seven"}),
        Reply({"value": 7}, cut_after=4),
        Reply(b"[" * 100_000),
        Reply({"error": {"code": 502, "message": "the provider is down"}}),
    ],
    ids=lambda reply: f"{reply.status} {reply.data[:20]!r}",
)
def test_what_may_pass_is_asked_again(bad: Reply) -> None:
    with serving(in_turn(bad, bad, GOOD)) as server:
        assert client(server).post("/ask", {"n": 1}, value_of) == 7
        assert len(server.asked) == 3
        assert all(asked.body == {"n": 1} and asked.headers["Authorization"] == f"Bearer {KEY}" for asked in server.asked)


def test_it_gives_up_after_the_retries_and_says_why() -> None:
    with serving(in_turn(error_reply(503, "the queue is full"))) as server:
        result = client(server, retries=3).post("/ask", {}, value_of)
        assert isinstance(result, HttpFailure)
        assert (result.status, len(server.asked)) == (503, 4)
        assert "the queue is full" in result.reason
        assert "4 attempts" in result.reason


@pytest.mark.parametrize("header", ["seconds", "milliseconds"])
def test_it_waits_as_long_as_the_server_asks(header: str) -> None:
    wait = {"retry_after": "0.3"} if header == "seconds" else {"retry_after_ms": "300"}
    with serving(in_turn(error_reply(429, "slow down", **wait), GOOD)) as server:
        assert client(server).post("/ask", {}, value_of) == 7
        assert server.asked[1].time_s - server.asked[0].time_s >= 0.3


def test_a_date_may_say_how_long_to_wait() -> None:
    with serving(lambda asked: error_reply(429, "slow down", retry_after=email.utils.formatdate(time.time() + 3600))) as server:
        result = client(server, deadline_s=30.0).post("/ask", {}, value_of)
        assert isinstance(result, HttpFailure)
        assert "given up: 30 s are allowed" in result.reason
        assert len(server.asked) == 1


def test_a_wait_beyond_the_deadline_is_not_begun() -> None:
    with serving(in_turn(error_reply(429, "come back tomorrow", retry_after="86400"))) as server:
        began = time.monotonic()
        result = client(server, deadline_s=5.0).post("/ask", {}, value_of)
        assert isinstance(result, HttpFailure)
        assert time.monotonic() - began < 3
        assert "5 s are allowed" in result.reason


@pytest.mark.parametrize("slow", [Reply({"value": 7}, delay_s=0.6), Reply({"value": 7}, drip_s=0.1)], ids=["silent", "dripping"])
def test_a_reply_that_takes_too_long_is_cut_off(slow: Reply) -> None:
    with serving(in_turn(slow, GOOD)) as server:
        assert client(server, timeout_s=0.25).post("/ask", {}, value_of) == 7
        assert len(server.asked) == 2


def test_no_server_is_a_failure_and_no_crash() -> None:
    with Server(in_turn(GOOD)) as gone:
        pass
    result = client(gone, retries=1).post("/ask", {}, value_of)
    assert isinstance(result, HttpFailure)
    assert "no connection" in result.reason


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (error_reply(401, "Incorrect API key provided"), "OPENAI_API_KEY is not accepted"),
        (error_reply(403, "country not supported"), "country not supported"),
        (error_reply(404, "The model does not exist", "model_not_found"), "no such model"),
        (error_reply(400, "The model `x` does not exist", "model_not_found"), "no such model"),
        (error_reply(429, "You exceeded your current quota", "insufficient_quota"), "no credit left"),
        (error_reply(402, "Payment required"), "no credit left"),
    ],
)
def test_what_no_request_can_survive_stops_the_run_in_one_line(reply: Reply, said: str) -> None:
    with serving(in_turn(reply)) as server:
        with pytest.raises(ModelError, match=said) as stop:
            client(server).post("/ask", {}, value_of)
        assert len(server.asked) == 1
        assert "\n" not in str(stop.value)


def test_the_error_is_of_the_kind_asked_for() -> None:
    with serving(in_turn(error_reply(401, "no"))) as server, pytest.raises(JudgeError):
        ApiClient(server.url, error=JudgeError).post("/ask", {}, value_of)


def test_a_bad_request_fails_alone_and_at_once() -> None:
    with serving(in_turn(error_reply(400, "the prompt is too long"))) as server:
        result = client(server).post("/ask", {}, value_of)
        assert isinstance(result, HttpFailure)
        assert (result.status, result.refused, len(server.asked)) == (400, False, 1)


@pytest.mark.parametrize("code", ["content_policy_violation", "moderation_blocked", "content_filter"])
def test_a_refusal_is_told_apart(code: str) -> None:
    with serving(in_turn(error_reply(400, "Your request was rejected", code))) as server:
        result = client(server).post("/ask", {}, value_of)
        assert isinstance(result, HttpFailure)
        assert result.refused
        assert len(server.asked) == 1


@pytest.mark.parametrize("status", [404, 405, 501, 403])
def test_a_path_that_need_not_be_there_is_no_error(status: int) -> None:
    with serving(in_turn(error_reply(status, "Not Found"))) as server:
        result = client(server).post("/systemone", {}, value_of, optional=True)
        assert isinstance(result, HttpFailure)
        assert result.status == status


def test_the_key_is_in_no_message_and_no_name() -> None:
    with serving(in_turn(error_reply(500, f"the key {KEY} broke the server"))) as server:
        one = client(server, retries=0)
        result = one.post("/ask", {}, value_of)
        assert isinstance(result, HttpFailure)
        assert KEY not in repr(result) + repr(one) + str(one)
        assert "[key]" in result.reason
    with serving(in_turn(error_reply(401, f"Incorrect API key provided: {KEY}"))) as server:
        with pytest.raises(ModelError) as stop:
            client(server).post("/ask", {}, value_of)
        assert KEY not in str(stop.value)


def test_the_key_goes_to_no_other_server() -> None:
    with serving(in_turn(Reply(b"picture"))) as elsewhere, serving(in_turn(Reply(b"picture"))) as server:
        one = client(server)
        assert one.fetch(elsewhere.url + "/a.png", bytes) == b"picture"
        assert one.fetch("/files/a.png", bytes) == b"picture"
        assert "Authorization" not in elsewhere.asked[0].headers
        assert server.asked[0].path == "/files/a.png"
        assert server.asked[0].headers["Authorization"] == f"Bearer {KEY}"


def test_only_web_addresses_are_fetched() -> None:
    with serving(in_turn(GOOD)) as server:
        assert isinstance(client(server).fetch("file:///etc/hosts", bytes), HttpFailure)
        assert server.asked == []


def test_without_a_key_none_is_sent_and_one_that_is_needed_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    with serving(in_turn(GOOD)) as server:
        assert client(server).post("/ask", {}, value_of) == 7
        assert "Authorization" not in server.asked[0].headers
        with pytest.raises(ModelError, match="OTHER_KEY is not set"):
            client(server, key_env="OTHER_KEY", key_required=True)


@pytest.mark.parametrize("address", ["localhost:8000", "ftp://x/v1", "http://user:pass@host/v1", "http://host/v1?key=1", ""])
def test_addresses_that_cannot_be_used_are_refused(address: str) -> None:
    with pytest.raises(SpecError) as wrong:
        ApiClient(address, error=ModelError)
    assert "pass@" not in str(wrong.value)


def test_pauses_grow_and_differ_between_requests() -> None:
    with serving(in_turn(error_reply(500, "no"))) as server:
        one = client(server, retries=4, backoff_s=0.04)
        one.post("/ask", {"n": 1}, value_of)
        times = [asked.time_s for asked in server.asked]
        pauses = [after - before for before, after in itertools.pairwise(times)]
        for place, pause in enumerate(pauses):
            assert pause >= 0.5 * 0.04 * 2**place
        assert pauses[3] > pauses[0]


def test_closing_ends_every_pause() -> None:
    with serving(in_turn(error_reply(500, "no", retry_after="30"))) as server:
        one = client(server, deadline_s=100.0)
        threading.Timer(0.2, one.close).start()
        began = time.monotonic()
        result = one.post("/ask", {}, value_of)
        assert time.monotonic() - began < 5
        assert isinstance(result, HttpFailure)
        assert "stopped" in result.reason


def test_a_cost_is_reserved_before_and_given_back_when_nothing_was_done() -> None:
    class Purse:
        left = 3

        def reserve(self) -> bool:
            self.left -= 1
            return self.left >= 0

        def refund(self) -> None:
            self.left += 1

    purse = Purse()
    with serving(in_turn(error_reply(500, "no"), error_reply(429, "no"), Reply(b"garbled"), GOOD)) as server:
        assert client(server).post("/ask", {}, value_of, charge=purse) == 7
        assert purse.left == 1  # the garbled reply may have been charged, the errors were not
        assert client(server).post("/ask", {}, value_of, charge=purse) == 7
        result = client(server).post("/ask", {}, value_of, charge=purse)
        assert isinstance(result, HttpFailure)
        assert result.budget
        assert len(server.asked) == 5


def test_results_keep_their_order_and_the_first_error_is_raised() -> None:
    def call(number: int) -> int:
        time.sleep(0.02 * abs(5 - number))
        if number == 9:
            raise ModelError("nine")
        return number

    with ThreadPoolExecutor(5) as pool:
        assert run_together(pool, call, range(5)) == [0, 1, 2, 3, 4]
    with ThreadPoolExecutor(1) as pool, pytest.raises(ModelError, match="nine"):
        run_together(pool, call, [4, 9, 3])


def test_a_missing_library_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def no_httpx(name: str, *rest: Any) -> Any:
        if name == "httpx":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", no_httpx)
    with pytest.raises(MissingExtraError, match=r"anyscene\[http\]"):
        ApiClient("http://localhost/v1", error=ModelError)
