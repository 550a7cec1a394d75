"""Power spectra of Datasets, of files and of arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fluxan.correlation.spectral_density import PowerSpectrum, spectrum_of_samples
from fluxan.errors import InputError
from fluxan.series.conversion import (
    SPLITS,
    check_samples,
    check_time_step,
    series_of_array,
    split_of_dataset,
    time_step_of,
)
from fluxan.series.flux_dataset import require_flux

if TYPE_CHECKING:
    from pathlib import Path

    import xarray


def power_spectrum(
    flux: xarray.Dataset | str | Path | np.ndarray,
    *,
    dt: float | None = None,
    by: str = "carrier",
    segment: int | None = None,
    window: str = "boxcar",
    overlap: float = 0.0,
    bandwidth: float | None = None,
    axes: str = "xyz",
    sides: str = "two",
    remove_mean: bool = False,
) -> PowerSpectrum:
    """Power spectrum of a heat flux and of its parts.

    Parameters
    ----------
    flux : xarray.Dataset or str or Path or array
        A Dataset of `fluxan.decompose`, the path of one, or an array (n, 3) or (n, n_channels, 3).
    dt : float, optional
        Time step in ps, for arrays.
    by : str
        Channels of a Dataset: "total", "carrier" or "owner-carrier".
    segment : int, optional
        Samples per segment; the whole series by default. Samples at the end that do not fill a segment are not used.
    window : str
        "boxcar" keeps the integral of the spectrum equal to the mean square, "hann" leaks less.
    overlap : float
        Fraction of a segment that overlaps the next, 0 to below 1 (0.5 suits "hann").
    bandwidth : float, optional
        Smooth over this width in THz.
    axes : str
        Components that are averaged over: one or more of x, y, z.
    sides : str
        "two", the default, or "one".
    remove_mean : bool
        Subtract each channel's mean.

    Raises
    ------
    InputError
        A setting is invalid, or the series is shorter than a segment.
    """
    samples, time_step, labels = _samples(flux, dt=dt, by=by)
    if sides not in ("one", "two"):
        raise InputError(f"sides is {sides!r}, expected 'one' or 'two'")
    spectrum = spectrum_of_samples(
        samples,
        time_step=time_step,
        labels=labels,
        segment=segment,
        window=window,
        overlap=overlap,
        axes=axes,
        remove_mean=remove_mean,
    )
    spectrum = spectrum if bandwidth is None else spectrum.smoothed(bandwidth)
    return spectrum.one_sided() if sides == "one" else spectrum


def _samples(
    flux: xarray.Dataset | str | Path | np.ndarray, *, dt: float | None, by: str
) -> tuple[np.ndarray, float, tuple[str, ...]]:
    """Samples (n, n_channels, 3), time step in ps, and names of channels."""
    if by not in SPLITS:
        raise InputError(f"by is {by!r}, expected one of {', '.join(SPLITS)}")
    check_time_step(dt)
    if isinstance(flux, np.ndarray | list | tuple):
        series = series_of_array(flux, dt=dt)
        return series.samples, series.time_step, series.labels
    dataset = require_flux(flux)
    samples, labels = split_of_dataset(dataset, by)
    time_step = time_step_of(dataset, dt)
    check_samples(samples)
    return samples, time_step, labels
