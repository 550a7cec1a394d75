"""Figures of active learning by round, each drawn on given axes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fluxan.active.round_table import quantity

from .panels import BAND
from .style import colour, line, tidy

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes

    from fluxan.active.calibration import ForceCalibration

    Rounds = Sequence[Mapping[str, Any]]

#: Number of atoms from which on their density is drawn instead of points.
_MANY = 400
#: Quantile of one standard deviation below the mean of a Gaussian.
_ONE_SIGMA = 0.158655
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
HATCHES = ("", "//", "..", "xx", "\\\\", "++", "oo")


def draw_errors(*panels: Axes, rounds: Rounds, tolerance: float | None) -> None:
    """Draw errors of forces and energies of the test set and of new frames.

    Parameters
    ----------
    *panels : matplotlib.axes.Axes
        Two, for forces and energies.
    rounds : sequence of mapping
        Round records.
    tolerance : float or None
        Height of the band about the last force error of new frames, relative to it: a loop whose last three lie within
        a range of that height has converged.
    """
    for axes, term, label in zip(panels, ("forces", "energy"), ("force (meV/Å)", "energy (meV/atom)"), strict=True):
        new = 1e3 * _by_round(rounds, "new", term)
        new = new[np.isfinite(new)]
        if tolerance and term == "forces" and len(new):
            half, band = tolerance / 2, f"last ± {50 * tolerance:.3g} %"
            axes.axhspan(new[-1] * max(1 - half, 1e-2), new[-1] * (1 + half), color=BAND, lw=0, label=band)
        for k, (part, name) in enumerate((("test", "test set"), ("new", "new frames"))):
            values = 1e3 * _by_round(rounds, part, term)
            if np.isfinite(values).any():
                _curve(axes, _numbers(rounds), values, k, label=name)
        axes.set_yscale("log")
        _plain_ordinate(axes)
        _finish(axes, rounds, y=f"RMSE, {label}")


def draw_uncertainty(*panels: Axes, rounds: Rounds, carriers: Sequence[str]) -> None:
    """Draw the force spread of the test set and, on a second panel, the spread of the flux by carrier."""
    numbers = _numbers(rounds)
    mean, std = (1e3 * _by_round(rounds, "uncertainty", key) for key in ("mean", "std"))
    panels[0].errorbar(numbers, mean, std, color=colour(0), marker="o", ms=_size(rounds), lw=1.2, capsize=3)
    _finish(panels[0], rounds, y="largest force spread (meV/Å)")
    panels[0].set_ylim(bottom=0)
    for k, carrier in enumerate(carriers):
        _curve(panels[1], numbers, _by_round(rounds, "uncertainty", "flux", carrier), k, label=carrier)
    if carriers:
        _finish(panels[1], rounds, y="rms flux spread (eV Å/ps)")
        panels[1].set_ylim(bottom=0)


def draw_calibration(scatter: Axes, reliability: Axes, *, pooled: ForceCalibration, last: ForceCalibration) -> None:
    """Draw true errors against uncertainties, and the fraction of errors inside each quantile.

    Parameters
    ----------
    scatter, reliability : matplotlib.axes.Axes
        Axes of the two diagrams.
    pooled, last : ForceCalibration
        Atoms of all rounds, and of the last round that has some.
    """
    _draw_pairs(scatter, pooled)
    levels = np.linspace(0, 1, 201)
    reliability.plot([0, 1], [0, 1], color="0.5", lw=0.8, label="calibrated")
    curves = [("all rounds", pooled.fraction_inside(levels))]
    if len(last) < len(pooled):
        curves.append(("last round", last.fraction_inside(levels)))
    if np.isfinite(pooled.factor) and pooled.factor > 0:
        curves.append((f"all, × {pooled.factor:.2g}", pooled.fraction_inside(levels, pooled.factor)))
    for k, (label, fraction) in enumerate(curves):
        reliability.plot(levels, fraction, color=colour(k), ls=line(k), lw=1.4, label=label)
    tidy(reliability, x="p of the quantile", y="fraction of errors inside")
    reliability.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
    # On the side of the diagonal without the curve.
    reliability.legend(frameon=False, fontsize="small", loc="upper left" if pooled.factor > 1 else "lower right")


def _draw_pairs(axes: Axes, pairs: ForceCalibration) -> None:
    shown = (pairs.uncertainty > 0) & (pairs.error > 0)
    spread, error = 1e3 * pairs.uncertainty[shown], 1e3 * pairs.error[shown]
    axes.set(xscale="log", yscale="log")
    if len(spread):
        low, high = (f(np.concatenate([spread, error])) for f in (np.min, np.max))
        # Few errors are far below the rest; the diagonal and nearly all of them stay in the square.
        low = max(low, float(np.quantile(np.concatenate([spread, error]), 0.005))) / 1.3
        high *= 1.3
        if len(spread) > _MANY:
            extent = (np.log10(low), np.log10(high)) * 2
            image = axes.hexbin(
                spread, error, gridsize=36, bins="log", mincnt=1, cmap="viridis_r", xscale="log", yscale="log",
                extent=extent, linewidths=0.2,
            )  # fmt: skip
            axes.figure.colorbar(image, ax=axes, label="atoms", shrink=0.8)
        else:
            axes.plot(spread, error, "o", ms=3, color=colour(0), alpha=0.5, mew=0)
        axes.plot([low, high], [low, high], color="black", lw=1.0)
        axes.set(xlim=(low, high), ylim=(low, high), aspect="equal")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter("{x:g}")
    tidy(axes, x="uncertainty (meV/Å)", y="true error (meV/Å)")


def draw_events(axes: Axes, *, rounds: Rounds) -> None:
    """Draw events per nanosecond of exploration with Poisson intervals of 68 %, one marker per kind of event."""
    kinds = event_kinds(rounds)
    duration = _by_round(rounds, "exploration", "time") / 1e3
    duration[~(duration > 0)] = np.nan
    for k, kind in enumerate(kinds):
        counts = _by_round(rounds, "events", kind)
        low, high = poisson_interval(counts)
        rates = counts / duration
        offset = 0.16 * (k - (len(kinds) - 1) / 2)
        axes.errorbar(
            _numbers(rounds) + offset,
            rates,
            np.maximum([rates - low / duration, high / duration - rates], 0),
            fmt=MARKERS[k % len(MARKERS)],
            ms=_size(rounds),
            color=colour(k),
            capsize=3 if len(rounds) <= 30 else 0,
            label=kind,
        )
    _finish(axes, rounds, y="events per ns", columns=4)
    axes.set_ylim(bottom=-0.03 * axes.get_ylim()[1])  # markers at zero are whole


def draw_composition(axes: Axes, *, rounds: Rounds) -> None:
    """Draw the frames of the data set by source as stacked bars."""
    base, width = np.zeros(len(rounds)), min(0.7, 0.2 * len(rounds))
    for k, source in enumerate(sources(rounds)):
        counts = np.nan_to_num(_by_round(rounds, "composition", source))
        hatch = HATCHES[k % len(HATCHES)]
        axes.bar(
            _numbers(rounds), counts, bottom=base, width=width, color=colour(k), hatch=hatch, edgecolor="white", lw=0.4,
            label=source,
        )  # fmt: skip
        base += counts
    axes.set_ylim(0, 1.2 * max(base.max(initial=1), 1))
    _finish(axes, rounds, y="frames", columns=4)


def poisson_interval(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Exact central interval of 68 % of the mean of a Poisson variable (Garwood 1936), of each of `counts`."""
    from scipy.special import gammaincinv

    known = np.where(np.isnan(counts), 1.0, counts)
    low = np.where(known > 0, gammaincinv(np.maximum(known, 1), _ONE_SIGMA), 0.0)
    high = gammaincinv(known + 1, 1 - _ONE_SIGMA)
    return np.where(np.isnan(counts), np.nan, low), np.where(np.isnan(counts), np.nan, high)


def sources(rounds: Rounds) -> list[str]:
    """Sources of the data set in the order in which they appear."""
    return list(dict.fromkeys(name for record in rounds for name in record.get("composition") or ()))


def event_kinds(rounds: Rounds) -> list[str]:
    """Kinds of events that any round has counted."""
    return list(dict.fromkeys(name for record in rounds for name in record.get("events") or ()))


def flux_carriers(rounds: Rounds) -> list[str]:
    """Carriers whose flux spread any round has."""
    return list(
        dict.fromkeys(name for record in rounds for name in (record.get("uncertainty") or {}).get("flux") or ())
    )


def _numbers(rounds: Rounds) -> np.ndarray:
    return np.array([record["round"] for record in rounds], dtype=float)


def _by_round(rounds: Rounds, *keys: str) -> np.ndarray:
    return np.array([quantity(record, *keys) for record in rounds])


def _size(rounds: Rounds) -> float:
    return 5.0 if len(rounds) <= 30 else 2.5


def _curve(axes: Axes, x: np.ndarray, values: np.ndarray, k: int, *, label: str) -> None:
    """Draw the k-th curve with its colour, line style and marker."""
    size = 5.0 if len(x) <= 30 else 2.5
    axes.plot(x, values, color=colour(k), ls=line(k), marker=MARKERS[k % len(MARKERS)], ms=size, lw=1.2, label=label)


def _finish(axes: Axes, rounds: Rounds, *, y: str, columns: int = 1) -> None:
    """Label the axes; rounds are whole numbers, and half a round is left on both sides."""
    from matplotlib.ticker import MaxNLocator

    tidy(axes, x="round", y=y)
    if axes.get_legend() is not None:
        axes.legend(frameon=False, fontsize="small", ncols=columns)
    numbers = _numbers(rounds)
    axes.set_xlim(numbers.min() - 0.6, numbers.max() + 0.6)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1, steps=[1, 2, 5, 10]))


def _plain_ordinate(axes: Axes) -> None:
    """Plain numbers on a logarithmic ordinate; ticks at 1, 2 and 5 where it spans less than 100 to 1."""
    from matplotlib.ticker import LogLocator, NullFormatter

    low, high = axes.get_ylim()
    axes.set_ylim(low / 1.1, high * (high / low) ** 0.35)  # room for the legend
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 100 * low else (1,)))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter(NullFormatter())
