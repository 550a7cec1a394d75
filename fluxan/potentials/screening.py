"""Screened Coulomb interactions: functions s(r) that replace 1/r and have a finite range.

References
----------
.. [1] P. Vashishta, R. K. Kalia, J. P. Rino and I. Ebbsjö, Phys. Rev. B 41, 12197 (1990), eq. 2.
.. [2] D. Wolf, P. Keblinski, S. R. Phillpot and J. Eggebrecht, J. Chem. Phys. 110, 8254 (1999), eq. 5.13.
.. [3] C. J. Fennell and J. D. Gezelter, J. Chem. Phys. 124, 234104 (2006), eq. 19.
"""

from __future__ import annotations

import math
from typing import Protocol

import torch

from fluxan.errors import ModelError
from fluxan.potentials.parameters import Parameter, read_choice, read_number

SCREENINGS = ("exponential", "wolf", "damped-shifted")


class Screening(Protocol):
    """Interface of a screening function to `Vashishta`.

    Attributes
    ----------
    settings : dict
        Keys of the TOML file, ``screening`` first.
    self_term : float
        Energy of a unit charge with the shell of charge that neutralises it, over 1/(4πε₀), 1/Å.
    """

    settings: dict[str, object]
    self_term: float

    def value(self, r: torch.Tensor) -> torch.Tensor:
        """s(r), 1/Å, differentiable."""
        ...

    def value_and_descent(self, r: torch.Tensor, r2: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """s(r) and r s'(r), 1/Å, in closed form; `r2` holds the squares of `r`."""
        ...


class ExponentialScreening:
    """s(r) = exp(−r/λ₁)/r [1]_."""

    self_term = 0.0

    def __init__(self, lambda_1: float) -> None:
        self.settings: dict[str, object] = {"screening": "exponential", "lambda_1": lambda_1}
        self._decay = -1 / lambda_1

    def value(self, r: torch.Tensor) -> torch.Tensor:
        """s(r), differentiable."""
        return torch.exp(r * self._decay) / r

    def value_and_descent(self, r: torch.Tensor, _r2: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """s(r) and r s'(r)."""
        value = torch.exp(r * self._decay).div_(r)
        return value, (r * self._decay).sub_(1.0).mul_(value)


class DampedScreening:
    """s(r) = erfc(αr)/r − s₀ + s₁ r, zero at the cutoff, with s₁ = 0 [2]_ or a slope of zero there too [3]_."""

    def __init__(self, screening: str, alpha: float, cutoff: float) -> None:
        self.settings: dict[str, object] = {"screening": screening, "alpha": alpha}
        self._alpha = alpha
        self._peak = 2 * alpha / math.sqrt(math.pi)
        damped = math.erfc(alpha * cutoff) / cutoff
        gauss = self._peak * math.exp(-((alpha * cutoff) ** 2))
        self._gradient = (damped + gauss) / cutoff if screening == "damped-shifted" else 0.0
        self._constant = -damped - self._gradient * cutoff
        self.self_term = 0.5 * (self._constant - self._peak)

    def value(self, r: torch.Tensor) -> torch.Tensor:
        """s(r), differentiable."""
        return torch.erfc(self._alpha * r) / r + self._constant + self._gradient * r

    def value_and_descent(self, r: torch.Tensor, r2: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """s(r) and r s'(r)."""
        value = torch.erfc(self._alpha * r).div_(r)
        gauss = torch.exp(r2 * -(self._alpha**2)).mul_(self._peak)
        descent = (r * self._gradient).sub_(value).sub_(gauss)
        return value.add_(self._constant).add_(r, alpha=self._gradient), descent


def read_screening(screening: object, *, lambda_1: object, alpha: object, cutoff: float) -> Screening:
    """Make a screening function from its name and its parameter, λ₁ or α; the other one must not be given.

    Parameters
    ----------
    screening : {"exponential", "wolf", "damped-shifted"}
        Name of the function.
    lambda_1, alpha : float or None
        Decay length λ₁, Å, and damping parameter α, 1/Å.
    cutoff : float
        Cutoff of the pair potential, Å.

    Raises
    ------
    ModelError
        A key is missing, is not used, or has a wrong value.
    """
    name = read_choice(screening, "screening", SCREENINGS)
    needed, unit, unused = ("lambda_1", "Å", "alpha") if name == "exponential" else ("alpha", "1/Å", "lambda_1")
    given = {"lambda_1": lambda_1, "alpha": alpha}
    if given[unused] is not None:
        raise ModelError(f'{unused} is given but screening = "{name}" does not use it')
    if given[needed] is None:
        raise ModelError(f'{needed} ({unit}) is missing; screening = "{name}" needs it')
    if name == "exponential":
        return ExponentialScreening(read_number(lambda_1, "lambda_1", Parameter(unit=unit, positive=True)))
    return DampedScreening(name, read_number(alpha, "alpha", Parameter(unit=unit, non_negative=True)), cutoff)
