"""Figure of an extrapolation to infinite size: κ of the cells, the fitted law with its band, and κ∞."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fluxan.rounding import value_and_error

from .style import WIDTH, colour, line, tidy

if TYPE_CHECKING:
    import matplotlib.figure
    from matplotlib.axes import Axes

    from fluxan.greenkubo.size_extrapolation import SizeExtrapolation

#: Points of a curve.
_POINTS = 200


def abscissa(found: SizeExtrapolation) -> str:
    """Name of x, such as 1/L or 1/N."""
    symbol, power = ("N", found.power / 3) if found.of == "atoms" else ("L", found.power)
    known = {1.0: f"1/{symbol}", 2.0: f"1/{symbol}²", 3.0: f"1/{symbol}³", 1 / 3: f"1/{symbol}^(1/3)"}
    return known.get(power, f"{symbol}^−{power:.3g}")


def draw_extrapolation(found: SizeExtrapolation, *, unit: str = "", length_unit: str = "") -> matplotlib.figure.Figure:
    """Draw κ against 1/L: points with bars, the law with a band of one standard deviation, κ∞ at zero, other laws thin.

    Parameters
    ----------
    found : SizeExtrapolation
        From `fluxan.greenkubo.size_extrapolation.extrapolate`.
    unit, length_unit : str
        Units of κ and of lengths; empty where they are reduced or not known.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, 0.62 * WIDTH), layout="constrained")
    axes = figure.subplots()
    points = found.points
    x = np.linspace(0, 1.12 * points.x.max(), _POINTS)
    with np.errstate(divide="ignore", invalid="ignore"):
        _draw_laws(axes, found, x)
    axes.errorbar(points.x, points.values, points.errors, fmt="o", color="black", capsize=3, label="cells", zorder=3)
    axes.errorbar([0], [found.kappa], [found.error], fmt="D", color=colour(0), capsize=4, label="κ∞", zorder=3)
    for size, at, value in zip(points.sizes, points.x, points.values, strict=True):
        name = "N" if found.of == "atoms" else "L"
        axes.annotate(
            f"{name} = {size:.5g}", (at, value), xytext=(5, 6), textcoords="offset points", fontsize="x-small"
        )
    _limit(axes, found)
    inverse = f" (1/{length_unit})" if found.of == "length" and found.power == 1 and length_unit else ""
    tidy(axes, x=f"{abscissa(found)}{inverse}", y=f"κ ({unit})" if unit else "κ")
    axes.set_xlim(-0.03 * x[-1], x[-1])
    shown = value_and_error(found.kappa, found.error)
    axes.set_title(f"κ∞ = {shown}{' ' * bool(unit)}{unit}, {found.law} law", fontsize="medium", loc="left")
    return figure


def _draw_laws(axes: Axes, found: SizeExtrapolation, x: np.ndarray) -> None:
    """The law of the result with its band, and the others."""
    value, error = found.fit.curve(x)
    axes.plot(x, value, color=colour(0), label=f"{found.law} law")
    axes.fill_between(x, value - error, value + error, color=colour(0), alpha=0.18, linewidth=0)
    others = [law for name, law in found.laws.items() if name != found.law]
    for k, law in enumerate(others, 1):
        label = f"{law.law} (weight {law.weight:.2g})"
        axes.plot(x, law.curve(x)[0], color=colour(k), linestyle=line(k), linewidth=1, label=label)


def _limit(axes: Axes, found: SizeExtrapolation) -> None:
    """Let points and κ∞ fill the height, wherever other laws go."""
    points = found.points
    low = min((points.values - points.errors).min(), found.kappa - found.error)
    high = max((points.values + points.errors).max(), found.kappa + found.error)
    margin = 0.15 * (high - low)
    axes.set_ylim(low - margin, high + 2 * margin)
