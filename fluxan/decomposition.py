"""The main call: a trajectory and a model in, the decomposed heat flux of every frame out."""

from __future__ import annotations

import warnings
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from functools import cached_property
from itertools import count, islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fluxan.allocator import released_memory
from fluxan.dataset import check_output
from fluxan.errors import InputError, ModelError, OutputError, TrajectoryError
from fluxan.flux.evaluate import FluxEvaluator
from fluxan.rows import RowMaker, frame_sha256
from fluxan.sinks import FileSink, MemorySink
from fluxan.trajectory import as_trajectory, read_ahead

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping, Sequence

    import xarray

    from fluxan.potentials.base import Potential
    from fluxan.report.progress import Bar
    from fluxan.rows import Chunk
    from fluxan.system import Frame
    from fluxan.trajectory import Trajectory

#: Atoms per chunk: what is lost at most when a job is killed, some seconds of work.
CHUNK_ATOMS = 200_000
CHUNK_FRAMES = 100


def decompose(
    traj: object,
    model: object = None,
    *,
    groups: str | Sequence[object] = "element",
    velocities: object = None,
    route: str = "auto",
    device: str = "cpu",
    output: str | Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    client: object = None,
    progress: bool = True,
    reader: Mapping[str, object] | None = None,
) -> xarray.Dataset:
    """Heat flux of every frame of a trajectory, split by owner and carrier of the energy.

    Parameters
    ----------
    traj : path, mdtraj.Trajectory, list of ase.Atoms, or iterable of Frame
    model : Potential or what `fluxan.load_model` takes
        None takes what the trajectory carries: the calculator of ASE atoms, the model description in a NetCDF file,
        or the one `fluxan.toml` beside the file.
    groups : "element" or one label per atom
    velocities : (n_frames, n_atoms, 3) array or path of an .npy file, Å/ps, for a trajectory that has none
    route : {"auto", "local", "adjoint", "unfolded"}
    device : where the model runs, as torch names it
    output : path of a NetCDF file that is written while the job runs
        Without it the result is kept in memory.
    resume : continue an output that was begun; with none yet, start it
    overwrite : replace an existing output
    client : distributed.Client, address, "local", or path of a scheduler file
        A Dask cluster to spread the frames over; the result is that of a serial run to the last bit. See docs/scale.md.
    progress : show a progress bar on standard error
    reader : options of `fluxan.open_trajectory`

    Returns
    -------
    xarray.Dataset
        Dimensions time, owner, carrier, xyz; see `fluxan.dataset.VARIABLES`. With `output` its arrays stay on disk
        until they are used.

    Raises
    ------
    FluxanError
        Its message says what is wrong, where, and what to do. Frames before a faulty one are kept.

    Notes
    -----
    From here on glibc's allocator keeps freed memory for later evaluations, and until this job ends, see
    `fluxan.allocator`; ``FLUXAN_MALLOC=0`` in the environment leaves it as it is.
    """
    sink_path = check_output(output, resume=resume, overwrite=overwrite)
    trajectory = as_trajectory(traj, velocities=velocities, **(reader or {}))
    _refuse_same_file(sink_path, trajectory)
    found = find_model(trajectory, model)
    job = Job(trajectory, found if client is not None else on_device(found, device), groups=groups, route=route)
    sink = MemorySink(job) if sink_path is None else FileSink(job, sink_path, resume=resume)
    given = Given(traj, model, velocities, reader or {}, device)
    with (
        released_memory(),
        closing(sink),
        _chunks(job, sink, given, client) as chunks,
        _progress(progress, job, sink.n_frames) as bar,
    ):
        for chunk in chunks:
            sink.write(chunk)
            bar.advance(len(chunk))
    return sink.dataset()


@dataclass(frozen=True, slots=True)
class Given:
    """What `decompose` was given; workers of a cluster start from it too."""

    trajectory: object
    model: object
    velocities: object
    reader: Mapping[str, object]
    device: str


class Job:
    """One trajectory through one model, in chunks whose borders depend on the frame index alone."""

    def __init__(self, trajectory: Trajectory, model: Potential, *, groups: str | Sequence[object], route: str) -> None:
        self.trajectory = trajectory
        self.model = model
        self.groups, self.route = groups, route
        start = list(islice(trajectory.frames(), 2))
        if not start:
            raise TrajectoryError(f"{trajectory.name}: it holds no frame in the range that was asked for")
        first = self.first = start[0]
        self.time_step = start[1].time - first.time if len(start) > 1 and trajectory.has_time else np.nan
        self.evaluator = FluxEvaluator(model, first.numbers, groups=groups, route=route)
        self.rows = RowMaker(
            trajectory.name,
            self.evaluator,
            time_step=self.time_step,
            last_time=first.time - self.time_step,
            say=self.say,
        )
        self._said: set[str] = set()
        self.chunk = int(np.clip(CHUNK_ATOMS // first.n_atoms, 1, CHUNK_FRAMES))

    def identity(self) -> dict[str, object]:
        """Attributes that say which job this is; only the same job may continue a file."""
        return self.evaluator.identity() | {"trajectory_name": self.trajectory.name, "chunk_frames": self.chunk}

    @cached_property
    def plan(self) -> dict[str, int]:
        """How many frames there will be, where the format tells; who watches the file wants to know."""
        try:
            return {"frames_planned": len(self.trajectory)}
        except TypeError:
            return {}

    def attributes(self, chunk: Chunk) -> dict[str, object]:
        """Attributes known once the first chunk is done."""
        return (
            self.plan
            | self.evaluator.description()
            | {
                "trajectory_sha256": self.trajectory.identity()["sha256"],
                "route": chunk.route,
                "self_check": chunk.self_check,
                "time_step": self.time_step,
                "time_unit": "ps" if self.trajectory.has_time else "frame",
                "periodic": int(self.first.cell is not None),
            }
        )

    def chunks(self, sink: MemorySink | FileSink) -> Generator[Chunk]:
        """Chunk after chunk, beginning behind what the sink holds; a fault comes after the rows before it."""
        with closing(self.frames(sink)) as frames:
            yield from self.rows.chunks(frames, self.chunk)

    def frames(self, sink: MemorySink | FileSink) -> Generator[tuple[int, Frame]]:
        """Frames behind those that are done, numbered as in the file."""
        done = sink.n_frames
        frames = read_ahead(self.trajectory.frames(start=max(0, done - 1)))
        with closing(frames):
            if isinstance(sink, FileSink) and done:
                last = next(frames, None)
                if last is None or frame_sha256(last) != sink.last_sha256():
                    raise OutputError(
                        f"cannot resume: frame {done - 1} of {self.trajectory.name} is not the one the output was made "
                        "from; give the same trajectory, or another output"
                    )
                self.rows.last_time = last.time
            numbers = count(self.number(done), self.trajectory.options.stride)
            yield from zip(numbers, frames, strict=False)

    def number(self, frame: int) -> int:
        """Number in the file of the `frame`-th selected frame."""
        return self.trajectory.options.start + frame * self.trajectory.options.stride

    def say(self, topic: str, message: str) -> None:
        """Warn, once for each topic."""
        if topic not in self._said:
            self._said.add(topic)
            warnings.warn(f"{self.trajectory.name}: {message}", stacklevel=2)


def _refuse_same_file(output: Path | None, trajectory: Trajectory) -> None:
    if output is not None and trajectory.path is not None and output.exists() and output.samefile(trajectory.path):
        raise OutputError(f"{output} is the trajectory itself; give another output")


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


@contextmanager
def _chunks(job: Job, sink: MemorySink | FileSink, given: Given, client: object) -> Iterator[Iterator[Chunk]]:
    """Chunks of a job, computed here or by the workers of a cluster."""
    if client is None:
        with closing(job.chunks(sink)) as chunks:
            yield chunks
        return
    from fluxan.scale import open_cluster

    with open_cluster(client) as cluster, closing(cluster.chunks(job, sink, given)) as chunks:
        yield chunks


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


def _progress(show: bool, job: Job, done: int) -> AbstractContextManager[Bar]:
    from fluxan.report.progress import progress_bar

    return progress_bar(job.trajectory.name, total=job.plan.get("frames_planned"), done=done, show=show)
