"""Files of virial-velocity correlations (NetCDF, classic model), and the spectral heat current of a run."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from fluxan.correlation.virial_velocity import VirialVelocityCorrelation
from fluxan.errors import FileError
from fluxan.greenkubo.spectral_conductivity import spectral_conductivity
from fluxan.replacement import replacing

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from fluxan.greenkubo.driven import DrivenConductivity
    from fluxan.greenkubo.spectral_conductivity import SpectralHeatCurrent

_SCHEMA = "fluxan virial-velocity correlation 1"


def spectrum_beside(flux: Path) -> Path:
    """Path of the file of correlations that belongs to a flux file: ``hnemd.spectrum.nc`` to ``hnemd.nc``."""
    return flux.with_suffix(".spectrum.nc")


def save_correlation(
    path: Path, correlation: VirialVelocityCorrelation, labels: Sequence[str], driving_force: np.ndarray
) -> None:
    """Write a correlation and the names of its groups; an older file is kept until this one is complete.

    Parameters
    ----------
    path : Path
        Path of the file.
    correlation : VirialVelocityCorrelation
        The correlation.
    labels : sequence of str
        Names of the groups.
    driving_force : (3,) array
        F_e of the run, 1/Å.

    Raises
    ------
    OutputError
        It cannot be written.
    """
    import xarray

    dataset = xarray.Dataset(
        {
            "sums": (("block", "carrier", "lag"), correlation.sums),
            # The classic model has no 64-bit integers; numbers of samples are exact as float64.
            "counts": (("block", "lag"), correlation.counts.astype(float)),
        },
        {"lag": ("lag", correlation.times, {"units": "ps"}), "carrier": ("carrier", list(labels))},
        {"schema": _SCHEMA, "time_step": correlation.time_step, "driving_force": driving_force},
    )
    with replacing(path) as unfinished:
        dataset.to_netcdf(unfinished, format="NETCDF3_64BIT", engine="netcdf4")


def load_correlation(path: Path) -> tuple[VirialVelocityCorrelation, tuple[str, ...], np.ndarray]:
    """Read what `save_correlation` wrote: the correlation, the names of its groups, and the driving force.

    Raises
    ------
    FileError
        Missing, foreign, or damaged.
    """
    import xarray

    try:
        with xarray.open_dataset(path, engine="netcdf4") as dataset:
            if dataset.attrs.get("schema") != _SCHEMA:
                raise FileError(f"{path} is no virial-velocity correlation of fluxan")
            sums = dataset["sums"].transpose("block", "carrier", "lag").values
            counts = dataset["counts"].transpose("block", "lag").values.astype(int)
            labels = tuple(str(label) for label in dataset["carrier"].values)
            correlation = VirialVelocityCorrelation(float(dataset.attrs["time_step"]), sums, counts)
            return correlation, labels, np.asarray(dataset.attrs["driving_force"], dtype=np.float64)
    except (OSError, ValueError, KeyError) as error:
        if isinstance(error, FileError):
            raise
        raise FileError(f"{path} cannot be read: {error}") from error


def driven_spectrum(path: Path, result: DrivenConductivity) -> SpectralHeatCurrent:
    """Spectral heat current of a run under a driving force.

    Parameters
    ----------
    path : Path
        File that the run wrote beside its flux.
    result : DrivenConductivity
        Conductivity of the same run. Blocks of the correlation that begin within the time that it discards are left
        out too.

    Raises
    ------
    FileError
        The file cannot be read.
    """
    correlation, labels, driving_force = load_correlation(path)
    if not np.array_equal(driving_force, result.driving_force):
        raise FileError(
            f"{path} is of a run with the driving force {driving_force.tolist()}/Å, not of this one: remove it"
        )
    begins = np.concatenate([[0.0], np.cumsum(correlation.n_samples)[:-1]]) * correlation.time_step
    kept = begins >= result.discarded
    kept[-1] = True
    part = replace(correlation, sums=correlation.sums[kept], counts=correlation.counts[kept])
    return spectral_conductivity(
        part,
        volume=result.volume,
        temperature=result.temperature,
        driving_force=result.strength,
        labels=labels,
    )
