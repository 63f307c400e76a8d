"""Names of behaviors within columns: those of a log, unless two columns would be called alike."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from mbjax import types
from mbjax.features import naming
from mbjax.models import funnel, funnel_config

SMALL = {"hidden": 3, "hidden_new": 2, "members": 2, "penalty": 5.0, "steps": 4, "new_items": 4, "folds": 2}


@pytest.mark.parametrize(
    ("behaviors", "is_clear"),
    [
        (("view", "cart", "buy"), True),
        (("add_to_cart", "pay_now"), True),
        (("add", "add_cart", "cart_add", "buy"), False),
        (("view", "shrunk", "buy"), False),
    ],
)
def test_numbers_stand_for_what_would_collide(behaviors, is_clear):
    names = naming.plain(behaviors)
    assert tuple(names) == behaviors
    assert tuple(names.values()) == (behaviors if is_clear else tuple(map(str, range(len(behaviors)))))


def test_names_decide_nothing():
    """The same pairs under clear names and under others: the same numbers, parameters and findings."""
    rng = np.random.default_rng(3)
    pairs = [sparse.csr_array((rng.random((40, 20)) < share).astype(np.uint8)) for share in (0.4, 0.2, 0.2, 0.15)]
    valid = sparse.csr_array(((rng.random((40, 20)) < 0.1) & (pairs[3].toarray() == 0)).astype(np.uint8))
    made = []
    for behaviors in (("a", "b", "c", "d"), ("add", "add_cart", "cart_add", "buy")):
        model = funnel.build(funnel_config.FunnelConfig(**SMALL), types.DatasetInfo("log", 40, 20, behaviors), 16)
        assert model.info.behaviors == behaviors
        train = dict(zip(behaviors, pairs, strict=True))
        evidence = types.Evidence(train, valid={behaviors[-1]: valid}, teach=True)
        graphs = model.prepare(evidence)
        (stores, _) = model.teach(evidence, 1)[1]
        lists = [np.asarray(graphs["funnel"][b][part]["x"]) for b in graphs["funnel"] for part in ("familiar", "new")]
        made.append(lists + [np.asarray(store.x) for store in stores.values()])
    for first, second in zip(*made, strict=True):
        np.testing.assert_array_equal(first, second)
