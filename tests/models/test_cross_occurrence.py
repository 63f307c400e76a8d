"""Cross-occurrence: a small case by hand, the dense formula, and what single weights reduce it to."""

import jax
import jax.numpy as jnp
import numpy as np
import pydantic
import pytest
import scipy.sparse
import toy

from mbjax import errors, types
from mbjax.models import cross_occurrence, itemknn
from mbjax.ops import graph, neighbors


def scores_of(info, train, users, tile=None, behavior=-1, module=cross_occurrence, config=None, **given):
    config = config or cross_occurrence.CrossOccurrenceConfig(**given)
    model = module.build(config, info)
    graphs = graph.from_train(model.graphs, train) | model.prepare(types.Evidence(train))
    tables = jax.jit(model.encode)({}, graphs)
    start, size = tile or (0, info.num_items)
    score = jax.jit(model.score, static_argnums=(4, 5))
    return np.asarray(score({}, tables, jnp.asarray(users), start, size, behavior % info.num_behaviors))


def dense(train, ranked, weights, most, shrinkage):
    """The formula, every step written out on dense arrays."""
    bought = train[ranked].toarray().astype(float)
    found = np.zeros(bought.shape)
    for name, weight in weights.items():
        met = train[name].toarray().astype(float)
        bottom = np.sqrt(np.outer(bought.sum(axis=0), met.sum(axis=0))) + shrinkage
        similarity = np.divide(bought.T @ met, bottom, out=np.zeros_like(bottom), where=bottom > 0)
        np.fill_diagonal(similarity, 0.0)
        for row in similarity:
            row[np.argsort(-row, kind="stable")[most:]] = 0.0
        found += weight * met @ similarity.T
    return found


def test_by_hand():
    """Two users bought 1, one of whom bought 2; three viewed 0, one of whom is new and viewed 1 too."""
    view = scipy.sparse.csr_array(np.array([[1, 0, 0, 0], [1, 0, 0, 0], [1, 1, 0, 0]], np.float32))
    buy = scipy.sparse.csr_array(np.array([[0, 1, 0, 0], [0, 1, 1, 0], [0, 0, 0, 0]], np.float32))
    info = types.DatasetInfo("hand", 3, 4, ("view", "buy"))
    # Views of 0 with purchases of 1 share two users, of sqrt(3 * 2); with purchases of 2 one, of sqrt(3 * 1).
    # Views of 1 are of the third user, who bought nothing. Purchases of 1 and 2 share one, of sqrt(2 * 1).
    near, far, both = 2 / (6**0.5 + 1), 1 / (3**0.5 + 1), 1 / (2**0.5 + 1)
    found = scores_of(info, {"view": view, "buy": buy}, [2, 0], shrinkage=1.0, others=0.5)
    np.testing.assert_allclose(found, [[0, near / 2, far / 2, 0], [0, near / 2, far / 2 + both, 0]], rtol=1e-6)
    # Views are ranked: purchases of 1 and of 2 speak for 0, and 1 would speak for itself. Views of 0 and 1 share one.
    found = scores_of(info, {"view": view, "buy": buy}, [1, 2], behavior=0, shrinkage=1.0, others=0.5)
    np.testing.assert_allclose(found, [[(near + far) / 2, far, 0, 0], [far, far, 0, 0]], rtol=1e-6)


@pytest.mark.parametrize(("most", "shrinkage", "block"), [(1, 0.0, 5), (4, 3.5, 64), (1000, 10.0, 5)])
@pytest.mark.parametrize("ranked", [0, 2])
def test_the_dense_formula(ranked, most, shrinkage, block, monkeypatch):
    monkeypatch.setattr(neighbors, "TILE", block)
    source = toy.dataset()
    name = source.info.behaviors[ranked]
    weights = {"view": 0.3, "cart": 0.25, "buy": 0.3} | {name: 1.0}
    expected = dense(source.train, name, weights, most, shrinkage)
    users = np.array([7, 0, 22, 7, 1, 2, 3])
    given = {"neighbors": most, "shrinkage": shrinkage, "others": 0.3}
    given["weights"] = {"cart": 0.25}
    # A tile as well as a block: neighbors lie outside it.
    found = scores_of(source.info, source.train, users, tile=(8, 22), behavior=ranked, **given)
    np.testing.assert_allclose(found, expected[users, 8:30], rtol=1e-5, atol=1e-6)


def test_of_the_ranked_behavior_alone_it_is_itemknn():
    source = toy.dataset()
    users = np.arange(23)
    config = itemknn.ItemknnConfig(history="behavior")
    expected = scores_of(source.info, source.train, users, module=itemknn, config=config)
    np.testing.assert_array_equal(scores_of(source.info, source.train, users, others=0.0), expected)
    alone = scores_of(source.info, source.train, users, weights={"view": 0.0, "cart": 0.0})
    np.testing.assert_array_equal(alone, expected)


def test_a_planted_road_from_views_to_purchases_is_found():
    """Who views item p buys item 10 + p, which he never viewed: the withheld purchase must come first."""
    rng = np.random.default_rng(4)
    viewed = rng.random((60, 10)) < 0.3
    bought = viewed.copy()
    viewed[:, 0] = bought[:20, 0] = True
    bought[20:, 0] = False
    nothing = np.zeros((60, 10), bool)
    info = types.DatasetInfo("road", 60, 20, ("view", "buy"))
    sides = {"view": np.hstack([viewed, nothing]), "buy": np.hstack([nothing, bought])}
    train = {name: scipy.sparse.csr_array(matrix.astype(np.float32)) for name, matrix in sides.items()}
    found = scores_of(info, train, np.arange(20, 60), neighbors=1, shrinkage=0.0, weights={"buy": 0.0})
    assert (np.argmax(np.where(sides["buy"][20:], -1, found), axis=1) == 10).all()


def test_what_cannot_be_meant_is_refused():
    info = toy.dataset().info
    with pytest.raises(errors.ConfigError, match=r"model\.weights 'cat'.*Did you mean 'cart'"):
        cross_occurrence.build(cross_occurrence.CrossOccurrenceConfig(weights={"cat": 1.0}), info)
    with pytest.raises(
        errors.ConfigError, match=r"nothing that speaks for 'buy': every weight is 0\. Give one of view"
    ):
        cross_occurrence.build(cross_occurrence.CrossOccurrenceConfig(others=0.0, weights={"buy": 0.0}), info)
    for wrong in ({"others": -0.1}, {"weights": {"buy": -1.0}}, {"weights": {"buy": float("inf")}}):
        with pytest.raises(pydantic.ValidationError, match=r"greater than or equal to 0|finite"):
            cross_occurrence.CrossOccurrenceConfig(**wrong)
