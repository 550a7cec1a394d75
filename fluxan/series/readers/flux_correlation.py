"""Files that hold a correlation function instead of the flux: GPUMD's hac.out, LAMMPS' fix ave/correlate."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fluxan.errors import InputError
from fluxan.series.readers.table import open_lines

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy as np

_HEAD = 1 << 14
#: A product in the titles of fix ave/correlate: of computes, fixes or variables.
_PRODUCT = re.compile(rb"[cfv]_[^*]+\*[cfv]_[^*]+")
#: Kinds of files with a correlation function.
CORRELATIONS = ("gpumd-hac", "lammps-correlate")


@dataclass(frozen=True)
class FluxCorrelation:
    """Correlation functions of a heat flux, of several runs or of several parts of one.

    Attributes
    ----------
    times : (n,) array
        Lags, ps or reduced; None where they are neither recorded nor given.
    values : (n_parts, n, 3) array
        ⟨J_a(0) J_a(t)⟩ for a = x, y, z, volume-extensive: (eV Å/ps)², or reduced.
    conductivity : (n_parts, n, 3) array or None
        Running conductivity where the file holds it, W/(m K); else None.
    weights : (n_parts, n) array
        Number of products that were averaged, up to a common factor.
    parts : str
        What the parts are: "runs" or "parts of the run".
    units : str
        "metal" or "lj".
    volume, temperature : float, optional
        Å³ and K, or reduced; None where unknown.
    format : str
        Description of the file's format.
    notes, warnings : tuple of str
        Choices that the reader made, and evidence that the file may be wrong.
    """

    times: np.ndarray
    values: np.ndarray
    conductivity: np.ndarray | None
    weights: np.ndarray
    parts: str = "runs"
    units: str = "metal"
    volume: float | None = None
    temperature: float | None = None
    format: str = "GPUMD hac.out"
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def mean(self) -> np.ndarray:
        """Correlation of all parts together, (n, 3)."""
        return (self.weights[:, :, None] * self.values).sum(axis=0) / self.weights.sum(axis=0)[:, None]


def correlation_format(path: Path, form: str | None = None) -> str | None:
    """Format of a file with a correlation function: "gpumd-hac", "lammps-correlate"; None for another.

    Raises
    ------
    FileError
        The file cannot be read.
    """
    if form in CORRELATIONS:
        return form
    if form is not None or not path.is_file():
        return None
    with open_lines(path) as file:
        head = file.read(_HEAD)
    if b"\0" in head:
        return None
    lines = [line.split() for line in head.split(b"\n")[:8]]
    if path.name == "hac.out" or (path.match("hac*.out") and len(lines[0]) == 11):
        return "gpumd-hac"
    titles = [line for line in lines if line[:1] == [b"#"]]
    products = any(_PRODUCT.fullmatch(word) for line in titles for word in line)
    windows = any(b"Number-of-time-windows" in line for line in titles)
    return "lammps-correlate" if products or windows or _is_block([x for x in lines if x[:1] != [b"#"]]) else None


def _is_block(lines: list[list[bytes]]) -> bool:
    """Whether lines are a block of fix ave/correlate: an optional line of step and number of lags, then lags."""
    rows = lines[1:4] if lines and len(lines[0]) == 2 else lines[:3]
    if len(rows) < 3 or any(len(row) < 4 or not all(map(bytes.isdigit, row[:3])) for row in rows):
        return False
    index, lag, _ = zip(*([int(word) for word in row[:3]] for row in rows), strict=True)
    return index == (1, 2, 3) and lag[0] == 0 and lag[1] > 0 and lag[2] == 2 * lag[1]


def refuse_others(path: Path, options: Mapping[str, Any], known: set[str]) -> None:
    """Refuse options that do not apply to a file.

    Raises
    ------
    InputError
        An option that does not apply is given.
    """
    for name, value in options.items():
        if name not in known and value not in (None, False):
            shown = ",".join(map(str, value)) if isinstance(value, (list, tuple)) else value
            raise InputError(f"{path} is a correlation function: {name}={shown} does not apply to it")
