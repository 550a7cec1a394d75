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
    draw_current_panels(upper, lower, result)
    upper.set_title(current_title(result), fontsize="medium")
    return figure


def draw_current_panels(upper: Axes, lower: Axes, result: SpectralHeatCurrent) -> None:
    """Draw the spectrum, and its integral below it."""
    draw_current(upper, result)
    draw_current_integral(lower, result)
    upper.set_xlabel("")
    if (legend := lower.get_legend()) is not None:
        legend.remove()  # the curves are those of the upper panel


def current_title(result: SpectralHeatCurrent) -> str:
    """The integral of a spectral heat current, its resolution, and the number of blocks that its error is from."""
    _, name, unit = _names(result)
    return (
        f"{name} = {value_and_error(result.integral, result.integral_error)} {unit}, resolution "
        f"{1 / result.times[-1]:.3g} THz, {blocks_of(result)}"
    )


def blocks_of(result: SpectralHeatCurrent) -> str:
    """Number of blocks that errors are from, in words."""
    return f"{result.n_blocks} block{'s' * (result.n_blocks > 1)}"


def draw_current(axes: Axes, result: SpectralHeatCurrent) -> None:
    """Draw the spectrum, in total and by carrier."""
    symbol, _, unit = _names(result)
    _draw(axes, result.spectrum, result.by_carrier)
    tidy(axes, x="frequency (THz)", y=f"{symbol} ({unit} THz⁻¹)")
    axes.set_xlim(0, _highest(result))


def draw_current_integral(axes: Axes, result: SpectralHeatCurrent) -> None:
    """Draw the integral of the spectrum from 0 to f, in total and by carrier."""
    symbol, _, unit = _names(result)
    _draw(axes, result.cumulative, result.cumulative_by_carrier)
    tidy(axes, x="frequency (THz)", y=f"integral of {symbol} from 0 to f ({unit})")
    axes.set_xlim(0, _highest(result))


def _names(result: SpectralHeatCurrent) -> tuple[str, str, str]:
    """Symbols of the spectrum and of its integral, and the unit of the integral."""
    return ("κ(f)", "κ", "W m⁻¹ K⁻¹") if result.unit == "W/(m K)" else ("K(f)", "K(0)", result.unit)


def _highest(result: SpectralHeatCurrent) -> float:
    """Highest frequency that is shown, THz."""
    weight = np.cumsum(np.abs(result.spectrum.value))
    last = result.spectrum.x[np.searchsorted(weight, _SHOWN * weight[-1])]
    return max(float(last), float(result.spectrum.x[1]))


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
