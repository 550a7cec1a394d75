"""Reads NetCDF classic files (CDF-1, CDF-2, CDF-5) directly: one bounded read per block of frames.

netCDF4 is not used for them, since its C library fills missing bytes of a truncated file with zeros, trusts the sizes
in a damaged header, and may not run in a reader's thread while another thread writes. Format: "NetCDF Classic Format
Specification", Unidata, https://docs.unidata.ucar.edu/nug/current/file_format_specifications.html:

    file       = "CDF" version numrecs dimensions attributes variables data
    dimensions = 0x0A count (name length)…                          length 0 marks the dimension of records (frames)
    attributes = 0x0C count (name type count values)…
    variables  = 0x0B count (name n_dims dim_ids attributes type size begin)…
    data       = variables without records, then record by record: all variables along records

Integers are big-endian, of 4 bytes (8 for counts in CDF-5, and for begin in CDF-2 and CDF-5); names and values are
padded to 4 bytes. An empty list is two zeros.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from fluxan.errors import FileError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

#: NumPy's type of each type code.
_TYPES = {1: "i1", 2: "S1", 3: ">i2", 4: ">i4", 5: ">f4", 6: ">f8", 7: "u1", 8: ">u2", 9: ">u4", 10: ">i8", 11: ">u8"}
#: Tags of the three lists.
_DIMENSIONS, _VARIABLES, _ATTRIBUTES = 0x0A, 0x0B, 0x0C
#: Stored number of records, by its width in bytes, if the writer never wrote the actual one.
_STREAMING = {4: (1 << 32) - 1, 8: (1 << 64) - 1}


@dataclass(frozen=True, slots=True)
class Variable:
    """A variable of the header.

    Attributes
    ----------
    shape : tuple of int
        Shape of the variable, or of one frame of it.
    dtype : numpy.dtype
        Type of the stored values.
    attributes : dict
        Attributes of the variable.
    per_frame : bool
        Whether its first dimension is that of frames.
    begin : int
        Offset of its first byte in the file.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    attributes: dict[str, Any]
    per_frame: bool
    begin: int = 0

    @property
    def n_bytes(self) -> int:
        """Bytes of the variable, or of one frame of it."""
        return math.prod(self.shape) * self.dtype.itemsize


class ClassicFile:
    """Header of a NetCDF classic file, and its data block by block.

    Attributes
    ----------
    attributes : dict
        Global attributes; text as str, numbers as scalars or arrays.
    variables : dict of str to Variable
        Variables by name.
    n_frames : int
        Number of whole frames in the file.
    is_cut : bool
        Whether the file ends within a frame, or before the last frame that its header counts.

    Raises
    ------
    FileError
        The header is truncated, or contradicts itself or the file's size.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size = path.stat().st_size
        with path.open("rb") as file:
            self._header = _Header(file, self.size, path)
        header = self._header
        self.attributes = header.attributes
        self.variables = header.variables
        self._record_bytes, self._record_begin = header.record_layout()
        self.n_frames, self.is_cut = self._count_frames(header.n_records)

    def _count_frames(self, promised: int | None) -> tuple[int, bool]:
        if not self._record_bytes:
            return 0, False
        present, rest = divmod(max(self.size - self._record_begin, 0), self._record_bytes)
        if promised is None or present < promised:
            return present, rest > 0 or promised is not None
        return promised, False

    def read(self, name: str) -> np.ndarray:
        """Read a variable without frames, in native byte order."""
        variable = self.variables[name]
        if variable.begin + variable.n_bytes > self.size:
            raise FileError(f"{self.path}: file ends before its variable {name!r}")
        with self.path.open("rb") as file:
            file.seek(variable.begin)
            data = file.read(variable.n_bytes)
        return np.frombuffer(data, variable.dtype).reshape(variable.shape).astype(variable.dtype.newbyteorder("="))

    def read_frames(self, names: Sequence[str], first: int, count: int) -> dict[str, np.ndarray]:
        """Read `count` frames of some variables from frame `first` on, (count, …) each, in the file's byte order."""
        with self.path.open("rb") as file:
            file.seek(self._record_begin + first * self._record_bytes)
            data = file.read(count * self._record_bytes)
        if len(data) < count * self._record_bytes:
            raise FileError(f"{self.path}: file ends within frames {first} to {first + count - 1}")
        return {name: self._view(data, self.variables[name], count) for name in names}

    def frame_bytes(self) -> int:
        """Number of bytes of one frame, all variables together."""
        return self._record_bytes

    def _view(self, data: bytes, variable: Variable, count: int) -> np.ndarray:
        """View of one variable in the bytes of whole frames; its first stride is the size of a record."""
        inner = np.empty(variable.shape, dtype=np.uint8).strides if 0 in variable.shape else None
        strides = inner or _c_strides(variable.shape, variable.dtype.itemsize)
        offset = variable.begin - self._record_begin
        return np.ndarray((count, *variable.shape), variable.dtype, data, offset, (self._record_bytes, *strides))


def _c_strides(shape: tuple[int, ...], itemsize: int) -> tuple[int, ...]:
    return tuple(itemsize * math.prod(shape[axis + 1 :]) for axis in range(len(shape)))


class _Header:
    """Parser of the header; every count is compared with the number of bytes left before memory is allocated."""

    def __init__(self, file: BinaryIO, size: int, path: Path) -> None:
        self._file, self._size, self._path = file, size, path
        version = self._bytes(4)[3]
        self._offset = 4 if version == 1 else 8
        self._count = 8 if version == 5 else 4
        n_records = self._integer(self._count)
        self.n_records = None if n_records == _STREAMING[self._count] else n_records
        self._dimensions = [(self._name(), self._integer(self._count)) for _ in range(self._list(_DIMENSIONS, 8))]
        self.attributes = self._attributes()
        self.variables = dict(self._variable() for _ in range(self._list(_VARIABLES, 24)))

    def record_layout(self) -> tuple[int, int]:
        """Size of a record and the offset of the first one, in bytes; raises `FileError` where variables overlap."""
        records = [v for v in self.variables.values() if v.per_frame]
        if not records:
            return 0, 0
        begin = min(v.begin for v in records)
        # A single record variable is not padded to four bytes.
        size = records[0].n_bytes if len(records) == 1 else sum(_padded(v.n_bytes) for v in records)
        if any(v.begin - begin + v.n_bytes > size for v in records):
            raise self._damaged("variables overlap")
        return size, begin

    def _damaged(self, what: str) -> FileError:
        return FileError(f"{self._path}: damaged NetCDF header ({what}); was the file cut or overwritten?")

    def _bytes(self, count: int) -> bytes:
        if count > self._size - self._file.tell():
            raise self._damaged(f"{count} more bytes expected than the file has")
        data = self._file.read(count)
        if len(data) < count:
            raise self._damaged("it ends too soon")
        return data

    def _integer(self, width: int) -> int:
        return int.from_bytes(self._bytes(width), "big")

    def _list(self, tag: int, least: int) -> int:
        """Read the length of a list whose entries take at least `least` bytes each."""
        found, count = self._integer(4), self._integer(self._count)
        if found != tag and (found, count) != (0, 0):
            raise self._damaged(f"list tag {found} where {tag} belongs")
        if count * least > self._size:
            raise self._damaged(f"{count} entries")
        return count

    def _name(self) -> str:
        length = self._integer(self._count)
        return self._bytes(_padded(length))[:length].decode("utf-8", "replace")

    def _type(self) -> np.dtype:
        code = self._integer(4)
        if code not in _TYPES:
            raise self._damaged(f"unknown type {code}")
        return np.dtype(_TYPES[code])

    def _attributes(self) -> dict[str, Any]:
        return dict(self._attribute() for _ in range(self._list(_ATTRIBUTES, 12)))

    def _attribute(self) -> tuple[str, Any]:
        name, dtype, count = self._name(), self._type(), self._integer(self._count)
        data = self._bytes(_padded(count * dtype.itemsize))[: count * dtype.itemsize]
        if dtype.kind == "S":
            return name, data.decode("utf-8", "replace").rstrip("\0")
        values = np.frombuffer(data, dtype).astype(dtype.newbyteorder("="))
        return name, values[0] if count == 1 else values

    def _variable(self) -> tuple[str, Variable]:
        name, n_dimensions = self._name(), self._integer(self._count)
        if n_dimensions * self._count > self._size:
            raise self._damaged(f"{n_dimensions} dimensions")
        dimensions = [self._integer(self._count) for _ in range(n_dimensions)]
        if any(d >= len(self._dimensions) for d in dimensions):
            raise self._damaged("unknown dimension")
        attributes, dtype = self._attributes(), self._type()
        self._integer(self._count)  # the size, which follows from the shape
        begin = self._integer(self._offset)
        lengths = [self._dimensions[d][1] for d in dimensions]
        per_frame = bool(lengths) and lengths[0] == 0
        shape = tuple(lengths[1:] if per_frame else lengths)
        if 0 in shape or begin > 1 << 62:
            raise self._damaged(f"variable {name!r} has no size or place")
        return name, Variable(shape, dtype, attributes, per_frame, begin)


def _padded(n_bytes: int) -> int:
    return n_bytes + -n_bytes % 4
