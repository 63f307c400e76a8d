"""Where data sets are looked for, and what is said where there are none."""

from __future__ import annotations

import os

import pytest

from mbjax import data, errors
from mbjax.data import catalog, content, loading, prepared


def folder_with(parent, name, pair):
    prepared.write(content.build("other", 3, 4, ("buy",), {"train": {"buy": [pair]}}), parent / name)


@pytest.fixture(autouse=True)
def away(tmp_path, monkeypatch):
    """In an empty folder, without a search path and without a network."""
    (tmp_path / "work" / "here").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "work" / "here")
    monkeypatch.delenv("MBJAX_DATA", raising=False)

    def refuse(name, **options):
        raise errors.DataError(f"asked to fetch {name}, {options}")

    monkeypatch.setattr(catalog, "fetch", refuse)
    return tmp_path


def test_the_order_of_places(away, monkeypatch):
    places = ["first", "second", "third", "work/here/data", "work/shared/data"]
    monkeypatch.setenv("MBJAX_DATA", os.pathsep.join([str(away / "second"), "", str(away / "third")]))
    for item in range(3, -1, -1):
        folder_with(away / places[item + 1], "jd", [0, item])
    choice = data.Options(dirs=(str(away / "first"),))
    for place, item in zip(places[1:], range(4), strict=True):
        found = data.load("jd", choice)
        assert found.train["buy"].indices.tolist() == [item] and found.info.name == "jd"
        for path in (away / place / "jd").iterdir():
            path.unlink()
        (away / place / "jd").rmdir()
    with pytest.raises(errors.DataError, match="asked to fetch jd, {'allow_download': True}"):
        data.load("jd", choice)
    with pytest.raises(errors.DataError, match="'allow_download': False"):
        data.load("jd", data.Options(download=False))


def test_any_name_on_the_search_path_and_any_path(away):
    folder_with(away / "sets", "mine", [1, 2])
    by_name = data.load("mine", data.Options(dirs=(str(away / "sets"),)))
    by_path = data.load(away / "sets" / "mine")
    assert by_name.fingerprint == by_path.fingerprint
    assert (by_name.info.name, by_path.info.name) == ("mine", "other")


def test_a_hold_out_list_by_name_and_by_path(away):
    folder_with(away / "sets", "mine", [1, 2])
    (away / "sets" / "mine" / "theirs.buy.tsv").write_text("1\t2\n")
    for name in ("mine", away / "sets" / "mine"):
        choice = data.Options(dirs=(str(away / "sets"),), valid="none", hold_out="theirs")
        assert data.load(name, choice).train["buy"].nnz == 0
    with pytest.raises(errors.ConfigError, match="this data set has none"):
        data.load("demo", data.Options(hold_out="theirs"))


def test_a_log_by_path(away):
    (away / "shop.csv").write_text("user,item,behavior,time\na,x,buy,1\na,y,buy,2\n")
    found = data.load(away / "shop.csv", data.Options(log=data.LogOptions(behaviors=("buy",))))
    assert found.info == ("shop", 1, 2, ("buy",), True, False, 0)  # with times, not split in time
    assert found.items.raw(found.test["buy"].indices).tolist() == ["y"]


def test_demo_is_made_up_from_the_seed():
    first, second = (loading.read("demo", data.Options(seed=seed)) for seed in (0, 1))
    assert first.name == "demo" and first.fingerprint() != second.fingerprint()


def test_unknown_names_and_paths(away):
    folder_with(away / "sets", "my_shop", [1, 2])
    with pytest.raises(errors.ConfigError, match="unknown data set 'taobo'. Did you mean 'taobao'"):
        data.load("taobo")
    with pytest.raises(errors.ConfigError, match="Did you mean 'my_shop'"):
        data.load("myshop", data.Options(dirs=(str(away / "sets"),)))
    with pytest.raises(errors.DataError, match="there is no such file or folder"):
        data.load("nowhere/shop.csv")


def test_a_folder_that_is_no_data_set(away):
    (away / "empty").mkdir()
    with pytest.raises(errors.DataError, match=r"empty: is no data set: it has neither meta.json, nor"):
        data.load(away / "empty")


def test_where_the_whole_cannot_be_fetched_a_part_of_it_is_read_and_said(away):
    with pytest.raises(errors.DataError, match="asked to fetch ub"):
        data.load("ub")
    folder_with(away / "sets", "ub_no_click", [1, 2])
    found = data.load("ub", data.Options(dirs=(str(away / "sets"),)))
    assert found.info.name == "ub_no_click"
    assert "'ub' is not here as it was published: 'ub_no_click' is read, the same without training" in found.notes[0]
    folder_with(away / "sets", "jd_no_click", [1, 2])  # nobody has said what that is
    with pytest.raises(errors.DataError, match="asked to fetch jd"):
        data.load("jd", data.Options(dirs=(str(away / "sets"),)))
