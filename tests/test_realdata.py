"""BVAE on JD against the authors' logs: the summed loss of the first epochs, and what the test metrics can be."""

import numpy as np
import pytest

from mbjax import config as configuration
from mbjax import errors, models
from mbjax.experiment import wiring

# Mean of the three released logs, epoch -> sum of the batch losses.
LOGGED = {0: 2665, 1: 2346, 2: 2016, 3: 1780, 4: 1603, 5: 1457, 10: 1012}


@pytest.mark.realdata
@pytest.mark.slow
@pytest.mark.exhaustive
@pytest.mark.parametrize("epochs", [6, 11])
def test_loss_curve_of_bvae_on_jd(real_data, epochs):
    overrides = {"data.dirs": (str(real_data("jd").parent),)}
    config = configuration.load("bvae", "jd", models.MODELS["bvae"].config, protocol="paper", overrides=overrides)
    with pytest.warns(errors.DataWarning, match="'cart' has no training pairs"):
        experiment = wiring.build(config)
    assert experiment.dataset.info.behaviors == ("click", "favourite", "purchase")
    advance, state = experiment.advance(), experiment.start()
    assert advance.steps_per_epoch == 22
    curve = []
    for epoch in range(epochs):
        state, logged = advance.chunk(state, advance.plan(state, epoch), 0, 22)
        curve.append(float(np.sum(logged["loss"])))
    assert abs(curve[0] - LOGGED[0]) < 15
    ratios = [curve[epoch] / value for epoch, value in LOGGED.items() if 0 < epoch < epochs]
    np.testing.assert_allclose(ratios, 1.0, atol=0.015)
    assert abs(np.mean(ratios) - 1.0) < 0.01

    table = experiment.evaluator("test")(experiment.model, state.params, experiment.graphs).table
    assert {name: row["users"] for name, row in table.items()} == {"click": 3783, "favourite": 429, "purchase": 2579}
    hits = table["favourite"]["hr@5"] * 429
    assert hits == pytest.approx(round(hits), abs=1e-6)
    # Epoch 10 of the logs: about .044, .038, .064; one epoch of noise is some .004.
    late = {"purchase": 0.044, "click": 0.038, "favourite": 0.064} if epochs == 11 else {}
    for name, value in late.items():
        assert abs(table[name]["ndcg@5"] - value) < 0.010, name
