"""The Lennard-Jones potential."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar

from fluxan.potentials.pair_potential import PAIR_CUTOFF, PairPotential
from fluxan.potentials.parameters import Parameter, Row, elements_of, read_choice, read_pairs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import torch

MIXING_RULES = ("lorentz-berthelot", "geometric")


class LennardJones(PairPotential):
    """φ(r) = 4ε [(σ/r)¹² − (σ/r)⁶].

    Parameters
    ----------
    cutoff : float
        Å.
    pairs : mapping of str to mapping
        For each pair of elements ``{"Ar-Ar": {"epsilon": eV, "sigma": Å}}``, optionally with a ``cutoff`` of its own.
    truncation : {"none", "energy", "force"}
        See `PairPotential`.
    mixing : {"lorentz-berthelot", "geometric"}, optional
        Rule for unlike pairs that `pairs` lacks: arithmetic mean of σ and geometric mean of ε, or geometric means of
        both. Without a rule a missing pair is an error.

    Raises
    ------
    ModelError
        A parameter is missing or cannot be used; the message names its key.
    """

    kind: ClassVar[str] = "lennard-jones"
    pair_parameters: ClassVar[Mapping[str, Parameter]] = {
        "epsilon": Parameter(unit="eV", non_negative=True),
        "sigma": Parameter(unit="Å", positive=True),
        "cutoff": PAIR_CUTOFF,
    }

    def __init__(
        self,
        *,
        cutoff: float,
        pairs: Mapping[str, Mapping[str, float]],
        truncation: str = "none",
        mixing: str | None = None,
    ) -> None:
        rows = read_pairs(pairs, self.pair_parameters)
        if mixing is not None:
            rows = mix(rows, read_choice(mixing, "mixing", MIXING_RULES))
        hint = f'; give it, or mixing = "{MIXING_RULES[0]}"'
        super().__init__(cutoff=cutoff, rows=rows, truncation=truncation, hint=hint)

    def coefficients(self, _pair: tuple[int, int], row: Row) -> tuple[float, float]:
        """Prefactors of r⁻⁶ and r⁻¹², eV Å⁶ and eV Å¹²."""
        attraction = 4 * row["epsilon"] * row["sigma"] ** 6
        return attraction, attraction * row["sigma"] ** 6

    def energy(self, r2: torch.Tensor, coefficients: Sequence[torch.Tensor]) -> torch.Tensor:
        """φ of squared distances, differentiable."""
        attraction, repulsion = coefficients
        inverse6 = r2**-3
        return (repulsion * inverse6 - attraction) * inverse6

    def energy_and_slope(
        self, r2: torch.Tensor, coefficients: Sequence[torch.Tensor]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """φ and φ'/r, without a square root."""
        inverse2 = r2.reciprocal()
        inverse6 = (inverse2 * inverse2).mul_(inverse2)
        attraction = coefficients[0] * inverse6
        repulsion = inverse6.square_().mul_(coefficients[1])
        energy = repulsion - attraction
        slope = repulsion.add_(energy).mul_(inverse2).mul_(-6.0)
        return energy, slope


def mix(rows: Mapping[tuple[int, int], Row], rule: str) -> dict[tuple[int, int], Row]:
    """Add the unlike pairs that `rows` lacks, from the like ones by a mixing rule; given pairs are kept."""
    mixed = dict(rows)
    elements = elements_of(rows)
    for i, first in enumerate(elements):
        for second in elements[i + 1 :]:
            if (first, second) in rows or (first, first) not in rows or (second, second) not in rows:
                continue
            a, b = rows[first, first], rows[second, second]
            geometric = math.sqrt(a["sigma"] * b["sigma"])
            sigma = geometric if rule == "geometric" else 0.5 * (a["sigma"] + b["sigma"])
            mixed[first, second] = {"epsilon": math.sqrt(a["epsilon"] * b["epsilon"]), "sigma": sigma}
    return dict(sorted(mixed.items()))
