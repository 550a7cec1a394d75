"""Default estimator of the zero-frequency limit of a spectral density: a mixture that the data weigh.

Three members describe the periodogram: a floor and a few modes (`mode_search`, `posterior`), a log S of which nothing
is known but that it is smooth (`gaussian_process`), and relaxation times that follow a power law (`relaxation_times`).
Each gives draws from its posterior of S(0); the draws of all are weighed by the members' evidence. Spectra of few
relaxations and resonances go to the modes, whose error is then near the Cramér–Rao bound; spectra of glasses, salts and
water, which no few Lorentzians make, go to the Gaussian process, those of crystals to the power law; in between, what
the members disagree on is part of the error.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from fluxan.errors import ShortRunError
from fluxan.greenkubo.cusp import cusp
from fluxan.greenkubo.estimate import Estimate, Spectrum, one_error
from fluxan.greenkubo.gaussian_process import Posterior, gaussian_process
from fluxan.greenkubo.mode_search import FEWEST_BINS, Model, best_modes, slowest_of
from fluxan.greenkubo.modes import OSCILLATION, spectrum_of
from fluxan.greenkubo.posterior import draw
from fluxan.greenkubo.relaxation_times import relaxation_times

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import ArrayLike, NDArray

    from fluxan.greenkubo.posterior import Draws

MEMBERS: Final = ("modes", "gaussian process", "relaxation times")
_BIN_RATIO: Final = 1.06
_SINGLES: Final = 12
# Factor by which the density may change within a bin; with wider ones the tails of sharp lines come out too high.
_LINES: Final = 1.15
# Log evidence over that of a floor alone at which a spectrum surely has modes.
_SURE: Final = 3.0
# The evidence of the best of the Gaussian process' settings, less that of their average. Medians on the series of
# benchmarks/zero_frequency.py, other seeds than the benchmark's, lie at 4.5 to 6.
_OCCAM: Final = 5.0
# What a power law of relaxation times must gain besides: sums of few relaxations and resonances, which a short run does
# not tell from one, had twice the scatter without it.
_SPECIAL: Final = 6.0
# Weight of the upper side in the error: estimates that are too low have errors that are too small, so what the error
# must cover lies above.
_UPPER: Final = 0.6
# Normal quantiles that stand for one setting of the Gaussian process, and least weight of one that counts.
_QUANTILES: Final = 41
_LEAST_WEIGHT: Final = 1e-4
# Octaves above the lowest frequency in which a member is held against the data.
_OCTAVES: Final = 5


# Log evidence by which a cusp must surpass all members: by chance it does so a little, on water or resonances in half
# of the runs without a margin and in a third with it; on a cusp ∝ √f itself nine warnings in ten remain.
_CUSP_MARGIN: Final = 1.5


def zero_frequency(
    frequencies: ArrayLike,
    density: ArrayLike,
    *,
    dof: ArrayLike,
    time_step: float = 1.0,
    members: tuple[str, ...] = MEMBERS,
) -> Estimate:
    """Estimate S(0) of a spectral density from its periodogram, with an error that covers; nothing to tune.

    Parameters
    ----------
    frequencies
        (n,) above zero, increasing, up to Nyquist; any set: all of a run's, pooled bins, or those of several
        resolutions side by side. Their lowest should be 1/(length of the run): slower motion is not looked for.
    density
        (n,) two-sided spectral density at these frequencies, averaged over components or segments.
    dof
        (n,) or one number: degrees of freedom of each value, 2 per complex ordinate averaged
        (6 for three components).
    time_step
        Sampling interval, in the inverse unit of ``frequencies``.
    members
        Some of `MEMBERS`; one alone tells what the others add.

    Returns
    -------
    Estimate
        S(0) and its standard error; a Green–Kubo integral is half of each. ``details`` holds ``smooth`` and
        ``power law`` (weights of the Gaussian process and of the distribution of relaxation times), ``modes`` (mean
        number), ``cut`` (highest frequency of the modes' band), ``slowest`` (decay time of the slowest mode of the best
        fit), ``deviance`` and ``bins`` of that fit, ``misfit`` (probability of ordinates as far from the heaviest
        member as those of the worst of the lowest octaves), and ``cusp`` (S(0) over the value where a cusp at f = 0
        describes the spectrum better than all members, else zero) with its ``exponent``. The same spectrum gives the
        same numbers to nine digits.

    Raises
    ------
    InputError
        For arrays that are no spectrum.
    ShortRunError
        For fewer than 12 frequencies.
    """
    pooled, unit = _pooled(Spectrum.of(frequencies, density, dof=dof, time_step=time_step))
    best = best_modes(pooled)
    draws = draw(best.fit, best.band)
    mixture = _Mixture.of(list(_members(pooled, best, draws, members)))
    value, error = _summary(mixture.zero, mixture.weight)
    details = _details(best, draws, time_step) | {
        "smooth": mixture.shares.get("gaussian process", 0.0),
        "power law": mixture.shares.get("relaxation times", 0.0),
        "misfit": _misfit(pooled, mixture.curve),
        **_cusp(pooled, mixture, value, error),
    }
    return Estimate(value, error, "mixture", details).scaled(unit)


def slowest_motion(spectrum: Spectrum) -> float:
    """Decay time of the slowest mode that a spectrum shows for sure, zero where it shows none; quicker than S(0)."""
    best = best_modes(_pooled(spectrum)[0])
    return slowest_of(best) * spectrum.time_step if best.gain > _SURE else 0.0


def _pooled(spectrum: Spectrum) -> tuple[Spectrum, float]:
    """Bins of a spectrum without its units."""
    pooled = spectrum.pooled(ratio=_BIN_RATIO, singles=_SINGLES, lines=_LINES)
    if pooled.frequencies.size < FEWEST_BINS:
        raise ShortRunError(
            f"the zero-frequency limit needs a spectrum of {FEWEST_BINS} frequencies or more, "
            f"got {spectrum.frequencies.size}; run longer, about 20 correlation times at least"
        )
    return _without_units(pooled)


def _without_units(spectrum: Spectrum) -> tuple[Spectrum, float]:
    """Spectrum in cycles per sample over its geometric mean, and that mean; rounded to nine digits.

    Other units, or sums in another order, change last digits, and a random walk would come out differently by a tenth
    of its error.
    """
    level = float(np.log(spectrum.density).mean())
    density = np.exp(np.round(np.log(spectrum.density) - level, 9))
    frequencies = np.exp(np.round(np.log(spectrum.frequencies * spectrum.time_step), 9))
    return Spectrum(frequencies, density, spectrum.dof, 1.0), float(np.exp(level))


@dataclass(frozen=True)
class _Member:
    """Points (n,) of S(0) with their weights, the log evidence, and log S at the bins of the member's band."""

    name: str
    log_evidence: float
    zero: NDArray[np.float64]
    weight: NDArray[np.float64]
    curve: NDArray[np.float64]


def _members(pooled: Spectrum, best: Model, draws: Draws, names: tuple[str, ...]) -> Iterator[_Member]:
    """What the members of these names make of a spectrum; those that say nothing of it are left out."""
    if "modes" in names:
        curve = np.log(spectrum_of(best.fit.kinds, best.fit.parameters, best.band.half)[0])
        equal = np.full(draws.zero.size, 1 / draws.zero.size)
        yield _Member("modes", _evidence(pooled, best), draws.zero, equal, curve)
    posteriors = {
        "gaussian process": (gaussian_process(pooled) if "gaussian process" in names else None, _OCCAM),
        "relaxation times": (relaxation_times(pooled) if "relaxation times" in names else None, _SPECIAL),
    }
    for name, (posterior, cost) in posteriors.items():
        if posterior is not None:
            yield _Member(name, posterior.log_evidence - cost, *_points(posterior), posterior.curve)


@dataclass(frozen=True)
class _Mixture:
    """Points (n,) of S(0) with their weights; `curve` is that of the heaviest member, `shares` how much each weighs."""

    zero: NDArray[np.float64]
    weight: NDArray[np.float64]
    shares: dict[str, float]
    log_evidence: float
    curve: NDArray[np.float64]

    @classmethod
    def of(cls, members: list[_Member]) -> _Mixture:
        """Weigh members by their evidence."""
        evidence = np.array([member.log_evidence for member in members])
        share = np.exp(evidence - evidence.max())
        share /= share.sum()
        return cls(
            np.concatenate([member.zero for member in members]),
            np.concatenate([part * member.weight for part, member in zip(share, members, strict=True)]),
            {member.name: float(part) for part, member in zip(share, members, strict=True)},
            float(evidence.max()),
            members[int(np.argmax(share))].curve,
        )


def _evidence(pooled: Spectrum, best: Model) -> float:
    """Log evidence of modes, whose search has bins above the band at one nat each, as other members have them."""
    size = best.band.angle.size
    return best.score + (pooled.frequencies.size - size) - pooled.cost_of_free_bins(size)


def _points(posterior: Posterior) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Equally probable points of every normal distribution of log S(0), as S(0), and their weights."""
    from scipy.special import ndtri

    kept = posterior.weight > _LEAST_WEIGHT
    normal = ndtri((np.arange(_QUANTILES) + 0.5) / _QUANTILES)
    points = np.exp(posterior.mean[kept, None] + np.sqrt(posterior.variance[kept, None]) * normal)
    weight = np.repeat(posterior.weight[kept] / posterior.weight[kept].sum(), _QUANTILES) / _QUANTILES
    return points.ravel(), weight


def _summary(zero: NDArray[np.float64], weight: NDArray[np.float64]) -> tuple[float, float]:
    """Value, and as error half the way to the ends of the central interval of 95.4 %, upper and lower side weighed.

    A root mean square would follow the one draw in twenty that puts S(0) far off, half the interval of 68 % forget it.
    """
    order = np.argsort(zero)
    below = np.cumsum(weight[order]) - 0.5 * weight[order]
    low, middle, high = np.interp([0.0228, 0.5, 0.9772], below, zero[order])
    # A few draws far off may lift the mean above the interval.
    value = min(0.5 * float(weight @ zero + middle), float(high))
    return value, float(one_error(value - low, high - value, upper=_UPPER))


def _misfit(pooled: Spectrum, curve: NDArray[np.float64]) -> float:
    """Probability that the worst of the lowest octaves lies so far from a member by chance (Bonferroni's bound)."""
    from scipy.special import gammainc, gammaincc

    octave = np.floor(np.log2(pooled.frequencies[: curve.size] / pooled.frequencies[0] * (1 + 1e-9))).astype(int)
    shape = pooled.dof[: curve.size] / 2
    power = shape * pooled.density[: curve.size] * np.exp(-curve)
    worst = 1.0
    for index in range(min(_OCTAVES, int(octave[-1]) + 1)):
        here = octave == index
        if here.any():
            a, x = shape[here].sum(), power[here].sum()
            worst = min(worst, 2 * float(min(gammainc(a, x), gammaincc(a, x))))
    return min(1.0, _OCTAVES * worst)


def _cusp(pooled: Spectrum, mixture: _Mixture, value: float, error: float) -> dict[str, float]:
    """S(0) of a cusp over the value, where it describes the spectrum best and lies more than the error above."""
    found = cusp(pooled)
    if (
        found is None
        or found.log_evidence < mixture.log_evidence + _CUSP_MARGIN
        or np.exp(found.log_zero) < value + error
    ):
        return {"cusp": 0.0, "exponent": 0.0}
    return {"cusp": float(np.exp(found.log_zero)) / value, "exponent": found.exponent}


def _details(best: Model, draws: Draws, time_step: float) -> dict[str, float]:
    return {
        "modes": float(draws.relaxations.mean() + len(best.fit.modes(OSCILLATION))),
        "cut": float(best.band.angle[-1] / (2 * np.pi * time_step)),
        "slowest": slowest_of(best) * time_step,
        "deviance": best.deviance,
        "bins": float(best.band.angle.size),
    }
