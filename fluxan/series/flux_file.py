"""A flux Dataset as a NetCDF file that grows while a job runs.

Files are CDF-5 (``NETCDF3_64BIT_DATA``), since HDF5-based files can become unreadable when their writer is killed. For
each chunk, every variable is written, `time` last, and the file is synced; only then is `complete_frames` raised, and
the file synced again. netCDF-C flushes pages and the number of records in no fixed order: without the count, in three
of six tests that killed 400 writers each, some records had a time but no flux.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fluxan.errors import FileError, InputError, OutputError
from fluxan.replacement import replacing
from fluxan.series.flux_dataset import open_flux
from fluxan.series.schema import INTEGER, SCHEMA, VARIABLES, dtype_of
from fluxan.trajectory.hdf5_file import NETCDF_LOCK

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

#: Upper bound of the size of a header, bytes.
HEADER_BYTES = 65_536


def check_output(output: str | Path | None, *, resume: bool, overwrite: bool) -> Path | None:
    """Check, before any work is done, that the output can be written; return its path.

    Raises
    ------
    InputError
        Settings exclude each other.
    OutputError
        It exists and is neither to be resumed nor overwritten, or its folder is missing or not writable.
    """
    if resume and overwrite:
        raise InputError("resume and overwrite exclude each other: continue the output, or replace it")
    if output is None:
        if resume:
            raise InputError("resume=True needs output=, the file to continue")
        return None
    path = Path(output)
    if path.is_dir() or not path.parent.is_dir():
        raise OutputError(f"{path} cannot be written: {'it is a folder' if path.is_dir() else 'no such folder'}")
    if path.exists() and not (resume or overwrite):
        raise OutputError(f"{path} exists; resume it, overwrite it, or give another output")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise OutputError(f"{path} cannot be written: permission denied")
    return path


def change_attributes(path: Path, attributes: Mapping[str, float]) -> None:
    """Change numbers among the attributes of a file that nothing else has open."""
    import netCDF4

    with NETCDF_LOCK, netCDF4.Dataset(path, "r+") as file:
        file.setncatts(dict(attributes))


class FluxFile:
    """A flux file that is being written, or continued.

    Parameters
    ----------
    path : Path
        Path of the file.
    labels : sequence of str
        Names of the groups.
    identity : mapping
        Attributes that identify the job; a job may only continue a file with the same ones.
    chunk : int
        Frames per chunk.
    """

    def __init__(self, path: str | Path, labels: Sequence[str], identity: Mapping[str, object], chunk: int) -> None:
        self.path = Path(path)
        self.labels = tuple(labels)
        self.identity = dict(identity)
        self.chunk = chunk
        self.n_frames = 0
        self._file: Any = None

    def create(self, attributes: Mapping[str, object]) -> None:
        """Create a file with further attributes; it is renamed to its final name once its header is complete.

        Raises
        ------
        OutputError
            The folder is missing or not writable.
        """
        import netCDF4

        with replacing(self.path) as unfinished:
            _reserve(unfinished, HEADER_BYTES)
            with NETCDF_LOCK, netCDF4.Dataset(unfinished, "w", format="NETCDF3_64BIT_DATA") as file:
                _define(file, self.labels, self.identity | dict(attributes))
        self._open()

    def resume(self, *, frames: int | None = None, total: int | None = None) -> int:
        """Continue an existing file after its last whole chunk, or after `frames`; returns how many frames stay.

        A file that already has all `total` frames of the job is kept as it is.

        Raises
        ------
        OutputError
            The file is of another kind, or was begun with another model, trajectory or setting.
        """
        try:
            dataset = open_flux(self.path)
        except FileError as error:
            raise OutputError(f"cannot resume: {error}") from error
        with dataset:
            for name, mine in self.identity.items():
                theirs = dataset.attrs.get(name)
                if theirs != mine:
                    raise OutputError(
                        f"cannot resume {self.path}: it was begun with {name} = {theirs!r}, this job has {mine!r}; "
                        "give another output, or overwrite it"
                    )
            there = dataset.sizes["time"]
        whole = there if there == total else there // self.chunk * self.chunk
        self.n_frames = whole if frames is None else frames
        if self.n_frames > there:
            raise OutputError(f"cannot resume {self.path}: it holds {there} frames, {frames} were expected")
        self._open()
        return self.n_frames

    def annotate(self, attributes: Mapping[str, Any]) -> None:
        """Change attributes that the continued file already has; adding new ones could move its data."""
        with NETCDF_LOCK:
            there = {name: self._file.getncattr(name) for name in self._file.ncattrs()}
            changed = {
                name: value for name, value in attributes.items() if not np.array_equal(there.get(name, value), value)
            }
            if changed:
                self._file.setncatts(changed)
                self._file.sync()

    def frame_sha256(self, frame: int) -> int:
        """First 64 bits of the SHA-256 stored for a frame."""
        return int(self._file["frame_sha256"][frame])

    def write(self, columns: Mapping[str, np.ndarray]) -> None:
        """Append one chunk and sync it to disk.

        Raises
        ------
        OutputError
            The disk is full or no longer available.
        """
        start, stop = self.n_frames, self.n_frames + len(columns["time"])
        try:
            _reserve(self.path, sum(columns[name].nbytes for name in VARIABLES))
            # The reader's thread may be calling the netCDF library too, which is not thread-safe.
            with NETCDF_LOCK:
                for name in VARIABLES:
                    self._file[name][start:stop] = columns[name]
                self._file.sync()
                self._file["complete_frames"][...] = stop
                self._file.sync()
        except (OSError, RuntimeError) as error:
            reason = getattr(error, "strerror", None) or error
            raise OutputError(
                f"{self.path}: frames {start} to {stop - 1} could not be written ({reason}); "
                f"make room and resume, {start} frames are safe"
            ) from error
        self.n_frames = stop

    def close(self) -> None:
        """Close the file; harmless when it is closed already."""
        with NETCDF_LOCK:
            if self._file is not None and self._file.isopen():
                self._file.close()

    def _open(self) -> None:
        import netCDF4

        try:
            with NETCDF_LOCK:
                self._file = netCDF4.Dataset(self.path, "r+")
        except OSError as error:
            raise OutputError(f"{self.path} cannot be written: {error.strerror or error}") from error
        self._file.set_auto_mask(False)


def _reserve(path: Path, n_bytes: int) -> None:
    """Reserve disk space: netCDF-C crashes the process on closing if a write fails because the disk is full.

    Space reserved beyond the present end is not wasted: later records fill it.
    """
    if hasattr(os, "posix_fallocate"):
        with path.open("ab") as file:
            os.posix_fallocate(file.fileno(), file.tell(), n_bytes)


def _define(file: Any, labels: Sequence[str], attributes: Mapping[str, object]) -> None:
    file.createDimension("time", None)
    names = {"owner": list(labels), "carrier": list(labels), "xyz": list("xyz")}
    for name, entries in names.items():
        encoded = [entry.encode() for entry in entries]
        width = max(map(len, encoded))
        file.createDimension(name, len(entries))
        file.createDimension(f"{name}_length", width)
        variable = file.createVariable(name, "S1", (name, f"{name}_length"))
        variable.setncattr("_Encoding", "utf-8")
        variable[:] = np.array(entries)
    file.createVariable("complete_frames", np.int64)[...] = 0
    for name, (dims, unit, long_name) in VARIABLES.items():
        fill = None if name in INTEGER else np.nan
        variable = file.createVariable(name, dtype_of(name), dims, fill_value=fill)
        variable.setncatts({"units": unit, "long_name": long_name})
    if attributes.get("time_unit") == "frame":
        file["time"].setncattr("units", "frame")
    file.setncatts({"schema": SCHEMA, "Conventions": "CF-1.8", **attributes})
