"""Options that several commands share."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from fluxan.errors import InputError

FluxFile = Annotated[
    Path, typer.Argument(metavar="FLUX", help="Flux file: fluxan's, or LAMMPS', GPUMD's, i-PI's, columns, .npy.")
]
Method = Annotated[str, typer.Option(help="default, cepstral, stacie or running.")]
Components = Annotated[
    str, typer.Option(help="multi: κ at zero mass flux; single: uncorrected; auto: multi where species diffuse.")
]
Discard = Annotated[
    float | None,
    typer.Option(help="Time to leave out at the start of a run under a driving force, ps; a tenth of it if unset."),
]
Source = Annotated[Path, typer.Argument(metavar="TRAJ", help="Trajectory file.")]
Dask = Annotated[
    str | None,
    typer.Option(metavar="CLUSTER", help="Dask cluster for the frames: local, a scheduler's address or file."),
]
ModelName = Annotated[
    str | None, typer.Option(help="Potential: a .toml or .safetensors file, a shipped name, or ADAPTER:FILE.")
]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress bar.")]
Json = Annotated[bool, typer.Option("--json", help="Print results as JSON.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an existing output.")]


def _model_options(
    trust_pickle: Annotated[
        bool, typer.Option("--trust-pickle", help="Open a pickled model; it runs whatever code the file holds.")
    ] = False,
    head: Annotated[str | None, typer.Option(help="Head of a MACE model that gives the energies.")] = None,
    modal: Annotated[str | None, typer.Option(help="Data set (modal) of a multi-fidelity SevenNet model.")] = None,
    variant: Annotated[str | None, typer.Option(help="Energy variant of a metatomic model, e.g. pbe.")] = None,
    extensions: Annotated[
        Path | None, typer.Option(help="Folder of the TorchScript extensions that a metatomic model needs.")
    ] = None,
    dtype: Annotated[
        str | None, typer.Option(help="Precision of the model, float32 or float64; the file's if unset.")
    ] = None,
) -> None:
    """Options of `fluxan.load_model` for models that are read through an adapter, as the command line spells them."""


def _reader(
    elements: Annotated[
        str | None, typer.Option(help="Element of LAMMPS types 1, 2, ..., e.g. Ar,Kr; or one per atom.")
    ] = None,
    topology: Annotated[Path | None, typer.Option(help="File that mdtraj reads and that names the elements.")] = None,
    timestep: Annotated[float | None, typer.Option(help="ps per MD step, where the file counts steps only.")] = None,
    units: Annotated[
        str | None, typer.Option(help="Units of a LAMMPS dump (metal, real, lj) or velocity column (A/fs, ase, ...).")
    ] = None,
    epsilon: Annotated[float | None, typer.Option(help="eV, with --units lj.")] = None,
    sigma: Annotated[float | None, typer.Option(help="Å, with --units lj.")] = None,
    mass: Annotated[float | None, typer.Option(help="u, with --units lj.")] = None,
    leapfrog: Annotated[
        bool | None,
        typer.Option(help="Velocities belong to half a step before the positions; from the file if unset."),
    ] = None,
    start: Annotated[int, typer.Option(help="First frame, counted from 0.")] = 0,
    stop: Annotated[int | None, typer.Option(help="Frame to stop before.")] = None,
    stride: Annotated[int, typer.Option(help="Use every n-th frame.")] = 1,
) -> None:
    """Options of `fluxan.open_trajectory`, as the command line spells them."""


def _flux_reader(
    temperature: Annotated[float | None, typer.Option(help="K; from the file if unset.")] = None,
    volume: Annotated[
        float | None,
        typer.Option(
            help="Å³; from the file if unset. For a sheet: area times thickness (graphene: 3.35 Å), not the cell "
            "with its vacuum; for a wire: cross-section times length."
        ),
    ] = None,
    dt: Annotated[float | None, typer.Option(help="ps between samples; from the file if unset.")] = None,
    timestep: Annotated[float | None, typer.Option(help="ps per MD step, where the file counts steps only.")] = None,
    units: Annotated[
        str | None, typer.Option(help="Units of another code's flux: metal, real, lj, si, atomic, gpumd or eV-A-fs.")
    ] = None,
    columns: Annotated[
        str | None,
        typer.Option(help="Names or numbers of the flux's columns, three per channel: Jx,Jy,Jz or c_flux[*]."),
    ] = None,
    mass_flux: Annotated[
        list[str] | None,
        typer.Option(
            help="Columns of a species' mass flux, momentum or centre-of-mass velocity, in any unit: c_vcm[1][*]; once "
            "per species (all but one are enough where momentum is conserved). Columns with a customary name if unset; "
            "none for no mass flux."
        ),
    ] = None,
    labels: Annotated[str | None, typer.Option(help="Names of the channels: Ag,I.")] = None,
    density: Annotated[
        bool | None, typer.Option("--density/--extensive", help="Whether the flux is per volume.")
    ] = None,
    run: Annotated[int | None, typer.Option(help="Run of a LAMMPS log, from 0; the last with a flux if unset.")] = None,
    per_atom: Annotated[
        bool | None,
        typer.Option(
            "--per-atom/--no-per-atom",
            help="Whether the log divides the flux by the number of atoms (thermo_modify norm); from the log if unset.",
        ),
    ] = None,
    until_crash: Annotated[
        bool | None, typer.Option("--until-crash", help="Use samples before a run blew up; otherwise it is refused.")
    ] = None,
    quantities: Annotated[str | None, typer.Option(help="Quantities in compute.out: temperature,jp,jk.")] = None,
    form: Annotated[str | None, typer.Option("--format", help="Format of the file, if not clear from it.")] = None,
) -> None:
    """Options of `fluxan.fluxfiles.read_flux`, as the command line spells them."""


def with_reader_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command that takes ``reader`` the options of `fluxan.open_trajectory` instead of it."""
    return _with_options(command, _reader)


def with_model_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command that takes ``adapter`` the options of `fluxan.load_model` instead of it."""
    return _with_options(command, _model_options, into="adapter")


def named_model(model: str | None, adapter: dict[str, Any]) -> Any:
    """The model of a command, loaded where options say how; else its name; None where no model is named.

    Raises
    ------
    FluxanError
        Options are given without a model; see also `fluxan.load_model`.
    """
    given = {name: value for name, value in adapter.items() if value is not False}
    if not given:
        return model
    if model is None:
        from fluxan.errors import InputError

        names = ", ".join(f"--{name.replace('_', '-')}" for name in given)
        raise InputError(f"{names} without a model: give --model ADAPTER:FILE")
    from fluxan.potentials.load import load_model

    return load_model(model, **given)


def with_flux_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command that takes ``reader`` the options of `fluxan.fluxfiles.read_flux` instead of it."""
    return _with_options(command, _flux_reader)


def _with_options(
    command: Callable[..., None], options: Callable[..., None], *, into: str = "reader"
) -> Callable[..., None]:
    """Replace a command's parameter `into` by those of `options`; it receives a mapping of those that are not None."""
    signature = inspect.signature(command, eval_str=True)
    parameters = list(signature.parameters.values())
    place = [p.name for p in parameters].index(into)
    added = [
        parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
        for parameter in inspect.signature(options, eval_str=True).parameters.values()
    ]
    parameters[place : place + 1] = added

    @wraps(command)
    def wrapped(**given: Any) -> None:
        taken = {p.name: given.pop(p.name) for p in added}
        command(**{into: {name: value for name, value in taken.items() if value is not None}}, **given)

    wrapped.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    wrapped.__annotations__ = {p.name: p.annotation for p in parameters}
    del wrapped.__wrapped__
    return wrapped


def to_direction(text: str) -> np.ndarray:
    """Vector (3,) of a direction such as ``x`` or ``1,1,0``, of any length.

    Raises
    ------
    InputError
        The text is neither an axis nor three finite numbers that are not all zero.
    """
    axes = {"x": (1.0, 0.0, 0.0), "y": (0.0, 1.0, 0.0), "z": (0.0, 0.0, 1.0)}
    try:
        vector = np.array(axes.get(text) or [float(part) for part in text.split(",")])
    except ValueError:
        vector = np.empty(0)
    if vector.shape != (3,) or not np.isfinite(vector).all() or not vector.any():
        raise InputError(f"--direction is {text!r}, expected x, y, z, or three numbers as in 1,1,0")
    return vector
