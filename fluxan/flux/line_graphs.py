"""Line graphs: models whose messages pass from edge to edge, over angles, bonds without direction, or reversed edges.

Rows of data belong together where operations that keep rows connect them. Each such group of rows is followed from the
edge vectors up: a row stands for an edge, and the first index that makes it says which. Every further index then
relates the row's edge to another one with which it shares an atom, and so gives the displacement between the two.
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

#: Rows that belong together: their group in the autograd graph, and their number.
Key = tuple[Any, int]


@dataclass(slots=True)
class Column:
    """One edge per row, and the displacement from where the row is to the edge's receiver."""

    edges: torch.Tensor
    path: Path = field(default_factory=Path)


@dataclass(frozen=True, slots=True)
class IndexRole:
    """What an index node is.

    Attributes
    ----------
    name : of the relation, for the signature; "ends" where the table is atoms, "" where it is unknown
    path : displacement from the row to the table's row
    doubtful : see `fluxan.flux.paths.Relation`
    """

    name: str
    path: Path = field(default_factory=Path)
    doubtful: bool = False


class LineGraph:
    """Displacements of every index node of a forward pass.

    Parameters
    ----------
    nodes : autograd nodes between the energies and the displacements, each after those below it
    graph : Graph
    leaf : (n_atoms, 3)

    Attributes
    ----------
    maps : index nodes that can be read, by node
    roles : of these, as far as they could be resolved
    passes_between_edges : whether anything was found that only a line graph has
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
        self._kept: list[torch.Tensor] = []  # so that no address is used twice
        self.roles: dict[Any, IndexRole] = {}
        self.passes_between_edges = False
        self._follow()

    def rows_of(self, found: RowMap) -> Key:
        """Group of the rows of an index node."""
        return self._groups.of(found.rows), len(found.index)

    def table_of(self, found: RowMap) -> Key:
        """Group of its table."""
        return self._groups.of(found.table), found.n_table

    def knows(self, node: Any) -> bool:
        """Whether an index node was resolved, or leads from rows of edges to what is not known to be atoms."""
        found = self.maps.get(node)
        if found is None or node in self.roles:
            return found is not None
        return self.rows_of(found) in self._columns and self.table_of(found) not in self._atoms

    def _follow(self) -> None:
        """Resolve what can be; where nothing can, assume one thing and go on.

        Directed edges go before bonds without direction, of which there are fewer: they fix the ends of an angle.
        Atoms wait for the edges of a row, all of which their index is compared with.
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
        """Relate rows to a table of edges."""
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
        """Relate rows to atoms at the ends of their edges."""
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
        """How rows lie to the rows of a table of edges, by every edge that is known of the row."""
        edges, offset = table.edges[index], table.path.at(index)
        known = self._columns[rows]
        found: list[tuple[Relation, Path]] = []
        for column in known:
            if torch.equal(column.edges, edges):
                return IndexRole("choice", column.path - offset)
            relation = relate(self._graph, column.edges, edges)
            found += [(relation, column.path + relation.path)] if relation.name else []
        self.passes_between_edges = True
        # A rule for all rows goes before one for each.
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
        """Take rows for all edges in their order where an index of atoms says so."""
        if found.n_table != self._graph.n_atoms or len(found.index) != self._graph.n_edges:
            return
        every = torch.arange(self._graph.n_edges, device=found.index.device)
        if ends_of(self._graph, found.index, every):
            self._atoms.add(self.table_of(found))
            self._columns.setdefault(self.rows_of(found), [Column(every)])

    def _start_table(self, found: RowMap) -> bool:
        """Take each row of a table (a bond without direction) for the first edge that leads to it."""
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
    """Autograd nodes that operations which keep rows connect."""

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
        """Any one node that stands for the group."""
        while self._parent.get(node, node) is not node:
            self._parent[node] = self._parent.get(self._parent[node], self._parent[node])
            node = self._parent[node]
        return node
