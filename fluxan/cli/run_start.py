"""Start and end of commands that run molecular dynamics."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from fluxan.md.md_run import MdRun
    from fluxan.potentials.base import Potential
    from fluxan.system import Frame


Structure = Annotated[
    str, typer.Argument(metavar="STRUCTURE", help="File to start from, or shipped:ar-liquid, shipped:agi.")
]
Temperature = Annotated[float | None, typer.Option(help="K.")]
Length = Annotated[float | None, typer.Option(help="Length of the run, ps; the largest with --until-error.")]
Timestep = Annotated[float | None, typer.Option(help="fs.")]
FluxEvery = Annotated[int, typer.Option(help="Number of steps between fluxes.")]
Repeat = Annotated[str, typer.Option(help="Repeat the cell: 2, or 2,2,1.")]
Elements = Annotated[str | None, typer.Option(help="Element of LAMMPS types 1, 2, ..., e.g. Ar,Kr.")]
UntilError = Annotated[str | None, typer.Option(help="Stop when the error of κ is below this fraction of κ, e.g. 5%.")]
Seed = Annotated[int, typer.Option(help="Seed of velocities and thermostats; another one for an independent run.")]
CheckpointEvery = Annotated[int, typer.Option(help="Number of fluxes between restart files.")]
RouteName = Annotated[str, typer.Option(help="auto, local, adjoint or unfolded.")]
Resume = Annotated[bool, typer.Option("--resume", help="Continue, or extend, a run.")]

#: Default length of a run, ps; the largest length where there is a goal for the error.
SHORT, LONG = 100.0, 10_000.0


def lengths(structure: str, suited: dict[str, float], goal: float | None, **options: float | None) -> dict[str, Any]:
    """Temperature and lengths of a run: those given as options, else those that suit a shipped structure.

    Raises
    ------
    InputError
        There is no temperature.
    """
    from fluxan.errors import InputError

    given = {name: value for name, value in options.items() if value is not None}
    if "temperature" not in suited | given:
        raise InputError(f"{structure} does not define a temperature to run at: give --temperature, in K")
    return ({"time": SHORT} | suited if goal is None else suited | {"time": LONG}) | given


@contextmanager
def stopping(run: MdRun) -> Iterator[None]:
    """Let SIGINT and SIGTERM end the run after the present step."""

    def stop(*_: Any) -> None:
        run.stop = True

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def exit_if_stopped(run: MdRun) -> None:
    """Say how to continue an interrupted run, and exit."""
    if not run.stop:
        return
    print(
        f"fluxan: interrupted; {run.restart_path} holds the state: continue with the same command and --resume",
        file=sys.stderr,
    )
    sys.exit(130)


def start(
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


def set_threads(potential: Potential) -> None:
    """Use one thread for analytic potentials, unless the user sets another number: they are too cheap to parallelise.

    Two threads took 59 instead of 6 ms per step for 96 atoms of silver iodide, on two cores shared with other programs.
    """
    import torch

    if getattr(potential, "describe", lambda: None)() is not None and "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(1)


def to_fraction(text: str | None) -> float | None:
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
