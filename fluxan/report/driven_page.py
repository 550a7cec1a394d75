"""The report on a run under a driving force (HNEMD): one self-contained HTML page."""

from __future__ import annotations

from functools import partial
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from fluxan.greenkubo.driven import N_BLOCKS

from . import panels
from .driven_figure import draw_running
from .driven_study import halves
from .figures import Plot, parts_plots
from .page import filled, in_brackets, write_page
from .spectral_figure import blocks_of, draw_current, draw_current_integral
from .verdicts import Verdict, direction, sentence, signed, temperature, unit, value

if TYPE_CHECKING:
    from collections.abc import Iterator

    from matplotlib.axes import Axes

    from fluxan.greenkubo.driven import DrivenConductivity

    from .driven_study import DrivenStudy
    from .page import Drawn

#: Standard errors within which a component across the driving force counts as zero.
_ZERO: Final = 2.5


def write_driven_report(study: DrivenStudy, output: str | Path, *, folder: str | Path | None = None) -> None:
    """Write the page, and its plots as PNG and SVG into a folder.

    Parameters
    ----------
    study : DrivenStudy
        From `fluxan.report.driven_study.driven_study`.
    output : str or Path
        HTML file.
    folder : str or Path, optional
        Folder for the plots; by default they are only in the page.

    Raises
    ------
    OutputError
        A file cannot be written.
    """
    drawn = [(plot, plot.figure()) for plot in driven_plots(study)]
    write_page(driven_page(study, drawn), drawn, Path(output), folder=folder)


def driven_page(study: DrivenStudy, drawn: Drawn) -> str:
    """HTML of the page."""
    result = study.result
    return filled(
        study.name,
        result,
        drawn,
        state=f"along {direction(result)} under a driving force of {result.strength:.4g}/Å, at T = "
        f"{temperature(result)}, V = {result.volume:.6g} Å³; ± is one standard error, method: hnemd",
        evidence=driven_verdicts(study),
        estimates=_estimates(study),
        facts=_facts(study),
    )


def driven_verdicts(study: DrivenStudy) -> list[Verdict]:
    """All evidence against the result, then all evidence for it."""
    bad = [Verdict(good=False, text=sentence(warning)) for warning in study.result.warnings]
    return bad + [Verdict(good=True, text=text) for text in _good(study)]


def _good(study: DrivenStudy) -> Iterator[str]:
    result = study.result
    if not result.excited:
        yield (
            f"The flux fluctuates as in linear response: the error is {result.error:.2g}{unit(result)}, and the "
            f"fluctuations of equilibrium give {result.expected_error:.2g}."
        )
    if study.thermostat is not None and not result.heats:
        yield (
            f"The thermostat removes the heat of the driving force: the atoms are at {temperature(result)}, "
            f"{signed(result.excess)} K from its {study.thermostat:.5g} K."
        )
    if not any(word in warning for word in ("correlated", "halves") for warning in result.warnings):
        yield f"The response is steady: the means of {N_BLOCKS} blocks of the run neither drift nor are correlated."
    across, error = _across(result)
    if (np.abs(across) <= _ZERO * error).all():
        yield (
            f"No flux across the driving force: its components divided by V T F_e are {value(across[0], error[0])} "
            f"and {value(across[1], error[1])}{unit(result)}."
        )


def _across(result: DrivenConductivity) -> tuple[np.ndarray, np.ndarray]:
    """Mean flux over V T F_e along two directions at right angles to the driving force, and errors; (2,) each.

    Errors are those of the components along the axes, taken as independent.
    """
    along = result.driving_force / result.strength
    axes = np.linalg.svd(along[None])[2][1:]
    return axes @ result.response, np.sqrt(axes**2 @ result.response_error**2)


def _estimates(study: DrivenStudy) -> str:
    result = study.result
    rows = [("mean flux", result.kappa, result.error)]
    rows += [(f"its {name} half", *part) for name, part in zip(("first", "second"), halves(result), strict=True)]
    if study.spectrum is not None:
        rows.append(("spectral heat current", study.spectrum.integral, study.spectrum.integral_error))
    head = f"<tr><th>from</th><th>κ{escape(in_brackets(unit(result)))}</th><th>over the result</th></tr>"
    marks = [' class="counts"', *[""] * (len(rows) - 1)]
    return head + "".join(
        f"\n<tr{mark}><td>{name}</td><td>{value(kappa, error)}</td><td>{kappa / result.kappa:.3f}</td></tr>"
        for mark, (name, kappa, error) in zip(marks, rows, strict=True)
    )


def driven_plots(study: DrivenStudy) -> Iterator[Plot]:
    """All plots for which a study has data, in the order of the page."""
    yield Plot(
        "running",
        "The running mean of κ",
        "Mean of J·F<sub>e</sub>/(V T F<sub>e</sub>²) from the end of the discarded start up to each time, with its "
        "error; the dots are the means of the blocks whose scatter gives the error. They must show no trend.",
        partial(draw_running, result=study.result),
    )
    if study.spectrum is not None:
        yield Plot(
            "spectral",
            "The spectral heat current κ(f)",
            "Contribution of each frequency to the potential part of κ, from the virial-velocity correlation "
            f"(resolution {1 / study.spectrum.times[-1]:.3g} THz, {blocks_of(study.spectrum)}).",
            partial(draw_current, result=study.spectrum),
        )
        yield Plot(
            "spectral-integral",
            "κ below each frequency",
            "Integral of κ(f) from 0 to f; its last value is the potential part of κ.",
            partial(draw_current_integral, result=study.spectrum),
        )
    yield from parts_plots(study.result, "Mean flux of each carrier along the driving force")
    yield Plot(
        "temperature",
        "Temperature",
        "Each point is a mean over 1 % of the run, with what is discarded. Where it rises above that of the thermostat "
        "(dashed), the driving force heats the atoms faster than the thermostat cools them.",
        partial(_draw_temperature, study=study),
        height=0.28,
    )


def _draw_temperature(axes: Axes, study: DrivenStudy) -> None:
    step = float(study.times[1] - study.times[0])
    panels.draw_drift(axes, study.temperatures, step, name="temperature (K)", unit="ps")
    if study.thermostat is not None:
        axes.axhline(study.thermostat, color="black", lw=1.0, ls="--")


def _facts(study: DrivenStudy) -> dict[str, str]:
    result = study.result
    components = zip("xyz", result.response, result.response_error, strict=True)
    facts = dict(study.facts)
    facts["driving force"] = " ".join(f"{x:.4g}" for x in result.driving_force).replace("-", "−") + " 1/Å"
    if study.thermostat is not None:
        facts["thermostat"] = f"{study.thermostat:.5g} K"
    facts["samples"] = f"{len(study.times)}, every {study.times[1] - study.times[0]:.6g} ps"
    facts["length"] = f"{result.length:.6g} ps after {result.discarded:.4g} ps that are discarded"
    facts["⟨J⟩/(V T F_e)"] = ", ".join(f"{axis}: {value(v, e)}" for axis, v, e in components) + unit(result)
    if study.spectrum is not None:
        facts["spectral heat current"] = f"{study.spectrum.n_samples} samples, {blocks_of(study.spectrum)}"
    return facts
