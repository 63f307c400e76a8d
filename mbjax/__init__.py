"""mbjax: multi-behavior recommendation in JAX, from raw interaction logs to metrics and ranked lists.

The names below are imported at their first use, so that ``import mbjax`` costs nothing.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

# public name -> the module that defines it
_PUBLIC = {
    "DataError": "mbjax.errors",
    "Dataset": "mbjax.data",
    "DatasetInfo": "mbjax.types",
    "MODELS": "mbjax.models",
    "MbjaxError": "mbjax.errors",
    "Model": "mbjax.types",
}

__all__ = ["__version__", *sorted(_PUBLIC)]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'mbjax' has no attribute '{name}'; public names: {', '.join(__all__)}")
    return getattr(importlib.import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
