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


@dataclass(frozen=True, slots=True, eq=False)
class RelaxedDefect:
    """A defect that was relaxed with one potential.

    Attributes
    ----------
    relaxed : Relaxed
        The relaxation.
    perfect_energy : float
        Of the perfect crystal in the same cell, eV.
    scale : float
        Lattice constant over that of the defect's cell.
    """

    relaxed: Relaxed
    perfect_energy: float
    scale: float = 1.0

    def field(self, defect: Defect) -> np.ndarray:
        """Displacements of the sites in the defect's own cell, (n_sites, 3) Å; NaN where a site is empty."""
        return displacements_of(defect, self.relaxed.atoms) / self.scale


def relax_defect(
    defect: Defect, calculator: Calculator, *, tolerance: float = 1e-4, scale: float = 1.0, start: Relaxed | None = None
) -> RelaxedDefect:
    """Relax a defect, and evaluate the perfect crystal beside it.

    Parameters
    ----------
    defect : Defect
        In a cell that suits the reference.
    calculator : ase.calculators.calculator.Calculator
        Gives energies and forces.
    tolerance : float
        Of the relaxation, eV/Å.
    scale : float
        Lattice constant of the potential's cell over that of the defect's.
    start : Relaxed, optional
        Where the relaxation begins, such as where the reference's has ended, at a scale of 1; by default at
        ``defect.atoms``. The atoms have to stay near it.

    Raises
    ------
    InputError
        The scale is not near 1, or `relax` fails.
    """
    if not 0.5 < scale < 2:
        raise InputError(f"the model's lattice constant is {scale} times the reference's; expected something near 1")
    atoms = defect.atoms if start is None else start.atoms
    relaxed = relax(scaled(atoms, scale), calculator, tolerance=tolerance)
    perfect = scaled(defect.perfect, scale)
    perfect.calc = calculator
    return RelaxedDefect(relaxed, float(perfect.get_potential_energy()), scale)


def errors_between(
    defect: Defect,
    reference: RelaxedDefect,
    model: RelaxedDefect,
    chemical_potentials: Mapping[str, float] | None = None,
) -> DefectErrors:
    """Compare a defect that was relaxed with reference and model.

    Parameters
    ----------
    defect : Defect
        The one that was relaxed.
    reference, model : RelaxedDefect
        From `relax_defect`.
    chemical_potentials : mapping of str to float, optional
        As in `Defect.formation_energy`, for both.
    """
    stencil, both = Stencil(defect.perfect), (reference, model)
    energies = [defect.formation_energy(x.relaxed.energy, x.perfect_energy, chemical_potentials) for x in both]
    fields = [x.field(defect) for x in both]
    named = zip(("reference", "model"), both, strict=True)
    reasons = [f"{name}: {x.relaxed.reason}" for name, x in named if x.relaxed.reason]
    if not reasons and _apart(stencil, fields):
        reasons = ["reference and model relaxed into different basins"]
    geometry = float("nan") if reasons else stencil.norm(fields[1] - fields[0])
    return DefectErrors(
        geometry,
        stencil.norm(fields[0]),
        (energies[0], energies[1]),
        (reference.relaxed, model.relaxed),
        "; ".join(reasons),
    )


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
        The scale is not near 1, or `relax` fails.
    """
    one = relax_defect(defect, reference, tolerance=tolerance)
    other = relax_defect(defect, model, tolerance=tolerance, scale=scale)
    return errors_between(defect, one, other, chemical_potentials)


def scaled(atoms: Atoms, factor: float) -> Atoms:
    """Atoms in a cell that is larger by a factor in all directions, and moved with it."""
    found = atoms.copy()
    found.set_cell(np.array(atoms.cell) * factor, scale_atoms=True)
    return found


def _apart(stencil: Stencil, fields: list[np.ndarray]) -> bool:
    """Whether an atom is further apart in the two structures than a third of the distance of neighbours."""
    difference = np.nan_to_num(fields[1] - fields[0])
    return bool(np.linalg.norm(difference, axis=1).max() > stencil.nearest / 3)
