"""What is shown of several runs at once, with a clock of the test's own."""

from __future__ import annotations

import io

import pytest
import rich.console

from mbjax.sweep import board


@pytest.mark.parametrize("is_terminal", [False, True])
def test_runs_at_once(is_terminal):
    now, out = [0.0], io.StringIO()
    console = rich.console.Console(file=out, force_terminal=is_terminal, width=120)
    with board.Board(3, console=console, clock=lambda: now[0]) as shown:
        shown.end("a-000-seed0", is_new=False)
        shown.begin("a-001-seed0", 10)
        shown.begin("a-002-seed0", 10)
        shown.evaluated("a-001-seed0", 3, 10, 0.25)
        now[0] = 61.0
        shown.evaluated("a-002-seed0", 1, 10, 0.5)
        shown.end("a-001-seed0")
        shown.say("a line")
    text = out.getvalue()
    assert "a line" in text
    if is_terminal:
        assert "2 of 3 over, about 1 min 1 s left" in text and "2/10, 0.5000" in text
    else:
        assert text.splitlines() == [
            "1 of 3 over; a-001-seed0: epoch 4/10, 0.2500; a-002-seed0: epoch 2/10, 0.5000",
            "a line",
        ]
