"""What speaks for and against a conductivity, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from fluxan.greenkubo import multicomponent
from fluxan.greenkubo.result import Diagnostics
from fluxan.greenkubo.temperature import Level
from fluxan.rounding import value_and_error

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fluxan.greenkubo.estimate import Estimate
    from fluxan.greenkubo.limit import Limit, Ordinates
    from fluxan.greenkubo.result import Conductivity
    from fluxan.series.heat_flux_series import HeatFluxSeries

#: Decay times of the slowest motion that a run should last.
ENOUGH: Final = 20
#: Drift of the temperature that matters, and of the energy in standard deviations of its fluctuation.
_TEMPERATURE_DRIFT: Final = 0.01
_ENERGY_DRIFT: Final = 1.0
#: Frequencies below a corner that show it for what it is.
_SEEN: Final = 20
#: Share of κ along an axis at which nothing flows there.
_STILL: Final = 1e-9
#: Probability of the worst of the lowest octaves at which no member describes the spectrum.
_MISFIT: Final = 1e-3
#: Error over value at which a result is hardly one.
_VAGUE: Final = 0.3


def diagnose(series: HeatFluxSeries, ordinates: Ordinates, limit: Limit, diffusion: float | None) -> Diagnostics:
    """Length of the run in decay times, drifts, diffusion."""
    estimate = limit.estimates["default"]
    integral = 0.5 * estimate.value / ordinates.correlation[0]
    corner = 1 / (2 * np.pi * limit.band)
    # Where the spectrum leaves its limit among the lowest frequencies, only the fitted modes know how slow things are.
    fitted = float(estimate.details["slowest"]) if limit.band * series.length < _SEEN else 0.0
    temperature, energy = (_level(values) for values in (series.temperature, series.potential_energy))
    return Diagnostics(
        length=series.length,
        slowest=max(integral, corner, fitted),
        diffusion=diffusion,
        diffusing=multicomponent.diffuses(diffusion),
        temperature_drift=None if temperature is None else temperature.drift,
        energy_drift=None if energy is None else energy.drift,
    )


def _level(values: np.ndarray | None) -> Level | None:
    return None if values is None or not np.isfinite(values).all() else Level.of(values)


def notes(result: Conductivity) -> Iterator[str]:
    """What was decided."""
    unit = "" if result.unit == "reduced" else f" {result.unit}"
    other = f"without that, κ would be {value_and_error(result.kappa_single, result.error_single)}{unit}"
    if result.components == "multi":
        why = "species diffuse" if result.diagnostics.diffusing else "as was asked for"
        yield f"{why}: κ is that at zero flux of mass; {other}"


def warnings(result: Conductivity, series: HeatFluxSeries, offset: float) -> Iterator[str]:
    """What the user should know before believing the result; `offset` as `Ordinates` has it."""
    run = result.diagnostics
    if run.length_over_slowest < ENOUGH:
        yield (
            f"the run lasts {run.length_over_slowest:.3g} times its slowest motion ({run.slowest:.3g} ps); "
            f"run {ENOUGH * run.slowest:.3g} ps or more"
        )
    if result.error > _VAGUE * abs(result.kappa):
        longer = (result.error / (0.1 * result.kappa)) ** 2
        yield f"the error is {result.error / abs(result.kappa):.0%} of κ; {longer:.0f} times this run would give 10 %"
    if run.diffusing and result.components == "single":
        yield "species diffuse, but their fluxes were not taken out: κ depends on the zero of their energies"
    yield from _shape(result.estimates.get("default"))
    yield from _directions(result)
    yield from _drifts(series)
    if offset:
        yield (
            f"the flux has a mean, {offset:.3g} times what chance would give: is the centre of mass at rest, and "
            "nothing driven? It was taken out"
        )


def _shape(estimate: Estimate | None) -> Iterator[str]:
    """What the spectrum near f = 0 says against the default estimate."""
    details = {} if estimate is None else estimate.details
    if details.get("misfit", 1.0) < _MISFIT:
        yield (
            "the lowest frequencies of the spectrum are not those of any member of the default estimate (by chance "
            f"once in {1 / max(details['misfit'], 1e-12):.2g} runs): look at the spectrum, and compare methods"
        )
    if details.get("cusp", 0.0) > 0:
        yield (
            f"the spectrum may have a cusp at f = 0 (a tail of the correlation, exponent {details['exponent']:.1f}): κ "
            f"would then be some {details['cusp']:.2g} times this value; a longer run tells"
        )


def _directions(result: Conductivity) -> Iterator[str]:
    if result.isotropic:
        return
    directions = result.directions
    still = [axis for axis, value in zip("xyz", directions.value, strict=True) if value <= _STILL * result.kappa]
    if still:
        unit = "" if result.unit == "reduced" else f" {result.unit}"
        yield (
            f"the flux has no part along {' and '.join(still)}: the mean over x, y and z, {result.kappa:.4g}{unit}, is "
            f"that of no direction; where heat flows κ is {3 / (3 - len(still)):.3g} times that mean; a sheet or a "
            "wire has a volume of its own (volume=), not that of a cell with vacuum"
        )
    else:
        yield from directions.warnings(result.unit)


def _drifts(series: HeatFluxSeries) -> Iterator[str]:
    temperature, energy = (_level(values) for values in (series.temperature, series.potential_energy))
    if temperature is not None and temperature.drifts(_TEMPERATURE_DRIFT * temperature.mean):
        yield f"the temperature drifts by {temperature.drift:+.3g} K over the run: it is not in equilibrium"
    if energy is not None and energy.drifts(_ENERGY_DRIFT * energy.deviation):
        yield f"the potential energy drifts by {energy.drift:+.3g} eV over the run: it is not in equilibrium"
