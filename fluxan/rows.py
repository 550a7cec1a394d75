"""Frames in, rows of the Dataset out: what a serial job and the workers of a cluster do alike."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np

from fluxan.dataset import Row, stack
from fluxan.errors import FluxanError, InputError, ModelError
from fluxan.neighbors import NeighborList
from fluxan.units import BOLTZMANN, MASS_VELOCITY2

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Sequence

    from fluxan.flux.evaluate import FluxEvaluator
    from fluxan.system import Flux, Frame

#: kT that the centre of mass may carry before it is called a drift; thermostats give it 3/2 on average.
MOST_DRIFT = 20.0


@dataclass(frozen=True, slots=True)
class Chunk:
    """Rows of consecutive frames.

    Attributes
    ----------
    columns : one array per variable of the Dataset, time first
    route : of its frames, several joined by "and"
    self_check : of the last of its frames, which says what was found in those before
    """

    columns: dict[str, np.ndarray]
    route: str
    self_check: str

    def __len__(self) -> int:
        """Return the number of frames."""
        return len(self.columns["time"])

    @classmethod
    def of(cls, rows: Sequence[Row], labels: Sequence[str]) -> Chunk:
        """Stack rows."""
        # A frame whose atoms see no other has no potential flux, and says nothing of the route.
        routes = dict.fromkeys(row.flux.route for row in rows if row.flux.potential.any())
        route = " and ".join(routes) or rows[-1].flux.route
        return cls(stack(rows, labels), route, rows[-1].flux.self_check)


class RowMaker:
    """Makes the row of frame after frame of one trajectory.

    Parameters
    ----------
    name : of the trajectory, for messages
    evaluator : FluxEvaluator
    time_step : between the first two frames, ps; nan where frames have no times
    last_time : of the frame before the first to come, ps
    say : called with a topic and a message where something makes later numbers wrong without making this flux wrong
    """

    def __init__(
        self,
        name: str,
        evaluator: FluxEvaluator,
        *,
        time_step: float,
        last_time: float,
        say: Callable[[str, str], object],
    ) -> None:
        self.last_time = last_time
        self._name, self._evaluator, self._time_step, self._say = name, evaluator, time_step, say
        self._neighbors = NeighborList(evaluator.model.cutoff)

    def chunks(self, frames: Iterable[tuple[int, Frame]], size: int) -> Generator[Chunk]:
        """Chunk after chunk of numbered frames, the first of which begins one; a fault comes after the rows before."""
        labels = self._evaluator.labels
        rows: list[Row] = []
        try:
            for index, frame in frames:
                if not rows:
                    self._neighbors.reset()
                rows.append(self._row(index, frame))
                if len(rows) == size:
                    yield Chunk.of(rows, labels)
                    rows = []
        except FluxanError:
            if rows:
                yield Chunk.of(rows, labels)
            raise
        if rows:
            yield Chunk.of(rows, labels)

    def _row(self, index: int, frame: Frame) -> Row:
        try:
            temperature = frame.temperature
            self._look_at(frame, temperature)
            flux = self._evaluator.flux(frame, self._neighbors.graph(frame))
        except (InputError, ModelError) as error:
            raise type(error)(f"{self._name}, frame {index}: {error}") from error
        return row_of(frame, flux, temperature)

    def _look_at(self, frame: Frame, temperature: float) -> None:
        """Find uneven spacing and a drift of the centre of mass."""
        gap = frame.time - self.last_time - self._time_step
        # Times are often stored in single precision.
        if abs(gap) > 0.01 * self._time_step + 1e-6 * abs(frame.time):
            self._say(
                "spacing",
                f"the frame at {frame.time:g} ps is {frame.time - self.last_time:g} ps after the one before, "
                f"the first two are {self._time_step:g} ps apart; correlations need even spacing",
            )
        self.last_time = frame.time
        drift = excess_drift(frame, temperature)
        if drift:
            self._say(
                "drift",
                f"the centre of mass moves, with {drift:.3g} eV at {frame.time:g} ps; "
                "temperature and convection count this, take it out of the velocities",
            )


def row_of(frame: Frame, flux: Flux, temperature: float) -> Row:
    """The row of a frame, its flux and its temperature in K."""
    volume = np.nan if frame.volume is None else frame.volume
    return Row(flux, frame.time, volume, temperature, frame_sha256(frame))


def excess_drift(frame: Frame, temperature: float) -> float:
    """Kinetic energy of the centre of mass, eV, where it is a drift at this temperature in K; else 0."""
    energy = drift_energy(frame)
    return energy if energy > MOST_DRIFT * BOLTZMANN * temperature else 0.0


def drift_energy(frame: Frame) -> float:
    """Kinetic energy of the centre of mass, eV."""
    masses = np.asarray(frame.masses)
    momentum = masses @ frame.velocities
    return float(0.5 * MASS_VELOCITY2 * (momentum @ momentum) / masses.sum())


def frame_sha256(frame: Frame) -> int:
    """First 64 bits of the SHA-256 of all that a frame holds."""
    digest = hashlib.sha256()
    for field in fields(frame):
        value = getattr(frame, field.name)
        digest.update(value.data if isinstance(value, np.ndarray) else repr(value).encode())
    return int.from_bytes(digest.digest()[:8], "little", signed=True)
