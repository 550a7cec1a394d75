"""`fluxan train`."""

from __future__ import annotations

import json as json_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fluxan.cli.command_options import Json, Overwrite, Quiet

if TYPE_CHECKING:
    from fluxan.training.fit import FitResult
    from fluxan.training.training_config import TrainingConfig
    from fluxan.training.training_job import TrainingData

#: Unit of each term, and the factor from fluxan's to it.
_PRINTED = {
    "energy": (1e3, "meV/atom"),
    "forces": (1e3, "meV/Å"),
    "virial": (1e3, "meV/atom"),
    "flux": (1.0, "eV Å/ps per root of the number of atoms"),
}


def train(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="TOML file: data, model, loss, fit.")],
    *,
    resume: Annotated[bool, typer.Option("--resume", help="Continue a fit that was begun.")] = False,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Train a potential on energies, forces, virials and, if asked for, the power of its heat flux.

    Example: fluxan train agi.toml
    """
    from fluxan.progress import progress_bar
    from fluxan.training.training_config import read_training_config
    from fluxan.training.training_job import load_data
    from fluxan.training.training_job import train as run

    settings = read_training_config(config)
    data = load_data(settings.data)
    if not json:
        typer.echo(_described(settings, data))
    total = settings.fit.epochs
    with progress_bar(settings.folder.name, total=total, show=not quiet, unit="epochs") as bar:
        result = run(settings, data, resume=resume, overwrite=overwrite, progress=lambda epoch, _: bar.show(epoch + 1))
    files = _write_figure(settings, result)
    typer.echo(_as_json(settings, result, files) if json else _report(settings, result, files))


def _described(settings: TrainingConfig, data: TrainingData) -> str:
    from ase.data import chemical_symbols

    elements = ", ".join(chemical_symbols[z] for z in data.train.elements)
    trajectories = len({item.trajectory for item in data.train.frames})
    counts = f"{len(data.train)} frames of {elements} from {trajectories} trajectories to fit"
    lines = [f"{counts}, {len(data.validation)} to validate with"]
    if data.convention is not None:
        lines.append(str(data.convention))
    if settings.weights.flux and settings.weights.term is not None:
        lines.append(f"flux term {settings.weights.term.form} with weight {settings.weights.flux:g}")
    return "\n".join(lines)


def _write_figure(settings: TrainingConfig, result: FitResult) -> list[Path]:
    from fluxan.training.fit import HISTORY, MODEL

    files = [settings.folder / MODEL]
    if result.history:
        from fluxan.report.training_figure import draw_history

        figure = settings.folder / "history.png"
        draw_history(result.history, best=result.epoch).savefig(figure, dpi=150)
        files += [settings.folder / HISTORY, figure]
    return files


def _report(settings: TrainingConfig, result: FitResult, files: list[Path]) -> str:
    lines = ["", "validation          RMSE"]
    for term, value in result.errors.items():
        factor, unit = _PRINTED[term]
        lines.append(f"{term:<10}{factor * value:>14.4g} {unit}")
    if result.history:
        lines.append(f"best epoch {result.epoch} of {len(result.history)}")
    lines.append(f"written: {', '.join(str(path) for path in files)}")
    lines.append(f"use it: fluxan decompose run.nc --model {settings.folder / 'model.safetensors'}")
    return "\n".join(lines)


def _as_json(settings: TrainingConfig, result: FitResult, files: list[Path]) -> str:
    facts = {
        "folder": str(settings.folder),
        "files": [str(path) for path in files],
        "epoch": result.epoch,
        "epochs": len(result.history),
        "errors": result.errors,
    }
    return json_module.dumps(facts)
