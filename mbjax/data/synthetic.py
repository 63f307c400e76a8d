"""A planted multi-behavior funnel: a made-up shop whose best possible ranking is known.

Users and items belong to latent groups. A user *views* items of its groups, and other popular ones by accident; of
what it views, it favours, carts and buys what fits its interest; a cart makes a purchase likelier. Then time is cut:
what happened before the cut is training, what happened after it is divided by chance into validation and test. A chain
view -> favourite -> cart -> buy may lie across the cut, never against it.

So that the optimum can be computed, pairs (user, item) are independent given the latent quantities: with activity
``a_u``, group weights ``w_ug``, the distribution ``phi_gi`` of group g over items and the fit ``psi_gi`` in [0, 1]

.. math::
    P(view) = 1 - exp(-a_u \\sum_g w_{ug} \\phi_{gi}), \\qquad \\kappa_{ui} = \\sum_g w_{ug} \\psi_{gi}

and, given a view, the behaviors that follow occur with ``kappa_ui`` times a rate that depends on what occurred before.
``optimum`` turns this into the probability that a pair is still to come, given the training log.

Everything is drawn by ``Generator(PCG64).random`` alone, whose stream numpy keeps, so that a seed gives the same log
on every machine.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mbjax.data import content, dataset

BEHAVIORS = ("view", "favourite", "cart", "buy")


@dataclass(frozen=True)
class Rates:
    """Probabilities of the funnel; those of behaviors hold for ``kappa = 1`` and are multiplied by ``kappa``.

    Attributes:
      favourite: of a favourite, given a view.
      cart: of a cart, given a view.
      cart_after_favourite: of a cart, given a view and a favourite.
      buy: of a purchase, given a view and neither favourite nor cart.
      buy_after_favourite: given a favourite, no cart.
      buy_after_cart: given a cart, with or without favourite.
      view_before: that a view lies before the cut.
      next_before: that the next behavior of a chain still lies before the cut, if the one before it does.
    """

    favourite: float = 0.20
    cart: float = 0.25
    cart_after_favourite: float = 0.45
    buy: float = 0.12
    buy_after_favourite: float = 0.30
    buy_after_cart: float = 0.65
    view_before: float = 0.85
    next_before: float = 0.85


@dataclass(frozen=True)
class Planted:
    """The latent quantities of a made-up log: all that the optimum needs besides the training log.

    Attributes:
      appetite: ``a_u w_ug``, float64 [U, G], expected views of a user in a group.
      interest: ``w_ug``, float64 [U, G], rows sum to 1.
      affinity: ``phi_gi``, float64 [G, I], rows sum to 1.
      fit: ``psi_gi``, float64 [G, I], in [0, 1].
      rates: of the funnel.
    """

    appetite: np.ndarray
    interest: np.ndarray
    affinity: np.ndarray
    fit: np.ndarray
    rates: Rates

    def view_probability(self) -> np.ndarray:
        """P(view), float64 [U, I]."""
        return -np.expm1(-(self.appetite @ self.affinity))

    def kappa(self) -> np.ndarray:
        """How well an item fits a user's interest, float64 [U, I], in [0, 1]."""
        return self.interest @ self.fit


def log(
    num_users: int = 3000,
    num_items: int = 1000,
    seed: int = 0,
    *,
    num_groups: int = 12,
    mean_views: float = 34.0,
    rates: Rates = Rates(),  # noqa: B008 (frozen)
) -> tuple[content.Content, Planted]:
    """Draws a log and returns it with what was planted.

    Every user has at least one training pair of ``buy``: users without are drawn again. That looks at nothing but
    training, so it leaves the optimum as it is.

    Args:
      num_users: U.
      num_items: I, at least ``num_groups``.
      seed: of everything that is drawn.
      num_groups: G, latent groups of users and items.
      mean_views: expected distinct items that a user views, roughly; a single user's lies between 1/3 and 5/3 of it.
      rates: of the funnel.

    Raises:
      ValueError: sizes that cannot be, or rates so low that users hardly ever buy.
    """
    if num_users < 1 or num_groups < 1 or num_items < num_groups:
        raise ValueError(f"needs users, groups and at least as many items: {num_users=}, {num_groups=}, {num_items=}")
    rng = np.random.Generator(np.random.PCG64(seed))
    affinity, fit = _items(rng, num_items, num_groups)
    kept: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []  # appetite, interest, state
    found, drawn = 0, 0
    while found < num_users:
        if drawn > 50 * num_users:
            raise ValueError(f"of {drawn} users only {found} had a training purchase; raise the rates or mean_views")
        appetite, interest = _users(rng, num_users, num_groups, mean_views)
        state = _behave(rng, Planted(appetite, interest, affinity, fit, rates))
        buys = (state[:, :, -1] == 1).any(axis=1)
        kept.append((appetite[buys], interest[buys], state[buys]))
        found, drawn = found + int(buys.sum()), drawn + num_users
    appetite, interest, state = (np.concatenate(parts)[:num_users] for parts in zip(*kept, strict=True))
    pairs = {
        split: {b: np.argwhere(state[:, :, k] == code) for k, b in enumerate(BEHAVIORS)}
        for code, split in ((1, "train"), (2, "valid"), (3, "test"))
    }
    note = f"made up: seed {seed}, {num_groups} latent groups; the best possible ranking is known"
    made = content.build("demo", num_users, num_items, BEHAVIORS, pairs, notes=(note,))
    return made, Planted(appetite, interest, affinity, fit, rates)


def funnel(
    num_users: int = 3000, num_items: int = 1000, seed: int = 0, *, choice=None, **options
) -> tuple[dataset.Dataset, Planted]:
    """``log`` as a ready ``Dataset`` with its own validation pairs, beside what was planted.

    ``choice`` is an ``Options`` (behaviors, target, validation rule); the other arguments are those of ``log``.
    """
    made, planted = log(num_users, num_items, seed, **options)
    return dataset.prepare(made, choice), planted


def _items(rng: np.random.Generator, num_items: int, num_groups: int) -> tuple[np.ndarray, np.ndarray]:
    """Affinity and fit [G, I]: each item has one home group, and a popularity that falls off with its rank."""
    order = np.argsort(rng.random(num_items), kind="stable")  # so that an id says nothing
    home = np.empty(num_items, np.int64)
    home[order] = np.arange(num_items) % num_groups
    popularity = np.empty(num_items)
    popularity[order] = (np.arange(num_items) // num_groups + 3.0) ** -0.7
    at_home = home == np.arange(num_groups)[:, None]
    inside = np.where(at_home, popularity, 0.0)
    inside /= inside.sum(axis=1, keepdims=True)
    affinity = 0.85 * inside + 0.15 * popularity / popularity.sum()
    quality = 0.4 + 0.6 * rng.random(num_items)
    return affinity, np.where(at_home, quality, 0.05 * quality)


def _users(rng: np.random.Generator, count: int, num_groups: int, mean_views: float) -> tuple[np.ndarray, np.ndarray]:
    """Appetite and interest [U, G]: a main group, a second one, and a little of everything."""
    rows = np.arange(count)
    main = (rng.random(count) * num_groups).astype(np.int64)
    second = (rng.random(count) * num_groups).astype(np.int64)
    share = 0.55 + 0.3 * rng.random(count)
    interest = np.full((count, num_groups), 0.05 / num_groups)
    np.add.at(interest, (rows, main), share)
    np.add.at(interest, (rows, second), 0.95 - share)
    activity = mean_views * (1 / 3 + 4 / 3 * rng.random(count))
    return activity[:, None] * interest, interest


def _behave(rng: np.random.Generator, planted: Planted) -> np.ndarray:
    """What every user does with every item: int8 [U, I, 4], 0 nothing, 1 training, 2 validation, 3 test."""
    rates, view, kappa = planted.rates, planted.view_probability(), planted.kappa()
    viewed = rng.random(view.shape) < view
    favoured = viewed & (rng.random(view.shape) < kappa * rates.favourite)
    carted = viewed & (rng.random(view.shape) < kappa * np.where(favoured, rates.cart_after_favourite, rates.cart))
    to_buy = np.where(carted, rates.buy_after_cart, np.where(favoured, rates.buy_after_favourite, rates.buy))
    bought = viewed & (rng.random(view.shape) < kappa * to_buy)
    state = np.zeros((*view.shape, len(BEHAVIORS)), np.int8)
    before = np.ones(view.shape, bool)
    for k, happened in enumerate((viewed, favoured, carted, bought)):
        stays = rng.random(view.shape) < (rates.next_before if k else rates.view_before)
        before &= stays | ~happened
        held_out = np.where(rng.random(view.shape) < 0.5, 2, 3)
        state[:, :, k] = np.where(happened, np.where(before, 1, held_out), 0)
    return state
