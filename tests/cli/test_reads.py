"""What the table of the command line says that a mode reads of the configuration, its code really reads."""

from __future__ import annotations

import pytest
import trial

from mbjax import config, experiment
from mbjax.bench import whole
from mbjax.cli import options
from mbjax.reporting import plots


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The toy data of two behaviors."""
    return trial.write_data(tmp_path_factory.mktemp("data") / "toy")


@pytest.fixture(scope="module")
def trained(folder):
    """The folder of a run without training."""
    settings = trial.config(folder, "popularity", evaluate__anchors=())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plots, "per_behavior", lambda *args, **given: None)
        return experiment.train(settings, folder.parent / "run").workdir


def watched(settings):
    """The configuration, and the fields of its section ``evaluate`` that were asked for."""
    seen = set()

    class Watched(config.EvaluateConfig):
        def __getattribute__(self, name):
            if name in config.EvaluateConfig.model_fields:
                seen.add(f"evaluate.{name}")
            return super().__getattribute__(name)

    section = Watched.model_construct(**settings.evaluate.model_dump())
    return settings.model_copy(update={"evaluate": section}), seen


@pytest.mark.parametrize("mode", ["eval", "recommend", "bench"])
def test_the_fields_that_a_mode_accepts_are_read(mode, trained, folder, monkeypatch):
    monkeypatch.setattr(config, "command", lambda settings: "")  # names every field
    settings, seen = watched(trial.config(folder, "popularity"))
    seen.clear()
    if mode == "eval":
        experiment.evaluate_run(trained, settings)
    elif mode == "recommend":
        experiment.recommend(trained, settings, top_k=2)
    else:
        whole.measure(settings, 1, 0.001)
    accepted = {path for path in options.FIELDS[mode] if path.startswith("evaluate.")}
    assert accepted <= seen, "accepted by the command line, and read by nothing"
    assert "evaluate.selections" not in seen  # not all are asked for, whatever they are asked for
