"""`fluxan.plot`: one figure of a conductivity, a power spectrum or a spectral heat current."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fluxan.correlation.spectral_density import PowerSpectrum
from fluxan.errors import InputError
from fluxan.greenkubo.result import Conductivity
from fluxan.greenkubo.spectral_conductivity import SpectralHeatCurrent

from .conductivity_figure import draw_conductivity
from .spectral_figure import draw_spectral_current
from .spectrum_figure import draw_spectrum

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def plot(result: Conductivity | PowerSpectrum | SpectralHeatCurrent, **options: str) -> Figure:
    """Draw a conductivity, a power spectrum or a spectral heat current.

    Parameters
    ----------
    result : Conductivity, PowerSpectrum or SpectralHeatCurrent
        From `fluxan.green_kubo`, `fluxan.power_spectrum` or `fluxan.spectral_heat_current`.
    **options : str
        For a spectrum ``unit``: "THz", the default, or "cm-1".

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
    if isinstance(result, PowerSpectrum):
        return draw_spectrum(result, **options)
    if isinstance(result, SpectralHeatCurrent):
        return draw_spectral_current(result)
    raise InputError(
        f"a {type(result).__name__} cannot be drawn, expected what fluxan.green_kubo, fluxan.power_spectrum or "
        "fluxan.spectral_heat_current returns"
    )
