"""i-PI: files of properties, whose comments name every column.

Formats: https://docs.ipi-code.org, output files. i-PI defines no heat flux of its own: the user names the columns,
or those with a customary name are taken; the user gives their unit.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from fluxan.errors import InputError
from fluxan.series.readers.choice import chosen_triples, flux_vectors, mass_flux, single
from fluxan.series.readers.table import TableLayout, open_lines
from fluxan.series.readers.unit_styles import IPI, unit_style

if TYPE_CHECKING:
    from pathlib import Path

    from fluxan.series.readers.read_options import ReadOptions

_COLUMN = re.compile(r"#\s*(?:column|cols\.)\s+(\d+)\s*(?:-\s*(\d+))?\s*-->\s*([^\s{:]+)\s*(?:\{([^}]*)\})?")


def ipi_layout(path: Path, options: ReadOptions) -> TableLayout:
    """Layout of a file of properties.

    Raises
    ------
    InputError
        No flux among the columns, several, or units are unknown.
    """
    names, units = _header(path)
    triples = chosen_triples(path, names, options) or {"total": single(path, names, flux_vectors(names))}
    if options.units is None:
        raise InputError(f"{path}: i-PI does not say what unit its flux has; give units=, e.g. atomic or metal")
    flux_unit = unit_style(options.units).flux
    mass = mass_flux(path, names, options, triples)
    place = {name: names.index(name) for name in ("time", "step", "temperature", "volume") if name in names}
    clock = place.get("time", place.get("step"))
    clock_unit = _factor("time", units[clock]) if "time" in place and clock is not None else options.timestep
    if clock_unit is None and "time" in place and options.dt is None:
        raise InputError(f"{path}: {_unknown('time', units[place['time']])}; give dt=")
    factors = {name: _factor(name, units[place[name]]) for name in ("temperature", "volume") if name in place}
    others: dict[str, tuple[int, float]] = {
        name: (place[name], factor) for name, factor in factors.items() if factor is not None
    }
    left = [name for name, factor in factors.items() if factor is None and getattr(options, name) is None]
    return TableLayout(
        format="i-PI properties",
        flux=tuple((triple,) for triple in triples.values()),
        labels=tuple(triples),
        flux_unit=flux_unit,
        density=bool(options.density),
        dt=options.dt,
        clock=clock,
        clock_unit=clock_unit,
        velocity=tuple(mass.triples.values()),
        species=tuple(mass.triples),
        others=others,
        grows=True,
        until_crash=options.until_crash,
        notes=mass.notes,
        warnings=tuple(f"{_unknown(name, units[place[name]])}: give {name}=" for name in left),
    )


def _header(path: Path) -> tuple[list[str], list[str]]:
    """Name and unit of every column; a property of several columns is name[1], name[2], ..."""
    names: list[str] = []
    units: list[str] = []
    with open_lines(path) as file:
        for line in file:
            if not line.lstrip().startswith(b"#"):
                break
            match = _COLUMN.search(line.decode("utf-8", "replace"))
            if match is None:
                continue
            first, last, name, unit = int(match[1]), int(match[2] or match[1]), match[3], match[4] or ""
            names += [name] if first == last else [f"{name}[{k}]" for k in range(1, last - first + 2)]
            units += [unit] * (last - first + 1)
    return names, units


def _factor(dimension: str, unit: str) -> float | None:
    """Factor of one of i-PI's units, atomic units where none is named; None for one that is not known."""
    return IPI[dimension].get(unit or "atomic_unit")


def _unknown(dimension: str, unit: str) -> str:
    return f"unit {unit!r} of {dimension} is not known, expected one of {', '.join(IPI[dimension])}"
