"""Ranked lists of runs of small logs: what is in them, what is left out, what is said."""

from __future__ import annotations

import csv
import random

import numpy as np
import polars as pl
import pytest

from mbjax import config as configuration
from mbjax import experiment, models, recommend

TWELVE = """user,item,behavior,time
a,x,buy,1
a,y,buy,2
a,z,buy,3
b,x,buy,1
b,y,buy,2
b,z,buy,3
b,w,view,4
c,x,buy,1
c,y,buy,2
d,x,view,1
d,y,view,2
d,z,view,3
"""


def settings(log, model="popularity", behaviors="view,buy", **overrides):
    given = {name.replace("__", "."): value for name, value in overrides.items()}
    return configuration.load(
        model, str(log), models.entry(model).config, overrides={"data.log.behaviors": behaviors} | given
    )


@pytest.fixture(scope="module")
def twelve(tmp_path_factory):
    """The log of twelve rows and a run of it."""
    folder = tmp_path_factory.mktemp("twelve")
    (folder / "log.csv").write_text(TWELVE, encoding="utf-8")
    experiment.train(settings(folder / "log.csv"), folder / "run")
    return folder


def write_base(path):
    """40 users, 30 items, views, carts and buys one after the other."""
    draw, rows = random.Random(0), []
    for user in range(40):
        time = 1_700_000_000 + draw.randrange(10**6)
        for item in draw.sample(range(30), 12):
            time += draw.randrange(1, 5000)
            rows.append((f"u{user:02d}", f"i{item:02d}", "view", time))
            if draw.random() < 0.6:
                time += 7
                rows.append((f"u{user:02d}", f"i{item:02d}", "cart", time))
                if draw.random() < 0.7:
                    time += 9
                    rows.append((f"u{user:02d}", f"i{item:02d}", "buy", time))
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("user", "item", "behavior", "time"), *rows])
    return pl.DataFrame(rows, schema=["user", "item", "behavior", "time"], orient="row")


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """That log, a run of item neighbors on it, and its rows."""
    folder = tmp_path_factory.mktemp("base")
    rows = write_base(folder / "base.csv")
    experiment.train(settings(folder / "base.csv", "itemknn", "view,cart,buy"), folder / "run")
    return folder, rows


def lists_of(workdir, folder, behavior="buy", **options):
    return pl.read_parquet(experiment.recommend(workdir, out=folder, **options)[behavior])


def test_nobody_is_offered_what_he_has(twelve, tmp_path, capsys):
    lists = lists_of(twelve / "run", tmp_path, top_k=3)
    assert lists.select("user", "rank", "item").rows() == [
        ("a", 1, "w"),
        ("b", 1, "w"),
        ("c", 1, "w"),
        ("c", 2, "z"),
    ]
    said = " ".join(capsys.readouterr().out.split())
    assert "left out of the lists: all that a user met by the behavior of the list, in whatever split" in said
    assert "buy: lists of 3 users" in said
    assert "buy: 3 users (a, b, c) get fewer than 3 items" in said


def test_the_view_of_the_evaluation_is_an_option(twelve, tmp_path):
    lists = lists_of(twelve / "run", tmp_path, top_k=3, exclude="train", users=["a"])
    # z is held out for the test; y or x for validation, which is masked at test time.
    assert set(lists["item"]) == {"z", "w"}
    assert lists_of(twelve / "run", tmp_path, top_k=9, exclude="none", users=["a"]).height == 4


def test_items_met_by_any_behavior_are_left_out_on_request(twelve, tmp_path):
    config = experiment.read_config(twelve / "run")
    config = configuration.override(config, {"evaluate.mask": "all_behaviors"})
    lists = lists_of(twelve / "run", tmp_path, config=config, top_k=3)
    assert lists.select("user", "item").rows() == [("a", "w"), ("c", "w"), ("c", "z")]  # b has viewed w


def met(rows, *behaviors):
    return rows.filter(pl.col("behavior").is_in(behaviors)).select("user", "item").unique()


@pytest.mark.parametrize("top_k", [5, 100])
def test_no_list_of_a_larger_log_holds_a_purchase(base, tmp_path, top_k):
    folder, rows = base
    lists = lists_of(folder / "run", tmp_path, top_k=top_k)
    bought = met(rows, "buy")
    assert lists["user"].n_unique() == 40
    assert lists.join(bought, on=["user", "item"]).height == 0
    if top_k == 100:
        assert lists.height == 40 * 30 - bought.height
    held = lists_of(folder / "run", tmp_path, top_k=top_k, exclude="train").join(bought, on=["user", "item"])
    assert held.height > 0


def test_the_mask_of_a_run_is_that_of_its_lists(base, tmp_path):
    folder, rows = base
    config = configuration.override(experiment.read_config(folder / "run"), {"evaluate.mask": "all_behaviors"})
    lists = lists_of(folder / "run", tmp_path, config=config, top_k=100)
    assert lists.height == 40 * 30 - met(rows, "view", "cart", "buy").height
    assert lists.join(met(rows, "view", "cart", "buy"), on=["user", "item"]).height == 0


@pytest.mark.realdata
def test_no_list_of_retail_rocket_holds_a_purchase(real_data):
    """The model that offers most of them: it ranks what was viewed and carted first."""
    config = configuration.load("own_items", str(real_data("retail_rocket")), models.entry("own_items").config)
    built = experiment.build(config)
    loaded, target = built.dataset, built.dataset.info.target
    pairs = sum(split[target].astype(int) for split in (loaded.train, loaded.valid, loaded.test))
    users = loaded.users.raw(np.flatnonzero(np.diff(loaded.test[target].indptr))[:500])
    offered = {}
    for exclude in ("known", "train"):
        options = {"top_k": 10, "behaviors": [target], "users": users, "exclude": exclude}
        (lists,) = recommend.make(built.model, {}, built.graphs, loaded, **options)
        user = loaded.users.index(lists.table["user"].to_list())
        item = loaded.items.index(lists.table["item"].to_list(), "item")
        offered[exclude] = int((pairs[user, item] > 0).sum())
    assert offered["known"] == 0 < offered["train"]


def test_data_that_have_moved_are_named(twelve, tmp_path):
    (tmp_path / "elsewhere.csv").write_text(TWELVE, encoding="utf-8")
    config = experiment.read_config(twelve / "run").model_copy(update={"dataset": str(tmp_path / "gone.csv")})
    lists = lists_of(twelve / "run", tmp_path, config=config, dataset=tmp_path / "elsewhere.csv")
    assert lists.height == 4
    tables = experiment.evaluate_run(twelve / "run", config, dataset=tmp_path / "elsewhere.csv")
    assert tables["test"]["buy"]["users"] == 3
    loaded = experiment.restore(twelve / "run")[0].dataset
    assert experiment.restore(twelve / "run", config, dataset=loaded)[0].dataset is loaded
