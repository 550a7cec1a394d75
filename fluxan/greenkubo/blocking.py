"""The spectrum of a flux near f = 0 from covariances of its block means, which are all that a correlator keeps.

Means over blocks of w samples have the same S(0) as the samples, so any w is valid for which the lags 0 … p − 1 span
the slowest motion. Whittle's likelihood Σ_f [log S(f) + I(f)/S(f)] depends on the periodogram I only through its
Fourier sums with 1/S, which for a few modes need only the first covariances. Hence any I with these covariances can be
used, and the autoregressive one of order p − 1, of maximal entropy (J. P. Burg, 1967), is positive; its degrees of
freedom are those of all block means. Only low frequencies are used, where the response of averaging can be undone and
aliases can be subtracted: for a flat spectrum aliases are up to 19 % there, and the spectrum of the samples themselves
gives them.
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


@dataclass(frozen=True)
class BlockingSettings:
    """Choice of a blocking level, and its spectrum.

    Attributes
    ----------
    min_lags : int
        Fewest lags of a level of the linear scheme, and half the most that are used, so that none of the longest lags
        is lost.
    frequencies_per_lag : int
        Frequencies up to Nyquist for each lag: the lowest must be low enough for motions that the lags span to count
        as resolved.
    used_band : float
        Fraction of these frequencies that is used for block means.
    min_blocks : int
        Fewest block means of a level whose spectrum is used.
    min_blocks_partition : int
        Fewest block means of a level that is used to divide a flux among its parts.
    ample_decay_times : float
        Decay times of the slowest motion that the lags of a level should span where a coarser level does.
    aliases : int
        Number of aliases on either side that are subtracted; 1 % of white noise remains.
    alias_grid : int
        Number of frequencies of the spectrum from which aliases are computed.
    noise : float
        White noise, as a fraction of the variance, that is added to keep covariances of smooth fluxes invertible.
    max_offset : float
        Ratio of the squared mean to its expectation for a flux of zero mean beyond which the mean is subtracted,
        exceeded by chance once in 2000 runs.
    """

    min_lags: int = 32
    frequencies_per_lag: int = 32
    used_band: float = 0.5
    min_blocks: int = 128
    min_blocks_partition: int = 32
    ample_decay_times: float = 6.0
    aliases: int = 8
    alias_grid: int = 8192
    noise: float = 1e-9
    max_offset: float = 6.0


BLOCKING: Final = BlockingSettings()


@dataclass(frozen=True)
class BlockingLevel:
    """Covariances of means over blocks.

    Attributes
    ----------
    width : int
        Samples per block.
    sampling : float
        Time between samples, ps.
    n_blocks : int
        Number of blocks.
    values : (n_lags, n, 3, n, 3) float64
        ⟨a(0) b(k)⟩ of channels, biased: divided by the number of blocks, not of products, so that no spectrum of them
        is negative.
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
        """Covariances (n_lags,) of the sum of channels, averaged over components."""
        return summed(self.values)

    @property
    def span(self) -> float:
        """Longest lag, ps."""
        return (len(self.values) - 1) * self.time_step

    def spectrum(self, finest: BlockingLevel) -> Spectrum:
        """Spectrum of maximal entropy of the total, at frequencies that are multiples of the first.

        Block means have S_w(f) = Σ_m S(f + m/w) H(f + m/w), H the response of averaging and all f per sample. The part
        of m = 0 is taken from the spectrum of `finest`, the samples themselves.
        """
        weights, rest = self._regression()
        size = 2 * min(self.n_blocks // 2, BLOCKING.frequencies_per_lag * len(self.values))
        last = size // 2 - 1 if self.width == 1 else int(BLOCKING.used_band * size / 2)
        response = np.fft.rfft(np.concatenate([[1.0], -weights]), size)[1 : last + 1]
        frequencies = np.arange(1, last + 1) / (size * self.width)
        density = self.time_step * rest / np.abs(response) ** 2
        if self.width > 1:
            density *= finest.unaliased_fraction(frequencies, self.width)
        dof = 6.0 * self.n_blocks / size
        return Spectrum.of(frequencies / self.sampling, density, dof=dof, time_step=self.sampling)

    def _regression(self) -> tuple[NDArray[np.float64], float]:
        """Coefficients of the autoregression that reproduces all covariances, and its residual variance."""
        from scipy.linalg import solve_toeplitz

        total = self.total
        total[0] *= 1 + BLOCKING.noise
        weights = solve_toeplitz(total[:-1], total[1:])
        return weights, float(total[0] - weights @ total[1:])

    def unaliased_fraction(self, frequencies: NDArray[np.float64], width: int) -> NDArray[np.float64]:
        """Ratio of the density at frequencies (n,) per sample to that of means over `width` samples with aliases."""
        weights, _ = self._regression()
        grid = (
            np.abs(np.fft.rfft(np.concatenate([[1.0], -weights]), max(BLOCKING.alias_grid, 4 * weights.size))) ** -2.0
        )
        orders = np.arange(-min(BLOCKING.aliases, (width - 1) // 2), min(BLOCKING.aliases, width // 2) + 1)
        aliases = frequencies[:, None] + orders / width
        density = np.interp(np.abs(aliases), np.linspace(0, 0.5, grid.size), grid)
        response = (np.sinc(width * aliases) / np.sinc(aliases)) ** 2
        return density[:, orders == 0][:, 0] / (density * response).sum(axis=1)

    def amplitudes(self) -> tuple[NDArray[np.float64], NDArray[np.complex128]]:
        """Frequencies (m,) from near zero to near Nyquist, and amplitudes (m, 3 n, n, 3) of channels there.

        Their squares, summed over the second axis, are cross-spectral densities with Parzen's window, whose bandwidth
        is the spacing of the frequencies.
        """
        n_lags, n = self.values.shape[:2]
        size = max(n_lags // 4, 8)
        frequencies = (np.arange(size) + 0.5) / (2 * size * self.time_step)
        values, vectors = np.linalg.eigh(self.windowed(frequencies).reshape(size, 3 * n, 3 * n))
        scaled = vectors.conj() * np.sqrt(np.maximum(values, 0.0))[:, None, :]
        return frequencies, scaled.transpose(0, 2, 1).reshape(size, 3 * n, n, 3)

    def windowed(self, frequencies: NDArray[np.float64]) -> NDArray[np.complex128]:
        """Cross-spectral densities S_ab = Σ_k C_ab(k) exp(-2πi f k), (m, n, 3, n, 3), smooth and positive.

        Lags are weighted with Parzen's window; pairs that were not accumulated count as zero.
        """
        from scipy.signal.windows import parzen

        n_lags = len(self.values)
        window = parzen(2 * n_lags - 1)[n_lags - 1 :] * self.time_step
        window[0] /= 2
        phases = np.exp(-2j * np.pi * self.time_step * np.outer(frequencies, np.arange(n_lags))) * window
        half = np.tensordot(phases, np.nan_to_num(self.values), axes=1)
        return half + half.conj().transpose(0, 3, 4, 1, 2)


def summed(values: NDArray[Any]) -> NDArray[Any]:
    """Products (m,) of the sum of channels, averaged over components, from products (m, n, 3, n, 3) of channels."""
    return np.einsum("kaxbx->k", values) / 3


def blocking_levels(correlator: Correlator, time_step: float) -> list[BlockingLevel]:
    """Levels of block means whose width doubles from one to the next; for the linear scheme from its correlation."""
    levels = _levels(correlator, time_step, remove_mean=True)
    coarse = _long_enough(levels, BLOCKING.min_blocks)[-1]
    mean = correlator.mean().reshape(-1, 3).sum(axis=0)
    scatter = np.einsum("axbx->", coarse.windowed(np.zeros(1))[0].real) / (coarse.n_blocks * coarse.time_step)
    # In equilibrium the mean is zero, and subtracting its estimate would lose information.
    return levels if mean @ mean > BLOCKING.max_offset * scatter else _levels(correlator, time_step, remove_mean=False)


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
    levels: list[BlockingLevel] = []
    for doubled in range(correlator.n_samples.bit_length()):
        if doubled:
            values = _coarser(values)
        if levels and len(values) < BLOCKING.min_lags:
            break
        n_blocks, kept = correlator.n_samples >> doubled, values[: 2 * BLOCKING.min_lags]
        levels.append(BlockingLevel(2**doubled, time_step, n_blocks, kept.reshape(-1, n, 3, n, 3)))
    return levels


def _coarser(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Covariances of means of neighbouring blocks, (n_lags, n_channels, n_channels), at half as many lags."""
    around = np.concatenate([values[1:2].transpose(0, 2, 1), values])
    stop = 2 * (len(values) // 2)
    return (around[:stop:2] + 2 * around[1 : stop + 1 : 2] + around[2 : stop + 2 : 2]) / 4


def resolving_level(levels: list[BlockingLevel]) -> tuple[BlockingLevel, float]:
    """Finest level whose lags span the slowest motion seen in it or in coarser ones, and that motion's decay time."""
    slowest, chosen = 0.0, None
    for level in reversed(_long_enough(levels, BLOCKING.min_blocks)):
        decay_time = slowest_motion(level.spectrum(levels[0]))
        if chosen is not None and level.span < BLOCKING.ample_decay_times * max(slowest, decay_time):
            break
        slowest, chosen = max(slowest, decay_time), level
    return chosen or levels[0], slowest


def level_for_partition(levels: list[BlockingLevel], band: float) -> BlockingLevel:
    """The finest level whose lowest frequency lies in a band (THz), or the coarsest level there is."""
    enough = _long_enough(levels, BLOCKING.min_blocks_partition)
    return next((level for level in enough if 0.5 / level.time_step <= band), enough[-1])


def _long_enough(levels: list[BlockingLevel], n_blocks: int) -> list[BlockingLevel]:
    return [level for level in levels if level.n_blocks >= n_blocks] or levels[:1]
