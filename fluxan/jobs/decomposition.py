"""`fluxan.decompose`: the decomposed heat flux of every frame of a trajectory."""

from __future__ import annotations

from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, TypedDict

from fluxan.allocator import released_memory
from fluxan.errors import OutputError
from fluxan.jobs.job import Job, JobInputs, find_model, on_device
from fluxan.progress import progress_bar
from fluxan.series.flux_file import check_output
from fluxan.series.flux_writer import FluxWriter
from fluxan.trajectory import as_trajectory

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
    from pathlib import Path
    from typing import Unpack

    import xarray

    from fluxan.jobs.chunks import Chunk
    from fluxan.trajectory import Trajectory


class OutputOptions(TypedDict, total=False):
    """Options of a job's output and of its progress display; see `decompose`."""

    resume: bool
    overwrite: bool
    progress: bool | Callable[[int, int | None], object]


def decompose(
    traj: object,
    model: object = None,
    *,
    groups: str | Sequence[object] = "element",
    velocities: object = None,
    route: str = "auto",
    device: str = "cpu",
    output: str | Path | None = None,
    client: object = None,
    reader: Mapping[str, object] | None = None,
    **options: Unpack[OutputOptions],
) -> xarray.Dataset:
    """Heat flux of every frame of a trajectory, split by owner and carrier of the energy.

    Parameters
    ----------
    traj : object
        Path of a trajectory, mdtraj.Trajectory, list of ase.Atoms, or iterable of Frame.
    model : object, optional
        Potential, or what `fluxan.load_model` takes; by default the model that the trajectory carries: the calculator
        of ASE atoms, the description in a NetCDF file, or the one `fluxan.toml` beside the file.
    groups : str or sequence
        "element", or one label per atom.
    velocities : (n_frames, n_atoms, 3) array or path, optional
        Velocities, Å/ps, or an .npy file of them, for a trajectory that has none.
    route : {"auto", "local", "adjoint", "unfolded"}
        Algorithm for the flux, see `fluxan.heat_flux`.
    device : str
        Device that the model runs on, by its name in torch.
    output : str or Path, optional
        NetCDF file that is written while the job runs. Without it the result is kept in memory.
    client : distributed.Client or str or Path, optional
        Dask cluster to spread the frames over: client, address, "local", or path of a scheduler file. The result is
        that of a serial run to the last bit. See docs/scale.md.
    reader : mapping, optional
        Options of `fluxan.open_trajectory`.
    resume : bool, default False
        Continue an output that was begun; with none yet, start it.
    overwrite : bool, default False
        Replace an existing output.
    progress : bool or callable, default True
        Show a progress bar on standard error, or call ``progress(n_done, n_frames)`` after every chunk; the number of
        frames is None where the format does not record it.

    Returns
    -------
    xarray.Dataset
        Dimensions time, owner, carrier, xyz; see `fluxan.series.schema.VARIABLES`. With `output` its arrays stay on
        disk until they are used.

    Raises
    ------
    FluxanError
        Input, model or output cannot be used; frames before a faulty one are kept.

    Notes
    -----
    Until the job ends, glibc's allocator keeps freed memory for later evaluations, see `fluxan.allocator`;
    ``FLUXAN_MALLOC=0`` in the environment leaves it as it is.
    """
    resume, progress = _checked(options)
    path = check_output(output, resume=resume, overwrite=options.get("overwrite", False))
    trajectory = as_trajectory(traj, velocities=velocities, **(reader or {}))
    _refuse_same_file(path, trajectory)
    loaded = find_model(trajectory, model)
    job = Job(trajectory, loaded if client is not None else on_device(loaded, device), groups=groups, route=route)
    n_frames = job.plan.get("frames_planned")
    writer = FluxWriter(
        job.evaluator.labels, job.identity(), job.describe, chunk=job.chunk, path=path, resume=resume, total=n_frames
    )
    writer.annotate(job.plan)
    inputs = JobInputs(traj, model, velocities, reader or {}, device)
    with (
        released_memory(),
        closing(writer),
        _chunks(job, writer, inputs, client) as chunks,
        _reported(progress, job, writer.n_frames) as report,
    ):
        for chunk in chunks:
            job.write(chunk, writer)
            report(writer.n_frames, n_frames)
    return writer.dataset()


def _checked(options: OutputOptions) -> tuple[bool, bool | Callable[[int, int | None], object]]:
    """Whether to resume, and how to report progress; unknown keywords are refused as Python does."""
    for name in options:
        if name not in OutputOptions.__annotations__:
            raise TypeError(f"decompose() got an unexpected keyword argument {name!r}")
    return options.get("resume", False), options.get("progress", True)


def _refuse_same_file(output: Path | None, trajectory: Trajectory) -> None:
    if output is not None and trajectory.path is not None and output.exists() and output.samefile(trajectory.path):
        raise OutputError(f"{output} is the trajectory itself; give another output")


@contextmanager
def _chunks(job: Job, writer: FluxWriter, inputs: JobInputs, client: object) -> Iterator[Generator[Chunk]]:
    """Chunks of a job, computed here or by the workers of a cluster."""
    if client is None:
        with closing(job.chunks(writer)) as chunks:
            yield chunks
        return
    from fluxan.jobs.cluster import open_cluster

    with open_cluster(client) as cluster, closing(cluster.chunks(job, writer, inputs)) as chunks:
        yield chunks


@contextmanager
def _reported(
    progress: bool | Callable[[int, int | None], object], job: Job, done: int
) -> Iterator[Callable[[int, int | None], object]]:
    """Function that is called with the number of frames done and the number of all frames."""
    if callable(progress):
        yield progress
        return
    total = job.plan.get("frames_planned")
    with progress_bar(job.trajectory.name, total=total, done=done, show=progress) as bar:
        yield lambda n_done, _total: bar.show(n_done)
