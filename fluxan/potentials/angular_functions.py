"""Angular symmetry functions (Behler 2011) of triplets, as products of factors that functions and triplets share."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch

#: Smallest (1 + λ cos θ)/2 that is raised to a power with a fraction as exponent: derivatives at 0 may be infinite, and
#: round-off makes it negative.
MIN_BASE = 1e-10
#: Smallest squared distance of two neighbours, Å², so that its root has derivatives.
MIN_SQUARE = 1e-12


class TripletGeometry(NamedTuple):
    """Distances and angles of the triplets of a graph.

    Attributes
    ----------
    first, second : (n_triplets,) int64 tensors
        The two edges of each triplet, as places among the short edges.
    slots : (n_triplets,) int64 tensor
        Centre and pair of elements, ``centre * n_pairs + pair``.
    r, f_c : (n_short,) tensors
        Length, Å, and cutoff function of each short edge.
    cos_theta : (n_triplets,) tensor
        Cosine of the angle at the centre.
    cutoff : float
        Å.
    """

    first: torch.Tensor
    second: torch.Tensor
    slots: torch.Tensor
    r: torch.Tensor
    f_c: torch.Tensor
    cos_theta: torch.Tensor
    cutoff: float


class AngularFunctions(torch.nn.Module):
    """G4 (narrow) or G5 (wide) of every centre and pair of elements [1]_, see `SymmetryFunctions`.

    A Gaussian of r_ij and r_ik is a product of one factor per edge, computed once per edge and distinct η; the power of
    1 + λ cos θ is computed once per distinct ζ and λ, if ζ is an integer by repeated squaring.

    Parameters
    ----------
    rows : tuple of (eta, zeta, lambda)
        η, 1/Å²; ζ; λ.
    narrow : bool
        Whether the terms have the factors of r_jk (eq. 8) or not (eq. 9).

    References
    ----------
    .. [1] J. Behler, J. Chem. Phys. 134, 074106 (2011).
    """

    eta: torch.Tensor

    def __init__(self, rows: tuple[tuple[float, float, float], ...], *, narrow: bool) -> None:
        super().__init__()
        self.rows, self.is_narrow = rows, narrow
        self.etas, self.zetas, self.lambdas = (tuple(sorted({row[k] for row in rows})) for k in range(3))
        self.register_buffer("eta", torch.tensor(self.etas, dtype=torch.float64)[:, None], persistent=False)

    def forward(self, geometry: TripletGeometry, n_slots: int) -> list[torch.Tensor]:
        """Sums over the triplets of each slot, (n_slots,), function by function."""
        per_edge = torch.exp(-self.eta * geometry.r.square()) * geometry.f_c
        gaussians = edge_products(per_edge, geometry.first, geometry.second)
        if self.is_narrow:
            r_jk2 = third_sides(geometry).clamp(MIN_SQUARE, geometry.cutoff**2)
            third = torch.exp(-self.eta * r_jk2) * cosine_cutoff(r_jk2.sqrt(), geometry.cutoff)
            gaussians = [product * factor for product, factor in zip(gaussians, third.unbind(), strict=True)]
        gaussian_of = dict(zip(self.etas, gaussians, strict=True))
        # 2^(1−ζ) (1 + λ cos θ)^ζ = 2 [(1 + λ cos θ)/2]^ζ.
        power_of: dict[tuple[float, float], torch.Tensor] = {}
        for lambda_ in self.lambdas:
            powers = _powers(0.5 + 0.5 * lambda_ * geometry.cos_theta, self.zetas)
            power_of |= {(zeta, lambda_): power for zeta, power in zip(self.zetas, powers, strict=True)}
        return [
            2 * slot_sums(gaussian_of[eta] * power_of[zeta, lambda_], geometry.slots, n_slots)
            for eta, zeta, lambda_ in self.rows
        ]


def edge_products(factors: torch.Tensor, first: torch.Tensor, second: torch.Tensor) -> list[torch.Tensor]:
    """Products over the two edges of each triplet of factors of the edges, (n_factors, n_short), one by one."""
    # Row by row: torch gathers from 4,268 edges to 34,158 triplets three times as fast as from a table of several rows.
    return [row.index_select(0, first) * row.index_select(0, second) for row in factors.unbind()]


def slot_sums(terms: torch.Tensor, slots: torch.Tensor, n_slots: int) -> torch.Tensor:
    """Sums of terms, (n_terms,), over the terms of each slot, (n_slots,)."""
    return terms.new_zeros(n_slots).index_add(0, slots, terms)


def third_sides(geometry: TripletGeometry) -> torch.Tensor:
    """Squared distances of the two neighbours of each triplet, (n_triplets,) Å², by the law of cosines."""
    first, second = geometry.r.index_select(0, geometry.first), geometry.r.index_select(0, geometry.second)
    return (first - second).square() + 2 * first * second * (1 - geometry.cos_theta)


def cosine_cutoff(r: torch.Tensor, cutoff: float) -> torch.Tensor:
    """½ (cos(π r/r_c) + 1) below the cutoff, 0 beyond (Behler 2011, eq. 4); lengths in Å."""
    return 0.5 * (torch.cos(r.clamp(max=cutoff) * (math.pi / cutoff)) + 1)


def _powers(bases: torch.Tensor, exponents: tuple[float, ...]) -> list[torch.Tensor]:
    """Powers of numbers from 0 to 1, in the order of the exponents, which share the repeated squares of the bases."""
    squares = [bases]
    powers = []
    for exponent in exponents:
        if not exponent.is_integer():
            powers.append(bases.clamp(min=MIN_BASE) ** exponent)
            continue
        bits = [k for k in range(int(exponent).bit_length()) if int(exponent) >> k & 1]
        while len(squares) <= bits[-1]:
            squares.append(squares[-1].square())
        power = squares[bits[0]]
        for k in bits[1:]:
            power = power * squares[k]
        powers.append(power)
    return powers
