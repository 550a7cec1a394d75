"""Units and constants. Internal units are LAMMPS 'metal': Å, ps, eV, u, K; constants are CODATA from scipy.

A table entry converts to internal units: ``x_nm * LENGTH["nm"]`` is in Å.
"""

from __future__ import annotations

from scipy import constants as _c

ANGSTROM = _c.angstrom
PICOSECOND = 1e-12

#: eV per (u Å²/ps²): kinetic energies are ``0.5 * m * v**2 * MASS_VELOCITY2``.
MASS_VELOCITY2 = _c.atomic_mass * (ANGSTROM / PICOSECOND) ** 2 / _c.eV

#: Boltzmann's constant, eV/K.
BOLTZMANN = _c.k / _c.eV

#: W/(m K) per eV/(Å ps K), the unit of ∫⟨J·J⟩dt/(V k_B T²).
CONDUCTIVITY = _c.eV / (ANGSTROM * PICOSECOND)

#: 1/(4πε₀), eV Å per squared elementary charge.
COULOMB = _c.e / (4 * _c.pi * _c.epsilon_0 * ANGSTROM)

#: One kcal/mol in eV.
KCAL_PER_MOL = 1e3 * _c.calorie / _c.N_A / _c.eV

#: One kJ/mol in eV.
KJ_PER_MOL = 1e3 / _c.N_A / _c.eV

#: eV per unit of energy.
ENERGY = {
    "eV": 1.0,
    "meV": 1e-3,
    "Hartree": _c.physical_constants["Hartree energy in eV"][0],
    "Ry": _c.physical_constants["Rydberg constant times hc in eV"][0],
    "kcal/mol": KCAL_PER_MOL,
    "kJ/mol": KJ_PER_MOL,
}

#: eV/Å³ per unit of stress or pressure.
PRESSURE = {
    "eV/A^3": 1.0,
    "GPa": _c.giga * ANGSTROM**3 / _c.eV,
    "kbar": 1e8 * ANGSTROM**3 / _c.eV,
    "bar": 1e5 * ANGSTROM**3 / _c.eV,
    "Hartree/bohr^3": _c.physical_constants["Hartree energy in eV"][0]
    / (_c.physical_constants["Bohr radius"][0] / ANGSTROM) ** 3,
}

#: Å per unit of length.
LENGTH = {"A": 1.0, "nm": 10.0, "bohr": _c.physical_constants["Bohr radius"][0] / ANGSTROM, "m": 1 / ANGSTROM}

#: ps per unit of time.
TIME = {"ps": 1.0, "fs": 1e-3, "ns": 1e3, "s": 1 / PICOSECOND}

#: Å/ps per unit of velocity. ``ase`` is sqrt(eV/u), ``amber`` is Å per 1/20.455 ps, which AMBER stores with that scale
#: factor, ``atomic`` is the Bohr radius times Hartree/ħ.
VELOCITY = {
    "A/ps": 1.0,
    "A/fs": 1e3,
    "nm/ps": 10.0,
    "m/s": 1e-2,
    "ase": MASS_VELOCITY2**-0.5,
    "amber": 20.455,
    "atomic": _c.physical_constants["atomic unit of velocity"][0] * 1e-2,
}
