"""What the tests of the command line share: a stand-in for the work, and what a command that fails says."""

from __future__ import annotations

import pathlib
import types

import polars


class Recorder:
    """Stands in for ``mbjax.experiment`` and remembers its calls."""

    def __init__(self, error: BaseException | None = None):
        self.calls, self.error, self.reason = [], error, "finished"

    def _call(self, name, args, options):
        self.calls.append((name, args, options))
        if self.error is not None:
            raise self.error
        return types.SimpleNamespace(exit_code=0, reason=self.reason)

    def train(self, *args, **options):
        return self._call("train", args, options)

    def train_seeds(self, *args, **options):
        return self._call("train_seeds", args, options)

    def retrain(self, *args, **options):
        return self._call("retrain", args, options)

    def evaluate_run(self, *args, **options):
        return self._call("evaluate_run", args, options)

    def explain(self, *args, **options):
        self._call("explain", args, options)
        shares = polars.DataFrame({"item": [4], "behavior": ["view"], "share": [0.5]})
        return types.SimpleNamespace(
            user=17, item=3, behavior="buy", score=0.5, shares=shares, met=(), held=(), left_out=False
        )

    def without_learning(self, *args, **options):
        self._call("without_learning", args, options)
        return {}

    def recommend(self, *args, **options):
        return self._call("recommend", args, options)


def here(*names):
    """Names as paths in the working directory."""
    return tuple(str(pathlib.Path(name).absolute()) for name in names)


def failure(capsys, main, *argv, code=2):
    """Runs a command that must fail, and returns its only line without ``error: ``."""
    assert main(list(argv)) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ") and captured.err.endswith("\n") and captured.err.count("\n") == 1
    return captured.err[len("error: ") : -1]
