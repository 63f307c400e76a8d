"""The best possible ranking of a planted log, as a model without training: the row ``optimum (known)`` of a table.

``synthetic`` draws pairs (user, item) independently given its latent quantities, so the probability that a behavior of
a pair is still to come depends, besides them, only on which behaviors of *that* pair stand in training. Bayes' rule
over the 8 ways in which a viewed pair can go on gives it exactly. No ranking has a larger expected Prec@K, Rec@1 or
DCG@K; NDCG and HR follow closely. It serves validation and test alike, since the two are divided by chance.
"""

from __future__ import annotations

import itertools

import jax
import jax.numpy as jnp
import numpy as np

from mbjax import types
from mbjax.data import synthetic

CONTINUATIONS = tuple(itertools.product((0, 1), repeat=3))
"""Whether a viewed pair is also favoured, carted, bought."""


def optimum_model(planted: synthetic.Planted, info: types.DatasetInfo) -> types.Model:
    """The known optimum for the behaviors in use: what the other behaviors of the log would tell is summed out.

    Args:
      planted: what ``synthetic.log`` returned beside the data set.
      info: of that data set; its behaviors may be fewer and in another order.

    Returns:
      A model whose ``batch`` is None. Scores are probabilities that a behavior of the pair lies behind the cut.

    Raises:
      ValueError: ``info`` has other sizes than the planted log, or a behavior that it does not have.
    """
    sizes = (planted.interest.shape[0], planted.fit.shape[1])
    if (info.num_users, info.num_items) != sizes or not set(info.behaviors) <= set(synthetic.BEHAVIORS):
        raise ValueError(f"the planted log has {sizes} users and items and {synthetic.BEHAVIORS}; got {info}")
    seen, comes = tables(planted.rates, info.behaviors)

    def init(key, graphs):
        del key, graphs
        arrays = {name: getattr(planted, name) for name in ("appetite", "interest", "affinity", "fit")}
        return {name: jnp.asarray(a, jnp.float32) for name, a in {**arrays, "seen": seen, "comes": comes}.items()}

    def loss(params, graphs, batch, key, step):
        raise ValueError("the optimum is known: there is nothing to train")

    def encode(params, graphs):
        """Which behaviors of each pair stand in training: bit k for ``info.behaviors[k]``, uint8 [U, I]."""
        del params
        bits = jnp.zeros((info.num_users, info.num_items), jnp.uint8)
        for k, behavior in enumerate(info.behaviors):
            user, item = graphs[behavior].matrix.indices.T
            bits = bits.at[user, item].add(jnp.uint8(1 << k), mode="drop")  # padding lies outside
        return bits

    def score(params, bits, users, start, size, behavior):
        observed = jax.lax.dynamic_slice_in_dim(bits[users], start, size, axis=1)  # [B, size]
        affinity = jax.lax.dynamic_slice_in_dim(params["affinity"], start, size, axis=1)
        fit = jax.lax.dynamic_slice_in_dim(params["fit"], start, size, axis=1)
        highest = jax.lax.Precision.HIGHEST  # bfloat16 products would blur the ranking
        view = -jnp.expm1(-jnp.dot(params["appetite"][users], affinity, precision=highest))
        kappa = jnp.dot(params["interest"][users], fit, precision=highest)
        return posterior(view, kappa, observed, params["seen"], params["comes"][behavior], planted.rates)

    return types.Model(
        info=info,
        graphs={behavior: types.GraphSpec((behavior,)) for behavior in info.behaviors},
        batch=None,
        init=init,
        loss=loss,
        encode=encode,
        score=score,
    )


def tables(rates: synthetic.Rates, behaviors: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
    """What the cut in time makes of each continuation of a view.

    Args:
      rates: of the funnel.
      behaviors: those in use, K of them; bit k of an observation tells whether ``behaviors[k]`` is in training.

    Returns:
      seen: P(observation | continuation), float64 [8, 2^K].
      comes: P(observation, and behaviors[k] lies behind the cut | continuation), float64 [K, 8, 2^K].
    """
    bit = {name: 1 << k for k, name in enumerate(behaviors)}
    seen = np.zeros((len(CONTINUATIONS), 1 << len(behaviors)))
    comes = np.zeros((len(behaviors), *seen.shape))
    for s, continuation in enumerate(CONTINUATIONS):
        chain = [b for b, happened in zip(synthetic.BEHAVIORS, (1, *continuation), strict=True) if happened]
        for before in range(len(chain) + 1):  # the first `before` of the chain lie before the cut
            if before == 0:
                probability = 1.0 - rates.view_before
            else:
                probability = rates.view_before * rates.next_before ** (before - 1)
                probability *= 1.0 if before == len(chain) else 1.0 - rates.next_before
            observation = sum(bit.get(b, 0) for b in chain[:before])
            seen[s, observation] += probability
            for k, behavior in enumerate(behaviors):
                comes[k, s, observation] += probability * (behavior in chain[before:])
    return seen, comes


def posterior(view, kappa, observed, seen, comes, rates: synthetic.Rates):
    """P(a behavior is still to come | what stands in training), elementwise; for numpy and jax arrays alike.

    Args:
      view: P(view) of the pairs, in [0, 1], any shape.
      kappa: how well the item fits, in [0, 1].
      observed: index of the observation, integers.
      seen: [8, 2^K], see ``tables``.
      comes: [8, 2^K], the table of the wanted behavior.
      rates: of the funnel.

    Returns:
      Probabilities; 0 where the log cannot hold such a pair.
    """
    numerator, evidence = 0.0, (1.0 - view) * (observed == 0)
    for s, (favourite, cart, buy) in enumerate(CONTINUATIONS):
        to_cart = rates.cart_after_favourite if favourite else rates.cart
        to_buy = rates.buy_after_cart if cart else rates.buy_after_favourite if favourite else rates.buy
        prior = view
        for rate, happened in ((rates.favourite, favourite), (to_cart, cart), (to_buy, buy)):
            prior = prior * (kappa * rate if happened else 1.0 - kappa * rate)
        numerator = numerator + prior * comes[s][observed]
        evidence = evidence + prior * seen[s][observed]
    return numerator / (evidence + 1e-30)
