"""The table of metrics shows every row, marks the best, and survives odd names."""

import io

import pytest
import rich.console

from mbjax import models
from mbjax.config import about
from mbjax.reporting import tables

ROWS = {
    "bvae": {
        "purchase": {
            "users": 2579, "hr@5": 0.1289, "ndcg@5": 0.0743, "hr@10": 0.2,
            "visited": {"pairs": 10, "users": 7, "hr@5": 0.5}, "unvisited": {"pairs": 3, "users": 2, "hr@5": 0.25},
            "groups": {"<5": {"users": 4, "hr@5": 0.1}},
        },
        "click": {"users": 3783, "hr@5": 0.1, "ndcg@5": 0.05},
    },
    "popularity": {"purchase": {"users": 2579, "hr@5": 0.01, "ndcg@5": 0.1}, "click": {"users": 0}},
}  # fmt: skip


def show(*args, **options) -> list[str]:
    file = io.StringIO()
    rich.console.Console(file=file, width=120).print(tables.per_behavior(*args, **options))
    return file.getvalue().splitlines()


def test_terminal_has_a_line_for_each_behavior_and_row():
    lines = show(ROWS, caption="test split, epoch 93")
    assert "HR@5" in lines[0] and "NDCG@5" in lines[0] and "HR@10" not in lines[0]
    body = [line.split() for line in lines if "." in line or "popularity" in line][:4]
    assert body == [
        ["purchase", "2,579", "bvae", "0.1289", "0.0743"],
        ["2,579", "popularity", "0.0100", "0.1000"],
        ["click", "3,783", "bvae", "0.1000", "0.0500"],
        ["0", "popularity", "-", "-"],
    ]
    assert "epoch 93" in lines[-1]


def test_more_cut_offs_and_parts_on_request():
    lines = [line.split() for line in show({"bvae": ROWS["bvae"]}, ks=(5, 10), details=True)]
    assert lines[0] == ["behavior", "users", "at", "HR", "NDCG"]
    assert lines[2:7] == [
        ["purchase", "2,579", "bvae", "5", "0.1289", "0.0743"],
        ["10", "0.2000", "-"],
        ["7", "10", "visited", "5", "0.5000", "-"],
        ["2", "3", "unvisited", "5", "0.2500", "-"],
        ["4", "history", "<5", "5", "0.1000", "-"],
    ]


def test_among_kinds_alone_on_request():
    values = {"users": 9, "hr@5": 0.1, "familiar": {"pairs": 0, "users": 0}, "new": {"pairs": 1200, "users": 7}}
    rows = {"bvae": {"buy": values | {"new": {"pairs": 1200, "users": 7, "hr@5": 0.25}}}}
    lines = [line.split() for line in show(rows, details=True, among=True)]
    assert lines[2:4] == [["buy", "9", "bvae", "0.1000"], ["7", "1,200", "new", "0.2500"]]
    assert not any("new" in line for line in show(rows, details=True))


def test_markdown_marks_the_best_of_each_block():
    assert tables.markdown(ROWS).splitlines() == [
        "| behavior | users |  | HR@5 | NDCG@5 |",
        "| --- | ---: | --- | ---: | ---: |",
        "| purchase | 2,579 | bvae | **0.1289** | 0.0743 |",
        "|  | 2,579 | popularity | 0.0100 | **0.1000** |",
        "| click | 3,783 | bvae | **0.1000** | **0.0500** |",
        "|  | 0 | popularity | - | - |",
    ]


def test_a_single_row_is_not_marked_and_parts_never_are():
    assert "**" not in tables.markdown({"bvae": ROWS["bvae"]}, details=True)


def test_brackets_and_bars_in_names_are_kept():
    rows = {"[x]": {"a|b": {"hr@5": 0.5}}}
    assert any("[x]" in line for line in show(rows))
    assert "a\\|b" in tables.markdown(rows)


def test_all_metrics_fit_a_terminal_of_80_columns():
    names = [f"{kind}@{k}" for kind in tables.TITLES for k in (5, 20)]
    table = {"favourite": {"users": 123456, **dict.fromkeys(names, 0.1234)}}
    file = io.StringIO()
    rich.console.Console(file=file, width=80).print(
        tables.per_behavior({"multivae": table, "popularity": table}, ks=(5, 20))
    )
    assert file.getvalue().count("0.1234") == 24 and "popularity" in file.getvalue()


@pytest.mark.parametrize("width", [10, 40, 80, 200])
@pytest.mark.parametrize("behavior", ["buy", "put into the cart"])
def test_no_number_is_cut_however_narrow_the_terminal(width, behavior):
    """``0.1`` of 0.1234 would be another number."""
    table = {behavior: {"users": 123456, **dict.fromkeys(("hr@5", "ndcg@5", "rec@5", "prec@5", "mrr@5"), 0.1234)}}
    file = io.StringIO()
    tables.put(rich.console.Console(file=file, width=width), tables.per_behavior({"[multivae]": table, "own": table}))
    shown = file.getvalue()
    assert shown.count("0.1234") == 10 and shown.count("123,456") == 2 and behavior in shown
    assert "[multivae]" in shown and "…" not in shown
    if behavior == "buy":
        assert max(map(len, shown.splitlines())) <= max(width, 66)


def test_cut_offs_ascend():
    assert tables.cut_offs(ROWS) == [5, 10]


def test_reconstructed_models_are_marked():
    assert tables.model_title("bvae") == "bvae"
    assert tables.model_title("bvae", "", "valid 3") == "bvae (valid 3)"
    assert tables.model_title("bigel") == "bigel (reconstructed)"
    assert tables.model_title("bigel", "valid 29") == "bigel (reconstructed, valid 29)"
    assert tables.model_title("bigel", backbone="bigel") == "bigel (reconstructed)"
    assert tables.model_title("copf", "last 3", backbone="bigel") == "copf (bigel reconstructed, last 3)"
    assert tables.model_title("copf", backbone="cogcn") == tables.model_title("copf") == "copf"
    said = {name for name, entry in models.MODELS.items() if "reconstructed" in entry.summary}
    assert said == {name for name in models.MODELS if about.of(name).reconstructed} == {"bigel", "rgcn"}
