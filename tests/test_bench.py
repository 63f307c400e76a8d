"""Benchmarks: medians of a known clock, floors worked by hand, and every command on tiny data."""

from __future__ import annotations

import importlib.util
import json
import types as modules
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse
import toy
import trial

from mbjax import machine, models, parallel, types
from mbjax.bench import __main__ as command
from mbjax.bench import measure, printout, rates, record, script, timing, whole
from mbjax.cli import reading
from mbjax.experiment import footprint, wiring
from mbjax.ops import graph, ridge

ROOT = Path(__file__).resolve().parent.parent
TINY = ["--repeat=1", "--seconds=0.001", "--train.batch_size=8", "--train.chunk_steps=2"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The toy data of two behaviors: 23 users, 31 items."""
    return trial.write_data(tmp_path_factory.mktemp("data") / "toy")


@pytest.fixture(scope="module", autouse=True)
def frugal(tmp_path_factory):
    """What two tests compile is compiled once."""
    with trial.compiled_once(tmp_path_factory.mktemp("compiled") / "cache"):
        yield


@pytest.fixture(autouse=True)
def known_rates(monkeypatch):
    """A machine of round numbers: measuring this one takes seconds and tells nothing here."""
    monkeypatch.setattr(rates, "measure", lambda table: rates.Rates(flops=1e9, near=1e6, far=1e5))


def built(folder, model: str, *options: str) -> wiring.Experiment:
    return wiring.build(command.read(reading.read([model, str(folder), *options], "bench")))


def load(name: str) -> modules.ModuleType:
    spec = importlib.util.spec_from_file_location(f"benchmarks_{name}", ROOT / "benchmarks" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Clock:
    """Time passes only in calls, which take the given seconds one after another, the last for ever."""

    def __init__(self, monkeypatch, seconds):
        self.now, self.seconds, self.calls = 0.0, list(seconds), 0
        monkeypatch.setattr(timing.time, "perf_counter", lambda: self.now)

    def __call__(self):
        self.now += self.seconds[min(self.calls, len(self.seconds) - 1)]
        self.calls += 1


def test_the_first_call_is_in_no_statistic(monkeypatch):
    times = timing.repeated(Clock(monkeypatch, [10.0, 3.0, 1.0, 2.0, 7.0, 2.5]), repeat=5)
    assert times.rest == (3.0, 1.0, 2.0, 7.0, 2.5)
    assert (times.median, times.best, times.compile) == (2.5, 1.0, 7.5)


@pytest.mark.parametrize(
    ("repeat", "limit", "calls"),
    [(2, 100.0, 3), (9, 100.0, 10), (9, 8.0, 5), (9, 0.1, 4), (1, 0.1, 2)],
    ids=["repeats", "more repeats", "the limit ends it", "but not before three", "unless fewer are wanted"],
)
def test_number_of_calls(monkeypatch, repeat, limit, calls):
    clock = Clock(monkeypatch, [50.0, 2.0])
    timing.repeated(clock, repeat, limit)
    assert clock.calls == calls


def test_a_call_is_waited_for_and_a_faster_first_one_compiles_nothing(monkeypatch):
    waited = []
    monkeypatch.setattr(timing.jax, "block_until_ready", waited.append)
    times = timing.repeated(lambda: len(waited), repeat=2)
    assert waited == [0, 1, 2]
    assert timing.Times(1.0, (2.0, 3.0)).compile == 0.0 <= times.compile


def test_gradients_are_taken_of_the_first_argument_only():
    asked = []

    @jax.custom_vjp
    def product(x, y):
        return x * y

    def backward(y, cotangent):
        asked.append(cotangent.shape)
        return cotangent * y, None

    product.defvjp(lambda x, y: (product(x, y), y), backward)
    whole_numbers = jnp.arange(3)  # could not be differentiated
    seconds = timing.median_seconds_with_gradients(product, jnp.ones(3), whole_numbers, repeat=1)
    assert seconds > 0
    assert asked == [(3,)]


def test_state_is_handed_on():
    seen = []

    def step(state, amount):
        jax.debug.callback(lambda value: seen.append(float(value)), state)
        return state + amount

    timing.median_seconds_in_place(step, jnp.float32(1.0), jnp.float32(2.0), repeat=3)
    jax.effects_barrier()
    assert seen == [1.0, 3.0, 5.0, 7.0]


def test_rates_count_reads_and_writes(monkeypatch):
    monkeypatch.setattr(timing, "median_seconds_in_place", lambda *args, **options: 0.5)
    monkeypatch.setattr(timing, "median_seconds", lambda *args, **options: 0.25)
    assert rates.bandwidth(4000) == 16_000  # 1000 floats, 4 bytes read and 4 written, in half a second
    assert rates.matmul(10) == 8000


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1.8607, "1.86 s"),
        (123.4, "123 s"),
        (0.085, "85.0 ms"),
        (0.99951, "1.00 s"),
        (2.5e-5, "25.0 us"),
        (0, "0.00 us"),
    ],
)
def test_seconds_in_words(value, text):
    assert printout.seconds(value) == text


def test_a_busy_machine_is_remarked():
    assert record.remark({"load": 0.49}) is None
    assert record.remark({"load": None}) is None
    assert "2.5" in record.remark({"load": 2.5})


def test_heading_names_the_run_and_no_folder(folder):
    config = trial.config(Path("toy"), "popularity", "paper", data__dirs=str(folder.parent))
    found = record.heading("toy", config)
    assert found["run"].startswith("python train.py --model=popularity --dataset=toy --protocol=paper --")
    assert str(folder.parent) not in json.dumps(found)
    assert {"machine", "backend", "versions", "commit", "load"} <= found.keys()
    assert "run" not in record.heading("no run")


def test_a_record_is_replaced(tmp_path):
    for value in (1, 2):
        record.write({"value": value}, tmp_path / "new" / "x.json")
    assert json.loads((tmp_path / "new" / "x.json").read_text(encoding="utf-8")) == {"value": 2}
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["x.json"]


def test_peak_of_an_accelerator_is_the_largest(monkeypatch):
    class Device:
        def __init__(self, stats):
            self.memory_stats = lambda: stats

    devices = [Device({"peak_bytes_in_use": 5 * 2**20}), Device({"peak_bytes_in_use": 7 * 2**20}), Device(None)]
    monkeypatch.setattr(machine.jax, "local_devices", lambda: devices)
    assert machine.peak_device_memory_mib() == 7
    monkeypatch.setattr(machine.jax, "local_devices", lambda: devices[2:])
    assert machine.peak_device_memory_mib() is None


def test_products_of_all_graphs():
    matrix = scipy.sparse.csr_array(np.array([[1, 0, 2], [0, 0, 3]], np.float32))
    (found,) = measure.products({"a": graph.build(matrix)}, 5, repeat=1)
    assert (found.graph, found.rows, found.columns, found.nnz, found.width) == ("a", 2, 3, 3, 5)
    assert min(found.forward, found.forward_and_gradient) > 0


class Recorded:
    """An experiment whose chunks only note where they begin."""

    is_trained, placement = True, parallel.ONE

    def __init__(self, steps, chunk_steps):
        self.config = modules.SimpleNamespace(devices=1)
        self.steps, self.chunk_steps, self.seen = steps, chunk_steps, []

    def advance(self):
        def chunk(state, plan, first, length):
            self.seen.append((plan, first, length))
            return state + length, {}

        return wiring.loop.Advance(lambda state, epoch: f"epoch {epoch}", chunk, self.steps, self.chunk_steps)


def test_chunks_walk_through_epochs_and_end_with_the_last_step():
    experiment = Recorded(steps=7, chunk_steps=3)
    found, state = measure.training(experiment, 0, repeat=4)
    places = [("epoch 0", 0), ("epoch 0", 3), ("epoch 0", 4), ("epoch 1", 0), ("epoch 1", 3)]
    assert experiment.seen == [(*place, 3) for place in places]
    assert state == 15
    assert (found.steps_per_epoch, found.chunk_steps, found.chunks) == (7, 3, 4)
    assert found.epoch == pytest.approx(found.order + 7 * found.step)
    assert found.step_best <= found.step


def run(model, folder, out, *options):
    fields = {f"model.{name}" for name in models.entry(model).config.model_fields}
    small = [f"--{name}=4" for name in ("model.embedding_size",) if name in fields]
    return command.main([model, str(folder), *TINY, *small, "--json", str(out), *options])


@pytest.mark.parametrize(
    "model",
    [m if m in ("popularity", "multivae") else pytest.param(m, marks=pytest.mark.exhaustive) for m in models.MODELS],
)
def test_every_model(model, folder, tmp_path, capsys):
    assert run(model, folder, tmp_path / "x.json") == 0, capsys.readouterr().err
    found = json.loads((tmp_path / "x.json").read_text(encoding="utf-8"))
    assert found["benchmark"] == f"{model} on toy"
    assert (found["users"], found["items"]) == (23, 31)
    assert found["evaluation"]["full_pass"] > 0
    assert found["evaluation"]["behaviors"].keys() <= {"view", "buy"}
    experiment = built(folder, model)
    assert (found["training"] is not None) == experiment.is_trained
    text = capsys.readouterr().out
    if experiment.is_trained:
        training = found["training"]
        assert training["epoch"] == pytest.approx(
            training["order"] + training["steps_per_epoch"] * training["step"], rel=1e-6
        )
        assert training["chunk_steps"] <= 2 and found["parameters"] > 0
        assert "compile the training chunk" in text
    else:
        assert "compile the training chunk" not in text
    assert {row["graph"]: row["nnz"] for row in found["spmm"]} == {
        name: one.matrix.nse for name, one in experiment.graphs.items() if isinstance(one, types.Graph)
    }
    assert "test pass" in text and "peak memory" in text


def test_memory_is_told_and_nothing_trained(folder, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(measure, "training", lambda *given, **options: pytest.fail("trained"))
    out = tmp_path / "x.json"
    assert command.main(["lightgcn", str(folder), "--memory", "--embedding_size=4", "--json", str(out)]) == 0
    found = json.loads(out.read_text(encoding="utf-8"))["memory"]
    nodes, pairs = 23 + 31, built(folder, "lightgcn", "--embedding_size=4").dataset.train["buy"].nnz
    assert found["held"]["parameters"] == nodes * 4 * 4
    assert found["held"]["graphs"] == 2 * pairs * 12 + (nodes + 1) * 4
    largest = max(found["programs"].values())
    assert found["peak"] == found["process"] + sum(found["held"].values()) + largest
    assert found["programs"].keys() >= {"training step", "test pass", "test pass of popularity"}
    text = capsys.readouterr().out
    assert "at most" in text and "free before it" in text and "or training step" in text


def test_memory_of_what_is_prepared_is_told_without_preparing_it(folder, capsys, monkeypatch):
    monkeypatch.setattr(ridge, "invert", lambda *given: pytest.fail("solved"))
    assert command.main(["ease", str(folder), "--memory"]) == 0
    text = capsys.readouterr().out
    assert "what is prepared" in text and "preparing it" in text and "at most" in text and "not counted" not in text


def test_memory_of_what_preparing_decides_is_estimated(folder, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(ridge, "invert", lambda *given: pytest.fail("solved"))
    out, few = tmp_path / "x.json", ["--model.features=touch,near", "--model.members=1", "--model.hidden=0"]
    assert command.main(["funnel", str(folder), "--memory", "--json", str(out), *few]) == 0
    found = json.loads(out.read_text(encoding="utf-8"))["memory"]
    assert not found["not_counted"] and found["peak"] > found["process"] + sum(found["held"].values())
    assert {"training", "similarities of candidates, for training"} <= found["programs"].keys()
    assert any(name.endswith("for the test split") for name in found["programs"])
    assert "at most" in capsys.readouterr().out


def test_memory_of_what_has_no_shapes_is_not_counted(folder, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(footprint, "is_told", lambda model: False)
    out = tmp_path / "x.json"
    assert command.main(["ease", str(folder), "--memory", "--json", str(out)]) == 0
    text = capsys.readouterr().out
    assert "not counted" in text and "at most" not in text
    found = json.loads(out.read_text(encoding="utf-8"))["memory"]
    assert found["peak"] is None and found["not_counted"][0].startswith("what ease prepares") and found["process"]


@pytest.mark.parametrize(("width", "expected"), [(None, 5), (6, 6)])
def test_products_have_the_width_of_the_model_or_the_given_one(folder, width, expected):
    found = whole.products(built(folder, "copf", "--model.embedding_size=5"), width, repeat=1)["spmm"]
    assert [row["graph"] for row in found] == ["view", "view+buy", "buy"]
    assert {row["width"] for row in found} == {expected}
    assert {row["rows"] for row in found} == {54}


def test_graphs_that_are_divided_among_devices_have_no_products(folder):
    made = built(folder, "lightgcn_m", "--train.shard=tables", "--devices=2")
    assert made.shards is not None and whole.products(made, repeat=1)["spmm"] == []
    assert "divided graphs" in whole.products(made, repeat=1)["spmm_left_out"]


@pytest.mark.parametrize(
    ("argv", "code", "words"),
    [
        (["popularty", "demo"], 2, "Did you mean 'popularity'"),
        (["popularity", "dem"], 2, "demo"),
        (["popularity"], 2, "DATASET"),
        (["copf", "demo", "--embeding_size=4"], 2, "model.embedding_size"),
        (["copf", "demo", "--embedding_size=four"], 2, "whole number"),
        (["copf", "demo", "--repeat=0"], 2, "--repeat=0"),
        (["copf", "demo", "--repeat=many"], 2, "--repeat"),
        (["copf", "demo", "--seconds=nan"], 2, "--seconds=nan"),
        (["copf", "demo", "--width=0"], 2, "--width=0"),
        (["copf", "demo", "--memory", "--repeat=2"], 2, "nothing is timed"),
    ],
)
def test_mistakes_are_one_line(argv, code, words, capsys):
    assert command.main(argv) == code
    text = capsys.readouterr().err
    assert text.startswith("error: ") and text.count("\n") == 1
    assert words in text


def script_record(name, folder, tmp_path, *options):
    out = tmp_path / f"{name}.json"
    assert load(name).main([f"--dataset={folder}", f"--out={out}", "--repeat=1", "--seconds=0.001", *options]) == 0
    return json.loads(out.read_text(encoding="utf-8"))


@pytest.mark.exhaustive
def test_copf_script(folder, tmp_path, capsys):
    found = script_record("copf", folder, tmp_path, "--model.embedding_size=4", "--pairs_per_user=3", *TINY[2:])
    parts = {part["part"]: part for part in found["step_parts"]}
    assert len(parts) == 7
    assert min(part["floor"] for part in parts.values()) > 0
    train = built(folder, "copf", "--protocol=paper").dataset.train
    view, buy, either = (2 * pairs.nnz for pairs in (train["view"], train["buy"], train["view"] + train["buy"]))
    # An entry: a row of 4 floats, a value and a column; 54 nodes are written; all that twice. 10^6 bytes a second.
    cogcn = 2 * ((view + either) * (4 * 4 + 8) + 2 * 54 * 4 * 4)
    assert parts["COGCN, with gradients"]["floor"] == pytest.approx(cogcn / 1e6)
    dfme = 2 * ((view + buy) * (4 * 4 + 8) + 2 * 54 * 4 * 4)
    assert parts["DFME propagation, with gradients"]["floor"] == pytest.approx(dfme / 1e6)
    # 2 tasks x 8 users x 3 positives and negatives, rows of 2 experts x 4 and 2 gate factors, gathered three times.
    assert parts["scores of pairs and BPR, with gradients"]["floor"] == pytest.approx(3 * 96 * 10 * 4 / 1e6)
    assert "factors" not in found  # of Taobao only
    text = capsys.readouterr().out
    assert "sum of the parts" in text and "1 GFLOP/s" in text


@pytest.mark.exhaustive
def test_bvae_script(folder, tmp_path):
    found = script_record("bvae", folder, tmp_path, "--model.embedding_size=4", *TINY[2:])
    parts = {part["part"]: part for part in found["step_parts"]}
    busy = (np.diff(built(folder, "popularity", "--protocol=paper").dataset.train["view"].indptr) > 0).mean()
    # Three products of 8 users x 4 x 31 items, in the rows that have items; 10^9 operations a second.
    expected = 3 * 2 * 8 * 4 * 31 * busy / 1e9
    assert parts["log-partition of view, with gradients"]["floor"] == pytest.approx(expected)
    assert {"draw the batch", "masks and noise", "encoders, with gradients", "Adam"} < parts.keys()
    assert found["training"]["epoch"] > 0


def test_factors_over_other_programs():
    found = {"training": {"epoch": 2.0}, "evaluation": {"full_pass": 3.0}}
    factors = {"both": (50.0, ("epoch", "full_pass")), "epoch": (8.0, ("epoch",))}
    assert script.compared(found, factors) == {"both": 10.0, "epoch": 4.0}


def test_spmm_script(folder, tmp_path, capsys):
    found = script_record("spmm", folder, tmp_path, "--size=4")
    names = [row["name"] for row in found["products"]]
    assert names[:5] == [
        "scipy CSR @ x, 1 thread",
        "mbjax spmm",
        "JAX BCSR @ x",
        "JAX BCOO @ x",
        "JAX gather + segment_sum",
    ]
    assert min(min(row["forward"], row["forward_and_gradient"]) for row in found["products"]) > 0
    assert found["nodes"] == 54 and found["width"] == 4
    assert found["nnz"] == 2 * built(folder, "popularity", "--protocol=paper").dataset.train["view"].nnz
    assert "floor: each row once, from memory" in capsys.readouterr().out


def test_spmm_script_refuses_wrong_results(folder, capsys):
    spmm = load("spmm")
    spmm.check(jnp.array([1.0, 2.0]), np.array([1.0, 2.0001], np.float32), "near enough")
    for wrong in ([1.0, 2.1], [1.0, np.nan]):
        with pytest.raises(ValueError, match="other: differs"):
            spmm.check(np.array(wrong), np.array([1.0, 2.0]), "other")
    assert spmm.main([f"--dataset={folder}", "--behavior=bought"]) == 2
    assert "buy" in capsys.readouterr().err


def test_whole_of_a_model_without_training(folder):
    found, experiment, state = whole.measure(trial.config(folder, "popularity"), repeat=1)
    assert found["training"] is None and state.params == {}
    assert "and training" not in found["peak_memory_mib"]
    assert experiment.dataset.info.num_items == toy.dataset(2).info.num_items
