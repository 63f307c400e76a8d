"""What stands beside a run and needs no training: the anchors asked for, and the known optimum of the planted data."""

from __future__ import annotations

import functools
from collections.abc import Callable

from mbjax import parallel, types
from mbjax.data import optimum, synthetic
from mbjax.experiment import anchor_cache, anchors, outcomes, wiring
from mbjax.reporting import printout


def measured(
    experiment: wiring.Experiment, split: str, behaviors: tuple[str, ...], *, details: bool = False
) -> dict[str, outcomes.Table]:
    """Tables of what needs no training: the anchors asked for, and the known optimum of the planted data.

    One that fails is left out with a line that says so: the run itself is over and sound. ``details`` are those of
    ``evaluate.Evaluator``.
    """
    dataset, config = experiment.dataset, experiment.config
    section = config.evaluate
    asked = {"split": split, "behaviors": behaviors, "details": details}
    asked |= {"ks": section.ks, "mask": section.mask, "groups": section.groups}
    makers: dict[str, Callable[[], types.Model]] = {}
    for name in config.evaluate.anchors:
        # Of a single behavior there are no other behaviors' items: own_items would be popularity once more.
        if name != config.model_name and not (name == "own_items" and dataset.info.num_behaviors == 1):
            makers[name] = functools.partial(anchors.build, name, dataset.info)
    if dataset.info.name == "demo":
        makers["optimum (known)"] = functools.partial(_optimum, config.data.seed, dataset.info)
    # On this host alone: of several only the first prints.
    own = parallel.Placement(config.devices)
    evaluator = functools.cache(lambda: experiment.evaluator(split, behaviors=behaviors, placement=own))
    found = {}
    for name, make in makers.items():
        try:
            measure = functools.partial(_measured, make, dataset, evaluator, groups=section.groups, details=details)
            # The optimum knows more than the pairs.
            use = config.data.cache and name in section.anchors
            found[name] = anchor_cache.recalled(dataset, asked | {"model": name}, measure, use=use, say=printout.note)
        except anchors.UNLUCKY as error:  # it must not cost the run its table
            printout.say(f"{name} is left out of the table: {type(error).__name__}: {error}")
    return found


def _measured(make, dataset, evaluator, **options) -> outcomes.Table:
    return anchors.measure(make(), dataset, evaluator(), **options)


def _optimum(seed: int, info: types.DatasetInfo) -> types.Model:
    _, planted = synthetic.log(seed=seed)
    return optimum.optimum_model(planted, info)
