"""Tables of numbers in text files: what a file means is a `Layout`, what it holds a `Block`."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from fluxan.errors import FileError, FluxanError, InputError, TrajectoryError
from fluxan.trajectory.text import broken_stream_errors, open_text, parse_table

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

#: Lines read at once: memory beyond the columns that are kept does not grow with the file.
LINES_AT_ONCE = 65_536

#: Columns (x, y, z).
Triple = tuple[int, int, int]


@dataclass(frozen=True)
class Layout:
    """Where the numbers of a flux file are, and what they mean.

    Attributes
    ----------
    format : what the file is
    flux : per channel the triples of columns whose sum it is
    labels : name of each channel
    flux_unit : factor to eV Å/ps
    units : "metal" or "lj"
    density : the flux is per volume, and is multiplied by it
    dt : time between rows, ps; None takes it from `clock`
    clock : column of the step or the time; rows must come at equal distances of it
    clock_unit : ps per unit of `clock`; None where unknown
    others : columns of "temperature", "volume" and "energy", with factors to K, Å³ and eV
    first, last : lines of the table, counted from 0; `last` is excluded, None is the end of the file
    delimiter : between columns; None is white space
    grows : the file may belong to a running job: its last row counts only with its line's end
    words : lines of words may stand between rows, as warnings do in a log
    notes : what was decided on the way
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
    others: Mapping[str, tuple[int, float]] = field(default_factory=dict)
    first: int = 0
    last: int | None = None
    delimiter: bytes | None = None
    grows: bool = False
    words: bool = False
    notes: tuple[str, ...] = ()

    @property
    def columns(self) -> list[int]:
        """Every column that is referred to, in order."""
        columns = {column for channel in self.flux for term in channel for column in term}
        columns |= {column for column, _ in self.others.values()}
        return sorted(columns if self.clock is None else columns | {self.clock})


@dataclass(frozen=True)
class Block:
    """Rows of a flux file: samples (n, n_channels, 3), clock (n,) or None, and the other columns (n,) each."""

    samples: np.ndarray
    clock: np.ndarray | None
    others: dict[str, np.ndarray]

    @classmethod
    def of(cls, values: np.ndarray, layout: Layout) -> Block:
        """Sort the values of ``layout.columns``, (n, n_columns), and apply the units of all but the flux."""
        place = {column: k for k, column in enumerate(layout.columns)}
        samples = np.zeros((len(values), len(layout.flux), 3))
        for channel, terms in enumerate(layout.flux):
            for term in terms:
                samples[:, channel] += values[:, [place[column] for column in term]]
        clock = None if layout.clock is None else values[:, place[layout.clock]]
        return cls(samples, clock, {n: values[:, place[c]] * unit for n, (c, unit) in layout.others.items()})

    def rows(self, part: slice) -> Block:
        """Some of the rows."""
        clock = None if self.clock is None else self.clock[part]
        return Block(self.samples[part], clock, {name: values[part] for name, values in self.others.items()})


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


def read_table(path: Path, layout: Layout) -> Block:
    """All rows of a text file's table, read in portions; only columns that are needed are kept.

    Raises
    ------
    TrajectoryError
        No rows, a broken row, or a number that is not finite; line and value are named.
    FileError
        The file cannot be read.
    """
    parts = []
    with open_lines(path) as file:
        body = islice(enumerate(file, start=1), layout.first, layout.last)
        while portion := list(islice(body, LINES_AT_ONCE)):
            rows = [(number, line) for number, line in portion if _is_row(line, words=layout.words)]
            if rows and layout.grows and not rows[-1][1].endswith(b"\n"):
                rows.pop()
            if rows:
                parts.append(_parse(path, rows, layout))
    if not parts:
        raise TrajectoryError(f"{path}: the {layout.format} has no rows of numbers")
    return Block.of(np.concatenate(parts), layout)


def _is_row(line: bytes, *, words: bool) -> bool:
    """Tell rows from comments and, where they may stand between, from words."""
    fields = line.split(None, 1)
    if not fields or fields[0][:1] in (b"#", b"@", b"%"):
        return False
    return not words or is_number(fields[0])


def is_number(word: bytes | str) -> bool:
    """Whether a word is a number."""
    try:
        float(word)
    except ValueError:
        return False
    return True


def _parse(path: Path, rows: list[tuple[int, bytes]], layout: Layout) -> np.ndarray:
    """Columns of rows (line number, line), every value finite."""
    columns, text = layout.columns, b"".join(line for _, line in rows)
    if layout.delimiter is not None:
        text = text.replace(layout.delimiter, b" ")
    try:
        values, _ = parse_table(text, columns)
    except InputError:
        raise TrajectoryError(_first_broken(path, rows, layout)) from None
    finite = np.isfinite(values).all(axis=1)
    if not finite.all():
        row = int(np.argmin(finite))
        column = int(np.argmin(np.isfinite(values[row])))
        raise TrajectoryError(
            f"{path}, line {rows[row][0]}: column {columns[column] + 1} is {values[row, column]}; "
            "a flux must be finite, find out why the run blew up"
        )
    return values


def _first_broken(path: Path, rows: list[tuple[int, bytes]], layout: Layout) -> str:
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
