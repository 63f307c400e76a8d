"""Gates and gradients of tasks of a trained model."""

import jax
import numpy as np
import pytest
import trial

from mbjax import errors, experiment
from mbjax.reporting.figures import drawing, of_heads


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    place = tmp_path_factory.mktemp("heads")
    data = trial.write_data(place / "toy")
    config = trial.config(data, "copf", train__epochs=1, train__monitor="mean:ndcg", model__contrastive__weight=0.0)
    experiment.train(config, place / "copf")
    return place


@pytest.mark.exhaustive
def test_cosines_are_those_of_the_gradients(run, tmp_path):
    drawn = of_heads.conflict([run / "copf"])
    made, params, _ = experiment.restore(run / "copf")
    sampler, store = made.draws()
    key = jax.random.key(made.config.seed)
    found = []
    for place in range(min(of_heads.BATCHES, sampler.steps_per_epoch)):
        batch = sampler.batch(store, sampler.plan(key, 0), key, place)
        view, buy = (
            jax.grad(lambda p, t=task, b=batch, s=place: made.model.loss(p, made.graphs, b, key, s)[1][f"bpr_{t}"])(
                params
            )
            for task in ("view", "buy")
        )
        a, b = (np.asarray(g["params"]["item"], np.float64).ravel() for g in (view, buy))
        found.append(a @ b / np.linalg.norm(a) / np.linalg.norm(b))
    table = {(row["reading"], row["parameters"]): row["cosine"] for row in drawn.table.to_dicts()}
    trained = f"stop_gradient={made.config.model.head.stop_gradient}"
    assert table[trained, "item"] == pytest.approx(np.mean(found), rel=1e-3)
    assert {reading for reading, _ in table} == {"stop_gradient=none", "stop_gradient=target"}
    assert all(-1 <= value <= 1 for value in table.values())
    drawing.write(drawn, tmp_path, "conflict")
    assert (tmp_path / "conflict.png").stat().st_size > 5000


@pytest.mark.exhaustive
def test_experts_are_those_of_expert_use(run):
    drawn = of_heads.experts([run / "copf"])
    made, params, _ = experiment.restore(run / "copf")
    wanted = experiment.expert_use(made, params, split=of_heads._split_of_all(made))
    assert drawn.table.drop("run").equals(wanted)


def test_a_model_without_tasks_is_refused(tmp_path):
    data = trial.write_data(tmp_path / "toy")
    experiment.train(trial.config(data, "popularity"), tmp_path / "popularity")
    with pytest.raises(errors.ConfigError, match="'popularity' is none"):
        of_heads.conflict([tmp_path / "popularity"])
    with pytest.raises(errors.ConfigError, match="run .*popularity: model 'popularity' has no gates"):
        of_heads.experts([tmp_path / "popularity"])
