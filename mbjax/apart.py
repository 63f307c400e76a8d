"""Work in processes of its own: what fails, hangs or runs out of memory there loses nothing of the others.

``run`` starts a program, waits for it and returns what it kept in a file: a part of a benchmark, with a limit of time.
A ``Worker`` stays, and is asked one thing after another in lines of JSON: several runs of a sweep at once.

Processes have sessions of their own, so that an interrupt from the keyboard reaches their parent alone, which tells
them to end. One whose parent has gone ends too, if it is a worker.
"""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from mbjax import errors, files
from mbjax.ops import threads

TAIL = 15
"""Lines of a failed part's output that are shown."""
GRACE = 30.0
"""Seconds that a process is given to end after it was told to, before it is killed."""
THREADS = ("PJRT_NPROC", "NPROC", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "POLARS_MAX_THREADS")
"""What tells XLA on a CPU (the first two), BLAS and polars how many threads to have."""
POOL = "XLA_PYTHON_CLIENT_MEM_FRACTION"
"""What tells JAX how much of the memory of a GPU to take."""
OF_POOLS = 0.9
"""Share of the memory of a GPU that all processes on it take together."""
VISIBLE = "CUDA_VISIBLE_DEVICES"

Message = Mapping[str, Any]


ENDING = ("SIGTERM", "SIGINT", "SIGHUP")
"""Signals by which somebody ends a process that has done nothing wrong."""


class GoneError(errors.MbjaxError):
    """A process ended without an answer.

    Attributes:
      was_ended: whether somebody told it to, be it a scheduler that tells all processes of a job.
    """

    was_ended: bool = False


def share(
    place: int, number: int, accelerators: int = 0, environment: Mapping[str, str] = os.environ
) -> dict[str, str]:
    """Variables that give one of several processes its part of the machine; what the user has set stays.

    Threads are divided, at least one for each. Of GPUs each process sees one, in turns, and takes its part of the
    memory of that one.

    Args:
      place: of the process, from 0.
      number: of processes that are there at once.
      accelerators: GPUs that there are.
      environment: what is set.
    """
    found = dict.fromkeys(THREADS, str(max(1, threads.cores() // number))) if number > 1 else {}
    if accelerators and number > 1:
        found[POOL] = f"{OF_POOLS / -(-number // accelerators):.3f}"
    found = {name: value for name, value in found.items() if name not in environment}
    if accelerators > 1:
        seen = environment.get(VISIBLE) or ",".join(map(str, range(accelerators)))
        found[VISIBLE] = seen.split(",")[place % accelerators].strip()
    return found


def virtual(devices: int, environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Variables that divide a CPU into so many devices of JAX."""
    flag = f"--xla_force_host_platform_device_count={devices}"
    return {"XLA_FLAGS": f"{environment.get('XLA_FLAGS', '')} {flag}".strip()}


def run(
    command: Sequence[str],
    limit: float | None = None,
    environment: Mapping[str, str] | None = None,
    *,
    log: bool = False,
) -> dict[str, Any]:
    """Runs a program and waits for its end.

    Args:
      command: a program that calls ``keep`` with its last argument, which is added here.
      limit: seconds after which it is stopped; None: never.
      environment: variables beside those of this process.
      log: whether what it printed is returned too.

    Returns:
      What it kept, ``seconds`` with the start of the process, and ``failed`` in a line where it did not end well; its
      output as ``log`` if that is asked for.
    """
    with tempfile.TemporaryDirectory() as folder:
        kept, output = pathlib.Path(folder, "part.json"), pathlib.Path(folder, "output.txt")
        start = time.perf_counter()
        with _started([*command, str(kept)], output, environment) as process:
            try:
                code = process.wait(limit)
            except subprocess.TimeoutExpired:
                code = None
        seconds = round(time.perf_counter() - start, 1)
        found = json.loads(kept.read_text(encoding="utf-8")) if kept.exists() else {}
        text = output.read_text(encoding="utf-8", errors="replace")
    found |= {"seconds": seconds} | ({"log": text} if log else {})
    if code == 0:
        return found
    print(*text.splitlines()[-TAIL:], sep="\n", file=sys.stderr, flush=True)
    reason = f"stopped after {limit:.0f} s" if code is None else f"exit code {code}: {_last(text)}"
    return found | {"failed": reason}


def keep(findings: Iterable[Message], path: str) -> dict[str, Any]:
    """Joins findings and writes all of them after each, so that a part that is stopped loses only what it was at."""
    found: dict[str, Any] = {}
    for more in findings:
        found |= more
        files.write_json(path, found)
    return found


@contextlib.contextmanager
def _started(command, output: pathlib.Path, environment, **streams: Any) -> Iterator[subprocess.Popen]:
    """A process, killed at the end if it has not ended; what it prints is added to a file."""
    with output.open("ab") as stream:
        given = {"stdin": subprocess.DEVNULL, "stdout": stream, "stderr": stream} | streams
        process = subprocess.Popen(command, env=os.environ | dict(environment or {}), start_new_session=True, **given)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def _last(text: str) -> str:
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "no output")[:300]


class Worker:
    """A process that answers questions; a context manager.

    Args:
      command: a program that calls ``serve``.
      output: the file that what it prints is added to.
      environment: variables beside those of this process.
    """

    def __init__(self, command: Sequence[str], output: pathlib.Path, environment: Mapping[str, str] | None = None):
        self._command, self._output, self._environment = list(command), output, environment
        self._stack = contextlib.ExitStack()
        self._process: subprocess.Popen | None = None

    def __enter__(self) -> Worker:
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "encoding": "utf-8"}
        self._stack.callback(self._leave)
        self._process = self._stack.enter_context(_started(self._command, self._output, self._environment, **pipes))
        return self

    def __exit__(self, *error: object) -> None:
        if self._process and self._process.poll() is None:
            with contextlib.suppress(OSError):
                self._process.stdin.close()  # which ends it, at what it is doing
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(GRACE)
        self._stack.close()

    def _leave(self) -> None:
        for stream in (self._process.stdin, self._process.stdout) if self._process else ():
            with contextlib.suppress(OSError):
                stream.close()

    def ask(self, question: Message, between: Callable[[Message], Message] = lambda words: {}) -> Message:
        """Asks, and waits for the answer.

        Args:
          question: what JSON can hold.
          between: is given what the process asks on its way to the answer, and returns what it is told.

        Raises:
          GoneError: it ended without an answer; how, and its last line.
        """
        self._tell(question)
        for line in self._process.stdout:
            if not line.endswith("\n"):  # it was killed while it wrote
                break
            message = json.loads(line)
            if "answer" in message:
                return message["answer"]
            self._tell(between(message["asks"]))
        raise self._gone()

    def _tell(self, message: Message) -> None:
        try:
            self._process.stdin.write(json.dumps(message) + "\n")
            self._process.stdin.flush()
        except OSError:
            raise self._gone() from None

    def _gone(self) -> GoneError:
        code = self._process.wait()
        text = self._output.read_text(encoding="utf-8", errors="replace") if self._output.exists() else ""
        if code >= 0:
            return GoneError(f"the process ended by exit code {code}: {_last(text)}")
        name = signal.Signals(-code).name
        why = ", as where memory ran out" if name == "SIGKILL" else ""
        error = GoneError(f"the process ended by signal {-code} ({name}{why}); its last line: {_last(text)}")
        error.was_ended = name in ENDING
        return error

    def interrupt(self) -> None:
        """Tells it to end at the next place where it can go on from; may be called from any thread."""
        if self._process and self._process.poll() is None:
            self._process.terminate()

    def kill(self) -> None:
        """Ends it at once; may be called from any thread."""
        if self._process and self._process.poll() is None:
            self._process.kill()


def serve(answer: Callable[[Message, Callable[[Message], Message]], Message]) -> int:
    """Answers the questions of the parent until it closes the pipe or is gone; what is printed goes to the log.

    A process that is at work when its parent goes is told to end as by SIGTERM.

    Args:
      answer: of a question, and of a function that asks the parent something meanwhile.

    Returns:
      The exit code.
    """
    out = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    read: queue.SimpleQueue[Message | None] = queue.SimpleQueue()
    busy = threading.Event()

    def listen() -> None:
        for line in sys.stdin:
            read.put(json.loads(line))
        read.put(None)
        if busy.is_set():
            os.kill(os.getpid(), signal.SIGTERM)

    def say(message: Message) -> None:
        print(json.dumps(message), file=out, flush=True)

    def ask(words: Message) -> Message:
        try:
            say({"asks": words})
        except BrokenPipeError:  # a signal is on its way, by which the work saves where it is
            return {}
        reply = read.get()
        if reply is None:  # nobody will answer
            read.put(None)
        return reply or {}

    threading.Thread(target=listen, daemon=True).start()
    while (question := read.get()) is not None:
        busy.set()
        found = answer(question, ask)
        busy.clear()
        try:
            say({"answer": found})
        except BrokenPipeError:
            break
    return 0
