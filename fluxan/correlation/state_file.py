"""Files of a correlator's state: NetCDF (CDF-5) with a version and a checksum, replaced atomically.

Global attributes::

    schema = "fluxan correlator 1"
    checksum = "sha256:<64 hexadecimal digits>"
    settings = '{"layout": {"scheme": "linear", ...}, "start": 0}'
"""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fluxan.errors import FileError
from fluxan.replacement import replacing

if TYPE_CHECKING:
    from collections.abc import Mapping

    import netCDF4

SCHEMA = "fluxan correlator 1"
#: Prefix of the checksum, and its placeholder. The checksum is that of the file with the placeholder in its place, so
#: that it can be verified before anything is parsed.
_MARK = b"sha256:"
_BLANK = b"0" * 64
#: Number of bytes at the beginning of a file that must contain the schema.
_HEAD = 1 << 16


def write_state(path: str | Path, arrays: Mapping[str, np.ndarray], attributes: Mapping[str, object]) -> None:
    """Write a file; an existing one is replaced atomically.

    Parameters
    ----------
    path : str or Path
        File to write.
    arrays : mapping of str to array
        Arrays to write, integer, real or complex.
    attributes : mapping
        Further global attributes.

    Raises
    ------
    OutputError
        The folder is missing or not writable, or the disk is full.
    """
    import netCDF4

    path = Path(path)
    with replacing(path, failures=(RuntimeError,)) as unfinished:
        with netCDF4.Dataset(unfinished, "w", format="NETCDF3_64BIT_DATA") as file:
            for name, array in arrays.items():
                _define(file, name, array)
            file.setncatts({"schema": SCHEMA, "checksum": (_MARK + _BLANK).decode(), **attributes})
            for name, array in arrays.items():
                if array.size:
                    file[name][...] = _as_real(array)
        _seal(unfinished)


def read_state(path: str | Path) -> tuple[dict[str, np.ndarray], dict[str, object]]:
    """Read a file written by `write_state`.

    Returns
    -------
    arrays : dict of str to array
        Arrays of the file.
    attributes : dict
        Global attributes of the file.

    Raises
    ------
    FileError
        The file is missing, truncated, of another version, or not a correlator's.
    """
    import netCDF4

    path = Path(path)
    if not path.is_file():
        raise FileError(f"{path}: no such file")
    try:
        _verify(path)
        with netCDF4.Dataset(path, "r") as file:
            file.set_auto_mask(False)
            attributes = {name: file.getncattr(name) for name in file.ncattrs()}
            return {name: _read(variable) for name, variable in file.variables.items()}, attributes
    except FileError:
        raise
    except (OSError, RuntimeError) as error:
        raise FileError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from error


def is_state_file(path: str | Path) -> bool:
    """Whether a file holds a correlator's state, of any version."""
    with Path(path).open("rb") as file:
        return _schema(file.read(_HEAD)) is not None


def with_prefix(arrays: Mapping[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    """Arrays whose names begin with a prefix, by the rest of the name."""
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}


def _schema(content: bytes) -> str | None:
    match = re.search(rb"fluxan correlator \d+", content) if content.startswith(b"CDF\x05") else None
    return match.group().decode() if match else None


def _seal(path: Path) -> None:
    """Put the checksum into a complete file and flush it to disk."""
    content = path.read_bytes()
    at = content.index(_MARK) + len(_MARK)
    with path.open("r+b") as file:
        file.seek(at)
        file.write(hashlib.sha256(content).hexdigest().encode())
        file.flush()
        os.fsync(file.fileno())


def _verify(path: Path) -> None:
    """Check schema and checksum of a file before it is parsed."""
    content = path.read_bytes()
    schema = _schema(content) or "none"
    if schema != SCHEMA:
        raise FileError(f"{path} is not a correlator of this version of fluxan: schema {schema!r}, expected {SCHEMA!r}")
    before, _, after = content.partition(_MARK)
    unsealed = before + _MARK + _BLANK + after[len(_BLANK) :]
    if hashlib.sha256(unsealed).hexdigest().encode() != after[: len(_BLANK)]:
        raise FileError(f"{path} is cut short or damaged: it does not match its checksum; use an earlier copy")


def _define(file: netCDF4.Dataset, name: str, array: np.ndarray) -> None:
    real = _as_real(array)
    dimensions = []
    for size in real.shape if real.size else ():  # a dimension of size zero would be the unlimited one
        dimension = f"n{size}"
        if dimension not in file.dimensions:
            file.createDimension(dimension, size)
        dimensions.append(dimension)
    variable = file.createVariable(name, real.dtype, dimensions)
    variable.setncatts({"dtype": str(array.dtype), "shape": np.array(array.shape or [0], dtype=np.int64)})


def _read(variable: netCDF4.Variable) -> np.ndarray:
    dtype, shape = np.dtype(variable.getncattr("dtype")), np.atleast_1d(variable.getncattr("shape"))
    if 0 in shape:
        return np.zeros(shape, dtype=dtype)
    values = np.ascontiguousarray(variable[...])
    return values.view(dtype).reshape(shape)


def _as_real(array: np.ndarray) -> np.ndarray:
    array = np.ascontiguousarray(array)
    return array[..., None].view(np.float64) if np.iscomplexobj(array) else array
