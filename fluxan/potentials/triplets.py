"""Finds the triplets of a graph: pairs of edges with the same receiver."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch.utils.weak import WeakTensorKeyDictionary


class ShortTriplets(NamedTuple):
    """Triplets of the edges shorter than a cutoff.

    Attributes
    ----------
    edges : (n_short,) int64 tensor
        Indices of these edges in the graph.
    edge_slots : (n_short,) int64 tensor
        Receiver and sender's element of each edge, ``receiver * n_elements + element``.
    first, second : (n_triplets,) int64 tensors
        The two edges of each triplet, as places in `edges`.
    slots : (n_triplets,) int64 tensor
        Centre and pair of elements of each triplet, ``centre * n_pairs + pair``.
    """

    edges: torch.Tensor
    edge_slots: torch.Tensor
    first: torch.Tensor
    second: torch.Tensor
    slots: torch.Tensor


#: Triplets by the tensor of senders, then by cutoff and number of elements; they are dropped with that tensor.
_KNOWN: WeakTensorKeyDictionary = WeakTensorKeyDictionary()


def short_triplets(
    senders: torch.Tensor, edge_slots: torch.Tensor, r2: torch.Tensor, *, cutoff: float, pair_table: torch.Tensor
) -> ShortTriplets:
    """Triplets of the edges shorter than a cutoff, kept for later calls with the same tensor of senders.

    Training evaluates each graph hundreds of times. The triplets are found anew only where other edges are short, or
    where they belong to other atoms or elements.

    Parameters
    ----------
    senders : (n_edges,) int64 tensor
        ``graph.senders``, the object itself.
    edge_slots : (n_edges,) int64 tensor
        ``receiver * n_elements + element`` of each edge, with the element of its sender.
    r2 : (n_edges,) real tensor
        Squared lengths of the edges, Å².
    cutoff : float
        Å.
    pair_table : (n_elements, n_elements) int64 tensor
        Index of each unordered pair of elements.

    Returns
    -------
    ShortTriplets
    """
    edges = (r2.detach() < cutoff**2).nonzero().squeeze(1)
    edge_slots = edge_slots[edges]
    n_elements = len(pair_table)
    known = _KNOWN.setdefault(senders, {})
    last = known.get((cutoff, n_elements))
    if last is not None and torch.equal(last.edges, edges) and torch.equal(last.edge_slots, edge_slots):
        return last
    receivers, elements = edge_slots // n_elements, edge_slots % n_elements
    first, second = edge_pairs(receivers, int(receivers.max()) + 1 if len(receivers) else 0)
    n_pairs = n_elements * (n_elements + 1) // 2
    slots = receivers[first] * n_pairs + pair_table[elements[first], elements[second]]
    found = ShortTriplets(edges, edge_slots, first, second, slots)
    # Autograd cannot save tensors that were made in inference mode.
    if not torch.is_inference_mode_enabled():
        known[cutoff, n_elements] = found
    return found


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
