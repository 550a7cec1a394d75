"""LAMMPS text dumps: plain, .gz or .zst, columns in any order, orthogonal, restricted and general triclinic boxes.

Format: LAMMPS manual, "dump command" and "Howto triclinic", https://docs.lammps.org/dump.html. A frame with a
restricted triclinic box (the entries UNITS and TIME are optional):

    ITEM: UNITS
    metal
    ITEM: TIME
    0.1
    ITEM: TIMESTEP
    100
    ITEM: NUMBER OF ATOMS
    32
    ITEM: BOX BOUNDS xy xz yz pp pp pp
    -3.36 15.12 3.92                                (xlo_bound xhi_bound xy; without tilt only xlo xhi)
    -5.60 10.64 -3.36
    0.00 11.20 5.04
    ITEM: ATOMS id type mass x y z vx vy vz
    1 1 39.948 4.917 5.757 0.840 0.448 0.774 -0.312
    …

A general triclinic box has ``BOX BOUNDS abc origin``, and a cell vector and a component of the origin on each line.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from fluxan.errors import InputError
from fluxan.system import PERIODIC
from fluxan.trajectory.frame_record import FrameRecord
from fluxan.trajectory.lammps_units import LammpsUnits
from fluxan.trajectory.species import atomic_numbers, numbers_from_types, numbers_of_atoms
from fluxan.trajectory.text import header_line, whole_numbers
from fluxan.trajectory.text_frames import FrameHeader, TextTrajectory, decoded

if TYPE_CHECKING:
    from pathlib import Path

    from fluxan.trajectory.reader_options import ReaderOptions

#: Columns of positions in order of preference; those with s hold fractions of the box.
_POSITIONS = (("x", "y", "z"), ("xu", "yu", "zu"), ("xsu", "ysu", "zsu"), ("xs", "ys", "zs"))
_VELOCITIES = ("vx", "vy", "vz")


@dataclass(slots=True)
class DumpHeader(FrameHeader):
    """Header of one frame.

    Attributes
    ----------
    step : int or None
        Number of the MD step.
    time : float or None
        Time in the file's unit.
    box, origin : (3, 3) and (3,) float64
        Cell vectors in rows, and the corner they start from, in the file's unit of length.
    pbc : (bool, bool, bool)
        Which directions are periodic.
    """

    n_atoms: int = 0
    columns: dict[str, int] = field(default_factory=dict)
    text_column: int | None = None
    n_columns: int = 1
    step: int | None = None
    time: float | None = None
    box: np.ndarray = field(default_factory=lambda: np.zeros((3, 3)))
    origin: np.ndarray = field(default_factory=lambda: np.zeros(3))
    pbc: tuple[bool, bool, bool] = PERIODIC


class LammpsTrajectory(TextTrajectory[DumpHeader]):
    """LAMMPS text dump. Units are metal unless the dump (``ITEM: UNITS``) or ``units=`` says otherwise."""

    format = "LAMMPS dump"
    marker = b"ITEM:"

    def __init__(self, path: Path, options: ReaderOptions) -> None:
        self._style = options.units or "metal"
        self._units = LammpsUnits.of(self._style, options)
        self._named = False
        super().__init__(path, options)

    def _begin(self, header: DumpHeader) -> None:
        self.has_time = self.options.timestep is not None or header.time is not None
        self.velocity_factor = self._units.velocity
        if self.options.units is None and not self._named:
            self.note("units are taken as metal: the dump does not name them (ITEM: UNITS), nor does units=")

    def unit_advice(self, unit: str) -> str:
        """Advise how to read velocities in another unit: by LAMMPS' style, unless the dump names its own."""
        style = {"A/ps": "metal", "A/fs": "real"}.get(unit)
        return unit if style is None or self._named else f"{unit} (units={style!r})"

    def _parse_header(self, first: str, file: BinaryIO) -> DumpHeader:
        header, line = DumpHeader(), first
        while not line.startswith("ITEM: ATOMS"):
            self._item(header, line, file)
            line = decoded(header_line(file))
        if header.n_atoms < 1 or not header.box.any():
            raise InputError("its header has no number of atoms or no box")
        _choose_columns(header, line.split()[2:])
        return header

    def _item(self, header: DumpHeader, line: str, file: BinaryIO) -> None:
        """Parse one entry of the header, whose first line is given."""
        if line == "ITEM: TIMESTEP":
            header.step = _whole(header_line(file), "time step")
        elif line == "ITEM: TIME":
            header.time = _floats(header_line(file), 1)[0]
        elif line == "ITEM: UNITS":
            self._use_units(decoded(header_line(file)))
        elif line == "ITEM: NUMBER OF ATOMS":
            header.n_atoms = _whole(header_line(file), "number of atoms")
        elif line.startswith("ITEM: BOX BOUNDS"):
            _read_box(header, line.split()[3:], file)
        else:
            raise InputError(f"unexpected line {line[:60]!r}; is this a LAMMPS dump of style atom or custom?")

    def _use_units(self, style: str) -> None:
        """Take the units that the dump names."""
        asked, self._named = self.options.units, True
        if asked is not None and asked != style:
            raise InputError(f"the dump says units {style}, the user says units={asked!r}; leave units= out or fix it")
        if style != self._style:
            self._style, self._units = style, LammpsUnits.of(style, self.options)

    def _record(self, header: DumpHeader, table: np.ndarray, words: Any) -> FrameRecord:
        place = {name: i for i, name in enumerate(header.columns)}
        ids = None
        if "id" in place:
            ids, table, words = _sorted_by_id(whole_numbers(table[:, place["id"]], "id"), table, words)
        units, periodic = self._units, any(header.pbc)
        return FrameRecord(
            positions=_positions(header, table[:, :3]) * units.length,
            velocities=table[:, 3:6] * units.velocity if "vx" in place else None,
            cell=header.box * units.length if periodic else None,
            numbers=self._numbers(table, place, words),
            masses=table[:, place["mass"]] * units.mass if "mass" in place else None,
            time=None if header.time is None else header.time * units.time,
            pbc=header.pbc,
            step=header.step,
            ids=ids,
        )

    def _numbers(self, table: np.ndarray, place: dict[str, int], words: Any) -> np.ndarray:
        if "type" in place and (self.options.elements is not None or words is None):
            return numbers_from_types(whole_numbers(table[:, place["type"]], "type"), self.options)
        if words is not None and self.options.elements is None:
            return atomic_numbers(words.categories)[words.codes]
        return numbers_of_atoms(len(table), self.options, what=self.name)


def _choose_columns(header: DumpHeader, columns: list[str]) -> None:
    """Find the columns that are read among those that ``ITEM: ATOMS`` names."""
    place = {name: columns.index(name) for name in columns}
    names = next((names for names in _POSITIONS if set(names) <= set(place)), None)
    if names is None:
        raise InputError(f"columns {' '.join(columns)} hold no positions (x y z, xu …, xs … or xsu …)")
    if 0 < len(set(_VELOCITIES) & set(place)) < 3:
        raise InputError(f"columns {' '.join(columns)} hold only part of the velocities; dump vx vy vz")
    wanted = (*names, *_VELOCITIES, "id", "type", "mass")
    header.columns = {name: place[name] for name in wanted if name in place}
    header.text_column, header.n_columns = place.get("element"), len(columns)


def _sorted_by_id(ids: np.ndarray, table: np.ndarray, words: Any) -> tuple[np.ndarray, np.ndarray, Any]:
    """Order atoms by id: LAMMPS writes them in an order that changes from frame to frame."""
    if (ids[1:] > ids[:-1]).all():
        return ids, table, words
    order = np.argsort(ids, kind="stable")
    ids = ids[order]
    twice = ids[1:] == ids[:-1]
    if twice.any():
        raise InputError(f"two atoms have id {ids[1:][twice][0]}")
    return ids, table[order], None if words is None else words[order]


def _positions(header: DumpHeader, values: np.ndarray) -> np.ndarray:
    """Positions in the file's unit of length; fractions of the box are multiplied by it."""
    fractions = "s" in next(iter(header.columns))
    return header.origin + values @ header.box if fractions else values


def _whole(line: bytes, name: str) -> int:
    try:
        return int(line)
    except ValueError:
        raise InputError(f"{name} is {decoded(line)[:40]!r}; expected a whole number") from None


def _floats(line: bytes, count: int) -> list[float]:
    try:
        values = [float(word) for word in line.split()]
    except ValueError:
        values = []
    if len(values) != count or not np.isfinite(values).all():
        raise InputError(f"header line {decoded(line)[:60]!r}; expected {count} finite numbers")
    return values


def _read_box(header: DumpHeader, words: list[str], file: BinaryIO) -> None:
    """Read box vectors and origin from the three lines below ``BOX BOUNDS``."""
    flags = [word for word in words if len(word) == 2 and set(word) <= set("pfsm")]
    if flags and len(flags) != 3:
        raise InputError(f"boundary flags {' '.join(flags)}; expected three")
    if flags:
        header.pbc = (flags[0] == "pp", flags[1] == "pp", flags[2] == "pp")
    general, tilted = "abc" in words, "xy" in words
    lines = np.array([_floats(header_line(file), 4 if general else 3 if tilted else 2) for _ in range(3)])
    if general:
        header.box, header.origin = lines[:, :3], lines[:, 3]
        return
    low, high = lines[:, 0].copy(), lines[:, 1].copy()
    xy, xz, yz = lines[:, 2] if tilted else (0.0, 0.0, 0.0)
    # The bounds are those of the orthogonal box around the tilted one (manual, "Howto triclinic").
    low[0] -= min(0.0, xy, xz, xy + xz)
    high[0] -= max(0.0, xy, xz, xy + xz)
    low[1] -= min(0.0, yz)
    high[1] -= max(0.0, yz)
    lengths = high - low
    if not (lengths > 0).all():
        raise InputError(f"box lengths are {lengths.tolist()}; they must be positive")
    header.box = np.array([[lengths[0], 0, 0], [xy, lengths[1], 0], [xz, yz, lengths[2]]])
    header.origin = low
