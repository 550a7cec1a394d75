"""LAMMPS text dumps: plain, .gz or .zst, columns in any order, orthogonal, restricted and general triclinic boxes.

Format: LAMMPS manual, "dump command" and "Howto triclinic", https://docs.lammps.org/dump.html.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from fluxan.errors import FluxanError, InputError
from fluxan.trajectory.base import PERIODIC, ReaderOptions, Record, Trajectory
from fluxan.trajectory.species import atomic_numbers, numbers_from_types, numbers_of_atoms
from fluxan.trajectory.text import (
    broken_stream_errors,
    open_text,
    parse_table,
    read_line,
    read_rows,
    skip_rows,
    whole_numbers,
)
from fluxan.units import MASS_VELOCITY2, TIME, VELOCITY

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

#: Frames are parsed together up to so many bytes: one parser call per small frame would cost more than its numbers.
_BATCH_BYTES = 1 << 20

#: Position columns in order of preference; those ending in s are fractions of the box.
_POSITIONS = (("x", "y", "z"), ("xu", "yu", "zu"), ("xsu", "ysu", "zsu"), ("xs", "ys", "zs"))
_VELOCITIES = ("vx", "vy", "vz")


@dataclass(frozen=True, slots=True)
class DumpUnits:
    """Factors from a LAMMPS unit style to Å, Å/ps, ps and u."""

    length: float = 1.0
    velocity: float = 1.0
    time: float = 1.0
    mass: float = 1.0

    @classmethod
    def of(cls, style: str, options: ReaderOptions) -> DumpUnits:
        """The style's factors; lj needs epsilon (eV), sigma (Å) and mass (u)."""
        if style == "metal":
            return cls()
        if style == "real":
            return cls(velocity=VELOCITY["A/fs"], time=TIME["fs"])
        if style != "lj":
            raise InputError(f"LAMMPS units {style!r}; expected one of metal, real, lj")
        missing = [name for name in ("epsilon", "sigma", "mass") if getattr(options, name) is None]
        if missing:
            raise InputError(f"units='lj' needs {', '.join(missing)} (epsilon in eV, sigma in Å, mass in u)")
        velocity = np.sqrt(options.epsilon / (options.mass * MASS_VELOCITY2))
        return cls(options.sigma, velocity, options.sigma / velocity, options.mass)


@dataclass(slots=True)
class _Header:
    """What stands above the atoms of one frame."""

    step: int | None = None
    time: float | None = None
    n_atoms: int | None = None
    box: np.ndarray | None = None
    origin: np.ndarray | None = None
    pbc: tuple[bool, bool, bool] = PERIODIC
    columns: tuple[str, ...] = ()


class LammpsTrajectory(Trajectory):
    """LAMMPS text dump. Units are metal unless the dump (``ITEM: UNITS``) or ``units=`` says otherwise."""

    format = "LAMMPS dump"

    def __init__(self, path: str | Path, options: ReaderOptions) -> None:
        super().__init__(path, options)
        self._units = DumpUnits.of(options.units or "metal", options)
        self._style: str | None = None
        self.has_time = options.timestep is not None
        with open_text(self.path) as file, self.naming(0):
            head = self._header(file)
            if head is None:
                raise InputError("the file holds no frame")
            self.has_time = self.has_time or head.time is not None
            self._check_columns(head)
            if "type" in head.columns and "element" not in head.columns and options.elements is None:
                kinds = self._peek_types(file, head)
                numbers_from_types(kinds, options)

    def _peek_types(self, file: BinaryIO, head: _Header) -> np.ndarray:
        rows = read_rows(file, head.n_atoms or 0, marker=b"ITEM:")
        return whole_numbers(parse_table(rows, [head.columns.index("type")])[0][:, 0], "type")

    def _records(self, indices: range) -> Iterator[Record]:
        batch: list[tuple[int, _Header, bytes]] = []
        with open_text(self.path) as file:
            index = 0
            while index < indices.stop:
                try:
                    with self.naming(index):
                        head = self._header(file)
                        if head is None:
                            break
                        if index in indices:
                            batch.append((index, head, read_rows(file, head.n_atoms, marker=b"ITEM:")))
                        else:
                            skip_rows(file, head.n_atoms)
                except FluxanError:
                    yield from self._parsed(batch)
                    raise
                if batch and (batch[-1][1].columns != batch[0][1].columns or _size(batch) > _BATCH_BYTES):
                    yield from self._parsed(batch)
                    batch = []
                index += 1
            yield from self._parsed(batch)

    def _parsed(self, batch: list[tuple[int, _Header, bytes]]) -> Iterator[Record]:
        """Records of frames read but not yet parsed."""
        tables = None
        if len({head.columns for _, head, _ in batch}) == 1:
            try:
                tables = self._tables(batch)
            except InputError:
                tables = None  # one of them is broken: found again below, in its turn
        for place, (index, head, rows) in enumerate(batch):
            with self.naming(index):
                table, words = tables[place] if tables else self._tables([(index, head, rows)])[0]
                record = self._record(head, table, words)
            yield record

    def _tables(self, batch: list[tuple[int, _Header, bytes]]) -> list:
        """Numbers and element words of each frame, parsed in one go."""
        columns = self._wanted(batch[0][1])
        text = batch[0][1].columns.index("element") if "element" in batch[0][1].columns else None
        table, words = parse_table(b"".join(rows for *_, rows in batch), list(columns.values()), text)
        ends = np.cumsum([head.n_atoms for _, head, _ in batch])
        if ends[-1] != len(table):
            raise InputError(f"{len(table)} lines of atoms where {ends[-1]} were promised")
        parts = [slice(end - head.n_atoms, end) for end, (_, head, _) in zip(ends, batch, strict=True)]
        return [(table[part], None if words is None else words[part]) for part in parts]

    def _header(self, file: BinaryIO) -> _Header | None:
        """The next frame's header, or None at the end of the file."""
        head = _Header()
        try:
            line = read_line(file)
            while line and not line.strip():
                line = read_line(file)
            if not line:
                return None
            while not line.startswith(b"ITEM: ATOMS"):
                self._item(head, line.decode("utf-8", "replace").strip(), file)
                line = read_line(file)
                if not line:
                    raise InputError("the file is cut within this frame's header")
        except broken_stream_errors() as error:
            raise InputError(f"the compressed file is cut or damaged here ({error})") from error
        head.columns = tuple(line.decode("utf-8", "replace").split()[2:])
        if head.n_atoms is None or head.box is None:
            raise InputError("its header has no number of atoms or no box")
        return head

    def _item(self, head: _Header, line: str, file: BinaryIO) -> None:
        """One entry of the header."""
        if line == "ITEM: TIMESTEP":
            head.step = _whole(read_line(file), "time step")
        elif line == "ITEM: TIME":
            head.time = _floats(read_line(file), 1)[0] * self._units.time
        elif line == "ITEM: UNITS":
            self._use_units(read_line(file).decode("utf-8", "replace").strip())
        elif line == "ITEM: NUMBER OF ATOMS":
            head.n_atoms = _whole(read_line(file), "number of atoms")
            if head.n_atoms < 1:
                raise InputError(f"its number of atoms is {head.n_atoms}")
        elif line.startswith("ITEM: BOX BOUNDS"):
            _read_box(head, line.split()[3:], file)
        else:
            raise InputError(f"unexpected line {line[:60]!r}; is this a LAMMPS dump of style atom or custom?")

    def _use_units(self, style: str) -> None:
        asked = self.options.units
        if asked is not None and asked != style:
            raise InputError(f"the dump says units {style}, the user says units={asked!r}; leave units out or mend one")
        if style != self._style:
            self._units = DumpUnits.of(style, self.options)
            self._style = style

    def _check_columns(self, head: _Header) -> None:
        columns = head.columns
        if not any(set(names) <= set(columns) for names in _POSITIONS):
            raise InputError(f"columns {' '.join(columns)} hold no positions (x y z, xu …, xs … or xsu …)")
        some = set(_VELOCITIES) & set(columns)
        if some and len(some) < 3:
            raise InputError(f"columns {' '.join(columns)} hold only part of the velocities; dump vx vy vz")

    def _wanted(self, head: _Header) -> dict[str, int]:
        """Columns to parse: name -> place."""
        self._check_columns(head)
        place = {name: head.columns.index(name) for name in reversed(head.columns)}
        names = next(names for names in _POSITIONS if set(names) <= set(place))
        wanted = [*names, *_VELOCITIES, "id", "type", "mass"]
        return {name: place[name] for name in wanted if name in place}

    def _record(self, head: _Header, table: np.ndarray, words: object) -> Record:
        place = {name: i for i, name in enumerate(self._wanted(head))}
        ids = None
        if "id" in place:
            ids = whole_numbers(table[:, place["id"]], "id")
            if (ids[1:] <= ids[:-1]).any():
                order = np.argsort(ids, kind="stable")
                ids, table = ids[order], table[order]
                words = None if words is None else words[order]
                if (ids[1:] == ids[:-1]).any():
                    raise InputError(f"two atoms have id {ids[:-1][ids[1:] == ids[:-1]][0]}")
        cell = head.box * self._units.length if any(head.pbc) else None
        return Record(
            positions=self._positions(head, table[:, :3], next(iter(place))),
            velocities=table[:, 3:6] * self._units.velocity if "vx" in place else None,
            cell=cell,
            numbers=self._numbers(table, place, words),
            masses=table[:, place["mass"]] * self._units.mass if "mass" in place else None,
            time=self._time(head),
            pbc=head.pbc if cell is not None else (False, False, False),
            step=head.step,
            ids=ids,
        )

    def _positions(self, head: _Header, values: np.ndarray, kind: str) -> np.ndarray:
        if kind in {"xs", "xsu"}:
            values = head.origin + values @ head.box
        return values * self._units.length

    def _numbers(self, table: np.ndarray, place: dict[str, int], words: object) -> np.ndarray:
        if "type" in place and (self.options.elements is not None or words is None):
            return numbers_from_types(whole_numbers(table[:, place["type"]], "type"), self.options)
        if words is not None and self.options.elements is None:
            return atomic_numbers(words.categories)[words.codes]
        return numbers_of_atoms(len(table), self.options, what=self.name)

    def _time(self, head: _Header) -> float | None:
        if self.options.timestep is not None and head.step is not None:
            return head.step * self.options.timestep
        return head.time

    def _count(self) -> int:
        """Frames in the file that are selected, by their first lines alone."""
        with open_text(self.path) as file:
            try:
                total = sum(line.startswith(b"ITEM: ATOMS") for line in file)
            except broken_stream_errors():
                return None
        return len(self._indices(0, total))


def _size(batch: list[tuple[int, _Header, bytes]]) -> int:
    return sum(len(rows) for *_, rows in batch)


def _whole(line: bytes, name: str) -> int:
    try:
        return int(line)
    except ValueError:
        raise InputError(
            f"{name} is {line[:40].decode('utf-8', 'replace').strip()!r}; expected a whole number"
        ) from None


def _floats(line: bytes, count: int) -> list[float]:
    try:
        values = [float(word) for word in line.split()]
    except ValueError:
        values = []
    if len(values) != count or not np.isfinite(values).all():
        raise InputError(f"header line {line[:60].decode('utf-8', 'replace').strip()!r}; expected {count} numbers")
    return values


def _read_box(head: _Header, words: list[str], file: BinaryIO) -> None:
    """Box vectors (rows) and origin, in the file's unit, from the three lines below BOX BOUNDS."""
    flags = [word for word in words if len(word) == 2 and set(word) <= set("pfsm")]
    if flags and len(flags) != 3:
        raise InputError(f"boundary flags {' '.join(flags)}; expected three")
    head.pbc = tuple(flag == "pp" for flag in flags) if flags else PERIODIC
    general, tilted = "abc" in words, "xy" in words
    width = 4 if general else 3 if tilted else 2
    lines = np.array([_floats(read_line(file), width) for _ in range(3)])
    if general:
        head.box, head.origin = lines[:, :3], lines[:, 3]
        return
    low, high = lines[:, 0].copy(), lines[:, 1].copy()
    xy, xz, yz = lines[:, 2] if tilted else (0.0, 0.0, 0.0)
    # LAMMPS prints the box that bounds the tilted one (manual, "Howto triclinic").
    low[0] -= min(0.0, xy, xz, xy + xz)
    high[0] -= max(0.0, xy, xz, xy + xz)
    low[1] -= min(0.0, yz)
    high[1] -= max(0.0, yz)
    lengths = high - low
    head.box = np.array([[lengths[0], 0, 0], [xy, lengths[1], 0], [xz, yz, lengths[2]]])
    head.origin = low
