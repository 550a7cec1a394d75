"""`fluxan.green_kubo`: thermal conductivity from a heat flux.

    κ = 1/(V k_B T²) ∫₀^∞ ⟨J_x(0) J_x(t)⟩ dt = S(0)/(2 V k_B T²),

J the volume-extensive flux and S(0) its two-sided spectral density at zero frequency, averaged over x, y, z.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from fluxan.correlation import Correlator
from fluxan.correlation.state_file import is_state_file
from fluxan.errors import InputError, ShortRunError
from fluxan.greenkubo import diagnostics
from fluxan.greenkubo.accumulated import analyse_correlator
from fluxan.greenkubo.analysis import Choices
from fluxan.greenkubo.assembly import conductivity_of
from fluxan.greenkubo.estimators.methods import METHODS
from fluxan.greenkubo.sampled import analyse_samples
from fluxan.greenkubo.thermodynamic_state import ThermodynamicState, require_positive
from fluxan.series.conversion import scaled, series_of_array, series_of_correlator, series_of_dataset
from fluxan.series.flux_dataset import is_flux_file, open_flux
from fluxan.series.gauge_fixing import gauge_fixed
from fluxan.series.heat_flux_series import HeatFluxSeries
from fluxan.series.readers.flux_reading import read_flux

if TYPE_CHECKING:
    from collections.abc import Sequence

    import xarray
    from numpy.typing import NDArray

    from fluxan.greenkubo.result import Conductivity

COMPONENTS: Final = ("auto", "single", "multi")
#: Samples below which no estimator works: the default one needs 12 bins.
_MIN_SAMPLES: Final = 64


def green_kubo(
    flux: xarray.Dataset | str | Path | HeatFluxSeries | Correlator | NDArray[np.float64],
    *,
    temperature: float | None = None,
    method: str = "default",
    compare: Sequence[str] = ("cepstral", "running"),
    dt: float | None = None,
    volume: float | None = None,
    units: str | None = None,
    remove: str | None = None,
    components: str = "auto",
    velocity: NDArray[np.float64] | None = None,
) -> Conductivity:
    """Thermal conductivity with its error, its parts, and warnings.

    Parameters
    ----------
    flux : xarray.Dataset or str or Path or HeatFluxSeries or Correlator or array
        A Dataset of `fluxan.decompose`, the path of a file of fluxan or another code, what `fluxan.fluxfiles.read_flux`
        returns, or an array (n, 3) or (n, n_channels, 3), whose channels add up to the total; an array needs `dt`,
        `volume` and `temperature`. Volume-extensive: with units="metal" in eV Å/ps. A `fluxan.Correlator`, or the path
        of a saved one, holds x, y, z of each such channel with at least pairs="same-xyz", and needs `volume` and
        `temperature`; its lags (`max_lag`) should span the slowest motion three times.
    temperature : float, optional
        K; by default the mean of the Dataset's.
    method : str
        "default", "cepstral", "stacie" or "running".
    compare : sequence of str
        Further methods, for `Conductivity.estimates`; "stacie" needs its package and some seconds.
    dt : float, optional
        Time between samples, ps; by default a Dataset's or a Correlator's own.
    volume : float, optional
        Å³; by default the mean of the Dataset's.
    units : str, optional
        "metal", the default, gives W/(m K); "lj" takes everything in reduced units and gives
        κ* = ∫⟨J(0)·J(t)⟩dt/(3 V T²). Files of other codes may be in further units, see `fluxan.fluxfiles.read_flux`.
    remove : str, optional
        For solids: "mean-virial" subtracts Σ_j ⟨W_j⟩ v_j, see `fluxan.with_mean_virial`; "variational" subtracts what a
        regression on the species' velocities explains, see `fluxan.series.gauge_fixing`.
    components : str
        "multi" gives κ at zero mass flux, for mixtures that diffuse; "auto" does so where they do; "single" never.
    velocity : (n, n_species, 3) array, optional
        Sums of velocities by species, Å/ps, with an array; Datasets hold theirs.

    Returns
    -------
    Conductivity
        `.kappa`, `.error`, `.tensor`, `.by_carrier`, `.matrix` and more; print it for a summary.

    Raises
    ------
    InputError
        Volume, temperature or time step are missing or not positive, samples are not finite or not equidistant, the
        run is too short, or a setting is unknown.

    Notes
    -----
    Parts are fractions of κ: Re S_ab(f)/S(f) at f → 0 over one band of frequencies for all of them, so that they add up
    to κ to round-off (`fluxan.greenkubo.partition`). Their errors combine that of the fraction with that of κ.
    """
    _check_choices(method=method, remove=remove, components=components, compare=compare)
    require_positive(temperature=temperature, dt=dt, volume=volume)
    with ExitStack() as stack:
        # 1. Open the source, and convert it to a series.
        source = _opened(flux, stack, dt=dt, units=units)
        series = _series(source, dt=dt, remove=remove, velocity=velocity)
        if series.driving_force is not None:
            raise InputError(
                "this flux is of a run under a driving force (HNEMD), whose mean gives κ; Green-Kubo needs a flux in "
                "equilibrium: use fluxan.driven_conductivity"
            )
        if remove == "variational":
            series = gauge_fixed(series)
        if series.n_samples < _MIN_SAMPLES:
            raise ShortRunError(
                f"the flux has {series.n_samples} samples ({series.duration:g} ps); a conductivity needs "
                f"{_MIN_SAMPLES} ({_MIN_SAMPLES * series.time_step:g} ps) at the very least, and "
                f"{diagnostics.MIN_RUN_DECAY_TIMES} times "
                "its slowest correlation"
            )
        # 2. Volume, temperature and units.
        if temperature is None and series.temperature is None:
            temperature = series.given_temperature
        unit = series.units if isinstance(source, HeatFluxSeries) else units or "metal"
        state = ThermodynamicState.of(series, temperature=temperature, volume=volume, units=unit)
        # 3. Estimate, and assemble the result.
        choices = Choices(method, tuple(compare), components)
        if isinstance(source, Correlator):
            analysis = analyse_correlator(source, series, choices)
        else:
            analysis = analyse_samples(series, state, choices)
        result = conductivity_of(analysis, series, state, method)
        # 4. Add the notes and warnings of the source.
        if isinstance(source, HeatFluxSeries):
            more = diagnostics.record_warnings(source, result)
            warnings = (*source.warnings, *result.warnings, *more)
            return replace(result, notes=(*source.notes, *result.notes), warnings=warnings)
        doubts = diagnostics.setting_warnings(source, series, units=unit, temperature=state.temperature, dt=dt)
        return replace(result, warnings=(*doubts, *result.warnings))


def _check_choices(*, method: str, remove: str | None, components: str, compare: Sequence[str]) -> None:
    known = {
        "method": (method, METHODS),
        "compare": (next((name for name in compare if name not in METHODS), method), METHODS),
        "remove": (remove, (None, "mean-virial", "variational")),
        "components": (components, COMPONENTS),
    }
    for name, (value, choices) in known.items():
        if value not in choices:
            raise InputError(f"{name} is {value!r}, expected one of {', '.join(map(repr, choices))}")


def _opened(flux: object, stack: ExitStack, *, dt: float | None, units: str | None) -> object:
    """Content of a file, which `stack` closes; anything but a path is returned as it is."""
    if not isinstance(flux, (str, Path)):
        return flux
    if Path(flux).is_file() and is_state_file(flux):
        return Correlator.load(flux)
    if Path(flux).is_file() and not is_flux_file(flux):
        return read_flux(flux, dt=dt, units=units)
    return stack.enter_context(open_flux(flux))


def _series(
    flux: object, *, dt: float | None, remove: str | None, velocity: NDArray[np.float64] | None
) -> HeatFluxSeries:
    """The flux as a series, from a Dataset, an array, a correlator or a series."""
    sampled = isinstance(flux, (np.ndarray, list, tuple, HeatFluxSeries))
    if velocity is not None and not sampled:
        raise InputError("velocity= applies to arrays; a Dataset holds its own, a Correlator keeps none")
    if not sampled and not isinstance(flux, Correlator):
        return series_of_dataset(flux, dt=dt, remove=remove)  # type: ignore[arg-type]
    if remove == "mean-virial":
        raise InputError("remove='mean-virial' needs a Dataset that holds the mean virial, see with_mean_virial")
    if isinstance(flux, Correlator):
        return series_of_correlator(flux, dt=dt)
    if isinstance(flux, HeatFluxSeries):
        return _with_comparable_mass_flux(flux if dt is None else replace(flux, time_step=float(dt)), velocity)
    return series_of_array(flux, dt=dt, velocity=velocity)  # type: ignore[arg-type]


def _with_comparable_mass_flux(series: HeatFluxSeries, velocity: NDArray[np.float64] | None) -> HeatFluxSeries:
    """A series with its mass fluxes, which may be in any unit, scaled to the size of the heat flux."""
    series.require_time_step()
    own = series.velocity
    if velocity is not None:
        return series.with_mass_flux(velocity)
    return series if own is None else series.with_mass_flux(scaled(own, series.total))
