"""Checks of the frames of a run while their fluxes are computed: even spacing, and no drift of the centre of mass."""

from __future__ import annotations

import hashlib
from dataclasses import fields
from typing import TYPE_CHECKING, Final

import numpy as np

from fluxan.series.schema import FrameFlux
from fluxan.units import BOLTZMANN, MASS_VELOCITY2

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import ArrayLike

    from fluxan.system import Flux, Frame

#: Kinetic energy of the centre of mass, in k_B T, beyond which it drifts; thermostats give it 3/2 on average.
MAX_DRIFT_KT: Final = 20.0
#: Fraction of the time step by which a gap between frames may differ from it.
SPACING_TOLERANCE: Final = 1e-3
#: Times are often stored in single precision: a difference of two has an error of up to this fraction of their size.
TIME_ROUNDING: Final = 4 * float(np.finfo(np.float32).eps)


class FrameChecker:
    """Checks the frames of one run, one after another.

    Parameters
    ----------
    time_step : float or None
        Expected time between frames, ps. None takes it from the first two frames, NaN where frames have no times.
    last_time : float
        Time of the frame before the first one to come, ps; NaN where there is none.
    warn : callable
        Called with a topic and a message where later analysis would be wrong, though the flux of this frame is right.
    unit : str
        Unit of the times, "ps" or "frame".
    """

    def __init__(
        self,
        *,
        time_step: float | None,
        warn: Callable[[str, str], object],
        last_time: float = np.nan,
        unit: str = "ps",
    ) -> None:
        self.time_step, self.last_time = time_step, last_time
        self._warn, self._unit = warn, unit

    def check(self, frame: Frame, temperature: float) -> None:
        """Warn of uneven spacing and of a drift of the centre of mass; `temperature` is the frame's, K."""
        gap = frame.time - self.last_time
        self.last_time = frame.time
        if self.time_step is None:
            self.time_step = None if np.isnan(gap) else gap
        elif is_uneven(gap, self.time_step, frame.time):
            self._warn(
                "spacing",
                f"the frame at {frame.time:g} {self._unit} is {gap:g} {self._unit} after the one before, "
                f"{self.time_step:g} {self._unit} was expected; correlations need even spacing",
            )
        energy = drift_energy(frame)
        if energy > MAX_DRIFT_KT * BOLTZMANN * temperature:
            self._warn(
                "drift",
                f"the centre of mass moves, with a kinetic energy of {energy:.3g} eV at {frame.time:g} {self._unit}; "
                "temperature and convection count this, take it out of the velocities",
            )


def is_uneven(gaps: ArrayLike, time_step: float, times: ArrayLike) -> np.ndarray:
    """Whether gaps (n,) between frames differ from the time step by more than rounding of the times (n,) explains."""
    allowed = SPACING_TOLERANCE * abs(time_step) + TIME_ROUNDING * np.abs(times)
    return np.asarray(np.abs(np.asarray(gaps) - time_step) > allowed)


def drift_energy(frame: Frame) -> float:
    """Kinetic energy of the centre of mass, eV."""
    masses = np.asarray(frame.masses)
    momentum = masses @ frame.velocities
    return float(0.5 * MASS_VELOCITY2 * (momentum @ momentum) / masses.sum())


def frame_flux(frame: Frame, flux: Flux, temperature: float) -> FrameFlux:
    """Record of a frame's flux, from the frame, its flux and its temperature in K."""
    volume = np.nan if frame.volume is None else frame.volume
    return FrameFlux(flux, frame.time, volume, temperature, frame_sha256(frame))


def frame_sha256(frame: Frame) -> int:
    """First 64 bits of the SHA-256 of all that a frame holds."""
    digest = hashlib.sha256()
    for field in fields(frame):
        value = getattr(frame, field.name)
        digest.update(value.data if isinstance(value, np.ndarray) else repr(value).encode())
    return int.from_bytes(digest.digest()[:8], "little", signed=True)
