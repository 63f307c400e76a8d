"""What counts as seen: by hand, for every way of splitting, and against brute force over random data sets."""

from __future__ import annotations

import itertools
from types import SimpleNamespace as Namespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mbjax import candidates, data, errors, recommend, seen, types
from mbjax.data import content, dataset

USERS, ITEMS, BEHAVIORS = 5, 12, ("view", "cart", "buy")
PAIRS = list(itertools.product(range(USERS), range(ITEMS)))


def items_of(matrix, user):
    return matrix[[user]].indices.tolist()


def planted(choice=None, **splits) -> data.Dataset:
    """Of ``train={"buy": [(user, item), ...]}`` and so on."""
    hold_out = splits.pop("hold_out", None)
    pairs = {
        split: {b: np.asarray(p, np.int64).reshape(-1, 2) for b, p in parts.items()} for split, parts in splits.items()
    }
    source = content.build("planted", USERS, ITEMS, BEHAVIORS, pairs, hold_out=hold_out)
    return dataset.prepare(source, choice or data.Options(behaviors=BEHAVIORS))


TRAIN = {"view": [(0, 0), (0, 1), (0, 6)], "cart": [(0, 1)], "buy": [(0, 2), (0, 3)]}
VALID, TEST = {"view": [(0, 4)], "buy": [(0, 5), (0, 6)]}, {"buy": [(0, 7)]}


@pytest.mark.parametrize("rule", ["file", "random_one", "none", "into_train"])
@pytest.mark.parametrize("leaves", ["same_behavior", "all_behaviors"])
def test_whatever_the_split_all_of_the_log_is_known(rule, leaves):
    made = planted(
        data.Options(behaviors=BEHAVIORS, valid=rule, valid_leaves=leaves, subsample={"view": 0.4}),
        train=TRAIN,
        valid=VALID,
        test=TEST,
    )
    assert items_of(seen.pairs(made, "buy"), 0) == [2, 3, 5, 6, 7]
    assert items_of(seen.pairs(made, "view"), 0) == [0, 1, 4, 6]
    assert items_of(seen.pairs(made, "cart"), 0) == [1]
    assert items_of(seen.pairs(made, "buy", mask="all_behaviors"), 0) == [0, 1, 2, 3, 4, 5, 6, 7]
    assert not seen.pairs(made, "buy", exclude="none", mask="all_behaviors").nnz
    # No pair is lost, and none is in two places.
    for behavior in BEHAVIORS:
        parts = [s[behavior] for s in (made.train, made.valid, made.test, made.unused) if behavior in s]
        assert sum(parts).max() == 1


def test_what_left_training_with_validation_pairs_is_known_with_them():
    """Pairs of other behaviors that left with them, and none that a subsample left out."""
    choice = data.Options(
        behaviors=BEHAVIORS, valid="file", valid_leaves="all_behaviors", mask_valid=True, subsample={"view": 0.01}
    )
    made = planted(choice, train=TRAIN, valid=VALID, test=TEST)
    unused = items_of(made.unused["view"], 0)  # 6 was bought in validation; of the others a share was drawn
    assert len(unused) == 2 and unused[-1] == 6
    assert items_of(made.visits["view"], 0) == [6] and set(made.visits) == {"view"}
    assert items_of(seen.held(made, "view"), 0) == [4, 6] and items_of(seen.held(made, "buy"), 0) == [5, 6]
    known, alone = (Namespace(joins=joins) for joins in (True, False))
    assert items_of(candidates.held_out(made, "view", known), 0) == unused[:1]
    assert items_of(candidates.held_out(made, "view", alone), 0) == sorted([*unused, 4])


@pytest.mark.parametrize("rule", ["file", "none", "into_train"])
def test_familiar_is_what_another_behavior_met(rule):
    made = planted(data.Options(behaviors=BEHAVIORS, valid=rule), train=TRAIN, valid=VALID, test=TEST)
    met_in_valid = {"file": [], "none": [], "into_train": [4]}[rule]
    assert items_of(seen.familiar(made, "buy"), 0) == sorted([0, 1, 6] + met_in_valid)
    assert items_of(seen.familiar(made, "buy", known=True), 0) == [0, 1, 4, 6]
    # Item 1 was both viewed and put into the cart; own pairs decide nothing.
    assert items_of(seen.familiar(made, "view", known=True), 0) == [1, 2, 3, 5, 6, 7]
    assert items_of(seen.familiar(made, "view"), 1) == []


def test_without_takes_pairs_out_whatever_their_entries():
    made = planted(data.Options(behaviors=BEHAVIORS, valid="none"), train=TRAIN, test=TEST)
    left = seen.without(seen.union([made.train["view"], made.train["cart"]], (USERS, ITEMS)), made.train["cart"])
    assert items_of(left, 0) == [0, 6]
    assert left.has_sorted_indices and left.data.min() > 0


def test_a_list_that_leaves_training_was_seen():
    made = planted(
        data.Options(behaviors=BEHAVIORS, valid="none", hold_out="theirs"),
        train=TRAIN,
        test=TEST,
        hold_out={"buy": [(0, 3)], "view": [(0, 0)]},
    )
    assert items_of(made.train["buy"], 0) == [2]
    assert items_of(seen.pairs(made, "buy"), 0) == [2, 3, 7]
    assert items_of(seen.pairs(made, "buy", exclude="train"), 0) == [2]
    assert items_of(seen.pairs(made, "view"), 0) == [0, 1, 6]


def test_training_as_the_evaluation_masks_it():
    options = {"behaviors": BEHAVIORS, "valid": "file"}
    made = planted(data.Options(**options, mask_valid=False), train=TRAIN, valid=VALID, test=TEST)
    assert items_of(seen.pairs(made, "buy", exclude="train"), 0) == [2, 3]
    made = planted(data.Options(**options, mask_valid=True), train=TRAIN, valid=VALID, test=TEST)
    assert items_of(seen.pairs(made, "buy", exclude="train"), 0) == [2, 3, 5, 6]
    assert items_of(seen.pairs(made, "buy", exclude="train", split="valid"), 0) == [2, 3]
    assert items_of(seen.pairs(made, "buy", exclude="train", mask="all_behaviors"), 0) == [0, 1, 2, 3, 5, 6]
    # There are no test pairs of views, and lists of them can be made all the same.
    assert items_of(seen.pairs(made, "view", exclude="train"), 0) == [0, 1, 4, 6]


def test_what_is_left_out_is_said():
    made = planted(train=TRAIN, valid=VALID, test=TEST)
    say = {(exclude, mask): seen.describe(made, exclude, mask) for exclude in seen.EXCLUDE for mask in seen.MASKS}
    assert say["known", "same_behavior"].endswith(
        "all that a user met by the behavior of the list, in whatever split (exclude=known)"
    )
    assert "by any behavior" in say["known", "all_behaviors"]
    assert say["train", "same_behavior"].endswith("what a user met by the behavior of the list in training")
    assert "nothing" in say["none", "all_behaviors"]
    with pytest.raises(errors.ConfigError, match="unknown value of exclude 'all'"):
        seen.pairs(made, "buy", exclude="all")


def read(params, tables, users, start, size, behavior):
    return params[behavior][users][:, start : start + size]


def nothing(params, graphs):
    return ()


cells = st.lists(st.integers(0, 5), min_size=len(BEHAVIORS) * len(PAIRS), max_size=len(BEHAVIORS) * len(PAIRS))
CHOICES = {
    "cells": cells,
    "rule": st.sampled_from(["file", "random_one", "none", "into_train"]),
    "leaves": st.sampled_from(["same_behavior", "all_behaviors"]),
    "mask_valid": st.sampled_from([None, True, False]),
}


def drawn(cells, rule, leaves, mask_valid):
    """Pairs of random splits and the data set of them. A cell is a pair: 0 train, 1 valid, 2 test, else not there."""
    splits = ("train", "valid", "test")
    found = {split: {b: [(user, 0)] for b in BEHAVIORS} for user, split in enumerate(splits)}
    for (behavior, pair), cell in zip(itertools.product(BEHAVIORS, PAIRS), cells, strict=True):
        if cell < 3 and pair[1]:
            found[splits[cell]][behavior].append(pair)
    choice = {"valid": rule, "valid_leaves": leaves, "mask_valid": mask_valid, "subsample": {"view": 0.5}}
    return found, planted(data.Options(behaviors=BEHAVIORS, **choice), **found)


@settings(max_examples=40, deadline=None)
@given(**CHOICES)
def test_seen_pairs_equal_brute_force(cells, rule, leaves, mask_valid):
    found, made = drawn(cells, rule, leaves, mask_valid)
    for behavior, exclude, mask in itertools.product(BEHAVIORS, seen.EXCLUDE, seen.MASKS):
        matrix = seen.pairs(made, behavior, exclude=exclude, mask=mask)
        for user in range(USERS):
            assert items_of(matrix, user) == sorted(left_out(found, made, user, behavior, exclude, mask))


@settings(max_examples=4, deadline=None)
@given(seed=st.integers(0, 10**6), exclude=st.sampled_from(seen.EXCLUDE), mask=st.sampled_from(seen.MASKS), **CHOICES)
def test_no_list_holds_what_was_seen_and_all_the_rest_is_ranked(seed, exclude, mask, **choices):
    found, made = drawn(**choices)
    scores = np.random.default_rng(seed).integers(-2, 3, (3, USERS, ITEMS)).astype(np.float32)
    model = types.Model(info=made.info, graphs={}, batch=None, init=None, loss=None, encode=nothing, score=read)
    for k, lists in enumerate(recommend.make(model, scores, {}, made, top_k=ITEMS, exclude=exclude, mask=mask)):
        for user in range(USERS):
            rest = set(range(ITEMS)) - left_out(found, made, user, BEHAVIORS[k], exclude, mask)
            ranked = sorted(rest, key=lambda item: (-scores[k, user, item], item))
            assert lists.table.filter(user=user)["item"].to_list() == ranked


def left_out(found, made, user, behavior, exclude, mask):
    """From the pairs as they were drawn, a user at a time."""
    behaviors = BEHAVIORS if mask == "all_behaviors" else (behavior,)
    if exclude == "known":
        return {i for split in found.values() for b in behaviors for u, i in split[b] if u == user}
    if exclude == "none":
        return set()
    own = set(items_of(made.valid[behavior], user)) if made.mask_valid and behavior in made.valid else set()
    own -= set(items_of(made.test[behavior], user))
    return own.union(*(items_of(made.train[b], user) for b in behaviors))
