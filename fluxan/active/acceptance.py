"""Which frames of an exploration are labelled: a probability that grows with the uncertainty and falls with the energy.

The rule is that of S. Kang, T. A. R. Purcell, C. Carbogno, M. Scheffler (arXiv:2409.11808): ``P = P_U P_E`` with

``P_U = ½ [1 + erf((U − Ū − 2 σ_U)/(σ_U √0.2))]``,
``P_E = min(1, 0.2^((E − Ē − 1.8 σ_E)/(0.8 σ_E)))``,

where mean and standard deviation of uncertainty and energy are those of the test set. Frames of which the model is as
sure as of the test set are passed over; frames of much higher energy are rare in the reference's own dynamics. Low
energies are never rejected.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from fluxan.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Constants of the published rule: centre and width of P_U in σ_U; P_E is 1 up to 1.8 and 0.2 at 2.6 σ_E.
_CENTRE, _WIDTH = 2.0, 0.2
_FREE, _DECAY, _BASE = 1.8, 0.8, 0.2
#: Uncertainties below this are round-off, in eV/Å or eV Å/ps.
_IDENTICAL = 1e-11


@dataclass(frozen=True, slots=True)
class AcceptanceRule:
    """The published rule, with the statistics of a test set.

    Attributes
    ----------
    mean_uncertainty, std_uncertainty : float
        Ū and σ_U, in the unit of the uncertainty, such as eV/Å.
    mean_energy, std_energy : float
        Ē and σ_E of frames with the same atoms at the same temperature, by the same model, eV.

    Raises
    ------
    InputError
        A standard deviation is not positive, as for an ensemble of identical members, or a number is not finite.
    """

    mean_uncertainty: float
    std_uncertainty: float
    mean_energy: float
    std_energy: float

    def __post_init__(self) -> None:
        """Check the statistics."""
        for name in ("mean_uncertainty", "std_uncertainty", "mean_energy", "std_energy"):
            if not math.isfinite(getattr(self, name)):
                raise InputError(f"{name} of the test set is {getattr(self, name)}; expected a finite number")
        if self.std_uncertainty <= 0:
            raise InputError("the uncertainty of the test set does not vary; are the members identical?")
        if self.std_energy <= 0:
            raise InputError("the energy of the test set does not vary; it needs several different frames")

    @classmethod
    def of_test_set(cls, uncertainties: Sequence[float], energies: Sequence[float]) -> AcceptanceRule:
        """Rule with the means and standard deviations of a test set.

        Parameters
        ----------
        uncertainties : (n,) sequence
            Uncertainty of each frame.
        energies : (n,) sequence
            Energy of each frame by the same model, eV.
        """
        if len(uncertainties) < 2 or len(uncertainties) != len(energies):
            counts = f"{len(uncertainties)} uncertainties and {len(energies)} energies"
            raise InputError(f"there are {counts}; expected two or more of each")
        if max(uncertainties) <= _IDENTICAL:
            raise InputError(
                f"the largest uncertainty of the test set is {max(uncertainties):.1e}; are members identical?"
            )
        spread = [float(np.std(values, ddof=1)) for values in (uncertainties, energies)]
        return cls(float(np.mean(uncertainties)), spread[0], float(np.mean(energies)), spread[1])

    def at_temperature(self, ratio: float, heating: float) -> AcceptanceRule:
        """The rule at another temperature than that of the test set, by equipartition of a harmonic crystal.

        Parameters
        ----------
        ratio : float
            Temperature over that of the test set, which energies' standard deviation is proportional to.
        heating : float
            Mean potential energy above that of the test set, ``3(N − 1) k ΔT/2``, eV.
        """
        return replace(self, mean_energy=self.mean_energy + heating, std_energy=self.std_energy * ratio)

    def probability(self, uncertainty: float, energy: float) -> float:
        """Probability with which a frame is labelled, from 0 to 1.

        Parameters
        ----------
        uncertainty : float
            U, in the unit of `mean_uncertainty`.
        energy : float
            E, eV.
        """
        excess = (uncertainty - self.mean_uncertainty) / self.std_uncertainty - _CENTRE
        by_uncertainty = 0.5 * (1 + math.erf(excess / math.sqrt(_WIDTH)))
        height = ((energy - self.mean_energy) / self.std_energy - _FREE) / _DECAY
        # Far below the mean the power would overflow; there the probability is 1.
        return by_uncertainty * (1.0 if height <= 0 else _BASE**height)
