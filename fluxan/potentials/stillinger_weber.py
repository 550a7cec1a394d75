"""The Stillinger-Weber potential: pair terms, and triplet terms whose energy is assigned to the centre atom."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import torch

from fluxan.errors import ModelError
from fluxan.potentials.elements import ElementPotential
from fluxan.potentials.parameters import (
    Parameter,
    Row,
    elements_of,
    label_of,
    read_elements,
    read_pairs,
    read_row,
    require_all_pairs,
)
from fluxan.potentials.triplets import edge_pairs

if TYPE_CHECKING:
    from fluxan.system import Graph

Triplet = tuple[int, int, int]

PAIR_PARAMETERS = {
    "epsilon": Parameter(unit="eV", non_negative=True),
    "sigma": Parameter(unit="Å", positive=True),
    "a": Parameter(positive=True),
    "gamma": Parameter(non_negative=True),
    "A": Parameter(),
    "B": Parameter(),
    "p": Parameter(),
    "q": Parameter(),
}
TRIPLET_PARAMETERS = {
    "epsilon": Parameter(unit="eV", non_negative=True),
    "lambda": Parameter(non_negative=True),
    "cos_theta0": Parameter(),
}


class Bonds(NamedTuple):
    """Edges shorter than the cutoff of their pair of elements, with the data that both kinds of terms use.

    Attributes
    ----------
    edges : (n_bonds,) int64 tensor
        Indices of these edges in the graph.
    receivers : (n_bonds,) int64 tensor
        Centre atom of each bond.
    r, directions : (n_bonds,) and (n_bonds, 3) tensors
        Length, Å, and unit vector of r_ij.
    pair : PairColumns
        Parameters of each bond, (n_bonds,) each.
    species : two (n_bonds,) int64 tensors
        Indices of the elements of receivers and of senders.
    """

    edges: torch.Tensor
    receivers: torch.Tensor
    r: torch.Tensor
    directions: torch.Tensor
    pair: PairColumns
    species: tuple[torch.Tensor, torch.Tensor]


class PairColumns(NamedTuple):
    """Rows of the pair table: φ₂ = strength (repulsion r⁻ᵖ − attraction r⁻ᑫ) exp(sigma/(r − cutoff)).

    `strength` is Aε, eV; `repulsion` Bσᵖ and `attraction` σᑫ; `cutoff` aσ, `sigma` σ and `reach` γσ, Å.
    """

    cutoff: torch.Tensor
    strength: torch.Tensor
    repulsion: torch.Tensor
    p: torch.Tensor
    attraction: torch.Tensor
    q: torch.Tensor
    sigma: torch.Tensor
    reach: torch.Tensor


class StillingerWeber(ElementPotential):
    """U_i = ½ Σ_j φ₂(r_ij) + Σ_{j<k} φ₃(r_ij, r_ik, θ_jik) [1]_.

    φ₂ = A ε [B (σ/r)ᵖ − (σ/r)ᑫ] exp(σ/(r − aσ)),
    φ₃ = λ ε (cos θ − cos θ₀)² exp(γσ/(r_ij − aσ)) exp(γσ/(r_ik − aσ)),
    where σ, a, γ are those of the pairs ij and ik, and λ, ε, cos θ₀ in φ₃ those of the triplet.

    Parameters
    ----------
    pairs : mapping of str to mapping
        For each pair of elements ``{"Si-Si": {"epsilon": eV, "sigma": Å, "a", "gamma", "A", "B", "p", "q"}}``.
    triplets : mapping of str to mapping
        For each triplet, centre first, ``{"Si-Si-Si": {"epsilon": eV, "lambda", "cos_theta0"}}``; the outer two in
        either order.

    Raises
    ------
    ModelError
        A parameter is missing or cannot be used; the message names its key.

    References
    ----------
    .. [1] F. H. Stillinger and T. A. Weber, Phys. Rev. B 31, 5262 (1985).
    """

    kind: ClassVar[str] = "stillinger-weber"
    pair_table: torch.Tensor
    triplet_table: torch.Tensor

    def __init__(
        self, *, pairs: Mapping[str, Mapping[str, float]], triplets: Mapping[str, Mapping[str, float]]
    ) -> None:
        rows = read_pairs(pairs, PAIR_PARAMETERS)
        require_all_pairs(rows)
        super().__init__(elements_of(rows))
        self.rows = rows
        self.triplets = read_triplets(triplets, self.elements)
        self.cutoff = max(row["a"] * row["sigma"] for row in rows.values())
        columns = [_pair_columns(rows[min(i, j), max(i, j)]) for i in self.elements for j in self.elements]
        self.register_buffer("pair_table", torch.tensor(columns, dtype=torch.float64).T.contiguous())
        centred = [self.triplets[_key(i, j, k)] for i in self.elements for j in self.elements for k in self.elements]
        angular = [(row["lambda"] * row["epsilon"], row["cos_theta0"]) for row in centred]
        self.register_buffer("triplet_table", torch.tensor(angular, dtype=torch.float64).T.contiguous())

    def forward(self, graph: Graph) -> torch.Tensor:
        """Atomic energies, (n_atoms,) eV, by formulas that autograd can follow."""
        bonds = self._bonds(graph)
        r, pair = bonds.r, bonds.pair
        power = pair.repulsion * r**-pair.p - pair.attraction * r**-pair.q
        pair_energy = 0.5 * pair.strength * power * torch.exp(pair.sigma / (r - pair.cutoff))
        first, second = edge_pairs(bonds.receivers, graph.n_atoms)
        strength, cos_theta0 = self._angular(bonds, first, second)
        nearness = torch.exp(pair.reach / (r - pair.cutoff))
        cos_theta = (bonds.directions[first] * bonds.directions[second]).sum(-1)
        triplet_energy = strength * (cos_theta - cos_theta0) ** 2 * nearness[first] * nearness[second]
        energies = graph.r_ij.new_zeros(graph.n_atoms).index_add(0, bonds.receivers, pair_energy)
        return energies.index_add(0, bonds.receivers[first], triplet_energy)

    @torch.no_grad()
    def pair_forces(self, graph: Graph) -> tuple[torch.Tensor, torch.Tensor]:
        """Return U_i, (n_atoms,) eV, and g_ij, (n_edges, 3) eV/Å, in closed form."""
        bonds = self._bonds(graph)
        energies = graph.r_ij.new_zeros(graph.n_atoms)
        energy, slope = _half_pair_terms(bonds.r, bonds.pair)
        energies.index_add_(0, bonds.receivers, energy)
        g = slope[:, None] * bonds.directions
        self._add_triplets(bonds, energies, g)
        return energies, torch.zeros_like(graph.r_ij).index_copy_(0, bonds.edges, g)

    def settings(self) -> dict[str, object]:
        """Keys of the TOML file that makes this model again."""
        return {
            "kind": self.kind,
            "pairs": {label_of(*pair): row for pair, row in self.rows.items()},
            "triplets": {label_of(*triplet): row for triplet, row in self.triplets.items()},
        }

    def _bonds(self, graph: Graph) -> Bonds:
        species = self.species_of(graph)
        x, y, z = graph.r_ij.unbind(-1)
        r = (x * x + y * y + z * z).sqrt()
        centre, outer = species[graph.receivers], species[graph.senders]
        column = centre * len(self.elements) + outer
        # The exponentials are singular at the cutoff and huge beyond it: longer edges must not enter them.
        edges = (r < self.pair_table[0][column]).nonzero().squeeze(1)
        r = r[edges]
        return Bonds(
            edges=edges,
            receivers=graph.receivers[edges],
            r=r,
            directions=graph.r_ij[edges] / r[:, None],
            pair=PairColumns(*self.pair_table[:, column[edges]]),
            species=(centre[edges], outer[edges]),
        )

    def _angular(self, bonds: Bonds, first: torch.Tensor, second: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """λε and cos θ₀ of each triplet."""
        centre, outer = bonds.species
        n = len(self.elements)
        strength, cos_theta0 = self.triplet_table[:, (centre[first] * n + outer[first]) * n + outer[second]]
        return strength, cos_theta0

    def _add_triplets(self, bonds: Bonds, energies: torch.Tensor, g: torch.Tensor) -> None:
        """Add φ₃ to its centre's energy and its derivatives to the g of both bonds."""
        first, second = edge_pairs(bonds.receivers, len(energies))
        strength, cos_theta0 = self._angular(bonds, first, second)
        gap = (bonds.r - bonds.pair.cutoff).reciprocal_()
        logarithm = bonds.pair.reach * gap
        weight = strength * torch.exp(logarithm[first] + logarithm[second])
        # Logarithmic derivative of each bond's factor exp(γσ/(r − aσ)), 1/Å.
        decay = -logarithm * gap
        along, across = bonds.directions[first], bonds.directions[second]
        cos_theta = (along * across).sum(-1)
        excess = cos_theta - cos_theta0
        energy = weight * excess * excess
        energies.index_add_(0, bonds.receivers[first], energy)
        # Derivatives with respect to both bond vectors: along each bond, and across it through cos θ.
        torque = 2.0 * weight * excess
        for bond, own, other in ((first, along, across), (second, across, along)):
            turn = torque / bonds.r[bond]
            stretch = energy * decay[bond] - turn * cos_theta
            g.index_add_(0, bond, turn[:, None] * other + stretch[:, None] * own)


def read_triplets(triplets: object, elements: tuple[int, ...]) -> dict[Triplet, Row]:
    """Check the table of triplets, which must hold all triplets of `elements` once.

    Returns rows by (centre, outer, outer), the atomic numbers of the outer elements ascending.
    """
    if not isinstance(triplets, Mapping):
        raise ModelError(
            f"triplets must be a table like Si-Si-Si = {{ {', '.join(TRIPLET_PARAMETERS)} }}, centre first"
        )
    rows: dict[Triplet, Row] = {}
    labels: dict[Triplet, str] = {}
    for label, values in triplets.items():
        centre, *outer = read_elements(label, 3, "triplets")
        key = _key(centre, *outer)
        if key in rows:
            raise ModelError(f"triplets.{label} repeats triplets.{labels[key]}; give each triplet once, centre first")
        if not set(key) <= set(elements):
            raise ModelError(f"triplets.{label} names an element that no pair contains")
        rows[key] = read_row(values, TRIPLET_PARAMETERS, f"triplets.{label}")
        labels[key] = label
    for key in (_key(i, j, k) for i in elements for j in elements for k in elements):
        if key not in rows:
            raise ModelError(f"triplets.{label_of(*key)} is missing (centre first)")
    return dict(sorted(rows.items()))


def _key(centre: int, first: int, second: int) -> Triplet:
    return centre, min(first, second), max(first, second)


def _pair_columns(row: Row) -> tuple[float, ...]:
    """Parameters of a pair of elements, in the order of `PairColumns`."""
    sigma, p, q = row["sigma"], row["p"], row["q"]
    strength = row["A"] * row["epsilon"]
    return row["a"] * sigma, strength, row["B"] * sigma**p, p, sigma**q, q, sigma, row["gamma"] * sigma


def _half_pair_terms(r: torch.Tensor, pair: PairColumns) -> tuple[torch.Tensor, torch.Tensor]:
    """½φ₂, eV, and ½φ₂', eV/Å, of bonds."""
    gap = (r - pair.cutoff).reciprocal_()
    envelope = 0.5 * pair.strength * torch.exp(pair.sigma * gap)
    repulsion = pair.repulsion * r**-pair.p
    attraction = pair.attraction * r**-pair.q
    energy = envelope * (repulsion - attraction)
    slope = envelope * (pair.q * attraction - pair.p * repulsion) / r - energy * pair.sigma * gap * gap
    return energy, slope
