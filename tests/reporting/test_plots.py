"""The plots are made without a display and leave no temporary files."""

import polars as pl
import pytest

from mbjax.reporting import plots


def table(scale):
    kinds = ("hr", "rec", "ndcg", "mrr")
    return {
        b: {f"{kind}@{k}": scale * k / 100 for kind in kinds for k in (10, 5)} | {"users": 7} for b in ("view", "buy")
    }


ROWS = [
    {"epoch": 0, "step": 5, "loss": 30.0},
    {"epoch": 1, "step": 10, "loss": 20.0, "valid": table(1.0), "test": table(0.9)},
    {"epoch": 2, "step": 15, "loss": None, "valid": table(2.0)},
]


def size(path) -> tuple[int, int]:
    head = path.read_bytes()[:24]
    assert head.startswith(b"\x89PNG")
    return int.from_bytes(head[16:20]), int.from_bytes(head[20:24])


@pytest.mark.parametrize("rows", [ROWS, ROWS[:1], []])
def test_learning_curve_of_any_length(rows, tmp_path):
    plots.learning_curve(rows, tmp_path / "curve.png")
    assert min(size(tmp_path / "curve.png")) > 300
    assert len(list(tmp_path.iterdir())) == 1


def test_evaluated_epochs_make_a_second_panel(tmp_path):
    plots.learning_curve(ROWS, tmp_path / "two.png")
    plots.learning_curve(ROWS[:1], tmp_path / "one.png")
    assert size(tmp_path / "two.png")[1] > size(tmp_path / "one.png")[1]


def curve(**changes):
    columns = {"predicted": [0.1, 0.01], "observed": [0.12, 0.0], "found": [12, 0], "trials": [100.0, 200.0]}
    return pl.DataFrame(columns | {"expected": [10.0, 2.0]} | changes)


def test_reliability_has_a_panel_for_each_behavior(tmp_path):
    plots.reliability({"buy": curve()}, tmp_path / "one.png", title="funnel on demo")
    plots.reliability({"view": curve(), "buy": curve()}, tmp_path / "two.png")
    assert size(tmp_path / "two.png")[0] > 1.5 * size(tmp_path / "one.png")[0]


def test_reliability_of_nothing_that_a_logarithm_has(tmp_path):
    impossible = curve(predicted=[0.0, 0.0], trials=[0.0, 0.0])
    plots.reliability({"buy": impossible, "view": curve()[:0]}, tmp_path / "empty.png", names=("view", "buy"))
    assert min(size(tmp_path / "empty.png")) > 300


@pytest.mark.parametrize("reference", [None, {"popularity": table(0.5), "optimum": {"buy": {"hr@5": 0.2}}}])
def test_per_behavior_with_and_without_references(reference, tmp_path):
    plots.per_behavior(table(1.0), tmp_path / "bars.png", reference)
    assert min(size(tmp_path / "bars.png")) > 300
