"""TensorBoard's event file of a run, written as the run goes on.

tensorboardX's ``SummaryWriter`` hands events to a thread, in which a full disk ends the thread and, a few epochs later,
blocks the program; and it replaces characters of tags, so that two behaviors can become one. Its writer of files alone
has neither.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import socket
import time
from collections.abc import Mapping
from typing import Any

from tensorboardX import record_writer
from tensorboardX.proto import event_pb2, summary_pb2

from mbjax import errors, files

FLUSH_SECONDS = 120.0


class Events:
    """Appends scalars to a new event file.

    Args:
      folder: made if need be; files of the run before it was resumed stay beside the new one.
      purge_step: TensorBoard hides what older files hold from this step on; None hides nothing.

    Raises:
      WriteError: as every method.
    """

    def __init__(self, folder: pathlib.Path, *, purge_step: int | None = None):
        self._folder = files.make_folder(folder)
        # As tensorboardX names them, but that a run may be resumed within the second.
        name = f"events.out.tfevents.{time.time():.0f}.{socket.gethostname()}.{os.getpid()}.{time.monotonic_ns()}"
        self._flushed = time.monotonic()
        with self._writing():
            self._file = record_writer.RecordWriter(str(self._folder / name))
        try:
            self._write(file_version="brain.Event:2")
            if purge_step is not None:
                self._write(step=purge_step, session_log=event_pb2.SessionLog(status=event_pb2.SessionLog.START))
        except errors.WriteError:
            with contextlib.suppress(errors.WriteError):
                self.close()
            raise

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """Writes numbers under their tags, which may hold any characters; a slash makes a group."""
        found = [summary_pb2.Summary.Value(tag=tag, simple_value=value) for tag, value in values.items()]
        self._write(step=step, summary=summary_pb2.Summary(value=found))
        if time.monotonic() - self._flushed > FLUSH_SECONDS:
            self._flushed = time.monotonic()
            with self._writing():
                self._file.flush()

    def close(self) -> None:
        """Writes what is left, and closes the file also where that fails."""
        with self._writing():
            self._file.close()

    def _write(self, **content: Any) -> None:
        with self._writing():
            self._file.write(event_pb2.Event(wall_time=time.time(), **content).SerializeToString())

    def _writing(self) -> contextlib.AbstractContextManager[None]:
        return files.writing(self._folder / "events", "tensorboard/")
