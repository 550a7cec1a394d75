"""`fluxan hnemd`."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

from fluxan.cli.command_options import Json, ModelName, Overwrite, Quiet, named_model, to_direction, with_model_options
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

if TYPE_CHECKING:
    from fluxan.md.hnemd.driving_choice import DrivingChoice
    from fluxan.md.hnemd.hnemd_run import HnemdRun
    from fluxan.md.hnemd.hnemd_settings import HnemdSettings
    from fluxan.md.stopping import RunningDrivenConductivity
    from fluxan.potentials.base import Potential
    from fluxan.system import Frame

#: Default length of each run of the check of linearity, as a fraction of that of the run.
_CHECKED = 0.2
#: The same where the run ends when the error is small enough, ps.
_CHECK_TIME = 50.0


@with_model_options
def hnemd(
    structure: Structure,
    *,
    model: ModelName = None,
    adapter: dict[str, Any],
    driving_force: Annotated[
        float | None, typer.Option(help="Driving force, 1/Å; if unset, found by a check of linearity.")
    ] = None,
    direction: Annotated[str, typer.Option(help="Direction of the driving force: x, y, z, or as in 1,1,0.")] = "x",
    check_time: Annotated[
        float | None, typer.Option(help="Length of each run of the check of linearity, ps; a fifth of --time if unset.")
    ] = None,
    temperature: Temperature = None,
    time: Length = None,
    timestep: Timestep = None,
    flux_every: FluxEvery = 5,
    thermalise: Annotated[
        float | None, typer.Option(help="Langevin thermostat before the driving force sets in, ps.")
    ] = None,
    relaxation: Annotated[float, typer.Option(help="Relaxation time of the energy under the thermostat, ps.")] = 0.2,
    max_lag: Annotated[
        float, typer.Option(help="Longest lag for the spectral heat current, ps; 0 for no spectrum.")
    ] = 2.0,
    repeat: Repeat = "1",
    elements: Elements = None,
    until_error: UntilError = None,
    output: Annotated[Path, typer.Option(help="Flux file; restart files and spectrum are written beside it.")] = Path(
        "hnemd.nc"
    ),
    seed: Seed = 0,
    checkpoint_every: CheckpointEvery = 50,
    route: RouteName = "auto",
    resume: Resume = False,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Find κ from the mean heat flux under a driving force (HNEMD), and the frequencies that carry it.

    Example: fluxan hnemd shipped:ar-liquid

    Example: fluxan hnemd crystal.xyz --model mace:FILE --temperature 300 --time 200 --direction z --until-error 5%
    """
    from fluxan.cli.hnemd_output import print_end
    from fluxan.errors import InputError
    from fluxan.md.hnemd.hnemd_run import HnemdRun
    from fluxan.md.hnemd.hnemd_settings import HnemdSettings
    from fluxan.md.stopping import RunningDrivenConductivity

    goal = to_fraction(until_error)
    frame, potential, suited = start(structure, named_model(model, adapter), elements=elements, repeat=repeat)
    chosen = lengths(
        structure, suited, goal, temperature=temperature, time=time, timestep=timestep, thermalise=thermalise
    )
    settings = HnemdSettings(
        **chosen,
        flux_every=flux_every,
        relaxation=relaxation,
        seed=seed,
        checkpoint_every=checkpoint_every,
        driving_force=_vector(direction, driving_force),
        max_lag=max_lag,
    )
    set_threads(potential)
    files: dict[str, Any] = {"output": output, "route": route, "resume": resume, "overwrite": overwrite}
    shown = _Shown(bar=not quiet, lines=not json)
    if frame.volume is None:
        raise InputError(
            f"{structure} is not periodic in three directions and has no volume, which κ needs: close the cell around "
            "the material, or run fluxan.md.hnemd and fluxan.driven_conductivity(..., volume=)"
        )
    if driving_force is None:
        if check_time is not None and not check_time > 0:
            raise InputError(f"--check-time is {check_time!r}, expected a positive time in ps")
        duration = check_time or (_CHECKED * settings.time if goal is None else _CHECK_TIME)
        run, kappa = _run_chosen(frame, potential, settings, goal, shown, duration=duration, **files)
    else:
        run = HnemdRun(frame, potential, settings, **files)
        kappa = RunningDrivenConductivity(settings, goal, watch=False)
        _finish(run, kappa, shown)
    print_end(run, kappa, json=json)


@dataclass(frozen=True)
class _Shown:
    """What is printed while it runs: a progress bar on standard error, lines on standard output."""

    bar: bool
    lines: bool


def _finish(run: HnemdRun, kappa: RunningDrivenConductivity, shown: _Shown) -> None:
    """Run to the end."""
    from fluxan.cli.md_output import follow

    with closing(run), stopping(run):
        follow(run, kappa, bar=shown.bar, lines=shown.lines)
    exit_if_stopped(run)
    run.save_spectrum()


def _run_chosen(
    frame: Frame,
    model: Potential,
    settings: HnemdSettings,
    goal: float | None,
    shown: _Shown,
    *,
    duration: float,
    resume: bool,
    **files: Any,
) -> tuple[HnemdRun, RunningDrivenConductivity]:
    """Run with the largest driving force of the linear regime; where it proves too large later, with a smaller one."""
    from fluxan.cli.hnemd_output import print_rejection
    from fluxan.errors import TrajectoryError
    from fluxan.md.hnemd.driving_choice import DrivingChoice
    from fluxan.md.hnemd.hnemd_run import HnemdRun
    from fluxan.md.stopping import RunningDrivenConductivity

    checks = DrivingChoice(frame, model, settings, duration=duration, resume=resume, **files)
    files |= {"resume": True, "overwrite": False}
    while True:
        chosen = checks.production_begun() or _chosen(checks, shown)
        run = HnemdRun(frame, model, chosen, **files)
        kappa = RunningDrivenConductivity(chosen, goal, watch=True)
        try:
            _finish(run, kappa, shown)
            reason = kappa.nonlinear
        except TrajectoryError as error:
            reason = str(error)
        if not reason:
            return run, kappa
        checks.reject(run.strength, reason)
        print_rejection(run.strength, reason)


def _chosen(checks: DrivingChoice, shown: _Shown) -> HnemdSettings:
    """Settings with the largest driving force of the linear regime, whose run the production continues."""
    from fluxan.cli.hnemd_output import print_choice, print_level
    from fluxan.cli.md_output import advancing

    def follow(run: HnemdRun) -> None:
        with stopping(run):
            for _ in advancing(run, f"{run.strength:.3g}/Å", bar=shown.bar):
                pass
        exit_if_stopped(run)

    choice = checks.choose(follow, print_level if shown.lines else lambda _: None)
    if shown.lines:
        print_choice(choice)
    checks.adopt(choice)
    return checks.settings_for(choice)


def _vector(direction: str, strength: float | None) -> tuple[float, float, float]:
    """Driving force along a direction; a unit vector where its magnitude is not given."""
    from fluxan.errors import InputError

    if strength is not None and not (np.isfinite(strength) and strength > 0):
        raise InputError(f"--driving-force is {strength!r}, expected a positive number, in 1/Å")
    vector = to_direction(direction)
    x, y, z = (1.0 if strength is None else strength) * vector / np.linalg.norm(vector)
    return float(x), float(y), float(z)
