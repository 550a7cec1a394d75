"""What a reference says of training structures, as rows that are linear in the weights of a linear model.

Energies and forces of patches of the crystal, with or without a defect; force constants of the perfect crystal, by
central differences of the displacements that its symmetry leaves (phonopy); virials of strained crystals. These are the
observations whose errors bound the error of a defect (C. Ortner, Y. Wang, arXiv:2209.05366, section 3).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
from ase.calculators.calculator import PropertyNotImplementedError

from fluxan.errors import FluxanError, InputError
from fluxan.neighbors import build_graph
from fluxan.system import Frame
from fluxan.training.batches import collate
from fluxan.training.linear_design import Triangle, basis_rows, mean_squares_of
from fluxan.training.linear_fit import set_weights, solution_of
from fluxan.trajectory.labelled_frame import LabelledFrame

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from ase import Atoms
    from ase.calculators.calculator import Calculator

    from fluxan.potentials.linear_potential import LinearPotential
    from fluxan.training.linear_design import BasisRows

#: Names of the observations, and the units of their errors.
UNITS = {"energy": "eV/atom", "forces": "eV/A", "force_constants": "eV/A^2", "virial": "eV/atom"}
#: Strains of the crystals whose virials are observed.
STRAINS = (0.01, -0.01)


@dataclass(frozen=True, slots=True, eq=False)
class Observations:
    """Rows of every observation, reduced to one triangle each, for one set of descriptors.

    Attributes
    ----------
    roots : dict of str to (n, n_columns + 1) float64
        By name, as in `UNITS`: R such that ``‖R [x, −1]‖²`` is the mean square error for the weights x.
    counts : dict of str to int
        Number of rows of each.
    """

    roots: dict[str, np.ndarray]
    counts: dict[str, int]

    def fit(self, model: LinearPotential, weights: Mapping[str, float]) -> LinearPotential:
        """Give a model the weights that minimise the weighted sum of the mean squares of some observations.

        Parameters
        ----------
        model : LinearPotential
            With the descriptors of the rows; is changed.
        weights : mapping of str to float
            By observation; those that are not named are not fitted.

        Raises
        ------
        InputError
            A name is not known or was not observed, or no weight is positive.
        """
        for name, weight in weights.items():
            if name not in UNITS:
                raise InputError(f"{name!r} is no observation; known ones: {', '.join(UNITS)}")
            if name not in self.roots:
                raise InputError(f"{name} was not observed")
            if not 0 <= weight < np.inf:
                raise InputError(f"the weight of {name} is {weight}; it must not be negative")
        chosen = {name: self.roots[name] for name, weight in weights.items() if weight}
        if not chosen:
            raise InputError("no observation has a weight")
        return set_weights(model, solution_of(chosen, weights))

    def errors(self, model: LinearPotential) -> dict[str, float]:
        """Root mean square error of a model for every observation, in `UNITS`."""
        weights = np.concatenate([part.detach().numpy().ravel() for part in (model.weights, model.offsets)])
        return {name: square**0.5 for name, square in mean_squares_of(self.roots, weights).items()}


def observe(
    model: LinearPotential,
    patches: Iterable[LabelledFrame],
    *,
    displaced: Iterable[tuple[LabelledFrame, LabelledFrame, float]] = (),
    strained: Iterable[LabelledFrame] = (),
) -> Observations:
    """Rows of labelled structures for a model's descriptors.

    Parameters
    ----------
    model : LinearPotential
        Its weights are not used.
    patches : iterable of LabelledFrame
        Their energies and forces are observed.
    displaced : iterable of (LabelledFrame, LabelledFrame, float)
        Crystals with one atom displaced forth and back, and the distance between the two, Å: `displaced_crystals`.
    strained : iterable of LabelledFrame
        Their virials are observed: `strained_crystals`.
    """
    triangles: dict[str, Triangle] = {}

    def add(name: str, rows: np.ndarray) -> None:
        if len(rows):
            triangles.setdefault(name, Triangle(rows.shape[1])).add(rows)

    for patch in patches:
        rows = _rows(model, patch)
        add("energy", rows.energy)
        add("forces", rows.forces)
    for forth, back, distance in displaced:
        add("force_constants", (_rows(model, back).forces - _rows(model, forth).forces) / distance)
    for crystal in strained:
        add("virial", _rows(model, crystal).virial)
    return Observations(
        {name: triangle.root() for name, triangle in triangles.items()},
        {name: triangle.n_rows for name, triangle in triangles.items()},
    )


def labelled_by(atoms: Atoms, calculator: Calculator, name: str = "", *, virial: bool = False) -> LabelledFrame:
    """Energy, forces and, where asked for, the virial that a reference gives a structure.

    Raises
    ------
    InputError
        The reference does not give one of them, or gives numbers that are not finite.
    """
    computed = atoms.copy()
    computed.calc = calculator
    frame = Frame(atoms.positions, None, np.array(atoms.cell), atoms.numbers, pbc=tuple(atoms.pbc))
    try:
        energy, forces = float(computed.get_potential_energy()), computed.get_forces(apply_constraint=False)
        stress = computed.get_stress(voigt=False) if virial else None
    except PropertyNotImplementedError as error:
        raise InputError(f"the reference does not give all of energy, forces and stress: {error}") from None
    except FluxanError:
        raise
    except Exception as error:  # calculators of others may raise anything
        raise InputError(f"the reference fails for a structure ({name or 'unnamed'}): {error}") from error
    return LabelledFrame(frame, energy, forces, None if stress is None else -atoms.get_volume() * stress, None, name)


def displaced_crystals(
    crystal: Atoms, calculator: Calculator, distance: float = 0.01
) -> list[tuple[LabelledFrame, LabelledFrame, float]]:
    """Labelled crystals with one atom displaced, forth and back, for all displacements that symmetry leaves.

    Parameters
    ----------
    crystal : ase.Atoms
        Supercell of the perfect crystal, with sides of twice the range of the force constants or more.
    calculator : ase.calculators.calculator.Calculator
        Of the reference.
    distance : float
        Displacement, Å.

    Raises
    ------
    InputError
        phonopy is missing, or the reference gives no forces.
    """
    try:
        from phonopy import Phonopy
        from phonopy.structure.atoms import PhonopyAtoms
    except ImportError:
        raise InputError("force constants need phonopy: pip install 'fluxan[defects]'") from None
    cell = PhonopyAtoms(cell=np.array(crystal.cell), positions=crystal.positions, numbers=crystal.numbers)
    phonons = Phonopy(cell, supercell_matrix=np.eye(3, dtype=int), primitive_matrix="P", log_level=0)
    phonons.generate_displacements(distance=distance, is_plusminus=False)
    pairs = []
    for number, *components in np.asarray(phonons.displacements, dtype=float).tolist():
        atom, step = int(number), np.array(components)
        both = []
        for sign in (1, -1):
            moved = crystal.copy()
            moved.positions[atom] += sign * step
            both.append(labelled_by(moved, calculator, "displaced"))
        pairs.append((both[0], both[1], 2 * float(np.linalg.norm(step))))
    return pairs


def strained_crystals(
    crystal: Atoms, calculator: Calculator, strains: Sequence[float] = STRAINS
) -> list[LabelledFrame]:
    """Labelled crystals under each of the six strains, and without, the atoms of the basis carried along.

    Raises
    ------
    InputError
        The reference gives no stress.
    """
    found = [labelled_by(crystal, calculator, "strained", virial=True)]
    for (i, j), strain in product([(0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)], strains):
        stretch = np.eye(3)
        stretch[i, j] += 0.5 * strain
        stretch[j, i] += 0.5 * strain
        moved = crystal.copy()
        moved.set_cell(np.array(crystal.cell) @ stretch, scale_atoms=True)
        found.append(labelled_by(moved, calculator, "strained", virial=True))
    return found


def _rows(model: LinearPotential, item: LabelledFrame) -> BasisRows:
    graph = build_graph(item.frame, float(model.cutoff))
    return basis_rows(model, collate([item], [graph], model.elements), None)
