"""Lengths of chunks by their time: two programs at most, whole epochs filled, signals answered within a second."""

from __future__ import annotations

import functools
import os
import pathlib
import subprocess
import sys

import jax
import pytest
import trial

from mbjax.experiment import wiring
from mbjax.train import loop, pace


def lengths(made, epochs, compile_seconds, step_seconds):
    """The chunks of a training, each of which takes so long."""
    found, place, left = [], 0, epochs * made.steps
    while left:
        length = made.next(place)
        left -= length
        first = compile_seconds if length not in found else 0.0
        made.told(first + length * step_seconds, left)
        found.append(length)
        place = (place + length) % made.steps
    return found


@pytest.mark.parametrize(
    ("steps", "unit", "epochs", "compile_seconds", "step_seconds", "long"),
    [
        (61, 1, 200, 10.0, 1.0, 1),  # a slow step is a chunk
        (22, 1, 1000, 5.0, 0.1, 1),  # half a percent is not worth a program
        (61, 1, 1000, 2.0, 0.001, 61),  # an epoch within half a second
        (2343, 1, 100, 2.0, 0.001, 292),  # 2.3 s, an eighth of it, rounded down
        (61, 1, 2, 2.0, 0.001, 1),  # so short a training does not pay for compiling again
        (61, 61, 200, 20.0, 0.005, 61),  # an accelerator: an epoch is one program
        (61, 61, 200, 20.0, 0.05, 1),  # it takes 3 s; of a prime number of steps only single ones fill an epoch
        (60, 60, 200, 20.0, 0.05, 20),  # just a second
        (2343, 33, 100, 2.0, 0.0005, 33 * 17),  # a quarter of an epoch are 17 units and 24 steps
    ],
)
def test_what_is_settled(steps, unit, epochs, compile_seconds, step_seconds, long):
    made = pace.Pace(steps, unit)
    found = lengths(made, epochs, compile_seconds, step_seconds)
    assert made.long == long and sum(found) == epochs * steps
    assert found[: 1 + pace.TIMED] == [unit] * (1 + pace.TIMED) or step_seconds * unit > pace.WAIT
    assert set(found) == {unit, long} or set(found[2:]) == {long}
    place = 0
    for length in found:  # no chunk goes beyond an epoch
        assert place + length <= steps
        place = (place + length) % steps


def test_units():
    assert [pace.first_unit(steps, "cpu") for steps in (1, 22, 61)] == [1, 1, 1]
    assert [pace.first_unit(steps, "gpu") for steps in (1, 22, 61, 64, 128, 2343, 67)] == [1, 22, 61, 64, 64, 33, 1]
    with pytest.raises(ValueError, match="a unit of 4 steps does not divide an epoch of 22"):
        pace.Pace(22, 4)


def test_one_host_measures_for_all():
    made = pace.Pace(60, 60, agree=lambda seconds: 2.0)
    lengths(made, 3, 0.0, 0.001)
    assert made.long == 30


@functools.cache
def trained(folder, model, chunk_steps):
    """Parameters and sums of epochs of 23 steps."""
    given = {"train__batch_size": 1, "train__monitor": "mean:ndcg"}
    config = trial.config(folder, model, train__chunk_steps=chunk_steps, **given)
    made = wiring.build(config)
    advance, sums = made.advance(), []
    state, *_ = loop.fit(
        made.start(),
        loop.Position(),
        advance,
        epochs=2,
        on_epoch=lambda epoch, state, position: sums.append(dict(position.sums)) or False,
    )
    return jax.device_get(state.params), sums, advance


def same_bits(folder, model):
    """Raises AssertionError unless chunks of all lengths come to the same."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pace, "TURN", 1e9)  # turns are so dear that another program pays
        params, sums, advance = trained(folder, model, 0)
    assert advance.pace.is_settled and advance.pace.long == advance.steps_per_epoch
    for chunk_steps in (1, 7):
        others, other_sums, _ = trained(folder, model, chunk_steps)
        assert sums == other_sums
        for a, b in zip(jax.tree.leaves(params), jax.tree.leaves(others), strict=True):
            assert a.tobytes() == b.tobytes()


def test_the_length_of_chunks_changes_no_bit(tmp_path):
    same_bits(trial.write_data(tmp_path / "toy"), "bpr_mf")


@pytest.mark.exhaustive
@pytest.mark.parametrize("model", ["bvae", "copf", "lightgcn", "funnel"])
def test_the_length_of_chunks_changes_no_bit_as_programs_are_compiled_for_users(model, tmp_path):
    """In a process of its own: these tests compile without optimization, where copf's last bits do depend on it."""
    folder, here = trial.write_data(tmp_path / "toy"), pathlib.Path(__file__).parent
    code = f"import sys, pathlib; sys.path[:0] = {[str(here), str(here.parent)]}; import test_pace\n"
    code += f"test_pace.same_bits(pathlib.Path({str(folder)!r}), {model!r})"
    plain = {
        name: value for name, value in os.environ.items() if name not in ("XLA_FLAGS", "JAX_COMPILATION_CACHE_DIR")
    }
    done = subprocess.run([sys.executable, "-c", code], env=plain, capture_output=True, text=True)
    assert not done.returncode, done.stderr[-2000:]
