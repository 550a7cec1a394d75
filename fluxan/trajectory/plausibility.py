"""Checks, on the first two frames, whether velocities and lengths are plausible in the unit that was assumed.

A wrong unit would pass unnoticed otherwise: LAMMPS dumps, extended XYZ and arrays do not name theirs, and κ from
velocities that are a thousand times too small looks like any other number. The checks are

1. the number density, against that of the densest crystal,
2. the temperature, against wide limits,
3. where the temperature is unusual but possible, the displacement between the two frames against velocity × time.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from fluxan.units import LENGTH, VELOCITY

if TYPE_CHECKING:
    from fluxan.system import Frame
    from fluxan.trajectory.frame_record import Reader

#: Temperatures, K, outside which there is always a warning.
_MIN_TEMPERATURE, _MAX_TEMPERATURE = 1.0, 1e5
#: Temperatures, K: between these limits and those above there is a warning only if displacements disagree with
#: velocities. A factor of ten in the velocities (nm for Å) makes 300 K look like 3 K, or like 30,000 K.
_COLD, _HOT = 5.0, 2e4
#: Temperatures, K: another unit is suggested if it gives one in this range, the nearest to room temperature first.
_USUAL_TEMPERATURES = (30.0, 5000.0)
_ROOM_TEMPERATURE = 300.0
#: Atoms per Å³; diamond has 0.18. A liquid in LAMMPS' reduced units has 0.8 per σ³.
_MAX_DENSITY = 0.6
#: Number density, Å⁻³, below which a system is a gas; and number density, σ⁻³, of a solid under pressure.
_MIN_DENSITY, _MAX_REDUCED_DENSITY = 1e-3, 5.0
#: Volume, Å³, of a cube of each unit that lengths may be in instead.
_CUBES = {unit: LENGTH[unit] ** 3 for unit in ("nm", "m")}
#: Limits of the ratio of the displacement between two frames to velocity × time: factors between units are 10 or more.
_DISPLACEMENT_RATIO = (0.3, 3.0)


class Plausibility:
    """Checks the first two frames of a trajectory, and warns once."""

    def __init__(self, trajectory: Reader) -> None:
        self._trajectory = trajectory
        self._first: Frame | None = None
        self._undecided = 0.0  # temperature of the first frame, K, that the second one decides on

    def look(self, frame: Frame) -> bool:
        """Check the next frame; returns whether no further frame is needed."""
        first, self._first = self._first, frame
        if first is None:
            self._check_density(frame)
        if frame.velocities is None or frame.n_atoms < 2:
            return True
        if not frame.velocities.any():
            if first is not None:
                self._trajectory.warn("all velocities are zero in its first two frames: were they never written?")
            return first is not None
        temperature = frame.temperature
        # Where only a drift of the whole system makes it look hot, the job that reads the frames warns of the drift.
        if _COLD <= temperature <= _HOT or (temperature > _HOT and _thermal(frame).temperature <= _HOT):
            return True
        impossible = not _MIN_TEMPERATURE <= temperature <= _MAX_TEMPERATURE
        if not impossible and first is None:
            self._undecided = temperature
            return False
        if impossible or not self._displaced_as_expected(first, frame):
            self._warn_of(temperature)
        return True

    def finish(self) -> None:
        """Warn of an unusual temperature of the first frame, if there was no second one to decide."""
        if self._undecided:
            self._warn_of(self._undecided)

    def _warn_of(self, temperature: float) -> None:
        trajectory = self._trajectory
        others = {unit: temperature * (value / trajectory.velocity_factor) ** 2 for unit, value in VELOCITY.items()}
        usual = [unit for unit in others if _USUAL_TEMPERATURES[0] <= others[unit] <= _USUAL_TEMPERATURES[1]]
        usual.sort(key=lambda unit: abs(math.log(others[unit] / _ROOM_TEMPERATURE)))
        asked = " or ".join(
            f"{trajectory.unit_advice(unit)}, which makes it {others[unit]:.3g} K" for unit in usual[:2]
        )
        trajectory.warn(
            f"the temperature is {temperature:.3g} K: are the velocities in "
            + (f"{asked}?" if asked else "another unit, or the elements others?")
        )

    def _check_density(self, frame: Frame) -> None:
        density = frame.n_atoms / frame.volume if frame.volume else 0.0
        if density > _MAX_DENSITY:
            usual = [unit for unit, cubed in _CUBES.items() if _MIN_DENSITY <= density / cubed <= _MAX_DENSITY]
            asked = f"in {usual[0]}" if usual else "in another unit"
            reduced = ", or in LAMMPS' reduced units (units='lj')" if density < _MAX_REDUCED_DENSITY else ""
            self._trajectory.warn(f"there are {density:.3g} atoms per Å³: are its lengths {asked}{reduced}?")

    def _displaced_as_expected(self, first: Frame | None, frame: Frame) -> bool:
        """Whether atoms move between the two frames about as far as their velocities imply."""
        if first is None or first.velocities is None or frame.velocities is None or not self._trajectory.has_time:
            return False
        moves = frame.positions - first.positions
        if frame.cell is not None:
            # Displacements to the nearest periodic image.
            fractions = moves @ np.linalg.inv(frame.cell)
            moves = (fractions - np.rint(fractions) * np.array(frame.pbc)) @ frame.cell
        expected = np.sqrt(np.mean(first.velocities**2 + frame.velocities**2) / 2) * (frame.time - first.time)
        low, high = _DISPLACEMENT_RATIO
        return bool(low < np.sqrt(np.mean(moves**2)) / expected < high)


def _thermal(frame: Frame) -> Frame:
    """The frame without the motion of its centre of mass."""
    masses = np.asarray(frame.masses)
    return frame.replace(velocities=frame.velocities - masses @ np.asarray(frame.velocities) / masses.sum())
