"""Closed form of potentials of radial symmetry functions: pair forces without a graph of derivatives.

``∂U_i/∂r_ij = r̂_ij Σ_k (∂U_i/∂D_ik) G_k'(r_ij)``, with ``G_k(r) = exp(−η (r − r_s)²) f_c(r)``. Autograd takes twice as
long for 108 atoms and 8 functions (`benchmarks/ensemble.py`), most of it overhead of single operations.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import torch

if TYPE_CHECKING:
    from fluxan.potentials.symmetry_functions import SymmetryFunctions
    from fluxan.system import Graph


class RadialTerms(NamedTuple):
    """Radial functions of a graph and their slopes.

    Attributes
    ----------
    descriptors : (n_atoms, n_features) tensor
        D, without unit; elements outside, functions inside.
    slopes : (n_edges, n_functions) tensor
        G_k'(r_ij), 1/Å.
    directions : (n_edges, 3) tensor
        r̂_ij.
    slots : (n_edges,) int64 tensor
        ``receiver * n_elements + element of the sender``.
    """

    descriptors: torch.Tensor
    slopes: torch.Tensor
    directions: torch.Tensor
    slots: torch.Tensor

    def pair_forces(self, gradient: torch.Tensor) -> torch.Tensor:
        """∂U_i/∂r_ij, (..., n_edges, 3) eV/Å, from ∂U_i/∂D_i, (..., n_atoms, n_features) eV."""
        by_slot = gradient.reshape(*gradient.shape[:-2], -1, self.slopes.shape[1])
        along = (by_slot.index_select(-2, self.slots) * self.slopes).sum(dim=-1)
        return along[..., None] * self.directions


def radial_terms(functions: SymmetryFunctions, graph: Graph) -> RadialTerms:
    """Evaluate functions of which none is angular.

    Parameters
    ----------
    functions : SymmetryFunctions
        With radial functions alone.
    graph : Graph
        In their dtype and on their device.

    Raises
    ------
    ModelError
        An atom is of an element that the functions do not know.
    """
    species, n_elements = functions.species_of(graph), len(functions.elements)
    slots = graph.receivers * n_elements + species[graph.senders]
    r = graph.r_ij.norm(dim=1)
    eta, r_s = torch.tensor(functions.radial, dtype=r.dtype, device=r.device).unbind(1)
    inside = r.clamp(max=functions.cutoff) * (math.pi / functions.cutoff)
    f_c, slope_c = 0.5 * (torch.cos(inside) + 1), -0.5 * math.pi / functions.cutoff * torch.sin(inside)
    away = r[:, None] - r_s
    gaussian = torch.exp(-eta * away.square())
    slopes = gaussian * (slope_c[:, None] - 2 * eta * away * f_c[:, None])
    sums = r.new_zeros(graph.n_atoms * n_elements, len(eta)).index_add(0, slots, gaussian * f_c[:, None])
    return RadialTerms(sums.reshape(graph.n_atoms, -1), slopes, graph.r_ij / r[:, None], slots)
