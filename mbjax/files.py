"""Files written whole or not at all, and the one place that knows how the libraries that write say that they cannot.

The system, polars and tensorstore each raise a kind of their own when a disk is full, and none of them says what is
lost. Whoever writes does it inside ``writing``, which makes one ``WriteError`` of them all.
"""

from __future__ import annotations

import contextlib
import errno
import io
import json
import os
import pathlib
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import polars as pl

from mbjax import errors, paths

FOREIGN = (OSError, pl.exceptions.PolarsError, ValueError)
"""What writing raises: tensorstore, below orbax, has only ValueError for what goes wrong with a file."""

# How polars and tensorstore hand on the system's number.
_NUMBER = re.compile(r"\(os error (\d+)\)|os_error_code='(\d+)'")
_REFUSED = re.compile(r'[%/\\:*?"<>|\x00-\x1f\x7f\ud800-\udfff]|^[. ]|[. ]$')
_FREE, _PERMIT = "Free space", "Allow it, or choose another folder,"


@contextlib.contextmanager
def writing(path: str | os.PathLike[str], lost: str = "") -> Iterator[None]:
    """What a library raises within because the system refused to write becomes a ``WriteError``; the rest stays.

    Args:
      path: the file or folder that is written.
      lost: what is not there afterward, in the singular, as in "the last checkpoint"; default is the file's name.

    Raises:
      WriteError: no space, no permission, ...
    """
    try:
        yield
    except FOREIGN as error:
        number = _number(error)
        if number is None and not isinstance(error, OSError):
            raise
        path = pathlib.Path(path)
        reason, mend = (f"{error}: '{path}'", "Mend that") if number is None else _reason(number, path)
        raise errors.WriteError(reason, lost or path.name, mend) from error


@contextlib.contextmanager
def then(remedy: str) -> Iterator[None]:
    """Says how to go on, as in "start again", where a ``WriteError`` from within does not say it yet."""
    try:
        yield
    except errors.WriteError as error:
        error.then = error.then or remedy
        raise


def replace(path: str | os.PathLike[str], write: Callable[[pathlib.Path], Any], lost: str = "") -> pathlib.Path:
    """Lets ``write`` make a file under a temporary name beside ``path``, then renames it; returns the path.

    No reader ever sees half of it, and what stood there before stays if ``write`` fails.

    Raises:
      WriteError: as ``writing``.
    """
    path = paths.absolute(path)
    # Not longer than the name itself may be; of one writer, since two threads may write the same file.
    temporary = path.with_name(f".{os.getpid()}-{threading.get_ident()}.tmp")
    with writing(path, lost):
        try:
            write(temporary)
            os.replace(temporary, path)
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink()
    return path


def create(path: str | os.PathLike[str], text: str, lost: str = "") -> bool:
    """Writes a text file unless there is one of that name; says whether it did. Of several writers one succeeds."""
    path = paths.absolute(path)
    with writing(path, lost):
        try:
            path.open("x").close()
        except FileExistsError:
            return False
    try:
        write_text(path, text, lost)
    except errors.WriteError:
        path.unlink(missing_ok=True)
        raise
    return True


def remove(path: str | os.PathLike[str]) -> None:
    """Removes a file, if it is there. Raises WriteError."""
    with writing(path):
        pathlib.Path(path).unlink(missing_ok=True)


def write_text(path: str | os.PathLike[str], text: str, lost: str = "") -> pathlib.Path:
    """Writes a text file in UTF-8, as ``replace``."""
    return replace(path, lambda temporary: temporary.write_text(text, encoding="utf-8"), lost)


def write_json(path: str | os.PathLike[str], content: Mapping[str, Any], lost: str = "") -> pathlib.Path:
    """Writes a JSON file, as ``replace``."""
    return write_text(path, json.dumps(content, indent=2) + "\n", lost)


def write_parquet(frame: pl.DataFrame, path: str | os.PathLike[str], lost: str = "") -> pathlib.Path:
    """Writes a table, as ``replace``, into a folder that is made if need be."""
    make_folder(paths.absolute(path).parent)
    # Made in memory: polars, where the disk ends within the last bytes, does not hand on what the system said.
    made = io.BytesIO()
    frame.write_parquet(made)
    return replace(path, lambda temporary: temporary.write_bytes(made.getbuffer()), lost)


def make_folder(path: str | os.PathLike[str]) -> pathlib.Path:
    """Makes a folder with all above it, or finds it; returns it. Raises WriteError, also where a file stands there."""
    path = paths.absolute(path)
    with writing(path, "the folder"):
        path.mkdir(parents=True, exist_ok=True)
    return path


def name_of(text: str) -> str:
    """A text as part of the name of a file: what some system refuses there is percent-encoded, and ``%`` itself."""
    return _REFUSED.sub(lambda odd: "".join(f"%{byte:02X}" for byte in odd[0].encode("utf-8", "surrogatepass")), text)


def numbered(path: pathlib.Path, number: int, suffix: str = "") -> pathlib.Path:
    """The n-th of the names ``name``, ``name-2``, ``name-3``, ...; the suffix of a file stays at the end."""
    return path if number == 1 else path.with_name(f"{path.name.removesuffix(suffix)}-{number}{suffix}")


def _number(error: Exception) -> int | None:
    """The system's number of what went wrong (``errno``); None where the error has none."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno
    found = _NUMBER.search(str(error))
    return int(found[1] or found[2]) if found else None


def _reason(number: int, path: pathlib.Path) -> tuple[str, str]:
    """What was in the way, with the place, and what the user can do about it."""
    place = path.absolute()
    if number in (errno.ENOSPC, errno.EDQUOT):
        while not os.path.ismount(place):
            place = place.parent
        what = "no space left" if number == errno.ENOSPC else "the disk quota is used up"
        return f"{what} on '{place}'", _FREE
    if number in (errno.EACCES, errno.EPERM, errno.EROFS):
        what = "is read-only" if number == errno.EROFS else "may not be written to"
        return f"'{place.parent}' {what}", _PERMIT
    if number in (errno.EEXIST, errno.ENOTDIR, errno.EISDIR):
        return f"a file or folder stands in the way of '{path}'", "Choose another name"
    return f"{os.strerror(number)}: '{path}'", "Mend that"
