"""The folder of a run: its configuration, the data set's identity, the id vocabularies, and where the rest goes.

::

    config.yaml         the configuration, complete
    chosen.json         settings that the model chose on validation pairs; only where it chose any
    dataset.json        name, fingerprint, sizes, behaviors, and the notes of the start
    users.parquet       index -> raw id        items.parquet
    pairs.parquet       a sample of the pairs, by which a log that has only grown is told from another one
    dropped.parquet     who was left out, and why; only where somebody was
    metrics.jsonl       one line an epoch      metrics.csv   tensorboard/
    best/  last/        checkpoints
    results.json        what the run came to; only of one that is over, and gone while it goes on for more epochs
    reliability.csv     what plots/reliability.png shows; only of a model whose scores are probabilities
    plots/              PNG

A run folder holds one run: a new run in a used folder, a continuation under another configuration or on other data, and
a second process are refused.
"""

from __future__ import annotations

import json
import pathlib
import shlex
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from mbjax import errors, files, paths, program, seeds
from mbjax.train import identity

MAY_CHANGE = (
    "dataset",
    "devices",
    "train.epochs",
    "train.eval_every",
    "train.patience",
    "train.max_minutes",
    "train.save_minutes",
    "train.backend",
    "train.shard",
    "train.side_by_side",
    "data.dirs",
    "data.download",
    "data.cache",
    "evaluate.anchors",
    "evaluate.batch_size",
    "evaluate.item_tile",
)
"""Configuration fields that a resumed run may change: they leave the steps already done as they were.

``devices`` among them: a state is the same on any number, and so are batches that the number divides.

``dataset`` too: the data may have moved, and ``check_same`` sees to it that they are the same.
"""
RETRAINED = "retrain"
"""Name of a second run's folder within that of the first (``mbjax/experiment/retraining.py``)."""


def checkpoint_steps(folder: pathlib.Path) -> list[int]:
    """The steps that have a checkpoint in ``best/`` or ``last/``, ascending, by their names: nothing is opened."""
    return sorted(int(entry.name) for entry in folder.glob("[0-9]*") if entry.name.isdigit())


WITHIN = ("*/config.yaml", "runs/*/config.yaml")
"""Where runs lie in a folder of several."""
NAMED = 3
"""So many of them are named."""


class RunFolder:
    """Names and guards the files of a run. Nothing is read or made before a method is called."""

    def __init__(self, workdir: str | pathlib.Path):
        self.path = paths.absolute(workdir)
        self.best = self.path / "best"
        self.last = self.path / "last"
        self.plots = self.path / "plots"
        self.retrained = self.path / RETRAINED
        self.tensorboard = self.path / "tensorboard"
        self.config_file = self.path / "config.yaml"
        self.chosen_file = self.path / "chosen.json"
        self.dataset_file = self.path / "dataset.json"
        self.users_file = self.path / "users.parquet"
        self.items_file = self.path / "items.parquet"
        self.pairs_file = self.path / "pairs.parquet"
        self.dropped_file = self.path / "dropped.parquet"
        self.metrics_file = self.path / "metrics.jsonl"
        self.csv_file = self.path / "metrics.csv"
        self.reliability_file = self.path / "reliability.csv"
        self.results_file = self.path / "results.json"

    def has_run(self) -> bool:
        """Whether a run was started here."""
        return self.config_file.is_file()

    def is_used(self) -> bool:
        """Whether a run was started here, or checkpoints lie here that a new run would mix with its own."""
        return self.has_run() or any(checkpoint_steps(folder) for folder in (self.best, self.last))

    def check_unused(self) -> None:
        """Raises ConfigError if the folder holds a run, what is left of one, the runs of several seeds, or a sweep."""
        if (self.path / seeds.FILE).is_file():
            raise errors.ConfigError(
                f"{self.path} holds the runs of seeds. Continue them with --resume, or choose another --workdir."
            )
        if (self.path / "sweep.json").is_file():
            raise errors.ConfigError(
                f"{self.path} holds a sweep already. Go on with it by `{program.command('sweep')} --resume`, or choose "
                "another --workdir."
            )
        if self.has_run():
            raise errors.ConfigError(
                f"run folder {self.path} holds a run already. Continue it with --resume, or choose another --workdir."
            )
        if self.is_used():
            raise errors.ConfigError(
                f"run folder {self.path} holds checkpoints, and the {self.config_file.name} of their run is gone. "
                "Choose another --workdir."
            )

    def within(self) -> str:
        """A sentence on runs that lie in folders of this one, as those of seeds and of a sweep do; "" without any."""
        names = [file.parent.relative_to(self.path) for name in WITHIN for file in self.path.glob(name)]
        if not names:
            return ""
        more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
        return f" Name a run within it: {', '.join(map(str, sorted(names)[:NAMED]))}{more}."

    def config_text(self) -> str:
        """The YAML of the run's configuration. Raises ConfigError if there is no run."""
        try:
            return self.config_file.read_text(encoding="utf-8")
        except OSError as error:
            raise errors.ConfigError(
                f"no run in {self.path}: {self.config_file.name} is missing.{self.within()}"
            ) from error

    def dataset(self) -> dict[str, Any]:
        """The identity of the run's data set. Raises CheckpointError if it is missing or not JSON."""
        try:
            return json.loads(self.dataset_file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise errors.CheckpointError(f"run folder {self.path}: {self.dataset_file.name} is unreadable.") from error

    def chosen(self) -> dict[str, Any]:
        """What the model chose when it was trained, field -> value. Raises CheckpointError if it is not JSON."""
        if not self.chosen_file.is_file():
            return {}
        try:
            return json.loads(self.chosen_file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise errors.CheckpointError(f"run folder {self.path}: {self.chosen_file.name} is unreadable.") from error

    def create(
        self,
        config_text: str,
        dataset: Any,
        notes: Sequence[str] = (),
        chosen: Mapping[str, Any] = types.MappingProxyType({}),
    ) -> None:
        """Starts a new run here; whoever does it holds the claim on the folder, see ``claim``.

        Args:
          config_text: YAML of the whole configuration.
          dataset: a ``data.Dataset``; its identity, its vocabularies and who was dropped are written.
          notes: what was said at the start, kept with the identity.
          chosen: settings that the model chose, field -> value.

        Raises:
          ConfigError: the folder holds a run already.
          WriteError: a file cannot be written.
        """
        self.check_unused()
        for folder in (self.path, self.best, self.last, self.plots):
            files.make_folder(folder)
        files.write_json(self.dataset_file, identity.describe(dataset) | {"notes": list(notes)})
        files.write_parquet(dataset.users.series.to_frame(), self.users_file)
        files.write_parquet(dataset.items.series.to_frame(), self.items_file)
        files.write_parquet(identity.some_pairs(dataset), self.pairs_file)
        if dataset.dropped:
            files.write_parquet(identity.dropped(dataset), self.dropped_file)
        if chosen:
            files.write_json(self.chosen_file, dict(chosen))
        # Last: its presence says that the folder is complete.
        files.write_text(self.config_file, config_text)

    def resume(
        self,
        config_text: str,
        dataset: Any,
        difference: Callable[[str], Iterable[str]],
        *,
        may_change: tuple[str, ...] = MAY_CHANGE,
    ) -> None:
        """Checks that the run in this folder may be continued, and takes over the allowed changes.

        Args:
          config_text: YAML of the configuration now.
          dataset: the ``data.Dataset`` now.
          difference, may_change: as for ``check_settings``.

        Raises:
          ConfigError: there is no run here.
          CheckpointError: the configuration or the data set is another one; the message shows the differences.
        """
        # First what was asked for: other settings may be why the data are not the same.
        self.check_settings(difference, may_change=may_change)
        self.check_same(dataset)
        files.write_text(self.config_file, config_text)

    def check_settings(
        self, difference: Callable[[str], Iterable[str]], *, may_change: tuple[str, ...] = MAY_CHANGE
    ) -> None:
        """Raises CheckpointError if the run was started with other settings; ConfigError if there is no run here.

        Args:
          difference: from the stored YAML to lines like ``"train.epochs: 4 -> 8"``.
          may_change: dotted fields that may differ.
        """
        lines = [line for line in difference(self.config_text()) if line.split(":", 1)[0].strip() not in may_change]
        if lines:
            raise errors.CheckpointError(
                f"run folder {self.path} was started with another configuration: {'; '.join(lines)}. "
                "Undo these changes to resume, or choose another --workdir."
            )

    def reopen(self) -> None:
        """Takes away what a run that was over came to, before it goes on: until it is over again nothing is known.

        Raises:
          WriteError: a file cannot be removed.
        """
        for file in (self.results_file, self.retrained / self.results_file.name):
            files.remove(file)

    def check_same(self, dataset: Any, place: str | None = None) -> None:
        """Raises CheckpointError unless the run was trained on this data set; ConfigError if there is no run.

        ``place``: where it lies, if that is not where the run had it.
        """
        self.config_text()
        then, now = self.dataset(), identity.describe(dataset)
        then.setdefault("ids", now["ids"])  # older runs did not keep it
        for key in ("fingerprint", "num_users", "num_items", "behaviors", "pairs", "ids"):
            if then.get(key) != now[key]:
                if key == "pairs":  # of the same log: another rule, or one that a version has read otherwise
                    raise errors.CheckpointError(
                        f"run folder {self.path} was trained on the same data, divided otherwise: data.valid was "
                        f"{then.get('valid_rule')} with {then.get(key)}, and is {now['valid_rule']} with {now[key]}. "
                        "Train anew, or evaluate it with the version of mbjax that trained it."
                    )
                raise errors.CheckpointError(
                    f"run folder {self.path} was trained on other data: {key} of '{then.get('name')}' was "
                    f"{_short(then.get(key))}, and is {_short(now[key])} for '{now['name']}'. {self._remedy(place)}"
                )

    def _remedy(self, place: str | None) -> str:
        listing = f"{program.command('recommend')} --workdir={shlex.quote(str(self.path))}"
        listing += f" --dataset={shlex.quote(place)} --allow-new-data" if place else " --allow-new-data"
        return (
            f"If the log has grown: `{listing}` writes lists from this run's parameters (from Python: "
            "allow_new_data=True); to learn from what is new, train anew. To evaluate or resume the run, "
            "point --dataset at the data as they were."
        )


def _short(value: Any) -> str:
    return f"{value[:12]}..." if isinstance(value, str) and len(value) > 12 else str(value)
