"""Funnel on planted logs with times: recency that decides, a moment that is the answer, origins, new users."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import planted
import pytest
import usual
from scipy import sparse

from mbjax import data, types
from mbjax.data import content, moments
from mbjax.experiment import gathering
from mbjax.features import table
from mbjax.models import funnel, funnel_config

UNTIMED = tuple(family for family in table.FAMILIES if family != "time")
USERS, ITEMS, VIEWS, BUYS = 150, 40, 10, 3
SMALL = {"hidden": 0, "hidden_new": 0, "members": 2, "penalty": 5.0, "steps": 20, "new_items": 4, "times": "always"}
HOUR = 3600.0


@functools.cache
def log(shift: float = 0.0) -> data.Dataset:
    """Ten viewed items a user; bought is, again and again, what was viewed last of what is not bought yet."""
    rng = np.random.default_rng(6)
    pairs = {split: {"view": [], "buy": []} for split in content.PUBLISHED_SPLITS}
    when = {"view": [], "buy": []}
    for user in range(USERS):
        viewed = rng.permutation(ITEMS)[:VIEWS]
        time = np.sort(np.round(rng.random(VIEWS) * 200 * HOUR)) + 500 * HOUR
        bought = viewed[::-1][: BUYS + 2]
        pairs["train"]["view"] += [(user, i) for i in viewed]
        when["view"] += time.tolist()
        pairs["train"]["buy"] += [(user, i) for i in bought[:BUYS]]
        when["buy"] += (time[-1] + HOUR * np.arange(1, BUYS + 1)).tolist()
        pairs["valid"]["buy"].append((user, bought[BUYS]))
        pairs["test"]["buy"].append((user, bought[BUYS + 1]))
    return timed(USERS, ITEMS, pairs, when, shift)


def timed(num_users, num_items, pairs, when, shift=0.0) -> data.Dataset:
    events = {}
    for b, seconds in when.items():
        user, item = np.array(pairs["train"][b]).T
        events[b] = moments.of(user * num_items + item, np.array(seconds) + shift)
    made = content.build("timed", num_users, num_items, ("view", "buy"), pairs, events={"train": events})
    return data.dataset.prepare(made)


def trained(source, epochs=6, **options):
    """(model, parameters, what it prepared, what it learned from)."""
    config = funnel_config.FunnelConfig(**(SMALL | options))
    model = funnel.build(config, source.info, 64)
    evidence = gathering.evidence(source, None, times=model.times, teach=True)
    return planted.taught(model, evidence, epochs, 0.02)


def scores(made):
    model, params, graphs, _ = made
    tables = jax.jit(model.encode)(params, graphs)
    return np.asarray(model.score(params, tables, jnp.arange(USERS), 0, ITEMS, 1), np.float64)


def hits(source, found) -> float:
    """How often the tested item is the first of the viewed ones that are neither bought nor validated."""
    open_ = source.train["view"].toarray() - source.train["buy"].toarray() - source.valid["buy"].toarray()
    first = np.where(open_ > 0, found, -np.inf).argmax(axis=1)
    return np.mean(source.test["buy"].toarray()[np.arange(USERS), first])


@pytest.mark.exhaustive
@pytest.mark.parametrize("sources", usual.cases(["folds,valid", "folds"], {"folds,valid"}.__contains__))
def test_recency_decides_and_is_found(sources):
    sources = tuple(sources.split(","))
    source = log()
    assert source.info.times
    without = funnel.build(funnel_config.FunnelConfig(features=UNTIMED), source.info, 64)
    assert not without.times
    assert hits(source, scores(trained(source, sources=sources))) > 0.9
    if len(sources) == 2:
        assert hits(source, scores(trained(source, sources=sources, features=UNTIMED))) < 0.4


@pytest.mark.exhaustive
@pytest.mark.parametrize("is_fitted", usual.cases([True, False], bool))
def test_no_fold_knows_its_own_moments(is_fitted):
    """Each item is met by one user alone: that it was bought this week is the answer, and nobody else says it."""
    rng = np.random.default_rng(7)
    number = 60
    pairs = {split: {"view": [], "buy": []} for split in content.PUBLISHED_SPLITS}
    when = {"view": [], "buy": []}
    for user in range(number):
        viewed = user * VIEWS + rng.permutation(VIEWS)
        pairs["train"]["view"] += [(user, i) for i in viewed]
        when["view"] += (rng.random(VIEWS) * 100 * HOUR).tolist()
        pairs["train"]["buy"] += [(user, i) for i in viewed[:BUYS]]
        when["buy"] += (100 * HOUR + rng.random(BUYS) * HOUR).tolist()
        pairs["test"]["buy"].append((user, viewed[BUYS]))
    source = timed(number, number * VIEWS, pairs, when)
    source = dataclasses.replace(source, valid={})
    options = {"sources": ("folds",), "features": ("time",), "cross_fitting": is_fitted, "l2_weight": 20.0}
    model, params, graphs, (sampler, store) = trained(source, 8, **options)
    name = "buy:familiar:folds"
    count, _ = sampler.sizes[name]
    every = sampler._replace(sizes={name: (count, count)}, steps_per_epoch=1)
    batch = every.batch(store, every.plan(jax.random.key(0), 0), None, 0)
    _, parts = jax.jit(lambda: model.loss(params, graphs, batch, None, 0))()
    lists = batch.lists[name]
    chance = float(jnp.log1p((lists.mask & (lists.positive == 0)).sum(axis=1)).mean())
    share = float(parts["lists"]) / SMALL["members"] / chance
    assert 0.85 < share < 1.05 if is_fitted else share < 0.5


@pytest.mark.exhaustive
def test_another_origin_of_time_changes_nothing():
    first, second = (trained(log(shift), 1)[2]["funnel"]["buy"] for shift in (0.0, 1.6e9))
    for part in ("familiar", "new"):
        np.testing.assert_array_equal(*(np.asarray(made[part]["x"]) for made in (first, second)))


@pytest.mark.exhaustive
def test_columns_are_absent_without_times():
    source = log()
    bare = source.without_times()
    with_, without = (funnel.build(funnel_config.FunnelConfig(times="always"), s.info, 64) for s in (source, bare))
    assert with_.times and not without.times
    wide, narrow = (
        dict(model.prepare(gathering.evidence(s, None, times=model.times)))["funnel"]["buy"]
        for model, s in ((with_, source), (without, bare))
    )
    for part in ("familiar", "new"):
        names = table.names(("view", "buy"), "buy", familiar=part == "familiar", timed=True)
        assert wide[part]["x"].shape[1] == len(names)
        chosen = [place for place, name in enumerate(names) if not name.startswith("time_")]
        np.testing.assert_array_equal(np.asarray(wide[part]["x"])[:, chosen], np.asarray(narrow[part]["x"]))


@pytest.mark.exhaustive
def test_new_users_have_the_numbers_of_users():
    """A user who is taken out and comes back with the same events is ranked by the same numbers; without times, too."""
    source = log()
    model = funnel.build(funnel_config.FunnelConfig(**SMALL), source.info, 64)
    evidence = gathering.evidence(source, None, times=True)
    whole = dict(model.prepare(evidence))["funnel"]["buy"]
    mine = np.array([USERS - 1])  # his indices are the last ones, so that those of the others stay

    def rest(matrix):
        dense = matrix.toarray()
        dense[mine] = 0
        return sparse.csr_array(dense)

    others = dataclasses.replace(source, train={b: rest(m) for b, m in source.train.items()})
    passive = {b: sparse.csr_array(m[mine]) for b, m in source.train.items()}
    known = {b: moments.rows(of, mine, ITEMS) for b, of in source.events["train"].items()}
    more = {"passive": passive, "times": True, "alone": True}
    ranked = {}
    for name, events in (("known", known), ("unknown", None)):
        made = gathering.evidence(others, None, passive_events=events, **more)
        ranked[name] = dict(model.prepare(made))["funnel"]["buy"]
    x, row = (np.asarray(whole["familiar"][key]) for key in ("x", "row"))
    np.testing.assert_allclose(np.asarray(ranked["known"]["familiar"]["x"]), x[row == mine[0]], atol=0.02)
    names = table.names(("view", "buy"), "buy", familiar=True, timed=True)
    unknown = np.asarray(ranked["unknown"]["familiar"]["x"])
    assert (unknown[:, names.index("time_since")] == 0).all()  # all of it happened just now
    assert np.isfinite(unknown).all()


def test_validation_pairs_that_join_bring_their_times():
    source = dataclasses.replace(log(), mask_valid=True)
    user, item = source.valid["buy"].nonzero()
    held = moments.of(user.astype(np.int64) * ITEMS + item, np.full(user.size, 900 * HOUR))
    nothing = moments.of(np.zeros(0, np.int64), np.zeros(0))
    source = dataclasses.replace(source, events=source.events | {"valid": {"view": nothing, "buy": held}})
    joined = gathering.evidence(source, None, joined=True, times=True)
    matrix = joined.train["buy"]
    assert matrix.nnz == USERS * (BUYS + 1) == joined.events["buy"].ptr[-1]
    seconds = sparse.csr_array((joined.events["buy"].seconds, matrix.indices, matrix.indptr), matrix.shape).toarray()
    np.testing.assert_array_equal(seconds[user, item], 900 * HOUR)
    assert isinstance(joined, types.Evidence) and not joined.valid


def followed(num_users=120, num_views=12) -> data.Dataset:
    """A quarter of the views is followed by a purchase at once, by chance alone; each user's last one is tested."""
    rng = np.random.default_rng(8)
    pairs = {split: {"view": [], "buy": []} for split in content.PUBLISHED_SPLITS}
    when = {"view": [], "buy": []}
    for user in range(num_users):
        viewed = rng.permutation(ITEMS)[:num_views]
        pairs["train"]["view"] += [(user, i) for i in viewed]
        when["view"] += (HOUR * np.arange(num_views)).tolist()
        bought = np.sort(rng.choice(num_views, 4, replace=False))
        held = int(rng.integers(0, 3))
        for place, at in enumerate(bought):
            split = "test" if place == 3 else "valid" if place == held else "train"
            pairs[split]["buy"].append((user, viewed[at]))
            if split == "train":
                when["buy"].append(HOUR * at + 60.0)
    return timed(num_users, ITEMS, pairs, when)


@pytest.mark.exhaustive
def test_what_is_late_is_not_taken_for_what_is_not_bought():
    """Among known pairs the late ones were never bought, since the tested pair is the last: times would be avoided."""
    source = followed()

    def place(**options):
        """Share of the open views that are ranked before the tested one: a half by chance."""
        found = scores_of(source, **options)
        open_ = source.train["view"].toarray() - source.train["buy"].toarray() - source.valid["buy"].toarray()
        tested = (found * source.test["buy"].toarray()).sum(axis=1, keepdims=True)
        return (((found > tested) & (open_ > 0)).sum(axis=1) / (open_.sum(axis=1) - 1)).mean()

    assert 0.4 < place(times="auto") < 0.6
    assert place(times="always") > 0.6


def scores_of(source, **options):
    model, params, graphs, _ = trained(source, **options)
    tables = jax.jit(model.encode)(params, graphs)
    number = source.info.num_users
    return np.asarray(model.score(params, tables, jnp.arange(number), 0, ITEMS, 1), np.float64)


def test_times_are_looked_at_where_the_split_is_in_time():
    info = types.DatasetInfo("made", 9, 9, ("view", "buy"), times=True)
    config = funnel_config.FunnelConfig()
    for later, how, expected in ((False, "auto", False), (True, "auto", True), (False, "always", True)):
        model = funnel.build(config.model_copy(update={"times": how}), info._replace(later=later), 8)
        assert model.times == expected == (not model.notes)
    (note,) = funnel.build(config, info, 8).notes
    assert "time_80_10_10" in note
    assert not funnel.build(config, info._replace(times=False), 8).notes
    assert not funnel.build(config.model_copy(update={"features": ("ease",)}), info, 8).notes


@pytest.mark.parametrize(
    ("options", "later", "expected"),
    [({}, False, None), ({}, True, "times are looked at"), ({"cross_fitting": False}, False, "leaves nothing out")],
)
def test_a_fold_that_cannot_be_left_out_for_all_is_said(options, later, expected):
    info = types.DatasetInfo("log", 30, 20, ("view", "buy"), times=later, later=later)
    notes = funnel.build(funnel_config.FunnelConfig(left_out="fold", **options), info, 8).notes
    assert [expected in note for note in notes] == ([True] if expected else [])
