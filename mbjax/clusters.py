"""How several hosts find one another, work together, and end together.

If a host ends in the middle, all others end too, each with one line: waiting would be for ever.
"""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from mbjax import errors, hosts

HEARTBEAT = 30  # seconds without a sign of life after which a host counts as lost
PATIENCE = 300  # seconds in which all hosts have to come
QUIET = 10  # seconds of waiting for them after which that is said
LOST = (
    "error: {who} ended, since another host did or since it was killed. Go on with --resume on all hosts; what was "
    "wrong stands where the first to end was started."
)
ALONE = (
    "error: not all of the hosts came to {place} within {minutes} minutes. Start the same command on each of them, and "
    "see that --coordinator names the first one, at a port that the others can reach; --hosts=1 works alone."
)
AUTO = "auto"


class Cluster(NamedTuple):
    """How a host finds the others, as ``jax.distributed.initialize`` takes it; None: JAX finds out.

    Attributes:
      coordinator: ``HOST:PORT`` of the first host.
      hosts: how many processes there are.
      host: the number of this one, from 0.
      method: JAX's name of the system that started them.
      devices: numbers of the accelerators of this machine that are this process's.
    """

    coordinator: str | None = None
    hosts: int | None = None
    host: int | None = None
    method: str | None = None
    devices: tuple[int, ...] | None = None


def find(
    coordinator: str | None, hosts: str | None, host: str | None, environment: Mapping[str, str] = os.environ
) -> Cluster | None:
    """The cluster that the options name or that started this process; None: it works alone.

    Args:
      coordinator: ``HOST:PORT``.
      hosts: a number; ``"1"`` declines what is seen, ``"auto"`` leaves it to JAX.
      host: the number of this one.

    Raises:
      ConfigError: options that do not go together, or are no numbers.
    """
    if hosts == AUTO:
        return Cluster(coordinator)
    if hosts is not None or host is not None or coordinator is not None:
        # What is not said may stand in the environment: number and place of the tasks of a job.
        hosts = hosts or _first(environment, "OMPI_COMM_WORLD_SIZE", "SLURM_NTASKS")
        host = host or _first(environment, "OMPI_COMM_WORLD_RANK", "SLURM_PROCID", "JOB_COMPLETION_INDEX")
        return _plain(coordinator or environment.get("JAX_COORDINATOR_ADDRESS"), hosts, host)
    if "TORCHELASTIC_RUN_ID" in environment and int(environment["WORLD_SIZE"]) > 1:
        # Its own store listens at the port that it names.
        address = f"{environment['MASTER_ADDR']}:{int(environment['MASTER_PORT']) + 1}"
        devices = (int(environment["LOCAL_RANK"]),)
        return Cluster(address, int(environment["WORLD_SIZE"]), int(environment["RANK"]), None, devices)
    if "SLURM_STEP_NODELIST" in environment and int(environment.get("SLURM_NTASKS", "1")) > 1:
        return Cluster(method="slurm")
    if int(environment.get("OMPI_COMM_WORLD_SIZE", "1")) > 1:
        return Cluster(method="ompi")
    if "," in environment.get("TPU_WORKER_HOSTNAMES", ""):
        return Cluster()
    return None


def _first(environment: Mapping[str, str], *names: str) -> str | None:
    return next((environment[name] for name in names if name in environment), None)


def _plain(coordinator: str | None, hosts: str | None, host: str | None) -> Cluster | None:
    number, place = _whole("hosts", hosts, 1), _whole("host", host, 0)
    if number == 1 and (host is None or coordinator is None or not place):
        return None
    wanted = {"coordinator=HOST:PORT": coordinator, "hosts=N": number, "host=i": place}
    missing = [name for name, value in wanted.items() if value is None]
    if missing:
        raise errors.ConfigError(
            f"--{' and --'.join(missing)} {'is' if len(missing) == 1 else 'are'} missing: several hosts need "
            "--coordinator=HOST:PORT of the first one, --hosts=N, and --host=i from 0 to N - 1."
        )
    if place >= number:
        counted = f"from 0 to {number - 1}" if number > 1 else "from 0"
        raise errors.ConfigError(f"--host={place} of --hosts={number}: hosts count {counted}.")
    name, _, port = coordinator.rpartition(":")
    if not name or not port.isdecimal() or not 0 < int(port) < 2**16:
        raise errors.ConfigError(
            f"--coordinator={coordinator}: must be HOST:PORT, such as node0:12345, with a port from 1 to {2**16 - 1:,}."
        )
    return Cluster(coordinator, number, place)


def _whole(name: str, text: str | None, least: int) -> int | None:
    if text is None:
        return None
    if not text.isdecimal() or int(text) < least:
        raise errors.ConfigError(f"--{name}={text}: must be a whole number from {least} upwards.")
    return int(text)


@contextlib.contextmanager
def joined(cluster: Cluster | None) -> Iterator[None]:
    """Works with the other hosts for as long as the block lasts; must come before anything else touches JAX.

    All but the first print nothing, save the error that ends them.

    Raises:
      ConfigError: the others cannot be found or reached.
    """
    if cluster is None:
        yield
        return
    place, minutes = cluster.coordinator or "the first one", f"{PATIENCE / 60:.0f}"
    with _watched(ALONE.format(place=place, minutes=minutes)) as (met, done), contextlib.ExitStack() as stack:
        stack.push(lambda kind, error, trace: error is not None and _end(error, done))
        with _said_later(f"waiting for the other hosts at {place} (--coordinator), for {minutes} minutes at most"):
            _start(cluster)
        met()
        if not hosts.is_first():
            silent = stack.enter_context(open(os.devnull, "w", encoding="utf-8"))
            stack.enter_context(contextlib.redirect_stdout(silent))
            stack.enter_context(contextlib.redirect_stderr(silent))
        yield
        import jax

        jax.distributed.shutdown()
        done()


def _start(cluster: Cluster) -> None:
    import jax

    # It would take SIGTERM, after which a run saves and ends (``train.loop.signals``).
    jax.config.update("jax_enable_preemption_service", False)
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    try:
        jax.distributed.initialize(
            cluster.coordinator,
            cluster.hosts,
            cluster.host,
            local_device_ids=cluster.devices,
            cluster_detection_method=cluster.method,
            initialization_timeout=PATIENCE,
            heartbeat_timeout_seconds=HEARTBEAT,
        )
    except (RuntimeError, ValueError, LookupError) as error:
        raise errors.ConfigError(
            f"the hosts did not come together: {' '.join(str(error).split())[:200]}. Give --coordinator=HOST:PORT, "
            "--hosts=N and --host=i, or --hosts=1 to work alone."
        ) from error


def _end(error: BaseException, done: Callable[[], None]) -> None:
    """Ends this process at once: the usual end would wait for the others, who end because it does."""
    if isinstance(error, errors.MbjaxError):
        print(f"error: host {hosts.number()}: {' '.join(str(error).split())}", file=sys.__stderr__, flush=True)
        done()
        os._exit(error.exit_code)
    if isinstance(error, KeyboardInterrupt):
        done()
        os._exit(130)
    if not _is_of_others(error):
        import traceback

        traceback.print_exception(error, file=sys.__stderr__)
        sys.__stderr__.flush()
    os._exit(1)  # and whoever watches says the line


def _is_of_others(error: BaseException) -> bool:
    """Whether a collective operation failed because another host is gone."""
    words = ("gloo", "nccl", "connection", "coordination")
    return isinstance(error, RuntimeError | ValueError) and any(word in str(error).lower() for word in words)


@contextlib.contextmanager
def _said_later(line: str) -> Iterator[None]:
    """Says what is waited for, once that has taken a while."""
    timer = threading.Timer(QUIET, lambda: print(line, file=sys.__stderr__, flush=True))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


WATCH = 'trap "" INT TERM; line=$1; while read -r word; do test "$word" = done && exit; line=$2; done; echo "$line" >&2'
"""A program for a shell: what is to be said if the other end closes before "done" comes, and once "met" has come."""


@contextlib.contextmanager
def _watched(alone: str) -> Iterator[tuple[Callable[[], None], Callable[[], None]]]:
    """Sees to it that the end of this process, however it comes, is told in one line.

    JAX's own threads end a process that has lost the others, or has not found them, by ``abort`` and write pages on it:
    a second process, which outlives this one, says the line in their place. Yields what tells it that the hosts have
    met, until when the line is ``alone``, and what tells it that all is well.
    """
    if os.name != "posix":
        yield (lambda: None), (lambda: None)
        return
    _part_streams()
    said = sys.__stderr__.fileno()
    program = ["sh", "-c", WATCH, "sh", alone, LOST.format(who="this host")]
    watcher = subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=said)

    def tell(word: bytes) -> None:
        with contextlib.suppress(OSError, ValueError):
            watcher.stdin.write(word + b"\n")
            watcher.stdin.flush()

    def done() -> None:
        tell(b"done")
        with contextlib.suppress(OSError, ValueError):
            watcher.stdin.close()
        watcher.wait()

    yield (lambda: tell(b"met")), done


def _part_streams() -> None:
    """Lets Python go on writing where it does, and what libraries write by themselves be dropped.

    Who has set TF_CPP_MIN_LOG_LEVEL to 0 wants to see it.
    """
    if os.environ.get("TF_CPP_MIN_LOG_LEVEL") == "0":
        return
    for name, number in (("stdout", 1), ("stderr", 2)):
        stream = getattr(sys, name)
        try:
            is_whole = stream.fileno() == number
        except (OSError, ValueError, io.UnsupportedOperation):
            continue
        if not is_whole:
            continue
        stream.flush()
        own = os.fdopen(os.dup(number), "w", encoding=stream.encoding, errors=stream.errors, buffering=1)
        setattr(sys, name, own)
        setattr(sys, f"__{name}__", own)
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, number)
        os.close(nowhere)
