"""The Dataset that `fluxan.decompose` returns: made from columns, opened from a file, and summed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from fluxan.errors import FileError, InputError
from fluxan.series.schema import SCHEMA, VARIABLES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    import xarray


def to_xarray(
    columns: Mapping[str, np.ndarray], labels: Sequence[str], attributes: Mapping[str, object]
) -> xarray.Dataset:
    """Make the Dataset in memory."""
    import xarray

    variables = {
        name: (dims, columns[name], {"units": unit, "long_name": long_name})
        for name, (dims, unit, long_name) in VARIABLES.items()
    }
    if attributes.get("time_unit") == "frame":
        variables["time"][2]["units"] = "frame"
    coordinates = {"owner": list(labels), "carrier": list(labels), "xyz": list("xyz")}
    return xarray.Dataset(variables, coordinates, dict(attributes))


def open_flux(path: str | Path) -> xarray.Dataset:
    """A flux file as a Dataset; arrays stay on disk until they are used.

    Raises
    ------
    FileError
        Missing, or not a flux file of fluxan.
    """
    import xarray

    path = Path(path)
    if not path.is_file():
        raise FileError(f"{path}: {'not a file but a folder' if Path(path).is_dir() else 'no such file'}")
    try:
        # Before the rest: a file that is being written has all of these frames, and may grow meanwhile.
        complete = _complete_frames(path)
        dataset = xarray.open_dataset(path, engine="netcdf4", decode_times=False)
    except (OSError, ValueError, RuntimeError) as error:
        raise FileError(f"{path} is not a NetCDF file that can be read ({error})") from error
    if dataset.attrs.get("schema") != SCHEMA:
        found = dataset.attrs.get("schema", "none")
        dataset.close()
        raise FileError(f"{path} is not a flux file of this version of fluxan: schema {found!r}, expected {SCHEMA!r}")
    complete = min(complete, dataset.sizes["time"])
    # A truncated file reads as zeros past its end, and a hash is never zero.
    if complete and not int(dataset["frame_sha256"][complete - 1]):
        dataset.close()
        raise FileError(f"{path} is cut short: not all of its {complete} frames are there; use a whole copy")
    return dataset.drop_vars("complete_frames").isel(time=slice(0, complete))


def _complete_frames(path: Path) -> int:
    """Number of frames that are whole; 0 for a file of another kind."""
    import netCDF4

    from fluxan.trajectory.hdf5_file import NETCDF_LOCK

    with NETCDF_LOCK, netCDF4.Dataset(path) as file:
        file.set_auto_mask(False)
        return int(file["complete_frames"][...]) if "complete_frames" in file.variables else 0


def is_flux_file(path: str | Path) -> bool:
    """Whether a file is a flux file of fluxan, of any version."""
    import netCDF4

    try:
        with netCDF4.Dataset(path) as file:
            return str(getattr(file, "schema", "")).startswith("fluxan flux")
    except OSError:
        return False


def is_driven_flux(path: str | Path) -> bool:
    """Whether a file is a flux file of a run under a driving force (HNEMD)."""
    import netCDF4

    try:
        with netCDF4.Dataset(path) as file:
            return str(getattr(file, "schema", "")).startswith("fluxan flux") and hasattr(file, "driving_force")
    except OSError:
        return False


def total_flux(dataset: xarray.Dataset) -> xarray.DataArray:
    """Total flux J, (time, xyz) in eV Å/ps."""
    return _with_unit(carrier_flux(dataset).sum("carrier"), "total heat flux")


def carrier_flux(dataset: xarray.Dataset) -> xarray.DataArray:
    """Flux carried by each group, (time, carrier, xyz) in eV Å/ps: virial, kinetic and potential convection."""
    flux = dataset["potential"].sum("owner") + dataset["kinetic"] + dataset["convective"]
    return _with_unit(flux, "heat flux by carrier")


def _with_unit(array: xarray.DataArray, name: str) -> xarray.DataArray:
    array.attrs = {"units": VARIABLES["potential"][1], "long_name": name}
    return array


def require_flux(dataset: object) -> xarray.Dataset:
    """The Dataset itself, or the one in a file.

    Raises
    ------
    InputError
        `dataset` is neither a flux Dataset nor a path.
    """
    import xarray

    if isinstance(dataset, (str, Path)):
        return open_flux(dataset)
    if isinstance(dataset, xarray.Dataset) and "potential" in dataset:
        return dataset
    raise InputError(f"expected a flux Dataset or the path of a flux file, got {type(dataset).__name__}")
