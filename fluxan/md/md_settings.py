"""Settings of a molecular-dynamics run: ensemble, times, and milestones at which κ is estimated."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Final

import numpy as np

from fluxan.errors import InputError

ENSEMBLES: Final = ("nve", "langevin", "nvt")
#: Number of fluxes, or of steps of thermalisation, that no run reaches: a larger one means a wrong unit.
MOST_FRAMES: Final = 1e12


@dataclass(frozen=True)
class MdSettings:
    """Settings of a run.

    Attributes
    ----------
    temperature : float
        Temperature, K.
    time : float
        Length of the production run, ps.
    timestep : float
        Time step, fs.
    flux_every : int
        Number of steps between fluxes.
    ensemble : str
        "nve", "langevin" or "nvt" (stochastic velocity rescaling).
    thermalise : float
        Time under a Langevin thermostat before the production, ps.
    friction : float
        Friction of the Langevin thermostat, 1/ps.
    relaxation : float
        Relaxation time of the energy with "nvt", ps.
    seed : int
        Seed of all random numbers.
    checkpoint_every : int
        Number of fluxes between restart files.
    """

    temperature: float
    time: float
    timestep: float = 1.0
    flux_every: int = 5
    ensemble: str = "nve"
    thermalise: float = 5.0
    friction: float = 2.0
    relaxation: float = 1.0
    seed: int = 0
    checkpoint_every: int = 50

    def __post_init__(self) -> None:
        """Refuse invalid settings, naming them."""
        if self.ensemble not in ENSEMBLES:
            raise InputError(f"ensemble is {self.ensemble!r}, expected one of {', '.join(ENSEMBLES)}")
        for name in ("temperature", "time", "timestep", "friction", "relaxation"):
            value = getattr(self, name)
            if not (np.isfinite(value) and value > 0):
                raise InputError(f"{name} is {value!r}, expected a positive number")
        if not (np.isfinite(self.thermalise) and self.thermalise >= 0):
            raise InputError(f"thermalise is {self.thermalise!r}, expected a time in ps, or 0")
        for name, least in (("flux_every", 1), ("checkpoint_every", 2), ("seed", 0)):
            if getattr(self, name) < least:
                raise InputError(f"{name} is {getattr(self, name)!r}, expected at least {least}")
        if self.time / self.frame_step > MOST_FRAMES or self.thermalise / (self.timestep * 1e-3) > MOST_FRAMES:
            raise InputError(f"time is {self.time:g} ps, thermalise {self.thermalise:g} ps: more steps than can be run")
        if self.n_frames < 1:
            raise InputError(f"time is {self.time:g} ps, less than the {self.frame_step:g} ps from flux to flux")

    @property
    def frame_step(self) -> float:
        """Time between fluxes, ps."""
        return self.flux_every * self.timestep * 1e-3

    @property
    def n_frames(self) -> int:
        """Total number of fluxes."""
        return round(self.time / self.frame_step)

    @property
    def thermal_steps(self) -> int:
        """Number of steps before the production."""
        return round(self.thermalise / (self.timestep * 1e-3))

    def fixed(self) -> dict[str, object]:
        """Settings that must not change when a run is continued; its length may."""
        return {name: value for name, value in asdict(self).items() if name != "time"}

    def attributes(self) -> dict[str, object]:
        """Settings that the flux file records."""
        return {"ensemble": self.ensemble}


def milestones(settings: MdSettings) -> list[int]:
    """Numbers of frames at which κ is estimated during the run: whole blocks, each number a quarter larger."""
    every, total = settings.checkpoint_every, settings.n_frames
    found, goal = [], max(every, 100)
    while goal < total:
        goal = -(-goal // every) * every
        found.append(goal)
        goal = max(goal + every, int(1.25 * goal))
    return [n for n in found if n < total] + [total]
