"""Conductivity at zero mass flux, where species diffuse.

κ is that of the heat flux minus its linear prediction from the species' mass fluxes: 1/(S⁻¹)₀₀ of their cross-spectral
matrix, its Schur complement, which does not depend on the zero of energy (R. Bertossa, F. Grasselli, L. Ercole, S.
Baroni, Phys. Rev. Lett. 122, 255901 (2019)). Of ℓ complex ordinates, predicting from K mass fluxes uses up K, and ℓ − K
remain.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fluxan.greenkubo.fourier import Amplitudes

#: Ratio of an eigenvalue of the species' power to the largest below which a combination of species counts as zero, due
#: to round-off in single precision or conservation of momentum.
_MIN_EIGENVALUE: Final = 1e-7
#: Frequencies, as multiples of the lowest, between which the power of bound species rises and that of diffusing ones
#: does not.
_LOW: Final = (3, 10)
_HIGH: Final = (24, 80)
#: Ratio of the two powers beyond which species diffuse. A bound species' spectrum rises as f², by a factor of 60
#: between the two; this is four times 1/60.
_MAX_BOUND: Final = 0.06

#: Why there is no conductivity at zero mass flux.
MISSING_VELOCITIES: Final = (
    "components='multi' needs the fluxes of two species or more, not all zero: a Dataset split by element, or "
    "velocity= with an array, or mass_flux= with another code's file"
)


def independent_fluxes(species: NDArray[np.complex128], *, noise: float = 0.0) -> NDArray[np.float64]:
    """Linear combinations of the species' mass fluxes that are independent and of unit power.

    Parameters
    ----------
    species : (n, n_species, 3) complex128
        Fourier amplitudes of the sums of velocities.
    noise : float
        Power up to which a species' flux is round-off.

    Returns
    -------
    (n_species, K) float64
        Coefficients; where momentum is conserved K is one less than the number of species.
    """
    power = np.einsum("fax,fbx->ab", species.conj(), species).real
    moving = np.diag(power) > noise
    if not moving.any():
        return np.zeros((len(power), 0))
    scale = np.where(moving, np.sqrt(np.diag(power)), np.inf)
    values, vectors = np.linalg.eigh(power / np.outer(scale, scale))
    kept = values > _MIN_EIGENVALUE * values[-1]
    return vectors[:, kept] / scale[:, None] / np.sqrt(values[kept])


def diffusion(species: NDArray[np.complex128]) -> float | None:
    """Power of the species' fluxes (n, K, 3) at low frequencies relative to that a decade above; None for short runs.

    It is near 1 where species diffuse, and small where they are bound, whose power falls as f². A Hann window removes
    the jump between the ends of the run, which looks like diffusion.
    """
    if len(species) <= _HIGH[1] or not species.shape[1]:
        return None
    smooth = 0.5 * species[1:-1] - 0.25 * (species[:-2] + species[2:])
    power = np.einsum("fkx,fkx->f", smooth.conj(), smooth).real
    low, high = (power[start - 2 : stop - 1].mean() for start, stop in (_LOW, _HIGH))
    return float(low / high)


def diffuses(ratio: float | None) -> bool:
    """Whether a ratio from `diffusion` is larger than that of bound species."""
    return ratio is not None and ratio > _MAX_BOUND


@dataclass(frozen=True)
class Projected:
    """A flux minus its prediction from the species' fluxes.

    Attributes
    ----------
    frequencies : (n,) float64
        Centres of the bins, THz.
    density : (n,) float64
        Spectral density of the total, unbiased, averaged over components.
    dof : float
        Its degrees of freedom.
    flux : (n·width, n_channels, 3) complex128
        Fourier amplitudes at `fine_frequencies`.
    fine_frequencies : (n·width,) float64
        Every frequency of the bins, THz.
    """

    frequencies: NDArray[np.float64]
    density: NDArray[np.float64]
    dof: float
    flux: NDArray[np.complex128]
    fine_frequencies: NDArray[np.float64]


def bin_width(n_fluxes: int) -> int:
    """Number of frequencies per bin: odd, and large enough for the prediction to use up few of the ordinates."""
    return 2 * n_fluxes + 1


def project(amplitudes: Amplitudes, fluxes: NDArray[np.complex128], *, multiples: bool = False) -> Projected:
    """Subtract from a flux, bin by bin, its projection on the species' fluxes.

    Parameters
    ----------
    amplitudes : Amplitudes
        Amplitudes of the flux.
    fluxes : (n, K, 3) complex128
        Amplitudes of independent combinations of species.
    multiples : bool
        Begin the bins where their centres are multiples of the first, as cepstral analysis needs them; the lowest
        frequencies are then left out.
    """
    n_fluxes = fluxes.shape[1]
    width = bin_width(n_fluxes)
    first = width // 2 if multiples else 0
    n_bins = (len(fluxes) - first) // width
    used = slice(first, first + n_bins * width)
    flux = _ordinates(amplitudes.flux[used], width)
    directions, _ = np.linalg.qr(_ordinates(fluxes[used], width))
    flux = flux - directions @ (directions.conj().transpose(0, 2, 1) @ flux)
    n_axes = amplitudes.flux.shape[2]
    remaining = n_axes * width - n_fluxes
    total = flux.sum(axis=2)
    return Projected(
        frequencies=amplitudes.frequencies[used].reshape(n_bins, width).mean(axis=1),
        density=np.einsum("fo,fo->f", total.conj(), total).real / remaining,
        dof=2.0 * remaining,
        flux=flux.reshape(n_bins * width, n_axes, -1).transpose(0, 2, 1),
        fine_frequencies=amplitudes.frequencies[used],
    )


def _ordinates(values: NDArray[np.complex128], width: int) -> NDArray[np.complex128]:
    """Amplitudes (n, channels, 3) as (bins, width·3, channels): one ordinate per frequency and component of a bin."""
    channels, n_axes = values.shape[1:]
    return values.transpose(0, 2, 1).reshape(-1, width * n_axes, channels)


def prediction(amplitudes: Amplitudes, combinations: NDArray[np.float64], *, band: float) -> NDArray[np.float64]:
    """Coefficients (n_species,) that predict the total flux below `band` from the species' velocities."""
    fluxes = np.einsum("fax,ak->fkx", amplitudes.species, combinations)
    n = max(int(np.searchsorted(amplitudes.frequencies, band, side="right")), 4 * fluxes.shape[1], 8)
    normal = np.einsum("fax,fbx->ab", fluxes[:n].conj(), fluxes[:n]).real
    return combinations @ np.linalg.solve(normal, np.einsum("fax,fx->a", fluxes[:n].conj(), amplitudes.total[:n]).real)
