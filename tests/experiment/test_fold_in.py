"""Users whom training has not seen, for every model: exact where that is said, else finite, and nobody else changes."""

from __future__ import annotations

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse
import toy
import usual

from mbjax import config as configuration
from mbjax import errors, models, types
from mbjax.backbones import mf
from mbjax.experiment import fold_in, wiring
from mbjax.features import people
from mbjax.models import cascading_rank
from mbjax.ops import graph

USERS, ITEMS = 23, 31
QUICK = ("bvae", "als", "itemknn", "crgcn")  # one of each kind
EXACT = ("bvae", "multivae", "vaepp", "ease", "als", "itemknn", "cross_occurrence", "own_items", "popularity")
LEFT_OUT = ("funnel",)  # exact too, where the user himself is no part of the statistics
PROPAGATED = ("copf", "pkef", "bigel", "lightgcn", "lightgcn_m", "mbcgcn", "crgcn", "cigf", "cascading_rank")
PROPAGATED += ("ngcf", "ghcf", "cml", "kmclr", "bcipm", "mbgcn", "rgcn", "gnmr", "smbrec")
SATURATED = ("cml", "kmclr")  # sums of neighbors in a logistic function: rows differ little, and orders need not
REFUSED = ("ehcf", "bpr_mf", "nmtr", "cmf", "gmf", "mlp", "neumf", "mc_bpr", "mc_gmf", "mc_mlp", "mc_neumf")
dataset = functools.cache(toy.dataset)


def built(name: str, **fields) -> wiring.Experiment:
    """A small model of the zoo on the toy data of three behaviors."""
    entry = models.MODELS[name]
    config = configuration.load(name, "demo", entry.config, protocol="paper")
    small = {"embedding_size": 4, "layers": 1} if entry.rows == "pairs" else {"embedding_size": 4}
    small = {field: value for field, value in (small | fields).items() if field in type(config.model).model_fields}
    config = config.model_copy(update={"model": config.model.model_copy(update=small)})
    return wiring.build(config, dataset(3))


def newcomers() -> dict[str, scipy.sparse.csr_array]:
    """Users 5, 0 (who has pairs of the target only) and 22 again, one with other pairs, one with a single view."""
    rng, pairs = np.random.default_rng(1), {}
    for name, matrix in dataset(3).train.items():
        rows = np.zeros((5, ITEMS), np.uint8)
        rows[:3] = matrix[[5, 0, 22]].toarray()
        rows[3] = rng.random(ITEMS) < 0.2
        rows[4, 7] = name == "view"
        pairs[name] = scipy.sparse.csr_array(rows)
    return pairs


def scores(model, params, graphs, users) -> np.ndarray:
    """Of all items, [K, B, I]."""

    @jax.jit
    def ranked(params, graphs, users):
        tables = model.encode(params, graphs)
        return [model.score(params, tables, users, 0, ITEMS, k) for k in range(model.info.num_behaviors)]

    return np.stack(ranked(params, graphs, jnp.asarray(users)))


def shaken(params):
    """Parameters without zeros, so that each has a say."""
    leaves, structure = jax.tree.flatten(params)
    rng = np.random.default_rng(0)
    return structure.unflatten([leaf + jnp.asarray(0.1 * rng.normal(size=leaf.shape), leaf.dtype) for leaf in leaves])


def begun(experiment: wiring.Experiment):
    """Parameters as training begins, but ``shaken``."""
    return shaken(jax.jit(experiment.model.init)(jax.random.key(0), experiment.graphs))


@pytest.mark.exhaustive
def test_every_model_says_how():
    said = {name: built(name).model.fold_in for name in models.MODELS}
    assert {name for name, how in said.items() if how == types.EXACT} == {*EXACT, *LEFT_OUT}
    assert {name for name, how in said.items() if how == types.PROPAGATED} == set(PROPAGATED)
    for name in REFUSED:
        assert said[name] == types.OWN_USERS
        with pytest.raises(errors.IncompatibleError, match=f"'{name}' cannot rank for users whom.*of their own.*Train"):
            fold_in.extend(built(name), {}, newcomers())
    # What the error names instead is nothing that would be refused as well, and the default model comes first.
    assert all(fold_in.can(built(name).model) for name in fold_in.ABLE)
    assert fold_in.ABLE[0] == configuration.DEFAULT_MODEL
    # A graph model without a graph is a factorization.
    assert built("copf", backbone=mf.MfConfig()).model.fold_in == types.OWN_USERS


@pytest.mark.parametrize("name", usual.cases((*EXACT, *LEFT_OUT, *PROPAGATED), QUICK.__contains__))
def test_new_users_are_ranked_and_nobody_else_changes(name):
    experiment = built(name)
    model = experiment.model
    params = begun(experiment)
    before = scores(model, params, experiment.graphs, range(USERS))
    extended = fold_in.extend(experiment, params, newcomers())
    assert extended.model.info.num_users == USERS + 5
    after = scores(*extended, range(USERS + 5))
    # A product with an inverse or a solution in float32 ends in another order of sums for more rows.
    tolerance = {"rtol": 1e-4 if name in ("ease", "als") else 1e-5, "atol": 1e-6 * np.abs(before).max()}
    np.testing.assert_allclose(after[:, :USERS], before, **tolerance)
    mine = after[:, USERS:]
    assert np.isfinite(mine).all()
    if name in EXACT:
        np.testing.assert_allclose(mine[:, :3], before[:, [5, 0, 22]], **tolerance)
    else:
        ranked = [k for k, b in enumerate(model.info.behaviors) if b in (model.tasks or model.info.behaviors)]
        rows = mine[ranked[-1]]
        orders = rows if name in SATURATED else np.argsort(-rows, axis=1)
        assert len({tuple(order) for order in orders[:4]}) == 4


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", LEFT_OUT)
def test_a_stranger_gets_the_list_that_he_would_have_as_a_user(name):
    """As a stranger he is nowhere in the data; as a user he is in every statistic and has to be taken out of each."""
    experiment, gone = built(name, penalty=2.0), [5, 0, 22]
    model = experiment.model
    params = begun(experiment)
    before = scores(model, params, experiment.graphs, gone)
    pairs = {name: matrix[:3] for name, matrix in newcomers().items()}
    for place, user in enumerate(gone):
        keep = (np.arange(USERS) != user).astype(np.uint8)[:, None]
        train = {b: scipy.sparse.csr_array(m.toarray() * keep) for b, m in experiment.dataset.train.items()}
        without = wiring.build(experiment.config, dataclasses.replace(experiment.dataset, train=train))
        extended = fold_in.extend(without, params, pairs, alone=True)
        after = scores(*extended, [USERS + place])[:, 0]
        open_ = np.stack([m.toarray()[user] == 0 for m in experiment.dataset.train.values()])  # others are in no list
        np.testing.assert_allclose(after[open_], before[:, place][open_], rtol=1e-3, atol=1e-3)


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", LEFT_OUT)
def test_a_known_user_with_nothing_new_gets_the_list_that_he_has(name):
    """He is in every statistic, and has to be taken out of each though he is ranked from pairs that are given."""
    experiment, known = built(name, penalty=2.0), np.array([5, 0, 22, -1, -1])
    params = begun(experiment)
    before = scores(experiment.model, params, experiment.graphs, known[:3])
    extended = fold_in.extend(experiment, params, newcomers(), known, alone=True)
    np.testing.assert_allclose(scores(*extended, USERS + np.arange(3)), before, rtol=1e-4, atol=1e-5)


def test_who_is_known_is_told_to_what_prepares():
    """So that he can be left out: see ``features.people``."""
    experiment, given = built("itemknn"), []

    def prepare(evidence):
        given.append(evidence)
        return experiment.model.prepare(evidence)

    entry = models.MODELS["itemknn"]
    told = entry._replace(build=lambda *args: entry.build(*args)._replace(prepare=prepare))
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(models.MODELS, "itemknn", told)
        fold_in.extend(experiment, {}, newcomers(), np.array([5, 0, 22, -1, -1]), alone=True)
    (evidence,) = given
    assert evidence.known.tolist() == [5, 0, 22, -1, -1]
    of = people.ranked(evidence).lists
    assert of.user[-5:].tolist() == [5, 0, 22, -1, -1]
    assert all(m.shape == (USERS + 5, ITEMS) for m in of.added.values())
    added = sum(m.toarray() for m in of.added.values())
    assert not added[:-2].any() and not added[-2:].any()  # strangers are in no statistics at all


@pytest.mark.parametrize("name", LEFT_OUT)
def test_a_log_that_has_grown_has_means_and_deviations_of_its_own(name):
    """Counts and rates are higher than training had them, as where validation pairs have joined."""
    experiment = built(name, penalty=2.0, features=("touch", "count"), members=1)
    grown = dataclasses.replace(experiment.dataset, valid={}, test={}, grown=True)
    made = wiring.build(experiment.config, grown)
    assert "usual" in made.graphs and "usual" not in experiment.graphs
    assert not made.has_others and made.graphs_for("test").keys() == made.graphs.keys()
    extended = fold_in.extend(made, begun(made), newcomers(), alone=True)
    assert "usual" in extended.graphs


@pytest.mark.parametrize("name", ["copf", "lightgcn_m"])
def test_a_known_user_keeps_his_trained_row(name):
    experiment = built(name)
    shapes = jax.eval_shape(experiment.model.init, jax.random.key(0), experiment.graphs)
    params = shaken(jax.tree.map(lambda leaf: jnp.zeros(leaf.shape), shapes))
    known = np.array([5, -1, 22, -1, -1])
    extended = fold_in.extend(experiment, params, newcomers(), known)
    old, new = params["params"], extended.params["params"]
    np.testing.assert_array_equal(new["user"][:USERS], old["user"])
    np.testing.assert_array_equal(new["user"][USERS:], np.where(known[:, None] < 0, 0, old["user"][known]))
    np.testing.assert_array_equal(new["item"], old["item"])


def test_the_walk_comes_back_to_a_new_user():
    """The closed form on the graph with him alone added, items with the degrees that they had."""
    source, config = dataset(3), {"alpha": 0.2, "beta": 0.3, "tolerance": 1e-7, "max_steps": 500}
    pairs = newcomers()
    info = source.info._replace(num_users=USERS + 5)
    model = cascading_rank.build(cascading_rank.CascadingRankConfig(**config), info)
    found = scores(model, {}, graph.from_train(model.graphs, source.train, pairs), range(USERS, USERS + 5))
    for place in (0, 3, 4):
        cascade = None
        for k, name in enumerate(source.info.behaviors):
            train = source.train[name].toarray().astype(float)
            whole = np.vstack([train, pairs[name].toarray()[place]])
            users, items = whole.sum(axis=1), train.sum(axis=0)
            inverse = [np.divide(1, d**0.5, out=np.zeros_like(d), where=d > 0) for d in (users, items)]
            scaled = inverse[0][:, None] * whole * inverse[1]
            matrix = np.block([[np.zeros((USERS + 1,) * 2), scaled], [scaled.T, np.zeros((ITEMS,) * 2)]])
            mine = whole[-1] * (items > 0)  # nobody has led to the others
            query = np.concatenate([np.eye(USERS + 1)[-1], mine / max(mine.sum(), 1)])
            right = 0.2 * query + 0.3 * (query if cascade is None else cascade)
            cascade = np.linalg.solve(np.eye(len(matrix)) - 0.5 * matrix, right)
            np.testing.assert_allclose(found[k, place], cascade[USERS + 1 :], rtol=1e-4, atol=3e-6)
