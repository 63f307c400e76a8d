"""Published files give the content, and so the fingerprint, of the prepared folder of the same data."""

from __future__ import annotations

import collections
import dataclasses

import numpy as np
import pytest

from mbjax import data, errors
from mbjax.data import catalog, content, prepared, published

NUM_USERS, NUM_ITEMS = 40, 30


def drawn(rng, count):
    keys = rng.choice(NUM_USERS * NUM_ITEMS, count, replace=False)
    return content.pairs_of(keys, NUM_ITEMS)


def layout(name):
    return dataclasses.replace(published.FORMATS[name], num_users=NUM_USERS, num_items=NUM_ITEMS)


def write_pairs(path, pairs, base=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{u + base} {i + base}\n" for u, i in pairs))


def write_adjacency(path, pairs, separator=" "):
    rows = collections.defaultdict(list)
    for user, item in pairs.tolist():
        rows[user].append(item)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(separator.join(map(str, [u, *items])) + "\n" for u, items in rows.items()))


def as_prepared(name, pairs, folder):
    prepared.write(content.build(name, NUM_USERS, NUM_ITEMS, published.FORMATS[name].behaviors, pairs), folder)
    return prepared.read(folder)


def assert_same(found, expected):
    assert found.fingerprint() == expected.fingerprint() and found.behaviors == expected.behaviors
    for split in content.PUBLISHED_SPLITS:
        for behavior in found.behaviors:
            np.testing.assert_array_equal(found.pairs(split, behavior), expected.pairs(split, behavior))


def split_up(rng, behaviors, splits=content.PUBLISHED_SPLITS):
    pairs = {split: {} for split in splits}
    for behavior in behaviors:
        for split, part in zip(splits, np.split(drawn(rng, 90), [60, 75]), strict=True):
            pairs[split][behavior] = part
    return pairs


def test_jd_pairs_are_one_based_and_target_is_purchase(tmp_path):
    pairs = split_up(np.random.default_rng(1), ("click", "favourite", "cart", "purchase"))
    pairs["train"]["cart"] = pairs["train"]["cart"][:0]  # as published: an empty file
    for split, of in pairs.items():
        for behavior, rows in of.items():
            write_pairs(tmp_path / "raw" / f"{'target' if behavior == 'purchase' else behavior}_{split}", rows, base=1)
    found = published.read("jd", tmp_path / "raw", layout("jd"))
    assert_same(found, as_prepared("jd", pairs, tmp_path / "jd"))
    assert found.behaviors == ("click", "favourite", "cart", "purchase")


def test_jd_and_ub_share_their_form():
    jd, ub = published.FORMATS["jd"], published.FORMATS["ub"]
    assert dataclasses.replace(ub, num_users=jd.num_users, num_items=jd.num_items) == jd


def test_beibei_train_and_test_are_purchases(tmp_path):
    rng = np.random.default_rng(2)
    buys = drawn(rng, 100)
    pairs = {"train": {"view": drawn(rng, 300), "cart": drawn(rng, 150), "buy": buys[:80]}, "test": {"buy": buys[80:]}}
    for file, rows in (("pv", pairs["train"]["view"]), ("cart", pairs["train"]["cart"]), ("train", buys[:80])):
        write_adjacency(tmp_path / "raw" / f"{file}.txt", rows)
    write_adjacency(tmp_path / "raw" / "test.txt", buys[80:])
    assert_same(
        published.read("beibei", tmp_path / "raw", layout("beibei")), as_prepared("beibei", pairs, tmp_path / "p")
    )


def test_taobao_views_and_carts_are_completed_by_their_test_files(tmp_path):
    rng = np.random.default_rng(3)
    views, carts, buys = drawn(rng, 200), drawn(rng, 100), drawn(rng, 80)
    for behavior, rows, cut in (("view", views, 160), ("cart", carts, 60), ("buy", buys, 40)):
        write_adjacency(tmp_path / "raw" / behavior / "train.txt", rows[:cut], "\t")
        write_adjacency(tmp_path / "raw" / behavior / "test.txt", rows[cut:])
    # The prepared folder also lists validation pairs inside training; they must not change the fingerprint.
    pairs = {
        "train": {"view": views, "cart": carts, "buy": buys[:40]},
        "test": {"buy": buys[40:]},
        "valid_inside_train": {"buy": buys[:10]},
    }
    found = published.read("taobao", tmp_path / "raw", layout("taobao"))
    assert_same(found, as_prepared("taobao", pairs, tmp_path / "taobao"))
    assert found.lost_valid_file and "valid_inside_train" not in found.keys
    assert found.hold_out == {}
    listed = published.read("taobao", tmp_path / "raw", layout("taobao"), hold_out="mbcgcn_holdout")
    for behavior, rows in (("view", views[160:]), ("cart", carts[60:])):
        np.testing.assert_array_equal(listed.hold_out[behavior], np.sort(rows @ [NUM_ITEMS, 1]))
    assert set(listed.hold_out) == {"view", "cart"} and listed.fingerprint() == found.fingerprint()
    with pytest.raises(errors.ConfigError, match="unknown list of data.hold_out 'theirs'.*mbcgcn_holdout"):
        published.read("taobao", tmp_path / "raw", layout("taobao"), hold_out="theirs")


def test_tmall_splits_are_swapped_and_merged(tmp_path):
    rng = np.random.default_rng(4)
    buys = drawn(rng, 100)
    train, test, validation = buys[:60], buys[60:85], buys[85:]
    auxiliary = {b: drawn(rng, 100) for b in ("click", "collect", "cart")}
    files = auxiliary | {"train": train, "buy": train, "test": test, "validation": validation}
    for file, rows in files.items():
        write_pairs(tmp_path / "raw" / f"{file}.txt", rows)
    pairs = {
        "train": auxiliary | {"buy": np.concatenate([train, test])},
        "test": {"buy": validation},
        "valid_inside_train": {"buy": test},
    }
    found = published.read("tmall", tmp_path / "raw", layout("tmall"))
    assert_same(found, as_prepared("tmall", pairs, tmp_path / "tmall"))
    np.testing.assert_array_equal(found.keys["valid_inside_train"]["buy"], np.sort(test @ [NUM_ITEMS, 1]))


def test_ids_beyond_the_published_sizes_are_named(tmp_path):
    write_pairs(tmp_path / "click_train", [[0, 0], [10690, 3]], base=1)
    with pytest.raises(
        errors.DataError, match=r"click_train, line 2: user 10691 is out of range; ids go from 1 to 10690"
    ):
        published.read("jd", tmp_path)


def test_a_missing_file_and_an_unknown_name(tmp_path):
    with pytest.raises(errors.DataError, match="click_train: cannot be read"):
        published.read("jd", tmp_path)
    with pytest.raises(errors.ConfigError, match="Did you mean 'jd'"):
        published.read("jdd", tmp_path)


@pytest.mark.parametrize("name", sorted(published.FORMATS))
def test_every_file_is_one_that_the_catalog_fetches(name):
    fetched = {file.local for file in catalog.source(name).files}
    assert {file for files in published.FORMATS[name].files.values() for file in files} <= fetched


def raw_jd(pairs, folder):
    """Writes content in the published form of JD."""
    for split in content.PUBLISHED_SPLITS:
        for behavior in pairs.behaviors:
            name = f"{'target' if behavior == 'purchase' else behavior}_{split}"
            write_pairs(folder / name, pairs.pairs(split, behavior), base=1)


@pytest.mark.realdata
def test_the_real_jd_in_both_forms_has_one_fingerprint(real_data, tmp_path):
    expected = prepared.read(real_data("jd"))
    raw_jd(expected, tmp_path / "jd")
    assert published.is_here("jd", tmp_path / "jd")
    # By path, and by name from a folder on the search path.
    choice = data.Options(dirs=(str(tmp_path),), behaviors=("click", "purchase"), download=False)
    assert (
        data.load("jd", choice).fingerprint == data.load(tmp_path / "jd", choice).fingerprint == expected.fingerprint()
    )
