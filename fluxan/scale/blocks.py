"""Blocks of a job: what a process of a cluster needs to compute some of its chunks by itself, and how it does.

Nothing here knows Dask: `fluxan.scale.run` carries recipes and blocks to workers, and what they found back.
"""

from __future__ import annotations

import threading
import warnings
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from itertools import chain, count, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fluxan.decomposition import on_device
from fluxan.errors import FluxanError
from fluxan.flux.evaluate import DIFFERS, FluxEvaluator
from fluxan.neighbors import NeighborList
from fluxan.rows import RowMaker
from fluxan.trajectory import read_ahead

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Sequence

    from fluxan.flux.check import CheckReport
    from fluxan.potentials.base import Potential
    from fluxan.rows import Chunk
    from fluxan.scale.sources import ModelSource, TrajectorySource
    from fluxan.system import Frame
    from fluxan.trajectory import Trajectory

PACKAGE = str(Path(__file__).parents[1])


@dataclass(frozen=True, slots=True)
class Recipe:
    """What is the same for all blocks of a job.

    Attributes
    ----------
    job : a name that no other job bears
    version : of fluxan in the submitting process
    name : of the trajectory, for messages
    trajectory : where to find it; None where frames are sent
    model, groups, route, device : as in `fluxan.decompose`
    chunk : frames per chunk
    time_step, last_time : as in `fluxan.rows.RowMaker`, for the first frame of all
    start, stride : of the selected frames, as in their file
    threads : of torch and of Numba
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
class Block:
    """One chunk to compute.

    Attributes
    ----------
    first : its first selected frame
    frames, last_time : the frames, and the time of the one before them, where they are sent
    fault : what came of reading them, in the place of a block
    """

    first: int
    frames: Sequence[Frame] | None = None
    last_time: float = 0.0
    fault: FluxanError | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """What came of a block: rows, then perhaps a fault; what to warn of; the check of the route, if this block made it.

    `warned` are warnings as category and message, `said` those of `fluxan.rows.RowMaker` by topic.
    """

    chunk: Chunk | None = None
    error: FluxanError | None = None
    report: CheckReport | None = None
    said: dict[str, str] = field(default_factory=dict)
    warned: tuple[tuple[type[Warning], str], ...] = ()


class Bench:
    """What a process keeps between blocks: one model and one open trajectory. One block at a time."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self._model: tuple[tuple[str, str], Potential] | None = None
        self._trajectory: tuple[str, Trajectory] | None = None

    def model(self, source: ModelSource, device: str, loads: Callable[[bytes], Any]) -> Potential:
        """Load a model, unless it is the one at hand."""
        if self._model is None or self._model[0] != (source.sha256, device):
            self._model = None
            model = source.load(loads)
            self._model = ((source.sha256, device), on_device(model, device))
        return self._model[1]

    def trajectory(self, recipe: Recipe) -> Trajectory | None:
        """Open the trajectory of a job, unless it is open."""
        if recipe.trajectory is None:
            return None
        if self._trajectory is None or self._trajectory[0] != recipe.job:
            self._trajectory = None
            self._trajectory = (recipe.job, recipe.trajectory.open())
        return self._trajectory[1]


def check(recipe: Recipe, frame: Frame, model: Potential) -> Found:
    """Choose and check the route on a job's first frame; nothing is found where that has no edge, or fails."""
    passed: dict[str, CheckReport] = {}
    with _caught() as warned:
        try:
            evaluator = FluxEvaluator(model, frame.numbers, groups=recipe.groups, route=recipe.route, passed=passed)
            neighbors = NeighborList(model.cutoff)  # whose edges live no longer than it
            evaluator.route_for(neighbors.graph(frame))
        except FluxanError:
            return Found()  # the block that begins with this frame tells
    report = passed.get(recipe.route)
    return Found() if report is None else Found(report=report, warned=_ours(warned))


def compute(
    recipe: Recipe, block: Block, model: Potential, trajectory: Trajectory | None, report: CheckReport | None
) -> Found:
    """Rows of one chunk.

    Parameters
    ----------
    recipe, block : what to compute
    model : on its device
    trajectory : opened here; None where the block brings its frames
    report : of the route's check; without one the route is checked here, as in a serial run
    """
    passed = {} if report is None else {recipe.route: report}
    said: dict[str, str] = {}
    chunk: Chunk | None = None
    error: FluxanError | None = None
    with _caught() as warned, closing(_frames(recipe, block, trajectory)) as frames:
        try:
            last_time = next(frames)
            first = next(frames, None)
            if first is not None:
                evaluator = FluxEvaluator(model, first.numbers, groups=recipe.groups, route=recipe.route, passed=passed)
                rows = RowMaker(
                    recipe.name, evaluator, time_step=recipe.time_step, last_time=last_time, say=said.setdefault
                )
                numbers = count(recipe.start + block.first * recipe.stride, recipe.stride)
                for made in rows.chunks(zip(numbers, chain([first], frames), strict=False), recipe.chunk):
                    chunk = made
        except FluxanError as caught:
            error = caught
    new = passed.get(recipe.route) if report is None else None
    ours = _ours(warned)
    if report is not None:  # the job has warned of the check already, but not of frames that were checked by themselves
        ours = tuple(w for w in ours if DIFFERS in w[1])
    return Found(chunk, error, new, said, ours)


def _frames(recipe: Recipe, block: Block, trajectory: Trajectory | None) -> Generator[Any]:
    """The time before the block's first frame, then its frames."""
    if trajectory is None:
        yield block.last_time
        yield from block.frames or ()
        return
    # The frame before is read too: readers compare each frame with the one before it.
    before = min(block.first, 1)
    wanted = islice(trajectory.frames(start=block.first - before), recipe.chunk + before)
    with closing(read_ahead(wanted)) as frames:
        last = next(frames, None) if before else None
        yield recipe.last_time if last is None else last.time
        yield from frames


def named_blocks(trajectory: Trajectory, chunk: int, done: int) -> Iterator[Block]:
    """Blocks behind `done` frames that workers read themselves.

    One may lie beyond the last frame: there a reader tells that its file is cut.
    """
    n_frames = trajectory.n_frames
    for first in count(done, chunk):
        if n_frames is not None and first > n_frames:
            return
        yield Block(first)


def sent_blocks(frames: Iterable[Frame], chunk: int, done: int, last_time: float) -> Iterator[Block]:
    """Blocks behind `done` frames that bring their frames; a fault in reading them comes in its turn."""
    kept: list[Frame] = []
    first, fault = done, None
    try:
        for frame in frames:
            kept.append(frame)
            if len(kept) == chunk:
                yield Block(first, tuple(kept), last_time)
                first, last_time, kept = first + chunk, kept[-1].time, []
    except FluxanError as error:
        fault = error
    if kept:
        yield Block(first, tuple(kept), last_time)
    if fault is not None:
        yield Block(first, fault=fault)


def own_threads() -> tuple[int, int]:
    """Threads that torch and Numba use here."""
    import torch

    from fluxan.kernels.jit import n_threads

    return torch.get_num_threads(), n_threads()


def set_threads(threads: tuple[int, int]) -> None:
    """Let torch and Numba use so many threads here; kernels give the same bits with fewer."""
    import numba
    import torch

    from fluxan.kernels.jit import n_threads

    most = n_threads()
    torch.set_num_threads(threads[0])
    numba.set_num_threads(min(threads[1], most))


def choose_gpu(place: int, n_gpus: int) -> str:
    """GPU of the worker that is `place`-th on its machine: one each as long as there are enough."""
    return f"cuda:{place % n_gpus}" if n_gpus else "cuda"


@contextmanager
def _caught() -> Iterator[list[warnings.WarningMessage]]:
    """Warnings go to the submitting process, not to a worker's log."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield caught


def _ours(caught: Sequence[warnings.WarningMessage]) -> tuple[tuple[type[Warning], str], ...]:
    return tuple((w.category, str(w.message)) for w in caught if w.filename.startswith(PACKAGE))
