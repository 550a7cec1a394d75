"""`fluxan kappa`."""

from __future__ import annotations

import json as json_module
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

from fluxan.cli.command_options import Components, Discard, FluxFile, Json, Method, with_flux_options
from fluxan.cli.plateau_output import along_axes, headline, print_correlation, refuse_for_correlation
from fluxan.cli.wording import for_command_line

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fluxan.greenkubo import Conductivity

#: Options that apply to a saved correlator.
_OF_STATES = ("temperature", "volume", "dt", "units")


@with_flux_options
def kappa(
    flux: FluxFile,
    *,
    method: Method = "default",
    compare: Annotated[str, typer.Option(help="Further methods; none for no other.")] = "cepstral,running",
    components: Components = "auto",
    plot: Annotated[
        Path | None, typer.Option(help="File (.png, .svg, .pdf) for a plot of C(t), κ(τ) and parts.")
    ] = None,
    discard: Discard = None,
    json: Json = False,
    reader: dict[str, Any],
) -> None:
    """Find the thermal conductivity of a heat flux, with its error and its parts.

    Example: fluxan kappa flux.nc

    Example: fluxan kappa log.lammps --temperature 94 --volume 12000

    Example: fluxan kappa flux.dat --units metal --dt 0.005 --volume 65013 --mass-flux c_vcm[1][*] (a molten salt)

    Example: fluxan kappa correlation.nc --temperature 94 --volume 12000 (a saved Correlator)

    Correlation functions are read too: GPUMD's hac.out, and files of LAMMPS' fix ave/correlate. A flux of fluxan hnemd,
    under a driving force, is recognised: its mean gives κ.
    """
    from fluxan.cli.hnemd_output import print_study, read_driven
    from fluxan.report.driven_figure import draw_driven
    from fluxan.series.readers.flux_correlation import correlation_format

    if correlation_format(flux, reader.get("form")):
        refuse_for_correlation(flux, plot=plot, method=method, compare=compare, components=components)
        print_correlation(flux, reader, json=json)
        return
    driven = read_driven(flux, reader, discard=discard, method=method, compare=compare, components=components)
    if driven is not None:
        print_study(driven, json=json)
        if plot is not None:
            save_figure(draw_driven(driven.result, spectrum=driven.spectrum), plot)
        return
    names = [name for name in compare.split(",") if name not in {"", "none"}]
    result, form = _found(flux, reader, method=method, compare=names, components=components)
    if json:
        typer.echo(json_module.dumps(facts(result, form)))
    else:
        print_result(result)
    if plot is not None:
        save_figure(result.plot(), plot)


def _found(path: Path, reader: dict[str, Any], **settings: Any) -> tuple[Conductivity, str]:
    """Conductivity of a file, and the kind of file."""
    from fluxan.correlation.state_file import is_state_file
    from fluxan.errors import InputError
    from fluxan.greenkubo import green_kubo
    from fluxan.report.study import study_file

    if not (path.is_file() and is_state_file(path)):
        study = study_file(path, reader=reader, **settings)
        return study.result, study.record.source
    for name in reader:
        if name not in _OF_STATES:
            raise InputError(f"{path} is a saved correlator: {name}= does not apply to it")
    return green_kubo(path, **reader, **settings), "fluxan correlator"


def print_result(result: Conductivity) -> None:
    """Print a result as text; warnings go to standard error."""
    from fluxan.report.verdicts import temperature, unit, value

    run = result.diagnostics
    reduced = result.unit == "reduced"
    kind = ", at zero mass flux" if result.components == "multi" else ""
    if result.isotropic:
        typer.echo(f"κ = {value(result.kappa, result.error)}{unit(result)}")
    else:
        typer.echo(headline(result.directions, result.unit))
    typer.echo(along_axes(result.directions, result.unit))
    typer.echo(f"T = {temperature(result)}, V = {result.volume:.6g}{'' if reduced else ' Å³'}{kind}")
    time = "" if reduced else " ps"
    typer.echo(f"run of {run.length:.4g}{time}, {run.length_over_slowest:.3g} times its slowest motion")
    typer.echo("")
    typer.echo(f"{'method':<12}{'κ ± σ':>22}")
    for name, estimate in result.estimates.items():
        typer.echo(f"{name:<12}{value(estimate.value, estimate.error):>22}")
    if len(result.labels) > 1:
        typer.echo("")
        print_parts(result)
    for note in result.notes:
        typer.echo(f"\n{for_command_line(note)}")
    for warning in result.warnings:
        print(f"fluxan: warning: {for_command_line(warning)}", file=sys.stderr)


def print_parts(result: Conductivity) -> None:
    """Print κ by owner and carrier, with sums."""
    from fluxan.report.panels import has_owners
    from fluxan.report.verdicts import value

    rows = "owner" if has_owners(result) else "with"
    typer.echo(f"{rows + chr(92) + 'carrier':<14}" + "".join(f"{label:>20}" for label in result.labels))
    for label, values, errors in zip(result.labels, result.matrix, result.matrix_error, strict=True):
        typer.echo(f"{label:<14}" + "".join(f"{value(v, e):>20}" for v, e in zip(values, errors, strict=True)))
    sums = zip(result.by_carrier, result.by_carrier_error, strict=True)
    typer.echo(f"{'sum':<14}" + "".join(f"{value(v, e):>20}" for v, e in sums))


def facts(result: Conductivity, form: str) -> dict[str, Any]:
    """A result as plain values; None for an unknown element of the tensor."""
    run, directions = result.diagnostics, result.directions
    names = ("kappa", "error", "unit", "method", "components", "temperature", "temperature_error", "volume")
    plain = {name: getattr(result, name) for name in names}
    plain |= {"isotropic": result.isotropic, "kappa_xyz": _plain(directions.value)}
    plain |= {"error_xyz": _plain(directions.error)}
    plain |= {"kappa_single": result.kappa_single, "error_single": result.error_single}
    plain["estimates"] = {name: {"kappa": e.value, "error": e.error} for name, e in result.estimates.items()}
    arrays = ("tensor", "tensor_error", "by_carrier", "by_carrier_error", "matrix", "matrix_error")
    plain |= {"labels": list(result.labels)} | {name: _plain(getattr(result, name)) for name in arrays}
    plain["diagnostics"] = {
        "length": run.length,
        "slowest": run.slowest,
        "length_over_slowest": run.length_over_slowest,
        "diffusing": bool(run.diffusing),
        "temperature_drift": run.temperature_drift,
        "energy_drift": run.energy_drift,
    }
    plain |= {name: list(map(for_command_line, getattr(result, name))) for name in ("notes", "warnings")}
    return plain | {"format": form}


def _plain(values: NDArray[np.float64]) -> list[Any]:
    return [_plain(row) if row.ndim else float(row) if np.isfinite(row) else None for row in values]


def save_figure(figure: Any, path: Path) -> None:
    """Write a figure to a file.

    Raises
    ------
    OutputError
        The file cannot be written, or its format is not known.
    """
    from fluxan.errors import OutputError

    try:
        figure.savefig(path, dpi=200)
    except (OSError, ValueError) as error:
        raise OutputError(f"{path} cannot be written: {getattr(error, 'strerror', None) or error}") from error
    typer.echo(f"plotted: {path}", err=True)
