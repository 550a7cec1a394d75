"""`fluxan export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from fluxan.cli.command_options import (
    Json,
    ModelName,
    Overwrite,
    Quiet,
    named_model,
    with_model_options,
    with_reader_options,
)


@with_reader_options
@with_model_options
def export(
    source: Annotated[
        Path, typer.Argument(metavar="SOURCE", help="Trajectory with velocities; for kaldo the unit cell.")
    ],
    *,
    to: Annotated[str, typer.Option(help="Program that will read the files: dynasor, gkmx or kaldo.")],
    output: Annotated[Path, typer.Option(help="Folder to write.")],
    model: ModelName = None,
    adapter: dict[str, Any],
    primitive: Annotated[
        Path | None, typer.Option(help="Primitive cell at a minimum of the energy, for dynasor and gkmx.")
    ] = None,
    supercell: Annotated[str | None, typer.Option(help="Numbers of cells, for kaldo: 4,4,4.")] = None,
    second_only: Annotated[
        bool, typer.Option("--second-only", help="No third-order force constants, for kaldo.")
    ] = False,
    displacement: Annotated[float, typer.Option(help="Displacements for the force constants, Å.")] = 0.01,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
    json: Json = False,
    reader: dict[str, Any],
) -> None:
    """Write trajectory, heat flux and force constants for programs that decompose into modes.

    Example: fluxan export run.nc --to dynasor --model ar --primitive ar.xyz --output argon

    Example: fluxan export si.xyz --to kaldo --model si --supercell 3,3,3 --output silicon
    """
    from fluxan.errors import InputError

    shared = {
        "model": named_model(model, adapter),
        "displacement": displacement,
        "overwrite": overwrite,
        "progress": not quiet,
    }
    if to == "kaldo":
        summary = _to_kaldo(
            source,
            output,
            primitive,
            supercell,
            shared | {"third_order": not second_only, "reader": _of_one_frame(reader)},
        )
    elif to in {"dynasor", "gkmx"}:
        if primitive is None or supercell is not None or second_only:
            raise InputError(f"--to {to} needs --primitive, and takes neither --supercell nor --second-only")
        from fluxan.lattice_dynamics.dynasor_export import export_dynasor
        from fluxan.lattice_dynamics.gkmx_export import export_gkmx

        write = export_dynasor if to == "dynasor" else export_gkmx
        summary = write(source, output, primitive=primitive, reader=reader, **shared)
    else:
        raise InputError(f"--to is {to!r}; expected dynasor, gkmx or kaldo")
    _print(summary, output, json=json)


def _to_kaldo(
    source: Path, output: Path, primitive: Path | None, supercell: str | None, options: dict[str, Any]
) -> dict[str, Any]:
    from fluxan.errors import InputError
    from fluxan.lattice_dynamics.kaldo_export import export_kaldo

    if supercell is None or primitive is not None:
        raise InputError("--to kaldo needs --supercell, and takes no --primitive: SOURCE is the unit cell")
    try:
        repeats = [int(word) for word in supercell.split(",")]
    except ValueError:
        raise InputError(f"--supercell {supercell}: expected three numbers, as in 4,4,4") from None
    return export_kaldo(source, output, supercell=repeats, **options)


def _of_one_frame(reader: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in reader.items() if name not in {"start", "stop", "stride"}}


def _print(summary: dict[str, Any], output: Path, *, json: bool) -> None:
    if json:
        import json as json_module

        typer.echo(json_module.dumps(summary))
        return
    frames = f"{summary['n_frames']} frames and " if "n_frames" in summary else ""
    orders = "second and third order" if summary.get("third_order") else "second order"
    typer.echo(f"wrote {frames}force constants of {orders} for {summary['target']} to {output}")
