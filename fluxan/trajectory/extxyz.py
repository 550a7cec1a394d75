"""Extended XYZ: a comment line of ``key=value`` names the columns, the cell and the periodic directions.

Format: https://github.com/libAtoms/extxyz. A frame written by GPUMD:

    8
    Time=10.00000000 pbc="T T T" Lattice="20 0 0 0 20 0 0 0 20" Properties=species:S:1:pos:R:3:vel:R:3
    Ar 2.00000 2.00000 2.00000 0.00207873 0.000812694 0.000818686
    …

The format does not define the unit of velocities: ASE writes momenta in its own units, GPUMD velocities in Å/fs, others
Å/ps; the user must give it. Nor does it define the unit of ``Time=``, but some programs are recognised by their comment
lines:

    Time=10.00000000 pbc="T T T" Lattice="…" energy=… Properties=…                           GPUMD, fs
    Timestep=100 Time=0.100000 pbc="T T T" Lattice="…" Potential_energy=… Properties=…       LAMMPS, ps or fs
     i =      100, time =       50.000, E =       -17.1643447508                             CP2K, fs
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from fluxan.errors import InputError
from fluxan.system import PERIODIC
from fluxan.trajectory.frame_record import FrameRecord
from fluxan.trajectory.species import atomic_numbers, numbers_of_atoms
from fluxan.trajectory.text import header_line, whole_numbers
from fluxan.trajectory.text_frames import FrameHeader, TextTrajectory, decoded
from fluxan.units import TIME, VELOCITY

if TYPE_CHECKING:
    from pathlib import Path

    from fluxan.trajectory.reader_options import ReaderOptions

_PAIR = re.compile(r"""([^\s="']+)\s*=\s*(?:"([^"]*)"|'([^']*)'|\{([^}]*)\}|(\S+))""")
_PLAIN = "species:S:1:pos:R:3"
_VELOCITY_NAMES = ("vel", "velo", "velocities", "velocity")
_MOMENTA_NAMES = ("momenta",)
#: Unit of velocities of each LAMMPS unit style.
_STYLES = {"metal": "A/ps", "real": "A/fs"}
_TRUE = {"t", "true", "1", "p"}


@dataclass(slots=True)
class XyzHeader(FrameHeader):
    """Header of one frame.

    Attributes
    ----------
    cell : (3, 3) float64 or None
        Cell vectors in rows, Å; None without a periodic direction.
    pbc : (bool, bool, bool)
        Which directions are periodic.
    step : int or None
        Number of the MD step.
    time : float or None
        Time in the file's unit.
    writer : str or None
        The program that wrote the file, where its comment line shows it.
    """

    n_atoms: int = 0
    columns: dict[str, int] = field(default_factory=dict)
    text_column: int | None = None
    n_columns: int = 1
    cell: np.ndarray | None = None
    pbc: tuple[bool, bool, bool] = PERIODIC
    step: int | None = None
    time: float | None = None
    writer: str | None = None


class ExtxyzTrajectory(TextTrajectory[XyzHeader]):
    """Extended XYZ.

    With the option ``timestep`` the time is ``timestep`` times the ``step`` of the comment line, or the number of the
    frame where there is no step. Without it times come from ``Time=``, where its unit is known.
    """

    format = "extended XYZ"
    timestep_wins = True

    def __init__(self, path: Path, options: ReaderOptions) -> None:
        units = _STYLES.get(options.units or "", options.units)
        if units is not None and units not in VELOCITY:
            raise InputError(
                f"units={units!r} of velocities; expected one of {', '.join(VELOCITY)}, or LAMMPS' metal or real"
            )
        self._units, self._time_factor = units, 0.0
        super().__init__(path, options)

    def _begin(self, header: XyzHeader) -> None:
        self.velocity_factor = VELOCITY["ase" if "px" in header.columns else self._units or "A/ps"]
        if header.time is not None:
            self._time_factor = self._unit_of_time(header)
        self.has_time = self.options.timestep is not None or self._time_factor > 0
        if "vx" in header.columns and self._units is None:
            raise InputError(
                "the unit of its velocity column is ambiguous; name it: units= one of "
                f"{', '.join(VELOCITY)} (GPUMD writes A/fs)"
            )

    def _unit_of_time(self, header: XyzHeader) -> float:
        """Unit of ``Time=``, ps; 0 where it is not known."""
        if header.writer in {"GPUMD", "CP2K"}:
            return TIME["fs"]
        style = {"A/ps": "ps", "A/fs": "fs"}.get(self._units or "") if header.writer == "LAMMPS" else None
        if style is not None:
            return TIME[style]
        hint = "LAMMPS writes ps in units metal and fs in real: name them with units="
        other = "GPUMD writes fs, others ps"
        self.time_problem = f"the unit of its Time= is ambiguous ({hint if header.writer == 'LAMMPS' else other})"
        return 0.0

    def unit_advice(self, unit: str) -> str:
        """Advise how to read velocities in another unit; momenta are always in ASE's."""
        named = f"{unit} (units={unit!r})"
        return super().unit_advice(unit) if self._units is None else named

    def _parse_header(self, first: str, file: BinaryIO) -> XyzHeader:
        try:
            n_atoms = int(first)
        except ValueError:
            raise InputError(f"its first line is {first[:40]!r}; expected the number of atoms") from None
        if n_atoms < 1:
            raise InputError(f"its number of atoms is {n_atoms}")
        comment = decoded(header_line(file))
        # key=value pairs by lower-case key; values may be quoted or in braces.
        pairs = {m[1].lower(): next(v for v in m.groups()[1:] if v is not None) for m in _PAIR.finditer(comment)}
        header = XyzHeader(n_atoms)
        _choose_columns(header, pairs.get("properties", _PLAIN))
        _read_cell(header, pairs)
        header.writer = _writer(comment)
        step = pairs.get("step", pairs.get("timestep", "")).rstrip(",")
        header.step = int(step) if step.isdecimal() else None
        header.time = _number(pairs.get("time", ""))
        return header

    def _record(self, header: XyzHeader, table: np.ndarray, words: Any) -> FrameRecord:
        place = {name: i for i, name in enumerate(header.columns)}
        masses = table[:, place["mass"]] if "mass" in place else None
        numbers = self._numbers(table, place, words)
        return FrameRecord(
            positions=table[:, :3],
            velocities=self._velocities(table, place, masses, numbers),
            cell=header.cell,
            numbers=numbers,
            masses=masses,
            pbc=header.pbc,
            step=header.step,
            time=header.time * self._time_factor if header.time is not None and self._time_factor else None,
        )

    def _velocities(
        self, table: np.ndarray, place: dict[str, int], masses: np.ndarray | None, numbers: np.ndarray
    ) -> np.ndarray | None:
        """Velocities, Å/ps, from a column of velocities or of momenta divided by masses."""
        if "vx" in place and self._units is not None:
            return table[:, 3:6] * VELOCITY[self._units]
        if "px" not in place:
            return None
        if masses is None:
            from ase.data import atomic_masses

            masses = np.asarray(atomic_masses)[numbers]
        first = place["px"]
        return table[:, first : first + 3] / masses[:, None] * VELOCITY["ase"]

    def _numbers(self, table: np.ndarray, place: dict[str, int], words: Any) -> np.ndarray:
        if self.options.elements is not None or (words is None and "z" not in place):
            return numbers_of_atoms(len(table), self.options, what=self.name)
        if words is None:
            return whole_numbers(table[:, place["z"]], "atomic number")
        return atomic_numbers(words.categories)[words.codes]


def _writer(comment: str) -> str | None:
    """Name of the program that wrote a comment line with a time, where its form shows it."""
    if re.match(r"Timestep=\d+ Time=", comment):
        return "LAMMPS"
    if re.match(r"Time=\S+ (step=|pbc=|uncertainty=)", comment):
        return "GPUMD"
    return "CP2K" if re.match(r"i = +\d+, time = +\S+, +E =", comment) else None


def _number(word: str) -> float | None:
    """Parse a finite number; None for anything else."""
    try:
        value = float(word.rstrip(","))
    except ValueError:
        return None
    return value if np.isfinite(value) else None


def _choose_columns(header: XyzHeader, properties: str) -> None:
    """Find the columns that are read, from the ``name:type:count`` triples of ``Properties=``."""
    fields = properties.split(":")
    start: dict[str, tuple[int, int]] = {}
    column = 0
    for name, count in zip(fields[::3], fields[2::3], strict=False):
        if not count.isdecimal() or not 0 < int(count) < 1000:
            raise InputError(f"Properties={properties[:80]!r} cannot be read; expected name:type:count triples")
        start[name.lower()] = (column, int(count))
        column += int(count)
    columns: dict[str, int] = {}
    groups = (
        (("x", "y", "z"), ("pos", "positions")),
        (("vx", "vy", "vz"), _VELOCITY_NAMES),
        (("px", "py", "pz"), _MOMENTA_NAMES),
    )
    for axes, names in groups:
        found = next((start[name] for name in names if name in start and start[name][1] == 3), None)
        if found is not None:
            columns |= {axis: found[0] + k for k, axis in enumerate(axes)}
    columns |= {
        key: start[name][0] for key, name in (("mass", "mass"), ("mass", "masses"), ("z", "z")) if name in start
    }
    if "x" not in columns:
        raise InputError(f"Properties={properties[:80]!r} name no positions (pos:R:3)")
    header.columns, header.n_columns = columns, column
    header.text_column = start.get("species", start.get("symbols", (None,)))[0]


def _read_cell(header: XyzHeader, pairs: dict[str, str]) -> None:
    """Read cell vectors and periodic directions from ``Lattice=`` and ``pbc=``."""
    lattice = pairs.get("lattice")
    if lattice is None:
        return
    try:
        header.cell = np.array([float(word) for word in lattice.replace(",", " ").split()]).reshape(3, 3)
    except ValueError:
        raise InputError(f"Lattice={lattice[:80]!r}; expected nine numbers, vector after vector, in Å") from None
    flags = pairs.get("pbc", "T T T").replace(",", " ").strip("[]").split()
    if len(flags) != 3:
        raise InputError(f"pbc={pairs['pbc'][:40]!r}; expected three flags, T or F")
    a, b, c = (flag.strip("[]").lower() in _TRUE for flag in flags)
    header.pbc = (a, b, c)
    if not any(header.pbc):
        header.cell = None
