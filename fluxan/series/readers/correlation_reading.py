"""`read_flux_correlation`: a correlation function of the heat flux from the file of another code."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from fluxan.errors import FileError
from fluxan.series.readers.ave_correlate import read_ave_correlate
from fluxan.series.readers.flux_correlation import correlation_format
from fluxan.series.readers.gpumd import read_correlation

if TYPE_CHECKING:
    from fluxan.series.readers.flux_correlation import FluxCorrelation


def read_flux_correlation(path: str | Path, **options: Any) -> FluxCorrelation:
    """Read a correlation function of the heat flux.

    Parameters
    ----------
    path : str or Path
        GPUMD's hac.out, or a file of LAMMPS' fix ave/correlate or ave/correlate/long.
    **options : FluxFileOptions
        As for `fluxan.fluxfiles.read_flux`: form, volume and temperature; with LAMMPS also units, dt (between lags),
        timestep, columns and density.

    Raises
    ------
    FileError
        There is no such file, or it is none of these.
    InputError
        An option does not apply to the file, or one that it needs is missing.
    TrajectoryError
        Broken rows.
    """
    path = Path(path)
    form = correlation_format(path, options.pop("form", None))
    if form == "lammps-correlate":
        return read_ave_correlate(path, options)
    if form is None:
        raise FileError(f"{path} is not a correlation function that fluxan reads: hac.out, or fix ave/correlate's")
    return read_correlation(path, options)
