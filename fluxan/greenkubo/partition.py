"""Partition of a spectral density at zero frequency among the parts of a flux; the parts add up to the total.

Near f = 0 the fraction of a part is Re S_ab(f)/S(f), an even function of f: b₀ + b₂ f². The two coefficients follow
from the moments Σ_f (y − (b₀ + b₂ f²) x) = Σ_f f² (y − (b₀ + b₂ f²) x) = 0 over one band of periodogram ordinates, y
those of the part and x those of the total. Both are linear in y, so that fractions add up as the ordinates do, to
round-off; and unlike a regression of y on x they are unbiased for squares too.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Number of frequencies of the smallest band.
_MIN_FREQUENCIES: Final = 8
#: Number of frequencies of the smallest band whose errors are known well enough to test larger bands against it.
_MIN_TESTED: Final = 32
#: Standard deviations of a smaller band's fraction within which a larger band's must lie.
_MAX_DEVIATIONS: Final = 3.0
#: Largest number of groups of neighbouring frequencies; ordinates within a group are averaged.
_MAX_GROUPS: Final = 512


@dataclass(frozen=True)
class Fraction:
    """Fractions of the total at zero frequency, or, after scaling, the parts themselves.

    Attributes
    ----------
    value, error : (...) float64
        Fractions and their standard errors, of any shape.
    """

    value: NDArray[np.float64]
    error: NDArray[np.float64]

    def of(self, total: float, total_error: float) -> Fraction:
        """Parts of a total, from the fractions; errors of fraction and total count as independent."""
        return Fraction(self.value * total, np.hypot(self.error * total, self.value * total_error))


@dataclass(frozen=True)
class Partition:
    """All divisions of a conductivity.

    Attributes
    ----------
    carriers : Fraction, (n_carriers,)
        Correlations of each carrier's flux with the total.
    matrix : Fraction, (n, n)
        Owner × carrier, each correlated with the total; carriers × carriers where owners are not known.
    cross : Fraction, (n_carriers, n_carriers)
        Correlations between carriers, symmetric.
    tensor : Fraction, (3, 3)
        Symmetric, of trace 3.
    """

    carriers: Fraction
    matrix: Fraction
    cross: Fraction
    tensor: Fraction

    def of(self, total: float, total_error: float) -> Partition:
        """All divisions of a total."""
        return Partition(*(getattr(self, field.name).of(total, total_error) for field in fields(self)))


def partition(
    frequencies: NDArray[np.float64], flux: NDArray[np.complex128], *, band: float, by_owner: bool
) -> Partition:
    """Divide the total of a flux among its parts.

    The band grows from the lowest frequencies by factors of two while the channels' fractions agree with those of
    smaller bands (O. V. Lepski, Theory Probab. Appl. 35, 454 (1990)), and is the same for all parts.

    Parameters
    ----------
    frequencies : (n,) float64
        THz.
    flux : (n, n_channels, 3) or (n, k, n_channels, 3) complex128
        Fourier amplitudes; the squares of k at each frequency are averaged.
    band : float
        Highest frequency, THz.
    by_owner : bool
        Whether channels are owner × carrier.
    """
    most = int(np.clip(np.searchsorted(frequencies, band, side="right"), _MIN_FREQUENCIES, frequencies.size))
    sizes = [min(_MIN_FREQUENCIES << k, most) for k in range((most // _MIN_FREQUENCIES).bit_length() + 1)]
    accepted = sizes[0]
    tested: list[Fraction] = []
    for size in dict.fromkeys(sizes):
        ordinates = _Ordinates.of(frequencies, flux, size)
        fraction = ordinates.moments.fraction(ordinates.with_total)
        if any((np.abs(fraction.value - smaller.value) > _MAX_DEVIATIONS * smaller.error).any() for smaller in tested):
            break
        accepted = size
        if size >= _MIN_TESTED:
            tested.append(fraction)
    return _Ordinates.of(frequencies, flux, accepted).partition(by_owner=by_owner)


@dataclass(frozen=True)
class _Ordinates:
    """Amplitudes of a band, (groups, frequencies of a group, n_channels, 3), and the moments of their total."""

    flux: NDArray[np.complex128]
    moments: _Moments

    @classmethod
    def of(cls, frequencies: NDArray[np.float64], flux: NDArray[np.complex128], n: int) -> _Ordinates:
        group = -(-n // _MAX_GROUPS)
        n = n // group * group
        grouped = flux[:n].reshape(n // group, -1, *flux.shape[-2:])
        total = grouped.sum(axis=2)
        squares = (frequencies[:n] ** 2).reshape(-1, group).mean(axis=1) / frequencies[n - 1] ** 2
        return cls(grouped, _Moments(squares, np.einsum("gkx,gkx->g", total.conj(), total).real))

    @property
    def with_total(self) -> NDArray[np.float64]:
        """Products (groups, n_channels) of each channel with the total."""
        return np.einsum("gkcx,gkx->gc", self.flux.conj(), self.flux.sum(axis=2)).real

    def partition(self, *, by_owner: bool) -> Partition:
        """All divisions."""
        flux, fraction = self.flux, self.moments.fraction
        n = round(np.sqrt(flux.shape[2])) if by_owner else flux.shape[2]
        carriers = flux.reshape(*flux.shape[:2], -1, n, 3).sum(axis=2)
        total = flux.sum(axis=2)
        with_total = self.with_total.reshape(len(flux), -1, n)
        cross = fraction(np.einsum("gkax,gkbx->gab", carriers.conj(), carriers).real)
        return Partition(
            carriers=fraction(with_total.sum(axis=1)),
            matrix=fraction(with_total) if by_owner else cross,
            cross=cross,
            tensor=fraction(3 * np.einsum("gkx,gky->gxy", total.conj(), total).real),
        )


@dataclass(frozen=True)
class _Moments:
    """Squares (n,) of frequencies over the band's last one, and the ordinates (n,) of the total."""

    squares: NDArray[np.float64]
    total: NDArray[np.float64]

    def fraction(self, part: NDArray[np.float64]) -> Fraction:
        """b₀ of a part's ordinates (n, ...); its error from their scatter about b₀ + b₂ f²."""
        powers = np.stack([np.ones_like(self.squares), self.squares])
        normal = powers * self.total @ powers.T
        inverse = np.linalg.inv(normal)
        coefficients = np.tensordot(inverse @ powers, part, axes=1)
        line = np.tensordot(powers.T * self.total[:, None], coefficients, axes=1)
        influence = (inverse @ powers)[0]
        n = self.total.size
        variance = np.tensordot(influence**2, (part - line) ** 2, axes=1) * n / (n - 2)
        return Fraction(coefficients[0], np.sqrt(variance))
