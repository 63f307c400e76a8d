r"""GMF, MLP and NeuMF: neural collaborative filtering of one behavior (He et al., WWW 2017).

.. math::
    \text{GMF:}\; h^T (p \circ q) + c, \qquad \text{MLP:}\; h^T \operatorname{tower}([p; q]) + c, \qquad
    \text{NeuMF:}\; h^T [\,p^G \circ q^G;\; \operatorname{tower}([p^M; q^M])\,] + c

each the logit of the behavior, trained with the mean binary cross-entropy over its observed pairs and sampled items
that the user did not meet by it. ``data.target`` chooses the behavior; no other is looked at. Rows of users p and items
q are of the branch where there are two (G and M); tower: ``mbjax/models/ncf_units.py``.

``variant="shared_concat"`` is the form in NMTR's program, the one of that paper's tables: one pair of embedding tables,
NeuMF = h^T tower([p; q; p o q]), no constant c, other initial values.

Differences:
  pre-training: NeuMF may start from a trained GMF and MLP in the paper; it starts from random values here.
  batch: the original shuffles single rows, observed or negative; here a batch has observed pairs with their negatives.
  negatives: the original redraws them once an epoch, as here, and may hit the held-out item, as here.
  evaluation: the original ranks the held-out item among 99 others and picks the epoch on the test set.
"""

from __future__ import annotations

from typing import Literal

import jax.numpy as jnp
import pydantic
from flax import linen as nn

from mbjax import types
from mbjax.models import ncf_units, pointwise
from mbjax.ops import all_users


class NcfConfig(pydantic.BaseModel):
    """Switches of all three."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    embedding_size: int = pydantic.Field(8, ge=1, description="width of the embeddings")
    variant: Literal["original", "shared_concat"] = pydantic.Field(
        "original", description="of NCF, or as NMTR's program compares to: one pair of tables, products at the input"
    )
    negatives: int = pydantic.Field(4, ge=1, description="items without the behavior drawn for each observed pair")
    l2_weight: float = pydantic.Field(0.0, ge=0, description="weight of the sum of squares of the embedding tables")


class GmfConfig(NcfConfig):
    """Switches of GMF."""


class MlpConfig(NcfConfig):
    """Switches of MLP."""

    embedding_size: int = pydantic.Field(32, ge=1, description="width of the embeddings, half the input of the tower")
    layers: int = pydantic.Field(3, ge=1, description="ReLU layers of the tower, each halves the width")


class NeumfConfig(NcfConfig):
    """Switches of NeuMF."""

    embedding_size: int = pydantic.Field(8, ge=1, description="width of the embeddings (original: of the GMF branch)")
    mlp_embedding_size: int = pydantic.Field(
        32, ge=1, description="width of the embeddings of the MLP branch; the variant shared_concat has none"
    )
    layers: int = pydantic.Field(3, ge=1, description="ReLU layers of the tower, each halves the width")


class Ncf(nn.Module):
    """The parameters of a model of one behavior and its forward pass: a sum of units over their own tables."""

    kind: ncf_units.Kind
    config: NcfConfig
    info: types.DatasetInfo

    def setup(self):
        config, info = self.config, self.info
        is_original = config.variant == "original"
        branches = branches_of(self.kind, config)
        layers = getattr(config, "layers", 0)
        init = nn.initializers.normal(0.01) if is_original else ncf_units.truncated_normal(0.01)
        units = {
            kind: ncf_units.Unit(
                kind,
                width,
                0 if kind == "gmf" else layers,
                ncf_units.GLOROT if is_original else ncf_units.LECUN,
                name=f"unit_{kind}",
                output_inputs=sum(w if k == "gmf" else 2 * w >> layers for k, w in branches) if is_original else 0,
            )
            for kind, width in branches
        }
        self.units = list(units.values())
        self.user = [self.param(f"user_{kind}", init, (info.num_users, width)) for kind, width in branches]
        self.item = [self.param(f"item_{kind}", init, (info.num_items, width)) for kind, width in branches]
        self.constant = self.param("constant", nn.initializers.zeros, (1,)) if is_original else jnp.zeros(1)

    def loss(self, batch: types.UserBatch) -> tuple[types.Array, dict[str, types.Array]]:
        """The batch's contribution to the loss, and its parts."""
        logits = self.constant
        for unit, user, item in zip(self.units, self.user, self.item, strict=True):
            rows = user[batch.user][:, None], item[batch.points.item]
            logits = logits + unit.pairs(rows, unit.sides(*rows))
        target = batch.points.label.shape[1] - 1
        parts = {f"log_loss_{self.info.target}": pointwise.log_loss(logits, batch.points, target)}
        if self.config.l2_weight:
            sides = ((all_users.share(batch), self.user), (batch.share, self.item))
            squares = sum(share * jnp.sum(jnp.square(table)) for share, tables in sides for table in tables)
            parts["l2"] = self.config.l2_weight * squares
        return sum(parts.values()), parts

    def tables(self) -> tuple[list, list]:
        """What scores need of each user and of each item, for each branch: its row and its side."""
        users, items = [], []
        for unit, user, item in zip(self.units, self.user, self.item, strict=True):
            mine, theirs = unit.sides(user, item)
            users.append((user, mine))
            items.append((item, theirs))
        return users, items

    def block(self, users: list, items: list) -> types.Array:
        """Logits of a block of users and items, [B, T]."""
        scores = self.constant
        for unit, user, item in zip(self.units, users, items, strict=True):
            scores = scores + unit.block((user[0], item[0]), (user[1], item[1]))
        return scores


def branches_of(kind: ncf_units.Kind, config: NcfConfig) -> tuple[tuple[ncf_units.Kind, int], ...]:
    """Kind and width of the units whose scores are added."""
    if kind == "neumf" and config.variant == "original":
        return ("gmf", config.embedding_size), ("mlp", config.mlp_embedding_size)
    return ((kind, config.embedding_size),)


def of_points(
    kind: ncf_units.Kind, config: NcfConfig, info: types.DatasetInfo, batch_size: int, points: types.PointSpec
) -> types.Model:
    """Makes a model of the target from observed pairs, whose last label is that of the target.

    Args:
      kind: which.
      config: its switches.
      info: sizes and behaviors.
      batch_size: observed pairs in a batch, over all devices.
      points: the batches.

    Raises:
      ConfigError: more layers than the width allows.
    """
    branches = branches_of(kind, config)
    for unit, width in branches:
        ncf_units.check_layers(unit, width, getattr(config, "layers", 0))
    module = Ncf(kind, config, info)

    def score(params, tables, users, start, size, behavior):
        del behavior  # there is one score
        mine, theirs = pointwise.select(tables, users, start, size)

        def block(user, item):
            return module.apply(params, user, item, method=Ncf.block)

        return block(mine, theirs) if kind == "gmf" else ncf_units.tiled(block, mine, theirs)

    rows = pointwise.by_row(*([f"{side}_{unit}" for unit, _ in branches] for side in ("user", "item")))
    return pointwise.model(module, info, types.BatchSpec(batch_size, points=points), score, (info.target,), rows)


def build_gmf(config: GmfConfig, info: types.DatasetInfo, batch_size: int) -> types.Model:
    """Makes GMF for the target of a data set; see ``of_points``."""
    return of_points("gmf", config, info, batch_size, types.PointSpec((info.target,), config.negatives))


def build_mlp(config: MlpConfig, info: types.DatasetInfo, batch_size: int) -> types.Model:
    """Makes MLP for the target of a data set; see ``of_points``."""
    return of_points("mlp", config, info, batch_size, types.PointSpec((info.target,), config.negatives))


def build_neumf(config: NeumfConfig, info: types.DatasetInfo, batch_size: int) -> types.Model:
    """Makes NeuMF for the target of a data set; see ``of_points``."""
    return of_points("neumf", config, info, batch_size, types.PointSpec((info.target,), config.negatives))
