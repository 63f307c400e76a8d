"""Very many users: their tables are made and scored group by group, and only the scores of candidates are kept.

A candidate's numbers take some hundred bytes, its score eight.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from mbjax import types
from mbjax.features import extent, lessons, people, prepared, regression, retrieval, whole
from mbjax.features.retrieval import PARTS
from mbjax.ops import memory, stages

FINE = 8  # sizes between a power of two and the next, to which tables are filled up: so few programs are compiled


class Groups:
    """The users of the statistics, and passive ones, group by group.

    Args:
      config: the model's.
      info: sizes and behaviors.
      evidence: what is known.
    """

    def __init__(self, config: Any, info: types.DatasetInfo, evidence: types.Evidence):
        self.config, self.info, self.evidence = config, info, evidence
        passive = 0 if evidence.passive is None else next(iter(evidence.passive.values())).shape[0]
        self.members = lessons.groups(info.trained_users + passive, config.members, evidence.seed)
        asked = evidence.asked
        self.behaviors = tuple(b for b in info.behaviors if asked is None or b in asked)
        everyone = np.arange(len(self.members))
        self.rows = everyone if asked is None else np.unique(np.concatenate([everyone[:0], *asked.values()]))
        self.size = extent.group_size(config, info, evidence.train, self.behaviors)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """What stands among the graphs for each group: all of the same number of rows, the last ones empty."""
        config, behaviors = self.config, self.behaviors
        base = prepared.basis(config, self.info, self.evidence, behaviors)
        everyone, usual = people.ranked(self.evidence)
        rest = base._replace(fitted=None, searches={})

        def made(of) -> dict[str, Any]:
            found = prepared.find(config, base, of, dict.fromkeys(behaviors))
            return prepared.finish(config, rest, self.evidence, found, people.People(of, None)).device

        more = {}
        if usual is not None:
            device = made(everyone.only(usual))
            scales = {f"{b}:{part}": device[b][part]["scale"] for b in behaviors for part in PARTS}
            more["usual"] = scales | {f"{b}:user": device[b]["scale"] for b in behaviors}
        several = self.size * extent.groups_at_once(config, self.info, self.evidence.train, behaviors)
        for first in range(0, self.rows.size, several):
            some = everyone.only(self.rows[first : first + several])
            found = prepared.find(config, base, some, dict.fromkeys(behaviors))
            compared, _ = prepared.compare(config, rest, found)
            for start in range(0, len(some.user), self.size):
                stages.tell("ranking users", first + start, self.rows.size)
                stop = min(start + self.size, len(some.user))
                who = people.People(some.span(start, stop), None)
                part, of_part = _span(found, compared, start, stop)
                device = prepared.finish(config, rest, self.evidence, part, who, compared=of_part).device
                mine = self.members[self.rows[first + start : first + stop]]
                groups = jnp.asarray(_longer(mine, self.size + 1))
                yield {"funnel": {b: _filled(of, self.size + 1) for b, of in device.items()}, "groups": groups, **more}
            del found, compared
            memory.release()

    def joined(self, parts: Sequence[types.Tables]) -> types.Tables:
        """The tables of all users, of those of each group."""
        left = self.rows.size
        taken: list[tuple[types.Tables, int]] = []
        for tables in parts:
            taken.append((tables, min(left, self.size)))
            left -= self.size
        found = {b: _together([(tables[b], number) for tables, number in taken]) for b in self.behaviors}
        return {b: _placed(of, self.rows, len(self.members)) for b, of in found.items()}


def _span(found: prepared.Sought, compared: Any, start: int, stop: int) -> tuple[prepared.Sought, Any]:
    """Candidates of the lists start .. stop - 1, and their similarities."""
    parts: dict[str, dict[str, retrieval.Found]] = {b: {} for b in found}
    similar = {}
    for (behavior, part), (near, place) in compared.items():
        one = found[behavior][part]
        first, end = one.lists.ptr[start], one.lists.ptr[stop]
        predicted = regression.Predicted(*(x[..., first:end] for x in one.predicted))
        parts[behavior][part] = retrieval.Found(one.lists.span(start, stop), predicted)
        similar[behavior, part] = whole.Compared(near, place[first:end])
    return parts, similar


def _together(parts: Sequence[tuple[Any, int]]) -> dict[str, Any]:
    """Of one behavior; of each part so many rows."""
    found: dict[str, Any] = {"popularity": parts[0][0]["popularity"]}
    found["rest"] = np.concatenate([np.asarray(of["rest"])[:number] for of, number in parts])
    for part in PARTS:
        ends, items, values = [np.zeros(1, np.int32)], [], []
        for of, number in parts:
            ptr = np.asarray(of[part]["ptr"])[: number + 1]
            items.append(np.asarray(of[part]["item"])[: ptr[-1]])
            values.append(np.asarray(of[part]["value"])[: ptr[-1]])
            ends.append(ends[-1][-1] + ptr[1:])
        item, value = np.concatenate(items), np.concatenate(values)
        if not item.size:  # as tables of nobody's candidates are
            item, value = np.zeros(1, np.int32), np.full(1, -1, np.float32)
        found[part] = {"ptr": np.concatenate(ends), "item": item, "value": value}
    return found


def _placed(of: dict[str, Any], rows: np.ndarray, number: int) -> dict[str, Any]:
    """Tables of some rows in their places among so many."""
    found, rest = dict(of), np.zeros(number, np.float32)
    rest[rows] = of["rest"]
    for part in PARTS:
        length = np.zeros(number, np.int32)
        length[rows] = np.diff(of[part]["ptr"])
        found[part] = of[part] | {"ptr": np.concatenate([np.zeros(1, np.int32), np.cumsum(length, dtype=np.int32)])}
    return found | {"rest": rest}


def _filled(of: dict[str, Any], rows: int) -> dict[str, Any]:
    """A behavior's arrays with so many rows; candidates that fill them up belong to the last one."""
    found = dict(of)
    for part in PARTS:
        arrays = {name: np.asarray(x) for name, x in of[part].items() if name != "scale"}
        number = int(arrays["ptr"][-1])
        step = max(1, 2 ** max(number.bit_length() - 1, 4) // FINE)
        size = -(-max(number, 1) // step) * step
        found[part] = {
            "ptr": jnp.asarray(_longer(arrays["ptr"], rows + 1, number)),
            "item": jnp.asarray(_longer(arrays["item"][:number], size)),
            "row": jnp.asarray(_longer(arrays["row"][:number], size, rows - 1)),
            "x": jnp.asarray(_longer(arrays["x"][:number], size)),
            "scale": of[part]["scale"],
        }
    return found | {name: jnp.asarray(_longer(np.asarray(of[name]), rows)) for name in ("user", "others", "is_left")}


def _longer(x: np.ndarray, size: int, value: Any = 0) -> np.ndarray:
    """With more rows at its end."""
    out = np.full((size, *x.shape[1:]), value, x.dtype)
    out[: len(x)] = x
    return out
