"""What is told of lists and memory before anything is made, beside what then is made."""

import jax
import numpy as np
import pytest
from scipy import sparse

from mbjax import types
from mbjax.features import extent, foretold, prepared, teaching
from mbjax.models import funnel, funnel_config
from mbjax.ops import listwise

USERS, ITEMS, BEHAVIORS = 400, 300, ("view", "cart", "buy")
INFO = types.DatasetInfo("made", USERS, ITEMS, BEHAVIORS)
CONFIG = funnel_config.FunnelConfig(penalty=5.0, new_items=20)


def log():
    """Train and validation pairs: what is bought was often viewed, by groups of users with tastes."""
    rng = np.random.default_rng(5)
    taste = np.equal.outer(np.arange(USERS) % 6, np.arange(ITEMS) % 6) * 0.12 + 0.01
    view = rng.random((USERS, ITEMS)) < taste
    cart = (view & (rng.random(view.shape) < 0.3)) | (rng.random(view.shape) < 0.002)
    buy = (cart & (rng.random(view.shape) < 0.4)) | (rng.random(view.shape) < 0.004)
    valid = np.zeros_like(buy)
    for user in np.flatnonzero(buy.any(axis=1)):
        valid[user, rng.choice(np.flatnonzero(buy[user]))] = True
    of = [sparse.csr_array(x.astype(np.uint8)) for x in (view, cart, buy & ~valid, valid)]
    return dict(zip(BEHAVIORS, of[:3], strict=True)), {"buy": of[3]}


@pytest.fixture(scope="module")
def evidence():
    train, valid = log()
    return types.Evidence(train, valid=valid, teach=True, seed=2)


@pytest.fixture(scope="module")
def made(evidence):
    """What is prepared, and the store of its lists."""
    found = prepared.prepare(CONFIG, INFO, evidence)
    listed = {b: {part: np.diff(of.ptr) for part, of in parts.items()} for b, parts in found.lists.items()}
    taught = {name: [np.diff(one.ptr) for one in of] for name, of in found.lessons.lists.items()}
    sampler, (stores, everything) = teaching.teach(CONFIG, INFO, evidence, found, 64, 1)
    return listed, taught, sampler, stores, everything


def test_numbers_are_about_those_that_are_made(evidence, made):
    listed, taught, *_ = made
    found = foretold.numbers(CONFIG, INFO, evidence)
    assert set(found.ranked) == {(b, part) for b in BEHAVIORS for part in ("familiar", "new")}
    for (behavior, part), sizes in found.ranked.items():
        if part == "familiar":
            np.testing.assert_array_equal(sizes, listed[behavior][part])
        else:
            assert sizes.sum() == pytest.approx(listed[behavior][part].sum(), rel=0.25)
    assert set(found.folds) == set(taught)
    for name, sizes in found.folds.items():
        actual = np.concatenate(taught[name])
        if name[1] == "new":  # how many answers are left out again is not told, so that there are fewer
            assert 0.8 * actual.size < sizes.size and 0.7 * actual.sum() < sizes.sum(), name
            continue
        assert sizes.size == pytest.approx(actual.size, rel=0.2), name
        assert sizes.sum() == pytest.approx(actual.sum(), rel=0.3), name


def test_the_store_has_the_shapes_that_are_told(evidence, made):
    *_, sampler, stores, everything = made
    told, (shapes, rest) = foretold.lists_of(CONFIG, INFO, foretold.numbers(CONFIG, INFO, evidence), 64)
    assert set(told.sizes) == set(sampler.sizes) == set(stores) == set(shapes)
    assert set(rest) == set(everything)
    for name, of in stores.items():
        assert shapes[name].x.shape[1] == of.x.shape[1]
        assert jax.tree.map(lambda x: x.dtype, shapes[name]) == jax.tree.map(lambda x: x.dtype, of)
        ratio = shapes[name].x.shape[0] / of.x.shape[0]
        most = np.inf if name.endswith(":new:folds") else 4 if name == "buy:new:valid" else 1.3  # how many are found
        assert 0.7 < ratio < most, name
    plan = jax.eval_shape(told.plan, jax.random.key(0), 0)
    state = jax.eval_shape(lambda: funnel.build(CONFIG, INFO, 64).init(jax.random.key(0), {}))
    batch = jax.eval_shape(lambda store, plan: told.batch(store, plan, None, 0), (shapes, rest), plan)
    assert isinstance(batch, listwise.ListBatch)
    loss, _ = jax.eval_shape(lambda s, b: funnel.build(CONFIG, INFO, 64).loss(s, {}, b, None, 0), state, batch)
    assert loss.shape == ()


def test_more_candidates_take_more(evidence):
    few, many = (CONFIG.model_copy(update={"new_items": number}) for number in (20, 80))
    told = [foretold.stages(one, INFO, foretold.numbers(one, INFO, evidence)) for one in (few, many)]
    assert all(told[0][name] < told[1][name] for name in told[0])


def test_very_many_are_ranked_by_groups(evidence, monkeypatch):
    asked = {"buy": np.arange(0, USERS, 2)}
    after = types.Evidence(evidence.train, seed=2, asked=asked)
    found = foretold.numbers(CONFIG, INFO, after)
    assert found.ranked["buy", "new"].size == USERS // 2 and found.ranked["view", "new"].size == 0
    assert not found.folds and not found.valid
    whole = foretold.by_groups(CONFIG, INFO, after, found)
    monkeypatch.setattr(extent, "NEAR_BYTES", 1)
    monkeypatch.setattr(extent, "BYTES", 10_000)
    small = foretold.by_groups(CONFIG, INFO, after, found)
    assert small["ranking of all users"] < whole["ranking of all users"]
    assert small["scores of all users"] == whole["scores of all users"] > 0
