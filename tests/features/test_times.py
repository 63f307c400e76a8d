"""Columns of time against their equations, one candidate at a time; nothing of what is taken out; no origin of time."""

import listed
import numpy as np
import pytest
from scipy import sparse

from mbjax import types
from mbjax.features import candidates, comparing, events, lists, similarity, times

NAMES = ("view", "cart", "buy")
MINUTE, DAY, WEEK = 60.0, 86400.0, 604800.0


def drawn(matrix, rng):
    """One to three events of each pair within twenty days, some of them minutes apart."""
    count = rng.integers(1, 4, matrix.nnz)
    ptr = np.concatenate([[0], np.cumsum(count)])
    start = np.repeat(rng.random(matrix.nnz) * 20 * DAY, count)
    seconds = np.round(start + rng.choice([0, 10 * MINUTE, 2 * DAY], ptr[-1]) + rng.integers(0, 60, ptr[-1]))
    seconds[ptr[:-1]] = np.round(rng.random(matrix.nnz) * 20 * DAY)
    return types.Events(ptr, np.concatenate([np.sort(part) for part in np.split(seconds, ptr[1:-1])]))


def columns_of(log, of, target, *, familiar):
    """With what is like the items of late, which is counted with all other similarities."""
    (near,) = similarity.aggregate(log.train, [comparing.Asked(of, [target], log)])
    return times.columns(log, of, near, target, familiar=familiar)


def _atol(name, exact):
    return HALF if name in ("time_last", "time_recent") else exact


HALF = 4e-3  # similarities are kept in half precision: of logarithms down to -7 that is an error of .002


@pytest.fixture
def when(train):
    rng = np.random.default_rng(5)
    return {b: drawn(m, rng) for b, m in train.items()}


def shifted(when, by):
    return {b: types.Events(of.ptr, of.seconds + by) for b, of in when.items()}


def table(train, when):
    """{behavior: {(user, item): [seconds]}} from the first event on."""
    begin = min(of.seconds.min() for of in when.values())
    found = {}
    for b, matrix in train.items():
        row, item = lists.pairs(matrix)
        parts = np.split(when[b].seconds - begin, when[b].ptr[1:-1])
        found[b] = {(int(u), int(i)): part.tolist() for u, i, part in zip(row, item, parts, strict=True)}
    return found


def expected(whole, history, user, item, target, until, num_items, end):
    """The columns of one candidate.

    Args:
      whole: what all users did, behavior -> {(user, item): [seconds]}.
      history: what is known of the user of the list, behavior -> {item: [seconds]}.
    """
    every = [t for of in history.values() for part in of.values() for t in part]
    reference = max(every, default=0.0)
    last = {}
    for of in history.values():
        for i, part in of.items():
            last[i] = max(last.get(i, -1.0), part[-1])
    found = {}
    for b in NAMES:
        if b == target:
            continue
        touches = history[b].get(item, [])
        found[f"time_since_{b}"] = np.log1p((reference - touches[-1] if touches else end) / MINUTE)
        found[f"time_count_{b}"] = np.log1p(len(touches))
        found[f"time_days_{b}"] = np.log1p(len({t // DAY for t in touches}))
        found[f"time_day_{b}"] = np.log1p(sum(2 ** (-(reference - t) / DAY) for t in touches))
        found[f"time_week_{b}"] = np.log1p(sum(2 ** (-(reference - t) / WEEK) for t in touches))
    others = {b: {key: part for key, part in of.items() if key[0] != user} for b, of in whole.items()}
    met = {key for of in others.values() for key in of}

    def cosine(h):
        if h == item:
            return 0.0
        shared = sum((u, h) in met and (u, item) in others[target] for u in range(100))
        many = [sum(i == h for _, i in met), sum(i == item for _, i in others[target])]
        return shared / np.sqrt(max(many[0], 1) * max(many[1], 1))

    newest = [h for h, t in last.items() if t == reference]
    found["time_last"] = np.log(sum(map(cosine, newest)) / max(len(newest), 1) + comparing.SMALL)
    weights = {h: 2 ** (-(reference - t) / DAY) for h, t in last.items()}
    found["time_recent"] = np.log(sum(cosine(h) * w for h, w in weights.items() if w > 1e-3) + comparing.SMALL)
    moment = min(until, end)

    def is_late(t, span):
        """Up to the last moment; where a list's end is known, before it."""
        return moment - span <= t < moment if until <= end else moment - span < t <= moment

    firsts = {b: [part[0] for (_, i), part in of.items() if i == item] for b, of in others.items()}
    for b, of in firsts.items():
        found[f"time_demand_{b}"] = np.log1p(sum(is_late(t, WEEK) for t in of))
    users = {u for of in others.values() for u, i in of if i == item}
    any_ = [min(of[u, item][0] for of in others.values() if (u, item) in of) for u in users]
    found["time_today"] = np.log1p(sum(is_late(t, DAY) for t in any_))
    found["time_age"] = np.log1p(max(moment - min(any_, default=moment), 0) / DAY)
    return found


@pytest.mark.parametrize("until", [np.inf, 11 * DAY], ids=["all is known", "not all is"])
@pytest.mark.parametrize(("target", "unit"), [("buy", 1.0), ("view", 1.0), ("buy", DAY)])
def test_columns_are_those_of_the_equations(train, taken, when, target, unit, until):
    """Also of times that are days, so that some events are of the very moment up to which a list looks."""
    when = {b: types.Events(of.ptr, np.floor(of.seconds / unit) * unit) for b, of in when.items()}
    users = np.array([0, 2, 5, 7, 11])
    log = events.of_evidence(types.Evidence(train, events=when))
    gone = dict(taken)
    if until < np.inf:
        for b, matrix in train.items():
            row, item = lists.pairs(sparse.csr_array(matrix[users]))
            later = lists.rows_of(log.first(b), matrix, users) >= until
            more = lists.ones(row[later], item[later], (len(users), matrix.shape[1]))
            gone[b] = lists.union([more, *([taken[b]] if b in taken else [])], more.shape)
    of = listed.everything(candidates.histories(train, users, gone, np.full(len(users), until)))
    columns = columns_of(log, of, target, familiar=True)
    assert list(columns) == times.names(NAMES, target, familiar=True)
    whole, end = table(train, when), log.end
    assert end == max(max(part) for of_b in whole.values() for part in of_b.values())
    for place, (row, item) in enumerate(zip(of.row, of.item, strict=True)):
        user = int(users[row])
        history = {}
        for b in NAMES:
            kept = [int(i) for i in of.history[b].toarray()[row].nonzero()[0]]
            parts = {i: [t for t in whole[b][user, i] if t < until] for i in kept}
            assert all(parts.values())
            history[b] = parts
        wanted = expected(whole, history, user, int(item), target, until, train[target].shape[1], end)
        found = {name: float(columns[name][place]) for name in wanted}
        for name, value in wanted.items():
            assert found[name] == pytest.approx(value, abs=_atol(name, 1e-4)), (user, item, name)
    for row in range(len(users)):
        of_list = np.flatnonzero(of.row == row)
        since, rank = columns["time_since"][of_list], np.round(np.expm1(columns["time_place"][of_list]))
        assert rank.tolist() == [(since < s).sum() for s in since]


def test_what_happened_before_the_log_began_counts():
    """A new user's events may be older than those of training."""
    nothing = sparse.csr_array((1, 4), dtype=np.uint8)
    train = {"view": sparse.csr_array(np.ones((1, 4), np.uint8)), "buy": nothing}
    no_events = types.Events(np.zeros(1, int), np.zeros(0))
    when, before = ({"view": types.Events(np.arange(5), t + 60.0 * np.arange(4)), "buy": no_events} for t in (9e5, 0))
    log = events.of_evidence(types.Evidence(train, events=when, passive=train, passive_events=before))
    of = listed.everything(candidates.strangers(train, np.array([1])))
    columns = columns_of(log, of, "buy", familiar=True)
    for name in ("time_since", "time_place"):
        np.testing.assert_allclose(columns[name], np.log1p([3, 2, 1, 0]), atol=1e-6, err_msg=name)
    assert columns["time_session"].tolist() == [1, 1, 1, 1]


def test_first_moments_are_not_rounded():
    """Of many items a key for searching has no room for parts of a second."""
    rng = np.random.default_rng(0)
    item, seconds = rng.integers(0, 10**6, 500), rng.random(500) * 1e8
    made = events._firsts(item, seconds, 10**6, 1e8 + 1)
    assert (np.diff(made.keys) >= 0).all()
    order = np.lexsort((seconds, item))
    np.testing.assert_array_equal(made.seconds, seconds[order])
    np.testing.assert_array_equal(np.diff(made.ptr)[item[order]], np.bincount(item, minlength=10**6)[item[order]])


def test_a_session_ends_with_half_an_hour_of_nothing():
    train = {"view": sparse.csr_array(np.ones((1, 4), np.uint8)), "buy": sparse.csr_array((1, 4), dtype=np.uint8)}
    when = {
        "view": types.Events(np.arange(5), 60.0 * np.array([0, 31, 61, 75])),
        "buy": types.Events(np.zeros(1, int), np.zeros(0)),
    }
    of = listed.everything(candidates.histories(train, np.arange(1)))
    log = events.of_evidence(types.Evidence(train, events=when))
    assert columns_of(log, of, "buy", familiar=True)["time_session"].tolist() == [0, 1, 1, 1]


@pytest.mark.parametrize("familiar", [True, False])
def test_no_origin_of_time_and_nothing_of_what_was_taken_out(train, when, familiar):
    users = np.array([2, 7])
    taken = {"buy": sparse.csr_array(train["buy"][users].astype(np.float32))}

    def made(train, when, users, taken=None):
        log = events.of_evidence(types.Evidence(train, events=when))
        of = listed.everything(candidates.histories(train, users, taken))
        return columns_of(log, of, "buy", familiar=familiar)

    first = made(train, when, users, taken)
    for name, column in made(train, shifted(when, 1.5e9), users, taken).items():
        np.testing.assert_array_equal(column, first[name], err_msg=name)
    # Somebody else has the first and the last event, which the clock goes by.
    for place, user in enumerate(users):
        bare, row = dict(train), np.repeat(np.arange(train["buy"].shape[0]), np.diff(train["buy"].indptr))
        dense = train["buy"].toarray()
        dense[user] = 0
        bare["buy"] = sparse.csr_array(dense)
        parts = np.split(when["buy"].seconds, when["buy"].ptr[1:-1])
        left = [part for part, u in zip(parts, row, strict=True) if u != user]
        ptr = np.concatenate([[0], np.cumsum([len(part) for part in left])])
        second = made(bare, when | {"buy": types.Events(ptr, np.concatenate(left))}, np.array([user]))
        for name, column in second.items():
            np.testing.assert_allclose(first[name].reshape(2, -1)[place], column, atol=_atol(name, 1e-6), err_msg=name)


@pytest.mark.parametrize("familiar", [True, False])
def test_a_stranger_has_the_numbers_of_a_user(train, when, familiar):
    """Who is left out of the statistics and who was never in them differ in nothing."""
    users = np.array([4])
    log = events.of_evidence(types.Evidence(train, events=when))
    known = columns_of(log, listed.everything(candidates.histories(train, users)), "buy", familiar=familiar)
    others = {b: m.toarray() * (np.arange(m.shape[0]) != 4)[:, None] for b, m in train.items()}
    rest, of_rest, passive, of_passive = {}, {}, {}, {}
    for b, matrix in train.items():
        parts = np.split(when[b].seconds, when[b].ptr[1:-1])
        mine = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr)) == 4
        rest[b], passive[b] = sparse.csr_array(others[b]), sparse.csr_array(matrix[users])
        for found, chosen in ((of_rest, ~mine), (of_passive, mine)):
            some = [part for part, keep in zip(parts, chosen, strict=True) if keep]
            ptr = np.concatenate([[0], np.cumsum([len(part) for part in some])]).astype(int)
            found[b] = types.Events(ptr, np.concatenate([np.zeros(0), *some]))
    evidence = types.Evidence(rest, passive=passive, events=of_rest, passive_events=of_passive)
    strange = events.of_evidence(evidence)
    assert strange.end == log.end
    of = listed.everything(candidates.strangers(passive, np.array([train["buy"].shape[0]])))
    for name, column in columns_of(strange, of, "buy", familiar=familiar).items():
        np.testing.assert_allclose(column, known[name], atol=_atol(name, 1e-5), err_msg=name)

    # Known by the statistics, with more pairs than these hold of him, and beside them.
    more, of_more = {}, {}
    for b, matrix in passive.items():
        dense = matrix.toarray()
        dense[0, ::3] = 1
        more[b] = sparse.csr_array(dense)
        new = np.flatnonzero(dense[0] > matrix.toarray()[0])
        parts = dict(
            zip(matrix.indices.tolist(), np.split(of_passive[b].seconds, of_passive[b].ptr[1:-1]), strict=True)
        )
        parts |= {int(i): when["view"].seconds[:1] + 3 * DAY + 60.0 * i for i in new}
        some = [parts[i] for i in more[b].indices.tolist()]
        of_more[b] = types.Events(np.concatenate([[0], np.cumsum([len(x) for x in some])]), np.concatenate(some))
    person = np.array([train["buy"].shape[0]])
    found = {}
    for name, given, known in (("without", (rest, of_rest), None), ("with", (train, when), users)):
        log = events.of_evidence(
            types.Evidence(given[0], events=given[1], passive=more, passive_events=of_more, known=known)
        )
        of = listed.everything(candidates.passive(more, given[0], known, person))
        found[name] = columns_of(log, of, "buy", familiar=familiar)
    for name, column in found["with"].items():
        np.testing.assert_allclose(column, found["without"][name], atol=_atol(name, 1e-5), err_msg=name)
