"""Options that several commands share."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

import typer

Source = Annotated[Path, typer.Argument(metavar="TRAJ", help="Trajectory file.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an existing output.")]


def _reader(
    elements: Annotated[
        str | None, typer.Option(help="Element of LAMMPS types 1, 2, ..., e.g. Ar,Kr; or one per atom.")
    ] = None,
    topology: Annotated[Path | None, typer.Option(help="A file mdtraj reads that names the elements.")] = None,
    timestep: Annotated[float | None, typer.Option(help="ps per MD step, where the file counts steps only.")] = None,
    units: Annotated[
        str | None, typer.Option(help="Of a LAMMPS dump (metal, real, lj) or of a velocity column (A/fs, ase, ...).")
    ] = None,
    epsilon: Annotated[float | None, typer.Option(help="eV, with --units lj.")] = None,
    sigma: Annotated[float | None, typer.Option(help="Å, with --units lj.")] = None,
    mass: Annotated[float | None, typer.Option(help="u, with --units lj.")] = None,
    leapfrog: Annotated[
        bool | None,
        typer.Option(help="Velocities belong to half a step before the positions; the file's word if unset."),
    ] = None,
    start: Annotated[int, typer.Option(help="First frame, counted from 0.")] = 0,
    stop: Annotated[int | None, typer.Option(help="Frame to stop before.")] = None,
    stride: Annotated[int, typer.Option(help="Every how many frames.")] = 1,
) -> None:
    """Options of `fluxan.open_trajectory`, as the command line spells them."""


READER = tuple(
    parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
    for parameter in inspect.signature(_reader, eval_str=True).parameters.values()
)


def with_reader_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command that takes ``reader`` the options of `fluxan.open_trajectory` instead of it."""
    signature = inspect.signature(command, eval_str=True)
    own = [p for p in signature.parameters.values() if p.name != "reader"]

    @wraps(command)
    def wrapped(**given: Any) -> None:
        reader = {p.name: given.pop(p.name) for p in READER}
        command(reader={name: value for name, value in reader.items() if value is not None}, **given)

    wrapped.__signature__ = signature.replace(parameters=[*own, *READER])  # type: ignore[attr-defined]
    wrapped.__annotations__ = {p.name: p.annotation for p in (*own, *READER)}
    del wrapped.__wrapped__
    return wrapped
