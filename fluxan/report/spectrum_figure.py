"""One figure of a power spectrum."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fluxan.errors import InputError

from .style import WIDTH, colour, line, tidy

if TYPE_CHECKING:
    import matplotlib.figure

    from fluxan.correlation.spectral_density import PowerSpectrum

#: Axis label of each unit of frequency.
UNITS = {"THz": "frequency (THz)", "cm-1": "wavenumber (cm⁻¹)"}


def draw_spectrum(spectrum: PowerSpectrum, *, unit: str = "THz") -> matplotlib.figure.Figure:
    """Draw the total power with its standard error, and the contribution of each channel where there are several.

    Parameters
    ----------
    spectrum : PowerSpectrum
        From `fluxan.power_spectrum`.
    unit : str
        "THz" or "cm-1".

    Raises
    ------
    InputError
        The unit is unknown.
    """
    from matplotlib.figure import Figure

    if unit not in UNITS:
        raise InputError(f"unit is {unit!r}, expected one of {', '.join(UNITS)}")
    x = spectrum.frequencies if unit == "THz" else spectrum.wavenumbers
    figure = Figure(figsize=(WIDTH, 0.6 * WIDTH), layout="constrained")
    axes = figure.subplots()
    total, error = spectrum.total, spectrum.total_error
    axes.fill_between(x, total - error, total + error, color="0.8", label="one standard error")
    axes.plot(x, total, color="black", label="total")
    if len(spectrum.labels) > 1:
        for k, (label, part) in enumerate(zip(spectrum.labels, spectrum.parts.T, strict=True)):
            axes.plot(x, part, color=colour(k), linestyle=line(k), label=label)
        axes.axhline(0, color="black", linewidth=0.5)
    tidy(axes, x=UNITS[unit], y=f"power, {spectrum.sides}-sided (flux² / THz)")
    low = min(0.0, float(np.nanmin(spectrum.parts)))
    axes.set_ylim(bottom=1.05 * low)
    width = spectrum.bandwidth * (x[-1] / spectrum.frequencies[-1])
    axes.set_title(f"{spectrum.n_segments} segments, bandwidth {width:.3g} {unit}", fontsize="medium")
    return figure
