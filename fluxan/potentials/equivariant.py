"""A thin equivariant message-passing network: scalar and vector features, any number of layers and elements.

Messages follow PaiNN (Schütt, Unke, Gastegger, ICML 2021, arXiv:2102.03150, eqs. 7-10) with radial Bessel functions
and the polynomial cutoff of DimeNet (Gasteiger, Groß, Günnemann, ICLR 2020, arXiv:2003.03123, eqs. 7-8). Norms of
vectors are squared, so that all derivatives exist where a vector is zero.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any, cast

import torch

from fluxan.errors import ModelError
from fluxan.potentials.base import Potential
from fluxan.potentials.model_file import load_trained
from fluxan.units import COULOMB, LENGTH

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from fluxan.system import Graph

#: Entry ``kind`` of the metadata of a safetensors file that holds such a network.
KIND = "equivariant"


class EquivariantNetwork(Potential):
    """Energies ``U_i = scale_z · readout(features_i) + shift_z``, z being the element of atom i.

    They are smooth at the cutoff and can be differentiated twice.

    Parameters
    ----------
    elements : sequence of int
        Atomic numbers that the network knows.
    cutoff : float
        Length of the longest edge, Å.
    n_layers : int
        Number of message-passing layers: U_i depends on atoms up to `n_layers` edges away.
    n_features : int
        Number of scalar features, and of vector features, per atom.
    n_basis : int
        Number of radial functions.
    n_neighbors : float
        Typical number of neighbours; sums over neighbours are divided by its square root.
    zbl : bool
        Add the Ziegler-Biersack-Littmark repulsion of bare nuclei within the sum of their covalent radii.
    seed : int
        Seed of the initial weights.
    """

    species: torch.Tensor
    scale: torch.Tensor
    shift: torch.Tensor
    frequencies: torch.Tensor

    def __init__(
        self,
        elements: Sequence[int],
        *,
        cutoff: float = 5.0,
        n_layers: int = 2,
        n_features: int = 32,
        n_basis: int = 8,
        n_neighbors: float = 30.0,
        zbl: bool = False,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.elements = tuple(sorted({int(z) for z in elements}))
        self.cutoff, self.n_hops = float(cutoff), n_layers
        self.hyperparameters: dict[str, Any] = {
            "elements": list(self.elements),
            "cutoff": self.cutoff,
            "n_layers": n_layers,
            "n_features": n_features,
            "n_basis": n_basis,
            "n_neighbors": n_neighbors,
            "zbl": zbl,
        }
        species = torch.full((119,), -1)
        species[list(self.elements)] = torch.arange(len(self.elements))
        self.register_buffer("species", species, persistent=False)
        self.register_buffer("scale", torch.ones(len(self.elements), dtype=torch.float64))
        self.register_buffer("shift", torch.zeros(len(self.elements), dtype=torch.float64))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.embedding = torch.nn.Embedding(len(self.elements), n_features)
            self.layers = torch.nn.ModuleList(
                Layer(n_features, n_basis, n_neighbors, first=k == 0) for k in range(n_layers)
            )
            self.readout = perceptron(n_features, n_features, 1)
        self.core = Core() if zbl else None
        frequencies = math.pi / self.cutoff * torch.arange(1, n_basis + 1, dtype=torch.float64)
        self.register_buffer("frequencies", frequencies, persistent=False)
        self.to(torch.float64).eval()

    def forward(self, graph: Graph) -> torch.Tensor:
        """Atomic energies U_i, (n_atoms,) eV."""
        species = self.species[graph.numbers]
        if (species < 0).any():
            unknown = sorted(set(graph.numbers[species < 0].tolist()))
            raise ModelError(f"the network knows the atomic numbers {self.elements}, not {unknown}")
        r = graph.r_ij.norm(dim=1, keepdim=True)
        direction = graph.r_ij / r
        basis = smooth_step(r / self.cutoff) * torch.sin(self.frequencies * r) / r
        scalars = self.embedding(species)
        vectors = scalars.new_zeros(graph.n_atoms, 3, scalars.shape[1])
        for layer in self.layers:
            scalars, vectors = layer(graph, basis, direction, scalars, vectors)
        energies = self.scale[species] * self.readout(scalars)[:, 0] + self.shift[species]
        return energies if self.core is None else energies + self.core(graph, r[:, 0])

    def save(self, path: str | Path) -> None:
        """Write weights and hyperparameters to a safetensors file."""
        from safetensors.torch import save_file

        tensors = {name: tensor.contiguous() for name, tensor in self.state_dict().items()}
        save_file(tensors, path, metadata={"kind": KIND, "hyperparameters": json.dumps(self.hyperparameters)})


def load(path: str | Path) -> EquivariantNetwork:
    """Read a network that `EquivariantNetwork.save` wrote.

    Parameters
    ----------
    path : str or Path
        A safetensors file.

    Raises
    ------
    FileError
        The file is missing or is not a safetensors file.
    ModelError
        It does not hold such a network.
    """
    return cast("EquivariantNetwork", load_trained(path, kind=KIND))


class Layer(torch.nn.Module):
    """Messages along edges, then an update of each atom; in the `first` layer there are no vector features yet."""

    def __init__(self, n_features: int, n_basis: int, n_neighbors: float, *, first: bool) -> None:
        super().__init__()
        self.first, self.norm = first, n_neighbors**-0.5
        self.n_parts = 2 if first else 3
        self.source = perceptron(n_features, n_features, self.n_parts * n_features)
        self.filter = torch.nn.Linear(n_basis, self.n_parts * n_features, bias=False)
        self.mix = torch.nn.Linear(n_features, 2 * n_features, bias=False)
        self.update = perceptron(2 * n_features, n_features, 3 * n_features)

    def forward(
        self,
        graph: Graph,
        basis: torch.Tensor,
        direction: torch.Tensor,
        scalars: torch.Tensor,
        vectors: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Compute new scalars (n_atoms, n_features) and vectors (n_atoms, 3, n_features)."""
        senders, receivers = graph.senders, graph.receivers
        # Messages: scalars and vectors of an edge, from the sender's features and the radial functions.
        message = self.filter(basis) * self.source(scalars).index_select(0, senders)
        parts = message.chunk(self.n_parts, dim=1)
        arrows = parts[1][:, None, :] * direction[:, :, None]
        if not self.first:
            arrows = arrows + parts[2][:, None, :] * vectors.index_select(0, senders)
        # Sums over the edges of each receiver.
        scalars = scalars.index_add(0, receivers, self.norm * parts[0])
        vectors = vectors.index_add(0, receivers, self.norm * arrows)
        # Update: scalars and vectors of an atom are mixed through products that are invariant under rotation.
        left, right = self.mix(vectors).chunk(2, dim=2)
        a, b, c = self.update(torch.cat([scalars, (right * right).sum(dim=1)], dim=1)).chunk(3, dim=1)
        return scalars + a + b * (left * right).sum(dim=1), vectors + c[:, None, :] * left


class Core(torch.nn.Module):
    """Screened repulsion of nuclei (Ziegler, Biersack, Littmark 1985), cut off at the sum of the covalent radii."""

    COEFFICIENTS = (0.18175, 0.50986, 0.28022, 0.02817)
    EXPONENTS = (3.19980, 0.94229, 0.40290, 0.20162)
    radii: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        from ase.data import covalent_radii

        self.register_buffer("radii", torch.as_tensor(covalent_radii), persistent=False)

    def forward(self, graph: Graph, r: torch.Tensor) -> torch.Tensor:
        """Energy of each atom, half of every pair's, (n_atoms,) eV."""
        first, second = graph.numbers[graph.receivers], graph.numbers[graph.senders]
        z1, z2 = first.to(r), second.to(r)
        x = r * (z1**0.23 + z2**0.23) / (0.8854 * LENGTH["bohr"])
        screening = sum(c * torch.exp(-d * x) for c, d in zip(self.COEFFICIENTS, self.EXPONENTS, strict=True))
        pair = COULOMB * z1 * z2 / r * screening * smooth_step(r / (self.radii[first] + self.radii[second]))
        return pair.new_zeros(graph.n_atoms).index_add(0, graph.receivers, 0.5 * pair)


def perceptron(n_in: int, n_hidden: int, n_out: int) -> torch.nn.Sequential:
    """Two linear layers with a smooth nonlinearity between them."""
    return torch.nn.Sequential(torch.nn.Linear(n_in, n_hidden), torch.nn.SiLU(), torch.nn.Linear(n_hidden, n_out))


def smooth_step(x: torch.Tensor) -> torch.Tensor:
    """Smooth step from 1 at x = 0 to 0 at x = 1, where its first and second derivative vanish too; 0 beyond."""
    x = x.clamp(max=1.0)
    return 1 - x**6 * (28 - 48 * x + 21 * x**2)
