"""Blocks of a job: what a process of a cluster needs to compute one chunk independently, and the computation.

Nothing here imports Dask: `fluxan.jobs.cluster.cluster_run` sends specs and blocks to workers and gets their results.
"""

from __future__ import annotations

import threading
import warnings
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from itertools import chain, count, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fluxan.errors import FluxanError
from fluxan.flux.evaluate import DIFFERS, FluxEvaluator
from fluxan.jobs.chunks import ChunkMaker
from fluxan.jobs.job import on_device
from fluxan.neighbors import NeighborList
from fluxan.trajectory import read_ahead

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Sequence

    from fluxan.flux.check import CheckReport
    from fluxan.jobs.chunks import Chunk
    from fluxan.jobs.cluster.sources import ModelSource, TrajectorySource
    from fluxan.potentials.base import Potential
    from fluxan.system import Frame
    from fluxan.trajectory import Trajectory

PACKAGE = str(Path(__file__).parents[2])


@dataclass(frozen=True, slots=True)
class JobSpec:
    """Specification of a job, the same for all its blocks.

    Attributes
    ----------
    job : str
        Unique name of the job.
    version : str
        Version of fluxan in the submitting process.
    name : str
        Name of the trajectory, for messages.
    trajectory : TrajectorySource or None
        Location of the trajectory; None where frames are sent.
    model, groups, route, device : ModelSource, str or sequence of object, str
        As in `fluxan.decompose`.
    chunk : int
        Frames per chunk.
    time_step, last_time : float
        As in `fluxan.jobs.chunks.ChunkMaker`, for the first frame of the job.
    start, stride : int
        First index and step of the selected frames, in the trajectory's file.
    threads : tuple
        Numbers of threads of torch and of Numba.
    """

    job: str
    version: str
    name: str
    trajectory: TrajectorySource | None
    model: ModelSource
    groups: str | Sequence[object]
    route: str
    device: str
    chunk: int
    time_step: float
    last_time: float
    start: int
    stride: int
    threads: tuple[int, int]


@dataclass(frozen=True, slots=True)
class FrameBlock:
    """One chunk to compute.

    Attributes
    ----------
    first : int
        Index of its first selected frame.
    frames : sequence of Frame or None
        The frames, where they are sent.
    last_time : float
        Time of the frame before them, ps, where frames are sent.
    fault : FluxanError or None
        Error raised while reading the frames, in place of a block.
    """

    first: int
    frames: Sequence[Frame] | None = None
    last_time: float = 0.0
    fault: FluxanError | None = None


@dataclass(frozen=True, slots=True)
class BlockResult:
    """Result of a block.

    Attributes
    ----------
    chunk : Chunk, optional
        Fluxes of its frames, or of those before a faulty one.
    error : FluxanError, optional
        User error; returned, not raised, because Dask logs exceptions.
    report : CheckReport, optional
        Report of the route's check, where this block made the check.
    reported : dict
        Warnings of `fluxan.jobs.chunks.ChunkMaker` by topic, each to be issued once.
    warned : tuple
        Other warnings, as category and message.
    """

    chunk: Chunk | None = None
    error: FluxanError | None = None
    report: CheckReport | None = None
    reported: dict[str, str] = field(default_factory=dict)
    warned: tuple[tuple[type[Warning], str], ...] = ()


class WorkerCache:
    """The model and the open trajectory that a process keeps between blocks. Not for concurrent use."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self._model: tuple[tuple[str, str], Potential] | None = None
        self._trajectory: tuple[str, Trajectory] | None = None

    def model(self, source: ModelSource, device: str, loads: Callable[[bytes], Any]) -> Potential:
        """Return the cached model, or load it if it is another one."""
        if self._model is None or self._model[0] != (source.sha256, device):
            self._model = None
            model = source.load(loads)
            self._model = ((source.sha256, device), on_device(model, device))
        return self._model[1]

    def trajectory(self, spec: JobSpec) -> Trajectory | None:
        """Return the cached trajectory of a job, or open it."""
        if spec.trajectory is None:
            return None
        if self._trajectory is None or self._trajectory[0] != spec.job:
            self._trajectory = None
            self._trajectory = (spec.job, spec.trajectory.open())
        return self._trajectory[1]


def check(spec: JobSpec, frame: Frame, model: Potential) -> BlockResult:
    """Choose and check the route on a job's first frame; no report where that frame has no edge, or fails."""
    passed: dict[str, CheckReport] = {}
    with _caught() as warned:
        try:
            evaluator = FluxEvaluator(model, frame.numbers, groups=spec.groups, route=spec.route, passed=passed)
            neighbors = NeighborList(model.cutoff)  # a variable, since edges are valid as long as it exists
            evaluator.route_for(neighbors.graph(frame))
        except FluxanError:
            return BlockResult()  # the block that begins with this frame reports the error
    report = passed.get(spec.route)
    return BlockResult() if report is None else BlockResult(report=report, warned=_ours(warned))


def compute(
    spec: JobSpec, block: FrameBlock, model: Potential, trajectory: Trajectory | None, report: CheckReport | None
) -> BlockResult:
    """Compute one chunk.

    Parameters
    ----------
    spec, block : JobSpec, FrameBlock
        What to compute.
    model : Potential
        The model, on its device.
    trajectory : Trajectory or None
        The trajectory, opened in this process; None where the block contains its frames.
    report : CheckReport or None
        Report of the route's check; without one the route is checked here, as in a serial run.
    """
    passed = {} if report is None else {spec.route: report}
    reported: dict[str, str] = {}
    chunk: Chunk | None = None
    error: FluxanError | None = None
    with _caught() as warned, closing(_frames(spec, block, trajectory)) as frames:
        try:
            last_time = next(frames)
            first = next(frames, None)
            if first is not None:
                evaluator = FluxEvaluator(model, first.numbers, groups=spec.groups, route=spec.route, passed=passed)
                maker = ChunkMaker(
                    spec.name, evaluator, time_step=spec.time_step, last_time=last_time, warn=reported.setdefault
                )
                numbers = count(spec.start + block.first * spec.stride, spec.stride)
                for made in maker.chunks(zip(numbers, chain([first], frames), strict=False), spec.chunk):
                    chunk = made
        except FluxanError as caught:
            error = caught
    new = passed.get(spec.route) if report is None else None
    ours = _ours(warned)
    if report is not None:  # the job has warned of the check already, but not of frames that were checked by themselves
        ours = tuple(w for w in ours if DIFFERS in w[1])
    return BlockResult(chunk, error, new, reported, ours)


def _frames(spec: JobSpec, block: FrameBlock, trajectory: Trajectory | None) -> Generator[Any]:
    """The time before the block's first frame, then its frames."""
    if trajectory is None:
        yield block.last_time
        yield from block.frames or ()
        return
    # The preceding frame is read too, since readers compare each frame with the one before it.
    before = min(block.first, 1)
    wanted = islice(trajectory.frames(start=block.first - before), spec.chunk + before)
    with closing(read_ahead(wanted)) as frames:
        last = next(frames, None) if before else None
        yield spec.last_time if last is None else last.time
        yield from frames


def named_blocks(trajectory: Trajectory, chunk: int, done: int) -> Iterator[FrameBlock]:
    """Blocks after the first `done` frames, which workers read themselves.

    The last block may lie beyond the last frame: only there does a reader find that its file is truncated.
    """
    n_frames = trajectory.n_frames
    for first in count(done, chunk):
        if n_frames is not None and first > n_frames:
            return
        yield FrameBlock(first)


def sent_blocks(frames: Iterable[Frame], chunk: int, done: int, last_time: float) -> Iterator[FrameBlock]:
    """Blocks after the first `done` frames, with their frames; a reading error takes the place of a block."""
    kept: list[Frame] = []
    first, fault = done, None
    try:
        for frame in frames:
            kept.append(frame)
            if len(kept) == chunk:
                yield FrameBlock(first, tuple(kept), last_time)
                first, last_time, kept = first + chunk, kept[-1].time, []
    except FluxanError as error:
        fault = error
    if kept:
        yield FrameBlock(first, tuple(kept), last_time)
    if fault is not None:
        yield FrameBlock(first, fault=fault)


def own_threads() -> tuple[int, int]:
    """Numbers of threads that torch and Numba use in this process."""
    import torch

    from fluxan.kernels.jit import n_threads

    return torch.get_num_threads(), n_threads()


def set_threads(threads: tuple[int, int]) -> None:
    """Set the numbers of threads of torch and Numba in this process; kernels give the same bits with fewer."""
    import numba
    import torch

    from fluxan.kernels.jit import n_threads

    most = n_threads()
    torch.set_num_threads(threads[0])
    numba.set_num_threads(min(threads[1], most))


def choose_gpu(place: int, n_gpus: int) -> str:
    """GPU of the `place`-th worker on its machine: one each as long as there are enough."""
    return f"cuda:{place % n_gpus}" if n_gpus else "cuda"


@contextmanager
def _caught() -> Iterator[list[warnings.WarningMessage]]:
    """Collect warnings, for the submitting process to issue instead of the worker."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield caught


def _ours(caught: Sequence[warnings.WarningMessage]) -> tuple[tuple[type[Warning], str], ...]:
    return tuple((w.category, str(w.message)) for w in caught if w.filename.startswith(PACKAGE))
