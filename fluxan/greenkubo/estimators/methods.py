"""All estimators by name: `estimate(ordinates, method)` runs any of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from fluxan.errors import InputError
from fluxan.greenkubo.estimators.cepstral import cepstral
from fluxan.greenkubo.estimators.mixture import mixture
from fluxan.greenkubo.estimators.running import running_integral
from fluxan.greenkubo.estimators.stacie import stacie

if TYPE_CHECKING:
    from fluxan.greenkubo.estimators.estimate import Estimate
    from fluxan.greenkubo.estimators.ordinates import Ordinates

METHODS: Final = ("default", "cepstral", "stacie", "running")


def estimate(ordinates: Ordinates, method: str) -> Estimate:
    """Estimate the spectral density at zero frequency.

    Parameters
    ----------
    ordinates : Ordinates
        Periodogram and autocovariance of the flux.
    method : str
        One of `METHODS`; "default" is `fluxan.greenkubo.estimators.mixture.mixture`.

    Raises
    ------
    InputError
        The ordinates do not suffice for this method.
    DependencyError
        "stacie" without its package.
    """
    if method == "default":
        s = ordinates.spectrum
        return mixture(s.frequencies, s.density, dof=s.dof, time_step=s.time_step)
    if method == "running":
        return running_integral(ordinates.correlation, length=ordinates.length, time_step=ordinates.lag)
    even = ordinates.even
    if even is None:
        raise InputError(
            f"{method!r} needs a periodogram: that of the flux itself, or of a correlator of scheme='linear' with a "
            "full segment"
        )
    estimator = cepstral if method == "cepstral" else stacie
    return estimator(even.frequencies, even.density, dof=float(even.dof[0]), time_step=even.time_step)
