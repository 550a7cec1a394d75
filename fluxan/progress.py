"""A progress bar on standard error, with rate and time left."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator


class Bar:
    """A progress bar that counts frames; without `progress` (of rich) it shows nothing."""

    def __init__(self, progress: Any = None, task: Any = None, unit: str = "frames") -> None:
        self._progress = progress
        self._task = task
        self._unit = unit

    def show(self, n_frames: int) -> None:
        """Set the number of frames that are done."""
        if self._progress is not None:
            self._progress.update(self._task, completed=n_frames, rate=self._rate())

    def advance(self, n_frames: int) -> None:
        """Add to the number of frames that are done."""
        if self._progress is not None:
            self._progress.update(self._task, advance=n_frames, rate=self._rate())

    def _rate(self) -> str:
        speed = self._progress.tasks[0].speed
        return "" if speed is None else f"{speed:.4g} {self._unit}/s"


@contextmanager
def progress_bar(
    name: str, *, total: int | None, done: int = 0, show: bool = True, unit: str = "frames"
) -> Iterator[Bar]:
    """Show a progress bar while the context lasts.

    Parameters
    ----------
    name : str
        Name of the job.
    total : int or None
        Number of frames; None where it is not known.
    done : int
        Frames already done.
    show : bool
        False shows nothing.
    unit : str
        Name of what is counted.

    Yields
    ------
    bar : Bar
        The progress bar.
    """
    if not show:
        yield Bar()
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    # On a terminal, text that is printed meanwhile appears above the bar; output to a file is not redirected.
    redirect = sys.stdout.isatty()
    with Progress(*columns, console=Console(stderr=True), redirect_stdout=redirect) as progress:
        yield Bar(progress, progress.add_task(name, total=total, completed=done, rate=""), unit)
