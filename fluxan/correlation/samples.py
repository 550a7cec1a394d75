"""Fluxes as samples at equal times: from a Dataset, a flux file, or a plain array."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fluxan.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

    import xarray

#: How a Dataset's flux is split into channels that add up to the total.
SPLITS = ("total", "carrier", "owner-carrier")


@dataclass(frozen=True)
class FluxSamples:
    """A vector per channel and time.

    Parameters
    ----------
    values : (n, n_channels, 3)
    time_step : ps
    labels : name of each channel
    """

    values: np.ndarray
    time_step: float
    labels: tuple[str, ...]


def flux_samples(flux: xarray.Dataset | str | Path | np.ndarray, *, dt: float | None, by: str) -> FluxSamples:
    """Take a flux apart into channels.

    Parameters
    ----------
    flux : a Dataset of `fluxan.decompose`, the path of one, or an array (n, 3) or (n, n_channels, 3)
    dt : time step in ps; needed for arrays, and for Datasets that count frames instead of time
    by : "total", "carrier" or "owner-carrier", for Datasets; convection belongs to its own atom on both sides

    Raises
    ------
    InputError
        A wrong shape, values that are not finite, times that are not equidistant, or no time step.
    """
    if by not in SPLITS:
        raise InputError(f"by is {by!r}, expected one of {', '.join(SPLITS)}")
    if dt is not None and not (np.isfinite(dt) and dt > 0):
        raise InputError(f"dt is {dt!r}, expected a positive time in ps")
    if isinstance(flux, np.ndarray | list | tuple):
        values = np.asarray(flux)
        if values.dtype.kind not in "fiu" or values.ndim not in (2, 3) or values.shape[-1] != 3 or not values.size:
            raise InputError(f"flux has the shape {values.shape}, expected real numbers (n, 3) or (n, n_channels, 3)")
        if dt is None:
            raise InputError("a flux given as an array needs its time step: dt= in ps")
        values = values.reshape(len(values), -1, 3).astype(np.float64, copy=False)
        labels = ("total",) if values.shape[1] == 1 else tuple(str(channel) for channel in range(values.shape[1]))
        return _checked(FluxSamples(values, float(dt), labels))
    from fluxan.dataset import require_flux

    dataset = require_flux(flux)
    values, labels = _split(dataset, by)
    return _checked(FluxSamples(values, time_step(dataset, dt), labels))


def _split(dataset: xarray.Dataset, by: str) -> tuple[np.ndarray, tuple[str, ...]]:
    own = (dataset["kinetic"] + dataset["convective"]).transpose("time", "carrier", "xyz").values
    virial = dataset["potential"].transpose("time", "owner", "carrier", "xyz").values
    names = [str(name) for name in dataset["carrier"].values]
    if by == "total":
        return (virial.sum(axis=(1, 2)) + own.sum(axis=1))[:, None], ("total",)
    if by == "carrier":
        return virial.sum(axis=1) + own, tuple(names)
    matrix = virial.astype(np.float64)
    diagonal = np.arange(len(names))
    matrix[:, diagonal, diagonal] += own
    labels = tuple(f"{owner}←{carrier}" for owner in names for carrier in names)
    return matrix.reshape(len(matrix), -1, 3), labels


def time_step(dataset: xarray.Dataset, dt: float | None) -> float:
    """Time between frames of a Dataset, ps; `dt` where it is given, which excuses no gap.

    Raises
    ------
    InputError
        Times are not equidistant, or there is no `dt` and they count frames or are fewer than two.
    """
    if dt is None and dataset.attrs.get("time_unit") == "frame":
        raise InputError("this flux counts frames, it does not know its time: give the time between frames, dt= in ps")
    times = dataset["time"].values
    if len(times) < 2 and dt is None:
        raise InputError(f"{len(times)} frames have no time step: give more frames")
    steps = np.diff(times)
    step = float(np.median(steps)) if len(steps) else 0.0
    # Times are stored in single precision by some programs.
    wrong = np.abs(steps - step) > 1e-3 * abs(step) + 4 * np.finfo(np.float32).eps * np.abs(times).max(initial=0.0)
    if wrong.any() or (step <= 0 and dt is None):
        at = int(np.argmax(wrong))
        raise InputError(
            f"times are not equidistant: {steps[at]:g} ps between frames {at} and {at + 1}, {step:g} ps elsewhere; "
            "use a part without gaps"
        )
    return step if dt is None else float(dt)


def _checked(samples: FluxSamples) -> FluxSamples:
    finite = np.isfinite(samples.values).all(axis=(1, 2))
    if not finite.all():
        raise InputError(f"the flux of frame {int(np.argmin(finite))} is not finite")
    if len(samples.values) < 2:
        raise InputError(f"a spectrum needs at least 2 frames, got {len(samples.values)}")
    return samples
