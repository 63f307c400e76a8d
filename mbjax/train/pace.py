"""How many steps a compiled chunk has, by measured time: long enough for the device, short enough for a signal.

Between two chunks the host reads losses and looks for signals, which costs a turn and, where the device waits for it,
more. What is computed does not depend on it: a chunk of seven steps has the bits of seven chunks of one.

At most two programs are compiled, of ``unit`` and of ``long`` steps, and often one. A unit divides an epoch and long is
a multiple of it, so that both together fill any epoch. On an accelerator the unit is an epoch, if that is not too many
steps; on a CPU it is one step, since there a step is the longer, and a turn the shorter. After some units have been
timed, long is settled: more steps where the turns that they save outweigh compiling once more, fewer where a unit takes
longer than a signal should wait.
"""

from __future__ import annotations

from collections.abc import Callable

TURN = 5e-4
"""What a turn costs, about [seconds]."""
SMALL = 0.01
"""Share of the time that turns may take."""
WAIT = 1.0
"""The longest that a signal waits for a chunk [seconds]."""
FIRST = 64
"""Steps of a unit on an accelerator, at most."""
TIMED = 3
"""Units that are timed."""


class Pace:
    """The lengths of the chunks of a training.

    Args:
      steps: of an epoch.
      unit: steps of the first chunks; must divide an epoch.
      agree: of several hosts, what the first one measured.
    """

    def __init__(self, steps: int, unit: int, agree: Callable[[float], float] = lambda seconds: seconds):
        if steps % unit:
            raise ValueError(f"a unit of {unit} steps does not divide an epoch of {steps}")
        self.steps, self.unit, self.long = steps, unit, unit
        self.is_settled = False
        self._agree, self._seconds = agree, []
        self.ahead = 0.0  # seconds of compiling before the first unit

    @property
    def compiling(self) -> float:
        """What the first unit took longer than the others, or before it [seconds]; 0 before any was timed."""
        if len(self._seconds) < 2:
            return 0.0
        return self.ahead + max(0.0, self._seconds[0] - min(self._seconds[1:]))

    def next(self, place: int) -> int:
        """Steps of the chunk that begins at a place of an epoch."""
        left = self.steps - place
        return self.long if self.long <= left else min(self.unit, left)

    def told(self, seconds: float, left: int) -> None:
        """Is told what each chunk took until the pace is settled.

        Args:
          seconds: of the chunk; of the first one with compiling.
          left: steps of the training that are to come.
        """
        if self.is_settled:
            return
        self._seconds.append(self._agree(seconds))
        if len(self._seconds) == 1:
            return
        best = min(self._seconds[1:])
        if best > WAIT or len(self._seconds) > TIMED:
            self._settle(best, left)

    def _settle(self, best: float, left: int) -> None:
        self.is_settled, step = True, best / self.unit
        if best > WAIT:
            self.unit = self.long = max(n for n in divisors(self.unit) if n * step <= WAIT or n == 1)
        elif SMALL * best < TURN and TURN * left / self.unit > self.compiling:
            # Halves of halves of an epoch: as noise may have it, the next run finds the same program compiled.
            parts = 1
            while step * self.steps / parts > WAIT / 2:
                parts *= 2
            self.long = max(self.unit, self.steps // parts // self.unit * self.unit)


def first_unit(steps: int, platform: str) -> int:
    """Steps of the first chunks of epochs of so many steps, on a platform as JAX names it."""
    return 1 if platform == "cpu" else max(n for n in divisors(steps) if n <= FIRST)


def divisors(number: int) -> list[int]:
    """All of them, ascending."""
    return [n for n in range(1, number + 1) if number % n == 0]
