"""The history of a fit: one row per epoch in a CSV file, which is cut back to the checkpoint on resuming."""

from __future__ import annotations

import csv
from itertools import islice
from typing import TYPE_CHECKING

from fluxan.errors import FileError, OutputError
from fluxan.replacement import replacing

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

#: Units of the columns of each term, after "train" or "validation".
TERM_UNITS = {"energy": "eV/atom", "forces": "eV/A", "virial": "eV/atom", "flux": "eV A/ps/sqrt(atoms)"}


class History:
    """Rows of numbers by epoch, appended to a file.

    Parameters
    ----------
    path : Path
        The CSV file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: list[dict[str, float]] = []

    def cut(self, n_rows: int) -> None:
        """Keep the first rows of an existing file, those that the checkpoint knows; 0 begins a new file.

        Raises
        ------
        FileError
            The file has fewer rows, or cannot be read.
        OutputError
            It cannot be written.
        """
        self.rows = read_history(self.path, n_rows) if n_rows else []
        if len(self.rows) < n_rows:
            raise FileError(f"{self.path} has {len(self.rows)} rows for {n_rows} epochs; begin anew in another folder")
        with replacing(self.path) as unfinished, unfinished.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            for k, row in enumerate(self.rows):
                if k == 0:
                    writer.writerow(row)
                writer.writerow(_numbers(row))

    def append(self, row: Mapping[str, float]) -> None:
        """Add a row; all rows have the same columns."""
        try:
            with self.path.open("a", encoding="utf-8", newline="") as file:
                writer = csv.writer(file, lineterminator="\n")
                if not self.rows:
                    writer.writerow(row)
                writer.writerow(_numbers(row))
        except OSError as error:
            raise OutputError(f"{self.path} cannot be written: {error.strerror}") from None
        self.rows.append(dict(row))


def _numbers(row: Mapping[str, float]) -> list[str]:
    """Fields that give the numbers back bit for bit."""
    return [repr(value) for value in row.values()]


def read_history(path: Path, n_rows: int | None = None) -> list[dict[str, float]]:
    """Rows of the history of a fit.

    Parameters
    ----------
    path : Path
        The CSV file.
    n_rows : int, optional
        Number of rows to read, from the first; all by default.

    Raises
    ------
    FileError
        The file is missing, or holds something else.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = islice(csv.DictReader(file), n_rows)
            return [{name: float(value) for name, value in row.items()} for row in rows]
    except (OSError, ValueError, TypeError) as error:
        raise FileError(f"{path} cannot be read as the history of a fit: {error}") from error


def column(part: str, term: str) -> str:
    """Name of the column of a term's RMSE, e.g. ``train forces (eV/A)``."""
    return f"{part} {term} ({TERM_UNITS[term]})"
