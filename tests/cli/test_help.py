from __future__ import annotations

import pytest
from commands import failure

from mbjax import cli, config, models
from mbjax.cli import options as table


def test_help_overview(capsys):
    assert cli.train_main(["--help"]) == 0
    text = capsys.readouterr().out
    for word in (
        *config.model_names(),
        *config.dataset_names(),
        *(f"--{name}" for name in table.of("train", "resume", "retrain")),
    ):
        assert word in text
    assert cli.eval_main(["-h"]) == 0
    text = capsys.readouterr().out
    for name in table.of("eval", "recommend"):
        assert f"--{name}" in text


@pytest.mark.parametrize("model", models.MODELS)
def test_help_lists_every_field_and_ablation(capsys, model):
    model_class = models.MODELS[model].config
    assert cli.train_main([f"--model={model}", "--help"]) == 0
    text = capsys.readouterr().out
    for path, spec in config.known_fields(model_class, config.defaults(model, None, model_class)).items():
        assert f"--{path} " in text
        assert spec.description.split()[0] in text
    for name in config.model_file(model).get("ablations") or {}:
        assert f"  {name} " in text
    assert "  ()" not in text and "  {}" not in text  # no value at all is none
    assert "[epochs]" in text  # units are not taken for markup


def test_help_shows_the_chosen_sections_and_names_the_others(capsys):
    def rows(*argv):
        assert cli.train_main(["--model=copf", "--help", *argv]) == 0
        text = capsys.readouterr().out
        found = {}
        for line in text.splitlines():
            if line.startswith("  --model."):
                found[line.split()[0]] = line.split()[1:]
        return text, found

    text, found = rows()
    assert found["--model.head.name"][0] == "dfme"
    assert found["--model.head.alpha"][:2] == ["0.1", "NUMBER"]
    assert "--model.head.level" not in found
    assert found["--model.backbone.name=bigel"][:3] == ["reconstructed;", "with", "layers,"]
    assert found["--model.head.name=pme"][:2] == ["with", "level,"]
    assert found["--model.head.name=inner_product"] == ["without", "fields"]
    assert "--model.head.name=dfme" not in found
    assert "meanings and defaults: mbjax train --model=copf --backbone.name=" in text
    text, found = rows("--head.name=pme", "--nonsense=3", "--embedding_size=3")
    assert found["--model.head.name"][0] == "pme"
    assert found["--model.head.level"][0] == "embedding"
    assert "--model.head.alpha" not in found
    assert found["--model.head.name=dfme"][:2] == ["with", "layers,"]
    assert "with the defaults for no data set, protocol honest, model.head.name=pme." in text
    assert failure(capsys, cli.train_main, "--model=copf", "--help", "--head.name=pmee").startswith(
        "model.head.name=pmee: must be 'dfme', "
    )


def test_help_shows_the_values_of_the_choice(capsys):
    def default_of(*argv):
        assert cli.train_main(["--model=bvae", "--help", *argv]) == 0
        lines = capsys.readouterr().out.splitlines()
        return next(line.split()[1] for line in lines if line.strip().startswith("--model.embedding_size"))

    assert default_of() == "100"
    assert default_of("--ablation=size_50") == "50"
    assert default_of("--dataset=jd") == "100"
