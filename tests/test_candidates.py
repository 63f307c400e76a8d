"""What a list may hold: by hand, against brute force over every choice, and for models of every kind."""

from __future__ import annotations

import functools
import itertools

import jax
import numpy as np
import polars as pl
import pytest
import toy
import usual
from scipy import sparse

from mbjax import candidates, errors, models, recommend, types
from mbjax import config as configuration
from mbjax.data import dataset, vocabulary
from mbjax.experiment import wiring

QUICK, SLOW = ("itemknn",), ("bvae", "popularity", "lightgcn", "own_items")
LETTERS = "abcdef"


@pytest.fixture(scope="module")
def made() -> dataset.Dataset:
    """One user, items a to f: viewed a, b, and later c; put b into the cart; bought b and d, and later a."""

    def csr(items):
        return sparse.csr_array(np.array([[int(letter in items) for letter in LETTERS]], np.uint8))

    return dataset.Dataset(
        info=types.DatasetInfo("planted", 1, 6, ("view", "cart", "buy")),
        train={"view": csr("ab"), "cart": csr("b"), "buy": csr("bd")},
        valid={},
        test={"buy": csr("a"), "view": csr("c")},
        users=vocabulary.Vocabulary(["ann"]),
        items=vocabulary.Vocabulary(list(LETTERS)),
        mask_valid=True,
        valid_rule="none",
        fingerprint="",
    )


def listed(made, kind, behavior="buy", **options):
    """The items of the one user, in the order of the alphabet."""
    scores = np.zeros((3, 1, 6), np.float32)
    found = recommend.make(planted(made.info), scores, {}, made, top_k=9, behaviors=[behavior], lists=kind, **options)
    return "".join(next(iter(found)).table["item"].to_list())


def planted(info, **given) -> types.Model:
    """The parameters are the scores, [K, U, I]."""

    def read(params, tables, users, start, size, behavior):
        return jax.lax.dynamic_slice_in_dim(params[behavior], start, size, axis=1)[users]

    return types.Model(
        info=info, graphs={}, batch=None, init=None, loss=None, encode=lambda params, graphs: (), score=read, **given
    )


@pytest.mark.parametrize(
    ("options", "blended", "go_on", "discover"),
    [
        ({}, "cef", "c", "ef"),  # a, b, d were bought, a later
        ({"exclude": "train"}, "acef", "a", "cef"),  # what the evaluation asks for: c is met later
        ({"exclude": "none"}, "abcdef", "abcd", "ef"),
        ({"repeat": True}, "abcdef", "abcd", "ef"),
        ({"mask": "all_behaviors", "repeat": True}, "abdef", "abd", "ef"),  # c was viewed alone
        ({"mask": "all_behaviors"}, "ef", None, "ef"),
        ({"mask": "all_behaviors", "exclude": "train"}, "cef", None, "cef"),
    ],
)
def test_by_hand(made, options, blended, go_on, discover):
    assert listed(made, "blended", **options) == blended
    if not options.get("repeat"):
        assert listed(made, "discover", **options) == discover
    if go_on is None:
        with pytest.raises(errors.ConfigError, match="list=continue.*mask=all_behaviors leaves these out"):
            listed(made, "continue", **options)
    else:
        assert listed(made, "continue", **options) == go_on
    if options.get("repeat"):
        both = recommend.make(
            planted(made.info), np.zeros((3, 1, 6), np.float32), {}, made, top_k=9, behaviors=["buy"], **options,
            lists=["discover", "blended", "discover"],
        )  # fmt: skip
        assert [(each.kind, "".join(each.table["item"])) for each in both] == [
            ("discover", discover),
            ("blended", blended),
        ]


def test_another_behavior_has_others(made):
    assert (listed(made, "blended", "view"), listed(made, "continue", "view"), listed(made, "discover", "view")) == (
        "def",
        "d",
        "ef",
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lists": "discovery"}, "unknown list 'discovery'. Did you mean 'discover'"),
        ({"lists": ()}, "no kind of list was named: blended, continue, discover"),
        ({"exclude": "none", "repeat": True}, "repeat lets items come back, and exclude=none leaves nothing out"),
        (
            {"exclude": "train", "repeat": True},
            "repeat lets items come back, and exclude=train is of lists as the eval",
        ),
        ({"lists": "discover", "repeat": True}, "repeat lets.*lists to discover hold none that the user has met"),
    ],
)
def test_contradictions_are_one_line(options, message):
    with pytest.raises(errors.ConfigError, match=message) as caught:
        candidates.rule(**options)
    assert "\n" not in str(caught.value)


def test_what_lists_hold_is_said():
    rule = candidates.rule(("continue", "discover"))
    assert candidates.describe(rule, "left out: x") == [
        "left out: x",
        "continue: lists of items that the user has met by another behavior",
        "discover: lists of items that the user has not met",
    ]
    assert candidates.describe(candidates.rule("continue", repeat=True), "") == [
        "left out of the lists: nothing; items met by the behavior of the list may come back (repeat)",
        "continue: lists of items that the user has met in any way",
    ]
    assert candidates.describe(candidates.rule(mask="all_behaviors", repeat=True), "") == [
        "left out of the lists: what a user met by other behaviors alone; items met by the behavior of the list may "
        "come back (repeat)"
    ]


def test_limits_are_said_and_checked(made):
    found, lines = candidates.limits(
        made.items, available=["a", "b", "c", "x"], groups={"a": "shoe", "b": "shoe", "d": "hat"}, max_per_group=1
    )
    assert found.listed.tolist() == [True] * 3 + [False] * 3
    assert (found.group.tolist(), found.num_groups, found.most) == ([1, 1, 2, 0, 2, 2], 2, 1)
    assert lines == [
        "available: 1 id of no item that the run knows left out (x)",
        "items that may be listed: 3 of 6",
        "at most 1 item of each of 2 groups in a list",
        "1 item of no group: as many of them in a list as there are",
    ]
    assert candidates.limits(made.items)[1] == []
    for options, message in (
        ({"groups": {"a": "x"}}, "groups is given without max_per_group"),
        ({"max_per_group": 2}, "max_per_group is given without groups"),
        ({"groups": {"a": "x"}, "max_per_group": 0}, "max_per_group is 0: it is a whole number, at least 1"),
        ({"groups": {"a": "x"}, "max_per_group": True}, "max_per_group is True"),
        ({"groups": {"a": "x"}, "max_per_group": 1.5}, "max_per_group is 1.5"),
    ):
        with pytest.raises(errors.ConfigError, match=message):
            candidates.limits(made.items, **options)


def test_probabilities_are_written(made):
    scores = np.log(np.array([0.5, 0.2, 0.1, 0.1, 0.06, 0.04]), dtype=np.float32) * np.ones((3, 1, 1), np.float32)
    options = {"top_k": 2, "behaviors": ["buy"], "exclude": "none"}
    (found,) = recommend.make(planted(made.info, probabilities=True), scores, {}, made, **options)
    np.testing.assert_allclose(found.table["score"], [0.5, 0.2], rtol=1e-6)
    assert found.table.schema["score"] == pl.Float32
    # Two that are equal but for what a probability rounds to are told apart.
    scores = np.linspace(-200, -201, 6, dtype=np.float32) * np.ones((3, 1, 1), np.float32)
    (found,) = recommend.make(planted(made.info, probabilities=True), scores, {}, made, **options)
    assert found.table["score"].to_list() == [0, 0] and not len(found.level)
    (plain,) = recommend.make(planted(made.info), scores, {}, made, **options)
    assert plain.table["score"].to_list() == scores[0, 0, :2].tolist()


# Brute force, for models of every kind.


@functools.cache
def built(name: str) -> tuple[wiring.Experiment, types.Params, np.ndarray]:
    """A small model of the zoo on the toy data, its first parameters, and its scores [K, U, I]."""
    entry = models.MODELS[name]
    config = configuration.load(name, "demo", entry.config, protocol="paper")
    narrow = {field: 4 for field in ("embedding_size",) if field in type(config.model).model_fields}
    config = config.model_copy(update={"model": config.model.model_copy(update=narrow)})
    experiment = wiring.build(config, toy.dataset(3))
    params, model, info = experiment.start().params, experiment.model, experiment.dataset.info
    tables = jax.jit(model.encode)(params, experiment.graphs)
    users = np.arange(info.num_users)
    scores = [model.score(params, tables, users, 0, info.num_items, k) for k in range(info.num_behaviors)]
    return experiment, params, np.stack([np.asarray(score) for score in scores])


def expected(source, scores, behavior, kind, exclude, mask, repeat, listed, group, most, top_k):
    """User -> items, by going through all of them."""
    k, lists = source.info.behaviors.index(behavior), []

    def dense(split):
        return {name: matrix.toarray() for name, matrix in split.items()}

    def met(name, user, item, *splits):
        return any(name in split and split[name][user, item] for split in splits)

    train, valid, test = dense(source.train), dense(source.valid), dense(source.test)
    every = (train, valid, test, dense(source.unused))
    for user in range(source.info.num_users):
        chosen, used = [], {}
        for item in np.argsort(-scores[k, user], kind="stable"):
            own = met(behavior, user, item, *every)
            other = any(met(name, user, item, *every) for name in source.info.behaviors if name != behavior)
            if exclude == "train":
                own = met(behavior, user, item, train, *([valid] if source.mask_valid else []))
                own = own and not met(behavior, user, item, test)
                other = any(met(name, user, item, train) for name in source.info.behaviors if name != behavior)
            out = (own and not repeat) or (mask == "all_behaviors" and other and not (own and repeat))
            out = out and exclude != "none"
            out |= {"blended": False, "continue": not (own or other), "discover": own or other}[kind]
            out |= not listed[item] or scores[k, user, item] == -np.inf
            if out or len(chosen) == top_k or (group[item] is not None and used.get(group[item], 0) == most):
                continue
            used[group[item]] = used.get(group[item], 0) + 1
            chosen.append(source.items.ids[item])
        lists.append(chosen)
    return lists


RULES = [
    ("blended", "known", "same_behavior", False),
    ("continue", "known", "same_behavior", False),
    ("discover", "known", "same_behavior", False),
    ("continue", "train", "same_behavior", False),
    ("discover", "train", "all_behaviors", False),
    ("continue", "none", "same_behavior", False),
    ("blended", "known", "all_behaviors", True),
    ("continue", "known", "all_behaviors", True),
]


@pytest.mark.parametrize("name", usual.cases([*QUICK, *SLOW], QUICK.__contains__))
def test_lists_equal_brute_force(name):
    experiment, params, scores = built(name)
    source, rng = experiment.dataset, np.random.default_rng(0)
    items = source.items.ids
    there = rng.random(len(items)) < 0.7
    group = [None if drawn == 4 else f"g{drawn}" for drawn in np.minimum(rng.geometric(0.5, len(items)) - 1, 4)]
    unlimited = ({}, np.ones(len(items), bool), [None] * len(items), 0)
    limited = (
        {"available": items[there], "groups": dict(zip(items.tolist(), group, strict=True)), "max_per_group": 2},
        there,
        group,
        2,
    )
    sizes = {"batch_size": 9, "item_tile": 13}
    # Each of these compiles a pass of its own.
    for rule, (options, listed, groups, most) in zip(
        RULES, itertools.cycle((limited, limited, unlimited)), strict=False
    ):
        kind, exclude, mask, repeat = rule
        options |= {"lists": kind, "exclude": exclude, "mask": mask, "repeat": repeat, "top_k": 6} | sizes
        (found,) = recommend.make(experiment.model, params, experiment.graphs, source, behaviors=["buy"], **options)
        lists = dict(found.table.group_by("user", maintain_order=True).agg("item").iter_rows())
        wanted = expected(source, scores, "buy", *rule, listed, groups, most, 6)
        assert [lists.get(user, []) for user in source.users.ids] == wanted, rule
        assert found.empty.to_list() == [user for user, each in zip(source.users.ids, wanted, strict=True) if not each]


def test_the_three_lists_are_one(made):
    """What to go on with and what is new, merged by score, is the blended list."""
    experiment, params, _ = built("itemknn")
    options = {"top_k": 31, "lists": candidates.LISTS, "behaviors": ["buy"]}
    found = recommend.make(experiment.model, params, experiment.graphs, experiment.dataset, **options)
    blended, go_on, discover = (each.table.drop("rank").sort("user", "item") for each in found)
    assert go_on.height and discover.height
    assert pl.concat([go_on, discover]).sort("user", "item").equals(blended)


def test_lists_to_continue_need_a_second_behavior():
    one, two = ("buy",), ("view", "buy")
    for kinds, options in (
        ("continue", {"repeat": True}),
        ("continue", {"exclude": "none"}),
        (("blended", "discover"), {}),
    ):
        assert candidates.check_familiar(candidates.rule(kinds, **options), one) == []
    with pytest.raises(errors.ConfigError, match="by another behavior than 'buy', and .* no other.* Give repeat, with"):
        candidates.check_familiar(candidates.rule("continue"), one)
    [line] = candidates.check_familiar(candidates.rule(("blended", "continue")), one)
    assert line.endswith("by another behavior than 'buy', and the run knows no other: there are none")
    assert candidates.check_familiar(candidates.rule("continue"), two) == []
