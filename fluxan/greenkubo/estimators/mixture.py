"""The default estimator of a spectral density at zero frequency: a mixture of three models, weighted by evidence.

Three members describe the periodogram: a white floor and a few modes (`mode_search`, `mode_sampler`), a smooth log S
without further assumptions (`gaussian_process`), and relaxation times that follow a power law (`relaxation_times`).
Each gives the posterior of S(0); the posteriors are averaged with the members' evidence as weights. For spectra of few
relaxations and resonances the modes dominate, whose error is then near the Cramér–Rao bound; for those of glasses,
salts and water, which a few Lorentzians do not describe, the Gaussian process; for those of crystals the power law. In
between, the spread between the members is part of the error.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from fluxan.errors import ShortRunError
from fluxan.greenkubo.estimators.cusp import cusp
from fluxan.greenkubo.estimators.estimate import Estimate, symmetric_error
from fluxan.greenkubo.estimators.gaussian_process import Posterior, gaussian_process
from fluxan.greenkubo.estimators.mode_sampler import sample_modes
from fluxan.greenkubo.estimators.mode_search import SEARCH, Model, best_modes, slowest_of
from fluxan.greenkubo.estimators.modes import OSCILLATION, spectrum_of
from fluxan.greenkubo.estimators.periodogram import Spectrum
from fluxan.greenkubo.estimators.relaxation_times import relaxation_times

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import ArrayLike, NDArray

    from fluxan.greenkubo.estimators.mode_sampler import Draws

MEMBERS: Final = ("modes", "gaussian process", "relaxation times")


@dataclass(frozen=True)
class MixtureSettings:
    """Pooling of the periodogram, weights of the members, and checks of the result.

    Log evidences are natural logarithms. Numbers that were tuned were tuned on the series of
    benchmarks/zero_frequency.py, with other seeds than the benchmark's.

    Attributes
    ----------
    bin_ratio : float
        Ratio of the upper to the lower end of a bin.
    single_bins : int
        Number of lowest frequencies that are bins of their own.
    max_bin_change : float
        Factor by which the density may change within a bin; with larger ones the tails of sharp lines come out too
        high.
    min_mode_evidence : float
        Gain of log evidence over a white floor alone at which a spectrum has modes beyond doubt.
    gaussian_process_cost : float
        Log evidence of the Gaussian process's best hyper-parameters minus that of their average, by which it is
        weighted. Medians lie at 4.5 to 6.
    power_law_cost : float
        Log evidence that is subtracted from that of the power law of relaxation times: a short run does not distinguish
        it from sums of few relaxations and resonances, whose estimates scattered twice as much without this cost.
    upper_weight : float
        Weight of the upper side in the error: estimates that are too low have errors that are too small, so the error
        must cover more on the upper side.
    quantiles : int
        Equally probable points that represent one normal distribution of log S(0).
    min_weight : float
        Weight below which one of these normal distributions is left out.
    checked_octaves : int
        Octaves above the lowest frequency in which the heaviest member is tested against the data.
    cusp_margin : float
        Log evidence by which a cusp must exceed all members for a warning. By chance it can exceed them slightly: for
        water or resonances in half of the runs without a margin and in a third with it; for a cusp ∝ √f nine out of
        ten warnings remain.
    """

    bin_ratio: float = 1.06
    single_bins: int = 12
    max_bin_change: float = 1.15
    min_mode_evidence: float = 3.0
    gaussian_process_cost: float = 5.0
    power_law_cost: float = 6.0
    upper_weight: float = 0.6
    quantiles: int = 41
    min_weight: float = 1e-4
    checked_octaves: int = 5
    cusp_margin: float = 1.5


MIXTURE: Final = MixtureSettings()


def mixture(
    frequencies: ArrayLike,
    density: ArrayLike,
    *,
    dof: ArrayLike,
    time_step: float = 1.0,
    members: tuple[str, ...] = MEMBERS,
) -> Estimate:
    """Estimate S(0) of a spectral density from its periodogram, with its standard error, without parameters to tune.

    Parameters
    ----------
    frequencies : (n,) array_like
        Above zero, increasing, up to Nyquist; any set: all of a run's, pooled bins, or those of several resolutions
        side by side. The lowest should be 1/(length of the run): slower motion is not searched for.
    density : (n,) array_like
        Two-sided spectral density at these frequencies, averaged over components or segments.
    dof : (n,) array_like or float
        Degrees of freedom of each value, 2 per complex ordinate averaged (6 for three components).
    time_step : float
        Sampling interval, in the inverse unit of `frequencies`.
    members : tuple of str
        Some or all of `MEMBERS`.

    Returns
    -------
    Estimate
        S(0) and its standard error; a Green–Kubo integral is half of each. The same spectrum gives the same numbers to
        nine digits. ``details`` holds

        - ``smooth`` and ``power law``: weights of the Gaussian process and of the power law of relaxation times;
        - ``modes``: mean number of modes; ``cut``: highest frequency of their band; ``slowest``: decay time of the
          slowest mode of the best fit; ``deviance`` and ``bins`` of that fit;
        - ``misfit``: probability of ordinates as far from the heaviest member as those of the worst of the lowest
          octaves;
        - ``cusp``: S(0) over the value where a cusp at f = 0 describes the spectrum better than all members, else zero,
          and its ``exponent``.

    Raises
    ------
    InputError
        The arrays are no spectrum.
    ShortRunError
        There are fewer than 12 frequencies.
    """
    # 1. Pool into bins, without units.
    pooled, unit = _pooled(Spectrum.of(frequencies, density, dof=dof, time_step=time_step))
    # 2. Fit modes, and sample their posterior.
    best = best_modes(pooled)
    draws = sample_modes(best.fit, best.band)
    # 3. Average over the members.
    weighted = _Mixture.of(list(_members(pooled, best, draws, members)))
    value, error = _summary(weighted.zero, weighted.weight)
    # 4. Test the result against the lowest octaves, and against a cusp.
    details = _details(best, draws, time_step) | {
        "smooth": weighted.member_weights.get("gaussian process", 0.0),
        "power law": weighted.member_weights.get("relaxation times", 0.0),
        "misfit": _misfit(pooled, weighted.curve),
        **_cusp(pooled, weighted, value, error),
    }
    return Estimate(value, error, "mixture", details).scaled(unit)


def slowest_motion(spectrum: Spectrum) -> float:
    """Decay time of the slowest mode that a spectrum has beyond doubt, zero where it has none; a fast estimate."""
    best = best_modes(_pooled(spectrum)[0])
    return slowest_of(best) * spectrum.time_step if best.gain > MIXTURE.min_mode_evidence else 0.0


def _pooled(spectrum: Spectrum) -> tuple[Spectrum, float]:
    """Bins of a spectrum without its units."""
    pooled = spectrum.pooled(ratio=MIXTURE.bin_ratio, singles=MIXTURE.single_bins, max_change=MIXTURE.max_bin_change)
    if pooled.frequencies.size < SEARCH.min_bins:
        raise ShortRunError(
            f"an estimate of S(0) needs a spectrum of {SEARCH.min_bins} frequencies or more, "
            f"got {spectrum.frequencies.size}; run longer, about 20 correlation times at least"
        )
    return _without_units(pooled)


def _without_units(spectrum: Spectrum) -> tuple[Spectrum, float]:
    """Spectrum in cycles per sample over its geometric mean, and that mean; rounded to nine digits.

    Other units, or sums in another order, change the last digits, and the result of the Markov chain would change by a
    tenth of the error.
    """
    level = float(np.log(spectrum.density).mean())
    density = np.exp(np.round(np.log(spectrum.density) - level, 9))
    frequencies = np.exp(np.round(np.log(spectrum.frequencies * spectrum.time_step), 9))
    return Spectrum(frequencies, density, spectrum.dof, 1.0), float(np.exp(level))


@dataclass(frozen=True)
class _Member:
    """A member's points (n,) of S(0) with their weights, its log evidence, and log S at the bins of its band."""

    name: str
    log_evidence: float
    zero: NDArray[np.float64]
    weight: NDArray[np.float64]
    curve: NDArray[np.float64]


def _members(pooled: Spectrum, best: Model, draws: Draws, names: tuple[str, ...]) -> Iterator[_Member]:
    """The members of these names; one that does not apply to the spectrum is left out."""
    if "modes" in names:
        curve = np.log(spectrum_of(best.fit.kinds, best.fit.parameters, best.band.half)[0])
        equal = np.full(draws.zero.size, 1 / draws.zero.size)
        yield _Member("modes", _evidence(pooled, best), draws.zero, equal, curve)
    posteriors = {
        "gaussian process": (
            gaussian_process(pooled) if "gaussian process" in names else None,
            MIXTURE.gaussian_process_cost,
        ),
        "relaxation times": (relaxation_times(pooled) if "relaxation times" in names else None, MIXTURE.power_law_cost),
    }
    for name, (posterior, cost) in posteriors.items():
        if posterior is not None:
            yield _Member(name, posterior.log_evidence - cost, *_points(posterior), posterior.curve)


@dataclass(frozen=True)
class _Mixture:
    """Points (n,) of S(0) with their weights, the weight of each member, and the heaviest member's `curve`."""

    zero: NDArray[np.float64]
    weight: NDArray[np.float64]
    member_weights: dict[str, float]
    log_evidence: float
    curve: NDArray[np.float64]

    @classmethod
    def of(cls, members: list[_Member]) -> _Mixture:
        """Weight members by their evidence."""
        evidence = np.array([member.log_evidence for member in members])
        weight = np.exp(evidence - evidence.max())
        weight /= weight.sum()
        return cls(
            np.concatenate([member.zero for member in members]),
            np.concatenate([w * member.weight for w, member in zip(weight, members, strict=True)]),
            {member.name: float(w) for w, member in zip(weight, members, strict=True)},
            float(evidence.max()),
            members[int(np.argmax(weight))].curve,
        )


def _evidence(pooled: Spectrum, best: Model) -> float:
    """Log evidence of modes, with the same cost of bins above the band as for the other members."""
    size = best.band.angle.size
    return best.score + (pooled.frequencies.size - size) - pooled.cost_of_free_bins(size)


def _points(posterior: Posterior) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Equally probable points of every normal distribution of log S(0), as S(0), and their weights."""
    from scipy.special import ndtri

    kept = posterior.weight > MIXTURE.min_weight
    normal = ndtri((np.arange(MIXTURE.quantiles) + 0.5) / MIXTURE.quantiles)
    points = np.exp(posterior.mean[kept, None] + np.sqrt(posterior.variance[kept, None]) * normal)
    weight = np.repeat(posterior.weight[kept] / posterior.weight[kept].sum(), MIXTURE.quantiles) / MIXTURE.quantiles
    return points.ravel(), weight


def _summary(zero: NDArray[np.float64], weight: NDArray[np.float64]) -> tuple[float, float]:
    """Value and error from weighted points (n,) of S(0).

    The error is half the distance to the ends of the central interval of 95.4 %, both sides weighted. A root mean
    square would follow the one draw in twenty that is far off; half the interval of 68 % would ignore it.
    """
    order = np.argsort(zero)
    below = np.cumsum(weight[order]) - 0.5 * weight[order]
    low, middle, high = np.interp([0.0228, 0.5, 0.9772], below, zero[order])
    # A few draws far off may raise the mean above the interval.
    value = min(0.5 * float(weight @ zero + middle), float(high))
    return value, float(symmetric_error(value - low, high - value, upper_weight=MIXTURE.upper_weight))


def _misfit(pooled: Spectrum, curve: NDArray[np.float64]) -> float:
    """Probability that the worst of the lowest octaves is as far from log S as this by chance (Bonferroni's bound)."""
    from scipy.special import gammainc, gammaincc

    octave = np.floor(np.log2(pooled.frequencies[: curve.size] / pooled.frequencies[0] * (1 + 1e-9))).astype(int)
    shape = pooled.dof[: curve.size] / 2
    power = shape * pooled.density[: curve.size] * np.exp(-curve)
    worst = 1.0
    for index in range(min(MIXTURE.checked_octaves, int(octave[-1]) + 1)):
        here = octave == index
        if here.any():
            a, x = shape[here].sum(), power[here].sum()
            worst = min(worst, 2 * float(min(gammainc(a, x), gammaincc(a, x))))
    return min(1.0, MIXTURE.checked_octaves * worst)


def _cusp(pooled: Spectrum, weighted: _Mixture, value: float, error: float) -> dict[str, float]:
    """Ratio of a cusp's S(0) to the value, where a cusp fits the spectrum best and exceeds the value by the error."""
    fit = cusp(pooled)
    if (
        fit is None
        or fit.log_evidence < weighted.log_evidence + MIXTURE.cusp_margin
        or np.exp(fit.log_zero) < value + error
    ):
        return {"cusp": 0.0, "exponent": 0.0}
    return {"cusp": float(np.exp(fit.log_zero)) / value, "exponent": fit.exponent}


def _details(best: Model, draws: Draws, time_step: float) -> dict[str, float]:
    return {
        "modes": float(draws.relaxations.mean() + len(best.fit.modes(OSCILLATION))),
        "cut": float(best.band.angle[-1] / (2 * np.pi * time_step)),
        "slowest": slowest_of(best) * time_step,
        "deviance": best.deviance,
        "bins": float(best.band.angle.size),
    }
