"""What is left, from the files of a system that is made up."""

import weakref

import jax

from mbjax.ops import memory


def test_the_tightest_limit_counts(monkeypatch):
    files = {"meminfo": "MemTotal: 100 kB\nMemAvailable:  50 kB\n"}
    monkeypatch.setattr(memory, "_text", lambda *parts: files.get(parts[-1], ""))
    assert memory.available() == 50 * 1024
    files["memory.max"], files["memory.current"] = "max\n", "7\n"
    assert memory.available() == 50 * 1024
    files["memory.max"] = "40960\n"
    assert memory.available() == 40960 - 7
    files["memory.current"] = "50000\n"
    # What was read from files goes when memory is asked for.
    files["memory.stat"] = "anon 7\nfile 30000\ninactive_file 20000\n"
    assert memory.available() == 40960 - 30000
    del files["memory.stat"]
    assert memory.available() == 0
    files.clear()
    assert memory.available() is None


def test_an_accelerator_tells_itself(monkeypatch):
    class Device:
        platform = "gpu"

        def memory_stats(self):
            return {"bytes_limit": 100, "bytes_in_use": 30}

    monkeypatch.setattr(jax, "local_devices", lambda: [Device()])
    assert memory.available() == 70


def test_what_refers_to_itself_is_released(monkeypatch):
    class Knot:
        pass

    trimmed = []
    for trim in (trimmed.append, None):
        monkeypatch.setattr(memory, "_trim", lambda trim=trim: trim)
        knot = Knot()
        knot.me, seen = knot, weakref.ref(knot)
        del knot
        assert seen() is not None
        memory.release()
        assert seen() is None
    assert trimmed == [0]


def test_a_system_without_trimming_is_no_error(monkeypatch):
    memory._trim.cache_clear()
    monkeypatch.setattr(memory.ctypes, "CDLL", lambda name: object())
    assert memory._trim() is None
    memory._trim.cache_clear()
