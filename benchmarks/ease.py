"""Times of MB-EASE: choosing the penalty, solving, a test pass, and the floor of each.

    python benchmarks/ease.py [--dataset=taobao] [--out=benchmarks/results/ease-taobao-cpu.json] [--field=value ...]

Run it on an idle machine. Floors come from what the machine does best, measured in the same process:

* a symmetric matrix of n rows is factorized and inverted in n^3 operations, at the rate of a large matrix product;
* a product of a dense row with the sparse blocks reads one number for each pair, for all rows at once out of a cache:
  at the rate of an addition in place to an array of one tile.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from mbjax import config, errors, models
from mbjax.bench import options as common
from mbjax.bench import printout, rates, record, script, timing, whole
from mbjax.experiment import gathering, wiring
from mbjax.models import ease, ease_penalty
from mbjax.ops import primal, ridge
from mbjax.reporting import tables


def solving(experiment: wiring.Experiment, best: rates.Rates, **repeats) -> list[script.Part]:
    """Seconds and floors of what makes the regressions of a data set."""
    settings, dataset = experiment.config.model, experiment.dataset
    weights, num_items = ease.behavior_weights(settings, dataset.info), dataset.info.num_items
    evidence = gathering.evidence(dataset, experiment.config)
    scaled, _ = ease.scale(settings, evidence.train)
    columns = ease.column_weights(settings, weights, evidence.train)
    form = ease.form_of(settings, weights, dataset.info.num_users, num_items)
    if form == "low_rank":
        raise errors.ConfigError(f"model.rank={settings.rank}: floors are of exact solutions; use 0.")
    penalty = float(experiment.graphs["penalty"])
    size = experiment.graphs["solved"].inverse.shape[0]
    cubic = f"{size:,}^3 operations = {size**3 / 1e12:.2f} TFLOP"
    make = ridge.invert if form == "dual" else primal.invert
    parts = [
        script.Part(
            "the inverse",
            timing.repeated(lambda: make(scaled, columns, penalty).inverse, **repeats).median,
            size**3 / best.flops,
            cubic,
        )
    ]
    if form == "dual":
        blocks, solved = experiment.graphs["blocks"], experiment.graphs["solved"]
        pairs = sum(block.nnz for block in scaled)
        parts.append(
            script.Part(
                "products with an item's own columns",
                timing.repeated(lambda: ridge.gram(blocks, solved), **repeats).median,
                product_floor(size, pairs, best),
                f"{size:,} rows times {pairs:,} pairs",
            )
        )
    if evidence.valid:
        number, tried = min(ease_penalty.USERS, dataset.info.num_users), len(ease_penalty.PENALTIES)
        leave = ease.LEAVE[settings.own_columns]
        parts.append(
            script.Part(
                "choosing a penalty",
                timing.repeated(lambda: ease_penalty.choose(scaled, columns, evidence, leave), **repeats).median,
                tried * number**3 / best.flops,
                f"{tried} inverses of {number:,} rows",
            )
        )
    parts.append(
        script.Part(
            "all that training does",
            timing.repeated(lambda: experiment.model.prepare(evidence), **repeats).median,
            sum(part.floor for part in parts),
            "the rows above",
        )
    )
    return parts


def product_floor(rows: int, pairs: int, best: rates.Rates) -> float:
    """Seconds of dense rows times sparse blocks: a number is read for each row and pair; nothing is written."""
    return rows * pairs * rates.FLOAT / (best.near / 2)


def ranking(experiment: wiring.Experiment, found: dict[str, Any], best: rates.Rates) -> script.Part:
    """The test pass and its floor: for each user, the columns that no regression leaves out."""
    solved, dataset = experiment.graphs["solved"], experiment.dataset
    floor, what = 0.0, []
    for behavior, users in found["behaviors"].items():
        needed = dataset.train if experiment.config.model.own_columns == "left_out" else [behavior]
        pairs = sum(dataset.train[b].nnz for b in needed)
        if isinstance(solved, ridge.Dual):
            floor += product_floor(users, pairs, best)
            what.append(f"{users:,} rows times {pairs:,} pairs")
        else:  # the rows of the inverse that belong to a user's pairs, of all pairs once
            met = sum(matrix.nnz for matrix in dataset.train.values())
            floor += product_floor(met, len(list(needed)) * dataset.info.num_items, best)
            what.append(f"{met:,} rows of {len(list(needed)) * dataset.info.num_items:,} numbers")
    return script.Part("test pass", found["full_pass"], floor, ", ".join(what))


def show(found: dict[str, Any]) -> None:
    """Prints a record."""
    out = printout.console()
    printout.heading(out, found, record.remark(found))
    printout.run(out, found)
    rows = [
        (part["part"], printout.seconds(part["seconds"]), printout.seconds(part["floor"]), part["bound"])
        for part in found["parts"]
    ]
    tables.put(out, printout.table(("part", "=median", "=floor", "floor: at least"), rows))


def main(argv: Sequence[str] | None = None) -> int:
    """Measures, prints and writes."""
    parser = common.Parser(description=__doc__.partition("\n")[0], allow_abbrev=False)
    parser.add_argument("--dataset", default="taobao", metavar="NAME|PATH", help="the data set (taobao)")
    parser.add_argument("--out", metavar="FILE", help="JSON file to write")
    common.add_repeats(parser, repeat=3)
    try:
        options, rest = parser.parse_known_args(sys.argv[1:] if argv is None else argv)
        common.check_repeats(options)
        repeats = {"repeat": options.repeat, "limit": options.seconds}
        settings = config.load("ease", options.dataset, models.entry("ease").config, overrides=common.fields(rest))
        found, experiment, _ = whole.measure(settings, **repeats)
        tile = ridge.DENSE_COLUMNS * experiment.dataset.info.num_users * rates.FLOAT
        best = rates.measure(tile)
        found["rates"] = best._asdict()
        found["parts"] = [
            part._asdict()
            for part in [*solving(experiment, best, **repeats), ranking(experiment, found["evaluation"], best)]
        ]
    except errors.MbjaxError as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return error.exit_code
    show(found)
    if options.out:
        print(f"written: {record.write(found, options.out)}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
