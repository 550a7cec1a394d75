"""The flux of a run under a driving force, its conductivity and spectrum, and the origin of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fluxan.errors import InputError
from fluxan.greenkubo.driven import driven_conductivity, standard_error
from fluxan.md.hnemd.spectrum_file import driven_spectrum, spectrum_beside
from fluxan.series.flux_dataset import open_flux

from .study import origin

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fluxan.greenkubo.driven import DrivenConductivity
    from fluxan.greenkubo.spectral_conductivity import SpectralHeatCurrent

#: Options of a flux file that apply to a run under a driving force.
_KNOWN = ("temperature", "volume", "form")


@dataclass(frozen=True)
class DrivenStudy:
    """A run under a driving force and its conductivity.

    Attributes
    ----------
    name : str
        Name of the flux file.
    result : DrivenConductivity
        Conductivity of the run.
    spectrum : SpectralHeatCurrent or None
        Spectral heat current, where its file lies beside the flux file.
    times, temperatures : (n_samples,) array
        Time, ps, and temperature, K, of each sample.
    thermostat : float or None
        Temperature of the thermostat, K; None where it is not known.
    facts : mapping of str to str
        Origin of the flux.
    """

    name: str
    result: DrivenConductivity
    spectrum: SpectralHeatCurrent | None
    times: np.ndarray
    temperatures: np.ndarray
    thermostat: float | None = None
    facts: Mapping[str, str] = field(default_factory=dict)


def driven_study(
    path: str | Path, *, reader: Mapping[str, Any] | None = None, discard: float | None = None
) -> DrivenStudy:
    """Read the flux file of a run under a driving force, and the spectrum that lies beside it.

    Parameters
    ----------
    path : str or Path
        Flux file of `fluxan hnemd`.
    reader : mapping, optional
        Options of a flux file, of which ``temperature`` (K) and ``volume`` (Å³) apply.
    discard : float, optional
        Time to discard at the start of the run, ps; see `fluxan.driven_conductivity`.

    Raises
    ------
    FluxanError
        A file cannot be read, the run is too short, or an option does not apply to it.
    """
    path, given = Path(path), {name: value for name, value in (reader or {}).items() if value is not None}
    for name in given:
        if name not in _KNOWN:
            raise InputError(f"{path} is fluxan's own flux, of a run under a driving force: {name}= does not apply")
    given.pop("form", None)
    with open_flux(path) as dataset:
        result = driven_conductivity(dataset, discard=discard, **given)
        beside = spectrum_beside(path)
        target, n_atoms = (dataset.attrs.get(name) for name in ("thermostat_temperature", "n_atoms"))
        facts = {"file": path.name, "format": "fluxan flux", **origin(dataset)}
        if n_atoms is not None:
            facts["atoms"] = str(n_atoms)
        return DrivenStudy(
            path.name,
            result,
            driven_spectrum(beside, result) if beside.is_file() else None,
            times=dataset["time"].values,
            temperatures=dataset["temperature"].values,
            thermostat=None if target is None else float(target),
            facts=facts,
        )


def halves(result: DrivenConductivity) -> list[tuple[float, float]]:
    """κ of the first and of the second half of a run, each with its standard error."""
    return [(float(part.mean()), float(standard_error(part))) for part in np.split(result.blocks, 2)]
