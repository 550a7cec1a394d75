"""Recording of fluxes during a run: to a file, to memory, or into a correlator alone."""

from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING, TypedDict

import numpy as np

from fluxan.errors import InputError, TrajectoryError
from fluxan.series.flux_file import check_output
from fluxan.series.flux_writer import FluxWriter, frames_per_chunk
from fluxan.series.frame_checks import FrameChecker, frame_flux

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from typing import Unpack

    import xarray

    from fluxan.correlation import Correlator
    from fluxan.flux.evaluate import FluxEvaluator
    from fluxan.system import Flux, Frame


class Output(TypedDict, total=False):
    """The file that a `Recording` writes, and whether it may replace an existing one."""

    output: str | Path | None
    overwrite: bool


class Recording:
    """Records the fluxes of one run, one after the other.

    Parameters
    ----------
    evaluator : FluxEvaluator
        Defines model, groups and route.
    name : str
        Name of the run, for the attribute `trajectory_name` and for messages, e.g. "ASE dynamics".
    time_step : float, optional
        Time between frames, ps; taken from the first two frames by default.
    time_unit : str
        "ps", or "frame" where times only count frames.
    output : str or Path, optional
        Path of a flux file to write.
    correlator : Correlator, optional
        Correlator to which every flux is added. It has 3 channels (the total), 3 per group (carriers) or 3 per pair of
        groups (owner × carrier, convection on the diagonal). Without `output` nothing else is kept; without both,
        everything is kept in memory.
    overwrite : bool
        Replace an existing output.
    resume : bool or int
        Continue an existing output after all its frames, or after this many.
    chunk : int, optional
        Frames per chunk of the file; by default it depends on the number of atoms.
    attributes : mapping, optional
        Further attributes of the Dataset; those of a continued output are replaced by these.

    Attributes
    ----------
    n_frames : int
        Number of recorded frames, including those of a continued output.
    chunk : int, optional
        Frames per chunk of the file.

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
        correlator: Correlator | None = None,
        resume: bool | int = False,
        chunk: int | None = None,
        attributes: Mapping[str, object] | None = None,
        **output: Unpack[Output],
    ) -> None:
        self.name, self.time_unit, self.correlator = name, time_unit, correlator
        self.chunk = chunk or frames_per_chunk(len(evaluator.groups), least=2)
        self._evaluator, self._attributes = evaluator, dict(attributes or {})
        self._first: Frame | None = None
        self._warned: set[str] = set()
        self._checker = FrameChecker(time_step=time_step, warn=self._warn, unit=time_unit)
        self._route = {"route": "none", "self_check": "none"}
        path = check_output(output.get("output"), resume=resume is not False, overwrite=output.get("overwrite", False))
        identity = evaluator.identity() | {"trajectory_name": name, "chunk_frames": self.chunk}
        self._writer = FluxWriter(
            evaluator.labels,
            identity,
            self._describe,
            chunk=self.chunk,
            path=path,
            correlator=correlator,
            resume=resume,
        )
        self._writer.annotate(self._attributes)

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the groups."""
        return self._evaluator.labels

    @property
    def n_frames(self) -> int:
        """Number of recorded frames, including those of a continued output."""
        return self._writer.n_frames

    def add(self, frame: Frame, flux: Flux) -> None:
        """Record the flux of the next frame.

        Raises
        ------
        TrajectoryError
            The flux is not finite, or atoms were added, lost or changed; what was recorded before stays.
        OutputError
            The disk is full or no longer available.
        """
        if self._first is None or not self._is_sound(frame, flux):
            self._refuse(frame, flux)
        self._first = self._first or frame
        temperature = frame.temperature
        self._checker.check(frame, temperature)
        self._route = {"route": flux.route, "self_check": flux.self_check}
        self._writer.add(frame_flux(frame, flux, temperature) if self._writer.keeps else flux)

    def flush(self) -> None:
        """Write everything recorded so far; to disk, where there is a file.

        Raises
        ------
        OutputError
            The disk is full or no longer available.
        """
        self._writer.flush()

    def dataset(self) -> xarray.Dataset:
        """Everything recorded so far, as `fluxan.decompose` gives it.

        Raises
        ------
        InputError
            Nothing was recorded yet, or nothing was kept.
        """
        try:
            return self._writer.dataset()
        except InputError as error:
            raise InputError(f"{self.name}: {error}") from None

    def close(self) -> None:
        """Write what is left and close the file."""
        self._writer.close()

    def _describe(self) -> dict[str, object]:
        """Attributes known once there are frames."""
        first, time_step = self._first, self._checker.time_step
        known = self._evaluator.description() | {
            "time_step": np.nan if time_step is None else time_step,
            "time_unit": self.time_unit,
        }
        if first is not None:
            known |= {"periodic": int(first.cell is not None), "n_atoms": first.n_atoms}
        return known | self._route | self._attributes

    def _is_sound(self, frame: Frame, flux: Flux) -> bool:
        """Whether atoms are the same and the flux is finite; cheap, since it is called for every flux."""
        first = self._first
        same = first is not None and (frame.numbers is first.numbers or np.array_equal(frame.numbers, first.numbers))
        return same and math.isfinite(sum(flux.total.tolist()))

    def _refuse(self, frame: Frame, flux: Flux) -> None:
        """Raise an error that names the fault; return for a finite first flux."""
        where = f"{self.name}, flux {self.n_frames} at {frame.time:g} {self.time_unit}"
        if not np.isfinite(flux.total).all():
            raise TrajectoryError(f"{where}: the flux is {flux.total.tolist()}; has the run blown up?")
        if self._first is None:
            return
        if frame.n_atoms != self._first.n_atoms:
            raise TrajectoryError(f"{where}: there are {frame.n_atoms} atoms, there were {self._first.n_atoms} before")
        atom = int(np.argmax(frame.numbers != self._first.numbers))
        raise TrajectoryError(
            f"{where}: atom {atom} (counted from 0) is of element {frame.numbers[atom]}, "
            f"it was {self._first.numbers[atom]} before"
        )

    def _warn(self, topic: str, message: str) -> None:
        """Warn once for each topic."""
        if topic not in self._warned:
            self._warned.add(topic)
            warnings.warn(f"{self.name}: {message}", stacklevel=2)
