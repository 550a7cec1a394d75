"""Units of the codes whose fluxes are read, as factors to eV, Å, ps and K."""

from __future__ import annotations

from dataclasses import dataclass

from scipy import constants as _c

from fluxan.errors import InputError
from fluxan.units import ANGSTROM, KCAL_PER_MOL, LENGTH, PICOSECOND, TIME, VELOCITY

_HARTREE = _c.physical_constants["Hartree energy in eV"][0]
_ATOMIC_TIME = _c.physical_constants["atomic unit of time"][0] / PICOSECOND


@dataclass(frozen=True)
class UnitStyle:
    """Factors of one style of units.

    Attributes
    ----------
    flux : float
        eV Å/ps per unit of energy times velocity.
    time : float
        ps per unit.
    volume : float
        Å³ per unit.
    temperature : float
        K per unit.
    energy : float
        eV per unit.
    timestep : float, optional
        LAMMPS' default time step, in the style's own unit of time; None where the style is not LAMMPS'.
    """

    flux: float
    time: float = 1.0
    volume: float = 1.0
    temperature: float = 1.0
    energy: float = 1.0
    timestep: float | None = None


#: "lj" is not converted: results are in reduced units too.
STYLES = {
    "metal": UnitStyle(1.0, timestep=0.001),
    "real": UnitStyle(KCAL_PER_MOL * VELOCITY["A/fs"], TIME["fs"], energy=KCAL_PER_MOL, timestep=1.0),
    "si": UnitStyle(VELOCITY["m/s"] / _c.eV, TIME["s"], volume=LENGTH["m"] ** 3, energy=1 / _c.eV, timestep=1e-8),
    "lj": UnitStyle(1.0, timestep=0.005),
    "atomic": UnitStyle(
        _HARTREE * LENGTH["bohr"] / _ATOMIC_TIME, _ATOMIC_TIME, LENGTH["bohr"] ** 3, _HARTREE * _c.eV / _c.k, _HARTREE
    ),
    "gpumd": UnitStyle(VELOCITY["ase"], TIME["fs"]),
    "eV-A-fs": UnitStyle(VELOCITY["A/fs"], TIME["fs"]),
}

#: Units that i-PI writes in braces after a property's name: factors to ps, Å³ and K.
IPI = {
    "time": {"second": TIME["s"], "picosecond": 1.0, "femtosecond": TIME["fs"], "atomic_unit": _ATOMIC_TIME},
    "volume": {"angstrom3": 1.0, "atomic_unit": LENGTH["bohr"] ** 3, "m3": ANGSTROM**-3},
    "temperature": {"kelvin": 1.0, "atomic_unit": _HARTREE * _c.eV / _c.k},
}


def unit_style(name: str) -> UnitStyle:
    """Look up a style by name.

    Raises
    ------
    InputError
        An unknown name.
    """
    if name not in STYLES:
        raise InputError(f"units is {name!r}, expected one of {', '.join(STYLES)}")
    return STYLES[name]
