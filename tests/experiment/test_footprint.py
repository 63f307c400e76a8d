"""What does not fit is refused before anything is made, with the bytes of each part; what fits trains as ever."""

import jax
import pytest
import trial

from mbjax import errors
from mbjax.experiment import footprint, training, wiring
from mbjax.train import logging


def test_bytes_of_the_parts(folder):
    experiment = wiring.build(trial.config(folder, "lightgcn", train__monitor="mean:ndcg"))
    parts = footprint.resident(experiment, experiment.graphs, experiment.start())
    nodes, pairs = 23 + 31, experiment.dataset.train["buy"].nnz
    sizes = {part.name: part.bytes for part in parts}
    assert sizes["parameters"] == nodes * 4 * 4
    assert sizes["optimizer"] == 2 * nodes * 4 * 4 + 4  # two moments and a count
    # A value and two indices for each direction of a pair, stored once since it is symmetric, and the row pointers.
    assert sizes["graphs"] == 2 * pairs * 12 + (nodes + 1) * 4


def test_arrays_that_do_not_fit_are_refused_before_graphs_are_made(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(footprint, "LARGE", 0)
    monkeypatch.setattr(footprint.memory, "available", lambda: 1000)
    monkeypatch.setattr(wiring.Experiment, "with_graphs", lambda *given, **options: pytest.fail("made"))
    with pytest.raises(errors.IncompatibleError, match=r"parameters 0\.0.*0\.0 GB of memory are free\. Use"):
        training.train(trial.config(folder, "lightgcn", train__monitor="mean:ndcg"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_step_that_does_not_fit_is_refused_and_leaves_no_folder(folder, tmp_path, monkeypatch):
    free = iter([10**9, 1000])  # of the arrays, of the program
    monkeypatch.setattr(footprint, "LARGE", 0)
    monkeypatch.setattr(footprint.memory, "available", lambda: next(free))
    with pytest.raises(errors.IncompatibleError, match="training step .*fewer model.backbone.num_layers"):
        training.train(trial.config(folder, "lightgcn", train__monitor="mean:ndcg"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.exhaustive
def test_who_was_asked_trains_as_who_was_not(folder, tmp_path, monkeypatch):
    config = trial.config(folder, "bpr_mf", train__epochs=2, train__monitor="mean:ndcg")
    training.train(config, tmp_path / "one")
    monkeypatch.setattr(footprint, "LARGE", 0)
    asked = []
    monkeypatch.setattr(footprint.memory, "available", lambda: asked.append(1) or 10**12)
    training.train(config, tmp_path / "two")
    assert len(asked) == 2
    rows, others = (logging.read_rows(tmp_path / name / "metrics.jsonl") for name in ("one", "two"))
    assert len(rows) == 2 and list(map(trial.untimed, rows)) == list(map(trial.untimed, others))


@pytest.mark.parametrize(
    ("model", "fields"),
    [
        ("als", {"model__embedding_size": 4}),
        ("ease", {"model__penalty": 1.0, "model__form": "dual"}),
        ("ease", {"model__penalty": 1.0, "model__rank": 3}),
        ("itemknn", {"model__neighbors": 5}),
        ("cross_occurrence", {"model__neighbors": 3}),
    ],
)
def test_what_is_prepared_has_the_shapes_that_were_told(folder, model, fields):
    experiment = wiring.plan(trial.config(folder, model, **fields))
    told, preparation = footprint.foretold(experiment)
    made = experiment.with_graphs().graphs
    assert told.keys() == made.keys() and preparation.beside > 0
    for name in made:
        pairs = zip(jax.tree.leaves(told[name]), jax.tree.leaves(made[name]), strict=True)
        for shape, array in pairs:
            assert (shape.ndim, shape.dtype) == (array.ndim, array.dtype)
            # Some items have fewer neighbors than could be.
            is_exact = model not in ("itemknn", "cross_occurrence")
            assert shape.shape == array.shape if is_exact else shape.shape >= array.shape


def test_what_does_not_fit_is_refused_before_it_is_prepared(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(footprint, "LARGE", 0)
    monkeypatch.setattr(footprint.memory, "available", lambda: 1000)
    monkeypatch.setattr(wiring.Experiment, "with_graphs", lambda *given, **options: pytest.fail("made"))
    with pytest.raises(errors.IncompatibleError, match=r"preparing it 0\.0.*free\. Use a smaller model.embedding_size"):
        training.train(trial.config(folder, "als"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_each_array_counts_once():
    one = jax.ShapeDtypeStruct((3, 4), "float32")
    assert footprint.size_of({"a": one, "b": one, "key": jax.random.key(0)}) == 48 + 8
