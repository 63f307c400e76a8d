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


def examples_of(capsys, main, *argv):
    """The command lines at the end of a help, as words behind ``mbjax``."""
    capsys.readouterr()  # of a help that was an example itself
    assert main([*argv, "--help"]) == 0
    lines = capsys.readouterr().out.partition("\nExamples\n")[2].splitlines()
    return [line.removeprefix("  mbjax ").split() for line in lines if line.startswith("  mbjax ")]


def check(command, *words):
    assert {"train": cli.train_main, "eval": cli.eval_main, "recommend": cli.recommend_main}[command](list(words)) == 0


@pytest.mark.parametrize("model", models.MODELS)
def test_examples_of_a_model_are_accepted(experiment, capsys, model):
    found = examples_of(capsys, cli.train_main, f"--model={model}")
    for words in found:
        assert f"--model={model}" in words
        check(*words)
    assert len(found) == len(experiment.calls) >= 1


def test_examples_of_commands_are_accepted_and_begin_with_the_default(experiment, run, capsys, monkeypatch):
    monkeypatch.chdir(run)
    (run / "log.csv").touch()
    for main in (cli.train_main, cli.eval_main, cli.recommend_main):
        found = examples_of(capsys, main)
        assert not any(word.startswith("--model=") for word in found[0])
        if main is cli.train_main:
            named = {word.partition("=")[2] for words in found for word in words if word.startswith("--model=")}
            assert named >= {config.DEFAULT_MODEL, "ease", "itemknn"}
        for words in found:
            check(*(word.replace("RUN", str(run)) for word in words))


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
