"""The sections of a configuration: every field with its meaning, unit, default and limits.

The section ``model`` belongs to the chosen model and is declared beside it; the others are the same for all
models and are declared here. Nothing is converted silently: unknown keys, NaN and infinity are errors.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_args

import pydantic
from pydantic import Field

from mbjax import paths
from mbjax.config import sections

FilePath = Annotated[str, pydantic.AfterValidator(lambda given: str(paths.absolute(given)))]
"""A field that is a path is kept absolute, so that a run means the same files wherever it is looked at."""
MONITOR = re.compile(r"(?P<behavior>.+):(?P<metric>ndcg|hr|rec|prec|mrr|f1)(@(?P<k>[1-9]\d*))?", re.DOTALL)
"""Whatever stands before the last colon is the behavior: its name may hold blanks, colons and @."""
Anchor = Literal["popularity", "own_items"]
"""A model without training that stands beside the others in tables and comparisons."""


class Section(pydantic.BaseModel):
    """Base of every section; models derive theirs from it too (or set the same ``model_config``)."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, protected_namespaces=())


class LogConfig(Section):
    """How to read a user's own interaction log (used when the data set is the path of a log file)."""

    preset: Literal["bvae", "bvae_ub", "bvae_jd"] | None = Field(
        None,
        description="a named recipe of cleaning and splitting, which sets the fields below that it names; bvae: keep "
        "the first of equal interactions, one time cut 80/10/10 over all behaviors, users without a training target "
        "dropped; bvae_ub, bvae_jd: also items with fewer than 10 (20) and users with fewer than 5 targets",
    )
    format: Literal["csv", "tsv", "parquet", "inter"] | None = Field(
        None, description="file format; none: by the file's suffix; inter: RecBole's typed header"
    )
    quote: str | None = Field(
        '"', description="character around texts that hold separators; none: the file does not quote (as inter never)"
    )
    columns: tuple[str, ...] | None = Field(
        None, description="names of the columns of a text file without a header line, in their order"
    )
    separator: str | None = Field(None, description="one character between columns, \\t for a tab; none: by the format")
    user: str = Field("user", description="name of the column with raw user ids, of any type")
    item: str = Field("item", description="name of the column with raw item ids, of any type")
    behavior: str | None = Field(
        "behavior", description="name of the column with behaviors; none: the log has one, which behaviors then names"
    )
    time: str | None = Field(
        "time", description="name of the column with times (numbers or dates); none: the rows are in order of time"
    )
    time_unit: Literal["s", "ms", "us", "ns", "min", "h", "d"] | None = Field(
        None,
        description="unit of times that are numbers; none: days if they are written like 20240531, else seconds, or "
        "the part of them that makes the times dates of our time, counted from 1970",
    )
    behaviors: tuple[str, ...] | None = Field(
        None, description="values of the behavior column in funnel order, target last; others are left out"
    )
    split: Literal["leave_one_out", "time_80_10_10"] = Field(
        "leave_one_out",
        description="leave_one_out: each user's last interaction by the last of log.behaviors is tested; "
        "time_80_10_10: the log is cut at two moments, so that 80 % of it is training, 10 % validation, 10 % test",
    )
    min_count: int = Field(0, ge=0, description="users and items with fewer interactions are dropped [interactions]")
    min_user_count: int | None = Field(
        None, ge=0, description="another number for users [interactions]; none: min_count"
    )
    min_item_count: int | None = Field(
        None, ge=0, description="another number for items [interactions]; none: min_count"
    )
    min_count_on: Literal["target", "union"] = Field(
        "target", description="which pairs min_count counts: of the target, or of all behaviors together"
    )
    min_count_iterative: bool = Field(True, description="drop again until all have min_count (a core), or only once")
    deduplicate: bool = Field(True, description="keep only the first of equal (user, item, behavior) interactions")
    require_target_train: bool = Field(
        True, description="drop users without a training interaction by the last of log.behaviors"
    )

    @pydantic.field_validator("separator")
    @classmethod
    def _separator(cls, value: str | None) -> str | None:
        value = "\t" if value == r"\t" else value
        if value is not None and len(value) != 1:
            raise ValueError(r"must be one character, \t for a tab")
        return value

    @pydantic.field_validator("quote")
    @classmethod
    def _quote(cls, value: str | None) -> str | None:
        if value is not None and (len(value) != 1 or not value.isascii()):
            raise ValueError("must be one character, or none")
        return value


class DataConfig(Section):
    """Which interactions are read, and what is held out."""

    dirs: tuple[FilePath, ...] = Field(
        (),
        description="folders searched first for the data set; then those in $MBJAX_DATA, ./data, ../shared/data and "
        "the user's cache",
    )
    download: bool = Field(True, description="fetch a known data set that is found in no folder")
    cache: bool = Field(
        True,
        description="keep a large log as it was split in the user's cache ($MBJAX_LOG_CACHE: another folder, or none), "
        "and read it from there the next time",
    )
    behaviors: tuple[str, ...] | None = Field(
        None,
        description="behaviors to use, in funnel order; the data set's own target stays the target, and comes last, "
        "unless data.target names another; none: all that have training pairs",
    )
    target: str | None = Field(
        None, description="the behavior to predict; none: the data set's own, or the last one where that is not used"
    )
    valid: Literal["file", "file_inside_train", "random_one", "none", "into_train"] | None = Field(
        None,
        description="where validation pairs come from; file: own files; file_inside_train: listed pairs leave "
        "training; random_one: one training target pair per user; into_train: nothing is validated on, own files are "
        "trained on too (see --retrain); nothing given: the data set's rule",
    )
    valid_leaves: Literal["same_behavior", "all_behaviors"] = Field(
        "same_behavior",
        description="training pairs that validation pairs are taken out of; all_behaviors: none was met through "
        "another behavior, as where no test pair was",
    )
    mask_valid: bool | None = Field(
        None, description="whether validation pairs are left out of the ranking at test time; none: the data set's rule"
    )
    hold_out: str | None = Field(
        None,
        description="name of a list of pairs that leave training and are not used, as another paper did; taobao has "
        "mbcgcn_holdout, one view and one cart of each user; none: all pairs are used",
    )
    subsample: dict[str, float] = Field(
        {},
        description="share of the training pairs of auxiliary behaviors that is kept, drawn with data.seed: "
        "BEHAVIOR=SHARE, ...; others keep all",
    )
    seed: int = Field(
        0, ge=0, lt=2**32, description="of the random validation split, of subsample and of generated data"
    )
    log: LogConfig = Field(LogConfig(), description="how to read a user's own log")

    @pydantic.field_validator("subsample", mode="before")
    @classmethod
    def _subsample(cls, value: Any) -> Any:
        value = {} if value is None else value
        if not isinstance(value, Mapping) or not all(map(_is_share, value.values())):
            raise ValueError("must be BEHAVIOR=SHARE, such as view=0.5, with shares above 0 and at most 1")
        return {str(behavior): share for behavior, share in value.items()}  # a name may be a number, such as 2


def _is_share(value: Any) -> bool:
    try:
        return 0 < float(value) <= 1
    except (TypeError, ValueError):
        return False


class TrainConfig(Section):
    """The optimization."""

    epochs: int = Field(100, ge=0, description="passes over the training users (or pairs) [epochs]")
    batch_size: int = Field(500, ge=1, description="rows of a batch over all devices [users; observed pairs]")
    learning_rate: float = Field(1e-3, gt=0, description="step size of the optimizer")
    optimizer: Literal["adam", "adagrad", "sgd"] = Field("adam", description="update rule")
    lazy: bool = Field(
        False,
        description="update the rows of a batch alone, of tables that a model reads by row: a step costs the same "
        "however many users and items there are. SGD and Adagrad do the same, Adam leaves a row as it is until it "
        "occurs again",
    )
    decay_rate: float = Field(
        1.0, gt=0, le=1, description="factor of the learning rate after every decay_steps; 1: constant"
    )
    decay_steps: int = Field(0, ge=0, description="steps between two decays [steps]; 0: no decay")
    eval_every: int = Field(1, ge=0, description="epochs between two evaluations [epochs]; 0: only after the last")
    patience: int = Field(
        0, ge=0, description="stop after so many evaluations without a better monitored value [evaluations]; 0: never"
    )
    max_minutes: float = Field(
        0.0,
        ge=0,
        description="end after the epoch in which training and evaluations have taken so long [minutes]; 0: never",
    )
    monitor: str = Field(
        "mean:ndcg",
        description="what selects the best epoch: BEHAVIOR:METRIC@K, mean for the average over behaviors; without @K "
        "the first cut-off. Metrics: ndcg hr rec prec mrr f1",
    )
    init_from: FilePath | None = Field(
        None,
        description="run folder whose trained parameters this run starts from, those of the same name, such as the "
        "embedding tables of a model that was trained on views; none: all at random",
    )
    precision: Literal["default", "float32"] = Field(
        "default",
        description="products of matrices in training: as the platform multiplies float32 by default (TF32 on a GPU, "
        "bfloat16 on a TPU), or in full; a CPU knows no difference, and ranking is always in full",
    )
    chunk_steps: int = Field(
        0,
        ge=0,
        description="steps in one compiled call, after which signals are obeyed [steps]; 0: by time, up to a second",
    )
    backend: Literal["pmap", "shard_map"] = Field(
        "pmap",
        description="JAX's way to run a step on several devices; neither changes what is computed, and several hosts "
        "always take shard_map",
    )
    shard: Literal["none", "tables"] = Field(
        "none",
        description="tables: no device has everything; user tables, their optimizer state, graphs, histories and "
        "batches are divided among the devices by user",
    )
    side_by_side: Literal["auto", "always", "never"] = Field(
        "auto",
        description="how --seeds trains them. always: in one program, which on one CPU changes last bits; never: one "
        "after another; auto: one on each of several devices, on one accelerator in one program, on one CPU one after "
        "another",
    )
    save_minutes: float = Field(5.0, gt=0, description="time between two saves of last/ [minutes]")

    @pydantic.field_validator("monitor")
    @classmethod
    def _monitor(cls, value: str) -> str:
        if not MONITOR.fullmatch(value):
            raise ValueError("must be BEHAVIOR:METRIC or BEHAVIOR:METRIC@K, such as mean:ndcg or buy:hr@10")
        return value


class EvaluateConfig(Section):
    """What is measured, and over which candidates."""

    ks: tuple[int, ...] = Field((5, 10, 15, 20), min_length=1, description="cut-offs of the ranked lists [items]")
    mask: Literal["same_behavior", "all_behaviors"] = Field(
        "same_behavior", description="whose training items are no candidates: of the evaluated behavior, or of all"
    )
    behaviors: tuple[str, ...] | None = Field(
        None, description="behaviors to evaluate; none: all that have held-out pairs"
    )
    batch_size: int = Field(1024, ge=1, description="users scored at once; virtual devices of a CPU share them [users]")
    item_tile: int = Field(16384, ge=1, description="items scored at once; bounds the memory [items]")
    groups: tuple[int, ...] = Field(
        (), description="edges of user groups by length of the training history, ascending [items]; empty: no groups"
    )
    selections: tuple[Literal["best_test", "best_test_late", "test_per_behavior"], ...] = Field(
        (), description="epochs chosen by looking at the test split, reported beside 'last'; only with protocol=paper"
    )
    last: bool = Field(
        False,
        description="whether final tables have the last epoch too, beside the one that validation chose; if it is "
        "another, the test split is ranked once more",
    )
    sample_users: int = Field(
        0,
        ge=0,
        description="users of each behavior whose lists judge the epochs of a training, drawn with data.seed [users]; "
        "0: all. Final tables are of all users",
    )
    anchors: tuple[Anchor, ...] = Field(
        get_args(Anchor),
        description="models without training that the final tables show beside the model; empty: none",
    )

    @pydantic.field_validator("ks")
    @classmethod
    def _ks(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if min(value) < 1 or len(set(value)) < len(value):
            raise ValueError("must be different whole numbers from 1 upwards")
        return value

    @pydantic.field_validator("groups")
    @classmethod
    def _groups(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if any(a >= b for a, b in zip((0, *value), value, strict=False)):
            raise ValueError("must be ascending whole numbers from 1 upwards")
        return value


class Config(Section):
    """All that decides a run, and nothing about where it is written.

    Attributes:
      model_name: key of ``mbjax.models.MODELS``.
      dataset: name of a data set, or the absolute path of a prepared folder or of a log.
      overrides: dotted key -> value, what was set by hand on top of the files; it explains the values and
        decides nothing.
      model: the section of the chosen model, an instance of its own class.
    """

    model_name: str
    dataset: str
    protocol: Literal["honest", "paper"] = Field(
        "honest",
        description="honest: the epoch is selected on validation pairs and the test split read once; paper: all "
        "training pairs and the epochs that printed tables report, for comparison with those only",
    )
    ablation: str | None = Field(None, description="a named variant of the model, or several: a+b")
    seed: int = Field(0, ge=0, lt=2**32, description="of initial values, batches and noise")
    devices: int = Field(1, ge=1, description="accelerators (or virtual CPU devices) that share each batch")
    overrides: dict[str, object] = {}
    model: pydantic.SerializeAsAny[pydantic.BaseModel]
    data: DataConfig = DataConfig()
    train: TrainConfig = TrainConfig()
    evaluate: EvaluateConfig = EvaluateConfig()

    def header(self) -> dict[str, Any]:
        """The fields outside the sections, but for ``overrides``."""
        return {name: getattr(self, name) for name in HEADER}

    def values(self) -> dict[str, Any]:
        """The fields of the sections, dotted path -> value."""
        return sections.leaves({name: getattr(self, name) for name in ("model", *SECTIONS)})

    @pydantic.model_validator(mode="after")
    def _consistent(self) -> Config:
        if self.evaluate.selections and self.evaluate.sample_users:
            raise ValueError(
                f"evaluate.selections={','.join(self.evaluate.selections)} reports tables of epochs on the way, which "
                f"evaluate.sample_users={self.evaluate.sample_users} makes of some users only; leave one of them out"
            )
        if self.evaluate.selections and self.protocol != "paper":
            raise ValueError(
                f"evaluate.selections={','.join(self.evaluate.selections)} looks at the test split during training; "
                "that needs --protocol=paper"
            )
        k = MONITOR.fullmatch(self.train.monitor)["k"]
        if k and int(k) not in self.evaluate.ks:
            known = ",".join(map(str, self.evaluate.ks))
            raise ValueError(f"train.monitor={self.train.monitor} needs {k} among evaluate.ks={known}")
        return self


SECTIONS = {"data": DataConfig, "train": TrainConfig, "evaluate": EvaluateConfig}
HEADER = ("model_name", "dataset", "protocol", "ablation", "seed", "devices")
