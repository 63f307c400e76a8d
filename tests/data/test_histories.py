"""Events of users by the ids of a data set: what is found, what is left out and said, from every kind of source."""

from __future__ import annotations

import datetime

import numpy as np
import polars as pl
import pytest

from mbjax import errors
from mbjax.data import histories, options, vocabulary

USERS = vocabulary.Vocabulary(["ann", "bob", "12"])
ITEMS = vocabulary.Vocabulary([10, 20, 30])
BEHAVIORS = ("view", "buy")
EVENTS = [("new", 30, "view"), ("bob", 10, "buy"), ("new", 10, "view"), ("new", 99, "view"), ("new", 30, "view")]
EVENTS += [("eve", 99, "buy"), ("bob", 20, "like"), ("new", 20, "buy")]
TABLE = pl.DataFrame(EVENTS, schema=["user", "item", "behavior"], orient="row")


def read(source, **layout):
    return histories.read(source, options.LogOptions(**layout), USERS, ITEMS, BEHAVIORS)


class Frame:
    """What of a pandas table is asked for."""

    def __init__(self, table):
        self.table = {name: np.array(table[name].to_list(), object) for name in table.columns}
        self.columns = list(self.table)

    def __len__(self):
        return len(self.table["user"])

    def __getitem__(self, name):
        return self.table[name]


def mapping():
    found = {}
    for user, item, behavior in EVENTS:
        found.setdefault(user, {}).setdefault(behavior, []).append(np.int64(item))
    return found


def csv(path, separator=","):
    path.write_text(TABLE.write_csv(separator=separator), encoding="utf-8")
    return path


@pytest.mark.parametrize("kind", ["csv", "parquet", "polars", "lazy", "pandas", "mapping"])
def test_every_source_is_read_alike(kind, tmp_path):
    source = {
        "csv": lambda: csv(tmp_path / "log.csv"),
        "parquet": lambda: TABLE.write_parquet(tmp_path / "log.parquet") or tmp_path / "log.parquet",
        "polars": lambda: TABLE,
        "lazy": TABLE.lazy,
        "pandas": lambda: Frame(TABLE),
        "mapping": mapping,
    }[kind]()
    found = read(source)
    assert found.users.to_list() == ["new", "bob"]
    assert found.known.tolist() == [-1, 1]
    assert found.pairs["view"].toarray().tolist() == [[1, 0, 1], [0, 0, 0]]
    assert found.pairs["buy"].toarray().tolist() == [[0, 1, 0], [1, 0, 0]]
    assert found.without.to_list() == ["eve"]
    assert found.notes == (
        "1 event of other behaviors left out (like); the model knows view, buy",
        "2 events of 1 item that training has not seen left out (99)",
    )
    some = found.only(np.array([1]))
    assert (some.users.to_list(), some.known.tolist()) == (["bob"], [1])
    assert some.pairs["buy"].toarray().tolist() == [[1, 0, 0]]


def test_the_layout_of_the_log_is_that_of_the_events(tmp_path):
    path = csv(tmp_path / "events.txt", ";")
    path.write_text(path.read_text(encoding="utf-8").replace("user;item;behavior", "who;what;how"), encoding="utf-8")
    layout = {"user": "who", "item": "what", "behavior": "how", "separator": ";", "format": "csv", "time": "when"}
    assert read(path, **layout).users.to_list() == ["new", "bob"]
    with pytest.raises(errors.ConfigError, match=r"column \(data.log.user\) of histories 'who'.*Known: .*user"):
        read(TABLE, user="who")


def test_a_log_of_one_behavior_needs_no_column_of_it(tmp_path):
    table, layout = TABLE.select("user", "item"), options.LogOptions(behavior=None, behaviors=("buy",))
    table.write_parquet(tmp_path / "log.parquet")
    for source in (table, tmp_path / "log.parquet"):
        found = histories.read(source, layout, USERS, ITEMS, ("buy",))
        assert found.pairs["buy"].toarray().tolist() == [[1, 1, 1], [1, 1, 0]]


def test_ids_are_those_of_the_whole_log(tmp_path):
    """A file that happens to hold no ids but numbers is still of the log whose ids are texts."""
    (tmp_path / "log.csv").write_text("user,item,behavior\n12,10,buy\n13,20,buy\n", encoding="utf-8")
    found = read(tmp_path / "log.csv")
    assert (found.users.to_list(), found.known.tolist()) == (["12", "13"], [2, -1])
    # And texts are kept where the log has numbers.
    numbers = vocabulary.Vocabulary([7, 8])
    found = histories.read({"8": {"buy": [10]}, "x": {"buy": [10]}}, None, numbers, ITEMS, BEHAVIORS)
    assert (found.users.to_list(), found.known.tolist()) == (["8", "x"], [1, -1])


@pytest.mark.parametrize(
    ("source", "error", "message"),
    [
        ({}, errors.DataError, "histories: holds no events"),
        ({"ann": [10]}, errors.ConfigError, "histories of user 'ann' are of type list; expected"),
        ({"ann": {"buy": "10"}}, errors.ConfigError, "user 'ann' have '10' for behavior 'buy'; expected a list"),
        ({"ann": {"buy": [10, "x"]}}, errors.ConfigError, "the items are not of one type"),
        (7, errors.ConfigError, "histories are of type int; expected the path of a log"),
        (TABLE.with_columns(item=None), errors.DataError, "histories, row 1: the item is empty"),
        (
            TABLE.with_columns(item=pl.Series([[1]] * 8)),
            errors.ConfigError,
            "the items have type List.*expected single values",
        ),
        ("none.csv", errors.DataError, "none.csv"),
    ],
)
def test_what_cannot_be_read_is_named(source, error, message):
    with pytest.raises(error, match=message):
        read(source)


def test_ids_of_any_type():
    days = [datetime.date(2024, 1, day) for day in (1, 2, 3)]
    found = histories.read(
        {days[2]: {"buy": [days[0]]}}, None, vocabulary.Vocabulary(days), vocabulary.Vocabulary(days), BEHAVIORS
    )
    assert found.known.tolist() == [2] and found.pairs["buy"].toarray().tolist() == [[1, 0, 0]]


@pytest.mark.parametrize("nothing", [{}, {"view": []}, {"view": [], "buy": ()}])
def test_users_without_any_event_are_named(nothing):
    found = read({"void": nothing, "new": {"view": [10]}})
    assert found.users.to_list() == ["new"]
    assert found.without.to_list() == ["void"] and not found.notes
    found = read({"void": nothing, "new": {"view": [10]}, "old": {"view": [99]}})
    assert found.without.to_list() == ["old", "void"]


def test_those_without_any_event_keep_the_type_of_the_others_where_they_can():
    numbers = vocabulary.Vocabulary([7, 8, 9])
    for silent, expected in ((5, [6, 5]), ("x", ["6", "x"])):
        found = histories.read({7: {"buy": [10]}, silent: {}, 6: {"buy": [99]}}, None, numbers, ITEMS, BEHAVIORS)
        assert found.without.to_list() == expected


def test_known_users_stay_whatever_their_events_are():
    """The data set has more of them: of unusable events, of other behaviors, and of none."""
    numbers = vocabulary.Vocabulary([7, 8, 9, 4])
    given = {8: {"buy": [99]}, 6: {"buy": [99]}, 9: {}, 7: {"buy": [10]}, 4: {"like": [10]}, 5: {"view": []}}
    found = histories.read(given, None, numbers, ITEMS, BEHAVIORS)
    assert (found.users.to_list(), found.known.tolist()) == ([8, 7, 4, 9], [1, 0, 3, 2])
    assert found.pairs["buy"].toarray().tolist() == [[0, 0, 0], [1, 0, 0], [0, 0, 0], [0, 0, 0]]
    assert found.pairs["view"].shape == (4, 3) and not found.pairs["view"].nnz
    assert found.without.to_list() == [6, 5]


@pytest.mark.parametrize("kind", [pl.Categorical, pl.Binary])
def test_columns_of_parquet_as_others_write_them(tmp_path, kind):
    """A dictionary is what pandas writes for a category; the ids of the log are integers."""
    path, users = tmp_path / "events.parquet", vocabulary.Vocabulary([7, 8])
    table = pl.DataFrame({"user": ["7", "x"], "item": ["10", "20"], "behavior": ["buy", "buy"]})
    table.with_columns(pl.col("user", "item").cast(kind)).write_parquet(path)
    found = histories.read(path, options.LogOptions(), users, vocabulary.Vocabulary(["10", "20"]), BEHAVIORS)
    if kind == pl.Categorical:
        assert found.users.to_list() == ["7", "x"] and found.known.tolist() == [0, -1]


def test_events_of_a_log_without_a_header(tmp_path):
    """They are written as the log is, or as Parquet, which names its columns."""
    layout = {"columns": ("user", "item", "behavior"), "time": None, "quote": None}
    TABLE.write_parquet(tmp_path / "events.parquet")
    TABLE.write_csv(tmp_path / "events.csv", include_header=False)
    first, second = (read(tmp_path / f"events.{kind}", **layout) for kind in ("parquet", "csv"))
    assert first.users.to_list() == second.users.to_list() and first.notes == second.notes
    TABLE.write_csv(tmp_path / "named.csv")
    with pytest.raises(errors.ConfigError, match="without a header, of the columns user, item, behavior: name their"):
        read(tmp_path / "named.csv", **layout)


NAN = float("nan")


@pytest.mark.parametrize("field", ["user", "item", "behavior"])
@pytest.mark.parametrize("nothing", [None, NAN, "", "  "])
def test_events_that_lack_a_value_are_refused_as_in_a_log(field, nothing, tmp_path):
    table = {name: TABLE[name].to_list() for name in TABLE.columns}
    table[field][2] = nothing
    message = f"row 3: the {field} is empty"
    if field == "item" and isinstance(nothing, str):
        table[field] = [value if value == nothing else str(value) for value in table[field]]
    frame = Frame(TABLE)
    frame.table = {name: np.array(values, object) for name, values in table.items()}
    with pytest.raises(errors.DataError, match=message):
        read(frame)
    with pytest.raises(errors.DataError, match=message):
        read(pl.DataFrame({name: [None if v is nothing and v != v else v for v in vs] for name, vs in table.items()}))


def test_nan_is_no_user_and_no_item():
    for field in ("user", "item"):
        floats = TABLE.with_columns(pl.Series(field, [1.0, NAN, *[10.0] * 6]))
        for source in (floats, floats.lazy(), Frame(floats)):
            with pytest.raises(errors.DataError, match=f"histories, row 2: the {field} is empty"):
                read(source)
    with pytest.raises(errors.DataError, match="histories, row 2: the item is empty"):
        read({"ann": {"buy": [10, NAN]}})
    with pytest.raises(errors.DataError, match="histories, row 1: the user is empty"):
        read({NAN: {"buy": [10]}})


def test_a_known_number_comes_back_as_the_data_set_has_it():
    numbers = vocabulary.Vocabulary([7, 8])
    for users, expected in (([8.0, 7.0], [8, 7]), ([8.0, 7.5], [8.0, 7.5]), ([9.0, 2.0**53], [9, 2**53])):
        table = pl.DataFrame({"user": users, "item": [10.0, 20.0], "behavior": ["buy", "buy"]})
        found = histories.read(table, options.LogOptions(), numbers, ITEMS, BEHAVIORS)
        assert found.users.to_list() == expected and list(map(type, found.users)) == list(map(type, expected))
        assert found.pairs["buy"].toarray().tolist() == [[1, 0, 0], [0, 1, 0]]
    assert read({12: {"buy": [10]}}).users.to_list() == ["12"]
    assert histories.read({"007": {"buy": [10]}}, None, numbers, ITEMS, BEHAVIORS).users.to_list() == ["007"]


@pytest.mark.parametrize("field", ["user", "item"])
def test_truth_values_are_no_ids(field, tmp_path):
    numbers = vocabulary.Vocabulary([0, 1])
    table = TABLE.with_columns(pl.Series(field, [True, False] * 4))
    table.write_parquet(tmp_path / "events.parquet")
    for source in (table, Frame(table), tmp_path / "events.parquet"):
        with pytest.raises(errors.ConfigError, match=f"the {field}s are true or false, as of a mask; expected"):
            histories.read(source, options.LogOptions(time=None), numbers, numbers, BEHAVIORS)
    mask = {True: {"buy": [0]}} if field == "user" else {0: {"buy": np.array([True, False])}}
    with pytest.raises(errors.ConfigError, match=f"histories: the {field}s are true or false"):
        histories.read(mask, None, numbers, numbers, BEHAVIORS)
    answers = vocabulary.Vocabulary([False, True])
    found = histories.read({True: {"buy": [False]}}, None, answers, answers, BEHAVIORS)
    assert found.known.tolist() == [1] and found.pairs["buy"].toarray().tolist() == [[1, 0]]
