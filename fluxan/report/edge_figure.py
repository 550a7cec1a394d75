"""One figure of the power along edges: the power through lattice planes, by pair of elements."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from fluxan.errors import InputError

from .style import WIDTH, colour, line, tidy

if TYPE_CHECKING:
    import matplotlib.figure

    from fluxan.flux.edge_currents import EdgeCurrents

#: Number of planes along each direction.
_PLANES: Final = 120


def draw_edge_currents(currents: EdgeCurrents) -> matplotlib.figure.Figure:
    """Draw the power through planes parallel to two cell vectors, against their position, for each pair of elements.

    The mean over all positions is the potential heat flux along the normal over the distance of the planes' images.

    Parameters
    ----------
    currents : EdgeCurrents
        From `fluxan.edge_currents`, of periodic atoms.

    Raises
    ------
    InputError
        The atoms are a cluster.
    """
    from matplotlib.figure import Figure

    cell = currents.frame.cell
    if cell is None:
        raise InputError("these atoms are a cluster: there are no lattice planes to draw the power through")
    figure = Figure(figsize=(WIDTH, 0.8 * WIDTH), layout="constrained")
    parts = currents.by_elements()
    for panel, axis in enumerate("abc"):
        axes = figure.add_subplot(3, 1, panel + 1)
        normal = np.cross(cell[panel - 2], cell[panel - 1])
        spacing = abs(np.linalg.det(cell)) / np.linalg.norm(normal)
        offsets = (np.arange(_PLANES) + 0.5) * spacing / _PLANES
        for number, (name, part) in enumerate(parts.items()):
            power = [part.through(normal, offset) for offset in offsets]
            axes.plot(offsets, power, color=colour(number), linestyle=line(number), label=name)
        if len(parts) > 1:
            total = [currents.through(normal, offset) for offset in offsets]
            axes.plot(offsets, total, color="black", label="total")
        axes.axhline(0, color="0.7", linewidth=0.8)
        tidy(axes, x=f"position of the plane across {axis} (Å)", y="power (eV/ps)")
        legend = axes.get_legend()
        if panel and legend is not None:
            legend.remove()
    return figure
