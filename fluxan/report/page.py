"""The report: one self-contained HTML page, and its plots as files."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from fluxan.errors import OutputError

from .figures import plots
from .sections import marked, section, svg
from .template import PAGE, STYLE
from .verdicts import carriers, signed, temperature, unit, value, verdicts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.figure import Figure

    from fluxan.greenkubo import Conductivity
    from fluxan.greenkubo.driven import DrivenConductivity

    from .figures import Plot
    from .study import Study
    from .verdicts import Verdict

    #: Plots of a page with their figures.
    Drawn = list[tuple[Plot, Figure]]

#: Dots per inch of PNG files.
_RESOLUTION = 200


def write_report(study: Study, output: str | Path, *, folder: str | Path | None = None) -> None:
    """Write the page, and its plots as PNG and SVG into a folder.

    Parameters
    ----------
    study : Study
        From `fluxan.report.study.study_file` or `study_dataset`.
    output : str or Path
        HTML file.
    folder : str or Path, optional
        Folder for the plots; by default they are only in the page.

    Raises
    ------
    OutputError
        A file cannot be written.
    """
    drawn = [(plot, plot.figure()) for plot in plots(study)]
    write_page(page(study, drawn), drawn, Path(output), folder=folder)


def write_page(text: str, drawn: Drawn, output: Path, *, folder: str | Path | None) -> None:
    """Write the HTML of a page, and its plots as PNG and SVG into a folder.

    Raises
    ------
    OutputError
        A file cannot be written.
    """
    try:
        output.write_text(text, encoding="utf-8")
        if folder is not None:
            Path(folder).mkdir(parents=True, exist_ok=True)
            for plot, figure in drawn:
                figure.savefig(Path(folder) / f"{plot.name}.png", dpi=_RESOLUTION)
                (Path(folder) / f"{plot.name}.svg").write_text(svg(figure, plot.name), encoding="utf-8")
    except OSError as error:
        raise OutputError(f"{error.filename or output} cannot be written: {error.strerror or error}") from error


def page(study: Study, drawn: Drawn) -> str:
    """HTML of the page."""
    return filled(
        study.name,
        study.result,
        drawn,
        state=_state(study),
        evidence=verdicts(study),
        estimates=_estimates(study),
        facts=_facts(study),
    )


def filled(
    name: str,
    result: Conductivity | DrivenConductivity,
    drawn: Drawn,
    *,
    state: str,
    evidence: Sequence[Verdict],
    estimates: str,
    facts: dict[str, str],
) -> str:
    """HTML of a page on a conductivity, from what differs between kinds of run."""
    return PAGE.substitute(
        title=escape(f"Thermal conductivity of {name}"),
        style=STYLE,
        kappa=escape(value(result.kappa, result.error) + unit(result)),
        state=escape(state),
        carriers=escape(carriers(result)),
        conclusion=conclusion(len(result.warnings)),
        verdicts="\n".join(marked(v) for v in evidence),
        estimates=estimates,
        parts=parts_table(result),
        plots="\n".join(section(plot, figure) for plot, figure in drawn),
        facts=facts_rows(facts),
    )


def facts_rows(facts: dict[str, str]) -> str:
    """Rows of the table on the origin of the data."""
    return "\n".join(f"<tr><th>{escape(k)}</th><td>{escape(v)}</td></tr>" for k, v in facts.items())


def conclusion(n: int) -> str:
    """Sentence on the number of warnings."""
    if n:
        return f'<span class="bad">⚠ {n} warning{"s" if n > 1 else ""}: read below before you use this number.</span>'
    return '<span class="good">✓ Nothing speaks against this number.</span>'


def _state(study: Study) -> str:
    result = study.result
    volume = "" if result.unit == "reduced" else " Å³"
    kind = ", at zero mass flux" if result.components == "multi" else ""
    return (
        f"at T = {temperature(result)}, V = {result.volume:.6g}{volume}{kind}; "
        f"± is one standard deviation, method: {result.method}"
    )


def _estimates(study: Study) -> str:
    result = study.result
    rows = [f"<tr><th>method</th><th>κ{escape(in_brackets(unit(result)))}</th><th>over the result</th></tr>"]
    for name, estimate in result.estimates.items():
        ratio = f"{estimate.value / result.estimates[result.method].value:.3f}"
        kind = ' class="counts"' if name == result.method else ""
        rows.append(
            f"<tr{kind}><td>{escape(name)}</td><td>{value(estimate.value, estimate.error)}</td><td>{ratio}</td></tr>"
        )
    return "\n".join(rows)


def in_brackets(text: str) -> str:
    """A unit in brackets, with a space before; nothing for no unit."""
    return f" ({text.strip()})" if text else ""


def parts_table(result: Conductivity | DrivenConductivity) -> str:
    """Table of κ by owner and carrier, with sums; empty for a single carrier."""
    if len(result.labels) < 2:
        return ""
    head = "".join(f"<th>{escape(label)}</th>" for label in result.labels)
    rows = [f"<tr><th>owner \\ carrier</th>{head}<th>sum</th></tr>"]
    for label, values, errors in zip(result.labels, result.matrix, result.matrix_error, strict=True):
        cells = "".join(f"<td>{value(v, e)}</td>" for v, e in zip(values, errors, strict=True))
        rows.append(f"<tr><th>{escape(label)}</th>{cells}<td>{values.sum():.4g}</td></tr>")
    sums = "".join(f"<td>{value(v, e)}</td>" for v, e in zip(result.by_carrier, result.by_carrier_error, strict=True))
    rows.append(f'<tr class="counts"><th>sum</th>{sums}<td>{value(result.kappa, result.error)}</td></tr>')
    caption = f"κ by owner of the energy and carrier{escape(in_brackets(unit(result)))}"
    return f'<table class="numbers"><caption>{caption}</caption>{"".join(rows)}</table>'


def _facts(study: Study) -> dict[str, str]:
    result, run = study.result, study.result.diagnostics
    time = "" if result.unit == "reduced" else " ps"
    facts = dict(study.facts)
    facts["samples"] = f"{study.record.n_samples}, every {study.time_step:.6g}{time}"
    facts["length"] = f"{run.length:.6g}{time}"
    facts["slowest motion in the flux"] = f"{run.slowest:.4g}{time}; L/τ = {run.length_over_slowest:.4g}"
    if run.diffusion is not None:
        facts["diffusion"] = (
            f"{'species diffuse' if run.diffusing else 'species are bound'} (ratio {run.diffusion:.2g})"
        )
    for name, drift, kelvin in (
        ("temperature", run.temperature_drift, " K"),
        ("potential energy", run.energy_drift, " eV"),
    ):
        if drift is not None:
            facts[f"drift of the {name}"] = signed(drift) + ("" if result.unit == "reduced" else kelvin)
    tensor = result.tensor
    facts["tensor (xx, yy, zz, yz, xz, xy)"] = ", ".join(
        f"{tensor[a, b]:.4g}".replace("-", "−") for a, b in ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))
    )
    return facts
