r"""Funnel: what a user does next is an item that he knows from another behavior, or a new one, and how often each.

For every behavior k as the target, with familiar items those of the user's other behaviors that he has not met by k:

.. math::
    p(i \mid u, k) = q_{uk} \, \mathrm{softmax}_{\text{familiar}} f_k(u, i) \quad\text{or}\quad
    (1 - q_{uk}) \, \mathrm{softmax}_{\text{new}} g_k(u, i)

f_k and g_k are small networks, one hidden layer beside a linear term, over numbers of the pair that need no training
(``mbjax/features``): counts, rates, similarities and one ridge regression (MB-EASE), the user himself left out of all
of them. New items are those that a search by regression, neighbors and popularity finds; the rest shares what is left
in proportion to popularity. q is a logistic function of a few numbers of the user, learned from how often held-out
pairs are familiar.

Training lists are cross-fitted: a fold of the user's pairs is taken out of his history and is the answer
(``features/lessons.py``). Validation pairs teach too: users are dealt into as many groups as there are ``members``,
networks that begin differently, and member m learns from no validation pair of group m. So the validation split is
judged by networks that have not seen it, user by user, and the test split by the mean of all.

Differences: there is no paper; the mixture is ours. The numbers come from EASE (Steck, WWW 2019) and item neighbors.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import jax
import jax.numpy as jnp
import pydantic
from flax import linen as nn

from mbjax import types
from mbjax.features import lessons, prepared, table, teaching, whole
from mbjax.features.retrieval import PARTS
from mbjax.models import funnel_findings
from mbjax.ops import listwise, rows

Family = Literal["touch", "count", "ease", "near", "rank", "time"]
PRIORS = {"familiar": "ease_kept_log", "new": "ease_left_log"}
"""What an expert says before it has learned anything."""
FAST = 20.0
"""Factor of the few parameters that have far to go, in a run that is made for the small steps of an expert."""
ROWS = 65536  # candidates scored at once


class FunnelConfig(pydantic.BaseModel):
    """What the experts see and learn from. Defaults serve every data set."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    hidden: int = pydantic.Field(
        64, ge=0, description="units of the hidden layer for familiar items; 0: the linear term alone"
    )
    hidden_new: int = pydantic.Field(16, ge=0, description="likewise for new items, of which fewer answers are known")
    members: int = pydantic.Field(6, ge=1, description="networks that begin differently and are averaged")
    penalty: float = pydantic.Field(120.0, gt=0, description="lambda' of the ridge regression [pairs]")
    features: tuple[Family, ...] = pydantic.Field(
        table.FAMILIES, min_length=1, description="families of numbers that the experts see"
    )
    new_items: int = pydantic.Field(
        80, ge=1, description="new items of a user found by the regression, and as many by neighbors [items]"
    )
    sources: tuple[Literal["folds", "valid"], ...] = pydantic.Field(
        ("folds", "valid"),
        min_length=1,
        description="the lists that teach; folds: training pairs that are taken out again; valid: validation pairs. "
        "With both, one expert learns from all and one from validation pairs alone, weighted by what predicts the "
        "pairs of users whom neither has seen",
    )
    folds: int = pydantic.Field(6, ge=2, description="folds that training pairs are dealt into")
    fold_order: Literal["auto", "random", "latest", "time"] = pydantic.Field(
        "auto",
        description="how pairs are dealt, where it is known when they happened; random; latest: each user's latest "
        "pairs in the first fold, and so on; time: cut at the same moments for everyone, and nothing later is known; "
        "auto: time where validation pairs are later than all training pairs, else random",
    )
    taught_folds: int = pydantic.Field(6, ge=0, description="folds that are taken out and taught")
    max_lists: int = pydantic.Field(12000, ge=1, description="most lists of a fold [users]")
    list_length: int = pydantic.Field(64, ge=2, description="most candidates of a training list; a sample of more")
    cross_fitting: bool = pydantic.Field(
        True, description="take what is to be predicted out of the numbers first; false: they know the answers"
    )
    loss: Literal["listwise", "pointwise"] = pydantic.Field(
        "listwise", description="softmax over a list, or one by one"
    )
    gate: Literal["user", "constant", "fixed"] = pydantic.Field(
        "user",
        description="how often a familiar item comes next; user: a function of the user; constant: one share a "
        "behavior; fixed: as it begins, for runs that start from another's (train.init_from)",
    )
    l2_weight: float = pydantic.Field(
        2.0, ge=0, description="factor of the squares of an expert's weights, divided by the number of its lists"
    )
    steps: int = pydantic.Field(60, ge=1, description="steps of an epoch")


class Expert(nn.Module):
    """A linear term, and beside it one hidden layer: [..., D] -> [...]."""

    hidden: int
    begin: float  # standard deviation of the hidden layer's share before training, about

    @nn.compact
    def __call__(self, x: types.Array) -> types.Array:
        out = nn.Dense(1, use_bias=False, kernel_init=nn.initializers.zeros, name="linear")(x)
        if self.hidden:
            h = nn.relu(nn.Dense(self.hidden, kernel_init=nn.initializers.lecun_normal(), name="hidden")(x))
            out = out + nn.Dense(
                1, use_bias=False, kernel_init=nn.initializers.normal(self.begin * self.hidden**-0.5), name="out"
            )(h)
        return out[..., 0]


def build(config: FunnelConfig, info: types.DatasetInfo, batch_size: int) -> types.Model:
    """Makes the model for a data set.

    Args:
      config: what the experts see and learn from.
      info: sizes and behaviors.
      batch_size: lists of a behavior and part in a batch, over all devices.
    """
    expert = {"familiar": Expert(config.hidden, 1.0), "new": Expert(config.hidden_new, 0.1)}
    experts = ("all", "valid") if len(set(config.sources)) > 1 else ("all",)
    kept: dict[int, Any] = {}  # what ``prepare`` made, until ``teach`` has used it
    names = [(b, part) for b in info.behaviors for part in PARTS]
    timed = info.times and "time" in config.features
    columns = {
        (b, part): whole.shown(
            config.features, table.names(info.behaviors, b, familiar=part == "familiar", timed=timed)
        )
        for b, part in names
    }

    def prepare(evidence: types.Evidence) -> dict[str, Any]:
        made = prepared.prepare(config, info, evidence)
        if evidence.teach:
            kept[id(evidence.train)] = made
        groups = lessons.groups(made.number, config.members, evidence.seed)
        return {"funnel": made.device, "groups": jnp.asarray(groups), "judge": jnp.asarray(False)}

    def teach(evidence: types.Evidence, num_devices: int):
        made = kept.pop(id(evidence.train), None) or prepared.prepare(config, info, evidence)
        return teaching.teach(config, info, evidence, made, batch_size, num_devices)

    def init(key, graphs):
        params: dict[str, Any] = {"experts": {}, "scale": {}, "gate": {}, "mix": {}, "prior": {}}
        # Without what is prepared, as where a checkpoint is about to replace all, only shapes count.
        made = graphs.get("funnel")
        for number, (behavior, part) in enumerate(names):
            x = jnp.zeros((1, len(columns[behavior, part])), jnp.float32)
            params["scale"][f"{behavior}:{part}"] = made[behavior][part]["scale"] if made else _unscaled(x.shape[1])
            judged = made[behavior]["judged"] if made else jnp.asarray(True)
            params["mix"][f"{behavior}:{part}"] = _first_mix(len(experts), judged)
            for place, source in enumerate(experts):
                keys = jax.random.split(jax.random.fold_in(key, 2 * number + place), config.members)
                name = f"{behavior}:{part}:{source}"
                params["experts"][name] = jax.vmap(lambda k, x=x, part=part: expert[part].init(k, x))(keys)
                params["prior"][name] = jnp.ones(config.members)
        for behavior in info.behaviors:
            width = 1 + info.num_behaviors * (info.num_behaviors + 1) // 2
            params["scale"][f"{behavior}:user"] = made[behavior]["scale"] if made else _unscaled(width)
            params["gate"][behavior] = {
                "weight": jnp.zeros(width),
                "bias": jnp.zeros(()),
                "rest": jnp.zeros(()),
            }
        return params

    def logits(params, name, source, x):
        """Of every member: [members, ...] of numbers x [..., D], beginning with what the regression says alone."""
        behavior, part = name.rsplit(":", 1)
        shown = columns[behavior, part]
        found = jax.vmap(expert[part].apply, in_axes=(0, None))(
            params["experts"][f"{name}:{source}"], standard(params, name, x)
        )
        column = PRIORS[part]
        if column not in shown:
            return found
        prior = x[..., shown.index(column)].astype(jnp.float32)
        return found + jnp.einsum("m,...->m...", params["prior"][f"{name}:{source}"], prior)

    def standard(params, name, x):
        return _standard(jax.lax.stop_gradient(params["scale"][name]), x)

    def gate(params, behavior, x):
        """Logits of q, [B] of the users' numbers [B, G]."""
        own = params["gate"][behavior]
        x = standard(params, f"{behavior}:user", x)
        return FAST * (own["bias"] + (x @ own["weight"] if config.gate == "user" else jnp.zeros(len(x))))

    def loss(params, graphs, batch, key, step):
        del graphs, key, step
        measure = listwise.softmax_loss if config.loss == "listwise" else listwise.pointwise_loss
        each = jax.vmap(measure, in_axes=(0, None))
        parts = {name: jnp.float32(0) for name in ("lists", "mix", "gate", "l2")}
        member = jnp.arange(config.members)[:, None]
        for behavior, part in names:
            name = f"{behavior}:{part}"
            given = {s: batch.lists[f"{name}:{s}"] for s in config.sources if f"{name}:{s}" in batch.lists}
            count = sum(batch.count[f"{name}:{s}"] for s in given)
            for source, drawn in given.items():
                full = f"{name}:{source}"
                # Member m learns from no validation pair of the users of group m.
                is_mine = drawn.group == member  # [members, B]
                found = {e: logits(params, name, e, drawn.x) for e in experts if e == "all" or source == "valid"}
                for which, values in found.items():
                    share = batch.count[full] / count if which == "all" else 1.0
                    parts["lists"] += share * jnp.sum(each(values, drawn) * ~is_mine) / batch.total[full]
                if len(found) > 1:
                    mixed = _mixed(params, name, list(found.values()), stop=True)
                    parts["mix"] += jnp.sum(each(mixed, drawn) * is_mine) / batch.total[full]
            # An expert without lists stays as it is.
            counts = {"all": count} if given else {}
            if "valid" in given and len(experts) > 1:
                counts["valid"] = batch.count[f"{name}:valid"]
            for which, own in counts.items():
                squares = _squares(params["experts"][f"{name}:{which}"])
                parts["l2"] += batch.share * config.l2_weight * squares / own
        for behavior, (x, pairs, familiar, found) in batch.everything.items():
            if config.gate == "fixed":
                continue
            value, rest = gate(params, behavior, x), FAST * params["gate"][behavior]["rest"]
            fresh = pairs - familiar
            nll = pairs * jax.nn.softplus(value) - familiar * value
            nll += fresh * jax.nn.softplus(rest) - (fresh - found) * rest
            parts["gate"] += batch.share * nll.sum() / jnp.maximum(pairs.sum(), 1.0)
            parts["gate"] += batch.share * 1e-3 * jnp.sum((FAST * params["gate"][behavior]["weight"]) ** 2)
        return sum(parts.values()), parts

    def encode(params, graphs):
        def one(behavior):
            of = graphs["funnel"][behavior]

            def values(part):
                name = f"{behavior}:{part}"

                def block(rows_of):
                    x, row = rows_of
                    found = _mixed(params, name, [logits(params, name, e, x) for e in experts])
                    of_group = jnp.take_along_axis(found, graphs["groups"][row][None], axis=0)[0]
                    return jnp.where(graphs["judge"], of_group, found.mean(axis=0))

                return _over_blocks(block, (of[part]["x"], of[part]["row"]))

            return _encoded(params["gate"][behavior], of, gate(params, behavior, of["user"]), values)

        return {b: one(b) for b in info.behaviors}

    def score(params, tables, users, start, size, behavior):
        del params
        of = tables[info.behaviors[behavior]]
        out = jnp.zeros((users.shape[0], size), jnp.float32)
        for part in PARTS:
            out += rows.met(of[part]["ptr"], of[part]["item"], users, start, size, of[part]["value"])
        rest = of["rest"][users][:, None] + jax.lax.dynamic_slice_in_dim(of["popularity"], start, size)
        return jnp.where(out < 0, out, rest)

    def findings(params, graphs):
        def q(behavior):
            return jax.nn.sigmoid(gate(params, behavior, graphs["funnel"][behavior]["user"]))

        def rest(behavior):
            return jax.nn.sigmoid(FAST * params["gate"][behavior]["rest"])

        return funnel_findings.findings(info.behaviors, params, graphs, q, rest)

    return types.Model(
        info=info,
        graphs={},
        batch=types.BatchSpec(size=batch_size),
        init=init,
        loss=loss,
        encode=encode,
        score=score,
        fold_in=types.EXACT,
        prepare=prepare,
        teach=teach,
        joins=True,
        times=timed,
        judged=lambda graphs: dict(graphs) | {"judge": jnp.asarray(True)},
        probabilities=True,
        findings=findings,
    )


def _first_mix(number: int, judged: types.Array) -> types.Array:
    """Weights of the experts before training: equal; without validation pairs, the first one alone."""
    return jnp.where(judged, jnp.full(number, 1 / number), jnp.eye(number)[0])


def _squares(expert: Any) -> types.Array:
    """Sum of squares of an expert's weights; those of the output layer count once for each hidden unit."""
    layers = expert["params"]
    total = jnp.sum(layers["linear"]["kernel"] ** 2)
    if "hidden" in layers:
        out = layers["out"]["kernel"]
        total += jnp.sum(layers["hidden"]["kernel"] ** 2) + out.shape[-2] * jnp.sum(out**2)
    return total


def _mixed(params, name: str, each: list[types.Array], stop: bool = False) -> types.Array:
    """The experts of all sources by their weights; with ``stop`` only the weights have a gradient."""
    return sum(
        weight * (jax.lax.stop_gradient(logits) if stop else logits)
        for weight, logits in zip(params["mix"][name], each, strict=True)
    )


def _over_blocks(function, arrays):
    """``function`` of blocks of rows of several arrays, put together again."""
    number = -(-arrays[0].shape[0] // ROWS)
    size = -(-arrays[0].shape[0] // number)

    def padded(x):
        rest = ((0, number * size - x.shape[0]),) + ((0, 0),) * (x.ndim - 1)
        return jnp.pad(x, rest).reshape(number, size, *x.shape[1:])

    return jax.lax.map(function, tuple(map(padded, arrays))).reshape(-1)[: arrays[0].shape[0]]


def _unscaled(width: int) -> dict[str, types.Array]:
    return {"mean": jnp.zeros(width), "deviation": jnp.ones(width)}


def _standard(scale: Mapping[str, types.Array], x: types.Array) -> types.Array:
    return jnp.clip((x.astype(jnp.float32) - scale["mean"]) / scale["deviation"], -5.0, 5.0)


def _encoded(own, of, gate, values) -> dict[str, Any]:
    """Log probabilities of all candidates, and what is left for the rest.

    Args:
      own: the gate's parameters.
      of: the prepared candidates.
      gate: logits of q, [L].
      values: part -> logits of its candidates, [N].
    """
    has = {part: jnp.diff(of[part]["ptr"]) > 0 for part in PARTS}
    # Who has only the one kind left has all of it.
    familiar = jnp.where(has["new"] | of["is_left"], jax.nn.log_sigmoid(gate), 0.0)
    other = jnp.where(has["familiar"], jax.nn.log_sigmoid(-gate), 0.0)
    rest = jnp.where(has["new"], jax.nn.log_sigmoid(FAST * own["rest"]), 0.0)
    tables: dict[str, Any] = {"popularity": of["popularity"], "rest": other + rest - of["others"]}
    new = other + jnp.where(of["is_left"], jax.nn.log_sigmoid(-FAST * own["rest"]), 0.0)
    for part, share in (("familiar", familiar), ("new", new)):
        row = of[part]["row"]
        inside = listwise.log_softmax(values(part), row, gate.shape[0]) + share[row]
        # A probability of 1 would be taken for no candidate.
        tables[part] = {"ptr": of[part]["ptr"], "item": of[part]["item"], "value": jnp.minimum(inside, -1e-6)}
    return tables
