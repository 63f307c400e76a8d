"""A sweep with a stand-in for training, whose values are planted: what is run, kept, chosen, tested and said."""

from __future__ import annotations

import json
import math

import pytest

from mbjax import errors, models
from mbjax.experiment import trials
from mbjax.sweep import chart, going, plan, records

VALUES = {"1": 0.3, "2": 0.5, "3": 0.4}
"""penalty -> value; each seed adds a hundredth of itself."""


class Work:
    """Stands in for ``mbjax.experiment``."""

    def __init__(self, values=VALUES, stop=None, fail=()):
        self.values, self.stop, self.fail = values, stop, fail
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
        key = f"{config.model.penalty:g}"
        if key in self.fail:
            raise errors.TrainingDivergedError("loss is nan\nat step 3")
        value = self.values[key] + 0.01 * config.seed
        return trials.Trial("finished", value, None, {"buy": {"ndcg@5": value}}, 1.0, "f" * 8)

    def tested(self, folder, *, dataset):
        self.tests.append(folder.name)
        return {"buy": {"ndcg@5": 0.25, "users": 3}}


@pytest.fixture(autouse=True)
def drawn(monkeypatch, request):
    """Charts are drawn in one test only: they take most of the time."""
    if "alone" not in request.node.name:
        monkeypatch.setattr(chart, "draw", lambda *args, **given: False)


def sweep(folder, work, *, resume=False, grid=("penalty=1,2,3", "seed=0,1"), said=None):
    made = plan.Plan(("ease",), "demo", {}, grid)
    members = plan.members(made, lambda name: models.entry(name).config)
    say = (lambda text: None) if said is None else said.append
    return going.go(made, members, folder, work, resume=resume, say=say)


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
    assert sweep(tmp_path / "s", second, resume=True) == 0
    assert [name for name, _ in second.ran] == [f"ease-{n:03d}-seed{s}" for n, s in ((1, 0), (1, 1), (2, 0), (2, 1))]
    assert [resume for _, resume in second.ran] == [True, False, False, False]
    third = Work()
    assert sweep(tmp_path / "s", third, resume=True) == 0
    assert third.ran == third.tests == []  # nothing is trained or tested twice


def test_a_failure_is_kept_and_said_and_the_others_go_on(tmp_path, capsys):
    said = []
    assert sweep(tmp_path / "s", Work(fail=("2",)), said=said) == 0
    assert "ease-001-seed0: failed, TrainingDivergedError: loss is nan at step 3" in said
    page = (tmp_path / "s" / "sweep.md").read_text()
    assert "ease-001-seed0 failed: TrainingDivergedError" in page and "Runs: 4 finished, 2 failed." in page
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
