"""Log loss and calibration: by hand, against numpy, and of a model that is right about what it drew."""

from __future__ import annotations

import math

import jax
import numpy as np
import planted
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mbjax import batching, evaluate, probabilities, types


def log_softmax(params, tables, users, start, size, behavior):
    """Of the parameters [K, U, I], over all items."""
    logits = params[behavior][users]
    return jax.lax.dynamic_slice_in_dim(jax.nn.log_softmax(logits, axis=1), start, size, axis=1)


def model(info, score=planted.read) -> types.Model:
    return planted.model(info, score)._replace(probabilities=True)


def measured(data, log_p, **options):
    """Of buy: what the table says, and the curve."""
    evaluator = evaluate.Evaluator(data, "test", **options)
    found = evaluator(model(data.info), np.asarray(log_p, np.float32), {}, details=True)
    return found.table["buy"]["probabilities"], found.reliability["buy"]


def of_p(*rows):
    with np.errstate(divide="ignore"):
        return np.log(np.asarray([rows]))


def test_one_user_by_hand():
    """Item 0 is masked: what is left of 1/2, 1/4, 1/8, 1/8 becomes 1/2, 1/4, 1/4."""
    data = planted.dataset(1, 4, ("buy",), {"buy": [(0, 0)]}, {"buy": [(0, 1)]})
    row, curve = measured(data, of_p([0.5, 0.25, 0.125, 0.125]))
    assert row == {
        "pairs": 1,
        "log_loss": pytest.approx(math.log(2)),
        "uniform_log_loss": pytest.approx(math.log(3)),
        "calibration_error": pytest.approx(1.0),  # |1 - 1/2| + |0 - 1/2|
        "error_by_chance": pytest.approx(2 * math.exp(-0.5)),  # Poisson of mean 1/2: |0 - 1/2| e^-1/2, and half above
        "mass": pytest.approx(0.5),
        "impossible": 0,
    }
    assert curve.columns == ["predicted", "observed", "expected", "found", "trials"]
    assert curve.rows() == [
        pytest.approx((0.5, 1.0, 0.5, 1, 1.0)),
        pytest.approx((0.25, 0.0, 0.5, 0, 2.0)),
    ]


def test_two_pairs_of_a_user_are_expected_twice_as_often():
    data = planted.dataset(2, 3, ("buy",), {"buy": [(0, 2)]}, {"buy": [(0, 0), (0, 1)]})
    row, curve = measured(data, of_p([0.6, 0.4, 0.0], [1 / 3, 1 / 3, 1 / 3]))
    assert row["log_loss"] == pytest.approx(-(math.log(0.6) + math.log(0.4)) / 2)
    assert curve["expected"].to_list() == pytest.approx([1.2, 0.8])
    assert curve["found"].to_list() == [1, 1]
    assert curve["observed"].to_list() == [0.5, 0.5]
    assert row["calibration_error"] == pytest.approx((0.2 + 0.2) / 2)


def test_what_had_probability_zero_is_told():
    data = planted.dataset(2, 4, ("buy",), {}, {"buy": [(0, 1), (1, 2)]})
    row, curve = measured(data, of_p([0.5, 0.0, 0.5, 0.0], [0.25] * 4))
    assert (row["log_loss"], row["impossible"]) == (math.inf, 1)
    assert curve["found"].sum() == 2 and curve["expected"].sum() == pytest.approx(2.0)
    lines = probabilities.lines({"buy": {"probabilities": row}})
    assert lines[0].startswith("buy: log loss inf") and lines[0].endswith("1 of 2 held-out pairs had probability 0")


def test_pairs_that_the_mask_takes_away_do_not_count():
    data = planted.dataset(1, 4, ("view", "buy"), {"view": [(0, 1)]}, {"buy": [(0, 1)]})
    row, curve = measured(data, np.log(np.full((2, 1, 4), 0.25)), mask="all_behaviors")
    assert row == {"pairs": 0} and curve["found"].sum() == 0
    assert not probabilities.lines({"buy": {"probabilities": row}}) and not probabilities.in_short({"buy": {}})


def brute_force(data, log_p, mask):
    """Log loss, mass, and the expected and found pairs of buy by probability, sorted; all in float64."""
    truth = data.test["buy"].toarray() != 0
    masked = data.train["buy"].toarray() != 0
    if data.mask_valid:
        masked |= (data.valid["buy"].toarray() != 0) & ~truth
    if mask == "all_behaviors":
        masked |= (data.train["view"].toarray() != 0) | (data.train["cart"].toarray() != 0)
    truth &= ~masked
    p = np.where(masked, 0.0, np.exp(np.float64(log_p[2])))
    mass = p.sum(axis=1, keepdims=True)
    p /= mass
    draws = truth.sum(axis=1, keepdims=True)
    expected = np.broadcast_to(p * draws, p.shape)
    uniform = np.broadcast_to((~masked).sum(axis=1, keepdims=True), p.shape)
    return {
        "pairs": truth.sum(),
        "log_loss": -np.log(p[truth]).mean(),
        "uniform_log_loss": np.log(uniform[truth]).mean(),
        "mass": np.broadcast_to(mass, p.shape)[truth].mean(),
    }, [(p[cell], expected[cell], truth[cell]) for cell in zip(*np.nonzero(~masked & (draws > 0)), strict=True)]


@settings(max_examples=5, deadline=None)  # of each a pass is compiled
@given(
    seed=st.integers(0, 10**6),
    mask=st.sampled_from(["same_behavior", "all_behaviors"]),
    mask_valid=st.booleans(),
    sizes=st.sampled_from([(512, 16384), (3, 7), (5, 1), (17, 39)]),
)
def test_equals_numpy_for_any_tile_and_batch(seed, mask, mask_valid, sizes):
    rng = np.random.default_rng(seed)
    data = planted.random(rng, mask_valid)
    logits = rng.normal(size=(3, 17, 40)).astype(np.float32) * 2
    options = {"mask": mask, "batch_size": sizes[0], "item_tile": sizes[1], "behaviors": ("buy",)}
    evaluator = evaluate.Evaluator(data, "test", **options)
    found = evaluator(model(data.info, log_softmax), logits, {}, details=True)
    row, curve = found.table["buy"]["probabilities"], found.reliability["buy"]
    log_p = logits - np.log(np.exp(np.float64(logits)).sum(axis=2, keepdims=True))
    expected, cells = brute_force(data, log_p, mask)
    if not expected["pairs"]:
        assert row == {"pairs": 0}
        return
    for name, value in expected.items():
        assert row[name] == pytest.approx(value, rel=1e-4), name
    # A bin holds a range of probabilities: how much is expected and found there follows from its number of trials.
    cells.sort(key=lambda cell: -cell[0])
    assert curve["expected"].sum() == pytest.approx(sum(cell[1] for cell in cells), rel=1e-4)
    assert curve["found"].sum() == sum(cell[2] for cell in cells)
    assert curve["predicted"].is_sorted(descending=True)
    gaps = np.abs(curve["expected"].to_numpy() - curve["found"].to_numpy()).sum()
    assert row["calibration_error"] == pytest.approx(gaps / row["pairs"])


def drawn(rng, num_users, num_items, temperature=1.0, sharpness=1.5):
    """One bought item for each user, drawn from a distribution of his own; its logits, divided by a temperature."""
    logits = rng.normal(size=(num_users, num_items)) * sharpness
    item = (logits + rng.gumbel(size=logits.shape)).argmax(axis=1)
    data = planted.dataset(num_users, num_items, ("buy",), {}, {"buy": list(enumerate(item))})
    return data, (logits / temperature).astype(np.float32)[None]


def test_a_model_that_is_right_is_calibrated_and_one_that_is_too_sure_is_not():
    seed, sizes = 3, (4000, 60)
    for temperature, is_right in ((1.0, True), (0.6, False), (2.0, False)):
        data, logits = drawn(np.random.default_rng(seed), *sizes, temperature)
        found = evaluate.Evaluator(data, "test")(model(data.info, log_softmax), logits, {}, details=True)
        row, curve = found.table["buy"]["probabilities"], found.reliability["buy"]
        # 4,000 pairs in 15 bins: sqrt(2 / pi) sqrt(15 / 4000).
        assert row["error_by_chance"] == pytest.approx(math.sqrt(2 / math.pi * 15 / 4000), rel=0.01)
        assert len(curve) == probabilities.NUM_BINS and curve["expected"].max() < 1.5 * 4000 / 15
        if is_right:
            assert row["calibration_error"] < 1.5 * row["error_by_chance"]
            best = row["log_loss"]
        else:
            assert row["calibration_error"] > 4 * row["error_by_chance"]
            assert row["log_loss"] > best
            # Too sure: what is thought likely happens less often than said; too careful: more often.
            too_sure = curve["observed"][0] < curve["predicted"][0]
            assert too_sure == (temperature < 1)
        assert row["mass"] == pytest.approx(1.0, rel=1e-5)


def test_batches_in_which_users_are_dealt_by_their_pairs(monkeypatch):
    """Of many users whose masked pairs are those of a few; nobody's number depends on who is beside him."""
    masked = [(u, i) for u in range(3) for i in range(15)]
    data = planted.dataset(10, 20, ("buy",), {"buy": masked}, {"buy": [(u, 19 - u % 4) for u in range(10)]})
    log_p = np.log(np.random.default_rng(0).dirichlet(np.ones(20), (1, 10)))
    in_order = measured(data, log_p, batch_size=4)
    monkeypatch.setattr(batching, "FEW", 0)
    monkeypatch.setattr(batching, "FULL", 1)
    row, curve = measured(data, log_p, batch_size=4)
    assert row == pytest.approx(in_order[0], rel=1e-6)
    np.testing.assert_allclose(curve.to_numpy(), in_order[1].to_numpy(), rtol=1e-6)


def test_the_same_probability_everywhere_is_one_bin():
    data = planted.dataset(50, 20, ("buy",), {}, {"buy": [(u, u % 20) for u in range(50)]})
    row, curve = measured(data, np.full((1, 50, 20), -math.log(20)))
    assert len(curve) == 1 and row["calibration_error"] == pytest.approx(0.0, abs=1e-6)
    assert row["log_loss"] == pytest.approx(row["uniform_log_loss"], rel=1e-6)
    assert curve["observed"][0] == 1 / 20 and curve["predicted"][0] == pytest.approx(1 / 20)


@given(
    fine=st.lists(st.tuples(st.floats(0, 100), st.integers(0, 30)), min_size=1, max_size=60),
    num_bins=st.integers(1, 20),
)
def test_putting_bins_together_loses_nothing(fine, num_bins):
    expected, found = (np.asarray(x, np.float64) for x in zip(*fine, strict=True))
    made = probabilities.curve(expected * 10, expected, found, num_bins)
    assert len(made) <= num_bins
    assert made["expected"].sum() == pytest.approx(expected.sum())
    assert made["found"].sum() == found.sum()
    # A bin is larger than its share by no more than a fine bin at each end.
    assert (made["expected"] <= expected.sum() / num_bins + expected.max() + 1e-9).all()


def test_in_words():
    row = {"pairs": 9, "log_loss": 5.0, "uniform_log_loss": 7.5, "calibration_error": 0.041, "error_by_chance": 0.03}
    table = {"view": {"users": 3}, "buy": {"probabilities": row | {"mass": 1.0, "impossible": 0}}}
    assert probabilities.lines(table) == [
        "buy: log loss 5.000 nats, 7.500 if all candidates were alike; calibration error 4.1 %, 3.0 % by chance alone"
    ]
    assert probabilities.in_short(table) == (
        "probabilities: calibration error buy 4.1 % (3.0 % by chance); log loss buy 5.000 nats"
    )
