"""The examples do what they say."""

from __future__ import annotations

import json
import re
import runpy
import shutil
from pathlib import Path

import jax
import numpy as np
import polars as pl
import pytest
import scipy.sparse
import toy
import trial
import yaml

import mbjax
from mbjax import backbones, cli, models, types
from mbjax.config import files
from mbjax.models import copf
from mbjax.ops import adjacency, graph
from mbjax.reporting import literature, summary

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"


def blocks(language: str, guide: str = "add_a_model.md") -> list[str]:
    text = (EXAMPLES / guide).read_text(encoding="utf-8")
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
    graphs = {name: graph.build(adjacency.assemble(spec, train)) for name, spec in model.graphs.items()}
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


def test_a_new_model_is_a_file_a_row_and_a_yaml_file(tmp_path, monkeypatch, capsys):
    """Nothing else names it: help, training, a comparison with published numbers and tables know it by these."""
    shutil.copytree(files.config_dir(), tmp_path / "configs")
    about = "about:\n  reconstructed: true\n  reported:\n    default: {BVAE: VAE++}\n    wo_dropout: {BVAE: EHCF}\n"
    (tmp_path / "configs" / "models" / "linear_ae.yaml").write_text(about + blocks("yaml")[0], encoding="utf-8")
    monkeypatch.setattr(files, "config_dir", lambda: tmp_path / "configs")
    (tmp_path / "linear_ae.py").write_text(blocks("python")[0], encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    import linear_ae

    row = models.ModelEntry(linear_ae.LinearAeConfig, linear_ae.build, "linear autoencoder of the union")
    monkeypatch.setitem(models.MODELS, "linear_ae", row)

    assert cli.main(["train", "--model=linear_ae", "--help"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "wo_dropout" in text and "probability of dropping an input entry while training" in text

    path = tmp_path / "linear_ae.json"
    data = trial.write_data(tmp_path / "data")
    monkeypatch.setenv("COLUMNS", "200")
    words = [
        "--model=linear_ae",
        f"--dataset={data}",
        "--train.epochs=1",
        "--train.batch_size=8",
        "--evaluate.anchors=",
    ]
    assert cli.main(["train", *words, f"--workdir={tmp_path / 'run'}", f"--record={path}"]) == 0
    assert "linear_ae (reconstructed, valid 1)" in capsys.readouterr().out
    record = json.loads(path.read_text(encoding="utf-8"))

    # As if it had been run on the data of the paper.
    of_jd = record | {"dataset": "jd", "behaviors": ["favourite", "click", "purchase"]}
    (published,) = {row["model"] for row in literature.find_of(of_jd).values()}
    (ablated,) = {row["model"] for row in literature.find_of(of_jd | {"ablation": "wo_dropout"}).values()}
    assert (published, ablated) == ("VAE++", "EHCF")
    of_jd["selection"] = {"valid": {"purchase": record["selection"]["valid"]["buy"]}}
    assert "| `linear_ae` (reconstructed) | all |" in summary.honest([of_jd])


def test_the_backbone_of_the_guide_works_in_the_frame(key, tmp_path, monkeypatch):
    (tmp_path / "blend.py").write_text(blocks("python", "add_a_backbone.md")[0], encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    import blend

    # One user and one item, viewed and not bought: the union is the matrix of views.
    info = types.DatasetInfo("tiny", 1, 1, ("view", "buy"))
    train = {name: scipy.sparse.csr_array(np.array([[n]], np.uint8)) for name, n in (("view", 1), ("buy", 0))}
    rows = jax.numpy.array([[1.0], [2.0]])
    for config in (blend.BlendConfig(), blend.BlendConfig(learned=False)):
        module = blend.Blend(config, info)
        graphs = graph.from_train(module.graphs(config, info), train)
        params = module.init(key, graphs, rows)
        view, buy = module.apply(params, graphs, rows).behaviors
        np.testing.assert_allclose(view, [[1 + 2], [2 + 1]])
        np.testing.assert_allclose(buy, [[1 + 2 / 2], [2 + 1 / 2]])
        assert len(jax.tree.leaves(params)) == 2 * config.learned

    # As the guide says, under the head and with the losses of another model.
    monkeypatch.setitem(backbones.BACKBONES, "blend", blend.Blend)
    source = toy.dataset(3)
    config = copf.CopfConfig(embedding_size=4).model_copy(update={"backbone": blend.BlendConfig()})
    model = copf.build(config, source.info, 8)
    graphs = graph.from_train(model.graphs, source.train)
    params = jax.eval_shape(model.init, key, graphs)
    assert set(params["params"]["backbone"]) == {"weight_view", "weight_cart", "weight_buy"}
    batch = toy.batch(model, source, key)
    loss, parts = jax.eval_shape(lambda p: model.loss(p, graphs, batch, key, 0), params)
    assert loss.shape == () and set(parts) == {"bpr_view", "bpr_cart", "bpr_buy", "contrastive", "l2"}


@pytest.mark.exhaustive
def test_the_own_log_is_read_as_its_configuration_says(tmp_path, monkeypatch):
    example = runpy.run_path(str(EXAMPLES / "own_log.py"))
    seen, train = {}, mbjax.train_run

    def train_run(settings, workdir):
        seen["dataset"] = mbjax.load_dataset(settings.dataset, settings.data)
        # In place of a minute of training, item neighbors of the same log.
        overrides = {name: value for name, value in settings.overrides.items() if name.startswith("data.")}
        return train(mbjax.load_config("itemknn", settings.dataset, overrides=overrides), workdir)

    monkeypatch.setattr(mbjax, "train_run", train_run, raising=False)
    example["main"](str(tmp_path))
    dataset = seen["dataset"]
    guest = pl.read_parquet(tmp_path / "guest" / "borrow.parquet")
    assert guest["user"].to_list() == ["guest"] * 5
    assert {int(item.split()[1]) % example["NUM_SHELVES"] for item in guest["item"]} == {3}  # of his shelf
    assert dataset.info.behaviors == ("look", "list", "borrow")
    assert dataset.info.num_users == example["NUM_READERS"] and dataset.users.raw([7]) == ["r-007"]
    # One borrowing of each reader is held out for the test and one for validation.
    assert dataset.test["borrow"].nnz == dataset.valid["borrow"].nnz == example["NUM_READERS"]
    assert set(dataset.items.raw(range(dataset.info.num_items))) <= {f"book {n}" for n in range(example["NUM_BOOKS"])}


def test_quickstart_names_what_exists():
    assert callable(runpy.run_path(str(EXAMPLES / "quickstart.py"))["main"])
