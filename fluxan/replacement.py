"""Files that appear as a whole, or not at all."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from fluxan.errors import OutputError

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
