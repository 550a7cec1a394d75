"""Files of a correlator's state: CDF-5, versioned, with a checksum, put in place by renaming."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fluxan.errors import FileError, OutputError

if TYPE_CHECKING:
    from collections.abc import Mapping

    import netCDF4

SCHEMA = "fluxan correlator 1"


def write_state(path: str | Path, arrays: Mapping[str, np.ndarray], attributes: Mapping[str, object]) -> None:
    """Write arrays of real or complex numbers or whole numbers; a file of that name is replaced in one step.

    Raises
    ------
    OutputError
        The folder is missing or not writable, or the disk is full.
    """
    import netCDF4

    path = Path(path)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with netCDF4.Dataset(beside, "w", format="NETCDF3_64BIT_DATA") as file:
            for name, array in arrays.items():
                _define(file, name, array)
            file.setncatts({"schema": SCHEMA, **attributes, "sha256": _checksum(arrays)})
            for name, array in arrays.items():
                if array.size:
                    file[name][...] = _as_real(array)
        with beside.open("rb") as file:
            os.fsync(file.fileno())
        beside.replace(path)
    except (OSError, RuntimeError) as error:
        beside.unlink(missing_ok=True)
        raise OutputError(f"{path} cannot be written: {getattr(error, 'strerror', None) or error}") from error


def read_state(path: str | Path) -> tuple[dict[str, np.ndarray], dict[str, object]]:
    """Read what `write_state` wrote.

    Raises
    ------
    FileError
        Missing, foreign, of another version, or cut short.
    """
    import netCDF4

    path = Path(path)
    if not path.is_file():
        raise FileError(f"{path}: no such file")
    try:
        with netCDF4.Dataset(path, "r") as file:
            file.set_auto_mask(False)
            attributes = {name: file.getncattr(name) for name in file.ncattrs()}
            known = attributes.get("schema") == SCHEMA
            arrays = {name: _read(variable) for name, variable in file.variables.items()} if known else {}
    except (OSError, RuntimeError, ValueError, AttributeError, UnicodeDecodeError) as error:
        raise FileError(f"{path} is not a correlator's file that can be read ({error})") from error
    if not known:
        found = attributes.get("schema", "none")
        raise FileError(f"{path} is not a correlator of this version of fluxan: schema {found!r}, expected {SCHEMA!r}")
    if attributes.get("sha256") != _checksum(arrays):
        raise FileError(f"{path} is cut short or damaged: its content does not match its checksum; use an earlier copy")
    return arrays, attributes


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


def _checksum(arrays: Mapping[str, np.ndarray]) -> str:
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"{name} {array.dtype} {array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
