"""The header of a table in a text file: names of its columns, their units, and the delimiter."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from fluxan.errors import InputError
from fluxan.series.readers.choice import flux_vectors, vectors
from fluxan.series.readers.table import is_number, open_lines
from fluxan.units import LENGTH, TIME

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_COMMENTS: Final = "#%@"
#: A unit after a name, in brackets: letters but no lone x, y, z, which name a component.
_UNIT: Final = re.compile(r"^(.+?)\s*[(\[{](?![xyz][)\]}])([^()\[\]{}]*[A-Za-zÅ°][^()\[\]{}]*)[)\]}]$")
_TIME: Final = re.compile(r"^(t|time)[_/](\w+)$", re.IGNORECASE)
_BRACKETS: Final = re.compile(r"\s*([(\[{])([^()\[\]{}]*)([)\]}])")
_DECIMAL_COMMA: Final = re.compile(r"[+-]?\d+,\d+([eE][+-]?\d+)?")

#: Factors to ps, Å³ and K of units in customary spellings, in lower case and without blanks, ^ and dots.
_FACTORS: Final[dict[str, dict[str | None, float]]] = {
    "time": {name: TIME[unit] for unit in TIME for name in (unit, {"ps": "picosecond", "fs": "femtosecond"}.get(unit))},
    "volume": {
        f"{name}{cube}": LENGTH[unit] ** 3
        for name, unit in (("a", "A"), ("å", "A"), ("ang", "A"), ("angstrom", "A"), ("nm", "nm"), ("bohr", "bohr"))
        for cube in ("3", "**3", "³")
    },
    "temperature": {"k": 1.0, "kelvin": 1.0},
}


@dataclass(frozen=True)
class TableHeader:
    """Header of a table: what precedes its rows.

    Attributes
    ----------
    names : list of str
        Names of the columns, without units; numbers from 1 where there are none.
    units : dict
        Unit by column name, for columns that have one.
    first : int
        Line of the first row, counted from 0.
    delimiter : bytes or None
        Delimiter between columns; None is white space.
    """

    names: list[str]
    units: dict[str, str]
    first: int
    delimiter: bytes | None

    @property
    def named(self) -> bool:
        """Whether the file names its columns."""
        return self.names != numbered(len(self.names))

    def factor(self, dimension: str, column: int | None, usual: float) -> float | None:
        """Factor of a column to ps, Å³ or K; `usual` where it names no unit, None where its unit is not known."""
        unit = None if column is None else self.units.get(self.names[column])
        if unit is None:
            return usual
        return _FACTORS[dimension].get(re.sub(r"[\s^·.]", "", unit).lower())


def numbered(n: int) -> list[str]:
    """Numbers from 1 as names for unnamed columns."""
    return [str(k + 1) for k in range(n)]


def read_header(path: Path) -> TableHeader:
    """Read a file up to its first row of numbers.

    Raises
    ------
    InputError
        There are no rows of numbers, or they have decimal commas.
    """
    before: list[str] = []
    with open_lines(path) as file:
        for number, line in enumerate(file):
            text = line.decode("utf-8", "replace").lstrip("\ufeff").strip()
            row, mark = text.partition("#")[0].strip(), next((mark for mark in ";," if mark in text), None)
            fields = _fields(row, mark)
            if text[:1] not in _COMMENTS and fields and any(map(_DECIMAL_COMMA.fullmatch, " ".join(fields).split())):
                raise InputError(f"{path}, line {number + 1} has decimal commas; write points: {row[:60]!r}")
            if text[:1] in _COMMENTS or not fields or not is_number(fields[0]):
                before.append(text.lstrip(_COMMENTS + " "))
                continue
            _require_points(path, number, row, mark)
            names, units = _named(before, len(fields), mark)
            return TableHeader(names, units, number, mark.encode() if mark else None)
    raise InputError(f"{path} has no rows of numbers")


def _require_points(path: Path, number: int, row: str, mark: str | None) -> None:
    """Refuse rows with decimal commas: commas in rows whose columns are separated by blanks."""
    if mark == "," and any(len(field.split()) > 1 for field in row.split(",")):
        raise InputError(f"{path}, line {number + 1} has decimal commas; write points: {row[:60]!r}")


def _fields(text: str, mark: str | None) -> list[str]:
    if mark is None or mark not in text:
        return text.split()
    return [field.strip().strip("\"'") for field in text.rstrip(mark).split(mark)]


def _named(before: Sequence[str], n: int, mark: str | None) -> tuple[list[str], dict[str, str]]:
    """Names and units from a line before the rows that has as many words as the rows have columns.

    Of several such lines, the one that names vectors is taken; units often have a line of their own.
    """
    fitting = []
    for text in before:
        whole = _BRACKETS.sub(lambda match: f"{match[1]}{''.join(match[2].split())}{match[3]}", text)
        fitting += [_parted(words) for line in (text, whole) for words in _splits(line, mark) if len(words) == n]
    of_vectors = [found for found in fitting if flux_vectors(found[0])] or [f for f in fitting if vectors(f[0])]
    return (of_vectors or fitting[-1:] or [(numbered(n), {})])[0]


def _splits(line: str, mark: str | None) -> list[list[str]]:
    """Words of a line of names, which may have other delimiters than the rows."""
    return [_fields(line, mark)] if mark and mark in line else [line.split(), _fields(line, ",")]


def _parted(words: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """Separate names from their units."""
    names, units = [], {}
    for word in words:
        match = _UNIT.match(word) or _TIME.match(word)
        names.append(match[1] if match else word)
        if match:
            units[match[1]] = match[2]
    return names, units
