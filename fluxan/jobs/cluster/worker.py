"""Functions that run in the worker processes of a cluster."""

from __future__ import annotations

import socket
import sys
from typing import TYPE_CHECKING

from fluxan.errors import ClusterError, FluxanError
from fluxan.jobs.cluster.blocks import (
    BlockResult,
    FrameBlock,
    JobSpec,
    WorkerCache,
    check,
    choose_gpu,
    compute,
    set_threads,
)
from fluxan.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable

    from fluxan.flux.check import CheckReport
    from fluxan.potentials.base import Potential
    from fluxan.system import Frame

_cache = WorkerCache()


def run_block(spec: JobSpec, block: FrameBlock, report: CheckReport | None) -> BlockResult:
    """Compute one block, in a worker."""
    return _with_cache(spec, lambda model: compute(spec, block, model, _cache.trajectory(spec), report))


def run_check(spec: JobSpec, frame: Frame) -> BlockResult:
    """Choose and check the route, in a worker."""
    return _with_cache(spec, lambda model: check(spec, frame, model))


def _with_cache(spec: JobSpec, work: Callable[[Potential], BlockResult]) -> BlockResult:
    """Call a function with the cached model; user errors are returned, not raised, because Dask logs exceptions."""
    from distributed.protocol.pickle import loads

    with _cache.lock:
        try:
            refuse_other_version(__version__, spec.version, worker=f"a worker on {socket.gethostname()}")
            set_threads(spec.threads)
            device = own_gpu() if spec.device == "cuda" else spec.device
            return work(_cache.model(spec.model, device, loads))
        except FluxanError as error:
            return BlockResult(error=error)


def own_gpu() -> str:
    """The GPU of this worker, as torch names it."""
    import torch
    from distributed import get_client, get_worker

    me = get_worker().address
    workers = get_client().scheduler_info(n_workers=-1)["workers"]
    neighbours = sorted(address for address, worker in workers.items() if worker["host"] == workers[me]["host"])
    # dask-cuda lists each worker's own GPU first among the visible ones.
    place = 0 if "dask_cuda" in sys.modules else neighbours.index(me)
    return choose_gpu(place, torch.cuda.device_count())


def refuse_other_version(theirs: str, mine: str, *, worker: str) -> None:
    """Raise ClusterError where a worker has another version of fluxan than the submitting process."""
    if theirs != mine:
        raise ClusterError(f"{worker} has fluxan {theirs}, the submitting process {mine}; install one version on both")
