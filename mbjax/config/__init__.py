"""Configuration: typed sections, values in YAML, named variants, overrides by dotted path."""

from mbjax.config.fields import read_text, resolve, show, type_name
from mbjax.config.files import config_dir, dataset_file, dataset_names, model_file, model_names
from mbjax.config.merge import check_names, choices, defaults, known_fields, load, override
from mbjax.config.schema import MONITOR, Config, DataConfig, EvaluateConfig, LogConfig, Section, TrainConfig
from mbjax.config.sections import Choice, FieldSpec
from mbjax.config.text import command, difference, dump, parse, peek

__all__ = [
    "Choice",
    "Config",
    "DataConfig",
    "EvaluateConfig",
    "FieldSpec",
    "LogConfig",
    "MONITOR",
    "Section",
    "TrainConfig",
    "check_names",
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
    "model_file",
    "model_names",
    "override",
    "parse",
    "peek",
    "read_text",
    "resolve",
    "show",
    "type_name",
]
