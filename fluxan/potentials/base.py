"""The interface of potentials: what the rest of fluxan requires of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from fluxan.system import Graph


class Potential(torch.nn.Module):
    """A model that assigns an energy to every atom.

    A subclass sets `cutoff` (and `n_hops` if it passes messages) and defines `forward`; nothing else is needed. Graphs
    are given to it in the dtype and on the device of its parameters and buffers.

    Attributes
    ----------
    cutoff : float
        Length of the longest edge, Å.
    n_hops : int
        1 for a local model, whose U_i depends on the edges of *i* alone; k for a message-passing model whose U_i
        depends on atoms up to k edges away.
    elements : tuple of int or None
        Atomic numbers that the model knows; None if it takes any.
    """

    cutoff: float
    n_hops: int = 1
    elements: tuple[int, ...] | None = None

    def __init__(self) -> None:
        # Torch modules begin in training mode; here evaluation is the default.
        super().__init__()
        self.eval()

    def forward(self, graph: Graph) -> torch.Tensor:
        """Atomic energies U_i, (n_atoms,) eV, differentiable with respect to ``graph.r_ij``."""
        raise NotImplementedError(f"{type(self).__name__} must define forward(graph) -> (n_atoms,) energies")

    def pair_forces(self, graph: Graph) -> tuple[torch.Tensor, torch.Tensor] | None:
        """Closed forms of U_i, (n_atoms,) eV, and g_ij = ∂U_i/∂r_ij, (n_edges, 3) eV/Å, or None for autograd."""
        return None

    def describe(self) -> str | None:
        """The model as the text of a TOML file that gives it back, or None if it has no such form."""
        return None
