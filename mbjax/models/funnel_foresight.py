"""What a run of ``models/funnel.py`` takes of memory, told before any of it is taken."""

from __future__ import annotations

from mbjax import types
from mbjax.features import extent, foretold
from mbjax.models import funnel_config, funnel_tables


def foreseen(
    config: funnel_config.FunnelConfig,
    info: types.DatasetInfo,
    batch_size: int,
    before: types.Evidence,
    after: types.Evidence,
) -> types.Foreseen:
    """Estimates it.

    Args:
      config: the model's.
      info: sizes and behaviors.
      batch_size: lists of a behavior and part in a batch.
      before: of training.
      after: of ranking the test split.
    """
    training, test = (foretold.numbers(config, info, evidence) for evidence in (before, after))
    stages = foretold.stages(config, info, training)
    if extent.is_whole(config, info.trained_users):
        later = foretold.stages(config, info, test)
        # Logits and hidden units of a block, forth and once more where XLA lays them out anew.
        scoring = 8 * funnel_tables.ROWS * config.members * max(config.hidden, config.hidden_new, 1)
        later["tables of candidates and scores"] = foretold.ranking(config, info, test) + scoring
    else:
        later = foretold.by_groups(config, info, after, test)
    stages = {f"{name}, for training": size for name, size in stages.items()}
    stages |= {f"{name}, for the test split": size for name, size in later.items()}
    sampler, store = foretold.lists_of(config, info, training, batch_size)
    return types.Foreseen(stages, foretold.ranking(config, info, training), sampler, store)
