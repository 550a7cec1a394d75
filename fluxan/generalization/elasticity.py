"""Elastic constants of crystals, with the atoms of the basis relaxed, by matscipy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from ase.optimize import LBFGS
from ase.units import GPa

from fluxan.errors import InputError

if TYPE_CHECKING:
    from ase import Atoms
    from ase.calculators.calculator import Calculator

#: Strains: two of each kind on either side, this far apart.
_STEPS, _DELTA = 5, 1e-3


def elastic_constants(
    crystal: Atoms, calculator: Calculator, *, tolerance: float = 1e-6, symmetry: str = "triclinic"
) -> np.ndarray:
    """Elastic constants in Voigt notation, (6, 6) GPa.

    Parameters
    ----------
    crystal : ase.Atoms
        Periodic, with its cell and atoms relaxed; is not changed.
    calculator : ase.calculators.calculator.Calculator
        Gives energies, forces and stresses.
    tolerance : float
        Largest force that is left in each strained crystal, eV/Å.
    symmetry : str
        Of the crystal, as `matscipy.elasticity.fit_elastic_constants` knows it, such as "cubic".

    Raises
    ------
    InputError
        The extra `fluxan[defects]` is missing, the crystal is not periodic, or the stresses are not finite.
    """
    try:
        from matscipy.elasticity import fit_elastic_constants
    except ImportError:
        raise InputError("elastic constants need matscipy: pip install 'fluxan[defects]'") from None
    if not all(crystal.pbc):
        raise InputError("elastic constants need a crystal that is periodic in all directions")
    atoms = crystal.copy()
    atoms.calc = calculator
    if not np.isfinite(atoms.get_stress()).all():
        raise InputError("the stress of the crystal is not finite")
    constants, _ = fit_elastic_constants(
        atoms,
        symmetry=symmetry,
        N_steps=_STEPS,
        delta=_DELTA,
        optimizer=LBFGS,
        verbose=False,
        fmax=tolerance,
        steps=500,
    )
    return np.asarray(constants) / GPa
