"""`fluxan learn`."""

from __future__ import annotations

import json as json_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fluxan.cli.command_options import Json
from fluxan.cli.tables import aligned

if TYPE_CHECKING:
    from fluxan.active.learn_config import LearnConfig


def learn(
    config: Annotated[
        Path, typer.Argument(metavar="CONFIG", help="TOML file: reference, start, model, explore, stop.")
    ],
    *,
    resume: Annotated[bool, typer.Option("--resume", help="Go on in a folder that was begun.")] = False,
    status: Annotated[bool, typer.Option("--status", help="Print the rounds so far, and do nothing.")] = False,
    screen: Annotated[
        Path | None, typer.Option("--screen", help="Run a short loop for each structure file in this folder.")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print no line on what is being done.")] = False,
    json: Json = False,
) -> None:
    """Improve a model by active learning: sample, train an ensemble, explore, label, train again.

    Example: fluxan learn agi.toml; interrupted at any time, fluxan learn agi.toml --resume goes on.
    """
    from fluxan.active.learn_config import read_learn_config
    from fluxan.active.learning_data import LearningFolder
    from fluxan.active.loop import counted, status_of
    from fluxan.active.loop import learn as run

    if screen is not None:
        _screen(config, screen, quiet=quiet, json=json)
        return
    settings = read_learn_config(config)
    if status:
        records = counted(settings, LearningFolder(settings.folder).records())
        state = status_of(settings, records)
    else:

        def page(rounds: list[dict[str, Any]], state: str) -> None:
            _write_page(settings, rounds, state)

        def say(line: str) -> None:
            if not quiet:
                typer.echo(line, err=True)

        result = run(settings, resume=resume, say=say, after_round=page)
        records, state = result.records, result.status
    typer.echo(_as_json(settings, records, state) if json else _report(settings, records, state))


def _screen(config: Path, folder: Path, *, quiet: bool, json: bool) -> None:
    """Print the table of materials; loops that were interrupted go on."""
    from fluxan.active.learn_config import read_learn_config
    from fluxan.active.screen import screen, structures_in

    def say(line: str) -> None:
        if not quiet:
            typer.echo(line, err=True)

    rows = screen(read_learn_config(config, structures_in(folder)), say)
    if json:
        typer.echo(json_module.dumps(rows))
        return
    header = ["material", "atoms", "labels", "force RMSE (meV/Å)", "events", "before learning", "after learning"]
    typer.echo(aligned(header, [_screened(row) for row in rows]))


def _screened(row: dict[str, Any]) -> list[str]:
    first, last = (f"{1e3 * value:.3g}" for value in row["forces"])
    verdicts = [f"{row[when]['verdict']} ({row[when]['model']} events)" for when in ("before", "after")]
    events = str(row["before"]["reference"])
    return [row["name"], str(row["atoms"]), str(row["labels"]), f"{first} to {last}", events, *verdicts]


def _write_page(settings: LearnConfig, records: list[dict[str, Any]], state: str) -> None:
    from fluxan.active.learning_data import LearningFolder
    from fluxan.report.learning_page import write_learning_page

    facts = {
        "name": settings.source.stem,
        "reference": settings.reference.calculator or settings.reference.model,
        "status": state,
        "tolerance": settings.stop.tolerance,
    }
    write_learning_page(records, facts, LearningFolder(settings.folder).page)


def _report(settings: LearnConfig, records: list[dict[str, Any]], state: str) -> str:
    from fluxan.active.learning_data import LearningFolder
    from fluxan.active.round_table import status_rows

    files = LearningFolder(settings.folder)
    if not records:
        return f"{settings.folder}: no round is over yet"
    header, rows = status_rows(records)
    lines = [aligned(header, rows)]
    lines += [state, f"page: {files.page}"]
    if state != "running":
        lines.append(f"models: {files.round(len(records) - 1)}/member-*")
    return "\n".join(lines)


def _as_json(settings: LearnConfig, records: list[dict[str, Any]], state: str) -> str:
    return json_module.dumps({"folder": str(settings.folder), "status": state, "rounds": records})
