"""`fluxan learn`."""

from __future__ import annotations

import json as json_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fluxan.cli.command_options import Json

if TYPE_CHECKING:
    from fluxan.active.learn_config import LearnConfig


def learn(
    config: Annotated[
        Path, typer.Argument(metavar="CONFIG", help="TOML file: reference, start, model, explore, stop.")
    ],
    *,
    resume: Annotated[bool, typer.Option("--resume", help="Go on in a folder that was begun.")] = False,
    status: Annotated[bool, typer.Option("--status", help="Print the rounds so far, and do nothing.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print no line on what is being done.")] = False,
    json: Json = False,
) -> None:
    """Improve a model by active learning: sample, train an ensemble, explore, label, train again.

    Example: fluxan learn agi.toml; interrupted at any time, fluxan learn agi.toml --resume goes on.
    """
    from fluxan.active.learn_config import read_learn_config
    from fluxan.active.learning_data import LearningFolder
    from fluxan.active.loop import learn as run
    from fluxan.active.loop import status_of

    settings = read_learn_config(config)
    if status:
        records = LearningFolder(settings.folder).records()
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
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    lines = ["  ".join(f"{cell:>{w}}" for cell, w in zip(row, widths, strict=True)) for row in (header, *rows)]
    lines += [state, f"page: {files.page}"]
    if state != "running":
        lines.append(f"models: {files.round(len(records) - 1)}/member-*")
    return "\n".join(lines)


def _as_json(settings: LearnConfig, records: list[dict[str, Any]], state: str) -> str:
    return json_module.dumps({"folder": str(settings.folder), "status": state, "rounds": records})
