"""What a user says of items, in every form that it may have."""

from __future__ import annotations

import gzip

import numpy as np
import polars as pl
import pytest

from mbjax import errors
from mbjax.data import columns, item_files, options, vocabulary

ITEMS = vocabulary.Vocabulary(["a", "b", "c", "d e"])
NUMBERS = vocabulary.Vocabulary(np.array([7, 8, 9]))


def named(source, items=ITEMS, **options):
    there, notes = item_files.listed(source, items, **options)
    return [str(raw) for raw, is_there in zip(items.ids, there, strict=True) if is_there], notes


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("stock.txt", "c\n\n d e \na\n"),
        ("stock", "\ufeffc\r\nd e\r\na\r\n"),
        ("stock.csv", "item,price\nc,1\nd e,2\na,3\n"),
        ("stock.csv", "price;item\n1;c\n2;d e\n3; a\n"),
        ("stock.tsv", "sku\titem\nx\tc\nx\td e\nx\ta\n"),
        ("stock.csv", "item\nc\nd e\na\n"),
        ("stock.csv", "c\nd e\na\n"),  # no header
    ],
)
def test_files_that_say_the_same(tmp_path, name, content):
    (tmp_path / name).write_text(content, encoding="utf-8", newline="")
    assert named(tmp_path / name) == (["a", "c", "d e"], ())
    assert named(str(tmp_path / name)) == (["a", "c", "d e"], ())


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ("a|b\nc\na|b|d\n", ["a|b", "a|b|d", "c"]),  # no header, and the sign is part of ids
        ("c\na|b\n", ["a|b", "c"]),
        ("item\na|b\n", ["a|b"]),
        ("item|price\nc|1\n", ["c"]),
    ],
)
def test_a_sign_that_may_divide_columns_may_be_part_of_ids(tmp_path, content, found):
    items = vocabulary.Vocabulary(["a", "a|b", "a|b|d", "c"])
    (tmp_path / "stock.csv").write_text(content)
    assert named(tmp_path / "stock.csv", items) == (found, ())


def test_a_table_without_items_says_what_a_file_of_ids_is_called(tmp_path):
    (tmp_path / "stock.csv").write_text("a|b\nc|d\n")
    with pytest.raises(
        errors.ConfigError, match="columns are a, b, and none is 'item', the items. If each line is one id, call the f"
    ):
        named(tmp_path / "stock.csv")


def test_packed_files_tables_and_lists_say_it_too(tmp_path):
    (tmp_path / "stock.txt.gz").write_bytes(gzip.compress(b"a\nc\n"))
    assert named(tmp_path / "stock.txt.gz") == (["a", "c"], ())
    pl.DataFrame({"raw_id": ["a", "c"]}).write_parquet(tmp_path / "items.parquet")  # as in a run folder
    assert named(tmp_path / "items.parquet") == (["a", "c"], ())
    frame = pl.DataFrame({"price": [1, 2], "item": ["a", "c"]})
    for source in (frame, frame.lazy(), frame["item"], frame["item"].cast(pl.Categorical), ["a", "c"], {"a", "c"}):
        assert named(source) == (["a", "c"], ())
    assert named(np.array(["a", "c"])) == (["a", "c"], ())
    assert named(iter("ac")) == (["a", "c"], ())


def test_numbers_are_found_however_they_are_written(tmp_path):
    (tmp_path / "stock.csv").write_text("item,n\n7,1\n9,1\n")
    pl.DataFrame({"item": ["9", "7"]}).write_parquet(tmp_path / "stock.parquet")
    for source in (
        tmp_path / "stock.csv",
        tmp_path / "stock.parquet",
        [9, 7],
        np.array([9, 7]),
        ["7", "9"],
        (9.0, 7.0),
    ):
        assert named(source, NUMBERS) == (["7", "9"], ())
    texts = vocabulary.Vocabulary(["7", "8", "x"])
    assert named([8, 7], texts) == (["7", "8"], ())


def test_the_column_may_be_called_as_in_the_log(tmp_path):
    (tmp_path / "stock.csv").write_text("sku,shelf\na,1\nc,2\n")
    assert named(tmp_path / "stock.csv", column="sku") == (["a", "c"], ())
    with pytest.raises(
        errors.ConfigError, match="stock.csv: its columns are sku, shelf, and none is 'item', the items"
    ):
        named(tmp_path / "stock.csv")
    (tmp_path / "stock.csv").write_text("item,sku\nx,a\ny,c\n")
    assert named(tmp_path / "stock.csv", column="sku") == (["a", "c"], ())


def test_unknown_ids_are_counted(tmp_path):
    (tmp_path / "stock.txt").write_text("a\nnew\na\nold\nnew\n")
    there, notes = named(tmp_path / "stock.txt")
    assert (there, notes) == (["a"], ("stock.txt: 2 ids of no item that the run knows left out (new, old)",))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "x\ny\n",
            "stock.txt: none of its 2 ids is an item of the run .x, y.. They are written as in the.*such as 'a'",
        ),
        ("\n \n", "stock.txt: names no item"),
    ],
)
def test_a_file_that_names_no_item_is_refused(tmp_path, content, message):
    (tmp_path / "stock.txt").write_text(content)
    with pytest.raises(errors.DataError, match=message):
        named(tmp_path / "stock.txt")


def test_what_cannot_be_read_is_one_line(tmp_path):
    with pytest.raises(errors.DataError, match="none.txt: cannot be read"):
        named(tmp_path / "none.txt")
    (tmp_path / "latin.txt").write_bytes("h\xfct\n".encode("latin-1"))
    with pytest.raises(errors.DataError, match="latin.txt: not a text file in UTF-8; write one raw item id a line"):
        named(tmp_path / "latin.txt")
    (tmp_path / "gap.csv").write_text("item,n\na,1\n,2\n")
    with pytest.raises(errors.DataError, match="gap.csv, line 3: the item is empty"):
        named(tmp_path / "gap.csv")
    for source, message in (
        (7, "available is of type int; expected the path of a file, a polars or pandas table, or a list of ids"),
        ({"a": 1}, "available is of type dict"),
        ([["a"]], "available: the ids have type List"),
        (["a", 7], "available: the ids are not of one type"),
    ):
        with pytest.raises(errors.ConfigError, match=message):
            named(source)
    with pytest.raises(errors.DataError, match="available, row 2: the item is empty"):
        named(["a", None])


@pytest.mark.parametrize("files", [(), ("_SUCCESS",), ("notes.txt",), ("a.csv", "b.tsv")])
def test_a_folder_without_parts_is_one_line(tmp_path, files):
    for name in files:
        (tmp_path / name).write_text("item,group\na,x\n")
    readings = (
        lambda: item_files.listed(tmp_path, ITEMS),
        lambda: item_files.groups(tmp_path, ITEMS),
        lambda: columns.read(tmp_path, options.LogOptions()),
    )
    for read in readings:
        with pytest.raises(errors.DataError, match="is a folder that holds no table. The parts of one are"):
            read()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("brands.csv", "item,group\na,x\nb,y\nc,x\n"),
        ("brands.csv", "item,brand\na,x\nb,y\nc,x\nd e,\n"),  # no other column; an empty group is none
        ("brands.tsv", "price\tgroup\titem\n1\tx\ta\n2\ty\tb\n3\tx\tc\n"),
        ("brands.csv", "group;item\nx;a\nx;c\nx;a\ny;b\n"),
    ],
)
def test_groups_of_files(tmp_path, name, content):
    (tmp_path / name).write_text(content)
    found = item_files.groups(tmp_path / name, ITEMS)
    assert (found.code.tolist(), found.code.dtype, found.names, found.notes) == ([0, 1, 0, 2], np.int32, ("x", "y"), ())


def test_groups_of_tables_and_dicts():
    frame = pl.DataFrame({"item": ["a", "b", "new", "c"], "group": [10, 9, 9, None]})
    found = item_files.groups(frame, ITEMS)
    assert (found.code.tolist(), found.names) == ([0, 1, 2, 2], ("10", "9"))
    assert found.notes == ("groups: 1 id of no item that the run knows left out (new)",)
    assert item_files.groups({"a": 10, "b": 9, "c": None}, ITEMS).code.tolist() == [0, 1, 2, 2]
    assert item_files.groups({8: "x", 9: "x"}, NUMBERS).code.tolist() == [1, 0, 0]


class NAType:
    """pandas' NA, which answers no question: it is known by the name of its type."""

    def __eq__(self, other):
        return self

    __ne__ = __eq__
    __hash__ = object.__hash__

    def __bool__(self):
        raise TypeError("boolean value of NA is ambiguous")


class Column:
    """What of a pandas column of texts is asked for."""

    def __init__(self, values):
        self.values = values

    def __iter__(self):
        return iter(self.values)

    def tolist(self):
        return self.values


NAN = float("nan")


@pytest.mark.parametrize("none", [None, NAN, np.float32("nan"), NAType()])
@pytest.mark.parametrize("label", ["x", 10, 1.5, True, np.float64(1.5)])
def test_an_item_whose_group_is_no_value_has_none(label, none, tmp_path):
    found = item_files.groups({"a": label, "b": none, "c": label}, ITEMS)
    assert (found.code.tolist(), len(found.names)) == ([0, 1, 0, 1], 1)
    assert found.names[0] == str(pl.Series([label]).cast(pl.String)[0])


def test_nan_in_a_column_of_groups_is_none(tmp_path):
    frame = pl.DataFrame({"item": ["a", "b", "c"], "group": [1.0, NAN, 1.0], "tags": [["new"], [], []]})
    frame.drop("tags").write_parquet(tmp_path / "groups.parquet")
    for source in (frame, frame.lazy(), tmp_path / "groups.parquet"):
        found = item_files.groups(source, ITEMS)
        assert (found.code.tolist(), found.names) == ([0, 1, 0, 1], ("1.0",))
    with pytest.raises(errors.DataError, match="groups: no item of the run has a group there"):
        item_files.groups({"a": NAN}, ITEMS)


def test_an_item_that_is_no_value_is_refused_with_its_row(tmp_path):
    pl.DataFrame({"item": [7.0, NAN]}).write_parquet(tmp_path / "stock.parquet")
    for source in (
        [7, None],
        [7.0, NAN],
        np.array([7, NAN]),
        Column([7, NAType()]),
        Column(["7", NAN]),
        pl.DataFrame({"any": [7.0, NAN]}),
        pl.DataFrame({"any": ["7", None]}),
    ):
        with pytest.raises(errors.DataError, match="available, row 2: the item is empty"):
            named(source, NUMBERS)
    with pytest.raises(errors.DataError, match="stock.parquet, row 2: the item is empty"):
        named(tmp_path / "stock.parquet", NUMBERS)


def test_two_columns_of_items_are_not_told_apart(tmp_path):
    (tmp_path / "stock.csv").write_text("item,item\n7,8\n")
    (tmp_path / "groups.csv").write_text("item,item,group\n7,8,x\n")
    with pytest.raises(errors.ConfigError, match="^stock.csv: 2 columns are named 'item'. Rename all but one"):
        named(tmp_path / "stock.csv", NUMBERS)
    with pytest.raises(errors.ConfigError, match="^groups.csv: 2 columns are named 'item'. Rename all but one"):
        item_files.groups(tmp_path / "groups.csv", NUMBERS)


@pytest.mark.parametrize(
    "mask", [[True, False], np.array([True, False]), pl.Series([True, False]), pl.DataFrame({"item": [True, False]})]
)
def test_a_mask_is_no_list_of_ids(mask, tmp_path):
    items = vocabulary.Vocabulary([0, 1])
    pl.DataFrame({"item": [True, False], "group": ["x", "y"]}).write_parquet(tmp_path / "mask.parquet")
    message = "available: the items are true or false, as of a mask; expected their raw ids, such as ids.mask.."
    with pytest.raises(errors.ConfigError, match=message):
        named(mask, items)
    with pytest.raises(errors.ConfigError, match="mask.parquet: the items are true or false"):
        named(tmp_path / "mask.parquet", items)
    for groups in ({True: "x", False: "y"}, tmp_path / "mask.parquet"):
        with pytest.raises(errors.ConfigError, match="the items are true or false"):
            item_files.groups(groups, items)
    answers = vocabulary.Vocabulary([True, False])
    assert named(mask, answers) == (["True", "False"], ())


def test_values_of_several_types_are_called_what_they_are():
    for source, message in (
        ({"a": "x", "b": 7}, "groups: the groups are not of one type"),
        ({"a": "x", 7: "y"}, "groups: the items are not of one type"),
        ({"a": ["x"]}, "groups: the groups have type List"),
        ({"a": 3, "b": True}, "groups: the groups are not of one type"),
    ):
        with pytest.raises(errors.ConfigError, match=message):
            item_files.groups(source, ITEMS)


class Indexed(Column):
    """What of a pandas column with an index is asked for."""

    def __init__(self, values, index):
        super().__init__(values)
        self.index = index

    def __len__(self):
        return len(self.values)

    def items(self):
        return zip(self.index, self.values, strict=True)


def test_groups_of_a_column_whose_index_is_the_items():
    found = item_files.groups(Indexed(["x", "y", NAN, "y"], ["c", "a", "b", "new"]), ITEMS)
    assert (found.code.tolist(), found.names) == ([1, 2, 0, 2], ("x", "y"))
    assert found.notes == ("groups: 1 id of no item that the run knows left out (new)",)
    assert named(Indexed(["a", "c"], [0, 1])) == (["a", "c"], ())  # of a list the index says nothing
    with pytest.raises(errors.DataError, match="groups: names no item"):
        item_files.groups(Indexed([], []), ITEMS)


def test_columns_and_tables_of_pandas_whose_index_is_the_items():
    pandas = pytest.importorskip("pandas")
    series = pandas.Series({"a": "y", "c": "x"})
    assert item_files.groups(series, ITEMS).code.tolist() == [1, 2, 0, 2]
    assert item_files.groups(series.rename("group").rename_axis("item").reset_index(), ITEMS).names == ("x", "y")
    for table, hint in (
        (series.to_frame("group").rename_axis("item"), "It is the index of the table: give table.reset_index()."),
        (series.to_frame("group"), "If it is the index of the table, give table.reset_index(names='item')."),
    ):
        with pytest.raises(errors.ConfigError) as caught:
            item_files.groups(table, ITEMS)
        assert str(caught.value) == f"groups: its columns are group, and none is 'item', the items. {hint}"
    with pytest.raises(errors.ConfigError, match="available: its columns are price, and none is 'item'.*reset_index"):
        named(pandas.DataFrame({"price": [1]}, index=pandas.Index(["a"], name="item")))
    assert named(pandas.DataFrame({"sku": ["b", "a"]}, index=[4, 7])) == (["a", "b"], ())


def test_groups_that_cannot_be_used_are_one_line(tmp_path):
    def failure(content, name="brands.csv"):
        (tmp_path / name).write_text(content)
        with pytest.raises(errors.MbjaxError) as caught:
            item_files.groups(tmp_path / name, ITEMS)
        return str(caught.value).replace(f"{tmp_path}/", "")

    assert failure("item,group\na,x\nb,y\na,y\n") == (
        "brands.csv, line 4: item 'a' is of group 'y' and of group 'x'. An item has one group."
    )
    assert failure("item,brand,kind\na,x,y\n") == (
        "brands.csv: its columns are item, brand, kind; expected one of items, 'item', and one named 'group'."
    )
    assert failure("a,x\nb,y\n") == "brands.csv: its columns are a, x, and none is 'item', the items."
    assert failure("item,group\na,\n") == "brands.csv: no item of the run has a group there."
    assert failure("item,group\nx,y\n").startswith("brands.csv: none of its 1 id is an item of the run (x).")
    assert failure("", "brands.dat") == "brands.dat: its name tells no format. Name it .csv, .tsv or .parquet."
    with pytest.raises(errors.ConfigError, match="groups is of type list; expected the path of a file.*{item: group}"):
        item_files.groups(["a"], ITEMS)
