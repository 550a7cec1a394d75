"""The error of a model in the geometry and the energy of a defect, against a reference."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fluxan.errors import InputError
from fluxan.generalization.displacement_field import Stencil, displacements_of
from fluxan.generalization.relaxation import Relaxed, relax

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ase import Atoms
    from ase.calculators.calculator import Calculator

    from fluxan.generalization.defects import Defect


@dataclass(frozen=True, slots=True, eq=False)
class DefectErrors:
    """A defect by model and reference.

    Attributes
    ----------
    geometry : float
        ``‖Dū − Dū_model‖`` in the discrete energy norm, Å; NaN where a relaxation cannot be used.
    reference_norm : float
        ``‖Dū‖`` of the reference, Å.
    formation_energies : (2,) tuple of float
        Of reference and model, eV.
    relaxed : (2,) tuple of Relaxed
        Both relaxations.
    reason : str
        Why the errors must not be used, in words; empty if they can.
    """

    geometry: float
    reference_norm: float
    formation_energies: tuple[float, float]
    relaxed: tuple[Relaxed, Relaxed]
    reason: str

    @property
    def energy(self) -> float:
        """Error of the formation energy, eV."""
        return self.formation_energies[1] - self.formation_energies[0]


def defect_errors(
    defect: Defect,
    reference: Calculator,
    model: Calculator,
    *,
    tolerance: float = 1e-4,
    scale: float = 1.0,
    chemical_potentials: Mapping[str, float] | None = None,
) -> DefectErrors:
    """Relax a defect with reference and model, each from the same start, and compare.

    Parameters
    ----------
    defect : Defect
        In a cell that suits the reference.
    reference, model : ase.calculators.calculator.Calculator
        Give energies and forces.
    tolerance : float
        Of the relaxations, eV/Å.
    scale : float
        Lattice constant of the model's cell over that of the reference's: 1 for the same cell. Displacements of the
        model are divided by it.
    chemical_potentials : mapping of str to float, optional
        As in `Defect.formation_energy`, for both.

    Raises
    ------
    InputError
        The scale is not positive, or `relax` fails.
    """
    if not 0.5 < scale < 2:
        raise InputError(f"the model's lattice constant is {scale} times the reference's; expected something near 1")
    stencil, fields, energies, relaxed = Stencil(defect.perfect), [], [], []
    for name, calculator, factor in (("reference", reference, 1.0), ("model", model, scale)):
        one = relax(_scaled(defect.atoms, factor), calculator, tolerance=tolerance)
        perfect = _scaled(defect.perfect, factor)
        perfect.calc = calculator
        energies.append(defect.formation_energy(one.energy, perfect.get_potential_energy(), chemical_potentials))
        fields.append(displacements_of(defect, one.atoms) / factor)
        relaxed.append((name, one))
    reasons = [f"{name}: {one.reason}" for name, one in relaxed if one.reason]
    if not reasons and _apart(stencil, fields):
        reasons = ["reference and model relaxed into different basins"]
    geometry = float("nan") if reasons else stencil.norm(fields[1] - fields[0])
    return DefectErrors(
        geometry,
        stencil.norm(fields[0]),
        (energies[0], energies[1]),
        (relaxed[0][1], relaxed[1][1]),
        "; ".join(reasons),
    )


def _scaled(atoms: Atoms, factor: float) -> Atoms:
    found = atoms.copy()
    found.set_cell(np.array(atoms.cell) * factor, scale_atoms=True)
    return found


def _apart(stencil: Stencil, fields: list[np.ndarray]) -> bool:
    """Whether an atom is further apart in the two structures than a third of the distance of neighbours."""
    difference = np.nan_to_num(fields[1] - fields[0])
    return bool(np.linalg.norm(difference, axis=1).max() > stencil.nearest / 3)
