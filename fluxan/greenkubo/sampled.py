"""Analysis of a flux whose samples are known: by its periodogram."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from fluxan.errors import InputError
from fluxan.greenkubo import multicomponent
from fluxan.greenkubo.analysis import MAX_ISOTROPY_PROBABILITY, FluxAnalysis, require_fluctuations
from fluxan.greenkubo.directions import isotropy_probability
from fluxan.greenkubo.estimators.ordinates import Ordinates, autocovariance
from fluxan.greenkubo.estimators.periodogram import Spectrum
from fluxan.greenkubo.fourier import amplitudes
from fluxan.greenkubo.partition import partition
from fluxan.greenkubo.zero_frequency import ZeroFrequencyEstimates

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fluxan.greenkubo.analysis import Choices
    from fluxan.greenkubo.fourier import Amplitudes
    from fluxan.greenkubo.thermodynamic_state import ThermodynamicState
    from fluxan.series.heat_flux_series import HeatFluxSeries

#: Lags of the correlation that are shown, and integrated by the running integral.
_MAX_LAGS: Final = 20_000
#: Velocities that, carrying k_B T each, would contribute less than this fraction of the flux are round-off of zero.
_ROUND_OFF: Final = 1e-6
#: Number of lowest frequencies whose power gives the expected size of the mean, and multiple of it beyond which the
#: mean is subtracted, exceeded by chance once in 10,000 runs.
_LOWEST_FREQUENCIES: Final = 8
_MAX_OFFSET: Final = 3.0
#: Ratio of frequencies and degrees of freedom of the bins in which spectra along x, y and z are compared.
_BIN_RATIO: Final = 1.5
_MIN_DOF: Final = 16


def analyse_samples(series: HeatFluxSeries, state: ThermodynamicState, choices: Choices) -> FluxAnalysis:
    """Estimate all of a `FluxAnalysis` from a flux's samples.

    Raises
    ------
    InputError
        The flux does not fluctuate, the run is too short, or components="multi" is requested and mass fluxes are
        not known.
    """
    # Fourier amplitudes, and the species' fluxes that are independent of one another.
    a = amplitudes(series)
    require_fluctuations(np.abs(a.total).max(axis=1))
    noise = float((_ROUND_OFF * np.linalg.norm(a.total) / state.thermal_energy) ** 2)
    species = multicomponent.independent_fluxes(a.species, noise=noise)
    diffusion = multicomponent.diffusion(_mass_fluxes(a, species)) if species.shape[1] else None
    # Estimates without regard to mass flux, and at zero mass flux where species diffuse.
    ordinates = _ordinates(a, series)
    single = estimates = ZeroFrequencyEstimates.of(ordinates, choices.method, choices.compare)
    multi = choices.components == "multi" or (choices.components == "auto" and multicomponent.diffuses(diffusion))
    frequencies, flux = a.frequencies, a.flux
    if multi:
        ordinates, projected = _ordinates_at_zero_mass_flux(a, series, species, band=single.band)
        estimates = ZeroFrequencyEstimates.of(ordinates, choices.method, choices.compare)
        frequencies, flux = projected.fine_frequencies, projected.flux
    fractions = partition(frequencies, flux, band=estimates.band, by_owner=series.by_owner)
    # Estimates along each axis where the spectra differ.
    isotropy = _isotropy_probability(a)
    axes = None if isotropy > MAX_ISOTROPY_PROBABILITY else _along_axes(a, series, species, choices, multi=multi)
    components = "multi" if multi else "single"
    return FluxAnalysis(ordinates, estimates, single, fractions, components, isotropy, axes, diffusion)


def _mass_fluxes(a: Amplitudes, species: NDArray[np.float64]) -> NDArray[np.complex128]:
    """Amplitudes (n, K, 3) of the combinations (n_species, K) of species."""
    return np.einsum("fax,ak->fkx", a.species, species)


def _ordinates(a: Amplitudes, series: HeatFluxSeries) -> Ordinates:
    """Periodogram and autocovariance of the total flux."""
    n_axes = a.total.shape[1]
    density = np.einsum("fx,fx->f", a.total.conj(), a.total).real / n_axes
    spectrum = Spectrum.of(a.frequencies, density, dof=2.0 * n_axes, time_step=a.time_step)
    return _with_correlation(a, series, spectrum, spectrum, a.samples[:, : series.n_channels].sum(axis=1))


def _ordinates_at_zero_mass_flux(
    a: Amplitudes, series: HeatFluxSeries, species: NDArray[np.float64], *, band: float
) -> tuple[Ordinates, multicomponent.Projected]:
    """Ordinates of the total flux minus its prediction from the species' fluxes.

    Raises
    ------
    InputError
        No species' flux is known.
    """
    if not species.shape[1]:
        raise InputError(multicomponent.MISSING_VELOCITIES)
    n = series.n_channels
    fluxes = _mass_fluxes(a, species)
    fine, even = (multicomponent.project(a, fluxes, multiples=multiples) for multiples in (False, True))
    spectrum, spaced = (Spectrum.of(p.frequencies, p.density, dof=p.dof, time_step=a.time_step) for p in (fine, even))
    weights = multicomponent.prediction(a, species, band=band)
    predicted = np.einsum("tax,a->tx", a.samples[:, n:], weights)
    return _with_correlation(a, series, spectrum, spaced, a.samples[:, :n].sum(axis=1) - predicted), fine


def _with_correlation(
    a: Amplitudes, series: HeatFluxSeries, spectrum: Spectrum, even: Spectrum, samples: NDArray[np.float64]
) -> Ordinates:
    """Ordinates of samples (n, n_axes) and their spectra; a mean that is not zero is subtracted."""
    n_axes = samples.shape[1]
    lags = min(_MAX_LAGS, len(samples) // 4)
    lag = a.thinning * series.time_step
    mean = samples.mean(axis=0)
    scatter = n_axes * float(spectrum.density[:_LOWEST_FREQUENCIES].mean()) / (len(samples) * lag)
    offset = float(np.sqrt(mean @ mean / scatter))
    if offset > _MAX_OFFSET:
        samples = samples - mean
    else:
        offset = 0.0
    # Estimators assume a mean over three components; along one axis there is a third as much to average.
    length = len(samples) * n_axes // 3
    return Ordinates(spectrum, even, autocovariance(samples, lags), lag, length, offset)


def _isotropy_probability(a: Amplitudes) -> float:
    """Probability of spectra along x, y and z as different as these, if they were the same."""
    power = np.abs(a.total.T) ** 2
    if not power.any(axis=1).all():
        return 0.0
    pooled = [
        Spectrum.of(a.frequencies, np.maximum(p, np.finfo(float).tiny), dof=2.0, time_step=a.time_step).pooled(
            ratio=_BIN_RATIO, singles=0
        )
        for p in power
    ]
    wide = pooled[0].dof >= _MIN_DOF
    return isotropy_probability(np.array([s.density[wide] for s in pooled]), pooled[0].dof[wide])


def _along_axes(
    a: Amplitudes, series: HeatFluxSeries, species: NDArray[np.float64], choices: Choices, *, multi: bool
) -> list[ZeroFrequencyEstimates | None] | None:
    """Estimates along x, y and z; None where the run is too short for that."""
    try:
        return [_along(a.along(axis), series, species, choices, multi=multi) for axis in range(3)]
    except InputError:
        return None


def _along(
    a: Amplitudes, series: HeatFluxSeries, species: NDArray[np.float64], choices: Choices, *, multi: bool
) -> ZeroFrequencyEstimates | None:
    """Estimates of the flux along one axis alone; None where it is zero."""
    if not np.abs(a.total).any():
        return None
    single = ZeroFrequencyEstimates.of(_ordinates(a, series), choices.method, () if multi else choices.compare)
    if not multi:
        return single
    ordinates, _ = _ordinates_at_zero_mass_flux(a, series, species, band=single.band)
    return ZeroFrequencyEstimates.of(ordinates, choices.method, choices.compare)
