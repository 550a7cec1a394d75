"""Spectra made of modes (a white floor, relaxations, oscillations), fitted to a periodogram by maximum posterior.

A mode of variance v, decay time τ and angular frequency ω₀ (per sample; zero for a relaxation) has the autocovariance
v·p^|t|·cos ω₀t with p = exp(−1/τ). Its spectral density is exactly

    S(ω) = A/2 · [1/(1 + b sin²((ω−ω₀)/2)) + 1/(1 + b sin²((ω+ω₀)/2))],   A = v(1−p²)/(1−p)²,   b = 4p/(1−p)²,

aliasing included, so sampled exponentials need no correction near Nyquist. The floor has b = 0. Parameters are log A,
log b and log ω₀. The periodogram of a Gaussian series is gamma distributed about S with shape dof/2
(P. Whittle, Ark. Mat. 2, 423 (1953)); here it is pooled into bins, which stay gamma where S varies little in a bin.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fluxan.greenkubo.estimators.periodogram import Spectrum

# Kinds of modes; the same numbers as in `fluxan.kernels.statistics_mode_fit`.
FLOOR: Final = 0
RELAXATION: Final = 1
OSCILLATION: Final = 2

# Parameters that each kind has: log A; log A, log b; log A, log b, log ω₀.
_N_PARAMETERS: Final = {FLOOR: 1, RELAXATION: 2, OSCILLATION: 3}
_LOG_4: Final = np.log(4.0)


@dataclass(frozen=True)
class ModePriorSettings:
    """Prior of the modes of a fit. Widths are standard deviations of natural logarithms.

    Widths are large, so that data determine the parameters; they also set how much evidence a mode must gain to be
    kept. Walls, one-sided normal distributions, keep parameters within the range that a run can resolve.

    Attributes
    ----------
    floor_width : float
        Width of the prior of the floor's height.
    variance_width : float
        Width of the prior of a mode's variance.
    variance_fraction : float
        Centre of the prior of a mode's variance, as a fraction of the variance within the band, which several modes
        share.
    corner_width : float
        Width of the prior of a corner frequency, and of the centre of an oscillation.
    slowest_relaxation : float
        Wall for the corner of a relaxation, over the lowest frequency: a run must last 12 decay times.
    slowest_oscillation : float
        Wall for the centre of an oscillation, over the lowest frequency: a run must last 60 periods.
    min_quality : float
        Wall for ω₀τ of an oscillation: below it, an oscillation would fit noise in the lowest bins.
    wall_width : float
        Width of the walls.
    """

    floor_width: float = 4.0
    variance_width: float = 2.5
    variance_fraction: float = 0.3
    corner_width: float = 3.0
    slowest_relaxation: float = 2.0
    slowest_oscillation: float = 60.0
    min_quality: float = 1.3
    wall_width: float = 0.35


@dataclass(frozen=True)
class ScoringSettings:
    """Settings of Fisher scoring.

    Attributes
    ----------
    max_step : float
        Largest step of one parameter, a natural logarithm.
    max_iterations : int
        Iterations after which a fit is accepted even if it has not converged.
    tolerance : float
        Gain of log posterior at which the fit has converged: a thousandth of the difference that distinguishes two
        models.
    """

    max_step: float = 2.0
    max_iterations: int = 30
    tolerance: float = 2e-3


PRIOR: Final = ModePriorSettings()
SCORING: Final = ScoringSettings()


@dataclass(frozen=True)
class Band:
    """The part of a pooled spectrum that a model describes, and the scales of its prior.

    Attributes
    ----------
    angle : (n,) float64
        2π f Δt, radians per sample.
    density : (n,) float64
        Spectral density.
    shape : (n,) float64
        Gamma shapes, dof/2.
    level : float
        Mean of log density over log frequency: centre of the prior of the floor's log height.
    variance : float
        Centre of the prior of a mode's log variance, from the variance within the band.
    lowest : float
        Log of the lowest angle of the whole spectrum.
    """

    angle: NDArray[np.float64]
    density: NDArray[np.float64]
    shape: NDArray[np.float64]
    level: float
    variance: float
    lowest: float

    @classmethod
    def of(cls, spectrum: Spectrum) -> Band:
        """Band of all bins of a pooled spectrum."""
        angle = 2 * np.pi * spectrum.time_step * spectrum.frequencies
        octaves = np.gradient(np.log(angle)) if angle.size > 1 else np.ones(1)
        spread = np.gradient(angle) if angle.size > 1 else angle
        return cls(
            angle=angle,
            density=spectrum.density,
            shape=spectrum.dof / 2,
            level=float(np.average(np.log(spectrum.density), weights=octaves)),
            variance=float(np.log(PRIOR.variance_fraction * (spectrum.density @ spread) / np.pi)),
            lowest=float(np.log(angle[0])),
        )

    @cached_property
    def half(self) -> NDArray[np.float64]:
        """Sine and cosine (2, n) of half the angle."""
        return half_angle(self.angle)

    @property
    def saturated(self) -> float:
        """Log likelihood of a model that goes through every bin."""
        return float(-(self.shape @ (np.log(self.density) + 1)))

    @property
    def middle(self) -> float:
        """Log of the geometric mean of the angles a mode may have: centre of the prior of corners."""
        return 0.5 * (self.lowest + np.log(3) + np.log(self.angle[-1]))


@dataclass(frozen=True)
class Fit:
    """Modes at the maximum of their posterior.

    Attributes
    ----------
    kinds : tuple of int, (C,)
        Kind of each mode.
    parameters : (P,) float64
        Parameters, mode after mode.
    log_posterior : float
        Log likelihood plus log prior.
    log_likelihood : float
        Log likelihood.
    precision : (P, P) float64
        Fisher information plus the prior's precision.
    """

    kinds: tuple[int, ...]
    parameters: NDArray[np.float64]
    log_posterior: float
    log_likelihood: float
    precision: NDArray[np.float64]

    @property
    def log_evidence(self) -> float:
        """Log evidence by Laplace's approximation; factors of 2π cancel those of the prior."""
        return self.log_posterior - 0.5 * float(np.linalg.slogdet(self.precision)[1])

    def modes(self, *kinds: int) -> NDArray[np.float64]:
        """Modes (n, 3) of these kinds: log A, log b and log ω₀, zero for parameters that a kind does not have."""
        modes = np.zeros((sum(kind in kinds for kind in self.kinds), 3))
        chosen = [(start, kind) for start, kind in zip(starts(self.kinds), self.kinds, strict=True) if kind in kinds]
        for row, (start, kind) in zip(modes, chosen, strict=True):
            row[: _N_PARAMETERS[kind]] = self.parameters[start : start + _N_PARAMETERS[kind]]
        return modes


def starts(kinds: tuple[int, ...]) -> list[int]:
    """Index of each mode's first parameter."""
    return np.cumsum([0, *(_N_PARAMETERS[kind] for kind in kinds)])[:-1].tolist()


def spectrum_of(
    kinds: tuple[int, ...], parameters: NDArray[np.float64], half: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Spectral density of modes and its derivatives.

    Parameters
    ----------
    kinds : tuple of int
        Kind of each mode.
    parameters : (P,) float64
        Parameters, mode after mode.
    half : (2, n) float64
        From `half_angle`.

    Returns
    -------
    (n,) float64
        Spectral density.
    (P, n) float64
        Its derivatives by the parameters.
    """
    from fluxan.kernels.statistics_mode_fit import mode_spectrum

    density, derivatives = np.empty(half.shape[1]), np.empty((parameters.size, half.shape[1]))
    mode_spectrum(np.array(kinds), np.ascontiguousarray(parameters), half, density, derivatives)
    return density, derivatives


def half_angle(angle: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sine and cosine (2, n) of half the angles (n,)."""
    return np.stack([np.sin(0.5 * angle), np.cos(0.5 * angle)])


def _prior(kinds: tuple[int, ...], band: Band) -> tuple[NDArray[np.float64], ...]:
    """Terms ½(c·θ − m)²/σ² of the prior: rows c (n_terms, P), centres m, widths σ, and sides; 0 for both sides."""
    terms: list[tuple[dict[int, float], float, float, int]] = []
    corner_floor = _LOG_4 - 2 * (band.lowest + np.log(PRIOR.slowest_relaxation))
    for kind, i in zip(kinds, starts(kinds), strict=True):
        if kind == FLOOR:
            terms.append(({i: 1.0}, band.level, PRIOR.floor_width, 0))
            continue
        # Variance v = A/√b and corner angle 2/√b, each to first order in 1/τ.
        terms.append(({i: 1.0, i + 1: -0.5}, band.variance, PRIOR.variance_width, 0))
        terms.append(({i + 1: 1.0}, _LOG_4 - 2 * band.middle, 2 * PRIOR.corner_width, 0))
        if kind == RELAXATION:
            terms.append(({i + 1: 1.0}, corner_floor, 2 * PRIOR.wall_width, 1))
        else:
            terms.append(({i + 2: 1.0}, band.middle, PRIOR.corner_width, 0))
            terms.append(({i + 2: 1.0}, band.lowest + np.log(PRIOR.slowest_oscillation), PRIOR.wall_width, -1))
            terms.append(({i + 2: 1.0, i + 1: 0.5}, np.log(2 * PRIOR.min_quality), PRIOR.wall_width, -1))
    rows = np.zeros((len(terms), sum(_N_PARAMETERS[kind] for kind in kinds)))
    for row, (weights, *_) in zip(rows, terms, strict=True):
        for index, weight in weights.items():
            row[index] = weight
    return rows, *(np.array(column, dtype=np.float64) for column in zip(*(term[1:] for term in terms), strict=True))


def fit(kinds: tuple[int, ...], parameters: NDArray[np.float64], band: Band) -> Fit:
    """Maximise the posterior from `parameters` (P,) on by damped Fisher scoring (Levenberg–Marquardt)."""
    from fluxan.kernels.statistics_mode_fit import fisher_scoring

    best = np.array(parameters, dtype=np.float64)
    precision = np.zeros((best.size, best.size))
    rows, centres, widths, sides = _prior(kinds, band)
    log_likelihood, log_prior = fisher_scoring(
        np.array(kinds),
        (band.half, band.density, band.shape),
        (rows, centres, widths, sides),
        (SCORING.max_step, float(SCORING.max_iterations), SCORING.tolerance),
        best,
        precision,
    )
    for kind, start in zip(kinds, starts(kinds), strict=True):
        if kind == OSCILLATION and best[start + 2] > np.log(np.pi):  # above Nyquist: take the alias below
            best[start + 2] = np.log(max(2 * np.pi - np.exp(best[start + 2]), 0.5 * np.pi))
    norm = float(np.log(widths[sides == 0]).sum())
    return Fit(kinds, best, log_likelihood + log_prior - norm, log_likelihood, precision)
