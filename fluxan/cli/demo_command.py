"""`fluxan demo`: κ and a report from a real trajectory, with the flux checked against LAMMPS."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer

from fluxan.cli.command_options import Quiet

if TYPE_CHECKING:
    import xarray

DATA = Path(__file__).parents[1] / "data"

#: Largest relative difference: the trajectory is in single precision, LAMMPS' fluxes were computed in double.
TOLERANCE = 1e-5


def demo(
    folder: Annotated[
        Path, typer.Option("--output", help="Folder that flux.nc, its plots and report.html go into.")
    ] = Path("fluxan-demo"),
    *,
    quiet: Quiet = False,
) -> None:
    """Decompose the heat flux of a real trajectory, check it against LAMMPS, and find κ, its split and its error.

    Example: fluxan demo
    """
    import fluxan
    from fluxan.cli.kappa_command import print_result
    from fluxan.cli.tables import print_contributions
    from fluxan.report.flux_figure import plot_flux
    from fluxan.report.page import write_report
    from fluxan.report.study import study_file

    _make_folder(folder)
    trajectory, output = DATA / "arkr.nc", folder / "flux.nc"
    typer.echo("Liquid argon-krypton, 108 atoms, 2000 frames by LAMMPS; Lennard-Jones, stored with the trajectory.\n")
    dataset = fluxan.decompose(trajectory, output=output, overwrite=True, progress=not quiet)
    print_contributions(dataset, output)
    typer.echo("")
    for name, error in lammps_errors(dataset).items():
        _report(name, error)
    figure = folder / "flux.png"
    plot_flux(dataset).savefig(figure, dpi=150)
    typer.echo(f"\nplotted J(t), its parts and their autocorrelation: {figure}\n")
    page = folder / "report.html"
    found = study_file(output, compare=("cepstral", "running"))
    write_report(found, page)
    print_result(found.result)
    typer.echo(f"\nwrote {page}: open it in a browser")
    typer.echo(f"next: fluxan kappa {output}")
    typer.echo("      fluxan decompose YOUR_TRAJECTORY --model YOUR_MODEL --output flux.nc   (fluxan decompose --help)")


def lammps_errors(dataset: xarray.Dataset) -> dict[str, float]:
    """Largest difference from LAMMPS' own heat flux, relative to the largest flux, by quantity."""
    import fluxan

    mine = {"all_flux": fluxan.total_flux(dataset).values}
    mine["all_convective"] = (dataset["kinetic"] + dataset["convective"]).sum("carrier").values
    by_carrier = fluxan.carrier_flux(dataset)
    for label in dataset["carrier"].values:
        mine[f"{label}_flux"] = by_carrier.sel(carrier=label).values
    names = {"all_flux": "total flux", "all_convective": "convective part"}
    with np.load(DATA / "arkr_lammps.npz", allow_pickle=False) as lammps:
        return {
            names.get(key, f"carried by {key.partition('_')[0]}"): float(
                np.abs(value - lammps[key]).max() / np.abs(lammps[key]).max()
            )
            for key, value in mine.items()
        }


def _report(name: str, error: float) -> None:
    from fluxan.errors import FluxanError

    if not error <= TOLERANCE:
        raise FluxanError(f"{name} differs from LAMMPS by {error:.1e} of its largest value, expected {TOLERANCE:.0e}")
    typer.echo(f"{name:<16} equals LAMMPS' compute heat/flux in every frame, largest difference {error:.1e}")


def _make_folder(folder: Path) -> None:
    from fluxan.errors import OutputError

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder} cannot be made: {error.strerror}") from error
