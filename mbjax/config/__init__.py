"""Configuration: typed sections, values in YAML, named variants, overrides by dotted path."""

from mbjax.config.datasets import check_read, check_there, located
from mbjax.config.fields import read_text, resolve, show, type_name
from mbjax.config.files import DEFAULT_MODEL, config_dir, dataset_file, dataset_names, model_file, model_names
from mbjax.config.merge import ablation_fields, check_names, choices, defaults, known_fields, load, override
from mbjax.config.schema import MONITOR, Config, DataConfig, EvaluateConfig, LogConfig, Section, TrainConfig
from mbjax.config.sections import Choice, FieldSpec
from mbjax.config.text import command, difference, dump, parse, peek, portable
from mbjax.config.values import canonical, holds_paths

__all__ = [
    "Choice",
    "Config",
    "DEFAULT_MODEL",
    "DataConfig",
    "EvaluateConfig",
    "FieldSpec",
    "LogConfig",
    "MONITOR",
    "Section",
    "TrainConfig",
    "ablation_fields",
    "canonical",
    "holds_paths",
    "check_names",
    "check_read",
    "check_there",
    "choices",
    "command",
    "config_dir",
    "dataset_file",
    "dataset_names",
    "defaults",
    "difference",
    "dump",
    "known_fields",
    "load",
    "located",
    "model_file",
    "model_names",
    "override",
    "parse",
    "peek",
    "portable",
    "read_text",
    "resolve",
    "show",
    "type_name",
]
