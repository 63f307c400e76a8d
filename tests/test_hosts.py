"""Several hosts: two processes of this machine train the model of one, end together, and go on alone or together."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time

import polars
import pytest
import trial

from mbjax import clusters, errors, hosts, recommend
from mbjax.experiment import runs as restoring
from mbjax.train import logging

FAST = {"evaluate.anchors": "none", "train.save_minutes": "1e-9", "train.chunk_steps": "3"}
SLURM = {"SLURM_STEP_NODELIST": "node[0-3]", "SLURM_NTASKS": "4", "SLURM_PROCID": "2", "SLURM_JOB_ID": "7"}
TORCHRUN = {"TORCHELASTIC_RUN_ID": "none", "MASTER_ADDR": "node0", "MASTER_PORT": "29500"}
TORCHRUN |= {"WORLD_SIZE": "16", "RANK": "11", "LOCAL_RANK": "3"}


def start(data, workdir, host=None, port=0, model="bvae", **given):
    """``train.py`` on a host of two with a device each, or on the only one with two."""
    options = trial.SETTINGS | FAST | given
    words = [f"--model={model}", f"--dataset={data}", f"--workdir={workdir}"]
    words += [f"--{name}={value}" if value != "" else f"--{name}" for name, value in options.items()]
    if host is None:
        words += ["--devices=2", "--train.backend=shard_map"]
    else:
        words += [f"--coordinator=127.0.0.1:{port}", "--hosts=2", f"--host={host}"]
    flags = " ".join(f for f in os.environ["XLA_FLAGS"].split() if "device_count" not in f)
    return subprocess.Popen(
        [sys.executable, str(trial.ROOT / "train.py"), *words],
        env=os.environ | {"XLA_FLAGS": flags},
        cwd=workdir.parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def both(data, workdir, **given):
    """Two processes with the same options: their outputs, once they have ended well."""
    port = free_port()
    found = [start(data, workdir, host, port, **given) for host in (0, 1)]
    said = [process.communicate(timeout=600) for process in found]
    assert [process.returncode for process in found] == [0, 0], said
    return said


def alone(data, workdir, **given):
    process = start(data, workdir, **given)
    said = process.communicate(timeout=600)
    assert process.returncode == 0, said


def rows(workdir):
    return [trial.untimed(row) for row in logging.read_rows(workdir / "metrics.jsonl")]


def same(found, wanted):
    """Rows of metrics: losses to rounding, metrics exactly."""
    assert len(found) == len(wanted) > 0
    for a, b in zip(found, wanted, strict=True):
        assert a["loss"] == pytest.approx(b["loss"], rel=1e-6)
        assert a.get("valid") == b.get("valid")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return trial.write_data(tmp_path_factory.mktemp("data") / "toy")


@pytest.fixture(scope="module")
def runs(data, tmp_path_factory):
    """Runs of two epochs by one process and by two, and what the two said."""
    folder = tmp_path_factory.mktemp("runs")
    alone(data, folder / "one", **{"train.epochs": 2})
    said = both(data, folder / "two", **{"train.epochs": 2})
    return folder, said


def test_two_processes_train_the_model_of_one(data, runs):
    folder, ((out, _), silent) = runs
    same(rows(folder / "two"), rows(folder / "one"))
    assert "test split" in out and silent == ("", "")  # the first prints, the other nothing
    found, wanted = (trial.restored(data, folder / name / "last")[0].params for name in ("two", "one"))
    trial.jax.tree.map(lambda a, b: trial.np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), found, wanted)


@pytest.mark.exhaustive
def test_they_go_on_alone_and_together(data, runs):
    folder, _ = runs
    both(data, folder / "one", **{"train.epochs": 3, "resume": "", "devices": "1"})
    alone(data, folder / "two", **{"train.epochs": 3, "resume": ""})
    same(rows(folder / "one"), rows(folder / "two"))


DIVIDED = {"train.shard": "tables", "train.monitor": "mean:rec@5"}


@pytest.mark.exhaustive
@pytest.mark.parametrize("model", ["bpr_mf", "lightgcn_m", "copf"])
def test_tables_that_are_divided_among_hosts(data, tmp_path, model):
    """Each holds half of the users; a run goes on with one host, whose tables are whole, and the other way."""
    options = DIVIDED | {"model": model}
    alone(data, tmp_path / "one", **options, **{"train.epochs": 2})
    both(data, tmp_path / "two", **options, **{"train.epochs": 2})
    same(rows(tmp_path / "two"), rows(tmp_path / "one"))
    both(data, tmp_path / "one", **options, **{"train.epochs": 3, "resume": "", "devices": "1"})
    alone(data, tmp_path / "two", **options, **{"train.epochs": 3, "resume": ""})
    same(rows(tmp_path / "one"), rows(tmp_path / "two"))


LISTS = """
import sys
from mbjax import clusters, hosts
port, host, run, out = sys.argv[1:]
with clusters.joined(clusters.find(f"127.0.0.1:{port}", "2", host, {})):
    from mbjax import parallel, recommend
    from mbjax.experiment import runs
    made, params, _ = runs.restore(run)
    placement = parallel.Placement(hosts=2)
    assert placement.size == 2
    graphs = made.graphs
    for lists in recommend.make(made.model, params, graphs, made.dataset, top_k=5, batch_size=4, placement=placement):
        if hosts.is_first():
            lists.write(out)
"""


PIECES = """
import sys
from mbjax import clusters, hosts
port, host = sys.argv[1:]
with clusters.joined(clusters.find(f"127.0.0.1:{port}", "2", host, {})):
    import jax, numpy as np
    from mbjax import parallel
    hosts.PIECE = parallel.PIECE = 40
    placement = parallel.Placement(hosts=2)
    assert placement.is_mine == (host == "0", host == "1")
    for axis, shape in enumerate([(14, 3), (3, 14), (2, 2, 6)]):  # 3 of 7 rows at a time, 3 of 7 columns, 1 of 3
        wanted = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
        spec = jax.sharding.PartitionSpec(*(None,) * axis, parallel.AXIS)
        sharding = jax.sharding.NamedSharding(placement.mesh, spec)
        divided = jax.make_array_from_callback(shape, sharding, wanted.__getitem__)
        assert len(divided.addressable_shards) == 1
        np.testing.assert_array_equal(parallel.whole(divided), wanted)
    np.testing.assert_array_equal(parallel.whole(placement.everywhere(wanted)), wanted)
    mine = int(host) + 1  # the other host has something else
    tree = {"large": mine * wanted, "small": mine * np.arange(3.0), "key": jax.random.key(mine)}
    sent = hosts.of_first(tree)
    np.testing.assert_array_equal(sent["large"], wanted)
    np.testing.assert_array_equal(sent["small"], np.arange(3.0))
    assert jax.random.key_data(sent["key"]).tolist() == jax.random.key_data(jax.random.key(1)).tolist()
"""


@pytest.mark.exhaustive
def test_large_arrays_go_from_host_to_host_in_pieces():
    port = str(free_port())
    each = [subprocess.Popen([sys.executable, "-c", PIECES, port, host], cwd=trial.ROOT) for host in "01"]
    assert [process.wait(timeout=600) for process in each] == [0, 0]


@pytest.mark.exhaustive
def test_lists_of_two_processes_are_those_of_one(runs, tmp_path):
    folder, _ = runs
    port = str(free_port())
    words = [sys.executable, "-c", LISTS, port]
    each = [subprocess.Popen([*words, host, str(folder / "one"), str(tmp_path / "two")]) for host in "01"]
    made, params, _ = restoring.restore(folder / "one")
    written = recommend.recommend(made.model, params, made.graphs, made.dataset, top_k=5, out=tmp_path / "one")
    assert [process.wait(timeout=600) for process in each] == [0, 0]
    for file in written.values():
        assert polars.read_parquet(file).equals(polars.read_parquet(tmp_path / "two" / file.name))


@pytest.mark.exhaustive
@pytest.mark.parametrize("victim", [0, 1])
def test_a_killed_one_ends_the_other_in_one_line(data, tmp_path, victim):
    port, workdir = free_port(), tmp_path / "run"
    processes = [start(data, workdir, host, port, **{"train.epochs": 100000, "train.eval_every": 0}) for host in (0, 1)]
    trial.wait_for_rows(processes[0], workdir, 2)
    processes[victim].send_signal(signal.SIGKILL)
    began = time.monotonic()
    _, said = processes[1 - victim].communicate(timeout=300)
    assert processes[1 - victim].returncode != 0 and time.monotonic() - began < 4 * clusters.HEARTBEAT
    assert [line for line in said.splitlines() if line.startswith("error")] == [said.splitlines()[-1]], said
    assert "Traceback" not in said and "another host" in said.splitlines()[-1]
    processes[victim].communicate()


def test_what_started_a_process_says_who_the_others_are():
    assert clusters.find(None, None, None, {}) is None
    assert clusters.find("node0:1234", "4", "3", {}) == ("node0:1234", 4, 3, None, None)
    assert clusters.find(None, "4", "3", {"JAX_COORDINATOR_ADDRESS": "a:1"}).coordinator == "a:1"
    assert clusters.find(None, None, None, TORCHRUN) == ("node0:29501", 16, 11, None, (3,))
    assert clusters.find(None, None, None, SLURM) == (None, None, None, "slurm", None)
    assert clusters.find(None, None, None, SLURM | {"SLURM_NTASKS": "1"}) is None
    assert clusters.find(None, "1", None, SLURM) is None  # declined
    assert clusters.find(None, None, None, {"OMPI_COMM_WORLD_SIZE": "2"}).method == "ompi"
    assert clusters.find(None, None, None, {"TPU_WORKER_HOSTNAMES": "a,b"}) == clusters.Cluster()
    assert clusters.find(None, "auto", None, {}) == clusters.Cluster()


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (("a:1", "2", None), "--host=i is missing"),
        ((None, "2", "0"), "--coordinator=HOST:PORT is missing"),
        (("a:1", None, None), "--hosts=N and --host=i are missing"),
        (("a:1", "2", "2"), "--host=2 of --hosts=2: hosts count from 0 to 1"),
        (("a:1", "two", "0"), "--hosts=two: must be a whole number from 1 upwards"),
        (("a", "2", "0"), "--coordinator=a: must be HOST:PORT"),
        (("23103", "2", "0"), "--coordinator=23103: must be HOST:PORT"),
        ((":23103", "2", "0"), "--coordinator=:23103: must be HOST:PORT"),
        (("a:99999", "2", "0"), "--coordinator=a:99999: must be HOST:PORT, .* port from 1 to 65,535"),
        (("a:1", "1", "1"), "--host=1 of --hosts=1: hosts count from 0\\."),
    ],
)
def test_options_that_do_not_go_together(options, line):
    with pytest.raises(errors.ConfigError, match=line):
        clusters.find(*options, {})


@pytest.mark.parametrize(
    ("own", "said"),
    [
        (
            {"train.epochs": "4", "--resume": "False"},
            "train.epochs=4 here and train.epochs=2 on the first",
        ),
        ({"train.epochs": "2"}, r"--resume=\(none\) here and --resume=False on the first host"),
        ({"train.epochs": "2", "--resume": "False"}, "another host has other options than this one: all hosts have to"),
    ],
)
def test_hosts_that_were_told_different_things_all_end(own, said, monkeypatch):
    first = {"train.epochs": "2", "--resume": "False"}
    monkeypatch.setattr(hosts, "told", lambda value: first)
    monkeypatch.setattr(hosts, "any_of", lambda flag: True)
    with pytest.raises(errors.ConfigError, match=said):
        hosts.check_alike(own)


@pytest.mark.parametrize(
    ("words", "line"), [("", "nobody came"), ("met\n", "the others ended"), ("met\ndone\n", ""), ("done\n", "")]
)
def test_the_end_of_a_process_is_told_by_what_outlives_it(words, line):
    program = ["sh", "-c", clusters.WATCH, "sh", "nobody came", "the others ended"]
    said = subprocess.run(program, input=words, capture_output=True, text=True)
    assert (said.stdout, said.stderr.strip()) == ("", line)


def test_alone_everything_is_its_own():
    assert hosts.is_first() and not hosts.is_several() and hosts.told({"a": 1}) == {"a": 1}
    assert hosts.any_of(True) and not hosts.any_of(False) and hosts.in_turn(lambda: 3) == 3
    hosts.check_same("data", "x")
    hosts.check_alike({"train.epochs": "2"})
    tree = {"x": trial.jax.numpy.ones(3)}
    assert hosts.of_first(tree) is tree
    with clusters.joined(None):
        pass
