"""All estimators by name: `estimate(ordinates, method)` runs any of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from fluxan.errors import InputError
from fluxan.greenkubo.estimators.cepstral import cepstral
from fluxan.greenkubo.estimators.mixture import mixture
from fluxan.greenkubo.estimators.running import running_integral
from fluxan.greenkubo.estimators.stacie import stacie

if TYPE_CHECKING:
    from collections.abc import Callable

    from fluxan.greenkubo.estimators.estimate import Estimate
    from fluxan.greenkubo.estimators.ordinates import Ordinates
    from fluxan.greenkubo.estimators.periodogram import Spectrum


def _mixture(ordinates: Ordinates) -> Estimate:
    s = ordinates.spectrum
    return mixture(s.frequencies, s.density, dof=s.dof, time_step=s.time_step)


def _running(ordinates: Ordinates) -> Estimate:
    return running_integral(ordinates.correlation, length=ordinates.length, time_step=ordinates.lag)


def _cepstral(ordinates: Ordinates) -> Estimate:
    even = _periodogram(ordinates, "cepstral")
    return cepstral(even.frequencies, even.density, dof=float(even.dof[0]), time_step=even.time_step)


def _stacie(ordinates: Ordinates) -> Estimate:
    even = _periodogram(ordinates, "stacie")
    return stacie(even.frequencies, even.density, dof=float(even.dof[0]), time_step=even.time_step)


def _periodogram(ordinates: Ordinates, method: str) -> Spectrum:
    """Equally spaced ordinates, which a correlator may not have."""
    if ordinates.even is None:
        raise InputError(
            f"{method!r} needs a periodogram: that of the flux itself, or of a correlator of scheme='linear' with a "
            "full segment"
        )
    return ordinates.even


#: Estimators by the name that users give as `method`; each takes `Ordinates` and returns an `Estimate` of S(0).
ESTIMATORS: Final[dict[str, Callable[[Ordinates], Estimate]]] = {
    "default": _mixture,
    "cepstral": _cepstral,
    "stacie": _stacie,
    "running": _running,
}
METHODS: Final = ESTIMATORS.keys()


def estimate(ordinates: Ordinates, method: str) -> Estimate:
    """Estimate the spectral density at zero frequency.

    Parameters
    ----------
    ordinates : Ordinates
        Periodogram and autocovariance of the flux.
    method : str
        A key of `ESTIMATORS`; "default" is `fluxan.greenkubo.estimators.mixture.mixture`.

    Raises
    ------
    InputError
        The ordinates do not suffice for this method.
    DependencyError
        The package of "stacie" is not installed.
    """
    return ESTIMATORS[method](ordinates)
