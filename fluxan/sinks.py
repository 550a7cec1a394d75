"""Where the chunks of a job go: to memory, or to a NetCDF file that grows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fluxan.dataset import FluxFile, open_flux, to_xarray

if TYPE_CHECKING:
    from pathlib import Path

    import xarray

    from fluxan.decomposition import Job
    from fluxan.rows import Chunk


class MemorySink:
    """Keeps the columns of all chunks."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._chunks: list[dict[str, np.ndarray]] = []
        self._attributes: dict[str, object] = {}
        self.n_frames = 0

    def write(self, chunk: Chunk) -> None:
        """Take a chunk."""
        if not self._chunks:
            self._attributes = self._job.identity() | self._job.attributes(chunk)
        self._chunks.append(chunk.columns)

    def dataset(self) -> xarray.Dataset:
        """All frames as one Dataset."""
        columns = {name: np.concatenate([c[name] for c in self._chunks]) for name in self._chunks[0]}
        return to_xarray(columns, self._job.evaluator.labels, self._attributes)

    def close(self) -> None:
        """Nothing to close."""


class FileSink:
    """Writes chunk after chunk to a NetCDF file."""

    def __init__(self, job: Job, path: Path, *, resume: bool) -> None:
        self._job = job
        self._file = FluxFile(path, job.evaluator.labels, job.identity(), job.chunk)
        self._begun = resume and path.exists()
        self.n_frames = 0
        if self._begun:
            self.n_frames = self._file.resume(total=job.plan.get("frames_planned"))
            self._file.annotate(job.plan)  # the trajectory may have grown

    def last_sha256(self) -> int:
        """What is stored of the SHA-256 of the last frame that is done."""
        return self._file.frame_sha256(self.n_frames - 1)

    def write(self, chunk: Chunk) -> None:
        """Write a chunk and sync."""
        if not self._begun:
            self._file.create(self._job.attributes(chunk))
            self._begun = True
        self._file.write(chunk.columns)

    def dataset(self) -> xarray.Dataset:
        """The file, opened for reading."""
        return open_flux(self._file.path)

    def close(self) -> None:
        """Close the file."""
        self._file.close()
