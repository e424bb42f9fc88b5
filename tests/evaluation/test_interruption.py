"""`anyscene eval` killed with SIGKILL at random moments ends with the files of a run that nobody disturbed."""

import hashlib
import os
import random
import signal
import subprocess
import sys
import time

import pytest

pytestmark = pytest.mark.slow
KILLS = 20


def contents(folder):
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.rglob("*")) if path.is_file()
    }


def command(*words):
    return [sys.executable, "-m", "anyscene.cli.main", *words]


def test_a_run_killed_twenty_times_equals_an_unbroken_one(tmp_path):
    spec = ["generate", "-n", "180", "--taxonomy", "sandbox", "--complexity", "2-6", "--scene-attributes", "0-1", "--counts", "-q"]
    subprocess.run(command(*spec, "--out", "scenes"), cwd=tmp_path, check=True)
    # Without the doctor, who writes nothing and takes half of the time: kills fall where files are written.
    who = ("--model", "sandbox:flawed", "-m", "fail=0.05", "--judge", "sandbox:pixels", "--no-doctor")
    evaluate = command("eval", "scenes", *who, "--samples", "2", "-q")
    began = time.monotonic()
    subprocess.run([*evaluate, "--out", "whole"], cwd=tmp_path, check=True)
    whole_s = time.monotonic() - began
    rng = random.Random(0)
    killed, folder, folders = 0, 0, []
    for _ in range(10 * KILLS):
        if killed == KILLS:
            break
        name = f"broken-{folder}"
        fresh, began = not (tmp_path / name).exists(), time.monotonic()
        process = subprocess.Popen([*evaluate, "--out", name], cwd=tmp_path, stderr=subprocess.PIPE)
        try:
            process.wait(rng.uniform(0.3, 0.9) * whole_s)
        except subprocess.TimeoutExpired:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
            killed += 1
            process.stderr.close()
        else:
            error = process.stderr.read().decode()
            process.stderr.close()
            assert process.returncode == 0, error
            folders.append(name)
            folder += 1
            if fresh:  # the machine has become faster: without this, hardly a run would be caught alive
                whole_s = min(whole_s, time.monotonic() - began)
    assert killed == KILLS
    subprocess.run([*evaluate, "--out", f"broken-{folder}"], cwd=tmp_path, check=True)
    folders.append(f"broken-{folder}")
    whole = contents(tmp_path / "whole")
    assert "report.html" in whole and len(whole) > 300
    for name in folders:
        assert contents(tmp_path / name) == whole
