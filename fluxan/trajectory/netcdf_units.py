"""Parses units that NetCDF trajectories give in words: "angstrom/picosecond", or LAMMPS' "(Kcal/mol)/angstrom)".

Strings of LAMMPS' unit styles: ``src/NETCDF/netcdf_units.cpp``; releases before 2021 give only those of the time and
the cell. AMBER: http://ambermd.org/netcdf/nctraj.xhtml. MDAnalysis and mdtraj write those of AMBER, or nm.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

from scipy import constants as _c

from fluxan.units import ANGSTROM, KCAL_PER_MOL, KJ_PER_MOL, LENGTH, MASS_VELOCITY2, PICOSECOND, TIME

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Powers of length, time, mass and angle.
Dimension = tuple[int, int, int, int]
_LENGTH, _TIME, _MASS, _ANGLE, _NONE = (1, 0, 0, 0), (0, 1, 0, 0), (0, 0, 1, 0), (0, 0, 0, 1), (0, 0, 0, 0)
_ENERGY, _FORCE, _VELOCITY = (2, -2, 1, 0), (1, -2, 1, 0), (1, -1, 0, 0)

#: u Å²/ps² per eV, u Å/ps² per newton, u per kg, eV per hartree.
_EV = 1 / MASS_VELOCITY2
_NEWTON = PICOSECOND**2 / (_c.atomic_mass * ANGSTROM)
_KG = 1 / _c.atomic_mass
_HARTREE = _c.physical_constants["Hartree energy in eV"][0]
#: LAMMPS' electron style: Bohr sqrt(u/Hartree), ps.
_LAMMPS_ATOMIC_TIME = LENGTH["bohr"] * math.sqrt(MASS_VELOCITY2 / _HARTREE)

_UNITS: dict[str, tuple[float, Dimension]] = {}
for _names, _value, _dimension in (
    ("angstrom a å", 1.0, _LENGTH),
    ("nanometer nanometre nm", LENGTH["nm"], _LENGTH),
    ("picometer pm", 1e-2, _LENGTH),
    ("bohr", LENGTH["bohr"], _LENGTH),
    ("meter metre m", LENGTH["m"], _LENGTH),
    ("centimeter cm", 1e-2 * LENGTH["m"], _LENGTH),
    ("micrometer um", 1e-6 * LENGTH["m"], _LENGTH),
    ("picosecond ps", 1.0, _TIME),
    ("femtosecond femtosecon fs", TIME["fs"], _TIME),
    ("nanosecond ns", TIME["ns"], _TIME),
    ("microsecond us", 1e6, _TIME),
    ("second s", TIME["s"], _TIME),
    ("atomictime", _LAMMPS_ATOMIC_TIME, _TIME),
    ("ev", _EV, _ENERGY),
    ("hartree", _HARTREE * _EV, _ENERGY),
    ("kilocalorie kcal", KCAL_PER_MOL * _c.N_A * _EV, _ENERGY),
    ("kilojoule kj", KJ_PER_MOL * _c.N_A * _EV, _ENERGY),
    ("newton", _NEWTON, _FORCE),
    ("dyne", 1e-5 * _NEWTON, _FORCE),
    ("picogram", 1e-15 * _KG, _MASS),
    ("attogram", 1e-21 * _KG, _MASS),
    ("u amu dalton", 1.0, _MASS),
    ("mole mol", _c.N_A, _NONE),
    ("degree deg °", 1.0, _ANGLE),
    ("radian rad", 180.0 / math.pi, _ANGLE),
):
    _UNITS |= dict.fromkeys(_names.split(), (_value, _dimension))

#: Dimensions of the variables of the AMBER convention; others have no unit.
DIMENSIONS: dict[str, Dimension] = {
    "time": _TIME,
    "coordinates": _LENGTH,
    "velocities": _VELOCITY,
    "forces": _FORCE,
    "cell_lengths": _LENGTH,
    "cell_vectors": _LENGTH,
    "cell_angles": _ANGLE,
}
_WORD = re.compile(r"(/?)\s*([a-zå°]+)\s*(?:\^|\*\*)?\s*(-?\d+)?")


def factor(name: str, unit: str) -> float | None:
    """Factor from a unit to fluxan's (Å, ps, Å/ps, eV/Å or degrees).

    Parameters
    ----------
    name : str
        Name of the variable, a key of `DIMENSIONS`.
    unit : str
        Its unit in words.

    Returns
    -------
    float or None
        None where the unit is unknown or of another dimension.
    """
    parsed = _parse(unit)
    dimension = DIMENSIONS[name]
    if parsed is None or parsed[1] != dimension:
        return None
    return parsed[0] * MASS_VELOCITY2 if dimension == _FORCE else parsed[0]


def example_units(name: str) -> str:
    """Examples of known units of a variable, for messages."""
    lengths, times = "angstrom, nanometer, bohr", "picosecond, femtosecond, nanosecond"
    named = {
        "time": times,
        "velocities": f"{lengths} / {times}",
        "forces": f"eV, hartree, kilocalorie/mole, kilojoule/mole / {lengths}",
        "cell_angles": "degree, radian",
    }
    return named.get(name, lengths)


def lammps_unit(name: str, named: Mapping[str, str]) -> str | None:
    """Unit of a variable for which an older LAMMPS wrote none, from the units of time and cell.

    Parameters
    ----------
    name : str
        Name of the variable.
    named : mapping of str to str
        Units of all variables, empty where they have none.

    Returns
    -------
    str or None
        None where the convention's own unit applies.
    """
    time, length = named.get("time", "").rstrip("\0"), named.get("cell_lengths", "").rstrip("\0")
    if "lj" in (time, length):
        return None if name == "cell_angles" else "lj"
    if name in {"coordinates", "unwrapped_coordinates", "cell_lengths"}:
        return length or None
    if name == "velocities" and length and time:
        return "bohr/atomic time units" if length.lower() == "bohr" else f"{length}/{time}"
    return None


def _parse(unit: str) -> tuple[float, Dimension] | None:
    """Value and dimension of a product of units, e.g. "kcal/(mol angstrom)"; None where a word is unknown.

    A slash divides only by the next unit, or by everything within a parenthesis.
    """
    text = re.sub(r"atomic time units?", "atomictime", unit.strip("\0 ").lower())
    text = re.sub(r"/\s*\(([^()]+)\)", lambda match: "/" + "/".join(re.split(r"[\s*·]+", match[1].strip())), text)
    text = re.sub(r"[()\[\]{}]", " ", text).strip()
    value, powers, end = 1.0, [0, 0, 0, 0], 0
    while end < len(text):
        match = _WORD.match(text, end)
        if match is None:
            return None
        word = match[2] if match[2] in _UNITS else match[2].removesuffix("s")
        if word not in _UNITS:
            return None
        power = int(match[3] or 1) * (-1 if match[1] else 1)
        value *= _UNITS[word][0] ** power
        powers = [old + power * new for old, new in zip(powers, _UNITS[word][1], strict=True)]
        end = match.end()
        end += len(text[end:]) - len(text[end:].lstrip(" *·."))
    return (value, (powers[0], powers[1], powers[2], powers[3])) if text else None
