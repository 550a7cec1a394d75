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
    # Flat arrays spare the multiplication by row lengths that Numba cannot know.
    positions, shifts, shifts_out, r_ij_out = (
        positions.reshape(-1),
        shifts.reshape(-1),
        shifts_out.reshape(-1),
        r_ij_out.reshape(-1),
    )
    one, two, three = np.uint64(1), np.uint64(2), np.uint64(3)
    kept = np.uint64(0)
    limit = cutoff * cutoff
    for edge in range(np.uint64(len(senders))):
        j, i = three * np.uint64(senders[edge]), three * np.uint64(receivers[edge])
        row, put = three * edge, three * kept
        a, b, c = np.float64(shifts[row]), np.float64(shifts[row + one]), np.float64(shifts[row + two])
        x = positions[j] - positions[i] + a * cell[0, 0] + b * cell[1, 0] + c * cell[2, 0]
        y = positions[j + one] - positions[i + one] + a * cell[0, 1] + b * cell[1, 1] + c * cell[2, 1]
        z = positions[j + two] - positions[i + two] + a * cell[0, 2] + b * cell[1, 2] + c * cell[2, 2]
        # Written before it is known to stay: no branch to mispredict, the next edge overwrites what was dropped.
        senders_out[kept] = senders[edge]
        receivers_out[kept] = receivers[edge]
        shifts_out[put] = shifts[row]
        shifts_out[put + one] = shifts[row + one]
        shifts_out[put + two] = shifts[row + two]
        r_ij_out[put] = x
        r_ij_out[put + one] = y
        r_ij_out[put + two] = z
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
    pair_shifts, pair_vectors = pair_shifts.reshape(-1), pair_vectors.reshape(-1)
    shifts, r_ij = shifts.reshape(-1), r_ij.reshape(-1)
    three = np.uint64(3)
    for pair in range(np.uint64(len(first))):
        i, j = np.uint64(first[pair]), np.uint64(second[pair])
        here = np.uint64(starts[i])
        starts[i] += 1
        there = np.uint64(starts[j])
        starts[j] += 1
        receivers[here], senders[here] = i, j
        receivers[there], senders[there] = j, i
        for a in range(three):
            shift = pair_shifts[three * pair + a]
            shifts[three * here + a], shifts[three * there + a] = shift, -shift
            r = pair_vectors[three * pair + a]
            r_ij[three * here + a], r_ij[three * there + a] = r, -r
