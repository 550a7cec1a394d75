"""Crossings: the places of a model's autograd graph where data passes between the two ends of an edge.

Data of an edge counts as located at the edge's receiver. It crosses from or to the sender where sender data
is gathered (``h[senders]``) and where edge data is scattered to senders (``z.index_add(0, senders, m)``). Both leave a
node with its index saved in the autograd graph of an ordinary forward pass, so nothing has to be declared or hooked.
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

#: What hides the inside of a model: compiled or scripted blocks, and Python functions with their own backward.
OPAQUE = ("CompiledFunction", "DifferentiableGraph", "CheckpointFunction")

#: Said where one reading of an index is as good as another, and a larger cell would tell.
_IMAGES = "that differ by their image alone (repeat the cell)"

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
    path : None, or the displacements along edges, in a line graph
    """

    node: Any
    slot: int | None
    edge_dim: int
    rows: torch.Tensor | None = None
    edges: torch.Tensor | None = None
    path: Path | None = None

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
        if self.path is not None:
            weights = torch.as_tensor(self.path.sum(weights))
        elif self.edges is not None:
            weights = weights[self.edges]
        shape = [1] * (-self.edge_dim)
        shape[0] = len(weights)
        weights = (weights if self.slot is None else -weights).reshape(shape)
        return adjoint * (weights if self.rows is None else weights * self.rows)


class CrossingSearch(NamedTuple):
    """What a walk of the autograd graph found.

    Attributes
    ----------
    crossings : tuple of Crossing
    hidden : what may hide more of them, in words
    relations : in a line graph, how the edges of each index node lie to each other
    doubtful : some edges of a line graph share both their atoms, so that a larger cell has to confirm the relations
    """

    crossings: tuple[Crossing, ...] = ()
    hidden: tuple[str, ...] = ()
    relations: tuple[str, ...] = ()
    doubtful: bool = False

    @property
    def undecided(self) -> bool:
        """Whether several readings fit, and they differ by periodic images."""
        return any(_IMAGES in text for text in self.hidden)


def find_crossings(energies: torch.Tensor, leaf: torch.Tensor, graph: Graph, *, lines: bool = True) -> CrossingSearch:
    """Walk the autograd graph from the energies to a leaf and pick out the crossings.

    Parameters
    ----------
    energies : torch.Tensor
        Result of a forward pass.
    leaf : torch.Tensor
        Displacements of the atoms, or edge vectors; only what depends on them matters.
    graph : Graph
        Senders and receivers must differ somewhere.
    lines : bool
        Resolve messages from edge to edge; the leaf is displacements then.

    Returns
    -------
    CrossingSearch
    """
    nodes = [(node, kind_of(node)) for node in nodes_between(energies, leaf)]
    ends = (graph.senders, graph.receivers)
    plain = {node: _classify(node, kind, *ends) for node, kind in nodes if kind in GATHERS or kind in SCATTERS}
    # The gathers that make the edge vectors follow the displacements are not the model's: no doubt of them.
    target = get_gradient_edge(leaf).node
    ours = {node for node in plain if node.next_functions[0][0] is target}
    subsets = _Subsets(nodes, *ends, len(leaf))
    line = None
    if lines and any(unknown for node, (_, unknown) in plain.items() if node not in ours):
        # Only an index that is neither senders nor receivers can be one of edges.
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
    """As `_classify`, of an index in a line graph."""
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
    """Tell whether an index node is a crossing; or, in words, that it cannot be told."""
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

    def classify(
        self, node: Any, kind: str, crossing: Crossing | None, unknown: str | None
    ) -> tuple[Crossing | None, str | None]:
        """As `_classify`, whose answer for all edges is given, also with those that the model chose."""
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
            return None, f"{kind} along edges {_IMAGES}"
        if fits or node in self._choices:
            return (fits[0] if fits else None), None
        return None, unknown

    def _is_doubtful(self, fit: Crossing, first: Crossing) -> bool:
        """Whether it could be another one, or belong to the receivers."""
        if fit.edges is None or not len(fit.edges):
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
            index = positions_of(index, length)
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
