"""CPU kernels of the heat flux; names, shapes and units are in `fluxan.kernels`.

Each sum is divided into chunks whose borders depend only on the size of the input. Each chunk has a partial sum of its
own, and partial sums are added in order, so that results are bit for bit the same in every run, for any number of
threads (`atomic_virial`: for a given number of threads). There are no atomic operations.
"""

from __future__ import annotations

import numba
import numpy as np

from . import terms
from .jit import Kernel, n_threads, serial

#: Edges per chunk: 4 MB of input, large enough to hide the cost of starting one, small enough to balance the threads.
EDGES_PER_CHUNK = 2**16
#: Number of separate sums to which consecutive edges are added cyclically, a power of two.
LANES = 4
#: Atoms per chunk.
ATOMS_PER_CHUNK = 2**13

_dot = serial(terms.dot)
_kinetic_energy = serial(terms.kinetic_energy)


def _partial_sums(n_items: int, items_per_chunk: int, shape: tuple[int, ...]) -> tuple[np.ndarray, int]:
    """Zeroed partial sums, one per chunk, and the number of items per chunk.

    A chunk has at least as many items as its partial sum has numbers: with many groups the partial sums of all chunks
    together are then no larger than the input.
    """
    items_per_chunk = max(items_per_chunk, int(np.prod(shape)))
    n_chunks = -(-n_items // items_per_chunk)
    return np.zeros((n_chunks, *shape)), items_per_chunk


def pair_flux(
    receivers: np.ndarray,
    senders: np.ndarray,
    r_ij: np.ndarray,
    g_ij: np.ndarray,
    velocities: np.ndarray,
    groups: np.ndarray,
    flux: np.ndarray,
) -> None:
    """Potential flux of a local model: flux[owner, carrier] = −Σ r_ij (g_ij · v_j)."""
    n_groups = len(flux)
    # Offsets of an atom's group in `flux`, as owner and as carrier, one byte each if they fit: they then stay in the
    # cache although senders are in arbitrary order (a quarter faster than int64).
    narrow = np.uint8 if flux.size <= 256 else np.uint32
    owner_row, carrier_column = (groups * (3 * n_groups)).astype(narrow), (groups * 3).astype(narrow)
    partial, length = _partial_sums(len(receivers), EDGES_PER_CHUNK, (LANES * flux.size,))
    flat = (array.reshape(-1) for array in (r_ij, g_ij, velocities))
    _pair_flux(receivers, senders, *flat, owner_row, carrier_column, length, partial)
    with np.errstate(invalid="ignore"):  # infinities of both signs give NaN in the result
        partial.reshape(-1, flux.size).sum(axis=0, out=flux.reshape(-1))


@Kernel
def _pair_flux(receivers, senders, r_ij, g_ij, velocities, owner_row, carrier_column, length, partial):
    for chunk in numba.prange(len(partial)):
        first = chunk * length
        last = min(first + length, len(receivers))
        _pair_flux_chunk(
            receivers, senders, r_ij, g_ij, velocities, owner_row, carrier_column, first, last, partial[chunk]
        )


@serial
def _pair_flux_chunk(receivers, senders, r_ij, g_ij, velocities, owner_row, carrier_column, first, last, flux):
    # Unsigned indices avoid Numba's branch for negative ones, flat arrays the multiplication by row lengths: 6.3 ns per
    # edge without either, 3.7 with the first, 3.0 with both. Consecutive edges add to different sums, since otherwise
    # each addition waits for the one before: 2.8 instead of 3.7 ns per edge where all atoms are in one group.
    lane_length = np.uint64(len(flux) // LANES)
    for edge in range(np.uint64(first), np.uint64(last)):
        j = np.uint64(senders[edge])
        x, y, z = np.uint64(3) * edge, np.uint64(3) * edge + np.uint64(1), np.uint64(3) * edge + np.uint64(2)
        v = np.uint64(3) * j
        slot = np.uint64(owner_row[np.uint64(receivers[edge])]) + np.uint64(carrier_column[j])
        slot += (edge & np.uint64(LANES - 1)) * lane_length
        power = _dot(
            np.float64(g_ij[x]),
            np.float64(g_ij[y]),
            np.float64(g_ij[z]),
            np.float64(velocities[v]),
            np.float64(velocities[v + np.uint64(1)]),
            np.float64(velocities[v + np.uint64(2)]),
        )
        flux[slot] -= np.float64(r_ij[x]) * power
        flux[slot + np.uint64(1)] -= np.float64(r_ij[y]) * power
        flux[slot + np.uint64(2)] -= np.float64(r_ij[z]) * power


def atomic_virial(
    _receivers: np.ndarray, senders: np.ndarray, r_ij: np.ndarray, g_ij: np.ndarray, virial: np.ndarray
) -> None:
    """Nine-component virial of each atom: virial[sender][a, b] = −Σ r_ij[a] g_ij[b].

    Each thread sums into a copy of `virial` of its own. The copies are limited to 9 bytes per edge in total: with few
    edges per atom, further threads would save less time than adding their copies takes.
    """
    n_copies = min(n_threads(), 1 + len(senders) // (8 * max(len(virial), 1)))
    copies = np.empty((n_copies - 1, *virial.shape))
    _atomic_virial(senders, r_ij, g_ij, copies, virial)
    if n_copies > 1:
        _add_copies(copies, virial)


@Kernel
def _atomic_virial(senders, r_ij, g_ij, copies, virial):
    n_chunks = len(copies) + 1
    for chunk in numba.prange(n_chunks):
        first = chunk * len(senders) // n_chunks
        last = (chunk + 1) * len(senders) // n_chunks
        if chunk == 0:
            _atomic_virial_chunk(senders, r_ij, g_ij, first, last, virial)
        else:
            _atomic_virial_chunk(senders, r_ij, g_ij, first, last, copies[chunk - 1])


@serial
def _atomic_virial_chunk(senders, r_ij, g_ij, first, last, virial):
    virial[:] = 0
    r_ij, g_ij, virial = r_ij.reshape(-1), g_ij.reshape(-1), virial.reshape(-1)
    for edge in range(np.uint64(first), np.uint64(last)):
        x, y, z = np.uint64(3) * edge, np.uint64(3) * edge + np.uint64(1), np.uint64(3) * edge + np.uint64(2)
        gx, gy, gz = np.float64(g_ij[x]), np.float64(g_ij[y]), np.float64(g_ij[z])
        for a in range(np.uint64(3)):
            r = np.float64(r_ij[x + a])
            row = np.uint64(9) * np.uint64(senders[edge]) + np.uint64(3) * a
            virial[row] -= r * gx
            virial[row + np.uint64(1)] -= r * gy
            virial[row + np.uint64(2)] -= r * gz


@Kernel
def _add_copies(copies, virial):
    for atom in numba.prange(len(virial)):
        for copy in range(len(copies)):
            for a in range(3):
                for b in range(3):
                    virial[atom, a, b] += copies[copy, atom, a, b]


def virial_flux(virial: np.ndarray, velocities: np.ndarray, groups: np.ndarray, flux: np.ndarray) -> None:
    """Potential flux by carrier from atomic virials: flux[group] = Σ_j W_j v_j."""
    partial, length = _partial_sums(len(groups), ATOMS_PER_CHUNK, flux.shape)
    _virial_flux(virial, velocities, groups, length, partial)
    partial.sum(axis=0, out=flux)


@Kernel
def _virial_flux(virial, velocities, groups, length, partial):
    for chunk in numba.prange(len(partial)):
        first = chunk * length
        _virial_flux_chunk(virial, velocities, groups, first, min(first + length, len(groups)), partial[chunk])


@serial
def _virial_flux_chunk(virial, velocities, groups, first, last, flux):
    for j in range(np.uint64(first), np.uint64(last)):
        group = np.uint64(groups[j])
        vx, vy, vz = np.float64(velocities[j, 0]), np.float64(velocities[j, 1]), np.float64(velocities[j, 2])
        for a in range(3):
            flux[group, a] += _dot(
                np.float64(virial[j, a, 0]), np.float64(virial[j, a, 1]), np.float64(virial[j, a, 2]), vx, vy, vz
            )


def convection(
    velocities: np.ndarray,
    masses: np.ndarray,
    energies: np.ndarray,
    groups: np.ndarray,
    mass_velocity2: float,
    kinetic: np.ndarray,
    convective: np.ndarray,
    velocity: np.ndarray,
) -> None:
    """Convective sums by group: Σ ½ m v² v, Σ U_i v_i and Σ v_i; `mass_velocity2` is one u Å²/ps² in eV."""
    partial, length = _partial_sums(len(groups), ATOMS_PER_CHUNK, (3, *kinetic.shape))
    _convection(velocities, masses, energies, groups, float(mass_velocity2), length, partial)
    for k, out in enumerate((kinetic, convective, velocity)):
        partial[:, k].sum(axis=0, out=out)


@Kernel
def _convection(velocities, masses, energies, groups, mass_velocity2, length, partial):
    for chunk in numba.prange(len(partial)):
        first = chunk * length
        last = min(first + length, len(groups))
        _convection_chunk(velocities, masses, energies, groups, mass_velocity2, first, last, partial[chunk])


@serial
def _convection_chunk(velocities, masses, energies, groups, mass_velocity2, first, last, sums):
    for i in range(np.uint64(first), np.uint64(last)):
        group = np.uint64(groups[i])
        vx, vy, vz = np.float64(velocities[i, 0]), np.float64(velocities[i, 1]), np.float64(velocities[i, 2])
        kinetic = _kinetic_energy(np.float64(masses[i]), vx, vy, vz, mass_velocity2)
        potential = np.float64(energies[i])
        for a, v in enumerate((vx, vy, vz)):
            sums[0, group, a] += kinetic * v
            sums[1, group, a] += potential * v
            sums[2, group, a] += v


def first_out_of_range(indices: np.ndarray, limit: int, first: np.ndarray) -> None:
    """Set first[0] to the position of the first index outside 0 to limit − 1, or to the number of indices."""
    largest = np.zeros(-(-len(indices) // EDGES_PER_CHUNK), dtype=np.uint64)
    _largest_unsigned(indices, EDGES_PER_CHUNK, largest)
    first[0] = len(indices)
    for chunk in np.flatnonzero(largest >= np.uint64(limit))[:1]:
        begin = chunk * EDGES_PER_CHUNK
        part = indices[begin : begin + EDGES_PER_CHUNK]
        first[0] = begin + np.flatnonzero((part < 0) | (part >= limit))[0]


@Kernel
def _largest_unsigned(indices, length, largest):
    for chunk in numba.prange(len(largest)):
        first = chunk * length
        largest[chunk] = _largest_unsigned_chunk(indices, first, min(first + length, len(indices)))


@serial
def _largest_unsigned_chunk(indices, first, last):
    largest = np.uint64(0)
    for k in range(np.uint64(first), np.uint64(last)):
        largest = max(largest, np.uint64(indices[k]))  # a negative index becomes a huge unsigned one
    return largest


@serial
def shortest_edge(r_ij):
    """Index and squared length, Å², of the shortest edge; −1 and infinity where there is no edge."""
    shortest, smallest = -1, np.inf
    for edge in range(len(r_ij)):
        x, y, z = r_ij[edge, 0], r_ij[edge, 1], r_ij[edge, 2]
        squared = _dot(x, y, z, x, y, z)
        if squared < smallest:
            shortest, smallest = edge, squared
    return shortest, smallest
