"""The main call: a trajectory and a model in, the decomposed heat flux of every frame out."""

from __future__ import annotations

import hashlib
import warnings
from contextlib import AbstractContextManager, closing
from dataclasses import fields
from itertools import count, islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fluxan.dataset import FluxFile, Row, check_output, stack, to_xarray
from fluxan.errors import FluxanError, InputError, ModelError, OutputError, TrajectoryError
from fluxan.flux.evaluate import FluxEvaluator
from fluxan.neighbors import NeighborList
from fluxan.trajectory import as_trajectory, read_ahead
from fluxan.units import BOLTZMANN, MASS_VELOCITY2

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import xarray

    from fluxan.potentials.base import Potential
    from fluxan.report.progress import Bar
    from fluxan.system import Frame
    from fluxan.trajectory import Trajectory

#: Atoms per chunk: what is lost at most when a job is killed, some seconds of work.
CHUNK_ATOMS = 200_000
CHUNK_FRAMES = 100
#: kT that the centre of mass may carry before it is called a drift; thermostats give it 3/2 on average.
MOST_DRIFT = 20.0


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
    """
    sink_path = check_output(output, resume=resume, overwrite=overwrite)
    trajectory = as_trajectory(traj, velocities=velocities, **(reader or {}))
    _refuse_same_file(sink_path, trajectory)
    module = _on_device(find_model(trajectory, model), device)
    job = Job(trajectory, module, groups=groups, route=route)
    sink = MemorySink(job) if sink_path is None else FileSink(job, sink_path, resume=resume)
    with closing(sink), _progress(progress, trajectory, sink.n_frames) as bar:
        for rows in job.chunks(sink):
            sink.write(rows)
            bar.advance(len(rows))
    return sink.dataset()


class Job:
    """One trajectory through one model, in chunks whose borders depend on the frame index alone."""

    def __init__(self, trajectory: Trajectory, model: Potential, *, groups: str | Sequence[object], route: str) -> None:
        self.trajectory = trajectory
        self.model = model
        self._groups = groups
        start = list(islice(trajectory.frames(), 2))
        if not start:
            raise TrajectoryError(f"{trajectory.name}: it holds no frame in the range that was asked for")
        first = self.first = start[0]
        self.time_step = start[1].time - first.time if len(start) > 1 and trajectory.has_time else np.nan
        self.evaluator = FluxEvaluator(model, first.numbers, groups=groups, route=route)
        self._last_time = first.time - self.time_step
        self._said: set[str] = set()
        self.chunk = int(np.clip(CHUNK_ATOMS // first.n_atoms, 1, CHUNK_FRAMES))

    def identity(self) -> dict[str, object]:
        """Attributes that say which job this is; only the same job may continue a file."""
        return self.evaluator.identity() | {"trajectory_name": self.trajectory.name, "chunk_frames": self.chunk}

    def attributes(self, rows: Sequence[Row]) -> dict[str, object]:
        """Attributes known once the first chunk is done."""
        import fluxan

        return {
            "fluxan_version": fluxan.__version__,
            "trajectory_sha256": self.trajectory.identity()["sha256"],
            "route": rows[-1].flux.route,
            "self_check": rows[-1].flux.self_check,
            "time_step": self.time_step,
            "time_unit": "ps" if self.trajectory.has_time else "frame",
            "periodic": int(self.first.cell is not None),
            "model": getattr(self.model, "describe", lambda: None)() or type(self.model).__name__,
        }

    def chunks(self, sink: MemorySink | FileSink) -> Iterator[list[Row]]:
        """Rows of chunk after chunk, beginning behind what the sink holds; a fault comes after the rows before it."""
        neighbors = NeighborList(self.model.cutoff)
        rows: list[Row] = []
        try:
            for index, frame in self._frames(sink):
                if not rows:
                    neighbors.reset()
                rows.append(self._row(index, frame, neighbors))
                if len(rows) == self.chunk:
                    yield rows
                    rows = []
        except FluxanError:
            if rows:
                yield rows
            raise
        if rows:
            yield rows

    def _frames(self, sink: MemorySink | FileSink) -> Iterator[tuple[int, Frame]]:
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
                self._last_time = last.time
            options = self.trajectory.options
            yield from zip(count(options.start + done * options.stride, options.stride), frames, strict=False)

    def _row(self, index: int, frame: Frame, neighbors: NeighborList) -> Row:
        try:
            temperature = frame.temperature
            self._warn_once(frame, temperature)
            flux = self.evaluator.flux(frame, neighbors.graph(frame))
        except (InputError, ModelError) as error:
            raise type(error)(f"{self.trajectory.name}, frame {index}: {error}") from error
        volume = np.nan if frame.volume is None else frame.volume
        return Row(flux, frame.time, volume, temperature, frame_sha256(frame))

    def _warn_once(self, frame: Frame, temperature: float) -> None:
        """Warn of what makes later numbers wrong without making this flux wrong."""
        gap = frame.time - self._last_time - self.time_step
        # Times are often stored in single precision.
        if abs(gap) > 0.01 * self.time_step + 1e-6 * abs(frame.time):
            self._say(
                "spacing",
                f"the frame at {frame.time:g} ps is {frame.time - self._last_time:g} ps after the one before, "
                f"the first two are {self.time_step:g} ps apart; correlations need even spacing",
            )
        self._last_time = frame.time
        drift = drift_energy(frame)
        if drift > MOST_DRIFT * BOLTZMANN * temperature:
            self._say(
                "drift",
                f"the centre of mass moves, with {drift:.3g} eV at {frame.time:g} ps; "
                "temperature and convection count this, take it out of the velocities",
            )

    def _say(self, topic: str, message: str) -> None:
        if topic not in self._said:
            self._said.add(topic)
            warnings.warn(f"{self.trajectory.name}: {message}", stacklevel=2)


class MemorySink:
    """Keeps the columns of all chunks."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._chunks: list[dict[str, np.ndarray]] = []
        self._attributes: dict[str, object] = {}
        self.n_frames = 0

    def write(self, rows: Sequence[Row]) -> None:
        """Take the rows of a chunk."""
        if not self._chunks:
            self._attributes = self._job.identity() | self._job.attributes(rows)
        self._chunks.append(stack(rows, self._job.evaluator.labels))

    def dataset(self) -> xarray.Dataset:
        """All frames as one Dataset."""
        columns = {name: np.concatenate([c[name] for c in self._chunks]) for name in self._chunks[0]}
        return to_xarray(columns, self._job.evaluator.labels, self._attributes)

    def close(self) -> None:
        """Nothing to close."""


class FileSink:
    """Writes chunk after chunk to a NetCDF file."""

    def __init__(self, job: Job, path: Path, *, resume: bool) -> None:
        self._job = job
        self._file = FluxFile(path, job.evaluator.labels, job.identity(), job.chunk)
        self._begun = resume and path.exists()
        self.n_frames = self._file.resume() if self._begun else 0

    def last_sha256(self) -> int:
        """What is stored of the SHA-256 of the last frame that is done."""
        return self._file.frame_sha256(self.n_frames - 1)

    def write(self, rows: Sequence[Row]) -> None:
        """Write the rows of a chunk and sync."""
        if not self._begun:
            self._file.create(self._job.attributes(rows))
            self._begun = True
        self._file.write(stack(rows, self._job.evaluator.labels))

    def dataset(self) -> xarray.Dataset:
        """The file, opened for reading."""
        from fluxan.dataset import open_flux

        return open_flux(self._file.path)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def drift_energy(frame: Frame) -> float:
    """Kinetic energy of the centre of mass, eV."""
    masses = np.asarray(frame.masses)
    momentum = masses @ frame.velocities
    return float(0.5 * MASS_VELOCITY2 * (momentum @ momentum) / masses.sum())


def frame_sha256(frame: Frame) -> int:
    """First 64 bits of the SHA-256 of all that a frame holds."""
    digest = hashlib.sha256()
    for field in fields(frame):
        value = getattr(frame, field.name)
        digest.update(value.data if isinstance(value, np.ndarray) else repr(value).encode())
    return int.from_bytes(digest.digest()[:8], "little", signed=True)


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
        f"{trajectory.name} carries no model: give model= (--model), a potential's .toml or a checkpoint, "
        "or put a fluxan.toml beside the file"
    )


def _on_device(model: Potential, device: str) -> Potential:
    try:
        return model.to(device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).partition(" at start of")[0].partition("\n")[0]
        raise InputError(f"device={device!r} cannot be used: {reason}") from error


def _progress(show: bool, trajectory: Trajectory, done: int) -> AbstractContextManager[Bar]:
    from fluxan.report.progress import progress_bar

    try:
        total: int | None = len(trajectory)
    except TypeError:
        total = None
    return progress_bar(trajectory.name, total=total, done=done, show=show)
