"""Times of NMTR: an epoch of NMTR-GMF, test passes of NMTR-GMF and NMTR-NeuMF, their floors, and plain PyTorch.

    python benchmarks/nmtr.py [--dataset=taobao] [--out=benchmarks/results/nmtr-taobao-cpu.json] [--field=value ...]

Run it on an idle machine. Floors come from what the machine does best, measured in the same process:

* the units' products count at the rate of a large matrix product, three times with gradients;
* gradients of the embedding tables are written once, and Adagrad reads parameters, gradients and sums of squares and
  writes the first and the last: passes at the rate of an addition in place;
* a test pass scores every item for every user; what of the first layer is a sum of a user's and an item's part costs
  nothing, the rest counts at the rate of a large matrix product.

The epoch is compared with that of ``benchmarks/nmtr_torch.py``, in a process of its own, where torch is installed.
"""

from __future__ import annotations

import importlib.util
import json
import pathlib
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax

from mbjax import config, errors, models
from mbjax.bench import measure, printout, rates, record, script, timing
from mbjax.bench import options as common
from mbjax.experiment import wiring
from mbjax.models import ncf_units
from mbjax.ops import sampling

CACHE_LINE = 64  # bytes that a look-up of one number brings
TORCH = pathlib.Path(__file__).with_name("nmtr_torch.py")


def products(settings: config.Config) -> int:
    """Multiplications of one pair and unit that do not split into a user's and an item's part."""
    model = settings.model
    layers = int(model.gmf_layer) if model.unit == "gmf" else model.layers
    sizes = ncf_units.Unit(model.unit, model.embedding_size, layers).sizes()
    first = model.embedding_size * sizes[1] if "product" in ncf_units.INPUTS[model.unit] and layers else 0
    return first + sum(a * b for a, b in zip(sizes[1:], sizes[2:], strict=False)) + sizes[-1]


def step_parts(experiment: wiring.Experiment, state, best: rates.Rates, **repeats) -> list[script.Part]:
    """Seconds and floors of the parts of one step, each compiled alone."""
    model, info = experiment.model, experiment.dataset.info
    sampler, store = sampling.user_sampler(model.batch, experiment.dataset.train)
    key = jax.random.key(0)
    plan = jax.jit(sampler.plan)(key, 0)

    def draw(store, key):
        return sampler.batch(store, plan, key, 0)

    batch = jax.jit(draw)(store, key)
    rows = batch.points.item.size
    looks = sampler.size * 3 + rows * sampler.points.longest.bit_length()

    def loss(params, batch):
        return model.loss(params, experiment.graphs, batch, key, 0)[0]

    make = experiment.optimizer()

    def update(state, gradients):
        params, opt_state = state
        updates, opt_state = make.update(gradients, opt_state, params)
        return optax.apply_updates(params, updates), opt_state

    count = sum(leaf.size for leaf in jax.tree.leaves(state.params))
    flops = 3 * 2 * rows * info.num_behaviors * products(experiment.config)
    copies = jax.tree.map(jnp.copy, (state.params, state.opt_state))
    one_pass = rates.add_in_place(count) / 2
    return [
        script.Part(
            "draw the pairs and negatives",
            timing.median_seconds(draw, store, key, **repeats),
            looks * CACHE_LINE / best.near,
            f"{looks:,} look-ups",
        ),
        script.Part(
            "loss, with gradients",
            timing.median_seconds_with_gradients(loss, state.params, batch, **repeats),
            flops / best.flops + one_pass,
            f"{flops / 1e6:,.0f} MFLOP and one pass over {count:,} gradients",
        ),
        script.Part(
            "Adagrad",
            timing.median_seconds_in_place(update, copies, state.params, **repeats),
            5 * one_pass,
            f"5 passes over {count:,} parameters",
        ),
    ]


def ranking(settings: config.Config, best: rates.Rates, **repeats) -> dict[str, Any]:
    """Seconds of a test pass of a unit, and the floor."""
    experiment = wiring.build(settings)
    info, state = experiment.dataset.info, experiment.start()
    found = measure.evaluation(experiment, state.params, **repeats)
    # A behavior needs the units of those before it.
    users = sum(number * (1 + info.behaviors.index(name)) for name, number in found.behaviors.items())
    flops = 2 * users * info.num_items * products(settings)
    return {
        "unit": settings.model.unit,
        "seconds": found.full_pass,
        "seconds_best": found.best,
        "floor": flops / best.flops,
        "flops": flops,
        "users": found.behaviors,
    }


def plain_torch(dataset: str, words: Sequence[str]) -> dict[str, Any] | None:
    """The times of the PyTorch program; None where torch is not installed.

    Raises:
      ConfigError: it cannot do what ``words`` ask for.
    """
    if importlib.util.find_spec("torch") is None:
        return None
    done = subprocess.run(
        [sys.executable, str(TORCH), f"--dataset={dataset}", *words], capture_output=True, text=True, check=False
    )
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or ["no message"]
        raise errors.ConfigError(f"{TORCH.name} ended with {done.returncode}: {last[0].removeprefix('error: ')}")
    return json.loads(done.stdout.splitlines()[-1])


def show(found: dict[str, Any]) -> None:
    """Prints a record."""
    script.show(found)
    out = printout.console()
    rows = [
        (
            f"test pass of {one['unit']}",
            printout.seconds(one["seconds"]),
            printout.seconds(one["floor"]),
            f"{one['flops'] / 1e12:.2f} TFLOP",
        )
        for one in found["ranking"]
    ]
    out.print(printout.table(("all items for all test users", "=median", "=floor", "floor: at least"), rows))
    torch = found["torch"]
    if torch is None:
        out.print("torch is not installed: pip install '.[benchmarks]' adds the comparison.", markup=False)
        return
    ours = found["training"]["epoch"]
    out.print(
        f"plain PyTorch {torch['torch']}, {torch['threads']} threads: epoch {printout.seconds(torch['epoch'])} "
        f"(step {printout.seconds(torch['step'])}, drawing {printout.seconds(torch['drawing'])}), "
        f"{torch['epoch'] / ours:.1f} times as long as here",
        soft_wrap=True,
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Measures, prints and writes."""
    parser = common.Parser(description=__doc__.partition("\n")[0], allow_abbrev=False)
    parser.add_argument("--dataset", default="taobao", metavar="NAME|PATH", help="the data set (taobao)")
    parser.add_argument("--out", metavar="FILE", help="JSON file to write")
    common.add_repeats(parser)
    try:
        options, rest = parser.parse_known_args(sys.argv[1:] if argv is None else argv)
        common.check_repeats(options)
        repeats = {"repeat": options.repeat, "limit": options.seconds}
        model_class, fields = models.entry("nmtr").config, common.fields(rest)
        settings = config.load("nmtr", options.dataset, model_class, protocol="paper", overrides=fields)
        found = script.measured(settings, step_parts, **repeats)
        best = rates.Rates(**found["rates"])
        found["ranking"] = [
            ranking(config.override(settings, {"model.unit": unit}), best, **repeats) for unit in ("gmf", "neumf")
        ]
        found["torch"] = plain_torch(options.dataset, rest)
    except errors.MbjaxError as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return error.exit_code
    show(found)
    if options.out:
        print(f"written: {record.write(found, options.out)}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
