"""Names of behaviors within columns: where those of a log would make two columns of one name, numbers stand for them.

``near_sum_add_cart_add`` is of ``add`` and ``cart_add``, and of ``add_cart`` and ``add``.
"""

from __future__ import annotations

import collections
from collections.abc import Callable, Mapping
from typing import Any

from mbjax import types
from mbjax.features import comparing, table

RESERVED = "shrunk"  # ends the name of a sum of another kind


def plain(behaviors: tuple[str, ...]) -> dict[str, str]:
    """Behavior -> its name within columns."""
    own = dict(zip(behaviors, behaviors, strict=True))
    columns = [comparing.names(behaviors, behaviors, timed=True, alike=True)]
    columns += [table.names(behaviors, b, familiar=True, timed=True) for b in behaviors]
    is_clear = all(max(collections.Counter(names).values()) == 1 for names in columns)
    return own if is_clear and RESERVED not in behaviors else {b: str(k) for k, b in enumerate(behaviors)}


def build(make: Callable[..., types.Model], config: Any, info: types.DatasetInfo, batch_size: int) -> types.Model:
    """``make(config, info, batch_size)``, a model that knows the behaviors by their names within columns.

    Args:
      make: builds a model that prepares, teaches and has findings whose first column names behaviors.
      config, info, batch_size: as for every model.
    """
    names = plain(info.behaviors)
    model = make(config, info._replace(behaviors=tuple(names.values())), batch_size)
    if tuple(names) == tuple(names.values()):
        return model
    own = {name: behavior for behavior, name in names.items()}
    found: dict[int, tuple[Any, Any]] = {}  # one mapping of pairs stays one: a model knows it again by its identity

    def of(evidence: types.Evidence) -> types.Evidence:
        fields = {field: _renamed(getattr(evidence, field), names) for field in BY_BEHAVIOR}
        train = found.setdefault(id(evidence.train), (evidence.train, fields["train"]))[1]
        return evidence._replace(**fields | {"train": train})

    def findings(params: types.Params, graphs: types.Graphs) -> list[types.Finding]:
        said = model.findings(params, graphs)
        return [one._replace(rows=tuple((own.get(row[0], row[0]), *row[1:]) for row in one.rows)) for one in said]

    return model._replace(
        info=info,
        prepare=lambda evidence: model.prepare(of(evidence)),
        teach=lambda evidence, number: model.teach(of(evidence), number),
        foreseen=lambda before, after: model.foreseen(of(before), of(after)),
        findings=findings,
    )


BY_BEHAVIOR = ("train", "passive", "valid", "events", "passive_events", "asked")
"""Fields of ``Evidence`` that have a value for each behavior."""


def _renamed(given: Mapping[str, Any] | None, names: Mapping[str, str]) -> dict[str, Any] | None:
    return None if given is None else {names[behavior]: value for behavior, value in given.items()}
