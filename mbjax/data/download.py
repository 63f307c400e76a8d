"""One file from an address to a folder: verified, atomic, and continued where a cut connection left it.

The bytes are written to ``NAME.part`` beside the wanted file and renamed once their git blob hash is right, so a file
under its own name is always whole. A ``.part`` that is left over is continued by an HTTP range request; a server that
ignores the range sends everything again. ``Content-Encoding`` is refused, so ranges count the bytes that are hashed.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import os
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

from mbjax import errors

BLOCK = 1 << 18
"""Bytes read at a time: a progress bar moves about ten times a second at 20 Mbit/s."""

TRANSIENT = frozenset({408, 425, 429, 500, 502, 503, 504})
"""HTTP statuses worth another attempt."""

Progress = Callable[[int, int | None], None]


class CutError(OSError):
    """The connection ended before the file did."""


def blob_sha1(path: Path) -> str:
    """Hash of a file's bytes as git names them: SHA-1 over ``b"blob <length>\\0"`` and the bytes."""
    digest = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
    with open(path, "rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()


def download(
    url: str,
    path: Path,
    sha1: str,
    *,
    progress: Progress = lambda done, total: None,
    attempts: int = 4,
    pause: float = 0.5,
    timeout: float = 30.0,
) -> None:
    """Brings a file to ``path``; returns only when it stands there with the right bytes.

    Args:
      url: http or https.
      path: its folder is created; a file of that name is replaced.
      sha1: git blob hash, 40 hexadecimal digits.
      progress: called with (bytes in hand, bytes in all or None if the server does not say).
      attempts: how many in a row may bring nothing new before giving up.
      pause: seconds before the second attempt, doubled for each further one.
      timeout: seconds without a byte after which an attempt is lost.

    Raises:
      DataError: the bytes that came are not those of ``sha1``; the part file is removed.
      OSError: not reached, refused or cut off for good (``urllib.error`` classes are OSErrors); the part file stays.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    with _locked(part):
        if path.exists() and blob_sha1(path) == sha1:  # another process brought it while this one waited
            return
        resumed = part.exists() and part.stat().st_size > 0
        _transfer_all(url, part, progress, attempts, pause, timeout)
        got = blob_sha1(part)
        if got != sha1 and resumed:  # what was left over may belong to another file: once more from the start
            part.unlink()
            _transfer_all(url, part, progress, attempts, pause, timeout)
            got = blob_sha1(part)
        if got != sha1:
            size = part.stat().st_size
            part.unlink()
            raise errors.DataError(
                f"{path.name} from {url}: git blob hash is {got} ({size} bytes), expected {sha1}; nothing was kept. "
                "The address serves another file: check MBJAX_MIRROR, or try again."
            )
        os.replace(part, path)


def _transfer_all(url: str, part: Path, progress: Progress, attempts: int, pause: float, timeout: float) -> None:
    """Repeats until the server has nothing more to send; only attempts that bring nothing new are counted."""
    failures, longest = 0, part.stat().st_size if part.exists() else 0
    while True:
        try:
            return _transfer(url, part, progress, timeout)
        except (OSError, http.client.HTTPException) as error:
            status = getattr(error, "code", None)
            reached = part.stat().st_size if part.exists() else 0
            failures = 1 if reached > longest else failures + 1
            longest = max(longest, reached)
            if failures >= attempts or (status is not None and status not in TRANSIENT):
                if isinstance(error, OSError):
                    raise
                raise CutError(f"{type(error).__name__}: {error}") from error
            time.sleep(pause * 2 ** (failures - 1))


def _transfer(url: str, part: Path, progress: Progress, timeout: float) -> None:
    """One request, appended to the part file where the server agrees to."""
    start = part.stat().st_size if part.exists() else 0
    headers = {"Accept-Encoding": "identity", "User-Agent": "mbjax"}
    if start:
        headers["Range"] = f"bytes={start}-"
    try:
        response = urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=timeout)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code != 416 or not start:
            raise
        # Nothing lies behind the last byte: the part is whole, or longer than the file. The hash decides.
        progress(start, start)
        return
    with response:
        if response.status == 206 and not response.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
            part.unlink(missing_ok=True)
            raise CutError("the server sent another range than the one asked for")
        start = start if response.status == 206 else 0
        length = response.headers.get("Content-Length")
        total = start + int(length) if length is not None else None
        done = start
        progress(done, total)
        with open(part, "ab" if start else "wb") as file:
            while block := response.read1(BLOCK):
                file.write(block)
                done += len(block)
                progress(done, total)
    if total is not None and done < total:
        raise CutError(f"the connection was cut after {done} of {total} bytes")


@contextlib.contextmanager
def _locked(part: Path) -> Iterator[None]:
    """Keeps two processes from writing one part file; the second waits, then finds the file there."""
    try:
        import fcntl
    except ImportError:  # Windows: two simultaneous first downloads end in a wrong hash and are told so
        yield
        return
    # One lock file for the folder, and it stays: removing it would let a third process lock a new one meanwhile.
    with open(part.with_name(".lock"), "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # released when the file is closed
        yield
