"""An ASE calculator whose forces include the driving force of HNEMD."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from ase.calculators.calculator import all_changes

from fluxan.errors import InputError
from fluxan.md.ase.calculator import FluxanCalculator
from fluxan.md.hnemd.driving_force import DrivingForce, advanced, field_vector, require_at_rest, require_periodic

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ase import Atoms
    from numpy.typing import ArrayLike


class DrivenCalculator(FluxanCalculator):
    """A `fluxan.md.ase.FluxanCalculator` whose forces include the driving force of HNEMD.

    It works with any ASE dynamics that keeps the centre of mass at rest. Use a thermostat that acts on the kinetic
    energy as a whole (``ase.md.bussi.Bussi``, ``ase.md.nose_hoover_chain.NoseHooverChainNVT``), since the driving
    force does work; Langevin's friction would damp the flux. Energies and stress are those of the model alone.

    Driving forces depend on velocities through the kinetic energy: they are those at the time at which the positions
    were first evaluated, and are not computed anew for other velocities of the same positions.

    Parameters
    ----------
    model : object
        Potential, or what `fluxan.load_model` takes.
    field : (3,) array_like
        F_e, 1/Å; zero for no driving force.
    energy_zero : (n_atoms,) array_like, optional
        See `fluxan.md.hnemd.DrivingForce`.
    velocity_lag : float
        Time by which velocities lag behind positions when dynamics ask for forces, ps: half a time step for ASE's
        dynamics of velocity-Verlet type.
    route : {"auto", "local", "adjoint", "unfolded"}
        Algorithm for W_j, see `fluxan.heat_flux`.

    Attributes
    ----------
    field : (3,) float64
        The parameter of the same name.
    virial_force : (n_atoms, 3) array or None
        W_jᵀ F_e at the last evaluation, eV/Å; None without a driving force.

    Raises
    ------
    InputError
        The field is not three finite numbers; when evaluated: the atoms are not periodic along it, or, the first time,
        their centre of mass moves.
    """

    def __init__(
        self,
        model: object,
        *,
        field: Sequence[float] | ArrayLike = (0.0, 0.0, 0.0),
        energy_zero: ArrayLike | None = None,
        velocity_lag: float = 0.0,
        route: str = "auto",
    ) -> None:
        super().__init__(model, route=route)
        self.velocity_lag = velocity_lag
        self.virial_force: np.ndarray | None = None
        self.drive(field, energy_zero=energy_zero)

    def drive(self, field: Sequence[float] | ArrayLike, *, energy_zero: ArrayLike | None = None) -> None:
        """Drive with another field and zero of energy from now on."""
        self.field, self._energy_zero, self.virial_force = field_vector(field), energy_zero, None
        self.reset()
        self.expect_flux(int(self.field.any()))

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = tuple(all_changes),
    ) -> None:
        """Fill `results`; ASE calls this."""
        evaluated = self.n_evaluations
        super().calculate(atoms, properties, system_changes)
        if self.n_evaluations > evaluated and self.field.any():
            self._add_driving_force()

    def _add_driving_force(self) -> None:
        evaluation = self._evaluation_of(self.atoms.numbers, changed=False)
        frame = evaluation.frame
        if frame.velocities is None:
            raise InputError("the atoms have no velocities; a driving force needs them")
        require_periodic(frame, self.field)
        if self.virial_force is None:
            require_at_rest(frame.velocities, np.asarray(frame.masses))
        driving = DrivingForce(self.field, masses=np.asarray(frame.masses), energy_zero=self._energy_zero)
        forces = self.results["forces"]
        velocities = advanced(frame.velocities, forces, driving.masses, self.velocity_lag)
        self.virial_force = evaluation.virial_force(self.field)
        self.results["forces"] = forces + driving.forces(self.virial_force, self.results["energies"], velocities)
