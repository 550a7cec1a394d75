"""Figure of a scan of the strength of the flux term: its power, and the errors that it costs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .style import WIDTH, colour, line, tidy

if TYPE_CHECKING:
    import matplotlib.figure
    from matplotlib.axes import Axes

    from fluxan.training.linear_scan import LinearScan
    from fluxan.training.network_scan import NetworkScan

_TERMS = ("energy", "forces", "virial")


def draw_scan(linear: LinearScan, networks: NetworkScan | None = None) -> matplotlib.figure.Figure:
    """Draw flux power and validation errors against the strength, relative to those without the term.

    Parameters
    ----------
    linear : LinearScan
        The linear model, drawn as lines; bands show the spread of its errors.
    networks : NetworkScan, optional
        Drawn as points with the spread over seeds.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, 0.85 * WIDTH), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True)
    _draw_power(upper, linear, networks)
    _draw_errors(lower, linear, networks)
    estimate = linear.estimate if networks is None else networks.estimate
    for axes in (upper, lower):
        axes.axvline(estimate.strength, color="black", linewidth=0.8)
        axes.set_xscale("log")
    upper.set_title(f"strength {estimate.strength:.2g} ({estimate.kind})", fontsize="medium")
    return figure


def _draw_power(axes: Axes, linear: LinearScan, networks: NetworkScan | None) -> None:
    axes.plot(linear.strengths, linear.validation["flux"] ** 2, color="black", label="linear model")
    if networks is not None:
        power = networks.errors["flux"] ** 2
        spread = power.std(axis=1, ddof=1)
        axes.errorbar(
            networks.strengths, power.mean(axis=1), spread, fmt="o", color=colour(0), capsize=3, label="networks"
        )
        axes.axhline((networks.baseline["flux"] ** 2).mean(), color=colour(0), linestyle=":", label="networks, no term")
    axes.set_yscale("log")
    tidy(axes, x="", y="flux power per atom ((eV Å/ps)²)")


def _draw_errors(axes: Axes, linear: LinearScan, networks: NetworkScan | None) -> None:
    for k, term in enumerate(_TERMS):
        if term not in linear.validation:
            continue
        ratio = linear.validation[term] / linear.baseline[term]
        axes.plot(linear.strengths, ratio, color=colour(k), linestyle=line(k), label=f"{term} RMSE")
        share = linear.spread[term] / linear.baseline[term]
        axes.axhspan(1 - share, 1 + share, color=colour(k), alpha=0.12, linewidth=0)
        if networks is not None and term in networks.errors:
            relative = networks.errors[term] / networks.baseline[term].mean()
            spread = relative.std(axis=1, ddof=1)
            axes.errorbar(networks.strengths, relative.mean(axis=1), spread, fmt="o", color=colour(k), capsize=3)
    axes.set_ylim(0.8, 2.0)
    tidy(axes, x="strength p_Q of the flux term", y="RMSE / RMSE without the term")
