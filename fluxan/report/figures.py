"""The plots of a report: each a figure of its own, with a title and a sentence on what it shows."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from . import panels
from .style import WIDTH

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from .study import Study


@dataclass(frozen=True)
class Plot:
    """A plot to be drawn.

    Attributes
    ----------
    name : of its files
    title : of its section
    caption : what it shows, and how to read it; HTML
    draw : draws it on axes
    height : over width
    width : over that of a page
    """

    name: str
    title: str
    caption: str
    draw: Callable[[Axes], None]
    height: float = 0.45
    width: float = 1.0

    def figure(self) -> Figure:
        """Draw it."""
        from matplotlib.figure import Figure

        width = self.width * WIDTH
        figure = Figure(figsize=(width, self.height * width), layout="constrained")
        self.draw(figure.subplots())
        return figure


def plots(study: Study) -> Iterator[Plot]:
    """Every plot that a study allows, in the order of the page."""
    record, result = study.record, study.result
    reduced = result.unit == "reduced"
    time, flux = ("reduced", "reduced") if reduced else ("ps", "eV Å/ps")
    shown = min(record.n_samples, panels.SHOWN)
    yield Plot(
        "flux",
        "The heat flux J(t)",
        f"The first {shown} of {record.n_samples} samples, all three components, volume-extensive.",
        partial(panels.draw_flux, total=record.total, dt=study.time_step, unit=time, flux_unit=flux),
        height=0.3,
    )
    yield Plot(
        "correlation",
        "Its memory C(t)",
        "Autocorrelation of the flux, averaged over x, y and z, in units of its value at t = 0. Where the grey band "
        "holds zero, what is left is noise.",
        partial(panels.draw_correlation, result=result),
    )
    yield Plot(
        "cumulative",
        "The running integral κ(τ)",
        _plateau_caption(study),
        partial(panels.draw_cumulative, result=result),
    )
    yield Plot(
        "limit",
        "The spectrum towards zero frequency",
        "The same integral seen from the other side: κ(f) = S(f)/(2 V k<sub>B</sub> T²) tends to κ at f = 0. The "
        "estimate uses all of this curve, not the lowest points alone.",
        partial(panels.draw_limit, result=result),
    )
    yield from _spectra(study)
    yield from _parts(study)
    yield Plot(
        "estimates",
        "Estimates side by side",
        "Every method on the same flux; the filled square is the one that counts. The running integral is "
        "averaged behind the decay of C(t) into its noise: its error covers noise alone.",
        partial(panels.draw_estimates, result=result),
        height=0.3,
    )
    yield from _levels(study, time)


def _plateau_caption(study: Study) -> str:
    found = panels.plateau(study.result)
    unit = "" if study.result.unit == "reduced" else " ps"
    begin = "Integral of C(t) up to τ with its error; the grey band is κ ± σ, which was not read off this curve. "
    if found is None:
        return begin + "It shows no plateau: it never stays within the band."
    return begin + f"The thick part, {found[0]:.3g} to {found[1]:.3g}{unit}, is its plateau."


def _spectra(study: Study) -> Iterator[Plot]:
    result = study.result
    several = len(result.labels) > 1
    spectrum = study.spectrum()
    yield Plot(
        "spectrum",
        "Which frequencies, and whose" if several else "Which frequencies",
        "Power of the flux over the whole band, in units of κ. "
        + ("Shares of the carriers add up to the total; a negative share cancels another." if several else "")
        + (" Without correction for fluxes of mass." if result.components == "multi" else ""),
        partial(panels.draw_parts, spectrum=spectrum, factor=study.factor, result=result),
    )
    if study.gauge_samples is not None:
        yield Plot(
            "gauge",
            "What of it is only noise",
            "Spectrum with and without the flux of the mean virial, Σ⟨W⟩v. In a solid both tend to the same κ at "
            "f = 0: the difference never carried heat (Knoop, Scheffler, Carbogno, Phys. Rev. B 107, 224304 (2023)).",
            partial(
                panels.draw_gauge,
                before=spectrum,
                after=study.spectrum(study.gauge_samples),
                factor=study.factor,
                result=result,
            ),
        )


def _parts(study: Study) -> Iterator[Plot]:
    result, n = study.result, len(study.result.labels)
    if n < 2:
        return
    yield Plot(
        "carriers",
        "Who carries the heat",
        "Each carrier's flux, correlated with the total: the bars add up to κ.",
        partial(panels.draw_carriers, result=result),
        height=0.12 + 0.07 * n,
    )
    rows = "owner of the energy × carrier" if panels.has_owners(result) else "carrier × carrier"
    yield Plot(
        "matrix",
        "κ by owner and carrier" if panels.has_owners(result) else "κ by pairs of carriers",
        f"κ<sub>αβ</sub>, {rows}; all entries add up to κ, each with one standard error.",
        partial(panels.draw_matrix, result=result),
        height=0.75,
        width=min(1.0, 0.5 + 0.08 * n),
    )


def _levels(study: Study, time: str) -> Iterator[Plot]:
    reduced = study.result.unit == "reduced"
    names = {
        "temperature": "temperature" if reduced else "temperature (K)",
        "energy": "energy" if reduced else "energy (eV)",
    }
    for name, label in names.items():
        if name in study.record.observables and len(study.record.observables[name]) > 1:
            yield Plot(
                name,
                f"Does the {name} drift?",
                "Means over a hundredth of the run each; a slope means that the system is not in equilibrium.",
                partial(
                    panels.draw_level,
                    values=study.record.observables[name],
                    dt=study.time_step,
                    name=label,
                    unit=time,
                ),
                height=0.28,
            )
