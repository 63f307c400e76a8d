"""Times of COPF: a training epoch, a test pass, where the time of a step goes, and the floor of each part.

    python benchmarks/copf.py [--dataset=taobao] [--out=benchmarks/results/copf-taobao-cpu.json] [--field=value ...]

Run it on an idle machine. Floors come from what the machine does best, measured in the same process:

* a sparse product gathers a row of D floats for each stored entry and writes one for each node; tables lie in a cache,
  so these bytes count at the rate of an addition in place to an array of a table's size;
* sampled scores gather a row for each pair, in the forward pass and for the gradients of either side;
* the contrastive term multiplies the distinct anchors with all candidates: its arithmetic counts at the rate of a large
  matrix product, three times with gradients;
* Adam reads parameters, gradients and two moments and writes three of them: seven passes.

Floors of traffic leave out arithmetic and floors of arithmetic leave out traffic, as if each hid behind the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import optax

from mbjax.backbones import base
from mbjax.bench import rates, script, timing
from mbjax.experiment import wiring
from mbjax.models import composed, objectives
from mbjax.ops import graph, pairs, sampling

AUTHORS_EPOCH = 248.0  # seconds of the released program on 2 cores: Taobao, 61 steps
AUTHORS_PASS = 319.0  # seconds of its test pass of 15,449 users, with 10.9 GB
PLAIN_JAX_EPOCH = 26.0  # seconds of a plain JAX version with separable scores
CACHE_LINE = 64  # bytes that a look-up of one number brings


class Timer:
    """COPF's functions on one batch, timed part by part."""

    def __init__(self, experiment: wiring.Experiment, state, measured: rates.Rates, **repeats):
        self.config, self.info = experiment.config.model, experiment.dataset.info
        self.experiment, self.measured, self.repeats = experiment, measured, repeats
        self.graphs, self.state = experiment.graphs, state
        self.params = state.params["params"]
        self.module = composed.Composed(self.config, self.info)
        self.tasks = [self.info.behaviors.index(name) for name in experiment.model.tasks]
        self.sampler, self.store = sampling.user_sampler(experiment.model.batch, experiment.dataset.train)
        self.key = jax.random.key(0)
        self.plan = self.sampler.plan(self.key, 0)
        self.batch = jax.jit(self.draw)(self.store, self.key)
        self.tables = self.apply(composed.Composed.encode, self.params, self.graphs).behaviors

    def apply(self, method, params, *arguments):
        return self.module.apply({"params": params}, *arguments, method=method)

    def time(self, function, variables, *arguments) -> float:
        return timing.median_seconds_with_gradients(function, variables, *arguments, **self.repeats)

    def draw(self, store, key):
        return self.sampler.batch(store, self.plan, key, 0)

    def sampling(self) -> script.Part:
        """Users and triples: two random numbers for each, a look-up, and a binary search."""
        seconds = timing.median_seconds(self.draw, self.store, self.key, **self.repeats)
        looks = sum(1 + longest.bit_length() for longest in self.sampler.longest.values())
        traffic = looks * self.sampler.size * self.sampler.per_user * CACHE_LINE
        return script.Part("draw the triples", seconds, traffic / self.measured.near, f"{_mb(traffic)} of cache lines")

    def backbone(self) -> script.Part:
        """COGCN, from the embedding tables to the representations of all behaviors."""

        def encode(tables, params, graphs):
            return self.apply(composed.Composed.encode, params | tables, graphs).behaviors

        tables = {name: self.params[name] for name in ("user", "item")}
        seconds = self.time(encode, tables, self.params, self.graphs)
        work = products(encode, tables, self.params, self.graphs)
        return self._gathering("COGCN, with gradients", seconds, work)

    def head(self) -> list[script.Part]:
        """DFME: the propagation of the experts, then gate factors and rows side by side, then scores and BPR."""
        num, size = self.info.num_behaviors, self.config.embedding_size

        def others(task):
            return [j for j in range(num) if j != task]

        def experts(variables, params, graphs):
            head, tables = variables
            return self.apply(
                lambda module: [module.head.experts(tables, graphs, t, others(t)) for t in self.tasks],
                params | {"head": head},
            )

        def sides(variables, params, graphs, users):
            head, tables = variables
            return self.apply(
                lambda module: [module.head.sides(base.Encoding(tables), graphs, t, users) for t in self.tasks],
                params | {"head": head},
            )

        def scores(made, params, drawn):
            total = 0.0
            for task, one in zip(self.tasks, made, strict=True):
                triples = drawn[self.info.behaviors[task]]
                pairing = pairs.Pairs(jnp.concatenate([triples.positive, triples.negative], axis=1))
                score = self.apply(lambda module, t=task, s=one, p=pairing: module.head.score(t, s, p), params)
                total += objectives.bpr(self.config.score_scale * score, triples)
            return total

        variables = (self.params["head"], self.tables)
        propagation = self.time(experts, variables, self.params, self.graphs)
        both = self.time(sides, variables, self.params, self.graphs, self.batch.user)
        made = jax.jit(sides)(variables, self.params, self.graphs, self.batch.user)
        scoring = self.time(scores, made, self.params, self.batch.triples)
        work = products(experts, variables, self.params, self.graphs)
        rows = self.sampler.size * self.sampler.per_user * 2 * len(self.tasks)
        width = num * size + num
        traffic = 3 * rows * width * rates.FLOAT
        written = 2 * len(self.tasks) * self.info.num_items * width * rates.FLOAT
        bound = f"{_mb(traffic)} of gathered rows"
        return [
            self._gathering("DFME propagation, with gradients", propagation, work),
            script.Part(
                "gate factors and experts side by side, with gradients",
                both - propagation,
                written / self.measured.near,
                f"{_mb(written)} of item rows and their gradients",
            ),
            script.Part("scores of pairs and BPR, with gradients", scoring, traffic / self.measured.near, bound),
        ]

    def contrastive(self) -> script.Part:
        """The alignment of the target with the other behaviors."""

        def align(tables, batch):
            return objectives.contrastive(self.config.contrastive, base.Encoding(tables), self.info, batch)

        seconds = self.time(align, self.tables, self.batch)
        drawn = self.batch.triples[self.info.target]
        real = np.asarray(drawn.weight) > 0
        users = len(np.unique(np.asarray(self.batch.user)[real.any(axis=1)]))
        items = len(np.unique(np.asarray(drawn.positive)[real]))
        similarities = users * self.info.num_users + items * self.info.num_items
        flops = 3 * 2 * self.config.embedding_size * similarities * (self.info.num_behaviors - 1)
        bound = f"{flops / 1e9:.2f} GFLOP: {users:,} users and {items:,} items as anchors"
        return script.Part("contrastive term, with gradients", seconds, flops / self.measured.flops, bound)

    def optimizer(self) -> script.Part:
        """Adam on the gradients and those of the L2 term."""
        make = self.experiment.optimizer()

        def squares(params):
            tables = params["params"]
            return self.config.l2_weight * (jnp.sum(jnp.square(tables["user"])) + jnp.sum(jnp.square(tables["item"])))

        def update(state, gradients):
            params, opt_state = state
            gradients = jax.tree.map(jnp.add, gradients, jax.grad(squares)(params))
            updates, opt_state = make.update(gradients, opt_state, params)
            return optax.apply_updates(params, updates), opt_state

        copies = jax.tree.map(jnp.copy, (self.state.params, self.state.opt_state))
        seconds = timing.median_seconds_in_place(update, copies, self.state.params, **self.repeats)
        count = sum(leaf.size for leaf in jax.tree.leaves(self.state.params))
        floor = 3.5 * rates.add_in_place(count)
        return script.Part("Adam and L2", seconds, floor, f"7 passes over {count:,} parameters")

    def _gathering(self, name: str, seconds: float, work: list[tuple[int, int]]) -> script.Part:
        """A part made of sparse products, given their stored entries and widths; its gradients are as many again."""
        nodes = self.info.num_users + self.info.num_items
        index_and_value = 2 * rates.FLOAT
        traffic = sum(entries * (width * rates.FLOAT + index_and_value) for entries, width in work)
        traffic = 2 * (traffic + sum(nodes * width * rates.FLOAT for _, width in work))
        bound = f"{_mb(traffic)} of gathered rows, {2 * len(work)} products"
        return script.Part(name, seconds, traffic / self.measured.near, bound)


def products(function, *arguments) -> list[tuple[int, int]]:
    """Stored entries and width of each sparse product that a function makes."""
    seen, original = [], graph.spmm

    def counted(matrix, dense):
        seen.append((matrix.matrix.nse, dense.shape[1]))
        return original(matrix, dense)

    with mock.patch.object(graph, "spmm", counted):
        jax.eval_shape(lambda *given: function(*given), *arguments)  # a new function: traced, not remembered
    return seen


def step_parts(experiment: wiring.Experiment, state, measured: rates.Rates, **repeats) -> list[script.Part]:
    """Seconds and floors of the parts of one step, each compiled alone."""
    timer = Timer(experiment, state, measured, **repeats)
    return [timer.sampling(), timer.backbone(), *timer.head(), timer.contrastive(), timer.optimizer()]


def _mb(count: float) -> str:
    return f"{count / 1e6:,.0f} MB" if count >= 1e7 else f"{count / 1e6:.1f} MB"


def main(argv: Sequence[str] | None = None) -> int:
    """Measures, prints and writes."""
    return script.main(
        "copf",
        "taobao",
        step_parts,
        description=__doc__,
        factors={
            "epoch, times faster than the released program": (AUTHORS_EPOCH, ("epoch",)),
            "test pass, times faster than the released program": (AUTHORS_PASS, ("full_pass",)),
            "epoch, times faster than plain JAX": (PLAIN_JAX_EPOCH, ("epoch",)),
        },
        argv=argv,
    )


if __name__ == "__main__":
    raise SystemExit(main())
