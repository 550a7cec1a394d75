"""STACIE's fit of a spectrum at low frequency, for comparison.

G. Toraman, D. Fauconnier, T. Verstraelen, J. Chem. Inf. Model. 65, 10445 (2025).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from fluxan.errors import DependencyError, InputError
from fluxan.greenkubo.estimators.estimate import Estimate
from fluxan.greenkubo.estimators.periodogram import Spectrum

if TYPE_CHECKING:
    from numpy.typing import ArrayLike
    from stacie.estimate import Result

#: Lowest frequencies whose mean density a fit is compared with.
_LOWEST_FREQUENCIES: Final = 10
#: Ratio of a fit's S(0) to that mean, or its inverse, and relative error, beyond which the fit has diverged.
_MAX_RATIO: Final = 3.0
_MAX_RELATIVE_ERROR: Final = 0.5


def stacie(frequencies: ArrayLike, density: ArrayLike, *, dof: float, time_step: float = 1.0) -> Estimate:
    """Estimate S(0) with STACIE: its Lorentz model where the fit is sane, else its exponential of a polynomial.

    Parameters
    ----------
    frequencies : (n,) array_like
        All Fourier frequencies of one series or segment length, from the first above zero on.
    density : (n,) array_like
        Two-sided spectral density, averaged over components.
    dof : float
        Degrees of freedom of each value.
    time_step : float
        Sampling interval, in the inverse unit of `frequencies`.

    Returns
    -------
    Estimate
        S(0) and its standard error; ``details`` has ``model`` and ``cutoff``.

    Raises
    ------
    DependencyError
        The package ``stacie`` is not installed.
    InputError
        The arrays are no spectrum, or neither model can be fitted.
    """
    try:
        from stacie import ExpPolyModel, LorentzModel
    except ImportError as error:
        raise DependencyError(
            "the STACIE estimator needs the package stacie; install it by: pip install 'stacie>=1.3'"
        ) from error
    spectrum = Spectrum.of(frequencies, density, dof=float(dof), time_step=time_step)
    for model in (LorentzModel(), ExpPolyModel([0, 2])):
        result = _fitted(spectrum, model)
        if result is not None and (isinstance(model, ExpPolyModel) or _is_sane(spectrum, result)):
            return Estimate(
                value=2 * float(result.acint),
                error=2 * float(result.acint_std),
                method="stacie",
                details={"model": model.name, "cutoff": float(result.fcut)},
            )
    raise InputError(
        f"STACIE could not fit a spectrum of {spectrum.frequencies.size} frequencies; run longer, or use another method"
    )


def _fitted(spectrum: Spectrum, model: object) -> Result | None:
    """Fit one model; None where STACIE raises an error."""
    from stacie import estimate_acint
    from stacie.spectrum import Spectrum as StacieSpectrum
    from stacie.utils import PositiveDefiniteError

    f = spectrum.frequencies
    theirs = StacieSpectrum(
        mean=0.0,
        variance=2 * float(spectrum.density.sum() * f[0]),
        timestep=spectrum.time_step,
        nstep=round(1 / (f[0] * spectrum.time_step)),
        freqs=f,
        ndofs=spectrum.dof,
        # STACIE's amplitudes are half a two-sided density: at f → 0 they are the integral over positive times.
        amplitudes=0.5 * spectrum.density,
    )
    try:
        with np.errstate(all="ignore"):
            return estimate_acint(theirs, model)
    except (ValueError, PositiveDefiniteError, np.linalg.LinAlgError):
        return None


def _is_sane(spectrum: Spectrum, result: Result) -> bool:
    """Whether a fit has not diverged: an error below half the value, a value near the lowest frequencies' mean."""
    value, error = 2 * float(result.acint), 2 * float(result.acint_std)
    if not (np.isfinite(value) and np.isfinite(error) and value > 0):
        return False
    seen = float(spectrum.density[:_LOWEST_FREQUENCIES].mean())
    return error < _MAX_RELATIVE_ERROR * value and 1 / _MAX_RATIO < value / seen < _MAX_RATIO
