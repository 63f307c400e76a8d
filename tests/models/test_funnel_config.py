"""The penalty of funnel's regression where it is chosen on validation pairs."""

import functools

import numpy as np
import pytest
import usual
from scipy import sparse

from mbjax import types
from mbjax.features import prepared
from mbjax.models import ease_penalty, funnel, funnel_config

USERS, ITEMS = 30, 12
INFO = types.DatasetInfo("made", USERS, ITEMS, ("view", "buy"))


@functools.cache
def evidence():
    """45 views and 15 purchases, two pairs a user; a purchase of each of ten users is held out."""
    shape = (USERS, ITEMS)
    views, buys, held = np.zeros(shape, np.uint8), np.zeros(shape, np.uint8), np.zeros(shape, np.uint8)
    for user in range(USERS):
        views[user, user % ITEMS] = 1
        (views if user % 2 else buys)[user, (user + 5) % ITEMS] = 1
        held[user, (user + 7) % ITEMS] = user < 10
    csr = sparse.csr_array
    return types.Evidence({"view": csr(views), "buy": csr(buys)}, valid={"buy": csr(held)})


def test_a_multiple_of_the_pairs_of_a_mean_user(monkeypatch):
    asked = []

    def choose(blocks, weights, given, leave):
        asked.append(([b.nnz for b in blocks], weights.shape, leave))
        return 10.0 if given.valid else None

    monkeypatch.setattr(ease_penalty, "choose", choose)
    config = funnel_config.FunnelConfig()
    assert funnel_config.penalty_of(config, evidence()) == 20.0  # 60 pairs of 30 users
    assert asked == [([45, 15], (2, ITEMS), "all")]
    without = evidence()._replace(valid={})
    assert funnel_config.penalty_of(config, without) == 2 * funnel_config.MULTIPLE
    given = funnel_config.FunnelConfig(penalty=7.0)
    assert funnel_config.penalty_of(given, evidence()) == 7.0 and len(asked) == 2


@pytest.mark.exhaustive
@pytest.mark.parametrize("penalty", usual.cases(["auto", 7.0], {"auto"}.__contains__))
def test_it_is_chosen_once_and_kept_where_validation_pairs_have_joined(monkeypatch, penalty):
    used, prepare = [], prepared.prepare
    monkeypatch.setattr(
        prepared, "prepare", lambda config, *rest: used.append(config.penalty) or prepare(config, *rest)
    )
    model = funnel.build(funnel_config.FunnelConfig(penalty=penalty, hidden=0, hidden_new=0), INFO, 8)
    graphs = model.prepare(evidence())
    joined = {b: m + evidence().valid[b] if b in evidence().valid else m for b, m in evidence().train.items()}
    model.prepare(types.Evidence({b: sparse.csr_array(m) for b, m in joined.items()}, valid={}))
    assert used[0] == used[1] == pytest.approx(float(graphs["penalty"]))
    if penalty == "auto":
        assert used[0] in [2 * multiple for multiple in ease_penalty.PENALTIES]
    assert model.choices(None, graphs) == ({"model.penalty": used[0]} if penalty == "auto" else {})


def test_without_validation_pairs_it_is_kept_all_the_same():
    model = funnel.build(funnel_config.FunnelConfig(hidden=0, hidden_new=0), INFO, 8)
    graphs = model.prepare(evidence()._replace(valid={}))
    assert float(graphs["penalty"]) == 2 * funnel_config.MULTIPLE
    assert model.choices(None, graphs) == {"model.penalty": 2 * funnel_config.MULTIPLE}
