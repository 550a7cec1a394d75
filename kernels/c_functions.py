"""C functions of the CPU kernels, which take raw pointers and return a status; ``fluxan/md/fluxan.h`` declares them.

Unlike the kernels, they check their arguments, since no other code does, and return a status that says what is wrong.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import numba
import numpy as np
from numba import carray, types

from .cpu import EDGES_PER_CHUNK, LANES, _atomic_virial_chunk, _largest_unsigned_chunk, _pair_flux_chunk
from .jit import FLAGS, serial

if TYPE_CHECKING:
    from collections.abc import Callable

#: Status: success, a size is negative or too large, an index is out of range, a result is not finite.
OK, BAD_SIZE, BAD_INDEX, NOT_FINITE = 0, 1, 2, 3
#: Largest number of groups: 3 times its square fits into 32 bits.
MAX_GROUPS = 2**15

_SIZE, _INDICES, _REALS = types.int64, types.CPointer(types.int64), types.CPointer(types.float64)
#: Arguments in the order of the header; every function returns a status.
SIGNATURES = {
    "pair_flux": (_SIZE,) * 3 + (_INDICES,) * 2 + (_REALS,) * 3 + (_INDICES, _REALS),
    "atomic_virial": (_SIZE,) * 2 + (_INDICES,) + (_REALS,) * 3,
}


@cache
def c_function(name: str) -> Any:
    """Compile one of `SIGNATURES`; the cache keeps the object alive, so that its address stays valid."""
    function: Callable[..., Any] = {"pair_flux": _pair_flux, "atomic_virial": _atomic_virial}[name]
    return numba.cfunc(types.int32(*SIGNATURES[name]), **FLAGS)(function)


def _pair_flux(n_edges, n_atoms, n_groups, receivers, senders, r_ij, g_ij, velocities, groups, flux):
    if n_edges < 0 or n_atoms < 0 or n_groups < 1 or n_groups > MAX_GROUPS:
        return BAD_SIZE
    return _checked_pair_flux(
        carray(receivers, n_edges),
        carray(senders, n_edges),
        carray(r_ij, 3 * n_edges),
        carray(g_ij, 3 * n_edges),
        carray(velocities, 3 * n_atoms),
        carray(groups, n_atoms),
        n_groups,
        carray(flux, 3 * n_groups * n_groups),
    )


def _atomic_virial(n_edges, n_atoms, senders, r_ij, g_ij, virial):
    if n_edges < 0 or n_atoms < 0:
        return BAD_SIZE
    return _checked_atomic_virial(
        carray(senders, n_edges),
        carray(r_ij, (n_edges, 3)),
        carray(g_ij, (n_edges, 3)),
        carray(virial, (n_atoms, 3, 3)),
    )


@serial
def _checked_pair_flux(receivers, senders, r_ij, g_ij, velocities, groups, n_groups, flux):
    if not (_all_below(receivers, groups.size) and _all_below(senders, groups.size) and _all_below(groups, n_groups)):
        return BAD_INDEX
    owner_row, carrier_column = (groups * (3 * n_groups)).astype(np.uint32), (groups * 3).astype(np.uint32)
    # Same chunks and order of sums as in `cpu.pair_flux`, so that results are bit for bit the same.
    length = max(EDGES_PER_CHUNK, LANES * flux.size)
    partial = np.empty(LANES * flux.size)
    flux[:] = 0
    for first in range(0, receivers.size, length):
        last = min(first + length, receivers.size)
        partial[:] = 0
        _pair_flux_chunk(receivers, senders, r_ij, g_ij, velocities, owner_row, carrier_column, first, last, partial)
        for lane in range(LANES):
            flux += partial[lane * flux.size : (lane + 1) * flux.size]
    return OK if np.isfinite(flux).all() else NOT_FINITE


@serial
def _checked_atomic_virial(senders, r_ij, g_ij, virial):
    if not _all_below(senders, len(virial)):
        return BAD_INDEX
    _atomic_virial_chunk(senders, r_ij, g_ij, 0, senders.size, virial)
    return OK if np.isfinite(virial).all() else NOT_FINITE


@serial
def _all_below(indices, limit):
    # As an unsigned number a negative index is huge: comparing the largest one with the limit checks both ends.
    return indices.size == 0 or _largest_unsigned_chunk(indices, 0, indices.size) < np.uint64(limit)
