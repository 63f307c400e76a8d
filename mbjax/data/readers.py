"""Reads integer text files strictly: pairs ``user item``, and adjacency lists ``user item item ...``.

Columns are separated by blanks or tabs, lines end with LF or CRLF, files may be gzipped (told by their first bytes or
the suffix ``.gz``). Lines of blanks only are skipped. Everything else that is not as it should be is a ``DataError``
that names the file and the line.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import pathlib
import re
import stat
import zipfile
import zlib

import numpy as np

from mbjax import errors

MAX_ID = np.iinfo(np.int32).max
_SEPARATORS = b" \t\r\n"


def read_bytes(path: str | os.PathLike) -> bytes:
    """The bytes of a file or pipe, decompressed if they are packed by gzip, bzip2, xz, or as the one file of a zip.

    Raises:
      DataError: the file is missing or unreadable, its stream is cut off or damaged, or it is packed otherwise.
    """
    path = pathlib.Path(path)
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise errors.DataError(f"{path}: cannot be read ({error.strerror or error}).") from error
    kind = _packing(path, raw)
    if kind is None:
        return raw
    if not raw:
        raise errors.DataError(f"{path}: is empty, which no {kind} file is. Fetch or write it again.")
    if kind in _UNREAD:
        raise errors.DataError(f"{path}: is packed by {kind}, which is not read. Unpack it first: {_UNREAD[kind]}.")
    try:
        return _unzipped(path, raw) if kind == "zip" else _UNPACK[kind](raw)
    except (
        ValueError,
        EOFError,
        zlib.error,
        OSError,
        lzma.LZMAError,
        zipfile.BadZipFile,
        NotImplementedError,
        RuntimeError,
    ) as error:
        raise errors.DataError(f"{path}: the {kind} stream is cut off or damaged ({error}). Fetch it again.") from error


def is_plain(path: pathlib.Path) -> bool:
    """Whether a path is a file that can be read and is not packed, so that it need not be read as a whole."""
    if not path.is_file():
        return False
    try:
        with path.open("rb") as file:
            head = file.read(16)
    except OSError:
        return False
    return bool(head) and _packing(path, head) is None


_MAGIC = {
    "gzip": (b"\x1f\x8b", ".gz"),
    "bzip2": (b"BZh", ".bz2"),
    "xz": (b"\xfd7zXZ\0", ".xz"),
    "zip": (b"PK\x03\x04", ".zip"),
    "zstd": (b"\x28\xb5\x2f\xfd", ".zst"),
    "lz4": (b"\x04\x22\x4d\x18", ".lz4"),
    "7z": (b"7z\xbc\xaf\x27\x1c", ".7z"),
}
"""How packed files begin, and the suffixes that they have."""
SUFFIXES = tuple(suffix for _, suffix in _MAGIC.values())
_UNPACK = {"gzip": gzip.decompress, "bzip2": bz2.decompress, "xz": lzma.decompress}
_UNREAD = {"zstd": "zstd -d FILE", "lz4": "lz4 -d FILE", "7z": "7z x FILE"}


def _packing(path: pathlib.Path, raw: bytes) -> str | None:
    for kind, (magic, suffix) in _MAGIC.items():
        # "BZh" may be how a text begins: a stream of bzip2 goes on with a digit and its mark of a block.
        if raw.startswith(magic) and (kind != "bzip2" or raw[4:10] in (b"1AY&SY", b"\x17rE8P\x90")):
            return kind
        if path.suffix.lower() == suffix and kind in _UNPACK:
            return kind
    return None


def _unzipped(path: pathlib.Path, raw: bytes) -> bytes:
    with zipfile.ZipFile(io.BytesIO(raw)) as packed:
        files = [
            entry for entry in packed.infolist() if not entry.is_dir() and not entry.filename.startswith("__MACOSX")
        ]
        if len(files) != 1:
            raise errors.DataError(f"{path}: holds {len(files)} files, expected one. Unpack it, and name the file.")
        return packed.read(files[0])


def is_pipe(path: pathlib.Path) -> bool:
    """Whether a path is a pipe, such as the shell's ``<(command)``: it can be read once."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISCHR(mode) or stat.S_ISSOCK(mode)


def read_pairs(path: str | os.PathLike, *, base: int = 0, num_users=None, num_items=None) -> np.ndarray:
    """Reads lines ``user item``.

    Args:
      base: the smallest id, 0 or 1.
      num_users, num_items: U and I; ids beyond them are errors. None allows ids up to 2^31 - 1.

    Returns:
      0-based pairs, int64 [n, 2], in file order, duplicates included.

    Raises:
      DataError: naming file and line: not UTF-8, not a whole number, negative, too large, or not two columns.
    """
    rows, lines = _table(pathlib.Path(path), 2, "two: user and item")
    pairs = rows - base
    _check_range(path, pairs[:, 0], lines, base, num_users, "user")
    _check_range(path, pairs[:, 1], lines, base, num_items, "item")
    return pairs


def read_events(path: str | os.PathLike, *, num_users=None, num_items=None) -> np.ndarray:
    """Reads lines ``user item seconds``, ids from 0 on: int64 [3, n], in file order; otherwise as ``read_pairs``."""
    rows, lines = _table(pathlib.Path(path), 3, "three: user, item and seconds")
    _check_range(path, rows[:, 0], lines, 0, num_users, "user")
    _check_range(path, rows[:, 1], lines, 0, num_items, "item")
    return rows.T


def _table(path: pathlib.Path, width: int, expected: str) -> tuple[np.ndarray, np.ndarray]:
    """Numbers [n, width] and the lines [n] on which they stand."""
    values, lines = _numbers(path)
    per_line = np.bincount(lines) if lines.size else np.zeros(0, np.int64)
    wrong = np.flatnonzero((per_line != 0) & (per_line != width))
    if wrong.size:
        columns = int(per_line[wrong[0]])
        raise errors.DataError(f"{path}, line {wrong[0]}: {columns} column{'s' * (columns != 1)}, expected {expected}.")
    return values.reshape(-1, width), lines[::width]


def read_adjacency(path: str | os.PathLike, *, base: int = 0, num_users=None, num_items=None) -> np.ndarray:
    """Reads lines ``user item item ...``; a line with a user alone gives no pair. Otherwise as ``read_pairs``."""
    path = pathlib.Path(path)
    values, lines = _numbers(path)
    values = values - base
    is_user = np.ones(values.size, dtype=bool)
    is_user[1:] = lines[1:] != lines[:-1]
    row = np.cumsum(is_user) - 1
    users = values[is_user]
    _check_range(path, users, lines[is_user], base, num_users, "user")
    _check_range(path, values[~is_user], lines[~is_user], base, num_items, "item")
    return np.stack([users[row[~is_user]], values[~is_user]], axis=1) if values.size else np.empty((0, 2), np.int64)


def _numbers(path: pathlib.Path) -> tuple[np.ndarray, np.ndarray]:
    """All whole numbers of a file and the 1-based lines on which they stand."""
    raw = read_bytes(path)
    chars = np.frombuffer(raw, dtype=np.uint8)
    is_digit = (chars >= ord("0")) & (chars <= ord("9"))
    is_space = np.isin(chars, np.frombuffer(_SEPARATORS, dtype=np.uint8))
    strange = np.flatnonzero(~(is_digit | is_space))
    if strange.size:
        raise _strange(path, raw, int(strange[0]))
    edges = np.diff(np.concatenate([[False], is_digit, [False]]).astype(np.int8))
    starts, ends = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
    newlines = np.flatnonzero(chars == ord("\n"))
    lines = np.searchsorted(newlines, starts) + 1
    lengths = ends - starts
    too_long = np.flatnonzero(lengths > 18)
    if too_long.size:
        at = too_long[0]
        text = raw[starts[at] : ends[at]].decode()
        raise errors.DataError(f"{path}, line {lines[at]}: '{_short(text)}' is larger than any id can be ({MAX_ID}).")
    values = np.zeros(starts.size, dtype=np.int64)
    for position in range(int(lengths.max(initial=0))):
        here = lengths > position
        values[here] = values[here] * 10 + (chars[starts[here] + position] - ord("0"))
    return values, lines


def _strange(path: pathlib.Path, raw: bytes, at: int) -> errors.DataError:
    """Says what stands at the first byte that is neither digit nor separator."""
    start = raw.rfind(b"\n", 0, at) + 1
    line = raw.count(b"\n", 0, at) + 1
    end = raw.find(b"\n", at)
    text = raw[start : end if end >= 0 else len(raw)]
    try:
        shown = text.decode("utf-8")
    except UnicodeDecodeError as error:
        return errors.DataError(
            f"{path}, line {line}: not UTF-8 (byte 0x{text[error.start]:02x}). Expected lines of whole numbers."
        )
    # Not str.split(): that also splits at control characters, which are no separators here.
    word = next(w for w in re.split(r"[ \t\r]+", shown) if w and not (w.isascii() and w.isdigit()))
    word = word if word.isprintable() else ascii(word)[1:-1]
    kind = "is negative; ids are" if word.startswith("-") and word[1:].isdigit() else "is not a whole number; expected"
    return errors.DataError(
        f"{path}, line {line}: '{_short(word)}' {kind} numbers from 0 on, separated by blanks or tabs."
    )


def _check_range(path, ids: np.ndarray, lines: np.ndarray, base: int, size: int | None, what: str) -> None:
    limit = MAX_ID + 1 - base if size is None else size
    wrong = np.flatnonzero((ids < 0) | (ids >= limit))
    if wrong.size:
        value = ids[wrong[0]] + base
        raise errors.DataError(
            f"{path}, line {lines[wrong[0]]}: {what} {value} is out of range; ids go from {base} to {limit + base - 1}."
        )


def _short(text: str) -> str:
    return text if len(text) <= 30 else f"{text[:27]}..."
