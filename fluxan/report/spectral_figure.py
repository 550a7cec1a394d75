"""One figure of a spectral heat current: κ(f) by carrier, and its integral."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fluxan.rounding import value_and_error

from .style import WIDTH, colour, line, tidy

if TYPE_CHECKING:
    import matplotlib.figure
    from matplotlib.axes import Axes

    from fluxan.greenkubo.result import Curve
    from fluxan.greenkubo.spectral_conductivity import SpectralHeatCurrent

#: Fraction of the integral of |κ(f)| that the axis of frequencies contains.
_SHOWN = 0.999


def draw_spectral_current(result: SpectralHeatCurrent) -> matplotlib.figure.Figure:
    """Draw the spectrum and its integral from 0 to f, with standard errors where they are known.

    Parameters
    ----------
    result : SpectralHeatCurrent
        From `fluxan.spectral_heat_current` or `fluxan.greenkubo.spectral_conductivity.spectral_conductivity`.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, 0.9 * WIDTH), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True)
    conductive = result.unit == "W/(m K)"
    unit = "W m⁻¹ K⁻¹" if conductive else result.unit
    symbol, name = ("κ(f)", "κ") if conductive else ("K(f)", "K(0)")
    _draw(upper, result.spectrum, result.by_carrier)
    tidy(upper, x="", y=f"{symbol} ({unit} THz⁻¹)")
    _draw(lower, result.cumulative, result.cumulative_by_carrier)
    tidy(lower, x="frequency (THz)", y=f"integral of {symbol} from 0 to f ({unit})")
    if upper.get_legend() is not None:
        lower.get_legend().remove()  # the curves are those of the upper panel
    weight = np.cumsum(np.abs(result.spectrum.value))
    last = result.spectrum.x[np.searchsorted(weight, _SHOWN * weight[-1])]
    upper.set_xlim(0, max(float(last), float(result.spectrum.x[1])))
    upper.set_title(
        f"{name} = {value_and_error(result.integral, result.integral_error)} {unit}, resolution "
        f"{1 / result.times[-1]:.3g} THz, {result.n_blocks} blocks",
        fontsize="medium",
    )
    return figure


def _draw(axes: Axes, total: Curve, parts: dict[str, Curve]) -> None:
    """Draw a total with its error, and its parts where there are several."""
    if np.isfinite(total.error).all():
        axes.fill_between(
            total.x, total.value - total.error, total.value + total.error, color="0.8", label="one standard error"
        )
    axes.plot(total.x, total.value, color="black", label="total")
    if len(parts) > 1:
        for k, (label, part) in enumerate(parts.items()):
            axes.plot(part.x, part.value, color=colour(k), linestyle=line(k + 1), label=label)
    axes.axhline(0, color="black", linewidth=0.5)
