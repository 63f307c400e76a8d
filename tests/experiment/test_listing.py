"""Ranked lists of runs of small logs: what is in them, what is left out, what is said."""

from __future__ import annotations

import csv
import itertools
import random
import re
import types

import numpy as np
import polars as pl
import pytest

from mbjax import candidates, cli, errors, experiment, models, recommend, seen
from mbjax import config as configuration
from mbjax.experiment import audience
from mbjax.experiment import listing as making
from mbjax.models import ease_penalty

RULE = candidates.rule()
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
    """Of one behavior: the others would be compiled too."""
    config = options.pop("config", None) or experiment.read_config(workdir)
    config = configuration.override(config, {"evaluate.behaviors": (behavior.partition(".")[0],)})
    return pl.read_parquet(experiment.recommend(workdir, config, out=folder, **options)[behavior])


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


def test_pairs_out_of_reach_are_said_after_the_table(tmp_path, capsys):
    log = "user,item,behavior,time\n" + "".join(
        f"{user},{item},{behavior},{time}\n"
        for user in "ab"
        for time, (item, behavior) in enumerate(itertools.product("xyz", ("view", "buy")))
    )
    (tmp_path / "viewed.csv").write_text(log, encoding="utf-8")
    experiment.train(settings(tmp_path / "viewed.csv", evaluate__mask="all_behaviors"), tmp_path / "run")
    experiment.evaluate_run(tmp_path / "run")
    said = "buy: 2 of 2 held-out pairs are items that the user met by another behavior"
    assert capsys.readouterr().out.count(said) == 2


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


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"checkpoint": "bset"}, "unknown checkpoint 'bset'. Did you mean 'best'"),
        ({"top_k": 2.5}, "top_k is 2.5: it is a whole number"),
        ({"top_k": "3"}, "top_k is '3': it is a whole number"),
        ({"dataset": pl.DataFrame()}, "dataset is of type DataFrame; expected a path"),
    ],
)
def test_arguments_of_another_type_are_named(twelve, tmp_path, options, message):
    with pytest.raises(errors.ConfigError, match=message):
        experiment.recommend(twelve / "run", **options)
    assert not (twelve / "run" / "recommendations").exists()


def test_where_there_is_no_run_no_folder_is_made(tmp_path):
    with pytest.raises(errors.ConfigError, match="no run in"):
        experiment.recommend(tmp_path / "typo")
    assert not list(tmp_path.iterdir())


def test_one_text_is_one_user_and_one_split(twelve, tmp_path):
    """It is not taken apart into its letters."""
    assert set(lists_of(twelve / "run", tmp_path, users="b")["user"]) == {"b"}
    with pytest.raises(errors.DataError, match="user 'ab' is not in the data set"):
        experiment.recommend(twelve / "run", users="ab")
    tables = experiment.evaluate_run(str(twelve / "run"), splits="test", per_user=str(tmp_path / "users.parquet"))
    assert list(tables) == ["test"] and (tmp_path / "users.parquet").exists()


# Users whom training has not seen.


def table_of(lists, user):
    return lists.filter(pl.col("user") == user).select("rank", "item", "score").rows()


def test_a_user_is_listed_from_his_events_alone(base, tmp_path, capsys):
    """A known user's training history under another name gives his list; it is exact for item neighbors."""
    folder, _ = base
    dataset = experiment.restore(folder / "run")[0].dataset
    mine = {b: dataset.items.raw(dataset.train[b][[3]].indices).tolist() for b in dataset.info.behaviors}
    events = {"nobody": mine, "stranger": {"view": ["i00", "new", "i01"]}, "void": {"view": ["new"], "like": ["i00"]}}
    options = {"top_k": 30, "exclude": "none"}
    theirs = lists_of(folder / "run", tmp_path / "old", users=["u03"], **options)
    lists = lists_of(folder / "run", tmp_path, histories=events, **options)
    assert lists["user"].unique(maintain_order=True).to_list() == ["nobody", "stranger"]
    assert table_of(lists, "nobody") == table_of(theirs, "u03")
    said = capsys.readouterr().out
    assert "1 event of other behaviors left out (like); the model knows view, cart, buy" in said
    assert "2 events of 1 item that training has not seen left out (new)" in said
    assert "no list for 1 user without a usable event (void)" in said
    assert "2 users whom training has not seen, from their events: exact for itemknn" in said
    # Of those who are asked for, the others have theirs.
    events["silent"] = {}
    lists = lists_of(folder / "run", tmp_path, histories=events, users=["silent", "nobody", "void", "void"], **options)
    assert lists["user"].unique().to_list() == ["nobody"] and table_of(lists, "nobody") == table_of(theirs, "u03")
    assert "no list for 2 users without a usable event (silent, void)" in capsys.readouterr().out
    with pytest.raises(errors.DataError, match="nobody to list for: no list for 1 user without a usable event .void."):
        lists_of(folder / "run", tmp_path, histories=events, users="void")
    with pytest.raises(errors.DataError, match="user 'who' is not in the histories that were given"):
        lists_of(folder / "run", tmp_path, histories=events, users=["nobody", "void", "who"])
    # What they have is left out, by the behavior or by any.
    lists = lists_of(folder / "run", tmp_path, histories=events, top_k=30, users=["nobody"])
    assert "without a usable event" not in capsys.readouterr().out
    assert sorted({f"i{n:02d}" for n in range(30)} - set(mine["buy"])) == sorted(lists["item"])
    config = configuration.override(experiment.read_config(folder / "run"), {"evaluate.mask": "all_behaviors"})
    lists = lists_of(folder / "run", tmp_path, config=config, histories=events, top_k=30)
    assert not set(lists.filter(user="nobody")["item"]) & {item for items in mine.values() for item in items}
    assert lists.filter(user="stranger").height == 28


@pytest.mark.exhaustive
def test_newer_events_of_a_known_user_count(base, tmp_path, capsys):
    folder, rows = base
    before = lists_of(folder / "run", tmp_path, users=["u03"], top_k=30)
    chosen = before["item"][0]
    (tmp_path / "today.csv").write_text(f"user,item,behavior,time\nu03,{chosen},buy,x\n", encoding="utf-8")
    lists = lists_of(folder / "run", tmp_path, histories=tmp_path / "today.csv", top_k=30)
    assert set(lists["user"]) == {"u03"}
    assert set(lists["item"]) == set(before["item"]) - {chosen}
    assert lists["score"].to_list() != before["score"].to_list()[1:]
    assert "and of 1 user whom it has, from all that is known of them" in capsys.readouterr().out
    with pytest.raises(errors.DataError, match="user 'u04' is not in the histories that were given"):
        lists_of(folder / "run", tmp_path, histories=tmp_path / "today.csv", users=["u04"])
    with pytest.raises(errors.ConfigError, match="exclude=train leaves out what the evaluation masks"):
        lists_of(folder / "run", tmp_path, histories=tmp_path / "today.csv", exclude="train")
    with pytest.raises(
        errors.DataError, match="no event is of an item and a behavior that the run knows: 1 event of oth"
    ):
        lists_of(folder / "run", tmp_path, histories={"new": {"like": ["i00"]}})
    # Whoever has looked at new items alone is ranked from what was known of him.
    unusable = {"u03": {"view": ["new"], "like": ["i00"]}, "new": {"view": ["new"]}}
    lists = lists_of(folder / "run", tmp_path, histories=unusable, top_k=30)
    nothing = lists_of(folder / "run", tmp_path, histories={"u03": {}, "new": {"view": ["i00"]}}, top_k=30)
    assert set(lists["item"]) == set(before["item"]) and lists.equals(nothing.filter(user="u03"))
    # What both know counts once.
    viewed = rows.filter(user="u03", behavior="view")["item"].to_list()
    same = {"u03": {"view": [*viewed, viewed[0]]}, "new": {"view": ["i00"]}}
    again = lists_of(folder / "run", tmp_path, histories=same, top_k=30)
    assert again.filter(user="u03").equals(nothing.filter(user="u03"))


def test_a_user_who_was_dropped_gets_a_list(twelve, tmp_path):
    with pytest.raises(
        errors.DataError, match="'d' is in the log, but was dropped by .*require_target_train.*--for=LOG"
    ):
        lists_of(twelve / "run", tmp_path, users=["d"])
    lists = lists_of(twelve / "run", tmp_path, "view", histories=twelve / "log.csv", top_k=9)
    assert lists.filter(user="d")["item"].to_list() == ["w"]  # the others he has viewed
    assert lists["user"].unique(maintain_order=True).to_list() == ["a", "b", "c", "d"]


def test_models_that_cannot_say_so_and_list_whom_they_know(base):
    """New events of known users are left out, though the model cannot take them in."""
    folder, _ = base
    built = experiment.build(settings(folder / "base.csv", "cmf", "view,cart,buy", model__embedding_size=4))
    run = audience.Run(built, built.start().params)
    with pytest.raises(errors.IncompatibleError, match="'cmf' cannot rank for users whom it was not trained on"):
        audience.of_histories(run, {"u03": {"buy": ["i00"]}, "new": {"buy": ["i00"]}}, RULE)
    found = audience.of_histories(run, {"u07": {"buy": ["i00"]}, "u03": {"buy": ["i01"]}}, RULE)
    assert (found.model, found.users.tolist(), found.ids.to_list()) == (built.model, [7, 3], ["u07", "u03"])
    before = seen.pairs(built.dataset, "buy") != 0
    after = found.pairs("buy").left_out != 0
    assert after[7, 0] and after[3, 1] and set(np.flatnonzero(np.diff(after.tocsr().indptr))) == {3, 7}
    assert (after[[3, 7]].toarray() >= before[[3, 7]].toarray()).all()
    assert any("cmf cannot: its users are parameters" in line for line in found.lines)
    # And the log that grew: known users as ever, new ones are counted.
    grown = run._replace(newcomers=audience.events.read({"new": {"buy": ["i00"]}}, None, *vocabularies(built)))
    given = audience.of_histories(run, {"u07": {"buy": ["i00"]}}, RULE._replace(repeat=True))
    assert any("held out from training may come back" in line for line in given.lines)
    with pytest.raises(errors.IncompatibleError, match="user 'new' is new in the log and gets no list: cmf cannot"):
        making._places(built.dataset.users.series, ["u03", "new"], grown)
    with pytest.raises(errors.DataError, match="^user 'nobody' is not in the data set[^:]*$"):
        making._places(built.dataset.users.series, ["nobody"], run)
    found = audience.of_run(grown, RULE)
    assert found.model is built.model and len(found.ids) == 40
    assert any(line.startswith("new users get no list (new): cmf cannot") for line in found.lines)


def vocabularies(built):
    return built.dataset.users, built.dataset.items, built.dataset.info.behaviors


@pytest.mark.exhaustive
def test_a_log_that_has_grown_is_solved_with_the_penalty_of_the_run(base, tmp_path, monkeypatch):
    """It has no validation pairs to choose another one by."""
    folder, _ = base
    monkeypatch.setattr(ease_penalty, "choose", lambda *given: 30.0)
    log = (folder / "base.csv").read_text(encoding="utf-8")
    (tmp_path / "base.csv").write_text(log + "zz,i05,view,1900000001\n", encoding="utf-8")
    lists = {}
    for penalty in ("auto", 30.0, ease_penalty.DEFAULT):
        run = tmp_path / str(penalty)
        experiment.train(settings(folder / "base.csv", "ease", "view,cart,buy", model__penalty=penalty), run)
        options = {"allow_new_data": True, "dataset": tmp_path / "base.csv"}
        lists[penalty] = lists_of(run, tmp_path, **options)
    assert lists["auto"].equals(lists[30.0]) and not lists["auto"].equals(lists[ease_penalty.DEFAULT])


@pytest.mark.exhaustive
def test_a_log_that_has_grown_is_listed_on_request(base, tmp_path, capsys):
    folder, rows = base
    old = lists_of(folder / "run", tmp_path, users=["u00"], top_k=30)
    bought = old["item"][0]
    more = f"u00,{bought},buy,1900000000\nzz,i05,view,1900000001\nzz,i99,view,1900000002\n"
    log = (folder / "base.csv").read_text(encoding="utf-8")
    (tmp_path / "base.csv").write_text(log + more, encoding="utf-8")
    options = {"dataset": tmp_path / "base.csv", "top_k": 30}
    remedy = "other data.*has grown.* --dataset=.*base.csv --allow-new-data.*allow_new_data=True"
    with pytest.raises(errors.CheckpointError, match=remedy):
        lists_of(folder / "run", tmp_path, **options)
    capsys.readouterr()
    lists = lists_of(folder / "run", tmp_path, allow_new_data=True, **options)
    assert lists["user"].unique(maintain_order=True).to_list() == [*(f"u{n:02d}" for n in range(40)), "zz"]
    assert lists.join(met(rows, "buy"), on=["user", "item"]).height == 0
    assert set(lists.filter(user="u00")["item"]) == set(old["item"]) - {bought}
    assert set(lists.filter(user="zz")["item"]) == {f"i{n:02d}" for n in range(30)}
    said = capsys.readouterr().out
    assert "base.csv as it is now: 1 more pair of users and items of the run than its splits had, 1 user whom" in said
    assert "1 event of 1 item that training has not seen left out (i99)" in said
    assert "lists of new users are exact for itemknn" in said
    # Events of today besides.
    capsys.readouterr()
    lists = lists_of(folder / "run", tmp_path, allow_new_data=True, histories={"zz": {"buy": ["i07"]}}, **options)
    assert set(lists["user"]) == {"zz"} and "i07" not in set(lists["item"])
    assert "1 user whom training has not seen, from their events (of 1 user the log has some too" in (
        capsys.readouterr().out
    )
    both = {"zz": {"view": ["i05"], "buy": ["i07"]}}
    assert lists.equals(lists_of(folder / "run", tmp_path, allow_new_data=True, histories=both, **options))
    # Nothing new, nothing else.
    same = lists_of(folder / "run", tmp_path, allow_new_data=True, users=["u00"], top_k=30)
    assert same.equals(old)
    # The log may be a folder of parts, and a data set of another kind is refused.
    (tmp_path / "parts").mkdir()
    for name, text in (("1.csv", log), ("2.csv", "user,item,behavior,time\n" + more)):
        (tmp_path / "parts" / name).write_text(text, encoding="utf-8")
    parts = lists_of(folder / "run", tmp_path, allow_new_data=True, dataset=tmp_path / "parts", users=["zz"], top_k=30)
    assert set(parts["item"]) == {f"i{n:02d}" for n in range(30)}
    with pytest.raises(errors.IncompatibleError, match="'demo' is no log: new data are allowed for logs only"):
        lists_of(folder / "run", tmp_path, allow_new_data=True, dataset="demo")
    # Another log is not the old one, only longer.
    (tmp_path / "base.csv").write_text(log[: len(log) // 2].rpartition("\n")[0] + "\n" + more, encoding="utf-8")
    with pytest.raises(errors.CheckpointError, match="this is not the same log, only longer"):
        lists_of(folder / "run", tmp_path, allow_new_data=True, **options)
    # Nor is one of as many pairs of the same users and items.
    other = re.sub(r"i(\d\d)", lambda item: f"i{(int(item[1]) + 1) % 30:02d}", log)
    (tmp_path / "base.csv").write_text(other + more, encoding="utf-8")
    with pytest.raises(errors.CheckpointError, match=r"base\.csv lacks [\d,]+ of [\d,]+ '\w+' pairs that run folder"):
        lists_of(folder / "run", tmp_path, allow_new_data=True, **options)


def test_the_command_line_asks_for_the_same(twelve, tmp_path, capsys):
    out = f"--out={tmp_path / 'lists'}"
    (tmp_path / "today.csv").write_text("user,item,behavior,time\nnew,x,buy,9\n", encoding="utf-8")
    assert cli.recommend_main([f"--workdir={twelve / 'run'}", f"--for={tmp_path / 'today.csv'}", out]) == 0
    assert pl.read_parquet(tmp_path / "lists" / "buy.parquet")["item"].to_list() == ["y", "w", "z"]
    (tmp_path / "log.csv").write_text(TWELVE + "e,x,buy,9\n", encoding="utf-8")
    options = [f"--workdir={twelve / 'run'}", f"--dataset={tmp_path / 'log.csv'}", out]
    assert cli.recommend_main(options) == 4
    assert cli.recommend_main([*options, "--allow-new-data", "--exclude=none"]) == 0
    assert pl.read_parquet(tmp_path / "lists" / "buy.parquet")["user"].n_unique() == 5
    assert "log.csv as it is now: " in capsys.readouterr().out


def test_news_that_no_split_uses_are_read_all_the_same(twelve, tmp_path, capsys):
    """A new user without a purchase, and one whom the split dropped: neither changes the fingerprint."""
    (tmp_path / "log.csv").write_text(TWELVE + "e,x,view,9\n", encoding="utf-8")
    lists = lists_of(twelve / "run", tmp_path, dataset=tmp_path / "log.csv", allow_new_data=True, top_k=4)
    assert {*lists["user"]} == {"a", "b", "c", "d", "e"}
    assert "2 users whom training has not seen" in capsys.readouterr().out


# What a list may hold.


def test_three_lists_have_files_of_their_own(base, tmp_path, capsys):
    folder, rows = base
    files = experiment.recommend(folder / "run", out=tmp_path, top_k=100, lists=candidates.LISTS, users=["u03", "u04"])
    names = [f"{name}{kind}" for name in ("view", "cart", "buy") for kind in ("", ".continue", ".discover")]
    assert files == {name: tmp_path / f"{name}.parquet" for name in names}
    go_on, discover = (pl.read_parquet(files[f"buy.{kind}"]) for kind in ("continue", "discover"))
    other, bought = met(rows, "view", "cart"), met(rows, "buy")
    wanted = other.join(bought, on=["user", "item"], how="anti").filter(pl.col("user").is_in(["u03", "u04"]))
    assert set(go_on.select("user", "item").rows()) == set(wanted.rows())
    assert discover.join(met(rows, "view", "cart", "buy"), on=["user", "item"]).height == 0
    assert pl.read_parquet(files["buy"]).height == go_on.height + discover.height
    said = " ".join(capsys.readouterr().out.split())
    assert "continue: lists of items that the user has met by another behavior" in said
    assert "discover: lists of items that the user has not met" in said
    assert "buy, continue: lists of 2 users: " in said and "buy: lists of 2 users: " in said
    assert "buy, continue: 2 users (u03, u04) get fewer than 30 items" in said


def test_who_has_nothing_to_go_on_with_is_said_in_one_line(twelve, tmp_path, capsys):
    lists = lists_of(twelve / "run", tmp_path, "buy.continue", top_k=9, lists="continue")
    assert lists.select("user", "item").rows() == [("b", "w")]
    said = capsys.readouterr().out.splitlines()
    assert "buy, continue: 2 users (a, c) get no list: of what they have met nothing is left to recommend" in said


def test_bought_items_may_come_back(twelve, tmp_path, capsys):
    lists = lists_of(twelve / "run", tmp_path, top_k=9, repeat=True, users=["a"])
    assert set(lists["item"]) == set("xyzw")
    said = " ".join(capsys.readouterr().out.split())
    assert "items met by the behavior of the list may come back (repeat)" in said
    # Each of the three users with a purchase in training has one that is tested, and one for validation if there is.
    dataset = experiment.restore(twelve / "run")[0].dataset
    held = sum(split["buy"].nnz for split in (dataset.valid, dataset.test))
    assert f"{held} pairs held out from training may come back, ranked as if they had not happened" in said
    lists_of(twelve / "run", tmp_path, top_k=9, exclude="none")
    assert "pairs held out from training" in " ".join(capsys.readouterr().out.split())
    lists_of(twelve / "run", tmp_path, top_k=9)
    assert "held out from training" not in capsys.readouterr().out
    with pytest.raises(errors.ConfigError, match="repeat lets items come back, and exclude=none leaves nothing out"):
        experiment.recommend(twelve / "run", repeat=True, exclude="none")
    config = configuration.override(experiment.read_config(twelve / "run"), {"evaluate.mask": "all_behaviors"})
    with pytest.raises(errors.ConfigError, match="list=continue is of items.*mask=all_behaviors leaves these out"):
        experiment.recommend(twelve / "run", config, lists="continue")
    assert not (twelve / "run" / "recommendations").exists()


def test_files_of_a_shop_decide_of_the_lists(base, tmp_path, capsys):
    folder, rows = base
    (tmp_path / "stock.txt").write_text("".join(f"i{n:02d}\n" for n in range(20)) + "gone\n")
    (tmp_path / "brands.csv").write_text("item,brand\n" + "".join(f"i{n:02d},b{n // 10}\n" for n in range(15)))
    options = [f"--workdir={folder / 'run'}", "--behaviors=buy", f"--out={tmp_path / 'lists'}", "--top-k=6"]
    shop = [f"--available={tmp_path / 'stock.txt'}", f"--groups={tmp_path / 'brands.csv'}", "--max-per-group=2"]
    assert cli.recommend_main([*options, "--top-k=30"]) == 0
    whole = pl.read_parquet(tmp_path / "lists" / "buy.parquet")
    capsys.readouterr()
    assert cli.recommend_main([*options, *shop]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "stock.txt: 1 id of no item that the run knows left out (gone)" in said
    assert "items that may be listed: 20 of 30" in said
    assert "at most 2 items of each of 2 groups in a list" in said
    assert "5 items of no group: as many of them in a list as there are" in said
    number = pl.col("item").str.slice(1).cast(pl.Int64)
    group = pl.when(number < 15).then(number // 10).otherwise(pl.int_range(pl.len()) + 9)
    wanted = (
        whole.filter(number < 20)
        .filter(pl.col("rank").rank("ordinal").over("user", group) <= 2)
        .group_by("user", maintain_order=True)
        .head(6)
    )
    lists = pl.read_parquet(tmp_path / "lists" / "buy.parquet")
    assert lists.select("user", "item", "score").equals(wanted.select("user", "item", "score"))
    assert cli.recommend_main([*options, "--available=nowhere.txt"]) == 3
    assert "nowhere.txt: cannot be read" in capsys.readouterr().err


def test_new_users_and_grown_logs_have_three_lists_too(base, tmp_path):
    folder, rows = base
    events = {"nobody": {"view": ["i00", "i01"], "cart": ["i01"], "buy": ["i02"]}, "u03": {"view": ["i00"]}}
    options = {"histories": events, "top_k": 30, "lists": ["continue", "discover"]}
    config = configuration.override(experiment.read_config(folder / "run"), {"evaluate.behaviors": ("buy",)})
    files = experiment.recommend(folder / "run", config, out=tmp_path, **options)
    go_on, discover = (pl.read_parquet(files[f"buy.{kind}"]) for kind in ("continue", "discover"))
    assert set(go_on.filter(user="nobody")["item"]) <= {"i00", "i01"}  # as far as neighbors speak for them
    assert not {"i00", "i01", "i02"} & set(discover.filter(user="nobody")["item"])
    mine = rows.filter(user="u03")
    known = {b: set(mine.filter(behavior=b)["item"]) for b in ("view", "cart", "buy")}
    assert set(go_on.filter(user="u03")["item"]) == (known["view"] | known["cart"] | {"i00"}) - known["buy"]
    log = (folder / "base.csv").read_text(encoding="utf-8") + "zz,i05,view,1900000001\nzz,i06,buy,1900000002\n"
    (tmp_path / "base.csv").write_text(log, encoding="utf-8")
    grown = {"dataset": tmp_path / "base.csv", "allow_new_data": True}
    lists = lists_of(folder / "run", tmp_path, "buy.continue", lists="continue", top_k=30, repeat=True, **grown)
    assert set(lists.filter(user="zz")["item"]) == {"i05", "i06"}
    assert set(lists.filter(user="u03")["item"]) == known["view"] | known["cart"] | known["buy"]


def test_a_behavior_that_is_not_ranked_has_no_lists():
    """A model of the target alone would give the target's lists under another name."""
    of = types.SimpleNamespace
    made = of(model=of(tasks=("buy",)), config=of(model_name="bpr_mf"))
    making._check_ranked(made, ("buy",))
    making._check_ranked(of(model=of(tasks=()), config=made.config), ("view",))
    with pytest.raises(errors.ConfigError, match="bpr_mf was trained on buy alone .* its lists of 'view' would be"):
        making._check_ranked(made, ("buy", "view"))
