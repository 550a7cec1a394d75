"""Whether velocities and lengths are plausible in the unit they were taken in: asked of a trajectory's first frames.

Wrong units are silent otherwise: LAMMPS' dumps, extended XYZ and arrays do not name theirs, and κ of velocities that
are a thousand times too small is a number like any other.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from fluxan.units import LENGTH, VELOCITY

if TYPE_CHECKING:
    from fluxan.system import Frame
    from fluxan.trajectory.record import Reader

#: K; temperatures outside are always questioned.
_LOWEST, _HIGHEST = 1.0, 1e5
#: K; between these and those above, only where displacements do not bear the velocities out: 300 K with velocities in
#: nm/ps looks like 3 K, or 30,000.
_COLD, _HOT = 5.0, 2e4
#: K; another unit is suggested where it gives such a temperature, the likeliest first.
_USUAL = (30.0, 5000.0)
_LIKELY = 300.0
#: Atoms per Å³; diamond has 0.18. A liquid in LAMMPS' reduced units has 0.8 per σ³.
_DENSEST = 0.6
#: And of what is no gas; and per σ³ of a solid under pressure.
_LOOSEST, _REDUCED = 1e-3, 5.0
#: Å³ per cube of the units that lengths may be in instead.
_LENGTHS = {unit: LENGTH[unit] ** 3 for unit in ("nm", "m")}


class Plausibility:
    """Looks at the first two frames of a trajectory, and warns once."""

    def __init__(self, trajectory: Reader) -> None:
        self._trajectory = trajectory
        self._first: Frame | None = None
        self._open = 0.0

    def look(self, frame: Frame) -> bool:
        """Look at the next frame; whether no further frame is needed."""
        first, self._first = self._first, frame
        if first is None:
            self._question_density(frame)
        if frame.velocities is None or frame.n_atoms < 2:
            return True
        if not frame.velocities.any():
            if first is not None:
                self._trajectory.warn("all velocities are zero in its first two frames: were they never written?")
            return first is not None
        temperature = frame.temperature
        # Hot by a drift of the whole alone: jobs warn of that.
        if _COLD <= temperature <= _HOT or (temperature > _HOT and _thermal(frame).temperature <= _HOT):
            return True
        doubtful = not _LOWEST <= temperature <= _HIGHEST
        if not doubtful and first is None:
            self._open = temperature
            return False
        if doubtful or not self._moves_so(first, frame):
            self._question(temperature)
        return True

    def finish(self) -> None:
        """No frame is left: what the second one would have decided is asked."""
        if self._open:
            self._question(self._open)

    def _question(self, temperature: float) -> None:
        trajectory = self._trajectory
        others = {unit: temperature * (value / trajectory.velocity_factor) ** 2 for unit, value in VELOCITY.items()}
        usual = [unit for unit in others if _USUAL[0] <= others[unit] <= _USUAL[1]]
        usual.sort(key=lambda unit: abs(math.log(others[unit] / _LIKELY)))
        asked = " or ".join(
            f"{trajectory.unit_advice(unit)}, which makes it {others[unit]:.3g} K" for unit in usual[:2]
        )
        trajectory.warn(
            f"the temperature is {temperature:.3g} K: are the velocities in "
            + (f"{asked}?" if asked else "another unit, or the elements others?")
        )

    def _question_density(self, frame: Frame) -> None:
        density = frame.n_atoms / frame.volume if frame.volume else 0.0
        if density > _DENSEST:
            usual = [unit for unit, cubed in _LENGTHS.items() if _LOOSEST <= density / cubed <= _DENSEST]
            asked = f"in {usual[0]}" if usual else "in another unit"
            reduced = ", or in LAMMPS' reduced units (units='lj')" if density < _REDUCED else ""
            self._trajectory.warn(f"there are {density:.3g} atoms per Å³: are its lengths {asked}{reduced}?")

    def _moves_so(self, first: Frame | None, frame: Frame) -> bool:
        """Whether atoms move from frame to frame about as far as their velocities say."""
        if first is None or first.velocities is None or frame.velocities is None or not self._trajectory.has_time:
            return False
        moves = frame.positions - first.positions
        if frame.cell is not None:
            fractions = moves @ np.linalg.inv(frame.cell)
            moves = (fractions - np.rint(fractions) * np.array(frame.pbc)) @ frame.cell
        expected = np.sqrt(np.mean(first.velocities**2 + frame.velocities**2) / 2) * (frame.time - first.time)
        return bool(0.3 < np.sqrt(np.mean(moves**2)) / expected < 3.0)


def _thermal(frame: Frame) -> Frame:
    """The frame without the motion of its centre of mass."""
    masses = np.asarray(frame.masses)
    return frame.replace(velocities=frame.velocities - masses @ np.asarray(frame.velocities) / masses.sum())
