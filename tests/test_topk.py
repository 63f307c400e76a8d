"""Queries and their pass: restricted candidates against sorting, batches that do not divide."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import planted
import pytest
from scipy import sparse

from mbjax import batching, errors, parallel, topk, types
from mbjax.ops import shortlist

USERS, ITEMS = 11, 30
MODEL = planted.model(types.DatasetInfo("planted", USERS, ITEMS, ("buy",)))


def ranked(scores, users, masked, only, batch_size, item_tile, k=ITEMS):
    queries = batching.prepare(users, masked, batch_size, only=only)
    return topk.finish(topk.start(MODEL, scores[None], (), queries, "buy", k, item_tile), users, "buy")[0]


@pytest.mark.parametrize("most", [0, 2**30])
def test_several_sets_of_users_are_ranked_as_each_alone(most, monkeypatch):
    """In one program or in one each; batches of one size, of which the sets fill no multiple."""
    monkeypatch.setattr(batching, "TOGETHER", most)
    rng = np.random.default_rng(5)
    scores = rng.integers(-2, 3, size=(2, USERS, ITEMS)).astype(np.float32)
    model = planted.model(types.DatasetInfo("planted", USERS, ITEMS, ("view", "buy")))
    masked = sparse.csr_array(rng.random((USERS, ITEMS)) < 0.4)
    sets = [("view", np.arange(11)), ("buy", np.array([1, 2, 9])), ("view", np.array([4, 7, 8, 10]))]
    size = batching.common_size([len(users) for _, users in sets], ITEMS, 4)
    assert size == (4 if most else None)
    asked = [(name, batching.prepare(users, masked, 4, size=size)) for name, users in sets]
    if most:
        assert {of.user.shape[1] for _, of in asked} == {4}
    assert len(topk.in_programs(asked, ITEMS)) == (1 if most else 3)
    found = topk.start_all(model, scores, (), asked, 6, 7)
    for (name, users), lists in zip(sets, found, strict=True):
        alone = topk.start(model, scores, (), batching.prepare(users, masked, 5), name, 6, ITEMS)
        for one, other in zip(topk.finish(lists, users, name), topk.finish(alone, users, name), strict=True):
            np.testing.assert_array_equal(one, other)


def test_the_size_of_batches_that_sets_have_in_common():
    """11 and 4 and 3: of 2, 3 and 4 in a batch 2, 3 and 2 places are padding, so that it is 4."""
    assert batching.common_size([11, 4, 3], 30, 4) == 4
    assert batching.common_size([9, 3], 30, 4) == 3
    assert batching.common_size([1, 2], 30, 512) == 1  # no padding at all, and not less than half of the largest set
    assert batching.common_size([9], 30, 4) is None
    assert batching.common_size([2**20, 2**20], 2**10, 4) is None


@pytest.mark.parametrize(("batch_size", "item_tile"), [(512, 512), (4, 7), (1, 30), (3, 29)])
def test_restricted_candidates_equal_sorting(batch_size, item_tile):
    rng = np.random.default_rng(batch_size)
    scores = rng.integers(-2, 3, size=(USERS, ITEMS)).astype(np.float32)
    masked, only = rng.random((2, USERS, ITEMS)) < 0.4
    only[4] = False  # a user without candidates
    users = np.asarray([0, 2, 3, 4, 7, 8, 10], np.int32)
    found = ranked(scores, users, sparse.csr_array(masked), sparse.csr_array(only), batch_size, item_tile)
    for row, user in enumerate(users):
        candidates = np.flatnonzero(only[user] & ~masked[user])
        best = sorted(candidates, key=lambda item: (-scores[user, item], item))
        assert found[row].tolist() == [*best, *[-1] * (ITEMS - len(best))]


@pytest.mark.parametrize(("batch_size", "item_tile"), [(512, 7), (5, 1), (4, 29)])
def test_users_a_few_at_a_time_have_the_lists_of_items_a_few_at_a_time(batch_size, item_tile):
    """Of a model that is asked for all items at once; blocks of users that divide, and that do not."""
    rng = np.random.default_rng(batch_size)
    scores = rng.integers(-2, 3, size=(USERS, ITEMS)).astype(np.float32)
    masked, group = (sparse.csr_array(rng.random((USERS, ITEMS)) < 0.4) for _ in range(2))
    users = np.asarray([0, 2, 3, 4, 7, 8, 10], np.int32)
    sizes = []

    def score(params, tables, users, start, size, behavior):
        sizes.append(size)
        return MODEL.score(params, tables, users, start, size, behavior)

    whole = MODEL._replace(score=score, all_items=True)
    for only in (None, group):
        queries = batching.prepare(users, masked, batch_size, only=only)
        found, of = (
            topk.finish(topk.start(model, scores[None], (), queries, "buy", 6, tile), users, "buy")
            for model, tile in ((whole, item_tile), (MODEL, ITEMS))
        )
        np.testing.assert_array_equal(found[0], of[0])
        np.testing.assert_array_equal(found[1], of[1])
    assert set(sizes) == {ITEMS}


def test_a_group_and_the_rest_share_the_candidates():
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(USERS, ITEMS)).astype(np.float32)
    masked, group = (sparse.csr_array(rng.random((USERS, ITEMS)) < 0.3) for _ in range(2))
    users = np.arange(USERS, dtype=np.int32)
    whole = ranked(scores, users, masked, None, 4, 8)
    inside = ranked(scores, users, masked, group, 4, 8)
    outside = ranked(scores, users, masked + group, None, 4, 8)
    for user in users:
        items = [set(lists[user].tolist()) - {-1} for lists in (whole, inside, outside)]
        assert items[0] == items[1] | items[2] and not items[1] & items[2]


def test_users_of_either_use_share_a_pass():
    rng = np.random.default_rng(1)
    scores = rng.normal(size=(USERS, ITEMS)).astype(np.float32)
    pairs = sparse.csr_array(rng.random((USERS, ITEMS)) < 0.4)
    nothing = sparse.csr_array((USERS, ITEMS), dtype=np.int32)
    users = np.asarray([3, 5, 3, 9, 5], np.int32)
    only = np.asarray([True, True, False, False, False])
    queries = batching.pack(users, pairs[users], 2, only=only)
    found, _ = topk.finish(topk.start(MODEL, scores[None], (), queries, "buy", 6, 8), users, "buy")
    inside, outside = ranked(scores, users, nothing, pairs, 9, 9, 6), ranked(scores, users, pairs, None, 9, 9, 6)
    np.testing.assert_array_equal(found, np.where(only[:, None], inside, outside))


def test_no_candidate_at_all_is_an_empty_list():
    nothing = sparse.csr_array((USERS, ITEMS), dtype=np.int32)
    users = np.arange(3, dtype=np.int32)
    assert (ranked(np.zeros((USERS, ITEMS), np.float32), users, nothing, nothing, 2, 9, k=4) == -1).all()


def test_what_is_handed_on_of_the_graphs_is_not_copied():
    """But parameters are: training gives their memory away."""

    def encode(params, graphs):
        return {"inverse": graphs["inverse"], "sum": graphs["inverse"].sum() + params["w"], "w": params["w"]}

    model = MODEL._replace(encode=encode)
    params, graphs = {"w": jnp.float32(2.0)}, {"inverse": jnp.ones((50, 50)), "unused": jnp.zeros(3)}
    for value in (1.0, 3.0):
        graphs = graphs | {"inverse": value * jnp.ones((50, 50))}
        tables = topk.encode(model, params, graphs)
        assert tables["inverse"] is graphs["inverse"] and tables["w"] is not params["w"]
        assert (float(tables["sum"]), float(tables["w"])) == (2500 * value + 2, 2)


@pytest.mark.parametrize("devices", [1, 2])
def test_users_in_order_of_activity_are_dealt_into_batches_of_equal_mass(devices, monkeypatch):
    monkeypatch.setattr(batching, "FEW", 0)
    monkeypatch.setattr(batching, "FULL", 1)
    rng = np.random.default_rng(3)
    scores = rng.integers(-2, 3, size=(USERS, ITEMS)).astype(np.float32)
    lengths = np.asarray([24, 20, 9, 5, 3, 2, 2, 1, 0, 0, 0])  # 66 in batches of 3: 53 in the fullest, as they come
    met = sparse.csr_array(np.stack([rng.permutation(np.arange(ITEMS) < n) for n in lengths]))
    nobody = sparse.csr_array(met.shape, dtype=bool)
    placement = parallel.Placement(devices)
    order = np.arange(USERS, dtype=np.int32)
    for users in (order, order[::-1].copy(), rng.permutation(order)):
        dealt = batching.prepare(users, met, 3 * devices, placement=placement)  # of a CPU: 3 for each
        assert dealt.item.shape == (4, 25)  # 24 + 1, 20 + 2 + 0, 9 + 2 + 0, 5 + 3 + 0
        found = topk.finish(topk.start(MODEL, scores[None], (), dealt, "buy", 6, 7), users, "buy")
        best = np.where(met.toarray(), -np.inf, scores)[users]
        np.testing.assert_array_equal(found[0], np.argsort(-best, axis=1, kind="stable")[:, :6])
        np.testing.assert_array_equal(found[1], np.sort(best, axis=1)[:, ::-1][:, :6])
        same = batching.prepare(users, nobody, 3, only=met, like=dealt, placement=placement)
        np.testing.assert_array_equal(same.user, dealt.user)
        np.testing.assert_array_equal(same.item, dealt.item)  # what is met, as candidates


def same(own=None, pair=None):
    """Of planted scores that are those of user 0, but for some pairs."""
    return types.SameForAll(lambda params, tables, behavior: jnp.asarray(params[behavior, 0]), own, pair)


@pytest.mark.parametrize(("listed", "alone"), [(None, False), (40, True)])
@pytest.mark.parametrize("tile", [7, 100])
def test_scores_that_are_the_same_for_all_are_sorted_once(listed, alone, tile, monkeypatch):
    """Ties, users who met the best items, one who met nothing, items that may not be listed; some rank their own."""
    rng = np.random.default_rng(tile)
    items = 100
    scores = np.broadcast_to(rng.integers(0, 9, items).astype(np.float32), (USERS, items))
    met = rng.random((USERS, items)) < 0.08
    met[3], met[4, np.argsort(-scores[0])[:10]] = False, True
    limits = batching.Limits(None if listed is None else jnp.asarray(rng.permutation(items) < listed))
    model = planted.model(types.DatasetInfo("planted", USERS, items, ("buy",)))
    users, lengths = np.arange(USERS), []
    of = shortlist.of
    monkeypatch.setattr(shortlist, "of", lambda scores, size: lengths.append(size) or of(scores, size))
    only = users % 3 == 0 if alone else None
    queries = batching.pack(users, sparse.csr_array(met), 4, only=only)
    assert met.sum(axis=1).max() <= queries.most < 2 * met.sum(axis=1).max()
    found, wanted = (
        topk.finish(topk.start(one, scores[None], (), queries, "buy", 6, tile, limits), users, "buy")
        for one in (model._replace(same_for_all=same()), model)
    )
    assert lengths == [6 + queries.most]
    np.testing.assert_array_equal(found[0], wanted[0])
    np.testing.assert_array_equal(found[1], wanted[1])


@pytest.mark.parametrize(("block", "listed", "alone"), [(5, None, False), (2**14, 60, True)])
def test_scores_that_are_the_same_but_for_own_pairs(block, listed, alone, monkeypatch):
    """Own pairs in two patterns that overlap, ties among them and with others; one user has none, one knows all."""
    monkeypatch.setattr(batching, "TOGETHER", 0)
    monkeypatch.setattr(shortlist, "BLOCK", block)
    rng = np.random.default_rng(block)
    items = 100
    patterns = rng.random((2, USERS, items)) < np.array([0.08, 0.02])[:, None, None]
    patterns[:, [0, 3]], patterns[1, 5] = False, True
    own = [sparse.csr_array(pattern) for pattern in patterns]
    own = [(jnp.asarray(of.indptr, jnp.int32), jnp.asarray(of.indices, jnp.int32)) for of in own]
    scores = np.broadcast_to(rng.integers(0, 9, items).astype(np.float32), (USERS, items))
    scores = scores + patterns.any(axis=0) * rng.integers(0, 5, (USERS, items)).astype(np.float32)
    masked = rng.random((USERS, items)) < 0.08
    limits = batching.Limits(None if listed is None else jnp.asarray(rng.permutation(items) < listed))
    model = planted.model(types.DatasetInfo("planted", USERS, items, ("buy",)))
    users = rng.permutation(np.repeat(np.arange(USERS), 2))
    queries = batching.pack(users, sparse.csr_array(masked[users]), 4, only=users % 3 == 0 if alone else None)

    def pair(params, tables, user, item, behavior):
        return jnp.asarray(params)[behavior].at[user, item].get(mode="clip")

    found, wanted = (
        topk.finish(topk.start(one, scores[None], (), queries, "buy", 6, 100, limits), users, "buy")
        for one in (model._replace(same_for_all=same(lambda *_: own, pair)), model)
    )
    np.testing.assert_array_equal(found[0], wanted[0])
    np.testing.assert_array_equal(found[1], wanted[1])


def test_a_shortlist_that_ends_early():
    """Fewer items than places may be listed: the rest is empty, as ever."""
    scores = np.broadcast_to(np.arange(30, dtype=np.float32), (USERS, 30))
    limits = batching.Limits(jnp.arange(30) < 3)
    queries = batching.prepare(np.arange(2), sparse.csr_array(np.eye(USERS, 30)), 2)
    model = MODEL._replace(same_for_all=same())
    found = topk.finish(topk.start(model, scores[None], (), queries, "buy", 4, 30, limits), np.arange(2), "buy")
    assert found[0].tolist() == [[2, 1, -1, -1], [2, 0, -1, -1]]
    assert found[1].tolist() == [[2, 1, -np.inf, -np.inf], [2, 0, -np.inf, -np.inf]]


def test_a_score_that_is_nan_is_found_on_the_shortlist_too():
    scores = np.broadcast_to(np.where(np.arange(30) == 7, np.nan, 1.0).astype(np.float32), (USERS, 30))
    queries = batching.prepare(np.arange(2), sparse.csr_array((USERS, 30)), 2)
    with pytest.raises(errors.TrainingDivergedError, match="scores of 2 of 2 users are nan"):
        model = MODEL._replace(same_for_all=same())
        topk.finish(topk.start(model, scores[None], (), queries, "buy", 4, 30), np.arange(2), "buy")
