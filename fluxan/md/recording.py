"""What is recorded while atoms move: fluxes to a file, to memory, or into a correlator alone."""

from __future__ import annotations

import math
import time
import warnings
from typing import TYPE_CHECKING

import numpy as np

from fluxan.dataset import FluxFile, check_output, open_flux, stack, to_xarray
from fluxan.decomposition import CHUNK_ATOMS, CHUNK_FRAMES
from fluxan.errors import InputError, TrajectoryError
from fluxan.rows import excess_drift, row_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import xarray

    from fluxan.correlation import Correlator
    from fluxan.dataset import Row
    from fluxan.flux.evaluate import FluxEvaluator
    from fluxan.system import Flux, Frame

#: Whole chunks take their time to fill; what is watched should not be older than this, s.
PATIENCE = 5.0


class Recording:
    """Fluxes of one run, one after the other.

    Parameters
    ----------
    evaluator : FluxEvaluator
        Names model, groups and route.
    name : of the run, for the attribute `trajectory_name` and for messages, e.g. "ASE dynamics"
    time_step : time between frames, ps; taken from the first two frames by default
    time_unit : "ps", or "frame" where the frames' times only count
    output : path of a flux file to write
    correlator : Correlator that every flux is given to
        Of 3 channels (the total), 3 per group (carriers) or 3 per pair of groups (owner × carrier, convection on the
        diagonal). Without `output` nothing else is kept; without both, everything is kept in memory.
    overwrite : replace an existing output
    resume : continue an existing output behind all its frames, or behind so many
    chunk : frames per chunk of the file, by the number of atoms by default
    attributes : further attributes of the Dataset; a continued output takes these over

    Attributes
    ----------
    n_frames : frames recorded, those of a continued output included
    chunk : frames per chunk of the file

    Raises
    ------
    InputError
        The correlator has another number of channels.
    OutputError
        The output exists, cannot be written, or was begun with another model, groups or route.
    """

    def __init__(
        self,
        evaluator: FluxEvaluator,
        *,
        name: str,
        time_step: float | None = None,
        time_unit: str = "ps",
        output: str | Path | None = None,
        correlator: Correlator | None = None,
        overwrite: bool = False,
        resume: bool | int = False,
        chunk: int | None = None,
        attributes: Mapping[str, object] | None = None,
    ) -> None:
        self.name, self.time_unit, self.correlator = name, time_unit, correlator
        self.n_frames = 0
        self.chunk = chunk or max(2, min(CHUNK_FRAMES, CHUNK_ATOMS // len(evaluator.groups)))
        self._evaluator, self._time_step, self._attributes = evaluator, time_step, dict(attributes or {})
        self._rows: list[Row] = []
        self._kept: list[dict[str, np.ndarray]] = []
        self._first: Frame | None = None
        self._last_time = np.nan
        self._said: set[str] = set()
        self._flushed = time.monotonic()
        self._route = {"route": "none", "self_check": "none"}
        _check_channels(correlator, len(evaluator.labels))
        path = check_output(output, resume=resume is not False, overwrite=overwrite)
        self._file = None if path is None else FluxFile(path, evaluator.labels, self._identity(), self.chunk)
        self._begun = False
        if self._file is not None and resume is not False and self._file.path.exists():
            self.n_frames = self._file.resume(frames=None if resume is True else resume)
            self._file.annotate(self._attributes)
            self._begun = True

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the groups."""
        return self._evaluator.labels

    def add(self, frame: Frame, flux: Flux) -> None:
        """Take the flux of the next frame.

        Raises
        ------
        TrajectoryError
            The flux is not finite, or atoms were added, lost or changed; what was recorded before stays.
        OutputError
            The disk is full or gone.
        """
        self._check(frame, flux)
        if self.correlator is not None:
            self.correlator.update(channels(flux, self.correlator.n_channels))
        self._route = {"route": flux.route, "self_check": flux.self_check}
        self.n_frames += 1
        if self._file is None and self.correlator is not None:
            return
        self._rows.append(row_of(frame, flux, frame.temperature))
        late = len(self._rows) > 1 and time.monotonic() - self._flushed > PATIENCE
        if self.n_frames % self.chunk == 0 or (self._file is not None and late):
            self.flush()

    def flush(self) -> None:
        """Put everything so far where it is kept; for a file, on the disk.

        Raises
        ------
        OutputError
            The disk is full or gone.
        """
        self._flushed = time.monotonic()
        if not self._rows:
            return
        columns = stack(self._rows, self.labels)
        if self._file is None:
            self._kept.append(columns)
        else:
            if not self._begun:
                self._file.create(self._description())
                self._begun = True
            self._file.write(columns)
        self._rows = []

    def dataset(self) -> xarray.Dataset:
        """Everything recorded so far, as `fluxan.decompose` gives it.

        Raises
        ------
        InputError
            Nothing was recorded yet, or nothing was kept.
        """
        if self._file is None and self.correlator is not None:
            raise InputError(
                f"{self.name}: the {self.n_frames} fluxes went into the correlator and were not kept; "
                "give output= as well, a file to keep them in"
            )
        self.flush()
        if self._file is not None and self._begun:
            return open_flux(self._file.path)
        if not self._kept:
            raise InputError(f"{self.name}: no flux was recorded yet")
        columns = {key: np.concatenate([part[key] for part in self._kept]) for key in self._kept[0]}
        self._kept = [columns]
        return to_xarray(columns, self.labels, self._identity() | self._description())

    def close(self) -> None:
        """Write what is left and close the file."""
        self.flush()
        if self._file is not None:
            self._file.close()

    def _identity(self) -> dict[str, object]:
        return self._evaluator.identity() | {"trajectory_name": self.name, "chunk_frames": self.chunk}

    def _description(self) -> dict[str, object]:
        """Attributes known once there are frames."""
        first = self._first
        known = self._evaluator.description() | {
            "time_step": np.nan if self._time_step is None else self._time_step,
            "time_unit": self.time_unit,
        }
        if first is not None:
            known |= {"periodic": int(first.cell is not None), "n_atoms": first.n_atoms}
        return known | self._route | self._attributes

    def _check(self, frame: Frame, flux: Flux) -> None:
        if self._first is not None and self._is_sound(frame, flux):
            self._check_spacing(frame)
            return
        where = f"{self.name}, flux {self.n_frames} at {frame.time:g} {self.time_unit}"
        if not np.isfinite(flux.total).all():
            raise TrajectoryError(f"{where}: the flux is {flux.total.tolist()}; has the run blown up?")
        if self._first is None:
            self._first = frame
            self._warn_of_drift(frame)
            return
        if frame.n_atoms != self._first.n_atoms:
            raise TrajectoryError(f"{where}: there are {frame.n_atoms} atoms, there were {self._first.n_atoms} before")
        atom = int(np.argmax(frame.numbers != self._first.numbers))
        raise TrajectoryError(
            f"{where}: atom {atom} (counted from 0) is of element {frame.numbers[atom]}, "
            f"it was {self._first.numbers[atom]} before"
        )

    def _is_sound(self, frame: Frame, flux: Flux) -> bool:
        """Whether nothing is wrong, at the least cost: it is asked of every flux."""
        first = self._first
        same = first is not None and (frame.numbers is first.numbers or np.array_equal(frame.numbers, first.numbers))
        return same and math.isfinite(sum(flux.total.tolist()))

    def _check_spacing(self, frame: Frame) -> None:
        last = self._first.time if self._first is not None and np.isnan(self._last_time) else self._last_time
        gap = frame.time - last
        self._last_time = frame.time
        if self._time_step is None:
            self._time_step = gap
        elif abs(gap - self._time_step) > 0.01 * abs(self._time_step) + 1e-9 * abs(frame.time):
            self._say(
                "spacing",
                f"the flux at {frame.time:g} {self.time_unit} is {gap:g} after the one before, "
                f"{self._time_step:g} was expected; correlations need even spacing",
            )

    def _warn_of_drift(self, frame: Frame) -> None:
        drift = excess_drift(frame, frame.temperature)
        if drift:
            self._say(
                "drift",
                f"the centre of mass moves, with {drift:.3g} eV; temperature and convection count this, "
                "take it out of the velocities",
            )

    def _say(self, topic: str, message: str) -> None:
        if topic not in self._said:
            self._said.add(topic)
            warnings.warn(f"{self.name}: {message}", stacklevel=2)


def channels(flux: Flux, n_channels: int) -> np.ndarray:
    """A flux as a sample for a correlator of so many channels, see `Recording`."""
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
