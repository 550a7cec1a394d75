"""Power spectra: cross-spectral densities of the parts of a flux, with their degrees of freedom.

S_ab(f) = ∫ C_ab(τ) exp(-2πi f τ) dτ with C_ab(τ) = ⟨a(0) b(τ)⟩, estimated by conj(A) B of Fourier-transformed segments.
The two-sided density at f = 0 is ∫ C dτ from -∞ to ∞.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from fluxan.errors import InputError

if TYPE_CHECKING:
    import matplotlib.figure

#: Constant and cosine coefficient of each window; "boxcar" is no window.
WINDOWS = {"boxcar": (1.0, 0.0), "hann": (0.5, -0.5)}


@dataclass(frozen=True)
class PowerSpectrum:
    """Cross-spectral density matrix of a flux.

    Attributes
    ----------
    frequencies : (n_frequencies,) float64
        THz, from 0 to the Nyquist frequency.
    density : (n_frequencies, n_channels, n_channels) complex
        Squared unit of the flux per THz, averaged over the chosen components x, y, z. ``density[:, a, b]`` is S_ab, the
        complex conjugate of S_ba; NaN for pairs that were not computed.
    dof : (n_frequencies,) float64
        Equivalent degrees of freedom: the relative standard error of a power is sqrt(2 / dof).
    sides : str
        "two" for two-sided densities; "one" for one-sided ones, which stand for ±f together.
    bandwidth : float
        Width over which frequencies are averaged, THz.
    length : int
        Samples per segment.
    n_segments : int
        Number of averaged segments.
    time_step : float
        Sampling interval, ps.
    labels : tuple of str
        Names of the channels.
    window : str
        Window function by which segments are multiplied.
    n_averages : int
        Segments times components.
    coupling : (n_coupled,) float64
        Squared correlation of the powers at frequencies 0, 1, 2, … steps apart, due to the window and the overlap of
        segments.
    """

    frequencies: np.ndarray
    density: np.ndarray
    dof: np.ndarray
    sides: str
    bandwidth: float
    length: int
    n_segments: int
    time_step: float
    labels: tuple[str, ...]
    window: str
    n_averages: int
    coupling: np.ndarray

    @classmethod
    def from_periodogram(
        cls,
        density: np.ndarray,
        *,
        time_step: float,
        length: int,
        n_segments: int,
        n_averages: int | None = None,
        coupling: np.ndarray | None = None,
        labels: tuple[str, ...] = (),
        window: str = "boxcar",
    ) -> PowerSpectrum:
        """Two-sided spectrum from averaged periodograms (n_frequencies, n_channels, n_channels), not smoothed."""
        n_averages = n_segments if n_averages is None else n_averages
        coupling = np.ones(1) if coupling is None else coupling
        mean, cosine = WINDOWS[window]
        noise_bandwidth = (1 + cosine**2 / (2 * mean**2)) / (length * time_step)
        return cls(
            frequencies=np.fft.rfftfreq(length, time_step),
            density=density,
            dof=_degrees_of_freedom(length, 1, n_averages, coupling),
            sides="two",
            bandwidth=noise_bandwidth,
            length=length,
            n_segments=n_segments,
            time_step=time_step,
            labels=labels or tuple(str(channel) for channel in range(density.shape[1])),
            window=window,
            n_averages=n_averages,
            coupling=coupling,
        )

    @property
    def wavenumbers(self) -> np.ndarray:
        """Frequencies in cm⁻¹."""
        from scipy import constants

        return self.frequencies * constants.tera / (constants.c * 100)

    @property
    def resolution(self) -> float:
        """Distance between adjacent frequencies, THz."""
        return 1 / (self.length * self.time_step)

    @property
    def total(self) -> np.ndarray:
        """Density of the sum of all channels, (n_frequencies,)."""
        return self.density.sum(axis=(1, 2)).real

    @property
    def total_error(self) -> np.ndarray:
        """One standard error of `total`, (n_frequencies,)."""
        return self.total * np.sqrt(2 / self.dof)

    @property
    def parts(self) -> np.ndarray:
        """Contribution of each channel to `total`, Σ_b Re S_ab, (n_frequencies, n_channels); may be negative."""
        return self.density.sum(axis=2).real

    def one_sided(self) -> PowerSpectrum:
        """Double the densities, except at f = 0 and at an even segment's Nyquist frequency."""
        if self.sides == "one":
            return self
        return replace(self, density=self.density * self._weights()[:, None, None], sides="one")

    def band(self, low: float = 0.0, high: float = np.inf) -> np.ndarray:
        """Contribution of a frequency band to ⟨a b⟩, both signs of f together, (n_channels, n_channels).

        Over the whole range this is the mean product itself (Parseval's theorem).

        Parameters
        ----------
        low, high : float
            Ends of the band, THz.

        Raises
        ------
        InputError
            The band holds no frequency.
        """
        inside = (self.frequencies >= low) & (self.frequencies <= high)
        if not inside.any():
            raise InputError(
                f"no frequency of the spectrum lies between {low:g} and {high:g} THz: "
                f"it reaches {self.frequencies[-1]:g} THz in steps of {self.resolution:g}"
            )
        weights = self._weights()[inside] if self.sides == "two" else np.ones(inside.sum())
        return np.tensordot(weights, self.density[inside].real, axes=1) * self.resolution

    def coherence(self) -> np.ndarray:
        """|S_ab|² / (S_aa S_bb), (n_frequencies, n_channels, n_channels); its mean for independent channels is 2 / dof.

        Raises
        ------
        InputError
            The spectrum is not averaged: coherence would be 1 for any data.
        """
        if np.median(self.dof) < 4:
            raise InputError("coherence needs an average over segments or frequencies: give segment= or bandwidth=")
        power = np.einsum("faa->fa", self.density).real
        scale = power[:, :, None] * power[:, None, :]
        return np.divide(np.abs(self.density) ** 2, scale, out=np.zeros(scale.shape), where=scale > 0)

    def smoothed(self, bandwidth: float) -> PowerSpectrum:
        """Average over frequencies within a flat window (Daniell), with S(-f) = S(f)* across f = 0.

        Parameters
        ----------
        bandwidth : float
            Width of the window, THz; rounded to an odd number of frequencies, see `bandwidth` of the result.

        Raises
        ------
        InputError
            The window is wider than half the band, or the spectrum is one-sided or smoothed already.
        """
        width = 2 * int(bandwidth / self.resolution / 2) + 1 if np.isfinite(bandwidth) and bandwidth > 0 else 0
        if not 0 < width < self.length // 2:
            limit = self.resolution * self.length / 2
            raise InputError(f"bandwidth is {bandwidth!r} THz, expected more than 0 and less than {limit:g}")
        if self.sides != "two" or self.bandwidth > 2 * self.resolution:
            raise InputError("smooth a two-sided spectrum, and smooth it once")
        return replace(
            self,
            density=_running_mean(self.density, self.length, width),
            dof=_degrees_of_freedom(self.length, width, self.n_averages, self.coupling),
            bandwidth=self.bandwidth + (width - 1) * self.resolution,
        )

    def plot(self, *, unit: str = "THz") -> matplotlib.figure.Figure:
        """Draw the total with its error and the contribution of each channel; `unit` is "THz" or "cm-1"."""
        import fluxan

        return fluxan.plot(self, unit=unit)

    def _weights(self) -> np.ndarray:
        """Number of frequencies, f and −f, that each density represents: 1 or 2."""
        weights = np.full(len(self.frequencies), 2.0)
        weights[0] = 1.0
        if self.length % 2 == 0:
            weights[-1] = 1.0
        return weights


def spectrum_of_samples(
    samples: np.ndarray,
    *,
    time_step: float,
    labels: tuple[str, ...] = (),
    segment: int | None = None,
    window: str = "boxcar",
    overlap: float = 0.0,
    axes: str = "xyz",
    remove_mean: bool = False,
) -> PowerSpectrum:
    """Two-sided spectrum, not smoothed, of samples (n, n_channels, 3); see `fluxan.power_spectrum` for the settings.

    Raises
    ------
    InputError
        A setting has an invalid value, or the series is shorter than a segment.
    """
    _check_settings(window=window, overlap=overlap, axes=axes)
    values = samples[:, :, ["xyz".index(axis) for axis in axes]]
    length = len(values) if segment is None else segment
    if isinstance(length, bool) or not isinstance(length, (int, np.integer)) or not 2 <= length <= len(values):
        raise InputError(f"segment is {segment!r}, expected 2 to {len(values)} samples, the length of the series")
    if remove_mean:
        values = values - values.mean(axis=0)
    # Welch's method: average the periodograms of windowed, overlapping segments.
    hop = max(1, round(length * (1 - overlap)))
    shape = _window(window, int(length))
    starts = range(0, len(values) - length + 1, hop)
    density = np.zeros((length // 2 + 1, values.shape[1], values.shape[1]), dtype=np.complex128)
    for start in starts:
        amplitudes = np.fft.rfft(values[start : start + length] * shape[:, None, None], axis=0)
        density += np.einsum("fax,fbx->fab", amplitudes.conj(), amplitudes)
    density *= time_step / (np.sum(shape**2) * len(starts) * len(axes))
    return PowerSpectrum.from_periodogram(
        density,
        time_step=time_step,
        length=int(length),
        n_segments=len(starts),
        n_averages=len(starts) * len(axes),
        coupling=_coupling(shape, hop, len(starts)),
        labels=labels,
        window=window,
    )


def _check_settings(*, window: str, overlap: float, axes: str) -> None:
    if window not in WINDOWS:
        raise InputError(f"window is {window!r}, expected one of {', '.join(WINDOWS)}")
    if not 0 <= overlap < 1:
        raise InputError(f"overlap is {overlap!r}, expected 0 to below 1")
    if not axes or len(set(axes)) != len(axes) or not set(axes) <= set("xyz"):
        raise InputError(f"axes is {axes!r}, expected some of 'xyz'")


def _window(name: str, length: int) -> np.ndarray:
    mean, cosine = WINDOWS[name]
    return mean + cosine * np.cos(2 * np.pi * np.arange(length) / length)


def _coupling(window: np.ndarray, hop: int, n: int) -> np.ndarray:
    """Squared correlations of amplitudes 0, 1, … frequencies apart, summed over pairs of segments and divided by `n`.

    For segments j·hop samples apart they are |Σ_t w(t) w(t + j hop) exp(2πi m t / length)|² / (Σ w²)²
    (Welch, IEEE Trans. Audio Electroacoust. 15, 70 (1967), for m = 0).
    """
    length = len(window)
    total = np.zeros(length // 2 + 1)
    for apart in range(min(n, -(-length // hop))):
        shared = np.zeros(length)
        shared[: length - apart * hop] = window[: length - apart * hop] * window[apart * hop :]
        total += (1 if apart == 0 else 2 * (1 - apart / n)) * np.abs(np.fft.rfft(shared)) ** 2
    total /= np.sum(window**2) ** 2
    return total[: np.flatnonzero(total > 1e-6).max() + 1]


def _degrees_of_freedom(length: int, width: int, n_averages: int, coupling: np.ndarray) -> np.ndarray:
    """Degrees of freedom at each frequency, (n_frequencies,), of averages over `width` frequencies.

    The variance of the average is the sum of covariances over all pairs of frequencies in the window, and between the
    window around f and its mirror image around -f, since the power at -f is that at f.
    """
    triangle = width - np.abs(np.arange(-width + 1, width))
    pairs = np.convolve(triangle, np.concatenate([coupling[:0:-1], coupling]))
    center = len(pairs) // 2
    bins = np.arange(length // 2 + 1)
    apart = np.minimum(2 * bins, length - 2 * bins)
    mirrored = np.where(apart <= center, pairs[np.minimum(center + apart, len(pairs) - 1)], 0.0)
    return 2 * n_averages * width**2 / (pairs[center] + mirrored)


def _running_mean(density: np.ndarray, length: int, width: int) -> np.ndarray:
    """Mean over `width` adjacent frequencies, periodic over the frequencies of both signs."""
    half = width // 2
    mirrored = density[1 : half + 1][::-1].conj()
    n = len(density)
    beyond = [density[length - k].conj() for k in range(n, n + half)]
    extended = np.concatenate([mirrored, density, np.array(beyond).reshape(-1, *density.shape[1:])])
    sums = np.concatenate([np.zeros((1, *density.shape[1:])), np.cumsum(extended, axis=0)])
    return (sums[width:] - sums[:-width]) / width
