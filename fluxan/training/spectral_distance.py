"""Distance of the power spectra of two fluxes along one trajectory, by element and band of frequencies."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fluxan.errors import InputError
from fluxan.series.flux_spectrum import power_spectrum

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

#: Samples per segment of a spectrum.
_SEGMENT = 500


def carrier_spectra(flux: np.ndarray, time_step: float, *, segment: int = _SEGMENT) -> tuple[np.ndarray, np.ndarray]:
    """Frequencies, THz, and the power spectrum of the flux of each carrier by itself, (n_carriers, n_frequencies).

    Parameters
    ----------
    flux : (n_samples, n_carriers, 3) array
        eV Å/ps.
    time_step : float
        ps.
    segment : int
        Samples per segment; segments are windowed (Hann) and overlap by half.
    """
    length = min(segment, len(flux))
    found = [
        power_spectrum(flux[:, k], dt=time_step, segment=length, window="hann", overlap=0.5)
        for k in range(flux.shape[1])
    ]
    return found[0].frequencies, np.array([spectrum.total for spectrum in found])


def spectral_distance(
    flux: np.ndarray,
    reference: np.ndarray,
    *,
    time_step: float,
    bands: Mapping[str, tuple[float, float]],
    labels: Sequence[str],
) -> dict[str, dict[str, float]]:
    """Mean of |S − S_ref| over a band, relative to the mean of S_ref, for the flux of each carrier.

    Agreement with a reference includes agreement with the way in which the reference shares energies between elements.
    To be free of that, compare fluxes whose gauge is fixed, `fluxan.series.gauge_fixing`.

    Parameters
    ----------
    flux, reference : (n_samples, n_carriers, 3) array
        eV Å/ps, of the same frames.
    time_step : float
        ps.
    bands : mapping of str to (float, float)
        Lowest frequency, included, and highest, excluded, of each band, THz.
    labels : sequence of str
        Names of the carriers.

    Returns
    -------
    dict of str to dict of str to float
        By carrier and band.

    Raises
    ------
    InputError
        The fluxes differ in shape, or a band holds no frequency.
    """
    if np.shape(flux) != np.shape(reference):
        raise InputError(
            f"the fluxes have shapes {np.shape(flux)} and {np.shape(reference)}; expected one trajectory's"
        )
    frequencies, found = carrier_spectra(flux, time_step)
    _, expected = carrier_spectra(reference, time_step)
    distances: dict[str, dict[str, float]] = {label: {} for label in labels}
    for band, (low, high) in bands.items():
        inside = (frequencies >= low) & (frequencies < high)
        if not inside.any():
            raise InputError(f"the band {band} holds no frequency; they run to {frequencies[-1]:.3g} THz")
        for label, own, other in zip(labels, found[:, inside], expected[:, inside], strict=True):
            distances[label][band] = float(np.abs(own - other).mean() / other.mean())
    return distances
