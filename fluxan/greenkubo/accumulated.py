"""Analysis of a flux of which only a correlator's correlations are known, by blocking levels."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

from fluxan.errors import InputError
from fluxan.greenkubo import multicomponent
from fluxan.greenkubo.analysis import CorrelatorReach, FluxAnalysis, require_fluctuations
from fluxan.greenkubo.blocking import blocking_levels, level_for_partition, resolving_level, summed
from fluxan.greenkubo.estimators.ordinates import Ordinates
from fluxan.greenkubo.estimators.periodogram import Spectrum
from fluxan.greenkubo.partition import Fraction, Partition, partition
from fluxan.greenkubo.zero_frequency import ZeroFrequencyEstimates

if TYPE_CHECKING:
    from fluxan.correlation import Correlator
    from fluxan.greenkubo.analysis import Choices
    from fluxan.greenkubo.blocking import BlockingLevel
    from fluxan.series.heat_flux_series import HeatFluxSeries

#: Lags of the correlation that are shown, and integrated by the running integral.
_MAX_LAGS: Final = 2**20


def analyse_correlator(correlator: Correlator, series: HeatFluxSeries, choices: Choices) -> FluxAnalysis:
    """Estimate all of a `FluxAnalysis` that a correlator's state allows.

    Raises
    ------
    InputError
        The flux does not fluctuate, or components="multi" is requested, whose mass fluxes a correlator does not keep.
    """
    levels = blocking_levels(correlator, series.time_step)
    require_fluctuations(levels[0].total[:1])
    level, slowest = resolving_level(levels)
    ordinates = _ordinates(correlator, series, level.spectrum(levels[0]))
    estimates = ZeroFrequencyEstimates.of(ordinates, choices.method, choices.compare)
    if choices.components == "multi":
        raise InputError(multicomponent.MISSING_VELOCITIES)
    reach = CorrelatorReach(
        longest_lag=max(level.span for level in levels),
        max_lag=correlator.layout.max_lag,
        slowest=slowest,
        cross_products=not np.isnan(levels[0].values).any(),
    )
    fractions = _fractions(levels, estimates.band, cross_products=reach.cross_products)
    return FluxAnalysis(ordinates, estimates, estimates, fractions, reach=reach)


def _ordinates(correlator: Correlator, series: HeatFluxSeries, spectrum: Spectrum) -> Ordinates:
    """The spectrum of a blocking level, and the correlation interpolated to every lag."""
    correlation, n = correlator.correlation(), series.n_channels
    total = summed(correlation.values.reshape(-1, n, 3, n, 3))
    lags = np.arange(min(int(correlation.lags[-1]) + 1, _MAX_LAGS))
    return Ordinates(
        spectrum,
        _segments(correlator, series),
        np.interp(lags, correlation.lags, total),
        series.time_step,
        series.n_samples,
    )


def _segments(correlator: Correlator, series: HeatFluxSeries) -> Spectrum | None:
    """Averaged periodogram of the linear scheme's segments; None for the other scheme or where no segment is full."""
    if correlator.layout.scheme != "linear":
        return None
    try:
        periodogram = correlator.spectrum()
    except InputError:
        return None
    n, dt = series.n_channels, series.time_step
    kept = slice(1, (periodogram.length - 1) // 2 + 1)
    power = summed(periodogram.density[kept].reshape(-1, n, 3, n, 3)).real
    # The user's time step may not be the correlator's.
    ratio = dt / periodogram.time_step
    dof = 6.0 * periodogram.n_segments
    return Spectrum.of(periodogram.frequencies[kept] / ratio, power * ratio, dof=dof, time_step=dt)


def _fractions(levels: list[BlockingLevel], band: float, *, cross_products: bool) -> Partition:
    """Divide the total among its parts; without cross products only the tensor's diagonal is known."""
    frequencies, flux = level_for_partition(levels, band).amplitudes()
    fractions = partition(frequencies, flux, band=band, by_owner=False)
    if cross_products:
        return fractions
    known = np.where(np.eye(3, dtype=bool), 1.0, np.nan)
    tensor = fractions.tensor
    return replace(fractions, tensor=Fraction(tensor.value * known, tensor.error * known))
