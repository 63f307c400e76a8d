"""Recommendation files: who gets what, what is left out, and what is never half written."""

from __future__ import annotations

import pathlib

import jax
import numpy as np
import polars as pl
import pytest
from scipy import sparse

from mbjax import batching, errors, recommend, types
from mbjax.data import dataset, vocabulary

# Users ann, bob, eve; items 100 .. 104.
SCORES = np.asarray(
    [
        [[5, 4, 3, 2, 1], [1, 2, 3, 4, 5], [0, 0, 0, 0, 0]],  # view
        [[1, 2, 3, 4, 5], [5, 4, 3, 2, 1], [0, 7, 0, 7, 0]],  # buy
    ],
    np.float32,
)


@pytest.fixture
def data() -> dataset.Dataset:
    def csr(*pairs):
        matrix = np.zeros((3, 5), np.uint8)
        for user, item in pairs:
            matrix[user, item] = 1
        return sparse.csr_array(matrix)

    return dataset.Dataset(
        info=types.DatasetInfo("planted", 3, 5, ("view", "buy")),
        train={"view": csr((0, 0), (0, 1), (1, 4)), "buy": csr((0, 4), (2, 0), (2, 1), (2, 2), (2, 3))},
        valid={"buy": csr((0, 3))},
        test={"buy": csr((0, 2)), "view": csr((1, 3))},
        users=vocabulary.Vocabulary(["ann", "bob", "eve"]),
        items=vocabulary.Vocabulary(np.arange(100, 105)),
        mask_valid=True,
        valid_rule="file",
        fingerprint="",
    )


def read(params, tables, users, start, size, behavior):
    return jax.lax.dynamic_slice_in_dim(params[behavior], start, size, axis=1)[users]


def nothing(params, graphs):
    return ()


def model(info) -> types.Model:
    """The parameters are the scores, [K, U, I]."""
    return types.Model(info=info, graphs={}, batch=None, init=None, loss=None, encode=nothing, score=read)


def rows(data, out, behavior="buy", scores=SCORES, **options):
    given = {"top_k": 2, "behaviors": [behavior]} | options
    files = recommend.recommend(model(data.info), scores, {}, data, out=out, **given)
    return pl.read_parquet(files[behavior]).rows()


def test_lists_hold_raw_ids_ranks_and_scores(data, tmp_path):
    assert rows(data, tmp_path) == [
        ("ann", 1, 101, 2.0),  # 104 was bought, 103 and 102 too, if later
        ("ann", 2, 100, 1.0),
        ("bob", 1, 100, 5.0),
        ("bob", 2, 101, 4.0),
        ("eve", 1, 104, 0.0),  # her only candidate
    ]
    assert rows(data, tmp_path, "view") == [
        ("ann", 1, 102, 3.0),
        ("ann", 2, 103, 2.0),
        ("bob", 1, 102, 3.0),
        ("bob", 2, 101, 2.0),
        ("eve", 1, 100, 0.0),  # ties: the smaller item first
        ("eve", 2, 101, 0.0),
    ]


def test_files_and_columns(data, tmp_path):
    files = recommend.recommend(model(data.info), SCORES, {}, data, top_k=2, out=tmp_path / "a" / "b")
    assert files == {"view": tmp_path / "a" / "b" / "view.parquet", "buy": tmp_path / "a" / "b" / "buy.parquet"}
    assert sorted(p.name for p in (tmp_path / "a" / "b").iterdir()) == ["buy.parquet", "view.parquet"]
    schema = pl.read_parquet_schema(files["buy"])
    assert schema == {"user": pl.String, "rank": pl.Int32, "item": pl.Int64, "score": pl.Float32}


def test_given_users_in_their_order_once(data, tmp_path):
    found = rows(data, tmp_path, users=["eve", "ann", "eve"], top_k=1)
    assert found == rows(data, tmp_path, users=pl.DataFrame({"user": ["eve", "ann"]}), top_k=1)
    assert found == [("eve", 1, 104, 0.0), ("ann", 1, 101, 2.0)]


def test_what_is_left_out_is_chosen(data, tmp_path):
    def items(**options):
        return [r[2] for r in rows(data, tmp_path, users=["ann"], top_k=9, **options)]

    assert items() == items(exclude="known") == [101, 100]
    # As evaluated on the test split: validation pairs are masked, test pairs are the truth.
    assert items(exclude="train") == [102, 101, 100]
    assert items(exclude="none") == [104, 103, 102, 101, 100]
    # She viewed 100 and 101.
    assert items(mask="all_behaviors") == []
    assert items(exclude="train", mask="all_behaviors") == [102]
    assert items(exclude="none", mask="all_behaviors") == [104, 103, 102, 101, 100]
    # Bob has viewed 104 and 103, and bought nothing.
    assert [r[2] for r in rows(data, tmp_path, users=["bob"], top_k=9, mask="all_behaviors")] == [100, 101, 102]


def test_lists_end_where_the_items_end(data, tmp_path):
    assert rows(data, tmp_path, top_k=2_000_000_000, exclude="none") == rows(data, tmp_path, top_k=5, exclude="none")


def made(data, behavior="buy", scores=SCORES, **options):
    found = list(recommend.make(model(data.info), scores, {}, data, behaviors=[behavior], **options))
    assert [lists.behavior for lists in found] == [behavior]
    return found[0]


def test_who_gets_no_list_or_a_short_one_is_said(data):
    lists = made(data, top_k=2)
    assert (lists.users, lists.wanted, lists.short.to_list(), lists.empty.to_list()) == (3, 2, ["eve"], [])
    assert lists.lines() == ["buy: 1 user (eve) gets fewer than 2 items: no more are left to recommend"]
    lists = made(data, top_k=9, mask="all_behaviors")
    assert (lists.wanted, lists.short.to_list(), lists.empty.to_list()) == (5, ["bob", "eve"], ["ann"])
    assert lists.lines() == [
        "buy: 1 user (ann) gets no list: nothing is left to recommend",
        "buy: 2 users (bob, eve) get fewer than 5 items: no more are left to recommend",
    ]
    assert made(data, top_k=1).lines() == []


def test_many_users_are_counted_and_not_named(data):
    lists = made(data, top_k=2, scores=np.full_like(SCORES, -np.inf))
    assert lists.lines() == ["buy: 3 users (ann, bob, eve) get no list: nothing is left to recommend"]
    many = recommend.Lists("buy", "blended", lists.table, 1200, 2, lists.short, pl.Series(range(1200)), lists.level)
    assert many.lines() == ["buy: 1,200 users get no list: nothing is left to recommend"]


def test_a_list_without_an_order_is_said(data):
    lists = made(data, "view", top_k=2)
    assert lists.level.to_list() == ["eve"]
    assert lists.lines() == [
        "view: 1 user (eve) gets a list of items that all score alike, in the order of the data set"
    ]


def test_minus_infinity_is_never_recommended(data, tmp_path):
    scores = np.full_like(SCORES, -np.inf)
    scores[1, 1, 2] = 1.0
    assert rows(data, tmp_path, scores=scores) == [("bob", 1, 102, 1.0)]
    assert rows(data, tmp_path, "view", scores=scores) == []


@pytest.mark.parametrize(("batch_size", "item_tile"), [(1, 2), (2, 3), (3, 1), (2, 4)])
def test_tiles_and_batches_change_nothing(data, tmp_path, batch_size, item_tile):
    sizes = {"batch_size": batch_size, "item_tile": item_tile}
    assert rows(data, tmp_path, top_k=4, **sizes) == rows(data, tmp_path, top_k=4)


def test_a_behavior_that_is_no_file_name(data, tmp_path):
    info = data.info._replace(behaviors=("add/cart",))
    odd = dataset.Dataset(**(vars(data) | {"info": info, "train": {"add/cart": data.train["buy"]}}))
    files = recommend.recommend(model(info), SCORES, {}, odd, top_k=1, out=tmp_path)
    assert files == {"add/cart": tmp_path / "add%2Fcart.parquet"}


def test_a_failed_write_leaves_the_old_file(data, tmp_path, monkeypatch):
    before = rows(data, tmp_path)

    def fail(path, content):
        with open(path, "wb") as file:
            file.write(b"half")
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(pathlib.Path, "write_bytes", fail)
        with pytest.raises(errors.WriteError, match="disk full"):
            rows(data, tmp_path, top_k=5)
    assert [p.name for p in tmp_path.iterdir()] == ["buy.parquet"]
    assert pl.read_parquet(tmp_path / "buy.parquet").rows() == before


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"top_k": 0}, errors.ConfigError, "top_k is 0"),
        ({"behaviors": ["bye"]}, errors.ConfigError, "unknown behavior 'bye'. Did you mean 'buy'"),
        ({"exclude": "trian"}, errors.ConfigError, "unknown value of exclude 'trian'. Did you mean 'train'"),
        ({"mask": "all"}, errors.ConfigError, "unknown mask 'all'. Known: all_behaviors, same_"),
        ({"users": []}, errors.ConfigError, "no users"),
        ({"users": ["anne"]}, errors.DataError, "'anne' is not in the data set.*'ann'"),
        ({"scores": SCORES * np.nan}, errors.TrainingDivergedError, "behavior 'buy'.*nan"),
    ],
)
def test_wrong_options_are_named(data, tmp_path, options, error, message):
    with pytest.raises(error, match=message):
        rows(data, tmp_path, **options)
    assert not list(tmp_path.iterdir())


def test_lists_of_each_kind_have_a_name_of_their_own(data, tmp_path):
    options = {"top_k": 2, "out": tmp_path, "lists": ["blended", "continue"], "behaviors": ["buy"]}
    files = recommend.recommend(model(data.info), SCORES, {}, data, **options)
    assert files == {"buy": tmp_path / "buy.parquet", "buy.continue": tmp_path / "buy.continue.parquet"}
    # A behavior that is called as a list is: no file is written twice.
    info = data.info._replace(behaviors=("buy", "buy.continue"))
    odd = dataset.Dataset(**(vars(data) | {"info": info, "train": dict.fromkeys(info.behaviors, data.train["buy"])}))
    files = recommend.recommend(model(info), SCORES, {}, odd, **(options | {"behaviors": None}))
    assert list(files) == ["buy", "buy.continue", "buy.continue.blended", "buy.continue.continue"]
    assert len(list(tmp_path.iterdir())) == 4


def test_probabilities_are_given_that_what_was_met_later_does_not_come_next(data):
    """Ann bought 104 in training, 103 and 102 later: what is left of her are 100 and 101."""
    p = np.asarray([[0.1, 0.2, 0.3, 0.4, 0.25], [0.2] * 5, [0.1, 0.1, 0.1, 0.1, 1.0]])
    chances = model(data.info)._replace(probabilities=True)
    scores = np.log(np.stack([p, p])).astype(np.float32)

    def scores_of(joins=True, **options):
        (found,) = recommend.make(
            chances._replace(joins=joins), scores, {}, data, top_k=9, behaviors=["buy"], users=["ann"], **options
        )
        return dict(found.table.select("item", "score").iter_rows())

    # The model knows 104 and, joined, the validation pair 103; the test pair 102 is news to it.
    assert scores_of() == pytest.approx({101: 0.2 / 0.7, 100: 0.1 / 0.7}, rel=1e-5)
    assert scores_of(joins=False) == pytest.approx({101: 0.2 / 0.3, 100: 0.1 / 0.3}, rel=1e-5)
    # Of a part of the lists, the same numbers.
    assert scores_of(lists="discover") == {}
    assert scores_of(lists="continue") == pytest.approx({101: 0.2 / 0.7, 100: 0.1 / 0.7}, rel=1e-5)
    assert scores_of(mask="all_behaviors") == {}
    assert scores_of(available=[100]) == pytest.approx({100: 0.1 / 0.7}, rel=1e-5)
    # Nothing is taken for impossible where it may be listed.
    assert scores_of(exclude="train") == pytest.approx({102: 0.3, 101: 0.2, 100: 0.1}, rel=1e-5)
    assert scores_of(repeat=True)[102] == pytest.approx(0.3, rel=1e-5)
    assert scores_of(exclude="none")[104] == pytest.approx(0.25, rel=1e-5)
    # Ranking scores stay as they are.
    (plain,) = recommend.make(model(data.info), scores, {}, data, top_k=9, behaviors=["buy"], users=["ann"])
    assert plain.table["score"].to_list() == pytest.approx(np.log([0.2, 0.1]), rel=1e-5)


def test_a_user_who_did_what_was_certain_keeps_finite_probabilities(data):
    p = np.asarray([[1e-9, 1e-9, 1.0, 0.0, 0.0], [0.2] * 5, [0.2] * 5])
    with np.errstate(divide="ignore"):
        scores = np.log(np.stack([p, p])).astype(np.float32)
    chances = model(data.info)._replace(probabilities=True, joins=True)
    (found,) = recommend.make(chances, scores, {}, data, top_k=9, behaviors=["buy"])
    assert np.isfinite(found.table["score"].to_numpy()).all() and found.table["score"].max() <= 1.0


@pytest.mark.parametrize("probable", [False, True])
def test_many_users_get_the_lists_that_few_get(data, monkeypatch, probable):
    """All lists by one program, and each by one of its own."""
    scores = np.asarray(jax.nn.log_softmax(SCORES)) if probable else SCORES
    asked = model(data.info)._replace(probabilities=probable)
    found = []
    for most in (2**30, 0):
        monkeypatch.setattr(batching, "TOGETHER", most)
        lists = recommend.make(asked, scores, {}, data, top_k=4, lists=["blended", "continue", "discover"])
        found.append([(one.behavior, one.kind, one.table.rows()) for one in lists])
    assert found[0] == found[1] and len(found[0]) == 6
