"""ItemKNN: a small case by hand, and the dense formula."""

import jax
import jax.numpy as jnp
import numpy as np
import pydantic
import pytest
import scipy.sparse
import toy

from mbjax import errors, types
from mbjax.models import itemknn
from mbjax.ops import graph


def scores_of(info, train, users, tile=None, behavior=-1, **config):
    model = itemknn.build(itemknn.ItemknnConfig(**config), info)
    graphs = graph.from_train(model.graphs, train) | model.prepare(types.Evidence(train))
    tables = jax.jit(model.encode)({}, graphs)
    start, size = tile or (0, info.num_items)
    score = jax.jit(model.score, static_argnums=(4, 5))
    return np.asarray(score({}, tables, jnp.asarray(users), start, size, behavior % info.num_behaviors))


def dense(matrix, neighbors, shrinkage):
    """The formula, every step written out on dense arrays."""
    length = np.sqrt(matrix.sum(axis=0))
    bottom = length[:, None] * length + shrinkage
    similarity = np.divide(matrix.T @ matrix, bottom, out=np.zeros_like(bottom), where=bottom > 0)
    np.fill_diagonal(similarity, 0.0)
    for row in similarity:
        row[np.argsort(-row, kind="stable")[neighbors:]] = 0.0
    return matrix @ similarity.T


def test_by_hand():
    # Items 0 and 1 share two users, 0 and 2 one, 1 and 2 none; lengths sqrt 3, sqrt 2, 1. Nobody met item 3.
    matrix = scipy.sparse.csr_array(np.array([[1, 1, 0, 0], [1, 1, 0, 0], [1, 0, 1, 0]], np.float32))
    info = types.DatasetInfo("hand", 3, 4, ("buy",))
    near, far = 2 / (6**0.5 + 1), 1 / (3**0.5 + 1)
    found = scores_of(info, {"buy": matrix}, [0, 2], neighbors=2, shrinkage=1.0)
    np.testing.assert_allclose(found, [[near, near, far, 0], [far, near, far, 0]], rtol=1e-6)
    # The only neighbor of item 0 is item 1.
    found = scores_of(info, {"buy": matrix}, [0, 2], neighbors=1, shrinkage=1.0)
    np.testing.assert_allclose(found, [[near, near, far, 0], [0, near, far, 0]], rtol=1e-6)


@pytest.mark.parametrize(("neighbors", "shrinkage", "block"), [(1, 0.0, 5), (4, 3.5, 5), (4, 3.5, 64), (1000, 10.0, 5)])
def test_the_dense_formula(neighbors, shrinkage, block, monkeypatch):
    monkeypatch.setattr("mbjax.ops.neighbors.TILE", block)
    if block == 5:  # lists of a neighbor, and those of a user, end within a turn, with one, and after several
        monkeypatch.setattr("mbjax.ops.neighbors.LANES", 3)
        monkeypatch.setattr("mbjax.ops.neighbors.TURNS", 7)
    source = toy.dataset()
    union = sum(matrix.toarray() for matrix in source.train.values()) > 0
    expected = dense(union.astype(float), neighbors, shrinkage)
    users = np.array([7, 0, 22, 7, 1, 2, 3])
    # A tile as well as a block: neighbors lie outside it.
    found = scores_of(source.info, source.train, users, tile=(8, 22), neighbors=neighbors, shrinkage=shrinkage)
    np.testing.assert_allclose(found, expected[users, 8:30], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("ranked", "options", "feeding"),
    [
        (0, {"history": "behavior"}, ["view"]),
        (1, {"history": "behavior"}, ["cart"]),
        (0, {"behaviors": ("cart", "buy")}, ["cart", "buy"]),
    ],
)
def test_which_histories_feed_it(ranked, options, feeding):
    source = toy.dataset()
    matrix = sum(source.train[name].toarray().astype(float) for name in feeding) > 0
    found = scores_of(source.info, source.train, np.arange(23), behavior=ranked, neighbors=6, **options)
    np.testing.assert_allclose(found, dense(matrix.astype(float), 6, 10.0), rtol=1e-5, atol=1e-6)


def test_a_planted_partner_is_found():
    """Items 2p and 2p + 1 are always met together, but for one withheld: it must come first."""
    rng = np.random.default_rng(4)
    met = np.repeat(rng.random((40, 10)) < 0.4, 2, axis=1)
    met[:, 0:2] |= True
    withheld = met.copy()
    user = np.arange(40)
    withheld[user, 1] = False
    withheld[:20, 1] = True  # the partner is known from half of the users
    info = types.DatasetInfo("pairs", 40, 20, ("buy",))
    train = {"buy": scipy.sparse.csr_array(withheld.astype(np.float32))}
    found = scores_of(info, train, user[20:], neighbors=1, shrinkage=0.0)
    assert (np.argmax(np.where(withheld[20:], -1, found), axis=1) == 1).all()


def test_what_cannot_be_meant_is_refused():
    with pytest.raises(errors.ConfigError, match=r"model\.behaviors 'cat'.*Did you mean 'cart'"):
        itemknn.build(itemknn.ItemknnConfig(behaviors=("cat",)), toy.dataset().info)
    with pytest.raises(pydantic.ValidationError, match="only with history=union"):
        itemknn.ItemknnConfig(behaviors=("cart",), history="behavior")
