"""Progress, temperature, drift and κ of a job that is still writing its flux file, read by another process."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

from fluxan.errors import FluxanError
from fluxan.greenkubo import green_kubo
from fluxan.greenkubo.driven import driven_conductivity
from fluxan.md.drift import energy_drift
from fluxan.series.flux_dataset import open_flux

from .verdicts import direction, unit, value

if TYPE_CHECKING:
    import xarray
    from rich.table import Table

#: κ is estimated again when the number of frames has grown by this factor, since each estimate reads all of them.
GROWTH: Final = 1.1


@dataclass(frozen=True)
class Snapshot:
    """State of a job at one moment.

    Attributes
    ----------
    frames : int
        Number of fluxes in the file.
    planned : int or None
        Number of fluxes of the whole job; None where the file does not record it.
    length : float or None
        Length of the run so far, ps; None where the file counts frames instead of time.
    rate : float or None
        Frames per second since watching began; None at first.
    age : float
        Time since the file last grew, s.
    temperature : float or None
        Mean over the run, K.
    drift : float or None
        Change of the total energy, eV per atom; None where the energy is not conserved.
    kappa : str
        Conductivity with its error, or why there is none.
    trouble : str
        Reason why the file cannot be read; all other fields are then unknown.
    """

    frames: int = 0
    planned: int | None = None
    length: float | None = None
    rate: float | None = None
    age: float = 0.0
    temperature: float | None = None
    drift: float | None = None
    kappa: str = ""
    trouble: str = ""

    @property
    def finished(self) -> bool:
        """Whether the file holds all planned frames."""
        return self.planned is not None and self.frames >= self.planned

    def lines(self) -> list[tuple[str, str]]:
        """Name and text of every quantity that is known."""
        if self.trouble:
            return [("waiting", self.trouble)]
        return [(name, text) for name, text in self._texts() if text]

    def _texts(self) -> list[tuple[str, str]]:
        share = f" of {self.planned} ({self.frames / self.planned:.0%})" if self.planned else ""
        length = "" if self.length is None else f", {self.length:.4g} ps"
        left = ""
        if self.planned and self.rate and not self.finished:
            left = str(timedelta(seconds=round((self.planned - self.frames) / self.rate)))
        drift = "" if self.drift is None else f"{self.drift:+.1e} eV per atom".replace("-", "−")
        return [
            ("frames", f"{self.frames}{share}{length}"),
            ("rate", f"{self.rate:.4g} frames/s" if self.rate else ""),
            ("time left", "done" if self.finished else left),
            ("last written", "" if self.finished else f"{self.age:.0f} s ago"),
            ("temperature", "" if self.temperature is None else f"{self.temperature:.4g} K"),
            ("energy drift", drift),
            ("κ", self.kappa),
        ]


class Watcher:
    """Monitors a flux file that another process writes, opening it each time.

    Parameters
    ----------
    path : str or Path
        Path of the flux file, which need not exist yet and may be replaced.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._first: tuple[float, int] | None = None
        self._inode = -1
        self._kappa = (0, "")

    def look(self) -> Snapshot:
        """Present state of the job."""
        try:
            status = self.path.stat()
            if status.st_ino != self._inode:  # a new file, of another job
                self._first, self._kappa, self._inode = None, (0, ""), status.st_ino
            with open_flux(self.path) as dataset:
                return self._snapshot(dataset, age=max(0.0, time.time() - status.st_mtime))
        except FluxanError as error:
            return Snapshot(trouble=str(error))
        except (OSError, RuntimeError) as error:  # missing, or being replaced at this moment
            return Snapshot(trouble=f"{self.path}: {getattr(error, 'strerror', None) or error}")

    def _snapshot(self, dataset: xarray.Dataset, *, age: float) -> Snapshot:
        frames, now = dataset.sizes["time"], time.monotonic()
        planned = dataset.attrs.get("frames_planned")
        if self._first is None or frames < self._first[1]:
            self._first = now, frames
        elapsed, done = now - self._first[0], frames - self._first[1]
        timed = frames > 0 and dataset.attrs.get("time_unit") != "frame"
        return Snapshot(
            frames=frames,
            planned=None if planned is None else int(planned),
            length=float(dataset["time"][-1]) if timed else None,
            rate=done / elapsed if done and elapsed else None,
            age=age,
            temperature=float(dataset["temperature"].mean()) if frames else None,
            drift=energy_drift(dataset),
            kappa=self._conductivity(dataset, frames),
        )

    def _conductivity(self, dataset: xarray.Dataset, frames: int) -> str:
        previous, text = self._kappa
        if frames < previous or frames >= GROWTH * previous:
            try:
                text = _kappa(dataset)
            except FluxanError as error:
                text = f"not yet: {error}"
            self._kappa = max(frames, 1), text
        return text


def _kappa(dataset: xarray.Dataset) -> str:
    """Conductivity so far; under a driving force, its direction, and evidence that the force is too large."""
    if "driving_force" not in dataset.attrs:
        result = green_kubo(dataset, compare=())
        return f"{value(result.kappa, result.error)}{unit(result)}"
    driven = driven_conductivity(dataset)
    doubts = f"; the driving force is too large: {driven.nonlinear}" if driven.nonlinear else ""
    return (
        f"{value(driven.kappa, driven.error)}{unit(driven)} along {direction(driven)}, F_e = {driven.strength:.4g}/Å"
        f"{doubts}"
    )


def table(name: str, snapshot: Snapshot) -> Table:
    """A snapshot as a table for a terminal."""
    from rich.table import Table

    grid = Table(title=name, title_justify="left", show_header=False, box=None)
    for quantity, text in snapshot.lines():
        grid.add_row(quantity, text)
    return grid


def plain(snapshot: Snapshot) -> str:
    """A snapshot as one line."""
    return "; ".join(f"{name} {text}" for name, text in snapshot.lines())
