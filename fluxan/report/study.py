"""The subject of a report: a flux, its conductivity, and the origin of both."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fluxan.errors import FileError, InputError
from fluxan.greenkubo import green_kubo
from fluxan.greenkubo.diagnostics import blow_up_warning
from fluxan.greenkubo.thermodynamic_state import UNITS
from fluxan.series.conversion import carriers_of_dataset
from fluxan.series.flux_dataset import open_flux
from fluxan.series.flux_spectrum import power_spectrum
from fluxan.series.readers.flux_reading import detect, read_flux
from fluxan.series.readers.soundness import blow_up
from fluxan.series.schema import MEAN_VIRIAL

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    import xarray

    from fluxan.correlation import PowerSpectrum
    from fluxan.greenkubo import Conductivity
    from fluxan.series.heat_flux_series import HeatFluxSeries

#: Largest number of samples per segment of the spectrum.
_MAX_SEGMENT = 1 << 17
#: Independent points of a drawn spectrum, over which it is smoothed.
_POINTS = 200


@dataclass(frozen=True)
class Study:
    """A flux and its conductivity.

    Attributes
    ----------
    name : str
        Name of the flux file.
    record : HeatFluxSeries
        The flux by carrier.
    result : Conductivity
        Conductivity of the flux.
    gauge : Conductivity or None
        Conductivity without the mean virial; None where the Dataset has no mean virial.
    gauge_samples : (n_samples, n_carriers, 3) array or None
        The flux without the mean virial, eV Å/ps.
    facts : mapping of str to str
        Origin of the flux: file, format, route, model.
    """

    name: str
    record: HeatFluxSeries
    result: Conductivity
    gauge: Conductivity | None = None
    gauge_samples: np.ndarray | None = None
    facts: Mapping[str, str] = field(default_factory=dict)

    @property
    def time_step(self) -> float:
        """Time between samples, ps or reduced."""
        return self.result.diagnostics.length / self.record.n_samples

    @property
    def factor(self) -> float:
        """Conductivity per spectral density: 1/(2 V k_B T²)."""
        return UNITS[self.record.units][0] / (2 * self.result.volume * self.result.temperature**2)

    def spectrum(self, samples: np.ndarray | None = None) -> PowerSpectrum:
        """Power spectrum by carrier, smoothed for drawing; of `samples` (n, n_carriers, 3), or else of the flux."""
        values = self.record.samples if samples is None else samples
        n, dt = min(len(values), _MAX_SEGMENT), self.time_step
        spectrum = power_spectrum(values, dt=dt, segment=n, bandwidth=max(1.01, n / 2 / _POINTS) / (n * dt))
        return replace(spectrum, labels=self.record.labels)


def study_file(path: str | Path, *, reader: Mapping[str, Any] | None = None, **settings: Any) -> Study:
    """Read a flux file of any kind and estimate its conductivity.

    Parameters
    ----------
    path : str or Path
        Flux file of fluxan or of another code.
    reader : mapping, optional
        Options of `fluxan.fluxfiles.read_flux`.
    **settings : object
        `method`, `compare`, `components` and `remove`, see `fluxan.green_kubo`.

    Returns
    -------
    Study
        The flux and its conductivity.

    Raises
    ------
    FluxanError
        The file cannot be read, or its flux is too short.
    """
    path, reader = Path(path), dict(reader or {})
    if not path.is_file():
        raise FileError(f"{path}: {'not a file but a folder' if Path(path).is_dir() else 'no such file'}")
    if (reader.get("form") or detect(path)) == "fluxan":
        given = {name: reader.pop(name, None) for name in ("temperature", "volume", "dt")}
        for name, value in reader.items():
            if name != "form" and value is not None:
                raise InputError(
                    f"{path} is fluxan's own flux, of known units and columns: {name}= does not apply to it"
                )
        with open_flux(path) as dataset:
            return study_dataset(dataset, name=path.name, **given, **settings)
    record = read_flux(path, **reader)
    result = green_kubo(record, **settings)
    return Study(path.name, record, result, facts={"file": path.name, "format": record.source})


def study_dataset(
    dataset: xarray.Dataset,
    *,
    name: str = "flux",
    temperature: float | None = None,
    volume: float | None = None,
    dt: float | None = None,
    **settings: Any,
) -> Study:
    """Estimate the conductivity of a flux Dataset, and that without the mean virial if the Dataset has one.

    Parameters
    ----------
    dataset : xarray.Dataset
        From `fluxan.decompose` or `fluxan.open_flux`.
    name : str
        Name of the flux in the report.
    temperature : float, optional
        Temperature, K; by default the mean over the run.
    volume : float, optional
        Volume, Å³; by default the mean over the run.
    dt : float, optional
        Sampling interval, ps; by default that of the Dataset.
    **settings : object
        `method`, `compare`, `components` and `remove`, see `fluxan.green_kubo`.

    Returns
    -------
    Study
        The flux and its conductivity.

    Raises
    ------
    FluxanError
        The flux is too short, or temperature, volume or sampling interval are unknown.
    """
    settings |= {"temperature": temperature, "volume": volume, "dt": dt}
    record = carriers_of_dataset(dataset, dt=dt, volume=volume, temperature=temperature)
    result = green_kubo(dataset, **settings)
    crash = blow_up(record.samples, record.observables)
    if crash is not None:
        frame, ratio, quantity = crash
        result = replace(result, warnings=(blow_up_warning(quantity, ratio, frame), *result.warnings))
    gauge, samples = None, None
    if MEAN_VIRIAL in dataset and settings.get("remove") is None:
        gauge = green_kubo(dataset, **(settings | {"remove": "mean-virial", "compare": ()}))
        samples = record.samples - dataset[MEAN_VIRIAL].transpose("time", "carrier", "xyz").values
    facts = {"file": name, "format": record.source, **origin(dataset)}
    return Study(name, record, result, gauge, samples, facts)


def origin(dataset: xarray.Dataset) -> dict[str, str]:
    """Origin of a flux Dataset, as far as its attributes record it."""
    known = {
        "trajectory": "trajectory_name",
        "route": "route",
        "self-check": "self_check",
        "model (SHA-256)": "model_sha256",
        "fluxan": "fluxan_version",
    }
    return {word: str(dataset.attrs[key]) for word, key in known.items() if key in dataset.attrs}
