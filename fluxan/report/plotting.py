"""`fluxan.plot`: one figure of a result: a conductivity, a power spectrum, a spectral heat current."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fluxan.correlation.spectral_density import PowerSpectrum
from fluxan.errors import InputError
from fluxan.greenkubo.driven import DrivenConductivity
from fluxan.greenkubo.result import Conductivity
from fluxan.greenkubo.spectral_conductivity import SpectralHeatCurrent

from .conductivity_figure import draw_conductivity
from .driven_figure import draw_driven
from .spectral_figure import draw_spectral_current
from .spectrum_figure import draw_spectrum

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def plot(result: Conductivity | DrivenConductivity | PowerSpectrum | SpectralHeatCurrent, **options: Any) -> Figure:
    """Draw a conductivity, a power spectrum or a spectral heat current.

    Parameters
    ----------
    result : Conductivity, DrivenConductivity, PowerSpectrum or SpectralHeatCurrent
        From `fluxan.green_kubo`, `fluxan.driven_conductivity`, `fluxan.power_spectrum` or
        `fluxan.spectral_heat_current`.
    **options : object
        For a power spectrum ``unit``: "THz", the default, or "cm-1". For a conductivity under a driving force
        ``spectrum``: the `SpectralHeatCurrent` of the same run, drawn below it.

    Returns
    -------
    matplotlib.figure.Figure
        The figure.

    Raises
    ------
    InputError
        `result` is none of them, or the unit is unknown.
    """
    if isinstance(result, Conductivity):
        return draw_conductivity(result)
    if isinstance(result, DrivenConductivity):
        return draw_driven(result, **options)
    if isinstance(result, PowerSpectrum):
        return draw_spectrum(result, **options)
    if isinstance(result, SpectralHeatCurrent):
        return draw_spectral_current(result)
    raise InputError(
        f"a {type(result).__name__} cannot be drawn, expected what fluxan.green_kubo, fluxan.driven_conductivity, "
        "fluxan.power_spectrum or fluxan.spectral_heat_current returns"
    )
