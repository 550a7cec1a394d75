"""A job: the heat flux of one trajectory with one model, in chunks of frames."""

from __future__ import annotations

import warnings
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from itertools import count, islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fluxan.errors import InputError, ModelError, OutputError, TrajectoryError
from fluxan.flux.evaluate import FluxEvaluator
from fluxan.jobs.chunks import ChunkMaker
from fluxan.series.flux_writer import frames_per_chunk
from fluxan.series.frame_checks import frame_sha256
from fluxan.trajectory import read_ahead

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence

    from fluxan.jobs.chunks import Chunk
    from fluxan.potentials.base import Potential
    from fluxan.series.flux_writer import FluxWriter
    from fluxan.system import Frame
    from fluxan.trajectory import Trajectory


@dataclass(frozen=True, slots=True)
class JobInputs:
    """Arguments of `fluxan.decompose`, from which workers of a cluster start too.

    Attributes
    ----------
    trajectory, model, velocities : object
        Arguments as the user gave them.
    reader : mapping
        Options of `fluxan.open_trajectory`.
    device : str
        Device that the model runs on, by its name in torch.
    """

    trajectory: object
    model: object
    velocities: object
    reader: Mapping[str, object]
    device: str


class Job:
    """The heat flux of one trajectory with one model, in chunks whose borders depend on the frame index alone.

    Parameters
    ----------
    trajectory : Trajectory
        Frames of the job.
    model : Potential
        The model, on its device.
    groups : str or sequence
        "element", or one label per atom.
    route : str
        As in `fluxan.decompose`.

    Attributes
    ----------
    chunk : int
        Frames per chunk.
    time_step : float
        Time between the first two frames, ps; NaN where frames have no times.

    Raises
    ------
    TrajectoryError
        The trajectory holds no frame.
    """

    def __init__(self, trajectory: Trajectory, model: Potential, *, groups: str | Sequence[object], route: str) -> None:
        self.trajectory = trajectory
        self.model = model
        self.groups, self.route = groups, route
        start = list(islice(trajectory.frames(), 2))
        if not start:
            raise TrajectoryError(f"{trajectory.name}: it holds no frame in the requested range")
        first = self.first = start[0]
        self.time_step = start[1].time - first.time if len(start) > 1 and trajectory.has_time else np.nan
        self.evaluator = FluxEvaluator(model, first.numbers, groups=groups, route=route)
        self.maker = ChunkMaker(
            trajectory.name,
            self.evaluator,
            time_step=self.time_step,
            last_time=first.time - self.time_step,
            warn=self.warn,
        )
        self._warned: set[str] = set()
        self._first_chunk: Chunk | None = None
        self.chunk = frames_per_chunk(first.n_atoms)

    def identity(self) -> dict[str, object]:
        """Attributes that identify the job; only the same job may continue a file."""
        return self.evaluator.identity() | {"trajectory_name": self.trajectory.name, "chunk_frames": self.chunk}

    @cached_property
    def plan(self) -> dict[str, int]:
        """Number of frames of the whole job, where it is known, for programs that watch the file."""
        try:
            return {"frames_planned": len(self.trajectory)}
        except TypeError:
            return {}

    def describe(self) -> dict[str, object]:
        """Attributes that are known once the first chunk is computed."""
        known = (
            {}
            if self._first_chunk is None
            else {
                "route": self._first_chunk.route,
                "self_check": self._first_chunk.self_check,
            }
        )
        return (
            self.plan
            | self.evaluator.description()
            | {"trajectory_sha256": self.trajectory.identity()["sha256"]}
            | known
            | {
                "time_step": self.time_step,
                "time_unit": "ps" if self.trajectory.has_time else "frame",
                "periodic": int(self.first.cell is not None),
                "n_atoms": self.first.n_atoms,
            }
        )

    def write(self, chunk: Chunk, writer: FluxWriter) -> None:
        """Pass a chunk on to the writer."""
        self._first_chunk = self._first_chunk or chunk
        writer.write(chunk.columns)

    def chunks(self, writer: FluxWriter) -> Generator[Chunk]:
        """Yield chunks in order, from where the writer's file ends; an error is raised after the frames before it."""
        with closing(self.frames(writer)) as frames:
            yield from self.maker.chunks(frames, self.chunk)

    def frames(self, writer: FluxWriter) -> Generator[tuple[int, Frame]]:
        """Remaining frames, numbered as in the trajectory's file.

        Raises
        ------
        OutputError
            The last finished frame differs from the one that the output was made from.
        """
        done = writer.n_frames
        frames = read_ahead(self.trajectory.frames(start=max(0, done - 1)))
        with closing(frames):
            if done:
                last = next(frames, None)
                if last is None or frame_sha256(last) != writer.last_sha256():
                    raise OutputError(
                        f"cannot resume: frame {done - 1} of {self.trajectory.name} is not the one the output was made "
                        "from; give the same trajectory, or another output"
                    )
                self.maker.checker.last_time = last.time
            numbers = count(self.number(done), self.trajectory.options.stride)
            yield from zip(numbers, frames, strict=False)

    def number(self, frame: int) -> int:
        """Number in the trajectory's file of the `frame`-th selected frame."""
        return self.trajectory.options.start + frame * self.trajectory.options.stride

    def warn(self, topic: str, message: str) -> None:
        """Warn once for each topic."""
        if topic not in self._warned:
            self._warned.add(topic)
            warnings.warn(f"{self.trajectory.name}: {message}", stacklevel=2)


def find_model(trajectory: Trajectory, model: object) -> Potential:
    """The model that was given, or that the trajectory carries.

    Raises
    ------
    ModelError
        There is none, or it cannot be used.
    """
    from fluxan.potentials.load import load_model, parse_model

    if model is not None:
        return load_model(model)
    if trajectory.calculator is not None:
        return load_model(trajectory.calculator)
    if trajectory.model_text:
        return parse_model(trajectory.model_text, source=f"the model in {trajectory.name}")
    beside = None if trajectory.path is None else Path(trajectory.path).with_name("fluxan.toml")
    if beside is not None and beside.is_file():
        return load_model(beside)
    raise ModelError(
        f"{trajectory.name} carries no model: give model=, a potential's .toml or a checkpoint, "
        "or put a fluxan.toml beside the file"
    )


def on_device(model: Potential, device: str) -> Potential:
    """The model on a device.

    Raises
    ------
    InputError
        There is no such device here.
    """
    try:
        return model.to(device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).partition(" at start of")[0].partition("\n")[0]
        raise InputError(f"device={device!r} cannot be used: {reason}") from error
