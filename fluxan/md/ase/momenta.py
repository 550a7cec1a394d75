"""Momenta of ASE atoms: drawn from the Maxwell-Boltzmann distribution, at rest as a whole, scaled to a temperature."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from ase import units

if TYPE_CHECKING:
    from ase import Atoms


def degrees_of_freedom(atoms: Atoms) -> int:
    """Number of degrees of freedom of the kinetic energy: periodic atoms have a centre of mass at rest."""
    return 3 * len(atoms) - (3 if atoms.pbc.any() else 0)


def draw_momenta(atoms: Atoms, temperature: float, random: np.random.Generator) -> None:
    """Give atoms Maxwell-Boltzmann momenta at a temperature, K, and no motion as a whole."""
    masses = atoms.get_masses()[:, None]
    width = np.sqrt(masses * temperature * units.kB)
    atoms.set_momenta(width * random.standard_normal((len(masses), 3)))
    stand_still(atoms)


def stand_still(atoms: Atoms) -> None:
    """Remove the motion of the centre of mass."""
    momenta = atoms.get_momenta()
    masses = atoms.get_masses()[:, None]
    atoms.set_constraint()
    atoms.set_momenta(momenta - masses * (momenta.sum(axis=0) / masses.sum()))


def scale_velocities(atoms: Atoms, temperature: float) -> None:
    """Scale velocities to exactly this temperature: a random deviation left by the thermostat would persist in NVE."""
    degrees = degrees_of_freedom(atoms)
    kinetic = atoms.get_kinetic_energy()
    if kinetic > 0:
        atoms.set_momenta(atoms.get_momenta() * np.sqrt(0.5 * degrees * temperature * units.kB / kinetic))
