"""One figure of a conductivity: autocorrelation, running integral, spectrum, estimates and parts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .panels import draw_carriers, draw_correlation, draw_cumulative, draw_estimates, draw_matrix, draw_zero_frequency
from .style import WIDTH
from .verdicts import temperature, unit, value

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from fluxan.greenkubo.result import Conductivity


def draw_conductivity(result: Conductivity) -> Figure:
    """Draw C(t), κ(τ), κ(f), the estimates of all methods, and the parts where there are several carriers.

    Parameters
    ----------
    result : Conductivity
        From `fluxan.green_kubo`.

    Returns
    -------
    matplotlib.figure.Figure
        The figure.
    """
    from matplotlib.figure import Figure

    several = len(result.labels) > 1
    figure = Figure(figsize=(WIDTH, (1.15 if several else 0.8) * WIDTH), layout="constrained")
    grid = figure.subplots(3 if several else 2, 2)
    panels = [
        ("Heat-flux autocorrelation function", draw_correlation),
        ("Running integral", draw_cumulative),
        ("Spectrum towards zero frequency", draw_zero_frequency),
        ("Estimates", draw_estimates),
    ]
    if several:
        panels += [("Contribution by carrier", draw_carriers), ("Contribution by owner and carrier", draw_matrix)]
    for axes, (title, draw) in zip(grid.flat, panels, strict=True):
        draw(axes, result)
        axes.set_title(title, loc="left", fontsize="medium")
        if axes.get_legend() is not None:
            axes.legend(frameon=False, fontsize="small")
    figure.suptitle(f"κ = {value(result.kappa, result.error)}{unit(result)} at T = {temperature(result)}")
    return figure
