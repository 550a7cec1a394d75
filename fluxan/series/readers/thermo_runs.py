"""The runs in a LAMMPS log: position and style of their thermo output, and how they ended.

Thermo output comes in lines of columns, in YAML, or with several lines per step::

    Per MPI rank memory allocation (min/avg/max) = 5.1 | 5.1 | 5.1 Mbytes
       Step          Temp        c_flux[1]
             0   90            -4.1178357
    Loop time of 0.001 on 1 procs for 40 steps with 32 atoms

    ---
    keywords: ['Step', 'Temp', 'c_flux[1]', ]
    data:
      - [0, 90, -4.1178357, ]
    ...

    ------------ Step            100 ----- CPU =            0 (sec) -------------
    Step     =            100 Temp     =       269.6887 c_flux[1] =        -4.1685
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from fluxan.errors import InputError
from fluxan.series.readers.lammps_script import Script
from fluxan.series.readers.table import MULTI_HEAD, MULTI_VALUE, open_lines

if TYPE_CHECKING:
    from pathlib import Path

_LOOP: Final = re.compile(rb"Loop time of \S+ on \d+ procs for \d+ steps with (\d+) atoms")
_LOST: Final = re.compile(rb"Lost atoms: original (\d+)")
#: Line before the names of thermo columns, in present and in older versions.
_MEMORY: Final = (b"Per MPI rank memory", b"Memory usage per processor")


@dataclass
class ThermoRun:
    """One table of thermo output.

    Attributes
    ----------
    names : list of str
        Names of the columns; the step in the header line of multi-line output comes last.
    style : str
        "columns", "yaml" or "multi".
    first, last : int, int or None
        Lines of the table, counted from 0, half-open; `last` is None where the log ends with it.
    script : Script
        Settings made by the commands before it.
    n_atoms : int, optional
        Number of atoms that the log reports.
    error : str, optional
        Error line with which LAMMPS stopped; None where it did not.
    whole : bool
        Whether LAMMPS reports the end of the run.
    """

    names: list[str]
    style: str
    first: int
    script: Script
    last: int | None = None
    n_atoms: int | None = None
    error: str | None = None
    whole: bool = False

    @property
    def keywords(self) -> list[str]:
        """LAMMPS' keywords of the columns, regardless of thermo_modify colname."""
        n = len(self.names) - (self.style == "multi")
        return [*self.script.keywords_of(self.names[:n]), *self.names[n:]]

    def end(self, number: int, line: bytes) -> bool:
        """Return whether the line ends the run, and record how."""
        loop = _LOOP.match(line) if line.startswith(b"Loop") else None
        if loop:
            self.n_atoms, self.whole = int(loop[1]), True
        elif line.startswith(b"ERROR"):
            self.error = " ".join(line.decode("utf-8", "replace").split())
            lost = _LOST.search(line)
            self.n_atoms = int(lost[1]) if lost else self.n_atoms
        elif not line.startswith((b"Last command", b"Last input line", b"LAMMPS (", b"Total wall time")):
            return False
        self.last = number
        return True


class _Scanner:
    """The runs of a log, found line by line."""

    def __init__(self) -> None:
        self.runs: list[ThermoRun] = []
        self._script = Script()
        self._run: ThermoRun | None = None
        self._header_follows = False
        self._names_follow = False

    def take(self, number: int, line: bytes) -> None:
        """Process the next line."""
        if self._run is not None and self._run.end(number, line):
            self._run = None
        style = self._style_that_begins(line)
        if style:
            self._begin(style, number, line)
        elif self._names_follow and self._run is not None and b" = " in line and not MULTI_HEAD.match(line):
            self._run.names[-1:-1] = [name.decode("utf-8", "replace") for name, _ in MULTI_VALUE.findall(line)]
        else:
            self._names_follow = False
            if self._run is None:
                self._command(line)
        self._header_follows = line.startswith(_MEMORY)

    def _style_that_begins(self, line: bytes) -> str | None:
        """Style of the thermo output that begins with this line; None for other lines."""
        if line.startswith(b"keywords:"):
            return "yaml"
        if MULTI_HEAD.match(line):
            return None if self._run is not None and self._run.style == "multi" else "multi"
        header = line.split(None, 1)[:1] == [b"Step"] or (self._header_follows and not line.startswith(b"-"))
        return "columns" if header and b" = " not in line else None

    def _begin(self, style: str, number: int, line: bytes) -> None:
        if self._run is not None:
            self._run.last = number
        text = line.decode("utf-8", "replace")
        names = {"multi": ["Step"], "yaml": _yaml_names(text), "columns": text.split()}[style]
        self._names_follow = style == "multi"
        first = number if style == "multi" else number + 1
        self._run = ThermoRun(names, style, first, self._script.copy())
        self.runs.append(self._run)

    def _command(self, line: bytes) -> None:
        if line.startswith(b"LAMMPS ("):
            self._script = Script()
        self._script.take(line.decode("utf-8", "replace"))


def _yaml_names(text: str) -> list[str]:
    """Names in a list of YAML, in quotes of either kind or none."""
    listed = text[text.find("[") + 1 : text.rfind("]")]
    return [word for name in listed.split(",") if (word := name.strip().strip("'\""))]


def find_runs(path: Path) -> list[ThermoRun]:
    """Every table of thermo output in a log, with the commands before it.

    Raises
    ------
    FileError
        The file cannot be read.
    """
    scanner = _Scanner()
    with open_lines(path) as file:
        for number, line in enumerate(file):
            scanner.take(number, line)
    return [run for run in scanner.runs if len(run.names) > 1]


def chosen_run(
    path: Path, runs: list[ThermoRun], number: int | None, with_flux: list[int]
) -> tuple[ThermoRun, tuple[str, ...]]:
    """Return the requested run, or the last one with a flux, and a note where there are several.

    Raises
    ------
    InputError
        There is no such run, or none with a flux.
    """
    if number is not None:
        if not -len(runs) <= number < len(runs):
            raise InputError(f"{path} has {len(runs)} runs, counted from 0; there is no run {number}")
        return runs[number], ()
    if not with_flux:
        raise InputError(
            f"{path} has no heat flux among its thermo columns ({' '.join(runs[-1].names[:12])}); add c_ID[1] c_ID[2] "
            "c_ID[3] of compute heat/flux to thermo_style custom, or name the columns: columns="
        )
    last = with_flux[-1]
    note = f"{path.name} holds {len(with_flux)} runs with a flux; the last one was read (run {last})"
    return runs[last], (note,) if len(with_flux) > 1 else ()
