"""Figure of a study of defects: errors of geometry and energy against L, and what lies beyond the training cells."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fluxan.generalization.study_table import letters, slopes_of

from .style import WIDTH, colour, tidy

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import matplotlib.figure
    from matplotlib.axes import Axes

    from fluxan.generalization.study_table import Record

_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
_STYLES = {"reference": "-", "own": ":"}


def draw_defects(records: Sequence[Record]) -> matplotlib.figure.Figure:
    """Draw errors against L on logarithmic axes, one row of panels per defect, with the expected slopes dashed.

    Parameters
    ----------
    records : sequence of dict
        Of `run_study`.
    """
    from matplotlib.figure import Figure

    defects = list(dict.fromkeys(record["defect"] for record in records))
    sets = list(dict.fromkeys(letters(record["observations"]) for record in records))
    slopes = slopes_of(records)
    figure = Figure(figsize=(1.4 * WIDTH, 0.5 * WIDTH * len(defects) + 0.7), layout="constrained")
    panels = figure.subplots(len(defects), 3, squeeze=False)
    for row, defect in zip(panels, defects, strict=True):
        own = [record for record in records if record["defect"] == defect]
        own_slopes = [slope for slope in slopes if slope.defect == defect]
        _draw_errors(row[0], own, sets, lambda r: r["geometry"], "geometry error (Å)")
        _draw_errors(row[1], own, sets, lambda r: 1e3 * abs(r["energy"]), "|energy error| (meV)")
        _draw_parts(row[2], own, sets, "geometry error from beyond L (Å)")
        row[0].set_title(defect, fontsize="medium", loc="left")
        for axes, quantity in zip(row, ("geometry", "energy", ""), strict=True):
            _expect(axes, [slope.predicted for slope in own_slopes if slope.quantity == quantity])
        if own_slopes:
            _expect(row[2], [-4.5])
    for k, named in enumerate(sets):
        panels[0][0].plot([], [], color=colour(k), marker=_MARKERS[k % len(_MARKERS)], ms=4, label=named)
    for lattice, style in _STYLES.items():
        if any(record["lattice"] == lattice for record in records):
            whose = "model's own" if lattice == "own" else "reference's"
            panels[0][0].plot([], [], style, color="0.3", label=f"{whose} lattice constant")
    figure.legend(*panels[0][0].get_legend_handles_labels(), loc="outside upper center", ncols=7, frameon=False,
                  fontsize="small")  # fmt: skip
    return figure


def _draw_errors(
    axes: Axes, records: list[Record], sets: list[str], value: Callable[[Record], Any], label: str
) -> None:
    """One curve for each set and lattice constant."""
    for k, named in enumerate(sets):
        for lattice, style in _STYLES.items():
            rows = [
                r for r in records
                if letters(r["observations"]) == named and r["lattice"] == lattice and r["geometry"] is not None
            ]  # fmt: skip
            if rows:
                axes.plot([r["L"] for r in rows], [value(r) for r in rows], style, color=colour(k),
                          marker=_MARKERS[k % len(_MARKERS)], ms=4, lw=1.1)  # fmt: skip
    _finish(axes, label)


def _draw_parts(axes: Axes, records: list[Record], sets: list[str], label: str) -> None:
    """Harmonic and anharmonic parts beyond L."""
    for k, named in enumerate(sets):
        rows = [r for r in records if letters(r["observations"]) == named and r["parts"]]
        for part, style, filled in (("force_constants", "-", True), ("anharmonic", "--", False)):
            axes.plot(
                [r["L"] for r in rows], [r["parts"][part] for r in rows], style, color=colour(k), ms=4, lw=1.1,
                marker=_MARKERS[k % len(_MARKERS)], mfc=colour(k) if filled else "white",
            )  # fmt: skip
    axes.plot([], [], "-", color="0.3", label="force constants")
    axes.plot([], [], "--", color="0.3", label="the rest")
    _finish(axes, label)
    axes.legend(frameon=False, fontsize="small")


def _expect(axes: Axes, exponents: list[float]) -> None:
    """Draw expected powers through the upper left of what is drawn."""
    x, y = np.concatenate([np.asarray(curve.get_xydata(), dtype=float) for curve in axes.get_lines()]).T
    if not (len(x) and exponents and (y > 0).any()):
        return
    low, high = x.min(), x.max()
    axes.set_ylim(y[y > 0].min() / 2, y.max() * 2)
    for k, exponent in enumerate(sorted(set(exponents))):
        ends = np.array([low, high])
        axes.plot(ends, y.max() * (ends / low) ** exponent, color="0.6", lw=0.9, dashes=(6, 3), zorder=0)
        middle = low ** (0.8 - 0.15 * k) * high ** (0.2 + 0.15 * k)
        axes.annotate(f"$L^{{{exponent:g}}}$", (middle, y.max() * (middle / low) ** exponent), color="0.4", fontsize=7)


def _finish(axes: Axes, label: str) -> None:
    from matplotlib.ticker import NullFormatter

    axes.set(xscale="log", yscale="log")
    tidy(axes, x="L (Å)", y=label)
    legend = axes.get_legend()
    if legend is not None:
        legend.remove()
    low, high = axes.get_xlim()
    axes.set_xlim(low / 1.05, high * 1.05)
    ticks = [t for t in (2, 3, 4, 5, 6, 8, 10, 15, 20, 30, 40) if low <= t <= high]
    axes.set_xticks(ticks, [str(t) for t in ticks])
    axes.xaxis.set_minor_formatter(NullFormatter())
