"""Behler-Parrinello potentials: a small network per element on the symmetry functions of each atom."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any, ClassVar

import torch

from fluxan.errors import ModelError
from fluxan.potentials.descriptor_potential import DescriptorPotential

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from fluxan.potentials.symmetry_functions import SymmetryFunctions
    from fluxan.system import Graph

ACTIVATIONS = {"tanh": torch.nn.Tanh, "silu": torch.nn.SiLU}
#: Smallest standard deviation by which a descriptor is divided. Descriptors are sums of terms up to 1: one that varies
#: less in the structures seen, divided by its deviation, would rule the energy of any other structure.
MIN_SCALE = 1e-4
#: A descriptor whose standard deviation is smaller, relative to its mean, varies by round-off alone: it is constant.
CONSTANT = 1e-12


class BehlerParrinello(DescriptorPotential):
    """U_i = offset_z + energy_scale_z · network_z((D_i − mean_z) / scale_z), z being the element of atom i [1]_.

    Parameters
    ----------
    functions : SymmetryFunctions or mapping
        The descriptors D, or their settings.
    hidden : sequence of int
        Number of neurons in each hidden layer.
    activation : {"tanh", "silu"}
        Nonlinearity after each hidden layer; both are smooth.
    seed : int
        Seed of the initial weights.

    Attributes
    ----------
    mean, scale : (n_elements, n_features) tensors
        Mean and standard deviation of the descriptors of atoms of each element, see `standardise`.
    energy_scale : (n_elements,) tensor
        Unit of each network's output, eV.
    networks : torch.nn.ModuleList
        The network of each element.

    Raises
    ------
    ModelError
        An argument cannot be used.

    References
    ----------
    .. [1] J. Behler and M. Parrinello, Phys. Rev. Lett. 98, 146401 (2007).
    """

    kind: ClassVar[str] = "behler-parrinello"
    mean: torch.Tensor
    scale: torch.Tensor
    energy_scale: torch.Tensor

    def __init__(
        self,
        functions: SymmetryFunctions | Mapping[str, Any],
        *,
        hidden: Sequence[int] = (20, 20),
        activation: str = "tanh",
        seed: int = 0,
    ) -> None:
        super().__init__(functions)
        if activation not in ACTIVATIONS:
            raise ModelError(f"activation is {activation!r}; expected one of {', '.join(ACTIVATIONS)}")
        if not all(isinstance(n, int) and n > 0 for n in hidden):
            raise ModelError(f"hidden is {list(hidden)!r}; expected the number of neurons in each hidden layer")
        self.hyperparameters |= {"hidden": list(hidden), "activation": activation}
        n_elements, n_features = len(self.elements), self.functions.n_features
        self.register_buffer("mean", torch.zeros(n_elements, n_features, dtype=torch.float64))
        self.register_buffer("scale", torch.ones(n_elements, n_features, dtype=torch.float64))
        self.register_buffer("energy_scale", torch.ones(n_elements, dtype=torch.float64))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.networks = torch.nn.ModuleList(
                _network((n_features, *hidden, 1), activation) for _ in range(n_elements)
            )
        self.eval()

    def energies_of(self, descriptors: torch.Tensor, species: torch.Tensor) -> torch.Tensor:
        """Atomic energies, (n_atoms,) eV, from symmetry functions and indices of elements."""
        inputs = (descriptors - self.mean[species]) / self.scale[species]
        output = inputs.new_zeros(len(inputs))
        for k, network in enumerate(self.networks):
            atoms = (species == k).nonzero().squeeze(1)
            output = output.index_copy(0, atoms, network(inputs.index_select(0, atoms)).squeeze(1))
        return self.offsets[species] + self.energy_scale[species] * output

    @torch.no_grad()
    def standardise(self, graphs: Iterable[Graph]) -> None:
        """Set `mean` and `scale` to mean and standard deviation of the descriptors of the atoms in some graphs.

        A descriptor that is constant keeps its unit, scale 1; no other is divided by less than `MIN_SCALE`. An element
        that no graph contains keeps mean 0 and scale 1.

        Parameters
        ----------
        graphs : iterable of Graph
            Structures to learn from.
        """
        n_atoms = torch.zeros(len(self.elements), 1).to(self.mean)
        mean, squares = torch.zeros_like(self.mean), torch.zeros_like(self.mean)
        for given in graphs:
            graph = given.to(dtype=self.mean.dtype, device=self.mean.device)
            descriptors, species = self.functions(graph), self.functions.species_of(graph)
            for k in species.unique().tolist():
                # Merge the mean and the sum of squared deviations of this graph with those of the graphs before.
                part = descriptors[species == k]
                step = part.mean(dim=0) - mean[k]
                total = n_atoms[k] + len(part)
                squares[k] += (part - part.mean(dim=0)).square().sum(dim=0) + step**2 * n_atoms[k] * len(part) / total
                mean[k] += step * len(part) / total
                n_atoms[k] = total
        deviation = (squares / n_atoms.clamp(min=1)).sqrt()
        constant = deviation <= CONSTANT * mean.abs()
        self.mean.copy_(mean)
        self.scale.copy_(torch.where(constant, 1.0, deviation.clamp(min=MIN_SCALE)))


def _network(sizes: Sequence[int], activation: str) -> torch.nn.Sequential:
    """Linear layers with a nonlinearity after each but the last."""
    layers: list[torch.nn.Module] = []
    for n_in, n_out in pairwise(sizes):
        layers += [torch.nn.Linear(n_in, n_out, dtype=torch.float64), ACTIVATIONS[activation]()]
    return torch.nn.Sequential(*layers[:-1])
