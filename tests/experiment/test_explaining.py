"""Explanations of runs: shares that add up to the score, for every model that can, in words and as a table."""

from __future__ import annotations

import jax
import numpy as np
import polars as pl
import pytest
import scipy.sparse
import usual

from mbjax import config as configuration
from mbjax import data, errors, experiment, explain, models, topk, types
from mbjax.experiment import explaining, runs

LOG = "user,item,behavior,time\n" + "".join(
    f"u{u},i{i},{behavior},{t}\n"
    for u in range(12)
    for t, (i, behavior) in enumerate(
        [(i, "view") for i in range(9) if (u + i) % 3]
        + [(i, "cart") for i in range(9) if (u + 2 * i) % 4 == 1]
        + [(i, "buy") for i in range(9) if (u * i) % 5 == 2 or i == u % 9]
    )
)


@pytest.fixture(scope="module")
def logs(tmp_path_factory):
    place = tmp_path_factory.mktemp("explained")
    (place / "log.csv").write_text(LOG)
    return place


def run_of(logs, model, **fields):
    place = logs / "-".join([model, *map(str, fields.values())])
    if not place.exists():
        overrides = {"log.behaviors": "view,cart,buy", "evaluate.anchors": "()"} | {
            f"model.{k}": v for k, v in fields.items()
        }
        config = configuration.load(model, str(logs / "log.csv"), models.entry(model).config, overrides=overrides)
        experiment.train(config, place)
    return place


CASES = [
    ("ease", {"penalty": "1.0", "own_columns": "kept"}),
    ("ease", {"penalty": "1.0", "form": "primal", "own_columns": "left_out"}),
    ("itemknn", {}),
    ("itemknn", {"history": "behavior"}),
    ("cross_occurrence", {}),
]


@pytest.mark.exhaustive
@pytest.mark.parametrize(("model", "fields"), usual.cases(CASES, lambda case: case is CASES[0]))
def test_shares_add_up_to_the_score(model, fields, logs):
    place = run_of(logs, model, **fields)
    made, params, _ = runs.restore(place)
    tables = topk.encode(made.model, params, made.graphs)
    score = jax.jit(made.model.score, static_argnums=(3, 4, 5))
    for behavior, user, item in (("view", "u11", "i8"), ("buy", "u3", "i4")):
        found = experiment.explain(place, user, item, behavior)
        row, column = made.dataset.user_index([user])[0], made.dataset.items.index([item], "item")[0]
        index = made.dataset.info.behaviors.index(behavior)
        scores = score(params, tables, np.array([row]), 0, made.dataset.info.num_items, index)
        assert found.score == pytest.approx(float(scores[0, column]), abs=1e-6)
        assert found.shares["share"].sum() == pytest.approx(found.score, abs=1e-5)
        size = found.shares["share"].abs().to_list()
        assert size == sorted(size, reverse=True)
        pairs = {(i, b) for i, bs in zip(*found.shares[["item", "behavior"]], strict=True) for b in bs.split(", ")}
        train = made.dataset.train
        assert pairs == {(made.dataset.items.ids[i], b) for b in train for i in train[b][[row]].indices}
        assert found.met == tuple(b for b in train if train[b][row, column])


@pytest.mark.exhaustive
def test_a_planted_pair_is_what_speaks(logs):
    """Item i1 is bought by those who viewed i0, and by nobody else."""
    lines = ["user,item,behavior,time"]
    for u in range(30):
        lines += [f"u{u},i{2 + u % 4},view,1", f"u{u},i{2 + (u + 1) % 4},buy,2", f"u{u},i{2 + (u + 2) % 4},buy,3"]
        lines += [f"u{u},i0,view,3"] if u % 3 == 0 else []
        lines += [f"u{u},i1,buy,1"] if u % 3 == 0 and u else []
    place = logs / "planted"
    place.mkdir()
    (place / "log.csv").write_text("\n".join(lines))
    overrides = {"log.behaviors": "view,buy", "penalty": 0.3}
    config = configuration.load("ease", str(place / "log.csv"), models.entry("ease").config, overrides=overrides)
    experiment.train(config, place / "run")
    found = explain.explain(place / "run", "u0", "i1")
    assert found.behavior == "buy" and found.met == ()
    assert found.shares.row(0)[:2] == ("i0", "view")
    assert found.shares["share"][0] > 0.5 * found.score > 0.1


@pytest.mark.exhaustive
def test_in_words(logs, capsys):
    place = run_of(logs, "ease", **CASES[0][1])
    capsys.readouterr()
    assert explain.main([str(place), "--user=u3", "--item=i4", "--shown=2"]) == 0
    said = capsys.readouterr().out
    found = explain.explain(place, "u3", "i4")
    first, behavior, share = found.shares.row(0)
    assert f"user u3, item i4: score {found.score:.4f} for buy" in said
    assert [first, behavior, f"{share:.4f}"] in [line.split() for line in said.splitlines()]
    assert f"{len(found.shares) - 2} more" in said and "The user has" in " ".join(said.split())


def test_items_that_lists_leave_out_are_said(logs, capsys):
    """Also where the pair is one of validation or of the test, of which training knows nothing."""
    place = run_of(logs, "itemknn")
    capsys.readouterr()
    source = runs.build(place, *runs.locate(place, None, None)).dataset
    train, test, valid = (split["buy"].toarray() for split in (source.train, source.test, source.valid))
    viewed, carted = (source.train[name].toarray() for name in ("view", "cart"))
    no_buys = (train + test + valid) == 0
    itself = "The user has the item by buy itself"
    for which, said in (
        (train > 0, f"{itself}: lists leave it out by default"),
        (test > train, f"{itself}, held out from training: lists leave it out by default"),
        (no_buys & (viewed > carted), "The user has met the item by view"),
        (no_buys & (viewed + carted == 0), "add to the score"),
    ):
        row, column = np.argwhere(which)[0]
        user, item = source.users.ids[row], source.items.ids[column]
        assert explain.main([str(place), f"--user={user}", f"--item={item}"]) == 0
        assert " ".join(capsys.readouterr().out.split()).endswith(said)
        assert explain.explain(place, user, item).left_out == ("leave it out" in said)


def test_an_item_that_was_dropped_is_said_to_be(tmp_path):
    (tmp_path / "log.csv").write_text(LOG + "u1,rare,buy,1\n")
    overrides = {"log.behaviors": "view,cart,buy", "evaluate.anchors": "()", "data.log.min_item_count": 2}
    config = configuration.load(
        "itemknn", str(tmp_path / "log.csv"), models.entry("itemknn").config, overrides=overrides
    )
    experiment.train(config, tmp_path / "run")
    with pytest.raises(errors.DataError, match="item 'rare' is in the log, but was dropped by data.log.min_item_count"):
        explain.explain(tmp_path / "run", "u1", "rare")
    for user, item in ((["u1"], "i1"), ("u1", ["i1"])):
        with pytest.raises(errors.DataError, match="1'.' is not in the data set"):
            explain.explain(tmp_path / "run", user, item)


@pytest.mark.parametrize(
    ("behavior", "met", "held", "left_out", "said"),
    [
        ("buy", (), (), False, ""),
        ("buy", ("view", "cart"), (), False, ". The user has met the item by view, cart"),
        ("buy", ("view",), (), True, ". The user has met the item by view: lists leave it out by default"),
        ("buy", (), ("cart",), False, ". The user has met the item by cart, held out from training"),
        ("view", ("cart",), ("buy",), False, ". The user has met the item by cart, and by buy, held out from training"),
    ],
)
def test_how_the_item_was_met(behavior, met, held, left_out, said):
    found = explaining.Explained("u", "i", behavior, 1.0, pl.DataFrame(), met, held, left_out)
    assert explain._met(found) == said


def test_who_cannot_is_refused_in_one_line(logs, capsys):
    place = run_of(logs, "popularity")
    capsys.readouterr()
    assert explain.main([str(place), "--user=u3", "--item=i4"]) == 2
    line = capsys.readouterr().err
    assert line.startswith("error: the scores of 'popularity' are no sums") and line.count("\n") == 1
    assert "cross_occurrence, ease, itemknn" in line
    place = run_of(logs, "itemknn")
    for arguments, problem in (
        (("u99", "i4"), "user 'u99' is not in the data set"),
        (("u3", "i99"), "item 'i99' is not in the data set"),
        (("u3", "i4", "sale"), "unknown behavior 'sale'"),
    ):
        with pytest.raises(errors.MbjaxError, match=problem):
            experiment.explain(place, *arguments)
    assert explain.main([str(place), "--user=u3"]) == 2
    assert "--item is missing" in capsys.readouterr().err


def test_those_named_are_those_that_can():
    info = types.DatasetInfo("any", 1, 1, ("view", "buy"))
    can = {name for name, entry in models.MODELS.items() if entry.build(entry.config(), info, 1).explanation}
    assert can == set(explaining.ABLE)


def test_a_table_with_pairs_that_add_nothing():
    explanation = types.Explanation((("view", "buy"),), None)
    histories = {
        name: scipy.sparse.csr_array(np.array([row])) for name, row in (("view", [1, 1, 0]), ("buy", [0, 1, 0]))
    }
    items = data.Vocabulary(["a", "b", "c"])
    found = explaining.table(np.array([[0.0, -2.0, 0.0]]), explanation, histories, items)
    expected = pl.DataFrame({"item": ["b", "a"], "behavior": ["view, buy", "view"], "share": [-2.0, 0.0]})
    assert found.equals(expected)
