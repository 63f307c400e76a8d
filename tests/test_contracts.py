"""What every row of MODELS must do, whatever it is: shapes, a step, a checkpoint, resumption, several devices."""

from __future__ import annotations

import functools
import itertools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import toy
import usual

from mbjax import batching, models, topk, types
from mbjax import config as configuration
from mbjax.experiment import wiring
from mbjax.ops import adjacency, platforms
from mbjax.train import checkpoint, step

SMALL = {"train.batch_size": 8, "train.chunk_steps": 3}
NUM_BEHAVIORS = (1, 2, 3, 4)
ABLATIONS = [(name, each) for name in models.MODELS for each in configuration.model_file(name).get("ablations") or ()]
TRAINED = [name for name in models.MODELS if (configuration.model_file(name).get("train") or {}).get("epochs") != 0]
QUICK = ("copf",)  # the others take as long together as all the rest of the tests
PLACED = ("multivae", "copf", "nmtr")  # one of each kind of batch is placed on four devices each time
LOWERED = ("multivae",)
FUNNEL = ("wo_near", "validation_alone")  # each of its ablations takes seven seconds, since tables are made and learned
IDLE = {
    "bvae": "gate",  # there and without effect, as in the released program
    "funnel": "scale",  # means and deviations of the data that it was trained on
}
dataset = functools.cache(toy.dataset)


def small(name: str, num_behaviors: int = 3, ablation: str | None = None) -> wiring.Experiment:
    """A model of the zoo on the toy data, small enough to compile in a moment."""
    entry = models.MODELS[name]
    # One pass over the users is an epoch, also where a model counts pairs.
    given = SMALL | ({"model.steps_per_epoch": 0} if "steps_per_epoch" in entry.config.model_fields else {})
    config = configuration.load(name, "demo", entry.config, ablation=ablation, protocol="paper", overrides=given)
    narrow = {"embedding_size": 4}
    if entry.rows == "pairs":
        narrow["layers"] = 1  # more would halve a tower down to one unit, which may be dead
    narrow = {name: value for name, value in narrow.items() if name in type(config.model).model_fields}
    config = config.model_copy(update={"model": config.model.model_copy(update=narrow)})
    return wiring.build(config, dataset(num_behaviors))


def check_shapes(experiment: wiring.Experiment) -> types.Params:
    """Initial values, tables and scores, the loss of the smallest batch too: shapes only, nothing is computed."""
    model, info = experiment.model, experiment.dataset.info
    params = jax.eval_shape(model.init, jax.random.key(0), experiment.graphs)

    def scores(params, users):
        tables = model.encode(params, experiment.graphs)
        return [model.score(params, tables, users, jnp.int32(3), 7, k) for k in range(info.num_behaviors)]

    for score in jax.eval_shape(scores, params, jnp.zeros(5, jnp.int32)):
        assert (score.shape, score.dtype) == ((5, 7), jnp.float32)
    assert set(model.tasks) <= set(info.behaviors)
    return params


def in_turn(case: tuple[str, int]) -> bool:
    """The numbers in turn."""
    name, num_behaviors = case
    return num_behaviors == 1 + list(models.MODELS).index(name) % 4


@pytest.mark.parametrize(
    ("name", "num_behaviors"), usual.cases(itertools.product(models.MODELS, NUM_BEHAVIORS), in_turn)
)
def test_shapes_for_any_number_of_behaviors(name, num_behaviors):
    experiment = small(name, num_behaviors)
    model, params = experiment.model, check_shapes(experiment)
    assert (models.MODELS[name].chosen == "epoch", not models.MODELS[name].chosen) == (
        experiment.is_trained,
        not experiment.is_trained and model.choices is None,
    )
    if not experiment.is_trained:
        return
    sampler, store = experiment.draws()
    key = jax.random.key(0)
    batch = jax.eval_shape(lambda: sampler.batch(store, sampler.plan(key, 0), key, 0))
    (loss, parts), gradients = jax.eval_shape(
        jax.value_and_grad(model.loss, has_aux=True), params, experiment.graphs, batch, key, jnp.int32(0)
    )
    assert (loss.shape, loss.dtype) == ((), jnp.float32)
    assert all(part.shape == () for part in parts.values())
    chex.assert_trees_all_equal_shapes_and_dtypes(gradients, params)


@pytest.mark.parametrize(
    ("number", "name", "ablation", "num_behaviors"),
    usual.cases(
        [(i, *pair, k) for i, pair in enumerate(ABLATIONS) for k in NUM_BEHAVIORS],
        lambda case: (
            case[3] == NUM_BEHAVIORS[case[0] % 4] and (case[2] in FUNNEL if case[1] == "funnel" else case[0] % 3 == 0)
        ),
    ),
)
def test_shapes_of_ablations(number, name, ablation, num_behaviors):
    check_shapes(small(name, num_behaviors, ablation))


@functools.cache
def train(name: str):
    """An experiment with its compiled chunk and states after 0, 3 and 6 steps, on the host."""
    experiment = small(name)
    advance = experiment.advance()
    spec = experiment.model.batch
    if models.MODELS[name].rows == "users" and not spec.pass_over and experiment.model.teach is None:
        assert (advance.steps_per_epoch, advance.chunk_steps) == (3, 3)
    else:
        assert advance.steps_per_epoch > 3  # there are more pairs or lists than users; three steps of each are enough
    state = experiment.start()
    states, losses = [jax.device_get(_plain(state))], []
    for epoch in range(2):
        state, logged = advance.chunk(state, advance.plan(state, epoch), 0, 3)
        states.append(jax.device_get(_plain(state)))
        losses.append(jax.device_get(logged))
    return experiment, advance, states, losses


@pytest.fixture(
    scope="module",
    params=usual.cases(TRAINED, QUICK.__contains__),
)
def trained(request):
    """``train`` of every model that is trained."""
    return train(request.param)


def _plain(state: types.TrainState) -> types.TrainState:
    """Keys as numbers, and copies: the next chunk takes the buffers."""
    return jax.tree.map(jnp.copy, state.replace(key=jax.random.key_data(state.key)))


def _device(state: types.TrainState) -> types.TrainState:
    return jax.tree.map(jnp.array, state).replace(key=jax.random.wrap_key_data(jnp.array(state.key)))


def test_a_step_moves_every_parameter_and_is_finite(trained):
    experiment, _, states, losses = trained
    chex.assert_tree_all_finite((states, losses))
    assert states[2].step == 6
    moved = jax.tree.map(lambda a, b: np.any(a != b), states[0].params, states[1].params)
    for path, is_moved in jax.tree_util.tree_leaves_with_path(moved):
        idle = IDLE.get(experiment.config.model_name)
        assert is_moved or idle and f"['{idle}']" in jax.tree_util.keystr(path), path
    for logged in losses:
        parts = sum(values for name, values in logged.items() if name != "loss")
        np.testing.assert_allclose(parts, logged["loss"], rtol=1e-5)


def test_saved_and_restored_it_goes_on_bit_for_bit(trained, tmp_path):
    experiment, advance, states, _ = trained
    checkpoints = checkpoint.Checkpoints(tmp_path)
    checkpoints.save(3, _device(states[1]), {"epoch": 0})
    restored, _ = checkpoints.restore(jax.eval_shape(experiment.start))
    chex.assert_trees_all_equal(jax.device_get(_plain(restored)), states[1])
    state, _ = advance.chunk(restored, advance.plan(restored, 1), 0, 3)
    chex.assert_trees_all_equal(jax.device_get(_plain(state)), states[2])
    checkpoints.close()


@pytest.mark.parametrize("name", usual.cases(TRAINED, PLACED.__contains__))
def test_four_devices_do_what_one_does(name):
    experiment, _, states, losses = train(name)
    several = wiring.Experiment(
        experiment.config.model_copy(update={"devices": 4}), experiment.dataset, experiment.model, experiment.graphs
    )
    advance = several.advance()
    state = several.placement.everywhere(_device(states[0]))
    state, first = advance.chunk(state, advance.plan(state, 0), 0, 3)
    # The first loss is of equal parameters; later ones and the parameters carry the rounding of Adam's division.
    np.testing.assert_allclose(first["loss"][0], losses[0]["loss"][0], rtol=1e-5)
    np.testing.assert_allclose(first["loss"], losses[0]["loss"], rtol=1e-4)
    state, second = advance.chunk(state, advance.plan(state, 1), 0, 3)
    np.testing.assert_allclose(second["loss"], losses[1]["loss"], rtol=1e-3)
    for leaf in jax.tree.leaves(state.params):
        first, *_, last = leaf.addressable_shards
        np.testing.assert_array_equal(first.data, last.data)  # the copies stay equal


@pytest.mark.exhaustive
def test_gradients_of_four_devices_add_up(trained):
    experiment, _, states, _ = trained
    model, params = experiment.model, _device(states[1]).params
    key = jax.random.key(7)

    def gradient(num_devices):
        sampler, store = experiment.draws(num_devices)

        @jax.jit
        def one(device):
            last = sampler.steps_per_epoch - 1  # the short one
            batch = sampler.batch(store, sampler.plan(key, 0), key, last, device)
            return jax.value_and_grad(model.loss, has_aux=True)(params, experiment.graphs, batch, key, jnp.int32(9))

        return jax.tree.map(lambda *x: sum(x), *[one(d) for d in range(num_devices)])

    (loss, parts), grads = gradient(1)
    (loss4, parts4), grads4 = gradient(4)
    np.testing.assert_allclose(loss4, loss, rtol=1e-5)
    chex.assert_trees_all_close(parts4, parts, rtol=1e-5)
    # What cancels in a sum, as in the bias of a gate's logits, is left with the rounding of its terms.
    largest = max(float(np.abs(a).max()) for a in jax.tree.leaves(grads))
    for a, b in zip(jax.tree.leaves(grads), jax.tree.leaves(grads4), strict=True):
        atol = max(1e-5 * np.abs(a).max(), 1e-7 * largest, 1e-30)
        np.testing.assert_allclose(b, a, rtol=1e-5, atol=atol)


def test_scores_are_float_and_any_tile_is_a_slice(trained):
    experiment, _, states, _ = trained
    model, params = experiment.model, states[2].params
    tables = jax.jit(model.encode)(params, experiment.graphs)
    users = jnp.array([3, 0, 22])
    whole = model.score(params, tables, users, 0, 31, 2)
    assert whole.shape == (3, 31)
    np.testing.assert_allclose(
        model.score(params, tables, users, jnp.int32(8), 11, 2), whole[:, 8:19], rtol=1e-5, atol=1e-6
    )


def test_one_trace_serves_all_epochs():
    experiment = small("multivae")
    counted = chex.assert_max_traces(experiment.model.loss, n=1)
    once = wiring.Experiment(
        experiment.config, experiment.dataset, experiment.model._replace(loss=counted), experiment.graphs
    )
    advance, state = once.advance(), once.start()
    for epoch in range(3):
        state, _ = advance.chunk(state, advance.plan(state, epoch), 0, 3)
    assert state.step == 9


def test_chunks_divide_an_epoch_where_they_can():
    assert step.chunk_length(22, 32) == 22
    assert step.chunk_length(61, 32) == 32  # a prime: the remainder is compiled too
    assert step.chunk_length(60, 32) == 30
    assert step.chunk_length(1, 32) == 1


def test_graphs_are_built_from_training_pairs_only():
    experiment = small("bvae")
    union = adjacency.assemble(types.GraphSpec(experiment.dataset.info.behaviors), experiment.dataset.train)
    assert experiment.graphs["union"].matrix.nse == union.nnz


def programs(experiment: wiring.Experiment):
    """What runs on the device for a model, traced: a chunk of training, the tables and the lists."""
    model, graphs = experiment.model, experiment.graphs
    if experiment.is_trained:
        sampler, store = experiment.draws()
        chunk = step.make_chunk(model, sampler, experiment.optimizer())
        state = jax.eval_shape(experiment.start)
        plan = jax.eval_shape(lambda: sampler.plan(jax.random.key(0), 0))
        yield jax.jit(chunk, static_argnums=(5, 6)).trace(state, graphs, store, plan, jnp.int32(0), 3, None)
    params = jax.eval_shape(model.init, jax.random.key(0), graphs)
    tables = jax.eval_shape(model.encode, params, graphs)
    left_out = (False,) * len(jax.tree.leaves(tables))
    yield topk._encode.trace(params, graphs, encode=model.encode, left_out=left_out)
    info = experiment.dataset.info
    queries = batching.prepare(np.arange(5), experiment.dataset.train[info.target], 3)
    options = {"behaviors": (info.num_behaviors - 1,), "num_items": info.num_items, "k": 3, "item_tile": 5, "specs": ()}
    yield topk._rank.trace(
        params, tables, (queries.replace(places=None),), batching.Limits(), score=model.score, **options
    )


def operations(operation):
    """An operation of a lowered program and all inside of it."""
    yield operation
    for region in operation.regions:
        for block in region:
            for inner in block:
                yield from operations(inner.operation)


def is_counted(loop) -> bool:
    """Whether the number of turns stands in the program: the condition compares with a constant."""
    (condition,) = loop.regions[0].blocks
    compare = list(condition)[-1].operands[0].owner
    owners = [getattr(operand.owner, "name", "") for operand in getattr(compare, "operands", ())]
    return "stablehlo.constant" in owners


@pytest.mark.parametrize(
    "name", [name if name in LOWERED else pytest.param(name, marks=pytest.mark.exhaustive) for name in models.MODELS]
)
def test_programs_of_accelerators(name):
    """On a GPU and a TPU: no kernel of a CPU, no float64, no call of the host, no loop as long as the device says."""
    experiment = small(name)
    with platforms.traced_for("gpu"):  # "tpu" takes the same: what is not a CPU's
        for traced in programs(experiment):
            for platform in ("cuda", "tpu"):
                lowered = traced.lower(lowering_platforms=(platform,))
                text = lowered.as_text()
                assert "xf64" not in text and "<f64>" not in text
                found = list(operations(lowered.compiler_ir("stablehlo").operation))
                called = [each.attributes["call_target_name"] for each in found if each.name.endswith("custom_call")]
                assert not called, called
                loops = [each for each in found if each.name == "stablehlo.while"]
                assert all(map(is_counted, loops)), loops
