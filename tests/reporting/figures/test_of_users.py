"""Groups of users, and the metric of runs in them, beside what the evaluator says of each user."""

import numpy as np
import pytest
import trial
from scipy import sparse

from mbjax import errors, experiment
from mbjax.reporting.figures import of_users


def test_pearson_is_numpys():
    rng = np.random.default_rng(0)
    rows = {b: rng.random((9, 40)) < share for b, share in (("view", 0.6), ("cart", 0.3), ("buy", 0.1))}
    for of in rows.values():
        of[0] = False
    rows["buy"][1] = False
    found = of_users.pearson({b: sparse.csr_array(of.astype(np.uint8)) for b, of in rows.items()})
    assert found[0] == 0
    for user in range(1, 9):
        some = [of[user] for of in rows.values() if of[user].any()]
        wanted = [np.corrcoef(a, b)[0, 1] for k, a in enumerate(some) for b in some[k + 1 :]]
        assert found[user] == pytest.approx(np.mean(wanted))


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    place = tmp_path_factory.mktemp("figures")
    data = trial.write_data(place / "toy")
    for model in ("popularity", "own_items"):
        experiment.train(trial.config(data, model), place / model)
    return place


def test_means_of_groups_are_those_of_their_users(runs):
    drawn = of_users.purchases([runs / "popularity", runs / "own_items"], "hr@5", groups=3)
    made, params, _ = experiment.restore(runs / "own_items")
    per_user = made.evaluator("test", behaviors=("buy",), ks=(5,))(
        made.model, params, made.graphs_for("test"), per_user=True
    ).per_user
    length = np.diff(made.dataset.train["buy"].indptr)[per_user["user"].to_numpy()]
    mine = drawn.table.filter(drawn.table["run"] == "own_items")
    assert mine["users"].sum() == len(per_user) and len(mine) <= 3
    for row in mine.to_dicts():
        inside = (length >= row["from"]) & (length <= row["to"])
        assert inside.sum() == row["users"]
        assert row["mean"] == pytest.approx(per_user["hr@5"].to_numpy()[inside].mean())
    assert list(drawn.panels[0].series) == ["popularity", "own_items"]


def test_groups_by_correlation_have_about_as_many_pairs(runs):
    drawn = of_users.correlation([runs / "own_items"], groups=2)
    assert len(drawn.table) == 2 and drawn.table["users"].sum() == 10  # who have test pairs
    assert drawn.table["to"][0] <= drawn.table["from"][1]


def test_other_pairs_make_other_groups(runs, tmp_path):
    experiment.train(trial.config(runs / "toy", "popularity", data__valid="into_train"), tmp_path / "run")
    with pytest.raises(errors.ConfigError, match="other test users or training pairs of 'toy'"):
        of_users.purchases([runs / "own_items", tmp_path / "run"])


def test_one_behavior_has_no_correlation(runs, tmp_path):
    experiment.train(trial.config(runs / "toy", "popularity", data__behaviors=("buy",)), tmp_path / "run")
    with pytest.raises(errors.ConfigError, match="one behavior, 'buy', has nothing to be correlated with"):
        of_users.correlation([tmp_path / "run"])


def test_an_unknown_metric_is_named(runs):
    with pytest.raises(errors.ConfigError, match="unknown metric 'nope'"):
        of_users.purchases([runs / "own_items"], "nope@5")
