r"""PLE: progressive layered extraction (Tang et al., RecSys 2020) on the merged input x.

As the released program of CIGF (Guo et al., WWW 2023) has it, whose library PKEF (CIKM 2023) and COPF (KDD 2025) took
over; that their tables are of exactly this head they do not say. It has one level, that is CGC. Every task has experts
of its own beside the shared ones, all of them :math:`\operatorname{lrelu}_{0.1}(x W_e + b_e)` with W_e: [2 D, 2 D], a
gate :math:`softmax(x G_k + c_k)` over its own and the shared ones, and a linear unit that reads the mixture. See
``mbjax/heads/merged.py`` for x.

With more levels the mixtures of a level are the inputs of the next: of each task, and of the shared experts, whose gate
is over all experts of the level. All but the first level is then computed pair by pair, and ranking all items takes as
long as its matrix products do.

Differences:
  levels: one in the program, any number in the paper of PLE: ``levels``.
  experts: the program has 1 shared one, and for each task 1 if it is told 3 experts, else 2: ``own_experts``.
"""

from __future__ import annotations

from typing import Literal

import jax
import jax.numpy as jnp
import pydantic

from mbjax.heads import base, merged
from mbjax.ops import gating


class PleConfig(merged.MergedConfig):
    """Switches of PLE."""

    name: Literal["ple"] = "ple"
    own_experts: pydantic.PositiveInt = pydantic.Field(1, description="experts of each task alone, on every level")
    shared_experts: pydantic.PositiveInt = pydantic.Field(1, description="experts of all tasks, on every level")
    levels: pydantic.PositiveInt = pydantic.Field(1, description="levels of experts; 1: CGC")


class Ple(merged.Merged):
    """Experts, gates and towers. The experts of a level: the tasks' own in order, then the shared ones."""

    def setup(self):
        config, num, inputs = self.config, self.info.num_behaviors, 2 * self.size
        seen = config.own_experts + config.shared_experts
        total = num * config.own_experts + config.shared_experts
        levels = range(config.levels)
        self.experts = [self.dense(f"expert_{level}", total, inputs, inputs) for level in levels]
        self.task_gates = [self.dense(f"gate_{level}", num, inputs, seen) for level in levels]
        self.shared_gates = [self.dense(f"shared_gate_{level}", 1, inputs, total) for level in levels[:-1]]
        self.tower = self.dense("tower", num, inputs, 1)

    def sides(self, encoding, graphs, task, users=None):
        """The parts of the gate's logits and of the task's experts; with more levels, of all gates and experts."""
        del graphs
        rows = self.merge(encoding, users)
        if self.config.levels == 1:
            logits = gating.logits(*self.task_gates[0].take(task), *rows)
            units = self.experts[0].take(self._seen(task)).split(*rows)
            return base.Sides(*({"gate": g, "units": u} for g, u in zip(logits, units, strict=True)))
        parts = {
            "units": self.experts[0].split(*rows),
            "gates": self.task_gates[0].split(*rows),
            "shared": self.shared_gates[0].split(*rows),
        }
        return base.Sides(*({name: part[side] for name, part in parts.items()} for side in (0, 1)))

    def score(self, task, sides, pairing):
        """The tower on the gated experts."""
        tower = self.tower.take(task)
        if self.config.levels == 1:
            return merged.mixture(sides, tower, pairing)
        last = self._last_level(task)

        def of_pairs(user, item):
            gate, units = last(user, item)
            read = jnp.concatenate([unit @ tower.kernel for unit in units], axis=-1)
            return jnp.sum(gate * read, axis=-1) + tower.bias[0]

        return pairing.apply(of_pairs, *sides)

    def gates(self, task, sides, pairing):
        """Of the last level: the task's own experts, then the shared ones."""
        if self.config.levels == 1:
            return gating.weights(sides.user["gate"], sides.item["gate"], pairing)
        last = self._last_level(task)
        number = len(self.slots(task))
        each = [pairing.apply(lambda user, item, e=e: last(user, item)[0][..., e], *sides) for e in range(number)]
        return jnp.stack(each, axis=-1)

    def slots(self, task):
        """``own 1``, ..., then ``shared 1``, ..."""
        kinds = (("own", self.config.own_experts), ("shared", self.config.shared_experts))
        return tuple(f"{kind} {e + 1}" for kind, number in kinds for e in range(number))

    def _seen(self, task: int) -> list[int]:
        """The experts that a task's gate is over."""
        own, num = self.config.own_experts, self.info.num_behaviors
        return [*range(task * own, (task + 1) * own), *range(num * own, num * own + self.config.shared_experts)]

    def _last_level(self, task: int):
        """A function of the sides of pairs: the gate [..., seen] and the units, [..., 2 D] each, of the last level."""
        config, num = self.config, self.info.num_behaviors
        groups = [k for k in range(num) for _ in range(config.own_experts)] + [num] * config.shared_experts
        seen = [self._seen(k) for k in range(num)] + [range(len(groups))]
        # The parameters are taken out here: a flax module must not be touched where the function runs.
        experts = [[level.take(e) for e in range(len(groups))] for level in self.experts]
        gates = [[level.take(k) for k in range(num)] for level in self.task_gates]
        for level, shared in zip(gates, self.shared_gates, strict=False):
            level.append(shared.take(0))

        def run(user, item):
            units = jnp.split(merged.leaky(user["units"] + item["units"]), len(groups), axis=-1)
            logits = [*jnp.split(user["gates"] + item["gates"], num, axis=-1), user["shared"] + item["shared"]]
            for level in range(1, config.levels):
                states = [
                    sum(weight * units[e] for weight, e in zip(_weights(logit), chosen, strict=True))
                    for logit, chosen in zip(logits, seen, strict=True)
                ]
                # What the task does not read of the last level is never computed: nothing depends on it.
                units = [merged.leaky(expert(states[g])) for expert, g in zip(experts[level], groups, strict=True)]
                logits = [gate(state) for gate, state in zip(gates[level], states, strict=False)]
            return jax.nn.softmax(logits[task]), [units[e] for e in seen[task]]

        return run


def _weights(logits):
    """Softmax weights of experts, [..., 1] each."""
    return jnp.split(jax.nn.softmax(logits), logits.shape[-1], axis=-1)
