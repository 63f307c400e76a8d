"""The benchmark of several devices: what it counts, and its table."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

FOLDER = Path(__file__).resolve().parent.parent / "benchmarks"


@pytest.fixture
def devices():
    spec = importlib.util.spec_from_file_location("benchmarks_devices", FOLDER / "devices.py")
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


def test_bytes_are_those_of_the_fullest_device(devices):
    first, second = jax.devices()[:2]
    mesh = Mesh(np.asarray([first, second]), ("devices",))

    def put(shape, *axes):
        return jax.device_put(jnp.zeros(shape), NamedSharding(mesh, PartitionSpec(*axes)))

    whole, half, own = put((6, 2)), put((8, 3), "devices"), jax.device_put(jnp.zeros(5), second)
    assert devices.held([whole, half]) == 4 * (12 + 12)
    assert devices.held([whole, half, own, jax.random.key(0)]) == 4 * (12 + 12 + 5)
    assert devices.held([own, own]) == 4 * 5  # the same buffer
    assert devices.held([]) == 0


def test_a_step_sends_what_its_log_says(devices):
    log = (
        "host-to-device transfer: aval=ShapedArray(float32[1000])\n"
        f"{devices.BEGIN}\n"
        "host-to-device transfer: aval=ShapedArray(int32[2,3]), more\n"
        "device-to-device transfer: aval=ShapedArray(float32[10])\n"
        "host-to-device transfer: aval=ShapedArray(int32)\n"
        f"{devices.END}\n"
        "host-to-device transfer: aval=ShapedArray(float32[1000])\n"
    )
    assert devices.sent(log, 4) == 4 * 4 * 6 + 3 * 4 * 10 + 4 * 4


def test_a_table_compares_with_one_device_and_says_what_is_refused(devices):
    row = {"model": "x", "dataset": "y", "shard": "none", "devices": 1, "bytes_per_chunk": 0, "bytes_held": 2_500_000}
    row |= {"cpu_seconds_step": 0.5, "cpu_seconds_test_pass": 2.0}
    more = row | {"devices": 4, "cpu_seconds_test_pass": 2.5, "shard": "tables", "bytes_per_chunk": 1234}
    lost = {"model": "z", "dataset": "y", "shard": "tables", "devices": 2, devices.REFUSED: "why"}
    lines = devices.table({"rows": [row, more, lost]}).splitlines()[2:]
    assert [[cell.strip() for cell in line.strip("|").split("|")] for line in lines] == [
        ["`x`, y", "1", "0", "2.5", "0.500", "2.000", "1.00"],
        ["`x`, y, divided", "4", "1,234", "2.5", "0.500", "2.500", "1.25"],
        ["`z`, y, divided", "", "refused", "", "", "", ""],
    ]


def test_the_table_of_the_page_is_that_of_the_file(devices):
    found = json.loads((FOLDER / "results" / "devices-cpu.json").read_text(encoding="utf-8"))
    assert devices.table(found) in (FOLDER / "README.md").read_text(encoding="utf-8")
