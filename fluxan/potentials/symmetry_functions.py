"""Atom-centred symmetry functions (Behler 2011): descriptors of the neighbourhood of every atom."""

from __future__ import annotations

import math
import operator
from typing import TYPE_CHECKING

import torch

from fluxan.errors import ModelError
from fluxan.potentials.angular_functions import (
    AngularFunctions,
    TripletGeometry,
    cosine_cutoff,
    edge_products,
    slot_sums,
)
from fluxan.potentials.elements import N_ATOMIC_NUMBERS
from fluxan.potentials.parameters import Parameter, label_of, read_number
from fluxan.potentials.triplets import short_triplets

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from fluxan.system import Graph

LENGTH = Parameter(unit="Å", positive=True)
ETA = Parameter(unit="1/Å²", non_negative=True)
RADIAL = {"eta": ETA, "r_s": Parameter(unit="Å", non_negative=True)}
ANGULAR = {"eta": ETA, "zeta": Parameter(positive=True), "lambda": Parameter()}


class SymmetryFunctions(torch.nn.Module):
    """Radial and angular symmetry functions of every atom, by the elements of its neighbours [1]_.

    With f_c(r) = ½ (cos(π r/r_c) + 1) below a cutoff r_c and 0 above (eq. 4), an atom *i* has

    - for each element, G2 = Σ_j exp(−η (r_ij − r_s)²) f_c(r_ij) (eq. 6), with r_c = `cutoff`;
    - for each unordered pair of elements, with r_c = `triplet_cutoff`, sums over unordered pairs of neighbours j, k:
      narrow, G4 = 2^(1−ζ) Σ (1 + λ cos θ_jik)^ζ exp(−η (r_ij² + r_ik² + r_jk²)) f_c(r_ij) f_c(r_ik) f_c(r_jk) (eq. 8);
      wide, G5 = 2^(1−ζ) Σ (1 + λ cos θ_jik)^ζ exp(−η (r_ij² + r_ik²)) f_c(r_ij) f_c(r_ik) (eq. 9).

    They are local: those of *i* depend on the edges of *i* alone. The second derivative of f_c jumps at the cutoff.

    Parameters
    ----------
    elements : sequence of int
        Atomic numbers of atoms and neighbours.
    cutoff : float
        Cutoff of pairs, Å.
    triplet_cutoff : float
        Cutoff of the distances in a triplet, Å, at most `cutoff`.
    radial : sequence of (eta, r_s)
        G2: η, 1/Å², and r_s, Å.
    narrow, wide : sequence of (eta, zeta, lambda)
        G4 and G5: η, 1/Å²; ζ, at least 1; λ, from −1 to 1.

    Attributes
    ----------
    n_features : int
        Number of functions of an atom.
    labels : tuple of str
        What each function is, in the order of the output: G2 by element, then G4, then G5 by pair of elements.

    Raises
    ------
    ModelError
        A parameter cannot be used; the message names it.

    References
    ----------
    .. [1] J. Behler, J. Chem. Phys. 134, 074106 (2011).
    """

    species: torch.Tensor
    pair_table: torch.Tensor

    def __init__(
        self,
        elements: Sequence[int],
        *,
        cutoff: float,
        triplet_cutoff: float,
        radial: Iterable[Sequence[float]] = (),
        narrow: Iterable[Sequence[float]] = (),
        wide: Iterable[Sequence[float]] = (),
    ) -> None:
        super().__init__()
        self.elements = _read_elements(elements)
        self.cutoff = read_number(cutoff, "cutoff", LENGTH)
        self.triplet_cutoff = read_number(triplet_cutoff, "triplet_cutoff", LENGTH)
        if self.triplet_cutoff > self.cutoff:
            raise ModelError(f"triplet_cutoff is {triplet_cutoff} Å, longer than the cutoff of pairs, {cutoff} Å")
        self.radial = _read_rows(radial, "radial", RADIAL)
        self.narrow = AngularFunctions(_read_angular(narrow, "narrow"), narrow=True)
        self.wide = AngularFunctions(_read_angular(wide, "wide"), narrow=False)
        self.labels = tuple(self._make_labels())
        self.n_features = len(self.labels)
        if not self.n_features:
            raise ModelError("there are no symmetry functions: radial, narrow and wide are empty")
        n = len(self.elements)
        species = torch.full((N_ATOMIC_NUMBERS,), -1, dtype=torch.int64)
        species[list(self.elements)] = torch.arange(n)
        self.register_buffer("species", species, persistent=False)
        pairs = torch.zeros((n, n), dtype=torch.int64)
        rows, columns = torch.triu_indices(n, n)
        pairs[rows, columns] = pairs[columns, rows] = torch.arange(len(rows))
        self.register_buffer("pair_table", pairs, persistent=False)
        self.eval()

    def forward(self, graph: Graph) -> torch.Tensor:
        """Symmetry functions of every atom, (n_atoms, n_features), without unit.

        Raises
        ------
        ModelError
            An atom is of an element that the functions do not know.
        """
        return join_blocks(self.blocks(graph))

    def blocks(self, graph: Graph) -> tuple[list[torch.Tensor], list[torch.Tensor], list[torch.Tensor]]:
        """G2, (n_atoms, n_elements), and narrow and wide functions, (n_atoms, n_pairs), function by function.

        Raises
        ------
        ModelError
            An atom is of an element that the functions do not know.
        """
        # A slot is the sum that a term belongs to: an atom, and an element or pair of elements.
        species, n_elements = self.species_of(graph), len(self.elements)
        slots = graph.receivers * n_elements + species[graph.senders]
        x, y, z = graph.r_ij.unbind(1)
        r2 = x * x + y * y + z * z
        terms = self.radial_terms(r2.sqrt())
        radial = [slot_sums(term, slots, graph.n_atoms * n_elements).reshape(-1, n_elements) for term in terms]
        if not self.is_angular:
            return radial, [], []
        geometry = self.triplet_geometry(graph, slots, r2)
        n_pairs = n_elements * (n_elements + 1) // 2
        narrow, wide = (
            [sums.reshape(-1, n_pairs) for sums in functions(geometry, graph.n_atoms * n_pairs)]
            for functions in (self.narrow, self.wide)
        )
        return radial, narrow, wide

    @property
    def is_angular(self) -> bool:
        """Whether some of the functions depend on angles."""
        return bool(self.narrow.rows or self.wide.rows)

    def species_of(self, graph: Graph) -> torch.Tensor:
        """Index of each atom's element in `elements`, (n_atoms,).

        Raises
        ------
        ModelError
            An atom is of an element that the functions do not know.
        """
        species = self.species[graph.numbers]
        if bool((species < 0).any()):
            unknown = int(graph.numbers[species < 0][0])
            known = ", ".join(label_of(number) for number in self.elements)
            raise ModelError(f"these symmetry functions know {known}, not {label_of(unknown)}")
        return species

    def radial_terms(self, r: torch.Tensor) -> list[torch.Tensor]:
        """Terms of G2, (n_edges,), function by function, of edges with lengths `r`, (n_edges,) Å."""
        f_c = cosine_cutoff(r, self.cutoff)
        return [torch.exp(-eta * (r - r_s).square()) * f_c for eta, r_s in self.radial]

    def triplet_geometry(self, graph: Graph, slots: torch.Tensor, r2: torch.Tensor) -> TripletGeometry:
        """Distances, angles and slots of the triplets within `triplet_cutoff`.

        `slots` are ``receiver * n_elements + element of the sender`` of all edges, `r2` their squared lengths, Å².
        """
        limit = self.triplet_cutoff
        triplets = short_triplets(graph.senders, slots, r2, cutoff=limit, pair_table=self.pair_table)
        r2 = r2.index_select(0, triplets.edges)
        r = r2.sqrt()
        directions = (graph.r_ij.index_select(0, triplets.edges) / r[:, None]).T.contiguous()
        x, y, z = edge_products(directions, triplets.first, triplets.second)
        return TripletGeometry(
            first=triplets.first,
            second=triplets.second,
            slots=triplets.slots,
            r=r,
            f_c=cosine_cutoff(r, limit),
            cos_theta=x + y + z,
            cutoff=limit,
        )

    def settings(self) -> dict[str, object]:
        """Arguments that make these functions again, as JSON can hold them."""
        return {
            "elements": list(self.elements),
            "cutoff": self.cutoff,
            "triplet_cutoff": self.triplet_cutoff,
            "radial": [list(row) for row in self.radial],
            "narrow": [list(row) for row in self.narrow.rows],
            "wide": [list(row) for row in self.wide.rows],
        }

    def _make_labels(self) -> Iterable[str]:
        names = [label_of(number) for number in self.elements]
        for name in names:
            yield from (f"G2 {name} eta={eta:g}/Å² r_s={r_s:g} Å" for eta, r_s in self.radial)
        pairs = [f"{first}-{second}" for i, first in enumerate(names) for second in names[i:]]
        for kind, functions in (("G4", self.narrow), ("G5", self.wide)):
            for pair in pairs:
                for eta, zeta, lambda_ in functions.rows:
                    yield f"{kind} {pair} eta={eta:g}/Å² zeta={zeta:g} lambda={lambda_:g}"


def default_functions(
    elements: Sequence[int],
    *,
    cutoff: float,
    triplet_cutoff: float,
    n_radial: int = 8,
    first_shift: float = 1.5,
    widths: Sequence[float] = (0.5, 1.0),
    zetas: Sequence[float] = (1.0, 4.0, 16.0),
) -> SymmetryFunctions:
    """A standard set: shifted Gaussians at equal distances, and wide angular functions.

    The Gaussians follow Gastegger et al. [1]_: r_s from `first_shift` in steps of Δ, the last one step before the
    cutoff, with η = 1/(2 Δ²), so that neighbouring Gaussians overlap.

    Parameters
    ----------
    elements : sequence of int
        Atomic numbers.
    cutoff, triplet_cutoff : float
        Å.
    n_radial : int
        Number of Gaussians for each element.
    first_shift : float
        r_s of the first Gaussian, Å; a little less than the shortest distance in the material.
    widths : sequence of float
        Distances at which the Gaussians exp(−η r²) of the angular functions are 1/e, in units of `triplet_cutoff`.
    zetas : sequence of float
        ζ of the angular functions, each with λ = 1 and −1.

    Raises
    ------
    ModelError
        A parameter cannot be used.

    Notes
    -----
    For 256 atoms of α-AgI with cutoffs of 6 and 5 Å, energies and forces of a network of the default functions take
    7 to 8 ms on one thread, 9 to 10 on a new graph, whose triplets are found first. The shipped pair potential takes
    3.1 by autograd and 1.6 by its closed form. Most of the time goes into triplets: with a third as many angular
    functions it is 5 to 6 ms.

    References
    ----------
    .. [1] M. Gastegger et al., J. Chem. Phys. 148, 241709 (2018).
    """
    if n_radial < 1 or not 0 <= first_shift < cutoff:
        raise ModelError(
            f"n_radial is {n_radial} and first_shift {first_shift} Å; expected at least one Gaussian below {cutoff} Å"
        )
    if not all(width > 0 for width in widths):
        raise ModelError(f"widths are {list(widths)}; they must be positive, in units of triplet_cutoff")
    step = (cutoff - first_shift) / n_radial
    etas = [1 / (width * triplet_cutoff) ** 2 for width in widths]
    return SymmetryFunctions(
        elements,
        cutoff=cutoff,
        triplet_cutoff=triplet_cutoff,
        radial=[(1 / (2 * step**2), first_shift + k * step) for k in range(n_radial)],
        wide=[(eta, zeta, lambda_) for eta in etas for zeta in zetas for lambda_ in (1.0, -1.0)],
    )


def join_blocks(blocks: Iterable[list[torch.Tensor]]) -> torch.Tensor:
    """Table of all functions, (n_atoms, n_features): block by block, by element or pair, then by function."""
    return torch.cat([torch.stack(block, dim=2).flatten(1) for block in blocks if block], dim=1)


def _read_elements(elements: Sequence[int]) -> tuple[int, ...]:
    try:
        numbers = tuple(sorted({operator.index(number) for number in elements}))
    except TypeError:
        numbers = ()
    if not numbers or numbers[0] < 1 or numbers[-1] >= N_ATOMIC_NUMBERS:
        raise ModelError(f"elements are {elements!r}; expected atomic numbers from 1 to {N_ATOMIC_NUMBERS - 1}")
    return numbers


def _read_rows(rows: Iterable[Sequence[float]], name: str, columns: Mapping[str, Parameter]) -> tuple:
    """Check rows of numbers, one for each column."""
    read = []
    for k, row in enumerate(rows):
        if len(row) != len(columns):
            raise ModelError(f"{name}[{k}] has {len(row)} numbers; expected {', '.join(columns)}")
        read.append(
            tuple(read_number(x, f"{name}[{k}].{key}", columns[key]) for x, key in zip(row, columns, strict=True))
        )
    return tuple(read)


def _read_angular(rows: Iterable[Sequence[float]], name: str) -> tuple:
    read = _read_rows(rows, name, ANGULAR)
    for k, (_, zeta, lambda_) in enumerate(read):
        # Below ζ = 1 forces diverge where atoms are in line, beyond |λ| = 1 the base of the power is negative.
        if zeta < 1:
            raise ModelError(f"{name}[{k}].zeta is {zeta:g}; it must be 1 or more")
        if math.fabs(lambda_) > 1:
            raise ModelError(f"{name}[{k}].lambda is {lambda_:g}; it must lie from -1 to 1")
    return read
