"""The benchmark of NMTR on tiny data, its floors by hand, and that the PyTorch program computes the same loss."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import jax
import numpy as np
import pytest
import trial

from mbjax import config, models
from mbjax.bench import rates
from mbjax.experiment import wiring
from mbjax.ops import sampling

FOLDER = Path(__file__).resolve().parent.parent / "benchmarks"
TINY = ["--train.batch_size=8", "--train.chunk_steps=2", "--model.embedding_size=4"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The toy data of two behaviors: 23 users, 31 items."""
    return trial.write_data(tmp_path_factory.mktemp("data") / "toy")


def load(name: str):
    spec = importlib.util.spec_from_file_location(f"benchmarks_{name}", FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def settings(folder, **fields):
    given = {name.replace("__", "."): value for name, value in fields.items()}
    return config.load("nmtr", str(folder), models.entry("nmtr").config, protocol="paper", overrides=given)


@pytest.mark.parametrize(
    ("fields", "count"),
    [
        ({"model.unit": "gmf"}, 64 * 64 + 64),
        ({"model.unit": "gmf", "model.gmf_layer": False}, 64),
        ({"model.unit": "mlp"}, 64 * 32 + 32),  # 128 -> 64 -> 32 -> 1, the first layer splits
        ({"model.unit": "neumf"}, 64 * 96 + 96 * 48 + 48),  # 192 -> 96 -> 48 -> 1, of the first a third is left
        ({"model.unit": "neumf", "model.layers": 1}, 64 * 96 + 96),
    ],
)
def test_multiplications_of_a_pair(folder, fields, count):
    assert load("nmtr").products(settings(folder, **fields)) == count


@pytest.mark.exhaustive
def test_the_script_measures_and_writes(folder, tmp_path, monkeypatch, capsys):
    module = load("nmtr")
    monkeypatch.setattr(rates, "measure", lambda table: rates.Rates(flops=1e9, near=1e6, far=1e5))
    monkeypatch.setattr(module, "plain_torch", lambda *_: None)
    out = tmp_path / "nmtr.json"
    with trial.compiled_once(tmp_path / "cache"):
        assert module.main([f"--dataset={folder}", f"--out={out}", "--repeat=1", "--seconds=0.001", *TINY]) == 0
    found = json.loads(out.read_text())
    assert [part["part"] for part in found["step_parts"]] == [
        "draw the pairs and negatives", "loss, with gradients", "Adagrad"
    ]  # fmt: skip
    gmf, neumf = found["ranking"]
    # 31 items, units of both behaviors for users that are tested on buys; 20 and 42 multiplications, 2 flops each.
    view, buy = (gmf["users"][name] for name in ("view", "buy"))
    assert gmf["flops"] == 2 * 31 * (view + 2 * buy) * (4 * 4 + 4)
    assert neumf["flops"] == 2 * 31 * (view + 2 * buy) * (4 * 6 + 6 * 3 + 3)
    assert neumf["floor"] == neumf["flops"] / 1e9
    printed = capsys.readouterr().out
    assert "test pass of neumf" in printed and "torch is not installed" in printed
    assert module.main(["--dataset=nowhere"]) == 2 and "unknown data set" in capsys.readouterr().err


def test_without_torch_there_is_nothing_to_compare_with(monkeypatch):
    module = load("nmtr")
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda name: None)
    assert module.plain_torch("toy", []) is None


def test_the_torch_program_has_the_same_loss(folder, key):
    torch = pytest.importorskip("torch", reason="torch is not installed; it is only for benchmarks")
    program = load("nmtr_torch")
    made = settings(folder, **{"model.embedding_size": 4, "train.batch_size": 8})
    experiment = wiring.build(made)
    train, info = experiment.dataset.train, experiment.dataset.info
    params = jax.tree.map(lambda x: np.asarray(x) + 0.3, experiment.start().params)
    sampler, store = sampling.user_sampler(experiment.model.batch, train)
    batch = sampler.batch(store, sampler.plan(key, 0), key, 0)
    values, model = params["params"], program.Nmtr(info.num_users, info.num_items, 2, 4)
    with torch.no_grad():
        for k, name in enumerate(info.behaviors):
            unit = values[f"unit_{name}"]
            model.layers[k].weight[:] = torch.from_numpy(unit["kernel_0"].T)
            model.outputs[k].weight[:] = torch.from_numpy(unit["output"][None])
        model.user.weight[:], model.item.weight[:] = map(torch.from_numpy, (values["user"], values["item"]))
        model.bias.weight[:] = torch.from_numpy(values["bias"].T)
        points = jax.tree.map(np.asarray, batch.points)
        label = np.zeros((*points.item.shape, 2), np.float32)
        label[:, 0] = points.label
        user = np.repeat(np.asarray(batch.user)[:, None], points.item.shape[1], axis=1)
        arrays = (user.ravel(), points.item.ravel(), label.reshape(-1, 2))
        found = program.loss_of(model, *(torch.tensor(part) for part in arrays))
    expected, _ = experiment.model.loss(params, {}, batch, key, 0)
    np.testing.assert_allclose(float(found), expected, rtol=1e-5)


def test_the_torch_program_draws_every_pair_and_true_negatives(folder):
    pytest.importorskip("torch", reason="torch is not installed; it is only for benchmarks")
    train = wiring.build(settings(folder)).dataset.train
    users, items, labels = (part.numpy() for part in load("nmtr_torch").rows_of(train, 3, np.random.default_rng(0)))
    matrices = [matrix.toarray() for matrix in train.values()]
    union = sum(matrices) > 0
    assert sorted(zip(users[:, 0], items[:, 0], strict=True)) == list(map(tuple, np.argwhere(union)))
    assert not union[users[:, 1:], items[:, 1:]].any() and not labels[:, 1:].any()
    np.testing.assert_array_equal(labels[:, 0], np.stack([m[users[:, 0], items[:, 0]] for m in matrices], axis=1))
