"""Crossings: the places of a model's autograd graph where data passes between the two ends of an edge.

Data of an edge counts as located at the edge's receiver. It crosses from or to the sender where sender data
is gathered (``h[senders]``) and where edge data is scattered to senders (``z.index_add(0, senders, m)``). Both leave a
node with its index saved in the autograd graph of an ordinary forward pass, so nothing has to be declared or hooked.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch.autograd.graph import GradientEdge, Node, get_gradient_edge

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch.utils.hooks import RemovableHandle

GATHERS = ("Index", "IndexSelect", "Gather", "Embedding")
SCATTERS = ("IndexAdd", "ScatterAdd", "Scatter", "ScatterReduce", "IndexPut")
#: What hides the inside of a model: compiled or scripted blocks, and Python functions with their own backward.
OPAQUE = ("CompiledFunction", "DifferentiableGraph", "CheckpointFunction")

#: Choices of edges that an index is compared with; models have a few, one for each cutoff.
_MOST_CHOICES = 32


@dataclass(frozen=True, slots=True, eq=False)
class Crossing:
    """One gather of sender data (`slot` None) or one scatter of edge data to senders.

    Attributes
    ----------
    node : autograd node of the gather or scatter
    slot : which input of a scatter is the edge data
    edge_dim : dimension of the edge data that runs over edges, counted from the end
    rows : None, or a 0/1 mask, broadcastable to the edge data, where the index holds other things than senders too
    edges : None, or the edges that the edge data belongs to, where it is not all of them in their order
    """

    node: Any
    slot: int | None
    edge_dim: int
    rows: torch.Tensor | None = None
    edges: torch.Tensor | None = None

    @property
    def edge_data(self) -> GradientEdge:
        """Where the adjoint of the edge data lives."""
        if self.slot is None:
            return GradientEdge(self.node, 0)
        return GradientEdge(*self.node.next_functions[self.slot])

    def record(self, recorded: dict[Crossing, torch.Tensor | None]) -> RemovableHandle:
        """Have the next backward pass write down the adjoint of the edge data."""
        if self.slot is None:
            return self.node.register_prehook(lambda above: recorded.__setitem__(self, above[0]))
        # What this scatter alone sends back: the edge data may be used elsewhere too.
        return self.node.register_hook(lambda below, _: recorded.__setitem__(self, below[self.slot]))

    def weigh(self, weights: torch.Tensor, adjoint: torch.Tensor) -> torch.Tensor:
        """Multiply the adjoint of the edge data by one weight per edge, with this crossing's sign."""
        weights = weights if self.edges is None else weights[self.edges]
        shape = [1] * (-self.edge_dim)
        shape[0] = len(weights)
        weights = (weights if self.slot is None else -weights).reshape(shape)
        return adjoint * (weights if self.rows is None else weights * self.rows)


def find_crossings(
    energies: torch.Tensor, leaf: torch.Tensor, *, senders: torch.Tensor, receivers: torch.Tensor
) -> tuple[tuple[Crossing, ...], tuple[str, ...]]:
    """Walk the autograd graph from the energies to a leaf and pick out the crossings.

    Parameters
    ----------
    energies : torch.Tensor
        Result of a forward pass.
    leaf : torch.Tensor
        Displacements of the atoms; only what depends on them matters.
    senders, receivers : (n_edges,) int64
        They must differ somewhere.

    Returns
    -------
    found : tuple of Crossing
    hidden : tuple of str
        What may hide more of them, in words.
    """
    found, hidden = [], []
    nodes = [(node, _kind(node)) for node in _nodes_between(energies, leaf)]
    subsets = _Subsets(nodes, senders, receivers, len(leaf))
    target = get_gradient_edge(leaf).node
    for node, kind in nodes:
        if kind in GATHERS or kind in SCATTERS:
            # The gathers that make the edge vectors follow the displacements are not the model's: no doubt of them.
            ours = node.next_functions[0][0] is target
            crossing, unknown = _classify(node, kind, senders, receivers) if ours else subsets.classify(node, kind)
            found += [crossing] if crossing else []
            hidden += [unknown] if unknown else []
        elif isinstance(node, torch.autograd.function.BackwardCFunction) or kind in OPAQUE:
            hidden.append(f"{kind} (its inside cannot be seen)")
    return tuple(found), tuple(dict.fromkeys(hidden))


def _nodes_between(energies: torch.Tensor, leaf: torch.Tensor) -> list[Node]:
    """Nodes on a path from the energies down to the leaf."""
    order = _post_order(get_gradient_edge(energies).node)
    target = get_gradient_edge(leaf).node
    leads = {target}
    for node in order:
        if any(below in leads for below, _ in node.next_functions):
            leads.add(node)
    return [node for node in order if node in leads and node is not target]


def _post_order(root: Node) -> list[Node]:
    """Every node below the root, each after all nodes below it."""
    order, seen, stack = [], {root}, [(root, iter(root.next_functions))]
    while stack:
        node, below = stack[-1]
        for child, _ in below:
            if child is not None and child not in seen:
                seen.add(child)
                stack.append((child, iter(child.next_functions)))
                break
        else:
            order.append(node)
            stack.pop()
    return order


def _kind(node: Node) -> str:
    """Name of the operation: 'IndexAdd' for 'torch::autograd::IndexAddBackward0'."""
    return node.name().rsplit("::", 1)[-1].partition("Backward")[0]


def _classify(
    node: Any, kind: str, senders: torch.Tensor, receivers: torch.Tensor, *, edges: torch.Tensor | None = None
) -> tuple[Crossing | None, str | None]:
    """Tell whether an index node is a crossing; or, in words, that it cannot be told."""
    gather = kind in GATHERS
    for index, trailing in _saved_indices(node, kind):
        match = _match(index, senders, receivers)
        if match is None:
            continue
        dim, rows = match
        if rows is not None and not rows.any():
            return None, None
        if rows is not None:
            rows = None if rows.all() else rows.reshape(rows.shape + (1,) * trailing)
        return Crossing(node, None if gather else 1, dim - index.ndim - trailing, rows, edges), None
    sizes = [tuple(index.shape) for index, _ in _saved_indices(node, kind)]
    return None, f"{kind} with an index of shape {sizes} that is neither senders nor receivers"


class _Subsets:
    """Indices that choose or sort edges, by which other indices are senders or receivers of some edges only.

    Models with an inner cutoff, a cutoff for each layer or pair of species, half lists, and kernels that sort edges
    take ``senders[k]``, and ``r_ij[k]`` with it: that k is the index of another node of the graph. A guess that is
    wrong does not pass the gauge check, but for one: edges with the same ends that lead to other images. The check
    weighs them alike, so an index that fits several of them is told as unknown.
    """

    def __init__(
        self, nodes: Sequence[tuple[Any, str]], senders: torch.Tensor, receivers: torch.Tensor, n_atoms: int
    ) -> None:
        self._nodes = nodes
        self._ends = (senders, receivers)
        self._n_atoms = n_atoms

    def classify(self, node: Any, kind: str) -> tuple[Crossing | None, str | None]:
        """As `_classify`, with all edges and with those that the model chose."""
        crossing, unknown = _classify(node, kind, *self._ends)
        if unknown is None and (crossing is None or not self._edges):
            return crossing, None
        if unknown is not None and node in self._choices and _source(node, kind)[1] != self._n_atoms:
            return None, None  # edge data passed on stays at its receiver
        fits = [] if crossing is None else [crossing]
        for edges in self._edges:
            found, still = _classify(node, kind, *(end[edges] for end in self._ends), edges=edges)
            if still is None and found is None:
                return crossing, None
            fits += [] if found is None else [found]
        if any(self._is_doubtful(fit, fits[0]) for fit in fits):
            return None, f"{kind} along edges that differ by their image alone (repeat the cell)"
        if fits or node in self._choices:
            return (fits[0] if fits else None), None
        return None, unknown

    def _is_doubtful(self, fit: Crossing, first: Crossing) -> bool:
        """Whether it could be another one, or belong to the receivers."""
        if fit.edges is None:
            return False
        senders, receivers = (end[fit.edges] for end in self._ends)
        if torch.equal(senders, receivers):
            return True
        other = torch.arange(len(self._ends[0]), device=senders.device) if first.edges is None else first.edges
        return not torch.equal(fit.edges, other)

    @cached_property
    def _edges(self) -> list[torch.Tensor]:
        """Every choice once, all edges in their order left out."""
        different: list[torch.Tensor] = []
        everything = torch.arange(len(self._ends[0]), device=self._ends[0].device)
        for edges in (edges for choices in self._choices.values() for edges in choices):
            if not any(torch.equal(edges, known) for known in (everything, *different)):
                different.append(edges)
        return different[:_MOST_CHOICES]

    @cached_property
    def _choices(self) -> dict[Any, list[torch.Tensor]]:
        """Gathers from data of all edges, or of edges chosen before, and the edges that they may choose."""
        found: dict[Any, list[torch.Tensor]] = {}
        # Nodes come from the energies' end last: what was chosen first is seen first.
        for node, kind in self._nodes:
            index, length = _source(node, kind)
            if index is None:
                continue
            before = [edges for choices in found.values() for edges in choices if len(edges) == length]
            if length != len(self._ends[0]) and not before:
                continue
            index = _positions(index, length)
            if index.numel() and len(found) < _MOST_CHOICES:
                whole = [index] if length == len(self._ends[0]) else []
                found[node] = _different([*whole, *(edges[index] for edges in before)])
        return found


def _different(choices: list[torch.Tensor]) -> list[torch.Tensor]:
    kept: list[torch.Tensor] = []
    for edges in choices[:_MOST_CHOICES]:
        if not any(torch.equal(edges, known) for known in kept):
            kept.append(edges)
    return kept


def _source(node: Any, kind: str) -> tuple[torch.Tensor | None, int]:
    """Index or mask (n,) of a gather along one dimension, and the length of the data that it is taken from."""
    if kind == "IndexSelect":
        sizes, dim = node._saved_self_sym_sizes, node._saved_dim
        return node._saved_index, int(sizes[dim if dim < len(sizes) else dim - 2**64])
    if kind != "Index":
        return None, 0
    places = [k for k, index in enumerate(node._saved_indices) if index is not None]
    if len(places) != 1 or node._saved_indices[places[0]].ndim != 1:
        return None, 0
    return node._saved_indices[places[0]], int(node._saved_self_sym_sizes[places[0]])


def _positions(index: torch.Tensor, length: int) -> torch.Tensor:
    """Integers from 0 on, whether the index is a mask or counts from the end."""
    return torch.nonzero(index)[:, 0] if index.dtype in (torch.bool, torch.uint8) else index % length


def _saved_indices(node: Any, kind: str) -> Sequence[tuple[torch.Tensor, int]]:
    """Index tensors of a node, each with the number of dimensions of the edge data that follow the index's own."""
    n_dims = len(_output_shape(node))
    if kind in ("Gather", "ScatterAdd", "Scatter", "ScatterReduce"):
        return [(node._saved_index, 0)]
    if kind in ("IndexSelect", "IndexAdd"):
        dim = node._saved_dim
        return [(node._saved_index, n_dims - 1 - (dim if dim < n_dims else dim - 2**64) % n_dims)]
    if kind == "Embedding":
        return [(node._saved_indices, 1)]
    return _advanced_indices(node._saved_indices, n_dims, put=kind == "IndexPut")


def _advanced_indices(
    indices: Sequence[torch.Tensor | None], n_dims: int, *, put: bool
) -> list[tuple[torch.Tensor, int]]:
    """Index tensors of ``x[a, :, b]``, broadcast against each other as indexing does."""
    places = [k for k, index in enumerate(indices) if index is not None]
    tensors = [index for index in indices if index is not None]
    if any(index.dtype in (torch.bool, torch.uint8) for index in tensors):
        return []
    tensors = torch.broadcast_tensors(*tensors)
    # Indexed dimensions become those of the index, in place if they are neighbours, else in front.
    n_indexed = n_dims - len(places) + tensors[0].ndim if put else n_dims
    together = places == list(range(places[0], places[0] + len(places)))
    trailing = n_indexed - tensors[0].ndim - (places[0] if together else 0)
    return [(index, trailing) for index in tensors]


def _output_shape(node: Node) -> Sequence[int]:
    return node._input_metadata[0].shape


def _match(
    index: torch.Tensor, senders: torch.Tensor, receivers: torch.Tensor
) -> tuple[int, torch.Tensor | None] | None:
    """Dimension of an index along which it equals the senders (or receivers), and where it is the senders.

    None if some row of the index is neither.
    """
    for dim in range(index.ndim):
        if index.shape[dim] != len(senders):
            continue
        rows = _collapse(index, dim)
        is_sender = (rows == senders).all(dim=-1)
        if bool((is_sender | (rows == receivers).all(dim=-1)).all()):
            return dim, is_sender.unsqueeze(-1).movedim(-1, dim)
    return None


def _collapse(index: torch.Tensor, dim: int) -> torch.Tensor:
    """Put edges last; dimensions of an index that only repeat it (stride 0) shrink to length 1."""
    for other in range(index.ndim):
        if other != dim and index.stride(other) == 0:
            index = index.narrow(other, 0, 1)
    return index.movedim(dim, -1)
