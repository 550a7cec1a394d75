"""Cepstral analysis of a power spectrum: S(0) from its logarithm, smoothed by keeping few Fourier coefficients.

L. Ercole, A. Marcolongo, S. Baroni, Sci. Rep. 7, 15835 (2017); for several components or Wishart-reduced spectra
R. Bertossa, F. Grasselli, L. Ercole, S. Baroni, Phys. Rev. Lett. 122, 255901 (2019).

With a cutoff given, this is their analysis. Without one, coefficients are taken in the warped frequency u =
asinh(f/f₀), linear below f₀ and logarithmic above, as suits spectra of relaxations; f₀ = ∞ gives that of the papers.
Cutoff, f₀ and number of coefficients are averaged over with the weights of Akaike's criterion, the number then doubled.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np
from scipy.fft import dct
from scipy.linalg import solve_triangular
from scipy.special import digamma, polygamma

from fluxan.errors import InputError
from fluxan.greenkubo.estimators.estimate import Estimate, symmetric_error
from fluxan.greenkubo.estimators.periodogram import Spectrum

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True)
class CepstralSettings:
    """Bins, filters and weights of the analysis without a given cutoff.

    Attributes
    ----------
    min_frequencies : int
        Fewest frequencies over which the bias and variance of the logarithms average out.
    correction : float
        Factor on Akaike's order. The order that minimises Akaike's criterion leaves a bias as large as the error; with
        twice as many coefficients the bias is small beside it.
    bin_ratio : float
        Ratio of the upper to the lower end of a bin: bins keep the information of a smooth spectrum in few numbers.
    single_bins : int
        Number of lowest frequencies that are bins of their own.
    min_bins : int
        Number of bins below the lowest cutoff.
    max_coefficients : int
        Largest number of cepstral coefficients.
    cut_ratio : float
        Ratio of one cutoff to the next. Few cutoffs suffice, since they are averaged over.
    largest_warp, warp_ratio, smallest_warp : float
        Range of f₀: from `largest_warp` times the highest frequency, where u is practically linear, down by factors of
        `warp_ratio` to `smallest_warp` times the lowest, so that chance in the lowest few is not taken for a peak.
    warp_cost : float
        Cost in Akaike's criterion of an e-fold of f₀, the same as that of a coefficient.
    max_variance : float
        Orders whose variance of log S(0) exceeds this are left out.
    upper_weight : float
        Weight of the upper side in the error: values that are too low have errors that are too small.
    min_independence : float
        Ratio of a diagonal element of R in the QR decomposition to the first one below which bins do not resolve a
        cosine.
    """

    min_frequencies: int = 32
    correction: float = 2.0
    bin_ratio: float = 1.08
    single_bins: int = 12
    min_bins: int = 12
    max_coefficients: int = 48
    cut_ratio: float = 1.8
    largest_warp: float = 4.0
    warp_ratio: float = 4.0
    smallest_warp: float = 15.0
    warp_cost: float = 2.0
    max_variance: float = 1.0
    upper_weight: float = 0.75
    min_independence: float = 1e-6


CEPSTRAL: Final = CepstralSettings()


@dataclass(frozen=True)
class Cepstrum:
    """Log S at zero frequency for one cutoff and warp, for every number of coefficients.

    Attributes
    ----------
    cutoff : float
        Highest frequency used, f*.
    warp : float
        f₀; infinite for the plain frequency.
    criterion : (n,) float64
        Akaike's criterion of 1, 2, ... coefficients.
    log_zero : (n,) float64
        log S(0) from 1, 2, ... coefficients.
    variance : (n,) float64
        Variance of `log_zero`.
    """

    cutoff: float
    warp: float
    criterion: NDArray[np.float64]
    log_zero: NDArray[np.float64]
    variance: NDArray[np.float64]

    def multiplied(self, correction: float) -> NDArray[np.int64]:
        """Index (n,) of the order `correction` times each order, rounded up, at most the last."""
        orders = np.arange(1, self.criterion.size + 1)
        return np.clip(np.ceil(orders * correction), 1, orders.size).astype(np.int64) - 1


def cepstral(
    frequencies: ArrayLike,
    density: ArrayLike,
    *,
    dof: float,
    time_step: float = 1.0,
    cutoff: float | None = None,
    correction: float = CEPSTRAL.correction,
) -> Estimate:
    """Estimate S(0) by cepstral analysis, with the cutoff frequency chosen from the data.

    Parameters
    ----------
    frequencies : (n,) array_like
        All Fourier frequencies of one series or segment length, equally spaced from the first above zero on.
    density : (n,) array_like
        Two-sided spectral density, averaged over components.
    dof : float
        Degrees of freedom of each value.
    time_step : float
        Sampling interval, in the inverse unit of `frequencies`.
    cutoff : float, optional
        f* of the papers' analysis, in plain frequency; by default cutoffs from Nyquist down are averaged over, and
        warps of the frequency.
    correction : float
        Factor on Akaike's order; 1 is the papers' choice, 2 restores the coverage of the error.

    Returns
    -------
    Estimate
        S(0) and its standard error; ``details`` has ``cutoff``, ``order`` (coefficients kept) and ``warp`` (f₀), those
        of greatest weight.

    Raises
    ------
    InputError
        The arrays are no spectrum, unequally spaced or of fewer than 32 frequencies, or the cutoff is below the 32nd.
    """
    spectrum = Spectrum.of(frequencies, density, dof=float(dof), time_step=time_step)
    f = spectrum.frequencies
    if f.size < CEPSTRAL.min_frequencies:
        raise InputError(
            f"cepstral analysis needs {CEPSTRAL.min_frequencies} frequencies or more, got {f.size}; run longer"
        )
    if np.abs(f / f[0] - np.arange(1, f.size + 1)).max() > 1e-3:
        raise InputError("cepstral analysis needs all Fourier frequencies, equally spaced from the first above zero")
    if cutoff is None:
        return _averaged(list(_warped(spectrum)), correction)
    return _best(_plain(spectrum, _size(f, cutoff)), correction)


def _best(cepstrum: Cepstrum, correction: float) -> Estimate:
    """The papers' estimate: at the order that minimises the criterion, times a factor."""
    index = int(cepstrum.multiplied(correction)[np.argmin(cepstrum.criterion)])
    value = float(np.exp(cepstrum.log_zero[index]))
    error = value * float(np.sqrt(cepstrum.variance[index]))
    return Estimate(value, error, "cepstral", _details(cepstrum, index + 1))


def _averaged(cepstra: list[Cepstrum], correction: float) -> Estimate:
    """Average log S(0) at the multiplied orders with Akaike's weights of the orders.

    The variance is the mean of two estimates. That of the papers, at the multiplied order, scatters little but does not
    include the remaining bias. That at Akaike's order, with the spread over filters and the squared change due to
    multiplying the order, includes the bias but scatters.
    """
    # Log S(0) and its variance at Akaike's orders (low) and at the multiplied ones (high), over all filters.
    multiplied = [cepstrum.multiplied(correction) for cepstrum in cepstra]
    pairs = list(zip(cepstra, multiplied, strict=True))
    low, low_variance = np.concatenate([[c.log_zero, c.variance] for c in cepstra], axis=1)
    high, high_variance = np.concatenate([[c.log_zero[index], c.variance[index]] for c, index in pairs], axis=1)
    # Akaike's weights.
    criterion = np.concatenate([cepstrum.criterion for cepstrum in cepstra])
    criterion[high_variance > CEPSTRAL.max_variance] = np.inf
    weights = np.exp(-0.5 * (criterion - criterion.min()))
    weights /= weights.sum()
    # The mean, and its variance from both estimates.
    mean, mean_low = float(weights @ high), float(weights @ low)
    unbiased = float(weights @ high_variance)
    with_bias = float(weights @ (low_variance + (low - mean_low) ** 2)) + (mean - mean_low) ** 2
    heaviest, index = _owner(cepstra, int(np.argmax(weights)))
    order = int(heaviest.multiplied(correction)[index]) + 1
    value = float(np.exp(mean))
    return Estimate(value, value * _width(np.sqrt(0.5 * (unbiased + with_bias))), "cepstral", _details(heaviest, order))


def _width(sd: float) -> float:
    """Relative error of S(0): half the distance to the ends of the interval of ±2 ``sd`` of its logarithm.

    Values that are too low have errors that are too small, so the upper side weighs more.
    """
    return symmetric_error(-float(np.expm1(-2 * sd)), float(np.expm1(2 * sd)), upper_weight=CEPSTRAL.upper_weight)


def _owner(cepstra: list[Cepstrum], index: int) -> tuple[Cepstrum, int]:
    """Cepstrum that an index into the orders of all cepstra belongs to, and the order in it."""
    ends = np.cumsum([cepstrum.criterion.size for cepstrum in cepstra])
    which = int(np.searchsorted(ends, index, side="right"))
    return cepstra[which], index - int(ends[which]) + cepstra[which].criterion.size


def _details(cepstrum: Cepstrum, order: int) -> dict[str, float]:
    return {"cutoff": cepstrum.cutoff, "order": order, "warp": cepstrum.warp}


def _logarithm(
    density: NDArray[np.float64], dof: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Log S without the bias of a logarithm, ψ(ℓ) − log ℓ with ℓ = dof/2, and its variance, ψ'(ℓ)."""
    shape = dof / 2
    return np.log(density) - (digamma(shape) - np.log(shape)), polygamma(1, shape)


def _size(f: NDArray[np.float64], cutoff: float) -> int:
    """Number of frequencies up to a cutoff."""
    size = int(np.searchsorted(f, cutoff, side="right"))
    if size < CEPSTRAL.min_frequencies:
        raise InputError(
            f"a cutoff of {cutoff:g} leaves {size} frequencies; cepstral analysis needs {CEPSTRAL.min_frequencies} "
            f"({f[CEPSTRAL.min_frequencies - 1]:g} or more)"
        )
    return size


def _plain(spectrum: Spectrum, size: int) -> Cepstrum:
    """Cepstral coefficients of the lowest ``size`` frequencies, as if the cutoff were Nyquist.

    Of 2·size points the coefficients C_n have the variance σ² = ψ'(ℓ)/(2·size), C_0 twice that (PRL, eq. 8 and 9; for
    ℓ = 1 Sci. Rep., eq. 11 to 16). Then log S(0) = C_0 + 2 Σ_{0<n<P} C_n with variance σ²(4P − 2), and P* minimises
    Σ_{n≥P} C_n²/σ² + 2P. The value at zero frequency, which depends on the mean of the flux, is replaced by the first
    one above.
    """
    log_density, variance = _logarithm(spectrum.density[:size], spectrum.dof[:size])
    coefficients = dct(np.concatenate([log_density[:1], log_density]), type=1) / (2 * size)
    single = float(variance[0]) / (2 * size)
    orders = np.arange(1, size)
    standard = coefficients[1:size] ** 2 / single
    return Cepstrum(
        cutoff=float(spectrum.frequencies[size - 1]),
        warp=np.inf,
        criterion=np.cumsum(standard[::-1])[::-1] + 2.0 * orders,
        log_zero=coefficients[0] + 2 * np.concatenate([[0.0], np.cumsum(coefficients[1 : size - 1])]),
        variance=single * (4.0 * orders - 2.0).astype(np.float64),
    )


def _warped(spectrum: Spectrum) -> Iterator[Cepstrum]:
    """Cepstra of every cutoff and warp, with comparable criteria.

    Bins above a cutoff count as one free coefficient each, and so does every e-fold of f₀, since the coefficients kept
    then resolve finer structure near zero.
    """
    # Bins are made of integers, so that they do not depend on the unit of frequency.
    unit = float(spectrum.frequencies[0])
    integers = np.arange(1.0, spectrum.frequencies.size + 1)
    bins = replace(spectrum, frequencies=integers).pooled(ratio=CEPSTRAL.bin_ratio, singles=CEPSTRAL.single_bins)
    f, total = bins.frequencies, bins.frequencies.size
    log_density, variance = _logarithm(bins.density, bins.dof)
    weight = 1 / np.sqrt(variance)
    largest = CEPSTRAL.largest_warp * float(f[-1])
    size = total
    while size >= CEPSTRAL.min_bins:
        top = float(integers[-1] if size == total else 0.5 * (f[size - 1] + f[size]))
        warp = largest
        while warp > CEPSTRAL.smallest_warp * f[0]:
            # Between these f₀ and the largest one, u is practically linear.
            if warp == largest or warp < 2 * top:
                u = np.arcsinh(f[:size] / warp) / np.arcsinh(top / warp)
                cost = 2 * (total - size) + CEPSTRAL.warp_cost * np.log(largest / warp)
                yield Cepstrum(top * unit, warp * unit, *_fitted(u, log_density[:size], weight[:size], cost))
            warp /= CEPSTRAL.warp_ratio
        size = min(size - 1, int(np.searchsorted(f, f[size - 1] / CEPSTRAL.cut_ratio)))


def _fitted(
    u: NDArray[np.float64], log_density: NDArray[np.float64], weight: NDArray[np.float64], cost: float
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Criterion, log S(0) and its variance from 1, 2, ... cosines in u, 0 to 1, by weighted least squares.

    All orders come from one QR decomposition: the sum of squares left falls by the square of each coefficient in the
    orthogonal basis, and since every cosine is 1 at zero, log S(0) is the sum of the coefficients, 1ᵀR⁻¹Qᵀy.
    """
    n = min(CEPSTRAL.max_coefficients, u.size - 2)
    basis, triangle = np.linalg.qr(np.cos(np.pi * np.outer(u, np.arange(n))) * weight[:, None])
    # Cosines finer than the bins are not independent of one another.
    independent = np.abs(np.diagonal(triangle)) > CEPSTRAL.min_independence * abs(triangle[0, 0])
    n = n if independent.all() else int(np.argmin(independent))
    coefficients = (weight * log_density) @ basis[:, :n]
    at_zero = solve_triangular(triangle[:n, :n], np.ones(n), trans="T", check_finite=False)
    left = np.sum((weight * log_density) ** 2) - np.cumsum(coefficients**2)
    return (
        left + 2.0 * np.arange(1, n + 1) + cost,
        np.cumsum(at_zero * coefficients),
        np.cumsum(at_zero**2),
    )
