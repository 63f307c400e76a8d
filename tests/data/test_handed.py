"""What a user hands over in Python: columns, tables, and users that are chosen."""

from __future__ import annotations

import types

import numpy as np
import polars as pl
import pytest

from mbjax import errors
from mbjax.data import handed


class Table:
    """What of a pandas table is asked for; one of two columns of a name is a table."""

    def __init__(self, **columns):
        self.columns, self.of = list(columns), columns

    def __getitem__(self, name):
        return self.of[name]


@pytest.mark.parametrize(
    "users",
    [
        ["b", "a"],
        ("b", "a"),
        iter("ba"),
        np.array(["b", "a"]),
        np.array(["b", "a"], object),
        pl.Series(["b", "a"]),
        pl.DataFrame({"any": ["b", "a"]}),
        pl.LazyFrame({"any": ["b", "a"]}),
        Table(any=np.array(["b", "a"], object)),
    ],
)
def test_users_are_chosen_by_lists_columns_and_tables(users):
    assert handed.wanted(users, "users") == ["b", "a"]


@pytest.mark.parametrize("user", ["ab", b"ab", 7, np.int64(7), np.array(7)])
def test_a_single_user_stands_for_himself(user):
    assert handed.wanted(user, "users") == [user]


@pytest.mark.parametrize("kind", [pl.DataFrame, pl.LazyFrame, lambda columns: Table(**columns)])
def test_a_table_of_several_columns_chooses_nobody(kind):
    with pytest.raises(errors.ConfigError, match="^users is a table of the columns user, age; expected one column"):
        handed.wanted(kind({"user": ["a"], "age": [7]}), "users")


def test_a_number_is_no_column():
    with pytest.raises(errors.ConfigError, match="available is the single value 3; expected a list of ids: .3."):
        handed.column(np.array(3), "available")


def test_two_columns_of_a_name_are_not_told_apart():
    table = Table(item=Table(item=[7]))
    table.columns = ["item", "user", "item"]
    with pytest.raises(errors.ConfigError, match="^histories: 2 columns are named 'item' .data.log.item.. Rename all"):
        handed.table_column(table, "item", "histories", "items", "data.log.item")


def test_a_column_that_is_the_index_is_pointed_at():
    class RangeIndex(types.SimpleNamespace):
        """That of a table which has been given none."""

    def hint(index):
        return handed.of_index(types.SimpleNamespace(index=index), ["sku", "item"])

    assert hint(types.SimpleNamespace(names=["item"])) == " It is the index of the table: give table.reset_index()."
    assert hint(types.SimpleNamespace(names=[None])) == (
        " If it is the index of the table, give table.reset_index(names='sku')."
    )
    assert hint(types.SimpleNamespace(names=["day"])) == hint(RangeIndex(names=[None])) == ""
    assert handed.of_index(pl.DataFrame({"a": [1]}), ["item"]) == ""


@pytest.mark.parametrize("kind", ["i1", "u4", "i8", "u8", "f2", "f4", "f8", "?", "U3"])
def test_an_array_is_what_its_values_are_one_by_one(kind):
    array = np.array([3, 0, 1], kind)
    assert handed.column(array, "any").equals(handed.column(array.tolist(), "any"))
    assert handed.column(array, "any").dtype == handed.column(array.tolist(), "any").dtype
    if kind[0] == "f":
        assert handed.column(np.array([3, np.nan], kind), "any").to_list() == [3.0, None]


def test_a_mask_chooses_nobody():
    mask, known = np.array([True, False]), pl.Series([3, 1])
    for users in (mask, list(mask), mask.tolist(), pl.Series(mask)):
        with pytest.raises(errors.ConfigError, match="^users: the users are true or false, as of a mask; expected"):
            handed.wanted(users, "users", known)
    assert handed.wanted(mask, "users", pl.Series([True, False])) == [True, False]
    assert handed.wanted([1, True], "users", known) == [1, True] and handed.wanted([], "users", known) == []


def test_values_of_pandas():
    pandas = pytest.importorskip("pandas")
    for values, expected in (
        (pandas.Series([1, pandas.NA], dtype="Int64"), [1, None]),
        (pandas.Series(["a", pandas.NA], dtype="string"), ["a", None]),
        (pandas.Series(["a", np.nan]), ["a", None]),
        (pandas.Series(["a", None], dtype="category"), ["a", None]),
        (pandas.Series([1.0, np.nan]), [1.0, None]),
        (pandas.Series([True, None], dtype="boolean"), [True, None]),
    ):
        assert handed.column(values, "any").to_list() == expected
    table = pandas.DataFrame([[1, 2]], columns=["item", "item"])
    with pytest.raises(errors.ConfigError, match="2 columns are named 'item'. Rename all but one"):
        handed.table_column(table, "item", "any")
    assert handed.wanted(pandas.DataFrame({"u": [8, 7]}), "users") == [8, 7]
