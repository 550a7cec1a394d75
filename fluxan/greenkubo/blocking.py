"""The spectrum of a flux near f = 0 from covariances of its block means, all that a correlator keeps.

Means over blocks of w samples have the same S(0) as the samples, so any w will do whose lags 0 … p − 1 outlast the
slowest motion. Whittle's likelihood Σ_f [log S(f) + I(f)/S(f)] sees the periodogram I through its Fourier sums with
1/S alone, which for a few modes need the first covariances only. Hence any I with these covariances serves, and the
autoregressive one of order p − 1, of maximal entropy (J. P. Burg, 1967), is positive; to it belong the degrees of
freedom of all block means. Low frequencies alone are used, where what averaging took can be put back and aliases taken
off: of a flat spectrum these are up to 19 % there, which the spectrum of the samples themselves tells.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from fluxan.greenkubo.estimators.mixture import slowest_motion
from fluxan.greenkubo.estimators.periodogram import Spectrum

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fluxan.correlation import Correlator

#: Fewest lags of a level of the linear scheme; half the most that are used, so that none of the longest is lost.
_LAGS: Final = 32
#: Frequencies up to Nyquist for each lag: the lowest must lie so low that motions which lags span count as resolved.
_FREQUENCIES: Final = 32
#: Share of them that is used of block means.
_USED: Final = 0.5
#: Fewest block means of a level whose spectrum is looked at, and of one that a flux is divided by.
_FEWEST: Final = 128
_FEWEST_DIVIDED: Final = 32
#: Decay times of the slowest motion that the lags of a level should span where a coarser level does.
_AMPLE: Final = 6.0
#: Aliases on either side that are taken off (what is left of white noise is 1 %), on a grid of frequencies.
_ALIASES: Final = 8
_GRID: Final = 8192
#: White noise over the variance, which keeps smooth fluxes' covariances regular.
_NOISE: Final = 1e-9
#: Square of the mean over that of a flux whose mean is zero, at which it is not: by chance once in 2000 runs.
_OFFSET: Final = 6.0


@dataclass(frozen=True)
class BlockingLevel:
    """Covariances of means over blocks.

    Attributes
    ----------
    width
        Samples per block.
    sampling
        Time between samples, ps.
    n_blocks
        How many there are.
    values
        (n_lags, n, 3, n, 3) ⟨a(0) b(k)⟩ of channels, biased: divided by the number of blocks, not of products, so
        that no spectrum of them is negative.
    """

    width: int
    sampling: float
    n_blocks: int
    values: NDArray[np.float64]

    @property
    def time_step(self) -> float:
        """Length of a block, ps."""
        return self.width * self.sampling

    @property
    def total(self) -> NDArray[np.float64]:
        """Of the sum of channels, averaged over components, (n_lags,)."""
        return summed(self.values)

    @property
    def span(self) -> float:
        """Longest lag, ps."""
        return (len(self.values) - 1) * self.time_step

    def spectrum(self, finest: BlockingLevel) -> Spectrum:
        """Spectrum of maximal entropy of the total, at frequencies that are multiples of the first.

        Block means have S_w(f) = Σ_m S(f + m/w) H(f + m/w), H the response of averaging and all f per sample. The share
        of m = 0 is taken from the spectrum of `finest`, the samples themselves.
        """
        weights, rest = self._regression()
        size = 2 * min(self.n_blocks // 2, _FREQUENCIES * len(self.values))
        last = size // 2 - 1 if self.width == 1 else int(_USED * size / 2)
        response = np.fft.rfft(np.concatenate([[1.0], -weights]), size)[1 : last + 1]
        frequencies = np.arange(1, last + 1) / (size * self.width)
        density = self.time_step * rest / np.abs(response) ** 2
        if self.width > 1:
            density *= finest.part_of_aliases(frequencies, self.width)
        dof = 6.0 * self.n_blocks / size
        return Spectrum.of(frequencies / self.sampling, density, dof=dof, time_step=self.sampling)

    def _regression(self) -> tuple[NDArray[np.float64], float]:
        """Weights of the values before, of the autoregression that keeps all covariances, and what they leave over."""
        from scipy.linalg import solve_toeplitz

        total = self.total
        total[0] *= 1 + _NOISE
        weights = solve_toeplitz(total[:-1], total[1:])
        return weights, float(total[0] - weights @ total[1:])

    def part_of_aliases(self, frequencies: NDArray[np.float64], width: int) -> NDArray[np.float64]:
        """What a spectrum, per sample, has at its frequencies over what means over blocks show of it there."""
        weights, _ = self._regression()
        grid = np.abs(np.fft.rfft(np.concatenate([[1.0], -weights]), max(_GRID, 4 * weights.size))) ** -2.0
        orders = np.arange(-min(_ALIASES, (width - 1) // 2), min(_ALIASES, width // 2) + 1)
        aliases = frequencies[:, None] + orders / width
        shown = np.interp(np.abs(aliases), np.linspace(0, 0.5, grid.size), grid)
        response = (np.sinc(width * aliases) / np.sinc(aliases)) ** 2
        return shown[:, orders == 0][:, 0] / (shown * response).sum(axis=1)

    def amplitudes(self) -> tuple[NDArray[np.float64], NDArray[np.complex128]]:
        """Frequencies (m,) from near zero to near Nyquist, and amplitudes (m, 3 n, n, 3) of channels there.

        Their squares, summed over the second axis, are cross-spectral densities with Parzen's window, whose bandwidth
        is the distance of the frequencies.
        """
        n_lags, n = self.values.shape[:2]
        size = max(n_lags // 4, 8)
        frequencies = (np.arange(size) + 0.5) / (2 * size * self.time_step)
        values, vectors = np.linalg.eigh(self.windowed(frequencies).reshape(size, 3 * n, 3 * n))
        scaled = vectors.conj() * np.sqrt(np.maximum(values, 0.0))[:, None, :]
        return frequencies, scaled.transpose(0, 2, 1).reshape(size, 3 * n, n, 3)

    def windowed(self, frequencies: NDArray[np.float64]) -> NDArray[np.complex128]:
        """Cross-spectral densities S_ab = Σ_k C_ab(k) exp(-2πi f k), (m, n, 3, n, 3), smooth and positive.

        Lags are weighed with Parzen's window; pairs that were not asked for count as zero.
        """
        from scipy.signal.windows import parzen

        n_lags = len(self.values)
        window = parzen(2 * n_lags - 1)[n_lags - 1 :] * self.time_step
        window[0] /= 2
        phases = np.exp(-2j * np.pi * self.time_step * np.outer(frequencies, np.arange(n_lags))) * window
        half = np.tensordot(phases, np.nan_to_num(self.values), axes=1)
        return half + half.conj().transpose(0, 3, 4, 1, 2)


def summed(values: NDArray[Any]) -> NDArray[Any]:
    """Of the sum of channels, averaged over components, (m,), from products (m, n, 3, n, 3) of channels."""
    return np.einsum("kaxbx->k", values) / 3


def blocking_levels(correlator: Correlator, time_step: float) -> list[BlockingLevel]:
    """Levels of block means that double from one to the next; the linear scheme's are made of its correlation."""
    found = _levels(correlator, time_step, remove_mean=True)
    coarse = _long_enough(found, _FEWEST)[-1]
    mean = correlator.mean().reshape(-1, 3).sum(axis=0)
    scatter = np.einsum("axbx->", coarse.windowed(np.zeros(1))[0].real) / (coarse.n_blocks * coarse.time_step)
    # A flux whose mean is zero tells more than one whose mean is taken out, and most are.
    return found if mean @ mean > _OFFSET * scatter else _levels(correlator, time_step, remove_mean=False)


def _levels(correlator: Correlator, time_step: float, *, remove_mean: bool) -> list[BlockingLevel]:
    n = correlator.n_channels // 3
    if correlator.layout.scheme == "multitau":
        return [
            BlockingLevel(
                level.width,
                time_step,
                level.n_blocks,
                (level.values * (level.counts / level.counts[0])[:, None, None]).reshape(-1, n, 3, n, 3),
            )
            for level in correlator.level_covariances(remove_mean=remove_mean)
        ]
    correlation = correlator.correlation(remove_mean=remove_mean)
    values = correlation.values * (correlation.counts / correlation.counts[0])[:, None, None]
    found: list[BlockingLevel] = []
    for doubled in range(correlator.n_samples.bit_length()):
        if doubled:
            values = _coarser(values)
        if found and len(values) < _LAGS:
            break
        n_blocks = correlator.n_samples >> doubled
        found.append(BlockingLevel(2**doubled, time_step, n_blocks, values[: 2 * _LAGS].reshape(-1, n, 3, n, 3)))
    return found


def _coarser(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Covariances of means of neighbours, (n_lags, n_channels, n_channels), at half as many lags."""
    around = np.concatenate([values[1:2].transpose(0, 2, 1), values])
    stop = 2 * (len(values) // 2)
    return (around[:stop:2] + 2 * around[1 : stop + 1 : 2] + around[2 : stop + 2 : 2]) / 4


def resolving_level(levels: list[BlockingLevel]) -> tuple[BlockingLevel, float]:
    """The finest level whose lags amply span the slowest motion it or coarser ones show; that one's decay time."""
    slowest, chosen = 0.0, None
    for level in reversed(_long_enough(levels, _FEWEST)):
        shown = slowest_motion(level.spectrum(levels[0]))
        if chosen is not None and level.span < _AMPLE * max(slowest, shown):
            break
        slowest, chosen = max(slowest, shown), level
    return chosen or levels[0], slowest


def level_for_partition(levels: list[BlockingLevel], band: float) -> BlockingLevel:
    """The finest level whose frequencies lie in a band, THz, or the coarsest there is."""
    enough = _long_enough(levels, _FEWEST_DIVIDED)
    return next((level for level in enough if 0.5 / level.time_step <= band), enough[-1])


def _long_enough(found: list[BlockingLevel], n_blocks: int) -> list[BlockingLevel]:
    return [level for level in found if level.n_blocks >= n_blocks] or found[:1]
