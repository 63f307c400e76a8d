"""Sums and maxima of cosines against counts over the other users, pair by pair."""

import listed
import numpy as np
import pytest

from mbjax.features import candidates, similarity

KINDS = [("view", "buy", 0.0), ("buy", "buy", 0.0), ("cart", "view", 2.0), ("view", "view", 0.0), ("view", "buy", 2.0)]


def expected(train, of, kind):
    a, b, shrinkage = kind
    total, largest = [], []
    for row, item in zip(of.row, of.item, strict=True):
        others = np.arange(12) != of.user[row]
        left, right = (train[x].toarray()[others].astype(float) for x in (a, b))
        cosines = [
            left[:, h]
            @ right[:, item]
            / (np.sqrt(max(left[:, h].sum(), 1)) * np.sqrt(max(right[:, item].sum(), 1)) + shrinkage)
            for h in np.flatnonzero(of.history[a].toarray()[row])
            if h != item
        ]
        total.append(sum(cosines))
        largest.append(max(cosines, default=0))
    return total, largest


def own_of(of):
    part = (of.user >= 0)[of.row]
    return {b: (of.of(of.history[b]) + of.of(of.removed[b])) * part for b in of.history}


@pytest.mark.parametrize("tile", [similarity.DENSE, 24], ids=["one tile", "tiles of three items"])
@pytest.mark.parametrize("chunk", [similarity.CHUNK, 7])
def test_cosines_are_those_of_the_other_users(train, of, tile, chunk, monkeypatch):
    monkeypatch.setattr(similarity, "DENSE", tile)
    monkeypatch.setattr(similarity, "CHUNK", chunk)
    found = similarity.aggregate(train, of, own_of(of), KINDS)
    for kind in KINDS:
        total, largest = expected(train, of, kind)
        np.testing.assert_allclose(found[kind][0], total, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(found[kind][1], largest, rtol=1e-5, atol=1e-6)


def test_nothing_is_taken_out_for_strangers(train, of):
    alone = listed.everything(candidates.strangers(of.history))
    found = similarity.aggregate(train, alone, own_of(alone), KINDS)
    for kind in KINDS:
        np.testing.assert_allclose(found[kind], expected(train, alone, kind), rtol=1e-5, atol=1e-6)
