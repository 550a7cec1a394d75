"""Heat-flux series of Datasets, of plain arrays, and of correlators."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

from fluxan.correlation.layout import wanted_pairs
from fluxan.errors import InputError
from fluxan.series.flux_dataset import require_flux
from fluxan.series.frame_checks import is_uneven
from fluxan.series.heat_flux_series import HeatFluxSeries
from fluxan.series.schema import MEAN_VIRIAL

if TYPE_CHECKING:
    from pathlib import Path

    import xarray
    from numpy.typing import ArrayLike, NDArray

    from fluxan.correlation import Correlator

#: Ways to split the flux of a Dataset into channels that add up to the total.
SPLITS: Final = ("total", "carrier", "owner-carrier")
_NEEDED: Final = ("kinetic", "convective", "velocity", "volume", "temperature", "potential_energy")
#: Root mean square at or below which a mass flux is round-off: absolute in the file's own unit, and relative to the
#: largest species.
_ROUND_OFF: Final = 1e-12


def series_of_array(flux: ArrayLike, *, dt: float | None, velocity: ArrayLike | None = None) -> HeatFluxSeries:
    """Series from an array (n, 3) or (n, n_channels, 3), and optionally from sums of velocities (n, n_species, 3).

    Raises
    ------
    InputError
        A wrong shape, values that are not finite, fewer than two samples, or no time step.
    """
    check_time_step(dt)
    values = np.asarray(flux)
    if values.dtype.kind not in "fiu" or values.ndim not in (2, 3) or values.shape[-1] != 3 or not values.size:
        raise InputError(f"flux has the shape {values.shape}, expected real numbers (n, 3) or (n, n_channels, 3)")
    if dt is None:
        raise InputError("a flux given as an array needs its time step: dt= in ps")
    values = values.reshape(len(values), -1, 3).astype(np.float64, copy=False)
    check_samples(values)
    labels = ("total",) if values.shape[1] == 1 else tuple(str(channel) for channel in range(values.shape[1]))
    series = HeatFluxSeries.of_samples(values, float(dt), labels)
    return series if velocity is None else series.with_mass_flux(velocity)


def series_of_dataset(
    flux: xarray.Dataset | str | Path, *, dt: float | None = None, remove: str | None = None
) -> HeatFluxSeries:
    """Series from a Dataset of `fluxan.decompose`, in memory or on disk, or from the path of one.

    Raises
    ------
    InputError
        Times are not equidistant or count frames, a variable is missing, or there is no mean virial to remove.
    """
    check_time_step(dt)
    dataset = require_flux(flux)
    missing = [name for name in _NEEDED if name not in dataset]
    if missing:
        raise InputError(
            f"the Dataset lacks {', '.join(missing)}, which every flux of fluxan.decompose has; give it whole, or "
            "J as an array with dt, volume and temperature"
        )

    def read(start: int, stop: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        block = dataset.isel(time=slice(start, stop))
        velocity = block["velocity"].transpose("time", "carrier", "xyz").values
        return _owners_and_carriers(block), velocity.astype(np.float64, copy=False)

    volume = dataset["volume"].values
    labels = tuple(str(label) for label in dataset["carrier"].values)
    driving = dataset.attrs.get("driving_force")
    series = HeatFluxSeries(
        read,
        dataset.sizes["time"],
        time_step_of(dataset, dt),
        labels,
        by_owner=True,
        species=labels,
        volume=None if np.isnan(volume).any() else volume,
        observables={name: dataset[name].values for name in ("temperature", "potential_energy")},
        source="fluxan flux",
        driving_force=None if driving is None else tuple(np.asarray(driving, dtype=np.float64).tolist()),
    )
    return _without_mean_virial(series, dataset) if remove == "mean-virial" else series


def carriers_of_dataset(
    dataset: xarray.Dataset, *, dt: float | None = None, volume: float | None = None, temperature: float | None = None
) -> HeatFluxSeries:
    """Flux by carrier of a Dataset, in memory, with the observables of each frame; arguments override the Dataset.

    Raises
    ------
    InputError
        Samples that are not finite, times that are not equidistant, or no time step.
    """
    check_time_step(dt)
    samples, labels = split_of_dataset(dataset, "carrier")
    check_samples(samples)
    known = {"temperature": "temperature", "energy": "potential_energy"}
    return HeatFluxSeries.of_samples(
        samples,
        time_step_of(dataset, dt),
        labels,
        volume=dataset["volume"].values if volume is None else np.array([volume]),
        given_temperature=temperature,
        source="fluxan flux",
        observables={name: dataset[variable].values for name, variable in known.items()},
    )


def series_of_correlator(correlator: Correlator, *, dt: float | None) -> HeatFluxSeries:
    """Series that describes the samples a correlator has received; the samples themselves are not kept.

    Raises
    ------
    InputError
        Its channels are not x, y, z of vectors, or it lacks products that the total needs.
    """
    layout = correlator.layout
    if layout.n_channels % 3:
        raise InputError(f"the correlator has {layout.n_channels} channels, expected x, y, z of each part of a flux")
    missing = sorted(set(wanted_pairs("same-xyz", layout.n_channels)) - set(layout.pairs))
    if missing:
        raise InputError(
            f"the correlator lacks the products of channels {missing[0][0]} and {missing[0][1]}, which the total "
            "flux needs: make it with pairs='same-xyz' or 'all'"
        )

    def read(_start: int, _stop: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        raise InputError("a correlator does not keep the samples that it has received")

    n = layout.n_channels // 3
    labels = ("total",) if n == 1 else tuple(str(channel) for channel in range(n))
    time_step = layout.time_step if dt is None else float(dt)
    return HeatFluxSeries(read, correlator.n_samples, time_step, labels, source="correlator")


def split_of_dataset(dataset: xarray.Dataset, by: str) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    """Flux (n, n_channels, 3) of a Dataset by total, carrier or owner-carrier, and the names of the channels.

    An atom's convection counts with that atom as both owner and carrier.

    Raises
    ------
    InputError
        `by` is none of `SPLITS`.
    """
    if by not in SPLITS:
        raise InputError(f"by is {by!r}, expected one of {', '.join(SPLITS)}")
    own = (dataset["kinetic"] + dataset["convective"]).transpose("time", "carrier", "xyz").values
    virial = dataset["potential"].transpose("time", "owner", "carrier", "xyz").values
    names = [str(name) for name in dataset["carrier"].values]
    if by == "total":
        return (virial.sum(axis=(1, 2)) + own.sum(axis=1))[:, None], ("total",)
    if by == "carrier":
        return virial.sum(axis=1) + own, tuple(names)
    return _owners_and_carriers(dataset), tuple(f"{owner}←{carrier}" for owner in names for carrier in names)


def time_step_of(dataset: xarray.Dataset, dt: float | None) -> float:
    """Time between frames of a Dataset, ps; `dt` where it is given, though gaps are still an error.

    Raises
    ------
    InputError
        Times are not equidistant, or there is no `dt` and they count frames or are fewer than two.
    """
    if dt is None and dataset.attrs.get("time_unit") == "frame":
        raise InputError("this flux counts frames and holds no times: give the time between frames, dt= in ps")
    times = dataset["time"].values
    if len(times) < 2 and dt is None:
        raise InputError(f"{len(times)} frames have no time step: give more frames")
    gaps = np.diff(times)
    step = float(np.median(gaps)) if len(gaps) else 0.0
    uneven = is_uneven(gaps, step, np.abs(times).max(initial=0.0))
    if uneven.any() or (step <= 0 and dt is None):
        at = int(np.argmax(uneven))
        raise InputError(
            f"times are not equidistant: {gaps[at]:g} ps between frames {at} and {at + 1}, {step:g} ps elsewhere; "
            "use a part without gaps"
        )
    return step if dt is None else float(dt)


def check_samples(samples: NDArray[np.float64]) -> None:
    """Refuse samples (n, n_channels, 3) that are not finite, or fewer than two.

    Raises
    ------
    InputError
        A sample is not finite, or there are fewer than two.
    """
    finite = np.isfinite(samples).all(axis=(1, 2))
    if not finite.all():
        raise InputError(f"the flux of frame {int(np.argmin(finite))} is not finite")
    if len(samples) < 2:
        raise InputError(f"a spectrum needs at least 2 frames, got {len(samples)}")


def scaled(velocity: NDArray[np.float64], flux: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mass fluxes of unknown unit, (n, n_species, 3), scaled to the flux (n, 3); round-off is set to zero.

    Their scale is arbitrary, since κ at zero mass flux does not depend on it; without scaling, a momentum in SI units
    would be taken for round-off.
    """
    power = np.sqrt((velocity**2).mean(axis=(0, 2)))
    moving = power > max(_ROUND_OFF * power.max(initial=0.0), _ROUND_OFF)
    factors = np.where(moving, np.sqrt((flux**2).mean()) / np.where(moving, power, 1.0), 0.0)
    return velocity * factors[:, None]


def check_time_step(dt: float | None) -> None:
    """Refuse a time step that is not positive and finite.

    Raises
    ------
    InputError
        `dt` is not positive and finite.
    """
    if dt is not None and not (np.isfinite(dt) and dt > 0):
        raise InputError(f"dt is {dt!r}, expected a positive time in ps")


def _owners_and_carriers(block: xarray.Dataset) -> NDArray[np.float64]:
    """Owner × carrier, (n, n_carriers², 3); an atom's convection has it as owner and carrier."""
    matrix = block["potential"].transpose("time", "owner", "carrier", "xyz").values.astype(np.float64)
    diagonal = np.arange(matrix.shape[1])
    matrix[:, diagonal, diagonal] += (block["kinetic"] + block["convective"]).transpose("time", "carrier", "xyz").values
    return matrix.reshape(len(matrix), -1, 3)


def _without_mean_virial(series: HeatFluxSeries, dataset: xarray.Dataset) -> HeatFluxSeries:
    """The flux by carrier less Σ_j ⟨W_j⟩ v_j; how the mean virial divides among owners is not known."""
    if MEAN_VIRIAL not in dataset:
        raise InputError(
            "this flux holds no mean virial to remove: add it by fluxan.with_mean_virial(dataset, trajectory, model)"
        )
    carriers = series.by_carrier()

    def read(start: int, stop: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        flux, velocity = carriers.read(start, stop)
        mean = dataset[MEAN_VIRIAL].isel(time=slice(start, stop)).transpose("time", "carrier", "xyz").values
        return flux - mean, velocity

    return replace(carriers, read=read)
