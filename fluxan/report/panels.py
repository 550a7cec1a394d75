"""Plots of a conductivity, each drawn on given axes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .style import colour, line, tidy
from .verdicts import value

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from fluxan.correlation import PowerSpectrum
    from fluxan.greenkubo.driven import DrivenConductivity
    from fluxan.greenkubo.result import Conductivity, Curve

#: Number of points drawn of a curve: enough for the resolution of a page.
SHOWN = 1200
#: Range of lags over which C(t) is drawn, in decay times of the slowest motion.
_DECAY_TIMES = 6
#: Grey of error bands.
BAND = "0.85"


def unit_of(result: Conductivity | DrivenConductivity) -> str:
    """Unit of the conductivity in axis labels."""
    return "reduced" if result.unit == "reduced" else result.unit


def time_unit(result: Conductivity) -> str:
    """Unit of time in axis labels."""
    return "reduced" if result.unit == "reduced" else "ps"


def draw_flux(axes: Axes, total: np.ndarray, dt: float, *, unit: str, flux_unit: str) -> None:
    """Draw the first samples of J(t).

    Parameters
    ----------
    axes : matplotlib.axes.Axes
        Axes to draw on.
    total : (n_samples, 3) array
        Total flux, in `flux_unit`.
    dt : float
        Sampling interval, in `unit`.
    unit, flux_unit : str
        For the axis labels.
    """
    shown = total[:SHOWN]
    time = np.arange(len(shown)) * dt
    for k, component in enumerate("xyz"):
        axes.plot(time, shown[:, k], color=colour(k), ls=line(k), lw=0.8, label=f"$J_{component}$")
    tidy(axes, x=f"time ({unit})", y=f"J ({flux_unit})")


def draw_correlation(axes: Axes, result: Conductivity) -> None:
    """Draw C(t)/C(0) with its error over a few decay times."""
    curve = result.correlation
    last = max(_DECAY_TIMES * result.diagnostics.slowest, curve.x[min(60, len(curve.x) - 1)])
    shown = _thinned(_until(curve, last))
    scale = curve.value[0]
    axes.fill_between(
        shown.x, (shown.value - shown.error) / scale, (shown.value + shown.error) / scale, color=BAND, label="± 1σ"
    )
    axes.plot(shown.x, shown.value / scale, color=colour(0), lw=1.2, label="C(t)/C(0)")
    axes.axhline(0, color="0.5", lw=0.8)
    tidy(axes, x=f"t ({time_unit(result)})", y="C(t)/C(0)")


def draw_cumulative(axes: Axes, result: Conductivity) -> None:
    """Draw κ(τ) with its error, the estimate of κ as a band, and the plateau."""
    curve = _thinned(_positive(result.cumulative), logarithmic=True)
    axes.axhspan(result.kappa - result.error, result.kappa + result.error, color=BAND, label="κ ± σ")
    axes.axhline(result.kappa, color="black", lw=1.0, ls="--")
    axes.fill_between(curve.x, curve.value - curve.error, curve.value + curve.error, color=colour(5), alpha=0.35, lw=0)
    axes.plot(curve.x, curve.value, color=colour(0), lw=1.2, label="κ(τ) ± σ")
    inside = plateau(result)
    if inside is not None:
        part = (curve.x >= inside[0]) & (curve.x <= inside[1])
        axes.plot(curve.x[part], curve.value[part], color=colour(1), lw=3, solid_capstyle="butt", label="plateau")
    _plain_logarithm(axes)
    spread = max(1.6 * result.kappa, result.kappa + 4 * result.error)
    axes.set_ylim(min(0.0, 1.1 * float(curve.value[curve.x <= 6 * result.diagnostics.slowest].min(initial=0))), spread)
    tidy(axes, x=f"τ ({time_unit(result)})", y=f"κ(τ) ({unit_of(result)})")


def plateau(result: Conductivity) -> tuple[float, float] | None:
    """First and last τ of the longest interval with |κ(τ) − κ| ≤ σ, on a logarithmic scale; None without one."""
    curve = _positive(result.cumulative)
    inside = np.abs(curve.value - result.kappa) <= result.error
    edges = np.flatnonzero(np.diff(np.concatenate([[0], inside.astype(int), [0]])))
    intervals = [(curve.x[a], curve.x[b - 1]) for a, b in zip(edges[::2], edges[1::2], strict=True) if b - a > 1]
    return max(intervals, key=lambda ends: float(np.log(ends[1] / ends[0])), default=None)


def draw_zero_frequency(axes: Axes, result: Conductivity) -> None:
    """Draw κ(f) towards f = 0, and the estimate of κ."""
    curve = result.spectrum
    axes.fill_between(curve.x, curve.value - curve.error, curve.value + curve.error, color=BAND, label="± 1σ")
    axes.plot(curve.x, curve.value, color=colour(0), lw=1.0, label="κ(f)")
    # Up to the last frequency at which the flux has power.
    end = curve.x[-1] if not (strong := curve.x[curve.value > 0.02 * result.kappa]).size else strong[-1]
    axes.errorbar(
        [curve.x[0] / 2], [result.kappa], [result.error], fmt="s", color=colour(1), capsize=3, label="κ, f → 0"
    )
    axes.axhline(result.kappa, color=colour(1), lw=0.8, ls=":")
    axes.set_xlim(curve.x[0] / 3, 1.5 * end)
    _plain_logarithm(axes)
    axes.set_ylim(bottom=0)
    tidy(
        axes, x="frequency (THz)" if result.unit != "reduced" else "frequency (reduced)", y=f"κ(f) ({unit_of(result)})"
    )


def _plain_logarithm(axes: Axes) -> None:
    """Logarithmic abscissa with plain numbers; ticks at 1, 2 and 5 where it spans less than 300 to 1."""
    from matplotlib.ticker import LogLocator, NullFormatter

    axes.set_xscale("log")
    low, high = axes.get_xlim()
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 300 * low else (1,)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())


def draw_parts(axes: Axes, spectrum: PowerSpectrum, factor: float, result: Conductivity) -> None:
    """Draw the power spectrum in units of κ, in total and by carrier.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
        Axes to draw on.
    spectrum : PowerSpectrum
        One channel per carrier.
    factor : float
        Conductivity per spectral density.
    result : Conductivity
        For its units.
    """
    x, total, error = spectrum.frequencies, spectrum.total * factor, spectrum.total_error * factor
    axes.fill_between(x, total - error, total + error, color=BAND, label="± 1σ")
    axes.plot(x, total, color="black", lw=1.0, label="total")
    if len(spectrum.labels) > 1:
        for k, (label, part) in enumerate(zip(spectrum.labels, spectrum.parts.T * factor, strict=True)):
            axes.plot(x, part, color=colour(k), ls=line(k), lw=1.2, label=label)
        axes.axhline(0, color="0.5", lw=0.8)
    axes.set_xlim(0, _highest_frequency(x, total))
    tidy(
        axes, x="frequency (THz)" if result.unit != "reduced" else "frequency (reduced)", y=f"κ(f) ({unit_of(result)})"
    )


def draw_gauge(axes: Axes, before: PowerSpectrum, after: PowerSpectrum, factor: float, result: Conductivity) -> None:
    """Draw the spectrum with and without the mean virial, whose flux carries no heat in a solid."""
    x = before.frequencies
    axes.plot(x, before.total * factor, color=colour(1), ls="--", lw=1.0, label="as computed")
    axes.plot(x, after.total * factor, color=colour(0), lw=1.2, label="without the mean virial")
    end = _highest_frequency(x, before.total)
    shown = np.concatenate([before.total[x <= end], after.total[x <= end]]) * factor
    axes.set_yscale("log")
    axes.set_xlim(0, end)
    axes.set_ylim(max(0.7 * float(shown.min()), 1e-5 * float(shown.max())), 2 * float(shown.max()))
    tidy(axes, x="frequency (THz)", y=f"κ(f) ({unit_of(result)})")


def draw_matrix(axes: Axes, result: Conductivity | DrivenConductivity) -> None:
    """Draw κ_αβ as a heat map with numbers."""
    matrix, n = result.matrix, len(result.labels)
    largest = float(np.abs(matrix).max()) or 1.0
    image = axes.imshow(matrix, cmap="PuOr_r", vmin=-largest, vmax=largest)
    for row in range(n):
        for column in range(n):
            dark = abs(matrix[row, column]) > 0.6 * largest
            text = value(matrix[row, column], result.matrix_error[row, column]).replace(" ±", "\n±")
            axes.text(column, row, text, ha="center", va="center", color="white" if dark else "black", fontsize="small")
    axes.set_xticks(range(n), result.labels)
    axes.set_yticks(range(n), result.labels)
    axes.set_xlabel("carrier")
    axes.set_ylabel("owner of the energy" if has_owners(result) else "carrier")
    axes.figure.colorbar(image, ax=axes, label=f"κ ({unit_of(result)})", shrink=0.8)


def has_owners(result: Conductivity | DrivenConductivity) -> bool:
    """Whether the matrix is owner × carrier instead of carrier × carrier."""
    return not hasattr(result, "cross") or not np.array_equal(result.matrix, result.cross)


def draw_estimates(axes: Axes, result: Conductivity) -> None:
    """Draw value and error of every method; the symbol of the reported one is filled."""
    names = list(result.estimates)[::-1]
    for k, name in enumerate(names):
        estimate, counts = result.estimates[name], name == result.method
        axes.errorbar(
            [estimate.value],
            [k],
            xerr=[estimate.error],
            fmt="s" if counts else "o",
            mfc=colour(0) if counts else "white",
            color=colour(0) if counts else "0.35",
            capsize=3,
        )
    axes.axvspan(result.kappa - result.error, result.kappa + result.error, color=BAND, zorder=0)
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(-0.6, len(names) - 0.4)
    tidy(axes, x=f"κ ({unit_of(result)}), ± 1σ", y="")
    axes.margins(x=0.08)


def draw_carriers(axes: Axes, result: Conductivity | DrivenConductivity) -> None:
    """Draw the contribution of each carrier to κ."""
    places = np.arange(len(result.labels))
    axes.barh(places, result.by_carrier, color=[colour(int(k)) for k in places], height=0.6, alpha=0.85)
    axes.errorbar(result.by_carrier, places, xerr=result.by_carrier_error, fmt="none", color="black", capsize=3)
    axes.set_yticks(places, result.labels)
    axes.invert_yaxis()
    axes.axvline(0, color="0.5", lw=0.8)
    tidy(axes, x=f"contribution to κ ({unit_of(result)}), ± 1σ", y="")
    axes.margins(x=0.05)


def draw_drift(axes: Axes, values: np.ndarray, dt: float, *, name: str, unit: str) -> None:
    """Draw block means of a quantity that is stationary in equilibrium, in which a drift shows best.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
        Axes to draw on.
    values : (n_samples,) array
        The quantity at each sample.
    dt : float
        Sampling interval, in `unit`.
    name, unit : str
        For the axis labels.
    """
    size = -(-len(values) // 100)
    starts = np.arange(0, len(values), size)
    counts = np.diff(starts, append=len(values))
    axes.plot(
        (starts + counts / 2) * dt, np.add.reduceat(values, starts) / counts, color=colour(2), lw=1.0, marker=".", ms=3
    )
    axes.axhline(values.mean(), color="0.5", lw=0.8)
    tidy(axes, x=f"time ({unit})", y=name)


def _highest_frequency(x: np.ndarray, power: np.ndarray) -> float:
    """Frequency below which 99.8 % of the power lies, with a margin."""
    cumulative = np.cumsum(np.maximum(power, 0))
    end = int(np.searchsorted(cumulative, 0.998 * cumulative[-1]))
    return float(x[min(int(1.15 * end) + 4, len(x) - 1)])


def _until(curve: Curve, last: float) -> Curve:
    part = curve.x <= last
    return type(curve)(curve.x[part], curve.value[part], curve.error[part])


def _positive(curve: Curve) -> Curve:
    part = curve.x > 0
    return type(curve)(curve.x[part], curve.value[part], curve.error[part])


def _thinned(curve: Curve, *, logarithmic: bool = False) -> Curve:
    """At most `SHOWN` points of a curve, evenly spaced by index or by its logarithm."""
    n = len(curve.x)
    if n <= SHOWN:
        return curve
    spaced = np.geomspace(1, n, SHOWN) - 1 if logarithmic else np.linspace(0, n - 1, SHOWN)
    part = np.unique(spaced.astype(int))
    return type(curve)(curve.x[part], curve.value[part], curve.error[part])
