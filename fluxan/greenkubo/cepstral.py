"""Cepstral analysis of a power spectrum: its logarithm, filtered by keeping few Fourier coefficients, read at zero.

L. Ercole, A. Marcolongo, S. Baroni, Sci. Rep. 7, 15835 (2017); for several components or Wishart-reduced spectra
R. Bertossa, F. Grasselli, L. Ercole, S. Baroni, Phys. Rev. Lett. 122, 255901 (2019).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from scipy.fft import dct
from scipy.special import digamma, polygamma

from fluxan.errors import InputError
from fluxan.greenkubo.estimate import Estimate, Spectrum

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

_FEWEST_FREQUENCIES: Final = 32
_CUT_RATIO: Final = 1.15
# Largest mean residual of log S over the lowest 4, 8, 16, ... frequencies, in its standard deviations, that a cutoff
# may leave: a peak at zero frequency that the kept coefficients do not resolve shows there first.
_LARGEST_RESIDUAL: Final = 2.2
_WINDOWS: Final = 2 ** np.arange(2, 13)
# The cutoff that minimises Akaike's criterion leaves a bias as large as the error; twice as many coefficients
# make the bias small beside it, at √2 the error.
_CORRECTION: Final = 2.0


@dataclass(frozen=True)
class Cepstrum:
    """Cepstral coefficients of a spectrum up to one cutoff, with the order that Akaike's criterion takes.

    Attributes
    ----------
    cutoff
        Highest frequency used, f*.
    order
        P*, the number of coefficients that minimises the criterion.
    log_zero
        (n,) log S(0) from 1, 2, ... coefficients.
    variance
        (n,) variance of ``log_zero``.
    coefficients
        (n + 2,) C_0, C_1, ...
    single
        Variance of one coefficient.
    """

    cutoff: float
    order: int
    log_zero: NDArray[np.float64]
    variance: NDArray[np.float64]
    coefficients: NDArray[np.float64]
    single: float

    def residual(self, log_density: NDArray[np.float64], index: int) -> float:
        """Worst mean misfit of the lowest frequencies by ``index`` + 1 coefficients, in standard deviations."""
        size = log_density.size
        kept = np.where(np.arange(size + 1) <= index, self.coefficients, 0.0)
        off = np.cumsum(log_density - dct(kept, type=1)[1:])
        windows = _WINDOWS[size >= _WINDOWS]
        return float(np.max(np.abs(off[windows - 1]) / np.sqrt(2 * size * self.single * windows)))


def cepstral(
    frequencies: ArrayLike,
    density: ArrayLike,
    *,
    dof: float,
    time_step: float = 1.0,
    cutoff: float | None = None,
    correction: float = _CORRECTION,
) -> Estimate:
    """Estimate S(0) by cepstral analysis, with the cutoff frequency chosen from the data.

    Parameters
    ----------
    frequencies
        (n,) all Fourier frequencies of one series or segment length, equally spaced from the first above zero on.
    density
        (n,) two-sided spectral density, averaged over components.
    dof
        Degrees of freedom of each value, one number.
    time_step
        Sampling interval, in the inverse unit of ``frequencies``.
    cutoff
        f*; by default the highest, of Nyquist and its fractions, at which the filtered spectrum leaves no residual
        at the lowest frequencies.
    correction
        Factor on Akaike's order; 1 gives the papers' choice, 2 restores the coverage of the error.

    Returns
    -------
    Estimate
        S(0) and its standard error; ``details`` has ``cutoff`` and ``order``.

    Raises
    ------
    InputError
        For arrays that are no spectrum, unequal spacing, fewer than 32 frequencies or a cutoff below the 32nd.
    """
    spectrum = Spectrum.of(frequencies, density, dof=float(dof), time_step=time_step)
    f = spectrum.frequencies
    if f.size < _FEWEST_FREQUENCIES:
        raise InputError(f"cepstral analysis needs {_FEWEST_FREQUENCIES} frequencies or more, got {f.size}; run longer")
    if np.abs(f / f[0] - np.arange(1, f.size + 1)).max() > 1e-3:
        raise InputError("cepstral analysis needs all Fourier frequencies, equally spaced from the first above zero")
    best, index = _chosen(spectrum, _cut_sizes(f, cutoff), correction)
    value = float(np.exp(best.log_zero[index]))
    return Estimate(
        value=value,
        error=value * float(np.sqrt(best.variance[index])),
        method="cepstral",
        details={"cutoff": best.cutoff, "order": index + 1},
    )


def _chosen(spectrum: Spectrum, sizes: list[int], correction: float) -> tuple[Cepstrum, int]:
    """Cepstrum of the highest cutoff that passes, else of the one that fails least, and the index of its order."""
    least = np.inf
    for size in sizes:
        cepstrum = _cepstrum(spectrum, size)
        index = min(round(cepstrum.order * correction), cepstrum.log_zero.size) - 1
        residual = cepstrum.residual(_log_density(spectrum, size), index)
        if residual < least:
            least, best = residual, (cepstrum, index)
        if residual < _LARGEST_RESIDUAL:
            break
    return best


def _log_density(spectrum: Spectrum, size: int) -> NDArray[np.float64]:
    """Log S of the lowest frequencies without the bias of a logarithm, ψ(ℓ) − log ℓ with ℓ = dof/2."""
    shape = float(spectrum.dof[0]) / 2
    return np.log(spectrum.density[:size]) - (digamma(shape) - np.log(shape))


def _cut_sizes(f: NDArray[np.float64], cutoff: float | None) -> list[int]:
    """Numbers of frequencies kept: those below ``cutoff``, or all and every fraction down to the fewest."""
    if cutoff is not None:
        size = int(np.searchsorted(f, cutoff, side="right"))
        if size < _FEWEST_FREQUENCIES:
            raise InputError(
                f"a cutoff of {cutoff:g} leaves {size} frequencies; cepstral analysis needs {_FEWEST_FREQUENCIES} "
                f"({f[_FEWEST_FREQUENCIES - 1]:g} or more)"
            )
        return [size]
    sizes = []
    size = f.size
    while size >= _FEWEST_FREQUENCIES:
        sizes.append(size)
        size = int(size / _CUT_RATIO)
    return sizes


def _cepstrum(spectrum: Spectrum, size: int) -> Cepstrum:
    """Cepstral coefficients of the lowest ``size`` frequencies, as if the cutoff were Nyquist.

    With ℓ = dof/2, log S_k − (ψ(ℓ) − log ℓ) is unbiased with variance ψ'(ℓ), and of 2·size points the coefficients
    C_n have variance ψ'(ℓ)/(2·size), C_0 twice that (PRL, eq. 8 and 9; for ℓ = 1 Sci. Rep., eq. 11 to 16). Then
    log S(0) = C_0 + 2 Σ_{0<n<P} C_n with variance ψ'(ℓ)(4P − 2)/(2·size), and P* minimises
    Σ_{n≥P} C_n²/σ_n² + 2P. The zero frequency, which the mean of the flux spoils, takes the value of the first.
    """
    log_density = _log_density(spectrum, size)
    coefficients = dct(np.concatenate([log_density[:1], log_density]), type=1) / (2 * size)
    single = float(polygamma(1, spectrum.dof[0] / 2)) / (2 * size)
    orders = np.arange(1, size, dtype=np.int64)
    standard = coefficients[1:size] ** 2 / single
    criterion = np.cumsum(standard[::-1])[::-1] + 2 * orders
    return Cepstrum(
        cutoff=float(spectrum.frequencies[size - 1]),
        order=int(orders[np.argmin(criterion)]),
        log_zero=coefficients[0] + 2 * np.concatenate([[0.0], np.cumsum(coefficients[1 : size - 1])]),
        variance=single * (4.0 * orders - 2.0).astype(np.float64),
        coefficients=coefficients,
        single=single,
    )
