"""Tables of numbers in text files: `TableLayout` says what the columns mean, `TableBlock` holds the values."""

from __future__ import annotations

import re
from collections import deque
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import TYPE_CHECKING, BinaryIO, Final

import numpy as np

from fluxan.errors import FileError, FluxanError, InputError, TrajectoryError
from fluxan.trajectory.text import broken_stream_errors, is_whole_row, open_text, parse_table

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

#: Lines read at once: memory beyond the columns that are kept does not grow with the file.
LINES_AT_ONCE = 65_536

#: Columns (x, y, z).
Triple = tuple[int, int, int]

#: Words that codes, compilers and languages print for a value that is not finite, or too wide for its column.
_NOT_FINITE: Final = re.compile(rb"(?<!\S)([+-]?\.(nan|inf)|[+-]?1\.#[A-Z]+\d*|\*+)(?!\S)", re.IGNORECASE)
#: Bytes by which a repeated title is recognised, and number of lines with which the last line is compared.
_TITLE: Final = 10
_COMPARED: Final = 200
_PARTED: Final = "another run with other columns begins there; separate the two"

#: How a step of LAMMPS' multi-line thermo output begins (with 16 dashes before 2021), and a value in it.
MULTI_HEAD: Final = re.compile(rb"-{12,} Step\s+(\d+)")
MULTI_VALUE: Final = re.compile(rb"(\S+)\s+=\s+(\S+)")


@dataclass(frozen=True)
class TableLayout:
    """Where the numbers of a flux file are, and what they mean.

    Attributes
    ----------
    format : str
        Description of the file's format.
    flux : tuple
        For each channel, the triples of columns that add up to it.
    labels : tuple of str
        Name of each channel.
    flux_unit : float
        Factor to eV Å/ps.
    units : str
        "metal" or "lj".
    density : bool
        The flux is per volume, and is multiplied by it.
    dt : float, optional
        Time between rows, ps; None takes it from `clock`.
    clock : int, optional
        Column of the step or the time; rows must be equally spaced in it.
    clock_unit : float, optional
        ps per unit of `clock`; None where unknown.
    velocity : tuple of Triple
        For each species, the columns of its mass flux, momentum or velocity, in any unit.
    species : tuple of str
        Name of each species.
    others : mapping
        Columns of "temperature", "volume", "energy" and "time", with factors to K, Å³, eV and ps.
    first, last : int, int, optional
        Lines of the table, counted from 0; `last` is excluded, None is the end of the file.
    delimiter : bytes, optional
        Delimiter between columns; None is white space.
    grows : bool
        The file may belong to a running job: its last row counts only if it ends with a newline.
    words : bool
        Lines of words may stand between rows, as warnings do in a log.
    width : int, optional
        Number of columns of a row, where unrelated lines of numbers may stand between rows; None for any.
    style : str
        "columns", or "yaml" and "multi" for LAMMPS' thermo output of these kinds.
    title : bytes, optional
        Line that names the columns, which a restart may repeat but not change; None where there is none.
    until_crash : bool or None
        Rows end before the first that is not finite; None where the option does not apply.
    ended : str
        How the run ended, where it failed; empty where it ended normally.
    notes, warnings : tuple of str
        Choices that the reader made, and evidence that the file may be wrong.
    """

    format: str
    flux: tuple[tuple[Triple, ...], ...]
    labels: tuple[str, ...]
    flux_unit: float = 1.0
    units: str = "metal"
    density: bool = False
    dt: float | None = None
    clock: int | None = None
    clock_unit: float | None = None
    velocity: tuple[Triple, ...] = ()
    species: tuple[str, ...] = ()
    others: Mapping[str, tuple[int, float]] = field(default_factory=dict)
    first: int = 0
    last: int | None = None
    delimiter: bytes | None = None
    grows: bool = False
    words: bool = False
    width: int | None = None
    style: str = "columns"
    title: bytes | None = None
    until_crash: bool | None = False
    ended: str = ""
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def columns(self) -> list[int]:
        """Every column that is referred to, in order."""
        return sorted(self.needed | {column for column, _ in self.others.values()})

    @property
    def needed(self) -> set[int]:
        """Columns whose values must all be finite."""
        columns = {column for channel in self.flux for term in channel for column in term}
        columns |= {column for triple in self.velocity for column in triple}
        return columns if self.clock is None else columns | {self.clock}


@dataclass(frozen=True)
class TableBlock:
    """Rows of a flux file: samples (n, n_channels, 3), velocity (n, n_species, 3), clock (n,) or None, others (n,).

    `cut` tells whether rows after them were left out, not being finite.
    """

    samples: np.ndarray
    velocity: np.ndarray
    clock: np.ndarray | None
    others: dict[str, np.ndarray]
    cut: bool = False

    @classmethod
    def of(cls, values: np.ndarray, layout: TableLayout, *, cut: bool = False) -> TableBlock:
        """Assign the values of ``layout.columns``, (n, n_columns), and convert the units of all but the flux."""
        place = {column: k for k, column in enumerate(layout.columns)}
        samples = np.zeros((len(values), len(layout.flux), 3))
        for channel, terms in enumerate(layout.flux):
            for term in terms:
                samples[:, channel] += values[:, [place[column] for column in term]]
        velocity = np.empty((len(values), len(layout.velocity), 3))
        for species, triple in enumerate(layout.velocity):
            velocity[:, species] = values[:, [place[column] for column in triple]]
        clock = None if layout.clock is None else values[:, place[layout.clock]]
        others = {name: values[:, place[column]] * unit for name, (column, unit) in layout.others.items()}
        return cls(samples, velocity, clock, others, cut)

    def with_whole_columns(self) -> tuple[TableBlock, dict[str, int]]:
        """The block without `others` that are not finite, and the number of rows in which each of those is not."""
        broken = {name: int((~np.isfinite(values)).sum()) for name, values in self.others.items()}
        broken = {name: count for name, count in broken.items() if count}
        return replace(self, others={n: v for n, v in self.others.items() if n not in broken}), broken

    def rows(self, part: slice | np.ndarray) -> TableBlock:
        """A slice of the rows."""
        clock = None if self.clock is None else self.clock[part]
        others = {name: values[part] for name, values in self.others.items()}
        return TableBlock(self.samples[part], self.velocity[part], clock, others, self.cut)


@contextmanager
def open_lines(path: Path) -> Iterator[BinaryIO]:
    """Open a plain or compressed text file for reading lines as bytes.

    Raises
    ------
    FileError
        The file is missing, cannot be read, or its compression is damaged.
    """
    try:
        with open_text(path) as file:
            yield file
    except FluxanError:
        raise
    except broken_stream_errors() as error:
        raise FileError(f"{path}: the compressed file is cut or damaged ({error})") from error
    except OSError as error:
        raise FileError(f"{path} cannot be read: {error.strerror or error}") from error


def read_table(path: Path, layout: TableLayout) -> TableBlock:
    """All rows of a text file's table, read in portions; only columns that are needed are kept.

    Raises
    ------
    TrajectoryError
        No rows, a broken row, or a number that is not finite; line and value are named.
    FileError
        The file cannot be read.
    """
    parts: list[np.ndarray] = []
    whole = True
    with open_lines(path) as file:
        rows = _rows(path, islice(enumerate(file, start=1), layout.first, layout.last), layout)
        width = layout.width
        while portion := list(islice(rows, LINES_AT_ONCE)):
            width = width or _width(portion[0][1], layout)
            _require_width(path, portion, layout, width)
            values, whole = _parse(path, portion, layout)
            parts.append(values)
            if not whole:
                break
    if not sum(map(len, parts)):
        raise TrajectoryError(f"{path}: the {layout.format} has no rows of numbers")
    return TableBlock.of(np.concatenate(parts), layout, cut=not whole)


def ends_whole(path: Path, n_columns: int) -> bool:
    """Whether the last line of a file ends with a newline, or is nevertheless a whole row of that many columns."""
    with open_lines(path) as file:
        *before, last = deque(file, maxlen=_COMPARED) or [b"\n"]
    return last.endswith(b"\n") or is_whole_row(last, before, n_columns)


def _rows(path: Path, lines: Iterator[tuple[int, bytes]], layout: TableLayout) -> Iterator[tuple[int, bytes]]:
    """Rows of numbers with their line numbers; comments are skipped, and so are words where they are allowed."""
    if layout.style == "multi":
        yield from _steps(lines, layout)
        return
    for number, line in lines:
        if layout.grows and not line.endswith(b"\n"):
            return
        if layout.title and line.startswith(layout.title[:_TITLE]) and line.split() != layout.title.split():
            raise TrajectoryError(f"{path}, line {number} names other columns than before: {_PARTED}")
        if layout.style == "yaml":
            if line.lstrip().startswith(b"- [") and b"]" in line:
                yield number, line[line.index(b"[") + 1 : line.index(b"]")].replace(b",", b" ") + b"\n"
        elif _is_row(line, words=layout.words) and layout.width in {None, len(line.split())}:
            yield number, line


def _steps(lines: Iterator[tuple[int, bytes]], layout: TableLayout) -> Iterator[tuple[int, bytes]]:
    """Steps of multi-line output as one row each, the step's number last; one cut short is left out."""
    values: list[bytes] | None = None
    first, step = 0, b""
    for number, line in lines:
        head = MULTI_HEAD.match(line)
        if head:
            first, step, values = number, head[1], []
        elif values is not None and b" = " in line and line.endswith(b"\n"):
            values += [value for _, value in MULTI_VALUE.findall(line)]
            if len(values) + 1 == layout.width:
                yield first, b" ".join([*values, step]) + b"\n"
                values = None


def _is_row(line: bytes, *, words: bool) -> bool:
    """Distinguish rows from comments and, where these are allowed, from words."""
    fields = line.split(None, 1)
    if not fields or fields[0][:1] in (b"#", b"@", b"%"):
        return False
    return not words or is_number(fields[0])


def _width(line: bytes, layout: TableLayout) -> int:
    """Number of columns of a row, without a comment at its end."""
    row = line.partition(b"#")[0].rstrip()
    return len(row.split()) if layout.delimiter is None else row.count(layout.delimiter) + 1


def _require_width(path: Path, rows: list[tuple[int, bytes]], layout: TableLayout, width: int) -> None:
    """Refuse rows that have other columns than the first; an appended run differs up to its last row."""
    last = _width(rows[-1][1], layout)
    if last == width or last <= max(layout.columns):
        return
    number, line = next(row for row in rows if _width(row[1], layout) != width)
    raise TrajectoryError(
        f"{path}, line {number} has {_width(line, layout)} columns, those before have {width}: {_PARTED}"
    )


def is_number(word: bytes | str) -> bool:
    """Whether a word is a number."""
    try:
        float(word)
    except ValueError:
        return False
    return True


def _parse(path: Path, rows: list[tuple[int, bytes]], layout: TableLayout) -> tuple[np.ndarray, bool]:
    """Finite values of the columns of rows (line number, line), and whether all rows are included."""
    columns, text = layout.columns, b"".join(line for _, line in rows)
    if layout.delimiter is not None:
        empty = rb"(?m)(^|%b)[ \t]*(?=%b|\r?\n)" % (2 * (re.escape(layout.delimiter),))
        text = re.sub(empty, rb"\1nan", text.replace(b'"', b"")).replace(layout.delimiter, b" ")
    try:
        values, _ = parse_table(text, columns)
    except InputError:
        try:
            values, _ = parse_table(_NOT_FINITE.sub(b"nan", text), columns)
        except InputError:
            raise TrajectoryError(_first_broken(path, rows, layout)) from None
    broken = ~np.isfinite(values) & np.isin(columns, list(layout.needed))
    if not broken.any():
        return values, True
    row = int(np.argmax(broken.any(axis=1)))
    if layout.until_crash:
        return values[:row], False
    column = columns[int(np.argmax(broken[row]))]
    word = rows[row][1].replace(layout.delimiter or b" ", b" ").split()[column].decode("utf-8", "replace")
    mend = "" if layout.until_crash is None else ", or take what is before it with until_crash=True"
    raise TrajectoryError(
        f"{path}, line {rows[row][0]}: column {column + 1} is {word[:20]}; a flux must be finite: find out why the run "
        f"blew up{mend}"
    )


def _first_broken(path: Path, rows: list[tuple[int, bytes]], layout: TableLayout) -> str:
    least = max(layout.columns) + 1
    for number, line in rows:
        fields = line.replace(layout.delimiter or b" ", b" ").split()
        shown = line.decode("utf-8", "replace").strip()[:60]
        if len(fields) < least:
            return f"{path}, line {number} has {len(fields)} columns, expected {least} or more: {shown!r}"
        for column in layout.columns:
            if not is_number(fields[column]):
                return f"{path}, line {number}: column {column + 1} is no number: {shown!r}"
    return f"{path}: the table in lines {rows[0][0]} to {rows[-1][0]} cannot be read"
