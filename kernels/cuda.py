"""CUDA kernels of the heat flux: names and argument order as in `cpu`, plus the stream to run on.

Arrays are device arrays, used in place: Numba's, torch's, CuPy's. Sums are formed in three steps:

1. each thread sums into a column of its own in shared memory,
2. each block adds the columns of its threads,
3. a second kernel adds the sums of the blocks.

There are no atomic operations, so that results are bit for bit the same in every run. The exceptions are
`atomic_virial`, and `pair_flux` for more than 32 groups, which add atomically: they have so many addresses that two
threads rarely use the same one at once.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import cuda, float64

from . import terms

#: Threads per block, a power of two.
THREADS = 128
#: Largest number of blocks of a sum. It does not depend on the device, so that the order of sums does not either.
MAX_BLOCKS = 1024
#: Number of float64 sums per thread: 48 × 128 × 8 bytes are the 48 KiB of shared memory that a block may have.
ROWS = 48
#: Largest number of windows of `ROWS` sums. Each window reads all indices again; for more, `pair_flux` adds atomically.
MAX_WINDOWS = 64

_dot = cuda.jit(device=True)(terms.dot)
_kinetic_energy = cuda.jit(device=True)(terms.kinetic_energy)


def _blocks(n_items: int) -> int:
    return min(-(-n_items // THREADS), MAX_BLOCKS)


def _sum_windows(kernel: Any, n_items: int, n_slots: int, width: int, arrays: tuple, out: Any, stream: Any) -> None:
    """Run a kernel that sums `n_items` items into `n_slots` slots of `width` numbers each, and add up its blocks.

    Shared memory holds a window of slots at a time; one row of blocks sums each window. `out` holds
    ``n_slots * width`` numbers in C order.
    """
    out = out.reshape(n_slots * width)
    if n_items == 0:
        _clear[_blocks(len(out)), THREADS, stream](out)
        return
    slots = min(ROWS // width, n_slots)
    n_windows = -(-n_slots // slots)
    partial = cuda.device_array((_blocks(n_items), n_windows * slots * width), np.float64, stream=stream)
    shared = slots * width * THREADS * 8
    kernel[(_blocks(n_items), n_windows), THREADS, stream, shared](*arrays, slots, partial)
    _add_blocks[len(out), THREADS, stream, THREADS * 8](partial, out)


def first_out_of_range(indices: Any, limit: int, first: Any, stream: Any = 0) -> None:
    """Set first[0] to the position of the first index outside 0 to limit − 1, or to the number of indices."""
    first[0] = len(indices)
    if len(indices):
        _first_out_of_range[_blocks(len(indices)), THREADS, stream](indices, limit, first)


@cuda.jit
def _first_out_of_range(indices, limit, first):
    for k in range(cuda.grid(1), len(indices), cuda.gridsize(1)):
        if indices[k] < 0 or indices[k] >= limit:
            cuda.atomic.min(first, 0, k)


@cuda.jit
def _clear(out):
    for k in range(cuda.grid(1), out.size, cuda.gridsize(1)):
        out[k] = 0.0


@cuda.jit(device=True)
def _clear_columns(columns, n_rows):
    for row in range(n_rows):
        columns[row * cuda.blockDim.x + cuda.threadIdx.x] = 0.0


@cuda.jit(device=True)
def _add_columns(columns, n_rows):
    """Sum each row over the threads of a block (tree reduction), into its first column."""
    half = cuda.blockDim.x // 2
    while half > 0:
        cuda.syncthreads()
        if cuda.threadIdx.x < half:
            for row in range(n_rows):
                k = row * cuda.blockDim.x + cuda.threadIdx.x
                columns[k] += columns[k + half]
        half //= 2
    cuda.syncthreads()


@cuda.jit(device=True)
def _store_rows(columns, n_rows, partial):
    """Add the columns of the block's threads, and write the sums to the block's row of `partial`."""
    _add_columns(columns, n_rows)
    for row in range(cuda.threadIdx.x, n_rows, cuda.blockDim.x):
        partial[cuda.blockIdx.x, cuda.blockIdx.y * n_rows + row] = columns[row * cuda.blockDim.x]


@cuda.jit
def _add_blocks(partial, out):
    """Sum the results of the blocks; one block of threads for each number."""
    columns = cuda.shared.array(0, float64)
    total = 0.0
    for block in range(cuda.threadIdx.x, partial.shape[0], cuda.blockDim.x):
        total += partial[block, cuda.blockIdx.x]
    columns[cuda.threadIdx.x] = total
    _add_columns(columns, 1)
    if cuda.threadIdx.x == 0:
        out[cuda.blockIdx.x] = columns[0]


def pair_flux(
    receivers: Any, senders: Any, r_ij: Any, g_ij: Any, velocities: Any, groups: Any, flux: Any, stream: Any = 0
) -> None:
    """Potential flux of a local model: flux[owner, carrier] = −Σ r_ij (g_ij · v_j)."""
    n_edges, n_slots = len(receivers), flux.shape[0] ** 2
    arrays = (receivers, senders, r_ij, g_ij, velocities, groups, flux.shape[0])
    if n_slots * 3 <= ROWS * MAX_WINDOWS:
        _sum_windows(_pair_flux, n_edges, n_slots, 3, arrays, flux, stream)
        return
    flat = flux.reshape(n_slots * 3)
    _clear[_blocks(len(flat)), THREADS, stream](flat)
    if n_edges:
        _pair_flux_scatter[_blocks(n_edges), THREADS, stream](*arrays, flat)


@cuda.jit(device=True)
def _power(edge, j, g_ij, velocities):
    return _dot(
        float64(g_ij[edge, 0]),
        float64(g_ij[edge, 1]),
        float64(g_ij[edge, 2]),
        float64(velocities[j, 0]),
        float64(velocities[j, 1]),
        float64(velocities[j, 2]),
    )


@cuda.jit
def _pair_flux(receivers, senders, r_ij, g_ij, velocities, groups, n_groups, slots, partial):
    columns = cuda.shared.array(0, float64)
    _clear_columns(columns, slots * 3)
    first_slot = cuda.blockIdx.y * slots
    for edge in range(cuda.grid(1), len(receivers), cuda.gridsize(1)):
        j = senders[edge]
        slot = groups[receivers[edge]] * n_groups + groups[j] - first_slot
        if 0 <= slot < slots:
            power = _power(edge, j, g_ij, velocities)
            for a in range(3):
                columns[(slot * 3 + a) * cuda.blockDim.x + cuda.threadIdx.x] -= float64(r_ij[edge, a]) * power
    _store_rows(columns, slots * 3, partial)


@cuda.jit
def _pair_flux_scatter(receivers, senders, r_ij, g_ij, velocities, groups, n_groups, flux):
    for edge in range(cuda.grid(1), len(receivers), cuda.gridsize(1)):
        j = senders[edge]
        slot = groups[receivers[edge]] * n_groups + groups[j]
        power = _power(edge, j, g_ij, velocities)
        for a in range(3):
            cuda.atomic.add(flux, slot * 3 + a, -float64(r_ij[edge, a]) * power)


def atomic_virial(_receivers: Any, senders: Any, r_ij: Any, g_ij: Any, virial: Any, stream: Any = 0) -> None:
    """Nine-component virial of each atom: virial[sender][a, b] = −Σ r_ij[a] g_ij[b].

    Components are added atomically, in an order that differs from run to run: results agree to round-off only.
    """
    flat = virial.reshape(virial.shape[0] * 9)
    if len(flat):
        _clear[_blocks(len(flat)), THREADS, stream](flat)
    if len(senders):
        _atomic_virial[_blocks(len(senders)), THREADS, stream](senders, r_ij, g_ij, flat)


@cuda.jit
def _atomic_virial(senders, r_ij, g_ij, virial):
    for edge in range(cuda.grid(1), len(senders), cuda.gridsize(1)):
        j = senders[edge]
        for a in range(3):
            for b in range(3):
                cuda.atomic.add(virial, j * 9 + a * 3 + b, -float64(r_ij[edge, a]) * float64(g_ij[edge, b]))


def virial_flux(virial: Any, velocities: Any, groups: Any, flux: Any, stream: Any = 0) -> None:
    """Potential flux by carrier from atomic virials: flux[group] = Σ_j W_j v_j."""
    _sum_windows(_virial_flux, len(groups), flux.shape[0], 3, (virial, velocities, groups), flux, stream)


@cuda.jit
def _virial_flux(virial, velocities, groups, slots, partial):
    columns = cuda.shared.array(0, float64)
    _clear_columns(columns, slots * 3)
    first_slot = cuda.blockIdx.y * slots
    for j in range(cuda.grid(1), len(groups), cuda.gridsize(1)):
        slot = groups[j] - first_slot
        if 0 <= slot < slots:
            vx, vy, vz = float64(velocities[j, 0]), float64(velocities[j, 1]), float64(velocities[j, 2])
            for a in range(3):
                row = (slot * 3 + a) * cuda.blockDim.x + cuda.threadIdx.x
                columns[row] += _dot(
                    float64(virial[j, a, 0]), float64(virial[j, a, 1]), float64(virial[j, a, 2]), vx, vy, vz
                )
    _store_rows(columns, slots * 3, partial)


def convection(
    velocities: Any,
    masses: Any,
    energies: Any,
    groups: Any,
    mass_velocity2: float,
    kinetic: Any,
    convective: Any,
    velocity: Any,
    stream: Any = 0,
) -> None:
    """Convective sums by group: Σ ½ m v² v, Σ U_i v_i and Σ v_i; `mass_velocity2` is one u Å²/ps² in eV."""
    n_groups = kinetic.shape[0]
    sums = cuda.device_array((n_groups, 9), np.float64, stream=stream)
    arrays = (velocities, masses, energies, groups, float(mass_velocity2))
    _sum_windows(_convection, len(groups), n_groups, 9, arrays, sums, stream)
    _split[_blocks(n_groups * 3), THREADS, stream](sums, kinetic, convective, velocity)


@cuda.jit
def _convection(velocities, masses, energies, groups, mass_velocity2, slots, partial):
    columns = cuda.shared.array(0, float64)
    _clear_columns(columns, slots * 9)
    first_slot = cuda.blockIdx.y * slots
    for i in range(cuda.grid(1), len(groups), cuda.gridsize(1)):
        slot = groups[i] - first_slot
        if 0 <= slot < slots:
            kinetic = _kinetic_energy(
                float64(masses[i]),
                float64(velocities[i, 0]),
                float64(velocities[i, 1]),
                float64(velocities[i, 2]),
                mass_velocity2,
            )
            for a in range(3):
                v = float64(velocities[i, a])
                row = (slot * 9 + a) * cuda.blockDim.x + cuda.threadIdx.x
                columns[row] += kinetic * v
                columns[row + 3 * cuda.blockDim.x] += float64(energies[i]) * v
                columns[row + 6 * cuda.blockDim.x] += v
    _store_rows(columns, slots * 9, partial)


@cuda.jit
def _split(sums, kinetic, convective, velocity):
    for k in range(cuda.grid(1), sums.shape[0] * 3, cuda.gridsize(1)):
        group, a = k // 3, k % 3
        kinetic[group, a] = sums[group, a]
        convective[group, a] = sums[group, a + 3]
        velocity[group, a] = sums[group, a + 6]
