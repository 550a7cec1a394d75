"""The record that every estimator of the zero-frequency limit returns."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from fluxan.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True)
class Estimate:
    """A zero-frequency limit with its error; units are those of the spectral density that came in.

    Attributes
    ----------
    value
        S(0), the sum of the autocovariance over all lags, of both signs, times the time step. A Green–Kubo
        integral is half of it.
    error
        One standard deviation of ``value``.
    method
        Name of the estimator.
    details
        What the estimator found on its way (cutoff, number of modes, ...), for reports.
    """

    value: float
    error: float
    method: str
    details: dict[str, Any] = field(default_factory=dict)

    def scaled(self, factor: float) -> Estimate:
        """Return the estimate in other units: value and error times ``factor``."""
        return Estimate(self.value * factor, self.error * abs(factor), self.method, self.details)


@dataclass(frozen=True)
class Spectrum:
    """A power spectrum as the estimators take it: independent averages of periodogram ordinates.

    Attributes
    ----------
    frequencies
        (n,) cycles per time unit, increasing, above zero and below Nyquist.
    density
        (n,) two-sided spectral density, above zero: its integral over all frequencies of both signs is the variance.
    dof
        (n,) degrees of freedom of each value: 2 per complex ordinate that was averaged, so 6 for one frequency
        of three Cartesian components.
    time_step
        Sampling interval of the series, in the inverse unit of ``frequencies``.
    """

    frequencies: NDArray[np.float64]
    density: NDArray[np.float64]
    dof: NDArray[np.float64]
    time_step: float

    @classmethod
    def of(cls, frequencies: ArrayLike, density: ArrayLike, *, dof: ArrayLike, time_step: float = 1.0) -> Spectrum:
        """Check and convert arrays; ``dof`` may be one number for all frequencies.

        Raises
        ------
        InputError
            Where shapes differ, values are not finite or not positive, or frequencies do not increase
            within (0, Nyquist].
        """
        f, s, d = (np.asarray(a, dtype=np.float64) for a in (frequencies, density, dof))
        if f.ndim != 1 or s.shape != f.shape or d.shape not in {(), f.shape}:
            raise InputError(
                "a spectrum needs frequencies (n,), density (n,) and dof () or (n,), "
                f"got {f.shape}, {s.shape}, {d.shape}"
            )
        if not (np.isfinite(time_step) and time_step > 0):
            raise InputError(f"the time step of a spectrum must be positive, got {time_step}")
        for name, values in (("frequencies", f), ("density", s), ("dof", d)):
            bad = ~(np.isfinite(values) & (values > 0))
            if bad.any():
                where = int(np.argmax(bad))
                raise InputError(
                    f"{name} of a spectrum must be finite and above zero, "
                    f"got {np.ravel(values)[where]} at index {where}; leave the zero frequency out"
                )
        if (np.diff(f) <= 0).any() or f.size == 0 or f[-1] * time_step > 0.5 * (1 + 1e-9):
            raise InputError(
                f"frequencies of a spectrum must increase up to Nyquist at most ({0.5 / time_step:g}); "
                "check their order, their unit and time_step"
            )
        return cls(f, s, np.broadcast_to(d, f.shape), float(time_step))

    def pooled(self, *, ratio: float, singles: int) -> Spectrum:
        """Average neighbours into bins no wider than ``ratio``; the lowest ``singles`` frequencies stay alone.

        A bin's density is the mean weighted with ``dof``, so sums of gamma variables of equal mean stay gamma.
        """
        f = self.frequencies
        starts = [0]
        while starts[-1] < f.size:
            first = starts[-1]
            # Just below the ratio: a frequency on it falls to one side in any unit.
            beyond = first + 1 if first < singles else int(np.searchsorted(f, f[first] * ratio * (1 - 1e-9)))
            starts.append(max(beyond, first + 1))
        edges = np.array(starts[:-1])
        dof = np.add.reduceat(self.dof, edges)
        return Spectrum(
            np.add.reduceat(f * self.dof, edges) / dof,
            np.add.reduceat(self.density * self.dof, edges) / dof,
            dof,
            self.time_step,
        )

    def below(self, frequency: float) -> Spectrum:
        """Return the part up to ``frequency``."""
        n = int(np.searchsorted(self.frequencies, frequency, side="right"))
        return Spectrum(self.frequencies[:n], self.density[:n], self.dof[:n], self.time_step)
