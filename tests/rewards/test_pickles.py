from __future__ import annotations

import io
import os
import pickle
import struct
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

if str(Path(__file__).parents[1]) not in sys.path:
    sys.path.append(str(Path(__file__).parents[1]))

from anyscene.rewards.pickles import pickled_items, read_pickle, write_pickle
from anyscene.rewards.wire import Refusal
from reward_servers import PixelReward, ask, picture, record, right_value

VALUES = 100_000


class Shell:
    """Unpickled in the usual way, it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


def refused(data: bytes) -> str:
    with pytest.raises(Refusal) as refusal:
        read_pickle(data, VALUES)
    assert (refusal.value.status, refusal.value.code) in ((400, "bad_pickle"), (413, "too_many_values"))
    return str(refusal.value)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_plain_values_are_read_in_every_protocol(protocol: int) -> None:
    value = {"images": [b"\xff\xd8 jpeg", b""], "prompts": ["a", "b"], "metadata": {}, "n": (1, -(2**70), 0.5, None, True)}
    assert read_pickle(pickle.dumps(value, protocol), VALUES) == value


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_arrays_of_texts_are_lists_as_flow_grpo_cuts_its_prompts(protocol: int) -> None:
    parts = np.array_split(["a dog", "zwei Hünde", ""], 1)
    for prompts in (parts[0], parts[0].astype(object), parts[0].astype(">U12"), list(parts[0])):
        assert read_pickle(pickle.dumps({"prompts": prompts}, protocol), VALUES) == {"prompts": ["a dog", "zwei Hünde", ""]}


def test_a_pickle_that_would_run_something_is_refused_and_runs_nothing(tmp_path: Path) -> None:
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        assert "mkdir" in refused(pickle.dumps({"images": [Shell(tmp_path / "made")]}, protocol))
    assert list(tmp_path.iterdir()) == []
    assert "builtins.eval" in refused(b"cbuiltins\neval\n(S'1'\ntR.")


def test_tricks_with_memory_and_with_what_is_known_are_refused() -> None:
    assert "memo" in refused(b"\x80\x02}r\xff\xff\xff\x7f.")  # a memo of two thousand million places
    assert refused(b"\x80\x04\x8e" + struct.pack("<Q", 2**40) + b"x.")  # a terabyte that is not there
    tower = io.BytesIO()
    tower.write(b"\x80\x04)\x94")
    for level in range(64):  # each tuple holds the one before it twice
        tower.write(bytes([ord("h"), level, ord("h"), level]) + b"\x86\x94")
    assert "tuples" in refused(tower.getvalue() + b".")
    assert "it changes what is not its own" in refused(b"\x80\x02cnumpy.core.multiarray\n_reconstruct\n}X\x07\x00\x00\x00__doc__K\x01sb.")
    assert "DUP" in refused(b"\x80\x02]2\x86.")
    assert "values" in refused(b"\x80\x02](" + b"N" * (VALUES + 1) + b"e.")


@pytest.mark.parametrize("data", [b"", b".", b"\x80\x02", b"hello", b"\x80\x02].", b"\x80\x02}", b"\x80\x02K\x01.", pickle.dumps([1])])
def test_damaged_pickles_and_other_things_are_refused(data: bytes) -> None:
    refused(data)


def test_the_shapes_of_requests() -> None:
    assert pickled_items({"images": [b"a"], "prompts": ["x"], "metadata": {}}) == ([b"a"], ["x"], [])
    assert pickled_items({"images": [b"a"], "meta_datas": [{"id": "1"}], "only_strict": True}) == ([b"a"], [], [{"id": "1"}])
    assert pickled_items({"images": [b"a"], "metadata": {"records": [{"id": "1"}]}})[2] == [{"id": "1"}]
    for wrong in ({}, {"images": ["text"]}, {"images": [b"a"], "prompts": 5}, {"images": [b"a"], "metadata": 5}):
        with pytest.raises(Refusal):
            pickled_items(wrong)


def test_a_server_takes_pickles_only_if_it_is_told_to_and_looks_their_records_up() -> None:
    pytest.importorskip("fastapi")
    pytest.importorskip("uvicorn")
    from anyscene.rewards.server import RewardServer, ServerConfig

    scenes = [record(0), record(1), {**record(2), "caption": "scene 1"}]
    files = [picture(0).data, picture(1).data]

    def send(**fields: Any) -> tuple[int, Any]:
        reply = ask(server.url, pickle.dumps({"images": files, **fields}), "/", Content_Type="application/octet-stream")
        return reply.status, pickle.loads(reply.body)

    with RewardServer(PixelReward(), ServerConfig(port=0, pickles=True), scenes=scenes) as server:
        expected = [right_value(0), right_value(1)]
        status, reply = send(prompts=np.array(["a", "b"]), metadata=[{"record": record(0)}, record(1)])
        assert (status, reply) == (200, {"scores": expected, "outputs": expected})
        assert send(prompts=["a", "b"], meta_datas=[{"id": "r0"}, {"id": "r1"}]) == (200, {"scores": expected, "outputs": expected})
        assert send(prompts=["scene 0", "scene 0"])[0] == 200
        status, reply = send(prompts=["scene 0", "scene 1"], metadata={})  # two scenes have this caption
        assert (status, reply["code"]) == (400, "no_record")
        assert send(prompts=["scene 0"])[1]["code"] == "bad_request"
        assert send(prompts=["scene 0", "scene 0"], metadata=[{}])[1]["code"] == "bad_request"
        assert send()[1]["code"] == "bad_request"
        assert ask(server.url, b"nonsense", "/pickle").status == 400


def test_replies_are_read_by_any_python() -> None:
    assert pickle.loads(write_pickle({"scores": [0.5, None]})) == {"scores": [0.5, None]}
