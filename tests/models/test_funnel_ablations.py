"""The component study of ``funnel``: what each named part takes away or adds, and that what is there still learns."""

from __future__ import annotations

import jax
import numpy as np
import pytest
import toy
import usual

from mbjax import config, models
from mbjax.experiment import wiring

UNLIKE = ("touch", "count", "ease", "near", "rank", "time")
PARTS = {
    "linear": {"hidden": 0, "hidden_new": 0},
    "one_member": {"members": 1},
    "wo_ease": {"features": ("touch", "count", "near", "rank", "time", "alike")},
    "wo_near": {"features": ("touch", "count", "ease", "rank", "time", "alike")},
    "wo_count": {"features": ("touch", "ease", "near", "rank", "time", "alike")},
    "wo_rank": {"features": ("touch", "count", "ease", "near", "time", "alike")},
    "wo_time": {"features": ("touch", "count", "ease", "near", "rank", "alike")},
    "wo_alike": {"features": UNLIKE},
    "wo_added_users": {"added_users": 0.0},
    "user_alone": {"left_out": "user"},
    "unsmoothed": {"features": UNLIKE, "added_users": 0.0, "left_out": "user"},
    "wo_cross_fitting": {"cross_fitting": False},
    "pointwise": {"loss": "pointwise"},
    "constant_gate": {"gate": "constant"},
    "validation_alone": {"sources": ("valid",)},
    "folds_alone": {"sources": ("folds",)},
}


def load(ablation: str | None = None):
    given = {"train.batch_size": 8, "train.chunk_steps": 3, "model.penalty": 5.0, "model.new_items": 8}
    return config.load("funnel", "demo", models.entry("funnel").config, ablation=ablation, overrides=given)


def test_every_part_is_named():
    assert set(config.model_file("funnel")["ablations"]) == set(PARTS)


@pytest.mark.parametrize("name", PARTS)
def test_a_part_changes_what_its_name_says(name):
    whole, part = (load(each).model.model_dump() for each in (None, name))
    assert {field: part[field] for field in part if part[field] != whole[field]} == PARTS[name]


QUICK = ("linear",)


@pytest.mark.parametrize("name", usual.cases(PARTS, QUICK.__contains__))
def test_without_a_part_steps_are_taken(name):
    experiment = wiring.build(load(name), toy.dataset(2))
    advance = experiment.advance()
    state = experiment.start()
    before = jax.device_get(state.params)
    state, logged = advance.chunk(state, advance.plan(state, 0), 0, 3)
    after = jax.device_get(state.params)
    assert np.isfinite(logged["loss"]).all()
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(after))
    moved = jax.tree.map(lambda a, b: bool(np.any(a != b)), before["experts"], after["experts"])
    assert any(jax.tree.leaves(moved))
