"""`fluxan info`."""

from __future__ import annotations

import json as json_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fluxan.cli.command_options import Json, with_reader_options
from fluxan.cli.wording import for_command_line

if TYPE_CHECKING:
    import xarray


@with_reader_options
def info(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Trajectory or flux file.")],
    *,
    json: Json = False,
    reader: dict[str, Any],
) -> None:
    """Describe a trajectory or a flux file.

    Example: fluxan info run.nc
    """
    from fluxan.series.flux_dataset import is_flux_file, open_flux
    from fluxan.trajectory import open_trajectory

    if is_flux_file(file):
        with open_flux(file) as dataset:
            facts = flux_facts(dataset)
    else:
        facts = open_trajectory(file, **reader).info()
        facts["notes"] = list(map(for_command_line, facts["notes"]))
    if json:
        typer.echo(json_module.dumps(facts))
        return
    width = max(map(len, facts))
    for name, value in facts.items():
        typer.echo(f"{name.replace('_', ' '):<{width}}  {_words(value)}")


def flux_facts(dataset: xarray.Dataset) -> dict[str, Any]:
    """Content of a flux file, as plain values."""
    time = dataset["time"]
    n_frames = dataset.sizes["time"]
    facts = {
        "format": "flux of fluxan " + dataset.attrs["fluxan_version"],
        "n_frames": n_frames,
        "groups": [str(label) for label in dataset["carrier"].values],
        "time_range": [float(time[0]), float(time[-1])] if n_frames else None,
        "time_unit": dataset.attrs["time_unit"],
        "time_step": dataset.attrs["time_step"],
        "temperature": float(dataset["temperature"].mean()) if n_frames else None,
        "volume": float(dataset["volume"].mean()) if n_frames else None,
    }
    return facts | {k: dataset.attrs[k] for k in ("trajectory_name", "route", "self_check", "model_sha256")}


def _words(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None:
        return "unknown"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, dict):
        return ", ".join(f"{n} {name}" for name, n in value.items())
    if isinstance(value, list):
        return " to ".join(map(_words, value)) if value and isinstance(value[0], float) else ", ".join(map(str, value))
    return str(value)
