"""`fluxan watch`."""

from __future__ import annotations

import json as json_module
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fluxan.cli.command_options import Json

if TYPE_CHECKING:
    from fluxan.report.monitor import Watcher


def watch(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Flux file that a job is writing.")],
    *,
    once: Annotated[bool, typer.Option("--once", help="Print the state once, and exit.")] = False,
    every: Annotated[float, typer.Option(help="Time between updates, s.", min=0.1)] = 2.0,
    json: Json = False,
) -> None:
    """Watch a job that writes a flux file: frames, rate, time left, κ so far, drift of the energy.

    Ends when all frames are done, or on Ctrl-C; the job is not affected.

    Example: fluxan watch flux.nc
    """
    from fluxan.report.monitor import Watcher

    watcher = Watcher(file)
    try:
        if once or json:
            _print_once(watcher, json=json)
        elif sys.stdout.isatty():
            _live(watcher, every)
        else:
            _print_changes(watcher, every)
    except KeyboardInterrupt:
        return


def _print_once(watcher: Watcher, *, json: bool) -> None:
    from dataclasses import asdict

    from fluxan.errors import FileError

    snapshot = watcher.look()
    if snapshot.trouble:
        raise FileError(snapshot.trouble)
    if json:
        typer.echo(json_module.dumps(asdict(snapshot) | {"finished": snapshot.finished}))
        return
    for name, words in snapshot.lines():
        typer.echo(f"{name:<14}{words}")


def _live(watcher: Watcher, every: float) -> None:
    from rich.live import Live

    from fluxan.report.monitor import table

    snapshot = watcher.look()
    with Live(table(watcher.path.name, snapshot), auto_refresh=False) as live:
        while not snapshot.finished:
            time.sleep(every)
            snapshot = watcher.look()
            live.update(table(watcher.path.name, snapshot), refresh=True)


def _print_changes(watcher: Watcher, every: float) -> None:
    """Print a line whenever the state has changed, as in a log."""
    from fluxan.report.monitor import plain

    before = None
    while True:
        snapshot = watcher.look()
        state = (snapshot.frames, snapshot.trouble)
        if state != before:
            print(plain(snapshot), flush=True)
        before = state
        if snapshot.finished:
            return
        time.sleep(every)
