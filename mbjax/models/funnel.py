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

import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mbjax import types
from mbjax.features import extent, grouped, lessons, naming, prepared, teaching
from mbjax.features.retrieval import PARTS
from mbjax.models import funnel_config, funnel_experts, funnel_findings, funnel_foresight, funnel_tables
from mbjax.ops import at_once, listwise, rows

PRIORS = {"familiar": "ease_kept_log", "new": "ease_left_log"}
"""What an expert says before it has learned anything."""
ENOUGH = 30
"""Lists of validation pairs of a behavior and part from which on an expert of these alone is listened to."""
PER_EXPERT = ("experts", "prior")
"""Kinds of parameters that every expert has of its own."""
FAST = 20.0
"""Factor of the few parameters that have far to go, in a run that is made for the small steps of an expert."""


def build(config: funnel_config.FunnelConfig, info: types.DatasetInfo, batch_size: int) -> types.Model:
    """Makes the model for a data set.

    Args:
      config: what the experts see and learn from.
      info: sizes and behaviors.
      batch_size: lists of a behavior and part in a batch, over all devices.
    """
    return naming.build(_build, config, info, batch_size)


def _build(config: funnel_config.FunnelConfig, info: types.DatasetInfo, batch_size: int) -> types.Model:
    expert = {
        "familiar": funnel_experts.Expert(config.hidden, 1.0),
        "new": funnel_experts.Expert(config.hidden_new, 0.1),
    }
    experts = ("all", "valid") if len(set(config.sources)) > 1 else ("all",)
    kept: dict[int, Any] = {}  # what ``prepare`` made, until ``teach`` has used it
    chosen: list[float] = []  # the penalty of training, which serves wherever more pairs have joined it
    few = 0 if extent.is_whole(config, info.trained_users) else extent.JUDGES
    names = [(b, part) for b in info.behaviors for part in PARTS]
    columns = {(b, part): extent.columns(config, info, b, part) for b, part in names}

    def settled(evidence: types.Evidence) -> funnel_config.FunnelConfig:
        if config.penalty != "auto":
            return config
        if not chosen:
            chosen.append(funnel_config.penalty_of(config, evidence))
        return config.model_copy(update={"penalty": chosen[0]})

    def prepare(evidence: types.Evidence) -> dict[str, Any]:
        extent.check_memory(config, info, evidence.train)
        settings = settled(evidence)
        if few and not (evidence.teach or evidence.alone):
            of = grouped.Groups(settings, info, evidence)
            later = types.Later(of.__iter__, of.joined)
            return {"funnel": later, "judge": jnp.asarray(False), "penalty": jnp.float32(settings.penalty)}
        made = prepared.prepare(settings, info, evidence)
        if evidence.teach:
            kept[id(evidence.train)] = made
        groups = lessons.groups(made.number, config.members, evidence.seed)
        graphs = {
            "funnel": made.device,
            "groups": jnp.asarray(groups),
            "judge": jnp.asarray(False),
            "penalty": jnp.float32(settings.penalty),
        }
        if evidence.joined:
            scales = {f"{b}:{part}": made.device[b][part]["scale"] for b, part in names}
            graphs["usual"] = scales | {f"{b}:user": made.device[b]["scale"] for b in info.behaviors}
        return graphs

    def teach(evidence: types.Evidence, num_devices: int):
        made = kept.pop(id(evidence.train), None) or prepared.prepare(settled(evidence), info, evidence)
        return teaching.teach(config, info, evidence, made, batch_size, num_devices)

    def init(key, graphs):
        params: dict[str, Any] = {"experts": {}, "scale": {}, "gate": {}, "mix": {}, "prior": {}}
        # Without what is prepared, as where a checkpoint is about to replace all, only shapes count.
        made = graphs.get("funnel")
        made = None if isinstance(made, types.Later) else made
        numbers = np.arange(len(names) * 2).reshape(-1, 2)[:, : len(experts)]
        keys = jax.lax.map(lambda n: jax.random.split(jax.random.fold_in(key, n), config.members), numbers.ravel())
        keys = keys.reshape(*numbers.shape, config.members)
        for part in PARTS:
            mine = [number for number, (_, other) in enumerate(names) if other == part]
            widths = [len(columns[names[number]]) for number in mine]
            of_part = funnel_experts.first(expert[part], keys[np.asarray(mine)], widths)
            for number, each in zip(mine, of_part, strict=True):
                for source, of in zip(experts, each, strict=True):
                    name = f"{names[number][0]}:{part}:{source}"
                    params["experts"][name], params["prior"][name] = of, jnp.ones(config.members)
        for behavior, part in names:
            unscaled = _unscaled(len(columns[behavior, part]))
            params["scale"][f"{behavior}:{part}"] = made[behavior][part]["scale"] if made else unscaled
            judged = made[behavior][part]["judged"] if made else ENOUGH
            params["mix"][f"{behavior}:{part}"] = _first_mix(len(experts), judged)
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

    def as_usual(params, graphs):
        """With the means and deviations that go with the graphs: training's, but where pairs have joined."""
        return {**params, "scale": graphs.get("usual", params["scale"])}

    def gate(params, behavior, x):
        """Logits of q, [B] of the users' numbers [B, G]."""
        own = params["gate"][behavior]
        x = standard(params, f"{behavior}:user", x)
        return FAST * (own["bias"] + (x @ own["weight"] if config.gate == "user" else jnp.zeros(len(x))))

    def unsearched(params, behavior):
        """Logit of the share of new items that the search does not find."""
        return FAST * params["gate"][behavior]["rest"]

    def taught(source):
        """The experts that learn from a source."""
        return [e for e in experts if e == "all" or source == "valid"]

    def of_lists(name, source, drawn, share, count, params):
        """Of ``count`` lists of one source: what its experts lose, and the mixture of them where both have learned."""
        measure = listwise.softmax_loss if config.loss == "listwise" else listwise.pointwise_loss

        def each(values):
            return jax.vmap(measure, in_axes=(0, None))(values, drawn) * drawn.worth

        params = _by_kind(params)
        # Member m learns from no validation pair of the users of group m.
        is_mine = drawn.group == jnp.arange(config.members)[:, None]  # [members, B]
        found = {e: listwise.spread(logits(params, name, e, drawn.x), drawn) for e in taught(source)}
        parts = {"lists": jnp.float32(0), "mix": jnp.float32(0)}
        for which, values in found.items():
            parts["lists"] += (share if which == "all" else 1.0) * jnp.sum(each(values) * ~is_mine)
        if len(found) > 1:
            mixed = _mixed(params, name, list(found.values()), stop=True)
            stacked = jnp.sum(each(mixed) * is_mine)
            parts["mix"] += jnp.where(count >= ENOUGH, stacked, 0.0)
        return sum(parts.values()), parts

    def loss(params, graphs, batch, key, step):
        del graphs, key, step
        learned = {(kind, name): of for kind in (*PER_EXPERT, "mix", "scale") for name, of in params[kind].items()}
        terms, l2 = [], jnp.float32(0)
        for behavior, part in names:
            name = f"{behavior}:{part}"
            given = [s for s in config.sources if f"{name}:{s}" in batch.lists]
            counts = {s: batch.count[f"{name}:{s}"] for s in given}
            whole = sum(counts.values())
            for source in given:
                full = f"{name}:{source}"
                about = batch.lists[full], counts[source] / whole, counts[source]
                term = functools.partial(of_lists, name, source, *about)
                own = [(kind, f"{name}:{e}") for kind in PER_EXPERT for e in taught(source)]
                # All numbers are standardized before anything else is done with them.
                terms.append(at_once.Term(term, [*own, ("mix", name), ("scale", name)], [("scale", name)]))
            # An expert without lists stays as it is.
            learning = {"all": whole} if given else {}
            if "valid" in given and len(experts) > 1:
                learning["valid"] = counts["valid"]
            for which, own in learning.items():
                squares = funnel_experts.squares(params["experts"][f"{name}:{which}"])
                l2 += batch.share * config.l2_weight * squares / own
        of_all, found = at_once.total(terms, learned)
        parts = {name: sum((one[name] for one in found), jnp.float32(0)) for name in ("lists", "mix")}
        parts |= {"gate": jnp.float32(0), "l2": l2}
        for behavior, (x, pairs, familiar, found) in batch.everything.items():
            if config.gate == "fixed":
                continue
            value, rest = gate(params, behavior, x), unsearched(params, behavior)
            fresh, gated = pairs - familiar, pairs * (x[:, 0] > 0)  # who has nothing familiar has q = 0
            of_gate = gated * jax.nn.softplus(value) - familiar * value
            of_search = fresh * jax.nn.softplus(rest) - (fresh - found) * rest
            for nll, number in ((of_gate, gated), (of_search, pairs)):
                parts["gate"] += batch.share * nll.sum() / jnp.maximum(number.sum(), 1.0)
            parts["gate"] += batch.share * 1e-3 * jnp.sum((FAST * params["gate"][behavior]["weight"]) ** 2)
        return of_all + parts["gate"] + parts["l2"], parts

    def encode(params, graphs):
        params = as_usual(params, graphs)

        def one(behavior):
            of = graphs["funnel"][behavior]

            def values(part):
                name = f"{behavior}:{part}"

                def block(rows_of):
                    x, row = rows_of
                    found = _mixed(params, name, [logits(params, name, e, x) for e in experts])
                    of_group = jnp.take_along_axis(found, graphs["groups"][row][None], axis=0)[0]
                    return jnp.where(graphs["judge"], of_group, found.mean(axis=0))

                return funnel_tables.over_blocks(block, (of[part]["x"], of[part]["row"]))

            return funnel_tables.encoded(gate(params, behavior, of["user"]), unsearched(params, behavior), of, values)

        return {b: one(b) for b in info.behaviors if b in graphs["funnel"]}

    def score(params, tables, users, start, size, behavior):
        del params
        of = tables[info.behaviors[behavior]]
        out = jnp.zeros((users.shape[0], size), jnp.float32)
        for part in PARTS:
            out += rows.met(of[part]["ptr"], of[part]["item"], users, start, size, of[part]["value"])
        rest = of["rest"][users][:, None] + jax.lax.dynamic_slice_in_dim(of["popularity"], start, size)
        return jnp.where(out < 0, out, rest)

    def findings(params, graphs):
        params = as_usual(params, graphs)

        def q(behavior):
            return jax.nn.sigmoid(gate(params, behavior, graphs["funnel"][behavior]["user"]))

        def rest(behavior):
            return jax.nn.sigmoid(unsearched(params, behavior))

        return funnel_findings.findings(info.behaviors, params, graphs, q, rest)

    def choices(params, graphs):
        return {"model.penalty": chosen[0]} if chosen else {}

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
        foreseen=functools.partial(funnel_foresight.foreseen, config, info, batch_size),
        teach=teach,
        joins=True,
        times=extent.is_timed(config, info),
        judged=lambda graphs: dict(graphs) | {"judge": jnp.asarray(True)},
        probabilities=True,
        findings=findings,
        choices=choices,
        measured=("scale",),
        few=few,
        notes=funnel_config.notes(config, info),
    )


def _first_mix(number: int, judged: types.Array | int) -> types.Array:
    """Weights of the experts before training: equal; of few lists of validation pairs, the first one alone."""
    return jnp.where(judged >= ENOUGH, jnp.full(number, 1 / number), jnp.eye(number)[0])


def _mixed(params, name: str, each: list[types.Array], stop: bool = False) -> types.Array:
    """The experts of all sources by their weights; with ``stop`` only the weights have a gradient."""
    return sum(
        weight * (jax.lax.stop_gradient(logits) if stop else logits)
        for weight, logits in zip(params["mix"][name], each, strict=True)
    )


def _by_kind(params: Mapping[tuple[str, str], Any]) -> dict[str, dict[str, Any]]:
    """(kind, name) -> parameters, as kind -> name -> parameters."""
    found: dict[str, dict[str, Any]] = {}
    for (kind, name), own in params.items():
        found.setdefault(kind, {})[name] = own
    return found


def _unscaled(width: int) -> dict[str, types.Array]:
    return {"mean": jnp.zeros(width), "deviation": jnp.ones(width)}


def _standard(scale: Mapping[str, types.Array], x: types.Array) -> types.Array:
    return jnp.clip((x.astype(jnp.float32) - scale["mean"]) / scale["deviation"], -5.0, 5.0)
