"""Own items: levels and ranking worked by hand, exact scores, and the published numbers on real data."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse
import toy

from mbjax import data, errors, evaluate, types
from mbjax.data import options
from mbjax.models import own_items, popularity
from mbjax.ops import graph

# One user and six items. Met by view: 0 1 2; by favourite: 2 3; by cart: 1 3 4. Bought by other users: below.
MET = {"view": [0, 1, 2], "favourite": [2, 3], "cart": [1, 3, 4]}
BOUGHT = [0, 2, 2, 0, 5, 2]  # training pairs of each item


def make(info, train, **config):
    model = own_items.build(own_items.OwnItemsConfig(**config), info)
    graphs = graph.from_train(model.graphs, train)
    tables = jax.jit(model.encode)({}, graphs)
    score = jax.jit(model.score, static_argnums=(4, 5))
    return model, lambda users, start, size, k: np.asarray(score({}, tables, jnp.asarray(users), start, size, k))


def by_hand():
    """The user above is user 0 of six; users 1 .. 5 bought."""
    matrices = {}
    for name, items in MET.items():
        dense = np.zeros((6, 6))
        dense[0, items] = 1
        matrices[name] = scipy.sparse.csr_array(dense)
    bought = np.zeros((6, 6))
    for item, count in enumerate(BOUGHT):
        bought[1 : 1 + count, item] = 1
    return types.DatasetInfo("hand", 6, 6, (*MET, "buy")), matrices | {"buy": scipy.sparse.csr_array(bought)}


@pytest.mark.parametrize(
    ("level", "levels", "ranking"),
    [
        # view 1, favourite 2, cart 4
        ("funnel", [1, 5, 3, 6, 4, 0], [3, 1, 4, 2, 0, 5]),
        # item 1 and 2 are level 2 and bought twice each: the smaller id first
        ("count", [1, 2, 2, 2, 1, 0], [1, 2, 3, 4, 0, 5]),
        # by cart: 1 3 4, bought 2, 0, 5 times
        ("most_downstream", [1, 3, 2, 3, 3, 0], [4, 1, 3, 2, 0, 5]),
    ],
)
def test_levels_by_hand(level, levels, ranking):
    _, score = make(*by_hand(), level=level)
    place = np.array([0, 1, 1, 0, 2, 1])  # of 0, 2 and 5 among the three counts
    (scores,) = score([0], 0, 6, 3)
    np.testing.assert_array_equal(scores, 3 * np.array(levels) + place)
    assert np.argsort(-scores, kind="stable").tolist() == ranking


def test_the_auxiliaries_of_an_auxiliary_are_all_others():
    _, score = make(*by_hand())
    # Favourite is ranked: view 1, cart 2, buy 4. Its counts are 0 and 1. User 1 bought 1, 2, 4, 5 and met nothing else.
    np.testing.assert_array_equal(score([0, 1], 0, 6, 1), [[2, 6, 3, 5, 4, 0], [0, 8, 9, 1, 8, 8]])


def test_of_one_behavior_it_ranks_as_popularity():
    source = toy.dataset(1)
    _, score = make(source.info, source.train)
    counts = source.train["buy"].toarray().astype(int).sum(axis=0)
    first, second = score([0, 5], 0, 31, 0)
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(np.argsort(-first, kind="stable"), np.argsort(-counts, kind="stable"))


@pytest.mark.parametrize("level", ["funnel", "count", "most_downstream"])
def test_any_tile_is_a_slice(level):
    source = toy.dataset(4)
    _, score = make(source.info, source.train, level=level)
    users = [3, 0, 22, 3]
    for behavior in range(4):
        whole = score(users, 0, 31, behavior)
        np.testing.assert_array_equal(score(users, 9, 13, behavior), whole[:, 9:22])


def test_places_of_counts():
    place, number = own_items.dense_rank(jnp.array([7, 0, 1000, 7, 3]))
    np.testing.assert_array_equal(place, [2, 0, 3, 2, 1])
    assert number == 4


def test_too_many_levels_are_refused_and_scores_below_are_exact():
    def build(behaviors, level, num_pairs):
        info = types.DatasetInfo("wide", 4, 10**6, behaviors)
        own_items._check_exact(own_items.OwnItemsConfig(level=level), info, num_pairs)

    names = tuple(f"b{n}" for n in range(14))
    # 8,192 levels; 2,096,128 pairs are enough for 2,048 counts (0 + 1 + ... + 2,047), and 8,192 * 2,048 = 2^24.
    build(names, "funnel", 2_096_128)
    build(names, "count", 10**8)
    with pytest.raises(errors.IncompatibleError, match=r"level=funnel makes 8192 levels of 14.*level=count"):
        build(names, "funnel", 2_096_128 + 2048)


@pytest.mark.parametrize(
    ("level", "hit_rate", "ndcg", "visited"),
    [
        ("funnel", 0.2729, 0.1372, 0.3203),
        ("count", 0.2948, 0.1473, None),
        ("most_downstream", 0.2600, 0.1243, None),
    ],
)
def test_taobao(real_data, level, hit_rate, ndcg, visited):
    source = data.load(real_data("taobao"), options.Options(valid="none"))
    model = own_items.build(own_items.OwnItemsConfig(level=level), source.info)
    graphs = graph.from_train(model.graphs, source.train)
    row = evaluate.Evaluator(source, "test", ks=(10,))(model, {}, graphs).table["buy"]
    assert (round(row["hr@10"], 4), round(row["ndcg@10"], 4)) == (hit_rate, ndcg)
    if visited:
        assert (row["visited"]["pairs"], round(row["visited"]["hr@10"], 4)) == (13163, visited)
        assert (row["unvisited"]["pairs"], row["unvisited"]["hr@10"]) == (2286, 0.0)


def test_after_the_own_items_come_the_popular_ones():
    source = toy.dataset()
    _, score = make(source.info, source.train)
    other = popularity.build(popularity.PopularityConfig(), source.info)
    counts = other.encode({}, graph.from_train(other.graphs, source.train))[2]
    own = (source.train["view"] + source.train["cart"]).toarray() > 0
    for user, scores in enumerate(score(np.arange(23), 0, 31, 2)):
        ranking = np.argsort(-scores, kind="stable")
        number = own[user].sum()
        assert set(ranking[:number]) == set(np.flatnonzero(own[user]))
        rest = np.flatnonzero(~own[user])
        np.testing.assert_array_equal(ranking[number:], rest[np.argsort(-counts[rest], kind="stable")])
