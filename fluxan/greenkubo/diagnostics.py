"""Notes and warnings of a conductivity: choices that were made, and evidence against the result."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from fluxan.greenkubo import multicomponent
from fluxan.greenkubo.result import Diagnostics
from fluxan.greenkubo.stationarity import StationaryMean
from fluxan.rounding import value_and_error
from fluxan.series.conversion import time_step_of
from fluxan.series.readers.soundness import questions

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fluxan.greenkubo.analysis import CorrelatorReach, FluxAnalysis
    from fluxan.greenkubo.directions import Directions
    from fluxan.greenkubo.estimators.estimate import Estimate
    from fluxan.greenkubo.result import Conductivity
    from fluxan.greenkubo.zero_frequency import ZeroFrequencyEstimates
    from fluxan.series.heat_flux_series import HeatFluxSeries

#: Decay times of the slowest motion that a run should last.
MIN_RUN_DECAY_TIMES: Final = 20
#: Decay times of the slowest motion that a correlator's lags should span.
MIN_LAG_DECAY_TIMES: Final = 3.0
#: Drift beyond which the result warns: of the temperature as a fraction of it, of the energy in standard deviations.
_MAX_TEMPERATURE_DRIFT: Final = 0.01
_MAX_ENERGY_DRIFT: Final = 1.0
#: Number of frequencies below a corner that are enough to resolve it.
_MIN_FREQUENCIES_BELOW_CORNER: Final = 20
#: Conductivity along an axis, as a fraction of κ, below which the axis counts as without flux.
_ZERO_FLUX: Final = 1e-9
#: Probability of the worst of the lowest octaves at which no member of the default estimate describes the spectrum.
_MIN_FIT_PROBABILITY: Final = 1e-3
#: Relative error beyond which the result warns.
_MAX_RELATIVE_ERROR: Final = 0.3
#: Methods that are compared (the running integral's error covers noise alone), and the standard deviations by which two
#: must differ to disagree.
_COMPARABLE: Final = ("cepstral", "stacie")
_MAX_DISAGREEMENT: Final = 2.0
#: Relative difference between the user's time step and that of a Dataset beyond which the result warns.
_MAX_STEP_DIFFERENCE: Final = 1e-3
#: Root mean square of the last quarter of a correlation over C(0) beyond which it has not decayed.
MAX_UNDECAYED: Final = 0.05
#: Relative change of a running integral over its plateau beyond which the result warns.
_MAX_PLATEAU_CHANGE: Final = 0.1


def diagnose(series: HeatFluxSeries, analysis: FluxAnalysis) -> Diagnostics:
    """Compute the length of the run in decay times, drifts, and diffusion."""
    estimates = analysis.estimates
    estimate = estimates.by_method["default"]
    integral = 0.5 * estimate.value / analysis.ordinates.correlation[0]
    corner = 1 / (2 * np.pi * estimates.band)
    # Where S(f) departs from S(0) among the lowest frequencies, only the fitted modes give the decay time.
    few = estimates.band * series.duration < _MIN_FREQUENCIES_BELOW_CORNER
    fitted = float(estimate.details["slowest"]) if few else 0.0
    temperature, energy = (_mean(values) for values in (series.temperature, series.potential_energy))
    return Diagnostics(
        length=series.duration,
        slowest=max(integral, corner, fitted),
        diffusion=analysis.diffusion,
        diffusing=multicomponent.diffuses(analysis.diffusion),
        temperature_drift=None if temperature is None else temperature.drift,
        energy_drift=None if energy is None else energy.drift,
    )


def _mean(values: np.ndarray | None) -> StationaryMean | None:
    return None if values is None or not np.isfinite(values).all() else StationaryMean.of(values)


def notes(
    result: Conductivity,
    series: HeatFluxSeries,
    analysis: FluxAnalysis,
    axes: list[ZeroFrequencyEstimates | None] | None,
) -> Iterator[str]:
    """Choices that were made; `axes` are the estimates along x, y and z where they were used."""
    unit = _unit(result.unit)
    if result.components == "multi":
        why = "species diffuse" if result.diagnostics.diffusing else "as was asked for"
        other = f"without that, κ would be {value_and_error(result.kappa_single, result.error_single)}{unit}"
        yield f"{why}: κ is that at zero mass flux; {other}"
    failed = {name: reason for axis in axes or [] if axis is not None for name, reason in axis.failed.items()}
    failed |= analysis.estimates.failed
    yield from (f"{name} gave no estimate: {reason}" for name, reason in failed.items())
    if analysis.reach is not None:
        yield from _correlator_notes(analysis.reach, series)


def _correlator_notes(reach: CorrelatorReach, series: HeatFluxSeries) -> Iterator[str]:
    """Quantities that a correlator does not keep."""
    if series.n_channels > 1:
        yield "a correlator keeps no fluxes of species: where they diffuse, κ at zero mass flux needs the flux"
    if not reach.cross_products:
        yield (
            "the correlator holds no products of unlike components: the tensor is known along its diagonal alone; "
            "pairs='all' gives the rest"
        )


def warnings(result: Conductivity, series: HeatFluxSeries, analysis: FluxAnalysis) -> Iterator[str]:
    """Warnings: all evidence against the result."""
    yield from disagreements(analysis.estimates, result.method)
    yield from _run_warnings(result)
    yield from _spectrum_warnings(result.estimates.get("default"))
    yield from _isotropy_warnings(result)
    yield from _drift_warnings(series)
    offset = analysis.ordinates.offset
    if offset:
        yield (
            f"the flux has a mean, {offset:.3g} times what chance would give: is the system driven, "
            "or does its centre of mass move? The mean was subtracted"
        )
    if analysis.reach is not None:
        yield from _correlator_warnings(analysis.reach)


def disagreements(estimates: ZeroFrequencyEstimates, method: str) -> Iterator[str]:
    """Methods whose values differ by more than two standard deviations from that of the requested one."""
    mine = estimates.by_method[method]
    for name in _COMPARABLE:
        theirs = estimates.by_method.get(name, mine)
        apart = abs(theirs.value - mine.value) / np.hypot(theirs.error, mine.error)
        if apart > _MAX_DISAGREEMENT:
            yield (
                f"the estimators disagree: {name} gives {theirs.value / mine.value:.2f} times the value of "
                f"{method}, {apart:.1f} standard deviations apart"
            )


def _run_warnings(result: Conductivity) -> Iterator[str]:
    """Length of the run, size of the error, diffusion."""
    run = result.diagnostics
    if run.length_over_slowest < MIN_RUN_DECAY_TIMES:
        yield (
            f"the run lasts {run.length_over_slowest:.3g} times its slowest motion ({run.slowest:.3g} ps); "
            f"run {MIN_RUN_DECAY_TIMES * run.slowest:.3g} ps or more"
        )
    if result.error > _MAX_RELATIVE_ERROR * abs(result.kappa):
        longer = (result.error / (0.1 * result.kappa)) ** 2
        yield f"the error is {result.error / abs(result.kappa):.0%} of κ; {longer:.0f} times this run would give 10 %"
    if run.diffusing and result.components == "single":
        yield "species diffuse, but their mass fluxes were not projected out: κ depends on the zero of their energies"


def _spectrum_warnings(estimate: Estimate | None) -> Iterator[str]:
    """Misfit of the default estimate near f = 0, and a possible cusp."""
    details = {} if estimate is None else estimate.details
    if details.get("misfit", 1.0) < _MIN_FIT_PROBABILITY:
        yield (
            "the lowest frequencies of the spectrum are not those of any member of the default estimate (by chance "
            f"once in {1 / max(details['misfit'], 1e-12):.2g} runs): look at the spectrum, and compare methods"
        )
    if details.get("cusp", 0.0) > 0:
        yield (
            f"the spectrum may have a cusp at f = 0 (a tail of the correlation, exponent {details['exponent']:.1f}): κ "
            f"would then be some {details['cusp']:.2g} times this value; a longer run would decide"
        )


def _isotropy_warnings(result: Conductivity) -> Iterator[str]:
    """Conductivity along x, y and z that differs."""
    if result.isotropic:
        return
    directions = result.directions
    zero = [axis for axis, value in zip("xyz", directions.value, strict=True) if value <= _ZERO_FLUX * result.kappa]
    if zero:
        unit = "" if result.unit == "reduced" else f" {result.unit}"
        yield (
            f"the flux has no part along {' and '.join(zero)}: the mean over x, y and z, {result.kappa:.4g}{unit}, is "
            f"that of no direction; where heat flows κ is {3 / (3 - len(zero)):.3g} times that mean; a sheet or a "
            "wire has a volume of its own (volume=), not that of a cell with vacuum"
        )
    else:
        yield from direction_warnings(directions, result.unit)


def direction_warnings(directions: Directions, unit: str) -> Iterator[str]:
    """Conductivities along x, y and z of unit "W/(m K)" or "reduced", where they differ."""
    if directions.isotropic:
        return
    unit = _unit(unit)
    zero = [f"{'xyz'[axis]} ({directions.value[axis]:.2g}{unit})" for axis in directions.nothing]
    if zero:
        yield (
            f"next to nothing flows along {' and '.join(zero)}: a sheet or a wire, whose volume should be its "
            "own (volume=), not that of a cell with vacuum"
        )
    yield (
        f"the conductivity depends on the direction; the mean over x, y and z, {directions.mean()[0]:.4g}{unit}, is "
        "that of no direction: take the values by direction"
    )


def _drift_warnings(series: HeatFluxSeries) -> Iterator[str]:
    """Temperature and energy that drift."""
    temperature, energy = (_mean(values) for values in (series.temperature, series.potential_energy))
    if temperature is not None and temperature.drifts(_MAX_TEMPERATURE_DRIFT * temperature.mean):
        yield f"the temperature drifts by {temperature.drift:+.3g} K over the run: it is not in equilibrium"
    if energy is not None and energy.drifts(_MAX_ENERGY_DRIFT * energy.deviation):
        yield f"the potential energy drifts by {energy.drift:+.3g} eV over the run: it is not in equilibrium"


def _correlator_warnings(reach: CorrelatorReach) -> Iterator[str]:
    """Lags that are too short."""
    longest, slowest = reach.longest_lag, reach.slowest
    if longest < MIN_LAG_DECAY_TIMES * slowest:
        needed = int(np.ceil(reach.max_lag * MIN_LAG_DECAY_TIMES * slowest / longest))
        yield (
            f"the correlator's lags span {longest / slowest:.2g} times its slowest motion "
            f"({slowest:.3g} ps), slower ones cannot be resolved: use a max_lag of {needed} or more"
        )


def record_warnings(record: HeatFluxSeries, result: Conductivity) -> Iterator[str]:
    """Warning where a run is too short to show whether species diffuse."""
    if record.species and result.components == "single" and result.diagnostics.diffusion is None:
        yield "the run is too short to tell whether species diffuse: components='multi' gives κ at zero mass flux"


def setting_warnings(
    source: object, series: HeatFluxSeries, *, units: str, temperature: float, dt: float | None
) -> Iterator[str]:
    """Units, temperature and time step given by the user that contradict those of the flux."""
    recorded = None if series.temperature is None else float(np.mean(series.temperature))
    yield from questions(units, temperature, recorded)
    if dt is None or not hasattr(source, "attrs") or source.attrs.get("time_unit") == "frame":
        return
    step = time_step_of(source, None)  # type: ignore[arg-type]
    if abs(dt / step - 1) > _MAX_STEP_DIFFERENCE:
        yield f"dt={dt:.4g} was given, but frames of the Dataset are {step:.4g} ps apart"


def blow_up_warning(name: str, ratio: float, frame: int) -> str:
    """Text for a quantity that rises to `ratio` times its median from a frame on."""
    return f"{name} gets {ratio:.2g} times its median from frame {frame} on: the run blew up"


def undecayed_fraction(correlation: np.ndarray, tail: int) -> float:
    """Root mean square of the last n/tail lags of a correlation (n,) over C(0); 0 where that is zero."""
    last = float(np.sqrt((correlation[-len(correlation) // tail :] ** 2).mean()))
    return last / abs(correlation[0]) if correlation[0] else 0.0


def plateau_warnings(
    correlation: np.ndarray, integral: np.ndarray, window: slice, *, tail: int, axis: str
) -> Iterator[str]:
    """Evidence against a plateau: a correlation (n,) that has not decayed, or an integral (n,) that still changes.

    Parameters
    ----------
    correlation, integral : (n,) float64
        At the same lags.
    window : slice
        Lags of the plateau.
    tail : int
        The last n/tail lags stand for the noise of the correlation.
    axis : str
        "x", "y" or "z".
    """
    left = undecayed_fraction(correlation, tail)
    if left > MAX_UNDECAYED:
        yield f"the correlation along {axis} has not decayed: {left:.0%} of C(0) is left at its end; take longer lags"
        return
    values = integral[window]
    half = max(1, len(values) // 2)
    before, after = values[:half].mean(), values[half:].mean() if len(values) > 1 else values.mean()
    change = abs(after - before) / max(abs(values.mean()), 1e-300)
    if change > _MAX_PLATEAU_CHANGE:
        yield f"the integral along {axis} still changes by {change:.0%} where its plateau should be"


def _unit(unit: str) -> str:
    """Unit as it follows a number, with the space between; empty for reduced units."""
    return "" if unit == "reduced" else f" {unit}"
