"""Ranked lists of a run: of its users, of users whom it was not trained on, and after its log has grown."""

from __future__ import annotations

import contextlib
import os
import pathlib
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import polars as pl

from mbjax import candidates, data, errors, paths, program, wording
from mbjax import config as configuration
from mbjax import recommend as listing
from mbjax.data import handed
from mbjax.data import histories as events
from mbjax.experiment import audience, fold_in, grown, runs, wiring
from mbjax.reporting import printout
from mbjax.train import claim, run_folder


def recommend(
    workdir: str | pathlib.Path,
    config: configuration.Config | None = None,
    *,
    checkpoint: str | None = None,
    top_k: int = 20,
    out: str | pathlib.Path | None = None,
    users: Iterable[Any] | Any | None = None,
    lists: str | Sequence[str] = "blended",
    exclude: str = "known",
    repeat: bool = False,
    available: Any = None,
    groups: Any = None,
    max_per_group: int | None = None,
    histories: Any = None,
    allow_new_data: bool = False,
    dataset: str | os.PathLike[str] | data.Dataset | None = None,
    devices: int = 1,
) -> dict[str, pathlib.Path]:
    """Writes ranked lists of a run, a Parquet file for each behavior and kind of list, and prints what they are.

    The column ``score`` is the model's ranking score, which orders and says no more; of a model whose scores are
    probabilities (``types.Model.probabilities``) it is the probability that the item is the user's next.

    Args:
      workdir: the run folder.
      config: as for ``evaluate_run``; ``evaluate.mask`` and ``evaluate.behaviors`` count here too.
      checkpoint: likewise.
      top_k: length of the lists.
      out: folder of the files; None is ``recommendations/`` in the run folder, with a number behind it while another
        program writes its lists there. Files of earlier calls are replaced by those of the same name; others stay,
        which is said.
      users: raw ids (a table of them has one column), or one; None is every user, with ``histories`` each of theirs.
      lists: kinds of lists, or one: ``"blended"``, all candidates; ``"continue"``, what the user has met by another
        behavior; ``"discover"``, what he has not met. See ``mbjax/candidates.py``.
      exclude: what counts as seen and is in no list: ``"known"``, all that the data set has of the behavior;
        ``"train"``, what the evaluation of the test split masks; ``"none"``. See ``mbjax/seen.py``.
      repeat: items that the user has met by the behavior of the list may come back; all else that is left out stays.
      available: the items that may be listed: a file of raw ids (one a line, or a CSV, TSV or Parquet file with a
        column of items, called as in the log or ``item``), a table, or the ids; None is all.
      groups: item -> group: a file with a column of items and one named ``group`` (or no other), a table, a dict, or a
        pandas column with the items as its index.
      max_per_group: most items of a group in a list; goes with ``groups``. The list is the best one of that kind over
        all candidates; items without a group are not capped.
      histories: lists are for the users of these events: the path of a log, a table with the log's columns (polars or
        pandas), or ``{user: {behavior: [item, ...]}}``, by the log's ids. A user whom training has not seen is ranked
        from them alone, one whom it has from them and all that the data set has of him.
      allow_new_data: the log may have grown since training. Lists start from what it holds now, and users whom
        training has not seen get theirs too, where the model can.
      dataset, devices: as for ``restore``.

    Returns:
      behavior -> file; of another kind than ``"blended"`` under ``"BEHAVIOR.KIND"``, which is the name of the file.

    Raises:
      ConfigError: ``exclude="train"`` with new events, which no evaluation has seen; an option that does not exist, or
        two that contradict each other.
      DataError: an unknown user, or events or items that cannot be read.
      IncompatibleError: the model cannot rank for users whom it was not trained on, and there are such.
    """
    # Before the folder of the lists is made: where there is no run, none is left.
    config, loaded = runs.locate(workdir, config, dataset, devices, which=checkpoint)
    default = pathlib.Path(workdir) / "recommendations"
    with claim.idle(default) if out is None else contextlib.nullcontext(pathlib.Path(out)) as folder:
        rule = candidates.rule(lists, exclude, config.evaluate.mask, repeat)
        # First what is quick to look at: what is restored may take minutes to prepare.
        limits, limited = candidates.limits(
            data.Vocabulary.from_parquet(run_folder.RunFolder(workdir).items_file),
            available=available,
            groups=groups,
            max_per_group=max_per_group,
            column=config.data.log.item,
        )
        if isinstance(histories, str | os.PathLike) and not paths.absolute(histories).exists():
            raise errors.DataError(f"{histories}: cannot be read (No such file or directory).")
        run = _restore(workdir, config, checkpoint, allow_new_data, loaded)
        if exclude == "train" and (histories is not None or run.is_grown):
            raise errors.ConfigError(
                "exclude=train leaves out what the evaluation masks, which knows no new events. Choose known or none."
            )
        experiment = run.experiment
        if experiment.shards is not None and (histories is not None or run.is_grown):
            raise errors.IncompatibleError(
                "lists for new events are not made of divided tables (train.shard=tables). Use --devices=1."
            )
        alone = candidates.check_familiar(rule, experiment.dataset.info.behaviors)
        who = audience.of_run(run, rule) if histories is None else audience.of_histories(run, histories, rule)
        section = experiment.config.evaluate
        _check_ranked(experiment, section.behaviors or ())
        without = who.without
        if users is None:
            chosen = np.arange(len(who.ids))
        elif histories is None:
            chosen = _places(who.ids, users, run)
        else:
            chosen, without = _with_events(who, users)
        made = listing.rank(
            who.model,
            who.params,
            who.graphs,
            who.users[chosen],
            who.pairs,
            user_ids=lambda places: who.ids.gather(chosen[places]),
            item_ids=experiment.dataset.items.column,
            top_k=top_k,
            behaviors=section.behaviors or experiment.model.tasks or experiment.dataset.info.behaviors,
            lists=rule.lists,
            limits=limits,
            batch_size=section.batch_size,
            item_tile=section.item_tile,
            placement=experiment.placement,
        )
        for line in (*who.lines, *_without(without), *alone, *limited):
            printout.say(line)
        files = {}
        for found in made:
            files[found.name] = found.write(folder)
            count = wording.count(found.users - len(found.empty), "user")
            printout.say(f"{found.title}: lists of {count}: {files[found.name]}")
            for line in found.lines():
                printout.say(line)
        written = {path.name for path in files.values()}
        if others := sorted({path.name for path in folder.glob("*.parquet")} - written):
            printout.say(f"from before, and not of this call: {', '.join(others)} in {folder}")
        return files


def _check_ranked(experiment: wiring.Experiment, behaviors: Sequence[str]) -> None:
    """Raises ConfigError for a behavior that the model does not rank."""
    tasks = experiment.model.tasks
    if others := [behavior for behavior in behaviors if tasks and behavior not in tasks]:
        raise errors.ConfigError(
            f"evaluate.behaviors={','.join(behaviors)}: {experiment.config.model_name} was trained on "
            f"{', '.join(tasks)} alone and ranks nothing else: its lists of '{others[0]}' would be those."
        )


def _restore(workdir, config, checkpoint, allow_new_data, loaded) -> audience.Run:
    # What is new need not be among the pairs that a split uses, so that the fingerprint tells nothing of it.
    is_now = allow_new_data and loaded is None
    if not (is_now and grown.log_of(config) is not None):
        try:
            experiment = runs.build(workdir, config, loaded)
        except errors.CheckpointError:
            if not is_now:
                raise  # it says how lists are made of a log that has grown
        else:
            return audience.Run(experiment, runs.restore_params(workdir, experiment, which=checkpoint)[0])
    found = grown.read(workdir, config, checkpoint)  # refuses what is no log
    return audience.Run(found.experiment, found.params, found.newcomers, found.lines)


def _places(ids: pl.Series, users: Iterable[Any] | Any, run: audience.Run) -> np.ndarray:
    """The places of raw ids among those who get lists, each once."""
    wanted, dataset, model = handed.wanted(users, "users", ids), run.experiment.dataset, run.experiment.model
    if run.is_grown and not fold_in.can(model):
        new = data.Vocabulary(run.newcomers.users)
        if (raw := next((raw for raw in wanted if new.find(raw) is not None), None)) is not None:
            raise errors.IncompatibleError(
                f"user '{raw}' is new in the log and gets no list: {fold_in.describe(run.experiment)}."
            )
    try:
        # Of a log that has grown, those whom it has added are there too.
        found = (dataset.user_index if ids is dataset.users.series else data.Vocabulary(ids).index)(wanted)
    except errors.DataError as error:
        if not fold_in.can(model):
            raise
        how = f"{program.command('recommend')} --for=LOG, or histories=... from Python"
        raise errors.DataError(
            f"{error} Users whom training has not seen get lists from their events: {how}."
        ) from None
    return listing.once(found)


def _with_events(who: audience.Audience, users: Iterable[Any] | Any) -> tuple[np.ndarray, pl.Series]:
    """The places of raw ids among the users of given events, each once; and those of them who have no usable one.

    Raises:
      DataError: a user who is not among them, or no user with a usable event.
    """
    wanted = handed.wanted(users, "users", who.ids)
    ids, silent = data.Vocabulary(who.ids), data.Vocabulary(who.without)
    listed, none = [], []
    for raw in wanted:
        # Ids of several types stand there as text.
        is_silent = ids.find(raw) is None and {silent.find(raw), silent.find(str(raw))} != {None}
        (none if is_silent else listed).append(raw)
    without = pl.Series([str(raw) for raw in none], dtype=pl.String).unique(maintain_order=True)
    found = ids.index(listed, where="the histories that were given")
    if none and not listed:
        raise errors.DataError(f"there is nobody to list for: {_without(without)[0]}.")
    return listing.once(found), without


def _without(ids: pl.Series | None) -> list[str]:
    """That users of given events get no list: a line, or nothing."""
    if ids is None or not len(ids):
        return []
    return [f"no list for {wording.count(len(ids), 'user')} without a usable event ({events.named(ids)})"]
