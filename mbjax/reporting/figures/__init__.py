"""Figures of the papers as commands, on any data set: numbers as CSV, and a chart of them as PNG.

``of_data`` counts what a data set holds, ``of_users`` measures runs in groups of users, ``of_heads`` looks into a
trained head, ``of_records`` reads weights of tasks that runs have written down, ``of_settings`` what a setting came to.
"""

from __future__ import annotations

from typing import NamedTuple


class Kind(NamedTuple):
    """A figure: where its function is, what it is of, and one line on it."""

    place: str
    of: str
    meaning: str


KINDS = {
    "histogram": Kind("of_data:histogram", "DATASET", "users by how many items they met, for each behavior (PKEF 1)"),
    "patterns": Kind("of_data:patterns", "DATASET", "pairs by the behaviors that made them (COPF 6)"),
    "purchases": Kind("of_users:purchases", "RUN", "a metric by how much users have of the target (NMTR 2)"),
    "correlation": Kind("of_users:correlation", "RUN", "a metric by how alike a user's behaviors are (PKEF 6)"),
    "experts": Kind("of_heads:experts", "RUN", "which experts the gate of each task believes (PKEF 7)"),
    "conflict": Kind("of_heads:conflict", "RUN", "whether tasks pull the same parameters the same way (COPF 3.4)"),
    "weights": Kind("of_records:weights", "RUN", "learned weights of tasks over epochs (BVAE)"),
    "settings": Kind(
        "of_settings:settings", "RUN", "a metric over what varied: of sweeps or results files (COPF 3 to 5)"
    ),
}
"""Name -> what ``mbjax figures NAME`` draws. Those of runs take several."""
