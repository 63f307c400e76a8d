"""The persistent compilation cache is turned on where asked, and never against the environment."""

import os
import time

import jax
import pytest

from mbjax import compilation, errors


@pytest.fixture
def settings():
    names = ("jax_compilation_cache_dir", "jax_compilation_cache_max_size")
    before = {name: getattr(jax.config, name) for name in names}
    yield
    for name, value in before.items():
        jax.config.update(name, value)


def test_keeps_programs_in_the_folder(settings, monkeypatch, tmp_path):
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)
    folder = compilation.keep(tmp_path / "programs")
    assert folder == tmp_path / "programs"
    assert folder.is_dir()
    assert jax.config.jax_compilation_cache_dir == str(folder)


def test_the_environment_decides(settings, monkeypatch, tmp_path):
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(tmp_path))
    before = jax.config.jax_compilation_cache_dir
    assert compilation.keep(tmp_path / "other") is None
    assert jax.config.jax_compilation_cache_dir == before
    assert not (tmp_path / "other").exists()


def test_a_folder_that_cannot_be_made_is_no_error(settings, monkeypatch, tmp_path):
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)
    (tmp_path / "file").write_text("")
    with pytest.warns(errors.CompilationWarning, match=r"each start compiles anew: '.*file/programs': not a directory"):
        assert compilation.keep(tmp_path / "file" / "programs") is None


def test_half_an_entry_is_removed(settings, monkeypatch, tmp_path):
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)
    for name, age in {"whole-cache": 90, "whole-atime": 90, "half-cache": 90, "young-cache": 5}.items():
        (tmp_path / name).write_bytes(b"12345678")
        os.utime(tmp_path / name, (time.time() - age, time.time() - age))
    assert compilation.keep(tmp_path) == tmp_path
    assert sorted(path.name for path in tmp_path.iterdir()) == ["whole-atime", "whole-cache", "young-cache"]
