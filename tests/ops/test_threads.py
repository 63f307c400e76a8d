"""Threads of this process: what the environment says, else its cores."""

import pytest

from mbjax.ops import threads


@pytest.mark.parametrize(("given", "number"), [("3", 3), ("0", 1), ("", 7), ("many", 7), (None, 7)])
def test_the_variable_that_xla_goes_by_decides(given, number, monkeypatch):
    monkeypatch.setattr(threads, "cores", lambda: 7)
    monkeypatch.delenv("NPROC", raising=False)
    if given is not None:
        monkeypatch.setenv("NPROC", given)
    assert threads.number() == number
