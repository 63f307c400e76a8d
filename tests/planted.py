"""Data sets given pair by pair, and models whose parameters are the scores: what they come to can be worked by hand."""

from __future__ import annotations

import jax
import numpy as np
import optax
from scipy import sparse

from mbjax import data, types
from mbjax.data import vocabulary


def dataset(num_users, num_items, behaviors, train, test, valid=None, mask_valid=False) -> data.Dataset:
    """A data set of ``{behavior: [(user, item), ...]}``."""

    def split(parts):
        matrices = {}
        for name, pairs in parts.items():
            user, item = np.asarray(pairs, np.int32).reshape(-1, 2).T
            ones = np.ones(len(pairs), np.uint8)
            matrices[name] = sparse.csr_array((ones, (user, item)), shape=(num_users, num_items))
        return matrices

    return data.Dataset(
        info=types.DatasetInfo("planted", num_users, num_items, behaviors),
        train=split({name: train.get(name, []) for name in behaviors}),
        valid=split(valid or {}),
        test=split(test),
        users=vocabulary.Vocabulary([f"user-{u}" for u in range(num_users)]),
        items=vocabulary.Vocabulary.range(num_items),
        mask_valid=mask_valid,
        valid_rule="file",
        fingerprint="",
    )


def read(params, tables, users, start, size, behavior):
    return jax.lax.dynamic_slice_in_dim(params[behavior], start, size, axis=1)[users]


def nothing(params, graphs):
    return ()


def model(info, score=read) -> types.Model:
    """The parameters are the scores, [K, U, I]."""
    return types.Model(info=info, graphs={}, batch=None, init=None, loss=None, encode=nothing, score=score)


def lists_first(num_items, *lists):
    """Scores [1, U, I] that rank the given items first and the rest after, in the order of their ids."""
    scores = np.tile(-np.arange(num_items, dtype=np.float32), (len(lists), 1))
    for user, items in enumerate(lists):
        scores[user, items] = 1000.0 - np.arange(len(items))
    return scores[None]


def random(rng, mask_valid=False, num_users=17, num_items=40):
    def pairs(share):
        return [tuple(p) for p in np.argwhere(rng.random((num_users, num_items)) < share)]

    train = {"view": pairs(0.2), "cart": pairs(0.05), "buy": pairs(0.1)}
    seen = set(train["buy"])
    valid = {"buy": [p for p in pairs(0.05) if p not in seen]}
    test = {"buy": [p for p in pairs(0.06) if p not in seen], "view": pairs(0.02) or [(0, 0)]}
    test["buy"] = test["buy"] or [(0, next(i for i in range(num_items) if (0, i) not in seen))]
    return dataset(num_users, num_items, ("view", "cart", "buy"), train, test, valid, mask_valid=mask_valid)


def taught(model: types.Model, evidence: types.Evidence, epochs: int, rate: float):
    """A model that teaches itself, after some epochs: (model, parameters, what it prepared, (sampler, store))."""
    graphs = dict(model.prepare(evidence))
    sampler, store = model.teach(evidence, 1)
    optimizer = optax.adam(rate)
    params = jax.jit(model.init)(jax.random.key(0), graphs)

    @jax.jit
    def epoch(params, state, plan):
        def step(carry, place):
            params, state = carry
            batch = sampler.batch(store, plan, None, place)
            gradient, _ = jax.grad(model.loss, has_aux=True)(params, graphs, batch, None, 0)
            updates, state = optimizer.update(gradient, state, params)
            return (optax.apply_updates(params, updates), state), None

        return jax.lax.scan(step, (params, state), jax.numpy.arange(sampler.steps_per_epoch))[0]

    plan, state = jax.jit(sampler.plan), optimizer.init(params)
    for number in range(epochs):
        params, state = epoch(params, state, plan(jax.random.key(1), number))
    return model, params, graphs, (sampler, store)
