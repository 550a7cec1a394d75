"""Periodograms as estimators take them, and their pooling into bins."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Final

import numpy as np

from fluxan.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

#: Number of parts of a bin that are compared to decide whether it is split.
_PARTS: Final = 4
#: Gain of log likelihood at which the parts differ: by chance once in 1000 bins.
_MIN_SPLIT_GAIN: Final = 8.0
#: Degrees of freedom and cycles per sample beyond which the input is rejected, since its unit must be wrong.
_MAX_DOF: Final = 1e15
_MIN_CYCLES: Final = 1e-15
#: Half the degrees of freedom of a run of 10⁵ samples of three components: up to this, a free bin costs one nat of log
#: evidence.
_FREE_BIN_DOF: Final = 1.5e5


@dataclass(frozen=True)
class Spectrum:
    """A power spectrum as the estimators take it: independent averages of periodogram ordinates.

    Attributes
    ----------
    frequencies : (n,) float64
        Cycles per time unit, increasing, above zero and up to Nyquist.
    density : (n,) float64
        Two-sided spectral density, above zero: its integral over all frequencies of both signs is the variance.
    dof : (n,) float64
        Degrees of freedom of each value: 2 per complex ordinate averaged, so 6 for one frequency of three components.
    time_step : float
        Sampling interval of the series, in the inverse unit of `frequencies`.
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
        if f[0] * time_step < _MIN_CYCLES or d.max() > _MAX_DOF:
            raise InputError(
                f"no series has {f[0] * time_step:.2g} cycles per sample or {d.max():.2g} degrees of freedom; "
                "check dof, and the unit of frequencies and time_step"
            )
        return cls(f, s, np.broadcast_to(d, f.shape), time_step)

    def pooled(self, *, ratio: float, singles: int, max_change: float = np.inf) -> Spectrum:
        """Average neighbouring frequencies into bins.

        A bin's density is the mean weighted with `dof`, so that sums of gamma variables of equal mean stay gamma.

        Parameters
        ----------
        ratio : float
            Largest ratio of the upper to the lower end of a bin.
        singles : int
            Number of lowest frequencies that are bins of their own.
        max_change : float
            Factor by which the density may change within a bin. A bin with a larger change that is not due to chance,
            as at a line narrower than the bin, is repeatedly split in four.
        """
        f = self.frequencies
        starts = [0]
        while starts[-1] < f.size:
            first = starts[-1]
            # Slightly below the ratio, so that a frequency on a border falls to the same side in any unit.
            beyond = first + 1 if first < singles else int(np.searchsorted(f, f[first] * ratio * (1 - 1e-9)))
            starts.append(max(beyond, first + 1))
        edges = np.array(self._split(starts, max_change) if np.isfinite(max_change) else starts[:-1])
        dof = np.add.reduceat(self.dof, edges)
        return Spectrum(
            np.add.reduceat(f * self.dof, edges) / dof,
            np.add.reduceat(self.density * self.dof, edges) / dof,
            dof,
            self.time_step,
        )

    def _split(self, starts: list[int], factor: float) -> list[int]:
        """First frequencies of bins; those whose quarters differ by the factor, beyond chance, are split."""
        power = self.density * self.dof
        kept, bins = [], list(pairwise(starts))
        while bins:
            first, stop = bins.pop()
            cuts = np.linspace(first, stop, min(stop - first, _PARTS) + 1).astype(np.int64)
            dof, sums = (np.add.reduceat(values[first:stop], cuts[:-1] - first) for values in (self.dof, power))
            mean = sums / dof
            gain = 0.5 * (dof.sum() * np.log(sums.sum() / dof.sum()) - dof @ np.log(mean))
            if mean.max() > factor * mean.min() and gain > _MIN_SPLIT_GAIN:
                bins += list(pairwise(cuts.tolist()))
            else:
                kept.append(first)
        return sorted(kept)

    def cost_of_free_bins(self, size: int) -> float:
        """Log evidence that a model must gain if it describes the lowest `size` bins only and leaves the others free.

        One nat for each is Akaike's criterion; for longer runs half a logarithm is added, as in Schwarz's criterion for
        the parameters of the members, or else cuts would become ever cheaper compared with these.
        """
        longer = max(1.0, 0.5 * float(self.dof.sum()) / _FREE_BIN_DOF)
        return (self.frequencies.size - size) * (1.0 + 0.5 * float(np.log(longer)))

    def below(self, frequency: float) -> Spectrum:
        """Return the part of the spectrum up to `frequency`."""
        n = int(np.searchsorted(self.frequencies, frequency, side="right"))
        return Spectrum(self.frequencies[:n], self.density[:n], self.dof[:n], self.time_step)
