"""Which epoch each selection takes, on curves whose best epochs are known."""

import pytest

from mbjax import errors
from mbjax.reporting import selections

# epoch:                 0    1    2    3
PURCHASE = {"valid": [0.10, 0.30, 0.20, 0.10], "test": [0.10, 0.20, 0.40, 0.30]}
CLICK = {"valid": [0.10, 0.10, 0.20, 0.50], "test": [0.10, 0.50, 0.20, 0.20]}


def make_rows():
    return [
        {
            "epoch": epoch,
            **{
                split: {
                    "click": {"ndcg@5": CLICK[split][epoch], "hr@5": 0.0},
                    "purchase": {"ndcg@5": PURCHASE[split][epoch], "hr@5": 1 - PURCHASE[split][epoch], "users": 2},
                }
                for split in ("valid", "test")
            },
        }
        for epoch in range(4)
    ]


def select(name, rows=None, monitor="mean:ndcg"):
    table = selections.select(rows or make_rows(), name, monitor=monitor, first_k=5, target="purchase")
    return {behavior: (values["epoch"], values["ndcg@5"]) for behavior, values in table.items()}


def test_monitored_is_a_mean_over_behaviors_or_one_behavior():
    table = {"click": {"ndcg@5": 0.2, "hr@10": 0.5}, "buy": {"ndcg@5": 0.4, "hr@10": 0.1}, "cart": {"users": 0}}
    assert selections.monitored(table, "mean:ndcg", 5) == pytest.approx(0.3)
    assert selections.monitored(table, "mean:hr@10", 5) == pytest.approx(0.3)
    assert selections.monitored(table, "buy:hr@10", 5) == 0.1
    with pytest.raises(errors.ConfigError, match=r"behavior in train.monitor 'bui'. Did you mean 'buy'"):
        selections.monitored(table, "bui:ndcg", 5)
    with pytest.raises(errors.ConfigError, match="no behavior .* has a value of ndcg@7"):
        selections.monitored(table, "mean:ndcg", 7)


def test_valid_is_chosen_on_validation_and_read_on_test():
    # means on valid: .1 .2 .2 .3
    assert select("valid") == {"click": (3, 0.20), "purchase": (3, 0.30)}
    assert select("valid", monitor="purchase:ndcg@5") == {"click": (1, 0.50), "purchase": (1, 0.20)}


def test_the_earliest_of_equal_epochs_is_taken():
    assert select("valid", make_rows()[:3])["purchase"][0] == 1


def test_last_and_the_oracles():
    assert select("last") == {"click": (3, 0.20), "purchase": (3, 0.30)}
    # means on test: .1 .35 .3 .25
    assert select("best_test") == {"click": (1, 0.50), "purchase": (1, 0.20)}
    assert select("test_per_behavior") == {"click": (1, 0.50), "purchase": (2, 0.40)}


def test_late_rule_looks_at_its_own_epochs_only_and_later_ties_win():
    def rows(values, last):
        table = [{"epoch": e, "test": {"purchase": {"hr@5": v, "ndcg@5": e / 1000}}} for e, v in values.items()]
        return [*table, {"epoch": last}] if last not in values else table

    assert (
        select("best_test_late", rows({0: 0.1, 50: 0.9, 93: 0.3, 94: 0.8, 96: 0.3, 199: 0.2}, 199))["purchase"][0] == 96
    )
    assert select("best_test_late", rows({0: 0.1, 93: 0.3, 199: 0.31}, 199))["purchase"][0] == 199
    # .30004 is kept as .3000, so that .30001 goes before it
    assert select("best_test_late", rows({93: 0.30004, 96: 0.30001}, 199))["purchase"][0] == 96


def test_a_selection_whose_epoch_was_not_tested_is_empty():
    rows = [{"epoch": 0, "valid": {"purchase": {"ndcg@5": 0.1}}}, {"epoch": 1}]
    assert all(select(name, rows) == {} for name in selections.NAMES)
    with pytest.raises(ValueError, match="unknown selection"):
        select("best")
