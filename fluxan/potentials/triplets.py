"""Finds the triplets of a graph: pairs of edges with the same receiver."""

from __future__ import annotations

import torch


def edge_pairs(receivers: torch.Tensor, n_atoms: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Pair the edges of each receiver, every unordered pair once; edges may come in any order.

    Parameters
    ----------
    receivers : (n_edges,) int64 tensor
        Centre atom of each edge.
    n_atoms : int
        Number of atoms.

    Returns
    -------
    first, second : (n_triplets,) int64 tensors
        Edge indices.
    """
    # Sort edges by receiver: the edges of an atom are a run of the sorted list.
    order = torch.argsort(receivers, stable=True)
    run_ends = torch.bincount(receivers, minlength=n_atoms).cumsum(0)
    place = torch.arange(len(receivers), device=receivers.device)
    # Each edge pairs with all later edges of its run.
    partners = run_ends[receivers[order]] - place - 1
    first = place.repeat_interleave(partners)
    pair_starts = partners.cumsum(0) - partners
    # The k-th partner of an edge is k places behind it.
    second = first + 1 + torch.arange(len(first), device=receivers.device) - pair_starts[first]
    return order[first], order[second]
