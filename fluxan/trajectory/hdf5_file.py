"""NetCDF-4 and HDF5 files through netCDF4, with the methods of `fluxan.trajectory.cdf.ClassicFile`."""

from __future__ import annotations

import math
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from fluxan.errors import FileError
from fluxan.trajectory.cdf import Variable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

#: The netCDF and HDF5 C libraries are not thread-safe; every call of them holds this lock.
NETCDF_LOCK = threading.RLock()

#: Largest compression ratio of deflate: a variable larger than this times the size of the file is refused as damaged.
_LARGEST_RATIO = 1032


class Hdf5File:
    """A NetCDF-4 or HDF5 file whose frames run along each variable's first dimension.

    Attributes are those of `ClassicFile`. Stored values are returned neither scaled nor masked.

    Parameters
    ----------
    path : Path
        The file.
    frame_variables : sequence of str
        Names of the variables whose first dimension is that of frames.

    Raises
    ------
    FileError
        The file cannot be opened.
    """

    is_cut = False

    def __init__(self, path: Path, *, frame_variables: Sequence[str]) -> None:
        self.path = path
        self.attributes: dict[str, Any] = {}
        self.variables: dict[str, Variable] = {}
        with self._opened(f"{path}: the HDF5 file cannot be opened, was it cut or never closed?") as dataset:
            self._describe(dataset, frame_variables)

    @contextmanager
    def _opened(self, complaint: str) -> Iterator[Any]:
        """Open the file anew, holding the lock: HDF5 shows no frames that are appended after a file was opened."""
        import netCDF4

        try:
            with NETCDF_LOCK, netCDF4.Dataset(str(self.path), "r") as dataset:
                dataset.set_auto_maskandscale(False)
                yield dataset
        except (OSError, RuntimeError, ValueError, LookupError, AttributeError, TypeError, MemoryError) as error:
            raise FileError(f"{complaint} ({error})") from error

    def _describe(self, dataset: Any, frame_variables: Sequence[str]) -> None:
        self.attributes = {name: dataset.getncattr(name) for name in dataset.ncattrs()}
        counts = []
        for name, variable in dataset.variables.items():
            per_frame = name in frame_variables and variable.ndim > 0
            shape = tuple(variable.shape[1:] if per_frame else variable.shape)
            dtype = np.dtype(variable.dtype) if variable.dtype is not str else np.dtype(object)
            attributes = {key: variable.getncattr(key) for key in variable.ncattrs()}
            self.variables[name] = Variable(shape, dtype, attributes, per_frame)
            if self.variables[name].n_bytes > (1 << 20) + _LARGEST_RATIO * self.path.stat().st_size:
                raise ValueError(f"variable {name!r} of shape {shape} cannot fit a file of this size")
            if per_frame:
                counts.append(variable.shape[0])
        self.n_frames = min(counts, default=0)

    def read(self, name: str) -> np.ndarray:
        """Read a variable without frames."""
        with self._opened(f"{self.path}: variable {name!r} cannot be read") as dataset:
            return np.asarray(dataset.variables[name][...])

    def read_frames(self, names: Sequence[str], first: int, count: int) -> dict[str, np.ndarray]:
        """Read frames `first` … `first + count - 1` of some variables, (count, …) each."""
        with self._opened(f"{self.path}: frames {first} to {first + count - 1} cannot be read") as dataset:
            return {name: np.asarray(dataset.variables[name][first : first + count]) for name in names}

    def frame_bytes(self) -> int:
        """Bytes of one frame of all variables."""
        return sum(math.prod(v.shape) * v.dtype.itemsize for v in self.variables.values() if v.per_frame)
