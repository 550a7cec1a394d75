"""The record that every estimator of the zero-frequency limit returns."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from fluxan.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

#: Parts of a bin that are compared, and gain of log likelihood at which they differ: by chance once in 1000 bins.
_PARTS: Final = 4
_CLEAR: Final = 8.0
#: Degrees of freedom and cycles per sample beyond which numbers are not those of a spectrum but of a wrong unit.
_MOST_DOF: Final = 1e15
_LOWEST_CYCLES: Final = 1e-15
#: Half the degrees of freedom of a run of 10⁵ samples of three components: up to there a free bin costs one nat.
_FREE_SHAPE: Final = 1.5e5


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


def one_error(below: float, above: float, *, upper: float) -> float:
    """One error for both sides: half the distances to the ends of a 2σ interval, `upper` weighs the one above."""
    return 0.5 * (upper * above + (1 - upper) * below)


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
        try:
            f, s, d = (np.asarray(a, dtype=np.float64) for a in (frequencies, density, dof))
            time_step = float(time_step)
        except (TypeError, ValueError) as error:
            raise InputError(
                f"frequencies, density, dof and time step of a spectrum must be numbers: {error}"
            ) from None
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
        if f[0] * time_step < _LOWEST_CYCLES or d.max() > _MOST_DOF:
            raise InputError(
                f"no series has {f[0] * time_step:.2g} cycles per sample or {d.max():.2g} degrees of freedom; "
                "check dof, and the unit of frequencies and time_step"
            )
        return cls(f, s, np.broadcast_to(d, f.shape), time_step)

    def pooled(self, *, ratio: float, singles: int, lines: float = np.inf) -> Spectrum:
        """Average neighbours into bins no wider than ``ratio``; the lowest ``singles`` frequencies stay alone.

        A bin's density is the mean weighted with ``dof``, so sums of gamma variables of equal mean stay gamma. Where
        the density changes by a factor of ``lines`` within a bin, and not by chance, as on a line narrower than it, the
        bin is split in four, and again.
        """
        f = self.frequencies
        starts = [0]
        while starts[-1] < f.size:
            first = starts[-1]
            # Just below the ratio: a frequency on it falls to one side in any unit.
            beyond = first + 1 if first < singles else int(np.searchsorted(f, f[first] * ratio * (1 - 1e-9)))
            starts.append(max(beyond, first + 1))
        edges = np.array(self._split(starts, lines) if np.isfinite(lines) else starts[:-1])
        dof = np.add.reduceat(self.dof, edges)
        return Spectrum(
            np.add.reduceat(f * self.dof, edges) / dof,
            np.add.reduceat(self.density * self.dof, edges) / dof,
            dof,
            self.time_step,
        )

    def _split(self, starts: list[int], factor: float) -> list[int]:
        """First frequencies of bins, those split whose quarters differ by a factor and by their likelihood."""
        power = self.density * self.dof
        kept, bins = [], list(pairwise(starts))
        while bins:
            first, behind = bins.pop()
            cuts = np.linspace(first, behind, min(behind - first, _PARTS) + 1).astype(np.int64)
            dof, sums = (np.add.reduceat(values[first:behind], cuts[:-1] - first) for values in (self.dof, power))
            mean = sums / dof
            gain = 0.5 * (dof.sum() * np.log(sums.sum() / dof.sum()) - dof @ np.log(mean))
            if mean.max() > factor * mean.min() and gain > _CLEAR:
                bins += list(pairwise(cuts.tolist()))
            else:
                kept.append(first)
        return sorted(kept)

    def cost_of_free_bins(self, size: int) -> float:
        """Log evidence that describing the lowest `size` bins only, the others as they are, must gain.

        One nat each is Akaike's; in longer runs half a logarithm is added, as Schwarz's criterion has it for the
        parameters of the members, or cuts would become ever cheaper beside them.
        """
        longer = max(1.0, 0.5 * float(self.dof.sum()) / _FREE_SHAPE)
        return (self.frequencies.size - size) * (1.0 + 0.5 * float(np.log(longer)))

    def below(self, frequency: float) -> Spectrum:
        """Return the part up to ``frequency``."""
        n = int(np.searchsorted(self.frequencies, frequency, side="right"))
        return Spectrum(self.frequencies[:n], self.density[:n], self.dof[:n], self.time_step)
