"""BiGEL (reconstructed): cascade, feedback and context by hand and as formulas, and where gradients go."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import usual

LAYERS = (2, 1, 0, 3)
CLOSE = {"rtol": 1e-4, "atol": 1e-5}
COUNTS = pytest.mark.parametrize("num_behaviors", usual.cases([1, 2, 3, 4], {1, 4}.__contains__))
PLAIN = {"feedback": "none", "context": "none"}


def run(source, base, params=None, **config):
    """The whole ``Encoding``, with the parameters as nested lists."""
    module, graphs = source.module(name="bigel", **config)
    params = {name: jnp.asarray(value, jnp.float32) for name, value in (params or {}).items()}
    return module.apply({"params": params} if params else {}, graphs, jnp.asarray(base, jnp.float32))


def drawn_params(source, rng, stage="mean", feedback="none", context="none"):
    """Random parameters for D = 2, none of them near its initial value."""
    names, params = source.info.behaviors, {}
    if stage == "mbcgcn":
        params |= {f"stage_{name}": rng.normal(size=(2, 2)) for name in names[1:]}
    if feedback != "none":
        for name in names[:-1]:
            for side in ("user", "item"):
                params[f"gate_{name}_{side}"] = rng.normal(size=(4, 2))
                params[f"gate_bias_{name}_{side}"] = rng.normal(size=2)
    if context == "scaled":
        params["context"] = np.array([2.0, -1.0, 0.5, 3.0])[: len(names)]
    return params


# The formulas of the specification in float64, on dense matrices.


def average(matrix, state, num_layers):
    """The mean of A^l H over l = 0 .. L."""
    return sum(np.linalg.matrix_power(matrix, layer) @ state for layer in range(num_layers + 1)) / (num_layers + 1)


def cascade(source, base, params, layers, stage):
    """H of each behavior."""
    state, tables = base, []
    for k, name in enumerate(source.info.behaviors):
        matrix = source.adjacency(k, "symmetric")
        if stage == "crgcn":
            last = np.linalg.matrix_power(matrix, layers[k]) @ state
            length = np.linalg.norm(last, axis=1, keepdims=True)
            state = state + np.divide(last, length, out=np.zeros_like(last), where=length > 0)
        else:
            if stage == "mbcgcn" and k > 0:
                state = state @ params[f"stage_{name}"]
            state = average(matrix, state, layers[k])
        tables.append(state)
    return tables


def fed_back(source, tables, params, feedback, held=None):
    """Z of each behavior, one node after another; ``held``: tables to feed back in place of the computed ones."""
    made, num_behaviors = [np.array(table) for table in tables], len(tables)
    for k in range(num_behaviors - 2, -1, -1):
        from_behavior = {"target": num_behaviors - 1, "chain": k + 1}[feedback]
        fed = (held or made)[from_behavior]
        for node in range(len(tables[k])):
            name = f"{source.info.behaviors[k]}_{'user' if node < source.info.num_users else 'item'}"
            both = np.concatenate([tables[k][node], fed[node]])
            gate = 1 / (1 + np.exp(-(both @ params[f"gate_{name}"] + params[f"gate_bias_{name}"])))
            made[k][node] = tables[k][node] + gate * fed[node]
    return made


def of_union(source, base, num_layers):
    """G: a pair counts once, however many behaviors have it."""
    union = np.any([matrix > 0 for matrix in source.matrices], axis=0)
    return average(type(source)(union).adjacency(0, "symmetric"), base, num_layers)


# By hand.


def test_all_parts_by_hand(tiny):
    # Users a, b, c, d and one item x, D = 1. All view x, d also buys it. The item's degree of 4 divides by 2.
    source = tiny([[1], [1], [1], [1]], [[0], [0], [0], [1]])
    base = [[2.0], [5.0], [5.0], [8.0], [4.0]]
    # One layer of views: users get x / 2 = 2, x gets 20 / 2 = 10; the means with E0 are
    # H^1 = (2, 3.5, 3.5, 5, 7). One layer of buys swaps d and x, the others get nothing: H^2 = (1, 1.75, 1.75, 6, 6).
    view, buy = [2.0, 3.5, 3.5, 5.0, 7.0], [1.0, 1.75, 1.75, 6.0, 6.0]
    # The union is the views (by counts, d's pair would weigh more). Two layers from E0: users 2, then 10 / 2 = 5; x 10,
    # then 8 / 2 = 4. G = ((2 + 2 + 5) / 3, (5 + 7) / 3, (5 + 7) / 3, (8 + 7) / 3, (4 + 10 + 4) / 3).
    union = np.array([3.0, 4.0, 4.0, 5.0, 6.0])
    # Gates without kernels: of users sigma(0) = 1/2, of items sigma(ln 3) = 3/4.
    params = {name: np.zeros((2, 1)) for name in ("gate_view_user", "gate_view_item")}
    params |= {"gate_bias_view_user": [0.0], "gate_bias_view_item": [np.log(3.0)]}
    fed = np.array([2 + 0.5, 3.5 + 0.875, 3.5 + 0.875, 5 + 3, 7 + 4.5])
    layers = {"layers": [1], "context_layers": 2}

    made = run(source, base, **layers, **PLAIN)
    np.testing.assert_allclose(np.squeeze(made.behaviors), [view, buy], rtol=1e-6)
    made = run(source, base, params, **layers)
    np.testing.assert_allclose(np.squeeze(made.behaviors), [fed + union, buy + union], rtol=1e-6)
    np.testing.assert_allclose(np.squeeze(made.alignment), [buy, union], rtol=1e-6)
    made = run(source, base, params | {"context": [2.0, -1.0]}, context="scaled", **layers)
    np.testing.assert_allclose(np.squeeze(made.behaviors), [fed + 2 * union, buy - union], rtol=1e-6)


@pytest.mark.parametrize(
    ("feedback", "factors"),
    # All H are E0 and all gates 1/2. From the target: Z^2 = Z^1 = H + H/2. In a chain: Z^1 = H + (H + H/2) / 2.
    [("target", [1.5, 1.5, 1.0]), ("chain", [1.75, 1.5, 1.0]), ("none", [1.0, 1.0, 1.0])],
)
def test_what_is_fed_back_by_hand(tiny, feedback, factors):
    params = {}
    for name in ("view_user", "view_item", "cart_user", "cart_item") if feedback != "none" else ():
        params |= {f"gate_{name}": [[0.0], [0.0]], f"gate_bias_{name}": [0.0]}
    made = run(tiny([[1]], [[1]], [[1]]), [[2.0], [4.0]], params, layers=[0], feedback=feedback, context="none")
    np.testing.assert_allclose(np.squeeze(made.behaviors), np.outer(factors, [2.0, 4.0]), rtol=1e-6)


@pytest.mark.parametrize(
    ("stage", "views", "buys"),
    [
        # User 1 and item 1 have no view: with two layers a third of their rows is left, then half of that is theirs.
        ("mean", [[1.0, 2.0], [3.0, 1.0]], [[2.0, 1.5], [2.0, 1.5]]),
        # Nothing is added without views; then the other's row at length 1, (9, 3) / sqrt(90) and (3, 6) / sqrt(45).
        (
            "crgcn",
            [[3.0, 6.0], [9.0, 3.0]],
            [[3 + 3 / 10**0.5, 6 + 1 / 10**0.5], [9 + 1 / 5**0.5, 3 + 2 / 5**0.5]],
        ),
        # As the mean, but before the second stage (x, y) becomes (2 y, x): (4, 1) and (2, 3).
        ("mbcgcn", [[1.0, 2.0], [3.0, 1.0]], [[3.0, 2.0], [3.0, 2.0]]),
    ],
)
def test_a_node_without_pairs_of_a_behavior_by_hand(tiny, stage, views, buys):
    source = tiny([[1, 0], [0, 0]], [[1, 0], [0, 1]])
    base = [[1.0, 1.0], [3.0, 6.0], [1.0, 1.0], [9.0, 3.0]]
    params = {"stage_buy": [[0.0, 1.0], [2.0, 0.0]]} if stage == "mbcgcn" else {}
    made = run(source, base, params, stage=stage, layers=[2, 1], **PLAIN).behaviors
    rows = jnp.array([1, 3])
    np.testing.assert_allclose(made[0][rows], views, rtol=1e-6)
    np.testing.assert_allclose(made[1][rows], buys, rtol=1e-6)


# The formulas.


@pytest.mark.parametrize("stage", ["mean", "crgcn", "mbcgcn"])
@COUNTS
def test_the_cascade_is_the_formula(drawn, num_behaviors, stage):
    source, rng = drawn(num_behaviors), np.random.default_rng(7)
    base, layers = rng.normal(size=(6, 2)), LAYERS[:num_behaviors]
    params = drawn_params(source, rng, stage=stage)
    expected = cascade(source, base, params, layers, stage)
    made = run(source, base, params, stage=stage, layers=layers, **PLAIN)
    np.testing.assert_allclose(made.behaviors, expected, **CLOSE)
    # Some node has no pair of the first behavior, so that its row is tested too.
    assert not source.adjacency(0, "symmetric").any(axis=1).all()


@pytest.mark.parametrize("feedback", ["target", "chain"])
@COUNTS
def test_the_feedback_is_the_formula_with_gates_for_users_and_for_items(drawn, num_behaviors, feedback):
    source, rng = drawn(num_behaviors), np.random.default_rng(8)
    base, layers = rng.normal(size=(6, 2)), LAYERS[:num_behaviors]
    params = drawn_params(source, rng, feedback=feedback)
    tables = cascade(source, base, params, layers, "mean")
    made = run(source, base, params, layers=layers, feedback=feedback, context="none")
    np.testing.assert_allclose(made.behaviors, fed_back(source, tables, params, feedback), **CLOSE)
    np.testing.assert_allclose(made.behaviors[-1], tables[-1], **CLOSE)


@pytest.mark.parametrize("context", ["sum", "scaled", "none"])
@COUNTS
def test_the_context_is_added_to_every_behavior_and_the_target_is_aligned_without_it(drawn, num_behaviors, context):
    source, rng = drawn(num_behaviors), np.random.default_rng(9)
    base, layers = rng.normal(size=(6, 2)), LAYERS[:num_behaviors]
    params = drawn_params(source, rng, feedback="target", context=context)
    tables = cascade(source, base, params, layers, "mean")
    union = of_union(source, base, 3)
    factors = {"sum": [1] * num_behaviors, "scaled": params.get("context"), "none": [0] * num_behaviors}[context]
    before = fed_back(source, tables, params, "target")
    expected = [table + factor * union for table, factor in zip(before, factors, strict=True)]
    made = run(source, base, params, layers=layers, context=context, context_layers=3)
    np.testing.assert_allclose(made.behaviors, expected, **CLOSE)
    anchors, candidates = made.alignment
    np.testing.assert_allclose(anchors, tables[-1], **CLOSE)
    np.testing.assert_allclose(candidates, union, **CLOSE)


def test_the_context_is_of_the_embedding_tables_and_knows_no_layers_of_the_cascade(drawn):
    source, base = drawn(3), np.random.default_rng(10).normal(size=(6, 2))
    for layers in ([1], [3]):
        for depth in (0, 2):
            candidates = run(source, base, layers=layers, context_layers=depth, feedback="none").alignment[1]
            np.testing.assert_allclose(candidates, of_union(source, base, depth), **CLOSE)


def test_the_parts_work_together(drawn):
    source, rng = drawn(4), np.random.default_rng(11)
    base, options = rng.normal(size=(6, 2)), {"stage": "mbcgcn", "feedback": "chain", "context": "scaled"}
    params = drawn_params(source, rng, **options)
    tables = cascade(source, base, params, LAYERS, "mbcgcn")
    union, before = of_union(source, base, 2), fed_back(source, tables, params, "chain")
    expected = [table + factor * union for table, factor in zip(before, params["context"], strict=True)]
    made = run(source, base, params, layers=LAYERS, **options)
    np.testing.assert_allclose(made.behaviors, expected, **CLOSE)
    np.testing.assert_allclose(made.alignment, [tables[-1], union], **CLOSE)


# Gradients.


def gradients(source, base, params, weights, behavior, **config):
    """Those of sum(weights * Z) of one behavior, for the parameters and for E0."""
    module, graphs = source.module(name="bigel", context="none", **config)

    def loss(params, base):
        return jnp.sum(weights * module.apply({"params": params}, graphs, base).behaviors[behavior])

    params = {name: jnp.asarray(value, jnp.float32) for name, value in params.items()}
    return jax.grad(loss, argnums=(0, 1))(params, jnp.asarray(base, jnp.float32))


@pytest.mark.parametrize("feedback", ["target", "chain"])
def test_what_a_stopped_feedback_leaves_out(drawn, feedback):
    # The map before the target's stage belongs to the target alone: the first behavior has it from the feedback only.
    # The gates of the second reach the first in a chain only.
    source, rng = drawn(3), np.random.default_rng(12)
    base, weights = rng.normal(size=(6, 2)), rng.normal(size=(6, 2))
    params = drawn_params(source, rng, stage="mbcgcn", feedback=feedback)
    options = {"stage": "mbcgcn", "layers": [1], "feedback": feedback}
    second_gates = {name for name in params if name.startswith(("gate_cart", "gate_bias_cart"))}
    other_behaviors = {"stage_cart", "stage_buy"} | second_gates
    assert len(params) == 10 and len(second_gates) == 4

    def has_effect(behavior, stop_grad_feedback):
        of_params, _ = gradients(
            source, base, params, weights, behavior, stop_grad_feedback=stop_grad_feedback, **options
        )
        return {name for name, value in of_params.items() if np.any(value != 0)}

    own_gates = set(params) - other_behaviors
    reached = {"stage_cart", "stage_buy"} | (second_gates if feedback == "chain" else set())
    assert has_effect(0, False) == own_gates | reached
    assert has_effect(0, True) == own_gates
    # The second is a step of the cascade: its own map stays.
    assert has_effect(1, False) == second_gates | {"stage_cart", "stage_buy"}
    assert has_effect(1, True) == second_gates | {"stage_cart"}
    assert has_effect(2, False) == has_effect(2, True) == {"stage_cart", "stage_buy"}


@pytest.mark.parametrize("feedback", ["target", "chain"])
def test_a_stopped_feedback_is_a_constant_to_the_gradient(drawn, feedback):
    # The slope of the formula along a direction of E0, with what is fed back held at its value or not.
    source, rng = drawn(3), np.random.default_rng(13)
    base, weights, direction = rng.normal(size=(3, 6, 2))
    params = drawn_params(source, rng, feedback=feedback)

    def auxiliary(step, held):
        tables = cascade(source, base + step * direction, params, (1, 1, 1), "mean")
        return fed_back(source, tables, params, feedback, held)

    fixed = auxiliary(0.0, None)
    for behavior in range(3):
        slopes = {}
        for stop, held in ((True, fixed), (False, None)):
            above, below = (np.sum(weights * auxiliary(step, held)[behavior]) for step in (1e-5, -1e-5))
            slopes[stop] = (above - below) / 2e-5
            _, of_base = gradients(
                source, base, params, weights, behavior, layers=[1], feedback=feedback, stop_grad_feedback=stop
            )
            np.testing.assert_allclose(np.vdot(of_base, direction), slopes[stop], rtol=1e-3)
        assert (abs(slopes[True] - slopes[False]) > 0.1) == (behavior < 2)


def test_a_stopped_feedback_has_the_same_values(drawn):
    source, rng = drawn(3), np.random.default_rng(14)
    base, params = rng.normal(size=(6, 2)), drawn_params(source, rng, feedback="chain")
    made = [run(source, base, params, feedback="chain", stop_grad_feedback=stop).behaviors for stop in (False, True)]
    np.testing.assert_array_equal(made[0], made[1])


# Parameters.


def test_the_parameters_at_the_start(drawn, key):
    module, graphs = drawn(3).module(name="bigel", stage="mbcgcn", context="scaled")
    params = jax.jit(module.init)(key, graphs, jnp.ones((6, 24)))["params"]
    gates = {f"{name}_{side}" for name in ("view", "cart") for side in ("user", "item")}
    assert {name: value.shape for name, value in params.items()} == {
        "context": (3,),
        "stage_cart": (24, 24),
        "stage_buy": (24, 24),
        **{f"gate_{name}": (48, 24) for name in gates},
        **{f"gate_bias_{name}": (24,) for name in gates},
    }
    np.testing.assert_array_equal(params["context"], 1.0)
    for name in gates:
        np.testing.assert_array_equal(params[f"gate_bias_{name}"], 0.0)
        # Uniform in +- sqrt(6 / (2 D + D)).
        largest = np.abs(params[f"gate_{name}"]).max()
        assert 0.98 < largest / (6 / 72) ** 0.5 <= 1.0
    assert module.apply({"params": params}, method="penalty") == 0


@pytest.mark.parametrize(("num_behaviors", "options"), [(1, {}), (3, {"feedback": "none"})])
def test_without_feedback_there_are_no_parameters(drawn, key, num_behaviors, options):
    module, graphs = drawn(num_behaviors).module(name="bigel", **options)
    assert module.init(key, graphs, jnp.ones((6, 2))) == {}
