"""Matrices by hand and as their specs say (``ops.adjacency``), and their products against scipy (``ops.graph``)."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse
import toy
from hypothesis import given, settings
from hypothesis import strategies as st

from mbjax import types
from mbjax.ops import adjacency, graph


@pytest.mark.parametrize("density", [0.0, 0.1, 0.6])
def test_product_and_gradient_are_scipys(density):
    rng = np.random.default_rng(1)
    matrix = scipy.sparse.random_array((7, 9), density=density, rng=rng, format="csr", dtype=np.float32)
    dense = jnp.asarray(rng.normal(size=(9, 3)), jnp.float32)
    probe = jnp.asarray(rng.normal(size=(7, 3)), jnp.float32)
    device = graph.build(matrix)
    np.testing.assert_allclose(graph.spmm(device, dense), matrix @ np.asarray(dense), atol=1e-5)
    gradient = jax.grad(lambda x: jnp.sum(probe * graph.spmm(device, x)))(dense)
    np.testing.assert_allclose(gradient, matrix.T @ np.asarray(probe), atol=1e-5)


def test_numerical_gradients():
    device = graph.build(scipy.sparse.csr_array(np.array([[0.0, 2.0], [1.0, 0.0], [0.0, 0.0]], np.float32)))
    chex.assert_numerical_grads(lambda x: graph.spmm(device, x), (jnp.ones((2, 2)),), order=1, modes=("rev",))


def test_normalizations_by_hand():
    matrix = scipy.sparse.csr_array(np.array([[1.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0]], np.float32))
    half, root = 0.5, 2**-0.5
    expected = {
        "none": [[1, 1, 0], [1, 0, 0], [0, 0, 0]],
        "l2_row": [[root, root, 0], [1, 0, 0], [0, 0, 0]],
        "left": [[half, half, 0], [1, 0, 0], [0, 0, 0]],
        "right": [[half, 1, 0], [half, 0, 0], [0, 0, 0]],
        "symmetric": [[half, root, 0], [root, 0, 0], [0, 0, 0]],
    }
    for kind, values in expected.items():
        np.testing.assert_allclose(adjacency.normalize(matrix, kind).toarray(), values, rtol=1e-6, err_msg=kind)


def test_unknown_kinds_are_refused():
    with pytest.raises(ValueError, match="unknown normalization 'l1'"):
        adjacency.normalize(scipy.sparse.csr_array(np.eye(2)), "l1")
    train = toy.dataset().train
    with pytest.raises(ValueError, match="shape 'cube'"):
        adjacency.assemble(types.GraphSpec(("buy",), shape="cube"), train)
    with pytest.raises(ValueError, match="unknown graph entries 'product'"):
        adjacency.assemble(types.GraphSpec(("buy",), entries="product"), train)
    with pytest.raises(ValueError, match="self_loops True"):
        adjacency.assemble(types.GraphSpec(("buy",), self_loops=True), train)


def test_bipartite_puts_users_first_and_unites_behaviors():
    source = toy.dataset()
    spec = types.GraphSpec(("cart", "buy"), shape="bipartite")
    matrix = adjacency.assemble(spec, source.train).toarray()
    union = (source.train["cart"] + source.train["buy"]).toarray() > 0
    assert matrix.shape == (54, 54)
    np.testing.assert_array_equal(matrix[:23, 23:], union)
    np.testing.assert_array_equal(matrix, matrix.T)
    assert not matrix[:23, :23].any()


def test_items_that_a_user_has_both_of():
    # The first user has items 0 and 1, the second 1, 2 and 3 by either behavior, the third item 4 alone.
    one = scipy.sparse.csr_array(np.array([[1, 1, 0, 0, 0], [0, 1, 1, 0, 0], [0, 0, 0, 0, 1]], np.uint8))
    other = scipy.sparse.csr_array(np.array([[0, 0, 0, 0, 0], [0, 0, 1, 1, 0], [0, 0, 0, 0, 1]], np.uint8))
    train = {"cart": one, "buy": other}
    expected = np.zeros((5, 5))
    for pair in ((0, 1), (1, 2), (1, 3), (2, 3)):
        expected[pair] = expected[pair[::-1]] = 1
    spec = types.GraphSpec(("cart", "buy"), "item_item")
    np.testing.assert_array_equal(adjacency.assemble(spec, train).toarray(), expected)
    means = adjacency.assemble(spec._replace(normalization="left"), train).toarray()
    np.testing.assert_allclose(means, expected / np.maximum(expected.sum(axis=1, keepdims=True), 1))
    # Passive users bring no items together.
    passive = {name: scipy.sparse.csr_array(np.ones((1, 5), np.uint8)) for name in train}
    made = graph.from_train({"": spec}, train, passive)[""]
    np.testing.assert_array_equal(dense(made.matrix), expected)


def dense(matrix):
    """A BCOO on the host."""
    rows, columns = np.asarray(matrix.indices).T
    return scipy.sparse.coo_array((np.asarray(matrix.data), (rows, columns)), shape=matrix.shape).toarray()


def test_dropped_entries_are_those_of_the_transpose():
    rng = np.random.default_rng(0)
    whole = graph.build(scipy.sparse.random_array((40, 30), density=0.5, rng=rng, format="csr", dtype=np.float32))
    thinned = jax.jit(graph.thinned, static_argnums=2)
    thin = thinned(whole, jax.random.key(3), 0.25)
    before, after, transposed = (dense(matrix) for matrix in (whole.matrix, thin.matrix, thin.transpose))
    np.testing.assert_array_equal(transposed, after.T)
    gone = (before != 0) & (after == 0)
    assert 0.15 < gone.sum() / (before != 0).sum() < 0.35
    np.testing.assert_allclose(np.where(gone, 0, before) / 0.75, after, rtol=1e-6)
    # Rows and columns do not go as a whole, and another key takes others.
    assert gone.any(axis=0).mean() > 0.9 and gone.any(axis=1).mean() > 0.9
    other = dense(thinned(whole, jax.random.key(4), 0.25).matrix)
    assert 0.2 < np.mean((other == 0)[before != 0] != gone[before != 0]) < 0.6
    gradient = jax.grad(lambda x: jnp.sum(graph.spmm(thin, x)))(jnp.ones((30, 1)))
    np.testing.assert_allclose(gradient[:, 0], after.sum(axis=0), rtol=1e-5)


# Random graphs. USERS x ITEMS cells; a cell holds how often a pair stands in the input, most are empty.

USERS, ITEMS = 4, 5
KINDS = ("none", "l2_row", "left", "right", "symmetric")
pair_counts = st.lists(st.sampled_from([0, 0, 0, 1, 1, 2, 3]), min_size=USERS * ITEMS, max_size=USERS * ITEMS)


def with_duplicates(counts, seed):
    """A CSR that holds each pair as often as counted, with any positive values, in no order."""
    rng = np.random.default_rng(seed)
    cells = rng.permutation(np.repeat(np.arange(USERS * ITEMS), counts))
    row, column = np.divmod(cells, ITEMS)
    order = np.argsort(row, kind="stable")
    ptr = np.concatenate([[0], np.cumsum(np.bincount(row, minlength=USERS))])
    values = rng.uniform(0.5, 9.0, len(cells))  # time stamps, say
    return scipy.sparse.csr_array((values, column[order], ptr), shape=(USERS, ITEMS))


def scaled(matrix, kind):
    """The normalizations of ``GraphSpec`` on a dense matrix; an empty row or column stays zero."""

    def inverse(degree, power):
        return np.array([d**-power if d > 0 else 0.0 for d in degree])

    rows, columns = matrix.sum(axis=1), matrix.sum(axis=0)
    return {
        "none": lambda: matrix,
        "l2_row": lambda: inverse((matrix**2).sum(axis=1), 0.5)[:, None] * matrix,
        "left": lambda: inverse(rows, 1)[:, None] * matrix,
        "right": lambda: matrix * inverse(columns, 1),
        "symmetric": lambda: inverse(rows, 0.5)[:, None] * matrix * inverse(columns, 0.5),
    }[kind]()


def expected(spec, pairs):
    """What a ``GraphSpec`` says, dense."""

    def finish(matrix):
        if spec.shape == "bipartite":
            matrix = np.block([[np.zeros((USERS, USERS)), matrix], [matrix.T, np.zeros((ITEMS, ITEMS))]])
        return scaled(matrix + np.eye(len(matrix)) if spec.self_loops else matrix, spec.normalization)

    binary = [(pairs[name] > 0).astype(float) for name in spec.behaviors]
    return {
        "union": lambda: finish((sum(binary) > 0).astype(float)),
        "count": lambda: finish(sum(binary)),
        "normalized_sum": lambda: sum(map(finish, binary)),
    }[spec.entries]()


@settings(max_examples=60, deadline=None)
@given(
    counts=st.lists(pair_counts, min_size=3, max_size=3),
    shape=st.sampled_from([("user_item", False), ("bipartite", False), ("bipartite", True)]),
    kind=st.sampled_from(KINDS),
    entries=st.sampled_from(["union", "count", "normalized_sum"]),
    number=st.integers(1, 3),
)
def test_any_graph_is_what_its_spec_says(counts, shape, kind, entries, number):
    names = ("view", "cart", "buy")
    train = {name: with_duplicates(c, seed) for seed, (name, c) in enumerate(zip(names, counts, strict=True))}
    pairs = {name: np.reshape(c, (USERS, ITEMS)) for name, c in zip(names, counts, strict=True)}
    spec = types.GraphSpec(names[:number], shape[0], kind, entries, shape[1])
    matrix = adjacency.assemble(spec, train)
    assert matrix.dtype == np.float32 and matrix.has_canonical_format
    assert (matrix.data != 0).all()
    np.testing.assert_allclose(matrix.toarray(), expected(spec, pairs), rtol=1e-6)


@jax.jit  # compiled once for each number of entries
def product_and_gradient(device, dense, probe):
    value, pull = jax.vjp(lambda x: graph.spmm(device, x), dense)
    return value, pull(probe)[0]


@settings(max_examples=40, deadline=None)
@given(
    cells=st.permutations(range(USERS * ITEMS)),
    number=st.sampled_from([0, 3, 11]),
    kind=st.sampled_from(KINDS),
    seed=st.integers(0, 99),
)
def test_any_product_and_gradient_are_scipys(cells, number, kind, seed):
    rng = np.random.default_rng(seed)
    matrix = np.zeros(USERS * ITEMS)
    matrix[cells[:number]] = rng.uniform(0.1, 3.0, number)  # with 3 entries, empty rows and columns everywhere
    csr = adjacency.normalize(scipy.sparse.csr_array(matrix.reshape(USERS, ITEMS)), kind)
    dense, probe = rng.normal(size=(ITEMS, 3)), rng.normal(size=(USERS, 3))
    value, gradient = product_and_gradient(graph.build(csr), jnp.float32(dense), jnp.float32(probe))
    np.testing.assert_allclose(value, csr @ dense, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(gradient, csr.T @ probe, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(value, scaled(matrix.reshape(USERS, ITEMS), kind) @ dense, rtol=1e-4, atol=1e-5)


def test_numerical_gradients_of_a_normalized_bipartite_graph():
    spec = types.GraphSpec(("view", "cart", "buy"), "bipartite", "left", "count")
    device = graph.from_train({"all": spec}, toy.dataset().train)["all"]
    dense = jnp.asarray(np.random.default_rng(0).normal(size=(54, 2)), jnp.float32)
    product = jax.jit(lambda x: graph.spmm(device, x))
    chex.assert_numerical_grads(product, (dense,), order=1, modes=("rev",), atol=1e-2, rtol=1e-2)


def test_transposed_shares_the_arrays():
    device = graph.build(scipy.sparse.csr_array(np.array([[0.0, 2.0], [1.0, 0.0], [0.0, 3.0]], np.float32)))
    back = graph.transposed(device)
    x = jnp.array([[1.0], [10.0], [100.0]])
    np.testing.assert_array_equal(graph.spmm(back, x), [[10.0], [302.0]])
    assert graph.transposed(back).matrix is device.matrix


# The matrices of PKEF and COPF.


def test_rows_of_the_propagation_matrices_sum_to_one_or_zero():
    source = toy.dataset()
    for behaviors in (("view",), ("view", "cart"), ("view", "cart", "buy")):
        spec = types.GraphSpec(behaviors, "bipartite", "left", "count")
        sums = adjacency.assemble(spec, source.train).toarray().sum(axis=1)
        is_isolated = sum(source.train[name].toarray() for name in behaviors).sum(axis=1) == 0
        np.testing.assert_allclose(sums[:23], np.where(is_isolated, 0.0, 1.0), rtol=1e-6)
        assert sums[-1] == 0.0  # an item that nobody has
    assert set(np.unique(sums.round(6))) == {0.0, 1.0}


def test_the_first_cumulative_matrix_is_the_first_behaviors_own():
    train = toy.dataset().train
    cumulative = adjacency.assemble(types.GraphSpec(("view",), "bipartite", "left", "count"), train)
    own = adjacency.assemble(types.GraphSpec(("view",), "bipartite", "left"), train)
    summed = adjacency.assemble(types.GraphSpec(("view",), "bipartite", "left", "normalized_sum"), train)
    np.testing.assert_array_equal(cumulative.toarray(), own.toarray())
    np.testing.assert_array_equal(summed.toarray(), own.toarray())


def test_an_item_met_by_two_behaviors_weighs_two():
    train = toy.dataset().train
    matrix = adjacency.assemble(types.GraphSpec(("view", "cart"), "bipartite", "none", "count"), train).toarray()
    view, cart = (train[name].toarray() > 0 for name in ("view", "cart"))
    assert (view & cart).any()
    np.testing.assert_array_equal(matrix[:23, 23:] == 2, view & cart)
    np.testing.assert_array_equal(matrix[:23, 23:] == 1, view ^ cart)
    one = scipy.sparse.csr_array(np.array([[0.0, 1.0]]))
    thrice = adjacency.assemble(types.GraphSpec(("a", "b", "c"), entries="count"), dict.fromkeys("abc", one))
    np.testing.assert_array_equal(thrice.toarray(), [[0, 3]])


# Passive users: who read and are not read.

SPECS = {
    f"{shape} {kind} {entries}{' loops' * loops}": types.GraphSpec(("view", "buy"), shape, kind, entries, loops)
    for shape in ("user_item", "bipartite")
    for kind in KINDS
    for entries in ("union", "count", "normalized_sum")
    for loops in ((False, True) if shape == "bipartite" else (False,))
}


def with_passive():
    """The toy data and three more users: one with pairs, one without, and one who is user 4 again."""
    source = toy.dataset(2)
    rng = np.random.default_rng(3)
    passive = {}
    for name, matrix in source.train.items():
        rows = np.zeros((3, 31), np.uint8)
        rows[0] = rng.random(31) < 0.3
        rows[2] = matrix[[4]].toarray()[0]
        passive[name] = scipy.sparse.csr_array(rows)
    return source.train, passive


@pytest.mark.parametrize("name", SPECS)
def test_passive_users_change_nothing_for_the_others(name):
    train, passive = with_passive()
    spec = SPECS[name]
    alone = adjacency.assemble(spec, train).toarray()
    whole = adjacency.assemble(spec, train, passive).toarray()
    others = np.r_[:23, 26 : 26 + 31] if spec.shape == "bipartite" else np.r_[:23]
    columns = others if spec.shape == "bipartite" else np.r_[:31]
    np.testing.assert_array_equal(whole[np.ix_(others, columns)], alone)
    # Who was there before is the same when he comes again; who has nothing reads nothing but himself.
    items = columns[-31:]
    np.testing.assert_array_equal(whole[25][items], whole[4][items])
    assert not whole[24][items].any() and whole[23][items].any()
    if spec.shape == "bipartite":
        own = whole[23:26, 23:26]
        assert not whole[26:, 23:26].any() and not whole[:23, 23:26].any() and not whole[23:26, :23].any()
        assert not (own - np.diag(np.diag(own))).any() and (np.diag(own) > 0).all() == spec.self_loops


@pytest.mark.parametrize("name", ["user_item symmetric union", "bipartite left count loops"])
def test_nobody_reads_passive_users_backwards(name):
    train, passive = with_passive()
    (built,) = graph.from_train({name: SPECS[name]}, train, passive).values()
    (alone,) = graph.from_train({name: SPECS[name]}, train).values()
    back = np.asarray(built.transpose.todense())
    assert not back[:, 23:26].any()
    kept = np.r_[:23, 26:57] if SPECS[name].shape == "bipartite" else np.r_[:23]
    rows = kept if SPECS[name].shape == "bipartite" else np.r_[:31]
    np.testing.assert_array_equal(back[np.ix_(rows, kept)], np.asarray(alone.transpose.todense()))
    np.testing.assert_array_equal(np.diff(built.col_ptr)[rows], np.diff(alone.col_ptr))


def test_the_product_of_accelerators_is_the_one_of_the_cpu():
    rng = np.random.default_rng(5)
    matrix = scipy.sparse.random_array((9, 7), density=0.4, rng=rng, format="csr", dtype=np.float32)
    built, dense = graph.build(matrix), rng.standard_normal((7, 3)).astype(np.float32)
    found = jax.jit(graph.gathered)(built.matrix, dense)
    np.testing.assert_allclose(found, matrix @ dense, rtol=1e-6, atol=1e-6)
    text = jax.jit(graph.gathered).lower(built.matrix, dense).as_text()
    assert "optimization_barrier" in text and "indices_are_sorted = true" in text


def test_a_symmetric_matrix_is_stored_once():
    matrix = scipy.sparse.csr_array(np.array([[0.0, 2.0, 1.0], [2.0, 0.0, 0.0], [1.0, 0.0, 3.0]], np.float32))
    same = graph.build(matrix)
    assert same.transpose is same.matrix and same.col_ptr is same.row_ptr
    matrix.data[0] = 5.0  # one of a pair
    other = graph.build(matrix)
    np.testing.assert_array_equal(other.transpose.todense(), matrix.T.toarray())


def test_shapes_are_those_of_the_graphs():
    train = toy.dataset(3).train
    specs = {
        "a": types.GraphSpec(("view",), normalization="l2_row"),
        "b": types.GraphSpec(("view", "cart"), "bipartite", "symmetric", self_loops=True),
        "c": types.GraphSpec(("view", "buy"), "bipartite", "left", entries="normalized_sum"),
        "d": types.GraphSpec(("buy",), "item_item"),
    }
    made, shapes = graph.from_train(specs, train), graph.shapes(specs, train)
    assert jax.tree.structure(made) == jax.tree.structure(shapes)
    for one, other in zip(jax.tree.leaves(made), jax.tree.leaves(shapes), strict=True):
        assert (one.shape, one.dtype) == (other.shape, other.dtype)
    for name in specs:
        is_shared = made[name].transpose is made[name].matrix
        assert is_shared == (shapes[name].transpose is shapes[name].matrix) == (name in "bd")
