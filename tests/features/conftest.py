"""A log of 12 users, 8 items and 3 behaviors, and pairs that are taken out of some of its histories."""

from __future__ import annotations

import listed
import numpy as np
import pytest
from scipy import sparse

from mbjax.features import candidates, lists

USERS, ITEMS = 12, 8
BEHAVIORS = ("view", "cart", "buy")


@pytest.fixture
def train() -> dict[str, sparse.csr_array]:
    """Behavior -> CSR [12, 8]."""
    rng = np.random.default_rng(3)
    share = {"view": 0.5, "cart": 0.3, "buy": 0.35}
    return {b: sparse.csr_array((rng.random((USERS, ITEMS)) < share[b]).astype(np.uint8)) for b in BEHAVIORS}


@pytest.fixture
def taken(train) -> dict[str, sparse.csr_array]:
    """Every third pair of view and buy of users 0, 2, 5, 7 and 11, CSR [5, 8]."""
    users, found = np.array([0, 2, 5, 7, 11]), {}
    for behavior in ("view", "buy"):
        row, column = lists.pairs(sparse.csr_array(train[behavior][users]))
        found[behavior] = lists.ones(row[::3], column[::3], (len(users), ITEMS))
    return found


@pytest.fixture
def of(train, taken) -> lists.Lists:
    """Lists of all items for these users, in whose histories the pairs are missing."""
    return listed.everything(candidates.histories(train, np.array([0, 2, 5, 7, 11]), taken))
