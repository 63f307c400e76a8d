"""PME: the closed form against experts written out pair by pair."""

import jax
import jax.numpy as jnp
import literal
import numpy as np
import pytest
import usual

from mbjax.backbones import base as backbones
from mbjax.heads import pme
from mbjax.ops import pairs

SIZE, USERS, ITEMS = 4, 5, 6


def make(num_behaviors, **options):
    """A head, random tables of few users and items, and random params."""
    source, _ = literal.pairs(num_behaviors)
    info = source.info._replace(num_users=USERS, num_items=ITEMS)
    head = pme.Pme(pme.PmeConfig(**options), info, SIZE)
    rng = np.random.default_rng(3)
    tables = [rng.normal(size=(USERS + ITEMS, SIZE)) for _ in range(num_behaviors)]
    gate_names = ["gate_0"] if options.get("shared_gate", True) else [f"gate_{k}" for k in range(num_behaviors)]
    gate = {"kernel": (2 * SIZE, num_behaviors), "bias": (num_behaviors,)}
    params = {
        name: {part: rng.normal(size=shape).astype(np.float32) for part, shape in gate.items()} for name in gate_names
    }
    return head, tables, params


def score(head, tables, params, users=None, items=None):
    """Scores and gate weights of each task: of all pairs, or of some."""
    pairing = pairs.Block() if items is None else pairs.Pairs(items)

    @jax.jit
    def run(tables, params):
        def all_tasks(head):
            sides = [head.sides(backbones.Encoding(tables), {}, task, users) for task in range(len(tables))]
            each = list(enumerate(sides))
            return [head.score(k, s, pairing) for k, s in each], [head.gates(k, s, pairing) for k, s in each]

        return head.apply({"params": params}, method=all_tasks)

    return jax.device_get(run(tuple(map(jnp.float32, tables)), params))


@pytest.mark.parametrize("level", ["embedding", "product"])
@pytest.mark.parametrize("num_behaviors", usual.cases([1, 2, 3, 4], {1, 3}.__contains__))
def test_the_closed_form_equals_the_explicit_experts(num_behaviors, level):
    # With the published scale the shared experts are a ten-thousandth of the own: larger here, to be seen.
    head, tables, params = make(num_behaviors, level=level, scale=1.5)
    scores, _ = score(head, tables, params)
    for task in range(num_behaviors):
        expected = literal.pme(tables, task, params, USERS, level, 1.5)
        np.testing.assert_allclose(scores[task], expected, rtol=1e-3, atol=1e-3)
    if num_behaviors > 1:
        other = literal.pme(tables, 0, params, USERS, {"embedding": "product", "product": "embedding"}[level], 1.5)
        assert np.abs(other - scores[0]).max() > 0.1


# (level, options): what PKEF prints and its program has not.
PRINTED = [
    ("embedding", {"coefficient": "cosine"}),
    ("product", {"coefficient": "cosine"}),
    ("embedding", {"gate_slots": "behavior"}),
    ("product", {"gate_slots": "behavior"}),
]


@pytest.mark.parametrize(("level", "options"), PRINTED)
def test_what_the_paper_prints_equals_the_explicit_experts(level, options):
    head, tables, params = make(3, level=level, scale=1.5, **options)
    scores, _ = score(head, tables, params)
    for task in range(3):
        expected = literal.pme(tables, task, params, USERS, level, 1.5, **options)
        np.testing.assert_allclose(scores[task], expected, rtol=1e-3, atol=1e-3)
    assert np.abs(literal.pme(tables, 1, params, USERS, level, 1.5) - scores[1]).max() > 0.1
    in_funnel = ("view", "cart", "buy")
    assert head.slots(1) == (in_funnel if "gate_slots" in options else ("cart", "view", "buy"))


def test_the_published_scale():
    head, tables, params = make(3)
    params["gate_0"]["bias"] = np.array([-30.0, 0, 0], np.float32)  # what is left without the own expert
    expected = literal.pme(tables, 1, params, USERS)
    assert 1e-5 < np.abs(expected).max() < 1e-1
    np.testing.assert_allclose(score(head, tables, params)[0][1], expected, rtol=1e-3, atol=1e-7)


def test_a_gate_for_each_task():
    head, tables, params = make(3, shared_gate=False, scale=1.5)
    scores, _ = score(head, tables, params)
    for task in range(3):
        expected = literal.pme(tables, task, params, USERS, scale=1.5, gate=f"gate_{task}")
        np.testing.assert_allclose(scores[task], expected, rtol=1e-3, atol=1e-3)
    shapes = jax.eval_shape(lambda: head.init(jax.random.key(0), method=lambda head: head.penalty()))
    assert set(shapes["params"]) == {"gate_0", "gate_1", "gate_2"}


@pytest.mark.parametrize("level", ["embedding", "product"])
def test_gates_sum_to_one_and_slot_zero_is_the_tasks_own(level):
    head, tables, params = make(3, level=level, scale=1.5)
    for task, gates in enumerate(score(head, tables, params)[1]):
        np.testing.assert_allclose(gates.sum(axis=-1), 1.0, rtol=1e-5)
        kernel, bias = params["gate_0"]["kernel"], params["gate_0"]["bias"]
        expected = literal.gates(tables[task][:USERS], tables[task][USERS:], kernel, bias)
        np.testing.assert_allclose(gates, expected, rtol=1e-4, atol=1e-6)
    params["gate_0"]["bias"] = np.array([40.0, 0, 0], np.float32)
    for task, scores in enumerate(score(head, tables, params)[0]):
        own = tables[task][:USERS] @ tables[task][USERS:].T
        np.testing.assert_allclose(scores, own, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("level", ["embedding", "product"])
def test_pairs_and_blocks_score_alike(level):
    head, tables, params = make(3, level=level, scale=1.5)
    users, items = jnp.array([4, 0, 4]), jnp.array([[0, 5, 5], [1, 2, 3], [5, 0, 1]])
    (whole, gates), (some, some_gates) = score(head, tables, params), score(head, tables, params, users, items)
    for task in range(3):
        np.testing.assert_allclose(some[task], whole[task][users[:, None], items], rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(some_gates[task], gates[task][users[:, None], items], rtol=1e-4, atol=1e-6)


def test_a_table_of_another_behavior_that_is_a_multiple_is_wholly_shared():
    """Planted: u_j = 2 u_k and v_j = -3 v_k, so that the score is (g_0 - 6 s^2 g_1) <u, v>."""
    head, tables, params = make(2, scale=0.5)
    factor = np.concatenate([np.full(USERS, 2.0), np.full(ITEMS, -3.0)])[:, None]
    tables = [factor * tables[1], tables[1]]
    scores, gates = score(head, tables, params)
    own = tables[1][:USERS] @ tables[1][USERS:].T
    np.testing.assert_allclose(scores[1], (gates[1][..., 0] - 1.5 * gates[1][..., 1]) * own, rtol=1e-3, atol=1e-4)


def test_zero_rows_score_zero_and_give_finite_gradients():
    head, tables, params = make(3, scale=1.5)
    for table in tables:
        table[[0, USERS + 2]] = 0.0

    def total(tables):
        def of(head):
            sides = head.sides(backbones.Encoding(tables), {}, 1, jnp.arange(USERS))
            return head.score(1, sides, pairs.Pairs(jnp.tile(jnp.arange(ITEMS), (USERS, 1))))

        scores = head.apply({"params": params}, method=of)
        return jnp.sum(jnp.sin(scores)), scores

    gradients, scores = jax.jit(jax.grad(total, has_aux=True))(tuple(map(jnp.float32, tables)))
    assert not np.any(scores[0]) and not np.any(scores[:, 2]) and np.any(scores[1:, :2])
    assert all(np.isfinite(gradient).all() for gradient in gradients)


def test_the_penalty_covers_the_kernels():
    head, _, params = make(3, shared_gate=False)
    found = head.apply({"params": params}, method=pme.Pme.penalty)
    np.testing.assert_allclose(found, sum(np.square(gate["kernel"]).sum() for gate in params.values()), rtol=1e-5)
