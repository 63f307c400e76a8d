"""A sweep going on: runs in folders of their own, one after another or several at once, then the chosen ones tested.

::

    sweep.json          what was asked for
    runs/NAME/          run folders, as training leaves them, without results of the test split
    records/NAME.json   what each run came to on validation pairs; written when it is over, so that it is not run again
    search.sqlite       optuna's study; only of a search
    jobs/N.log          what the processes of runs print; only where several go on at once
    chosen.json         of each model: the chosen setting, its test tables, and settings that were tested before it
    runs.csv  settings.csv  sweep.md  MODEL.png
"""

from __future__ import annotations

import contextlib
import json
import pathlib
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import rich.console

from mbjax import apart, errors, files, paths, program
from mbjax.ops import threads
from mbjax.reporting import results
from mbjax.sweep import attempts, board, course, records, room, summary, worker
from mbjax.sweep import plan as plans
from mbjax.train import claim, run_folder

LOOKING = {apart.POOL: str(apart.OF_POOLS), "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
"""Variables of the process that sees what there is: it is told all of a GPU and takes none."""


def go(
    plan: plans.Plan,
    members: Sequence[plans.Member],
    workdir: str | pathlib.Path | None,
    experiment: Any,
    *,
    resume: bool = False,
    jobs: int | None = 1,
    record: bool | pathlib.Path = False,
    say: Callable[[str], None] = lambda text: None,
) -> int:
    """Begins a sweep or goes on with it, and prints what came of it; returns the exit code.

    Args:
      plan: what was asked for.
      members: its models.
      workdir: the folder; None names one under ``runs/``.
      experiment: the package ``mbjax.experiment``.
      resume: go on with the sweep of that folder.
      jobs: runs that go on at once, each in a process of its own if there are several; None: as many as fit.
      record: whether to write results files of the chosen runs too, or where: a folder, or a file, whose name gets the
        model and the seed where there are several.
      say: is told what goes on, a line each.

    Returns:
      0, 1 where a model has no setting that finished, 130 after a signal.

    Raises:
      ConfigError: the folder holds a sweep or a run already (a new one). CheckpointError: it is going on elsewhere.
      WriteError: the folder cannot be written to.
    """
    folder = _begin(plan, workdir, resume)
    command = f"{program.command('sweep')} --resume --workdir={shlex.quote(paths.short(folder))}"
    with contextlib.ExitStack() as stack:
        stack.enter_context(claim.alone(run_folder.RunFolder(folder)))
        stack.enter_context(files.then(f"go on with `{command}`"))
        if resume:
            files.write_text(folder / "sweep.json", plan.text())
        number, accelerators = _jobs(plan, members, folder, jobs, say)
        sweep = course.Sweep(plan, members, folder)
        with _runners(folder, experiment, number, accelerators) as runners:
            if len(runners) == 1:
                is_over = sweep.run(runners[0], say)
            else:
                with board.Board(course.most(members)) as shown:
                    is_over = sweep.run_together(runners, shown)
            if not is_over:
                say(f"stopped; go on with `{command}`")
                return 130
            chosen = sweep.choose(runners[0], say)
        made = summary.write(sweep.records, members, folder, chosen)
        made += _recorded(sweep, chosen, record) if record else []
    out = rich.console.Console(highlight=False)
    if not sys.stdout.isatty():
        out = rich.console.Console(highlight=False, width=max(out.width, 120))
    summary.show(sweep.records, members, chosen, out)
    for path in made:
        out.print(f"written: {paths.short(path)}", markup=False, soft_wrap=True)
    runs = [records.name(name, found["number"], int(seed)) for name, found in chosen.items() for seed in found["test"]]
    if len(chosen) > 1:
        words = " ".join(shlex.quote(paths.short(folder / "runs" / name)) for name in runs)
        out.print(f"paired tests: `{program.command('compare')} {words}`", markup=False, soft_wrap=True)
    return 0 if len(chosen) == len(members) else 1


def _begin(plan: plans.Plan, workdir: str | pathlib.Path | None, resume: bool) -> pathlib.Path:
    """The folder of a sweep, with its ``sweep.json``."""
    if resume:
        return paths.absolute(workdir)
    if workdir is not None:
        folder = paths.absolute(workdir)
        run_folder.RunFolder(folder).check_unused()
        files.make_folder(folder)
        if not files.create(folder / "sweep.json", plan.text()):
            raise errors.ConfigError(
                f"{folder} holds a sweep already. Go on with it by --resume, or choose another --workdir."
            )
        return folder
    data = pathlib.PurePath(plan.dataset).name.split(".")[0]
    base, number = paths.absolute(pathlib.Path("runs") / f"sweep-{'-'.join(plan.models[:3])}-{data}"), 1
    while True:
        folder = files.make_folder(files.numbered(base, number))
        if files.create(folder / "sweep.json", plan.text()):
            return folder
        number += 1


def _jobs(plan, members, folder: pathlib.Path, jobs: int | None, say: Callable[[str], None]) -> tuple[int, int]:
    """How many runs go on at once, and on how many accelerators."""
    if jobs == 1:
        return 1, 0
    output = files.make_folder(folder / "jobs") / "looking.log"
    with attempts.Apart(worker.command(folder), output, LOOKING) as looking:
        found = looking.room(predict=jobs is None and plan.devices == 1)
    number, cores, why = jobs, threads.cores(), ""
    if number is None:
        number, why = (1, f"each on {plan.devices} devices") if plan.devices > 1 else room.fitting(found, cores)
    room.check(number, found["platform"], plan.devices)
    number = min(number, course.most(members) or number)
    each = max(1, cores // number)
    words = f"{number} run{'s' if number > 1 else ''} at once, {each} thread{'s' if each > 1 else ''} each"
    say(words + (f" ({why})" if why else ""))
    return number, 0 if found["platform"] == "cpu" else found["devices"]


@contextlib.contextmanager
def _runners(folder: pathlib.Path, experiment: Any, number: int, accelerators: int) -> Iterator[list[attempts.Runner]]:
    """Who makes the runs: this process, or so many others."""
    if number == 1:
        yield [attempts.Here(folder, experiment)]
        return
    logs = files.make_folder(folder / "jobs")
    with contextlib.ExitStack() as stack:
        yield [
            stack.enter_context(
                attempts.Apart(
                    worker.command(folder), logs / f"{place + 1}.log", apart.share(place, number, accelerators)
                )
            )
            for place in range(number)
        ]


def _recorded(sweep: course.Sweep, chosen: dict[str, Any], record: bool | pathlib.Path) -> list[pathlib.Path]:
    """Writes a results file of each chosen run, which says what it was chosen from; returns the paths."""
    made = []
    for name, found in chosen.items():
        about = sweep.effort(name)
        for seed in found["test"]:
            run = sweep.folder / "runs" / records.name(name, found["number"], int(seed))
            content = json.loads(run_folder.RunFolder(run).results_file.read_text(encoding="utf-8")) | {"sweep": about}
            where = record
            if where is not True and where.suffix == ".json":
                several = [name] if len(sweep.members) > 1 else []
                several += [f"seed{seed}"] if len(found["test"]) > 1 else []
                where = where.with_stem("-".join([where.stem, *several]))
            made.append(results.put(content, where))
    return made
