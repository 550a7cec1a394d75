"""The plots of a report, each with a title and a caption."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from . import panels
from .style import WIDTH

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from matplotlib.figure import Figure

    from fluxan.greenkubo import Conductivity
    from fluxan.greenkubo.driven import DrivenConductivity

    from .study import Study


@dataclass(frozen=True)
class Plot:
    """A plot and its text.

    Attributes
    ----------
    name : str
        Stem of its files, and identifier in the page.
    title : str
        Heading of its section.
    caption : str
        What it shows and how to read it; HTML.
    draw : callable
        Draws the plot on the axes that it is given, as many as there are columns.
    height : float
        Ratio of height to width.
    width : float
        Ratio of the plot's width to that of the page.
    columns : int
        Number of axes side by side.
    description : str
        What the plot shows, for readers who do not see it; by default its title.
    """

    name: str
    title: str
    caption: str
    draw: Callable[..., None]
    height: float = 0.45
    width: float = 1.0
    columns: int = 1
    description: str = ""

    def figure(self) -> Figure:
        """Draw the plot on a figure of its own."""
        from matplotlib.figure import Figure

        width = self.width * WIDTH
        figure = Figure(figsize=(width, self.height * width), layout="constrained")
        self.draw(*figure.subplots(1, self.columns, squeeze=False)[0])
        return figure


def plots(study: Study) -> Iterator[Plot]:
    """All plots for which a study has data, in the order of the page."""
    time = "reduced" if study.result.unit == "reduced" else "ps"
    yield _flux(study, time)
    yield from _curves(study)
    yield from _spectra(study)
    yield from parts_plots(study.result, "Correlation of each carrier's flux with the total flux")
    yield Plot(
        "estimates",
        "Estimates by method",
        "All methods on the same flux; the filled square is the reported result. The running integral is "
        "averaged over lags at which C(t) has decayed into its noise: its error covers that noise alone.",
        partial(panels.draw_estimates, result=study.result),
        height=0.3,
    )
    yield from _drifts(study, time)


def _flux(study: Study, time: str) -> Plot:
    record = study.record
    flux_unit = "reduced" if study.result.unit == "reduced" else "eV Å/ps"
    shown = min(record.n_samples, panels.SHOWN)
    return Plot(
        "flux",
        "The heat flux J(t)",
        f"The first {shown} of {record.n_samples} samples, all three components, volume-extensive.",
        partial(panels.draw_flux, total=record.total, dt=study.time_step, unit=time, flux_unit=flux_unit),
        height=0.3,
    )


def _curves(study: Study) -> Iterator[Plot]:
    result = study.result
    yield Plot(
        "correlation",
        "Heat-flux autocorrelation function C(t)",
        "Autocorrelation of the flux, averaged over x, y and z and divided by its value at t = 0. Where the grey band "
        "(one standard error) includes zero, C(t) cannot be distinguished from noise.",
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
        "Power spectrum of the flux in units of κ: κ(f) = S(f)/(2 V k<sub>B</sub> T²) tends to κ as f → 0. The "
        "estimate uses the whole low-frequency band, not the lowest points alone.",
        partial(panels.draw_zero_frequency, result=result),
    )


def _plateau_caption(study: Study) -> str:
    plateau = panels.plateau(study.result)
    unit = "" if study.result.unit == "reduced" else " ps"
    begin = "Integral of C(t) up to τ with its error; the grey band is κ ± σ, which was not estimated from this curve. "
    if plateau is None:
        return begin + "The curve has no plateau: it never stays within the band."
    return begin + f"The thick part, {plateau[0]:.3g} to {plateau[1]:.3g}{unit}, is its plateau."


def _spectra(study: Study) -> Iterator[Plot]:
    result = study.result
    several = len(result.labels) > 1
    spectrum = study.spectrum()
    yield Plot(
        "spectrum",
        "Power spectrum by carrier" if several else "Power spectrum",
        "Power spectrum of the flux over the whole band, in units of κ. "
        + (
            "Contributions of the carriers add up to the total; negative ones cancel part of the others."
            if several
            else ""
        )
        + (" Not corrected for mass fluxes." if result.components == "multi" else ""),
        partial(panels.draw_parts, spectrum=spectrum, factor=study.factor, result=result),
    )
    if study.gauge_samples is not None:
        yield Plot(
            "gauge",
            "Power spectrum without the mean virial",
            "Spectrum with and without the flux of the mean virial, Σ⟨W⟩v. In a solid both tend to the same κ at "
            "f = 0: the difference carries no heat (Knoop, Scheffler, Carbogno, Phys. Rev. B 107, 224304 (2023)).",
            partial(
                panels.draw_gauge,
                before=spectrum,
                after=study.spectrum(study.gauge_samples),
                factor=study.factor,
                result=result,
            ),
        )


def parts_plots(result: Conductivity | DrivenConductivity, meaning: str) -> Iterator[Plot]:
    """Plots of the contributions to κ where there are several carriers; `meaning` is what a bar is."""
    n = len(result.labels)
    if n < 2:
        return
    yield Plot(
        "carriers",
        "Contribution by carrier",
        f"{meaning}, as a part of κ: the bars add up to κ.",
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


def _drifts(study: Study, time: str) -> Iterator[Plot]:
    reduced = study.result.unit == "reduced"
    names = {
        "temperature": "temperature" if reduced else "temperature (K)",
        "energy": "energy" if reduced else "energy (eV)",
    }
    for name, label in names.items():
        if name in study.record.observables and len(study.record.observables[name]) > 1:
            yield Plot(
                name,
                f"Drift of the {name}",
                "Each point is a mean over 1 % of the run; a slope means that the system is not in equilibrium.",
                partial(
                    panels.draw_drift,
                    values=study.record.observables[name],
                    dt=study.time_step,
                    name=label,
                    unit=time,
                ),
                height=0.28,
            )
