"""What a job that is still writing its flux file has come to: looked at from outside, again and again."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

from fluxan.errors import FluxanError
from fluxan.greenkubo import green_kubo
from fluxan.md.drift import energy_drift
from fluxan.series.flux_dataset import open_flux

from .verdicts import unit, value

if TYPE_CHECKING:
    import xarray
    from rich.table import Table

#: κ is found anew when there are this many times the frames of before: reading them all again has its cost.
GROWTH: Final = 1.1


@dataclass(frozen=True)
class Snapshot:
    """A job at one moment.

    Attributes
    ----------
    frames, planned : fluxes there are, and will be; None where the file does not say
    length : of the run so far, ps; None where it counts frames
    rate : frames per second since watching began; None at first
    age : time since the file last grew, s
    temperature : mean, K
    drift : change of the total energy, eV per atom; None where it means nothing
    kappa : conductivity with its error, or why there is none, in words
    trouble : why the file cannot be read, in words; then nothing else is known
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
        """Whether all frames that were planned are there."""
        return self.planned is not None and self.frames >= self.planned

    def lines(self) -> list[tuple[str, str]]:
        """What is known, as names and words."""
        if self.trouble:
            return [("waiting", self.trouble)]
        return [(name, words) for name, words in self._words() if words]

    def _words(self) -> list[tuple[str, str]]:
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
    """Looks at a flux file that another process writes, opening it anew each time.

    Parameters
    ----------
    path : path
        Need not be there yet, and may be replaced.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._first: tuple[float, int] | None = None
        self._inode = -1
        self._kappa = (0, "")

    def look(self) -> Snapshot:
        """The job as it is now."""
        try:
            status = self.path.stat()
            if status.st_ino != self._inode:  # another job took its place
                self._first, self._kappa, self._inode = None, (0, ""), status.st_ino
            with open_flux(self.path) as dataset:
                return self._snapshot(dataset, age=max(0.0, time.time() - status.st_mtime))
        except FluxanError as error:
            return Snapshot(trouble=str(error))
        except (OSError, RuntimeError) as error:  # missing, or caught in the middle of being replaced
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
        before, words = self._kappa
        if frames < before or frames >= GROWTH * before:
            try:
                result = green_kubo(dataset, compare=())
                words = f"{value(result.kappa, result.error)}{unit(result)}"
            except FluxanError as error:
                words = f"not yet: {error}"
            self._kappa = max(frames, 1), words
        return words


def table(name: str, snapshot: Snapshot) -> Table:
    """A snapshot for a terminal."""
    from rich.table import Table

    grid = Table(title=name, title_justify="left", show_header=False, box=None)
    for what, words in snapshot.lines():
        grid.add_row(what, words)
    return grid


def plain(snapshot: Snapshot) -> str:
    """A snapshot as one line."""
    return "; ".join(f"{name} {words}" for name, words in snapshot.lines())
