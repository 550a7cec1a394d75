"""`fluxan md`."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Annotated, Any

import typer

from fluxan.cli.command_options import Json, Overwrite, named_model, with_model_options
from fluxan.cli.run_start import exit_if_stopped, set_threads, start, stopping, to_fraction

#: Default length of a run, ps; the largest length where there is a goal for the error.
SHORT, LONG = 100.0, 10_000.0


@with_model_options
def md(
    structure: Annotated[
        str, typer.Argument(metavar="STRUCTURE", help="File to start from, or shipped:ar-liquid, shipped:agi.")
    ],
    *,
    model: Annotated[
        str | None, typer.Option(help="Potential: a .toml or .safetensors file, a shipped name, or ADAPTER:FILE.")
    ] = None,
    adapter: dict[str, Any],
    ensemble: Annotated[str, typer.Option(help="nve, langevin, or nvt (stochastic velocity rescaling).")] = "nve",
    temperature: Annotated[float | None, typer.Option(help="K.")] = None,
    time: Annotated[float | None, typer.Option(help="Length of the run, ps; the largest with --until-error.")] = None,
    timestep: Annotated[float | None, typer.Option(help="fs.")] = None,
    flux_every: Annotated[int, typer.Option(help="Number of steps between fluxes.")] = 5,
    thermalise: Annotated[
        float | None, typer.Option(help="Langevin thermostat before the run, ps; 0 keeps the file's velocities.")
    ] = None,
    friction: Annotated[float, typer.Option(help="Friction of the Langevin thermostat, 1/ps.")] = 2.0,
    relaxation: Annotated[float, typer.Option(help="Relaxation time of the energy with nvt, ps.")] = 1.0,
    repeat: Annotated[str, typer.Option(help="Repeat the cell: 2, or 2,2,1.")] = "1",
    elements: Annotated[str | None, typer.Option(help="Element of LAMMPS types 1, 2, ..., e.g. Ar,Kr.")] = None,
    until_error: Annotated[
        str | None, typer.Option(help="Stop when the error of κ is below this fraction of κ, e.g. 5%.")
    ] = None,
    output: Annotated[Path, typer.Option(help="Flux file; restart file and correlation are written beside it.")] = Path(
        "flux.nc"
    ),
    seed: Annotated[
        int, typer.Option(help="Seed of velocities and thermostats; another one for an independent run.")
    ] = 0,
    checkpoint_every: Annotated[int, typer.Option(help="Number of fluxes between restart files.")] = 50,
    route: Annotated[str, typer.Option(help="auto, local, adjoint or unfolded.")] = "auto",
    resume: Annotated[bool, typer.Option("--resume", help="Continue, or extend, a run.")] = False,
    overwrite: Overwrite = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress bar.")] = False,
    json: Json = False,
) -> None:
    """Run molecular dynamics, record its heat flux, and find κ while it runs.

    Example: fluxan md shipped:ar-liquid

    Example: fluxan md crystal.xyz --model mace:FILE --temperature 300 --time 200 --timestep 1 --until-error 5%
    """
    from fluxan.errors import InputError
    from fluxan.md.md_settings import MdSettings

    goal = to_fraction(until_error)
    frame, potential, suited = start(structure, named_model(model, adapter), elements=elements, repeat=repeat)
    options = {"temperature": temperature, "time": time, "timestep": timestep, "thermalise": thermalise}
    given = {name: value for name, value in options.items() if value is not None}
    if "temperature" not in suited | given:
        raise InputError(f"{structure} does not define a temperature to run at: give --temperature, in K")
    lengths = {"time": SHORT} | suited if goal is None else suited | {"time": LONG}
    settings = MdSettings(
        **(lengths | given),
        flux_every=flux_every,
        ensemble=ensemble,
        friction=friction,
        relaxation=relaxation,
        seed=seed,
        checkpoint_every=checkpoint_every,
    )
    from fluxan.cli.md_output import follow, print_end
    from fluxan.md.md_run import MdRun
    from fluxan.md.stopping import RunningConductivity

    set_threads(potential)
    run = MdRun(frame, potential, settings, output=output, route=route, resume=resume, overwrite=overwrite)
    kappa = RunningConductivity(settings, goal)
    with closing(run), stopping(run):
        follow(run, kappa, bar=not quiet, lines=not json)
    exit_if_stopped(run)
    run.save_correlation()
    print_end(run, kappa, json=json)
