"""Conductivity at zero mass flux, where species diffuse.

What counts is the heat flux less what the species' fluxes predict of it: 1/(S⁻¹)₀₀ of their cross-spectral matrix, its
Schur complement, which no choice of the zero of energy changes (R. Bertossa, F. Grasselli, L. Ercole, S. Baroni, Phys.
Rev. Lett. 122, 255901 (2019)). Of ℓ complex ordinates K go into the prediction by K species' fluxes, and ℓ − K stay.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fluxan.greenkubo.fourier import Amplitudes

#: Squared amplitude, over the largest, below which species' fluxes are one and the same: single precision, or the
#: conservation of momentum.
_DEPENDENT: Final = 1e-7
#: Frequencies, as multiples of the lowest, at which the velocities of what diffuses and of what is bound differ.
_LOW: Final = (3, 10)
_HIGH: Final = (24, 80)
#: A bound species' spectrum rises as f², a factor of 60 between the two; four times that is motion.
_BOUND: Final = 0.06

#: Why there is no conductivity at zero mass flux.
MISSING_VELOCITIES: Final = (
    "components='multi' needs the fluxes of two species or more, not all zero: a Dataset split by element, or "
    "velocity= with an array, or mass_flux= with another code's file"
)


def independent_fluxes(species: NDArray[np.complex128], *, noise: float = 0.0) -> NDArray[np.float64]:
    """Combinations (n_species, K) of species, of amplitudes (n, n_species, 3), that are independent and of unit power.

    Where momentum is conserved there is one less than there are species. Power up to `noise` is round-off.
    """
    power = np.einsum("fax,fbx->ab", species.conj(), species).real
    moving = np.diag(power) > noise
    if not moving.any():
        return np.zeros((len(power), 0))
    scale = np.where(moving, np.sqrt(np.diag(power)), np.inf)
    values, vectors = np.linalg.eigh(power / np.outer(scale, scale))
    kept = values > _DEPENDENT * values[-1]
    return vectors[:, kept] / scale[:, None] / np.sqrt(values[kept])


def diffusion(species: NDArray[np.complex128]) -> float | None:
    """Power of the species' velocities at the lowest frequencies over that a decade above; none for too short a run.

    It is near 1 where species diffuse and falls as f² where they are bound. A Hann window keeps the ends of the run,
    which look like diffusion, out of it.
    """
    if len(species) <= _HIGH[1] or not species.shape[1]:
        return None
    smooth = 0.5 * species[1:-1] - 0.25 * (species[:-2] + species[2:])
    power = np.einsum("fkx,fkx->f", smooth.conj(), smooth).real
    low, high = (power[start - 2 : stop - 1].mean() for start, stop in (_LOW, _HIGH))
    return float(low / high)


def diffuses(ratio: float | None) -> bool:
    """Whether what `diffusion` gives is more than a bound species shows."""
    return ratio is not None and ratio > _BOUND


@dataclass(frozen=True)
class Projected:
    """Amplitudes of a flux less what the species' fluxes predict.

    Attributes
    ----------
    frequencies
        (n,) of the bins, multiples of the first where asked for.
    density
        (n,) spectral density of the total, unbiased, averaged over components.
    dof
        Its degrees of freedom.
    flux
        (n·width, n_channels, 3) amplitudes at every frequency, `fine_frequencies`.
    fine_frequencies
        (n·width,) THz.
    """

    frequencies: NDArray[np.float64]
    density: NDArray[np.float64]
    dof: float
    flux: NDArray[np.complex128]
    fine_frequencies: NDArray[np.float64]


def bin_width(n_fluxes: int) -> int:
    """Frequencies per bin: odd, and enough that few ordinates go into the prediction."""
    return 2 * n_fluxes + 1


def project(amplitudes: Amplitudes, fluxes: NDArray[np.complex128], *, multiples: bool = False) -> Projected:
    """Take out of a flux, bin by bin, its projection on the species' fluxes (n, K, 3).

    With `multiples`, bins begin where their centres are multiples of the first, as cepstral analysis wants them; the
    lowest frequencies are left out then.
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
    left = n_axes * width - n_fluxes
    total = flux.sum(axis=2)
    return Projected(
        frequencies=amplitudes.frequencies[used].reshape(n_bins, width).mean(axis=1),
        density=np.einsum("fo,fo->f", total.conj(), total).real / left,
        dof=2.0 * left,
        flux=flux.reshape(n_bins * width, n_axes, -1).transpose(0, 2, 1),
        fine_frequencies=amplitudes.frequencies[used],
    )


def _ordinates(values: NDArray[np.complex128], width: int) -> NDArray[np.complex128]:
    """(n, channels, 3) as (bins, width·3, channels): every frequency and component of a bin is one ordinate."""
    channels, n_axes = values.shape[1:]
    return values.transpose(0, 2, 1).reshape(-1, width * n_axes, channels)


def prediction(amplitudes: Amplitudes, combinations: NDArray[np.float64], *, band: float) -> NDArray[np.float64]:
    """Weights (n_species,) with which the species' velocities predict the total below `band`, the same at all times."""
    fluxes = np.einsum("fax,ak->fkx", amplitudes.species, combinations)
    n = max(int(np.searchsorted(amplitudes.frequencies, band, side="right")), 4 * fluxes.shape[1], 8)
    normal = np.einsum("fax,fbx->ab", fluxes[:n].conj(), fluxes[:n]).real
    return combinations @ np.linalg.solve(normal, np.einsum("fax,fx->a", fluxes[:n].conj(), amplitudes.total[:n]).real)
