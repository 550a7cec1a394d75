"""`fluxan shc`."""

from __future__ import annotations

import json as json_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

from fluxan.cli.command_options import (
    Json,
    Quiet,
    Source,
    named_model,
    to_direction,
    with_model_options,
    with_reader_options,
)
from fluxan.cli.decompose_command import read_labels
from fluxan.errors import OutputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fluxan.greenkubo.result import Curve
    from fluxan.greenkubo.spectral_conductivity import SpectralHeatCurrent

#: Rows of the table, up to the frequency below which this fraction of the integral of |κ(f)| lies.
_ROWS = 10
_SHOWN = 0.999


@with_reader_options
@with_model_options
def shc(
    traj: Source,
    *,
    model: Annotated[
        str | None,
        typer.Option(help="Potential: a .toml or .safetensors file, a shipped name, or ADAPTER:FILE, e.g. mace:FILE."),
    ] = None,
    adapter: dict[str, Any],
    max_lag: Annotated[float, typer.Option(help="Longest lag, ps; its inverse is the resolution in THz.")],
    window: Annotated[
        float | None, typer.Option(help="Equilibrium: ps over which the flux before each frame is integrated.")
    ] = None,
    direction: Annotated[
        str | None, typer.Option(help="In place of --window: direction of the flux or force, x, y, z or 1,1,0.")
    ] = None,
    driving_force: Annotated[
        float | None, typer.Option(help="Driving force of the run along --direction (HNEMD), 1/Å.")
    ] = None,
    temperature: Annotated[float | None, typer.Option(help="K; mean of the frames if unset.")] = None,
    volume: Annotated[float | None, typer.Option(help="Å³; mean of the frames if unset.")] = None,
    taper: Annotated[str, typer.Option(help="hann or none.")] = "hann",
    groups: Annotated[str, typer.Option(help="element, or a text file with one label per atom.")] = "element",
    velocities: Annotated[Path | None, typer.Option(help=".npy file (frames, atoms, 3) in Å/ps.")] = None,
    route: Annotated[str, typer.Option(help="auto, local, adjoint or unfolded.")] = "auto",
    device: Annotated[str, typer.Option(help="Device of the model: cpu, cuda, cuda:1, ...")] = "cpu",
    output: Annotated[Path | None, typer.Option(help="Write all frequencies as a table (.csv).")] = None,
    figure: Annotated[Path | None, typer.Option(help="File for a figure, .png, .svg or .pdf.")] = None,
    quiet: Quiet = False,
    json: Json = False,
    reader: dict[str, Any],
) -> None:
    """Divide the conductivity of a trajectory by frequency and carrier (spectral heat current).

    Example: fluxan shc nve.nc --model mine.safetensors --max-lag 2 --window 20 --figure spectral.png

    Example: fluxan shc hnemd.nc --model mine.safetensors --max-lag 2 --direction x --driving-force 1e-4
    """
    import fluxan

    result = fluxan.spectral_heat_current(
        traj,
        named_model(model, adapter),
        max_lag=max_lag,
        window=window,
        direction=None if direction is None else to_direction(direction),
        groups=read_labels(groups),
        driving_force=driving_force,
        temperature=temperature,
        volume=volume,
        taper=taper,
        velocities=velocities,
        route=route,
        device=device,
        progress=not quiet,
        reader=reader,
    )
    typer.echo(json_module.dumps(_facts(result)) if json else _table(result))
    if output is not None:
        _write(result, output)
    if figure is not None:
        from fluxan.cli.kappa_command import save_figure

        save_figure(fluxan.plot(result), figure)


def _table(result: SpectralHeatCurrent) -> str:
    """The integral of every carrier, and integrals up to some frequencies."""
    from fluxan.cli.tables import aligned
    from fluxan.rounding import value_and_error as value

    def cells(k: int) -> list[str]:
        curves = (result.cumulative, *result.cumulative_by_carrier.values())
        return [value(float(curve.value[k]), float(curve.error[k])) for curve in curves]

    name = "κ of the potential flux" if result.unit == "W/(m K)" else "K(0)"
    whole = value(result.integral, result.integral_error)
    frequencies = result.spectrum.x
    weight = np.cumsum(np.abs(result.spectrum.value))
    last = max(1, int(np.searchsorted(weight, _SHOWN * weight[-1])))
    chosen = np.unique(np.round(np.linspace(0, last, _ROWS + 1)[1:]).astype(int))
    rows = [[f"{frequencies[k]:.4g}", *cells(int(k))] for k in chosen]
    rows.append(["all", *cells(-1)])
    head = (
        f"{name} = {whole} {result.unit}, {result.n_samples} samples in {result.n_blocks} blocks, "
        f"resolution {1 / result.times[-1]:.3g} THz; part of it below f:"
    )
    return "\n".join([head, "", aligned(["f (THz)", f"total ({result.unit})", *result.labels], rows)])


def _facts(result: SpectralHeatCurrent) -> dict[str, Any]:
    """All numbers as plain values; None for errors that are not known."""

    def plain(curve: Curve) -> dict[str, list[float] | None]:
        error = curve.error.tolist() if np.isfinite(curve.error).all() else None
        return {"value": curve.value.tolist(), "error": error}

    return {
        "integral": result.integral,
        "error": result.integral_error if np.isfinite(result.integral_error) else None,
        "unit": result.unit,
        "taper": result.taper,
        "n_blocks": result.n_blocks,
        "n_samples": result.n_samples,
        "frequency": result.spectrum.x.tolist(),
        "spectrum": plain(result.spectrum),
        "cumulative": plain(result.cumulative),
        "by_carrier": {label: plain(curve) for label, curve in result.by_carrier.items()},
        "cumulative_by_carrier": {label: plain(curve) for label, curve in result.cumulative_by_carrier.items()},
        "lag": result.times.tolist(),
        "correlation": {label: result.correlation[:, k].tolist() for k, label in enumerate(result.labels)},
    }


def _write(result: SpectralHeatCurrent, path: Path) -> None:
    columns: dict[str, NDArray[np.float64]] = {"frequency_THz": result.spectrum.x}
    for name, total, parts in (
        ("spectrum", result.spectrum, result.by_carrier),
        ("cumulative", result.cumulative, result.cumulative_by_carrier),
    ):
        columns |= {name: total.value, f"{name}_error": total.error}
        columns |= {f"{name}_{label}": part.value for label, part in parts.items()}
    try:
        np.savetxt(path, np.column_stack(list(columns.values())), delimiter=",", header=",".join(columns), comments="")
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror or error}") from error
