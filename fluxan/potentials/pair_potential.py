"""Base class of pair potentials: one function of distance per pair of elements, with a choice of truncation."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import torch

from fluxan.errors import ModelError
from fluxan.potentials.elements import ElementPotential
from fluxan.potentials.parameters import (
    Parameter,
    Row,
    elements_of,
    label_of,
    read_choice,
    read_number,
    require_all_pairs,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fluxan.system import Graph

LENGTH = Parameter(unit="Å", positive=True)
PAIR_CUTOFF = Parameter(unit="Å", positive=True, optional=True)
#: Truncations, ordered by the number of terms that are subtracted from φ.
TRUNCATIONS = ("none", "energy", "force")

#: Edges per block of the closed form on a CPU, which bounds the memory of its temporary arrays. Measured for argon with
#: 63 neighbours on one thread: 0.65 µs per atom for 65536 edges or more, 0.85 for 16384, 1.5 for 4096 (calls of torch).
BLOCK = 65536


class PairPotential(ElementPotential):
    """U_i = ½ Σ_j φ(r_ij), where φ depends on the pair of elements.

    A subclass names its parameters in `pair_parameters` and defines `coefficients`, `energy` and `energy_and_slope`;
    tables, truncation and sums are done here.

    Parameters
    ----------
    cutoff : float
        Cutoff of every pair whose row has no ``cutoff`` of its own, Å.
    rows : mapping of (int, int) to dict
        Parameters of every pair of elements, as `read_pairs` returns them.
    truncation : {"none", "energy", "force"}
        How φ ends at the cutoff r_c of its pair. ``none``: φ jumps to zero; ``energy``: φ(r) − φ(r_c); ``force``:
        φ(r) − φ(r_c) − (r − r_c) φ'(r_c).
    hint : str
        What the message about a missing pair adds.

    Attributes
    ----------
    cutoff : float
        The largest cutoff of any pair, Å.
    elements : tuple of int
        Atomic numbers, ascending.
    table : (n_columns, n_pairs) float64 tensor
        For each ordered pair of elements: squared cutoff, line to subtract (0 to 2 numbers), coefficients.
    atom_energies : (n_elements,) float64 tensor
        Constant energy of an atom of each element, eV.

    Raises
    ------
    ModelError
        A parameter or setting cannot be used; the message names its key.
    """

    #: Parameters in a row of the table ``pairs``.
    pair_parameters: ClassVar[Mapping[str, Parameter]]

    table: torch.Tensor
    atom_energies: torch.Tensor

    def __init__(self, *, cutoff: float, rows: Mapping[tuple[int, int], Row], truncation: str, hint: str = "") -> None:
        super().__init__(elements_of(rows))
        require_all_pairs(rows, hint=hint)
        cutoff = read_number(cutoff, "cutoff", LENGTH)
        self.truncation = read_choice(truncation, "truncation", TRUNCATIONS)
        self.rows = {pair: row | {"cutoff": row.get("cutoff", cutoff)} for pair, row in rows.items()}
        self.cutoff = max(row["cutoff"] for row in self.rows.values())
        self._fill_tables()
        # A constant of each element, zero unless the subclass has a self-energy.
        self.register_buffer("atom_energies", torch.zeros(len(self.elements), dtype=torch.float64))

    def coefficients(self, pair: tuple[int, int], row: Row) -> tuple[float, ...]:
        """Numbers that `energy` takes, from the parameters of a pair of elements."""
        raise NotImplementedError(f"{type(self).__name__} must define coefficients(pair, row)")

    def energy(self, r2: torch.Tensor, coefficients: Sequence[torch.Tensor]) -> torch.Tensor:
        """φ of squared distances (n,) Å², differentiable; each coefficient is a scalar or (n,)."""
        raise NotImplementedError(f"{type(self).__name__} must define energy(r2, coefficients)")

    def energy_and_slope(
        self, r2: torch.Tensor, coefficients: Sequence[torch.Tensor]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """φ in eV and φ'(r)/r in eV/Å², new tensors, both in closed form."""
        raise NotImplementedError(f"{type(self).__name__} must define energy_and_slope(r2, coefficients)")

    def forward(self, graph: Graph) -> torch.Tensor:
        """Atomic energies, (n_atoms,) eV, by formulas that autograd can follow."""
        species = self.species_of(graph)
        x, y, z = graph.r_ij.unbind(-1)
        r2 = x * x + y * y + z * z
        cutoff2, line, coefficients = self._gather(species, graph.receivers, graph.senders)
        energy = self.energy(r2, coefficients)
        if line:
            energy = energy - line[0]
        if len(line) == 2:
            energy = energy - r2.sqrt() * line[1]
        energy = 0.5 * energy * (r2 < cutoff2)
        return self.atom_energies.index_select(0, species).index_add(0, graph.receivers, energy)

    @torch.no_grad()
    def pair_forces(self, graph: Graph) -> tuple[torch.Tensor, torch.Tensor]:
        """Return U_i, (n_atoms,) eV, and g_ij, (n_edges, 3) eV/Å, in closed form."""
        species = self.species_of(graph)
        energies = self.atom_energies.index_select(0, species)
        g_ij = torch.empty_like(graph.r_ij)
        size = BLOCK if g_ij.device.type == "cpu" else max(len(g_ij), 1)
        for start in range(0, len(g_ij), size):
            edges = slice(start, start + size)
            receivers = graph.receivers[edges]
            energy, slope = self._half_terms(graph.r_ij[edges], species, receivers, graph.senders[edges])
            energies.index_add_(0, receivers, energy)
            # Column by column: torch broadcasts a last dimension of three 1.6 times slower.
            for axis in range(3):
                torch.mul(graph.r_ij[edges, axis], slope, out=g_ij[edges, axis])
        return energies, g_ij

    def settings(self) -> dict[str, object]:
        """Arguments that make this model again, every pair written out."""
        pairs = {label_of(*pair): dict(row) for pair, row in self.rows.items()}
        for row in pairs.values():
            if row["cutoff"] == self.cutoff:
                del row["cutoff"]
        return {"kind": self.kind, "cutoff": self.cutoff, "truncation": self.truncation, "pairs": pairs}

    def _fill_tables(self) -> None:
        """Buffers by pair of elements (both orders): squared cutoff, line to subtract, coefficients."""
        pairs = [(min(a, b), max(a, b)) for a in self.elements for b in self.elements]
        rows = [self.coefficients(pair, self.rows[pair]) for pair in pairs]
        table = torch.tensor(rows, dtype=torch.float64).T.contiguous()
        cutoffs = torch.tensor([self.rows[pair]["cutoff"] for pair in pairs], dtype=torch.float64)
        energy, slope = self.energy_and_slope(cutoffs.square(), table.unbind())
        for pair, sound in zip(pairs, (energy.isfinite() & slope.isfinite()).tolist(), strict=True):
            if not sound:
                cutoff = self.rows[pair]["cutoff"]
                raise ModelError(f"pairs.{label_of(*pair)} gives no finite energy at its cutoff of {cutoff} Å")
        # The straight line that truncation subtracts from φ: intercept + gradient · r.
        gradient = slope * cutoffs if self.truncation == "force" else torch.zeros_like(slope)
        line = torch.stack([energy - gradient * cutoffs, gradient])[: TRUNCATIONS.index(self.truncation)]
        self.register_buffer("table", torch.cat([cutoffs.square()[None], line, table]))

    def _gather(
        self, species: torch.Tensor, receivers: torch.Tensor, senders: torch.Tensor
    ) -> tuple[torch.Tensor, Sequence[torch.Tensor], Sequence[torch.Tensor]]:
        """Squared cutoff, line to subtract and coefficients of each edge; scalars when there is one element."""
        if len(self.elements) == 1:
            columns = self.table[:, 0].unbind()
        else:
            pair = species.index_select(0, receivers).mul_(len(self.elements)).add_(species.index_select(0, senders))
            columns = self.table.index_select(1, pair).unbind()
        n_line = TRUNCATIONS.index(self.truncation)
        return columns[0], columns[1 : 1 + n_line], columns[1 + n_line :]

    def _half_terms(
        self, r_ij: torch.Tensor, species: torch.Tensor, receivers: torch.Tensor, senders: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """½φ and ½φ'/r of some edges, zero beyond their cutoffs."""
        x, y, z = r_ij.unbind(-1)
        r2 = (x * x).addcmul_(y, y).addcmul_(z, z)
        cutoff2, line, coefficients = self._gather(species, receivers, senders)
        energy, slope = self.energy_and_slope(r2, coefficients)
        if line:
            energy -= line[0]
        if len(line) == 2:
            r = r2.sqrt()
            energy -= line[1] * r
            slope -= line[1] / r
        half = (r2 < cutoff2).to(r2.dtype).mul_(0.5)
        return energy.mul_(half), slope.mul_(half)
