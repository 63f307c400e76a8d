"""Results files hold what protocols ask for and no folders; README tables follow from them and the papers."""

import json
import types as builtin

import pytest

from mbjax import errors, types
from mbjax.reporting import pages, report, results


def make_config(**changes):
    values = {
        "model_name": "bvae",
        "dataset": "/home/someone/data/jd",
        "protocol": "paper",
        "ablation": None,
        "seed": 0,
        "devices": 1,
        "overrides": {"train.eval_every": 5, "data.dirs": ("/home/someone/data",)},
        "train": builtin.SimpleNamespace(monitor="mean:ndcg"),
        "evaluate": builtin.SimpleNamespace(
            ks=(5, 10), mask="same_behavior", selections=("test_per_behavior",), sample_users=0
        ),
    }
    return builtin.SimpleNamespace(**(values | changes))


DATASET = builtin.SimpleNamespace(
    info=types.DatasetInfo("jd", 3, 4, ("click", "purchase")),
    valid_rule="none",
    mask_valid=False,
    fingerprint="ab" * 32,
)


def table(purchase, click):
    return {
        name: {"users": 9, **{f"{kind}@5": value for kind in ("prec", "rec", "ndcg", "hr")}}
        for name, value in (("click", click), ("purchase", purchase))
    }


ROWS = [
    {"epoch": 0, "step": 22, "seconds": 30.0, "loss": 9.0, "test": table(0.0743, 0.01)},
    {"epoch": 1, "step": 44, "seconds": 2.0, "loss": 8.0, "test": table(0.05, 0.02)},
    {"epoch": 2, "step": 66, "seconds": 3.0, "loss": 7.0, "test": table(0.06, 0.0123456789)},
]


@pytest.fixture
def make_record(monkeypatch):
    monkeypatch.setattr(
        results.configuration, "command", lambda c: f"python train.py --model=bvae --dataset=jd --seed={c.seed}"
    )
    return lambda rows=ROWS, tables=None, **changes: results.record(
        make_config(**changes), DATASET, rows, parameters=1234, tables=tables, seconds={"compile": 9.12345}
    )


def test_a_sample_of_all_users_is_none(make_record):
    """Who judged an epoch is read off the tables: of fewer users than asked for all have."""
    section = make_config().evaluate
    section.sample_users = 7
    assert "sample_users" not in make_record(evaluate=section)["protocol"]
    table = ROWS[0]["test"] | {"click": ROWS[0]["test"]["click"] | {"sampled_from": 9}}
    record = make_record([ROWS[0] | {"test": table}, *ROWS[1:]], evaluate=section)
    assert record["protocol"]["sample_users"] == 7
    section.sample_users = 0  # a model may rank few users by itself, which is no option of the run
    assert "sample_users" not in make_record([ROWS[0] | {"test": table}, *ROWS[1:]], evaluate=section)["protocol"]


def test_record_holds_settings_times_and_selections(make_record):
    record = make_record()
    assert record["overrides"] == {"train.eval_every": 5}
    assert record["protocol"] == {"name": "paper", "valid": "none", "mask": "same_behavior", "mask_valid": False}
    assert record["epochs"] == 3 and record["parameters"] == 1234
    assert record["seconds"] == {"compile": 9.123, "train_epoch": 2.5}  # the first epoch carries the compilation
    assert record["selection"].keys() == {"last", "test_per_behavior"}
    assert record["selection"]["last"]["click"] == {
        "epoch": 2, "users": 9, **{f"{kind}@5": 0.012346 for kind in ("prec", "rec", "ndcg", "hr")},
    }  # fmt: skip
    best = record["selection"]["test_per_behavior"]
    assert (best["purchase"]["epoch"], best["click"]["epoch"]) == (0, 1)
    assert "someone" not in json.dumps(record)


def test_what_is_nested_is_rounded_and_an_infinite_loss_is_null(make_record, tmp_path):
    found = table(0.5, 0.25)
    found["purchase"] |= {
        "familiar": {"pairs": 3, "users": 2, "hr@5": 0.123456789},
        "probabilities": {"pairs": 4, "log_loss": float("inf"), "calibration_error": 0.0412345678, "impossible": 1},
    }
    path = results.write(make_record(tables={"last": (1, found)}), tmp_path)
    row = report.read_file(path)["selection"]["last"]["purchase"]
    assert row["familiar"] == {"pairs": 3, "users": 2, "hr@5": 0.123457}
    assert row["probabilities"] == {"pairs": 4, "log_loss": None, "calibration_error": 0.041235, "impossible": 1}


def test_tables_read_after_training_go_before_the_rows(make_record):
    rows = [{"epoch": 0, "seconds": 1.0, "valid": table(1.0, 1.0)}, {"epoch": 1, "seconds": 1.0}]
    record = make_record(rows, {"valid": (0, table(0.5, 0.25)), "last": (1, table(0.75, 0.1))}, protocol="honest")
    assert record["selection"]["valid"]["purchase"]["epoch"] == 0
    assert record["selection"]["last"]["purchase"]["ndcg@5"] == 0.75


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"overrides": {}}, "bvae-jd-paper-seed0.json"),
        ({"overrides": {"data.dirs": ("/x",)}, "protocol": "honest", "seed": 2}, "bvae-jd-seed2.json"),
        (
            {"overrides": {"train.epochs": 60, "data.target": "click"}, "ablation": "wo_base"},
            "bvae-jd-paper-wo_base-target_click-epochs_60-seed0.json",
        ),
        ({"overrides": {"evaluate.ks": (5, 10)}}, "bvae-jd-paper-ks_5-10-seed0.json"),
    ],
)
def test_file_names_tell_runs_apart(make_record, changes, name):
    assert results.file_name(make_record(**changes)) == name


def test_files_are_read_back_and_damaged_ones_named(make_record, tmp_path):
    path = results.write(make_record(), tmp_path / "results", tag="my tag")
    assert path.name == "bvae-jd-my_tag-seed0.json"
    assert report.read(tmp_path / "results") == [json.loads(path.read_text())]
    assert report.read(tmp_path / "none") == []
    path.write_text("{}")
    with pytest.raises(errors.DataError, match=r"my_tag-seed0\.json is no results file: 'model' is missing"):
        report.read(path.parent)


def test_model_table_averages_seeds_and_compares_with_the_paper(make_record):
    other = [row | {"test": table(0.0643, 0.03)} for row in ROWS]
    lines = pages.render("bvae-jd", [make_record(), make_record(other, seed=1)]).splitlines()
    assert lines[0] == "| behavior | run | epoch of | seeds | Prec@5 | Rec@5 | NDCG@5 | HR@5 | NDCG@5 to paper |"
    assert lines[2].startswith("| purchase | published, BVAE (RecSys 2023) | as published |  | 0.0388 ± 0.0003 |")
    # mean of .0743 and .0643, half their difference, and .0693 / .0743 - 1
    assert "each behavior's best epoch on test (oracle) | 2 |" in lines[3]
    assert lines[3].endswith("| 0.0693 ± 0.0050 | 0.0693 ± 0.0050 | -6.7 % |")
    assert [line.split(" | ")[0] for line in lines if line.startswith("| ")][2:] == [
        "| purchase", "| ", "| ", "| click", "| ", "| ", "| favourite",
    ]  # fmt: skip
    assert any(line.startswith("- `python train.py --model=bvae --dataset=jd`, seeds 0, 1; 3 epochs") for line in lines)


@pytest.mark.parametrize("order", [1, -1])
def test_a_sweep_that_chose_the_settings_of_a_run_is_no_second_seed(make_record, order):
    run = make_record()
    of_sweep = make_record([row | {"test": table(0.0643, 0.03)} for row in ROWS]) | {"sweep": {"limit": 10.0}}
    records = [run, of_sweep, make_record(seed=1)][::order]
    (group,) = report.groups(records)
    assert sorted(record["seed"] for record in group) == [0, 1] and not any(record is of_sweep for record in group)
    assert report.groups([of_sweep]) == [[of_sweep]]


def test_variants_are_kept_out_of_the_model_table_and_shown_in_the_overview(make_record):
    records = [make_record(), make_record(ablation="wo_base", overrides={"train.epochs": 60})]
    assert "wo_base" not in pages.render("bvae-jd", records)
    lines = pages.render("jd", records).splitlines()
    assert "purchase NDCG@5 (paper) | click NDCG@5 (paper)" in lines[0]
    assert lines[2].startswith("| bvae | train.eval_every=5 | paper |") and "0.0743 (0.0743)" in lines[2]
    assert lines[3].startswith("| bvae | wo_base, train.epochs=60 | paper |") and "(" not in lines[3].replace(
        "(oracle)", ""
    )


def test_an_overview_can_be_of_one_protocol(make_record):
    rows = [{"epoch": epoch, "seconds": 1.0} for epoch in range(3)]
    records = [make_record(), make_record(rows, {"valid": (0, table(0.0706, 0.05))}, protocol="honest")]
    lines = pages.render("jd:honest", records).splitlines()
    assert lines[0].startswith("| model | variant | epoch of | epochs |") and len(lines) == 3
    assert lines[2].startswith("| bvae | train.eval_every=5 | best epoch on validation | 3 | 1 | 0.0706 (0.0743) |")
    assert pages.render("jd:paper", records).splitlines()[2].count("0.0743 (0.0743)") == 1


def test_an_overview_of_one_behavior_has_room_for_the_hit_rate(make_record):
    rows = [{"epoch": 0, "seconds": 1.0, "test": {"purchase": {"users": 9, "hr@5": 0.5, "ndcg@5": 0.25}}}]
    lines = pages.render("jd", [make_record(rows)]).splitlines()
    assert lines[0].endswith("| purchase HR@5 (paper) | purchase NDCG@5 (paper) |")
    assert lines[2].endswith("| 0.5000 (0.1289) | 0.2500 (0.0743) |")


def test_anchors_are_untrained_rows(make_record):
    anchor = make_record([], {"last": (0, table(0.01, 0.01))}, model_name="popularity", overrides={})
    text = pages.render("bvae-jd", [make_record(), anchor])
    assert "| popularity | no training | 1 | 0.0100 | 0.0100 | 0.0100 | 0.0100 | -86.5 % |" in text
    own = make_record([], {"last": (0, table(0.02, 0.01))}, model_name="own_items", overrides={})
    text = pages.render("bvae-jd", [make_record(), anchor, own])
    assert "| popularity | no training | 1 | 0.0100 |" in text and "| own_items | no training | 1 | 0.0200 |" in text


README = "# x\n<!-- results:bvae-jd -->\nold\n<!-- /results -->\ntext\n"


def test_different_runs_of_one_name_are_both_kept_and_the_same_run_is_written_again(make_record, tmp_path):
    small, large = (make_record(overrides={f"{section}.batch_size": 9}) for section in ("train", "evaluate"))
    assert results.file_name(small) == results.file_name(large)
    paths = [results.write(record, tmp_path) for record in (small, large, small, large)]
    assert paths[2:] == paths[:2] and paths[0].stem + "-2" == paths[1].stem
    assert [json.loads(path.read_text())["overrides"] for path in paths[:2]] == [small["overrides"], large["overrides"]]
    other = small | {"dataset_fingerprint": "cd" * 32}
    assert results.write(other, tmp_path).stem == f"{paths[0].stem}-3"
    assert results.file_name(small | {"dataset": "日志"}, "") == "bvae-日志-seed0.json"


def test_main_rewrites_the_tables_and_checks_them(make_record, tmp_path, capsys):
    file = tmp_path / "README.md"
    file.write_text(README)
    results.write(make_record(), tmp_path / "results")
    assert results.main([str(file), "--check"]) == 1
    assert file.read_text() == README
    assert results.main([str(file)]) == 0
    text = file.read_text()
    assert text.startswith("# x\n<!-- results:bvae-jd -->\n\n| behavior") and text.endswith(
        "\n\n<!-- /results -->\ntext\n"
    )
    assert "old" not in text
    assert results.main([str(file), "--check"]) == 0
    assert "tables written" in capsys.readouterr().out


def test_tables_are_not_taken_away_where_there_are_no_results_files(tmp_path, capsys):
    (tmp_path / "results").mkdir()
    page = tmp_path / "README.md"
    page.write_text("<!-- results:front -->\n\nnumbers\n\n<!-- /results -->\n", encoding="utf-8")
    before = page.read_bytes()
    for more in ([], [f"--results={tmp_path / 'nosuch'}"]):
        assert results.main([str(page), *more]) == 3
        assert "no results files (*.json) in" in capsys.readouterr().err
        assert page.read_bytes() == before


def test_results_files_are_looked_for_above_the_file(make_record, tmp_path):
    file = tmp_path / "docs" / "results" / "jd.md"
    file.parent.mkdir(parents=True)
    file.write_text(README)
    results.write(make_record(), tmp_path / "results")
    assert results.main([str(file)]) == 0 and "0.0743" in file.read_text()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (README.replace("bvae-jd", "nothing-jd"), "no results for the marker 'nothing-jd'. There are: bvae-jd, jd."),
        (README.replace("<!-- /results -->", ""), "without a '<!-- /results -->'"),
        ("# Nothing of ours\n", "no place for a table: a line '<!-- results:NAME -->'"),
        (None, "cannot be read"),
    ],
)
def test_main_says_in_one_line_what_is_wrong(make_record, tmp_path, capsys, text, message):
    file = tmp_path / "README.md"
    if text:
        file.write_text(text)
    results.write(make_record(), tmp_path / "results")
    assert results.main([str(file)]) == 3
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
