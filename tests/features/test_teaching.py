"""What folds teach: no wrong answers among the lists, and how many new items the search would find."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from mbjax import types
from mbjax.features import candidates, lessons, lists, prepared, regression, retrieval, teaching
from mbjax.models import funnel_config

USERS, ITEMS, TASTES = 300, 200, 6
CONFIG = funnel_config.FunnelConfig(new_items=16, taught_folds=3, folds=6, penalty=60.0)
INFO = types.DatasetInfo("planted", USERS, ITEMS, ("view", "buy"))


def csr(matrix: np.ndarray) -> sparse.csr_array:
    found = sparse.csr_array(matrix.astype(np.uint8))
    found.sort_indices()
    return found


def planted() -> tuple[dict[str, sparse.csr_array], dict[str, sparse.csr_array]]:
    """Pairs of training, and others that were drawn in the same way and held out."""
    rng = np.random.default_rng(0)
    popularity, taste = 1 / np.arange(1, ITEMS + 1) ** 0.8, rng.integers(0, TASTES, ITEMS)
    kept, held = ({b: np.zeros((USERS, ITEMS)) for b in INFO.behaviors} for _ in range(2))
    for user in range(USERS):
        chance = popularity * (1 + 6 * (taste == rng.integers(0, TASTES)))
        number = rng.integers(5, 14)
        for behavior, most in (("view", number), ("buy", 3)):
            drawn = rng.choice(ITEMS, most + 1, replace=False, p=chance / chance.sum())
            kept[behavior][user, drawn[:-1]] = 1
            held[behavior][user, drawn[-1]] = 1
    return {b: csr(m) for b, m in kept.items()}, {b: csr(m) for b, m in held.items()}


def test_the_search_finds_as_many_held_out_pairs_as_the_gate_is_told():
    """Neighbors count the pairs of a fold, each of which helps to find itself: it must not count as found by that."""
    train, held = planted()
    made = prepared.prepare(CONFIG, INFO, types.Evidence(train, teach=True))
    for behavior in INFO.behaviors:
        truth = lists.without(held[behavior].astype(np.float32), candidates.met(made.lists[behavior]["new"]))
        really = lessons.hits(made.lists[behavior]["new"], truth).sum() / truth.nnz
        _, pairs, familiar, found = made.lessons.counts[behavior]
        # More of them, since any behavior's neighbors will do; when a pair was its own neighbor, 2.3 and 2.9 times.
        assert 0.6 < found.sum() / (pairs - familiar).sum() / really < 2


def test_an_answer_that_would_be_no_candidate_is_not_taught_as_a_wrong_one():
    """Rows by hand: the list of user 0 loses an answer, that of user 1 its only one, and with it all the others."""
    of = lists.Lists(
        user=np.arange(3, dtype=np.int32),
        history={},
        removed={},
        ptr=np.array([0, 3, 5, 8]),
        item=np.array([0, 1, 2, 0, 3, 1, 2, 4], np.int32),
    )
    nothing = regression.Predicted(*(np.zeros((0, 8)) for _ in regression.Predicted._fields))
    positive = np.float32([1, 0, 1, 1, 0, 0, 1, 0])
    draft = lessons.Draft(
        "new", retrieval.Found(of, nothing), positive, line=np.array([0, 2, 3]), fresh=1 - positive * 0
    )
    passed = np.array([True, True, False, False, True, True, True, True])
    x = np.arange(8, dtype=np.float16)[:, None]
    lesson = teaching._lesson(draft, x, passed)
    np.testing.assert_array_equal(lesson.x[:, 0], [0, 1, 5, 6, 7])
    np.testing.assert_array_equal(lesson.ptr, [0, 2, 5])
    np.testing.assert_array_equal(lesson.positive, [1, 0, 0, 1, 0])
    whole = teaching._lesson(draft, x, np.ones(8, bool))
    assert whole.x is x and whole.positive is positive
    # Of four users who were searched for, what is found is theirs.
    drafts = teaching.Drafts({}, {"buy": (np.zeros((4, 1)), np.ones(4), np.zeros(4), np.zeros(4))})
    drafts._count("buy", draft, passed)
    np.testing.assert_array_equal(drafts.counts["buy"][-1], [1, 0, 0, 1])


def test_gates_of_few_users_have_as_many_rows(monkeypatch):
    """What is left over is of nobody, who has no pairs. Of many users nothing is filled up."""
    counts = {
        "view": (np.ones((3, 4), np.float32), *np.float32([[2, 1, 1], [1, 0, 1], [1, 1, 0]])),
        "buy": (np.ones((1, 4), np.float32), *np.float32([[3], [1], [2]])),
    }
    found = teaching._as_long(counts)
    assert {x.shape[0] for of in found.values() for x in of} == {3}
    np.testing.assert_array_equal(found["buy"][0], [[1] * 4, [0] * 4, [0] * 4])
    np.testing.assert_array_equal(found["buy"][1:], [[3, 0, 0], [1, 0, 0], [2, 0, 0]])
    monkeypatch.setattr(teaching, "FEW", 2)
    assert teaching._as_long(counts)["buy"][0].shape == (1, 4)
