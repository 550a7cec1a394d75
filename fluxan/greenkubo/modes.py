"""Spectra made of modes (a white floor, relaxations, oscillations), fitted to a periodogram by their posterior.

A mode of variance v, decay time τ and angular frequency ω₀ (per sample; zero for a relaxation) has the autocovariance
v·p^|t|·cos ω₀t with p = exp(−1/τ). Its spectral density is exactly

    S(ω) = A/2 · [1/(1 + b sin²((ω−ω₀)/2)) + 1/(1 + b sin²((ω+ω₀)/2))],   A = v(1−p²)/(1−p)²,   b = 4p/(1−p)²,

aliasing included, so sampled exponentials need no correction near Nyquist. The floor has b = 0. Parameters are log A,
log b and log ω₀. The periodogram of a Gaussian series is gamma distributed about S with shape dof/2
(P. Whittle, Ark. Mat. 2, 423 (1953)); here it is pooled into bins, which stay gamma where S varies little in a bin.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fluxan.greenkubo.estimate import Spectrum

FLOOR: Final = 0
RELAXATION: Final = 1
OSCILLATION: Final = 2

# Parameters that each kind has: log A; log A, log b; log A, log b, log ω₀.
_N_PARAMETERS: Final = {FLOOR: 1, RELAXATION: 2, OSCILLATION: 3}
_LOG_4: Final = np.log(4.0)

# Widths of the prior, in natural logarithms: wide where data speak, yet they decide what a mode must earn to be kept.
_FLOOR_WIDTH: Final = 4.0
_VARIANCE_WIDTH: Final = 2.5
_CORNER_WIDTH: Final = 3.0
# Walls, one-sided: a run must see 2 corner frequencies of a relaxation above its lowest one (a run of 12 τ), 60 periods
# of an oscillation; an oscillation must oscillate (ω₀τ > 1.3), or it takes a noisy dip of the lowest bins for one.
_SLOWEST_RELAXATION: Final = 2.0
_SLOWEST_OSCILLATION: Final = 60.0
_LEAST_QUALITY: Final = 1.3
_WALL_WIDTH: Final = 0.35

_MAX_STEP: Final = 2.0
_MAX_ITERATIONS: Final = 30
_TOLERANCE: Final = 2e-3


@dataclass(frozen=True)
class Band:
    """The part of a pooled spectrum that a model describes, and the scales of its prior.

    Attributes
    ----------
    angle
        (n,) 2π f Δt.
    density
        (n,) spectral density.
    shape
        (n,) gamma shapes, dof/2.
    level
        Mean log density over log frequency: centre of the floor's prior.
    variance
        Log of the variance within the band: centre of the modes' prior.
    lowest
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
        """Take a pooled spectrum."""
        angle = 2 * np.pi * spectrum.time_step * spectrum.frequencies
        octaves = np.gradient(np.log(angle)) if angle.size > 1 else np.ones(1)
        spread = np.gradient(angle) if angle.size > 1 else angle
        return cls(
            angle=angle,
            density=spectrum.density,
            shape=spectrum.dof / 2,
            level=float(np.average(np.log(spectrum.density), weights=octaves)),
            # Three tenths of the variance seen: several modes share it.
            variance=float(np.log(0.3 * (spectrum.density @ spread) / np.pi)),
            lowest=float(np.log(angle[0])),
        )

    @property
    def saturated(self) -> float:
        """Log likelihood of a model that meets every bin."""
        return float(-(self.shape @ (np.log(self.density) + 1)))

    @property
    def middle(self) -> float:
        """Log of the geometric mean of the angles a mode may have: centre of the prior of corners."""
        return 0.5 * (self.lowest + np.log(3) + np.log(self.angle[-1]))


@dataclass(frozen=True)
class Fit:
    """Modes at the maximum of their posterior, for a batch of B starting points or constraints.

    Attributes
    ----------
    kinds
        (C,) kind of each mode.
    parameters
        (B, P) parameters, mode after mode.
    log_posterior
        (B,) log likelihood plus log prior.
    log_likelihood
        (B,) log likelihood.
    precision
        (B, P, P) Fisher information plus the prior's precision.
    log_zero
        (B,) log S(0).
    gradient
        (B, P) derivative of log S(0).
    """

    kinds: tuple[int, ...]
    parameters: NDArray[np.float64]
    log_posterior: NDArray[np.float64]
    log_likelihood: NDArray[np.float64]
    precision: NDArray[np.float64]
    log_zero: NDArray[np.float64]
    gradient: NDArray[np.float64]

    @property
    def variance(self) -> NDArray[np.float64]:
        """(B,) variance of log S(0)."""
        step = np.linalg.solve(self.precision, self.gradient[..., None])[..., 0]
        return np.einsum("bp,bp->b", self.gradient, step)

    @property
    def log_evidence(self) -> NDArray[np.float64]:
        """(B,) Laplace approximation; factors of 2π cancel those of the prior."""
        return self.log_posterior - 0.5 * np.linalg.slogdet(self.precision)[1]


@dataclass(frozen=True)
class Pull:
    """A quadratic pull of log S(0) towards targets, which walks along the profile of the posterior."""

    target: NDArray[np.float64]
    strength: float


def starts(kinds: tuple[int, ...]) -> list[int]:
    """Index of each mode's first parameter."""
    return np.cumsum([0, *(_N_PARAMETERS[kind] for kind in kinds)])[:-1].tolist()


def spectrum_of(
    kinds: tuple[int, ...], parameters: NDArray[np.float64], angle: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Spectral density (B, n) and its derivatives (B, P, n) by the parameters (B, P)."""
    derivatives = np.empty((*parameters.shape, angle.size))
    total = np.zeros((parameters.shape[0], angle.size))
    for kind, start in zip(kinds, starts(kinds), strict=True):
        amplitude = np.exp(parameters[:, start, None])
        if kind == FLOOR:
            derivatives[:, start] = amplitude
            total += amplitude
            continue
        sharpness = np.exp(parameters[:, start + 1, None])
        centre = np.exp(parameters[:, start + 2, None]) if kind == OSCILLATION else 0.0
        below, above = angle - centre, angle + centre
        x, y = sharpness * np.sin(0.5 * below) ** 2, sharpness * np.sin(0.5 * above) ** 2
        left, right = 1 / (1 + x), 1 / (1 + y)
        density = 0.5 * amplitude * (left + right)
        total += density
        derivatives[:, start] = density
        left *= left
        right *= right
        derivatives[:, start + 1] = -0.5 * amplitude * (x * left + y * right)
        if kind == OSCILLATION:
            slope = np.sin(below) * left - np.sin(above) * right
            derivatives[:, start + 2] = 0.25 * amplitude * sharpness * centre * slope
    return total, derivatives


class _Prior:
    """Gaussian terms ½(c·θ − m)²/σ² and walls, which act on one side only; c is a row of ``rows``."""

    def __init__(self, kinds: tuple[int, ...], band: Band) -> None:
        terms: list[tuple[dict[int, float], float, float, int]] = []
        corner_floor = _LOG_4 - 2 * (band.lowest + np.log(_SLOWEST_RELAXATION))
        for kind, i in zip(kinds, starts(kinds), strict=True):
            if kind == FLOOR:
                terms.append(({i: 1.0}, band.level, _FLOOR_WIDTH, 0))
                continue
            # Variance v = A/√b and corner angle 2/√b, each to first order in 1/τ.
            terms.append(({i: 1.0, i + 1: -0.5}, band.variance, _VARIANCE_WIDTH, 0))
            terms.append(({i + 1: 1.0}, _LOG_4 - 2 * band.middle, 2 * _CORNER_WIDTH, 0))
            if kind == RELAXATION:
                terms.append(({i + 1: 1.0}, corner_floor, 2 * _WALL_WIDTH, 1))
            else:
                terms.append(({i + 2: 1.0}, band.middle, _CORNER_WIDTH, 0))
                terms.append(({i + 2: 1.0}, band.lowest + np.log(_SLOWEST_OSCILLATION), _WALL_WIDTH, -1))
                terms.append(({i + 2: 1.0, i + 1: 0.5}, np.log(2 * _LEAST_QUALITY), _WALL_WIDTH, -1))
        size = sum(_N_PARAMETERS[kind] for kind in kinds)
        self._rows = np.zeros((len(terms), size))
        for row, (weights, *_) in zip(self._rows, terms, strict=True):
            for index, weight in weights.items():
                row[index] = weight
        self._centres, self._widths, self._sides = np.array([term[1:] for term in terms]).T
        self._norm = np.log(self._widths[self._sides == 0]).sum()

    def __call__(
        self, parameters: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Log density (B,), gradient (B, P) and precision (B, P, P)."""
        off = (parameters @ self._rows.T - self._centres) / self._widths
        acts = (self._sides == 0) | (off * self._sides > 0)
        off = np.where(acts, off, 0.0)
        weighted = self._rows / self._widths[:, None]
        value = -0.5 * (off**2).sum(1) - self._norm
        return value, -off @ weighted, np.einsum("bt,tp,tq->bpq", acts.astype(float), weighted, weighted)


def fit(kinds: tuple[int, ...], parameters: NDArray[np.float64], band: Band, *, pull: Pull | None = None) -> Fit:
    """Climb from ``parameters`` (B, P) to the posterior's maximum by damped Fisher scoring (Levenberg–Marquardt)."""
    prior = _Prior(kinds, band)
    best = _evaluate(kinds, parameters, band, prior)
    damping = np.full(len(parameters), 1e-2)
    live = np.ones(len(parameters), dtype=bool)
    diagonal = np.arange(parameters.shape[1])
    for _ in range(_MAX_ITERATIONS):
        precision, slope, height = best.precision, best.slope, best.log_posterior
        if pull is not None:
            precision, slope, height = _pulled(best, pull)
        damped = precision.copy()
        damped[:, diagonal, diagonal] *= 1 + damping[:, None]
        step = np.clip(np.linalg.solve(damped, slope[..., None])[..., 0], -_MAX_STEP, _MAX_STEP)
        trial = _evaluate(kinds, best.parameters + step * live[:, None], band, prior)
        gain = (trial.log_posterior if pull is None else _pulled(trial, pull)[2]) - height
        better = live & (gain > 0)
        best = best.where(better, trial)
        damping = np.where(better, 0.2 * damping, 8 * damping + 1e-3)
        live &= ~((better & (gain < _TOLERANCE)) | (damping > 1e4))
        if not live.any():
            break
    log_zero, gradient = _log_zero(kinds, best.parameters)
    return Fit(kinds, best.parameters, best.log_posterior, best.log_likelihood, best.precision, log_zero, gradient)


@dataclass(frozen=True)
class _Point:
    """Everything one step needs, for a batch."""

    kinds: tuple[int, ...]
    parameters: NDArray[np.float64]
    log_posterior: NDArray[np.float64]
    log_likelihood: NDArray[np.float64]
    slope: NDArray[np.float64]
    precision: NDArray[np.float64]

    def where(self, better: NDArray[np.bool_], other: _Point) -> _Point:
        """Take ``other`` where it is better."""
        if better.all():
            return other
        names = ("parameters", "log_posterior", "log_likelihood", "slope", "precision")
        chosen = {}
        for name in names:
            mine, theirs = getattr(self, name), getattr(other, name)
            chosen[name] = np.where(better.reshape(-1, *(1,) * (mine.ndim - 1)), theirs, mine)
        return replace(self, **chosen)


@np.errstate(over="ignore", divide="ignore", invalid="ignore")  # A step too far gains nothing and is taken back.
def _evaluate(kinds: tuple[int, ...], parameters: NDArray[np.float64], band: Band, prior: _Prior) -> _Point:
    density, derivatives = spectrum_of(kinds, parameters, band.angle)
    ratio = band.density / density
    relative = derivatives / density[:, None]
    weighted = relative * band.shape
    log_prior, prior_slope, prior_precision = prior(parameters)
    likelihood = -(np.log(density) + ratio) @ band.shape
    return _Point(
        kinds,
        parameters,
        likelihood + log_prior,
        likelihood,
        (weighted @ (ratio - 1)[..., None])[..., 0] + prior_slope,
        weighted @ relative.transpose(0, 2, 1) + prior_precision,
    )


def _log_zero(
    kinds: tuple[int, ...], parameters: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    density, derivatives = spectrum_of(kinds, parameters, np.zeros(1))
    return np.log(density[:, 0]), derivatives[..., 0] / density


def _pulled(point: _Point, pull: Pull) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    log_zero, gradient = _log_zero(point.kinds, point.parameters)
    off = pull.target - log_zero
    precision = point.precision + pull.strength * gradient[:, :, None] * gradient[:, None, :]
    slope = point.slope + pull.strength * off[:, None] * gradient
    return precision, slope, point.log_posterior - 0.5 * pull.strength * off**2
