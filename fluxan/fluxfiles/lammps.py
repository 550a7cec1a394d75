"""LAMMPS: thermo output in logs, and files of fix ave/time, with `compute heat/flux` among their columns.

Formats: LAMMPS manual, thermo_style, thermo_modify, fix ave/time, compute heat/flux (https://docs.lammps.org). The
compute gives J·V, volume-extensive. In a log it is divided by the number of atoms where thermo values are normalized,
which is the default of units lj alone; fix ave/time never divides.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from fluxan.errors import InputError, TrajectoryError

from .choice import chosen_triples, find, flux_vectors, is_fluxlike, single, vectors
from .table import Layout, is_number, open_lines
from .units import unit_style

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from .record import ReadOptions
    from .table import Triple
    from .units import UnitStyle

_LOOP = re.compile(rb"Loop time of \S+ on \d+ procs for \d+ steps with (\d+) atoms")
_EXTENSIVE = re.compile(r"c_\w+\[\d\]")
_PER_VOLUME = re.compile(r"c_\w+\[\d\]/(vol|v_vol\w*|\$\{?vol\w*\}?)")
#: What precedes the names of thermo columns, in present and in older versions.
_MEMORY = (b"Per MPI rank memory", b"Memory usage per processor")


@dataclass
class Script:
    """What the commands that a log repeats say."""

    units: str | None = None
    timestep: float | None = None
    normalized: bool | None = None
    #: Groups of computes of style heat/flux, by name.
    fluxes: dict[str, str] = field(default_factory=dict)
    variables: dict[str, str] = field(default_factory=dict)

    def take(self, line: str) -> None:
        """Note one command."""
        words = line.split()
        if len(words) < 2:
            return
        command, first = words[:2]
        if command == "units":
            self.units = first
        elif command == "timestep" and is_number(first):
            self.timestep = float(first)
        elif command == "thermo_style":
            self.normalized = None  # what thermo_modify said before is lost
        elif command == "thermo_modify" and "norm" in words[:-1]:
            self.normalized = words[words.index("norm") + 1] in {"yes", "on", "true"}
        elif command == "compute" and len(words) > 3 and words[3].startswith("heat/flux"):
            self.fluxes[first] = words[2]
        elif command == "variable" and len(words) > 3 and words[2] == "equal":
            self.variables[first] = " ".join(words[3:])

    def copy(self) -> Script:
        """As it stands now."""
        return replace(self, fluxes=dict(self.fluxes), variables=dict(self.variables))


@dataclass
class Run:
    """One table of thermo output: its columns, its lines and the commands before it."""

    names: list[str]
    first: int
    script: Script
    last: int | None = None
    n_atoms: int | None = None


def log_layout(path: Path, options: ReadOptions) -> Layout:
    """Layout of the thermo output of one run in a log.

    Raises
    ------
    TrajectoryError
        No thermo output.
    InputError
        No heat flux among the columns, several, or a unit or the number of atoms is unknown.
    """
    runs = _runs(path)
    if not runs:
        raise TrajectoryError(f"{path} has no thermo output of a run in columns (thermo_style custom or one)")
    run, notes = _chosen_run(path, runs, options)
    script = run.script
    units = _units(path, options.units or script.units)
    style = unit_style(units)
    triples = chosen_triples(path, run.names, options) or _fluxes(path, run)
    chosen = [run.names[k] for triple in triples.values() for k in triple]
    timestep = options.timestep
    if timestep is None and script.units is not None:
        timestep = (script.timestep or style.timestep or 0.0) * style.time
    n_atoms = _atoms_divided_by(path, run, lj=units == "lj")
    return Layout(
        format="LAMMPS log",
        flux=tuple((triple,) for triple in triples.values()),
        labels=tuple(triples),
        flux_unit=style.flux * (n_atoms if chosen[0].startswith("c_") else 1),
        units="lj" if units == "lj" else "metal",
        density=_is_density(path, chosen, script, options),
        dt=options.dt,
        clock=find(run.names, "Step"),
        clock_unit=timestep,
        others=_others(run.names, style, n_atoms),
        first=run.first,
        last=run.last,
        grows=True,
        words=True,
        notes=notes,
    )


def average_layout(path: Path, options: ReadOptions) -> Layout:
    """Layout of a file of fix ave/time.

    Raises
    ------
    InputError
        No heat flux among the columns, several, or the units are unknown.
    """
    names = _average_names(path)
    units = _units(path, options.units)
    style = unit_style(units)
    triples = chosen_triples(path, names, options) or {"total": single(path, names, flux_vectors(names))}
    return Layout(
        format="LAMMPS fix ave/time file",
        flux=tuple((triple,) for triple in triples.values()),
        labels=tuple(triples),
        flux_unit=style.flux,
        units="lj" if units == "lj" else "metal",
        density=_is_density(path, [names[k] for t in triples.values() for k in t], Script(), options),
        dt=options.dt,
        clock=0,
        clock_unit=options.timestep,
        others=_others(names, style, 1),
        grows=True,
    )


def _runs(path: Path) -> list[Run]:
    """Every table of a log, with the commands before it."""
    script, runs, header_follows = Script(), [], False
    inside: Run | None = None
    with open_lines(path) as file:
        for number, line in enumerate(file):
            if inside is not None:
                loop = _LOOP.match(line) if line.startswith(b"Loop") else None
                if loop or line.startswith((b"ERROR", b"Last command")):
                    inside.last, inside.n_atoms = number, int(loop[1]) if loop else None
                    inside = None
            elif line.split(None, 1)[:1] == [b"Step"] or (header_follows and not line.startswith(b"-")):
                inside = Run(line.decode("utf-8", "replace").split(), number + 1, script.copy())
                runs.append(inside)
            else:
                script.take(line.decode("utf-8", "replace"))
            header_follows = line.startswith(_MEMORY)
    return runs


def _chosen_run(path: Path, runs: list[Run], options: ReadOptions) -> tuple[Run, tuple[str, ...]]:
    """Take the run that was asked for, or the last one with a flux."""
    if options.run is not None:
        if not -len(runs) <= options.run < len(runs):
            raise InputError(f"{path} has {len(runs)} runs, counted from 0; there is no run {options.run}")
        return runs[options.run], ()
    with_flux = [k for k, run in enumerate(runs) if options.columns or _candidates(run)]
    if not with_flux:
        raise InputError(
            f"{path} has no heat flux among its thermo columns ({' '.join(runs[-1].names[:12])}); add c_ID[1] c_ID[2] "
            "c_ID[3] of compute heat/flux to thermo_style custom, or name the columns with columns"
        )
    last = with_flux[-1]
    note = f"{path.name} holds {len(with_flux)} runs with a flux; the last one was read (run {last})"
    return runs[last], (note,) if len(with_flux) > 1 else ()


def _fluxes(path: Path, run: Run) -> dict[str, Triple]:
    """Flux of the group all, or else of the groups, or else the one vector with the name of a flux."""
    candidates = _candidates(run)
    groups = {stem: run.script.fluxes.get(stem.removeprefix("c_")) for stem in candidates}
    of_all = [stem for stem, group in groups.items() if group == "all"]
    if len(of_all) == 1:
        return {"total": candidates[of_all[0]]}
    if not of_all and len(candidates) > 1 and all(groups.values()) and len(set(groups.values())) == len(groups):
        return {str(groups[stem]): triple for stem, triple in candidates.items()}
    return {"total": single(path, run.names, candidates)}


def _candidates(run: Run) -> dict[str, Triple]:
    """Vectors that are a compute heat/flux, a variable made of one, or bear the name of a flux."""
    computes = [f"c_{name}" for name in run.script.fluxes]
    found = {}
    for stem, triple in vectors(run.names).items():
        formula = run.script.variables.get(run.names[triple[0]].removeprefix("v_"), "")
        if stem in computes or is_fluxlike(stem) or any(f"{compute}[" in formula for compute in computes):
            found[stem] = triple
    return found


def _is_density(path: Path, chosen: list[str], script: Script, options: ReadOptions) -> bool:
    """Whether columns are J or J/V: the compute gives J, variables what their formula says."""
    if options.density is not None:
        return options.density
    if all(name.startswith("c_") for name in chosen):
        return False
    formulas = [script.variables.get(name.removeprefix("v_"), "").replace(" ", "") for name in chosen]
    for pattern, density in ((_PER_VOLUME, True), (_EXTENSIVE, False)):
        if all(pattern.fullmatch(formula) for formula in formulas):
            return density
    raise InputError(
        f"{path} does not say whether {chosen[0]} is a flux or a flux per volume; say so with density=True or False "
        "(--density or --extensive)"
    )


def _units(path: Path, units: str | None) -> str:
    if units is None:
        raise InputError(f"{path} does not name its units; give units, one of metal, real, lj, si")
    if units not in {"metal", "real", "lj", "si"}:
        raise InputError(f"{path} is in LAMMPS units {units!r}; only metal, real, lj and si are read")
    return units


def _atoms_divided_by(path: Path, run: Run, *, lj: bool) -> int:
    """By what extensive values were divided: the number of atoms, or 1."""
    normalized = lj if run.script.normalized is None else run.script.normalized
    if not normalized:
        return 1
    if run.n_atoms is None:
        raise InputError(
            f"{path}: thermo values of this run are per atom, and the log stops before it says how many atoms there "
            "are; let the run end, or print the flux with fix ave/time, or thermo_modify norm no"
        )
    return run.n_atoms


def _others(names: Sequence[str], style: UnitStyle, n_atoms: int) -> dict[str, tuple[int, float]]:
    """Columns of temperature, volume and energy."""
    wanted = {
        "temperature": (("Temp", "c_thermo_temp", "v_temp"), style.temperature),
        "volume": (("Volume", "vol", "v_vol"), style.volume),
        "energy": (("TotEng", "Econserve", "v_etotal"), style.energy * n_atoms),
    }
    found = {name: (find(names, *columns), unit) for name, (columns, unit) in wanted.items()}
    return {name: (column, unit) for name, (column, unit) in found.items() if column is not None}


def _average_names(path: Path) -> list[str]:
    """Names in the second line of a file of fix ave/time."""
    with open_lines(path) as file:
        head = [file.readline(1 << 16).decode("utf-8", "replace") for _ in range(3)]
    if head[1].split()[:2] != ["#", "TimeStep"]:
        raise InputError(f"{path}: expected '# TimeStep' and names of columns in line 2, got {head[1].strip()[:60]!r}")
    if "Number-of-rows" in head[1]:
        raise InputError(f"{path} was written with mode vector; write scalars: fix ave/time ... c_flux[*] mode scalar")
    return head[1].split()[1:]
