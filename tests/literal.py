"""The equations of the graph models on dense numpy arrays, written as in the papers: what the library is held against.

Matrices ``pairs`` are [U, I] of zeros and ones, one for each behavior in funnel order; tables are [U + I, D], users
first. All numbers are float64.
"""

from __future__ import annotations

import numpy as np
import toy

EPSILON = 1e-12


def pairs(num_behaviors: int) -> tuple:
    """The toy data of that many behaviors, and its training pairs as dense matrices."""
    source = toy.dataset(num_behaviors)
    return source, [source.train[name].toarray().astype(float) for name in source.info.behaviors]


def table(source, size: int, seed: int = 0) -> np.ndarray:
    """Random rows for all users and items of a data set."""
    return np.random.default_rng(seed).normal(size=(source.info.num_users + source.info.num_items, size))


def bipartite(matrix: np.ndarray) -> np.ndarray:
    users, items = matrix.shape
    return np.block([[np.zeros((users, users)), matrix], [matrix.T, np.zeros((items, items))]])


def left(square: np.ndarray) -> np.ndarray:
    """D^-1 A; 1 / 0 is 0."""
    degree = square.sum(axis=1, keepdims=True)
    return np.divide(square, degree, out=np.zeros_like(square), where=degree > 0)


def ahat(matrix: np.ndarray, self_loops: bool = False) -> np.ndarray:
    square = bipartite(matrix)
    return left(square + np.eye(len(square)) if self_loops else square)


def cogcn(e0, pairs, layers, cum_graph="count_sum", graph="upstream", start="residual", decouple=True):
    """Z of each behavior."""
    outputs, begin = [], e0
    for k, depth in enumerate(layers):
        pool = {"upstream": pairs[: k + 1], "own": [pairs[k]], "all": pairs}[graph]
        if cum_graph == "count_sum":
            step = ahat(sum(pool)) + np.eye(len(e0))
        else:
            step = sum(ahat(matrix) + np.eye(len(e0)) for matrix in pool)
        states = [begin]
        for _ in range(depth):
            states.append(step @ states[-1])
        outputs.append(sum(states))
        begin = {"residual": states[-1] + begin, "strict": states[-1], "base": e0}[start]
    return outputs if decouple else [sum(outputs)] * len(outputs)


def project(rows, onto):
    """Row by row, (x . y) / |y|^2 y."""
    return np.stack([(x @ y) / (y @ y + EPSILON) * y for x, y in zip(rows, onto, strict=True)])


def times_cosine(rows, onto):
    """Row by row, (x . y) / (|x| |y|) y: what PKEF prints in place of a projection."""
    return np.stack([x @ y / np.linalg.norm(x) / np.linalg.norm(y) * y for x, y in zip(rows, onto, strict=True)])


PARALLEL = {"projection": project, "cosine": times_cosine}


def pkf(e0, pairs, layers, fuse, source="layer_out", self_loops=False):
    """Z and P of each behavior; ``fuse(message, parallel, k, layer)`` is what the cascade takes in."""
    cascade, parallel, begin = [], [], e0
    for k, depth in enumerate(layers):
        matrix = ahat(pairs[k], self_loops)
        p = [e0]
        for _ in range(depth):
            p.append(matrix @ p[-1] + p[-1])
        z = [begin]
        for layer in range(depth):
            message = matrix @ z[-1]
            taken = p[layer + 1] if source == "layer_out" else matrix @ p[layer]
            z.append(message + z[-1] + fuse(message, taken, k, layer))
        cascade.append(sum(z))
        parallel.append(sum(p))
        begin = z[-1] + begin
    return cascade, parallel


def softmax(logits):
    numerator = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return numerator / numerator.sum(axis=-1, keepdims=True)


def gates(user, item, kernel, bias):
    """g of all pairs, [U, I, experts]."""
    both = [[np.concatenate([u, v]) for v in item] for u in user]
    return softmax(np.array(both) @ kernel + bias)


def order(task, num_behaviors):
    """Own first, the others ascending."""
    return [task] + [j for j in range(num_behaviors) if j != task]


def fitted(
    tables,
    pairs,
    task,
    other,
    relation,
    transition,
    layers,
    expert_scale=0.1,
    alpha=0.1,
    beta=0.001,
    relation_on_self=False,
    expert_index="task",
    fit=True,
    output="sum",
):
    """F of another behavior for a task, [U + I, D]."""
    if not fit:
        return tables[other]
    if expert_index == "task":
        state, behavior = (alpha * tables[other] + beta * tables[task]) / 2, task
    else:
        state, behavior = (alpha * tables[task] + beta * tables[other]) / 2, other
    matrix, r = ahat(pairs[behavior]), relation[behavior]
    states = [state]
    for layer in range(layers[behavior]):
        if layer > 0:
            r = r @ transition[layer - 1]
        related = states[-1] * r
        states.append(matrix @ related + (related if relation_on_self else states[-1]))
    return expert_scale * (sum(states) if output == "sum" else states[-1])


def dfme(tables, pairs, task, params, layers, num_users, gate_slots="own_first", **options):
    """Scores [U, I] of a task, before the model's scale."""
    experts = []
    for j in order(task, len(tables)) if gate_slots == "own_first" else range(len(tables)):
        is_own = j == task
        experts.append(tables[j] if is_own else fitted(tables, pairs, task, j, *_relations(params), layers, **options))
    weight = gates(tables[task][:num_users], tables[task][num_users:], *_gate(params))
    products = np.stack([f[:num_users] @ f[num_users:].T for f in experts], axis=-1)
    return (weight * products).sum(axis=-1)


def pme(
    tables,
    task,
    params,
    num_users,
    level="embedding",
    scale=0.01,
    gate="gate_0",
    coefficient="projection",
    gate_slots="own_first",
):
    """Scores [U, I] of a task, with every expert of every pair written out."""
    user, item = ([z[:num_users] for z in tables], [z[num_users:] for z in tables])
    weight = gates(user[task], item[task], *_gate(params, gate))
    scores = np.zeros(weight.shape[:2])
    for u in range(scores.shape[0]):
        for v in range(scores.shape[1]):
            own = user[task][u] * item[task][v]
            experts, parallel = [], PARALLEL[coefficient]
            for j in order(task, len(tables)) if gate_slots == "own_first" else range(len(tables)):
                if j == task:
                    experts.append(own)
                elif level == "embedding":
                    shared_user = scale * parallel(user[j][u][None], user[task][u][None])[0]
                    shared_item = scale * parallel(item[j][v][None], item[task][v][None])[0]
                    experts.append(shared_user * shared_item)
                else:
                    experts.append(scale**2 * parallel((user[j][u] * item[j][v])[None], own[None])[0])
            scores[u, v] = sum(g * e.sum() for g, e in zip(weight[u, v], experts, strict=True))
    return scores


def softplus(x):
    return np.logaddexp(0.0, x)


def info_nce(anchor, candidates, index, temperature, cosine=True):
    """Sum over the drawn rows ``index``, one after another."""
    if cosine:
        anchor, candidates = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (anchor, candidates))
    total = 0.0
    for n in index:
        similar = np.exp(candidates @ anchor[n] / temperature)
        total -= np.log(similar[n] / similar.sum())
    return total


def _gate(params, name="gate"):
    return params[name]["kernel"], params[name]["bias"]


def _relations(params):
    transition = [params[f"transition_{layer}"] for layer in range(1, len(params)) if f"transition_{layer}" in params]
    return params.get("relation"), transition
