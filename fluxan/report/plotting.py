"""`fluxan.plot`: one figure of a conductivity or of a power spectrum."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fluxan.correlation.spectral_density import PowerSpectrum
from fluxan.errors import InputError
from fluxan.greenkubo.result import Conductivity

from .conductivity_figure import draw_conductivity
from .spectrum_figure import draw_spectrum

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def plot(result: Conductivity | PowerSpectrum, **options: str) -> Figure:
    """Draw a conductivity or a power spectrum.

    Parameters
    ----------
    result : Conductivity or PowerSpectrum
        From `fluxan.green_kubo` or `fluxan.power_spectrum`.
    **options : str
        For a spectrum ``unit``: "THz", the default, or "cm-1".

    Returns
    -------
    matplotlib.figure.Figure
        The figure.

    Raises
    ------
    InputError
        `result` is neither, or the unit is unknown.
    """
    if isinstance(result, Conductivity):
        return draw_conductivity(result)
    if isinstance(result, PowerSpectrum):
        return draw_spectrum(result, **options)
    raise InputError(
        f"a {type(result).__name__} cannot be drawn, expected what fluxan.green_kubo or fluxan.power_spectrum returns"
    )
