"""NetCDF-4 and HDF5 files through netCDF4, behind the same few methods as `fluxan.trajectory.cdf.ClassicFile`."""

from __future__ import annotations

import math
import threading
from typing import TYPE_CHECKING

import numpy as np

from fluxan.errors import FileError
from fluxan.trajectory.cdf import Variable

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

#: The netCDF and HDF5 C libraries may not be entered by two threads at once; whoever calls them holds this.
NETCDF_LOCK = threading.RLock()


class Hdf5File:
    """A NetCDF-4 or HDF5 file whose frames run along each variable's first dimension.

    Attributes are those of `ClassicFile`. Stored values are given as they are: neither scaled nor masked.
    """

    is_cut = False

    def __init__(self, path: Path, *, frame_variables: Sequence[str]) -> None:
        import netCDF4

        self.path = path
        try:
            with NETCDF_LOCK:
                self._dataset = netCDF4.Dataset(str(path), "r")
                self._dataset.set_auto_maskandscale(False)
                self._describe(frame_variables)
        except (OSError, RuntimeError, ValueError, AttributeError, KeyError, IndexError) as error:
            raise FileError(f"{path}: the HDF5 file cannot be opened ({error}); was it cut or never closed?") from error

    def _describe(self, frame_variables: Sequence[str]) -> None:
        dataset = self._dataset
        self.attributes = {name: dataset.getncattr(name) for name in dataset.ncattrs()}
        self.variables = {}
        counts = []
        for name, variable in dataset.variables.items():
            per_frame = name in frame_variables and variable.ndim > 0
            shape = tuple(variable.shape[1:] if per_frame else variable.shape)
            dtype = np.dtype(variable.dtype) if variable.dtype is not str else np.dtype(object)
            attributes = {key: variable.getncattr(key) for key in variable.ncattrs()}
            self.variables[name] = Variable(shape, dtype, attributes, per_frame)
            if per_frame:
                counts.append(variable.shape[0])
        self.n_frames = min(counts, default=0)

    def read(self, name: str) -> np.ndarray:
        """A variable without frames."""
        with self._reading(name), NETCDF_LOCK:
            return np.asarray(self._dataset.variables[name][...])

    def read_frames(self, names: Sequence[str], first: int, count: int) -> dict[str, np.ndarray]:
        """Frames `first` … `first + count - 1` of some variables, (count, …) each."""
        found = {}
        for name in names:
            with self._reading(name), NETCDF_LOCK:
                found[name] = np.asarray(self._dataset.variables[name][first : first + count])
        return found

    def frame_bytes(self) -> int:
        """Bytes of one frame of all variables."""
        return sum(math.prod(v.shape) * v.dtype.itemsize for v in self.variables.values() if v.per_frame)

    def _reading(self, name: str) -> _Reading:
        return _Reading(f"{self.path}: variable {name!r} cannot be read")


class _Reading:
    """Context manager that turns the C library's errors into `FileError`."""

    def __init__(self, message: str) -> None:
        self._message = message

    def __enter__(self) -> None:
        """Nothing to prepare."""

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        """Raise again as a file error."""
        if isinstance(error, OSError | RuntimeError | ValueError | IndexError | MemoryError):
            raise FileError(f"{self._message} ({error})") from error
