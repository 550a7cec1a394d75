"""Triplets of a graph: pairs of edges that end at one atom."""

from __future__ import annotations

import torch


def edge_pairs(receivers: torch.Tensor, n_atoms: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Pair the edges of each receiver, every unordered pair once; edges may come in any order.

    Parameters
    ----------
    receivers : (n_edges,) centre of each edge
    n_atoms : number of atoms

    Returns
    -------
    first, second : (n_triplets,) edge indices
    """
    order = torch.argsort(receivers, stable=True)
    run_ends = torch.bincount(receivers, minlength=n_atoms).cumsum(0)
    place = torch.arange(len(receivers), device=receivers.device)
    # An edge pairs with every edge after it in its receiver's run.
    partners = run_ends[receivers[order]] - place - 1
    first = place.repeat_interleave(partners)
    pair_starts = partners.cumsum(0) - partners
    second = first + 1 + torch.arange(len(first), device=receivers.device) - pair_starts[first]
    return order[first], order[second]
