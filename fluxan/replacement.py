"""Files and folders that appear as a whole, or not at all."""

from __future__ import annotations

import shutil
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from fluxan.errors import FluxanError, OutputError

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator


@contextmanager
def replacing(
    path: str | os.PathLike[str], *, parents: bool = False, failures: tuple[type[Exception], ...] = ()
) -> Iterator[Path]:
    """Write to a file beside `path` that takes its place in the end; a kill leaves the old one or the new.

    Parameters
    ----------
    path : path-like
        The final name.
    parents : bool
        Make the folders that are missing.
    failures : tuple of exception types
        Exceptions of a library that mean, like `OSError`, that the file could not be written.

    Yields
    ------
    Path
        The name to write to.

    Raises
    ------
    OutputError
        The file cannot be written; what was there before stays.
    """
    path = Path(path)
    unfinished = path.with_name(f".{path.name}.part")
    told: tuple[type[Exception], ...] = (OSError, *failures)
    try:
        if parents:
            path.parent.mkdir(parents=True, exist_ok=True)
        yield unfinished
        unfinished.replace(path)
    except told as error:
        unfinished.unlink(missing_ok=True)
        raise OutputError(f"{path} cannot be written: {getattr(error, 'strerror', None) or error}") from error
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise


@contextmanager
def replacing_folder(path: str | os.PathLike[str], *, marker: str, overwrite: bool = False) -> Iterator[Path]:
    """Write to a folder beside `path` that takes its place in the end; a failure leaves what was there.

    Parameters
    ----------
    path : path-like
        The final name.
    marker : str
        Name of a file that every such folder has: a folder without it is never replaced, whatever it is.
    overwrite : bool
        Replace an existing folder.

    Yields
    ------
    Path
        The empty folder to write to.

    Raises
    ------
    OutputError
        The folder exists, or cannot be written.
    """
    given = Path(path)
    path = given.absolute()
    if path.exists() and not overwrite:
        raise OutputError(f"{given} exists; choose another name or say overwrite=True")
    if path.exists() and not (path / marker).is_file():
        raise OutputError(f"{given} is not replaced: it has no {marker}, so another program wrote it; choose another")
    unfinished, old = (path.with_name(f".{path.name}.{kind}") for kind in ("part", "old"))
    try:
        for folder in (unfinished, old):
            shutil.rmtree(folder, ignore_errors=True)
        unfinished.mkdir(parents=True)
        yield unfinished
        if path.exists():
            path.rename(old)
        unfinished.rename(path)
        shutil.rmtree(old, ignore_errors=True)
    except BaseException as error:
        shutil.rmtree(unfinished, ignore_errors=True)
        if isinstance(error, OSError) and not isinstance(error, FluxanError):
            raise OutputError(f"{given} cannot be written: {error.strerror or error}") from error
        raise
