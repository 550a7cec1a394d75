"""`fluxan decompose`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from fluxan.cli.command_options import (
    Dask,
    Json,
    Overwrite,
    Quiet,
    Source,
    named_model,
    with_model_options,
    with_reader_options,
)


@with_reader_options
@with_model_options
def decompose(
    traj: Source,
    *,
    model: Annotated[
        str | None,
        typer.Option(help="Potential: a .toml or .safetensors file, a shipped name, or ADAPTER:FILE, e.g. mace:FILE."),
    ] = None,
    adapter: dict[str, Any],
    output: Annotated[Path, typer.Option(help="NetCDF file to write.")] = Path("flux.nc"),
    groups: Annotated[str, typer.Option(help="element, or a text file with one label per atom.")] = "element",
    velocities: Annotated[Path | None, typer.Option(help=".npy file (frames, atoms, 3) in Å/ps.")] = None,
    route: Annotated[str, typer.Option(help="auto, local, adjoint or unfolded.")] = "auto",
    device: Annotated[str, typer.Option(help="Device of the model: cpu, cuda, cuda:1, ...")] = "cpu",
    resume: Annotated[bool, typer.Option("--resume", help="Continue an unfinished output.")] = False,
    overwrite: Overwrite = False,
    dask: Dask = None,
    quiet: Quiet = False,
    json: Json = False,
    reader: dict[str, Any],
) -> None:
    """Decompose the heat flux of a trajectory by owner and carrier of the energy.

    Example: fluxan decompose run.lammpstrj --elements Ar,Kr --timestep 0.004 --model ar-kr --output flux.nc
    """
    import fluxan
    from fluxan.cli.tables import print_contributions

    dataset = fluxan.decompose(
        traj,
        named_model(model, adapter),
        groups=read_labels(groups),
        velocities=velocities,
        route=route,
        device=device,
        output=output,
        resume=resume,
        overwrite=overwrite,
        client=dask,
        progress=not quiet,
        reader=reader,
    )
    print_contributions(dataset, output, json=json)


def read_labels(groups: str) -> str | list[str]:
    """Read the labels of --groups from a file, unless the word is "element".

    Raises
    ------
    FileError
        There is no such file of text.
    """
    if groups == "element":
        return groups
    from fluxan.errors import FileError

    try:
        return Path(groups).read_text(encoding="utf-8").split()
    except (OSError, UnicodeDecodeError) as error:
        raise FileError(f"--groups {groups}: neither the word element nor a readable text file of labels") from error
