"""Content as one binary file: what a log became, to be read back in seconds, bit for bit.

Blocks of numbers and of raw ids, then a header in JSON that says where they lie, its length, and a SHA-256 of it all.
Numbers that ascend are kept as their steps, and whole ones in as few bytes as they need.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import pathlib
from typing import Any

import numpy as np
import polars as pl

from mbjax.data import content, moments, vocabulary

_END = 8 + hashlib.sha256().digest_size


def write(source: content.Content, path: pathlib.Path) -> None:
    """Writes content.

    Raises:
      OSError, PolarsError: it cannot be written.
    """
    with path.open("wb") as file:
        out = _Writer(file)
        header = {
            "name": source.name,
            "num_users": source.num_users,
            "num_items": source.num_items,
            "behaviors": source.behaviors,
            "keys": {split: {b: out.steps(keys) for b, keys in of.items()} for split, of in source.keys.items()},
            "users": out.ids(source.users),
            "items": out.ids(source.items),
            "notes": source.notes,
            "lost_valid_file": source.lost_valid_file,
            "hold_out": {b: out.steps(keys) for b, keys in source.hold_out.items()},
            "dropped": [
                {"what": d.what, "field": d.field, "ids": out.ids(d.ids), "value": d.value, "why": d.why}
                for d in source.dropped
            ],
            "empty": source.empty,
            "repeats": source.repeats,
            "events": {
                split: {b: [out.steps(m.keys), out.steps(m.ptr), out.seconds(m.seconds)] for b, m in of.items()}
                for split, of in source.events.items()
            },
        }
        text = json.dumps(header).encode()
        out.put(text)
        out.put(len(text).to_bytes(8, "little"))
        file.write(out.digest.digest())


def read(path: pathlib.Path) -> content.Content:
    """Reads what ``write`` wrote.

    Raises:
      OSError: the file cannot be read.
      ValueError: it is not as it was written.
    """
    raw = memoryview(path.read_bytes())
    if len(raw) < _END or hashlib.sha256(raw[: -_END + 8]).digest() != raw[-_END + 8 :]:
        raise ValueError(f"{path}: is not as it was written")
    size = int.from_bytes(raw[-_END : -_END + 8], "little")
    header = json.loads(bytes(raw[-_END - size : -_END]))
    found = _Reader(raw)
    return content.Content(
        **{field: header[field] for field in ("name", "num_users", "num_items", "lost_valid_file", "empty")},
        behaviors=tuple(header["behaviors"]),
        keys={split: {b: found.steps(at) for b, at in of.items()} for split, of in header["keys"].items()},
        users=found.ids(header["users"]),
        items=found.ids(header["items"]),
        notes=tuple(header["notes"]),
        hold_out={b: found.steps(at) for b, at in header["hold_out"].items()},
        dropped=tuple(content.Dropped(**d | {"ids": found.ids(d["ids"])}) for d in header["dropped"]),
        repeats={b: tuple(numbers) for b, numbers in header["repeats"].items()},
        events={
            split: {
                b: moments.Moments(found.steps(keys), found.steps(ptr), found.seconds(seconds))
                for b, (keys, ptr, seconds) in of.items()
            }
            for split, of in header["events"].items()
        },
    )


@dataclasses.dataclass
class _Writer:
    """Writes blocks; each is known by where it begins and ends, its type, and the number to begin from."""

    file: Any
    digest: Any = dataclasses.field(default_factory=hashlib.sha256)
    _steps: list[tuple[np.ndarray, list]] = dataclasses.field(default_factory=list)

    def put(self, block) -> list[int]:
        begin = self.file.tell()
        self.file.write(block)
        self.digest.update(block)
        return [begin, self.file.tell()]

    def _array(self, numbers: np.ndarray) -> list:
        return [*self.put(np.ascontiguousarray(numbers).data.cast("B") if numbers.size else b""), numbers.dtype.str]

    def steps(self, numbers: np.ndarray) -> list:
        """Int64 [n], ascending. What was written before is pointed at: events are of the pairs of their split."""
        for other, at in self._steps:
            if np.array_equal(other, numbers):
                return at
        step = np.diff(numbers)
        first = int(numbers[0]) if numbers.size else 0
        at = [*self._array(step.astype(np.min_scalar_type(int(step.max(initial=0))))), first, numbers.size]
        self._steps.append((numbers, at))
        return at

    def seconds(self, numbers: np.ndarray) -> list:
        """Float64 [n]."""
        least = float(numbers.min(initial=np.inf))
        small = (numbers - least).astype(np.uint32) if numbers.size and numbers.max() - least < 2**32 else None
        # Bit for bit, or as they are: also a zero below zero.
        if small is None or not np.array_equal((small + least).view(np.int64), numbers.view(np.int64)):
            return [*self._array(numbers), None]
        return [*self._array(small), least]

    def ids(self, ids: vocabulary.Vocabulary) -> list[int]:
        made = io.BytesIO()
        ids.series.to_frame().write_ipc(made)
        return self.put(made.getbuffer())


@dataclasses.dataclass
class _Reader:
    """Reads the blocks of a file."""

    raw: memoryview
    _steps: dict[int, np.ndarray] = dataclasses.field(default_factory=dict)

    def _array(self, begin: int, end: int, kind: str) -> np.ndarray:
        return np.frombuffer(self.raw[begin:end], np.dtype(kind))

    def steps(self, at: list) -> np.ndarray:
        *where, first, size = at
        if (place := tuple(at)) not in self._steps:
            numbers = np.empty(size, np.int64)
            numbers[:1] = first
            np.cumsum(self._array(*where), dtype=np.int64, out=numbers[1:])
            numbers[1:] += first
            self._steps[place] = numbers
        return self._steps[place]

    def seconds(self, at: list) -> np.ndarray:
        *where, least = at
        found = self._array(*where).astype(np.float64)
        return found if least is None else found + least

    def ids(self, at: list[int]) -> vocabulary.Vocabulary:
        return vocabulary.Vocabulary(pl.read_ipc(io.BytesIO(self.raw[at[0] : at[1]]))["raw_id"])
