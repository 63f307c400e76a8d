"""A sweep with a stand-in for training, whose values are planted: what is run, kept, chosen, tested and said."""

from __future__ import annotations

import json
import math
import pathlib
import signal
import sys

import pytest

from mbjax import errors, models
from mbjax.experiment import trials
from mbjax.sweep import attempts, board, chart, course, going, plan, records, worker
from mbjax.train import claim

VALUES = {"1": 0.3, "2": 0.5, "3": 0.4}
"""penalty -> value; each seed adds a hundredth of itself."""


class Work:
    """Stands in for ``mbjax.experiment``."""

    def __init__(self, values=VALUES, stop=None, fail=(), seconds=1.0):
        self.values, self.stop, self.fail, self.seconds = values, stop, fail, seconds
        self.ran, self.tests, self.loaded = [], [], 0

    def load_data(self, config):
        self.loaded += 1
        return "data"

    def attempt(self, config, workdir, *, resume, dataset, watch):
        assert dataset == "data"
        self.ran.append((workdir.name, resume))
        if len(self.ran) == self.stop:
            workdir.mkdir(parents=True)
            (workdir / "config.yaml").write_text("")
            return trials.Trial("signal")
        key = config.model.penalty if isinstance(config.model.penalty, str) else f"{config.model.penalty:g}"
        if key in self.fail:
            raise errors.TrainingDivergedError("loss is nan\nat step 3")
        value = self.values[key] + 0.01 * config.seed
        return trials.Trial("finished", value, None, {"buy": {"ndcg@5": value}}, self.seconds, "f" * 8)

    def tested(self, folder, *, dataset):
        self.tests.append(folder.name)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "results.json").write_text('{"model": "ease"}')
        return {"buy": {"ndcg@5": 0.25, "users": 3}}


@pytest.fixture(autouse=True)
def drawn(monkeypatch, request):
    """Charts are drawn in one test only: they take most of the time."""
    if "alone" not in request.node.name:
        monkeypatch.setattr(chart, "draw", lambda *args, **given: False)


def sweep(folder, work, *, resume=False, grid=("penalty=1,2,3", "seed=0,1"), said=None, given=None, **options):
    made = plan.Plan(("ease",), "demo", {}, grid, **(given or {}))
    members = plan.members(made, lambda name: models.entry(name).config)
    say = (lambda text: None) if said is None else said.append
    return going.go(made, members, folder, work, resume=resume, say=say, **options)


def test_validation_chooses_and_the_test_split_is_read_for_that_alone(tmp_path, capsys):
    work = Work()
    assert sweep(tmp_path / "s", work) == 0
    assert len(work.ran) == 6 and work.loaded == 1
    assert work.tests == ["ease-001-seed0", "ease-001-seed1"]
    chosen = json.loads((tmp_path / "s" / "chosen.json").read_text())["ease"]
    assert chosen["setting"] == {"model.penalty": "2"} and chosen["tested"] == [1]
    assert chosen["value"] == pytest.approx(0.505)
    page = (tmp_path / "s" / "sweep.md").read_text()
    assert "| 1 | 2 | 0.5050 ± 0.0050 |  | 2.0 | chosen |" in page and "read once, for setting 1" in page
    assert (tmp_path / "s" / "ease.png").read_bytes()[:4] == b"\x89PNG"
    rows = (tmp_path / "s" / "runs.csv").read_text().splitlines()
    assert len(rows) == 7 and "valid/buy/ndcg@5" in rows[0]
    assert "chosen" in capsys.readouterr().out


def test_a_sweep_that_was_stopped_goes_on(tmp_path, capsys):
    first, said = Work(stop=3), []
    assert sweep(tmp_path / "s", first, said=said) == 130
    assert first.tests == [] and "sweep --resume --workdir=" in said[-1]
    assert not (tmp_path / "s" / "chosen.json").exists()
    second = Work()
    assert sweep(tmp_path / "s", second, resume=True, record=tmp_path / "one.json") == 0
    assert sorted(path.name for path in tmp_path.glob("*.json")) == ["one-seed0.json", "one-seed1.json"]
    assert [name for name, _ in second.ran] == [f"ease-{n:03d}-seed{s}" for n, s in ((1, 0), (1, 1), (2, 0), (2, 1))]
    assert [resume for _, resume in second.ran] == [True, False, False, False]
    third = Work()
    assert sweep(tmp_path / "s", third, resume=True) == 0
    assert third.ran == third.tests == []  # nothing is trained or tested twice
    (tmp_path / "s" / "runs" / "ease-001-seed1" / "results.json").unlink()  # as where a run was made again
    assert sweep(tmp_path / "s", third, resume=True) == 0 and third.tests == ["ease-001-seed0", "ease-001-seed1"]


def test_a_failure_is_kept_and_said_and_the_others_go_on(tmp_path, capsys):
    said = []
    assert sweep(tmp_path / "s", Work(fail=("2",)), said=said) == 0
    assert "ease-001-seed0: failed, TrainingDivergedError: loss is nan at step 3" in said
    page = (tmp_path / "s" / "sweep.md").read_text()
    assert "ease-001-seed0 failed: TrainingDivergedError" in page and "Runs: 4 finished, 2 failed. To" in page
    assert json.loads((tmp_path / "s" / "chosen.json").read_text())["ease"]["number"] == 2
    again = Work()
    assert sweep(tmp_path / "s", again, resume=True) == 0 and again.ran == []


def test_nothing_finished(tmp_path, capsys):
    work = Work(fail=tuple(VALUES))
    assert sweep(tmp_path / "s", work) == 1
    assert work.tests == [] and "none is chosen, the test split is unread" in capsys.readouterr().out


def test_a_run_without_a_value_has_failed(tmp_path, capsys):
    assert sweep(tmp_path / "s", Work(VALUES | {"2": -math.inf})) == 0
    found = records.read(tmp_path / "s" / "records", "ease-001-seed0")
    assert found.state == "failed" and found.value is None


def test_a_folder_in_use_is_refused(tmp_path, capsys):
    assert sweep(tmp_path / "s", Work()) == 0
    with pytest.raises(errors.ConfigError, match="holds a sweep already"):
        sweep(tmp_path / "s", Work())


def test_records_of_another_sweep_are_refused(tmp_path, capsys):
    assert sweep(tmp_path / "s", Work()) == 0
    with pytest.raises(errors.DataError, match=r"is of model.penalty=1, and the sweep has model.penalty=3 there"):
        sweep(tmp_path / "s", Work(), resume=True, grid=("penalty=3,1", "seed=0,1"))


@pytest.mark.exhaustive
def test_folders_without_a_name_are_numbered(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert sweep(None, Work()) == sweep(None, Work()) == 0
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == ["sweep-ease-demo", "sweep-ease-demo-2"]


def test_a_setting_that_was_chosen_anew_is_said(tmp_path, capsys):
    """A search that grows may choose another one: then the test split has been read twice."""
    assert sweep(tmp_path / "s", Work()) == 0
    for seed in (0, 1):  # as if a better one had come later
        file = tmp_path / "s" / "records" / f"ease-002-seed{seed}.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | {"value": 0.9}))
    work = Work()
    assert sweep(tmp_path / "s", work, resume=True) == 0
    assert work.tests == ["ease-002-seed0", "ease-002-seed1"]
    assert "the test split has been read for 2 settings (1, 2)" in capsys.readouterr().out


TIMED = {"grid": (), "given": {"minutes": 1.0, "space": ("penalty=1,2,3",)}}


def test_within_a_time_the_own_setting_is_first_and_what_would_not_be_over_is_not_begun(tmp_path, capsys):
    work = Work(VALUES | {"auto": 0.45}, seconds=20.0)
    assert sweep(tmp_path / "s", work, record=tmp_path / "one.json", **TIMED) == 0
    assert [name for name, _ in work.ran] == [f"ease-00{n}-seed0" for n in range(3)]  # three times 20 of 60 seconds
    first = records.read(tmp_path / "s" / "records", "ease-000-seed0")
    assert first.setting == {} and first.value == 0.45
    assert "ease: 3 settings tried." in (tmp_path / "s" / "sweep.md").read_text()
    made = json.loads((tmp_path / "one.json").read_text())
    assert made == {"model": "ease", "sweep": {"settings": 3, "finished": 3, "limit": 1.0, "minutes": 1.0}}
    again = Work(VALUES | {"auto": 0.45}, seconds=20.0)
    assert sweep(tmp_path / "s", again, resume=True, **TIMED) == 0 and again.ran == []
    longer = TIMED | {"given": TIMED["given"] | {"minutes": 9.0}}
    assert sweep(tmp_path / "s", again, resume=True, **longer) == 0
    assert [name for name, _ in again.ran] == ["ease-003-seed0"]  # then all values were had


def test_a_first_run_that_takes_all_the_time_stays_alone(tmp_path, capsys):
    work = Work(VALUES | {"auto": 0.45}, seconds=31.0)
    assert sweep(tmp_path / "s", work, **TIMED) == 0 and len(work.ran) == 1


def test_training_ends_where_the_time_does():
    made = plan.Plan(("bvae", "ease"), "demo", {}, minutes=2.0)
    members = plan.members(made, lambda name: models.entry(name).config)
    course_ = course.Sweep(made, members, None)
    course_._found.append(records.Record("bvae", 0, 0, {}, "finished", "m", 0.1, seconds=30.0, wall=45.0))
    assert course_._minutes(members[0], 1) == 1.25 and course_._minutes(members[0], 5) == 0.25
    assert course_._minutes(members[1], 1) is None
    task = attempts.Task(members[0], 1, {}, 0, 1.25)
    assert task.config().train.max_minutes == 1.25


class Runner(attempts.Here):
    """One of several, in a thread of this process."""

    told = 0

    def interrupt(self):
        self.told += 1


@pytest.mark.parametrize("fails", [False, True])
def test_runs_are_dealt_to_runners_and_an_error_ends_all(tmp_path, fails):
    made = plan.Plan(("ease",), "demo", {}, ("penalty=1,2,3", "seed=0,1"))
    members = plan.members(made, lambda name: models.entry(name).config)
    works = [Work(), Work()]
    if fails:
        works[1].load_data = lambda config: (_ for _ in ()).throw(errors.DataError("no such file"))
    runners = [Runner(tmp_path, work) for work in works]
    done, said = course.Sweep(made, members, tmp_path), []
    with board.Board(course.most(members)) as shown:
        shown.say = said.append
        if fails:
            with pytest.raises(errors.DataError, match="no such file"):
                done.run_together(runners, shown)
            assert runners[0].told == runners[1].told == 1
            return
        assert done.run_together(runners, shown)
    assert [(record.number, record.seed) for record in done.records] == [(n, s) for n in range(3) for s in (0, 1)]
    assert sum(len(work.ran) for work in works) == 6 and len(said) == 12
    assert [line.mean for line in records.lines(done.records, (0, 1))] == pytest.approx([0.305, 0.505, 0.405])


DIES = """
import os, sys
print("a line", file=sys.stderr)
print('{{"ans', end="", flush=True)
os.kill(os.getpid(), {})
"""


@pytest.mark.parametrize(("number", "state"), [(signal.SIGTERM, None), (signal.SIGKILL, "failed")])
def test_a_run_whose_process_somebody_ended_is_stopped_and_no_failure(tmp_path, number, state):
    """A scheduler tells all processes of a job, the run's perhaps before the sweep; memory that runs out kills one."""
    made = plan.Plan(("ease",), "demo", {}, ("penalty=1,2",))
    (member,) = plan.members(made, lambda name: models.entry(name).config)
    dies = [sys.executable, "-c", DIES.format(int(number))]
    with attempts.Apart(dies, tmp_path / "1.log", {}) as runner:
        record = runner.attempt(attempts.Task(member, 0, {"model.penalty": "1"}, 0), lambda epoch, value: False)
    assert (record and record.state) == state
    if state:
        assert record.error.endswith("by signal 9 (SIGKILL, as where memory ran out); its last line: a line")


CHILD = """
import os, sys
sys.path.insert(0, sys.argv[1])
import test_going
from mbjax.sweep import worker

class Work(test_going.Work):
    def attempt(self, config, workdir, *, resume, dataset, watch):
        if config.model.penalty == 3:
            print("no room", file=sys.stderr, flush=True)
            os._exit(9)
        assert not watch(0, 0.1)
        return super().attempt(config, workdir, resume=resume, dataset=dataset, watch=watch)

sys.exit(worker.main([sys.argv[2]], Work(fail=("2",))))
"""


@pytest.mark.exhaustive
def test_several_at_once_come_to_the_same(tmp_path, capsys, monkeypatch):
    """Two processes: runs in their order, one that fails, one whose process dies, and the test split read once."""
    here = str(pathlib.Path(__file__).parent)
    monkeypatch.setattr(worker, "command", lambda folder: [sys.executable, "-c", CHILD, here, str(folder)])
    monkeypatch.setattr(going, "_jobs", lambda *given: (2, 0))
    assert sweep(tmp_path / "s", None, jobs=2, grid=("penalty=1,2,3",)) == 0
    first, second, third = (records.read(tmp_path / "s" / "records", f"ease-00{n}-seed0") for n in range(3))
    assert (first.state, first.value) == ("finished", 0.3)
    assert second.error == "TrainingDivergedError: loss is nan at step 3"
    assert third.state == "failed" and third.error.endswith("the process ended by exit code 9: no room")
    chosen = json.loads((tmp_path / "s" / "chosen.json").read_text())["ease"]
    assert chosen["number"] == 0 and chosen["test"] == {"0": {"buy": {"ndcg@5": 0.25, "users": 3}}}
    lines = (tmp_path / "s" / "runs.csv").read_text().splitlines()
    assert [line.split(",")[1] for line in lines] == ["setting", "0", "1", "2"]


class Ended(Work):
    """A training that the time ends."""

    def attempt(self, config, workdir, *, resume, dataset, watch, began):
        self.ran.append(workdir.name)
        return trials.Trial("time", 0.1 * len(self.ran), 0, {"buy": {"ndcg@5": 0.1}}, self.seconds, "f" * 8)


def test_what_the_time_ended_goes_on_where_there_is_more_of_it(tmp_path, capsys):
    given = {"models": ("bvae",), "dataset": "demo", "fields": {}}

    def ran(minutes, resume=True):
        made, work = plan.Plan(**given, minutes=minutes), Ended(seconds=300.0)
        members = plan.members(made, lambda name: models.entry(name).config)
        assert going.go(made, members, tmp_path / "s", work, resume=resume) == 0
        return work.ran

    assert ran(1.0, resume=False) == ["bvae-000-seed0"]
    assert "bvae: the time ended the training of setting 0." in capsys.readouterr().out
    assert ran(1.0) == []
    assert ran(9.0) == ["bvae-000-seed0"]
    assert records.read(tmp_path / "s" / "records", "bvae-000-seed0").cut == 9.0


def test_the_settings_of_a_time_are_drawn_where_they_stand_alone(tmp_path, capsys):
    """The chart too: the first setting names no field, and stands at its own value."""
    assert sweep(tmp_path / "s", Work(VALUES | {"auto": 0.45}, seconds=20.0), **TIMED) == 0
    assert "![ease on demo](ease.png)" in (tmp_path / "s" / "sweep.md").read_text()


def test_a_run_that_somebody_else_trains_is_no_failure(tmp_path, capsys):
    work = Work()
    work.attempt = lambda *_, **__: (_ for _ in ()).throw(claim.InUseError("process 7 trains there"))
    with pytest.raises(claim.InUseError):
        sweep(tmp_path / "s", work)
    assert not list((tmp_path / "s").glob("records/*"))
