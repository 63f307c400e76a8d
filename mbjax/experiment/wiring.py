"""From a configuration to everything that it names, wired."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import optax

from mbjax import ahead, data, errors, evaluate, hosts, models, parallel, precision, shards, types
from mbjax import config as configuration
from mbjax.experiment import dividing, gathering
from mbjax.ops import graph, memory, sampling
from mbjax.train import lazy, loop, step


@dataclasses.dataclass(frozen=True)
class Experiment:
    """A data set and a model built for it.

    Attributes:
      config: the validated configuration.
      dataset: split and restricted to the behaviors in use.
      model: its pure functions.
      graphs: the matrices it asked for, on one device.
      rows: of a batch, over all devices; 0 where nobody asks.
      shards: how the users are divided among the devices; None: they are not.
      others: the devices that evaluate it, where they are not those of the configuration.
      made: split -> its graphs, on all devices, once they were asked for.
    """

    config: configuration.Config
    dataset: data.Dataset
    model: types.Model
    graphs: dict[str, Any]
    rows: int = 0
    shards: shards.Shards | None = None
    others: parallel.Placement | None = None
    made: dict[str, types.Graphs] = dataclasses.field(default_factory=dict, repr=False, compare=False)

    @property
    def is_trained(self) -> bool:
        """False for anchors, which have nothing to train."""
        return self.model.batch is not None

    @property
    def placement(self) -> parallel.Placement:
        """The devices that work on it."""
        return self.shards or self.others or placement(self.config)

    @property
    def is_of_any_seed(self) -> bool:
        """Whether the seed decides of initial values and draws only, and graphs and programs serve all seeds."""
        return self.is_trained and not (self.model.prepare or self.model.teach or self.model.joins)

    def of_seed(self, config: configuration.Config) -> Experiment:
        """The same under a configuration that differs by the seed alone, with all that serves both."""
        if self.is_of_any_seed:
            return dataclasses.replace(self, config=config)
        return dataclasses.replace(self, config=config, graphs={}, made={})

    def with_graphs(self, *, teach: bool = False, asked: Mapping[str, Any] | None = None) -> Experiment:
        """The same with its graphs.

        ``teach``: whether it is about to be trained; ``asked``: as of ``types.Evidence``.
        """
        if self.shards is not None:
            return dataclasses.replace(self, graphs=dividing.graphs(self.shards, self.model, self.dataset))
        # Of a log that has grown, pairs that training had not are everywhere.
        more = {"joined": True} if self.dataset.grown else {}
        return dataclasses.replace(
            self, graphs=gathering.graphs(self.model, self.dataset, self.config, teach=teach, asked=asked, **more)
        )

    def with_matrices(self) -> Experiment:
        """The same with what is not prepared alone, which takes no time: enough to restore parameters by."""
        return dataclasses.replace(self, graphs=graph.from_train(self.model.graphs, self.dataset.train))

    @property
    def has_others(self) -> bool:
        """Whether the test split and lists are ranked with other graphs than those of training."""
        return (gathering.joins(self.model, self.dataset) and not self.dataset.grown) or bool(self.model.few)

    def graphs_for(self, split: str, asked: Mapping[str, Any] | None = None) -> types.Graphs:
        """The graphs that a split is evaluated with, on all devices; those of ``"test"`` serve lists too.

        ``asked``: as of ``types.Evidence``, the users of an evaluation; a model that ranks all at once ranks all.
        """
        if split == "test" and asked is not None and self.model.few:
            return self.placement.everywhere(self._of_test(asked))
        if split == "valid":
            return self._placed("train") if self.model.judged is None else self.model.judged(self._placed("train"))
        return self._placed("test" if self.has_others else "train")

    def _placed(self, purpose: str) -> types.Graphs:
        if self.shards is not None:
            return self.graphs
        if purpose not in self.made:
            is_test = purpose == "test"
            graphs = self._of_test() if is_test else self.graphs
            self.made[purpose] = self.placement.everywhere(graphs)
        return self.made[purpose]

    def _of_test(self, asked: Mapping[str, Any] | None = None) -> types.Graphs:
        """Those of the test split where it has others than training."""
        is_joined = gathering.joins(self.model, self.dataset)
        return gathering.graphs(self.model, self.dataset, self.config, joined=is_joined, asked=asked)

    def let_go(self) -> None:
        """Frees the graphs of training where the test split has its own: nothing is trained or validated any more."""
        if self.has_others:
            self.graphs.clear()
            self.made.pop("train", None)
            memory.release()

    def evaluator(self, split: str, **options: Any) -> evaluate.Evaluator:
        """The evaluator of a split, with the configuration's options unless others are given."""
        section = self.config.evaluate
        behaviors = section.behaviors
        if behaviors is None and self.model.tasks:
            held_out = getattr(self.dataset, split)
            behaviors = tuple(b for b in self.model.tasks if b in held_out and held_out[b].nnz)
        given = {
            "behaviors": behaviors,
            "ks": section.ks,
            "mask": section.mask,
            "batch_size": section.batch_size,
            "item_tile": section.item_tile,
            "placement": self.placement,
            "seed": self.config.data.seed,
        }
        return evaluate.Evaluator(self.dataset, split, **(given | options))

    def optimizer(self) -> optax.GradientTransformation:
        """The optimizer of the section ``train``."""
        return _optimizer(self.config)

    @property
    def by_row(self) -> lazy.ByRow | None:
        """How tables are updated by row; None: they are not."""
        if not (self.config.train.lazy and self.is_trained):
            return None
        entry, info = models.entry(self.config.model_name), self.dataset.info

        def make(users: int, items: int) -> types.Model:
            given = info._replace(num_users=users, num_items=items)
            return entry.build(self.config.model, given, self.model.batch.size)

        shared = lazy.SIDES if self.shards is None else ("item",)
        return lazy.ByRow(self.model.by_row, make, self.optimizer(), shared)

    def start(self) -> types.TrainState:
        """The state before the first step."""
        if not self.is_trained:
            init_key, key = jax.random.split(jax.random.key(self.config.seed))
            params = self.model.init(init_key, self.graphs)
            return types.TrainState(step=jax.numpy.zeros((), "int32"), params=params, opt_state=(), key=key)
        if self.shards is not None:
            return dividing.start(self.model, self.dataset.info.num_users, self.optimizer(), self.config.seed)
        return step.init_state(self.model, self.graphs, self.optimizer(), self.config.seed)

    def draws(self, num_devices: int = 1) -> tuple[Any, Any]:
        """What draws the batches of training, and the store that they are drawn from."""
        if self.model.teach is None:
            return sampling.user_sampler(self.model.batch, self.dataset.train, num_devices, self.rows)
        teach = precision.full(self.model.teach)
        given = gathering.evidence(self.dataset, self.config, times=self.model.times, teach=True)
        found = teach(given, num_devices)
        memory.release()  # what lessons were made of
        return found

    def advance(self) -> loop.Advance:
        """How training moves a state on, compiled for the configured number of devices."""
        among, graphs = self.placement, self._placed("train")
        chunk_steps = self.config.train.chunk_steps
        if self.shards is not None:
            given = self.model, self.dataset.train, graphs, self.optimizer(), chunk_steps
            return dividing.advance(self.shards, *given, self.config.train.precision, self.by_row)
        sampler, store = self.draws(among.size)
        store = among.everywhere(store)
        given = self.model, sampler, self.optimizer(), self.config.train.precision
        chunk = step.make_chunk(*given, by_row=self.by_row)
        compiled = among.compile_chunk(chunk)
        plan = among.compile_plan(sampler.plan)
        memory = None
        if among.size == 1:
            compiled = ahead.Program(compiled)

            def memory(state, length):
                order = jax.eval_shape(plan, state.key, 0)
                return compiled.memory(state, graphs, store, order, length)

        return step.advance(
            lambda state, epoch: plan(state.key, epoch),
            lambda state, order, first, length: compiled(state, graphs, store, order, first, length),
            sampler.steps_per_epoch,
            chunk_steps,
            memory,
        )


def placement(config: configuration.Config) -> parallel.Placement:
    """The devices that a configuration asks for, on all hosts that there are."""
    return parallel.Placement(config.devices, config.train.backend, hosts.count())


def _of_hosts() -> str:
    return f" of {hosts.count()} hosts" if hosts.is_several() else ""


def build(config: configuration.Config, dataset: data.Dataset | None = None, *, teach: bool = False) -> Experiment:
    """Loads the data set, builds the model for it and its graphs.

    Args:
      config: from ``mbjax.config.load``.
      dataset: instead of the one that the configuration names.
      teach: whether it is about to be trained; see ``types.Evidence``.

    Raises:
      MbjaxError: data that cannot be read, or choices that do not go together.
    """
    return plan(config, dataset).with_graphs(teach=teach)


def load(config: configuration.Config) -> data.Dataset:
    """The data of a run; the first host reads them before the others, who find what it has made on the way."""
    return hosts.in_turn(lambda: data.load(config.dataset, config.data))


def plan(config: configuration.Config, dataset: data.Dataset | None = None, *, steps: bool = True) -> Experiment:
    """As ``build``, without the graphs, which may take minutes: enough to refuse what cannot go well.

    Args:
      config: the run.
      dataset: None loads the data that it names.
      steps: whether its devices are to take steps of training, and so have to divide its batches.

    Raises:
      MbjaxError: data that cannot be read, or choices that do not go together.
    """
    entry = models.entry(config.model_name)
    parallel.check(config.devices)
    if dataset is None:
        dataset = load(config)
    hosts.check_same(f"the fingerprint of data set '{dataset.info.name}'", dataset.fingerprint)
    # A batch larger than the data set would be padding; equal slices for all devices.
    pairs = sum(matrix.nnz for matrix in dataset.train.values())
    rows = min(config.train.batch_size, dataset.info.num_users if entry.rows == "users" else pairs)
    is_divided = config.train.shard == "tables"
    # With --shard=tables rows go where their users are, and need not be divided equally.
    devices = 1 if is_divided else placement(config).size
    size = -(-rows // devices) * devices
    if steps and rows == config.train.batch_size and size != rows:
        raise errors.IncompatibleError(
            f"train.batch_size={rows} cannot be divided among --devices={config.devices}{_of_hosts()}; "
            f"use {size} or another multiple of {devices}."
        )
    model = entry.build(config.model, dataset.info, size)
    if config.train.lazy and model.batch is not None and isinstance(model.by_row, str):
        raise errors.IncompatibleError(
            f"train.lazy=true updates the rows of a batch alone, and model '{config.model_name}' cannot: "
            f"{model.by_row}. Leave train.lazy out."
        )
    return Experiment(config, dataset, model, {}, rows, _shards(config, model, size) if is_divided else None)


def _shards(config: configuration.Config, model: types.Model, size: int) -> shards.Shards | None:
    """How the users are divided; None on one device. Raises IncompatibleError for a model without any."""
    dividing.check(model, config.model_name, config.model)
    among = placement(config)
    if among.size == 1:
        return None
    build = models.entry(config.model_name).build

    def make(number: int) -> types.Model:
        return build(config.model, model.info._replace(num_users=number), size)

    return dividing.divide(make, model.info, among, _optimizer(config))


def _optimizer(config: configuration.Config) -> optax.GradientTransformation:
    section = config.train
    rate: float | optax.Schedule = section.learning_rate
    if section.decay_steps:
        rate = optax.exponential_decay(rate, section.decay_steps, section.decay_rate, staircase=True)
    # TensorFlow 1's defaults, which the papers' programs use.
    make = {
        "adam": lambda: optax.adam(rate, b1=0.9, b2=0.999, eps=1e-8),
        "adagrad": lambda: optax.adagrad(rate, initial_accumulator_value=1e-8, eps=0.0),
        "sgd": lambda: optax.sgd(rate),
    }
    return make[section.optimizer]()
