"""Vocabulary: raw ids of any type, there and back."""

from __future__ import annotations

import datetime
import decimal
import zoneinfo

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mbjax import errors
from mbjax.data import Vocabulary


def lists_of(values):
    return st.lists(values, unique=True, max_size=12)


BITS = {pl.Int8: -7, pl.Int16: -15, pl.Int32: -31, pl.Int64: -63, pl.Int128: -127}
BITS |= {pl.UInt8: 8, pl.UInt16: 16, pl.UInt32: 32, pl.UInt64: 64}
FEW = ["b", "a", "ä", "", "a\0"]
TIMES = st.datetimes(datetime.datetime(1, 1, 2), datetime.datetime(9999, 12, 30))
COLUMNS = st.one_of(
    *(
        lists_of(st.integers(-(2**-bits) if bits < 0 else 0, 2 ** abs(bits) - 1)).map(
            lambda v, k=k: pl.Series(v, dtype=k)
        )
        for k, bits in BITS.items()
    ),
    lists_of(st.text(max_size=8)).map(lambda v: pl.Series(v, dtype=pl.String)),
    lists_of(st.binary(max_size=8)).map(lambda v: pl.Series(v, dtype=pl.Binary)),
    lists_of(st.booleans()).map(lambda v: pl.Series(v, dtype=pl.Boolean)),
    lists_of(st.floats(allow_nan=False).filter(lambda x: x != 0)).map(lambda v: pl.Series(v, dtype=pl.Float64)),
    lists_of(st.floats(width=32, allow_nan=False).filter(lambda x: x != 0)).map(
        lambda v: pl.Series(v, dtype=pl.Float32)
    ),
    lists_of(st.integers(-(10**9), 10**9)).map(
        lambda v: pl.Series([decimal.Decimal(x) / 100 for x in v], dtype=pl.Decimal(20, 2))
    ),
    lists_of(st.dates()).map(lambda v: pl.Series(v, dtype=pl.Date)),
    lists_of(TIMES).map(lambda v: pl.Series(v, dtype=pl.Datetime("us"))),
    lists_of(st.integers(0, 2**40)).map(lambda v: pl.Series(v).cast(pl.Datetime("ms", "Europe/Berlin"))),
    lists_of(st.integers(-(2**40), 2**40)).map(lambda v: pl.Series(v).cast(pl.Duration("us"))),
    lists_of(st.sampled_from(FEW)).map(lambda v: pl.Series(v, dtype=pl.Categorical)),
    lists_of(st.sampled_from(FEW)).map(lambda v: pl.Series(v, dtype=pl.Enum(FEW))),
)


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(column=COLUMNS)
def test_ids_of_any_type_come_back_with_it(tmp_path, column):
    before = Vocabulary(column)
    before.to_parquet(tmp_path / "ids.parquet")
    after = Vocabulary.from_parquet(tmp_path / "ids.parquet")
    assert after == before and after.series.dtype == column.dtype
    np.testing.assert_array_equal(after.index(column.to_list()), np.arange(len(column)))
    backwards = np.arange(len(column))[::-1]
    assert after.raw(backwards).tolist() == column.to_list()[::-1]
    assert after.column(backwards).equals(column.reverse(), check_dtypes=True)
    assert [p.name for p in tmp_path.iterdir()] == ["ids.parquet"]


def test_trailing_nul_is_not_lost():
    assert Vocabulary(["a", "a\0"]).index(["a\0", "a"]).tolist() == [1, 0]
    assert Vocabulary(np.array(["b", "a"])).index(["a", "b"]).tolist() == [1, 0]


def test_text_finds_ids_of_other_types_as_a_command_line_gives_them():
    assert Vocabulary([30, 10, 20]).index(["10", 20]).tolist() == [1, 2]
    days = [datetime.date(2024, 5, 31), datetime.date(2023, 1, 1)]
    assert Vocabulary(days).index(["2023-01-01", days[0]]).tolist() == [1, 0]
    assert Vocabulary([b"b", b"a"]).index(["a", b"b"]).tolist() == [1, 0]
    at = datetime.datetime(2024, 5, 31, 12, tzinfo=zoneinfo.ZoneInfo("Europe/Berlin"))
    assert Vocabulary(pl.Series([at])).index(["2024-05-31 12:00:00+02:00"]).tolist() == [0]
    with pytest.raises(errors.DataError, match="user '010' is not"):  # another id, where ids are texts
        Vocabulary([30, 10, 20]).index(["010"])


@pytest.mark.parametrize("ids", [pl.Series([[1], [2]]), pl.Series([1, None]), pl.Series([{"a": 1}]), [object()]])
def test_what_is_no_single_value_is_no_id(ids):
    with pytest.raises(ValueError, match="a vocabulary needs single values without nulls"):
        Vocabulary(ids)


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


def test_places_of_a_column():
    texts = Vocabulary(["7", "b"])
    assert texts.places(pl.Series(["b", "x", "b", "7"])).tolist() == [1, -1, 1, 0]
    assert texts.places(pl.Series([7, 8])).tolist() == [0, -1]
    assert Vocabulary([7, 8]).places(pl.Series(["8", "7", "9"])).tolist() == [1, 0, -1]
    assert texts.places(pl.Series([], dtype=pl.String)).tolist() == []


def test_numbers_are_found_as_people_write_them():
    assert [Vocabulary([1.0, 2.5]).find(text) for text in ("1", "1.0", "2.5", "2")] == [0, 0, 1, None]


def test_a_truth_value_is_no_number():
    """A mask given for ids would otherwise name the ids 1 and 0."""
    for ids in ([0, 1], [0.0, 1.0], ["0", "1", "True"]):
        known = Vocabulary(ids)
        assert [known.find(raw) for raw in (True, False, np.True_, np.False_)] == [None] * 4
        assert known.places(pl.Series([True, False])).tolist() == [-1, -1]
    with pytest.raises(errors.DataError, match="user 'True' is not in the data set"):
        Vocabulary([0, 1]).index(np.array([True, False]))
    answers = Vocabulary([True, False])
    assert answers.index([False, "True", np.True_]).tolist() == [1, 0, 0]
    assert answers.places(pl.Series([False, True])).tolist() == [1, 0]


@pytest.mark.parametrize("raw", [["a"], {"a"}, {"a": 1}, np.array(["a"]), pl.Series(["a"])])
def test_what_is_no_single_value_is_not_found(raw):
    known = Vocabulary(["a"])
    assert known.find(raw) is None
    with pytest.raises(errors.DataError, match="is not in the data set. The nearest of its 1 ids is 'a'"):
        known.index([raw])
