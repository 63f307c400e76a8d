"""Checkpoints come back bit for bit, and every kind of damage is noticed."""

import gc
import logging
import pathlib
import shutil
import sys
import time
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mbjax import errors, types
from mbjax.train import checkpoint


def make_state(step: int) -> types.TrainState:
    rng = np.random.default_rng(step)
    params = {"decoder": {"kernel": jnp.asarray(rng.normal(size=(7, 5)), jnp.float32)}, "bias": jnp.zeros(5)}
    return types.TrainState(
        step=jnp.int32(step), params=params, opt_state=optax.adam(1e-3).init(params), key=jax.random.key(step)
    )


def assert_same(left, right):
    assert jax.tree.structure(left) == jax.tree.structure(right)
    for a, b in zip(jax.tree.leaves(left), jax.tree.leaves(right), strict=True):
        assert a.dtype == b.dtype
        if jax.dtypes.issubdtype(a.dtype, jax.dtypes.prng_key):
            a, b = jax.random.key_data(a), jax.random.key_data(b)
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b))


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Steps 10 and 20, written once; tests damage copies."""
    folder = tmp_path_factory.mktemp("written") / "last"
    checkpoints = checkpoint.Checkpoints(folder)
    checkpoints.save(10, make_state(10), {"epoch": 1, "best": 0.25})
    checkpoints.save(20, make_state(20), {"epoch": 2, "best": 0.1 + 0.2})
    checkpoints.close()
    return folder


@pytest.fixture
def folder(written, tmp_path):
    return shutil.copytree(written, tmp_path / "last")


def files_of(folder: pathlib.Path, step: int) -> list[pathlib.Path]:
    return sorted(path for path in (folder / str(step)).rglob("*") if path.is_file() and path.stat().st_size)


def restore(folder, target=None, step=None):
    checkpoints = checkpoint.Checkpoints(folder)
    try:
        return checkpoints.restore(make_state(0) if target is None else target, step)
    finally:
        checkpoints.close()


def test_newest_comes_back_bit_for_bit_with_its_record(written):
    state, record = restore(written)
    assert_same(state, make_state(20))
    assert record == {"epoch": 2, "best": 0.1 + 0.2}


def test_target_may_be_shapes_only_and_the_key_may_have_another_implementation(tmp_path):
    state = make_state(3).replace(key=jax.random.key(3, impl="rbg"))
    checkpoints = checkpoint.Checkpoints(tmp_path)
    checkpoints.save(3, state, {})
    restored, _ = checkpoints.restore(jax.eval_shape(lambda: state))
    checkpoints.close()
    assert_same(restored, state)
    assert jax.random.key_impl(restored.key) == jax.random.key_impl(state.key)


def test_state_may_be_donated_right_after_save_and_after_restore(tmp_path):
    add = jax.jit(lambda x: x + 1, donate_argnums=0)
    checkpoints = checkpoint.Checkpoints(tmp_path)
    array = jnp.arange(100_000, dtype=jnp.float32)
    checkpoints.save(1, {"x": array}, {})
    for _ in range(3):
        array = add(array)
    restored, _ = checkpoints.restore({"x": array})
    checkpoints.close()
    np.testing.assert_array_equal(restored["x"], np.arange(100_000))
    donated = restored["x"]
    np.testing.assert_array_equal(add(donated), np.arange(1, 100_001))
    assert donated.is_deleted()


def test_only_the_newest_are_kept(tmp_path):
    checkpoints = checkpoint.Checkpoints(tmp_path)
    for step in (1, 2, 3):
        checkpoints.save(step, {"x": jnp.float32(step)}, {"step": step})
    checkpoints.wait()
    assert checkpoints.steps() == [2, 3]
    assert checkpoints.restore({"x": jnp.float32(0)}, 2)[0]["x"] == 2
    assert checkpoints.record(2) == {"step": 2}
    checkpoints.close()
    with pytest.raises(ValueError, match="at least 2"):
        checkpoint.Checkpoints(tmp_path, keep=1)


def test_saving_an_earlier_step_drops_the_abandoned_continuation(folder):
    checkpoints = checkpoint.Checkpoints(folder)
    checkpoints.save(15, make_state(15), {"epoch": 1})
    checkpoints.wait()
    assert checkpoints.steps() == [10, 15]
    checkpoints.save(15, make_state(15), {"epoch": 1, "finished": True})
    assert checkpoints.restore(make_state(0))[1] == {"epoch": 1, "finished": True}
    checkpoints.close()


def test_one_flipped_bit_in_any_file_is_harmless_or_noticed(written, tmp_path):
    noticed = set()
    for number, file in enumerate(files_of(written, 20)):
        folder = shutil.copytree(written, tmp_path / str(number))
        damaged = folder / file.relative_to(written)
        content = bytearray(damaged.read_bytes())
        content[len(content) // 2] ^= 0x10
        damaged.write_bytes(content)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            state, record = restore(folder)
        if caught:
            assert all(issubclass(warning.category, errors.CheckpointWarning) for warning in caught)
            assert str(folder / "20") in str(caught[0].message)
            assert_same(state, make_state(10))
            assert record["epoch"] == 1
            noticed.add(file.relative_to(written).parts[1])
        else:  # a file that says nothing about the arrays, such as a time stamp
            assert_same(state, make_state(20))
            assert record["epoch"] == 2
    assert noticed == {"state", "record"}


@pytest.mark.parametrize("keep_bytes", [0, 0.5])
def test_truncated_arrays_are_noticed(folder, keep_bytes):
    for file in files_of(folder, 20):
        if file.parent.name == "d":
            file.write_bytes(file.read_bytes()[: int(file.stat().st_size * keep_bytes)])
    with pytest.warns(errors.CheckpointWarning, match="20.*while reading its arrays.*step 10 is used"):
        state, _ = restore(folder)
    assert_same(state, make_state(10))


def test_swapped_arrays_are_noticed_by_the_digest_alone(folder):
    """Sound orbax data that are not those of this step: what orbax itself cannot notice."""
    shutil.rmtree(folder / "20" / "state")
    shutil.copytree(folder / "10" / "state", folder / "20" / "state")
    with pytest.warns(errors.CheckpointWarning, match="arrays do not match their digest"):
        _, record = restore(folder)
    assert record["epoch"] == 1


@pytest.mark.parametrize("lost", ["record/metadata", "record", "state"])
def test_missing_parts_are_noticed(folder, lost):
    path = folder / "20" / lost
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.warns(errors.CheckpointWarning, match="20"):
        state, _ = restore(folder)
    assert_same(state, make_state(10))


def test_edited_record_is_noticed(folder):
    path = folder / "20" / "record" / "metadata"
    path.write_text(path.read_text().replace('"epoch": 2', '"epoch": 9').replace('"epoch":2', '"epoch":9'))
    with pytest.warns(errors.CheckpointWarning, match="record does not match"):
        restore(folder)


def test_half_written_step_of_a_killed_process_is_swept_away(folder):
    """A kill -9 during a save leaves a folder under orbax's temporary name."""
    half = folder / "30.orbax-checkpoint-tmp"
    shutil.copytree(folder / "20" / "state", half / "state.orbax-checkpoint-tmp")
    watching = checkpoint.Checkpoints(folder, read_only=True)
    assert watching.steps() == [10, 20]
    watching.close()
    assert half.exists()  # it may be a write still going on
    state, _ = restore(folder)
    assert_same(state, make_state(20))
    deadline = time.monotonic() + 10
    while half.exists() and time.monotonic() < deadline:  # orbax sweeps in the background
        time.sleep(0.01)
    assert not half.exists()


def test_training_goes_on_after_a_damaged_newest_step(folder):
    (folder / "20" / "record" / "metadata").write_text("{")
    checkpoints = checkpoint.Checkpoints(folder)
    with pytest.warns(errors.CheckpointWarning):
        checkpoints.restore(make_state(0))
    checkpoints.save(20, make_state(20), {"epoch": 2})
    assert_same(checkpoints.restore(make_state(0))[0], make_state(20))
    checkpoints.close()


def test_no_sound_checkpoint_is_an_error(folder, tmp_path):
    for step in (10, 20):
        (folder / str(step) / "record" / "metadata").write_bytes(b"\xff\xfe")
    with pytest.raises(errors.CheckpointError, match=r"no sound checkpoint left: .*20.*not JSON.*10"):
        restore(folder)
    with pytest.raises(errors.CheckpointError, match="no checkpoint in"):
        restore(tmp_path / "empty")
    with pytest.raises(errors.CheckpointError, match=r"no checkpoint of step 7 .*\[10, 20\]"):
        restore(folder, step=7)
    with pytest.raises(errors.CheckpointError, match="does not exist"):
        checkpoint.Checkpoints(tmp_path / "missing", read_only=True)


def test_another_model_is_refused_and_the_leaf_named(written):
    state = make_state(0)
    wide = state.replace(params=state.params | {"bias": jnp.zeros(6)})
    with pytest.raises(errors.CheckpointError, match=r"\.params\['bias'\] is float32\[5\] there and float32\[6\] here"):
        restore(written, wide)
    half = state.replace(params=state.params | {"bias": jnp.zeros(5, jnp.bfloat16)})
    with pytest.raises(errors.CheckpointError, match=r"float32\[5\] there and bfloat16\[5\] here"):
        restore(written, half)
    more = state.replace(params=state.params | {"gate": jnp.zeros(2)})
    with pytest.raises(errors.CheckpointError, match=r"has no leaf \.params\['gate'\]"):
        restore(written, more)
    fewer = state.replace(params={"decoder": state.params["decoder"]})
    with pytest.raises(errors.CheckpointError, match=r"has a leaf \.params\['bias'\]"):
        restore(written, fewer)


def test_digest_tells_path_shape_type_and_bytes_apart():
    base = {"a": np.zeros(4, np.float32)}
    others = [
        {"b": np.zeros(4, np.float32)},
        {"a": np.zeros((2, 2), np.float32)},
        {"a": np.zeros(4, np.int32)},
        {"a": np.array([0, 0, 0, -0.0], np.float32)},
    ]
    assert len({checkpoint.digest(leaves) for leaves in [base, *others]}) == 5


def full_disk(*arguments, **options):
    raise ValueError("RESOURCE_EXHAUSTED: Failed to write 9 bytes: No space left on device [os_error_code='28']")


@pytest.mark.parametrize("where", ["save", "wait_until_finished"])
def test_a_full_disk_is_one_error_and_what_was_there_stays(folder, monkeypatch, where):
    checkpoints = checkpoint.Checkpoints(folder)
    monkeypatch.setattr(checkpoints._manager, where, full_disk)
    with pytest.raises(errors.WriteError, match=r"no space left on '.*': the checkpoint of step 30 in last/ was not"):
        checkpoints.save(30, make_state(30), {"epoch": 3})
        checkpoints.wait()
    monkeypatch.undo()
    checkpoints.close()  # says nothing again
    if where == "save":
        assert_same(restore(folder)[0], make_state(20))


def test_a_write_that_fails_in_the_background_is_raised_and_nothing_is_printed(tmp_path, capfd, caplog):
    """Orbax's threads would print hundreds of lines. The system refuses: files may not be larger than this."""
    resource = pytest.importorskip("resource")
    hook, limits = sys.unraisablehook, resource.getrlimit(resource.RLIMIT_FSIZE)
    checkpoints = checkpoint.Checkpoints(tmp_path / "last")
    arrays = {str(number): np.random.default_rng(number).normal(size=20_000) for number in range(8)}
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, limits[1]))
    try:
        checkpoints.save(1, arrays, {})
        with pytest.raises(errors.WriteError, match="File too large: '.*': the checkpoint of step 1 in last/ was not"):
            checkpoints.close()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    gc.collect()
    assert capfd.readouterr() == ("", "") and not caplog.records
    assert sys.unraisablehook == hook and not logging.getLogger("absl").filters


def test_reading_says_nothing_of_its_own_options(written, caplog):
    checkpoints = checkpoint.Checkpoints(written, read_only=True)
    checkpoints.restore(make_state(0))
    checkpoints.close()
    assert not caplog.records
