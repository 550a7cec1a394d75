"""One figure of a conductivity under a driving force: its running mean, its parts, and its spectrum."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fluxan.greenkubo.driven import N_BLOCKS

from .panels import BAND, draw_carriers, draw_matrix, unit_of
from .spectral_figure import current_title, draw_current_panels
from .style import WIDTH, colour, tidy
from .verdicts import direction, temperature, unit, value

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from fluxan.greenkubo.driven import DrivenConductivity
    from fluxan.greenkubo.spectral_conductivity import SpectralHeatCurrent

#: Heights of the rows of panels, over the width of the figure.
_RUNNING, _PARTS, _SPECTRUM = 0.5, 0.38, 0.84


def draw_driven(result: DrivenConductivity, *, spectrum: SpectralHeatCurrent | None = None) -> Figure:
    """Draw the running mean of κ, its parts where there are several carriers, and its spectrum if it is given.

    Parameters
    ----------
    result : DrivenConductivity
        From `fluxan.driven_conductivity`.
    spectrum : SpectralHeatCurrent, optional
        Spectral heat current of the same run.

    Returns
    -------
    matplotlib.figure.Figure
        The figure.
    """
    from matplotlib.figure import Figure

    several = len(result.labels) > 1
    heights = [_RUNNING, *[_PARTS] * several, *[_SPECTRUM] * (spectrum is not None)]
    figure = Figure(figsize=(WIDTH, sum(heights) * WIDTH), layout="constrained")
    first, *others = figure.subfigures(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0]
    draw_running(first.subplots(), result)
    if several:
        left, right = others[0].subplots(1, 2)
        draw_carriers(left, result)
        draw_matrix(right, result)
    if spectrum is not None:
        upper, lower = others[-1].subplots(2, 1, sharex=True)
        draw_current_panels(upper, lower, spectrum)
        upper.set_title(f"Spectral heat current: {current_title(spectrum)}", loc="left", fontsize="medium")
    figure.suptitle(
        f"κ = {value(result.kappa, result.error)}{unit(result)} along {direction(result)} at "
        f"T = {temperature(result)}, $F_e$ = {result.strength:.4g}/Å",
        fontsize="medium",
    )
    return figure


def draw_running(axes: Axes, result: DrivenConductivity) -> None:
    """Draw the mean of κ up to each time with its error, the means of blocks, and the result."""
    curve, (low, high) = result.running, (result.kappa - result.error, result.kappa + result.error)
    axes.axhspan(low, high, color=BAND, label="κ ± σ")
    axes.axhline(result.kappa, color="black", lw=1.0, ls="--")
    axes.fill_between(curve.x, curve.value - curve.error, curve.value + curve.error, color=colour(5), alpha=0.35, lw=0)
    axes.plot(curve.x, curve.value, color=colour(0), lw=1.2, label="running mean ± σ")
    blocks = result.blocks
    middle = result.discarded + (np.arange(N_BLOCKS) + 0.5) * result.length / N_BLOCKS
    axes.plot(middle, blocks, "o", color=colour(1), ms=4, label=f"means of {N_BLOCKS} blocks")
    if result.discarded:
        axes.axvspan(0, result.discarded, facecolor="none", edgecolor="0.6", hatch="//", lw=0, label="discarded")
    tidy(axes, x="time (ps)", y=f"κ ({unit_of(result)})")
    axes.legend(frameon=False, ncols=4, fontsize="small", loc="lower left", bbox_to_anchor=(0, 1))
    axes.set_xlim(0, curve.x[-1])
    # From the first block on: before it, the error is larger than the scale that the result needs.
    begun = curve.x >= result.discarded + result.length / N_BLOCKS
    shown = [blocks, (curve.value - curve.error)[begun], (curve.value + curve.error)[begun]]
    bottom, top = min(part.min() for part in shown), max(part.max() for part in shown)
    axes.set_ylim(bottom - 0.05 * (top - bottom), top + 0.05 * (top - bottom))
