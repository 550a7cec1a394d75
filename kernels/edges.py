"""CPU kernels that make edge lists; names, shapes and units are in `fluxan.kernels`."""

from __future__ import annotations

import numpy as np

from .jit import serial


@serial
def compact_edges(
    positions, cell, senders, receivers, shifts, cutoff, senders_out, receivers_out, shifts_out, r_ij_out
):
    """Keep the candidate edges that are no longer than the cutoff, in order, with r_ij from the present positions.

    Returns how many were kept, n; the first n entries of the outputs are theirs, what follows is left over.
    The outputs are as long as the candidate list, and may have other dtypes: candidates kept as int32 (shifts as int8)
    are read faster.
    """
    kept = np.uint64(0)
    limit = cutoff * cutoff
    for edge in range(np.uint64(len(senders))):
        j, i = np.uint64(senders[edge]), np.uint64(receivers[edge])
        a, b, c = np.float64(shifts[edge, 0]), np.float64(shifts[edge, 1]), np.float64(shifts[edge, 2])
        x = np.float64(positions[j, 0]) - np.float64(positions[i, 0]) + a * cell[0, 0] + b * cell[1, 0] + c * cell[2, 0]
        y = np.float64(positions[j, 1]) - np.float64(positions[i, 1]) + a * cell[0, 1] + b * cell[1, 1] + c * cell[2, 1]
        z = np.float64(positions[j, 2]) - np.float64(positions[i, 2]) + a * cell[0, 2] + b * cell[1, 2] + c * cell[2, 2]
        # Written before it is known to stay: no branch to mispredict, the next edge overwrites what was dropped.
        senders_out[kept] = senders[edge]
        receivers_out[kept] = receivers[edge]
        shifts_out[kept, 0] = shifts[edge, 0]
        shifts_out[kept, 1] = shifts[edge, 1]
        shifts_out[kept, 2] = shifts[edge, 2]
        r_ij_out[kept, 0] = x
        r_ij_out[kept, 1] = y
        r_ij_out[kept, 2] = z
        kept += np.uint64(x * x + y * y + z * z <= limit)
    return kept


@serial
def count_edges(first, second, starts):
    """Row pointers of the full list that `mirror_pairs` writes: each pair is an edge of both its atoms."""
    starts[:] = 0
    for pair in range(np.uint64(len(first))):
        starts[np.uint64(first[pair]) + np.uint64(1)] += 1
        starts[np.uint64(second[pair]) + np.uint64(1)] += 1
    for atom in range(1, len(starts)):
        starts[atom] += starts[atom - 1]


@serial
def mirror_pairs(first, second, pair_shifts, pair_vectors, starts, senders, receivers, shifts, r_ij):
    """Directed edges sorted by receiver from a list that holds each pair once (a counting sort, stable).

    A pair (i, j, S) with the vector r_j + S·cell − r_i becomes the edge j → i with shift S and the edge i → j with
    shift −S. That holds for an atom and its own image too: such a list holds one of S and −S.
    `starts`, from `count_edges`, is used up: on return starts[i] is the end of receiver i's edges.
    """
    for pair in range(np.uint64(len(first))):
        i, j = np.uint64(first[pair]), np.uint64(second[pair])
        here = np.uint64(starts[i])
        starts[i] += 1
        there = np.uint64(starts[j])
        starts[j] += 1
        receivers[here], senders[here] = i, j
        receivers[there], senders[there] = j, i
        for a in range(3):
            shift = pair_shifts[pair, a]
            shifts[here, a], shifts[there, a] = shift, -shift
            r = pair_vectors[pair, a]
            r_ij[here, a], r_ij[there, a] = r, -r
