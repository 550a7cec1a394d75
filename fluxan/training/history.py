"""The history of a fit: one row per epoch in a CSV file, which is cut back to the checkpoint on resuming."""

from __future__ import annotations

import csv
from itertools import islice
from typing import TYPE_CHECKING

from fluxan.errors import FileError, OutputError

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
        """Keep the first rows of an existing file, those that the checkpoint knows; 0 begins a new file."""
        if n_rows:
            self.rows = read_history(self.path, n_rows)
        try:
            self.path.unlink(missing_ok=True)
        except OSError as error:
            raise OutputError(f"{self.path} cannot be replaced: {error.strerror}") from None
        rows, self.rows = self.rows, []
        for row in rows:
            self.append(row)

    def append(self, row: Mapping[str, float]) -> None:
        """Add a row; all rows have the same columns."""
        new = not self.path.exists()
        try:
            with self.path.open("a", encoding="utf-8", newline="") as file:
                writer = csv.writer(file, lineterminator="\n")
                if new:
                    writer.writerow(row)
                writer.writerow([repr(value) for value in row.values()])
        except OSError as error:
            raise OutputError(f"{self.path} cannot be written: {error.strerror}") from None
        self.rows.append(dict(row))


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
