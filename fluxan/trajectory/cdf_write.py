"""Writes NetCDF classic files (CDF-2, 64-bit offsets) frame by frame.

netCDF4 is not used for them, since its C library crashes the process when it closes a file on a full disk, and may not
run while another thread reads. Format: see `fluxan.trajectory.cdf`.
"""

from __future__ import annotations

import math
import struct
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

#: Type code and stored dtype of each dtype.
_CODES = {"S1": (2, "S1"), "i4": (4, ">i4"), "f4": (5, ">f4"), "f8": (6, ">f8")}
_DIMENSIONS, _VARIABLES, _ATTRIBUTES = 0x0A, 0x0B, 0x0C
#: Stands for the number of frames while the file is written: readers then compute it from the file's size.
_STREAMING = b"\xff\xff\xff\xff"


class ClassicWriter:
    """A NetCDF classic file that grows by whole frames.

    Parameters
    ----------
    path : Path
        File to write; replaced if it exists.
    dimensions : mapping of str to int
        Length of each dimension, by name.
    attributes : mapping
        Global attributes: text, or integers.
    constants : mapping of str to (dimensions, values)
        Variables that are the same for all frames: dimensions and values.
    per_frame : mapping of str to (type, dimensions, unit)
        Variables along the dimension ``frame``, whose type is f4 or f8.

    Raises
    ------
    OSError
        The file cannot be written.
    """

    def __init__(
        self,
        path: Path,
        *,
        dimensions: Mapping[str, int],
        attributes: Mapping[str, Any],
        constants: Mapping[str, tuple[tuple[str, ...], np.ndarray]],
        per_frame: Mapping[str, tuple[str, tuple[str, ...], str]],
    ) -> None:
        self.n_frames = 0
        self._sizes = {"frame": 0, **dimensions}
        self._per_frame = {
            name: (np.dtype(_CODES[kind][1]), tuple(dimensions[d] for d in names))
            for name, (kind, names, _) in per_frame.items()
        }
        header = self._header(attributes, constants, per_frame)
        self._file = path.open("wb")
        self._file.write(header)
        for _, values in constants.values():
            data = np.ascontiguousarray(values, _stored(values)).tobytes()
            self._file.write(data + b"\0" * (-len(data) % 4))

    def write(self, values: Mapping[str, Any]) -> None:
        """Append a frame, given an array for every variable of `per_frame`."""
        parts = []
        for name, (dtype, shape) in self._per_frame.items():
            array = np.asarray(values[name])
            if array.shape != shape:
                raise ValueError(f"{name} has shape {array.shape}, expected {shape}")
            parts.append(array.astype(dtype).tobytes())
        self._file.write(b"".join(parts))
        self.n_frames += 1

    def close(self) -> None:
        """Write the number of frames into the header, and close the file."""
        if self._file.closed:
            return
        try:
            self._file.flush()
            self._file.seek(4)
            self._file.write(struct.pack(">I", self.n_frames))
        finally:
            self._file.close()

    def _header(self, attributes: Mapping[str, Any], constants: Mapping, per_frame: Mapping) -> bytes:
        """Bytes of the header; formed twice, since it holds the offsets of variables, which depend on its length."""
        shapes = [(name, ("frame", *names), kind, {"units": unit}) for name, (kind, names, unit) in per_frame.items()]
        fixed: list[tuple[str, tuple[str, ...], str, dict]] = [
            (name, names, _kind(values), {}) for name, (names, values) in constants.items()
        ]
        begin = 0
        for _ in range(2):
            place, entries = begin, []
            for name, names, kind, notes in [*fixed, *shapes]:
                entry, size = self._variable(name, names, kind, notes, place)
                entries.append(entry)
                place += size
            dimensions = [_name(name) + struct.pack(">I", length) for name, length in self._sizes.items()]
            head = b"CDF\x02" + _STREAMING + _list(_DIMENSIONS, dimensions) + _attributes(attributes)
            header = head + _list(_VARIABLES, entries)
            begin = len(header)
        return header

    def _variable(
        self, name: str, names: tuple[str, ...], kind: str, notes: Mapping[str, Any], place: int
    ) -> tuple[bytes, int]:
        code, stored = _CODES[kind]
        order = list(self._sizes)
        size = math.prod(self._sizes[n] for n in names if n != "frame") * np.dtype(stored).itemsize
        size += -size % 4
        entry = _name(name) + struct.pack(f">I{len(names)}I", len(names), *(order.index(n) for n in names))
        return entry + _attributes(notes) + struct.pack(">IIQ", code, min(size, 0xFFFFFFFF), place), size


def _kind(values: np.ndarray) -> str:
    return {"S": "S1", "i": "i4", "f": "f8"}[values.dtype.kind]


def _stored(values: np.ndarray) -> np.dtype:
    return np.dtype(_CODES[_kind(values)][1])


def _name(text: str) -> bytes:
    data = text.encode()
    return struct.pack(">I", len(data)) + data + b"\0" * (-len(data) % 4)


def _list(tag: int, entries: list[bytes]) -> bytes:
    return struct.pack(">II", tag if entries else 0, len(entries)) + b"".join(entries)


def _attributes(attributes: Mapping[str, Any]) -> bytes:
    return _list(_ATTRIBUTES, [_attribute(name, value) for name, value in attributes.items()])


def _attribute(name: str, value: Any) -> bytes:
    if isinstance(value, str):
        code, data, count = 2, value.encode(), len(value.encode())
    else:
        code, data, count = 4, np.asarray(value, ">i4").tobytes(), np.size(value)
    return _name(name) + struct.pack(">II", code, count) + data + b"\0" * (-len(data) % 4)
