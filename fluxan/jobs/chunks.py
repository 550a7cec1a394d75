"""Chunks of fluxes from frames, as a serial job and the workers of a cluster compute them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fluxan.errors import FluxanError, InputError, ModelError
from fluxan.neighbors import NeighborList
from fluxan.series.frame_checks import FrameChecker, frame_flux
from fluxan.series.schema import stack

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Sequence

    import numpy as np

    from fluxan.flux.evaluate import FluxEvaluator
    from fluxan.series.schema import FrameFlux
    from fluxan.system import Frame


@dataclass(frozen=True, slots=True)
class Chunk:
    """Fluxes of consecutive frames.

    Attributes
    ----------
    columns : dict
        One array per variable of the Dataset, time first.
    route : str
        Route of its frames, several joined by "and".
    self_check : str
        Report of the route's check after its last frame, which includes earlier reports.
    """

    columns: dict[str, np.ndarray]
    route: str
    self_check: str

    def __len__(self) -> int:
        """Return the number of frames."""
        return len(self.columns["time"])

    @classmethod
    def of(cls, entries: Sequence[FrameFlux], labels: Sequence[str]) -> Chunk:
        """Stack the fluxes of frames."""
        # A frame whose atoms have no neighbours has no potential flux, and therefore no route.
        routes = dict.fromkeys(entry.flux.route for entry in entries if entry.flux.potential.any())
        route = " and ".join(routes) or entries[-1].flux.route
        return cls(stack(entries, labels), route, entries[-1].flux.self_check)


class ChunkMaker:
    """Computes the fluxes of one trajectory's frames, one after another.

    Parameters
    ----------
    name : str
        Name of the trajectory, for messages.
    evaluator : FluxEvaluator
        Computes the flux of a frame.
    time_step, last_time : float
        As in `fluxan.series.frame_checks.FrameChecker`.
    """

    def __init__(
        self,
        name: str,
        evaluator: FluxEvaluator,
        *,
        time_step: float,
        last_time: float,
        warn: Callable[[str, str], object],
    ) -> None:
        self.checker = FrameChecker(time_step=time_step, last_time=last_time, warn=warn)
        self._name, self._evaluator = name, evaluator
        self._neighbors = NeighborList(evaluator.model.cutoff)

    def chunks(self, frames: Iterable[tuple[int, Frame]], size: int) -> Generator[Chunk]:
        """Yield chunks of numbered frames, the first of which begins a chunk.

        An error in a frame is raised after the chunk of the frames before it.
        """
        labels = self._evaluator.labels
        entries: list[FrameFlux] = []
        try:
            for index, frame in frames:
                if not entries:
                    # The order of edges, and so of sums, must not depend on where a job was begun or resumed.
                    self._neighbors.reset()
                entries.append(self._entry(index, frame))
                if len(entries) == size:
                    yield Chunk.of(entries, labels)
                    entries = []
        except FluxanError:
            if entries:
                yield Chunk.of(entries, labels)
            raise
        if entries:
            yield Chunk.of(entries, labels)

    def _entry(self, index: int, frame: Frame) -> FrameFlux:
        try:
            temperature = frame.temperature
            self.checker.check(frame, temperature)
            flux = self._evaluator.flux(frame, self._neighbors.graph(frame))
        except (InputError, ModelError) as error:
            raise type(error)(f"{self._name}, frame {index}: {error}") from error
        return frame_flux(frame, flux, temperature)
