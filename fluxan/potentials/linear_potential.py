"""Linear potentials: atomic energies that are weighted sums of an atom's symmetry functions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import torch

from fluxan.potentials.descriptor_potential import DescriptorPotential

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fluxan.potentials.symmetry_functions import SymmetryFunctions


class LinearPotential(DescriptorPotential):
    """U_i = offset_z + weights_z · D_i, z being the element of atom i.

    Energies, forces and heat flux are linear in `weights` and `offsets`, which least squares can therefore fit to them.

    Parameters
    ----------
    functions : SymmetryFunctions or mapping
        The descriptors D, or their settings.

    Attributes
    ----------
    weights : (n_elements, n_features) parameter
        Weight of each descriptor, eV; zero at first.

    Raises
    ------
    ModelError
        `functions` are not usable.
    """

    kind: ClassVar[str] = "linear"

    def __init__(self, functions: SymmetryFunctions | Mapping[str, Any]) -> None:
        super().__init__(functions)
        shape = len(self.elements), self.functions.n_features
        self.weights = torch.nn.Parameter(torch.zeros(shape, dtype=torch.float64))
        self.eval()

    def energies_of(self, descriptors: torch.Tensor, species: torch.Tensor) -> torch.Tensor:
        """Atomic energies, (n_atoms,) eV, from symmetry functions and indices of elements."""
        return self.offsets[species] + (self.weights[species] * descriptors).sum(dim=1)
