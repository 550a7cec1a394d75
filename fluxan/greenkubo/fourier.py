"""Fourier amplitudes of a flux and of the species' velocities, at low frequency and in bounded memory."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fluxan.series.heat_flux_series import HeatFluxSeries

#: Numbers that are held of a flux at once, 64 MiB; a longer one is filtered and thinned out to this.
_HELD: Final = 2**23
#: Frequencies kept of a thinned flux, over its new sampling rate; what is aliased there is 100 dB down.
_PASS: Final = 0.35
_CORNER: Final = 0.48
_TAPS: Final = 20
_KAISER: Final = 10.0


@dataclass(frozen=True)
class Amplitudes:
    """Amplitudes at the Fourier frequencies of the whole run, above zero.

    Attributes
    ----------
    frequencies
        (n,) THz, multiples of the first.
    flux
        (n, n_channels, 3), complex; squares are two-sided spectral densities.
    species
        (n, n_species, 3), likewise, of the sums of velocities.
    time_step
        Sampling interval of the flux as it came, ps: that of the spectrum, since thinning does not alias.
    samples
        (m, n_channels + n_species, 3) the series behind it.
    thinning
        Samples of the flux per sample held.
    """

    frequencies: NDArray[np.float64]
    flux: NDArray[np.complex128]
    species: NDArray[np.complex128]
    time_step: float
    samples: NDArray[np.float64]
    thinning: int

    @property
    def total(self) -> NDArray[np.complex128]:
        """Of the sum of all channels, (n, 3)."""
        return self.flux.sum(axis=1)

    def along(self, axis: int) -> Amplitudes:
        """Those along one axis alone: its arrays end in a dimension of 1."""
        part = np.s_[..., axis : axis + 1]
        return replace(self, flux=self.flux[part], species=self.species[part], samples=self.samples[part])


def amplitudes(series: HeatFluxSeries, *, held: int = _HELD) -> Amplitudes:
    """Transform a flux; one longer than `held` numbers keeps its low frequencies alone.

    Thinning by a low-pass filter leaves the band below 0.35 of the new sampling rate as it was: what it took is put
    back, and the zero-frequency limit needs no more.
    """
    n_channels = series.n_channels + series.n_species
    thinning = -(-series.n_samples * 3 * n_channels // held)
    samples = np.concatenate([*_thinned(series, thinning)]) if thinning > 1 else np.concatenate([*series.blocks()])
    n = len(samples)
    step = thinning * series.time_step
    last = min((n - 1) // 2, int(_PASS * n)) if thinning > 1 else (n - 1) // 2
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

    return firwin(_TAPS * thinning + 1, 2 * _CORNER / thinning, window=("kaiser", _KAISER))


def _response(thinning: int, frequencies: NDArray[np.float64]) -> NDArray[np.float64]:
    """Gain of the filter at frequencies per sample; it is symmetric about its centre, so it delays nothing else."""
    taps = _filter(thinning)
    grid = np.linspace(0, _PASS / thinning, 2048)
    gain = np.cos(2 * np.pi * np.outer(grid, np.arange(taps.size) - taps.size // 2)) @ taps
    return np.interp(frequencies, grid, gain)


def _thinned(series: HeatFluxSeries, thinning: int) -> list[NDArray[np.float64]]:
    """Every `thinning`-th sample of the filtered series, where the filter lies wholly inside."""
    from scipy.signal import upfirdn

    taps = _filter(thinning)
    kept: list[NDArray[np.float64]] = []
    waiting = np.empty((0, series.n_channels + series.n_species, 3))
    for block in series.blocks():
        waiting = np.concatenate([waiting, block])
        n_whole = (len(waiting) - taps.size) // thinning + 1
        if n_whole > 0:
            kept.append(upfirdn(taps, waiting, down=thinning, axis=0)[_TAPS : _TAPS + n_whole])
            waiting = waiting[n_whole * thinning :]
    return kept
