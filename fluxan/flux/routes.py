"""The routes to the potential flux and the atomic virials of a model, by name, and their interface."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from fluxan.flux.adjoint import AdjointRoute
from fluxan.flux.local import LocalRoute
from fluxan.flux.unfolded import UnfoldedRoute

if TYPE_CHECKING:
    import numpy as np

    from fluxan.flux.signature import Signature
    from fluxan.system import Graph


class FluxSource(Protocol):
    """Source of the potential flux of a graph.

    Attributes
    ----------
    name : str
        Name of the route.
    signature : Signature or None
        Signature of the last forward pass; None where the source has none.
    """

    name: str
    signature: Signature | None

    def potential_flux(
        self, graph: Graph, velocities: np.ndarray, groups: np.ndarray, n_groups: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Atomic energies (n_atoms,) eV and virial flux (owners, carriers, 3) eV Å/ps."""


class VirialForceSource(FluxSource, Protocol):
    """Source of the potential flux and of W_jᵀ F_e, the potential part of the driving force of HNEMD."""

    def virial_force(self, graph: Graph, field: np.ndarray) -> np.ndarray:
        """W_jᵀ F_e of every atom for a vector F_e (3,), (n_atoms, 3), in eV times the unit of F_e."""


class Route(VirialForceSource, Protocol):
    """A route to the potential flux and the atomic virials of a model."""

    def atomic_virial(self, graph: Graph) -> tuple[np.ndarray, np.ndarray]:
        """Atomic energies (n_atoms,) eV and W_j (n_atoms, 3, 3) eV."""


ROUTES: dict[str, type[LocalRoute | AdjointRoute | UnfoldedRoute]] = {
    "local": LocalRoute,
    "adjoint": AdjointRoute,
    "unfolded": UnfoldedRoute,
}
