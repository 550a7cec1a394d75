"""Every estimate of one flux's zero-frequency limit, side by side."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from fluxan.errors import DependencyError, InputError
from fluxan.greenkubo.cepstral import cepstral
from fluxan.greenkubo.running import running_integral
from fluxan.greenkubo.stacie_fit import stacie
from fluxan.greenkubo.zero_frequency import zero_frequency

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fluxan.greenkubo.estimate import Estimate, Spectrum

METHODS: Final = ("default", "cepstral", "stacie", "running")
#: Those that warn when they disagree; the running integral's error covers noise alone.
_HONEST: Final = ("cepstral", "stacie")
_DISAGREE: Final = 2.0
#: Bins in which the spectrum is compared with its limit: ratio of their ends, degrees of freedom, and what is near.
_BIN_RATIO: Final = 1.5
_BIN_DOF: Final = 48.0
_LOWEST: Final = 0.5
_HIGHEST: Final = 1.7


@dataclass(frozen=True)
class Ordinates:
    """What the estimators see of a flux.

    Attributes
    ----------
    spectrum
        For the default estimator: from the lowest frequency of the run on.
    even
        Equally spaced frequencies that are multiples of the first; none where there is no periodogram.
    correlation
        (n,) autocovariance at multiples of `lag`, averaged over components.
    lag
        Distance of the correlation's points, ps.
    length
        Samples, `lag` apart, that the correlation was averaged over.
    offset
        How many times farther the mean lay from zero than it would by chance, where it was taken out; else zero.
    """

    spectrum: Spectrum
    even: Spectrum | None
    correlation: NDArray[np.float64]
    lag: float
    length: int
    offset: float = 0.0


@dataclass(frozen=True)
class Limit:
    """Estimates of S(0) by method; `failed` says why a method gave none; `band` (THz) is that where S stays near it."""

    estimates: dict[str, Estimate]
    failed: dict[str, str]
    band: float

    @classmethod
    def of(cls, ordinates: Ordinates, method: str, compare: tuple[str, ...] = ()) -> Limit:
        """Run the default method, the one asked for and those to compare with, which may fail."""
        estimates: dict[str, Estimate] = {}
        failed: dict[str, str] = {}
        for name in dict.fromkeys(("default", method, *compare)):
            try:
                estimates[name] = _estimate(name, ordinates)
            except (InputError, DependencyError) as error:
                if name in {"default", method}:
                    raise
                failed[name] = str(error)
        return cls(estimates, failed, _flat_band(ordinates.spectrum, estimates["default"].value))

    def disagreements(self, method: str) -> list[str]:
        """Sentences on methods more than two standard deviations from the one that was asked for."""
        mine = self.estimates[method]
        found = []
        for name in _HONEST:
            theirs = self.estimates.get(name, mine)
            apart = abs(theirs.value - mine.value) / np.hypot(theirs.error, mine.error)
            if apart > _DISAGREE:
                found.append(
                    f"the estimators disagree: {name} gives {theirs.value / mine.value:.2f} times the value of "
                    f"{method}, {apart:.1f} standard deviations apart"
                )
        return found


def _flat_band(spectrum: Spectrum, limit: float) -> float:
    """Frequency below which the spectrum stays within a factor of its limit, as a relaxation's does up to its corner.

    Bins are wide enough not to leave it by chance.
    """
    pooled = spectrum.pooled(ratio=_BIN_RATIO, singles=0)
    wide = pooled.dof >= _BIN_DOF
    f, ratio = pooled.frequencies[wide], pooled.density[wide] / limit
    outside = np.flatnonzero((ratio < _LOWEST) | (ratio > _HIGHEST))
    if outside.size == 0:
        return float(spectrum.frequencies[-1])
    return float(f[outside[0] - 1]) if outside[0] else float(f[0] / _BIN_RATIO)


def _estimate(name: str, ordinates: Ordinates) -> Estimate:
    if name == "default":
        s = ordinates.spectrum
        return zero_frequency(s.frequencies, s.density, dof=s.dof, time_step=s.time_step)
    if name == "running":
        return running_integral(ordinates.correlation, length=ordinates.length, time_step=ordinates.lag)
    even = ordinates.even
    if even is None:
        raise InputError(
            f"{name!r} needs a periodogram: that of the flux itself, or of a correlator of scheme='linear' with a full "
            "segment"
        )
    estimator = cepstral if name == "cepstral" else stacie
    return estimator(even.frequencies, even.density, dof=float(even.dof[0]), time_step=even.time_step)


def autocovariance(samples: NDArray[np.float64], n_lags: int) -> NDArray[np.float64]:
    """Autocovariance of (n, 3) samples at the first lags, averaged over components; the mean is taken as zero."""
    n = len(samples)
    padded = 1 << (n + n_lags).bit_length()
    power = np.zeros(padded // 2 + 1)
    for column in samples.T:
        power += np.abs(np.fft.rfft(column, padded)) ** 2 / samples.shape[1]
    return np.fft.irfft(power, padded)[:n_lags] / np.arange(n, n - n_lags, -1)
