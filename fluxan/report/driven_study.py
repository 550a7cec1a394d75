"""The flux of a run under a driving force, its conductivity and spectrum, and the origin of them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from fluxan.errors import InputError
from fluxan.greenkubo.driven import N_BLOCKS, driven_conductivity, standard_error
from fluxan.md.hnemd.spectrum_file import driven_spectrum, spectrum_beside
from fluxan.series.flux_dataset import open_flux

from .driven_figure import block_means
from .study import origin
from .verdicts import value

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from fluxan.greenkubo.driven import DrivenConductivity
    from fluxan.greenkubo.spectral_conductivity import SpectralHeatCurrent

#: Options of a flux file that apply to a run under a driving force.
_KNOWN = ("temperature", "volume", "form")
#: Ratio of the error to that of linear response below which it is doubtful; of errors from 16 blocks, chance falls
#: below it in one of 200.
_SMALL: Final = 0.55
#: Difference of the halves of a run, in its standard errors, that chance exceeds in one run of 40.
_DIFFERENT: Final = 2.5


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
        result = replace(result, warnings=(*result.warnings, *_doubts(result)))
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
    return [(float(part.mean()), float(standard_error(part))) for part in np.split(block_means(result), 2)]


def is_doubtful(result: DrivenConductivity) -> bool:
    """Whether the error is much below that of linear response: motions slower than the run are missing in it."""
    return result.error < _SMALL * result.expected_error


def _doubts(result: DrivenConductivity) -> Iterator[str]:
    """Evidence that the run is too short."""
    (first, first_error), (second, second_error) = halves(result)
    difference, error = second - first, float(np.hypot(first_error, second_error))
    if abs(difference) > _DIFFERENT * error and not any("drifts" in warning for warning in result.warnings):
        yield (
            f"the halves of the run differ: κ changes by {value(difference, error)} from the first to the second; "
            "discard more, or run longer"
        )
    if is_doubtful(result):
        yield (
            f"the error is only {result.error / result.expected_error:.2g} times what the fluctuations of equilibrium "
            f"give: the {N_BLOCKS} blocks of the run scatter too little; run longer"
        )
