"""Finds crossings: the places of a model's autograd graph where data passes between the two ends of an edge.

The data of an edge are defined to be at the edge's receiver. They cross from or to the sender where data of senders
are gathered (``h[senders]``), and where edge data are scattered to senders (``z.index_add(0, senders, m)``). Both
operations leave a node in the autograd graph, which saves the index: the model need not be changed. `find_crossings`

1. collects the gathers and scatters between the energies and the positions (`fluxan.flux.index_nodes`);
2. compares the index of each with the graph's senders and receivers (`_classify`);
3. compares the other indices with senders and receivers of subsets of edges that the model selects (`_Subsets`), or
4. with relations between edges, for messages from edge to edge (`fluxan.flux.line_graphs`);
5. lists what cannot be identified or inspected as hidden. The gauge check then decides (`fluxan.flux.route_checks`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch.autograd.graph import GradientEdge, get_gradient_edge

from fluxan.flux.index_nodes import GATHERS, SCATTERS, kind_of, nodes_between, positions_of, saved_indices
from fluxan.flux.line_graphs import LineGraph

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch.utils.hooks import RemovableHandle

    from fluxan.flux.paths import Path
    from fluxan.system import Graph

#: Nodes whose inside cannot be inspected: compiled or scripted blocks, Python functions with their own backward pass.
OPAQUE = ("CompiledFunction", "DifferentiableGraph", "CheckpointFunction")

#: Part of the description of an index with several possible meanings; in a larger cell only one would be possible.
_IMAGES = "that differ by their image alone (repeat the cell)"

#: Largest number of subsets of edges that an index is compared with; models have a few, one for each cutoff.
_MAX_SUBSETS = 32


@dataclass(frozen=True, slots=True, eq=False)
class Crossing:
    """One gather of sender data or one scatter of edge data to senders.

    Attributes
    ----------
    node : torch.autograd.graph.Node
        Node of the gather or scatter.
    slot : int or None
        Which input of a scatter is the edge data; None for a gather.
    edge_dim : int
        Dimension of the edge data that runs over edges, counted from the end.
    rows : tensor or None
        0/1 mask, broadcastable to the edge data, of the rows that hold senders, where the index holds others too.
    edges : (n_rows,) int64 tensor or None
        Edges to which the edge data belong, where they are not all edges in order.
    path : Path or None
        In a line graph, the displacement of each row.
    """

    node: Any
    slot: int | None
    edge_dim: int
    rows: torch.Tensor | None = None
    edges: torch.Tensor | None = None
    path: Path | None = None

    @property
    def edge_data(self) -> GradientEdge:
        """Place of the autograd graph at which the adjoint of the edge data arrives."""
        if self.slot is None:
            return GradientEdge(self.node, 0)
        return GradientEdge(*self.node.next_functions[self.slot])

    def record(self, recorded: dict[Crossing, torch.Tensor | None]) -> RemovableHandle:
        """Make the next backward pass store the adjoint of the edge data in `recorded`."""
        if self.slot is None:
            return self.node.register_prehook(lambda above: recorded.__setitem__(self, above[0]))
        # The adjoint from this scatter only: the edge data may be used elsewhere too.
        return self.node.register_hook(lambda below, _: recorded.__setitem__(self, below[self.slot]))

    def weigh(self, weights: torch.Tensor, adjoint: torch.Tensor) -> torch.Tensor:
        """Multiply the adjoint of the edge data by weights (n_edges,), with the sign of this crossing."""
        if self.path is not None:
            weights = torch.as_tensor(self.path.sum(weights))
        elif self.edges is not None:
            weights = weights[self.edges]
        shape = [1] * (-self.edge_dim)
        shape[0] = len(weights)
        weights = (weights if self.slot is None else -weights).reshape(shape)
        return adjoint * (weights if self.rows is None else weights * self.rows)


class CrossingSearch(NamedTuple):
    """Result of the search of an autograd graph for crossings.

    Attributes
    ----------
    crossings : tuple of Crossing
        The crossings.
    hidden : tuple of str
        Descriptions of nodes that may hide further crossings.
    relations : tuple of str
        In a line graph, the relation between edges of each index node.
    doubtful : bool
        Whether some edges of a line graph share both their atoms, so that a larger cell must confirm the relations.
    """

    crossings: tuple[Crossing, ...] = ()
    hidden: tuple[str, ...] = ()
    relations: tuple[str, ...] = ()
    doubtful: bool = False

    @property
    def undecided(self) -> bool:
        """Whether some index has several possible meanings, which differ by periodic images."""
        return any(_IMAGES in text for text in self.hidden)


def find_crossings(energies: torch.Tensor, leaf: torch.Tensor, graph: Graph, *, lines: bool = True) -> CrossingSearch:
    """Search the autograd graph from the energies down to a leaf for crossings.

    Parameters
    ----------
    energies : (n_atoms,) tensor
        Result of a forward pass.
    leaf : (n_atoms, 3) or (n_edges, 3) tensor
        Displacements of the atoms, or edge vectors; only nodes that depend on them are searched.
    graph : Graph
        Senders and receivers must differ for at least one edge.
    lines : bool
        Identify messages from edge to edge; the leaf must then be displacements.

    Returns
    -------
    CrossingSearch
        Crossings, and nodes that may hide others.
    """
    nodes = [(node, kind_of(node)) for node in nodes_between(energies, leaf)]
    ends = (graph.senders, graph.receivers)
    plain = {node: _classify(node, kind, *ends) for node, kind in nodes if kind in GATHERS or kind in SCATTERS}
    # The gathers with which `ForwardPass` makes edge vectors depend on displacements are not part of the model.
    target = get_gradient_edge(leaf).node
    ours = {node for node in plain if node.next_functions[0][0] is target}
    subsets = _Subsets(nodes, *ends, len(leaf))
    line = None
    if lines and any(unknown for node, (_, unknown) in plain.items() if node not in ours):
        # Some index equals neither senders nor receivers: it may be an index of edges.
        line = LineGraph([node for node, _ in nodes], graph, leaf)
        line = line if line.passes_between_edges else None
    found, hidden = [], []
    for node, kind in nodes:
        crossing, unknown = plain.get(node, (None, None))
        if node in plain and line is not None and node not in ours and line.knows(node):
            crossing, unknown = _by_role(node, kind, line)
        elif node in plain and node not in ours:
            crossing, unknown = subsets.classify(node, kind, crossing, unknown)
        elif isinstance(node, torch.autograd.function.BackwardCFunction) or kind in OPAQUE:
            unknown = f"{kind} (its inside cannot be seen)"
        found += [crossing] if crossing else []
        hidden += [unknown] if unknown else []
    roles = () if line is None else tuple(line.roles.values())
    relations = tuple(role.name for role in roles)
    return CrossingSearch(tuple(found), tuple(dict.fromkeys(hidden)), relations, any(role.doubtful for role in roles))


def _by_role(node: Any, kind: str, line: LineGraph) -> tuple[Crossing | None, str | None]:
    """Classify an index node by its role in a line graph; returns what `_classify` does."""
    role, read = line.roles.get(node), line.maps[node]
    if role is None or not role.name:
        return None, f"{kind} from edges to edges, {len(read.index)} rows, some of which share no atom"
    if role.name == "undecided":
        return None, f"{kind} between edges {_IMAGES}"
    if not role.path.steps:
        return None, None
    return Crossing(node, None if read.is_gather else 1, read.dim, path=role.path), None


def _classify(
    node: Any, kind: str, senders: torch.Tensor, receivers: torch.Tensor, *, edges: torch.Tensor | None = None
) -> tuple[Crossing | None, str | None]:
    """Classify an index node; returns its crossing, or None, and a description if it cannot be identified."""
    gather = kind in GATHERS
    for index, trailing in saved_indices(node, kind):
        match = _match(index, senders, receivers)
        if match is None:
            continue
        dim, rows = match
        if rows is not None and not rows.any():
            return None, None
        if rows is not None:
            rows = None if rows.all() else rows.reshape(rows.shape + (1,) * trailing)
        return Crossing(node, None if gather else 1, dim - index.ndim - trailing, rows, edges), None
    sizes = [tuple(index.shape) for index, _ in saved_indices(node, kind)]
    return None, f"{kind} with an index of shape {sizes} that is neither senders nor receivers"


class _Subsets:
    """Subsets of edges that a model selects or sorts, and indices that hold the senders or receivers of a subset.

    Models with an inner cutoff, a cutoff for each layer or pair of species, or half lists, and kernels that sort edges,
    use ``senders[k]`` together with ``r_ij[k]``: this k is the index of another node of the graph. A wrong assignment
    fails the gauge check, with one exception: edges between the same two atoms that lead to different images, which the
    check weights equally. So an index that fits several of them is reported as unknown.
    """

    def __init__(
        self, nodes: Sequence[tuple[Any, str]], senders: torch.Tensor, receivers: torch.Tensor, n_atoms: int
    ) -> None:
        self._nodes = nodes
        self._ends = (senders, receivers)
        self._n_atoms = n_atoms

    def classify(
        self, node: Any, kind: str, crossing: Crossing | None, unknown: str | None
    ) -> tuple[Crossing | None, str | None]:
        """Classify a node also with the subsets of edges; `crossing` and `unknown` are the result for all edges."""
        if unknown is None and (crossing is None or not self._edges):
            return crossing, None
        if unknown is not None and node in self._choices and _source(node, kind)[1] != self._n_atoms:
            return None, None  # edge data that are only selected stay at their receivers
        fits = [] if crossing is None else [crossing]
        for edges in self._edges:
            found, still = _classify(node, kind, *(end[edges] for end in self._ends), edges=edges)
            if still is None and found is None:
                return crossing, None
            fits += [] if found is None else [found]
        if any(self._is_doubtful(fit, fits[0]) for fit in fits):
            return None, f"{kind} along edges {_IMAGES}"
        if fits or node in self._choices:
            return (fits[0] if fits else None), None
        return None, unknown

    def _is_doubtful(self, fit: Crossing, first: Crossing) -> bool:
        """Whether a crossing that fits differs from the first one that fits, or could be one of receivers."""
        if fit.edges is None or not len(fit.edges):
            return False
        senders, receivers = (end[fit.edges] for end in self._ends)
        if torch.equal(senders, receivers):
            return True
        other = torch.arange(len(self._ends[0]), device=senders.device) if first.edges is None else first.edges
        return not torch.equal(fit.edges, other)

    @cached_property
    def _edges(self) -> list[torch.Tensor]:
        """All subsets that differ from each other, and from all edges in order."""
        different: list[torch.Tensor] = []
        everything = torch.arange(len(self._ends[0]), device=self._ends[0].device)
        for edges in (edges for choices in self._choices.values() for edges in choices):
            if not any(torch.equal(edges, known) for known in (everything, *different)):
                different.append(edges)
        return different[:_MAX_SUBSETS]

    @cached_property
    def _choices(self) -> dict[Any, list[torch.Tensor]]:
        """Gathers from data of all edges, or of a subset, each with the subsets of edges that it may select."""
        found: dict[Any, list[torch.Tensor]] = {}
        # Nodes are ordered from the positions to the energies, so that subsets of subsets come after them.
        for node, kind in self._nodes:
            index, length = _source(node, kind)
            if index is None:
                continue
            before = [edges for choices in found.values() for edges in choices if len(edges) == length]
            if length != len(self._ends[0]) and not before:
                continue
            index = positions_of(index, length)
            if index.numel() and len(found) < _MAX_SUBSETS:
                whole = [index] if length == len(self._ends[0]) else []
                found[node] = _different([*whole, *(edges[index] for edges in before)])
        return found


def _different(choices: list[torch.Tensor]) -> list[torch.Tensor]:
    """Remove repeated subsets."""
    kept: list[torch.Tensor] = []
    for edges in choices[:_MAX_SUBSETS]:
        if not any(torch.equal(edges, known) for known in kept):
            kept.append(edges)
    return kept


def _source(node: Any, kind: str) -> tuple[torch.Tensor | None, int]:
    """Index or mask (n,) of a gather along one dimension, and the length of the data that it reads."""
    if kind == "IndexSelect":
        sizes, dim = node._saved_self_sym_sizes, node._saved_dim
        return node._saved_index, int(sizes[dim if dim < len(sizes) else dim - 2**64])
    if kind != "Index":
        return None, 0
    places = [k for k, index in enumerate(node._saved_indices) if index is not None]
    if len(places) != 1 or node._saved_indices[places[0]].ndim != 1:
        return None, 0
    return node._saved_indices[places[0]], int(node._saved_self_sym_sizes[places[0]])


def _match(
    index: torch.Tensor, senders: torch.Tensor, receivers: torch.Tensor
) -> tuple[int, torch.Tensor | None] | None:
    """Dimension of an index along which it equals the senders (or receivers), and where it is the senders.

    Returns None if some row of the index is neither.
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
    """Move the dimension of edges to the end; shrink dimensions that only repeat the index (stride 0) to length 1."""
    for other in range(index.ndim):
        if other != dim and index.stride(other) == 0:
            index = index.narrow(other, 0, 1)
    return index.movedim(dim, -1)
