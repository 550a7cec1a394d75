"""Output of `fluxan hnemd`."""

from __future__ import annotations

import json as json_module
from typing import TYPE_CHECKING, Any

import numpy as np
import typer

from fluxan.cli.plateau_output import given_options
from fluxan.cli.standard_error import print_warning

if TYPE_CHECKING:
    from pathlib import Path

    from fluxan.greenkubo.driven import DrivenConductivity
    from fluxan.greenkubo.spectral_conductivity import SpectralHeatCurrent
    from fluxan.md.hnemd.hnemd_run import HnemdRun
    from fluxan.md.hnemd.linearity import Choice, Level
    from fluxan.md.stopping import RunningConductivity
    from fluxan.report.driven_study import DrivenStudy


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
        f"chosen: F_e = {choice.level.strength:.3g}/Å, the largest whose κ agrees with that at smaller ones; "
        f"nonlinearity changes it by {_percent(choice.bias, choice.bias_error)}"
    )


def _percent(fraction: float, error: float) -> str:
    from fluxan.report.verdicts import value

    return f"{value(100 * fraction, 100 * error)} %"


def print_rejection(strength: float, reason: str) -> None:
    """Print that the run goes on with a smaller driving force."""
    print_warning(f"F_e = {strength:.3g}/Å proves too large ({reason}); a smaller one is chosen")


def print_end(run: HnemdRun, kappa: RunningConductivity, *, json: bool) -> None:
    """Print the result of a run."""
    from fluxan.report.driven_study import driven_study

    study = driven_study(run.output)
    result = study.result
    if json:
        print_study(study, json=True, output=str(run.output), reached=kappa.reached)
        return
    typer.echo("")
    print_study(study, json=False)
    if kappa.goal is not None and not kappa.reached:
        typer.echo(
            f"the error is still above {kappa.goal:.3g} of κ: it takes about {result.length_for(kappa.goal):.4g} ps; "
            "continue with --resume and a longer --time"
        )
    also = f" and {run.spectrum_path}" if study.spectrum is not None else ""
    typer.echo(f"wrote {run.output}{also}; next: fluxan kappa {run.output} --plot kappa.png")


def read_driven(
    path: Path, reader: dict[str, Any], *, discard: float | None = None, **asked: Any
) -> DrivenStudy | None:
    """The run of a flux file under a driving force; None for any other file.

    Raises
    ------
    InputError
        Options do not apply: those of Green-Kubo that are `asked` to a run under a driving force, `discard` to others.
    """
    from fluxan.errors import InputError
    from fluxan.report.driven_study import driven_study
    from fluxan.series.flux_dataset import is_driven_flux

    if reader.get("form", "fluxan") != "fluxan" or not is_driven_flux(path):
        if discard is not None:
            raise InputError(f"{path} is not of a run under a driving force: discard={discard:g} does not apply to it")
        return None
    for name in given_options(**asked):
        raise InputError(
            f"{path} is of a run under a driving force, whose mean flux gives κ: {name}= is for fluxes in equilibrium"
        )
    return driven_study(path, reader=reader, discard=discard)


def print_study(study: DrivenStudy, *, json: bool, **further: Any) -> None:
    """Print conductivity and spectrum of a run, as text or as JSON with `further` facts."""
    for warning in study.result.warnings:
        print_warning(warning)
    if json:
        spectrum = {} if study.spectrum is None else {"spectrum": spectrum_facts(study.spectrum)}
        typer.echo(json_module.dumps(facts(study.result) | spectrum | further))
        return
    print_driven(study.result)
    if study.spectrum is not None:
        print_spectrum(study.spectrum)


def print_spectrum(spectrum: SpectralHeatCurrent) -> None:
    """Print the frequencies below which half and nine tenths of the potential part of κ lie."""
    from fluxan.report.verdicts import value

    found = spectrum_facts(spectrum)
    typer.echo(
        f"spectral heat current: {value(spectrum.integral, spectrum.integral_error)} {spectrum.unit}, half of it below "
        f"{found['half_below']:.3g} THz, nine tenths below {found['nine_tenths_below']:.3g} THz"
    )


def spectrum_facts(spectrum: SpectralHeatCurrent) -> dict[str, Any]:
    """Integral of a spectral heat current, W/(m K), and the frequencies below which parts of it lie, THz."""
    total, error = spectrum.cumulative, spectrum.integral_error
    # Also of a negative integral, which noise may give.
    half, most = (float(total.x[np.argmax(total.value / total.value[-1] >= part)]) for part in (0.5, 0.9))
    known = {"integral": float(spectrum.integral), "error": float(error) if np.isfinite(error) else None}
    return known | {"n_blocks": spectrum.n_blocks, "half_below": half, "nine_tenths_below": most}


def print_driven(result: DrivenConductivity) -> None:
    """Print a conductivity under a driving force as text."""
    from fluxan.report.verdicts import direction, temperature, value

    typer.echo(
        f"κ = {value(result.kappa, result.error)} {result.unit} along {direction(result)}, "
        f"F_e = {result.strength:.4g}/Å"
    )
    typer.echo(f"T = {temperature(result)}, {result.length:.4g} ps after {result.discarded:.4g} ps that were discarded")
    typer.echo(
        f"error from blocks {result.block_error:.2g}, in linear response {result.expected_error:.2g} {result.unit}"
    )
    if np.isfinite(result.bias):
        typer.echo(f"nonlinearity changes κ by {_percent(result.bias, result.bias_error)}")
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
    plain = {name: getattr(result, name) for name in (*names, "strength", "block_error", "expected_error", "excess")}
    plain["nonlinearity"], plain["nonlinearity_error"] = (
        found if np.isfinite(found) else None for found in (result.bias, result.bias_error)
    )
    arrays = ("matrix", "matrix_error", "by_carrier", "by_carrier_error", "response", "response_error", "driving_force")
    plain |= {name: getattr(result, name).tolist() for name in arrays}
    return plain | {"labels": list(result.labels), "warnings": list(result.warnings), "method": "hnemd"}
