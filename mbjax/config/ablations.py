"""Named variants of a model, one or several at once: ``--ablation=a,b``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from mbjax import errors
from mbjax.config import fields, sections

TOGETHER = "+"
"""Between the names of several, as a configuration records them; a comma does as well where they are given."""


def canonical(model_name: str, given: str | None, there: Mapping[str, Any]) -> str | None:
    """The names in the order of the model's file, so that one choice has one name.

    Args:
      model_name: for messages.
      given: one name, or several with commas or ``+`` between them; None: no variant.
      there: the variants of the model's file.

    Raises:
      ConfigError: a name that does not exist, or one that is given twice.
    """
    if given is None:
        return None
    if not there:
        raise errors.ConfigError(f"model '{model_name}' has no ablations; leave out --ablation={given}.")
    found = names(given)
    for place, name in enumerate(found):
        if name not in there:
            raise errors.unknown(f"ablation of {model_name}", name, there)
        if name in found[:place]:
            raise errors.ConfigError(f"--ablation={given}: {name} is named twice.")
    return TOGETHER.join(sorted(found, key=list(there).index))


def names(given: str | None) -> list[str]:
    """The single names."""
    return [] if given is None else [name.strip() for name in re.split("[,+]", given)]


def check_together(chosen: Mapping[str, Mapping[str, Any]], known: Mapping[str, sections.FieldSpec]) -> None:
    """Raises ConfigError for variants that set one field to two values, or choose a section that another one changes.

    Args:
      chosen: name -> what the variant sets, as in the file.
      known: all fields there are.
    """
    flat = {name: fields.flatten(tree, known) for name, tree in chosen.items()}
    both = "--ablation=" + ",".join(chosen)
    order = list(flat)
    for place, one in enumerate(order):
        for other in order[place + 1 :]:
            for path in flat[one].keys() & flat[other].keys():
                if flat[one][path] != flat[other][path]:
                    raise errors.ConfigError(
                        f"{both}: {one} sets {path}={flat[one][path]} and {other} sets {path}={flat[other][path]}. "
                        "Name one of the two."
                    )
            for chooser, changed in ((one, other), (other, one)):
                for path in flat[chooser].keys() - flat[changed].keys():
                    section, _, last = path.rpartition(".")
                    if last == "name" and (below := sections.below(section, flat[changed])):
                        raise errors.ConfigError(
                            f"{both}: {chooser} chooses {path}={flat[chooser][path]}, and {changed} sets {below[0]} of "
                            "what was there before. Name one of the two."
                        )
