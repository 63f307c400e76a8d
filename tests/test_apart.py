"""Processes of their own: what they are given of the machine, what they answer, and how they end."""

from __future__ import annotations

import subprocess
import sys
import threading
import time

import pytest

from mbjax import apart
from mbjax.ops import threads

SERVES = """
import os, sys, time
from mbjax import apart
from mbjax.ops import threads

def answer(asked, ask):
    print("a line for the log")
    if asked["do"] == "die":
        sys.exit("the last line")
    if asked["do"] == "wait":
        open(asked["file"], "w").close()
        time.sleep(600)
    told = ask({"twice": asked["x"]}) if asked["do"] == "ask" else {}
    return {"pid": os.getpid(), "x": told.get("x", asked.get("x"))}

sys.exit(apart.serve(answer))
"""


def test_threads_are_divided_and_what_the_user_set_stays(monkeypatch):
    monkeypatch.setattr(threads, "cores", lambda: 7)
    assert apart.share(0, 1, environment={}) == {}
    found = apart.share(2, 3, environment={"OMP_NUM_THREADS": "5"})
    assert found["PJRT_NPROC"] == found["POLARS_MAX_THREADS"] == "2"
    assert "OMP_NUM_THREADS" not in found and apart.POOL not in found
    assert apart.share(0, 20, environment={})["NPROC"] == "1"


def test_gpus_are_dealt_in_turns_with_a_part_of_their_memory():
    assert [apart.share(place, 3, 2, {})[apart.VISIBLE] for place in range(3)] == ["0", "1", "0"]
    assert apart.share(0, 3, 2, {})[apart.POOL] == "0.450"
    assert apart.share(1, 2, 2, {apart.VISIBLE: "4,6"})[apart.VISIBLE] == "6"
    alone = apart.share(1, 2, 1, {})
    assert alone[apart.POOL] == "0.450" and apart.VISIBLE not in alone


def test_virtual_devices_stand_behind_other_flags():
    flags = apart.virtual(3, {"XLA_FLAGS": "--a=1"})["XLA_FLAGS"]
    assert flags == "--a=1 --xla_force_host_platform_device_count=3"


def test_a_worker_stays_asks_and_answers(tmp_path):
    log = tmp_path / "log"
    with apart.Worker([sys.executable, "-c", SERVES], log, {"NPROC": "1"}) as worker:
        first = worker.ask({"do": "say", "x": 1})
        second = worker.ask({"do": "ask", "x": 3}, lambda words: {"x": 2 * words["twice"]})
        assert first["x"] == 1 and second == {"pid": first["pid"], "x": 6}
        with pytest.raises(apart.GoneError, match="the process ended by exit code 1: the last line"):
            worker.ask({"do": "die"})
        with pytest.raises(apart.GoneError):
            worker.ask({"do": "say"})
    assert log.read_text().count("a line for the log") == 3


PARENT = """
import pathlib, sys
from mbjax import apart
from mbjax.ops import threads
worker = apart.Worker([sys.executable, "-c", sys.argv[1]], pathlib.Path(sys.argv[2])).__enter__()
print(worker.ask({"do": "say"})["pid"], flush=True)
worker.ask({"do": "wait", "file": sys.argv[3]})
"""


def test_a_worker_at_work_ends_when_its_parent_is_gone(tmp_path):
    file = tmp_path / "at work"
    words = [sys.executable, "-c", PARENT, SERVES, str(tmp_path / "log"), str(file)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as parent:
        pid = int(parent.stdout.readline())
        _until(file.exists)
        parent.kill()  # it can tell nobody
    _until(lambda: not _is_there(pid))


def test_a_worker_that_asks_when_its_parent_is_gone_goes_on_to_where_it_can_end():
    words = [sys.executable, "-c", SERVES]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as worker:
        worker.stdout.close()
        worker.stdin.write(b'{"do": "ask", "x": 1}\n')
        worker.stdin.flush()
        assert worker.wait(60) == 0 and worker.stderr.read() == b"a line for the log\n"


def test_a_worker_at_work_ends_when_it_is_told(tmp_path):
    file = tmp_path / "at work"
    with apart.Worker([sys.executable, "-c", SERVES], tmp_path / "log") as worker:
        telling = threading.Thread(target=lambda: (_until(file.exists), worker.interrupt()))
        telling.start()
        with pytest.raises(apart.GoneError, match="SIGTERM"):
            worker.ask({"do": "wait", "file": str(file)})
        telling.join()


def _until(is_so):
    limit = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < limit
        time.sleep(0.05)


def _is_there(pid: int) -> bool:
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout
    return bool(state.strip()) and not state.startswith("Z")
