"""Fourier amplitudes of a flux and of the species' velocities, at low frequency and in bounded memory."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fluxan.series.heat_flux_series import HeatFluxSeries

#: Numbers of a flux that are held in memory at once, 64 MiB; a longer flux is filtered and downsampled to this size.
_MAX_HELD: Final = 2**23
#: Pass band of a downsampled flux, over its new sampling rate; the filter suppresses aliases in it by 100 dB.
_PASS_BAND: Final = 0.35
#: Corner of the low-pass filter over the new sampling rate, its taps per thinned sample, and its Kaiser window's β.
_CORNER: Final = 0.48
_TAPS_PER_SAMPLE: Final = 20
_KAISER_BETA: Final = 10.0


@dataclass(frozen=True)
class Amplitudes:
    """Fourier amplitudes of a run at the frequencies above zero.

    Attributes
    ----------
    frequencies : (n,) float64
        THz, multiples of the first.
    flux : (n, n_channels, 3) complex128
        Amplitudes of the channels; their squares are two-sided spectral densities.
    species : (n, n_species, 3) complex128
        Amplitudes of the species' sums of velocities, likewise.
    time_step : float
        Sampling interval of the original flux, ps: also that of the spectrum, since downsampling adds no aliases.
    samples : (m, n_channels + n_species, 3) float64
        The series that was transformed.
    thinning : int
        Samples of the original flux per sample of `samples`.
    """

    frequencies: NDArray[np.float64]
    flux: NDArray[np.complex128]
    species: NDArray[np.complex128]
    time_step: float
    samples: NDArray[np.float64]
    thinning: int

    @property
    def total(self) -> NDArray[np.complex128]:
        """Amplitudes (n, 3) of the sum of all channels."""
        return self.flux.sum(axis=1)

    def along(self, axis: int) -> Amplitudes:
        """Amplitudes along one axis alone: the last dimension of the arrays is then 1."""
        part = np.s_[..., axis : axis + 1]
        return replace(self, flux=self.flux[part], species=self.species[part], samples=self.samples[part])


def amplitudes(series: HeatFluxSeries, *, held: int = _MAX_HELD) -> Amplitudes:
    """Transform a flux; of one longer than `held` numbers only low frequencies are kept.

    Thinning by a low-pass filter leaves the band below 0.35 of the new sampling rate as it was, since the filter's gain
    is divided out; zero-frequency estimates need no more.
    """
    n_channels = series.n_channels + series.n_species
    thinning = -(-series.n_samples * 3 * n_channels // held)
    samples = np.concatenate([*_thinned(series, thinning)]) if thinning > 1 else np.concatenate([*series.blocks()])
    n = len(samples)
    step = thinning * series.time_step
    last = min((n - 1) // 2, int(_PASS_BAND * n)) if thinning > 1 else (n - 1) // 2
    frequencies = np.arange(1, last + 1) / (n * step)
    transformed = np.empty((last, n_channels, 3), dtype=np.complex128)
    for channel in range(n_channels):
        transformed[:, channel] = np.fft.rfft(samples[:, channel], axis=0)[1 : last + 1]
    transformed *= np.sqrt(step / n)
    if thinning > 1:
        transformed /= _response(thinning, frequencies * series.time_step)[:, None, None]
    flux, species = transformed[:, : series.n_channels], transformed[:, series.n_channels :]
    return Amplitudes(frequencies, flux, species, series.time_step, samples, thinning)


def _filter(thinning: int) -> NDArray[np.float64]:
    from scipy.signal import firwin

    return firwin(_TAPS_PER_SAMPLE * thinning + 1, 2 * _CORNER / thinning, window=("kaiser", _KAISER_BETA))


def _response(thinning: int, frequencies: NDArray[np.float64]) -> NDArray[np.float64]:
    """Gain of the filter at frequencies per sample; real, since its taps are symmetric about the centre."""
    taps = _filter(thinning)
    grid = np.linspace(0, _PASS_BAND / thinning, 2048)
    gain = np.cos(2 * np.pi * np.outer(grid, np.arange(taps.size) - taps.size // 2)) @ taps
    return np.interp(frequencies, grid, gain)


def _thinned(series: HeatFluxSeries, thinning: int) -> list[NDArray[np.float64]]:
    """Every `thinning`-th sample of the filtered series, where the filter is entirely within the series."""
    from scipy.signal import upfirdn

    taps = _filter(thinning)
    kept: list[NDArray[np.float64]] = []
    waiting = np.empty((0, series.n_channels + series.n_species, 3))
    for block in series.blocks():
        waiting = np.concatenate([waiting, block])
        n_whole = (len(waiting) - taps.size) // thinning + 1
        if n_whole > 0:
            kept.append(upfirdn(taps, waiting, down=thinning, axis=0)[_TAPS_PER_SAMPLE : _TAPS_PER_SAMPLE + n_whole])
            waiting = waiting[n_whole * thinning :]
    return kept
