"""LAMMPS: thermo output in logs, and files of fix ave/time, with `compute heat/flux` among their columns.

Formats: LAMMPS manual, thermo_style, thermo_modify, fix ave/time, compute heat/flux (https://docs.lammps.org). The
compute gives J·V, volume-extensive. In a log it is divided by the number of atoms where thermo values are normalized,
which is the default of units lj alone; fix ave/time never divides.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from fluxan.errors import InputError, TrajectoryError
from fluxan.series.readers.choice import chosen_triples, find, flux_vectors, is_fluxlike, mass_flux, single, vectors
from fluxan.series.readers.lammps_script import Script
from fluxan.series.readers.table import TableLayout, open_lines
from fluxan.series.readers.thermo_runs import ThermoRun, chosen_run, find_runs
from fluxan.series.readers.unit_styles import unit_style

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from fluxan.series.readers.read_options import ReadOptions
    from fluxan.series.readers.table import Triple
    from fluxan.series.readers.unit_styles import UnitStyle

_STYLES = ("metal", "real", "lj", "si")
_EXTENSIVE = re.compile(r"c_\w+(\[\d\])?")
_PER_VOLUME = re.compile(r"c_\w+(\[\d\])?/(vol|v_vol\w*|\$\{?vol\w*\}?)")
#: Fraction by which a given time step may differ from the log's.
_MAX_DIFFERENCE = 1e-3
#: Columns that count steps, and those that hold the time.
_STEPS = ("Step", "Elapsed", "Elaplong", "step", "elapsed", "elaplong")
_TIMES = ("Time", "time", "v_time", "v_t")


def log_layout(path: Path, options: ReadOptions) -> TableLayout:
    """Layout of the thermo output of one run in a log.

    Raises
    ------
    TrajectoryError
        No thermo output.
    InputError
        No heat flux among the columns, several, or a unit or the number of atoms is unknown.
    """
    runs = find_runs(path)
    if not runs:
        raise TrajectoryError(f"{path} has no thermo output of a run (thermo_style custom, one, multi or yaml)")
    with_flux = [k for k, run in enumerate(runs) if options.columns or _candidates(run)]
    run, notes = chosen_run(path, runs, options.run, with_flux)
    units, doubts = _units(path, options.units, run.script.units)
    style = unit_style(units)
    triples = _chosen(path, run, options) or _fluxes(path, run)
    chosen = [run.keywords[k] for triple in triples.values() for k in triple]
    mass = mass_flux(path, run.keywords, options, triples)
    n_atoms = _atoms_divided_by(path, run, chosen, options, lj=units == "lj")
    step, time = find(run.keywords, *_STEPS), find(run.keywords, *_TIMES)
    return TableLayout(
        format="LAMMPS log",
        flux=tuple((triple,) for triple in triples.values()),
        labels=tuple(triples),
        flux_unit=style.flux * n_atoms,
        units="lj" if units == "lj" else "metal",
        density=_is_density(path, chosen, run.script, options),
        dt=options.dt,
        clock=time if step is None else step,
        clock_unit=style.time if step is None else _timestep(run.script, style, options),
        velocity=tuple(mass.triples.values()),
        species=tuple(mass.triples),
        others=_others(run.keywords, style, _energies_divided_by(run, options, lj=units == "lj"), time, step),
        first=run.first,
        last=run.last,
        grows=True,
        words=True,
        width=len(run.names),
        style=run.style,
        until_crash=options.until_crash,
        ended=_ended(run),
        notes=(*notes, *mass.notes),
        warnings=(*doubts, *_contradictions(path, run, chosen, style, options)),
    )


def average_layout(path: Path, options: ReadOptions) -> TableLayout:
    """Layout of a file of fix ave/time.

    Raises
    ------
    InputError
        No heat flux among the columns, several, or the units are unknown.
    """
    names, title, style_of_rows = _average_names(path)
    units, warnings = _units(path, options.units, None)
    style = unit_style(units)
    triples = chosen_triples(path, names, options) or {"total": single(path, names, flux_vectors(names))}
    mass = mass_flux(path, names, options, triples)
    time = find(names, *_TIMES)
    return TableLayout(
        format="LAMMPS fix ave/time file",
        flux=tuple((triple,) for triple in triples.values()),
        labels=tuple(triples),
        flux_unit=style.flux,
        units="lj" if units == "lj" else "metal",
        density=_is_density(path, [names[k] for t in triples.values() for k in t], Script(), options),
        dt=options.dt,
        clock=0,
        clock_unit=options.timestep,
        velocity=tuple(mass.triples.values()),
        species=tuple(mass.triples),
        others=_others(names, style, 1, time, 0),
        grows=True,
        style=style_of_rows,
        title=title,
        until_crash=options.until_crash,
        notes=mass.notes,
        warnings=warnings,
    )


def _chosen(path: Path, run: ThermoRun, options: ReadOptions) -> dict[str, Triple] | None:
    """Columns that the user named, by their printed names or by LAMMPS' keywords."""
    if options.columns is not None and not set(options.columns) <= set(run.names):
        keywords = chosen_triples(path, [*run.names, *run.keywords], options)
        n = len(run.names)
        return keywords and {label: (a % n, b % n, c % n) for label, (a, b, c) in keywords.items()}
    return chosen_triples(path, run.names, options)


def _fluxes(path: Path, run: ThermoRun) -> dict[str, Triple]:
    """Flux of the group all, or else those of the other groups, or else the one vector named like a flux."""
    candidates = _candidates(run)
    groups = {stem: run.script.fluxes.get(stem.removeprefix("c_")) for stem in candidates}
    of_all = [stem for stem, group in groups.items() if group == "all"]
    if len(of_all) == 1:
        return {"total": candidates[of_all[0]]}
    if not of_all and len(candidates) > 1 and all(groups.values()) and len(set(groups.values())) == len(groups):
        return {str(groups[stem]): triple for stem, triple in candidates.items()}
    return {"total": single(path, run.names, candidates)}


def _candidates(run: ThermoRun) -> dict[str, Triple]:
    """Vectors that are a compute heat/flux, a variable derived from one, or named like a flux."""
    computes = [f"c_{name}" for name in run.script.fluxes]
    found = {}
    for stem, triple in vectors(run.keywords).items():
        formula = run.script.formula(run.keywords[triple[0]])
        if stem in computes or is_fluxlike(stem) or set(computes) & set(re.findall(r"c_\w+", formula)):
            found[stem] = triple
    return found


def _is_density(path: Path, chosen: list[str], script: Script, options: ReadOptions) -> bool:
    """Whether columns are J/V rather than J: the compute gives J, a variable depends on its formula."""
    density = _logged_density(chosen, script) if options.density is None else options.density
    if density is None:
        raise InputError(
            f"{path} does not say whether {chosen[0]} is a flux or a flux per volume: density=True or density=False"
        )
    return density


def _logged_density(chosen: Sequence[str], script: Script) -> bool | None:
    """Whether the log defines the columns as J/V; None where it does not show it."""
    if all(name.startswith("c_") for name in chosen):
        return False
    formulas = [script.formula(name) for name in chosen]
    for pattern, density in ((_PER_VOLUME, True), (_EXTENSIVE, False)):
        if all(pattern.fullmatch(_with_volume(formula, script)) for formula in formulas):
            return density
    return None


def _with_volume(formula: str, script: Script) -> str:
    """Formula in which a divisor that is a variable equal to the volume is replaced by ``vol``."""
    name = re.search(r"/(?:v_(\w+)|\$\{?(\w+)\}?)$", formula)
    if name and script.variables.get(name[1] or name[2]) == "vol":
        return f"{formula[: name.start()]}/vol"
    return formula


def _units(path: Path, given: str | None, logged: str | None) -> tuple[str, tuple[str, ...]]:
    """Style of units, and a warning where the user's contradicts the log's."""
    units = given or logged
    if units is None:
        raise InputError(f"{path} does not name its units; give units= one of {', '.join(_STYLES)}")
    if units not in _STYLES:
        named = f"units is {units!r}" if given else f"{path} is in LAMMPS units {units!r}"
        raise InputError(f"{named}, expected one of {', '.join(_STYLES)}")
    if given and logged and given != logged:
        return units, (f"{path.name} says units {logged}, but was read as units={given}",)
    return units, ()


def _timestep(script: Script, style: UnitStyle, options: ReadOptions) -> float | None:
    """Duration of a step, ps; None where it is neither given nor logged."""
    if options.timestep is not None:
        return options.timestep
    if script.units is None:
        return None
    return (script.timestep or style.timestep or 0.0) * style.time or None


def _contradictions(
    path: Path, run: ThermoRun, chosen: Sequence[str], style: UnitStyle, options: ReadOptions
) -> Iterator[str]:
    """Warnings where the user's settings contradict the log."""
    script = run.script
    timestep = script.timestep and script.timestep * style.time
    if options.timestep and timestep and abs(options.timestep / timestep - 1) > _MAX_DIFFERENCE:
        yield f"timestep={options.timestep:.4g} was given, but {path.name} says {timestep:.4g}"
    if script.units is None:
        return
    normalized = _normalized(run, replace(options, per_atom=None), lj=script.units == "lj")
    divided = normalized and {script.is_extensive(keyword) for keyword in chosen} == {True}
    if options.per_atom is not None and options.per_atom != divided:
        state = "divided" if divided else "not divided"
        yield f"per_atom={options.per_atom} was given, but by {path.name} the flux is {state}"
    logged_density = _logged_density(chosen, script)
    if None not in (options.density, logged_density) and options.density != logged_density:
        per_volume = "a flux per volume" if logged_density else "no flux per volume"
        yield f"density={options.density} was given, but by {path.name} {chosen[0]} is {per_volume}"


def _normalized(run: ThermoRun, options: ReadOptions, *, lj: bool) -> bool:
    """Whether thermo output divides extensive values by the number of atoms."""
    if options.per_atom is not None:
        return options.per_atom
    return lj if run.script.normalized is None else run.script.normalized


def _atoms_divided_by(path: Path, run: ThermoRun, chosen: Sequence[str], options: ReadOptions, *, lj: bool) -> int:
    """Divisor of the flux: the number of atoms where thermo output is normalized, else 1."""
    if not _normalized(run, options, lj=lj):
        return 1
    extensive = {run.script.is_extensive(keyword) for keyword in chosen}
    if extensive == {False} and options.per_atom is None:
        return 1
    if extensive != {True} and options.per_atom is None:
        raise InputError(
            f"{path}: thermo values of this run are per atom where they are extensive, and the log does not say what "
            f"{chosen[0]} is; give per_atom=True or per_atom=False"
        )
    if run.n_atoms is None:
        raise InputError(
            f"{path}: thermo values of this run are per atom, and the log stops before it says how many atoms there "
            "are; let the run end, or print the flux with fix ave/time, or thermo_modify norm no"
        )
    return run.n_atoms


def _energies_divided_by(run: ThermoRun, options: ReadOptions, *, lj: bool) -> int:
    return run.n_atoms or 1 if _normalized(run, options, lj=lj) else 1


def _ended(run: ThermoRun) -> str:
    """How a run ended, where it did not end normally; unknown for a table cut out of a log."""
    if run.error is not None:
        return f"the run ended in {run.error}"
    if run.script.empty:
        return ""
    return "" if run.whole else "the log stops before its run is over (killed, or still running)"


def _others(
    names: Sequence[str], style: UnitStyle, n_atoms: int, time: int | None, step: int | None
) -> Mapping[str, tuple[int, float]]:
    """Columns of temperature, volume and energy, and of the time where steps are counted too."""
    wanted = {
        "temperature": (("Temp", "temp", "c_thermo_temp", "v_temp"), style.temperature),
        "volume": (("Volume", "vol", "v_vol"), style.volume),
        "energy": (("TotEng", "etotal", "Econserve", "econserve", "v_etotal"), style.energy * n_atoms),
    }
    found = {name: (find(names, *columns), unit) for name, (columns, unit) in wanted.items()}
    found["time"] = (None if step is None else time, style.time)
    return {name: (column, unit) for name, (column, unit) in found.items() if column is not None}


def _average_names(path: Path) -> tuple[list[str], bytes, str]:
    """Names in the second line of a file of fix ave/time, that line, and the style of its rows."""
    with open_lines(path) as file:
        _, title, third = (file.readline(1 << 16) for _ in range(3))
    words = title.decode("utf-8", "replace").split()
    if words[:2] != ["#", "TimeStep"]:
        raise InputError(f"{path}: expected '# TimeStep' and names of columns in line 2, got {' '.join(words)[:60]!r}")
    if "Number-of-rows" in words:
        raise InputError(f"{path} was written with mode vector; write scalars: fix ave/time ... c_flux[*] mode scalar")
    return words[1:], title, "yaml" if third.startswith(b"---") else "columns"
