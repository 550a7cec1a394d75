"""`fluxan report`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fluxan.cli.command_options import (
    Components,
    Discard,
    FluxFile,
    Method,
    named_model,
    with_flux_options,
    with_model_options,
)

if TYPE_CHECKING:
    from fluxan.report.driven_study import DrivenStudy
    from fluxan.report.study import Study

#: Methods that a report compares.
COMPARED = ("cepstral", "stacie", "running")


@with_flux_options
@with_model_options
def report(
    flux: FluxFile,
    *,
    output: Annotated[Path, typer.Option(help="HTML file to write.")] = Path("report.html"),
    plots: Annotated[Path | None, typer.Option(help="Folder for the plots as PNG and SVG.")] = None,
    method: Method = "default",
    components: Components = "auto",
    trajectory: Annotated[
        Path | None,
        typer.Option(help="Trajectory of the flux, for solids: shows the part that adds noise but no heat."),
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="With --trajectory: the model, where the flux file does not record it.")
    ] = None,
    discard: Discard = None,
    adapter: dict[str, Any],
    reader: dict[str, Any],
) -> None:
    """Write a page on the thermal conductivity of a heat flux, with plots, diagnostics and warnings.

    Example: fluxan report flux.nc --output report.html
    """
    from fluxan.errors import OutputError

    if output.suffix.lower() not in {".html", ".htm"}:
        raise OutputError(f"--output {output}: expected a name that ends in .html")
    if not output.parent.is_dir():
        raise OutputError(f"{output} cannot be written: there is no folder {output.parent}")
    from fluxan.cli.hnemd_output import read_driven
    from fluxan.report.driven_page import write_driven_report
    from fluxan.report.page import write_report

    loaded = named_model(model, adapter)
    equilibrium = {"method": method, "components": components, "trajectory": trajectory, "model": loaded}
    driven = read_driven(flux, reader, discard=discard, **equilibrium)
    if driven is not None:
        write_driven_report(driven, output, folder=plots)
        summarize(driven, output)
        return
    settings = {"method": method, "components": components, "compare": COMPARED}
    found = _study(flux, trajectory, loaded, reader, settings)
    write_report(found, output, folder=plots)
    summarize(found, output)


def summarize(study: Study | DrivenStudy, output: Path) -> None:
    """Summarise the page in two lines."""
    from fluxan.report.verdicts import unit, value

    n = len(study.result.warnings)
    typer.echo(f"κ = {value(study.result.kappa, study.result.error)}{unit(study.result)}")
    typer.echo(f"wrote {output}" + (f", with {n} warning{'s' if n > 1 else ''}" if n else ""))


def _study(flux: Path, trajectory: Path | None, model: Any, reader: dict[str, Any], settings: dict[str, Any]) -> Study:
    from fluxan.errors import InputError
    from fluxan.report.study import study_dataset, study_file

    if trajectory is None and model is not None:
        raise InputError("--model without a trajectory: give --trajectory too, or leave it out")
    if trajectory is None:
        return study_file(flux, reader=reader, **settings)
    from fluxan.jobs.average_virial import with_mean_virial
    from fluxan.series.flux_dataset import open_flux

    given = {name: reader.get(name) for name in ("temperature", "volume", "dt")}
    with open_flux(flux) as dataset:
        whole = with_mean_virial(dataset, trajectory, model or _model_of(dataset, flux))
        return study_dataset(whole, name=flux.name, **given, **settings)


def _model_of(dataset: Any, path: Path) -> Any:
    """Analytic potential that a flux file describes."""
    from fluxan.errors import ModelError
    from fluxan.potentials.load import parse_model

    text = str(dataset.attrs.get("model", ""))
    if "kind = " not in text:
        raise ModelError(f"{path} does not describe its model ({text or 'none'}); give it with --model")
    return parse_model(text, source=f"the model in {path}")
