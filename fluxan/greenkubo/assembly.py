"""From the estimates of a flux to its conductivity, with parts, curves, notes and warnings."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

from fluxan.greenkubo import diagnostics
from fluxan.greenkubo.analysis import MAX_ISOTROPY_PROBABILITY
from fluxan.greenkubo.directions import ISOTROPY, Directions
from fluxan.greenkubo.partition import Fraction
from fluxan.greenkubo.result import Conductivity, Curve
from fluxan.greenkubo.zero_frequency import mean_over_axes

if TYPE_CHECKING:
    from fluxan.greenkubo.analysis import FluxAnalysis
    from fluxan.greenkubo.estimators.estimate import Estimate
    from fluxan.greenkubo.estimators.ordinates import Ordinates
    from fluxan.greenkubo.partition import Partition
    from fluxan.greenkubo.thermodynamic_state import ThermodynamicState
    from fluxan.greenkubo.zero_frequency import ZeroFrequencyEstimates
    from fluxan.series.heat_flux_series import HeatFluxSeries

#: Ratio of frequencies of the bins of `Conductivity.spectrum`.
_SPECTRUM_BIN_RATIO: Final = 1.06
#: Probability, if the three spectra along x, y and z were the same, below which they differ beyond doubt, so that a
#: smaller difference between the estimates along the axes is enough.
_ANISOTROPIC: Final = 1e-9


def conductivity_of(
    analysis: FluxAnalysis, series: HeatFluxSeries, state: ThermodynamicState, method: str
) -> Conductivity:
    """Turn spectral densities at zero frequency into a conductivity with its parts, notes and warnings."""
    fractions, estimates = analysis.fractions, analysis.estimates
    # One estimate for the mean of x, y and z where these agree, else one for each.
    isotropic, axes = _isotropy(analysis, state, method)
    by_method = mean_over_axes(axes, estimates) if axes else estimates.by_method
    # The three components are taken as independent and alike; where they are not alike the error is larger.
    spread = 1.0 if isotropic or axes else float(np.linalg.norm(np.diag(fractions.tensor.value)) / np.sqrt(3))
    by_method = {name: replace(e, error=e.error * spread) for name, e in by_method.items()}
    kappa, error = _kappa(by_method[method], state)
    kappa_single, error_single = (
        _kappa(analysis.single.by_method[method], state) if analysis.single is not estimates else (kappa, error)
    )
    correlation, cumulative = _curves(analysis.ordinates, estimates.by_method[method], state)
    result = Conductivity(
        kappa=kappa,
        error=error,
        parts=_with_axes(fractions.of(kappa, error), axes, state, method),
        labels=series.labels,
        unit=state.unit,
        method=method,
        components=analysis.components,
        kappa_single=kappa_single,
        error_single=error_single,
        estimates={name: estimate.scaled(state.factor) for name, estimate in by_method.items()},
        temperature=state.temperature,
        temperature_error=state.temperature_error,
        volume=state.volume,
        spectrum=_spectrum(analysis.ordinates, state),
        correlation=correlation,
        cumulative=cumulative,
        diagnostics=diagnostics.diagnose(series, analysis),
        isotropic=isotropic,
    )
    return replace(
        result,
        notes=tuple(diagnostics.notes(result, series, analysis, axes)),
        warnings=tuple(diagnostics.warnings(result, series, analysis)),
    )


def _kappa(estimate: Estimate, state: ThermodynamicState) -> tuple[float, float]:
    """Conductivity and its error, including that of the temperature."""
    estimate = estimate.scaled(state.factor)
    return estimate.value, state.error(estimate.value, estimate.error)


def _isotropy(
    analysis: FluxAnalysis, state: ThermodynamicState, method: str
) -> tuple[bool, list[ZeroFrequencyEstimates | None] | None]:
    """Whether x, y and z may be equivalent, and, where they are not, estimates along each if there are any.

    Comparing the three spectra is a cheap test of whether the estimates along each axis, which decide, are needed.
    """
    if analysis.isotropy is not None and analysis.isotropy > MAX_ISOTROPY_PROBABILITY:
        return True, None
    axes, tensor = analysis.axes, analysis.fractions.tensor
    if axes is None or analysis.isotropy is None:
        # Fractions add up to a constant: where one is too high the two others are too low by half of that.
        return Directions(np.diag(tensor.value), np.sqrt(1.5) * np.diag(tensor.error)).isotropic, None
    along = np.array([(0, 0) if axis is None else _kappa(axis.by_method[method], state) for axis in axes])
    sigmas = ISOTROPY.likely_sigmas if analysis.isotropy < _ANISOTROPIC else ISOTROPY.sigmas
    isotropic = Directions(along[:, 0], along[:, 1], sigmas=sigmas).isotropic
    return isotropic, None if isotropic else axes


def _with_axes(
    parts: Partition, axes: list[ZeroFrequencyEstimates | None] | None, state: ThermodynamicState, method: str
) -> Partition:
    """Put the estimates along the axes into the tensor's diagonal."""
    if axes is None:
        return parts
    value, error = parts.tensor.value.copy(), parts.tensor.error.copy()
    for k, axis in enumerate(axes):
        value[k, k], error[k, k] = (0.0, 0.0) if axis is None else _kappa(axis.by_method[method], state)
    return replace(parts, tensor=Fraction(value, error))


def _spectrum(ordinates: Ordinates, state: ThermodynamicState) -> Curve:
    """κ(f), pooled, with errors."""
    pooled = ordinates.spectrum.pooled(ratio=_SPECTRUM_BIN_RATIO, singles=1)
    value = pooled.density * state.factor
    return Curve(pooled.frequencies, value, value * np.sqrt(2 / pooled.dof))


def _curves(ordinates: Ordinates, estimate: Estimate, state: ThermodynamicState) -> tuple[Curve, Curve]:
    """C(t) and κ(τ), with their errors at lags at which C has decayed.

    Over a run of length L and three components, C scatters by √(∫C²dt/3L) and its integral by S(0)·√(τ/3L)
    (M. S. Bartlett, J. R. Stat. Soc. Suppl. 8, 27 (1946)).
    """
    c, lag, n = ordinates.correlation, ordinates.lag, ordinates.length
    times = np.arange(c.size, dtype=np.float64) * lag
    squares = lag * (c[0] ** 2 + 2 * float(c[1:] @ c[1:]))
    correlation = Curve(times, c, np.full(c.size, np.sqrt(squares / (3 * n * lag))))
    integral = lag * (np.cumsum(c) - 0.5 * (c + c[0])) * 2 * state.factor
    kappa = estimate.value * state.factor
    return correlation, Curve(times, integral, kappa * np.sqrt(2 * (2 * times + lag) / (3 * n * lag)))
