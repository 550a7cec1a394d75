"""The pair potential of Vashishta, Rahman and Rino, which describes silver chalcogenides and halides.

References
----------
.. [1] P. Vashishta and A. Rahman, Phys. Rev. Lett. 40, 1337 (1978): the form.
.. [2] M. Parrinello, A. Rahman and P. Vashishta, Phys. Rev. Lett. 50, 1073 (1983): AgI.
.. [3] J. P. Rino, Y. M. M. Hornos, G. A. Antonelli, I. Ebbsjö, R. K. Kalia and P. Vashishta,
   J. Chem. Phys. 89, 7542 (1988): Ag2Se.
.. [4] P. Vashishta, R. K. Kalia, J. P. Rino and I. Ebbsjö, Phys. Rev. B 41, 12197 (1990), eq. 2: screened terms.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

import torch

from fluxan.errors import ModelError
from fluxan.potentials.pair_potential import LENGTH, PAIR_CUTOFF, PairPotential
from fluxan.potentials.parameters import (
    Parameter,
    Row,
    elements_of,
    label_of,
    read_elements,
    read_number,
    read_pairs,
)
from fluxan.potentials.screening import read_screening
from fluxan.units import COULOMB

if TYPE_CHECKING:
    from collections.abc import Sequence


class Vashishta(PairPotential):
    """φ(r) = H/r^η − C/r⁶ − (P/r⁴) exp(−r/λ₄) + q q' s(r)/(4πε₀).

    Parameters
    ----------
    cutoff : float
        Å.
    pairs : mapping of str to mapping
        For each pair of elements ``{"Ag-I": {"H": eV Å^η, "eta": -, "C": eV Å⁶, "P": eV Å⁴}}``; C and P are 0 if left
        out. With exponential screening a pair may have a ``cutoff`` of its own.
    charges : mapping of str to float
        Charge of each element, elementary charges.
    screening : {"exponential", "wolf", "damped-shifted"}
        s(r), with E(r) = erfc(αr)/r. ``exponential``: exp(−r/λ₁)/r [4]_; ``wolf``: E(r) − E(r_c), after Wolf et al.;
        ``damped-shifted``: E(r) − E(r_c) − (r − r_c) E'(r_c), after Fennell and Gezelter.
    lambda_1 : float, optional
        Å, for exponential screening.
    lambda_4 : float, optional
        Å; without it the 1/r⁴ term is not screened, as in [1]_ and [2]_.
    alpha : float, optional
        1/Å, for the other two screenings.
    truncation : {"none", "energy", "force"}
        Truncation of the whole φ, see `PairPotential`.
    coulomb : float
        1/(4πε₀), eV Å; CODATA's by default. Another program's value serves to compare with it.

    Notes
    -----
    Under ``wolf`` and ``damped-shifted`` every U_i includes the charge's interaction with its own neutralising shell,
    −q² (s₀/2 + α/√π)/(4πε₀), where s₀ is what is subtracted from E(r) at r = 0, so that Σ U_i approximates the Madelung
    energy. It is a constant of each element: no force depends on it, and it shifts the convective part of the heat flux
    by a multiple of that element's particle flux.

    Raises
    ------
    ModelError
        A parameter is missing or cannot be used; the message names its key.
    """

    kind: ClassVar[str] = "vashishta"
    pair_parameters: ClassVar[Mapping[str, Parameter]] = {
        "H": Parameter(unit="eV Å^eta"),
        "eta": Parameter(positive=True),
        "C": Parameter(unit="eV Å^6", default=0.0),
        "P": Parameter(unit="eV Å^4", default=0.0),
        "cutoff": PAIR_CUTOFF,
    }

    def __init__(
        self,
        *,
        cutoff: float,
        pairs: Mapping[str, Mapping[str, float]],
        charges: Mapping[str, float],
        screening: str,
        lambda_1: float | None = None,
        lambda_4: float | None = None,
        alpha: float | None = None,
        truncation: str = "none",
        coulomb: float = COULOMB,
    ) -> None:
        rows = read_pairs(pairs, self.pair_parameters)
        self.charges = read_charges(charges, elements_of(rows))
        self.screening = read_screening(
            screening, lambda_1=lambda_1, alpha=alpha, cutoff=read_number(cutoff, "cutoff", LENGTH)
        )
        if alpha is not None:
            _refuse_own_cutoffs(rows, screening)
        self.lambda_4 = None if lambda_4 is None else read_number(lambda_4, "lambda_4", LENGTH)
        self.coulomb = read_number(coulomb, "coulomb", Parameter(unit="eV Å", positive=True))
        # The base class fills its tables with `coefficients`, which uses all of the above.
        super().__init__(cutoff=cutoff, rows=rows, truncation=truncation)
        q2 = torch.tensor([self.charges[number] ** 2 for number in self.elements], dtype=torch.float64)
        self.atom_energies += self.coulomb * self.screening.self_term * q2

    def coefficients(self, pair: tuple[int, int], row: Row) -> tuple[float, ...]:
        """H, η/2, C, P and q q'/(4πε₀)."""
        charge = self.coulomb * self.charges[pair[0]] * self.charges[pair[1]]
        return row["H"], 0.5 * row["eta"], row["C"], row["P"], charge

    def energy(self, r2: torch.Tensor, coefficients: Sequence[torch.Tensor]) -> torch.Tensor:
        """φ of squared distances, differentiable."""
        H, half_eta, C, P, charge = coefficients
        r = r2.sqrt()
        dipole = P / r2**2 if self.lambda_4 is None else P / r2**2 * torch.exp(-r / self.lambda_4)
        return H * r2**-half_eta - C / r2**3 - dipole + charge * self.screening.value(r)

    def energy_and_slope(
        self, r2: torch.Tensor, coefficients: Sequence[torch.Tensor]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """φ and φ'/r; each term is followed by r φ'."""
        H, half_eta, C, P, charge = coefficients
        r = r2.sqrt()
        inverse2 = r2.reciprocal()
        # One logarithm and one exponential cost less than a power with an exponent per edge.
        steric = (r2.log().mul_(-half_eta)).exp_().mul_(H)
        inverse4 = inverse2 * inverse2
        dispersion = C * inverse4 * inverse2
        dipole = P * inverse4
        if self.lambda_4 is None:
            dipole_descent = 4.0 * dipole
        else:
            dipole = dipole.mul_(torch.exp(r * (-1 / self.lambda_4)))
            dipole_descent = (r * (1 / self.lambda_4)).add_(4.0).mul_(dipole)
        screened, descent = self.screening.value_and_descent(r, r2)
        energy = steric - dispersion - dipole + charge * screened
        slope = (dispersion * 6.0).sub_(2.0 * half_eta * steric).add_(dipole_descent).add_(charge * descent)
        return energy, slope.mul_(inverse2)

    def settings(self) -> dict[str, object]:
        """Arguments that make this model again."""
        own = dict(self.screening.settings)
        if self.lambda_4 is not None:
            own["lambda_4"] = self.lambda_4
        charges = {label_of(number): charge for number, charge in self.charges.items()}
        return super().settings() | own | {"coulomb": self.coulomb, "charges": charges}


def read_charges(charges: object, elements: Sequence[int]) -> dict[int, float]:
    """Check the table of charges, which must hold each of `elements` and no other; by atomic number."""
    if not isinstance(charges, Mapping):
        raise ModelError(f"charges is {charges!r}; expected a table of elements like Ag = 0.58")
    known = {}
    for symbol, charge in charges.items():
        (number,) = read_elements(symbol, 1, "charges")
        if number not in elements:
            raise ModelError(f"charges.{symbol} is given but no pair contains {symbol}")
        known[number] = read_number(charge, f"charges.{symbol}", Parameter(unit="e"))
    for number in elements:
        if number not in known:
            raise ModelError(f"charges.{label_of(number)} (e) is missing")
    return dict(sorted(known.items()))


def _refuse_own_cutoffs(rows: Mapping[tuple[int, int], Row], screening: str) -> None:
    for pair, row in rows.items():
        if "cutoff" in row:
            raise ModelError(
                f'pairs.{label_of(*pair)}.cutoff is given but screening = "{screening}" needs one cutoff for all pairs'
            )
