"""Progress: a bar with time left on a terminal, plain lines in a file."""

import io

import pytest
import rich.console

from mbjax.ops import stages
from mbjax.train import progress


class Clock:
    """Seconds that pass when told."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def run(*, terminal: bool, epochs: int = 6, done: int = 0, seconds=(9, 2, 2, 2, 2, 2), evaluate_every: int = 3) -> str:
    file, clock = io.StringIO(), Clock()
    console = rich.console.Console(file=file, force_terminal=terminal, width=100)
    with progress.Progress(epochs, done=done, monitor="mean:ndcg@5", console=console, clock=clock) as shown:
        for number in range(done, epochs):
            clock.now += seconds[number]
            shown.chunk(0.5)
            evaluated = (number + 1) % evaluate_every == 0
            shown.epoch(1000.0 - number, best=0.05 + number / 100 if evaluated else None, evaluated=evaluated)
    return file.getvalue()


def test_a_file_gets_one_plain_line_for_each_evaluation():
    text = run(terminal=False)
    assert text.splitlines() == [
        "epoch 3/6: loss 998.0, best mean:ndcg@5 0.0700, 2.0 s per epoch, 6 s left",
        "epoch 6/6: loss 995.0, best mean:ndcg@5 0.1000, 2.0 s per epoch",
    ]
    assert all(character.isprintable() or character == "\n" for character in text)


def test_a_file_gets_a_line_after_a_long_silence():
    text = run(terminal=False, seconds=(9, 25, 2, 2, 31, 2), evaluate_every=100)
    assert [line.split(":")[0] for line in text.splitlines()] == ["epoch 2/6", "epoch 5/6", "epoch 6/6"]
    assert "best" not in text


def test_a_terminal_gets_epoch_loss_best_and_time_left():
    text = run(terminal=True)
    assert "\x1b[" in text
    assert "epoch 6/6" in text and "loss 995.0" in text and "best mean:ndcg@5 0.1000" in text and "0 s left" in text


def test_a_resumed_run_times_only_its_own_epochs():
    assert "epoch 6/6: loss 995.0, best mean:ndcg@5 0.1000, 4.0 s per epoch" in run(
        terminal=False, done=4, seconds=(0, 0, 0, 0, 50, 4)
    )


def test_a_finished_run_may_be_opened():
    assert run(terminal=False, done=6) == ""


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (-3, "0 s"),
        (59.4, "59 s"),
        (200, "3 min 20 s"),
        (3600, "1 h"),
        (7500, "2 h 5 min"),
        (97200, "1 d 3 h"),
    ],
)
def test_durations(seconds, text):
    assert progress.duration(seconds) == text


def test_only_a_stage_that_takes_long_is_shown():
    time, out = [0.0], io.StringIO()
    console = rich.console.Console(file=out)
    told = progress.Stages(every_seconds=20.0, console=console, clock=lambda: time[0])
    for now, what, done in (
        (0, "short", 0),
        (2, "short", 1),
        (3, "long", 0),
        (5, "inside", 1),
        (24, "long", 2),  # 21 s for two parts, eight are left
        (30, "long", 3),  # too early after the line before
        (44, "inside", 0),  # begins anew
        (60, "long", 10),  # done
        (63, "inside", 5),
        (65, "inside", 9),
    ):
        time[0] = now
        told(what, done, 10)
    assert out.getvalue().splitlines() == ["long: 20%, 1 min 24 s left", "inside: 90%, 2 s left"]


def test_listeners_hear_of_stages_while_they_listen():
    found = []
    with stages.heard(lambda *told: found.append(told)):
        stages.tell("a", 0, 2)
    stages.tell("a", 1, 2)
    assert found == [("a", 0, 2)]
