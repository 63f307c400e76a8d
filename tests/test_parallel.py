"""Several devices: the same steps, lists and metrics as one, by both of JAX's ways, and nothing sent between chunks."""

import functools
import itertools
import os
import pathlib
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import toy
import usual

from mbjax import config as configuration
from mbjax import errors, evaluate, models, parallel, recommend, topk
from mbjax.experiment import training, wiring

SGD = {"train.optimizer": "sgd", "train.learning_rate": 0.01, "train.chunk_steps": 1}


def experiment(devices, backend="pmap", model="bvae", **overrides):
    """A small model; by default BVAE with plain gradient descent, so that a step *is* the gradient."""
    given = {"train.batch_size": 8, "train.backend": backend, **SGD, "model.embedding_size": 4, "model.l2_weight": 0.01}
    given |= {name.replace("__", "."): value for name, value in overrides.items()}
    section = models.MODELS[model].config
    config = configuration.load(model, "demo", section, protocol="paper", devices=devices, overrides=given)
    return wiring.build(config, toy.dataset(2))


@functools.cache
def trained(devices, backend):
    """Losses of twenty steps, what the first one adds to the parameters, and the parameters at the end."""
    run = experiment(devices, backend)
    advance, state = run.advance(), run.placement.everywhere(run.start())
    before = jax.tree.map(np.array, run.placement.here(state).params)
    losses, step = [], None
    for number in range(20):
        epoch, place = divmod(number, 3)
        state, logged = advance.chunk(state, advance.plan(state, epoch), place, 1)
        losses.append(float(logged["loss"][0]))
        if number == 0:
            step = jax.tree.map(lambda a, b: np.asarray(a) - b, run.placement.here(state).params, before)
    return losses, step, jax.device_get(run.placement.here(state).params)


@pytest.mark.exhaustive
def test_loss_and_gradient_of_a_step_and_the_loss_of_twenty():
    (one, one_step, _), (four, four_step, _) = trained(1, "pmap"), trained(4, "pmap")
    np.testing.assert_allclose(four[0], one[0], rtol=1e-5)
    np.testing.assert_allclose(four, one, rtol=1e-3)
    assert one[-1] < one[0]
    for a, b in zip(*map(jax.tree.leaves, (one_step, four_step)), strict=True):
        # a difference of parameters carries their own rounding, 6e-8 of values up to .4
        np.testing.assert_allclose(b, a, rtol=1e-5, atol=1e-5 * np.abs(a).max() + 6e-8)


def test_both_ways_have_the_same_losses():
    (losses, _, params), (others, _, other_params) = trained(4, "pmap"), trained(4, "shard_map")
    np.testing.assert_allclose(losses, others, rtol=1e-6)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), params, other_params)


@pytest.mark.exhaustive
def test_both_ways_have_the_same_bits_as_they_are_compiled_for_users():
    """In a process of its own: tests compile at a level at which last bits depend on what else a program computes."""
    code = (
        "import jax, numpy as np; import test_parallel as tests\n"
        "(losses, _, params), (others, _, more) = tests.trained(4, 'pmap'), tests.trained(4, 'shard_map')\n"
        "assert losses == others\n"
        "jax.tree.map(np.testing.assert_array_equal, params, more)"
    )
    folder = pathlib.Path(__file__).parent
    plain = {name: value for name, value in os.environ.items() if name != "JAX_COMPILATION_CACHE_DIR"}
    plain |= {
        "XLA_FLAGS": "--xla_force_host_platform_device_count=4",
        "PYTHONPATH": os.pathsep.join([str(folder), str(folder.parent), os.environ.get("PYTHONPATH", "")]),
    }
    done = subprocess.run([sys.executable, "-c", code], env=plain, capture_output=True, text=True)
    assert not done.returncode, done.stderr[-2000:]


@pytest.mark.parametrize(
    ("model", "backend"),
    usual.cases(
        itertools.product(["bvae", "lightgcn"], ["pmap", "shard_map"]),
        {("bvae", "pmap"), ("lightgcn", "shard_map")}.__contains__,
    ),
)
def test_nothing_but_numbers_travels_between_chunks(model, backend):
    """Nothing goes from device to device, nor from the host, of arrays, once each program has run."""
    run = experiment(4, backend, model)
    advance, state = run.advance(), run.placement.everywhere(run.start())
    state, _ = advance.chunk(state, advance.plan(state, 0), 0, 1)
    place = run.placement.everywhere(jnp.int32(1))
    with jax.transfer_guard_device_to_device("disallow"):
        plan = advance.plan(state, 1)
    with jax.transfer_guard("disallow"):
        state, logged = advance.chunk(state, plan, place, 1)
    assert np.isfinite(logged["loss"]).all()


def test_a_pass_moves_no_graphs_and_no_queries():
    run = experiment(4, model="lightgcn")
    evaluator, graphs = run.evaluator("test"), run.graphs_for("test")
    assert run.graphs_for("test") is graphs
    params = run.placement.everywhere(run.start().params)
    tables = topk.encode(run.model, params, graphs, run.placement)
    queries = next(iter(evaluator._tasks.values())).queries
    assert len(queries.user.sharding.device_set) == 4 and queries.user.shape[0] % 4 == 0
    topk.start(run.model, params, tables, queries, "buy", 5, 7)
    with jax.transfer_guard("disallow"):
        topk.start(run.model, params, tables, queries, "buy", 5, 7)


def test_one_device_keeps_its_buffer_and_the_others_get_a_copy():
    """So that placing takes no memory of the first device, and what is there already is not placed again."""
    placement, x = parallel.Placement(4), jnp.arange(1000.0)
    there = placement.everywhere({"x": x, "key": jax.random.key(3)})
    assert there["x"].addressable_data(0).unsafe_buffer_pointer() == x.unsafe_buffer_pointer()
    again = placement.everywhere(there)
    assert again["x"] is there["x"] and again["key"] is there["key"]
    here = placement.here(there)
    assert here["x"].unsafe_buffer_pointer() == x.unsafe_buffer_pointer() and len(here["x"].sharding.device_set) == 1
    assert (jax.random.key_data(here["key"]) == jax.random.key_data(jax.random.key(3))).all()
    assert placement.everywhere(again["x"]).sharding.is_fully_replicated


@pytest.mark.parametrize("devices", usual.cases([2, 3, 4], {4}.__contains__))
def test_metrics_of_devices_that_divide_the_users(devices):
    """Of 23 users in batches of 4: no number of devices divides them."""
    run = experiment(1)
    params = run.start().params
    options = {"per_user": True, "groups": (3,), "details": True}
    one = evaluate.Evaluator(run.dataset, "test", batch_size=4)(run.model, params, run.graphs, **options)
    placement = parallel.Placement(devices)
    many = evaluate.Evaluator(run.dataset, "test", batch_size=4, placement=placement)
    found = many(run.model, params, run.graphs, **options)
    assert found.per_user.equals(one.per_user)
    for behavior, row in one.table.items():
        chances = found.table[behavior].pop("probabilities", {}), row.pop("probabilities", {})
        assert chances[0] == pytest.approx(chances[1], rel=1e-6)
        assert found.table[behavior] == row


@pytest.mark.parametrize("lists", usual.cases(["blended", "continue", "discover"], {"blended"}.__contains__))
def test_lists_of_devices_that_divide_the_users(lists):
    run = experiment(1)
    params = run.start().params
    groups = {item: item % 3 for item in run.dataset.items.column(np.arange(run.dataset.info.num_items)).to_list()}
    options = {"top_k": 6, "lists": lists, "batch_size": 5, "item_tile": 9, "groups": groups, "max_per_group": 2}
    one, four = (
        list(recommend.make(run.model, params, run.graphs, run.dataset, placement=placement, **options))
        for placement in (parallel.ONE, parallel.Placement(4))
    )
    assert [a.table.equals(b.table) for a, b in zip(one, four, strict=True)] == [True] * len(one)


@pytest.mark.exhaustive
def test_a_run_goes_on_with_other_devices(tmp_path):
    """Begun on four, gone on with on one and on two; the parameters are those of one device to rounding."""
    base = {"train__chunk_steps": 0, "evaluate__anchors": ()}

    def go(devices, epochs, workdir, **options):
        run = experiment(devices, train__epochs=epochs, **base)
        return training.train(run.config, workdir, dataset=toy.dataset(2), **options).rows[-1]["loss"]

    go(4, 2, tmp_path / "run")
    go(1, 3, tmp_path / "run", resume=True)
    assert go(2, 4, tmp_path / "run", resume=True) == pytest.approx(go(1, 4, tmp_path / "one"), rel=1e-4)


@pytest.mark.parametrize("several", usual.cases([2, 3], {3}.__contains__))
def test_fewer_rows_than_a_batch_are_not_enlarged_for_devices(several):
    """23 users in one batch, several passes over pairs: on two and three devices the steps and losses of one."""
    found = {}
    for devices in (1, several):
        run = experiment(devices, model="bpr_mf", train__batch_size=64)
        advance, state = run.advance(), run.placement.everywhere(run.start())
        plan, losses = advance.plan(state, 0), []
        for place in range(3):
            state, logged = advance.chunk(state, plan, place, 1)
            losses.append(float(logged["loss"][0]))
        found[devices] = advance.steps_per_epoch, losses
    assert found[1][0] == found[several][0] > 3
    np.testing.assert_allclose(found[several][1], found[1][1], rtol=1e-6)


def test_what_stands_twice_in_a_tree_is_placed_once():
    run = experiment(4, model="copf")
    for matrix in run.graphs_for("test").values():
        assert matrix.transpose.indices is matrix.matrix.indices and matrix.col_ptr is matrix.row_ptr


def test_more_devices_than_there_are():
    with pytest.raises(errors.ConfigError, match="--devices=64, but JAX sees 4"):
        parallel.check(64)


def test_a_batch_that_cannot_be_divided():
    config = experiment(1).config
    config = config.model_copy(update={"devices": 3})
    with pytest.raises(errors.IncompatibleError, match="train.batch_size=8 cannot be divided among --devices=3"):
        wiring.build(config, toy.dataset(2))
    # Who only ranks divides no batch.
    assert wiring.plan(config, toy.dataset(2), steps=False).placement.size == 3


def test_virtual_devices_of_a_cpu_share_what_is_scored_at_once():
    assert parallel.Placement().batch(512) == 512
    assert parallel.Placement(2).batch(5) == 3 and parallel.Placement(4).batch(512) == 128
