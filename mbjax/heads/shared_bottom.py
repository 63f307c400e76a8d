r"""Shared bottom: one linear unit for each task on the merged input x, :math:`score_k = x\,w_k + c_k`.

As the released program of CIGF (Guo et al., WWW 2023) has it, whose library PKEF (CIKM 2023) and COPF (KDD 2025) took
over; that their tables are of exactly this head they do not say. See ``mbjax/heads/merged.py`` for x.

The score is a sum of a user's and an item's part. So all users get the items in the same order, and the user's part has
no effect on the loss.

Differences:
  hidden layers: the program has none, and the papers do not say; ``hidden`` puts leaky layers that all tasks share
    between x and the units, which makes the order personal. The row COGCN+SB of COPF's Table 5 (HR@10 .0594 on Taobao)
    is out of reach of any single order: the ten items with the most held-out purchases have .0135 of them.
"""

from __future__ import annotations

from typing import Literal

import pydantic

from mbjax.heads import base, merged


class SharedBottomConfig(merged.MergedConfig):
    """Switches of the shared bottom."""

    name: Literal["shared_bottom"] = "shared_bottom"
    hidden: tuple[pydantic.PositiveInt, ...] = pydantic.Field(
        (), description="widths of hidden layers that all tasks share"
    )


class SharedBottom(merged.Merged):
    """The layers and the units of the tasks."""

    def setup(self):
        widths = (2 * self.size, *self.config.hidden)
        self.layers = [
            self.dense(f"hidden_{i}", 1, *pair) for i, pair in enumerate(zip(widths, widths[1:], strict=False))
        ]
        self.tower = self.dense("tower", self.info.num_behaviors, widths[-1], 1)

    def sides(self, encoding, graphs, task, users=None):
        """The parts of the first layer, or of the score where there is no hidden one."""
        del graphs
        first = self.layers[0] if self.layers else self.tower.take([task])
        return base.Sides(*first.split(*self.merge(encoding, users)))

    def score(self, task, sides, pairing):
        """One of three ways, by the number of hidden layers."""
        tower = self.tower.take(task)
        if not self.layers:
            user, item = sides
            return pairing.add(user[:, 0], item[:, 0])
        if len(self.layers) == 1:
            return pairing.leaky(*sides, tower.kernel[:, 0], merged.SLOPE) + tower.bias[0]
        deeper = [layer.take(0) for layer in self.layers[1:]]

        def of_pairs(user, item):
            state = merged.leaky(user + item)
            for layer in deeper:
                state = merged.leaky(layer(state))
            return tower(state)[..., 0]

        return pairing.apply(of_pairs, *sides)
