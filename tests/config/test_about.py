"""What files say of their models: every one is read, and a mistake is a line."""

from __future__ import annotations

import pytest
import yaml

from mbjax import config, errors, models
from mbjax.config import about, files


@pytest.mark.parametrize("name", models.MODELS)
def test_every_file_is_read(name):
    found = about.of(name)
    assert set(found.chosen_on_test) <= set(files.dataset_names())
    # Whoever is told to come to the same settings does.
    entry = models.MODELS[name].config
    settings = {
        each: config.load(name, "taobao", entry, protocol="paper", ablation=None if each == about.DEFAULT else each)
        for each in {*found.same, *found.same.values()}
    }
    for one, other in found.same.items():
        first, second = (settings[each].model_dump() for each in (one, other))
        assert (first["model"], first["train"]) == (second["model"], second["train"])


def test_what_has_no_file_has_the_defaults():
    assert about.of("mf") == about.About()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"reprted": {}}, "configs/models/x.yaml: unknown field of about 'reprted'. Did you mean 'reported'"),
        ({"learns": "much"}, r"about.learns=much \(configs/models/x.yaml\): must be 'all', 'target'"),
        ({"reported": {"linear": {"A": 3}}}, r"about.reported.linear.A=3 \(configs/models/x.yaml\): must be a text"),
        ({"shown": ["linaer"]}, "configs/models/x.yaml: about: unknown ablation 'linaer'. Did you mean 'linear'"),
        ({"same": {"linear": "none"}}, "configs/models/x.yaml: about: unknown ablation 'none'"),
        ({"reported": {"other": {"COPF": "A"}}}, "configs/models/x.yaml: about: unknown ablation 'other'"),
    ],
)
def test_mistakes(given, said, tmp_path, monkeypatch):
    (tmp_path / "models").mkdir()
    (tmp_path / "datasets").mkdir()
    (tmp_path / "datasets" / "demo.yaml").write_text("summary: s", encoding="utf-8")
    tree = {"about": given, "ablations": {"linear": {}}}
    (tmp_path / "models" / "x.yaml").write_text(yaml.safe_dump(tree), encoding="utf-8")
    monkeypatch.setattr(files, "config_dir", lambda: tmp_path)
    with pytest.raises(errors.ConfigError, match=said):
        about.of("x")
    with pytest.raises(errors.ConfigError, match=said):  # before anything begins
        config.load("x", "demo", models.MODELS["popularity"].config)
