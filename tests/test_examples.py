"""The examples do what they say."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import jax
import numpy as np
import scipy.sparse
import toy
import yaml

import mbjax
from mbjax import types
from mbjax.ops import graph

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"


def blocks(language: str) -> list[str]:
    text = (EXAMPLES / "add_a_model.md").read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def test_the_model_of_the_guide_keeps_the_contract(key, tmp_path, monkeypatch):
    (tmp_path / "linear_ae.py").write_text(blocks("python")[0], encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    import linear_ae

    settings = yaml.safe_load(blocks("yaml")[0])
    variant = {name.removeprefix("model."): value for name, value in settings["ablations"]["wo_dropout"].items()}
    config = linear_ae.LinearAeConfig(**settings["model"] | variant)
    info = types.DatasetInfo("toy", 2, 3, ("view", "buy"))
    model = linear_ae.build(config, info, batch_size=2)
    train = {
        "view": scipy.sparse.csr_array(np.array([[1, 1, 0], [0, 0, 1]], np.uint8)),
        "buy": scipy.sparse.csr_array(np.array([[0, 1, 0], [0, 0, 0]], np.uint8)),
    }
    graphs = {name: graph.build(graph.assemble(spec, train)) for name, spec in model.graphs.items()}
    shapes = jax.eval_shape(model.init, key, graphs)
    params = jax.tree.map(lambda leaf: jax.numpy.zeros(leaf.shape), shapes)
    tables = jax.eval_shape(model.encode, params, graphs)
    users = jax.ShapeDtypeStruct((3,), "int32")
    scores = jax.eval_shape(lambda *given: model.score(*given, 1, 2, 0), params, tables, users)
    assert scores.shape == (3, 2)

    batch = types.UserBatch(
        user=jax.numpy.arange(2),
        weight=jax.numpy.ones(2),
        everyone=jax.numpy.arange(2),
        noise=jax.numpy.zeros((2, 2), jax.numpy.uint32),
        history={
            "union": toy.ragged([[0, 1], [2]], num_items=3),
            "view": toy.ragged([[0, 1], [2]], num_items=3),
            "buy": toy.ragged([[1], []], num_items=3),
        },
        total=jax.numpy.float32(2.0),
        share=jax.numpy.float32(1.0),
    )
    loss, parts = jax.jit(model.loss)(params, graphs, batch, key, 0)
    # All parameters 0: each of three items has probability 1/3. Three views, one purchase, two users.
    np.testing.assert_allclose(parts["nll_view"], 3 * np.log(3) / 2, rtol=1e-6)
    np.testing.assert_allclose(loss, 4 * np.log(3) / 2, rtol=1e-6)


def test_the_own_log_is_read_as_its_configuration_says(tmp_path, monkeypatch):
    example = runpy.run_path(str(EXAMPLES / "own_log.py"))
    seen = {}

    class Stop(Exception):
        pass

    def train_run(settings, workdir):
        seen["dataset"] = mbjax.load_dataset(settings.dataset, settings.data)
        raise Stop

    monkeypatch.setattr(mbjax, "train_run", train_run, raising=False)
    try:
        example["main"](str(tmp_path))
    except Stop:
        dataset = seen["dataset"]
    assert dataset.info.behaviors == ("look", "list", "borrow")
    assert dataset.info.num_users == example["NUM_READERS"] and dataset.users.raw([7]) == ["r-007"]
    # One borrowing of each reader is held out for the test and one for validation.
    assert dataset.test["borrow"].nnz == dataset.valid["borrow"].nnz == example["NUM_READERS"]
    assert set(dataset.items.raw(range(dataset.info.num_items))) <= {f"book {n}" for n in range(example["NUM_BOOKS"])}


def test_quickstart_names_what_exists():
    assert callable(runpy.run_path(str(EXAMPLES / "quickstart.py"))["main"])
