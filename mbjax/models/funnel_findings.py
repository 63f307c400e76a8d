"""What a trained funnel has to tell: how often a familiar item comes next, and which teacher is believed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from mbjax import types

TITLE = "what comes next"
NOTE = (
    "q: how likely the next item is a familiar one, met by another behavior and not yet by this; mean over the users "
    "who have any, and the range of four fifths of them. Near 1 lists begin with familiar items, near 0 with new ones. "
    "searched: of new items, the share that the search is expected to find (all: there are no others; -: no "
    "held-out item was new, so that nothing says it). familiar, new: "
    "weights of the experts that learned from all lists, and of those that learned from validation pairs alone."
)


def findings(
    behaviors: Sequence[str],
    params: types.Params,
    graphs: types.Graphs,
    q: Callable[[str], Any],
    rest: Callable[[str], Any],
) -> list[types.Finding]:
    """The table, for ``types.Model.findings``.

    Args:
      behaviors: those that are ranked.
      params: of the model.
      graphs: with what was prepared.
      q: behavior -> probability of a familiar item for each user, [L].
      rest: behavior -> share of new items that the search does not find.
    """
    rows = []
    for behavior in behaviors:
        of = graphs["funnel"][behavior]
        some = np.asarray(of["user"])[:, 0] > 0  # the logarithm of how many there are
        cells = [behavior, f"{some.mean():.0%}"]
        if some.any():
            values = np.asarray(q(behavior))[some]
            low, high = np.quantile(values, [0.1, 0.9])
            cells += [f"{values.mean():.2f}", f"{low:.2f} to {high:.2f}"]
        else:
            cells += ["-", "-"]
        cells.append(_searched(float(params["gate"][behavior]["rest"]), float(rest(behavior)), of))
        for part in ("familiar", "new"):
            cells.append(" + ".join(f"{float(w):.2f}" for w in params["mix"][f"{behavior}:{part}"]))
        rows.append(tuple(cells))
    columns = ("behavior", "users with familiar items", "q", "of most users", "searched", "familiar", "new")
    penalty = f" Penalty of the regression: {float(graphs['penalty']):.4g} pairs."
    return [types.Finding(TITLE, columns, tuple(rows), NOTE + penalty)]


def _searched(parameter: float, rest: float, of: Any) -> str:
    if not np.asarray(of["is_left"]).any():
        return "all"
    return "-" if parameter == 0 else f"{1 - rest:.0%}"  # it moves with the first held-out pair that is new
