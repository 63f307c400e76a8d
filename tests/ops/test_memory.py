"""What is left, from the files of a system that is made up."""

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
