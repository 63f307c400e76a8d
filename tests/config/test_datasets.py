"""How a configuration keeps its data set and its paths, and what it says of fields that nothing would read."""

from __future__ import annotations

import pytest

from mbjax import config, errors, models
from mbjax.data import content, prepared

POPULARITY = models.MODELS["popularity"].config


@pytest.fixture
def places(tmp_path, monkeypatch):
    """An empty home and working directory, no folder of data sets."""
    (tmp_path / "work" / "here").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "work" / "here")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("MBJAX_DATA", raising=False)
    return tmp_path


def folder(path):
    prepared.write(content.build("other", 3, 4, ("buy",), {"train": {"buy": [[0, 1]]}}), path)
    return path


def load(dataset, **overrides):
    given = {name.replace("__", "."): value for name, value in overrides.items()}
    return config.load("popularity", dataset, POPULARITY, overrides=given)


def test_paths_are_kept_absolute_and_names_as_they_are(places):
    for path in (places / "log.csv", places / "work/here/log.csv"):
        path.write_text("user,item\n")
    assert load("log.csv").dataset == str(places / "work/here/log.csv")
    for same in ("~/log.csv", "../../log.csv", places / "log.csv"):
        assert load(same).dataset == str(places / "log.csv")
    assert load("jd").dataset == "jd"
    folder(places / "sets/shop")
    assert load("shop", data__dirs="~/sets").dataset == "shop"
    assert load("shop", data__dirs="~/sets").data.dirs == (str(places / "sets"),)
    assert load("~/sets/shop").dataset == str(places / "sets/shop")
    with pytest.raises(errors.ConfigError, match="unknown data set 'shop'"):
        load("shop")


@pytest.mark.parametrize("place", ["work/here/data", "work/shared/data"])
def test_a_name_found_from_the_working_directory_is_found_from_elsewhere(places, monkeypatch, place):
    folder(places / place / "shop")
    made = load("shop")
    assert (made.dataset, made.data.dirs, made.overrides) == ("shop", (str(places / place),), {})
    monkeypatch.chdir(places)
    config.check_there(made.dataset, made.data.dirs)
    assert config.parse(config.dump(made), POPULARITY) == made


def test_what_the_environment_names_is_not_kept(places, monkeypatch):
    folder(places / "sets/shop")
    monkeypatch.setenv("MBJAX_DATA", "~/sets")
    assert load("shop").data.dirs == ()


def test_every_field_that_is_a_path_is_kept_absolute(places):
    (places / "log.csv").write_text("user,item\n")
    made = load("jd", train__init_from="~/runs/a", data__dirs="~/x,y")
    assert made.train.init_from == str(places / "runs/a")
    assert made.data.dirs == (str(places / "x"), str(places / "work/here/y"))
    assert config.portable(made) == {"train.init_from": "a"}
    made = load("jd", train__init_from="runs/a")
    assert config.command(made) == "python train.py --model=popularity --dataset=jd --train.init_from=runs/a"
    assert config.parse(config.dump(made), POPULARITY) == made


@pytest.mark.parametrize(
    ("dataset", "field", "why"),
    [
        ("demo", "data.dirs", "it is generated"),
        ("demo", "data.download", "it is generated"),
        ("demo", "data.cache", "it is generated"),
        ("demo", "data.log.behaviors", "it is generated"),
        ("jd", "data.log.user", "it is no log"),
        ("shop", "data.log.user", "it is a prepared folder, given by its path"),
        ("shop", "data.cache", "it is a prepared folder, given by its path"),
        ("shop", "data.dirs", "it is a prepared folder, given by its path"),
        ("log.csv", "data.dirs", "it is a log, given by its path"),
        ("log.csv", "data.download", "it is a log, given by its path"),
        ("parts", "data.dirs", "it is a log, given by its path"),
        ("named", "data.download", "it is a log"),
    ],
)
def test_a_field_that_nothing_reads_is_refused(places, dataset, field, why):
    folder(places / "work/here/shop")
    (places / "work/here/log.csv").write_text("user,item\n")
    for parts in ("parts", "data/named"):  # of a log that Spark wrote
        (places / "work/here" / parts).mkdir(parents=True)
        (places / "work/here" / parts / "part-0.csv").write_text("user,item\n")
    assert load("named", data__log__user="x").data.log.user == "x"
    value = False if field in ("data.download", "data.cache") else "x"
    with pytest.raises(
        errors.ConfigError, match=f"{field} is not read with data set '.*{dataset}': {why}. Leave it out"
    ):
        load(dataset, **{field.replace(".", "__"): value})


def test_data_of_a_run_that_have_moved(places):
    """Old runs kept the path as it was typed."""
    here = places / "work" / "here"
    for dataset, text in (
        ("rel.csv", f"the run was trained on 'rel.csv', which is not in '{here}'; give --dataset=PATH"),
        ("a/rel.csv", f"the run was trained on 'a/rel.csv', which is not in '{here}'; give --dataset=PATH"),
        (
            f"{here}/rel.csv",
            f"the run was trained on '{here}/rel.csv', which is not there any more; give --dataset=PATH",
        ),
        ("shop", f"the run was trained on 'shop', which is not in '{here}' nor in any folder that is searched; give"),
    ):
        with pytest.raises(errors.ConfigError) as caught:
            config.check_there(dataset)
        assert str(caught.value).startswith(text)
    (here / "rel.csv").write_text("")
    folder(here / "data" / "shop")
    for dataset in ("rel.csv", f"{here}/rel.csv", "shop", "jd", "demo"):
        config.check_there(dataset)
