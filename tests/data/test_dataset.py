"""The choice of behaviors, target and validation rule, and the fingerprint."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mbjax import data, errors
from mbjax.data import content, dataset

# user 0 meets items 0-3, user 1 items 0-1, user 2 nothing
PAIRS = {
    "train": {
        "view": [[0, 3], [0, 1], [1, 0]],
        "like": [],
        "buy": [[1, 1], [0, 2], [0, 0]],
    },
    "test": {"view": [[1, 3]], "like": [[2, 2]], "buy": [[0, 3], [1, 0]]},
}
BEHAVIORS = ("view", "like", "buy")


def made(pairs=PAIRS, **choice):
    return data.assemble("toy", 3, 4, BEHAVIORS, pairs, choice=data.Options(**{"behaviors": ("view", "buy"), **choice}))


def pairs(matrix):
    return np.argwhere(matrix.toarray()).tolist()


def test_matrices_hold_the_pairs_of_every_split():
    found = made(valid="none")
    assert found.info == ("toy", 3, 4, ("view", "buy"), False, False, 0)
    assert pairs(found.train["view"]) == [[0, 1], [0, 3], [1, 0]]
    assert pairs(found.train["buy"]) == [[0, 0], [0, 2], [1, 1]]
    assert pairs(found.test["buy"]) == [[0, 3], [1, 0]] and pairs(found.test["view"]) == [[1, 3]]
    assert found.valid == {} and found.valid_rule == "none"
    for matrix in found.train.values():
        assert matrix.dtype == np.uint8 and matrix.indices.dtype == np.int32 and matrix.indptr.dtype == np.int32
        assert matrix.shape == (3, 4) and matrix.has_canonical_format


def test_a_behavior_without_training_pairs_is_left_out_with_a_warning():
    with pytest.warns(errors.DataWarning, match="toy: behavior 'like' has no training pairs and is left out"):
        found = data.assemble("toy", 3, 4, BEHAVIORS, PAIRS)
    assert found.info.behaviors == ("view", "buy") and "like" not in found.test
    assert any("'like'" in note for note in found.notes)


def test_a_behavior_without_training_pairs_stays_where_it_is_asked_for():
    found = made(behaviors=BEHAVIORS)
    assert found.info.behaviors == BEHAVIORS
    assert found.train["like"].nnz == 0 and pairs(found.test["like"]) == [[2, 2]]


def test_another_target_moves_to_the_end():
    assert made(target="view").info.behaviors == ("buy", "view")
    other = made(behaviors=("buy", "view"))
    assert other.info.behaviors == ("view", "buy")
    assert any("the target is 'buy', as the data set has it, and so comes last" in note for note in other.notes)
    assert made(behaviors=("view",)).info.behaviors == ("view",)
    assert pairs(made(target="view", valid="random_one").valid["view"])[0][0] == 0  # only user 0 has two views


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"behaviors": ("view", "by")}, "unknown behavior 'by'. Did you mean 'buy'"),
        ({"behaviors": ("buy", "buy")}, "must name each behavior once"),
        ({"behaviors": ()}, "at least one"),
        ({"target": "like"}, "unknown target 'like'.*Known: buy, view"),
        ({"valid": "file"}, "data.valid=file needs validation pairs"),
        ({"valid": "file_inside_train"}, "data.valid=file_inside_train needs"),
    ],
)
def test_a_choice_that_does_not_fit_is_refused(choice, message):
    with pytest.raises(errors.ConfigError, match=message):
        made(**choice)


def test_no_training_pairs_at_all():
    with pytest.raises(errors.DataError, match="none of the behaviors like has training pairs"):
        made(behaviors=("like",))
    with pytest.raises(errors.DataError, match="no behavior has training pairs"):
        data.assemble("toy", 3, 4, ("buy",), {"test": {"buy": [[0, 0]]}})


def test_rule_and_mask_follow_the_files():
    own = made()
    assert (own.valid_rule, own.mask_valid) == ("random_one", True)
    by_file = made(PAIRS | {"valid": {"buy": [[1, 2]]}})
    assert (by_file.valid_rule, by_file.mask_valid, pairs(by_file.valid["buy"])) == ("file", False, [[1, 2]])
    inside = made(PAIRS | {"valid_inside_train": {"buy": [[0, 2]]}})
    assert (inside.valid_rule, inside.mask_valid) == ("file_inside_train", True)
    assert pairs(inside.valid["buy"]) == [[0, 2]] and pairs(inside.train["buy"]) == [[0, 0], [1, 1]]
    assert pairs(made(PAIRS | {"valid_inside_train": {"buy": [[0, 2]]}}, valid="none").train["buy"]) == [
        [0, 0],
        [0, 2],
        [1, 1],
    ]
    assert made(mask_valid=False).mask_valid is False
    # Drawing instead of using the files changes nothing about time: the data set is still split by time.
    assert made(PAIRS | {"valid": {"buy": [[1, 2]]}}, valid="random_one").mask_valid is False


def test_a_copy_without_the_known_validation_pairs_says_so_and_draws_only_by_its_own_rule():
    source = dataclasses.replace(content.build("toy", 3, 4, BEHAVIORS, PAIRS), lost_valid_file=True)
    with pytest.warns(
        errors.DataWarning, match="no list of validation pairs .* its rule is then data.valid=random_one"
    ):
        found = dataset.prepare(source, data.Options(behaviors=("view", "buy")))
    assert found.valid_rule == "random_one" and found.mask_valid
    with pytest.raises(errors.ConfigError, match="data.valid=file_inside_train needs validation pairs"):
        dataset.prepare(source, data.Options(behaviors=("view", "buy"), valid="file_inside_train"))


def test_validation_files_that_cannot_be_used_are_not_replaced_by_a_draw():
    by_file = PAIRS | {"valid": {"view": [[1, 2]]}}
    with pytest.raises(
        errors.ConfigError, match=r"toy: no validation pairs: none .* of a behavior in use \(buy\). Choose"
    ):
        made(by_file, behaviors=("buy",))
    kept = made(by_file, behaviors=("view", "buy"))
    assert kept.valid_rule == "file" and "valid: no pairs of the target 'buy', only view (1)" in kept.notes
    drawn = made(by_file, behaviors=("view", "buy"), valid="random_one")
    assert "valid: 1 validation pairs of toy are not used (data.valid=random_one)" in drawn.notes


def test_a_target_without_training_pairs_is_not_replaced():
    with pytest.raises(
        errors.ConfigError, match="the target 'buy' has no training pairs. Choose another, as --data.targ"
    ):
        data.assemble("toy", 3, 4, ("view", "buy"), {"train": {"view": [[0, 1], [1, 1]]}})
    assert made({"train": {"view": [[0, 1], [1, 1]]}}, behaviors=("view",)).info.target == "view"


def test_duplicates_and_known_pairs_are_counted():
    repeated = {"train": {"buy": [[0, 1], [0, 1], [0, 1], [1, 1]]}, "test": {"buy": [[0, 1], [1, 0]]}}
    found = data.assemble("toy", 3, 4, ("buy",), repeated)
    assert found.notes == (
        "train.buy: 2 duplicate pairs dropped",
        "test.buy: 1 of 2 pairs are also in train.buy and were dropped from test",
    )
    assert pairs(found.train["buy"]) == [[0, 1], [1, 1]] and pairs(found.test["buy"]) == [[1, 0]]


def test_what_only_code_can_do_wrong_is_a_value_error():
    with pytest.raises(ValueError, match="split 'dev'"):
        data.assemble("toy", 3, 4, ("buy",), {"dev": {}})
    with pytest.raises(ValueError, match="train.buy has indices beyond 3 users, 4 items"):
        data.assemble("toy", 3, 4, ("buy",), {"train": {"buy": [[0, 4]]}})


def fingerprint(pairs=PAIRS, num_users=3, behaviors=BEHAVIORS):
    return content.build("toy", num_users, 4, behaviors, pairs).fingerprint()


def test_fingerprint_sees_pairs_and_sizes():
    whole = fingerprint()
    assert whole == made().fingerprint == made(target="view", valid="none").fingerprint
    assert len(whole) == 64 and set(whole) <= set("0123456789abcdef")
    assert fingerprint(num_users=4) != whole
    less = PAIRS["train"] | {"buy": PAIRS["train"]["buy"][1:]}
    assert fingerprint(PAIRS | {"train": less}) != whole
    assert fingerprint({"train": PAIRS["test"], "test": PAIRS["train"]}) != whole
    renamed = {split: {b.replace("view", "see"): p for b, p in of.items()} for split, of in PAIRS.items()}
    assert fingerprint(renamed, behaviors=("see", "like", "buy")) != whole


def test_fingerprint_does_not_see_order_duplicates_inside_lists_or_empty_splits():
    whole = fingerprint()
    shuffled = PAIRS["train"] | {"buy": PAIRS["train"]["buy"][::-1] + [[0, 0]]}
    assert fingerprint(PAIRS | {"train": shuffled}) == whole
    assert fingerprint(PAIRS | {"valid_inside_train": {"buy": [[0, 2]]}}) == whole
    assert fingerprint(PAIRS | {"valid": {"buy": []}}) == whole
    assert fingerprint(behaviors=("like", "view", "buy")) == whole


PAIR_LISTS = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 5)), max_size=25)
CONTENTS = st.fixed_dictionaries(
    {s: st.fixed_dictionaries({b: PAIR_LISTS for b in ("view", "buy")}) for s in content.SPLITS}
)


@settings(max_examples=60, deadline=None)
@given(pairs=CONTENTS, seed=st.integers(0, 5), target=st.sampled_from(["view", "buy"]))
def test_random_one_never_takes_a_users_last_training_target(pairs, seed, target):
    choice = data.Options(behaviors=("view", "buy"), target=target, valid="random_one", seed=seed)
    if not any(pairs["train"].values()):
        return
    found = data.assemble("toy", 5, 6, ("view", "buy"), pairs, choice=choice)
    has_target = {u for u, _ in pairs["train"][target]}
    assert set(np.flatnonzero(np.diff(found.train[target].indptr))) == has_target
    for behavior in ("view", "buy"):
        splits = [of[behavior].toarray() for of in (found.train, found.valid, found.test) if behavior in of]
        assert (sum(m.astype(int) for m in splits) <= 1).all()


@pytest.mark.realdata
def test_taobao_inside_pairs_leave_training(real_data):
    found = data.load(real_data("taobao"))
    assert found.valid_rule == "file_inside_train" and found.mask_valid
    assert found.train["buy"].nnz == 92_180 - 15_449 and found.valid["buy"].nnz == 15_449
    assert found.train["buy"].multiply(found.valid["buy"]).nnz == 0
    assert found.test["buy"].nnz == 15_449


def test_listed_pairs_leave_training_and_are_not_used():
    listed = {"view": [[0, 1], [2, 2]], "like": [[0, 0]]}
    source = content.build("toy", 3, 4, BEHAVIORS, PAIRS, hold_out=listed)
    choice = data.Options(behaviors=("view", "buy"), valid="none", hold_out="theirs")
    found = dataset.prepare(source, choice)
    assert pairs(found.train["view"]) == [[0, 3], [1, 0]] and pairs(found.train["buy"]) == [[0, 0], [0, 2], [1, 1]]
    assert found.valid == {} and pairs(found.test["view"]) == [[1, 3]]
    assert "train.view: 1 of 2 pairs of theirs were left out" in found.notes
    assert found.fingerprint == fingerprint()
    # Without the choice the list changes nothing; without a list the choice is refused.
    assert pairs(dataset.prepare(source, dataclasses.replace(choice, hold_out=None)).train["view"])[0] == [0, 1]
    with pytest.raises(errors.ConfigError, match="data.hold_out=theirs names a list .* this data set has none"):
        made(hold_out="theirs")


def test_validation_pairs_leave_the_other_behaviors_on_request():
    own = {"train": {"view": [[0, 1], [0, 2], [1, 1]], "buy": [[0, 1], [0, 2], [1, 2]]}, "test": {"buy": [[1, 1]]}}
    kept = made(own, valid="random_one")
    left = made(own, valid="random_one", valid_leaves="all_behaviors")
    ((user, item),) = pairs(left.valid["buy"])
    assert pairs(kept.valid["buy"]) == [[user, item]] and [user, item] in pairs(kept.train["view"])
    assert pairs(left.train["view"]) == [pair for pair in pairs(kept.train["view"]) if pair != [user, item]]
    assert pairs(left.train["buy"]) == pairs(kept.train["buy"])
    # The other user's test pair was viewed: what is tested stays as it is.
    assert pairs(left.test["buy"]) == [[1, 1]] and [1, 1] in pairs(left.train["view"])
    assert left.notes == (*kept.notes, "train.view: 1 validation pairs of other behaviors were left out")


def test_half_of_an_auxiliary_behavior():
    whole = made(valid="random_one")
    half = made(valid="random_one", subsample={"view": 0.5}, seed=0)
    assert whole.train["view"].nnz == 3 and half.train["view"].nnz == 2
    assert half.train["view"].multiply(whole.train["view"]).nnz == 2
    for name in ("valid", "test"):  # what is held out stays, the test pairs of the behavior too
        for behavior, matrix in getattr(whole, name).items():
            assert pairs(getattr(half, name)[behavior]) == pairs(matrix)
    assert pairs(half.train["buy"]) == pairs(whole.train["buy"])
    # The same data set, of which less is used.
    assert half.fingerprint == whole.fingerprint
    assert half.notes == (*whole.notes, "train.view: 2 of 3 pairs are used (data.subsample)")
    with pytest.raises(errors.ConfigError, match="'view' is the target"):
        made(target="view", subsample={"view": 0.5})
    with pytest.raises(errors.ConfigError, match="unknown behavior in data.subsample 'like'"):
        made(subsample={"like": 0.5})  # it is not in use
