"""Arguments at random: whatever is asked, the answer is a result or one line."""

from __future__ import annotations

import tempfile
from pathlib import Path

from command_line import run_here, write_taxonomy
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

OPTIONS = """--complexity --scene-attributes --modality --realism --familiar --only --without --containing --objects --attributes --relations
--counts --order --spec --taxonomy --seed --style --forms --foils --format --shards --start --overwrite --questions --no-questions --quiet -q
--json --at --find --index --count --by --test --key --limit --help --version -h -n --""".split()
VALUES = [
    "0",
    "1",
    "2",
    "-1",
    "1-2",
    "nan",
    "1e9",
    "",
    "x",
    "animal",
    "dog",
    "plain",
    "yes_no",
    "jsonl",
    "uniform",
    "pair",
    ".",
    "/dev/null",
    "\0",
    "é",
    "\ud800",
]
COMMANDS = [["generate", "-n", "3", "--out", "@out"], ["show", "@out"], ["space"], ["describe", "@graph"], ["split", "--out", "@split"], ["taxonomy", "check"], ["taxonomy", "stats"], ["taxonomy", "search"], []]  # fmt: skip
WORD = st.one_of(st.sampled_from(OPTIONS), st.sampled_from(VALUES), st.text(max_size=5))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(start=st.sampled_from(COMMANDS), words=st.lists(WORD, max_size=6))
@example(start=["space"], words=["--at", "0", "--json"])
def test_any_arguments(start: list[str], words: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        places = {f"@{name}": str(Path(folder, name)) for name in ("out", "graph", "split")}
        small = (
            ["--taxonomy", str(write_taxonomy(Path(folder, "words"))), "--complexity", "1-2"]
            if start and start[0] in ("generate", "space", "split")
            else []
        )
        found = run_here(*(places.get(word, word) for word in [*start, *small]), *words)
    assert found.code in (0, 1, 2, 130), found
    assert "Traceback" not in found.err
    assert "internal error" not in found.err
    if found.code and "Usage:" not in found.err and not found.out:
        assert found.one_line, found
