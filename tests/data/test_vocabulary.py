"""Vocabulary: raw ids of any type, there and back."""

from __future__ import annotations

import datetime

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mbjax import errors
from mbjax.data import Vocabulary

ANY_IDS = st.one_of(
    st.lists(st.integers(-(2**63), 2**63 - 1), unique=True, max_size=20),
    st.lists(st.text(max_size=8).filter(lambda t: t.isprintable() or "\0" in t), unique=True, max_size=20),
    st.lists(st.binary(max_size=8), unique=True, max_size=20),
    st.lists(st.floats(allow_nan=False).filter(lambda x: x != 0), unique=True, max_size=20),
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ids=ANY_IDS)
def test_ids_of_any_type_come_back_from_parquet(tmp_path, ids):
    kind = {int: pl.Int64, str: pl.String, bytes: pl.Binary, float: pl.Float64}[type(ids[0]) if ids else int]
    before = Vocabulary.from_series(pl.Series(ids, dtype=kind))
    before.to_parquet(tmp_path / "ids.parquet")
    after = Vocabulary.from_parquet(tmp_path / "ids.parquet")
    assert after == before and after.ids.tolist() == ids
    np.testing.assert_array_equal(after.index(ids), np.arange(len(ids)))
    assert after.raw(np.arange(len(ids))).tolist() == ids
    assert [p.name for p in tmp_path.iterdir()] == ["ids.parquet"]


def test_trailing_nul_is_not_lost():
    assert Vocabulary(["a", "a\0"]).index(["a\0", "a"]).tolist() == [1, 0]


def test_dates_are_ids_too():
    days = [datetime.date(2024, 5, 31), datetime.date(2023, 1, 1)]
    assert Vocabulary.from_series(pl.Series(days)).index(days).tolist() == [0, 1]


def test_text_finds_integer_ids_as_a_command_line_gives_them():
    assert Vocabulary([30, 10, 20]).index(["10", 20]).tolist() == [1, 2]


def test_an_unknown_id_is_named_with_a_near_one():
    with pytest.raises(errors.DataError, match="item 'shoe_1O' is not in the data set. The nearest .* 'shoe_10'"):
        Vocabulary(["shoe_10", "hat_3"]).index(["hat_3", "shoe_1O"], "item")
    with pytest.raises(errors.DataError, match="user '7' is not"):
        Vocabulary.range(7).index([7])
    with pytest.raises(errors.DataError, match="no ids at all"):
        Vocabulary.range(0).index([7])


def test_range_is_known_as_such():
    assert Vocabulary.range(3).is_range and Vocabulary.range(0).is_range
    assert not Vocabulary([0, 2, 1]).is_range and not Vocabulary(["0"]).is_range


def test_repeated_ids_are_a_mistake():
    with pytest.raises(ValueError, match="1 ids of a vocabulary occur more than once"):
        Vocabulary([1, 1]).index([1])


def test_a_damaged_file_is_an_error(tmp_path):
    (tmp_path / "ids.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(errors.DataError, match="ids.parquet: not a vocabulary"):
        Vocabulary.from_parquet(tmp_path / "ids.parquet")
