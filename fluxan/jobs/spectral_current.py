"""`fluxan.spectral_heat_current`: the spectral heat current of a trajectory, streamed over its frames.

Three forms differ in the vector x of u_j = W_jᵀ x alone:

- `window`, equilibrium: x = I(t)/(3 k_B T), with the integral I of the heat flux over the window before t. Then
  K(0) = ∫₀^S ⟨J(-s)·J_pot(0)⟩ ds/(3 k_B T), whose ratio to V T is the Green-Kubo integral at S.
- `direction` with `driving_force`: a run under that force (HNEMD); x is the unit vector along it.
- `direction` alone: the virial-velocity spectrum of any run.
"""

from __future__ import annotations

import warnings
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Final, TypedDict

import numpy as np

from fluxan.allocator import released_memory
from fluxan.correlation.virial_velocity import VirialVelocityCorrelator
from fluxan.errors import InputError, ModelError, ShortRunError, TrajectoryError
from fluxan.flux.evaluate import FluxEvaluator
from fluxan.greenkubo.spectral_conductivity import TAPERS, spectral_conductivity, virial_velocity_spectrum
from fluxan.greenkubo.thermodynamic_state import require_positive
from fluxan.jobs.job import find_model, on_device
from fluxan.neighbors import NeighborList
from fluxan.progress import progress_bar
from fluxan.series.frame_checks import FrameChecker
from fluxan.trajectory import as_trajectory, read_ahead
from fluxan.units import BOLTZMANN

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import Self, Unpack

    from numpy.typing import ArrayLike, NDArray

    from fluxan.greenkubo.spectral_conductivity import SpectralHeatCurrent
    from fluxan.system import Frame
    from fluxan.trajectory import Trajectory

#: Blocks, from whose scatter errors are taken, are at least this many windows long.
_BLOCK_WINDOWS: Final = 4


class SpectralOptions(TypedDict, total=False):
    """Further options of `spectral_heat_current`, which documents them."""

    driving_force: float | None
    temperature: float | None
    volume: float | None
    taper: str
    velocities: object
    route: str
    device: str
    reader: Mapping[str, object] | None
    progress: bool | Callable[[int, int | None], object]


def spectral_heat_current(
    traj: object,
    model: object = None,
    *,
    max_lag: float,
    window: float | None = None,
    direction: ArrayLike | None = None,
    groups: str | Sequence[object] = "element",
    **options: Unpack[SpectralOptions],
) -> SpectralHeatCurrent:
    """Spectrum of the potential heat flux of a trajectory by carrier: κ(f), or that of the flux itself.

    Parameters
    ----------
    traj, model : object
        As in `fluxan.decompose`; evenly spaced frames with velocities and times.
    max_lag : float
        Longest lag, ps. Its inverse is the resolution in THz.
    window : float, optional
        For a run in equilibrium: time S over which the heat flux before each frame is integrated, ps. Long against the
        decay of the flux's correlation, as the upper limit of a Green-Kubo integral.
    direction : (3,) array, optional
        Instead of `window`: the direction of the flux. With `driving_force`, that of the force.
    groups : str or sequence
        "element", or one label per atom.
    driving_force : float, optional
        Magnitude of the driving force that the run was made with, 1/Å.
    temperature, volume : float, optional
        K and Å³; by default means over the frames.
    taper : str, default "hann"
        "hann" or "none", see `fluxan.greenkubo.spectral_conductivity`.
    velocities, route, device, reader, progress
        As in `fluxan.decompose`.

    Returns
    -------
    SpectralHeatCurrent
        In W/(m K); in eV Å/ps with `direction` and no `driving_force`.

    Raises
    ------
    FluxanError
        Input, model or a frame cannot be used.
    ShortRunError
        The trajectory is shorter than window and longest lag.

    Notes
    -----
    Memory does not depend on the length of the trajectory: it is that of `VirialVelocityCorrelator`.
    """
    settings = _Settings.of(max_lag, window, direction, options)
    trajectory = as_trajectory(traj, velocities=options.get("velocities"), **(options.get("reader") or {}))
    module = on_device(find_model(trajectory, model), options.get("device", "cpu"))
    run = _Run(
        trajectory, settings, lambda numbers: FluxEvaluator(module, numbers, groups=groups, route=settings.route)
    )
    progress, total = options.get("progress", True), trajectory.n_frames
    with released_memory(), progress_bar(trajectory.name, total=total, show=progress is True) as bar:
        for n_done in run.frames():
            bar.show(n_done)
            if callable(progress):
                progress(n_done, total)
    return run.result()


class WindowIntegral:
    """Integral of a flux over the window before each sample, by the trapezoidal rule.

    Parameters
    ----------
    n_steps : int
        Length of the window, in time steps.
    time_step : float
        ps.
    """

    def __init__(self, n_steps: int, time_step: float) -> None:
        self._time_step = time_step
        self._flux = np.zeros((n_steps + 1, 3))
        self._seen = 0

    def add(self, flux: NDArray[np.float64]) -> NDArray[np.float64] | None:
        """Add a sample (3,); returns the integral up to it, (3,), or None while the window is not full."""
        n = len(self._flux)
        self._flux[self._seen % n] = flux
        self._seen += 1
        if self._seen < n:
            return None
        # The sample after the newest in the ring is the oldest.
        ends = flux + self._flux[self._seen % n]
        return np.asarray(self._time_step * (self._flux.sum(axis=0) - 0.5 * ends))


@dataclass(frozen=True)
class _Settings:
    """Checked arguments of `spectral_heat_current`."""

    max_lag: float
    window: float | None
    axis: NDArray[np.float64] | None
    driving_force: float | None
    temperature: float | None
    volume: float | None
    taper: str
    route: str

    @classmethod
    def of(cls, max_lag: float, window: float | None, direction: ArrayLike | None, options: SpectralOptions) -> Self:
        for name in options:
            if name not in SpectralOptions.__annotations__:
                raise TypeError(f"spectral_heat_current() got an unexpected keyword argument {name!r}")
        if (window is None) == (direction is None):
            raise InputError("give either window=, for a run in equilibrium, or direction=")
        force, taper = options.get("driving_force"), options.get("taper", "hann")
        if window is not None and force is not None:
            raise InputError("driving_force= goes with direction=; a run in equilibrium has none")
        for name, value, unit in (
            ("max_lag", max_lag, "ps"),
            ("window", window, "ps"),
            ("driving_force", force, "1/Å"),
        ):
            number = isinstance(value, (int, float, np.number)) and not isinstance(value, bool)
            if value is not None and not (number and np.isfinite(value) and value > 0):
                raise InputError(f"{name} is {value!r}, expected a positive number in {unit}")
        temperature, volume = options.get("temperature"), options.get("volume")
        require_positive(temperature=temperature, volume=volume)
        if taper not in TAPERS:
            raise InputError(f"taper is {taper!r}, expected one of {', '.join(map(repr, TAPERS))}")
        axis = None if direction is None else _unit_vector(direction)
        return cls(max_lag, window, axis, force, temperature, volume, taper, options.get("route", "auto"))

    @property
    def conductive(self) -> bool:
        """Whether the result is a conductivity."""
        return self.window is not None or self.driving_force is not None


class _Run:
    """Frames of a trajectory, one after another, to the correlator."""

    def __init__(
        self, trajectory: Trajectory, settings: _Settings, evaluator: Callable[[NDArray[np.int64]], FluxEvaluator]
    ) -> None:
        start = list(islice(trajectory.frames(), 2))
        if not start:
            raise TrajectoryError(f"{trajectory.name}: it holds no frame in the requested range")
        if not trajectory.has_time or len(start) < 2:
            raise TrajectoryError(f"{trajectory.name}: the time between frames is not known: give timestep= in ps")
        if settings.conductive and settings.volume is None and start[0].volume is None:
            raise InputError(f"{trajectory.name}: its frames have no volume: give volume=, that of the material")
        self.trajectory, self.settings = trajectory, settings
        time_step = start[1].time - start[0].time
        lag, window = (
            0 if time is None else max(1, round(time / time_step)) for time in (settings.max_lag, settings.window)
        )
        self._require_length(lag + window + 1, time_step)
        self.evaluator = evaluator(start[0].numbers)
        self.correlator = VirialVelocityCorrelator(
            self.evaluator.groups, max_lag=lag, time_step=time_step, block=max(1, _BLOCK_WINDOWS * window)
        )
        self._integral = WindowIntegral(window, time_step)
        self._neighbors = NeighborList(self.evaluator.model.cutoff)
        self._checker = FrameChecker(time_step=time_step, warn=self._warn)
        self._warned = False
        self._means = np.zeros(2)  # sums of temperature and volume over frames
        self._n_frames = 0

    def frames(self) -> Iterator[int]:
        """Add all frames; yields the number of those done.

        Raises
        ------
        TrajectoryError, InputError, ModelError
            A frame cannot be used.
        ShortRunError
            There are too few frames.
        """
        options = self.trajectory.options
        with closing(read_ahead(self.trajectory.frames())) as frames:
            for frame in frames:
                try:
                    self._add(frame)
                except (InputError, ModelError) as error:
                    index = options.start + self._n_frames * options.stride
                    raise type(error)(f"{self.trajectory.name}, frame {index}: {error}") from error
                self._n_frames += 1
                yield self._n_frames

    def result(self) -> SpectralHeatCurrent:
        """The spectrum."""
        settings, labels = self.settings, self.evaluator.labels
        if not settings.conductive:
            return virial_velocity_spectrum(self.correlator, labels=labels, taper=settings.taper)
        temperature, volume = self._means / self._n_frames
        temperature = settings.temperature or float(temperature)
        return spectral_conductivity(
            self.correlator,
            volume=settings.volume or float(volume),
            temperature=temperature,
            # In equilibrium x lacks the factor 1/(k_B T), since the mean temperature is known at the end alone.
            driving_force=settings.driving_force or BOLTZMANN * temperature,
            labels=labels,
            taper=settings.taper,
        )

    def _add(self, frame: Frame) -> None:
        if frame.velocities is None:
            raise InputError("there are no velocities; a heat flux needs them: give velocities= in Å/ps")
        temperature, volume = frame.temperature, frame.volume
        self._checker.check(frame, temperature)
        self._means += temperature, np.nan if volume is None else volume
        energies, virial = self.evaluator.energies_and_virial(self._neighbors.graph(frame))
        x = self.settings.axis
        if x is None:
            potential = np.einsum("jab,jb->a", virial, frame.velocities)
            integral = self._integral.add(potential + (energies + frame.kinetic_energies) @ frame.velocities)
            if integral is None:
                return
            x = integral / 3
        self.correlator.update(np.einsum("jab,a->jb", virial, x), frame.velocities)

    def _require_length(self, n_frames: int, time_step: float) -> None:
        """Refuse a trajectory that is known to be too short before any work is done."""
        total = self.trajectory.n_frames
        if total is not None and total < n_frames:
            raise ShortRunError(
                f"{self.trajectory.name} has {total} frames, window and longest lag take {n_frames}: give at least "
                f"{n_frames * time_step:.4g} ps, a shorter window or a shorter max_lag"
            )

    def _warn(self, topic: str, message: str) -> None:
        if topic == "spacing":
            raise InputError(message)
        if not self._warned:
            self._warned = True
            warnings.warn(f"{self.trajectory.name}: {message}", stacklevel=2)


def _unit_vector(direction: ArrayLike) -> NDArray[np.float64]:
    try:
        vector = np.asarray(direction, dtype=np.float64)
    except (TypeError, ValueError):
        vector = np.zeros(0)
    length = np.linalg.norm(vector)
    if vector.shape != (3,) or not (np.isfinite(length) and length > 0):
        raise InputError(f"direction is {direction!r}, expected a vector of three numbers, not all zero")
    return np.asarray(vector / length)
