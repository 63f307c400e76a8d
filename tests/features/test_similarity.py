"""Sums and maxima of cosines against counts over the other users, pair by pair."""

import dataclasses

import listed
import numpy as np
import pytest

from mbjax.features import candidates, comparing, similarity

NAMES = ("view", "cart", "buy")


def expected(train, of, a, b, shrinkage=0.0, worth=None):
    total, largest = [], []
    worth = np.ones(12) if worth is None else worth
    for row, item in zip(of.row, of.item, strict=True):
        others = np.arange(12) != of.user[row]
        left, right = (train[x].toarray()[others].astype(float) for x in (a, b))
        cosines = [
            (left[:, h] * worth[others])
            @ right[:, item]
            / (np.sqrt(max(left[:, h].sum(), 1)) * np.sqrt(max(right[:, item].sum(), 1)) + shrinkage)
            for h in np.flatnonzero(of.history[a].toarray()[row])
            if h != item
        ]
        total.append(sum(cosines))
        largest.append(max(cosines, default=0))
    return total, largest


def check(train, of, found, ranked):
    assert list(found) == comparing.names(NAMES, ranked)
    for name, values in found.items():
        kind, a, b = name.split("_")
        pairs = sum(m.toarray().sum(axis=1) for m in train.values())
        worth = similarity.WORTH / np.maximum(pairs, 1) if kind == "walk" else None
        shrinkage = comparing.SHRINKAGE if kind == "shrunk" else 0.0
        wanted = expected(train, of, a, b, shrinkage, worth)[kind == "max"]
        np.testing.assert_allclose(values, np.log(np.array(wanted) + comparing.SMALL), atol=4e-3, err_msg=name)


@pytest.mark.parametrize("tile", [similarity.DENSE, 24], ids=["one tile", "tiles of three items"])
@pytest.mark.parametrize("chunk", [comparing.CHUNK, 7])
def test_cosines_are_those_of_the_other_users(train, of, tile, chunk, monkeypatch):
    monkeypatch.setattr(similarity, "DENSE", tile)
    monkeypatch.setattr(comparing, "CHUNK", chunk)
    (found,) = similarity.aggregate(train, [comparing.Asked(of, ["buy"])])
    check(train, of, found, ["buy"])


def test_several_lists_share_the_counts_and_strangers_lose_nothing(train, of):
    """Also where one list has fewer candidates, and of other items."""
    alone = listed.everything(candidates.strangers(of.history))
    fewer = alone.only(np.array([1, 3]))
    fewer = dataclasses.replace(fewer, ptr=np.array([0, 2, 3]), item=np.int32([0, 6, 7]))
    asked = [comparing.Asked(one, ranked) for one, ranked in ((of, NAMES), (alone, ["view"]), (fewer, []))]
    for one, found in zip(asked, similarity.aggregate(train, asked), strict=True):
        check(train, one.lists, found, one.ranked)


def test_a_user_and_an_item_that_only_he_has(train):
    """Nobody is left to share anything: all cosines are 0, and nothing is negative or not a number."""
    lone = {b: m.tolil() for b, m in train.items()}
    for m in lone.values():
        m[:, 5] = 0
        m[3, 5] = 1
    lone = {b: m.tocsr().astype(np.uint8) for b, m in lone.items()}
    of = listed.everything(candidates.histories(lone, np.array([3])))
    (found,) = similarity.aggregate(lone, [comparing.Asked(of, NAMES)])
    for name, values in found.items():
        assert values[5] == np.float16(np.log(comparing.SMALL)) and np.isfinite(values).all(), name
