"""Tables updated by row: what is touched, the same as dense for SGD and Adagrad, Adam by hand, no copy of a table."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import toy
import usual

from mbjax import config as configuration
from mbjax import errors, models, types
from mbjax.experiment import beginning, wiring
from mbjax.train import lazy, step

MODELS = ("bpr_mf", "cmf", "mc_bpr", "neumf", "nmtr")


def experiment(model="bpr_mf", devices=1, is_lazy=True, source=None, **overrides):
    section = models.MODELS[model].config
    given = {"train.batch_size": 8, "train.chunk_steps": 1, "train.lazy": is_lazy, "model.embedding_size": 4}
    given |= {name.replace("__", "."): value for name, value in overrides.items()}
    made = configuration.load(model, "demo", section, protocol="paper", devices=devices, overrides=given)
    return wiring.build(made, source or toy.dataset(2))


def trained(steps=7, **options):
    """Losses of some steps, and the state after them."""
    run = experiment(**options)
    advance, state, losses = run.advance(), run.placement.put(run.start()), []
    for number in range(steps):
        epoch, place = divmod(number, advance.steps_per_epoch)
        state, logged = advance.chunk(state, advance.plan(state, epoch), place, 1)
        losses.append(float(logged["loss"][0]))
    return losses, jax.tree.map(np.array, run.placement.kept(state).replace(key=0))


on_one = functools.cache(functools.partial(trained, train__learning_rate=0.05))


def test_touched_by_hand():
    found = lazy.touched(jnp.array([7, 2, 9, 7, 12, 2], jnp.int32), 9)
    assert found.row.tolist() == [2, 7, 9 + 1, 9 + 3, 9 + 4, 9 + 5]  # 9 and above are of none
    assert found.place.tolist() == [1, 0, 2, 1, 2, 0]


def toy_model(info):
    """Loss: the batch's weighted sum of <p_u, q_i> * c over positives, minus the same over negatives."""

    def loss(params, graphs, batch, key, step):
        tables, drawn = params["params"], batch.triples["buy"]
        ahead = tables["item"][drawn.positive[:, 0]] - tables["item"][drawn.negative[:, 0]]
        pairs = jnp.sum(tables["user"][batch.user] * ahead, axis=1) * tables["scale"][0]
        value = jnp.dot(drawn.weight[:, 0], pairs)
        return value, {"only": value}

    none = types.BatchSpec(1)
    tables = {"user": types.RowTable("user"), "item": types.RowTable("item")}
    return types.Model(info, {}, none, None, loss, None, None, by_row=tables)


def users_of(user, positive, negative, weight):
    real, one = jnp.array(weight, jnp.float32), jnp.float32(1)
    drawn = types.Triples(jnp.array(positive)[:, None], jnp.array(negative)[:, None], real[:, None], one)
    noise = jnp.zeros((len(user), 2), jnp.uint32)
    return types.UserBatch(jnp.array(user), real, jnp.array(user), noise, {}, one, one, {"buy": drawn})


def test_lazy_adam_by_a_loop_over_rows():
    """Users 0 to 4, items 0 to 5; user 3 is never met, item 0 only as padding, user 1 twice in the second batch."""
    info = types.DatasetInfo("toy", 5, 6, ("buy",))
    rng = np.random.default_rng(0)
    x = {name: rng.normal(size=(rows, 3)).astype(np.float32) for name, rows in (("user", 5), ("item", 6))}
    params = {"params": {name: jnp.asarray(value) for name, value in x.items()} | {"scale": jnp.array([2.0])}}
    optimizer = optax.adam(0.1)
    by_row = lazy.ByRow(
        toy_model(info).by_row, lambda u, i: toy_model(info._replace(num_users=u, num_items=i)), optimizer
    )
    batches = [
        users_of([1, 2, 0], [1, 2, 0], [3, 1, 0], [1, 1, 0]),
        users_of([1, 4, 1], [4, 1, 5], [5, 4, 4], [1, 1, 1]),
        users_of([0, 2, 0], [3, 5, 0], [5, 2, 0], [1, 1, 0]),
    ]
    state = types.TrainState(jnp.int32(0), params, optimizer.init(params), jax.random.key(0))
    take = jax.jit(functools.partial(by_row.step, several=False))
    moments = {name: (np.zeros_like(value), np.zeros_like(value)) for name, value in x.items()}
    scale, of_scale = 2.0, [0.0, 0.0]
    gradient = jax.grad(toy_model(info).loss, has_aux=True)(params, {}, batches[0], state.key, 0)[0]
    at_first = optax.apply_updates(params, optimizer.update(gradient, state.opt_state)[0])  # by dense Adam
    for number, batch in enumerate(batches, 1):
        params, opt_state, logged = take(state, {}, batch, state.key)
        state = state.replace(params=params, opt_state=opt_state)
        gradients, value, touched = {n: np.zeros_like(v) for n, v in x.items()}, 0.0, {"user": set(), "item": set()}
        drawn = batch.triples["buy"]
        for u, i, j, w in np.stack(
            [batch.user, drawn.positive[:, 0], drawn.negative[:, 0], batch.weight], axis=1
        ).astype(int):
            if w:
                p, ahead = x["user"][u], x["item"][i] - x["item"][j]
                gradients["user"][u] += scale * ahead
                gradients["item"][i] += scale * p
                gradients["item"][j] -= scale * p
                value += p @ ahead
                touched["user"] |= {u}
                touched["item"] |= {i, j}
        assert float(logged["only"]) == pytest.approx(scale * value, rel=1e-5)

        def adam(m, v, g, number=number):
            m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
            return m, v, 0.1 * (m / (1 - 0.9**number)) / (np.sqrt(v / (1 - 0.999**number)) + 1e-8)

        for name, rows in touched.items():
            for row in rows:
                m, v = moments[name]
                m[row], v[row], change = adam(m[row], v[row], gradients[name][row])
                x[name][row] -= change
        *of_scale, change = adam(*of_scale, value)
        scale -= change
        if number == 1:
            jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-6), params, at_first)
        for name in x:
            np.testing.assert_allclose(params["params"][name], x[name], rtol=2e-5, atol=1e-6)
        np.testing.assert_allclose(params["params"]["scale"], [scale], rtol=2e-5)
    assert not np.any(opt_state[0].mu["params"]["user"][3]) and not np.any(opt_state[0].nu["params"]["item"][0])


SAME = [(model, optimizer) for model in MODELS for optimizer in ("sgd", "adagrad")]


@pytest.mark.parametrize(("model", "optimizer"), usual.cases(SAME, lambda case: case == SAME[0]))
def test_where_nothing_happens_without_a_gradient_lazy_is_dense(model, optimizer):
    given = {"model": model, "train__optimizer": optimizer, "train__learning_rate": 0.05}
    given |= {"train__decay_rate": 0.5, "train__decay_steps": 3}
    losses, state = trained(**given)
    dense_losses, dense = trained(**given, is_lazy=False)
    np.testing.assert_allclose(losses, dense_losses, rtol=1e-6)
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-7), state, dense)


@pytest.mark.parametrize("shard", ["none", pytest.param("tables", marks=pytest.mark.exhaustive)])
def test_several_devices_have_the_steps_of_one(shard):
    losses, state = on_one()
    given = {"devices": 4, "train__shard": shard, "train__learning_rate": 0.05}
    others, of_four = trained(**given)
    np.testing.assert_allclose(others, losses, rtol=1e-5)
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-3, atol=1e-5), of_four, state)


def test_no_copy_of_a_table_is_made():
    """All memory of a chunk beside its arguments is less than the smaller table, and the results are the arguments."""
    run = experiment(source=toy.dataset(1, num_users=3000, num_items=2000))
    advance, state = run.advance(), run.start()
    plan = advance.plan(state, 0)
    sampler, store = run.draws()
    chunk = step.make_chunk(run.model, sampler, run.optimizer(), by_row=run.by_row)
    program = run.placement.compile_chunk(chunk).lower(state, run.graphs, store, plan, 0, 4).compile()
    memory = program.memory_analysis()
    assert memory.temp_size_in_bytes < 2000 * 4 * 4
    assert memory.alias_size_in_bytes >= 3 * 5000 * 4 * 4


def test_who_cannot_is_refused_in_a_line():
    for model, fields, why in (
        ("lightgcn", {}, "backbone 'lightgcn' makes every row"),
        ("bpr_mf", {"model__l2_on": "tables"}, r"model.l2_on=tables reads whole tables \(batch does not\)"),
        ("cmf", {"model__l2_weight": 0.1}, "model.l2_weight is of whole tables"),
        ("bvae", {}, "its loss reads more of its tables"),
    ):
        with pytest.raises(errors.IncompatibleError, match=rf"^train.lazy=true .* '{model}' cannot: {why}.*Leave"):
            experiment(model, **fields)


def test_it_is_said_at_the_start(monkeypatch):
    def said(**options):
        return [line for line in beginning.notes(experiment(**options)) if "train.lazy" in line]

    moments = "each row has moments of its own, so that results differ"
    assert said() == [f"train.lazy=true: adam updates the rows of a batch alone in item, user ({moments})"]
    assert said(train__optimizer="sgd")[0].endswith("in item, user (as without)")
    assert not said(is_lazy=False) and not said(is_lazy=False, model="lightgcn")
    monkeypatch.setattr(beginning, "LARGE", 200)
    assert "all 216 values of the tables; train.lazy=true" in said(is_lazy=False)[0]
