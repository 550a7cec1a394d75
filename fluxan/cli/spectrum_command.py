"""`fluxan spectrum`."""

from __future__ import annotations

import json as json_module
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

from fluxan.cli.command_options import FluxFile, Json, with_flux_options

if TYPE_CHECKING:
    from fluxan.correlation import PowerSpectrum

#: Number of independent points that a spectrum is smoothed to by default.
_POINTS = 500


@with_flux_options
def spectrum(
    flux: FluxFile,
    *,
    output: Annotated[Path | None, typer.Option(help="Write all frequencies as a table (.csv).")] = None,
    plot: Annotated[Path | None, typer.Option(help="File for a plot, .png, .svg or .pdf.")] = None,
    bandwidth: Annotated[float | None, typer.Option(help="Smooth over this width, THz.")] = None,
    bands: Annotated[str | None, typer.Option(help="Edges of the bands that are printed, in THz: 0,1,5,20.")] = None,
    unit: Annotated[str, typer.Option(help="Unit of the plot's frequencies: THz or cm-1.")] = "THz",
    json: Json = False,
    reader: dict[str, Any],
) -> None:
    """Compute the power spectrum of a heat flux, and the contribution of each carrier by frequency band.

    Example: fluxan spectrum flux.nc --plot spectrum.png
    """
    found = _spectrum(flux, bandwidth, reader)
    edges = _edges(bands, found)
    rows = [(low, high, _shares(found, low, high)) for low, high in pairwise(edges)]
    if json:
        parts = [
            {"from": low, "to": high, "mean_square": dict(zip(found.labels, s, strict=True))} for low, high, s in rows
        ]
        typer.echo(json_module.dumps({"bandwidth": found.bandwidth, "labels": list(found.labels), "bands": parts}))
    else:
        _print_bands(found, rows)
    if output is not None:
        _write_table(found, output)
    if plot is not None:
        from fluxan.cli.kappa_command import save_figure

        save_figure(found.plot(unit=unit), plot)


def _spectrum(path: Path, bandwidth: float | None, reader: dict[str, Any]) -> PowerSpectrum:
    from dataclasses import replace

    from fluxan.series.flux_spectrum import power_spectrum
    from fluxan.series.readers.flux_reading import read_flux

    record = read_flux(path, **reader)
    if bandwidth is None and not np.isnan(record.time_step):
        bandwidth = max(1.01 / len(record.samples), 0.5 / _POINTS) / record.time_step
    found = power_spectrum(
        record.samples, dt=None if np.isnan(record.time_step) else record.time_step, bandwidth=bandwidth
    )
    return replace(found, labels=record.labels)


def _edges(bands: str | None, spectrum: PowerSpectrum) -> list[float]:
    """Edges in THz: those given, or of ten equal bands that contain 99.9 % of the power."""
    from fluxan.errors import InputError

    if bands is None:
        share = np.cumsum(spectrum.total)
        return np.linspace(0, spectrum.frequencies[np.searchsorted(share, 0.999 * share[-1])], 11).tolist()
    try:
        edges = [float(edge) for edge in bands.split(",")]
    except ValueError as error:
        raise InputError(f"--bands {bands}: expected frequencies in THz, e.g. 0,1,5,20") from error
    if len(edges) < 2 or any(low >= high for low, high in pairwise(edges)):
        raise InputError(f"--bands {bands}: expected two or more frequencies that increase")
    return edges


def _shares(spectrum: PowerSpectrum, low: float, high: float) -> list[float]:
    """Mean square of the flux between two frequencies, by carrier: each row of the mean products is summed."""
    inside = (spectrum.frequencies >= low) & (spectrum.frequencies < high)
    if not inside.any():
        return [0.0] * len(spectrum.labels)
    last = float(spectrum.frequencies[inside][-1])
    return spectrum.band(low, last).sum(axis=1).tolist()


def _print_bands(spectrum: PowerSpectrum, rows: list[tuple[float, float, list[float]]]) -> None:
    whole = float(spectrum.band().sum())
    wavenumber = spectrum.wavenumbers[-1] / spectrum.frequencies[-1]
    typer.echo(f"⟨J²⟩/3 = {whole:.4g} (eV Å/ps)², bandwidth {spectrum.bandwidth:.3g} THz, share of it by band:")
    typer.echo("")
    typer.echo(f"{'THz':<18}{'cm⁻¹':<18}{'all':>8}" + "".join(f"{label:>12}" for label in spectrum.labels))
    for low, high, parts in rows:
        words = f"{f'{low:.4g} - {high:.4g}':<18}{f'{low * wavenumber:.4g} - {high * wavenumber:.4g}':<18}"
        typer.echo(f"{words}{sum(parts) / whole:>8.1%}" + "".join(f"{part / whole:>12.1%}" for part in parts))


def _write_table(spectrum: PowerSpectrum, path: Path) -> None:
    from fluxan.errors import OutputError

    table = np.column_stack([spectrum.frequencies, spectrum.total, spectrum.total_error, spectrum.parts])
    names = ["frequency_THz", "total", "error", *spectrum.labels]
    try:
        np.savetxt(path, table, delimiter=",", header=",".join(names), comments="", fmt="%.10g")
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror or error}") from error
