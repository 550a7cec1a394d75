"""Calibration of an ensemble: whether its force spread predicts the size of its true force errors.

The spread s of an atom is ``√⟨|F_k − F̄|²⟩`` over the members, its true error e is ``|F̄ − F|``. For Gaussian errors with
variance s²/3 in each of three directions, e²/(s²/3) follows the χ² distribution with three degrees of freedom. The
fraction of true errors inside its p-quantile is then p for every p, which a reliability diagram shows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from fluxan.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

#: Factors between 1/1.25 and 1.25 count as calibrated.
MAX_FACTOR: Final = 1.25


@dataclass(frozen=True)
class ForceCalibration:
    """Spreads and true errors of the forces on atoms.

    Attributes
    ----------
    uncertainty : (n,) float64
        Spread of each atom's force over the members, eV/Å.
    error : (n,) float64
        Norm of the true error of each atom's force, eV/Å.
    """

    uncertainty: np.ndarray
    error: np.ndarray

    @classmethod
    def of_rounds(cls, rounds: Iterable[Mapping[str, Any]]) -> ForceCalibration:
        """Pairs of all round records; those that are not finite are left out.

        Raises
        ------
        InputError
            A record has not as many uncertainties as errors.
        """
        pairs = [np.empty((2, 0))]
        for record in rounds:
            part = record.get("calibration") or {}
            spread, error = (np.asarray(part.get(key) or [], dtype=float) for key in ("uncertainty", "error"))
            if spread.shape != error.shape:
                raise InputError(f"round {record['round']} has {len(spread)} uncertainties and {len(error)} errors")
            pairs.append(np.array([spread, error]))
        joined = np.concatenate(pairs, axis=1)
        return cls(*joined[:, np.isfinite(joined).all(axis=0)])

    def __len__(self) -> int:
        """Return the number of atoms."""
        return len(self.error)

    @property
    def factor(self) -> float:
        """``√(⟨e²⟩/⟨s²⟩)``, by which the spreads would have to be multiplied; NaN without data or spread."""
        if not len(self) or not self.uncertainty.any():
            return float("nan")
        return float(np.sqrt(np.mean(self.error**2) / np.mean(self.uncertainty**2)))

    def quantiles(self, scale: float = 1.0) -> np.ndarray:
        """Sorted p of the quantile that each true error equals, (n,), with the spreads multiplied by `scale`."""
        from scipy.special import gammainc

        # An error without spread lies outside of every quantile, no error inside of every one.
        ratio = np.where(self.error > 0, np.inf, 0.0)
        np.divide(self.error, scale * self.uncertainty, out=ratio, where=self.uncertainty > 0)
        return np.sort(gammainc(1.5, 1.5 * ratio**2))

    def fraction_inside(self, levels: np.ndarray, scale: float = 1.0) -> np.ndarray:
        """Fraction of true errors inside the p-quantile for every p of `levels`."""
        return np.searchsorted(self.quantiles(scale), levels, side="right") / max(len(self), 1)

    @property
    def calibrated(self) -> bool:
        """Whether the factor is near 1."""
        return 1 / MAX_FACTOR <= self.factor <= MAX_FACTOR

    @property
    def statement(self) -> str:
        """The factor in words."""
        factor = self.factor
        if np.isnan(factor):
            return "The force uncertainties cannot be compared with true errors: no newly labelled atoms have both."
        found = f"True force errors are {factor:.2g} times the uncertainties (root mean square of {len(self)} atoms)"
        if self.calibrated:
            return f"{found}: the uncertainties have the right size."
        size = "small" if factor > 1 else "large"
        return f"{found}: the uncertainties are too {size} and should be multiplied by {factor:.2g}."
