"""Figure of the history of a fit: every loss term by epoch, for training and validation frames."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fluxan.errors import InputError
from fluxan.training.history import TERM_UNITS, column

from .style import WIDTH, colour, tidy

if TYPE_CHECKING:
    from collections.abc import Sequence

    import matplotlib.figure

#: Axis label of each term.
LABELS = {
    "energy": "energy RMSE (meV/atom)",
    "forces": "force RMSE (meV/Å)",
    "virial": "virial RMSE (meV/atom)",
    "flux": "flux (eV Å/ps per √atoms)",
}


def draw_history(rows: Sequence[dict[str, float]], *, best: int | None = None) -> matplotlib.figure.Figure:
    """Draw the root mean square of every term by epoch, and further columns such as the error at invariant points.

    Parameters
    ----------
    rows : sequence of dict
        From `fluxan.training.history.read_history`.
    best : int, optional
        Epoch whose model was kept.

    Raises
    ------
    InputError
        There is no row.
    """
    from matplotlib.figure import Figure

    if not rows:
        raise InputError("the history has no epoch")
    terms = [term for term in TERM_UNITS if column("validation", term) in rows[0]]
    known = {"epoch", "learning rate", "train loss", "validation loss"}
    known |= {column(part, term) for part in ("train", "validation") for term in TERM_UNITS}
    others = [name for name in rows[0] if name not in known]
    epochs = [row["epoch"] for row in rows]
    n_panels = len(terms) + bool(others)
    figure = Figure(figsize=(WIDTH, 0.36 * WIDTH * ((n_panels + 1) // 2)), layout="constrained")
    panels = figure.subplots((n_panels + 1) // 2, 2, squeeze=False).ravel()
    for axes, term in zip(panels, terms, strict=False):
        scale = 1.0 if term == "flux" else 1e3
        for k, part in enumerate(("train", "validation")):
            name = column(part, term)
            if name in rows[0]:
                axes.plot(epochs, [scale * row[name] for row in rows], color=colour(k), label=part)
        tidy(axes, x="epoch", y=LABELS[term])
        axes.set_yscale("log")
    if others:
        for k, name in enumerate(others):
            panels[len(terms)].plot(epochs, [row[name] for row in rows], color=colour(k), label=name)
        tidy(panels[len(terms)], x="epoch", y="monitored")
    for axes in panels[:n_panels]:
        if best is not None:
            axes.axvline(best, color="0.6", linewidth=0.8)
    for axes in panels[n_panels:]:
        axes.set_visible(False)
    return figure
