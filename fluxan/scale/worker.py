"""What runs in the worker processes of a cluster."""

from __future__ import annotations

import socket
import sys
from typing import TYPE_CHECKING

from fluxan.errors import ClusterError, FluxanError
from fluxan.scale.blocks import Bench, Block, Found, Recipe, check, choose_gpu, compute, set_threads
from fluxan.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable

    from fluxan.flux.check import CheckReport
    from fluxan.potentials.base import Potential
    from fluxan.system import Frame

_bench = Bench()


def run_block(recipe: Recipe, block: Block, report: CheckReport | None) -> Found:
    """Compute one block, in a worker."""
    return _at_bench(recipe, lambda model: compute(recipe, block, model, _bench.trajectory(recipe), report))


def run_check(recipe: Recipe, frame: Frame) -> Found:
    """Choose and check the route, in a worker."""
    return _at_bench(recipe, lambda model: check(recipe, frame, model))


def _at_bench(recipe: Recipe, work: Callable[[Potential], Found]) -> Found:
    """Work with the model; what a user can mend is returned, since Dask would log what is raised."""
    from distributed.protocol.pickle import loads

    with _bench.lock:
        try:
            refuse_other_version(__version__, recipe.version, worker=f"a worker on {socket.gethostname()}")
            set_threads(recipe.threads)
            device = own_gpu() if recipe.device == "cuda" else recipe.device
            return work(_bench.model(recipe.model, device, loads))
        except FluxanError as error:
            return Found(error=error)


def own_gpu() -> str:
    """The GPU of this worker, as torch names it."""
    import torch
    from distributed import get_client, get_worker

    me = get_worker().address
    workers = get_client().scheduler_info(n_workers=-1)["workers"]
    neighbours = sorted(address for address, worker in workers.items() if worker["host"] == workers[me]["host"])
    # dask-cuda puts each worker's own GPU first among those that it sees.
    place = 0 if "dask_cuda" in sys.modules else neighbours.index(me)
    return choose_gpu(place, torch.cuda.device_count())


def refuse_other_version(theirs: str, mine: str, *, worker: str) -> None:
    """Raise ClusterError where two processes have two versions of fluxan."""
    if theirs != mine:
        raise ClusterError(f"{worker} has fluxan {theirs}, the submitting process {mine}; install one version on both")
