"""LAMMPS' fix ave/correlate and fix ave/correlate/long (https://docs.lammps.org).

The first writes blocks, which accumulate (``ave running``) or restart with each block (``ave one``)::

    # Time-correlated data for fix JJ
    # Timestep Number-of-time-windows
    # Index TimeDelta Ncount c_flux[1]*c_flux[1] c_flux[2]*c_flux[2] c_flux[3]*c_flux[3]
    2000 100
    1 0 200 1.00000 1.00000 1.00000
    2 10 199 0.90484 0.90484 0.90484

The second writes times instead of steps, no counts, and lags at growing intervals::

    # Time-correlated data for fix long
    # Time c_flux[1]*c_flux[1] c_flux[2]*c_flux[2] c_flux[3]*c_flux[3]
    # Timestep: 200
    0 5.09231 2.52708 7.00799
    0.002 5.07038 2.53124 6.92198
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from fluxan.errors import InputError, TrajectoryError
from fluxan.series.readers.choice import flux_vectors, vectors
from fluxan.series.readers.flux_correlation import FluxCorrelation, refuse_others
from fluxan.series.readers.read_options import ReadOptions
from fluxan.series.readers.soundness import questions
from fluxan.series.readers.table import ends_whole, is_number, open_lines
from fluxan.series.readers.unit_styles import unit_style

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

_OPTIONS: Final = {"volume", "temperature", "units", "dt", "timestep", "columns", "density"}
#: Largest number of parts of a run that are compared: enough to know the error to within 25 %.
_PARTS: Final = 10


def read_ave_correlate(path: Path, options: Mapping[str, Any]) -> FluxCorrelation:
    """Read a file of fix ave/correlate or fix ave/correlate/long.

    Raises
    ------
    InputError
        Which columns are the flux, or their unit, or the time between lags is not known, or an option does not apply.
    TrajectoryError
        No complete block, or a broken row.
    """
    refuse_others(path, options, _OPTIONS)
    given = ReadOptions(**{name: value for name, value in options.items() if name != "columns"})
    if given.units is None:
        raise InputError(f"{path} does not name its units; give units=, one of metal, real, lj, si")
    names, long = _names(path)
    columns = _flux_columns(path, names, options.get("columns"))
    blocks = [block for block in _blocks(path, len(names), long=long) if long or (block[:, 2] > 0).all()]
    if not blocks:
        raise TrajectoryError(f"{path} holds no block in which every lag has data")
    times = blocks[-1][:, 0] if long else blocks[-1][:, 1]
    one = blocks[-1][None, :, columns]
    values, weights, parts = (one, np.ones(one.shape[:2]), "runs") if long else _parts(blocks, columns)
    style, state = unit_style(given.units), "lj" if given.units == "lj" else "metal"
    volume_factor, doubts = _density(path, names[columns[0]].partition("*")[0], given)
    return FluxCorrelation(
        _times(path, times, given, style.time, long=long),
        values * (style.flux * volume_factor) ** 2,
        None,
        weights,
        parts=parts,
        units=state,
        volume=given.volume,
        temperature=given.temperature,
        format=f"LAMMPS fix ave/correlate{'/long' if long else ''} file",
        notes=("the correlation was taken as it is: a prefactor set in the fix would enter κ",),
        warnings=(*doubts, *questions(state, given.temperature, volume=given.volume)),
    )


def _density(path: Path, shown: str, given: ReadOptions) -> tuple[float, list[str]]:
    """The volume where the flux is per volume, else 1; and warnings where names contradict that."""
    named = shown.startswith("c_")
    if given.density is None and not named:
        raise InputError(
            f"{path} does not say whether {shown} is a flux or a flux per volume: density=True or density=False"
        )
    if not given.density:
        return 1.0, []
    if given.volume is None:
        raise InputError(f"{path} holds the correlation of a flux per volume, and no volume; give volume=")
    doubt = f"density=True was given, but {shown} is named after a compute, whose flux is not per volume"
    return given.volume, [doubt] if named else []


def _names(path: Path) -> tuple[list[str], bool]:
    """Names of the columns, numbers where their title was replaced, and whether the file is of ave/correlate/long."""
    with open_lines(path) as file:
        for line in file:
            words = line.decode("utf-8", "replace").split()
            if words[:1] == ["#"] and any(word.count("*") == 1 for word in words):
                return words[1:], words[1] == "Time"
            if len(words) > 3 and words[0] != "#":
                return [str(k + 1) for k in range(len(words))], False
    raise TrajectoryError(f"{path} holds no rows of a correlation")


def _flux_columns(path: Path, names: Sequence[str], columns: Sequence[str] | str | None) -> list[int]:
    """Columns of the three squares of the flux's components."""
    squares = {
        left: k for k, (left, star, right) in enumerate(n.partition("*") for n in names) if star and left == right
    }
    if columns is not None:
        wanted = columns.split(",") if isinstance(columns, str) else list(columns)
        wanted = [word.partition("*")[0] if "*" in word and "[*]" not in word else word for word in wanted]
        if all(word.isdigit() and 0 < int(word) <= len(names) for word in wanted) and len(wanted) == 3:
            return [int(word) - 1 for word in wanted]
        known = vectors(list(squares))
        stem = wanted[0].removesuffix("[*]")
        wanted = [list(squares)[k] for k in known[stem]] if len(wanted) == 1 and stem in known else wanted
        if len(wanted) != 3 or not set(wanted) <= squares.keys():
            raise InputError(f"{path}: columns= needs three of {' '.join(squares)}: the flux's x, y, z")
        return [squares[word] for word in wanted]
    if not any("*" in name for name in names):
        raise InputError(f"{path} does not name the products in its columns; say which with columns=, e.g. 4,5,6")
    # Velocities and pressures are correlated with the same fix, so only customary names of a flux are accepted.
    found = flux_vectors(list(squares))
    if len(found) != 1:
        raise InputError(
            f"{path} correlates {', '.join(found) or ', '.join(names[3:9])}, expected the squares of one flux's x, y, "
            "z; say which with columns="
        )
    return [squares[list(squares)[k]] for k in next(iter(found.values()))]


def _blocks(path: Path, n_columns: int, *, long: bool) -> Iterator[np.ndarray]:
    """Complete blocks, (lags, columns) each."""
    rows: list[list[float]] = []
    expected: int | None = None
    whole = ends_whole(path, n_columns)
    with open_lines(path) as file:
        for number, line in enumerate(file, start=1):
            words = line.split()
            comment = line.lstrip().startswith(b"#")
            if not words or not (line.endswith(b"\n") or whole) or (comment and not long):
                continue
            if comment or len(words) == 2:
                if len(rows) > 1 and expected in {None, len(rows)}:
                    yield np.array(rows)
                rows, expected = [], None if long else int(words[1])
            else:
                rows.append(_numbers(path, number, line, n_columns))
    if len(rows) > 1 and expected in {None, len(rows)}:
        yield np.array(rows)


def _numbers(path: Path, number: int, line: bytes, n_columns: int) -> list[float]:
    """Values of a row, all finite."""
    words = line.split()
    if len(words) == n_columns and all(map(is_number, words)):
        values = [float(word) for word in words]
        if np.isfinite(values).all():
            return values
    shown = line.decode("utf-8", "replace").strip()[:60]
    raise TrajectoryError(f"{path}, line {number}: expected {n_columns} finite numbers, got {shown!r}")


def _parts(blocks: list[np.ndarray], columns: list[int]) -> tuple[np.ndarray, np.ndarray, str]:
    """Correlations of parts of the run that do not overlap, (n_parts, lags, 3), and their weights.

    Accumulating blocks hold sums of products over their counts, so the part between two blocks follows from their
    difference. Accumulation restarts with each appended run, and with every block where blocks do not accumulate.
    """
    counts = np.array([block[:, 2] for block in blocks])
    sums = np.array([block[:, columns] for block in blocks]) * counts[:, :, None]
    anew = np.append(True, np.diff(counts[:, 0]) <= 0)[:, None]
    # Where a later block has a smaller count at some lag than the one before it, accumulation has restarted.
    anew |= (np.diff(counts, axis=0, prepend=0) <= 0).any(axis=1, keepdims=True)
    counts -= np.where(anew, 0, np.roll(counts, 1, axis=0))
    sums -= np.where(anew[:, :, None], 0, np.roll(sums, 1, axis=0))
    starts = np.linspace(0, len(blocks), min(_PARTS, len(blocks)) + 1).astype(int)[:-1]
    counts, sums = np.add.reduceat(counts, starts), np.add.reduceat(sums, starts)
    return sums / counts[:, :, None], counts, "parts of the run"


def _times(path: Path, times: np.ndarray, options: ReadOptions, unit: float, *, long: bool) -> np.ndarray:
    """Lags in ps, or reduced."""
    if long:
        return times * unit
    if options.dt is not None:
        return times / times[1] * options.dt
    if options.timestep is not None:
        return times * options.timestep
    raise InputError(
        f"{path} counts steps, {times[1]:.0f} between lags; give dt= in ps between them, or timestep= per MD step"
    )
