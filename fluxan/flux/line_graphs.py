"""Line graphs: models whose messages pass from edge to edge, through angles, undirected bonds, or reversed edges.

The displacement between the receivers of two edges, one of which sends a message to the other, is found in these steps:

1. nodes connected by operations that keep rows (all but gathers and scatters) form a group (`_Groups`), in which row n
   is that of the same edge throughout;
2. an index of atoms that equals all senders or receivers shows that the rows of its group are the edges in order;
3. from there, each index of edges shows the edge of every row of another group (`LineGraph._resolve_edges`);
4. an index between two groups whose edges are both known relates pairs of edges, which share an atom: the relation
   gives the displacement between their receivers (`fluxan.flux.paths.relate`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch.autograd.graph import get_gradient_edge

from fluxan.flux.index_nodes import GATHERS, SCATTERS, RowMap, kind_of, row_map
from fluxan.flux.paths import Path, Relation, agree, ends_of, relate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fluxan.system import Graph

#: Identifies a set of rows by a group of nodes of the autograd graph, and the number of rows.
Key = tuple[Any, int]


@dataclass(slots=True)
class Column:
    """The edge to which each row of a group corresponds.

    Attributes
    ----------
    edges : (n_rows,) int64 tensor
        Edge of each row.
    path : Path
        Displacement from the place of each row to its edge's receiver.
    """

    edges: torch.Tensor
    path: Path = field(default_factory=Path)


@dataclass(frozen=True, slots=True)
class IndexRole:
    """Role of an index node in a line graph.

    Attributes
    ----------
    name : str
        Name of the relation between rows and table; "choice" where both are the same edge, "ends" where the table holds
        atoms, "" where the relation is unknown.
    path : Path
        Displacement from each row to its row of the table.
    doubtful : bool
        See `fluxan.flux.paths.Relation`.
    """

    name: str
    path: Path = field(default_factory=Path)
    doubtful: bool = False


class LineGraph:
    """Roles of the index nodes of a forward pass.

    Parameters
    ----------
    nodes : sequence of torch.autograd.graph.Node
        Nodes between the energies and the displacements, each after the nodes that it depends on.
    graph : Graph
        The graph that was evaluated.
    leaf : (n_atoms, 3) tensor
        Displacements.

    Attributes
    ----------
    maps : dict of node to RowMap
        Index nodes that can be read as maps of rows.
    roles : dict of node to IndexRole
        Roles of those that could be resolved.
    passes_between_edges : bool
        Whether some index relates different edges, or makes undirected bonds.
    """

    def __init__(self, nodes: Sequence[Any], graph: Graph, leaf: torch.Tensor) -> None:
        self._graph = graph
        self._target = get_gradient_edge(leaf).node
        kinds = {node: kind_of(node) for node in nodes}
        read = {node: row_map(node, kind) for node, kind in kinds.items() if kind in GATHERS or kind in SCATTERS}
        self.maps = {node: found for node, found in read.items() if found is not None}
        self._groups = _Groups(nodes, kinds, self._target)
        self._atoms: set[Key] = set()
        self._columns: dict[Key, list[Column]] = {}
        self._known: dict[tuple[object, ...], IndexRole] = {}
        self._kept: list[torch.Tensor] = []  # keeps tensors alive, whose addresses are keys of `_known`
        self.roles: dict[Any, IndexRole] = {}
        self.passes_between_edges = False
        self._follow()

    def rows_of(self, found: RowMap) -> Key:
        """Key of the rows of an index node."""
        return self._groups.of(found.rows), len(found.index)

    def table_of(self, found: RowMap) -> Key:
        """Key of the table of an index node."""
        return self._groups.of(found.table), found.n_table

    def knows(self, node: Any) -> bool:
        """Whether an index node was resolved, or its rows are edges and its table is not known to hold atoms."""
        found = self.maps.get(node)
        if found is None or node in self.roles:
            return found is not None
        return self.rows_of(found) in self._columns and self.table_of(found) not in self._atoms

    def _follow(self) -> None:
        """Resolve index nodes one by one; where none can be resolved, assume a table of undirected bonds and go on.

        Tables of directed edges come before those of undirected bonds, which have fewer rows: they determine the ends
        of an angle. An index of atoms comes after those of edges, since it is compared with all edges of a row.
        """
        pending = sorted(self.maps.values(), key=lambda found: -found.n_table)
        for found in pending:
            self._start_rows(found)
        steps = (self._resolve_edges, self._resolve_atoms, self._start_table)
        while True:
            done = next((found for step in steps for found in pending if step(found)), None)
            if done is None:
                break
            pending = [found for found in pending if found.node not in self.roles]

    def _resolve_edges(self, found: RowMap) -> bool:
        """Resolve an index whose table holds edges; returns whether it does."""
        rows, table = self.rows_of(found), self.table_of(found)
        if table not in self._columns:
            return False
        index = found.index
        if rows not in self._columns:
            source = self._columns[table][0]
            self._columns[rows] = [Column(source.edges[index], source.path.at(index))]
            self.roles[found.node] = IndexRole("choice")
            return True
        key = (rows, table, index.data_ptr(), index.stride(), index.dtype)
        if key not in self._known:
            self._known[key] = self._relate(rows, self._columns[table][0], index)
            self._kept.append(index)
        self.roles[found.node] = self._known[key]
        return True

    def _resolve_atoms(self, found: RowMap) -> bool:
        """Resolve an index whose table holds the atoms at the ends of its rows' edges; returns whether it does."""
        rows, table = self.rows_of(found), self.table_of(found)
        if found.n_table != self._graph.n_atoms or table in self._columns or rows not in self._columns:
            return False
        ways = [
            column.path + way
            for column in self._columns[rows]
            for way in ends_of(self._graph, found.index, column.edges)
        ]
        if not ways:
            return False
        self._atoms.add(table)
        decided = agree(self._graph, ways)
        self.roles[found.node] = IndexRole("ends" if decided else "undecided", ways[0], doubtful=not decided)
        return True

    def _relate(self, rows: Key, table: Column, index: torch.Tensor) -> IndexRole:
        """Relation of rows to a table of edges, for every edge to which a row is known to correspond."""
        edges, offset = table.edges[index], table.path.at(index)
        known = self._columns[rows]
        found: list[tuple[Relation, Path]] = []
        for column in known:
            if torch.equal(column.edges, edges):
                return IndexRole("choice", column.path - offset)
            relation = relate(self._graph, column.edges, edges)
            found += [(relation, column.path + relation.path)] if relation.name else []
        self.passes_between_edges = True
        # One rule for all rows takes precedence over a rule for each row.
        found = [f for f in found if f[0].name not in ("mixed", "undecided")] or found
        if not found:
            return IndexRole("")
        relation, path = found[0]
        decided = relation.name != "undecided" and agree(self._graph, [p for _, p in found])
        if decided:
            known.append(Column(edges, path))
        doubtful = not decided or all(r.doubtful for r, _ in found)
        return IndexRole(relation.name if decided else "undecided", path - offset, doubtful)

    def _start_rows(self, found: RowMap) -> None:
        """Identify rows as the edges in order where an index of atoms equals all senders or all receivers."""
        if found.n_table != self._graph.n_atoms or len(found.index) != self._graph.n_edges:
            return
        every = torch.arange(self._graph.n_edges, device=found.index.device)
        if ends_of(self._graph, found.index, every):
            self._atoms.add(self.table_of(found))
            self._columns.setdefault(self.rows_of(found), [Column(every)])

    def _start_table(self, found: RowMap) -> bool:
        """Assume that a table holds undirected bonds, each at the place of the first edge that refers to it."""
        rows, table = self.rows_of(found), self.table_of(found)
        if rows not in self._columns or table in self._atoms or table in self._columns or not found.n_table:
            return False
        index = found.index
        first = torch.full((found.n_table,), len(index), device=index.device)
        first.scatter_reduce_(0, index.long(), torch.arange(len(index), device=index.device), "amin")
        if bool((first == len(index)).any()):
            return False
        source = self._columns[rows][0]
        self._columns[table] = [Column(source.edges[first], source.path.at(first))]
        self.passes_between_edges = True
        return True


class _Groups:
    """Groups of autograd nodes that are connected by operations which keep rows (disjoint sets)."""

    def __init__(self, nodes: Sequence[Any], kinds: dict[Any, str], target: Any) -> None:
        self._parent: dict[Any, Any] = {node: node for node in (*nodes, target)}
        for node in nodes:
            below = [child for child, _ in node.next_functions]
            if kinds[node] in GATHERS:
                below = []
            elif kinds[node] in SCATTERS:
                below = below[:1]
            for child in below:
                if child in self._parent:
                    self._parent[self.of(child)] = self.of(node)

    def of(self, node: Any) -> Any:
        """Node that represents the group of a node."""
        while self._parent.get(node, node) is not node:
            self._parent[node] = self._parent.get(self._parent[node], self._parent[node])
            node = self._parent[node]
        return node
