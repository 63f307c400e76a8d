"""The benchmark of accelerators on tiny data: parts that fail lose nothing, comparisons by hand, precision seen."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse
import trial

from mbjax import apart, models, topk
from mbjax.bench import forms, platform, rates
from mbjax.experiment import wiring

FILE = Path(__file__).resolve().parent.parent / "benchmarks" / "accelerator.py"
QUICK = platform.Limits(repeat=1, seconds=0.001, steps=2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The toy data of two behaviors: 23 users, 31 items."""
    return trial.write_data(tmp_path_factory.mktemp("data") / "toy")


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("benchmarks_accelerator", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(autouse=True)
def known_rates(monkeypatch):
    monkeypatch.setattr(rates, "bandwidth", lambda size: 1e9)
    monkeypatch.setattr(rates, "matmul", lambda size: 1e9)


def found_by(script, part: str) -> dict:
    found = {}
    for more in script.measured(part, QUICK):
        found |= more
    return found


PROGRAM = "import json, sys, time; json.dump({'kept': 1}, open(sys.argv[-1], 'w')); "


@pytest.mark.parametrize(
    ("rest", "limit", "failed"),
    [
        ("", 60.0, None),
        ("raise ValueError('no such thing')", 60.0, "exit code 1: ValueError: no such thing"),
        ("time.sleep(600)", 3.0, "stopped after 3 s"),
    ],
    ids=["well", "an error", "too long"],
)
def test_what_a_part_kept_outlives_it(rest, limit, failed, capsys):
    found = apart.run([sys.executable, "-c", PROGRAM + rest], limit)
    assert (found["kept"], found.get("failed")) == (1, failed)


def test_findings_are_written_one_by_one(tmp_path):
    file = tmp_path / "part.json"

    def findings():
        yield {"first": 1}
        assert json.loads(file.read_text(encoding="utf-8")) == {"first": 1}
        yield {"second": 2}

    assert apart.keep(findings(), str(file)) == {"first": 1, "second": 2}
    assert json.loads(file.read_text(encoding="utf-8")) == {"first": 1, "second": 2}


def test_forms_agree_with_scipy_and_one_that_fails_is_a_row(monkeypatch):
    matrix = scipy.sparse.random_array((30, 30), density=0.2, rng=np.random.default_rng(0), dtype=np.float32)
    matrix = scipy.sparse.csr_array(matrix / 30)
    rows = list(forms.compete(matrix, 4, repeat=1, limit=0.001))
    assert [row["error"] < (1e-2 if "bfloat16" in row["name"] else 1e-6) for row in rows] == [True] * 6
    assert all(row["seconds"] > 0 and row["same_bits"] for row in rows)

    def broken(entries, x, **options):
        raise NotImplementedError("not\nhere")

    monkeypatch.setattr(forms, "gather", broken)
    rows = {row["name"]: row for row in forms.compete(matrix, 4, repeat=1, limit=0.001)}
    assert rows["gather, sorted sum"] == {"name": "gather, sorted sum", "failed": "NotImplementedError: not here"}
    assert "seconds" in rows["BCOO"]


def test_products(script, folder):
    found = found_by(script, f"products/{folder}")
    assert found["nodes"] == 54 and len(found["forms"]) == 6
    assert found["heading"]["backend"] == jax.default_backend()


@pytest.mark.parametrize("backend", ["cpu", "gpu"])
def test_a_trained_model(script, folder, backend, monkeypatch):
    monkeypatch.setattr(platform.jax, "default_backend", lambda: backend)
    found = found_by(script, f"lightgcn/{folder}")
    assert found["losses"] and np.isfinite(found["losses"]).all()
    assert found["step"] > 0 and found["test_pass"] > 0
    # What computes here has one precision.
    assert found["metrics"] == found["metrics_float32"] and "buy hr@5" in found["metrics"]
    if backend == "gpu":
        assert found["test_pass_float32"] > 0 and found["lists"]["buy"]["lists"] == 0.0


def test_a_closed_form(script, folder):
    found = found_by(script, f"ease/{folder}")
    assert found["prepare"] > 0 and found["test_pass"] > 0 and "losses" not in found


def test_a_whole_training(script, folder, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    found = found_by(script, f"fit-popularity/{folder}")
    assert found["end_to_end"] > 0 and "buy hr@5" in found["metrics"]


@pytest.mark.parametrize(("seconds", "done"), [(600.0, 3), (0.0, 1)], ids=["all", "as far as the time goes"])
def test_many_epochs(script, folder, monkeypatch, seconds, done):
    monkeypatch.setitem(script.EPOCHS, "bpr_mf", 3)
    found = {}
    for more in script.measured(f"long-bpr_mf/{folder}", QUICK._replace(training=seconds)):
        found |= more
    assert (found["epochs"], found["epochs_done"]) == (3, done)
    assert found["all_epochs"] >= 3 * found["epoch"] > 0 and found["seconds_done"] > 0


def test_lists_that_the_default_precision_changes_are_counted(folder, monkeypatch):
    experiment = wiring.build(trial.config(folder, "popularity"))
    evaluator = experiment.evaluator("test", behaviors=("buy",))
    start = topk.start

    def rounded(*arguments):
        lists = start(*arguments)
        if jax.config.jax_default_matmul_precision == "default":  # the first two places of the first user swapped
            lists = lists._replace(item=jnp.asarray(lists.item).at[0, :2].set(lists.item[0, 1::-1]))
        return lists

    monkeypatch.setattr(topk, "start", rounded)
    ((behavior, row),) = platform.precision(experiment, {}, evaluator)
    users, places = row["users"], max(experiment.config.evaluate.ks)
    assert (behavior, row["sets"]) == ("buy", 0.0)
    assert row["lists"] == pytest.approx(1 / users) and row["places"] == pytest.approx(2 / users / places)


def test_comparison_by_hand(script):
    here = {"losses": [1.0, 2.2], "metrics": {"buy hr@5": 0.5, "buy hr@9": 1.0}}
    there = {"losses": [1.0, 2.0, 9.0], "metrics": {"buy hr@5": 0.25}}
    assert script.compared(here, there) == pytest.approx({"losses": 0.1, "metrics": 0.25})
    assert script.compared(here, {}) == {}


@pytest.mark.exhaustive
def test_the_script_goes_on_after_a_part_that_fails(script, folder, tmp_path, capsys):
    out = tmp_path / "here.json"
    missing = tmp_path / "missing"
    parts = [f"popularity/{missing}", f"popularity/{folder}"]
    argv = [f"--out={out}", "--repeat=1", "--seconds=0.001"]
    assert script.main([*argv, *parts]) == 1
    found = json.loads(out.read_text(encoding="utf-8"))
    assert "missing" in found["parts"]["popularity/missing"]["failed"]
    assert found["parts"]["popularity/toy"]["test_pass"] > 0 and found["machine"]
    text = capsys.readouterr().out
    assert "popularity/toy: done" in text and "failed: exit code" in text
    assert script.main([*argv, f"--against={out}", "--deadline=0", parts[1]]) == 1
    assert "not begun in 0 s" in capsys.readouterr().out


def test_parts_of_models_that_are_not_there_are_left_out_or_refused(script, capsys):
    assert set(models.MODELS) & {part.partition("/")[0] for part in script.PARTS}
    for part, words in (("copff/jd", "Did you mean 'copf'"), ("copf", "copf/taobao"), ("fit-copff/jd", "'copf'")):
        assert script.main([part]) == 2
        text = capsys.readouterr().err
        assert text.startswith("error: ") and text.count("\n") == 1 and words in text
