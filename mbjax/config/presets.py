"""Named recipes for a log of one's own: what ``data.log.preset`` sets."""

from __future__ import annotations

from typing import Any

from mbjax import errors

_BVAE: dict[str, Any] = {"split": "time_80_10_10", "deduplicate": True, "require_target_train": True}
_CORE: dict[str, Any] = {"min_count_on": "target", "min_count_iterative": True, "min_user_count": 5}

# The recipe of the slides of BVAE (RecSys 2023): keep the first of equal interactions; drop items bought fewer than
# 10 (UB) or 20 (JD) times; drop users (JD: sessions) with fewer than 5 purchases; one time cut 80/10/10; drop users
# without a purchase in training. "bvae" alone is the recipe without the counts, for other logs.
# Differences: the slides do not say whether users and items are counted again once some were dropped. Here they are,
# until both numbers hold for what is left.
PRESETS: dict[str, dict[str, Any]] = {
    "bvae": _BVAE,
    "bvae_ub": _BVAE | _CORE | {"min_item_count": 10},
    "bvae_jd": _BVAE | _CORE | {"min_item_count": 20},
}


def contradiction(preset: str, field: str, value: Any) -> errors.ConfigError:
    """Builds the error for a preset and a field beside it that says otherwise."""
    has = str(PRESETS[preset][field]).lower() if isinstance(PRESETS[preset][field], bool) else PRESETS[preset][field]
    given = str(value).lower() if value is None or isinstance(value, bool) else value
    return errors.ConfigError(
        f"data.log.{field}={given}: data.log.preset={preset} sets {field}={has}. Leave out one of the two."
    )
