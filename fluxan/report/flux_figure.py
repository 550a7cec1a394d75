"""One figure of a flux Dataset: J(t), its x component by carrier, and autocorrelation functions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fluxan.report.style import WIDTH, colour, line, tidy
from fluxan.series.flux_dataset import carrier_flux

if TYPE_CHECKING:
    import xarray
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Number of samples drawn of a time series: enough for the resolution of a page, few enough for a small file.
SHOWN = 1000


def plot_flux(dataset: xarray.Dataset) -> Figure:
    """Draw J(t), its x component by carrier, and the autocorrelations.

    Parameters
    ----------
    dataset : xarray.Dataset
        From `fluxan.decompose`.

    Returns
    -------
    matplotlib.figure.Figure
        The figure.
    """
    from matplotlib.figure import Figure

    parts = carrier_flux(dataset)
    names = [str(label) for label in parts["carrier"].values]
    time = dataset["time"].values - float(dataset["time"][0])
    unit = dataset["time"].attrs.get("units", "ps")
    figure = Figure(figsize=(WIDTH, 1.05 * WIDTH), layout="constrained")
    total_axes, parts_axes, correlation_axes = figure.subplots(3, 1)
    _draw_total(total_axes, time, parts.sum("carrier").values, unit)
    _draw_parts(parts_axes, time, parts.values, names, unit)
    _draw_correlation(correlation_axes, time, parts.values, names, unit)
    return figure


def _draw_total(axes: Axes, time: np.ndarray, total: np.ndarray, unit: str) -> None:
    for k, component in enumerate("xyz"):
        axes.plot(time[:SHOWN], total[:SHOWN, k], color=colour(k), lw=0.8, label=f"$J_{component}$")
    axes.set_title("Heat flux", loc="left", fontsize="medium")
    tidy(axes, x=f"time ({unit})", y="J (eV Å/ps)")


def _draw_parts(axes: Axes, time: np.ndarray, parts: np.ndarray, names: list[str], unit: str) -> None:
    for k, name in enumerate(names):
        axes.plot(time[:SHOWN], parts[:SHOWN, k, 0], color=colour(k), lw=0.8, label=f"carried by {name}")
    axes.set_title("x component by carrier", loc="left", fontsize="medium")
    tidy(axes, x=f"time ({unit})", y="$J_x$ (eV Å/ps)")


def _draw_correlation(axes: Axes, time: np.ndarray, parts: np.ndarray, names: list[str], unit: str) -> None:
    from fluxan.correlation import Correlator

    # The total is the first vector of channels, the carriers follow; curves are the traces over x, y and z.
    n_frames, n_carriers, _ = parts.shape
    channels = np.concatenate([parts.sum(axis=1, keepdims=True), parts], axis=1)
    correlator = Correlator(channels[0].size, max_lag=max(1, n_frames // 20), scheme="linear")
    correlator.update(channels.reshape(n_frames, -1))
    values = correlator.correlation().values
    curves = np.einsum("taxax->ta", values.reshape(len(values), n_carriers + 1, 3, n_carriers + 1, 3))
    lag = time[: len(curves)]
    for k, name in enumerate(["total", *names]):
        axes.plot(lag, curves[:, k] / curves[0, 0], color=colour(k - 1), ls=line(k), lw=1.2, label=name)
    axes.axhline(0, color="0.7", lw=0.8, zorder=0)
    axes.set_title("Autocorrelation function, over that of the total at t = 0", loc="left", fontsize="medium")
    tidy(axes, x=f"time ({unit})", y="C(t) / C$_{total}$(0)")
