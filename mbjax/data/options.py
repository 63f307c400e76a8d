"""What can be chosen when a data set is loaded; named as in the config sections ``data`` and ``data.log``."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

VALID_RULES = ("file", "file_inside_train", "random_one", "none", "into_train")
LOG_SPLITS = ("leave_one_out", "time_80_10_10")


@dataclasses.dataclass(frozen=True)
class LogOptions:
    """How a user's own log is read.

    Attributes:
      user, item: names of the columns with raw ids, of any type.
      behavior: name of the column with behaviors; None if the log has only one, which ``behaviors`` then names.
      time: name of the column with times (numbers or dates); None means that the rows are in order of time.
      time_unit: of times that are numbers, of ``times.UNITS``; None: as ``times.seconds`` reads it off them.
      separator: of columns; None means comma for csv, tab for tsv and inter.
      format: ``"csv"``, ``"tsv"``, ``"parquet"`` or ``"inter"`` (RecBole); None goes by the suffix.
      quote: the character around texts that hold separators; None means that the file does not quote. An ``inter``
        file does not, unless another one than ``"`` is given.
      columns: names of the columns of a text file that has no header line.
      behaviors: values of the behavior column in funnel order, the target last. Rows of others are dropped and counted.
      split: ``"leave_one_out"`` or ``"time_80_10_10"``.
      min_count: users and items with fewer interactions are dropped; 0 keeps all.
      min_user_count, min_item_count: other numbers for users and for items; None means ``min_count``.
      min_count_on: what is counted, ``"target"`` or ``"union"`` (distinct pairs over all behaviors).
      min_count_iterative: repeat until nothing more is dropped (a core), or drop only once.
      deduplicate: keep only the first of the interactions with the same user, item and behavior.
      require_target_train: drop users without a training pair of the target, from all splits.
      preset: a name of ``config.presets.PRESETS``, the recipe of the BVAE authors' slides.
    """

    user: str = "user"
    item: str = "item"
    behavior: str | None = "behavior"
    time: str | None = "time"
    time_unit: str | None = None
    separator: str | None = None
    format: str | None = None
    quote: str | None = '"'
    columns: tuple[str, ...] | None = None
    behaviors: tuple[str, ...] | None = None
    split: str = "leave_one_out"
    min_count: int = 0
    min_user_count: int | None = None
    min_item_count: int | None = None
    min_count_on: str = "target"
    min_count_iterative: bool = True
    deduplicate: bool = True
    require_target_train: bool = True
    preset: str | None = None


@dataclasses.dataclass(frozen=True)
class Options:
    """How a data set is found and prepared.

    Attributes:
      dirs: folders searched for data sets, before $MBJAX_DATA, ./data, ../shared/data and the user's cache.
      download: fetch a published data set that is found in none of them.
      cache: keep a log as it was split, and read it so the next time; see ``log_cache``.
      behaviors: the behaviors to use, in funnel order; None means all that have training pairs.
      target: the target; None means the data set's own. It is moved to the end of the funnel.
      valid: one of ``VALID_RULES``, see ``splits.hold_out``; None means the data set's own rule.
      valid_leaves: which training pairs a validation pair is taken out of: ``"same_behavior"``, or ``"all_behaviors"``,
        so that it is unvisited.
      mask_valid: whether held-out validation pairs are masked at test time; None means the data set's own.
      hold_out: name of a list of pairs that leave training and are not used: files ``NAME.BEHAVIOR.tsv.gz`` of a
        prepared folder, or a list of a published data set; None means that all pairs are used.
      subsample: auxiliary behavior -> share of its training pairs that is kept, above 0, at most 1; others keep all.
      seed: of the drawing of ``random_one`` and of ``subsample``.
      log: how a log is read.
    """

    dirs: tuple[str, ...] = ()
    download: bool = True
    cache: bool = True
    behaviors: tuple[str, ...] | None = None
    target: str | None = None
    valid: str | None = None
    valid_leaves: str = "same_behavior"
    mask_valid: bool | None = None
    hold_out: str | None = None
    subsample: Mapping[str, float] = dataclasses.field(default_factory=dict)
    seed: int = 0
    log: LogOptions = dataclasses.field(default_factory=LogOptions)
