"""What the error of a defect is made of: the core, force constants beyond the training cell, and the rest beyond it.

At the reference's structure the model exerts forces Δf, which move it to its own. Beyond L, half the side of a training
cell, they are split by expanding both potentials about the perfect crystal: ``Δf = ΔΦ u + O(u²)``, with Φ the force
constants and u the displacements of the reference. Each part is then applied by itself to the model, and its share of
the error is the field that it causes. These are the three terms of C. Ortner, Y. Wang (arXiv:2209.05366), whose
magnitudes are ε_F, ε_FC L^−d/2 and L^−3d/2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from ase.calculators.calculator import Calculator, all_changes

from fluxan.generalization.displacement_field import Stencil, displacements_of
from fluxan.generalization.relaxation import forget, relax

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ase import Atoms

    from fluxan.generalization.defect_errors import RelaxedDefect
    from fluxan.generalization.defects import Defect

#: Largest displacement of the crystals from which ``ΔΦ u`` is taken, Å.
_SMALL = 0.01
#: Largest force of a part, over the tolerance of the relaxation, at least.
_VISIBLE = 100.0


class ErrorParts(NamedTuple):
    """Geometry error of each part by itself, Å; their fields add up to that of the error, to first order.

    Attributes
    ----------
    core : float
        Forces on atoms within L of the defect.
    force_constants : float
        Forces beyond, as far as they are linear in the displacements.
    anharmonic : float
        Forces beyond, the rest.
    """

    core: float
    force_constants: float
    anharmonic: float

    @property
    def largest(self) -> str:
        """Name of the largest part."""
        return max(self._fields, key=lambda name: getattr(self, name))


class _WithForces(Calculator):
    """A calculator with constant forces added."""

    implemented_properties = ["energy", "forces"]  # noqa: RUF012, as ASE has it

    def __init__(self, calculator: Calculator, forces: np.ndarray, origin: np.ndarray) -> None:
        super().__init__()
        self._calculator, self._forces, self._origin = calculator, forces, origin

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = tuple(all_changes),
    ) -> None:
        """Fill `results`; ASE calls this."""
        super().calculate(atoms, properties, system_changes)
        bare = self.atoms.copy()
        bare.set_constraint()
        bare.calc = self._calculator
        work = float((self._forces * (bare.positions - self._origin)).sum())
        self.results: dict[str, Any] = {
            "energy": bare.get_potential_energy() - work,
            "forces": bare.get_forces() + self._forces,
        }


def error_parts(
    defect: Defect,
    reference_relaxed: RelaxedDefect,
    reference: Calculator,
    model: Calculator,
    *,
    length: float,
    tolerance: float = 1e-4,
) -> ErrorParts | None:
    """Split the geometry error of a model in the reference's cell; None where a relaxation does not end.

    Parameters
    ----------
    defect : Defect
        The defect.
    reference_relaxed : RelaxedDefect
        Relaxed with the reference.
    reference, model : ase.calculators.calculator.Calculator
        The reference is evaluated three times.
    length : float
        L, Å.
    tolerance : float
        Of the relaxations, eV/Å.

    Raises
    ------
    InputError
        A relaxation fails.
    """
    atoms = reference_relaxed.relaxed.atoms
    total = _forces(atoms, model) - _forces(atoms, reference)
    on_site = defect.sites >= 0
    far = np.zeros(len(atoms), dtype=bool)
    far[on_site] = defect.distances[defect.sites[on_site]] > length
    linear = np.zeros_like(total)
    field = np.nan_to_num(reference_relaxed.field(defect))
    linear[on_site] = _linear_forces(defect, field, reference, model)[defect.sites[on_site]]
    linear[~far] = 0.0
    core = np.where(far[:, None], 0.0, total)
    stencil, errors = Stencil(defect.perfect), []
    for part in (core, linear, total - core - linear):
        # Small forces, whose response is linear, are enlarged so that the tolerance does not hide them.
        largest = float(np.abs(part).max())
        factor = max(1.0, _VISIBLE * tolerance / largest) if largest > 0 else 1.0
        added = factor * part - total
        if not atoms.constraints:
            added -= added.mean(axis=0)  # a force on all atoms alike moves the whole crystal without end
        moved = relax(atoms, _WithForces(model, added, atoms.positions.copy()), tolerance=tolerance)
        if moved.reason:
            return None
        shift = displacements_of(defect, moved.atoms) - displacements_of(defect, atoms)
        errors.append(stencil.norm(shift) / factor)
    return ErrorParts(*errors)


def _forces(atoms: Atoms, calculator: Calculator) -> np.ndarray:
    bare = atoms.copy()
    forget(calculator)
    bare.calc = calculator
    return np.asarray(bare.get_forces(apply_constraint=False))


def _linear_forces(defect: Defect, field: np.ndarray, reference: Calculator, model: Calculator) -> np.ndarray:
    """Forces ``ΔΦ u`` on the perfect crystal by central differences, (n_sites, 3) eV/Å."""
    largest = float(np.linalg.norm(field, axis=1).max())
    share = min(1.0, _SMALL / largest) if largest > 0 else 1.0
    found = np.zeros_like(field)
    for sign in (1, -1):
        moved = defect.perfect.copy()
        moved.positions += sign * share * field
        found += sign * (_forces(moved, model) - _forces(moved, reference))
    return found / (2 * share)
