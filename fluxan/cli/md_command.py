"""`fluxan md`."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fluxan.cli.command_options import Json, Overwrite, named_model, with_model_options

if TYPE_CHECKING:
    from fluxan.md.md_run import MdRun
    from fluxan.potentials.base import Potential
    from fluxan.system import Frame

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

    goal = _share(until_error)
    frame, potential, suited = _start(structure, named_model(model, adapter), elements=elements, repeat=repeat)
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

    _set_threads(potential)
    run = MdRun(frame, potential, settings, output=output, route=route, resume=resume, overwrite=overwrite)
    kappa = RunningConductivity(settings, goal)
    with closing(run), _stopping(run):
        follow(run, kappa, bar=not quiet, lines=not json)
    if run.stop:
        _say_how_to_resume(run)
    run.save_correlation()
    print_end(run, kappa, json=json)


@contextmanager
def _stopping(run: MdRun) -> Iterator[None]:
    """Let SIGINT and SIGTERM end the run after the present step."""

    def stop(*_: Any) -> None:
        run.stop = True

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _say_how_to_resume(run: MdRun) -> None:
    print(
        f"fluxan: interrupted; {run.restart_path} holds the state: continue with the same command and --resume",
        file=sys.stderr,
    )
    sys.exit(130)


def _start(
    structure: str, model: Any, *, elements: str | None, repeat: str
) -> tuple[Frame, Potential, dict[str, float]]:
    """Initial frame, model, and suitable settings."""
    from fluxan.errors import InputError
    from fluxan.md.example_systems import find_example, repeated

    prefix, _, name = structure.partition(":")
    suited: dict[str, float] = {}
    if prefix == "shipped":
        from fluxan.potentials.load import load_model

        example = find_example(name)
        frame, potential = example.build(), example.model() if model is None else load_model(model)
        suited = {key: getattr(example, key) for key in ("temperature", "timestep", "time", "thermalise")}
    else:
        from fluxan.jobs.job import find_model
        from fluxan.trajectory.structure import open_structure

        trajectory = open_structure(structure, **({} if elements is None else {"elements": elements}))
        frame, potential = next(iter(trajectory)), find_model(trajectory, model)
    try:
        counts = [int(count) for count in repeat.split(",")]
    except ValueError:
        counts = []
    if len(counts) not in (1, 3):
        raise InputError(f"--repeat is {repeat!r}, expected one whole number or three, as in 2 or 2,2,1")
    x, y, z = counts * 3 if len(counts) == 1 else counts
    return repeated(frame, (x, y, z)), potential, suited


def _set_threads(potential: Potential) -> None:
    """Use one thread for analytic potentials, unless the user sets another number: they are too cheap to parallelise.

    Two threads took 59 instead of 6 ms per step for 96 atoms of silver iodide, on two cores shared with other programs.
    """
    import torch

    if getattr(potential, "describe", lambda: None)() is not None and "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(1)


def _share(text: str | None) -> float | None:
    """Convert ``5%`` or ``0.05`` to a number."""
    if text is None:
        return None
    from fluxan.errors import InputError

    number = text.strip().removesuffix("%")
    try:
        share = float(number) / (100 if text.strip().endswith("%") else 1)
    except ValueError:
        share = 0.0
    if not 0 < share < 1:
        raise InputError(f"--until-error is {text!r}, expected a share of κ below 1, as in 5%")
    return share
