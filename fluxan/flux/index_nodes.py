"""Reads the nodes of an autograd graph that gather or scatter rows by an index, and the indices that they save.

A node named ``IndexSelectBackward0``, for example, is that of ``x.index_select(dim, index)`` and has the attributes
``_saved_index``, ``_saved_dim`` and ``_saved_self_sym_sizes``; ``next_functions`` are the nodes of its inputs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch.autograd.graph import Node, get_gradient_edge

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Operations that read rows by an index, and that write or add them.
GATHERS = ("Index", "IndexSelect", "Gather", "Embedding")
SCATTERS = ("IndexAdd", "ScatterAdd", "Scatter", "ScatterReduce", "IndexPut")


def nodes_between(energies: torch.Tensor, leaf: torch.Tensor) -> list[Node]:
    """Nodes on all paths from the energies down to the leaf, each after the nodes that it depends on."""
    order = _post_order(get_gradient_edge(energies).node)
    target = get_gradient_edge(leaf).node
    leads = {target}
    for node in order:
        if any(below in leads for below, _ in node.next_functions):
            leads.add(node)
    return [node for node in order if node in leads and node is not target]


def _post_order(root: Node) -> list[Node]:
    """The root and all nodes that it depends on, each after the nodes that it depends on."""
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


def kind_of(node: Node) -> str:
    """Name of the operation: 'IndexAdd' for 'torch::autograd::IndexAddBackward0'."""
    return node.name().rsplit("::", 1)[-1].partition("Backward")[0]


def saved_indices(node: Any, kind: str) -> Sequence[tuple[torch.Tensor, int]]:
    """Index tensors of a node, each with the number of dimensions of the edge data after those of the index."""
    n_dims = len(output_shape(node))
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
    """Index tensors of ``x[a, :, b]``, broadcast against each other as in indexing."""
    places = [k for k, index in enumerate(indices) if index is not None]
    tensors = [index for index in indices if index is not None]
    if any(index.dtype in (torch.bool, torch.uint8) for index in tensors):
        return []
    tensors = torch.broadcast_tensors(*tensors)
    # The dimensions of the index replace the indexed ones if these are adjacent; otherwise they come first.
    n_indexed = n_dims - len(places) + tensors[0].ndim if put else n_dims
    together = places == list(range(places[0], places[0] + len(places)))
    trailing = n_indexed - tensors[0].ndim - (places[0] if together else 0)
    return [(index, trailing) for index in tensors]


def output_shape(node: Node) -> Sequence[int]:
    """Shape of the output of a node."""
    return node._input_metadata[0].shape


def positions_of(index: torch.Tensor, length: int) -> torch.Tensor:
    """Convert an index that is a mask, or has negative entries, to integers from 0 to length − 1."""
    return torch.nonzero(index)[:, 0] if index.dtype in (torch.bool, torch.uint8) else index % length


@dataclass(frozen=True, slots=True, eq=False)
class RowMap:
    """An index node as a map from its rows to the rows of a table.

    The rows are the output of a gather, or the data that a scatter adds; the table is the input of a gather, or the
    output of a scatter.

    Attributes
    ----------
    node : torch.autograd.graph.Node
        The node.
    is_gather : bool
        Whether it is a gather.
    index : (n_rows,) int64 tensor
        Row of the table for each row.
    dim : int
        Dimension of the rows, counted from the end.
    rows, table : torch.autograd.graph.Node
        The nodes that computed the rows and the table.
    n_table : int
        Number of rows of the table.
    """

    node: Any
    is_gather: bool
    index: torch.Tensor
    dim: int
    rows: Any
    table: Any
    n_table: int


def row_map(node: Any, kind: str) -> RowMap | None:
    """Map of an index node; None where it indexes several dimensions, or each row differently along the others."""
    is_gather = kind in GATHERS
    slot = 0 if is_gather else 1
    other, output = node.next_functions[slot] if len(node.next_functions) > slot else (None, 0)
    place = _place(node, kind)
    if other is None or place is None:
        return None
    shape = other._input_metadata[output].shape if is_gather else output_shape(node)
    index, dim = place
    index = positions_of(index, shape[dim])
    rows, table = (node, other) if is_gather else (other, node)
    return RowMap(node, is_gather, index, dim, rows, table, int(shape[dim]))


def _place(node: Any, kind: str) -> tuple[torch.Tensor, int] | None:
    """Index (n_rows,) of a node, and the dimension that it runs over, counted from the end."""
    n_dims = len(output_shape(node))
    if kind in ("IndexSelect", "IndexAdd", "Gather", "ScatterAdd", "Scatter", "ScatterReduce"):
        dim = node._saved_dim
        dim = (dim if dim < n_dims else dim - 2**64) % n_dims - n_dims
        index = node._saved_index
        return (index, dim) if index.ndim == 1 else _repeated(index, dim)
    if kind == "Embedding":
        return (node._saved_indices, -2) if node._saved_indices.ndim == 1 else None
    places = [k for k, index in enumerate(node._saved_indices) if index is not None]
    if len(places) != 1 or node._saved_indices[places[0]].ndim != 1:
        return None
    return node._saved_indices[places[0]], places[0] - n_dims


def _repeated(index: torch.Tensor, dim: int) -> tuple[torch.Tensor, int] | None:
    """Reduce an index that was expanded to the shape of the data to (n_rows,); None where it is not constant."""
    along = index.movedim(dim, 0).flatten(start_dim=1)
    if along.shape[1] == 0 or not bool((along == along[:, :1]).all()):
        return None
    return along[:, 0], dim
