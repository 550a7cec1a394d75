"""Output of `fluxan kappa` for a file that holds a correlation function instead of a flux."""

from __future__ import annotations

import json as json_module
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import typer

from fluxan.cli.wording import for_command_line

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from fluxan.greenkubo.directions import Directions
    from fluxan.greenkubo.plateau import PlateauConductivity

#: Options that need a flux, with their defaults.
_USUAL = {"plot": None, "method": "default", "compare": "cepstral,running", "components": "auto"}
_CAVEAT = (
    "a correlation function tells less than the flux: only its integral can be estimated, with errors from the scatter "
    "of runs; print the flux itself (GPUMD: compute ... jp jk; LAMMPS: fix ave/time) and give that file"
)


def print_correlation(path: Path, reader: Mapping[str, Any], *, json: bool) -> None:
    """Print the estimate from a correlation function alone: the plateau of its integral, by direction."""
    from fluxan.greenkubo.plateau import plateau_conductivity
    from fluxan.series.readers.correlation_reading import read_flux_correlation

    correlation = read_flux_correlation(path, **reader)
    found = plateau_conductivity(correlation)
    if json:
        facts = _facts(found)
        facts |= {name: list(map(for_command_line, facts[name])) for name in ("notes", "warnings")}
        typer.echo(json_module.dumps(facts | {"format": correlation.format}))
        return
    typer.echo(headline(found.directions, found.unit))
    typer.echo(along_axes(found.directions, found.unit))
    known = np.isfinite(found.directions.error)
    parts = f"{found.n_parts} {correlation.parts}" if found.n_parts > 1 else "one run"
    errors = "errors from their scatter" if known.any() else "error unknown"
    first, last = found.windows[:, 0], found.windows[:, 1]
    time = "" if found.unit == "reduced" else " ps"
    typer.echo(
        f"mean of the running integral after the decay of the correlation, from {first.min():.3g} to {last.max():.3g}"
        f"{time}; {parts}, {errors}"
    )
    for note in found.notes:
        typer.echo(f"\n{for_command_line(note)}")
    for warning in (*found.warnings, _CAVEAT):
        print(f"fluxan: warning: {for_command_line(warning)}", file=sys.stderr)


def refuse_for_correlation(path: Path, **asked: Any) -> None:
    """Refuse options that need the flux itself.

    Raises
    ------
    InputError
        An option is not at its default: a plot, a method, methods to compare with, components.
    """
    from fluxan.errors import InputError

    for name, value in given_options(**asked).items():
        raise InputError(f"{path} is a correlation function: {name}={value} needs the flux itself")


def given_options(**asked: Any) -> dict[str, Any]:
    """Options that are not at their defaults, of those that choose how κ is estimated from a flux in equilibrium."""
    given = {name: value for name, value in asked.items() if value != _USUAL.get(name)}
    return {name: value for name, value in given.items() if (name, value) != ("compare", "none")}


def headline(directions: Directions, unit: str) -> str:
    """One line: κ where it is the same in all directions, or in a plane; else a note that it depends on direction."""
    unit = "" if unit == "reduced" else f" {unit}"
    if directions.isotropic:
        return f"κ = {_value(*directions.mean())}{unit}"
    if directions.plane is not None:
        a, b = directions.plane
        return f"κ in the plane {'xyz'[a]}{'xyz'[b]} = {_value(*directions.mean(a, b))}{unit}"
    return "κ depends on the direction"


def along_axes(directions: Directions, unit: str) -> str:
    """κ along x, y and z in one line."""
    unit = "" if unit == "reduced" else f" {unit}"
    axes = zip("xyz", directions.value, directions.error, strict=True)
    return ", ".join(f"κ{axis} = {_value(value, error)}" for axis, value, error in axes) + unit


def _value(kappa: float, error: float) -> str:
    from fluxan.report.verdicts import value

    return value(kappa, error) if np.isfinite(error) else f"{kappa:.4g} (error unknown)"


def _facts(found: PlateauConductivity) -> dict[str, Any]:
    """The estimate as plain values; None for an unknown error."""
    directions = found.directions
    kappa, error = directions.mean()
    errors = [float(e) if np.isfinite(e) else None for e in directions.error]
    return {
        "kappa": kappa,
        "error": error if np.isfinite(error) else None,
        "unit": found.unit,
        "isotropic": directions.isotropic,
        "kappa_xyz": directions.value.tolist(),
        "error_xyz": errors,
        "windows": found.windows.tolist(),
        "n_parts": found.n_parts,
        "notes": list(found.notes),
        "warnings": [*found.warnings, _CAVEAT],
    }
