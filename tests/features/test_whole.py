"""Families of columns, whatever behaviors are called; tables made in blocks are those made at once."""

import numpy as np
import pytest

from mbjax.features import candidates, comparing, lists, regression, retrieval, similarity, table, whole

BEHAVIORS = ("view", "cart", "buy")


@pytest.mark.parametrize("behaviors", [("view", "count"), ("rank", "near"), ("time", "z", "ease")])
@pytest.mark.parametrize("familiar", [True, False])
def test_families_are_told_from_behaviors_that_are_called_alike(behaviors, familiar):
    plain = [f"b{k}" for k in range(len(behaviors))]
    for gone in table.FAMILIES:
        features = [family for family in table.FAMILIES if family != gone]
        names, like = (table.names(of, of[-1], familiar=familiar, timed=True) for of in (behaviors, plain))
        wanted = [name for name, other in zip(names, like, strict=True) if other in set(whole.shown(features, like))]
        assert whole.shown(features, names) == wanted
        assert len(wanted) < len(names) or (gone == "touch" and not familiar)
        assert not any(name.removeprefix("rank_").startswith(gone) for name in whole.shown(features, like))


def test_blocks_and_candidates_that_share_similarities_change_nothing(train, monkeypatch):
    fitted = regression.fit(train, 2.0)
    of = candidates.histories(train, np.arange(12))
    (found,) = retrieval.find(fitted, of, [retrieval.retriever(train, fitted, "buy")], 3)
    source = table.Source(train, table.counts(train), "buy")
    together, places = lists.joined([found[part].lists for part in retrieval.PARTS], 8)
    how = comparing.How(alike=True)
    (shared,) = similarity.aggregate(train, [comparing.Asked(together, BEHAVIORS, how=how)])
    for part, place in zip(retrieval.PARTS, places, strict=True):
        (alone,) = similarity.aggregate(train, [comparing.Asked(found[part].lists, ["buy"], how=how)])
        once = whole.matrix(table.FAMILIES, source, found[part], whole.Compared(alone), part)
        seen = []
        monkeypatch.setattr(whole, "BLOCK", 5)
        again = whole.matrix(
            table.FAMILIES, source, found[part], whole.Compared(shared, place), part,
            lambda first, end, columns, seen=seen: seen.append((first, end, len(columns))),
        )  # fmt: skip
        monkeypatch.undo()
        np.testing.assert_array_equal(again, once)
        assert len(seen) > 1 and sum(end - first for first, end, _ in seen) == len(once)
        assert once.shape[1] == len(table.names(BEHAVIORS, "buy", familiar=part == "familiar"))
