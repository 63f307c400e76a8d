"""Own items: levels and ranking worked by hand, exact scores, and the published numbers on real data."""

import fractions

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse
import toy
import usual

from mbjax import batching, data, errors, evaluate, parallel, seen, topk, types
from mbjax.data import options
from mbjax.models import own_items, popularity
from mbjax.ops import graph, shortlist

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


def test_conversions_by_hand():
    """(bought + 1) / (viewed + 5) of the items met; 5 was met by nobody and follows by its purchases."""
    _, score = make(*by_hand(), level="conversion")
    # 1/6, 3/6, 3/6, 1/5, 6/5 of items 0 .. 4, of which 1/6 < 1/5 < 1/2 < 6/5; item 5, 3/5, lies between.
    (scores,) = score([0], 0, 6, 3)
    np.testing.assert_array_equal(scores, [3 + 0, 3 + 2, 3 + 2, 3 + 1, 3 + 4, 1])  # of 3 counts the place of 2 is 1
    assert np.argsort(-scores, kind="stable").tolist() == [4, 1, 2, 3, 0, 5]
    # Who met nothing gets the popular ones: 5, 2, 2, 2, 0, 0 purchases.
    assert np.argsort(-score([5], 0, 6, 0)[0], kind="stable")[0] == 4


def test_the_conversion_of_an_auxiliary_is_from_the_most_upstream_of_the_others():
    """Favourite is ranked, so from views; view is ranked, so from favourites."""
    _, score = make(*by_hand(), level="conversion")
    # (favourites + 1) / (views + 5): 1/6, 1/6, 2/6, 2/5, 1/5, 1/5; user 0 met 0 1 2 3 4 otherwise. Two counts: 0, 1.
    np.testing.assert_array_equal(score([0], 0, 6, 1), [[2, 2, 4, 5, 3, 0]])
    # (views + 1) / (favourites + 5): 2/5, 2/5, 2/6, 1/6, 1/5, 1/5; met: 1 2 3 4.
    np.testing.assert_array_equal(score([0], 0, 6, 0), [[1, 5, 4, 2, 3, 0]])


def test_equal_fractions_are_equal_and_near_ones_are_not():
    """All fractions are ordered as Python orders them, where float32 and float64 would not."""
    big = 2**31 - 1
    above = [1, 2, 500, 333, big - 1, big - 2, big - 3, 0, 7, big, 1, big - 1, 3]
    below = [3, 6, 1500, 1000, big, big - 1, big - 2, 9, 7, 1, big, big - 1, 9]
    place, number = own_items.dense_rank(*own_items.quotient(jnp.array(above), jnp.array(below)))
    exact = [fractions.Fraction(a, b) for a, b in zip(above, below, strict=True)]
    different = sorted(set(exact))
    assert place.tolist() == [different.index(x) for x in exact] and number == len(different)


def test_conversions_of_any_counts_are_ranked_as_fractions():
    rng = np.random.default_rng(3)
    above, below = rng.integers(1, 30, 500), rng.integers(5, 60, 500)
    place, _ = own_items.dense_rank(*own_items.quotient(jnp.array(above), jnp.array(below)))
    np.testing.assert_array_equal(place, np.unique(above / below, return_inverse=True)[1])


def test_the_auxiliaries_of_an_auxiliary_are_all_others():
    _, score = make(*by_hand())
    # Favourite is ranked: view 1, cart 2, buy 4. Its counts are 0 and 1. User 1 bought 1, 2, 4, 5 and met nothing else.
    np.testing.assert_array_equal(score([0, 1], 0, 6, 1), [[2, 6, 3, 5, 4, 0], [0, 8, 9, 1, 8, 8]])


@pytest.mark.parametrize("level", ["funnel", "conversion"])
def test_of_one_behavior_it_ranks_as_popularity(level):
    source = toy.dataset(1)
    _, score = make(source.info, source.train, level=level)
    counts = source.train["buy"].toarray().astype(int).sum(axis=0)
    first, second = score([0, 5], 0, 31, 0)
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(np.argsort(-first, kind="stable"), np.argsort(-counts, kind="stable"))


@pytest.mark.parametrize(
    "level", usual.cases(["funnel", "count", "most_downstream", "conversion"], {"count"}.__contains__)
)
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
    def build(behaviors, level, num_pairs, num_items=10**6):
        info = types.DatasetInfo("wide", 4, num_items, behaviors)
        own_items._check_exact(own_items.OwnItemsConfig(level=level), info, num_pairs)

    names = tuple(f"b{n}" for n in range(14))
    # 8,192 levels; 2,096,128 pairs are enough for 2,048 counts (0 + 1 + ... + 2,047), and 8,192 * 2,048 = 2^24.
    build(names, "funnel", 2_096_128)
    build(names, "count", 10**8)
    with pytest.raises(errors.IncompatibleError, match=r"level=funnel makes 8192 levels of 14.*level=count"):
        build(names, "funnel", 2_096_128 + 2048)
    # 5,792 counts need 5,791 * 5,792 / 2 pairs; with as many places as items they are 2^24.
    build(names, "conversion", 16_770_736, 2**24 - 5792)
    with pytest.raises(errors.IncompatibleError, match=r"level=conversion may give 16,771,425 items.*level=count"):
        build(names, "conversion", 16_770_736, 2**24 - 5791)


@pytest.mark.parametrize(
    ("level", "hit_rate", "ndcg", "visited"),
    usual.cases(
        [
            ("funnel", 0.2729, 0.1372, 0.3203),
            ("count", 0.2948, 0.1473, None),
            ("most_downstream", 0.2600, 0.1243, None),
            ("conversion", 0.3494, 0.1729, 0.4101),
        ],
        lambda case: case[0] == "conversion",  # the default
    ),
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


@pytest.mark.parametrize("level", usual.cases(["funnel", "conversion"], {"conversion"}.__contains__))
def test_after_the_own_items_come_the_popular_ones(level):
    source = toy.dataset()
    _, score = make(source.info, source.train, level=level)
    other = popularity.build(popularity.PopularityConfig(), source.info)
    counts = other.encode({}, graph.from_train(other.graphs, source.train))[2]
    own = (source.train["view"] + source.train["cart"]).toarray() > 0
    for user, scores in enumerate(score(np.arange(23), 0, 31, 2)):
        ranking = np.argsort(-scores, kind="stable")
        number = own[user].sum()
        assert set(ranking[:number]) == set(np.flatnonzero(own[user]))
        rest = np.flatnonzero(~own[user])
        np.testing.assert_array_equal(ranking[number:], rest[np.argsort(-counts[rest], kind="stable")])


@pytest.mark.parametrize(
    ("level", "devices"),
    usual.cases(
        [("funnel", 1), ("count", 2), ("most_downstream", 1), ("conversion", 2)],
        lambda case: case[0] in ("funnel", "conversion"),
    ),
)
def test_lists_of_many_users_need_no_pass_over_all_items(level, devices, monkeypatch):
    """They are those of a pass, to the bit: of all items, and of familiar ones alone."""
    monkeypatch.setattr(batching, "TOGETHER", 0)
    placement = parallel.Placement(devices)
    rng = np.random.default_rng(1)
    users, items, k = 40, 300, 8
    train = {
        name: scipy.sparse.csr_array(rng.random((users, items)) < share)
        for name, share in (("view", 0.02), ("cart", 0.01), ("buy", 0.004))
    }
    info = types.DatasetInfo("many", users, items, tuple(train))
    model = own_items.build(own_items.OwnItemsConfig(level=level), info)
    tables = topk.encode(model, {}, placement.everywhere(graph.from_train(model.graphs, train)), placement)
    order = rng.permutation(users)
    only = order % 2 == 0
    met = seen.without(seen.union((train["view"], train["cart"]), (users, items)), train["buy"])
    pairs = np.where(only[:, None], met[order].toarray(), train["buy"][order].toarray())
    queries = batching.pack(order, scipy.sparse.csr_array(pairs), 16, only=only, placement=placement)
    looked_up = []
    of = shortlist.of
    monkeypatch.setattr(shortlist, "of", lambda scores, size: looked_up.append(size) or of(scores, size))
    found, wanted = (
        topk.finish(topk.start(one, {}, tables, queries, "buy", k, 300), order, "buy")
        for one in (model, model._replace(same_for_all=None))
    )
    assert looked_up == [k + queries.most]
    np.testing.assert_array_equal(found[0], wanted[0])
    np.testing.assert_array_equal(found[1], wanted[1])
