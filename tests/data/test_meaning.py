"""What a split asks for, in sentences: each of them from a small split of which the shares are known."""

from __future__ import annotations

import pytest

from mbjax import data
from mbjax.data import log, meaning, options, statistics


def made(visited: int, new: int, **valid) -> statistics.Statistics:
    """Held-out purchases, so many of them viewed before; purchases of item 0 are the training pairs."""
    number = visited + new
    pairs = {
        "train": {"view": [(user, 1) for user in range(visited)] or [(0, 2)], "buy": [(u, 0) for u in range(number)]},
        "test": {"buy": [(user, 1) for user in range(number)]},
        **valid,
    }
    choice = options.Options(valid="file" if valid else "none")
    return statistics.describe(data.assemble("drawn", number, 4, ("view", "buy"), pairs, choice=choice))


@pytest.mark.parametrize(
    ("visited", "new", "begin", "end"),
    [
        (6, 4, "test.buy: 60% of what is held out was met before, by view. A list of own items is hard", "new items."),
        (5, 5, "test.buy: 50% of what is held out was met before, by view. A list of own items is hard", "new items."),
        (1, 9, "test.buy: 10% of what is held out was met before, by view. Own items are the easy part", "the user."),
        (1, 39, "test.buy: 2% of what is held out was met before, by view. Nearly all", "cost places."),
        (1, 199, "test.buy: less than 1% of what is held out was met before, by view. Nearly all", "cost places."),
        (0, 4, "test.buy: nothing that is held out was met by another behavior before. Only new", "cost places."),
    ],
)
def test_what_a_share_of_familiar_pairs_means(visited, new, begin, end):
    (said,) = meaning.familiar(made(visited, new))
    assert said.startswith(begin) and said.endswith(end)


def test_behaviors_that_pairs_were_met_by_come_in_order_and_without_those_that_none_was():
    pairs = {
        "train": {"view": [(0, 1)], "like": [(2, 0)], "cart": [(0, 1), (1, 1)], "buy": [(0, 0), (1, 0)]},
        "test": {"buy": [(0, 1), (1, 1)], "cart": [(2, 2)]},
    }
    behaviors = ("view", "like", "cart", "buy")
    found = data.assemble("four", 3, 3, behaviors, pairs, choice=options.Options(valid="none"))
    cart, buy = meaning.familiar(statistics.describe(found))
    assert cart.startswith("test.cart: nothing") and buy.startswith("test.buy: 100% of what is held out")
    assert "by cart or view." in buy


def test_of_one_behavior_nothing_is_familiar():
    pairs = {"train": {"buy": [(0, 0), (1, 1)]}, "test": {"buy": [(0, 1)]}}
    only = data.assemble("only", 2, 2, ("buy",), pairs, choice=options.Options(valid="none"))
    (said,) = meaning.familiar(statistics.describe(only))
    assert said == "test.buy: one behavior is used, so that nothing can have been met by another."


def test_validation_pairs_that_are_not_like_test_pairs_are_told():
    """Of validation pairs all were viewed, of test pairs 3 in 10; then none and 3 in 10."""
    seen = {"valid": {"buy": [(0, 1), (1, 1)]}, "test": {"buy": [(2, 1), *((user, 1) for user in range(4, 10))]}}
    _, said = meaning.familiar(made(4, 6, **seen))
    assert said == (
        "buy: 100% of the validation pairs were met before, 14% of the test pairs. What is chosen on the former suits "
        "them and not the latter; see data.valid_leaves=all_behaviors."
    )
    _, said = meaning.familiar(made(4, 6, **(seen | {"valid": {"buy": [(0, 3), (1, 3)]}, "test": made_test()})))
    assert said.startswith("buy: 0% of the validation pairs were met before, 40%")
    assert said.endswith("see data.valid_leaves=same_behavior.")
    alike = {"valid": {"buy": [(0, 1), (1, 3), (2, 3), (3, 3), (4, 3)]}, "test": made_test()}
    assert len(meaning.familiar(made(4, 6, **alike))) == 1  # 20 % and 40 %: not further apart than APART


def made_test():
    return {"buy": [(user, 1) for user in range(10) if user]} | {"buy": [(3, 1), (2, 1), *((u, 1) for u in (4, 5, 6))]}


def test_repeats_are_told_with_what_became_of_them(tmp_path):
    (said,) = meaning.repeats(made(1, 1))
    assert said.startswith("No held-out pair repeats a training pair of its own behavior")
    # Of files: 1 of 3 is masked.
    pairs = {"train": {"buy": [(0, 0), (1, 1)]}, "test": {"buy": [(0, 0), (0, 1), (1, 0)]}}
    found = data.assemble("files", 2, 2, ("buy",), pairs, choice=options.Options(valid="none"))
    (said,) = meaning.repeats(statistics.describe(found))
    assert said.startswith("test.buy: 1 of 3 held-out pairs (33.3%) repeat a training pair")
    # Of a log: the second of two equal rows, before anything is held out.
    rows = ["a,x,view,1", "a,x,view,2", "a,x,buy,3", "a,x,buy,4", "a,y,buy,5", "b,x,buy,1", "b,y,buy,2"]
    (tmp_path / "log.csv").write_text("\n".join(["user,item,behavior,time", *rows]) + "\n")
    content = log.read(tmp_path / "log.csv", options.LogOptions(behaviors=("view", "buy")))
    assert content.repeats == {"view": (1, 2), "buy": (1, 5)}
    view, buy = meaning.repeats(
        statistics.describe(data.load(tmp_path / "log.csv", options.Options(log=content_log())))
    )
    assert view.startswith("view: 1 of 2 rows (50.0%) repeat an earlier one of the same user and item")
    assert buy.startswith("buy: 1 of 5 rows (20.0%)") and "data.log.deduplicate" in buy


def content_log() -> options.LogOptions:
    return options.LogOptions(behaviors=("view", "buy"))


def test_the_best_list_of_each_behavior():
    tables = {"first": {"buy": {"ndcg@5": 0.25}, "view": {"ndcg@5": 0.5}}, "second": {"buy": {"ndcg@5": 0.75}}}
    assert meaning.best(tables, ("view", "cart", "buy"), "ndcg@5") == [
        "view: a model has to be ahead of first (NDCG@5 0.5000).",
        "buy: a model has to be ahead of second (NDCG@5 0.7500).",
    ]
