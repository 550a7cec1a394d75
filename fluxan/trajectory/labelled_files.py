"""Reads frames with energies, forces and stresses, through ASE: extended XYZ, ASE .traj and databases.

A frame of extended XYZ with the labels of a reference:

    8
    Lattice="5.5 0 0 0 5.5 0 0 0 5.5" Properties=species:S:1:pos:R:3:forces:R:3 energy=-0.612 stress="0.001 0 0 …"
    Ar 0.00000 0.00000 0.00000 0.0021 0.0006 -0.0008
    …

Neither format defines units, and programs differ in sign and order of the stress. Units are therefore stated by the
user; numbers of the stress are kept as they are read, for `fluxan.training.conventions`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fluxan.errors import FileError, FluxanError, InputError, TrajectoryError
from fluxan.system import Frame
from fluxan.trajectory.labelled_frame import LabelledFrame
from fluxan.trajectory.memory import record_of_atoms
from fluxan.units import ENERGY, LENGTH, PRESSURE, VELOCITY

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

#: Suffixes of the formats that are read; others of ASE's carry no labels, or are pickled.
_SUFFIXES = (".xyz", ".extxyz", ".traj", ".db", ".json")


@dataclass(frozen=True, slots=True)
class LabelUnits:
    """Units of the labels in a file; positions are in Å, as ASE defines them.

    Attributes
    ----------
    energy : str
        A key of `fluxan.units.ENERGY`.
    forces : str
        Energy over length, such as "eV/A" or "Hartree/bohr".
    stress : str
        A key of `fluxan.units.PRESSURE`, such as "eV/A^3" or "GPa"; empty where there is none.
    virial : str
        A key of `fluxan.units.ENERGY`; empty where there is none.
    velocities : str
        A key of `fluxan.units.VELOCITY`, for a column of velocities; momenta of ASE need none.
    """

    energy: str = "eV"
    forces: str = "eV/A"
    stress: str = ""
    virial: str = ""
    velocities: str = ""

    def factor(self, label: str) -> float:
        """Factor from the stated unit of a label to eV, eV/Å, eV/Å³ and Å/ps.

        Raises
        ------
        InputError
            The unit is not stated, or not known.
        """
        unit = getattr(self, label)
        tables = {"energy": ENERGY, "virial": ENERGY, "forces": _forces(), "stress": PRESSURE, "velocities": VELOCITY}
        table = tables[label]
        if not unit:
            raise InputError(f"the unit of its {label} is not stated; state one of {', '.join(table)}")
        if unit not in table:
            raise InputError(f"unit {unit!r} of {label} is not known; expected one of {', '.join(table)}")
        return table[unit]


@dataclass(frozen=True, slots=True)
class LabelKeys:
    """Names of the labels in a file: of columns, of ``key=value`` pairs, or of results of a calculator.

    Attributes
    ----------
    energy, forces, stress, virial, flux : str
        Names of the labels.
    trajectory : str
        Name of the pair that says which trajectory a frame comes from; where it is missing, the file is one.
    """

    energy: str = "energy"
    forces: str = "forces"
    stress: str = "stress"
    virial: str = "virial"
    flux: str = "heat_flux"
    trajectory: str = "trajectory"


class ReadFrame(NamedTuple):
    """A frame as it was read.

    Attributes
    ----------
    labelled : LabelledFrame
        Frame and labels, without a virial.
    stress : (6,) or (9,) float64 or None
        Stress times volume, or virial, eV, in the order and with the sign of the file.
    source : str
        "stress" or "virial", or "" where there is neither.
    where : str
        File and index, for messages.
    """

    labelled: LabelledFrame
    stress: np.ndarray | None
    source: str
    where: str


def read_labelled(
    paths: Sequence[str | Path], units: LabelUnits | None = None, keys: LabelKeys | None = None
) -> Iterator[ReadFrame]:
    """Read labelled frames from files.

    Parameters
    ----------
    paths : sequence of str or Path
        Extended XYZ, ASE .traj or ASE databases.
    units : LabelUnits, optional
        Units of the labels.
    keys : LabelKeys, optional
        Names of the labels.

    Yields
    ------
    ReadFrame

    Raises
    ------
    FileError
        A file is missing, or ASE cannot read it.
    TrajectoryError, InputError
        A frame or one of its labels is not usable; the message names file and frame.
    """
    units, keys = units or LabelUnits(), keys or LabelKeys()
    for path in map(Path, paths):
        for index, atoms in enumerate(_atoms(path)):
            where = f"{path}, frame {index}"
            try:
                yield _read(atoms, path, where, units, keys)
            except FluxanError as error:
                raise type(error)(f"{where}: {error}") from error


def _atoms(path: Path) -> Iterator[Any]:
    """ASE atoms of a file, one by one."""
    from ase.io import iread

    if not path.is_file():
        raise FileError(f"{path}: file not found")
    suffixes = [suffix for suffix in path.suffixes if suffix != ".gz"]
    if not suffixes or suffixes[-1] not in _SUFFIXES:
        raise FileError(f"{path}: expected labelled frames in one of {', '.join(_SUFFIXES)}")
    is_text = suffixes[-1] in {".xyz", ".extxyz"}
    count = 0
    try:
        for atoms in iread(str(path), index=":", format="extxyz" if is_text else None):
            yield atoms
            count += 1
    except FluxanError:
        raise
    except Exception as error:  # ASE's parsers raise any kind of exception
        raise FileError(f"{path}: ASE cannot read frame {count} ({type(error).__name__}: {error})") from error
    if not count:
        raise FileError(f"{path}: it holds no frame")


def _read(atoms: Any, path: Path, where: str, units: LabelUnits, keys: LabelKeys) -> ReadFrame:
    record = record_of_atoms(atoms)
    velocities = record.velocities
    for name in ("velocities", "vel", "velocity"):
        if velocities is None and name in atoms.arrays:
            velocities = atoms.arrays[name] * units.factor("velocities")
    frame = Frame(record.positions, velocities, record.cell, record.numbers, record.masses, pbc=record.pbc)
    labels: dict[str, Any] = {}
    for name in ("energy", "forces"):
        value = _numbers(_label(atoms, getattr(keys, name)), getattr(keys, name))
        labels[name] = None if value is None else value * units.factor(name)
    flux = _numbers(_label(atoms, keys.flux), keys.flux)
    stress, source = _stress(atoms, frame, units, keys)
    name = atoms.info.get(keys.trajectory, path.name)
    labelled = LabelledFrame(frame, labels["energy"], labels["forces"], None, flux, str(name))
    return ReadFrame(labelled, stress, source, where)


def _stress(atoms: Any, frame: Frame, units: LabelUnits, keys: LabelKeys) -> tuple[np.ndarray | None, str]:
    """Numbers of the virial, or of the stress times the volume, eV, and which of them the file has."""
    for source, name in (("virial", keys.virial), ("virial", "virials"), ("stress", keys.stress)):
        numbers = _numbers(_label(atoms, name), name)
        if numbers is None:
            continue
        if numbers.size not in {6, 9}:
            raise TrajectoryError(f"{name} has {numbers.size} numbers, expected 6 or 9")
        if frame.volume is None:
            # An open cell has no volume: the stress that a program prints there has no meaning.
            return None, ""
        factor = units.factor(source) * (frame.volume if source == "stress" else 1.0)
        return numbers.reshape(-1) * factor, source
    return None, ""


def _label(atoms: Any, name: str) -> Any:
    """Value of a label, wherever ASE has put it; None where there is none."""
    results = getattr(atoms.calc, "results", {})
    pairs = atoms.info.get("key_value_pairs", {})
    for place in (results, atoms.info, atoms.arrays, pairs, atoms.info.get("data", {})):
        if name in place:
            return place[name]
    return None


def _numbers(value: Any, name: str) -> np.ndarray | None:
    if value is None:
        return None
    try:
        numbers = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        raise TrajectoryError(f"{name} is {value!r}; expected numbers") from None
    if not np.isfinite(numbers).all():
        raise TrajectoryError(f"{name} is not finite")
    return numbers


def _forces() -> dict[str, float]:
    return {f"{energy}/{length}": e / LENGTH[length] for energy, e in ENERGY.items() for length in ("A", "bohr")}
