"""From the command line to tables and files."""

import csv
import re
import sys

import polars as pl
import pytest

from mbjax import compilation
from mbjax.reporting.compare import __main__ as program


@pytest.fixture(autouse=True)
def _(monkeypatch):
    monkeypatch.setattr(compilation, "keep", lambda: None)
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setattr(sys, "argv", ["mbjax"])


def rows(path):
    with (path / "comparison.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def png_size(path):
    head = path.read_bytes()[:24]
    assert head.startswith(b"\x89PNG")
    return int.from_bytes(head[16:20]), int.from_bytes(head[20:24])


def test_results_files_beside_the_paper(write, anchor, tmp_path, capsys):
    words = [
        write("a.json", purchase=0.07),
        write("b.json", purchase=0.08, seed=1),
        write("c.json", purchase=0.06, ablation="wo_tff"),
        write("p.json", purchase=0.01, **anchor),
    ]
    assert program.main([*words, f"--out={tmp_path / 'out'}", "--behavior=purchase"]) == 0
    out = capsys.readouterr().out
    assert "jd, purchase: test split, 4 users with 9 held-out pairs" in out
    assert re.search(r"bvae +2 +0\.0750 ± 0\.0050 +0\.0743 +0\.0375 +0\.0375\n", out)
    assert re.search(r"popularity +1 +0\.0100 +- +0\.0050 +0\.0050\n", out)
    assert "Runs without: a results file without a Parquet file" in out and "BVAE (RecSys 2023)" in out
    page = (tmp_path / "out" / "comparison.md").read_text(encoding="utf-8")
    assert "![NDCG@5 on jd](jd-ndcg@5.png)" in page
    assert "![NDCG@5 on jd, visited and unvisited pairs](jd-ndcg@5-visited.png)" in page
    lines = [line for line in page.splitlines() if line.startswith("|")]
    assert lines == [
        "| metric | run | seeds | all | paper | visited (2) | unvisited (7) |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: |",
        "| NDCG@5 | bvae | 2 | **0.0750 ± 0.0050** | 0.0743 | 0.0375 | 0.0375 |",
        "|  | bvae wo_tff | 1 | 0.0600 | - | 0.0300 | 0.0300 |",
        "|  | popularity | 1 | 0.0100 | - | 0.0050 | 0.0050 |",
        "| HR@5 | bvae | 2 | **0.0750 ± 0.0050** | 0.1289 | 0.0375 | 0.0375 |",
        "|  | bvae wo_tff | 1 | 0.0600 | - | 0.0300 | 0.0300 |",
        "|  | popularity | 1 | 0.0100 | - | 0.0050 | 0.0050 |",
    ]
    first = rows(tmp_path / "out")[0]
    assert (first["run"], first["seeds"], first["values"], first["paper"]) == ("bvae", "0 1", "0.07 0.08", "0.0743")
    assert (first["visited_pairs"], first["paper_sd"], first["selection"]) == ("2", "0.0002", "valid")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "comparison.md", "comparison.csv", "jd-ndcg@5.png", "jd-hr@5.png",
        "jd-ndcg@5-visited.png", "jd-hr@5-visited.png",
    }  # fmt: skip


def test_the_chart_grows_with_runs_and_behaviors(write, tmp_path, capsys):
    words = [write(f"{n}.json", ablation=f"variant {n}") for n in range(6)]
    for name, given in (("small", [*words[:1], "--behavior=click"]), ("wide", words[:1]), ("high", words)):
        assert program.main([*given, f"--out={tmp_path / name}", "--metric=hr@5"]) == 0
    (small, wide, high) = (png_size(tmp_path / name / "jd-hr@5.png") for name in ("small", "wide", "high"))
    assert wide[0] > small[0] and wide[1] == small[1]
    assert high[0] == wide[0] and high[1] > small[1] + 5 * 30


def test_epochs_chosen_differently_are_told_apart(write, capsys):
    words = [write("a.json"), write("b.json", purchase=0.25, selection="last", protocol="paper")]
    assert program.main(words) == 0
    out = capsys.readouterr().out
    assert re.search(r"bvae \(honest\) +valid +1 +0\.5000", out)
    assert re.search(r"bvae \(paper\) +last +1 +0\.2500", out)
    assert "differently chosen epochs and do not compare as equals" in " ".join(out.split())
    assert "for comparison with these tables only" in " ".join(out.split())


def test_other_behaviors_make_other_visited_pairs(write, capsys):
    note = "visited and unvisited pairs are not the same from line to line"
    assert program.main([write("a.json"), write("b.json", ablation="wo_tff")]) == 0
    assert note not in " ".join(capsys.readouterr().out.split())
    fewer = write("c.json", behaviors=["purchase"], overrides={"data.behaviors": ["purchase"]})
    half = write("d.json", overrides={"data.subsample": "click=0.5"})
    for path in (fewer, half):
        assert program.main([write("a.json"), path]) == 0
        assert note in " ".join(capsys.readouterr().out.split())


def test_values_of_users_are_tested(write, tmp_path, capsys):
    """Differences of -1/4, -2/4 and -3/4, the t-test and Wilcoxon's of which test_significance works out."""

    def users(name, values):
        columns = {"behavior": ["purchase"] * 3, "raw_user": ["x", "y", "z"], "ndcg@5": values, "users": [3] * 3}
        pl.DataFrame(columns).write_parquet(tmp_path / name)
        return str(tmp_path / name)

    def record(name, mean, **changes):
        path = write(name, purchase=mean, **changes)
        text = (tmp_path / name).read_text().replace('"users": 4', '"users": 3')
        (tmp_path / name).write_text(text)
        return path

    words = [
        record("low.json", 0.25, ablation="wo_tff"), users("low.parquet", [0.75, 0.0, 0.0]),
        record("high.json", 0.75), users("high.parquet", [1.0, 0.5, 0.75]),
        record("top.json", 0.9, ablation="wo_base"),
    ]  # fmt: skip
    out = tmp_path / "out"
    assert program.main([*words, "--metric=ndcg@5", "--behavior=purchase", f"--out={out}"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "-0.5000 -1.1210 to +0.1210 0 / 3 0.074 0.250" in text
    assert "(a results file without a Parquet file of per-user values after it): bvae wo_base (seed 0)." in text
    assert "NDCG@5 of purchase: 'bvae wo_base' is best and has no per-user values; the tests are against 'bvae'" in text
    assert "| NDCG@5 | **bvae** | best |  |  |  |  |" in (out / "comparison.md").read_text(encoding="utf-8")
    found = {row["run"]: row for row in rows(out)}
    assert found["bvae wo_tff"]["tested_against"] == "bvae"
    assert float(found["bvae wo_tff"]["test/t_test_holm"]) == pytest.approx(0.0741799, abs=1e-7)
    assert found["bvae"]["test/t_test"] == found["bvae wo_base"]["test/t_test"] == ""
    assert program.main([*words, "--no-tests"]) == 0
    assert "ests" not in capsys.readouterr().out


def test_run_folders_from_the_command_line(trained, compiled, tmp_path, capsys):
    assert program.main([str(trained), "--metric=ndcg@3,rec@5", f"--out={tmp_path}"]) == 0
    printed = capsys.readouterr()
    assert printed.err.count("evaluating") == 4
    buy = [row for row in rows(tmp_path) if (row["behavior"], row["metric"]) == ("buy", "ndcg@3")]
    assert [(row["run"], row["seeds"], row["selection"]) for row in buy] == [
        ("multivae", "0 1", "valid"), ("popularity", "0", "last"), ("own_items", "0", "last"),
    ]  # fmt: skip
    *tested, best = sorted(buy, key=lambda row: row["tested_against"] == "")
    for row in tested:
        assert row["tested_against"] == best["run"]
        assert float(row["test/difference"]) == pytest.approx(float(row["mean"]) - float(best["mean"]))
    assert re.search(r"multivae +2 +\d\.\d{4} ± ", printed.out)
    assert "toy, buy: test split, 10 users" in printed.out


WRONG = [
    (["missing"], 2, "missing: no run. Give run folders"),
    ([], 2, "RUN is missing: mbjax compare RUN ...; see --help."),
    (["x", "--split=train"], 2, "unknown split 'train'. Did you mean 'valid'? Known: test, valid."),
    (["x", "--metric=,"], 2, "--metric=,: names nothing."),
    (["x", "--ks=5"], 2, "--ks: mbjax compare does not read it; mbjax eval does."),
    (["x", "--selection=best"], 2, "unknown selection 'best'. Did you mean 'best_test'?"),
]


@pytest.mark.parametrize(("words", "code", "message"), WRONG)
def test_mistakes_are_one_line(words, code, message, capsys):
    assert program.main(words) == code
    error = capsys.readouterr().err
    assert message in error and error.startswith("error: ") and error.count("\n") == 1


def test_other_data_are_refused(write, capsys):
    assert program.main([write("a.json"), write("b.json", seed=1, dataset_fingerprint="cd" * 32)]) == 2
    assert "these runs are on 'jd' in two states" in capsys.readouterr().err


def test_a_folder_that_cannot_be_written_is_named(write, tmp_path, capsys):
    assert program.main([write("a.json"), f"--out={tmp_path / 'a.json'}"]) == 6
    assert "a.json'" in capsys.readouterr().err


def test_help_names_every_option_and_example(capsys):
    assert program.main(["--help"]) == 0
    text = capsys.readouterr().out
    for word in (
        "--metric",
        "--behavior",
        "--split",
        "--selection",
        "--no-tests",
        "--out",
        "test_per_behavior",
        "Holm",
    ):
        assert word in text
    assert max(map(len, text.splitlines())) <= 120
