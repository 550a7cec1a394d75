"""The MPI ranks on which a LAMMPS runs: what they exchange, and errors of one rank raised on all of them.

Every rank runs the same script. What a rank computes from exchanged data is the same on all of them, and so is what it
raises. An error that a single rank may meet (a model that fails on its atoms, a full disk) must reach the others before
they wait for that rank: such code runs inside `Ranks.agree` or `Ranks.from_root`.
"""

from __future__ import annotations

import pickle
import warnings
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import numpy as np

from fluxan.errors import DependencyError
from fluxan.md.lammps.mpich import INSTALL

if TYPE_CHECKING:
    from collections.abc import Callable

P = ParamSpec("P")
T = TypeVar("T")
#: The rank that checks models and writes files.
ROOT = 0


class Ranks:
    """The ranks of a LAMMPS; nothing is exchanged where there is one.

    They are the ranks of LAMMPS' own communicator: those of one partition (``-partition``), or of the communicator that
    ``lammps.lammps(comm=...)`` was given.

    Parameters
    ----------
    lmp : lammps.lammps
        The LAMMPS.

    Attributes
    ----------
    size : int
        Number of ranks.
    rank : int
        Number of this one, from 0.

    Raises
    ------
    DependencyError
        There are several ranks, and mpi4py is not installed or uses another MPI library.
    """

    def __init__(self, lmp: Any) -> None:
        self.size = int(lmp.extract_setting("world_size"))
        self.rank = int(lmp.extract_setting("world_rank"))
        self._comm = _communicator(lmp, self.size) if self.size > 1 else None

    @property
    def is_root(self) -> bool:
        """Whether this is rank 0, which checks models and writes files."""
        return self.rank == ROOT

    def gather(self, part: np.ndarray) -> np.ndarray:
        """Concatenate arrays of all ranks, in order of the ranks, on every rank."""
        if self._comm is None:
            return part
        counts = np.array(self._comm.allgather(len(part)))
        whole = np.empty((counts.sum(), *part.shape[1:]), part.dtype)
        width = int(np.prod(part.shape[1:]))
        self._comm.Allgatherv(np.ascontiguousarray(part), [whole, counts * width])
        return whole

    def sum(self, *parts: np.ndarray) -> list[np.ndarray]:
        """Sum float64 arrays over the ranks, on every rank."""
        if self._comm is None:
            return list(parts)
        sums = [np.empty(part.shape) for part in parts]
        for part, whole in zip(parts, sums, strict=True):
            self._comm.Allreduce(np.ascontiguousarray(part), whole)
        return sums

    def exchange(self, value: Any) -> list[Any]:
        """Values of all ranks, in order of the ranks, on every rank."""
        return [value] if self._comm is None else self._comm.allgather(value)

    def agree(self, function: Callable[P, T], *arguments: P.args, **options: P.kwargs) -> T:
        """Call a function on every rank, and raise on all of them what the first rank that failed has raised.

        Warnings are given on rank 0 alone. The function must not exchange anything between ranks.
        """
        if self._comm is None:
            return function(*arguments, **options)
        try:
            with warnings.catch_warnings():
                if not self.is_root:
                    warnings.simplefilter("ignore")
                result = function(*arguments, **options)
        except BaseException as fault:  # including KeyboardInterrupt
            faults = self.exchange(_sendable(fault))
            first = next(rank for rank, other in enumerate(faults) if other is not None)
            if first == self.rank:
                raise
            raise faults[first] from fault
        for other in self.exchange(None):
            if other is not None:
                raise other
        return result

    def from_root(self, function: Callable[P, T], *arguments: P.args, **options: P.kwargs) -> T:
        """Call a function on rank 0 alone, and return or raise on all ranks what it returns or raises there."""
        if self._comm is None:
            return function(*arguments, **options)
        result = self.agree(lambda: [function(*arguments, **options)] if self.is_root else [])
        return self._comm.bcast(result, root=ROOT)[0]


def _communicator(lmp: Any, size: int) -> Any:
    """The communicator of a LAMMPS."""
    try:
        comm = lmp.get_mpi_comm()
    except (ImportError, RuntimeError):  # not installed, or without an MPI library
        comm = None
    if comm is None:
        raise DependencyError(f"LAMMPS runs on {size} MPI ranks, for which fluxan needs mpi4py: {INSTALL}")
    if comm.size != size:
        raise DependencyError(
            f"LAMMPS runs on {size} MPI ranks, but mpi4py sees {comm.size}: it uses another MPI library; reinstall it "
            "for LAMMPS' own (https://mpi4py.readthedocs.io)"
        )
    return comm


def _sendable(fault: BaseException) -> BaseException:
    """The error itself if other ranks can read it, else one with its class and message."""
    try:
        pickle.loads(pickle.dumps(fault))  # noqa: S301
    except Exception:  # an exception's class may be local, or need other arguments
        return RuntimeError(f"{type(fault).__name__}: {fault}")
    return fault
