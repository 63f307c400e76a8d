"""The YAML files under ``configs/``: one per model and one per data set."""

from __future__ import annotations

import copy
import functools
import pathlib
from collections.abc import Iterable
from typing import Any

import yaml

from mbjax import errors, paths

LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the C one is ten times faster; most wheels have it
DEFAULT_MODEL = "funnel"
"""What is trained where nobody names a model."""
_MODEL_KEYS = {"summary", "about", "model", "data", "train", "evaluate", "datasets", "protocols", "ablations", "search"}
_DATASET_KEYS = {"summary", "data", "train", "evaluate"}


def config_dir() -> pathlib.Path:
    """Returns the folder with ``models/`` and ``datasets/``: inside an installed package, else of the repository."""
    package = pathlib.Path(__file__).resolve().parents[1]
    for folder in (package / "configs", package.parent / "configs"):
        if (folder / "models").is_dir():
            return folder
    raise errors.ConfigError(f"no configs folder in {package} or {package.parent}; install mbjax again.")


def model_names() -> list[str]:
    """Names of the models that have a file under ``configs/models``."""
    return sorted(path.stem for path in (config_dir() / "models").glob("*.yaml"))


def dataset_names() -> list[str]:
    """Names of the data sets that have a file under ``configs/datasets``."""
    return sorted(path.stem for path in (config_dir() / "datasets").glob("*.yaml"))


def model_file(name: str) -> dict[str, Any]:
    """Reads a model's file; ConfigError if there is none."""
    if name not in model_names():
        raise errors.unknown("model", name, model_names())
    return _read(config_dir() / "models" / f"{name}.yaml", _MODEL_KEYS)


def dataset_file(name: str, dirs: Iterable[str] = ()) -> dict[str, Any]:
    """Reads a data set's file; empty for a folder on the search path and for the path of a folder or log.

    Raises:
      ConfigError: neither a known name nor an existing path.
    """
    if name in dataset_names():
        return _read(config_dir() / "datasets" / f"{name}.yaml", _DATASET_KEYS)
    if paths.named_folder(name, dirs) or paths.absolute(name).exists():
        return {}
    if not paths.is_name(name) or "." in name:
        raise errors.ConfigError(
            f"data set '{name}': no such file or folder. Known names: {', '.join(dataset_names())}."
        )
    raise errors.unknown("data set", name, {*dataset_names(), *paths.prepared_names(dirs)})


def _read(path: pathlib.Path, known: set[str]) -> dict[str, Any]:
    # What is read once serves every configuration of a sweep; who asks may change what he gets.
    tree = copy.deepcopy(_parsed(path.read_text(encoding="utf-8"), f"configs/{path.parent.name}/{path.name}"))
    for key in tree:
        if key not in known:
            where = f"configs/{path.parent.name}/{path.name}"
            raise errors.ConfigError(f"{where}: {errors.unknown('key', key, known)}")
    return tree


@functools.lru_cache(maxsize=128)
def _parsed(text: str, source: str) -> dict[str, Any]:
    return mapping(text, source)


def mapping(text: str, source: str) -> dict[str, Any]:
    """Reads YAML that must hold keys and values; ConfigError naming ``source`` otherwise."""
    try:
        tree = yaml.load(text, Loader=LOADER)
    except yaml.YAMLError as error:
        raise errors.ConfigError(f"{source} is not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(tree or {}, dict):
        raise errors.ConfigError(f"{source} must hold keys and values, not a {type(tree).__name__}.")
    return tree or {}
