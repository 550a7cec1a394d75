"""Colours and sizes of all plots; the Okabe-Ito palette is distinguishable by colour-blind readers and in print."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
LINES = ("-", "--", "-.", ":")
#: Width of a figure, inches.
WIDTH = 7.2


def colour(k: int) -> str:
    """Colour of the k-th curve."""
    return PALETTE[k % len(PALETTE)]


def line(k: int) -> str:
    """Line style of the k-th curve, so that curves differ by more than colour."""
    return LINES[k % len(LINES)]


def tidy(axes: Axes, *, x: str, y: str) -> None:
    """Set the axis labels, remove the upper and right frame, and add a legend where there are several curves."""
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.spines[["top", "right"]].set_visible(False)
    axes.margins(x=0)
    if len(axes.get_legend_handles_labels()[0]) > 1:
        axes.legend(frameon=False, ncols=4, fontsize="small")
