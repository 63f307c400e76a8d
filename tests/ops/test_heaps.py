"""Few heaps, where the C library has them and nobody has said otherwise."""

import subprocess
import sys

import pytest

from mbjax.ops import heaps, threads

PROGRAM = """
import ctypes, threading, xml.etree.ElementTree as tree, tempfile
from mbjax.ops import heaps
assert heaps.limit() is {done}
kept, begun = [], threading.Barrier(12)

def take():
    kept.append(bytearray(100_000))
    begun.wait()  # all are alive at once

each = [threading.Thread(target=take) for _ in range(12)]
for one in each: one.start()
for one in each: one.join()
libc = ctypes.CDLL(None)
with tempfile.NamedTemporaryFile() as file:
    libc.fopen.restype, libc.malloc_info.argtypes = ctypes.c_void_p, (ctypes.c_int, ctypes.c_void_p)
    libc.fclose.argtypes = (ctypes.c_void_p,)
    stream = libc.fopen(file.name.encode(), b"w")
    assert libc.malloc_info(0, stream) == 0 and libc.fclose(stream) == 0
    print(len(tree.parse(file.name).findall("heap")))
"""


def number_of_heaps(environment: dict[str, str], done: bool) -> int:
    program = [sys.executable, "-c", PROGRAM.format(done=done)]
    return int(subprocess.run(program, env=environment, check=True, capture_output=True, text=True).stdout)


def has_mallopt() -> bool:
    return hasattr(heaps.ctypes.CDLL(None), "mallopt")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="heaps of other systems are not asked")
def test_threads_share_heaps(monkeypatch):
    if not has_mallopt():
        pytest.skip("this C library has no heaps to limit")
    for name in ("MALLOC_ARENA_MAX", "GLIBC_TUNABLES"):
        monkeypatch.delenv(name, raising=False)
    environment = {**heaps.os.environ, "NPROC": "2"}
    assert number_of_heaps(environment, True) <= 4
    # What the user has said stays.
    assert 4 < number_of_heaps(environment | {"MALLOC_ARENA_MAX": "7"}, False) <= 7


def test_another_c_library_is_no_error(monkeypatch):
    for name in ("MALLOC_ARENA_MAX", "GLIBC_TUNABLES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(heaps.ctypes, "CDLL", lambda name: object())
    assert heaps.limit() is False


def test_there_are_two_for_each_thread(monkeypatch):
    for name in ("MALLOC_ARENA_MAX", "GLIBC_TUNABLES"):
        monkeypatch.delenv(name, raising=False)
    asked = []

    class Library:
        def mallopt(self, what, number):
            asked.append((what, number))
            return 1

    monkeypatch.setattr(heaps.ctypes, "CDLL", lambda name: Library())
    monkeypatch.setattr(threads, "number", lambda: 3)
    assert heaps.limit() and asked == [(heaps.ARENA_MAX, 6)]
