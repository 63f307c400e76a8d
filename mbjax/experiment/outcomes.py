"""What a training run came to."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Mapping
from typing import Any

import polars as pl

from mbjax import types

Table = dict[str, dict[str, Any]]


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a run came to.

    Attributes:
      workdir: the run folder.
      reason: ``"finished"``, ``"patience"``, ``"time"`` or ``"signal"`` (resumable).
      tables: selection -> test table by behavior, the selected epoch first; empty after a signal.
      epochs: selection -> epoch; that of the last one whether it was tested or not.
      rows: those of metrics.jsonl.
      seconds: ``test_pass`` (with its compilation, if nothing on the way compiled it), ``total`` and, where this
        process compiled, ``compile``.
      commit: of the code that the run (or its resumption) started with; None outside a checkout.
      parameters: number of trained values.
      chosen: settings that the model chose on validation pairs, field -> value (``types.Model.choices``).
      learned_valid: whether it has learned from validation pairs, beside what these have chosen (``Model.judged``).
      findings: what the model has to tell beside its lists (``types.Model.findings``), at the selected epoch.
      reliability: behavior -> curve of the selected epoch, else of the last (``evaluate.Result.reliability``); empty
        for a model whose scores are no probabilities.
    """

    workdir: pathlib.Path
    reason: str
    tables: dict[str, Table]
    epochs: dict[str, int]
    rows: list[dict[str, Any]]
    seconds: dict[str, float] = dataclasses.field(default_factory=dict)
    commit: str | None = None
    parameters: int = 0
    findings: tuple[types.Finding, ...] = ()
    chosen: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    learned_valid: bool = False
    reliability: dict[str, pl.DataFrame] = dataclasses.field(default_factory=dict)

    @property
    def exit_code(self) -> int:
        """0, or 130 when a signal ended the run."""
        return 130 if self.reason == "signal" else 0
