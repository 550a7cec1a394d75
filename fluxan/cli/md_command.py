"""`fluxan md`."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Annotated, Any

import typer

from fluxan.cli.command_options import Json, ModelName, Overwrite, Quiet, named_model, with_model_options
from fluxan.cli.run_start import (
    CheckpointEvery,
    Elements,
    FluxEvery,
    Length,
    Repeat,
    Resume,
    RouteName,
    Seed,
    Structure,
    Temperature,
    Timestep,
    UntilError,
    exit_if_stopped,
    lengths,
    set_threads,
    start,
    stopping,
    to_fraction,
)


@with_model_options
def md(
    structure: Structure,
    *,
    model: ModelName = None,
    adapter: dict[str, Any],
    ensemble: Annotated[str, typer.Option(help="nve, langevin, or nvt (stochastic velocity rescaling).")] = "nve",
    temperature: Temperature = None,
    time: Length = None,
    timestep: Timestep = None,
    flux_every: FluxEvery = 5,
    thermalise: Annotated[
        float | None, typer.Option(help="Langevin thermostat before the run, ps; 0 keeps the file's velocities.")
    ] = None,
    friction: Annotated[float, typer.Option(help="Friction of the Langevin thermostat, 1/ps.")] = 2.0,
    relaxation: Annotated[float, typer.Option(help="Relaxation time of the energy with nvt, ps.")] = 1.0,
    repeat: Repeat = "1",
    elements: Elements = None,
    until_error: UntilError = None,
    output: Annotated[Path, typer.Option(help="Flux file; restart file and correlation are written beside it.")] = Path(
        "flux.nc"
    ),
    seed: Seed = 0,
    checkpoint_every: CheckpointEvery = 50,
    route: RouteName = "auto",
    resume: Resume = False,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Run molecular dynamics, record its heat flux, and find κ while it runs.

    Example: fluxan md shipped:ar-liquid

    Example: fluxan md crystal.xyz --model mace:FILE --temperature 300 --time 200 --timestep 1 --until-error 5%
    """
    from fluxan.md.md_settings import MdSettings

    goal = to_fraction(until_error)
    frame, potential, suited = start(structure, named_model(model, adapter), elements=elements, repeat=repeat)
    chosen = lengths(
        structure, suited, goal, temperature=temperature, time=time, timestep=timestep, thermalise=thermalise
    )
    settings = MdSettings(
        **chosen,
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
