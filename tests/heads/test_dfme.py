"""DFME against its equations on dense matrices, and where its gradients go."""

import functools

import jax
import jax.numpy as jnp
import literal
import numpy as np
import pytest
import usual

from mbjax import errors, types
from mbjax.backbones import base as backbones
from mbjax.heads import dfme
from mbjax.models import objectives
from mbjax.ops import graph, pairs

SIZE, USERS, ITEMS = 4, 23, 31


def make(num_behaviors, **options):
    """A head, its graphs, random tables and random params (as they are inside the module)."""
    source, matrices = literal.pairs(num_behaviors)
    config = dfme.DfmeConfig(**options)
    head = dfme.Dfme(config, source.info, SIZE)
    graphs = graph.from_train(dfme.Dfme.graphs(config, source.info), source.train)
    tables = [literal.table(source, SIZE, seed=10 + k) for k in range(num_behaviors)]
    encoding = backbones.Encoding(tuple(map(jnp.float32, tables)))

    def score(head):
        return head.score(0, head.sides(encoding, graphs, 0), pairs.Block())

    shapes = jax.eval_shape(lambda: head.init(jax.random.key(0), method=score))["params"]
    rng = np.random.default_rng(5)
    params = jax.tree.map(lambda x: rng.normal(size=x.shape).astype(np.float32), shapes)
    return head, graphs, tables, matrices, params


@functools.cache
def compiled(num_behaviors, **options):
    """Scores and gate weights of all pairs for each task, of tables and params."""
    head, graphs, *_ = make(num_behaviors, **options)

    def all_tasks(head, encoding):
        sides = [head.sides(encoding, graphs, task) for task in range(num_behaviors)]
        each = list(enumerate(sides))
        return [head.score(k, s, pairs.Block()) for k, s in each], [head.gates(k, s, pairs.Block()) for k, s in each]

    return jax.jit(lambda t, params: head.apply({"params": params}, backbones.Encoding(t), method=all_tasks))


def blocks(tables, params, **options):
    """``compiled`` with numpy arrays."""
    return jax.device_get(compiled(len(tables), **options)(tuple(map(jnp.float32, tables)), params))


CASES = [
    (1, (1,), {}),
    (2, (1, 2), {}),
    (3, (2, 0, 1), {}),
    (4, (1, 3, 1, 2), {}),
    (3, (2, 1, 1), {"relation_on_self": True}),
    (3, (2, 1, 3), {"expert_index": "other"}),
    (3, (1, 1, 2), {"expert_scale": 1.0, "alpha": 0.7, "beta": 0.4}),
    (3, (1, 1, 1), {"fit": False}),
    (3, (2, 1, 2), {"output": "last"}),
    (3, (1, 1, 1), {"gate_slots": "behavior"}),
]


# What of two and three behaviors has no option is in that of four, and in those with one.
@pytest.mark.parametrize(
    ("num_behaviors", "layers", "options"),
    usual.cases(CASES, lambda case: case[2] or case[0] in (1, 4)),
)
def test_the_literal_equations(num_behaviors, layers, options):
    # With the published scales the other experts are a thousandth of the own: larger here, to be seen.
    options = {"expert_scale": 3.0, "alpha": 0.8, "beta": 0.3} | options
    _, _, tables, matrices, params = make(num_behaviors, layers=layers, **options)
    scores, gates = blocks(tables, params, layers=layers, **options)
    for task in range(num_behaviors):
        expected = literal.dfme(tables, matrices, task, params, layers, USERS, **options)
        np.testing.assert_allclose(scores[task], expected, rtol=1e-3, atol=1e-3)
        kernel, bias = params["gate"]["kernel"], params["gate"]["bias"]
        weights = literal.gates(tables[task][:USERS], tables[task][USERS:], kernel, bias)
        np.testing.assert_allclose(gates[task], weights, rtol=1e-4, atol=1e-6)


def test_the_published_scales():
    """The defaults: alpha .1, beta .001, .1 on each side."""
    _, _, tables, matrices, params = make(3)
    params["gate"]["bias"] = np.array([-30.0, 0, 0], np.float32)  # what is left without the own expert
    expected = literal.dfme(tables, matrices, 1, params, (1, 1, 1), USERS)
    assert np.abs(expected).max() > 1e-4
    np.testing.assert_allclose(blocks(tables, params)[0][1], expected, rtol=1e-3, atol=1e-8)


@pytest.mark.parametrize(
    "option",
    [
        {"relation_on_self": True},
        {"expert_index": "other"},
        {"fit": False},
        {"alpha": 0.1},
        {"beta": 0.1},
        {"output": "last"},
        {"gate_slots": "behavior"},
    ],
)
def test_every_switch_matters(option):
    """Else the test above could pass with a switch that does nothing."""
    _, _, tables, matrices, params = make(3, layers=(1, 2, 1))
    common = {"expert_scale": 3.0, "alpha": 0.8, "beta": 0.3}
    one, other = (
        literal.dfme(tables, matrices, 1, params, (1, 2, 1), USERS, **kind) for kind in (common, common | option)
    )
    assert np.abs(one - other).max() > 0.1


def test_pairs_and_blocks_score_alike():
    head, graphs, tables, _, params = make(3)
    users = jnp.array([4, 0, 4, 22])
    items = jnp.array([[0, 30, 7], [1, 1, 2], [30, 0, 0], [5, 6, 7]])
    scores, gates = blocks(tables, params)

    @jax.jit
    def run(tables):
        def both(head):
            sides = head.sides(backbones.Encoding(tables), graphs, 1, users)
            return head.score(1, sides, pairs.Pairs(items)), head.gates(1, sides, pairs.Pairs(items))

        return head.apply({"params": params}, method=both)

    score, gate = run(tuple(map(jnp.float32, tables)))
    np.testing.assert_allclose(score, scores[1][users[:, None], items], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(gate, gates[1][users[:, None], items], rtol=1e-4, atol=1e-6)


def test_without_shares_only_the_gated_own_expert_is_left():
    _, _, tables, _, params = make(3)
    for score, gates, table in zip(*blocks(tables, params, alpha=0.0, beta=0.0), tables, strict=True):
        own = table[:USERS] @ table[USERS:].T
        np.testing.assert_allclose(score, gates[..., 0] * own, rtol=1e-4, atol=1e-5)


def test_gates_sum_to_one_and_slot_zero_is_the_tasks_own():
    _, _, tables, matrices, params = make(3)
    params["gate"]["bias"] = np.array([40.0, 0, 0], np.float32)
    for score, gates, table in zip(*blocks(tables, params), tables, strict=True):
        np.testing.assert_allclose(gates.sum(axis=-1), 1.0, rtol=1e-5)
        np.testing.assert_allclose(score, table[:USERS] @ table[USERS:].T, rtol=1e-4, atol=1e-4)
    # Slot 1 is the first of the others in funnel order: of the second task, the first behavior.
    params["gate"]["bias"] = np.array([0, 40.0, 0], np.float32)
    expert = literal.fitted(tables, matrices, 1, 0, params["relation"], [], (1, 1, 1))
    expected = expert[:USERS] @ expert[USERS:].T
    np.testing.assert_allclose(blocks(tables, params)[0][1], expected, rtol=1e-3, atol=1e-5)


# Where gradients go.

USERS_OF_BATCH = jnp.array([1, 5, 9])


def triples():
    rng = np.random.default_rng(2)
    positive, negative = (jnp.asarray(rng.integers(0, ITEMS, (3, 4)), jnp.int32) for _ in range(2))
    return types.Triples(positive, negative, jnp.ones((3, 4)), jnp.float32(12))


@functools.cache
def loss_gradients(**options):
    """For each task, the gradient of its ranking loss with respect to Z of each behavior, and to the params."""
    head, graphs, tables, _, params = make(3, expert_scale=3.0, alpha=0.8, beta=0.3, **options)
    drawn = triples()
    pairing = pairs.Pairs(jnp.concatenate([drawn.positive, drawn.negative], axis=1))

    def loss(tables, params, task):
        def score(head):
            return head.score(task, head.sides(backbones.Encoding(tables), graphs, task, USERS_OF_BATCH), pairing)

        return objectives.bpr(head.apply({"params": params}, method=score), drawn)

    gradients = jax.jit(lambda *args: [jax.grad(loss, argnums=(0, 1))(*args, task) for task in range(3)])
    return jax.device_get(gradients(tuple(map(jnp.float32, tables)), params))


TARGET = {"stop_gradient": "target"}
TARGET_AND_GATE = {"stop_gradient": "target", "stop_gradient_gate": True}


@pytest.mark.parametrize("options", [TARGET, TARGET_AND_GATE, TARGET | {"fit": False}])
def test_target_stopped_an_auxiliary_task_gives_its_table_no_gradient(options):
    *auxiliary, target = (z for z, _ in loss_gradients(**options))
    for z in auxiliary:
        assert not np.any(z[2])  # exactly zero
        assert np.abs(z[0]).max() > 1e-4 and np.abs(z[1]).max() > 1e-4
    assert all(np.abs(gradient).max() > 1e-4 for gradient in target)  # the target learns from all


def test_nothing_stopped_every_task_moves_every_table():
    for z, _ in loss_gradients():
        assert all(np.abs(gradient).max() > 1e-4 for gradient in z)


def test_all_stopped_a_task_moves_its_own_table_only():
    for task, (z, params) in enumerate(loss_gradients(stop_gradient="all")):
        assert [bool(np.any(gradient)) for gradient in z] == [k == task for k in range(3)]
        assert not np.any(params["relation"])  # which only the other experts have
        assert np.any(loss_gradients()[task][1]["relation"][task])


@pytest.mark.parametrize("options", [TARGET_AND_GATE, {"stop_gradient": "all"}])
def test_stopped_gradients_change_no_score(options):
    _, _, tables, _, params = make(3)
    for score, expected in zip(blocks(tables, params, **options)[0], blocks(tables, params)[0], strict=True):
        np.testing.assert_allclose(score, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("is_stopped", [False, True])
def test_the_gate_of_a_stopped_expert(is_stopped):
    """Without ``stop_gradient_gate`` the gate learns from all experts, with it from the live ones only."""
    task, layers = 1, (1, 1, 1)
    _, found = loss_gradients(**(TARGET_AND_GATE if is_stopped else TARGET))[task]
    _, _, tables, matrices, params = make(3)
    experts = [tables[task]]
    for other in (0, 2):
        options = {"expert_scale": 3.0, "alpha": 0.8, "beta": 0.3}
        experts.append(literal.fitted(tables, matrices, task, other, params["relation"], [], layers, **options))
    drawn = triples()
    items = np.concatenate([drawn.positive, drawn.negative], axis=1)
    users = np.broadcast_to(np.asarray(USERS_OF_BATCH)[:, None], items.shape)
    products = jnp.float32(np.stack([(f[users] * f[USERS + items]).sum(axis=-1) for f in experts], axis=-1))
    inputs = jnp.float32(np.concatenate([tables[task][users], tables[task][USERS + items]], axis=-1))

    def loss(gate):
        terms = jax.nn.softmax(inputs @ gate["kernel"] + gate["bias"]) * products
        last = jax.lax.stop_gradient(terms[..., 2]) if is_stopped else terms[..., 2]
        return objectives.bpr(terms[..., 0] + terms[..., 1] + last, drawn)

    expected = jax.jit(jax.grad(loss))(params["gate"])
    for name in ("kernel", "bias"):
        assert np.abs(expected[name]).max() > 1e-2
        np.testing.assert_allclose(found["gate"][name], expected[name], rtol=1e-3, atol=1e-4)


def test_the_penalty_covers_gate_kernel_and_transitions():
    head, _, _, _, params = make(3, layers=(1, 3, 1))
    squares = [params[name] for name in ("transition_1", "transition_2")] + [params["gate"]["kernel"]]
    found = head.apply({"params": params}, method=dfme.Dfme.penalty)
    np.testing.assert_allclose(found, sum(np.square(x).sum() for x in squares), rtol=1e-5)
    assert set(params) == {"gate", "relation", "transition_1", "transition_2"}
    assert set(make(3, fit=False)[-1]) == {"gate"}  # neither relations nor graphs
    assert make(3, fit=False)[1] == {}


def test_a_list_of_layers_of_another_length_is_refused():
    with pytest.raises(errors.ConfigError, match="head.layers=1,2 has 2 values for 3 behaviors"):
        make(3, layers=(1, 2))
