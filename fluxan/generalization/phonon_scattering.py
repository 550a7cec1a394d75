"""Linewidths of a crystal's phonons from a dilute defect, to all orders of its change of the force constants.

A defect scatters the mode k of the perfect crystal with the rate ``1/τ_k = −Im T_kk / ω_k``. Here ``T = V + V G V``, V
is the change of the dynamical matrix and G the Green's function of the crystal with the defect (A. Kundu et al., Phys.
Rev. B 84, 125426 (2011); N. A. Katcho et al., Phys. Rev. B 90, 094117 (2014)). In the modes n of a supercell with one
defect this is a sum, and no matrix is inverted: ``1/τ_k = (π/ω_k) Σ_n |⟨k|V|n⟩|² δ(ω_k² − ω_n²)``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from fluxan.errors import InputError
from fluxan.units import MASS_VELOCITY2

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ase import Atoms
    from ase.calculators.calculator import Calculator

    from fluxan.generalization.defects import Defect

#: Modes nearer than this, over the highest frequency, are degenerate: in 512 atoms of silicon round-off splits modes by
#: less than 1e-12, and others are more than 1e-5 apart.
_DEGENERATE = 1e-6
#: Modes below this, over the highest frequency, are translations, and imaginary ones above it an instability.
_STILL = 1e-3


class Couplings(NamedTuple):
    """Modes of a crystal, those of the same crystal with a defect, and what couples them.

    Attributes
    ----------
    frequencies, defect_frequencies : (n_modes,) float64
        ω_k and ω_n, rad/ps, ascending. Atoms without springs and translations have 0.
    squares : (n_modes, n_modes) float64
        ``|⟨k|V|n⟩|²``, 1/ps⁴, with V at ω_k where masses change.
    """

    frequencies: np.ndarray
    defect_frequencies: np.ndarray
    squares: np.ndarray


@dataclass(frozen=True, slots=True, eq=False)
class Linewidths:
    """Scattering rates of the modes of a supercell with one defect; they are proportional to its concentration.

    Attributes
    ----------
    frequencies : (n,) float64
        Of the perfect crystal's modes without its translations, THz, ascending.
    rates : (n,) float64
        1/τ, 1/ps: the full width of the mode as an angular frequency. Degenerate modes have their mean.
    n_final : (n,) float64
        Number of modes within the broadening, ``Σ_n exp(−½ ((ω_k − ω_n) / σ)²)``: with few the rate depends on σ.
    broadening : float
        Standard deviation σ of the Gaussian that stands for the δ function, THz.
    sum_rule : float
        Larger `sum_rule_violation` of the two crystals, eV/Å²; NaN where it was not measured.
    """

    frequencies: np.ndarray
    rates: np.ndarray
    n_final: np.ndarray
    broadening: float
    sum_rule: float = float("nan")


@dataclass(frozen=True, slots=True, eq=False)
class LinewidthErrors:
    """Mean rates by frequency, from reference and model.

    Attributes
    ----------
    frequencies : (n_bins,) float64
        Mean frequency of the reference's modes in each bin, THz.
    n_modes : (n_bins,) int64
        Number of them.
    reference, model : (n_bins,) float64
        Mean rates, 1/ps.
    """

    frequencies: np.ndarray
    n_modes: np.ndarray
    reference: np.ndarray
    model: np.ndarray

    @property
    def ratios(self) -> np.ndarray:
        """Rate of the model over that of the reference."""
        return self.model / self.reference

    @property
    def rms(self) -> float:
        """Root mean square of the relative differences, weighted by the number of modes."""
        return float(np.sqrt(np.average(np.square(self.ratios - 1), weights=self.n_modes)))

    @property
    def mean_ratio(self) -> float:
        """Ratio of the mean rates of all modes, which all have the same weight (classical heat capacity)."""
        return float((self.n_modes * self.model).sum() / (self.n_modes * self.reference).sum())


def force_constants(atoms: Atoms, calculator: Calculator, *, displacement: float = 0.01) -> np.ndarray:
    """Second derivatives of the energy by central differences of forces, (3 n_atoms, 3 n_atoms) eV/Å², symmetrised.

    Parameters
    ----------
    atoms : ase.Atoms
        At rest. Is not changed.
    calculator : ase.calculators.calculator.Calculator
        Its forces are computed 6 n_atoms times.
    displacement : float
        To each side, Å.

    Raises
    ------
    InputError
        The displacement is not positive, or forces are not finite.

    Notes
    -----
    The acoustic sum rule is not enforced; `sum_rule_violation` measures it.
    """
    if not 0 < displacement < 0.5:
        raise InputError(f"a displacement of {displacement} A gives no force constants; try 0.01")
    moved = atoms.copy()
    moved.calc = calculator
    found = np.empty((3 * len(atoms), 3 * len(atoms)))
    for row in range(len(found)):
        forces = []
        for sign in (1, -1):
            moved.positions = atoms.positions
            moved.positions[divmod(row, 3)] += sign * displacement
            forces.append(moved.get_forces(apply_constraint=False).ravel())
        found[row] = (forces[1] - forces[0]) / (2 * displacement)
    if not np.isfinite(found).all():
        raise InputError("the forces on displaced atoms are not finite")
    return 0.5 * (found + found.T)


def sum_rule_violation(constants: np.ndarray) -> float:
    """Largest force constant of one atom against a translation of all, ``max |Σ_j Φ_iα,jβ|``, eV/Å²."""
    return float(np.abs(constants.reshape(len(constants), -1, 3).sum(axis=1)).max())


def on_sites(defect: Defect, constants: np.ndarray, defect_constants: np.ndarray) -> tuple[np.ndarray, ...]:
    """Force constants and masses of both crystals in one space, as `couplings` takes them.

    A vacancy's site keeps its mass and loses its springs. The perfect crystal gets the interstitials, with their masses
    and no springs. Either is an oscillator of frequency 0, which takes no part in the scattering.

    Returns
    -------
    constants, defect_constants : (3 n, 3 n) float64
        eV/Å², for the n sites and interstitials.
    masses, defect_masses : (3 n,) float64
        u.
    """
    n_sites, extra = len(defect.perfect), defect.sites < 0
    places = np.where(extra, n_sites + np.cumsum(extra) - 1, defect.sites)
    rows = (3 * places[:, None] + np.arange(3)).ravel()
    n = n_sites + int(extra.sum())
    perfect, changed = np.zeros((3 * n, 3 * n)), np.zeros((3 * n, 3 * n))
    perfect[: 3 * n_sites, : 3 * n_sites] = constants
    changed[np.ix_(rows, rows)] = defect_constants
    own = defect.atoms.get_masses()
    masses = np.append(defect.perfect.get_masses(), own[extra])
    defect_masses = masses.copy()
    defect_masses[places] = own
    return perfect, changed, np.repeat(masses, 3), np.repeat(defect_masses, 3)


def couplings(
    constants: np.ndarray, defect_constants: np.ndarray, masses: np.ndarray, defect_masses: np.ndarray
) -> Couplings:
    """Diagonalise the dynamical matrices without and with the defect, each with its own masses.

    Parameters
    ----------
    constants, defect_constants : (n_modes, n_modes) array_like
        Force constants Φ and Φ', eV/Å², symmetric.
    masses, defect_masses : (n_modes,) array_like
        M and M', u, one for each degree of freedom.

    Raises
    ------
    InputError
        One of the crystals is unstable.

    Notes
    -----
    In ``w = M^½ u`` the crystal with the defect obeys ``(ω² − D − V) w = 0`` with
    ``V(ω) = M^−½ (Φ' − Φ) M^−½ − ω² (M'/M − 1)``, and its Green's function is ``(M/M')^½ (ω² − D')^−1 (M/M')^½`` with
    ``D' = M'^−½ Φ' M'^−½``. Its modes therefore enter as ``(M/M')^½ |n⟩``.
    """
    root, defect_root = np.sqrt(masses), np.sqrt(defect_masses)
    frequencies, modes = _modes(np.asarray(constants) / np.outer(root, root), "the perfect crystal")
    changed = np.asarray(defect_constants) / np.outer(defect_root, defect_root)
    defect_frequencies, outgoing = _modes(changed, "the crystal with the defect")
    outgoing *= (root / defect_root)[:, None]
    change = (defect_constants - np.asarray(constants)) / np.outer(root, root) / MASS_VELOCITY2
    elements = modes.T @ (change @ outgoing)
    heavier = np.square(defect_root / root) - 1
    if sites := np.flatnonzero(heavier).tolist():
        elements -= frequencies[:, None] ** 2 * (modes[sites].T @ (heavier[sites, None] * outgoing[sites]))
    return Couplings(frequencies, defect_frequencies, elements**2)


def scattering_rates(coupled: Couplings, broadening: float) -> Linewidths:
    """Rates with a Gaussian for the δ function, whose error is of order σ²; that of a complex ω² is of order σ.

    Parameters
    ----------
    coupled : Couplings
        In a supercell with one defect.
    broadening : float
        Standard deviation σ, THz: more than the distance of levels, less than what the rates vary over.

    Raises
    ------
    InputError
        The broadening is not positive.
    """
    if not 0 < broadening < np.inf:
        raise InputError(f"the broadening is {broadening} THz; it must be positive")
    omega, sigma = coupled.frequencies, 2 * np.pi * broadening
    moving = np.flatnonzero(omega > _STILL * omega[-1])
    omega = omega[moving, None]
    near = np.exp(-0.5 * ((omega - coupled.defect_frequencies) / sigma) ** 2)
    # δ(ω_k² − ω_n²) = δ(ω_k − ω_n) / (ω_k + ω_n)
    density = near / (np.sqrt(2 * np.pi) * sigma * (omega + coupled.defect_frequencies))
    rates = np.pi / omega[:, 0] * (coupled.squares[moving] * density).sum(axis=1)
    starts = np.flatnonzero(np.diff(omega[:, 0], prepend=-np.inf) > _DEGENERATE * omega[-1, 0])
    sizes = np.diff(starts, append=len(rates))
    rates = np.repeat(np.add.reduceat(rates, starts) / sizes, sizes)
    return Linewidths(omega[:, 0] / (2 * np.pi), rates, near.sum(axis=1), broadening)


def linewidths(
    defect: Defect,
    relaxed: Atoms,
    calculator: Calculator,
    *,
    broadenings: Sequence[float] = (0.3, 0.6),
    displacement: float = 0.01,
) -> tuple[Linewidths, ...]:
    """Rates for a relaxed defect, by force constants of its own crystal and of the perfect one.

    Parameters
    ----------
    defect : Defect
        With its perfect crystal, whose cell is the calculator's.
    relaxed : ase.Atoms
        The atoms of the defect at rest, in the same order.
    calculator : ase.calculators.calculator.Calculator
        Gives forces.
    broadenings : sequence of float
        THz. Rates that differ between two of them are not resolved in this supercell.
    displacement : float
        For the force constants, Å.

    Returns
    -------
    tuple of Linewidths
        One for each broadening.

    Raises
    ------
    InputError
        The atoms are not those of the defect, one of the crystals is unstable, or `force_constants` fails.

    Notes
    -----
    The lowest modes of a supercell form few groups, far apart. With a vacancy among 512 sites of silicon, rates between
    2 and 3 THz came out 2 to 4 times those of the infinite crystal, and depended on the broadening as much.
    """
    if len(relaxed) != len(defect.atoms) or (relaxed.numbers != defect.atoms.numbers).any():
        raise InputError(f"{defect.name}: the relaxed atoms are not those of the defect; give them in the same order")
    both = [force_constants(atoms, calculator, displacement=displacement) for atoms in (defect.perfect, relaxed)]
    coupled = couplings(*on_sites(defect, *both))
    violation = max(map(sum_rule_violation, both))
    return tuple(replace(scattering_rates(coupled, broadening), sum_rule=violation) for broadening in broadenings)


def compare_linewidths(
    reference: Linewidths, model: Linewidths, *, n_bins: int = 12, by: str = "frequency"
) -> LinewidthErrors:
    """Compare rates, each computed for the potential's own crystal, defect and phonons.

    The V of one potential must not be put into the crystal of another: springs to a vacancy's site would not cancel.

    Parameters
    ----------
    reference, model : Linewidths
        In supercells of the same size, with the same broadening.
    n_bins : int
        Number of bins of equal width, from 0 to the reference's highest frequency. Empty ones are left out.
    by : {"frequency", "rank"}
        Compare modes of the same frequency, or the n-th modes of both, so that errors of the perfect crystal's
        frequencies count less.

    Raises
    ------
    InputError
        Supercells or broadenings differ, the reference has no rates, or `by` is not known.
    """
    if len(reference.rates) != len(model.rates) or reference.broadening != model.broadening:
        raise InputError("linewidths of different supercells or broadenings cannot be compared")
    if by not in {"frequency", "rank"} or n_bins < 1:
        raise InputError(f"cannot compare by {by!r} in {n_bins} bins; expected 'frequency' or 'rank' and at least one")
    edges = np.linspace(0, reference.frequencies[-1] * (1 + 1e-9), n_bins + 1)
    own = np.digitize(reference.frequencies, edges) - 1
    other = own if by == "rank" else np.minimum(np.digitize(model.frequencies, edges), n_bins) - 1
    n_modes, n_others = (np.bincount(bins, minlength=n_bins) for bins in (own, other))
    sums = [
        np.bincount(bins, values, n_bins)
        for bins, values in ((own, reference.frequencies), (own, reference.rates), (other, model.rates))
    ]
    used = (n_modes > 0) & (n_others > 0)
    if not (sums[1][used] > 0).all():
        raise InputError("the defect of the reference does not scatter phonons, so that there is no relative error")
    means = [total[used] / number[used] for total, number in zip(sums, (n_modes, n_modes, n_others), strict=True)]
    return LinewidthErrors(means[0], n_modes[used], means[1], means[2])


def _modes(matrix: np.ndarray, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Frequencies, rad/ps, and orthonormal modes of a dynamical matrix in eV/Å²/u."""
    values, modes = np.linalg.eigh(matrix / MASS_VELOCITY2)
    if not values[0] >= -((_STILL**2) * values[-1]):
        frequency = (-values[0]) ** 0.5 / (2 * np.pi)
        raise InputError(f"{name} is unstable: a mode of {frequency:.2f}i THz; relax it further, in its own cell")
    return np.sqrt(np.maximum(values, 0.0)), modes
