"""Writes fluxes as they are computed: to memory, to a growing NetCDF file, or into a correlator."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

import numpy as np

from fluxan.errors import InputError
from fluxan.series.flux_dataset import open_flux, to_xarray
from fluxan.series.flux_file import FluxFile
from fluxan.series.schema import FrameFlux, stack

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    import xarray

    from fluxan.correlation import Correlator
    from fluxan.system import Flux

#: Largest number of atoms × frames, and of frames, per chunk. A killed job loses at most one, seconds of work.
CHUNK_ATOMS = 200_000
CHUNK_FRAMES = 100
#: Time in s after which single fluxes are written even if the chunk is not full, so that a running job can be watched.
MAX_DELAY: Final = 5.0


def frames_per_chunk(n_atoms: int, *, least: int = 1) -> int:
    """Frames that are written together."""
    return max(least, min(CHUNK_FRAMES, CHUNK_ATOMS // n_atoms))


class FluxWriter:
    """Writes fluxes in chunks or one by one.

    Parameters
    ----------
    labels : sequence of str
        Names of the groups.
    identity : mapping
        Attributes that identify the job; only the same job may continue a file.
    describe : callable
        Returns further attributes, called once there are frames.
    chunk : int
        Frames per chunk.
    path : Path, optional
        NetCDF file to write. Without it, fluxes are kept in memory, unless there is a correlator.
    correlator : Correlator, optional
        Receives every single flux: 3 channels (the total), 3 per group (carriers), or 3 per pair of groups
        (owner × carrier, convection on the diagonal).
    resume : bool or int
        Continue an existing file after its last whole chunk, or after this many frames.
    total : int, optional
        Number of frames of the whole job; a file that already has them all is kept as it is.

    Attributes
    ----------
    n_frames : int
        Frames received so far, including those of a continued file.

    Raises
    ------
    InputError
        The correlator has another number of channels.
    OutputError
        The file cannot be continued: another kind, or begun with another model, trajectory or setting.
    """

    def __init__(
        self,
        labels: Sequence[str],
        identity: Mapping[str, object],
        describe: Callable[[], Mapping[str, object]],
        *,
        chunk: int,
        path: Path | None = None,
        correlator: Correlator | None = None,
        resume: bool | int = False,
        total: int | None = None,
    ) -> None:
        self.labels, self.chunk, self.correlator = tuple(labels), chunk, correlator
        self.n_frames = 0
        self._identity, self._describe = dict(identity), describe
        self._pending: list[FrameFlux] = []
        self._kept: list[dict[str, np.ndarray]] = []
        self._flushed = time.monotonic()
        _check_channels(correlator, len(labels))
        self._file = None if path is None else FluxFile(path, labels, identity, chunk)
        self._begun = self._file is not None and resume is not False and self._file.path.exists()
        if self._file is not None and self._begun:
            self.n_frames = self._file.resume(frames=None if isinstance(resume, bool) else resume, total=total)

    @property
    def keeps(self) -> bool:
        """Whether fluxes are kept, in memory or in a file, rather than correlated alone."""
        return self._file is not None or self.correlator is None

    def annotate(self, attributes: Mapping[str, object]) -> None:
        """Change attributes that a continued file already has: its trajectory may have grown."""
        if self._file is not None and self._begun:
            self._file.annotate(attributes)

    def last_sha256(self) -> int | None:
        """First 64 bits of the SHA-256 of the last frame of a continued file; None for a new file."""
        return self._file.frame_sha256(self.n_frames - 1) if self._file is not None and self.n_frames else None

    def write(self, columns: Mapping[str, np.ndarray]) -> None:
        """Write a chunk: one array per variable, time first; a file is synced to disk before this returns.

        Raises
        ------
        OutputError
            The disk is full or no longer available.
        """
        self._store(columns)
        self.n_frames += len(columns["time"])

    def add(self, entry: FrameFlux | Flux) -> None:
        """Add the flux of one frame; a bare `Flux` suffices where fluxes are only correlated.

        Raises
        ------
        OutputError
            The disk is full or no longer available.
        """
        if self.correlator is not None:
            flux = entry.flux if isinstance(entry, FrameFlux) else entry
            self.correlator.update(channels(flux, self.correlator.n_channels))
        self.n_frames += 1
        if not isinstance(entry, FrameFlux) or not self.keeps:
            return
        self._pending.append(entry)
        late = len(self._pending) > 1 and time.monotonic() - self._flushed > MAX_DELAY
        if self.n_frames % self.chunk == 0 or (self._file is not None and late):
            self.flush()

    def flush(self) -> None:
        """Write the single fluxes of a chunk that is not full yet.

        Raises
        ------
        OutputError
            The disk is full or no longer available.
        """
        self._flushed = time.monotonic()
        if self._pending:
            self._store(stack(self._pending, self.labels))
            self._pending = []

    def dataset(self) -> xarray.Dataset:
        """All fluxes so far as one Dataset; those of a file stay on disk until they are used.

        Raises
        ------
        InputError
            There are no fluxes yet, or none were kept.
        """
        if not self.keeps:
            raise InputError(
                f"the {self.n_frames} fluxes went into the correlator and were not kept; "
                "give output= as well, a file to keep them in"
            )
        self.flush()
        if self._file is not None and self._begun:
            return open_flux(self._file.path)
        if not self._kept:
            raise InputError("no flux was recorded yet")
        columns = {name: np.concatenate([part[name] for part in self._kept]) for name in self._kept[0]}
        self._kept = [columns]
        return to_xarray(columns, self.labels, self._identity | dict(self._describe()))

    def close(self) -> None:
        """Write what is buffered, and close the file."""
        self.flush()
        if self._file is not None:
            self._file.close()

    def _store(self, columns: Mapping[str, np.ndarray]) -> None:
        if self._file is None:
            self._kept.append(dict(columns))
            return
        if not self._begun:
            self._file.create(self._describe())
            self._begun = True
        self._file.write(columns)


def channels(flux: Flux, n_channels: int) -> np.ndarray:
    """A flux as a sample (n_channels,) for a correlator, see `FluxWriter`."""
    n_groups = len(flux.potential)
    if n_channels == 3:
        return flux.total
    if n_channels == 3 * n_groups:
        return flux.carriers.reshape(-1)
    matrix = flux.potential.copy()
    diagonal = np.arange(n_groups)
    matrix[diagonal, diagonal] += flux.kinetic + flux.convective
    return matrix.reshape(-1)


def _check_channels(correlator: Correlator | None, n_groups: int) -> None:
    if correlator is None:
        return
    known = (3, 3 * n_groups, 3 * n_groups**2)
    if correlator.n_channels not in known:
        raise InputError(
            f"the correlator has {correlator.n_channels} channels; for {n_groups} groups give {known[0]} (the total), "
            f"{known[1]} (carriers) or {known[2]} (owner x carrier)"
        )
