"""Sums and maxima of cosines against counts over the other users, pair by pair."""

import dataclasses

import listed
import numpy as np
import pytest
from scipy import sparse

from mbjax.features import candidates, comparing, similarity

NAMES = ("view", "cart", "buy")


def added_to(others, item, added):
    """Nobody is added where nobody else has met the item: that the user has would be known by it."""
    return added * (others[:, item].sum() > 0)


def expected(train, of, a, b, shrinkage=0.0, worth=None, added=0.0):
    total, largest = [], []
    worth = np.ones(12) if worth is None else worth
    for row, item in zip(of.row, of.item, strict=True):
        others = np.arange(12) != of.user[row]
        left, right = (train[x].toarray()[others].astype(float) for x in (a, b))
        cosines = [
            ((left[:, h] * worth[others]) @ right[:, item] + added_to(right, item, added))
            / (np.sqrt(max(left[:, h].sum(), 1)) * np.sqrt(max(right[:, item].sum(), 1)) + shrinkage)
            for h in np.flatnonzero(of.history[a].toarray()[row])
            if h != item
        ]
        total.append(sum(cosines))
        largest.append(max(cosines, default=0))
    return total, largest


def expected_via(train, of, b, a, added=0.0):
    """What is like the history by b, in the eyes of the others by a."""
    total, largest = [], []
    for row, item in zip(of.row, of.item, strict=True):
        others = train[a].toarray()[np.arange(12) != of.user[row]].astype(float)
        number = np.sqrt(np.maximum(others.sum(axis=0), 1))
        cosines = [
            (others[:, h] @ others[:, item] + added_to(others, item, added)) / number[h] / number[item]
            for h in np.flatnonzero(of.history[b].toarray()[row])
            if h != item
        ]
        total.append(sum(cosines))
        largest.append(max(cosines, default=0))
    return total, largest


PLAIN = comparing.How()


def check(train, of, found, ranked, how=PLAIN):
    assert list(found) == comparing.names(NAMES, ranked, alike=how.alike)
    for name, values in found.items():
        if "_via_" in name:
            kind, b, _, a = name.split("_")
            wanted = expected_via(train, of, b, a, how.added)[kind == "max"]
            np.testing.assert_allclose(values, np.log(np.array(wanted) + comparing.SMALL), atol=4e-3, err_msg=name)
            continue
        kind, a, b = name.split("_")
        pairs = sum(m.toarray().sum(axis=1) for m in train.values())
        worth = similarity.WORTH / np.maximum(pairs, 1) if kind == "walk" else None
        shrinkage = comparing.SHRINKAGE if kind == "shrunk" else 0.0
        added = how.added * (kind in ("sum", "max"))
        wanted = expected(train, of, a, b, shrinkage, worth, added)[kind == "max"]
        np.testing.assert_allclose(values, np.log(np.array(wanted) + comparing.SMALL), atol=4e-3, err_msg=name)


@pytest.mark.parametrize("tile", [similarity.DENSE, 24], ids=["one tile", "tiles of three items"])
@pytest.mark.parametrize("chunk", [comparing.CHUNK, 7])
def test_cosines_are_those_of_the_other_users(train, of, tile, chunk, monkeypatch):
    monkeypatch.setattr(similarity, "DENSE", tile)
    monkeypatch.setattr(comparing, "CHUNK", chunk)
    (found,) = similarity.aggregate(train, [comparing.Asked(of, ["buy"])])
    check(train, of, found, ["buy"])


@pytest.mark.parametrize("how", [comparing.How(True, 0.0), comparing.How(False, 1.0), comparing.How(True, 0.5)])
def test_the_ranked_history_in_the_eyes_of_others_and_users_added(train, of, how, monkeypatch):
    monkeypatch.setattr(similarity, "DENSE", 24)
    alone = listed.everything(candidates.strangers(of.history))
    taken = {b: sparse.csr_array(m.toarray() * (np.arange(m.shape[1]) % 4 == 0)) for b, m in train.items()}
    removed = listed.everything(candidates.histories(train, np.arange(12), taken))
    asked = [comparing.Asked(one, NAMES, None, None, how) for one in (of, alone, removed)]
    for one, found in zip(asked, similarity.aggregate(train, asked), strict=True):
        check(train, one.lists, found, one.ranked, how)


def test_several_lists_share_the_counts_and_strangers_lose_nothing(train, of):
    """Also where one list has fewer candidates, and of other items."""
    alone = listed.everything(candidates.strangers(of.history))
    fewer = alone.only(np.array([1, 3]))
    fewer = dataclasses.replace(fewer, ptr=np.array([0, 2, 3]), item=np.int32([0, 6, 7]))
    asked = [comparing.Asked(one, ranked) for one, ranked in ((of, NAMES), (alone, ["view"]), (fewer, []))]
    for one, found in zip(asked, similarity.aggregate(train, asked), strict=True):
        check(train, one.lists, found, one.ranked)


def test_lists_with_statistics_of_their_own(train, of):
    """Beside others, in one pass; what both have in common is counted once."""
    fewer = train["buy"].toarray().copy()
    fewer[::2, ::3] = 0
    known = {**train, "buy": sparse.csr_array(fewer)}
    own = listed.everything(candidates.histories(known, np.arange(12)))
    how = comparing.How(alike=True)
    asked = [comparing.Asked(of, ["buy"], None, None, how), comparing.Asked(own, ["buy"], None, known, how)]
    first, second = similarity.aggregate(train, asked)
    check(train, of, first, ["buy"], how)
    pairs = sum(m.toarray().sum(axis=1) for m in train.values())
    assert (fewer < train["buy"].toarray()).any()
    for name, values in second.items():
        kind, a, b = name.split("_", 2)
        if kind == "walk":  # a user counts by all that he has met
            wanted = expected(known, own, a, b, 0.0, similarity.WORTH / np.maximum(pairs, 1))[0]
        elif "via" in b:
            wanted = expected_via(known, own, a, b.removeprefix("via_"))[kind == "max"]
        else:
            wanted = expected(known, own, a, b, comparing.SHRINKAGE * (kind == "shrunk"))[kind == "max"]
        np.testing.assert_allclose(values, np.log(np.array(wanted) + comparing.SMALL), atol=4e-3, err_msg=name)


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


def test_counts_of_other_statistics_are_of_the_items_of_their_lists(train, of, monkeypatch):
    """Lists of items 2 and 5 alone have statistics of their own: what these share is counted for no other item."""
    inside = np.isin(of.item, [2, 5])
    few = dataclasses.replace(
        of, item=of.item[inside], ptr=np.concatenate([[0], np.cumsum(np.bincount(of.row[inside], minlength=5))])
    )
    buy = train["buy"].tolil()
    buy[0] = 0
    known = train | {"buy": sparse.csr_array(buy)}
    counted, share = [], similarity.neighbors.share

    def watched(left, right, items):
        counted.append(list(items))
        return share(left, right, items)

    monkeypatch.setattr(similarity.neighbors, "share", watched)
    similarity.aggregate(train, [comparing.Asked(of, ["buy"]), comparing.Asked(few, ["buy"], None, known)])
    assert [items for items in counted if set(items) <= {2, 5}] and [items for items in counted if len(items) > 2]
    assert len([items for items in counted if set(items) <= {2, 5}]) == 5  # each two behaviors of which buy is one
