"""The driving force of HNEMD on the atoms of a running LAMMPS."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from fluxan.errors import TrajectoryError
from fluxan.md.hnemd.driving_force import (
    DrivingForce,
    advanced,
    field_vector,
    require_at_rest,
    require_periodic,
    species_means,
)

if TYPE_CHECKING:
    from fluxan.md.evaluation import Evaluation, Forces
    from fluxan.system import Frame

#: Ratio of the temperature to that at the beginning at which a run is stopped.
_MAX_HEATING: Final = 2.0


class LammpsDriving:
    """Driving forces at successive steps of LAMMPS.

    Parameters
    ----------
    field : (3,) array_like
        F_e, 1/Å.

    Attributes
    ----------
    field : (3,) float64
        The parameter of the same name.
    energy_zero : (n_atoms,) float64 or None
        Mean potential energy of each atom's element at the first step, from which energies count, eV; None before it.

    Raises
    ------
    InputError
        The field is not three finite numbers.
    """

    def __init__(self, field: object) -> None:
        self.field = field_vector(field)
        self.energy_zero: np.ndarray | None = None
        self._temperature: float | None = None
        self._step: int | None = None

    def attributes(self) -> dict[str, object]:
        """Attributes of the flux file of a run with this driving force."""
        return {"ensemble": "hnemd", "driving_force": self.field.tolist()}

    def forces(self, evaluation: Evaluation, found: Forces, frame: Frame, *, step: int, timestep: float) -> np.ndarray:
        """Driving force on every atom, (n_atoms, 3) eV/Å.

        Parameters
        ----------
        evaluation, found
            The evaluation at this step, and what it returned.
        frame : Frame
            The atoms, with velocities as LAMMPS has them when it asks for forces.
        step : int
            Step of LAMMPS.
        timestep : float
            Time per step, ps.

        Raises
        ------
        InputError
            The atoms are not periodic along the field, or their centre of mass moves at the first step.
        TrajectoryError
            The atoms are much hotter than in the beginning.
        """
        require_periodic(frame, self.field)
        self._refuse_heating(frame, step)
        # Within a run velocities are those of half a step before; at its setup, which repeats the last step or is the
        # first call, they are those of the full step.
        lag = 0.5 * timestep if self._step is not None and step == self._step + 1 else 0.0
        self._step = step
        masses, velocities = np.asarray(frame.masses), np.asarray(frame.velocities)
        if self.energy_zero is None:
            require_at_rest(velocities, masses)
            self.energy_zero = species_means(found.energies, frame.numbers)
        driving = DrivingForce(self.field, masses=masses, energy_zero=self.energy_zero)
        velocities = advanced(velocities, found.forces, masses, lag)
        return driving.forces(evaluation.virial_force(self.field), found.energies, velocities)

    def _refuse_heating(self, frame: Frame, step: int) -> None:
        temperature = frame.temperature
        if temperature is None:
            return
        if self._temperature is None:
            self._temperature = temperature
        if self._temperature > 0 and temperature > _MAX_HEATING * self._temperature:
            raise TrajectoryError(
                f"LAMMPS, step {step}: the driving force has heated the atoms from {self._temperature:.4g} to "
                f"{temperature:.4g} K: use a thermostat (fix nvt, or fix temp/csvr with fix nve) or a smaller force; "
                "if they were cold, thermalise them before you set it"
            )
