"""Lessons: folds that part the pairs, histories without the answers, answers that a search can reach."""

import numpy as np
import pytest
from scipy import sparse

from mbjax import types
from mbjax.features import candidates, comparing, events, lessons, regression, retrieval, similarity, table

USERS, ITEMS = 30, 25


@pytest.fixture
def train():
    rng = np.random.default_rng(8)
    view = rng.random((USERS, ITEMS)) < 0.3
    buy = (view & (rng.random(view.shape) < 0.4)) | (rng.random(view.shape) < 0.05)
    return {"view": sparse.csr_array(view.astype(np.uint8)), "buy": sparse.csr_array(buy.astype(np.uint8))}


def test_folds_part_the_pairs_of_the_target(train):
    whole = np.zeros((USERS, ITEMS))
    for users, taken, *_ in lessons.folds(train, "buy", 4, 4, USERS, np.random.default_rng(0)):
        assert (np.diff(users) > 0).all() and (np.diff(taken.indptr) > 0).all()
        whole[users] += taken.toarray()
    np.testing.assert_array_equal(whole, train["buy"].toarray())
    few = list(lessons.folds(train, "buy", 4, 2, 5, np.random.default_rng(0)))
    assert len(few) == 2 and all(len(users) == 5 == taken.shape[0] for users, taken, *_ in few)


def clocked(train):
    """Each pair happened once, at a moment of its own."""
    rng = np.random.default_rng(4)
    moments = {b: types.Events(np.arange(m.nnz + 1), rng.permutation(m.nnz) * 100.0) for b, m in train.items()}
    return events.of_evidence(types.Evidence(train, events=moments))


def test_nothing_has_no_folds(train):
    train = train | {"buy": sparse.csr_array(train["buy"].shape, dtype=np.uint8)}
    for log, order in ((None, "random"), (clocked(train), "latest"), (clocked(train), "time")):
        assert not list(lessons.folds(train, "buy", 4, 4, USERS, np.random.default_rng(0), log, order))


def test_the_latest_pairs_of_each_user_are_dealt_first(train):
    log = clocked(train)
    when = sparse.csr_array((log.first("buy"), train["buy"].indices, train["buy"].indptr), train["buy"].shape).toarray()
    has, whole = train["buy"].toarray() > 0, np.zeros((USERS, ITEMS))
    later = np.full(USERS, np.inf)
    for users, taken, begin, _ in lessons.folds(train, "buy", 4, 4, USERS, np.random.default_rng(0), log, "latest"):
        assert begin is None
        mine = taken.toarray() > 0
        assert (np.where(mine, when[users], 0).max(axis=1) < later[users]).all()
        later[users] = np.where(mine, when[users], np.inf).min(axis=1)
        whole[users] += mine
        assert (mine.sum(axis=1) <= np.ceil(has[users].sum(axis=1) / 4)).all()
    np.testing.assert_array_equal(whole, has)


def test_nothing_is_known_from_the_moment_of_a_fold_on(train):
    log = clocked(train)
    found = list(lessons.folds(train, "buy", 3, 3, USERS, np.random.default_rng(0), log, "time"))
    firsts = np.sort(log.first("buy"))
    assert [fold.begin for fold in found] == [np.quantile(firsts, q, method="higher") for q in (2 / 3, 1 / 3)]
    end = np.inf
    for fold in found:
        gone = lessons.removed(train, fold, "buy", log)
        of = candidates.histories(train, fold.users, gone)
        for b, matrix in train.items():
            when = sparse.csr_array((log.first(b) + 1, matrix.indices, matrix.indptr), matrix.shape)[
                fold.users
            ].toarray()
            np.testing.assert_array_equal(of.history[b].toarray() > 0, (when > 0) & (when <= fold.begin))
            if b == "buy":
                np.testing.assert_array_equal(fold.taken.toarray() > 0, (when > fold.begin) & (when <= end))
        assert sum(np.diff(m.indptr) for m in of.history.values()).min() > 0  # nothing is asked of nothing
        end = fold.begin


def test_the_statistics_of_a_fold_have_nobodys_pairs_of_it(train):
    """Whether someone has a list of the fold or not; what is of other behaviors is not copied."""
    folds = list(lessons.folds(train, "buy", 3, 3, 5, np.random.default_rng(0)))
    everyone = np.zeros((USERS, ITEMS))
    for fold in folds:
        known = lessons.without(train, fold, "buy")
        np.testing.assert_array_equal(known["buy"].toarray(), train["buy"].toarray() * (fold.everyone.toarray() == 0))
        np.testing.assert_array_equal(fold.everyone.toarray()[fold.users], fold.taken.toarray())
        assert known["view"] is train["view"] and known["buy"].dtype == train["buy"].dtype
        everyone += fold.everyone.toarray()
    np.testing.assert_array_equal(everyone, train["buy"].toarray())


def test_who_has_the_pair_and_who_has_not_see_the_same_of_an_item(train):
    """Leaving out each user alone tells: of an item that n bought, its buyers would see n - 1 and all others n."""
    fold = next(iter(lessons.folds(train, "buy", 3, 1, USERS, np.random.default_rng(1))))
    fitted = regression.fit(train, 2.0)
    of = candidates.histories(train, fold.users, {"buy": fold.taken})
    (found,) = retrieval.find(fitted, of, [retrieval.retriever(train, fitted, "buy")], 5, ("familiar",))
    draft = lessons.draft(found["familiar"], fold.taken, "familiar", lessons.without(train, fold, "buy"))
    chosen = draft.found.lists
    assert not any(m.nnz for m in chosen.removed.values())
    near = similarity.aggregate(train, [comparing.Asked(chosen, ["buy"], None, draft.train)])[0]
    source = table.Source(draft.train, table.counts(draft.train), "buy")
    seen = table.table(source, chosen, draft.found.predicted, near, familiar=True)["count_item_buy"]
    kept = train["buy"].toarray().sum(axis=0) - fold.everyone.toarray().sum(axis=0)
    np.testing.assert_allclose(seen, np.log1p(kept[chosen.item]), rtol=1e-6)


def test_a_pair_is_taken_out_of_every_behavior_that_has_it(train):
    users = np.array([1, 4, 6])
    taken = sparse.csr_array(train["buy"][users].astype(np.float32))
    found = lessons.everywhere(train, users, taken)
    np.testing.assert_array_equal(found["buy"].toarray(), taken.toarray())
    np.testing.assert_array_equal(found["view"].toarray(), taken.toarray() * train["view"].toarray()[users])
    of = candidates.histories(train, users, found)
    assert not any((m.toarray() * taken.toarray()).any() for m in of.history.values())
    assert {b: int(of.history[b].sum() + of.removed[b].sum()) for b in train} == {
        b: int(m[users].sum()) for b, m in train.items()
    }


def taught(train, part, most):
    fitted = regression.fit(train, 2.0)
    (users, taken, *_), *_ = lessons.folds(train, "buy", 3, 1, USERS, np.random.default_rng(1))
    removed = {"buy": taken} if part == "familiar" else lessons.everywhere(train, users, taken)
    of = candidates.histories(train, users, removed)
    (found,) = retrieval.find(fitted, of, [retrieval.retriever(train, fitted, "buy")], most, (part,))
    return lessons.draft(found[part], taken, part), found[part].lists, users, taken.toarray()


def columns(train, draft):
    (near,) = similarity.aggregate(train, [comparing.Asked(draft.found.lists, ["buy"])])
    source = table.Source(train, table.counts(train), "buy")
    return table.table(source, draft.found.lists, draft.found.predicted, near, familiar=draft.part == "familiar")


def test_lists_hold_the_answers_among_familiar_items(train):
    draft, of, users, taken = taught(train, "familiar", 5)
    viewed = train["view"].toarray()[users] * taken
    assert draft.positive.sum() == viewed.sum() > 0
    chosen = draft.found.lists
    assert chosen.user.tolist() == users[viewed.sum(axis=1) > 0].tolist()
    bounds = np.diff(chosen.ptr)
    np.testing.assert_array_equal(bounds, np.diff(of.ptr)[viewed.sum(axis=1) > 0])
    assert (np.add.reduceat(draft.positive, chosen.ptr[:-1]) > 0).all()
    assert draft.found.predicted.kept.shape == draft.positive.shape == chosen.item.shape


def test_an_answer_that_no_search_reaches_without_itself_is_none(train):
    """Of as many as there are, all are reached; of one alone, only what a table has first."""
    whole, _, _, taken = taught(train, "new", ITEMS)
    assert whole.positive.sum() == taken.sum()
    few, of, _, taken = taught(train, "new", 1)
    found = columns(train, few)
    names = [n for n in found if n == "rank_ease_left" or lessons.SHRUNK.fullmatch(n)]
    best = lessons.searched(found)
    ranks = []
    for name in names:
        score = found["ease_left_log" if name == "rank_ease_left" else name.removeprefix("rank_")]
        ranks.append(np.where(np.exp(score) > 1.1 * table.SMALL, found[name], np.inf))
    np.testing.assert_array_equal(best, np.min(ranks, axis=0))
    assert len(names) == 3 and (few.positive * (best > 0.5)).any()  # the search knew more than the table


def test_whatever_nothing_speaks_for_is_not_found():
    """Where a history is empty all candidates share the first place, and where few are above nothing all others one."""
    nothing = np.log(table.SMALL)
    columns = {
        "near_sum_view_shrunk": np.array([nothing, nothing, nothing]),
        "rank_near_sum_view_shrunk": np.log1p([0.0, 0, 0]),
        "near_sum_buy_shrunk": np.array([-1.0, nothing, nothing]),
        "rank_near_sum_buy_shrunk": np.log1p([0.0, 1, 1]),
        "ease_left_log": np.array([nothing, nothing, -3.0]),
        "rank_ease_left": np.log1p([1.0, 1, 0]),
    }
    assert lessons.searched(columns).tolist() == [0, np.inf, 0]
    assert lessons.searched(columns, by_regression=False).tolist() == [0, np.inf, np.inf]


def test_groups_are_the_same_for_a_seed_and_all_are_used():
    groups = lessons.groups(300, 3, 7)
    np.testing.assert_array_equal(groups, lessons.groups(300, 3, 7))
    assert np.bincount(groups).min() > 70 and groups.max() == 2
