"""`fluxan convert`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from fluxan.cli.command_options import Overwrite, Source, with_reader_options


@with_reader_options
def convert(
    traj: Source,
    *,
    output: Annotated[Path, typer.Option(help="AMBER NetCDF file to write.")],
    double: Annotated[bool, typer.Option("--double", help="Store float64 instead of AMBER's float32.")] = False,
    model: Annotated[str | None, typer.Option(help="Potential to store with the trajectory.")] = None,
    overwrite: Overwrite = False,
    reader: dict[str, Any],
) -> None:
    """Convert a trajectory to AMBER NetCDF with velocities, elements and masses.

    Example: fluxan convert run.lammpstrj.gz --elements Ar,Kr --timestep 0.004 --output run.nc
    """
    from fluxan.trajectory import convert as convert_trajectory

    text = None if model is None else _description(model)
    n_frames = convert_trajectory(traj, output, double=double, overwrite=overwrite, model_text=text, **reader)
    typer.echo(f"wrote {n_frames} frames to {output}")


def _description(model: str) -> str:
    from fluxan.errors import ModelError
    from fluxan.potentials.load import adapter_options, load_model

    # Checkpoints have no description, so they are not opened at all.
    text = None if adapter_options(model) else getattr(load_model(model), "describe", lambda: None)()
    if text is None:
        raise ModelError(f"{model} has no description as text that could be stored; only analytic potentials have")
    return text
