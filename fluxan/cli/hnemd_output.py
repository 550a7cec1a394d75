"""Output of `fluxan hnemd`."""

from __future__ import annotations

import json as json_module
from typing import TYPE_CHECKING, Any

import numpy as np
import typer

from fluxan.cli.standard_error import print_warning

if TYPE_CHECKING:
    from fluxan.greenkubo.driven import DrivenConductivity
    from fluxan.greenkubo.spectral_conductivity import SpectralHeatCurrent
    from fluxan.md.hnemd.hnemd_run import HnemdRun
    from fluxan.md.hnemd.linearity import Choice, Level
    from fluxan.md.stopping import RunningConductivity


def print_level(level: Level) -> None:
    """Print the result of one run of the check of linearity."""
    from fluxan.report.verdicts import value

    result = level.result
    found = "no κ" if result is None else f"κ = {value(result.kappa, result.error)} {result.unit}"
    why = f"   ({level.failure})" if level.failure else ""
    typer.echo(f"F_e = {level.strength:<9.3g} 1/Å   {found}{why}")


def print_choice(choice: Choice) -> None:
    """Print which driving force was chosen, and why."""
    typer.echo(
        f"chosen: F_e = {choice.level.strength:.3g}/Å, the largest for which κ is independent of it: nonlinearity "
        f"changes κ by {100 * choice.bias:+.1f} ± {100 * choice.bias_error:.1f} %"
    )


def print_rejection(strength: float, reason: str) -> None:
    """Print that the run goes on with a smaller driving force."""
    print_warning(f"F_e = {strength:.3g}/Å proves too large ({reason}); a smaller one is chosen")


def print_end(run: HnemdRun, kappa: RunningConductivity, *, json: bool) -> None:
    """Print the result of a run."""
    from fluxan.greenkubo.driven import driven_conductivity
    from fluxan.md.hnemd.spectrum_file import driven_spectrum

    result = driven_conductivity(run.output)
    for warning in result.warnings:
        print_warning(warning)
    if json:
        typer.echo(json_module.dumps(facts(result) | {"output": str(run.output), "reached": kappa.reached}))
        return
    typer.echo("")
    print_driven(result)
    if kappa.goal is not None and not kappa.reached:
        typer.echo(
            f"the error is still above {kappa.goal:.3g} of κ: it takes about {result.length_for(kappa.goal):.4g} ps; "
            "continue with --resume and a longer --time"
        )
    spectrum = run.spectrum_path
    if spectrum.exists():
        print_spectrum(driven_spectrum(spectrum, result))
    also = f" and {spectrum}" if spectrum.exists() else ""
    typer.echo(f"wrote {run.output}{also}; next: fluxan kappa {run.output} --plot kappa.png")


def print_spectrum(spectrum: SpectralHeatCurrent) -> None:
    """Print the frequencies below which half and nine tenths of the potential part of κ lie."""
    from fluxan.report.verdicts import value

    total = spectrum.cumulative
    reached = [total.x[np.argmax(total.value >= fraction * total.value[-1])] for fraction in (0.5, 0.9)]
    typer.echo(
        f"spectral heat current: {value(spectrum.integral, spectrum.integral_error)} {spectrum.unit}, half of it below "
        f"{reached[0]:.3g} THz, nine tenths below {reached[1]:.3g} THz"
    )


def print_driven(result: DrivenConductivity) -> None:
    """Print a conductivity under a driving force as text."""
    from fluxan.report.verdicts import value

    along = " ".join(f"{x:.3g}" for x in result.driving_force / result.strength)
    typer.echo(f"κ = {value(result.kappa, result.error)} {result.unit} along ({along}), F_e = {result.strength:.4g}/Å")
    typer.echo(
        f"T = {value(result.temperature, result.temperature_error)} K, {result.length:.4g} ps after "
        f"{result.discarded:.4g} ps that were discarded"
    )
    typer.echo(f"linear response expects an error of {result.expected_error:.2g} {result.unit}")
    components = (value(v, e) for v, e in zip(result.response, result.response_error, strict=True))
    typer.echo("⟨J⟩/(V T F_e) along x, y, z: " + ", ".join(components))
    if len(result.labels) < 2:
        return
    typer.echo("")
    typer.echo(f"{'owner' + chr(92) + 'carrier':<14}" + "".join(f"{label:>20}" for label in result.labels))
    for label, row, errors in zip(result.labels, result.matrix, result.matrix_error, strict=True):
        typer.echo(f"{label:<14}" + "".join(f"{value(v, e):>20}" for v, e in zip(row, errors, strict=True)))
    sums = zip(result.by_carrier, result.by_carrier_error, strict=True)
    typer.echo(f"{'sum':<14}" + "".join(f"{value(v, e):>20}" for v, e in sums))


def facts(result: DrivenConductivity) -> dict[str, Any]:
    """A result as plain values."""
    names = ("kappa", "error", "unit", "temperature", "temperature_error", "volume", "length", "discarded")
    plain = {name: getattr(result, name) for name in (*names, "expected_error")}
    arrays = ("matrix", "matrix_error", "by_carrier", "by_carrier_error", "response", "response_error", "driving_force")
    plain |= {name: getattr(result, name).tolist() for name in arrays}
    return plain | {"labels": list(result.labels), "warnings": list(result.warnings), "method": "hnemd"}
