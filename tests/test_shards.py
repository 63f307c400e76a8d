"""Users divided among devices: the losses, metrics and lists of one device, in a quarter of its memory."""

import functools

import jax
import numpy as np
import pytest
import toy
import usual
from jax.experimental import sparse

from mbjax import config as configuration
from mbjax import errors, models, recommend, types
from mbjax.experiment import training, wiring
from mbjax.ops import divided_sampling

SMALL = {"train.batch_size": 8, "train.chunk_steps": 1, "model.embedding_size": 4}
USUAL = ("lightgcn", "bpr_mf")
OTHERS = ("copf", "pkef", "bigel", "lightgcn_m", "mbcgcn", "crgcn", "cigf", "nmtr", "cmf", "mc_bpr", "neumf", "bvae")
OTHERS += ("multivae", "vaepp", "bcipm", "rgcn", "gnmr", "smbrec")
DROPPING = ("ngcf", "ehcf", "ghcf")
"""Models whose backbone drops entries, which has to be turned off."""


def configured(model, devices, **overrides):
    section = models.MODELS[model].config
    given = {k: v for k, v in SMALL.items() if not k.startswith("model.") or k[6:] in section.model_fields}
    given |= {"train.shard": "tables"} | {name.replace("__", "."): value for name, value in overrides.items()}
    return configuration.load(model, "demo", section, protocol="paper", devices=devices, overrides=given)


def experiment(model, devices, dataset=None, **overrides):
    return wiring.build(configured(model, devices, **overrides), dataset or toy.dataset(2))


def trained(model, devices, steps=20, **overrides):
    """Losses of some steps, and the parameters after them."""
    run = experiment(model, devices, **overrides)
    advance, state = run.advance(), run.placement.put(run.start())
    losses = []
    for number in range(steps):
        epoch, place = divmod(number, advance.steps_per_epoch)
        if not place:
            plan = advance.plan(state, epoch)
        state, logged = advance.chunk(state, plan, place, 1)
        losses.append(float(logged["loss"][0]))
    return losses, run.placement.kept_params(state.params)


on_one = functools.cache(functools.partial(trained, devices=1))


@pytest.mark.parametrize("model", usual.cases([*USUAL, *OTHERS], USUAL.__contains__))
def test_losses_are_those_of_one_device(model):
    losses, params = trained(model, devices=4)
    np.testing.assert_allclose(losses, on_one(model)[0], rtol=1e-5)
    assert jax.tree.map(np.shape, params) == jax.tree.map(np.shape, on_one(model)[1])  # no padding


@pytest.mark.exhaustive
@pytest.mark.parametrize("model", DROPPING)
def test_losses_of_models_that_do_not_drop(model):
    given = {"model__backbone__dropout_rate": 0.0}
    np.testing.assert_allclose(trained(model, 4, **given)[0], trained(model, 1, **given)[0], rtol=1e-5)


@pytest.mark.parametrize("model", DROPPING)
def test_dropping_is_refused(model):
    with pytest.raises(errors.IncompatibleError, match=f"dropout masks of model '{model}' .*dropout_rate=0"):
        experiment(model, 1)


SWITCHES = {
    "norms": {"model__l2_on": "norms"},
    "parameters": {"model__l2_on": "parameters", "model__backbone__tables": "per_behavior"},
    "all_nodes": {"model__contrastive__weight": 0.1, "model__contrastive__reduction": "all_nodes"},
    "align": {"model__alignment__weight": 0.1},
    "wo_dropout": {"model__backbone__edge_dropout_rate": 0.0, "model__backbone__dropout_rate": 0.0},
}
SWITCHES["parts"] = {"model__backbone__graph_parts": 3}
SWITCHES["counts"] = SWITCHES["wo_dropout"] | {"model__backbone__related": "users"}
TERMS = [("copf", "norms"), ("lightgcn_m", "parameters"), ("copf", "all_nodes"), ("bigel", "align")]
TERMS += [("mbgcn", "wo_dropout"), ("mbgcn", "counts"), ("lightgcn", "parts")]


@pytest.mark.exhaustive
@pytest.mark.parametrize(("model", "switch"), TERMS)
def test_terms_that_ask_for_all_users(model, switch):
    # Of sums over all users: with larger steps the losses of COPF grow without end, and with them what is rounded.
    given = SWITCHES[switch] | {"train__optimizer": "sgd", "train__learning_rate": 1e-3}
    np.testing.assert_allclose(trained(model, 4, **given)[0], trained(model, 1, **given)[0], rtol=1e-5)


@pytest.mark.parametrize("model", USUAL)
def test_metrics_and_lists_are_those_of_one_device(model):
    """Users are asked for in an order that is not theirs, and some devices have fewer of them."""
    params = jax.tree.map(np.asarray, on_one(model)[1])
    tables, lists = [], []
    for devices in (1, 4):
        run = experiment(model, devices)
        graphs = run.graphs_for("test")
        tables.append(run.evaluator("test")(run.model, params, graphs, details=True).table)
        users = run.dataset.users.column(np.array([22, 3, 4, 17, 0, 5]))
        options = {"top_k": 5, "users": users, "behaviors": run.model.tasks, "batch_size": 3}
        made = recommend.make(run.model, params, graphs, run.dataset, placement=run.placement, **options)
        lists.append([found.table for found in made])
    assert tables[0] == tables[1]
    for a, b in zip(*lists, strict=True):
        assert a.drop("score").equals(b.drop("score"))
        np.testing.assert_allclose(b["score"], a["score"], rtol=1e-5)


def test_probabilities_are_those_of_one_device():
    """What adds up over batches and devices, the largest differences between users and items included."""
    found = []
    for devices in (1, 4):
        run = experiment("bpr_mf", devices)
        params = jax.tree.map(lambda x: 20 * np.asarray(x), run.placement.kept_params(run.start().params))
        evaluator = run.evaluator("test")
        table = evaluator(run.model._replace(probabilities=True), params, run.graphs_for("test"), details=True).table
        found.append({behavior: row["probabilities"] for behavior, row in table.items()})
    alone, divided = found
    assert alone.keys() == divided.keys()
    for behavior, row in alone.items():
        assert row["pairs"] and abs(row["log_loss"] - row["uniform_log_loss"]) > 0.01
        assert divided[behavior] == pytest.approx(row, rel=1e-5)


def test_each_device_holds_a_quarter():
    """Of graphs, of user tables and of their optimizer state; the histories too."""

    def held(devices):
        run = experiment("lightgcn", devices, toy.dataset(2, num_users=400))
        state = run.placement.put(run.start())
        users = [leaf for leaf in jax.tree.leaves((state.params, state.opt_state)) if leaf.ndim and len(leaf) == 400]
        assert len(users) == 3  # the table and two moments of Adam
        leaves = [*users, *jax.tree.leaves(run.graphs)]
        if devices > 1:
            sampler, store = divided_sampling.user_sampler(run.model.batch, run.dataset.train, 100, run.placement)
            assert (
                len(store.own.triples["buy"][0].sharding.device_set) == 4
                and not store.own.triples["buy"][0].sharding.is_fully_replicated
            )
        total = dict.fromkeys(jax.devices()[:devices], 0)
        for leaf in leaves:
            for shard in leaf.addressable_shards:
                total[shard.device] += shard.data.nbytes
        return max(total.values())

    assert held(4) <= 0.35 * held(1)


def test_a_divided_matrix_is_stored_once_where_it_is_square():
    """COPF's rows are scaled one way, LightGCN's both: of the first the values are two, of the second all is one."""
    for model, is_same in (("copf", False), ("lightgcn", True)):
        for matrix in experiment(model, 4).graphs.values():
            assert matrix.transpose.indices is matrix.matrix.indices and matrix.col_ptr is matrix.row_ptr
            assert (matrix.transpose.data is matrix.matrix.data) == is_same
            for number in range(4):
                forward, backward = (
                    sparse.BCOO(
                        tuple(part.addressable_shards[number].data for part in (x.data, x.indices)), shape=x.shape
                    ).todense()
                    for x in (matrix.matrix, matrix.transpose)
                )
                np.testing.assert_array_equal(backward, forward.T)


def test_no_device_has_to_hold_all_before_the_first_step():
    """Initial values are made by the host's CPU, whatever JAX works on by default."""
    run = experiment("bpr_mf", 4)
    with jax.default_device(jax.devices()[2]):
        leaves = jax.tree.leaves(run.start())
    assert {device for leaf in leaves for device in leaf.devices()} == {jax.local_devices(backend="cpu")[0]}


@pytest.mark.exhaustive
def test_a_run_goes_on_with_fewer_devices(tmp_path):
    """Four devices begin, one goes on, two end it; 23 users are no multiple of any."""
    given = {"train__eval_every": 0, "evaluate__anchors": ()}
    rows = {}
    for name, plan in (("one", ((1, 3),)), ("several", ((4, 1), (1, 2), (2, 3)))):
        for devices, epochs in plan:
            config = configured("bpr_mf", devices, train__epochs=epochs, **given)
            outcome = training.train(
                config, tmp_path / name, resume=epochs > 1 and len(plan) > 1, dataset=toy.dataset(2)
            )
        rows[name] = [row["loss"] for row in outcome.rows]
    assert len(rows["one"]) == 3
    np.testing.assert_allclose(rows["several"], rows["one"], rtol=1e-5)


@pytest.mark.parametrize("model", ["funnel", "ease", "popularity", "itemknn", "cml", "kmclr"])
def test_models_without_anything_to_divide_are_refused(model):
    with pytest.raises(errors.IncompatibleError, match=rf"--shard=tables divides .* model '{model}'"):
        experiment(model, 1)


def test_masks_of_all_users_at_once_are_refused():
    with pytest.raises(errors.IncompatibleError, match="'mbgcn' are drawn for all users.*dropout_rate=0 and --"):
        experiment("mbgcn", 1)


def test_rows_of_a_device_and_where_pairs_are():
    """Two devices with 2 and 1 pairs of a first behavior, 1 and 2 of a second: places 0 1 | 2, then 3 | 4 5."""
    starts, bounds = divided_sampling._runs(np.array([[2, 1], [1, 2]]))
    np.testing.assert_array_equal(starts, [0, 2, 3, 4])
    np.testing.assert_array_equal(bounds[0], [[0, 2, 0], [3, 4, 2]])
    np.testing.assert_array_equal(bounds[1], [[2, 3, 0], [4, 6, 1]])
    run = experiment("bpr_mf", 4)
    sampler, _ = divided_sampling.user_sampler(run.model.batch, run.dataset.train, 6, run.placement)
    plan = np.full(16, -1)
    plan[:8], plan[8:10] = [0, 6, 12, 18, 1, 2, 7, 13], [22, 21]
    assert sampler.needed(plan, 4) == 3  # users 0, 1 and 2 in the first batch
    assert sampler.block == types.Block(23, 6)
